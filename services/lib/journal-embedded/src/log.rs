//! The commit log: what is in it is durable, and the tables follow.
//!
//! Segments are files of one size that are written with zeros when they are made, and used again when the
//! tables hold what is in them: a sync then writes data only. It takes half the time of a sync that
//! makes a file longer, and does not wait for a kernel worker when the processors are busy. Their names mean
//! nothing; frames carry number and history (see [`crate::frame`]), so that what an earlier use left in a
//! segment is not taken for the present.
//!
//! A group is one frame, written and synced before the next one begins. So only the last frame can be
//! torn, and a damaged one with a later one behind it is damage.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::store::StoreError;
use parking_lot::Mutex;

use crate::directory::StoreId;
use crate::frame::{self, ALIGN, Found, HEADER_BYTES, Record};
use crate::records::Position;

/// Segments that are kept for use although nothing is in them.
const SPARES_MAX: usize = 8;

/// A file of the log.
struct Segment {
    file: File,
    path: PathBuf,
    len: u64,
}

/// Makes segments and keeps those that can be used again. Shared with the thread that makes them ahead.
pub(crate) struct Segments {
    directory: PathBuf,
    segment_bytes: u64,
    next_name: AtomicU64,
    spares: Mutex<Vec<Segment>>,
    /// The last group that the tables hold.
    applied: AtomicU64,
}

impl Segments {
    /// Notes that the tables durably hold all groups up to this one.
    pub(crate) fn set_applied(&self, group: u64) {
        self.applied.store(group, Ordering::Release);
    }

    /// Makes a segment ahead if none is spare.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        if self.spares.lock().is_empty() {
            let spare = self.create(self.segment_bytes)?;
            self.spares.lock().push(spare);
        }
        Ok(())
    }

    fn take(&self, bytes: u64) -> io::Result<Segment> {
        if bytes <= self.segment_bytes
            && let Some(spare) = self.spares.lock().pop()
        {
            return Ok(spare);
        }
        self.create(bytes.max(self.segment_bytes))
    }

    fn create(&self, bytes: u64) -> io::Result<Segment> {
        let path = self.directory.join(format!("{}.log", self.next_name.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let zeros = vec![0; 1 << 20];
        let mut at = 0;
        while at < bytes {
            let part = zeros.len().min(usize::try_from(bytes - at).unwrap_or(zeros.len()));
            file.write_all_at(&zeros[..part], at)?;
            at += part as u64;
        }
        file.sync_all()?;
        File::open(&self.directory)?.sync_all()?;
        Ok(Segment { file, path, len: bytes })
    }

    /// Takes a segment back, all of whose groups the tables hold.
    fn give_back(&self, segment: Segment) -> io::Result<()> {
        let mut spares = self.spares.lock();
        if segment.len == self.segment_bytes && spares.len() < SPARES_MAX {
            spares.push(segment);
            return Ok(());
        }
        drop(spares);
        fs::remove_file(segment.path)
    }
}

/// The open log, owned by the writer.
pub(crate) struct Log {
    segments: Arc<Segments>,
    store: StoreId,
    sync: bool,
    current: Option<Segment>,
    offset: u64,
    /// The last group in `current`.
    last: u64,
    /// Segments that are full, with the last group in each, in order.
    full: VecDeque<(Segment, u64)>,
    buffer: Vec<u8>,
}

impl Log {
    pub(crate) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// Writes a group and syncs it.
    pub(crate) fn append<'a>(
        &mut self,
        at: Position,
        payload: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        frame::write(&mut self.buffer, self.store, at, payload);
        let bytes = self.buffer.len() as u64;
        if self.current.as_ref().is_none_or(|segment| self.offset + bytes > segment.len) {
            self.turn(bytes)?;
        }
        let Some(segment) = &self.current else { return Err(io::ErrorKind::NotFound.into()) };
        segment.file.write_all_at(&self.buffer, self.offset)?;
        if self.sync {
            segment.file.sync_data()?;
        }
        self.offset += bytes;
        self.last = at.group;
        Ok(())
    }

    /// Begins a segment that has room for `bytes`, and gives back those that the tables hold.
    fn turn(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(full) = self.current.take() {
            self.full.push_back((full, self.last));
        }
        let applied = self.segments.applied.load(Ordering::Acquire);
        while let Some((segment, last)) = self.full.pop_front() {
            if last > applied {
                self.full.push_front((segment, last));
                break;
            }
            self.segments.give_back(segment)?;
        }
        self.current = Some(self.segments.take(bytes)?);
        self.offset = 0;
        Ok(())
    }
}

/// A frame and where it is.
#[derive(Clone, Copy)]
struct Place {
    segment: usize,
    offset: usize,
    found: Found,
}

/// What the files of a log hold, before it is known what of it is needed.
pub(crate) struct Files {
    directory: PathBuf,
    store: StoreId,
    segments: Vec<Segment>,
    places: Vec<Place>,
}

/// A log that cannot be read to its end.
#[derive(Debug)]
pub(crate) enum LogError {
    Io(io::Error),
    /// A group is missing or damaged, and a later one is there.
    Gap {
        missing: u64,
        behind: u64,
    },
    Damaged(StoreError),
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> LogError {
        LogError::Io(error)
    }
}

