//! The tree as C2SP tlog-tiles lays it out: 256 neighbouring hashes in a tile, eight heights of the tree
//! apart.
//!
//! Source: c2sp.org/tlog-tiles.

use std::fmt::Write as _;

use crate::domain::merkle::{Hash, Node, join};

/// Hashes of a full tile, leaves of a full bundle.
pub const WIDTH: u64 = 256;
/// Heights of the tree between two levels of tiles.
pub const HEIGHT: u8 = 8;

/// A tile, full or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tile {
    /// 0 holds the hashes of leaves, the next one those of full tiles below.
    pub level: u8,
    /// Which of its level, from the left.
    pub index: u64,
}

impl Tile {
    /// How many of its hashes a tree of `size` leaves has: 0 to 256.
    #[must_use]
    pub fn width(self, size: u64) -> u64 {
        hashes_at(self.level, size).saturating_sub(self.index * WIDTH).min(WIDTH)
    }

    /// `tile/0/x001/x234/067`, with `.p/17` behind if `width` is 17.
    #[must_use]
    pub fn path(self, width: u64) -> String {
        path(&format!("tile/{}", self.level), self.index, width)
    }
}

/// How many hashes of a level a tree of `size` leaves has.
#[must_use]
pub fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(HEIGHT)).unwrap_or(0)
}

/// All tiles of a tree of `size` leaves above the leaves' own, level by level, from the left.
pub fn upper(size: u64) -> impl Iterator<Item = Tile> {
    let levels = (1..).take_while(move |level| 0 < hashes_at(*level, size));
    levels.flat_map(move |level| {
        let tiles = hashes_at(level, size).div_ceil(WIDTH);
        (0..tiles).map(move |index| Tile { level, index })
    })
}

/// A path below `folder` of the tile or bundle number `index`: `folder/x001/x234/067.p/17`.
#[must_use]
pub fn path(folder: &str, index: u64, width: u64) -> String {
    let mut parts = vec![index % 1000];
    let mut rest = index / 1000;
    while 0 < rest {
        parts.push(rest % 1000);
        rest /= 1000;
    }
    let mut path = folder.to_owned();
    for (left, part) in (0..parts.len()).rev().zip(parts.into_iter().rev()) {
        let cross = if left == 0 { "" } else { "x" };
        write!(path, "/{cross}{part:03}").expect("a String takes every write");
    }
    if width < WIDTH {
        write!(path, ".p/{width}").expect("a String takes every write");
    }
    path
}

/// Where the hash of a perfect subtree is: in which tile, and which of its hashes it is the [`join`] of.
#[must_use]
pub fn place(node: Node) -> (Tile, std::ops::Range<usize>) {
    let (level, within) = (node.height / HEIGHT, node.height % HEIGHT);
    let first = node.index << within;
    let start = usize::try_from(first % WIDTH).unwrap_or(0);
    (Tile { level, index: first / WIDTH }, start..start + (1 << within))
}

/// The hash of a perfect subtree out of the hashes of the tile that [`place`] names; `None` if the tile
/// is too short.
#[must_use]
pub fn hash_in(node: Node, tile: &[Hash]) -> Option<Hash> {
    let (_, range) = place(node);
    let mut hashes = tile.get(range)?.to_vec();
    while 1 < hashes.len() {
        hashes = hashes.chunks(2).map(join).collect();
    }
    hashes.pop()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::merkle::{Peaks, leaf_hash};

    /// The examples of the specification.
    #[test]
    fn paths_and_widths_are_those_of_the_specification() {
        assert_eq!(path("tile/entries", 1_234_067, 256), "tile/entries/x001/x234/067");
        assert_eq!(Tile { level: 0, index: 273 }.path(112), "tile/0/273.p/112");
        assert_eq!(Tile { level: 1, index: 1000 }.path(256), "tile/1/x001/000");
        // A tree of 70,000: 273 full tiles and one of 112; above a full one and one of 17, above one of 1.
        let width = |level, index| Tile { level, index }.width(70_000);
        assert_eq!((width(0, 272), width(0, 273), width(0, 274)), (256, 112, 0));
        assert_eq!((width(1, 0), width(1, 1), width(2, 0), width(3, 0)), (256, 17, 1, 0));
        assert_eq!(
            upper(70_000).collect::<Vec<_>>(),
            [(1, 0), (1, 1), (2, 0)].map(|(level, index)| Tile { level, index })
        );
        // A tree of 256: a full tile, and one of 1 above it.
        assert_eq!(upper(256).map(|tile| tile.width(256)).collect::<Vec<_>>(), [1]);
        assert_eq!(upper(255).count(), 0);
    }

    /// Every subtree of a tree of 70,000 leaves is found in the tiles, whatever its height.
    #[test]
    fn subtrees_are_found_in_tiles() {
        let (mut peaks, mut tiles) = (Peaks::default(), std::collections::BTreeMap::<Tile, Vec<Hash>>::new());
        let mut nodes = Vec::new();
        for leaf in 0..70_000_u32 {
            peaks.push(leaf_hash(&leaf.to_be_bytes()), |node, hash| {
                if node.height % HEIGHT == 0 {
                    let (tile, range) = place(node);
                    let hashes = tiles.entry(tile).or_default();
                    assert_eq!(range, hashes.len()..hashes.len() + 1);
                    hashes.push(hash);
                }
                if leaf % 977 == 0 || 9 < node.height {
                    nodes.push((node, hash));
                }
            });
        }
        for (node, hash) in nodes {
            assert_eq!(hash_in(node, &tiles[&place(node).0]), Some(hash), "{node:?}");
        }
        assert_eq!(hash_in(Node { height: 4, index: 4375 }, &tiles[&Tile { level: 0, index: 273 }]), None);
    }
}
