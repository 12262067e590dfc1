//! The Merkle tree of RFC 6962: leaves, roots, and which subtrees a proof is made of.
//!
//! Nothing here holds a tree. A tree of any size is its [`Peaks`], at most 64 hashes; proofs name the
//! perfect subtrees whose hashes they need ([`Node`]), and who has the tiles looks them up.

use sha2::{Digest as _, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// Hash of a leaf: `SHA-256(0x00 || leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// Hash of two subtrees: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of the tree without leaves: `SHA-256("")`.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// A perfect subtree: the leaves `index << height .. (index + 1) << height`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Node {
    /// Its 2^height leaves.
    pub height: u8,
    /// Which of the subtrees of this height, from the left.
    pub index: u64,
}

impl Node {
    /// The number of the leaf behind its last one.
    #[must_use]
    pub fn end(self) -> u64 {
        (self.index + 1) << self.height
    }
}

/// A tree that grows: the roots of its perfect subtrees, from the left, the largest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Peaks {
    size: u64,
    hashes: Vec<Hash>,
}

impl Peaks {
    /// Reads what [`Peaks::size`] and [`Peaks::hashes`] gave; `None` if they do not fit each other.
    #[must_use]
    pub fn restore(size: u64, hashes: Vec<Hash>) -> Option<Peaks> {
        (hashes.len() == size.count_ones() as usize).then_some(Peaks { size, hashes })
    }

    /// How many leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Adds a leaf. `completed` is told each perfect subtree that it completes, itself first.
    pub fn push(&mut self, leaf: Hash, mut completed: impl FnMut(Node, Hash)) {
        let (mut node, mut hash) = (Node { height: 0, index: self.size }, leaf);
        completed(node, hash);
        while node.index & 1 == 1 {
            let left = self.hashes.pop().expect("an odd index has a left neighbour");
            hash = node_hash(&left, &hash);
            node = Node { height: node.height + 1, index: node.index >> 1 };
            completed(node, hash);
        }
        self.hashes.push(hash);
        self.size += 1;
        assert_eq!(self.hashes.len(), self.size.count_ones() as usize, "a peak for each bit of the size");
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        join(&self.hashes)
    }
}

/// The root over neighbouring perfect subtrees, the largest first.
#[must_use]
pub fn join(hashes: &[Hash]) -> Hash {
    match hashes.split_last() {
        None => empty_root(),
        Some((last, before)) => before.iter().rev().fold(*last, |right, left| node_hash(left, &right)),
    }
}

/// The perfect subtrees that the leaves `from .. to` consist of; `from` is a multiple of the largest.
fn subtrees(mut from: u64, to: u64) -> Vec<Node> {
    let mut found = Vec::new();
    while from < to {
        let height = (to - from).ilog2();
        found.push(Node { height: u8::try_from(height).unwrap_or(u8::MAX), index: from >> height });
        from += 1 << height;
    }
    found
}

/// The largest power of two below `size`, which is 2 or more.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The hashes of an audit path, each the [`join`] of perfect subtrees, for the leaf `leaf` in the tree of
/// `size` leaves. `None` if there is no such leaf.
/// Source: RFC 6962, section 2.1.1.
#[must_use]
pub fn inclusion(leaf: u64, size: u64) -> Option<Vec<Vec<Node>>> {
    if size <= leaf {
        return None;
    }
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while 1 < to - from {
        let middle = from + split(to - from);
        if leaf < middle {
            path.push(subtrees(middle, to));
            to = middle;
        } else {
            path.push(subtrees(from, middle));
            from = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The hashes of a consistency proof, each the [`join`] of perfect subtrees, between the tree of the first
/// `old` leaves and that of `new`. `None` unless `0 < old <= new`.
/// Source: RFC 6962, section 2.1.2.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Option<Vec<Vec<Node>>> {
    if old == 0 || new < old {
        return None;
    }
    let (mut from, mut to, mut proof, mut whole) = (0, new, Vec::new(), true);
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(subtrees(middle, to));
            to = middle;
        } else {
            proof.push(subtrees(from, middle));
            (from, whole) = (middle, false);
        }
    }
    if !whole {
        proof.push(subtrees(from, to));
    }
    proof.reverse();
    Some(proof)
}