impl Files {
    /// Finds all frames of `store` in the segments in `directory`, which is made if it is not there.
    pub(crate) fn read(directory: &Path, store: StoreId) -> io::Result<Files> {
        fs::create_dir_all(directory)?;
        let mut files =
            Files { directory: directory.to_owned(), store, segments: Vec::new(), places: Vec::new() };
        for file in fs::read_dir(directory)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "log") {
                continue;
            }
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let bytes = fs::read(&path)?;
            files.find(&bytes);
            files.segments.push(Segment { file, path, len: bytes.len() as u64 });
        }
        Ok(files)
    }

    /// Behind a frame the next one begins; in what is no frame, one may begin at any multiple of [`ALIGN`].
    fn find(&mut self, bytes: &[u8]) {
        let mut offset = 0;
        while offset + HEADER_BYTES <= bytes.len() {
            offset += match frame::find(&bytes[offset..], self.store) {
                Some(found) => {
                    self.places.push(Place { segment: self.segments.len(), offset, found });
                    found.len
                }
                None => ALIGN,
            };
        }
    }

    /// Hands the groups behind `applied` to `apply`, in order, each in its place in the history.
    ///
    /// With `accept_loss` what lies behind a gap is erased, so that no later reader takes it for the present.
    pub(crate) fn replay(
        self,
        applied: Position,
        options: &Opening,
        mut apply: impl FnMut(Position, Vec<Record>),
    ) -> Result<(Position, Log), LogError> {
        let mut later: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
        for place in &self.places {
            if place.found.at.group > applied.group {
                later.entry(place.found.at.group).or_default().push(*place);
            }
        }
        let (mut at, mut end) = (applied, None);
        let mut last_in = vec![0; self.segments.len()];
        while let Some(candidates) = later.remove(&(at.group + 1)) {
            let Some((place, next, records)) = self.continuation(at, &candidates)? else {
                later.insert(at.group + 1, candidates);
                break;
            };
            apply(next, records);
            at = next;
            end = Some(place);
            last_in[place.segment] = next.group;
        }
        if let Some((&behind, _)) = later.last_key_value() {
            if !options.accept_loss {
                return Err(LogError::Gap { missing: at.group + 1, behind });
            }
            later.values().flatten().try_for_each(|place| self.erase(place))?;
        }
        Ok((at, self.into_log(applied, end, last_in, options)?))
    }

    /// The one of `candidates` that continues the history, read.
    fn continuation(
        &self,
        at: Position,
        candidates: &[Place],
    ) -> Result<Option<(Place, Position, Vec<Record>)>, LogError> {
        for place in candidates {
            let mut bytes = vec![0; place.found.len];
            self.segments[place.segment].file.read_exact_at(&mut bytes, place.offset as u64)?;
            let (next, records) = frame::read(&bytes, at).map_err(LogError::Damaged)?;
            if next == place.found.at {
                return Ok(Some((*place, next, records)));
            }
        }
        Ok(None)
    }

    fn erase(&self, place: &Place) -> io::Result<()> {
        let file = &self.segments[place.segment].file;
        file.write_all_at(&[0; HEADER_BYTES], place.offset as u64)?;
        file.sync_all()
    }

    fn into_log(
        self,
        applied: Position,
        end: Option<Place>,
        last_in: Vec<u64>,
        options: &Opening,
    ) -> io::Result<Log> {
        let names =
            self.segments.iter().filter_map(|segment| segment.path.file_stem()?.to_str()?.parse().ok());
        let segments = Segments {
            directory: self.directory,
            segment_bytes: options.segment_bytes,
            next_name: AtomicU64::new(names.max().map_or(0, |name: u64| name + 1)),
            spares: Mutex::default(),
            applied: AtomicU64::new(applied.group),
        };
        let (mut current, mut full) = (None, Vec::new());
        for (number, segment) in self.segments.into_iter().enumerate() {
            match last_in[number] {
                _ if end.is_some_and(|end| end.segment == number) => current = Some(segment),
                0 => segments.give_back(segment)?,
                last => full.push((segment, last)),
            }
        }
        full.sort_by_key(|(_, last)| *last);
        Ok(Log {
            segments: Arc::new(segments),
            store: self.store,
            sync: options.sync,
            current,
            offset: end.map_or(0, |end| (end.offset + end.found.len) as u64),
            last: end.map_or(0, |end| end.found.at.group),
            full: full.into(),
            buffer: Vec::new(),
        })
    }
}

/// How a log is opened.
pub(crate) struct Opening {
    pub(crate) segment_bytes: u64,
    pub(crate) sync: bool,
    pub(crate) accept_loss: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Next;

    const STORE: StoreId = [5; 16];
    const SEGMENT: u64 = 1024;

    fn opening(accept_loss: bool) -> Opening {
        Opening { segment_bytes: SEGMENT, sync: false, accept_loss }
    }

