//! What the log holds and the tables do not yet, in memory.
//!
//! The writer adds each group to the active generation once it is durable. A generation that is full is
//! frozen, and a thread of its own (see [`crate::indexer`]) writes it to the tables in order of the keys. So a
//! reader looks at the active generation, then at frozen ones from the newest to the oldest, then at the last one that
//! was written, then at the tables.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::feed::{Change as Changed, FeedGroup};
use journal::store::{Commit, Head, KeyHash, KeyRow, Order, Seq};
use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};
use tokio::sync::watch;

use crate::frame::Record;
use crate::records::{self, Position};

/// Generations that wait for their way to the tables before the active one may not be frozen.
const FROZEN_MAX: usize = 1;

/// Rough bytes of memory that a record takes beside its key and value.
const RECORD_BYTES: usize = 96;

pub(crate) type Scope = (TenantId, AggregateId);

/// A record in order of its stored key; `None` was removed.
pub(crate) type Change = (Vec<u8>, Option<Bytes>);

/// Everything of one aggregate that changed.
struct Partition {
    head: Head,
    /// Entries up to `head.seq`.
    entries: Vec<Bytes>,
    rows: BTreeMap<Bytes, Option<Bytes>>,
}

impl Partition {
    fn first(&self) -> Seq {
        self.head.seq + 1 - self.entries.len() as Seq
    }
}

/// What the feed says about a commit: nothing if it wrote no entry.
pub(crate) fn changed(commit: &Commit) -> Option<Changed> {
    let (tenant, aggregate, seq) = (commit.tenant, commit.aggregate, commit.head.seq);
    (!commit.entries.is_empty()).then_some(Changed { tenant, aggregate, seq })
}

/// Consecutive groups.
#[derive(Default)]
pub(crate) struct Generation {
    /// The last group.
    at: Position,
    partitions: HashMap<Scope, Partition>,
    keys: HashMap<(TenantId, KeyHash), Option<KeyRow>>,
    claims: HashMap<Vec<u8>, Option<AggregateId>>,
    index: BTreeMap<Vec<u8>, Option<Bytes>>,
    feed: VecDeque<FeedGroup>,
    bytes: usize,
}

impl Generation {
    pub(crate) fn at(&self) -> Position {
        self.at
    }

    /// Adds a commit. Its claims are added by [`Generation::claim`].
    fn commit(&mut self, commit: Commit) {
        let Commit { tenant, aggregate, head, entries, rows, keys, index, .. } = commit;
        self.bytes += entries.iter().map(|entry| entry.len() + RECORD_BYTES).sum::<usize>();
        for (hash, row) in keys {
            self.bytes += RECORD_BYTES + size_of::<KeyRow>();
            self.keys.insert((tenant, hash), Some(row));
        }
        for change in index {
            let key = records::index_key(tenant, change.index, &change.key, aggregate);
            self.bytes += key.len() + change.value.as_ref().map_or(0, Bytes::len) + RECORD_BYTES;
            self.index.insert(key, change.value);
        }
        let partition = self.partitions.entry((tenant, aggregate)).or_insert_with(|| {
            self.bytes += 4 * RECORD_BYTES + head.header.len();
            Partition { head: Head::default(), entries: Vec::new(), rows: BTreeMap::new() }
        });
        // Most aggregates get one commit a generation: no room is kept for more.
        match partition.entries.is_empty() {
            true => partition.entries = entries,
            false => partition.entries.extend(entries),
        }
        partition.head = head;
        for (key, value) in rows {
            self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + RECORD_BYTES;
            partition.rows.insert(key, value);
        }
    }

    fn claim(&mut self, key: Vec<u8>, owner: Option<AggregateId>) {
        self.bytes += key.len() + RECORD_BYTES;
        self.claims.insert(key, owner);
    }

    fn forget(&mut self, tenant: TenantId, hash: KeyHash) {
        self.bytes += RECORD_BYTES;
        self.keys.insert((tenant, hash), None);
    }

    fn changed(&mut self, number: u64, changes: Vec<Changed>) {
        self.bytes += RECORD_BYTES + changes.len() * size_of::<Changed>();
        self.feed.push_back(FeedGroup { number, changes });
    }

    /// Groups of the feed behind `after`, at most `limit`.
    pub(crate) fn feed(&self, after: u64, limit: usize) -> impl Iterator<Item = &FeedGroup> {
        let begin = self.feed.partition_point(|group| group.number <= after);
        self.feed.range(begin..).take(limit)
    }

