//! Merges tables, in place of the engine's own schedule: while one of its workers merges, another spins on the
//! merges that wait. So threads of ours merge, and the engine's worker finds nothing to do. One merges what was written
//! lately, which therefore stays little while the other merges what is old and large. The latter steps back for threads
//! that answer callers.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use fjall::{AbstractTree, KeyspaceCreateOptions, LsmError};
use lsm_tree::compaction::{CompactionStrategy, MoveDown, PullDown};
use parking_lot::{Condvar, Mutex};

use crate::fatal::Fatal;
use crate::tables::{Table, Tables};
use crate::tiers::{self, LEVELS, Level, Step, WRITTEN_RUNS};

/// Runs of level 0 from which on no more are written until some are merged: readers look into each, and the engine's
/// work with its list of tables grows with the square of their number.
const WRITTEN_RUNS_MAX: usize = 4 * WRITTEN_RUNS;

/// How often it is looked whether there are few enough again.
const PERIOD: Duration = Duration::from_millis(2);

/// Files of level 0 of a table that is merged by levels, and bytes of its files.
const QUEUE_FILES: u8 = 6;
const FILE_BYTES: u64 = 32 * 1024 * 1024;

/// How far the thread that merges what is old steps back where another one wants its processor: a tenth of the time is
/// left to it. What was written lately is merged at once, because each look-up goes through all of it.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Keeps the engine from doing by itself what this module does.
pub(crate) fn on_our_schedule(create: KeyspaceCreateOptions) -> KeyspaceCreateOptions {
    let never = Leveled::default().with_l0_threshold(u8::MAX).with_table_target_size(1 << 40);
    create.max_memtable_size(u64::MAX).compaction_strategy(Arc::new(never))
}

impl Tables {
    /// Waits until there is room in level 0 of all tables, or until nothing is merged any more.
    pub(crate) fn wait_for_merges(&self, signal: &Signal) {
        let has_room = |table: &Table| self.levels(*table)[0].len() < WRITTEN_RUNS_MAX;
        while !signal.is_stopped() && !Table::ALL.iter().all(has_room) {
            signal.wake();
            std::thread::sleep(PERIOD);
        }
    }

    fn levels(&self, table: Table) -> [Level; LEVELS] {
        let version = self.table(table).tree.current_version();
        let files =
            |level| version.level(level).into_iter().flat_map(|level| level.iter()).map(|run| run.len());
        std::array::from_fn(|level| files(level).collect())
    }

    /// Whether the disk has room for another copy of what a step merges: one that is only good for reading must not
    /// fill it.
    fn has_room(&self, table: Table, step: Step) -> bool {
        let Step::Merge(from, to) = step else { return true };
        let version = self.table(table).tree.current_version();
        let bytes = |level: u8| version.level(level.into()).map_or(0, |level| level.size());
        let bytes = if from == to { bytes(from) } else { bytes(from) + bytes(to) };
        self.directory().has_free(bytes)
    }

    fn compact(
        &self,
        table: Table,
        strategy: Arc<dyn CompactionStrategy + Send + Sync>,
    ) -> fjall::Result<()> {
        // Versions of records that no open view can see are dropped on the way.
        let seen_by_all = self.db().supervisor.snapshot_tracker.get_seqno_safe_to_gc();
        Ok(self.table(table).tree.compact(strategy, seen_by_all)?)
    }

    fn step(&self, table: Table, step: Step) -> fjall::Result<()> {
        match step {
            Step::Merge(from, to) => self.compact(table, Arc::new(PullDown(from, to))),
            Step::Move(from, to) => self.compact(table, Arc::new(MoveDown(from, to))),
        }
    }

    /// Merges what was written lately in one table, once; returns whether something was.
    fn merge_shallow(&self, table: Table) -> fjall::Result<bool> {
        if table.is_queue() {
            // What comes goes again: where levels overlap, removed records vanish soon.
            let levels = Leveled::default().with_l0_threshold(QUEUE_FILES).with_table_target_size(FILE_BYTES);
            let before = self.table(table).tree.current_version().id();
            self.compact(table, Arc::new(levels))?;
            return Ok(self.table(table).tree.current_version().id() != before);
        }
        let step = tiers::shallow(&self.levels(table));
        step.map(|step| self.step(table, step)).transpose().map(|done| done.is_some())
    }

