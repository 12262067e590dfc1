//! Answers that are used again for a while.

use std::hash::Hash;

use recent::Recent;

use crate::Clock;

/// A bounded cache whose entries expire by the clock port, so that a simulation sees them expire too.
pub struct Remembered<K, V> {
    known: Recent<K, (u64, V)>,
    clock: Clock,
    ttl_ms: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Remembered<K, V> {
    /// Remembers about `entries_max` answers, each for `ttl_ms`.
    pub fn new(entries_max: usize, ttl_ms: u64, clock: Clock) -> Self {
        Remembered { known: Recent::new(entries_max), clock, ttl_ms }
    }

    /// What is remembered and not too old.
    pub fn get(&self, key: &K) -> Option<V> {
        let (at, value) = self.known.get(key)?;
        // A clock that was set back makes nothing live longer.
        let age = (self.clock)().checked_sub(at)?;
        (age < self.ttl_ms).then_some(value)
    }

    /// Remembers an answer from now on.
    pub fn insert(&self, key: K, value: V) {
        self.known.insert(key, ((self.clock)(), value));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_is_remembered_expires_by_the_clock_port() {
        let now = Arc::new(AtomicU64::new(5_000));
        let clock = Arc::clone(&now);
        let known = Remembered::new(10, 1_000, Arc::new(move || clock.load(Ordering::Relaxed)));
        known.insert(1, "one");
        for (at, expected) in [(5_000, Some("one")), (5_999, Some("one")), (6_000, None), (4_999, None)] {
            now.store(at, Ordering::Relaxed);
            assert_eq!(known.get(&1), expected, "at {at}");
        }
        assert_eq!(known.get(&2), None);
    }
}
