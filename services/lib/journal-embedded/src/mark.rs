//! The mark: a small file beside the engine that says which group was acknowledged last.
//!
//! The engine recovers what its own files hold, and cannot know what they once held: files that a disk
//! rolled back, or that somebody restored, look complete. The mark is written before the callers are
//! answered, to two slots in turn, so that a write that is torn leaves the other one. It is not synced with
//! each group: it outlives the process, and after a power cut an older mark only asks for less.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::directory::StoreId;
use crate::records::Position;

/// Syncs the mark from another thread.
pub(crate) struct Sync(File);

impl Sync {
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Distance of the slots: each in a block of its own.
const SLOT_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"cp-mark1";
/// Magic, store, group, hash, checksum.
const MARK_BYTES: usize = 8 + 16 + 8 + 32 + 4;

/// The open file.
pub(crate) struct Mark {
    file: File,
    store: StoreId,
}

/// What the file said when it was opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No file.
    Missing,
    /// No slot has a valid mark of this store.
    Damaged,
    /// The newer of the valid marks.
    At(Position),
}

impl Mark {
    /// Reads the file at `path`.
    pub(crate) fn find(path: &Path, store: StoreId) -> io::Result<Found> {
        let bytes = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            bytes => bytes?,
        };
        let marks = bytes.chunks(SLOT_BYTES).filter_map(|slot| decode(slot, store));
        Ok(marks.max_by_key(|at| at.group).map_or(Found::Damaged, Found::At))
    }

    /// Puts a file in the place of the one at `path`, with `at` as its only mark.
    pub(crate) fn create(path: &Path, store: StoreId, at: Position) -> io::Result<Mark> {
        let new = path.with_extension("new");
        let file = File::create(&new)?;
        file.set_len(2 * SLOT_BYTES as u64)?;
        let mark = Mark { file, store };
        mark.write(at)?;
        mark.file.sync_all()?;
        fs::rename(new, path)?;
        // A store with groups and without a mark does not open, so the name must not get lost.
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
        Ok(mark)
    }

    /// What syncs the mark: from time to time, so that a power cut does not leave it far behind.
    pub(crate) fn syncing(&self) -> io::Result<Sync> {
        self.file.try_clone().map(Sync)
    }

    /// Notes that all groups up to `at` are durable and about to be acknowledged.
    pub(crate) fn write(&self, at: Position) -> io::Result<()> {
        let slot = (at.group % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&encode(at, self.store), slot)
    }
}

fn encode(at: Position, store: StoreId) -> [u8; MARK_BYTES] {
    let mut bytes = [0; MARK_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..24].copy_from_slice(&store);
    bytes[24..32].copy_from_slice(&at.group.to_be_bytes());
    bytes[32..64].copy_from_slice(&at.hash);
    let checksum = crc32fast::hash(&bytes[..64]);
    bytes[64..].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn decode(slot: &[u8], store: StoreId) -> Option<Position> {
    let slot = slot.get(..MARK_BYTES)?;
    let group = u64::from_be_bytes(slot[24..32].try_into().ok()?);
    let at = Position { group, hash: slot[32..64].try_into().ok()? };
    (encode(at, store) == slot).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(group: u64) -> Position {
        Position { group, hash: [group.to_be_bytes()[7]; 32] }
    }

    #[test]
    fn the_newest_valid_slot_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        let find = |store| Mark::find(&path, store).unwrap();

        assert_eq!(find([1; 16]), Found::Missing);
        let mark = Mark::create(&path, [1; 16], at(1)).unwrap();
        assert_eq!(find([1; 16]), Found::At(at(1)));
        mark.write(at(2)).unwrap();
        mark.write(at(3)).unwrap();
        assert_eq!(find([1; 16]), Found::At(at(3)));
        assert_eq!(find([2; 16]), Found::Damaged, "another store's");

        mark.file.write_all_at(b"!", SLOT_BYTES as u64 + 40).unwrap();
        assert_eq!(find([1; 16]), Found::At(at(2)), "the slot of group 3 is torn");
        mark.file.write_all_at(b"!", 30).unwrap();
        assert_eq!(find([1; 16]), Found::Damaged, "both are torn");

        Mark::create(&path, [1; 16], at(1)).unwrap();
        assert_eq!(find([1; 16]), Found::At(at(1)), "a new file forgets later marks");
    }
}
