//! The keys of a tenant as they are kept: wrapped with a key that follows from the root key.
//!
//! ```text
//! cargo-pilot tenant key 1
//! root 0123456789abcdef             name of the root key that wraps them
//! lookup NONCE_AND_SEALED_KEY       for hashes of unique values: never rotated
//! key 89abcdef NONCE_AND_SEALED_KEY one line for each version; the last one seals
//! ```
//!
//! The number of a version is random: two folders that were one and rotated apart never give one number to two
//! keys, so their files can be put together.

use ids::TenantId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::file::{hex, unhex, unhex_array};
use crate::root::{RootId, Secret};

/// First line of the file.
const FIRST_LINE: &str = "cargo-pilot tenant key 1";
/// Most versions of one tenant: a rotation each day for years.
pub const VERSIONS_MAX: usize = 4096;

/// Number of a version of a tenant's key. Random; 0 is the key for lookups.
pub type Version = u32;

/// The number under which the key for lookups is wrapped.
pub(crate) const LOOKUP: Version = 0;

/// The file of a tenant's keys. Without the root key it tells nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrapped {
    /// Which root key wraps them.
    pub root: RootId,
    lookup: Vec<u8>,
    /// Oldest first. Never empty.
    versions: Vec<(Version, Vec<u8>)>,
}

impl Wrapped {
    /// The first keys of a tenant.
    pub(crate) fn new(root: RootId, lookup: Vec<u8>, first: (Version, Vec<u8>)) -> Wrapped {
        Wrapped { root, lookup, versions: vec![first] }
    }

    /// Reads a file; `None` if it is anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Wrapped> {
        let mut lines = text.strip_suffix('\n')?.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let root = unhex_array(lines.next()?.strip_prefix("root ")?)?;
        let lookup = unhex(lines.next()?.strip_prefix("lookup ")?)?;
        let version = |line: &str| {
            let (number, key) = line.strip_prefix("key ")?.split_once(' ')?;
            Some((Version::from_be_bytes(unhex_array(number)?), unhex(key)?))
        };
        let versions = lines.map(version).collect::<Option<Vec<_>>>()?;
        let fits = (1..=VERSIONS_MAX).contains(&versions.len());
        fits.then_some(Wrapped { root, lookup, versions })
    }

    /// The file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nroot {}\nlookup {}\n", hex(&self.root), hex(&self.lookup));
        for (number, key) in &self.versions {
            text.push_str(&format!("key {number:08x} {}\n", hex(key)));
        }
        text
    }

    /// How many versions there are.
    #[must_use]
    pub fn versions(&self) -> usize {
        self.versions.len()
    }

    /// Adds a version, which seals from now on. False if there are too many.
    pub(crate) fn push(&mut self, version: Version, key: Vec<u8>) -> bool {
        if self.versions.len() >= VERSIONS_MAX {
            return false;
        }
        self.versions.push((version, key));
        true
    }

    /// Adds the versions that another file of the same tenant has and this one does not, as old ones: what was
    /// sealed in another folder can be opened here too, and what seals here stays. False if the other has another
    /// root key or another key for lookups: the folders were never one.
    #[must_use]
    pub fn merge(&mut self, other: &Wrapped) -> bool {
        if self.root != other.root || self.lookup != other.lookup {
            return false;
        }
        let known = |number: Version| self.versions.iter().any(|(known, _)| *known == number);
        let missing: Vec<_> = other.versions.iter().filter(|(number, _)| !known(*number)).cloned().collect();
        self.versions.splice(0..0, missing);
        self.versions.len() <= VERSIONS_MAX
    }

    /// The key for lookups and all versions, opened; `None` if one does not open.
    pub(crate) fn open(
        &self,
        tenant: TenantId,
        wrapping: &Secret,
    ) -> Option<(Secret, Vec<(Version, Secret)>)> {
        let lookup = unwrap(tenant, wrapping, LOOKUP, &self.lookup)?;
        let open =
            |(number, key): &(Version, Vec<u8>)| Some((*number, unwrap(tenant, wrapping, *number, key)?));
        Some((lookup, self.versions.iter().map(open).collect::<Option<_>>()?))
    }
}