    /// Merges tiers of one table, once; returns whether some were.
    fn merge_deep(&self, table: Table, signal: &Signal) -> fjall::Result<bool> {
        if table.is_queue() {
            return Ok(false);
        }
        let due = tiers::deep(&self.levels(table));
        let step = due.filter(|step| self.has_room(table, *step));
        if due != step && !signal.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("tables are not merged until the disk has room for it: reads get slower");
        }
        step.map(|step| self.step(table, step)).transpose().map(|done| done.is_some())
    }
}

/// Wakes and stops the threads that merge.
#[derive(Default)]
pub(crate) struct Signal {
    /// How often tables changed.
    changes: Mutex<u64>,
    changed: Condvar,
    stopped: Arc<AtomicBool>,
    /// Whether it was said that the disk has no room for a merge.
    warned: AtomicBool,
}

impl Signal {
    /// Says that tables were written.
    pub(crate) fn wake(&self) {
        *self.changes.lock() += 1;
        self.changed.notify_all();
    }

    /// Stops them, also amidst a merge.
    pub(crate) fn stop(&self) {
        let changes = self.changes.lock();
        self.stopped.store(true, Ordering::Release);
        drop(changes);
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// What ends a merge when the signal says so. What it wrote until then is removed when the store is opened.
    pub(crate) fn interrupt(&self) -> Arc<dyn Factory> {
        Arc::new(Interrupt(Arc::clone(&self.stopped)))
    }

    fn changes(&self) -> u64 {
        *self.changes.lock()
    }

    /// Waits until something changed since.
    fn wait(&self, since: u64) {
        let mut changes = self.changes.lock();
        while *changes == since && !self.is_stopped() {
            self.changed.wait(&mut changes);
        }
    }
}

#[derive(Clone)]
struct Interrupt(Arc<AtomicBool>);

impl Factory for Interrupt {
    fn name(&self) -> &'static str {
        "interrupt"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(self.clone())
    }
}

impl CompactionFilter for Interrupt {
    fn filter_item(&mut self, _: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        match self.0.load(Ordering::Relaxed) {
            true => Err(LsmError::Io(io::Error::new(io::ErrorKind::Interrupted, "merging is stopped"))),
            false => Ok(Verdict::Keep),
        }
    }
}

/// What a thread merges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Shallow,
    Deep,
}

pub(crate) fn run(part: Part, tables: &Tables, fatal: &Fatal, signal: &Signal) {
    // Whoever waits for merges must not wait for a thread that is gone.
    if catch_unwind(AssertUnwindSafe(|| work(part, tables, fatal, signal))).is_err() {
        fatal.stop("merging tables panicked");
    }
}

fn work(part: Part, tables: &Tables, fatal: &Fatal, signal: &Signal) {
    // Linux does it to the thread that calls; where it cannot be done, merging is only more in the way.
    #[cfg(target_os = "linux")]
    if part == Part::Deep {
        let _ = rustix::process::setpriority_process(None, NICE);
    }
    while !signal.is_stopped() {
        let since = signal.changes();
        let mut merged = false;
        for table in Table::ALL {
            let done = match part {
                Part::Shallow => tables.merge_shallow(table),
                Part::Deep => tables.merge_deep(table, signal),
            };
            match done {
                Ok(any) => merged |= any,
                Err(_) if signal.is_stopped() => return,
                Err(error) => return fatal.stop(&format!("merging tables failed: {error}")),
            }
            if signal.is_stopped() {
                return;
            }
        }
        match (merged, part) {
            (false, _) => signal.wait(since),
            // A tier may have become full.
            (true, Part::Shallow) => signal.wake(),
            (true, Part::Deep) => {}
        }
    }
}