    pub(crate) fn head(&self, scope: Scope) -> Option<&Head> {
        Some(&self.partitions.get(&scope)?.head)
    }

    pub(crate) fn row(&self, scope: Scope, key: &Bytes) -> Option<&Option<Bytes>> {
        self.partitions.get(&scope)?.rows.get(key)
    }

    pub(crate) fn key(&self, tenant: TenantId, hash: KeyHash) -> Option<&Option<KeyRow>> {
        self.keys.get(&(tenant, hash))
    }

    pub(crate) fn owner(&self, key: &[u8]) -> Option<Option<AggregateId>> {
        self.claims.get(key).copied()
    }

    pub(crate) fn index_row(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.index.get(key)
    }

    /// State rows of one aggregate whose key begins with `prefix`, by stored key.
    pub(crate) fn rows(&self, scope: Scope, prefix: &Bytes) -> Vec<Change> {
        let Some(partition) = self.partitions.get(&scope) else { return Vec::new() };
        let rows = partition.rows.range::<Bytes, _>(prefix..).take_while(|(key, _)| key.starts_with(prefix));
        rows.map(|(key, value)| (records::row_key(scope.0, scope.1, key), value.clone())).collect()
    }

    /// Sequence of the first entry here, and the entries within `from ..= to`, at most `limit`.
    pub(crate) fn entries(
        &self,
        scope: Scope,
        (from, to): (Seq, Seq),
        order: Order,
        limit: usize,
    ) -> Option<(Seq, Vec<(Seq, Bytes)>)> {
        let partition = self.partitions.get(&scope).filter(|partition| !partition.entries.is_empty())?;
        let first = partition.first();
        let position = |seq: Seq| usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX);
        let (begin, end) = (position(from), position(to.saturating_add(1)).min(partition.entries.len()));
        let within = partition.entries.get(begin..end).unwrap_or_default();
        let numbered = (first.max(from)..).zip(within).map(|(seq, entry)| (seq, entry.clone()));
        let entries = match order {
            Order::Ascending => numbered.take(limit).collect(),
            Order::Descending => {
                let skipped = within.len().saturating_sub(limit);
                let mut entries: Vec<_> = numbered.skip(skipped).collect();
                entries.reverse();
                entries
            }
        };
        Some((first, entries))
    }

    /// Index rows in a range of stored keys, at most `limit`.
    pub(crate) fn index(&self, range: (Bound<&[u8]>, Bound<&[u8]>), limit: usize) -> Vec<Change> {
        let rows = self.index.range::<[u8], _>(range).take(limit);
        rows.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// All heads by stored key, in no order.
    pub(crate) fn heads(&self) -> impl Iterator<Item = ([u8; 32], &Head)> {
        self.partitions.iter().map(|((tenant, aggregate), partition)| {
            (records::aggregate_key(*tenant, *aggregate), &partition.head)
        })
    }

    /// All keys by stored key, in no order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ([u8; 25], Option<&KeyRow>)> {
        self.keys.iter().map(|((tenant, hash), row)| (records::key_key(*tenant, *hash), row.as_ref()))
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = (&[u8], Option<AggregateId>)> {
        self.claims.iter().map(|(key, owner)| (key.as_slice(), *owner))
    }

    /// All index rows in order.
    pub(crate) fn all_index(&self) -> impl Iterator<Item = (&[u8], Option<&Bytes>)> {
        self.index.iter().map(|(key, value)| (key.as_slice(), value.as_ref()))
    }

    /// All aggregates in order.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        let mut scopes: Vec<Scope> = self.partitions.keys().copied().collect();
        scopes.sort_unstable();
        scopes
    }

    /// Entries of one aggregate with their sequence, in order.
    pub(crate) fn all_entries(&self, scope: Scope) -> impl Iterator<Item = (Seq, &Bytes)> {
        self.partitions
            .get(&scope)
            .into_iter()
            .flat_map(|partition| (partition.first()..).zip(&partition.entries))
    }

    /// State rows of one aggregate, in order.
    pub(crate) fn all_rows(&self, scope: Scope) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        let rows = self.partitions.get(&scope).into_iter().flat_map(|partition| &partition.rows);
        rows.map(|(key, value)| (key, value.as_ref()))
    }
}

/// The generations.
#[derive(Default)]
pub(crate) struct Generations {
    active: Generation,
    /// Newest first.
    frozen: VecDeque<Arc<Generation>>,
    /// The newest one that the tables hold too: whoever follows close behind the writer, such as the consumers of the
    /// feed, finds entries here that would cost a look into a file each.
    written: Option<Arc<Generation>>,
    /// The feed is forgotten up to this group.
    forgotten: u64,
}