/// Wraps a key: AES-256-GCM under a key that only this tenant has, with a random nonce before it.
pub(crate) fn wrap(
    tenant: TenantId,
    wrapping: &Secret,
    version: Version,
    key: &Secret,
    nonce: [u8; NONCE_LEN],
) -> Vec<u8> {
    let mut sealed = key.to_vec();
    let tag = aead(wrapping).seal_in_place_separate_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(bound(tenant, version)),
        &mut sealed,
    );
    let tag = tag.unwrap_or_else(|_| unreachable!("32 bytes are not too many"));
    let wrapped = [nonce.as_slice(), &sealed, tag.as_ref()].concat();
    sealed.zeroize();
    wrapped
}

fn unwrap(tenant: TenantId, wrapping: &Secret, version: Version, wrapped: &[u8]) -> Option<Secret> {
    let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let key = aead(wrapping).open_in_place(nonce, Aad::from(bound(tenant, version)), &mut sealed).ok()?;
    let mut secret = Zeroizing::new([0; 32]);
    secret.copy_from_slice(key.get(..32).filter(|_| key.len() == 32)?);
    Some(secret)
}

fn aead(key: &Secret) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key.as_slice());
    LessSafeKey::new(key.unwrap_or_else(|_| unreachable!("a key has 32 bytes")))
}

/// What a wrapped key is bound to.
fn bound(tenant: TenantId, version: Version) -> [u8; 20] {
    let mut bound = [0; 20];
    bound[..16].copy_from_slice(tenant.as_bytes());
    bound[16..].copy_from_slice(&version.to_be_bytes());
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId::from_bytes([1; 16]);

    fn keys(wrapping: &Secret, versions: &[Version]) -> Wrapped {
        let key = |version: Version| {
            wrap(TENANT, wrapping, version, &Zeroizing::new([version.to_be_bytes()[3]; 32]), [9; 12])
        };
        let mut wrapped = Wrapped::new([5; 8], key(LOOKUP), (versions[0], key(versions[0])));
        versions[1..].iter().for_each(|version| assert!(wrapped.push(*version, key(*version))));
        wrapped
    }

    /// TEN-10: wrapped keys open with their own root key and for their own tenant only.
    #[test]
    fn keys_open_for_their_tenant_only() {
        let wrapping = Zeroizing::new([7; 32]);
        let wrapped = keys(&wrapping, &[3, 8]);
        let read = Wrapped::read(&wrapped.text()).unwrap();
        assert_eq!(read, wrapped);
        let (lookup, versions) = read.open(TENANT, &wrapping).unwrap();
        assert_eq!(*lookup, [0; 32]);
        assert_eq!(versions, [(3, Zeroizing::new([3; 32])), (8, Zeroizing::new([8; 32]))]);
        assert!(read.open(TenantId::from_bytes([2; 16]), &wrapping).is_none());
        assert!(read.open(TENANT, &Zeroizing::new([8; 32])).is_none());
        let swapped = wrapped.text().replace("key 00000003", "key 00000008");
        assert!(Wrapped::read(&swapped).unwrap().open(TENANT, &wrapping).is_none());
    }

    #[test]
    fn files_of_folders_that_were_one_are_put_together() {
        let wrapping = Zeroizing::new([7; 32]);
        let (mut here, there) = (keys(&wrapping, &[1, 2, 3]), keys(&wrapping, &[1, 4]));
        assert!(here.merge(&there));
        let (_, versions) = here.open(TENANT, &wrapping).unwrap();
        assert_eq!(versions.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [4, 1, 2, 3]);
        let mut stranger = there;
        stranger.root = [6; 8];
        assert!(!here.merge(&stranger));
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        let text = keys(&Zeroizing::new([7; 32]), &[1]).text();
        for broken in [
            "",
            "x",
            &text[1..],
            &text[..text.len() - 1],
            &text.replace("key ", "kex "),
            "cargo-pilot tenant key 1\n",
        ] {
            assert!(Wrapped::read(broken).is_none(), "{broken}");
        }
    }
}
