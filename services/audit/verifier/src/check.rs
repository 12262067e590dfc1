//! The check of a whole file.

use std::collections::HashMap;
use std::io::Read;

use ct_merkle::RootHash;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::{Digest as _, Sha256};

use crate::Fault;
use crate::file::File;
use crate::leaf::Leaf;
use crate::note::{Head, Key, read_checkpoint};

/// Hashes of a tile, leaves of a bundle.
const WIDTH: u64 = 256;
const CHECKPOINT_BYTES_MAX: usize = 4096;
const LEAF_BYTES_MAX: usize = 128;
const BUNDLE_BYTES_MAX: usize = 256 * (2 + LEAF_BYTES_MAX);
const TILE_BYTES: usize = 256 * 32;
/// A salt, a hash, and the largest entry that a journal takes.
const CONTENT_BYTES_MAX: usize = 16 + 256 * 1024;

type Hash = [u8; 32];

/// The last entry of an aggregate, and the hash over its entries.
type Journals = HashMap<(String, [u8; 16]), (u64, Hash)>;

/// What a file holds.
pub struct Report {
    /// Its signed head.
    pub head: Head,
    /// Journals whose entries are leaves.
    pub journals: usize,
    tree: MemoryBackedTree<Sha256, Vec<u8>>,
}

/// Checks a file from its first to its last byte.
///
/// # Errors
/// The first thing that is wrong, in a sentence.
pub fn check(file: impl Read, log: &Key, witness: &Key) -> Result<Report, Fault> {
    let mut file = File::open(file)?;
    let note = file.section("checkpoint", CHECKPOINT_BYTES_MAX)?;
    let note = String::from_utf8(note).map_err(|_| Fault::wrong("its checkpoint is no text"))?;
    let head = read_checkpoint(&note, log, witness)?;

    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut journals = Journals::new();
    let mut above = Vec::new();
    for bundle in 0..head.size.div_ceil(WIDTH) {
        let hashes = check_bundle(&mut file, bundle, head.size, &mut tree, &mut journals)?;
        if hashes.len() as u64 == WIDTH {
            above.push(joined(hashes));
        }
    }
    check_tiles(&mut file, above)?;
    file.close()?;
    if **tree.root().as_bytes() != head.root {
        return Err(Fault::wrong("its leaves do not have the signed root"));
    }
    Ok(Report { head, journals: journals.len(), tree })
}

/// Checks that a log begins with everything that an earlier head of it covers.
///
/// # Errors
/// Why it does not.
pub fn continues(report: &Report, earlier: &Head) -> Result<(), Fault> {
    let (old, new) = (earlier.size, report.head.size);
    if earlier.origin != report.head.origin {
        let (one, other) = (&earlier.origin, &report.head.origin);
        return Err(Fault::wrong(format!("it is the log '{other}', not '{one}'")));
    }
    if new < old {
        return Err(Fault::wrong(format!("it has {new} leaves, it had {old} before: it was set back")));
    }
    let rewritten = || Fault::wrong(format!("its first {old} leaves are not those that it had before"));
    if old == 0 {
        let empty: Hash = Sha256::digest([]).into();
        return if earlier.root == empty { Ok(()) } else { Err(rewritten()) };
    }
    let added = usize::try_from(new - old).map_err(|_| Fault::wrong("it has too many leaves"))?;
    let proof = report.tree.prove_consistency(added);
    let earlier = RootHash::<Sha256>::new(earlier.root.into(), old);
    report.tree.root().verify_consistency(&earlier, &proof).map_err(|_| rewritten())
}

