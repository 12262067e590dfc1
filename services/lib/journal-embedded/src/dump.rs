//! Everything that a store holds at one moment, table by table, for a backup.
//!
//! Taking a dump costs the writer a moment between two groups: the active generation is frozen, and a snapshot of
//! the tables is taken. Reading it holds up nobody, however long it takes; it keeps in memory what the log held
//! and the tables did not.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use fjall::Snapshot;
use ids::{AggregateId, TenantId};
use journal::store::StoreError;

use crate::contents::{bytes, merge, newest};
use crate::overlay::{Change, Generation, Overlay};
use crate::queue::Job;
use crate::records::{self, Position};
use crate::store::EmbeddedStore;
use crate::tables::{Table, Tables};

/// How long a writer stands still for somebody who takes dumps of several stores; then it goes on, and they are
/// told that they were too slow.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A part of a store whose records are in order of their keys, and are written to the same part of another store
/// as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Section {
    /// Entries of all aggregates.
    Entry,
    /// State rows.
    Row,
    /// Idempotency keys.
    Key,
    /// Unique values.
    Claim,
    /// Index rows.
    Index,
    /// Heads. Behind what they stand for: a head names a state that is there.
    Head,
    /// Which aggregates changed, group by group.
    Feed,
}

impl Section {
    /// All of them, in the order in which they are written.
    pub const ALL: [Section; 7] = [
        Section::Entry,
        Section::Row,
        Section::Key,
        Section::Claim,
        Section::Index,
        Section::Head,
        Section::Feed,
    ];

    /// Its name, the same in every version.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Section::Entry => "entry",
            Section::Row => "row",
            Section::Key => "key",
            Section::Claim => "claim",
            Section::Index => "index",
            Section::Head => "head",
            Section::Feed => "feed",
        }
    }

    pub(crate) fn table(self) -> Table {
        match self {
            Section::Entry => Table::Entry,
            Section::Row => Table::Row,
            Section::Key => Table::Key,
            Section::Claim => Table::Claim,
            Section::Index => Table::Index,
            Section::Head => Table::Head,
            Section::Feed => Table::Feed,
        }
    }

    /// The tenant whose record has this key; `None` in the feed, which is of all.
    #[must_use]
    pub fn tenant(self, key: &[u8]) -> Option<TenantId> {
        let tenant = key.first_chunk().filter(|_| self != Section::Feed);
        tenant.map(|tenant| TenantId::from_bytes(*tenant))
    }

    /// The aggregate that a record belongs to; `None` in the feed, and for what is malformed.
    #[must_use]
    pub fn aggregate(self, key: &[u8], value: &[u8]) -> Option<AggregateId> {
        let bytes = match self {
            Section::Entry | Section::Row | Section::Head => key.get(16..32)?.try_into().ok()?,
            Section::Key => return records::read_key_row(value).ok().map(|row| row.aggregate),
            Section::Claim => value.try_into().ok()?,
            Section::Index => *key.last_chunk()?,
            Section::Feed => return None,
        };
        Some(AggregateId::from_bytes(bytes))
    }
}

/// Where a store was when it was dumped: a store that is made from the dump goes on from there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Number of the last group.
    pub group: u64,
    /// Hash over all groups.
    pub hash: [u8; 32],
    /// The feed is forgotten up to this group.
    pub forgotten: u64,
}

impl Place {
    pub(crate) fn position(&self) -> Position {
        Position { group: self.group, hash: self.hash }
    }
}

/// A key and its value.
pub type RawRecord = (Vec<u8>, Bytes);

/// Everything at one moment.
pub struct Dump {
    tables: Arc<Tables>,
    at: Snapshot,
    /// The newest first.
    generations: Vec<Arc<Generation>>,
    place: Place,
}

impl Dump {
    /// Between two groups, on the thread of the writer.
    pub(crate) fn take(overlay: &Overlay, tables: &Arc<Tables>, at: Position) -> Dump {
        overlay.freeze();
        let generations = overlay.read();
        let place = Place { group: at.group, hash: at.hash, forgotten: generations.forgotten() };
        Dump { at: tables.snapshot(), tables: Arc::clone(tables), generations: generations.frozen(), place }
    }

