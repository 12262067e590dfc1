//! How a value is sealed.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | form: 1 |
//! | 4 | version of the tenant's key |
//! | 12 | run: random, drawn when a process takes the key into use |
//! | 6 | number of the value in its run |
//! | n | the value, AES-256-GCM |
//! | 16 | tag |
//!
//! A run has a key of its own, `HMAC-SHA-256(key of the tenant, "run" || run)`, and counts its nonces: no nonce is
//! used twice with a key, without anything to keep over a restart, and a value costs no derivation of a key. Two
//! runs of one key are the same with a chance of 2^-96. (A machine that is copied while it runs would break this.)
//!
//! What a value is bound to, its associated data, is told by [`crate::store`]; form, version and run are bound
//! by the key, the number by the nonce.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use crate::keyring::KeyError;
use crate::root::{Secret, derived};
use crate::wrapped::Version;

/// How sealed values begin.
const FORM: u8 = 1;
const RUN_BYTES: usize = 12;
const NUMBER_BYTES: usize = 6;
/// Bytes before the value.
pub const HEADER_BYTES: usize = 1 + 4 + RUN_BYTES + NUMBER_BYTES;
/// Bytes after it.
pub const TAG_BYTES: usize = 16;
/// Values of one run. Far away: a million a second for nine years.
const NUMBER_MAX: u64 = (1 << (8 * NUMBER_BYTES)) - 1;
/// Runs whose keys are kept ready for reading, of one tenant.
const RUNS_MAX: usize = 16;

type Run = [u8; RUN_BYTES];

/// The key of one run. Its memory is overwritten when it is dropped.
struct Cipher(LessSafeKey);

impl Cipher {
    fn new(key: &Secret, run: &Run) -> Cipher {
        Cipher(aead(&derived(key, &[b"run", run])))
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        // `ring` does not wipe its keys: another one is written over it, and is looked at so that it is written.
        self.0 = aead(&Zeroizing::new([0; 32]));
        std::hint::black_box(&self.0);
    }
}

fn aead(key: &Secret) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key.as_slice());
    LessSafeKey::new(key.unwrap_or_else(|_| unreachable!("a key has 32 bytes")))
}

/// What seals: the newest version, in one run of this process.
struct Current {
    version: Version,
    run: Run,
    cipher: Cipher,
    next: AtomicU64,
}

/// All keys of one tenant, opened. Wiped from memory when dropped.
pub struct TenantKeys {
    /// Oldest first.
    versions: Vec<(Version, Secret)>,
    current: Current,
    /// For hashes of unique values, and masks.
    lookup: hmac::Key,
    /// Runs that were read, the newest last.
    read: RwLock<Vec<(Version, Run, Arc<Cipher>)>>,
}

impl TenantKeys {
    /// Takes keys into use. `run` is random.
    pub(crate) fn new(lookup: &Secret, versions: Vec<(Version, Secret)>, run: Run) -> Option<TenantKeys> {
        let (version, key) = versions.last()?;
        let current =
            Current { version: *version, run, cipher: Cipher::new(key, &run), next: AtomicU64::new(0) };
        let lookup = hmac::Key::new(hmac::HMAC_SHA256, lookup.as_slice());
        Some(TenantKeys { versions, current, lookup, read: RwLock::default() })
    }

    /// The version that seals.
    #[must_use]
    pub fn version(&self) -> Version {
        self.current.version
    }