    fn open(directory: &Path, applied: Position) -> (Position, Log, Vec<u64>) {
        let mut replayed = Vec::new();
        let files = Files::read(directory, STORE).unwrap();
        let (at, log) =
            files.replay(applied, &opening(false), |at, _| replayed.push(at.group)).expect("a whole log");
        (at, log, replayed)
    }

    /// Appends groups that forget a key each; returns their positions.
    fn append(log: &mut Log, mut at: Position, groups: usize) -> Vec<Position> {
        (0..groups)
            .map(|_| {
                let (tenant, hash) = (
                    ids::TenantId::from_bytes([1; 16]),
                    journal::store::KeyHash([at.group.to_be_bytes()[7]; 9]),
                );
                let (mut next, mut payload) = (Next::after(at), Vec::new());
                next.forget(tenant, hash);
                frame::push_forget(&mut payload, tenant, hash);
                at = next.position();
                log.append(at, [payload.as_slice()].into_iter()).unwrap();
                at
            })
            .collect()
    }

    fn files(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn what_was_appended_is_replayed_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let (at, mut log, _) = open(directory.path(), Position::default());
        let positions = append(&mut log, at, 40);
        assert!(files(directory.path()) > 3, "several segments");
        for applied in [0_usize, 1, 17, 39, 40] {
            let from = positions.get(applied.wrapping_sub(1)).copied().unwrap_or_default();
            let (at, _, replayed) = open(directory.path(), from);
            assert_eq!(Some(&at), positions.last());
            assert!(replayed.into_iter().eq(applied as u64 + 1..=40));
        }
    }

    #[test]
    fn segments_are_used_again_once_the_tables_hold_their_groups() {
        let directory = tempfile::tempdir().unwrap();
        let (mut at, mut log, _) = open(directory.path(), Position::default());
        for _ in 0..20 {
            at = *append(&mut log, at, 10).last().unwrap();
            log.segments().set_applied(at.group);
        }
        assert!(files(directory.path()) <= 4, "{}", files(directory.path()));
        let more = append(&mut log, at, 7);
        let (end, mut log, replayed) = open(directory.path(), at);
        assert_eq!(Some(&end), more.last());
        assert!(replayed.into_iter().eq(at.group + 1..=at.group + 7));
        let again = append(&mut log, end, 30);
        let (end, ..) = open(directory.path(), at);
        assert_eq!(Some(&end), again.last());
    }

    #[test]
    fn a_group_larger_than_a_segment_has_one_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (at, mut log, _) = open(directory.path(), Position::default());
        let (mut next, mut payload) = (Next::after(at), Vec::new());
        for n in 0..200 {
            let (tenant, hash) = (ids::TenantId::from_bytes([1; 16]), journal::store::KeyHash([n; 9]));
            next.forget(tenant, hash);
            frame::push_forget(&mut payload, tenant, hash);
        }
        let at = next.position();
        log.append(at, [payload.as_slice()].into_iter()).unwrap();
        let last = append(&mut log, at, 20).pop();
        assert_eq!(Some(open(directory.path(), Position::default()).0), last);
        // It is not kept for use again.
        log.segments().set_applied(21);
        append(&mut log, last.unwrap(), 20);
        let sizes =
            fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        assert!(sizes.into_iter().all(|len| len == SEGMENT));
    }

    #[test]
    fn a_torn_last_frame_is_the_end_and_one_with_another_behind_it_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let (at, mut log, _) = open(directory.path(), Position::default());
        let positions = append(&mut log, at, 5);
        let path = log.current.as_ref().unwrap().path.clone();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let frame = log.offset / 5;
        file.write_all_at(b"!", 4 * frame + 80).unwrap();
        let (end, mut log, _) = open(directory.path(), Position::default());
        assert_eq!(end, positions[3], "the fifth is torn");
        let positions = append(&mut log, end, 3);
        assert_eq!(open(directory.path(), Position::default()).0, positions[2]);

        file.write_all_at(b"!", 2 * frame + 80).unwrap();
        let damaged = Files::read(directory.path(), STORE).unwrap();
        let damaged = damaged.replay(Position::default(), &opening(false), |_, _| {}).err();
        assert!(matches!(damaged, Some(LogError::Gap { missing: 3, behind: 7 })), "{damaged:?}");

        // Going on from what is there erases the rest, for good.
        let accepting = Files::read(directory.path(), STORE).unwrap();
        let (end, mut log) = accepting.replay(Position::default(), &opening(true), |_, _| {}).unwrap();
        assert_eq!(end.group, 2);
        let positions = append(&mut log, end, 1);
        assert_eq!(open(directory.path(), Position::default()).0, positions[0]);
    }

    #[test]
    fn frames_of_another_history_do_not_continue_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let (at, mut log, _) = open(directory.path(), Position::default());
        append(&mut log, at, 5);
        let other = Position { group: 2, hash: [1; 32] };
        let files = Files::read(directory.path(), STORE).unwrap();
        let error = files.replay(other, &opening(false), |_, _| {}).err();
        assert!(matches!(error, Some(LogError::Gap { missing: 3, behind: 5 })), "{error:?}");
    }
}
