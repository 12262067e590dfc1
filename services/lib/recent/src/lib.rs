//! A bounded map that forgets what was not used for longest.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// Parts with a lock of their own.
const SHARDS: usize = 32;

/// A map of at most so many entries, shared by threads.
///
/// Source of the order in which entries go: Corbató, "A paging experiment with the Multics system", 1968 (CLOCK).
/// Keys must not be chosen by strangers: the hash is quick, not made against an attacker.
pub struct Recent<K, V> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
    hasher: RandomState,
    shard_entries_max: usize,
}

struct Shard<K, V> {
    /// Where each key is on the ring.
    places: HashMap<K, usize, RandomState>,
    ring: Vec<Entry<K, V>>,
    /// Whose turn it is to be looked at when a place is needed.
    hand: usize,
}

struct Entry<K, V> {
    key: K,
    value: V,
    /// Used since the hand was here.
    used: bool,
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    /// Makes an empty map for about `entries_max` entries.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        let hasher = RandomState::default();
        let shard = || Shard { places: HashMap::with_hasher(hasher.clone()), ring: Vec::new(), hand: 0 };
        Recent {
            shards: std::array::from_fn(|_| Mutex::new(shard())),
            shard_entries_max: entries_max.div_ceil(SHARDS).max(1),
            hasher,
        }
    }

    /// What is known under a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.shard(key).lock().get(key)
    }

    /// Takes an entry in, in place of one that was there before or that was not used for longest.
    pub fn insert(&self, key: K, value: V) {
        let mut shard = self.shard(&key).lock();
        match shard.places.get(&key) {
            Some(place) => {
                let place = *place;
                shard.ring[place].value = value;
            }
            None => shard.add(key, value, self.shard_entries_max, |_| true),
        }
    }

    /// What is known under a key, or what `make` makes. An entry that `may_go` says no to stays, even if there are
    /// too many then.
    pub fn get_or_insert(&self, key: K, may_go: impl Fn(&V) -> bool, make: impl FnOnce() -> V) -> V {
        let mut shard = self.shard(&key).lock();
        if let Some(value) = shard.get(&key) {
            return value;
        }
        let value = make();
        shard.add(key, value.clone(), self.shard_entries_max, may_go);
        value
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> &Mutex<Shard<K, V>> {
        // The high bits: the map of the shard uses the low ones.
        let shard = self.hasher.hash_one(key) >> (u64::BITS - SHARDS.ilog2());
        &self.shards[usize::try_from(shard).unwrap_or(0)]
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Shard<K, V> {
    fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = *self.places.get(key)?;
        let entry = &mut self.ring[place];
        entry.used = true;
        Some(entry.value.clone())
    }

    /// The key is not there yet.
    fn add(&mut self, key: K, value: V, entries_max: usize, may_go: impl Fn(&V) -> bool) {
        let entry = Entry { key: key.clone(), value, used: false };
        let place = if self.ring.len() < entries_max { None } else { self.free(may_go) };
        match place {
            Some(place) => {
                let old = std::mem::replace(&mut self.ring[place], entry);
                self.places.remove(&old.key);
                self.places.insert(key, place);
            }
            None => {
                self.places.insert(key, self.ring.len());
                self.ring.push(entry);
            }
        }
    }

    /// The next entry that was not used since the hand was there last; at most two rounds.
    fn free(&mut self, may_go: impl Fn(&V) -> bool) -> Option<usize> {
        for _ in 0..2 * self.ring.len() {
            let place = self.hand % self.ring.len();
            self.hand = place + 1;
            let entry = &mut self.ring[place];
            let was_used = std::mem::take(&mut entry.used);
            if !was_used && may_go(&entry.value) {
                return Some(place);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// So many entries that each shard has room for `each`.
    fn map(each: usize) -> Recent<u32, u32> {
        Recent::new(each * SHARDS)
    }

    fn len(map: &Recent<u32, u32>) -> usize {
        map.shards.iter().map(|shard| shard.lock().ring.len()).sum()
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let map = map(8);
        for number in 0..10_000 {
            map.insert(number, number);
            assert_eq!(map.get(&7).is_some(), number >= 7, "after {number}");
        }
        assert_eq!(len(&map), 8 * SHARDS);
        assert_eq!(map.get(&100), None);
    }

    #[test]
    fn what_may_not_go_stays_whatever_the_bound() {
        let map = map(1);
        for number in 0..1_000 {
            assert_eq!(map.get_or_insert(number, |_| false, || number + 1), number + 1);
        }
        assert!((0..1_000).all(|number| map.get(&number) == Some(number + 1)));
        for number in 1_000..2_000 {
            map.get_or_insert(number, |_| true, || number);
        }
        assert_eq!(len(&map), 1_000);
    }

    proptest! {
        #[test]
        fn it_knows_the_last_value_of_a_key_or_none(
            steps in prop::collection::vec((0u32..200, any::<bool>()), 0..400),
        ) {
            let map = map(2);
            let mut last = std::collections::HashMap::new();
            for (at, (key, insert)) in (0u32..).zip(steps) {
                if insert {
                    map.insert(key, at);
                    last.insert(key, at);
                }
                let known = map.get(&key);
                prop_assert!(known.is_none() || known == last.get(&key).copied());
                prop_assert!(!insert || known == Some(at));
            }
            prop_assert!(len(&map) <= 2 * SHARDS);
        }
    }
}