/// Checks a bundle of leaves, their contents and their tile; gives back the hashes of the leaves.
fn check_bundle(
    file: &mut File<impl Read>,
    bundle: u64,
    size: u64,
    tree: &mut MemoryBackedTree<Sha256, Vec<u8>>,
    journals: &mut Journals,
) -> Result<Vec<Hash>, Fault> {
    let (first, width) = (bundle * WIDTH, WIDTH.min(size - bundle * WIDTH));
    let bytes = file.section(&path("tile/entries", bundle, width), BUNDLE_BYTES_MAX)?;
    let leaves = take_apart(&bytes, width)
        .ok_or_else(|| Fault::wrong(format!("bundle {bundle} does not hold {width} leaves")))?;
    let mut hashes = Vec::with_capacity(leaves.len());
    for (index, bytes) in (first..).zip(leaves) {
        let of_leaf = |fault: Fault| match fault {
            Fault::Wrong(what) => Fault::wrong(format!("leaf {index}: {what}")),
            unreadable => unreadable,
        };
        let content = file.section(&format!("payload/{index}"), CONTENT_BYTES_MAX)?;
        let leaf = Leaf::read(bytes).ok_or_else(|| of_leaf(Fault::wrong("it is malformed")))?;
        let journal = journals.entry((leaf.service.to_owned(), leaf.aggregate)).or_default();
        if leaf.seq != journal.0 + 1 {
            let (found, last) = (leaf.seq, journal.0);
            return Err(of_leaf(Fault::wrong(format!("entry {found} of its journal follows entry {last}"))));
        }
        *journal = (leaf.seq, leaf.check(&content, journal.1).map_err(of_leaf)?);
        hashes.push(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into());
        tree.push(bytes.to_vec());
    }
    check_tile(file, 0, bundle, &hashes)?;
    Ok(hashes)
}

/// The leaves of a bundle, each behind its length.
fn take_apart(mut bytes: &[u8], count: u64) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (leaf, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        leaves.push(leaf);
        bytes = rest;
    }
    bytes.is_empty().then_some(leaves)
}

/// Checks the tiles above the leaves' own: `hashes` are those of the full tiles of level 0.
fn check_tiles(file: &mut File<impl Read>, mut hashes: Vec<Hash>) -> Result<(), Fault> {
    for level in 1_u8.. {
        if hashes.is_empty() {
            break;
        }
        let mut above = Vec::new();
        for (index, tile) in (0..).zip(hashes.chunks(256)) {
            check_tile(file, level, index, tile)?;
            if tile.len() as u64 == WIDTH {
                above.push(joined(tile.to_vec()));
            }
        }
        hashes = above;
    }
    Ok(())
}

fn check_tile(file: &mut File<impl Read>, level: u8, index: u64, expected: &[Hash]) -> Result<(), Fault> {
    let name = path(&format!("tile/{level}"), index, expected.len() as u64);
    if file.section(&name, TILE_BYTES)? != expected.concat() {
        return Err(Fault::wrong(format!("'{name}' does not hold the hashes of its leaves")));
    }
    Ok(())
}

/// The root over a power of two of hashes.
fn joined(mut hashes: Vec<Hash>) -> Hash {
    while 1 < hashes.len() {
        let pair =
            |pair: &[Hash]| Sha256::new().chain_update([1]).chain_update(pair.concat()).finalize().into();
        hashes = hashes.chunks(2).map(pair).collect();
    }
    hashes[0]
}

/// `folder/x001/x234/067.p/17`.
fn path(folder: &str, index: u64, width: u64) -> String {
    let text = index.to_string();
    let zeros = (3 - text.len() % 3) % 3;
    let digits = format!("{}{text}", "0".repeat(zeros));
    let mut path = folder.to_owned();
    for at in (0..digits.len()).step_by(3) {
        path.push_str(if at + 3 < digits.len() { "/x" } else { "/" });
        path.push_str(&digits[at..at + 3]);
    }
    if width < WIDTH { format!("{path}.p/{width}") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        for (index, width, expected) in [
            (0, 256, "tile/0/000"),
            (7, 17, "tile/0/007.p/17"),
            (1000, 256, "tile/0/x001/000"),
            (1_234_067, 1, "tile/0/x001/x234/067.p/1"),
        ] {
            assert_eq!(path("tile/0", index, width), expected);
        }
    }
}
