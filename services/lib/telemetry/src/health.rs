//! Whether this process lives, has started, and takes requests: its own state, never that of another service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the task runs that shows that the event loop turns.
const TICK_EVERY: Duration = Duration::from_secs(1);
/// Without a tick for so long, the process is not alive: it is late by more than any pause that passes by itself.
const ALIVE_WITHIN: Duration = Duration::from_secs(15);

/// Where a process is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It opens its stores and reads its keys.
    Starting,
    /// It takes requests.
    Ready,
    /// It takes no new connections soon, and answers what is there.
    Draining,
}

impl State {
    /// `starting`, `ready`, `draining`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Ready => "ready",
            State::Draining => "draining",
        }
    }
}

/// The health of this process: set by whoever starts and ends it, told by [`crate::Admin`].
pub struct Health {
    state: watch::Sender<State>,
    begun: Instant,
    /// When the last tick was, in milliseconds since `begun`.
    ticked_ms: AtomicU64,
    /// How late the last tick was, in microseconds.
    late_us: AtomicU64,
}

impl Health {
    /// A process that is starting. The task that must tick runs in the present runtime until this is dropped.
    #[must_use]
    pub fn start() -> Arc<Health> {
        let health = Arc::new(Health {
            state: watch::Sender::new(State::Starting),
            begun: Instant::now(),
            ticked_ms: AtomicU64::new(0),
            late_us: AtomicU64::new(0),
        });
        let weak = Arc::downgrade(&health);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let due = ticks.tick().await;
                let Some(health) = weak.upgrade() else { return };
                health.tick(due);
            }
        });
        health
    }

    fn tick(&self, due: Instant) {
        let now = Instant::now();
        let whole = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        self.late_us.store(whole(now.saturating_duration_since(due).as_micros()), Ordering::Relaxed);
        self.ticked_ms.store(whole(now.saturating_duration_since(self.begun).as_millis()), Ordering::Relaxed);
    }

    /// Says where the process is.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Where the process is.
    #[must_use]
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Tells of every change of the state.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Whether the event loop turns.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let ticked = self.begun + Duration::from_millis(self.ticked_ms.load(Ordering::Relaxed));
        ticked.elapsed() < ALIVE_WITHIN
    }

    /// How late the last tick was.
    #[must_use]
    pub fn loop_lag(&self) -> Duration {
        Duration::from_micros(self.late_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Liveness is the tick and nothing else; a loop that does not turn is not alive.
    #[tokio::test(start_paused = true)]
    async fn a_process_lives_as_long_as_its_loop_turns() {
        let health = Health::start();
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(health.is_alive());
        }
        health.set(State::Draining);
        assert!(health.is_alive() && health.state() == State::Draining);
        // Time passes, and no task runs.
        tokio::time::advance(ALIVE_WITHIN + TICK_EVERY).await;
        let stuck = Health {
            state: watch::Sender::new(State::Ready),
            begun: health.begun,
            ticked_ms: AtomicU64::new(0),
            late_us: AtomicU64::new(0),
        };
        assert!(!stuck.is_alive());
    }
}
