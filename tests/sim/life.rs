//! One life of a process of the platform: it can stand still, and it can die between any two steps.

use std::future::pending;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use calendar::Instant;
use journal::Env;
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;

/// Years after 1970 do not matter; the simulation begins in 2026.
const BEGIN_US: i64 = 1_767_225_600_000_000;

/// A process. When it is dead, its tasks never go on: they wait for ever where they are, and nobody hears
/// from them again.
pub(crate) struct Life {
    pub(crate) dead: CancellationToken,
    /// Steps until it dies; negative is never.
    steps_left: AtomicI64,
    still_until: Mutex<tokio::time::Instant>,
}

impl Life {
    pub(crate) fn new() -> Life {
        Life {
            dead: CancellationToken::new(),
            steps_left: AtomicI64::new(-1),
            still_until: Mutex::new(tokio::time::Instant::now()),
        }
    }

    /// Dies after so many more steps.
    pub(crate) fn die_after(&self, steps: u64) {
        self.steps_left.store(steps as i64, Ordering::Relaxed);
    }

    /// Stands still for a while, then goes on as if nothing had happened.
    pub(crate) fn stand_still(&self, time: Duration) {
        *self.still_until.lock().unwrap_or_else(PoisonError::into_inner) = tokio::time::Instant::now() + time;
    }

    /// A step of the process: before and after everything that it asks of the world outside.
    pub(crate) async fn step(&self) {
        if self.steps_left.load(Ordering::Relaxed) >= 0
            && self.steps_left.fetch_sub(1, Ordering::Relaxed) == 0
        {
            self.dead.cancel();
        }
        loop {
            if self.dead.is_cancelled() {
                return pending().await;
            }
            let until = *self.still_until.lock().unwrap_or_else(PoisonError::into_inner);
            if until <= tokio::time::Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// The time of the world.
pub(crate) struct Clock {
    begin: tokio::time::Instant,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { begin: tokio::time::Instant::now() }
    }

    pub(crate) fn passed(&self) -> Duration {
        self.begin.elapsed()
    }
}

/// What a process takes for time and chance. Its clock is wrong by up to two seconds, and jumps.
pub(crate) struct SimEnv {
    clock: Arc<Clock>,
    dice: Arc<Dice>,
    wrong_us: AtomicU64,
}

impl SimEnv {
    pub(crate) fn new(clock: Arc<Clock>, dice: Arc<Dice>) -> SimEnv {
        let env = SimEnv { clock, dice, wrong_us: AtomicU64::new(0) };
        env.jump();
        env
    }

    /// Sets the clock anew.
    pub(crate) fn jump(&self) {
        self.wrong_us.store(self.dice.below(4_000_000), Ordering::Relaxed);
    }
}

impl Env for SimEnv {
    fn now(&self) -> Instant {
        let wrong = self.wrong_us.load(Ordering::Relaxed) as i64 - 2_000_000;
        let passed = i64::try_from(self.clock.passed().as_micros()).expect("a time of this century");
        Instant::from_unix_micros(BEGIN_US + passed + wrong)
    }

    fn random(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.dice.draw().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}
