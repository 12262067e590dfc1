//! Merges tables, in place of the engine's own schedule: while one of its workers merges, another spins on the
//! merges that wait. So one thread of ours merges, and the engine's worker finds nothing to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::{AbstractTree, KeyspaceCreateOptions};
use parking_lot::{Condvar, Mutex};

use crate::fatal::Fatal;
use crate::tables::{Table, Tables};

/// Tables that were written and wait before they are merged into level 1: fewer cost more merging, more cost
/// range reads.
const L0_TABLES: u8 = 6;

/// Tables of level 0 from which on no more are written until some are merged: readers look into each, and the engine's
/// work with its list of tables grows with the square of their number.
const L0_TABLES_MAX: usize = 4 * L0_TABLES as usize;

/// How often it is looked whether there are few enough again.
const PERIOD: Duration = Duration::from_millis(2);

/// Bytes of a table file.
const TABLE_BYTES: u64 = 32 * 1024 * 1024;

/// Keeps the engine from doing by itself what this module does.
pub(crate) fn on_our_schedule(create: KeyspaceCreateOptions) -> KeyspaceCreateOptions {
    let never = Leveled::default().with_l0_threshold(u8::MAX).with_table_target_size(1 << 40);
    create.max_memtable_size(u64::MAX).compaction_strategy(Arc::new(never))
}

impl Tables {
    /// Waits until there is room in level 0 of all tables, or until nothing is merged any more.
    pub(crate) fn wait_for_merges(&self, signal: &Signal) {
        let tables = |table: &Table| self.table(*table).tree.level_table_count(0).unwrap_or(0);
        while !signal.is_stopped() && Table::ALL.iter().any(|table| tables(table) >= L0_TABLES_MAX) {
            signal.wake();
            std::thread::sleep(PERIOD);
        }
    }

    /// Merges what is due in one table, once; returns whether something was.
    fn merge(&self, table: Table, strategy: &Arc<Leveled>) -> fjall::Result<bool> {
        let tree = &self.table(table).tree;
        let before = tree.current_version().id();
        // Versions of records that no open view can see are dropped on the way.
        let seen_by_all = self.db().supervisor.snapshot_tracker.get_seqno_safe_to_gc();
        tree.compact(strategy.clone(), seen_by_all)?;
        Ok(tree.current_version().id() != before)
    }
}

/// Wakes and stops the thread that merges.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    due: bool,
    stopped: bool,
}

impl Signal {
    /// Says that tables were written.
    pub(crate) fn wake(&self) {
        self.state.lock().due = true;
        self.changed.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Waits until something is due.
    fn wait(&self) {
        let mut state = self.state.lock();
        while !state.due && !state.stopped {
            self.changed.wait(&mut state);
        }
        state.due = false;
    }
}

pub(crate) fn run(tables: &Tables, fatal: &Fatal, signal: &Signal) {
    // Whoever waits for merges must not wait for a thread that is gone.
    if catch_unwind(AssertUnwindSafe(|| work(tables, fatal, signal))).is_err() {
        fatal.stop("merging tables panicked");
    }
}

fn work(tables: &Tables, fatal: &Fatal, signal: &Signal) {
    let strategy = Leveled::default().with_l0_threshold(L0_TABLES).with_table_target_size(TABLE_BYTES);
    let strategy = Arc::new(strategy);
    while !signal.is_stopped() {
        let mut merged = false;
        for table in Table::ALL {
            if signal.is_stopped() {
                return;
            }
            match tables.merge(table, &strategy) {
                Ok(any) => merged |= any,
                Err(error) => return fatal.stop(&format!("merging tables failed: {error}")),
            }
        }
        if !merged {
            signal.wait();
        }
    }
}