    /// Where the store was.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// All records of a section, in order of their keys.
    pub fn records(&self, section: Section) -> impl Iterator<Item = Result<RawRecord, StoreError>> + use<> {
        let forgotten = self.place.forgotten.to_be_bytes();
        let from = match section {
            Section::Feed => Bound::Excluded(forgotten.as_slice()),
            _ => Bound::Unbounded,
        };
        let view = self.tables.view_at(self.at.clone());
        let stored = view.range(section.table(), (from, Bound::Unbounded));
        let stored = stored.map(|record| record.map(|(key, value)| (key.to_vec(), bytes(value))));
        let changes: BTreeMap<_, _> = newest(
            self.generations.iter().map(|generation| changes(generation, section, self.place.forgotten)),
        );
        merge(changes, stored)
    }
}

/// What a generation changes in a section.
fn changes(generation: &Generation, section: Section, forgotten: u64) -> Vec<Change> {
    match section {
        Section::Entry => {
            let scopes = generation.scopes().into_iter();
            let entries = scopes.flat_map(|(tenant, aggregate)| {
                let entries = generation.all_entries((tenant, aggregate));
                entries.map(move |(seq, entry)| {
                    (records::entry_key(tenant, aggregate, seq).to_vec(), Some(entry.clone()))
                })
            });
            entries.collect()
        }
        Section::Row => {
            let scopes = generation.scopes().into_iter();
            let rows = scopes.flat_map(|(tenant, aggregate)| {
                let rows = generation.all_rows((tenant, aggregate));
                rows.map(move |(key, value)| (records::row_key(tenant, aggregate, key), value.cloned()))
            });
            rows.collect()
        }
        Section::Key => {
            let keys = generation.keys();
            keys.map(|(key, row)| (key.to_vec(), row.map(|row| records::key_value(row).into()))).collect()
        }
        Section::Claim => {
            let owner = |owner: AggregateId| Bytes::copy_from_slice(owner.as_bytes());
            generation.claims().map(|(key, owned)| (key.to_vec(), owned.map(owner))).collect()
        }
        Section::Index => generation.all_index().map(|(key, value)| (key.to_vec(), value.cloned())).collect(),
        Section::Head => {
            let heads = generation.heads();
            heads.map(|(key, head)| (key.to_vec(), Some(records::head_value(head).into()))).collect()
        }
        Section::Feed => {
            let groups = generation.feed(forgotten, usize::MAX);
            let change = |group: &journal::feed::FeedGroup| {
                (group.number.to_be_bytes().to_vec(), Some(records::feed_value(&group.changes).into()))
            };
            groups.map(change).collect()
        }
    }
}

/// A writer that stands still.
#[derive(Debug)]
pub struct Paused(mpsc::Sender<()>);

impl Paused {
    /// Lets the writer go on. False if it did not wait so long, and wrote meanwhile.
    #[must_use]
    pub fn resume(self) -> bool {
        self.0.send(()).is_ok()
    }
}

/// The writer's side of a pause.
pub(crate) struct Pause {
    pub(crate) taken: mpsc::Sender<Dump>,
    pub(crate) resume: mpsc::Receiver<()>,
}

impl Pause {
    /// Gives the dump away and waits. Whoever has it can drop its side at any time.
    pub(crate) fn hold(self, dump: Dump) {
        if self.taken.send(dump).is_ok() {
            let _ = self.resume.recv_timeout(PAUSE_MAX); // told, forgotten or too slow: all the same here
        }
    }
}

impl EmbeddedStore {
    /// Takes a dump of what is written, behind everything that was acknowledged before the call, and stops the
    /// writer until [`Paused`] is resumed or dropped: dumps of several stores that are all paused are one cut
    /// through all of them. Blocks until the writer is there, at most `patience`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the store is closed or the writer is busy for longer.
    pub fn pause(&self, patience: Duration) -> Result<(Dump, Paused), StoreError> {
        let (taken, dump) = mpsc::channel();
        let (resume, resumed) = mpsc::channel();
        let job = Job::Pause(Pause { taken, resume: resumed });
        self.put_job(job).map_err(StoreError::Unavailable)?;
        let late = |_| StoreError::Unavailable("the writer is busy or stopped".into());
        let dump = dump.recv_timeout(patience).map_err(late)?;
        Ok((dump, Paused(resume)))
    }
}