/// Whether `proof` shows that `leaf` is the leaf number `index` of the tree of `size` leaves with `root`.
/// Source: RFC 9162, section 2.1.3.2.
#[must_use]
pub fn is_included(leaf: Hash, index: u64, size: u64, root: &Hash, proof: &[Hash]) -> bool {
    if size <= index {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `new` leaves begins with the tree of `old` leaves.
/// Source: RFC 9162, section 2.1.4.2.
#[must_use]
pub fn is_consistent(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if new < old {
        return false;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let mut proof = proof.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { proof.next() };
    let Some(first) = first else { return false };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut before, mut after) = (*first, *first);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            before = node_hash(sibling, &before);
            after = node_hash(sibling, &after);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            after = node_hash(&after, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && before == *old_root && after == *new_root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The root as RFC 6962 section 2.1 defines it, by recursion.
    fn defined(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => leaf_hash(one),
            more => {
                let (left, right) = more.split_at(usize::try_from(split(more.len() as u64)).unwrap());
                node_hash(&defined(left), &defined(right))
            }
        }
    }

    fn tree(leaves: &[Vec<u8>]) -> (Peaks, std::collections::BTreeMap<Node, Hash>) {
        let (mut peaks, mut nodes) = (Peaks::default(), std::collections::BTreeMap::new());
        for leaf in leaves {
            peaks.push(leaf_hash(leaf), |node, hash| assert_eq!(nodes.insert(node, hash), None));
        }
        (peaks, nodes)
    }

    fn hashes(proof: &[Vec<Node>], nodes: &std::collections::BTreeMap<Node, Hash>) -> Vec<Hash> {
        proof.iter().map(|part| join(&part.iter().map(|node| nodes[node]).collect::<Vec<_>>())).collect()
    }

    fn hex(hash: &[u8]) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn vector(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// The vectors of the reference implementation of RFC 6962 (`merkletree/merkle_tree_test.cc` of
    /// google/certificate-transparency): eight leaves, the root after each.
    #[test]
    fn the_tree_is_that_of_the_reference_implementation() {
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let leaves: Vec<_> = leaves.into_iter().map(vector).collect();
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (size, root) in (1..).zip(roots) {
            assert_eq!(hex(&tree(&leaves[..size]).0.root()), root, "{size} leaves");
        }
        assert_eq!(
            hex(&Peaks::default().root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );

        let (peaks, nodes) = tree(&leaves);
        // Audit path of the sixth of eight leaves, from the same source.
        let path = hashes(&inclusion(5, 8).unwrap(), &nodes);
        let expected = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(path.iter().map(|hash| hex(hash)).collect::<Vec<_>>(), expected);
        assert!(is_included(leaf_hash(&leaves[5]), 5, 8, &peaks.root(), &path));
        // Consistency of six and eight leaves.
        let proof = hashes(&consistency(6, 8).unwrap(), &nodes);
        let expected = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(proof.iter().map(|hash| hex(hash)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_in_the_tree_has_no_proof() {
        assert_eq!(inclusion(0, 0), None);
        assert_eq!(inclusion(7, 7), None);
        assert_eq!(inclusion(0, 1), Some(vec![]));
        assert_eq!(consistency(0, 7), None);
        assert_eq!(consistency(8, 7), None);
        assert_eq!(consistency(7, 7), Some(vec![]));
        assert_eq!(Peaks::restore(3, vec![[0; 32]]), None);
    }

    proptest! {
        #[test]
        fn roots_and_proofs_are_those_of_the_definition(
            leaves in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 1..80),
            one in any::<proptest::sample::Index>(),
            other in any::<proptest::sample::Index>(),
        ) {
            let (peaks, nodes) = tree(&leaves);
            let (size, root) = (leaves.len() as u64, peaks.root());
            prop_assert_eq!(root, defined(&leaves));
            prop_assert_eq!(Peaks::restore(size, peaks.hashes().to_vec()).unwrap().root(), root);

            let leaf = one.index(leaves.len());
            let path = hashes(&inclusion(leaf as u64, size).unwrap(), &nodes);
            prop_assert!(is_included(leaf_hash(&leaves[leaf]), leaf as u64, size, &root, &path));
            // No other place, no other tree, no other leaf.
            let elsewhere = other.index(leaves.len());
            if leaf != elsewhere {
                prop_assert!(!is_included(leaf_hash(&leaves[leaf]), elsewhere as u64, size, &root, &path)
                    || leaves[leaf] == leaves[elsewhere]);
            }
            prop_assert!(!is_included(leaf_hash(&leaves[leaf]), leaf as u64, size, &empty_root(), &path));
            prop_assert!(!is_included(leaf_hash(b"another leaf"), leaf as u64, size, &root, &path));
            for cut in 0..path.len() {
                prop_assert!(!is_included(leaf_hash(&leaves[leaf]), leaf as u64, size, &root, &path[..cut]));
            }

            let old = 1 + other.index(leaves.len()) as u64;
            let old_root = defined(&leaves[..usize::try_from(old).unwrap()]);
            let proof = hashes(&consistency(old, size).unwrap(), &nodes);
            prop_assert!(is_consistent((old, &old_root), (size, &root), &proof));
            prop_assert!(!is_consistent((old, &empty_root()), (size, &root), &proof));
            for at in 0..proof.len() {
                let mut forged = proof.clone();
                forged[at][7] ^= 1;
                prop_assert!(!is_consistent((old, &old_root), (size, &root), &forged));
                prop_assert!(!is_consistent((old, &old_root), (size, &root), &proof[..at]));
            }
        }
    }
}
