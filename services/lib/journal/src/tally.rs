//! What the journals of a service have done in this process, as plain numbers, and whom a traced commit is told.
//!
//! A port knows no metrics: whoever wants to tell of these numbers reads them. They cost an atomic addition or two
//! for each commit.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::store::{Outcome, Refusal};

/// Upper bounds of the durations that are told apart, in microseconds.
pub const BOUNDS_US: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];
/// Upper bounds of the numbers of commands in a commit that are told apart.
pub const BOUNDS_COMMANDS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// How commits end, in the order of [`Tally::outcomes`].
pub const OUTCOMES: [&str; 5] = ["applied", "moved", "claimed", "refused", "unknown"];
/// Traces of one commit that are told; a larger commit has more.
pub const TRACES_MAX: usize = 32;

/// Counts values by size.
pub struct Spread<const N: usize> {
    bounds: &'static [u64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Spread<N> {
    fn new(bounds: &'static [u64; N]) -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Spread { bounds, counts, above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn add(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts.get(at).unwrap_or(&self.above).fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// How many values were at most each bound and above the one before, how many were above all of them, and the
    /// sum of all.
    #[must_use]
    pub fn read(&self) -> (Vec<u64>, u64) {
        let counts = self.counts.iter().chain([&self.above]).map(|count| count.load(Relaxed)).collect();
        (counts, self.sum.load(Relaxed))
    }
}

/// What the journals of one service have done.
pub struct Tally {
    /// Its name, as its aggregates say it.
    pub service: &'static str,
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// Microseconds until the outcome of a commit was known.
    pub took_us: Spread<{ BOUNDS_US.len() }>,
    /// Commands that a commit answered.
    pub commands: Spread<{ BOUNDS_COMMANDS.len() }>,
    unknown: AtomicU64,
    /// Since when commits are pursued; few, and seldom any.
    undecided: Mutex<Vec<Instant>>,
    made: AtomicU64,
    gone: AtomicU64,
    began: AtomicU64,
    ended: AtomicU64,
}

/// The tallies of all services of this process.
static TALLIES: Mutex<Vec<&'static Tally>> = Mutex::new(Vec::new());

/// The tallies of all services of this process.
#[must_use]
pub fn tallies() -> Vec<&'static Tally> {
    TALLIES.lock().clone()
}

/// The tally of a service: the same one for each of its journals.
pub(crate) fn of(service: &'static str) -> &'static Tally {
    let mut tallies = TALLIES.lock();
    if let Some(known) = tallies.iter().find(|tally| tally.service == service) {
        return known;
    }
    // As many as there are services: their names are constants.
    let tally: &'static Tally = Box::leak(Box::new(Tally {
        service,
        outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
        took_us: Spread::new(&BOUNDS_US),
        commands: Spread::new(&BOUNDS_COMMANDS),
        unknown: AtomicU64::new(0),
        undecided: Mutex::default(),
        made: AtomicU64::new(0),
        gone: AtomicU64::new(0),
        began: AtomicU64::new(0),
        ended: AtomicU64::new(0),
    }));
    tallies.push(tally);
    tally
}

impl Tally {
    /// Commits by outcome, in the order of [`OUTCOMES`].
    #[must_use]
    pub fn outcomes(&self) -> [u64; OUTCOMES.len()] {
        std::array::from_fn(|at| self.outcomes[at].load(Relaxed))
    }

    /// Answers of the store that left an outcome open.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Relaxed)
    }

    /// How long the oldest commit is being pursued whose outcome is open; zero if there is none.
    #[must_use]
    pub fn undecided_for(&self) -> Duration {
        let undecided = self.undecided.lock();
        undecided.iter().min().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Aggregates in memory, and of those the ones at work.
    #[must_use]
    pub fn actors(&self) -> (u64, u64) {
        // What was counted last is read first: a difference is never below zero.
        let (gone, ended) = (self.gone.load(Relaxed), self.ended.load(Relaxed));
        let (made, began) = (self.made.load(Relaxed), self.began.load(Relaxed));
        (made.saturating_sub(gone), began.saturating_sub(ended))
    }

    /// Aggregates that made room for others.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.gone.load(Relaxed)
    }

    pub(crate) fn settled(&self, outcome: &Outcome, commands: usize, took: Duration) {
        self.outcomes[place(outcome)].fetch_add(1, Relaxed);
        self.took_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.commands.add(commands as u64);
    }

    pub(crate) fn left_open(&self) {
        self.unknown.fetch_add(1, Relaxed);
    }

    /// A commit is pursued until what is given back is dropped.
    pub(crate) fn pursue(&'static self) -> Undecided {
        let since = Instant::now();
        self.undecided.lock().push(since);
        Undecided { tally: self, since }
    }

    pub(crate) fn actor_made(&self) {
        self.made.fetch_add(1, Relaxed);
    }

    pub(crate) fn actor_gone(&self) {
        self.gone.fetch_add(1, Relaxed);
    }

    pub(crate) fn work_began(&self) {
        self.began.fetch_add(1, Relaxed);
    }

    pub(crate) fn work_ended(&self) {
        self.ended.fetch_add(1, Relaxed);
    }
}