    /// Seals a value that is put together from `parts`.
    ///
    /// # Errors
    /// [`KeyError::Exhausted`] when the run has no numbers left.
    pub fn seal(&self, bound: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, KeyError> {
        let current = &self.current;
        let number = current.next.fetch_add(1, Ordering::Relaxed);
        if number > NUMBER_MAX {
            return Err(KeyError::Exhausted);
        }
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let mut sealed = Vec::with_capacity(HEADER_BYTES + bytes + TAG_BYTES);
        sealed.push(FORM);
        sealed.extend_from_slice(&current.version.to_be_bytes());
        sealed.extend_from_slice(&current.run);
        sealed.extend_from_slice(&number.to_be_bytes()[8 - NUMBER_BYTES..]);
        parts.iter().for_each(|part| sealed.extend_from_slice(part));
        let tag: Tag = current
            .cipher
            .0
            .seal_in_place_separate_tag(nonce(number), Aad::from(bound), &mut sealed[HEADER_BYTES..])
            .unwrap_or_else(|_| unreachable!("a value is far below 64 GiB"));
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens a value, whose stored bytes are `parts` put together.
    ///
    /// # Errors
    /// [`KeyError::Missing`] when it was sealed with a version that is not here, [`KeyError::Changed`] when it is
    /// not what was sealed, or not where.
    pub fn open(&self, bound: &[u8], parts: &[&[u8]]) -> Result<Bytes, KeyError> {
        let sealed = parts.concat();
        let (header, _) = sealed.split_first_chunk::<HEADER_BYTES>().ok_or(KeyError::Changed)?;
        let [FORM, v0, v1, v2, v3, ref rest @ ..] = *header else { return Err(KeyError::Changed) };
        let version = Version::from_be_bytes([v0, v1, v2, v3]);
        let (run, number) = rest.split_first_chunk::<RUN_BYTES>().ok_or(KeyError::Changed)?;
        let mut wide = [0; 8];
        wide[8 - NUMBER_BYTES..].copy_from_slice(number);
        let (run, number) = (*run, u64::from_be_bytes(wide));
        if (version, run) == (self.current.version, self.current.run) {
            return opened(&self.current.cipher, number, bound, sealed);
        }
        opened(&*self.cipher(version, run)?, number, bound, sealed)
    }

    /// The key of a run of another process, or of an older version.
    fn cipher(&self, version: Version, run: Run) -> Result<Arc<Cipher>, KeyError> {
        let of = |known: &(Version, Run, Arc<Cipher>)| (known.0, known.1) == (version, run);
        if let Some((.., cipher)) = self.read.read().iter().find(|known| of(known)) {
            return Ok(Arc::clone(cipher));
        }
        let key = self.versions.iter().rev().find(|(known, _)| *known == version);
        let (_, key) = key.ok_or(KeyError::Missing)?;
        let cipher = Arc::new(Cipher::new(key, &run));
        let mut read = self.read.write();
        if !read.iter().any(of) {
            if read.len() >= RUNS_MAX {
                read.remove(0);
            }
            read.push((version, run, Arc::clone(&cipher)));
        }
        Ok(cipher)
    }

    /// A keyed hash for what is looked up by equality. It does not change when the key is rotated.
    #[must_use]
    pub fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&self.lookup);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.sign().as_ref().try_into().unwrap_or_else(|_| unreachable!("SHA-256 has 32 bytes"))
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn opened(cipher: &Cipher, number: u64, bound: &[u8], mut sealed: Vec<u8>) -> Result<Bytes, KeyError> {
    let value = cipher.0.open_in_place(nonce(number), Aad::from(bound), &mut sealed[HEADER_BYTES..]);
    let end = HEADER_BYTES + value.map_err(|_| KeyError::Changed)?.len();
    Ok(Bytes::from(sealed).slice(HEADER_BYTES..end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(versions: &[u8], run: u8) -> TenantKeys {
        let versions = versions.iter().map(|n| (Version::from(*n), Zeroizing::new([*n; 32]))).collect();
        TenantKeys::new(&Zeroizing::new([9; 32]), versions, [run; RUN_BYTES]).unwrap()
    }

    proptest! {
        /// TEN-10: only what was sealed opens, and only where it was sealed.
        #[test]
        fn a_value_opens_as_it_was_and_where_it_was(
            value in prop::collection::vec(any::<u8>(), 0..300), bound in prop::collection::vec(any::<u8>(), 0..60),
            at in any::<prop::sample::Index>(), bit in 0..8,
        ) {
            let keys = keys(&[1], 1);
            let cut = at.index(value.len() + 1);
            let mut sealed = keys.seal(&bound, &[&value[..cut], &value[cut..]]).unwrap();
            prop_assert_eq!(sealed.len(), value.len() + HEADER_BYTES + TAG_BYTES);
            prop_assert_eq!(keys.open(&bound, &[&sealed]).unwrap(), value);
            let elsewhere = [bound.as_slice(), b"x"].concat();
            prop_assert_eq!(keys.open(&elsewhere, &[&sealed]), Err(KeyError::Changed));
            let at = at.index(sealed.len());
            prop_assert!(keys.open(&bound, &[&sealed[..at]]).is_err());
            sealed[at] ^= 1_u8 << bit;
            prop_assert!(keys.open(&bound, &[&sealed]).is_err());
        }
    }

    #[test]
    fn old_versions_and_runs_open_and_no_nonce_is_used_twice() {
        let before = keys(&[1], 1);
        let sealed = before.seal(b"here", &[b"value"]).unwrap();
        assert_ne!(sealed, before.seal(b"here", &[b"value"]).unwrap());
        let after = keys(&[1, 2], 2);
        assert_eq!(after.version(), 2);
        for run in 0..40 {
            let other = keys(&[1], run).seal(b"here", &[b"other"]).unwrap();
            assert_eq!(after.open(b"here", &[&other]).unwrap(), "other");
            assert_eq!(after.open(b"here", &[&sealed]).unwrap(), "value");
        }
        let newer = after.seal(b"here", &[b"newer"]).unwrap();
        assert_eq!(before.open(b"here", &[&newer]), Err(KeyError::Missing));
        before.current.next.store(NUMBER_MAX + 1, Ordering::Relaxed);
        assert_eq!(before.seal(b"here", &[b"value"]), Err(KeyError::Exhausted));
    }

    #[test]
    fn hashes_tell_parts_apart_and_outlive_a_rotation() {
        let (before, after) = (keys(&[1], 1), keys(&[1, 2], 2));
        assert_eq!(before.hash(&[b"ab", b"c"]), after.hash(&[b"ab", b"c"]));
        assert_ne!(before.hash(&[b"ab", b"c"]), before.hash(&[b"a", b"bc"]));
    }
}
