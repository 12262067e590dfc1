//! Looks whether the engine's background threads are alive.
//!
//! A flush or a compaction that fails ends its thread and makes the next write fail. Without a next
//! write nobody would notice.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::fatal::Fatal;
use crate::tables::Tables;

/// How long a dead background thread can stay unnoticed.
const PERIOD: Duration = Duration::from_secs(1);

/// Stops the watch.
#[derive(Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    pub(crate) fn stop(&self) {
        *self.stopped.lock() = true;
        self.wake.notify_all();
    }

    /// Waits for a period; true when stopped.
    fn wait(&self) -> bool {
        let mut stopped = self.stopped.lock();
        if !*stopped {
            self.wake.wait_for(&mut stopped, PERIOD);
        }
        *stopped
    }
}

pub(crate) fn run(tables: &Tables, fatal: &Fatal, stop: &Stop) {
    while !stop.wait() {
        if let Err(error) = tables.check_alive() {
            fatal.stop(&format!("the engine stopped: {error}"));
            return;
        }
    }
}