fn place(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Applied => 0,
        Outcome::Refused(Refusal::Moved { .. } | Refusal::Fenced { .. } | Refusal::Locked { .. }) => 1,
        Outcome::Refused(Refusal::Claimed { .. }) => 2,
        Outcome::Refused(Refusal::Invalid { .. }) => 3,
        Outcome::Unknown(_) => 4,
    }
}

/// A commit whose outcome is not known yet.
pub(crate) struct Undecided {
    tally: &'static Tally,
    since: Instant,
}

impl Drop for Undecided {
    fn drop(&mut self) {
        let mut undecided = self.tally.undecided.lock();
        if let Some(at) = undecided.iter().position(|since| *since == self.since) {
            undecided.swap_remove(at);
        }
    }
}

/// Where in which trace something happens. Source: W3C Trace Context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Trace {
    /// The trace. Not all zeros.
    pub id: [u8; 16],
    /// The span in it. Not all zeros.
    pub span: [u8; 8],
}

impl Trace {
    /// Bytes of its stored form.
    pub(crate) const BYTES: usize = 24;

    /// Trace, then span.
    pub(crate) fn stored(&self) -> [u8; Trace::BYTES] {
        let mut bytes = [0; Trace::BYTES];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..].copy_from_slice(&self.span);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Trace> {
        let (id, span) = bytes.split_first_chunk::<16>()?;
        Some(Trace { id: *id, span: span.try_into().ok()? })
    }
}

/// A commit that ended, as it is told to an [`Observer`].
pub struct Committed<'a> {
    /// The service.
    pub service: &'static str,
    /// The spans that the commands belong to which are traced, at most [`TRACES_MAX`].
    pub traces: &'a [Trace],
    /// Commands that it answered.
    pub commands: usize,
    /// How it ended: one of [`OUTCOMES`].
    pub outcome: &'static str,
    /// How long that took.
    pub took: Duration,
}

/// Who is told of commits that are traced.
pub trait Observer: Send + Sync + 'static {
    /// A commit has ended. Must not wait.
    fn committed(&self, commit: &Committed<'_>);
}

static OBSERVER: OnceLock<&'static dyn Observer> = OnceLock::new();

/// Has commits told that carry a trace, from now on. The first one who asks is told, and nobody else.
pub fn observe(observer: &'static dyn Observer) {
    let _ = OBSERVER.set(observer); // a process has one way to tell of traces
}

pub(crate) fn tell(commit: &Committed<'_>) {
    if let Some(observer) = OBSERVER.get() {
        observer.committed(commit);
    }
}

pub(crate) fn outcome_name(outcome: &Outcome) -> &'static str {
    OUTCOMES[place(outcome)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn values_are_counted_by_size() {
        let spread = Spread::new(&BOUNDS_COMMANDS);
        for value in [0, 1, 2, 3, 4, 256, 257, 10_000] {
            spread.add(value);
        }
        assert_eq!(spread.read(), (vec![2, 1, 2, 0, 0, 0, 0, 0, 1, 2], 10_523));
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_of_what_is_open_is_that_of_the_oldest() {
        let tally = of("ages");
        assert_eq!(tally.undecided_for(), Duration::ZERO);
        let first = tally.pursue();
        tokio::time::advance(Duration::from_secs(3)).await;
        let second = tally.pursue();
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(tally.undecided_for(), Duration::from_secs(7));
        drop(first);
        assert_eq!(tally.undecided_for(), Duration::from_secs(4));
        drop(second);
        assert_eq!(tally.undecided_for(), Duration::ZERO);
    }

    #[test]
    fn outcomes_have_their_own_names() {
        let unknown = Outcome::Unknown(StoreError::Unavailable("away".into()));
        let tally = of("outcomes");
        tally.settled(&unknown, 2, Duration::from_millis(3));
        tally.settled(&Outcome::Applied, 1, Duration::from_secs(60));
        assert_eq!(tally.outcomes(), [1, 0, 0, 0, 1]);
        assert_eq!(tally.commands.read(), (vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0], 3));
        assert_eq!(outcome_name(&unknown), "unknown");
    }

    #[test]
    fn a_trace_is_read_as_it_was_stored() {
        let trace = Trace { id: [1; 16], span: [2; 8] };
        assert_eq!(Trace::read(&trace.stored()), Some(trace));
        assert_eq!(Trace::read(&[1; 23]), None);
        assert_eq!(Trace::read(&[]), None);
    }
}
