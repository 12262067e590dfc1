//! Two ways to offer load, and the latencies that come of it.

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::{Error, random::Random};

/// Somebody who makes calls, one at a time.
pub(crate) trait Call: Send + 'static {
    /// Makes one call and waits for its answer. An answer that is not the expected one is an error.
    fn call(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What a run did.
pub(crate) struct Outcome {
    /// Calls that were answered as expected; any other answer ends the run with an error.
    pub(crate) calls: u64,
    /// From the first call to the last answer.
    pub(crate) elapsed: Duration,
    /// In nanoseconds, with three significant digits.
    pub(crate) latencies: Histogram<u64>,
}

/// Latencies above this are recorded as this.
const LATENCY_MAX: Duration = Duration::from_secs(60);

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, nanos(LATENCY_MAX), 3).expect("bounds are valid")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Every caller has one call in flight until `lasting` is over, like `pgbench -c N`.
///
/// Latency is from the call to its answer, so a stall is seen by as many calls as there are callers.
pub(crate) async fn closed<C: Call>(callers: Vec<C>, lasting: Duration) -> Result<Outcome, Error> {
    let started = Instant::now();
    let end = started + lasting;
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        tasks.spawn(async move {
            let mut latencies = histogram();
            loop {
                let begun = Instant::now();
                if begun >= end {
                    return Ok(latencies);
                }
                caller.call().await?;
                latencies.saturating_record(nanos(begun.elapsed()));
            }
        });
    }
    outcome(tasks, started).await
}

/// A call becomes due at every offset of `schedule`, however long earlier ones take, like `pgbench -R`.
///
/// Latency is from the moment that a call was due, whether or not a caller was free then: what waits in
/// front of a stalled server is measured too. At most as many calls are in flight as there are callers; the
/// queue of due calls is as long as the schedule at most.
pub(crate) async fn open<C: Call>(
    callers: Vec<C>,
    schedule: impl Iterator<Item = Duration> + Send + 'static,
) -> Result<Outcome, Error> {
    let (due, queue) = mpsc::unbounded_channel();
    let queue = Arc::new(Mutex::new(queue));
    let started = Instant::now();
    // A thread of its own: the runtime's timer is a millisecond coarse.
    let clock = thread::spawn(move || {
        for offset in schedule {
            let at = started + offset;
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if due.send(at).is_err() {
                return; // all callers failed
            }
        }
    });
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        let queue = Arc::clone(&queue);
        tasks.spawn(async move {
            let mut latencies = histogram();
            loop {
                let Some(at) = queue.lock().await.recv().await else { return Ok(latencies) };
                caller.call().await?;
                latencies.saturating_record(nanos(at.elapsed()));
            }
        });
    }
    drop(queue);
    let result = outcome(tasks, started).await;
    clock.join().map_err(|_| "the clock of the open loop panicked")?;
    result
}

/// Adds up what all callers measured; the first error wins and ends the others.
async fn outcome(
    mut tasks: JoinSet<Result<Histogram<u64>, Error>>,
    started: Instant,
) -> Result<Outcome, Error> {
    let mut latencies = histogram();
    while let Some(task) = tasks.join_next().await {
        latencies.add(task??)?;
    }
    Ok(Outcome { calls: latencies.len(), elapsed: started.elapsed(), latencies })
}

/// Arrivals of independent customers: exponential gaps, `per_second` on average, for `lasting`.
pub(crate) fn arrivals(
    per_second: u32,
    lasting: Duration,
    mut random: Random,
) -> impl Iterator<Item = Duration> {
    let mut at = 0.0;
    std::iter::from_fn(move || {
        at += -(1.0 - random.fraction()).ln() / f64::from(per_second);
        Some(Duration::from_secs_f64(at))
    })
    .take_while(move |at| *at < lasting)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Answers at once, but the first call of all waits for `gate`.
    struct Stalled {
        calls: Arc<AtomicU32>,
        gate: Arc<Notify>,
    }

    impl Call for Stalled {
        async fn call(&mut self) -> Result<(), Error> {
            if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
                self.gate.notified().await;
            }
            Ok(())
        }
    }

    /// Goal: a stall is seen by every call that was due in it, not only by the one that hit it.
    /// Method: one caller, a call due each millisecond, the first answered when the 100th becomes due.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn open_loop_counts_the_wait_of_calls_that_were_due() {
        let gate = Arc::new(Notify::new());
        let opener = Arc::clone(&gate);
        let schedule = (0..200_u64).map(move |n| {
            if n == 100 {
                opener.notify_one(); // asked for right after number 99 was sent, 99 ms after the first
            }
            Duration::from_millis(n)
        });

        let outcome = open(vec![Stalled { calls: Arc::default(), gate }], schedule).await.unwrap();

        assert_eq!(outcome.calls, 200);
        let slow = outcome.latencies.count_between(nanos(Duration::from_millis(50)), u64::MAX);
        assert!(slow >= 50, "{slow} calls waited for 50 ms or more");
    }

    struct Refused;

    impl Call for Refused {
        async fn call(&mut self) -> Result<(), Error> {
            Err("refused".into())
        }
    }

    #[tokio::test]
    async fn a_refused_call_fails_the_run() {
        assert!(closed(vec![Refused], Duration::from_secs(60)).await.is_err());
        assert!(open(vec![Refused], std::iter::once(Duration::ZERO)).await.is_err());
    }

    #[test]
    fn arrivals_have_the_rate_that_was_asked_for() {
        let count = arrivals(4_000, Duration::from_secs(10), Random::new(1)).count();
        assert!((39_000..41_000).contains(&count), "{count}");
    }
}
