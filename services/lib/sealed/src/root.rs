//! The root key: a key for every tenant follows from it, until the one of a tenant is cut out.
//!
//! A tenant is a leaf of a binary tree of 64 levels. Each node has a seed, from which those of its children
//! follow: `HMAC-SHA-256(seed, "left" | "right")`. At first the root key is the seed of the whole tree. To destroy
//! the key of one tenant, the seeds on its path are replaced by those of their other children, at most 64: all
//! other leaves still follow, this one does not, whatever else is known. So keys that were wrapped for the
//! tenant, in old backups too, can never be opened again, although a backup carries them, and no list of keys
//! has to be kept beside the root key while tenants come.
//!
//! Two tenants share a leaf with a chance of 2^-64; then they would share a destruction, not a key.
//!
//! Source: Goldreich, Goldwasser, Micali, "How to construct random functions", 1986; puncturing: Boneh, Waters,
//! "Constrained pseudorandom functions and their applications", 2013.

use std::collections::BTreeMap;

use ids::TenantId;
use ring::{digest, hmac};
use zeroize::Zeroizing;

use crate::file::{hex, unhex_array};

/// First line of the file.
const FIRST_LINE: &str = "cargo-pilot root key 1";
/// Levels of the tree.
const LEVELS: u32 = 64;

/// Names a root key, so that keys which were wrapped with another one are told apart from damage.
pub type RootId = [u8; 8];

/// 32 bytes that are wiped from memory when dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// A root key, without the tenants whose keys were destroyed.
pub struct Root {
    id: RootId,
    /// The roots of subtrees that are left, by their first leaf: they do not overlap.
    nodes: BTreeMap<u64, Node>,
}

struct Node {
    /// Levels above it.
    depth: u32,
    seed: Secret,
}

impl Node {
    /// Whether a leaf lies below the node that begins at `first`.
    fn holds(&self, first: u64, leaf: u64) -> bool {
        self.depth == 0 || (leaf ^ first) >> (LEVELS - self.depth) == 0
    }
}

impl Root {
    /// A root key from 32 random bytes, and a random name for it.
    #[must_use]
    pub fn new(seed: [u8; 32], id: RootId) -> Root {
        Root { id, nodes: BTreeMap::from([(0, Node { depth: 0, seed: Zeroizing::new(seed) })]) }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> RootId {
        self.id
    }

    /// Reads what [`Root::text`] wrote; `None` if it is anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Root> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once("\nsum ")?;
        if sum != checksum(body) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let id = unhex_array(lines.next()?.strip_prefix("id ")?)?;
        let mut nodes = BTreeMap::new();
        for line in lines {
            let mut words = line.split(' ');
            let (depth, first) = (words.next()?.parse().ok()?, words.next()?);
            let seed = Zeroizing::new(unhex_array(words.next()?)?);
            if depth > LEVELS || words.next().is_some() {
                return None;
            }
            nodes.insert(u64::from_be_bytes(unhex_array(first)?), Node { depth, seed });
        }
        Some(Root { id, nodes })
    }

    /// Its file: name, subtrees, checksum; a line each. About 5 KiB more for each tenant that was cut out.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        // Room for all of it: what a growing text leaves behind would not be wiped.
        let mut body = Zeroizing::new(String::with_capacity(100 + 100 * self.nodes.len()));
        body.push_str(&format!("{FIRST_LINE}\nid {}", hex(&self.id)));
        for (first, node) in &self.nodes {
            let seed = Zeroizing::new(hex(node.seed.as_slice()));
            body.push_str(&format!("\n{} {} ", node.depth, hex(&first.to_be_bytes())));
            body.push_str(&seed);
        }
        let sum = checksum(&body);
        body.push_str(&format!("\nsum {sum}\n"));
        body
    }

    /// The key that wraps the keys of a tenant; `None` once it was destroyed.
    pub(crate) fn wrapping_key(&self, tenant: TenantId) -> Option<Secret> {
        let leaf = leaf_of(tenant);
        let (_, node) = self.above(leaf)?;
        let mut seed = node.seed.clone();
        for depth in node.depth..LEVELS {
            seed = child(&seed, is_right(leaf, depth));
        }
        Some(derived(&seed, &[b"tenant", tenant.as_bytes()]))
    }

    /// Whether the key of a tenant was destroyed.
    #[must_use]
    pub fn is_destroyed(&self, tenant: TenantId) -> bool {
        self.above(leaf_of(tenant)).is_none()
    }

    /// Cuts a tenant out, for good. No effect if it was already.
    pub(crate) fn destroy(&mut self, tenant: TenantId) {
        let leaf = leaf_of(tenant);
        let Some((first, _)) = self.above(leaf) else { return };
        let Some(Node { depth, mut seed }) = self.nodes.remove(&first) else { return };
        for depth in depth..LEVELS {
            let right = is_right(leaf, depth);
            let bit = 1 << (LEVELS - 1 - depth);
            // The first leaf of the other child: the path so far, then the other way.
            let other = (leaf & !(bit | (bit - 1))) | if right { 0 } else { bit };
            self.nodes.insert(other, Node { depth: depth + 1, seed: child(&seed, !right) });
            seed = child(&seed, right);
        }
    }

    /// The subtree that a leaf is in, by its first leaf.
    fn above(&self, leaf: u64) -> Option<(u64, &Node)> {
        let (first, node) = self.nodes.range(..=leaf).next_back()?;
        node.holds(*first, leaf).then_some((*first, node))
    }
}