impl Generations {
    /// From the newest to the oldest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.active).chain(self.frozen.iter().chain(&self.written).map(Arc::as_ref))
    }

    /// Up to where the feed is forgotten.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Those that do not change any more and that the tables do not hold, the newest first.
    pub(crate) fn frozen(&self) -> Vec<Arc<Generation>> {
        self.frozen.iter().cloned().collect()
    }
}

/// The generations, shared by the writer, the readers and the thread that writes the tables.
pub(crate) struct Overlay {
    generations: RwLock<Generations>,
    generation_bytes: usize,
    progress: Mutex<Progress>,
    changed: Condvar,
    /// The last group with a record in the feed.
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct Progress {
    frozen: usize,
    stopped: bool,
}

impl Overlay {
    /// Over tables whose feed has its last record at `last`, and is forgotten up to `forgotten`.
    pub(crate) fn new(generation_bytes: usize, last: u64, forgotten: u64) -> Overlay {
        Overlay {
            generations: RwLock::new(Generations { forgotten, ..Generations::default() }),
            last: watch::Sender::new(last.max(forgotten)),
            generation_bytes,
            progress: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Everything that a reader sees at this moment. Holds up the writer.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Generations> {
        self.generations.read()
    }

    /// The last group with a record in the feed.
    pub(crate) fn last(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Ends a group: what it changed is in the feed.
    pub(crate) fn announce(&self, at: Position, changes: Vec<Changed>) {
        if !changes.is_empty() {
            self.generations.write().active.changed(at.group, changes);
            self.last.send_replace(at.group);
        }
    }

    /// Adds what is durable and atomic: readers see all of it or nothing.
    pub(crate) fn apply(&self, at: Position, records: impl IntoIterator<Item = Record>) {
        let mut generations = self.generations.write();
        let Generations { active, forgotten, .. } = &mut *generations;
        for record in records {
            match record {
                Record::Commit(commit) => active.commit(commit),
                Record::Claim(key, owner) => active.claim(key, owner),
                Record::Forget(tenant, hash) => active.forget(tenant, hash),
                Record::ForgetFeed(upto) => *forgotten = upto.max(*forgotten),
            }
        }
        active.at = at;
    }

    /// Freezes the active generation if it is full. Waits while it is very full and too many are frozen: the
    /// tables cannot keep up. Only between two groups.
    pub(crate) fn turn(&self) {
        let bytes = self.generations.read().active.bytes;
        if bytes < self.generation_bytes {
            return;
        }
        let mut progress = self.progress.lock();
        while progress.frozen >= FROZEN_MAX {
            if bytes < 2 * self.generation_bytes || progress.stopped {
                return;
            }
            self.changed.wait(&mut progress);
        }
        self.push_frozen(&mut progress);
    }

    /// Freezes the active generation, whatever is in it: from here on it does not change. Only between two groups.
    pub(crate) fn freeze(&self) {
        if self.generations.read().active.bytes > 0 {
            self.push_frozen(&mut self.progress.lock());
        }
    }

    fn push_frozen(&self, progress: &mut Progress) {
        let mut generations = self.generations.write();
        let full = std::mem::take(&mut generations.active);
        generations.active.at = full.at;
        generations.frozen.push_front(Arc::new(full));
        progress.frozen += 1;
        self.changed.notify_all();
    }

    /// Waits for a frozen generation; `None` when stopped.
    pub(crate) fn oldest(&self) -> Option<Arc<Generation>> {
        let mut progress = self.progress.lock();
        while progress.frozen == 0 && !progress.stopped {
            self.changed.wait(&mut progress);
        }
        if progress.stopped {
            return None;
        }
        drop(progress);
        self.generations.read().frozen.back().cloned()
    }

    /// Notes that the tables hold the oldest frozen generation; the one before it is forgotten.
    pub(crate) fn oldest_is_written(&self) {
        let mut generations = self.generations.write();
        let written = generations.frozen.pop_back();
        let before = std::mem::replace(&mut generations.written, written);
        // Taking it apart takes a while.
        drop(generations);
        drop(before);
        self.progress.lock().frozen -= 1;
        self.changed.notify_all();
    }

    /// Up to where the feed is forgotten.
    pub(crate) fn forgotten(&self) -> u64 {
        self.generations.read().forgotten
    }

    /// Ends waiting for good.
    pub(crate) fn stop(&self) {
        self.progress.lock().stopped = true;
        self.changed.notify_all();
    }
}
