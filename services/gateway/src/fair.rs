//! Which request is served next when all places are taken. Pure: no clock, no lock, no I/O.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The bounds of a [`Fair`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Requests in service at the same time, whoever sent them; 1 or more.
    pub(crate) serving_max: usize,
    /// Places beside those, only for tenants that have no request in service: one tenant with slow requests does
    /// not stop the others.
    pub(crate) spare_max: usize,
    /// Waiting requests of one tenant.
    pub(crate) waiting_per_tenant_max: usize,
    /// Waiting requests of all tenants.
    pub(crate) waiting_max: usize,
}

/// Places and queues of tenants, named by `K`. What waits is a `T`, in whatever way its owner wakes it.
///
/// A place that becomes free goes to the tenants with waiting requests in turn, and inside a tenant to the request
/// that came first. Invariants: `serving <= serving_max + spare_max`; nothing waits while fewer than `serving_max`
/// are in service; no tenant waits without one in service while a spare place is free.
pub(crate) struct Fair<K, T> {
    limits: Limits,
    serving: usize,
    waiting: usize,
    /// Tenants that wait and have nothing in service.
    starving: usize,
    last_ticket: u64,
    /// Only tenants with a request in service or waiting.
    tenants: HashMap<K, Tenant<T>>,
    /// Tenants with waiting requests, once each; the next one first.
    turns: VecDeque<K>,
}

struct Tenant<T> {
    serving: usize,
    /// With their tickets, which ascend.
    waiting: VecDeque<(u64, T)>,
}

impl<T> Tenant<T> {
    fn starves(&self) -> bool {
        self.serving == 0 && !self.waiting.is_empty()
    }
}

/// A request that is in a queue now.
pub(crate) struct Queued<T> {
    /// Names it for [`Fair::forget`].
    pub(crate) ticket: u64,
    /// The youngest request of the longest queue, which lost its place because all queues together were full.
    pub(crate) shed: Option<T>,
}