/// Spreads tenants over the leaves.
fn leaf_of(tenant: TenantId) -> u64 {
    let hash = digest::digest(&digest::SHA256, tenant.as_bytes());
    hash.as_ref().first_chunk().map_or(0, |leaf| u64::from_be_bytes(*leaf))
}

/// Which child of the node `depth` levels down is on the way to a leaf.
fn is_right(leaf: u64, depth: u32) -> bool {
    leaf >> (LEVELS - 1 - depth) & 1 == 1
}

fn child(seed: &Secret, right: bool) -> Secret {
    derived(seed, &[if right { b"right" } else { b"left" }])
}

/// A key that follows from another one: HMAC-SHA-256 over what it is for.
pub(crate) fn derived(key: &Secret, what: &[&[u8]]) -> Secret {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()));
    what.iter().for_each(|part| mac.update(part));
    let mut secret = Zeroizing::new([0; 32]);
    secret.copy_from_slice(mac.sign().as_ref());
    secret
}

fn checksum(body: &str) -> String {
    hex(&digest::digest(&digest::SHA256, body.as_bytes()).as_ref()[..4])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(number: u32) -> TenantId {
        let mut bytes = [7; 16];
        bytes[12..].copy_from_slice(&number.to_be_bytes());
        TenantId::from_bytes(bytes)
    }

    proptest! {
        /// TEN-10: what is destroyed stays so, also in the file; all other keys are what they were.
        #[test]
        fn destroying_some_keys_leaves_the_others(gone in prop::collection::btree_set(0..40_u32, 0..12)) {
            let whole = Root::new([3; 32], [1; 8]);
            let mut root = Root::new([3; 32], [1; 8]);
            for number in &gone {
                root.destroy(tenant(*number));
                root.destroy(tenant(*number));
            }
            let read = Root::read(&root.text()).unwrap();
            prop_assert_eq!(read.id(), whole.id());
            for number in 0..40 {
                let tenant = tenant(number);
                let expected = whole.wrapping_key(tenant).filter(|_| !gone.contains(&number));
                prop_assert_eq!(root.is_destroyed(tenant), expected.is_none());
                prop_assert_eq!(&root.wrapping_key(tenant), &expected);
                prop_assert_eq!(&read.wrapping_key(tenant), &expected);
            }
            prop_assert!(root.nodes.len() <= 1 + 64 * gone.len());
        }

        #[test]
        fn a_changed_file_is_noticed(at in any::<prop::sample::Index>(), bit in 0..7) {
            let mut root = Root::new([3; 32], [1; 8]);
            root.destroy(tenant(1));
            let text = root.text();
            let mut changed = text.as_bytes().to_vec();
            changed[at.index(text.len())] ^= 1_u8 << bit;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(Root::read(&changed).is_none(), "{}", changed);
            prop_assert!(Root::read(&text[..at.index(text.len())]).is_none());
        }
    }

    #[test]
    fn tenants_and_roots_have_keys_of_their_own() {
        let (one, other) = (Root::new([3; 32], [1; 8]), Root::new([4; 32], [1; 8]));
        assert_ne!(one.wrapping_key(tenant(1)), one.wrapping_key(tenant(2)));
        assert_ne!(one.wrapping_key(tenant(1)), other.wrapping_key(tenant(1)));
    }
}
