//! Flushes and merges tables, in place of the engine's own schedule.
//!
//! The engine asks for the flush of a full table again with each batch until it happens; its workers
//! then work through a thousand stale requests, each behind the lock that the writer holds, and a flush
//! can take a minute to begin. And while one worker merges, another spins on the merges that wait. So
//! the writer asks once per table, and one thread of ours merges; the engine's worker only flushes.

use std::sync::Arc;
use std::time::Duration;

use fjall::compaction::Leveled;
use fjall::{AbstractTree, KeyspaceCreateOptions};
use parking_lot::{Condvar, Mutex};

use crate::fatal::Fatal;
use crate::tables::{Table, Tables};

/// Flushed tables that wait before they are merged into level 1: fewer cost more merging, more cost
/// range reads.
const L0_TABLES: u8 = 6;

/// Bytes of a table file.
const TABLE_BYTES: u64 = 32 * 1024 * 1024;

/// Tables in memory that wait for their flush before the writer does. The engine itself stops at four,
/// in steps of 100 ms.
const WAITING_MAX: usize = 3;

/// How often something is looked for that has no signal: the end of a flush.
const PERIOD: Duration = Duration::from_millis(20);

/// Keeps the engine from doing by itself what this module does.
pub(crate) fn on_our_schedule(create: KeyspaceCreateOptions) -> KeyspaceCreateOptions {
    let never = Leveled::default().with_l0_threshold(u8::MAX).with_table_target_size(1 << 40);
    create.max_memtable_size(u64::MAX).compaction_strategy(Arc::new(never))
}

impl Tables {
    /// Hands the tables over to be flushed that are full; waits while too many wait already. Returns
    /// whether there was one.
    pub(crate) fn flush_full(&self) -> fjall::Result<bool> {
        let mut any = false;
        for table in Table::ALL {
            let keyspace = self.table(table);
            if keyspace.tree.active_memtable().size() < self.memtable_bytes(table) {
                continue;
            }
            while keyspace.tree.sealed_memtable_count() >= WAITING_MAX {
                std::thread::sleep(Duration::from_millis(1));
                self.check_alive()?;
            }
            any |= keyspace.rotate_memtable()?;
        }
        Ok(any)
    }

    /// Whether nothing is left to flush.
    fn is_flushed(&self) -> bool {
        Table::ALL.iter().all(|table| self.table(*table).tree.sealed_memtable_count() == 0)
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
    /// Says that a flush was begun.
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

    /// Waits until something is due, or for a period if something already is.
    fn wait(&self, unfinished: bool) {
        let mut state = self.state.lock();
        if state.stopped {
            return;
        }
        if unfinished {
            self.changed.wait_for(&mut state, PERIOD);
        } else if !state.due {
            self.changed.wait(&mut state);
        }
        state.due = false;
    }
}

pub(crate) fn run(tables: &Tables, fatal: &Fatal, signal: &Signal) {
    let strategy = Leveled::default().with_l0_threshold(L0_TABLES).with_table_target_size(TABLE_BYTES);
    let strategy = Arc::new(strategy);
    while !signal.is_stopped() {
        let flushed = tables.is_flushed();
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
            signal.wait(!flushed);
        }
    }
}
