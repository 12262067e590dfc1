//! How far the consumers of this process are, as plain numbers, and whom they tell of traced entries.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use journal::Trace;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Traces of one write that are told; a larger one has more.
pub const TRACES_MAX: usize = 32;

/// How far one consumer is.
pub struct Progress {
    /// Its name.
    pub consumer: String,
    /// The service that it hears from.
    pub source: String,
    /// The last position of the bus that it has heard of, and the one up to which it has handled everything.
    last: AtomicU64,
    upto: AtomicU64,
    applied: AtomicU64,
    parked: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicBool,
    caught_up_at: Mutex<Instant>,
}

/// All consumers that run.
static RUNNING: Mutex<Vec<Weak<Progress>>> = Mutex::new(Vec::new());

/// How far each consumer is that runs in this process.
#[must_use]
pub fn running() -> Vec<Arc<Progress>> {
    let mut running = RUNNING.lock();
    running.retain(|progress| progress.strong_count() > 0);
    running.iter().filter_map(Weak::upgrade).collect()
}

impl Progress {
    pub(crate) fn new(consumer: &str, source: &str) -> Arc<Progress> {
        Arc::new(Progress {
            consumer: consumer.to_owned(),
            source: source.to_owned(),
            last: AtomicU64::new(0),
            upto: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            parked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            caught_up_at: Mutex::new(Instant::now()),
        })
    }

    /// Whoever asks from now on is told of it, until it is dropped.
    pub(crate) fn runs(self: &Arc<Self>) {
        self.waits(false);
        let mut running = RUNNING.lock();
        if !running.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(self))) {
            running.push(Arc::downgrade(self));
        }
    }

    /// Positions of the bus that it has heard of and not handled.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let upto = self.upto.load(Relaxed);
        self.last.load(Relaxed).saturating_sub(upto)
    }

    /// How long ago it had handled everything; zero while it waits for news.
    #[must_use]
    pub fn behind_for(&self) -> Duration {
        match self.waiting.load(Relaxed) {
            true => Duration::ZERO,
            false => self.caught_up_at.lock().elapsed(),
        }
    }

    /// Entries that took effect.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied.load(Relaxed)
    }

    /// Aggregates that were parked.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.parked.load(Relaxed)
    }

    /// Steps that failed and were tried again.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    pub(crate) fn heard(&self, last: u64) {
        self.last.fetch_max(last, Relaxed);
    }

    /// Everything up to a position is handled.
    pub(crate) fn handled(&self, upto: u64) {
        self.upto.fetch_max(upto, Relaxed);
        if self.lag() == 0 {
            *self.caught_up_at.lock() = Instant::now();
        }
    }

    pub(crate) fn waits(&self, waiting: bool) {
        if !waiting {
            *self.caught_up_at.lock() = Instant::now();
        }
        self.waiting.store(waiting, Relaxed);
    }

    pub(crate) fn did(&self, applied: u64, parked: u64) {
        self.applied.fetch_add(applied, Relaxed);
        self.parked.fetch_add(parked, Relaxed);
    }

    pub(crate) fn fails(&self) {
        self.failed.fetch_add(1, Relaxed);
    }
}

/// Entries that took effect in one write, as they are told to an [`Observer`].
pub struct Consumed<'a> {
    /// Who consumed them.
    pub consumer: &'a str,
    /// The service that they are from.
    pub source: &'a str,
    /// The spans that caused those which were traced, at most [`TRACES_MAX`].
    pub traces: &'a [Trace],
    /// How many entries there were.
    pub entries: u64,
    /// How long the write took.
    pub took: Duration,
}

/// Who is told of entries that were traced.
pub trait Observer: Send + Sync + 'static {
    /// Entries took effect. Must not wait.
    fn consumed(&self, consumed: &Consumed<'_>);
}

static OBSERVER: OnceLock<&'static dyn Observer> = OnceLock::new();

/// Has entries told that carry a trace, from now on. The first one who asks is told, and nobody else.
pub fn observe(observer: &'static dyn Observer) {
    let _ = OBSERVER.set(observer); // a process has one way to tell of traces
}

pub(crate) fn observer() -> Option<&'static dyn Observer> {
    OBSERVER.get().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who waits is not behind, however long; who works is, from the moment when it last had handled everything.
    #[tokio::test(start_paused = true)]
    async fn being_behind_is_a_matter_of_time() {
        let progress = Progress::new("test", "stock");
        progress.runs();
        assert!(running().iter().any(|known| Arc::ptr_eq(known, &progress)));
        progress.waits(true);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(progress.behind_for(), Duration::ZERO);
        progress.waits(false);
        progress.heard(10);
        tokio::time::advance(Duration::from_secs(3)).await;
        progress.handled(7);
        assert_eq!((progress.lag(), progress.behind_for()), (3, Duration::from_secs(3)));
        progress.handled(10);
        assert_eq!((progress.lag(), progress.behind_for()), (0, Duration::ZERO));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(progress.behind_for(), Duration::from_secs(2), "it neither waits nor gets on");
    }
}