impl<K: Copy + Eq + Hash, T> Fair<K, T> {
    pub(crate) fn new(limits: Limits) -> Self {
        assert!(0 < limits.serving_max, "somebody must be served");
        Fair {
            limits,
            serving: 0,
            waiting: 0,
            starving: 0,
            last_ticket: 0,
            tenants: HashMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Requests in service.
    pub(crate) fn serving(&self) -> usize {
        self.serving
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes a place for a request that has just come, if it need not wait. [`Fair::leave`] gives it back.
    pub(crate) fn enter(&mut self, who: K) -> bool {
        let room = self.serving < self.limits.serving_max;
        let spare = self.serving < self.limits.serving_max + self.limits.spare_max;
        let has_none = self.tenants.get(&who).is_none_or(|tenant| tenant.serving == 0);
        if !(room || spare && has_none) {
            return false;
        }
        let tenant = self.tenants.entry(who).or_default();
        debug_assert!(!tenant.starves(), "a place was free and nobody took it");
        tenant.serving += 1;
        self.serving += 1;
        true
    }

    /// Puts a request that was not let in to the end of its tenant's queue; `None`: it is shed, because this queue
    /// is full, or all together are and this one is the longest.
    pub(crate) fn wait(&mut self, who: K, waiter: T) -> Option<Queued<T>> {
        let length = self.tenants.get(&who).map_or(0, |tenant| tenant.waiting.len());
        if self.limits.waiting_per_tenant_max <= length {
            return None;
        }
        let mut shed = None;
        if self.limits.waiting_max <= self.waiting {
            // Rare: so many wait only when several tenants overload.
            let lengths = self.turns.iter().map(|other| (self.tenants[other].waiting.len(), *other));
            let (longest, loser) = lengths.max_by_key(|(length, _)| *length)?;
            if longest <= length + 1 {
                return None;
            }
            shed = self.shed_last(loser);
        }
        self.last_ticket += 1;
        let tenant = self.tenants.entry(who).or_default();
        tenant.waiting.push_back((self.last_ticket, waiter));
        if length == 0 {
            self.turns.push_back(who);
            self.starving += usize::from(tenant.serving == 0);
        }
        self.waiting += 1;
        Some(Queued { ticket: self.last_ticket, shed })
    }

    /// Gives the place of a request back; `wake` is called for each request that has a place from now on.
    pub(crate) fn leave(&mut self, who: K, mut wake: impl FnMut(T)) {
        // Whoever leaves has entered; a panic here, inside a lock and a drop, would take the process with it.
        let Some(tenant) = self.tenants.get_mut(&who).filter(|tenant| 0 < tenant.serving) else {
            return debug_assert!(false, "who leaves has a request in service");
        };
        tenant.serving -= 1;
        self.serving -= 1;
        self.starving += usize::from(tenant.starves());
        self.tidy(who);
        while let Some(waiter) = self.next() {
            wake(waiter);
        }
    }

    /// Takes a request out of its queue. `false`: it is not there any more, it has a place or was shed.
    pub(crate) fn forget(&mut self, who: K, ticket: u64) -> bool {
        let Some(tenant) = self.tenants.get_mut(&who) else { return false };
        let Ok(at) = tenant.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else {
            return false;
        };
        let starved = tenant.starves();
        tenant.waiting.remove(at);
        self.shrunk(who, starved);
        true
    }

    /// The next request that may have a place, which it has with this.
    fn next(&mut self) -> Option<T> {
        let at = match self.serving {
            serving if serving < self.limits.serving_max => 0,
            serving if serving < self.limits.serving_max + self.limits.spare_max && 0 < self.starving => {
                self.turns.iter().position(|who| self.tenants[who].serving == 0)?
            }
            _ => return None,
        };
        let who = self.turns.remove(at)?;
        let tenant = self.tenants.get_mut(&who)?;
        self.starving -= usize::from(tenant.serving == 0);
        let (_, waiter) = tenant.waiting.pop_front()?;
        tenant.serving += 1;
        self.serving += 1;
        self.waiting -= 1;
        if !tenant.waiting.is_empty() {
            self.turns.push_back(who);
        }
        Some(waiter)
    }

    fn shed_last(&mut self, who: K) -> Option<T> {
        let tenant = self.tenants.get_mut(&who)?;
        let starved = tenant.starves();
        let (_, waiter) = tenant.waiting.pop_back()?;
        self.shrunk(who, starved);
        Some(waiter)
    }

    /// Counts one waiting request less of a tenant that `starved` before.
    fn shrunk(&mut self, who: K, starved: bool) {
        self.waiting -= 1;
        if self.tenants.get(&who).is_none_or(|tenant| tenant.waiting.is_empty()) {
            self.turns.retain(|other| *other != who);
            self.starving -= usize::from(starved);
        }
        self.tidy(who);
    }

    fn tidy(&mut self, who: K) {
        if self.tenants.get(&who).is_some_and(|tenant| tenant.serving == 0 && tenant.waiting.is_empty()) {
            self.tenants.remove(&who);
        }
    }
}

impl<T> Default for Tenant<T> {
    fn default() -> Self {
        Tenant { serving: 0, waiting: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits =
        Limits { serving_max: 3, spare_max: 3, waiting_per_tenant_max: 5, waiting_max: 12 };

    /// Queues beside a plain list of what each request should be: the waiter is the request's number.
    struct World {
        fair: Fair<u8, u32>,
        limits: Limits,
        last: u32,
        /// Requests in service, with their tenants.
        serving: Vec<(u8, u32)>,
        /// Waiting requests in order of arrival, with their tickets.
        waiting: Vec<(u8, u32, u64)>,
        /// Places that each tenant got.
        served: [usize; 8],
    }

    impl World {
        fn new(limits: Limits) -> Self {
            let (serving, waiting) = (vec![], vec![]);
            World { fair: Fair::new(limits), limits, last: 0, serving, waiting, served: [0; 8] }
        }

        fn serve(&mut self, who: u8, number: u32) {
            self.serving.push((who, number));
            self.served[usize::from(who)] += 1;
        }

        /// `false`: it was shed.
        fn arrive(&mut self, who: u8) -> bool {
            self.last += 1;
            if self.fair.enter(who) {
                self.serve(who, self.last);
                return true;
            }
            let length = |who| self.waiting.iter().filter(|(other, ..)| *other == who).count();
            let longest = (0..8).map(length).max().unwrap();
            let own = length(who);
            let Some(queued) = self.fair.wait(who, self.last) else {
                let all = self.limits.waiting_max <= self.waiting.len();
                assert!(own == self.limits.waiting_per_tenant_max || all && longest <= own + 1);
                return false;
            };
            if let Some(shed) = queued.shed {
                let at = self.waiting.iter().position(|(_, number, _)| *number == shed).unwrap();
                let (loser, ..) = self.waiting[at];
                assert_eq!(length(loser), longest, "only who has the longest queue loses");
                assert!(self.waiting[at + 1..].iter().all(|(other, ..)| *other != loser), "its youngest");
                self.waiting.remove(at);
            }
            self.waiting.push((who, self.last, queued.ticket));
            true
        }

        /// Ends the request in service at `at`, 0 for the oldest.
        fn leave(&mut self, at: usize) {
            let (who, _) = self.serving.remove(at);
            let mut woken = Vec::new();
            self.fair.leave(who, |number| woken.push(number));
            for number in woken {
                let at = self.waiting.iter().position(|(_, other, _)| *other == number).unwrap();
                let (who, ..) = self.waiting.remove(at);
                let before = self.waiting[..at].iter().any(|(other, ..)| *other == who);
                assert!(!before, "inside a tenant who came first is served first");
                self.serve(who, number);
            }
        }

        fn check(&self) {
            let serves = |who: u8| self.serving.iter().any(|(other, _)| *other == who);
            assert_eq!(self.fair.serving(), self.serving.len());
            assert_eq!(self.fair.waiting(), self.waiting.len());
            assert!(self.serving.len() <= self.limits.serving_max + self.limits.spare_max);
            assert!(self.waiting.len() <= self.limits.waiting_max);
            if !self.waiting.is_empty() {
                assert!(self.limits.serving_max <= self.serving.len(), "a place is free and somebody waits");
            }
            if self.serving.len() < self.limits.serving_max + self.limits.spare_max {
                assert!(self.waiting.iter().all(|(who, ..)| serves(*who)), "a spare place is free");
            }
            let all = self.serving.iter().map(|(who, _)| *who);
            let all: std::collections::HashSet<u8> = all.chain(self.waiting.iter().map(|w| w.0)).collect();
            assert_eq!(self.fair.tenants.len(), all.len(), "who is gone is forgotten");
            let waiting: std::collections::HashSet<u8> = self.waiting.iter().map(|w| w.0).collect();
            assert_eq!(self.fair.turns.len(), waiting.len(), "who waits has one turn");
            assert_eq!(self.fair.starving, waiting.iter().filter(|who| !serves(**who)).count());
        }
    }

    proptest! {
        /// Goal: whatever comes, goes and gives up, the bounds hold, no place stays free while somebody waits, order
        /// of arrival holds inside a tenant, and nothing is left in the end.
        #[test]
        fn bounds_hold_and_no_place_is_lost(
            steps in proptest::collection::vec((0..4_u8, 0..8_u8, 0..64_usize), 1..400),
        ) {
            let mut world = World::new(LIMITS);
            for (step, who, at) in steps {
                match step {
                    0 | 1 => _ = world.arrive(who),
                    2 if !world.serving.is_empty() => world.leave(at % world.serving.len()),
                    3 if !world.waiting.is_empty() => {
                        let (who, _, ticket) = world.waiting.remove(at % world.waiting.len());
                        assert!(world.fair.forget(who, ticket));
                        assert!(!world.fair.forget(who, ticket), "it is not there twice");
                    }
                    _ => {}
                }
                world.check();
            }
            while !world.serving.is_empty() {
                world.leave(0);
                world.check();
            }
            prop_assert_eq!((world.fair.waiting(), world.fair.tenants.len()), (0, 0));
        }

        /// Goal: a tenant that sends little waits for one turn of the others at most, however many of theirs wait,
        /// and none of its requests is shed.
        #[test]
        fn who_sends_little_is_served_soon(
            others in 1..7_u8, ends in proptest::collection::vec(0..1_000_usize, 200),
        ) {
            let mut world = World::new(LIMITS);
            // How many requests of others ended while the only one of tenant 0 waited.
            let mut waited = 0;
            for at in ends {
                for who in 1..=others {
                    while world.arrive(who) {}
                }
                if !world.waiting.iter().any(|(who, ..)| *who == 0) {
                    assert!(world.arrive(0), "not shed");
                    waited = 0;
                }
                match world.serving.iter().position(|(who, _)| *who == 0) {
                    Some(at) => world.leave(at),
                    None => {
                        world.leave(at % world.serving.len());
                        waited += 1;
                    }
                }
                prop_assert!(waited <= others + 1, "{waited} turns went by");
            }
        }
    }

    /// Goal: with k tenants that always have requests waiting, each gets a kth of the places, whether there are more
    /// places than tenants or fewer. Method: every request takes equally long, so that the oldest one ends first.
    #[test]
    fn busy_tenants_get_equal_shares() {
        for (tenants, serving_max, spare_max) in
            (1..8_u8).flat_map(|k| (1..12).flat_map(move |n| [0, 1, 4].map(|spare| (k, n, spare))))
        {
            let limits = Limits { serving_max, spare_max, waiting_per_tenant_max: 4, waiting_max: 64 };
            let mut world = World::new(limits);
            for _ in 0..500 {
                for who in 0..tenants {
                    while world.arrive(who) {}
                }
                world.leave(0);
            }
            let served = &world.served[..usize::from(tenants)];
            let apart = served.iter().max().unwrap() - served.iter().min().unwrap();
            // Who came first filled the places before there were others.
            assert!(
                apart <= serving_max + 1,
                "{tenants} tenants, {serving_max}+{spare_max} places: {served:?}"
            );
        }
    }
}
