//! Which of several processes gets a call. Pure.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How far beyond its equal share of the calls a process may be loaded: `c = 5/4` of the paper below.
const ROOM: (usize, usize) = (5, 4);

/// What is known of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Stands for its address: see [`identity`].
    pub(crate) identity: u64,
    /// Calls of ours that it has under way.
    pub(crate) in_flight: usize,
}

/// A number that stands for an address, the same in every process.
pub(crate) fn identity(address: &str) -> u64 {
    xxh3_64(address.as_bytes())
}

/// The less busy of two that `random` points at: the position among `candidates`, or `None` without any.
///
/// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing".
pub(crate) fn two_choices(candidates: &[Candidate], random: u64) -> Option<usize> {
    let count = candidates.len();
    let first = below(random & 0xffff_ffff, count)?;
    // One of the others: `first` itself is skipped.
    let Some(second) = below(random >> 32, count - 1) else { return Some(first) };
    let second = if second < first { second } else { second + 1 };
    Some(if candidates[second].in_flight < candidates[first].in_flight { second } else { first })
}

/// The one that most likes `route`, of those that have room: the position among `candidates`, or `None` without any.
///
/// A process that comes or goes moves only the routes that it gets or had. None has more than `c` times its share of
/// the calls under way, rounded up, and the one that comes; as long as it has less than `load_min`, it has room all the
/// same: so little is no load, and routes are worth more together.
///
/// Sources: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates"; for the room Mirrokni, Thorup
/// and Zadimoghaddam, "Consistent Hashing with Bounded Loads".
pub(crate) fn rendezvous(candidates: &[Candidate], route: &[u8], load_min: usize) -> Option<usize> {
    let share = room(candidates).max(load_min);
    let liked = |candidate: &Candidate| xxh3_64_with_seed(route, candidate.identity);
    let free = candidates.iter().enumerate().filter(|(_, candidate)| candidate.in_flight < share);
    free.max_by_key(|(_, candidate)| (liked(candidate), candidate.identity)).map(|(at, _)| at)
}

/// How many calls one process may have under way, the next one included: `ceil(c * calls / processes)`.
fn room(candidates: &[Candidate]) -> usize {
    let calls = candidates.iter().fold(1, |sum: usize, candidate| sum.saturating_add(candidate.in_flight));
    let (more, of) = ROOM;
    calls.saturating_mul(more).div_ceil(of.saturating_mul(candidates.len().max(1)))
}

/// A number below `count` out of 32 random bits.
fn below(random: u64, count: usize) -> Option<usize> {
    let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
    usize::try_from((random * (count & 0xffff_ffff)) >> 32).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(loads: &[usize]) -> Vec<Candidate> {
        let candidate = |(at, load): (usize, &usize)| Candidate {
            identity: identity(&format!("10.0.0.{at}:7000")),
            in_flight: *load,
        };
        loads.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn the_less_busy_of_two_is_taken_and_each_can_be() {
        assert_eq!(two_choices(&[], 0), None);
        assert_eq!(two_choices(&candidates(&[9]), u64::MAX), Some(0));
        let three = candidates(&[5, 0, 5]);
        let mut taken = [0; 3];
        for random in (0..u64::MAX).step_by(usize::try_from(u64::MAX / 10_007).unwrap()) {
            // Low and high half must differ in what they point at.
            let random = random ^ random.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            taken[two_choices(&three, random).unwrap()] += 1;
        }
        // The idle one is among two of three with 2/3; the others share what is left.
        assert!((6_000..7_400).contains(&taken[1]), "{taken:?}");
        assert!(taken[0] > 1_200 && taken[2] > 1_200, "{taken:?}");
    }

    #[test]
    fn routes_spread_evenly() {
        let mut taken = [0_u32; 5];
        for route in 0..10_000_u32 {
            taken[rendezvous(&candidates(&[0; 5]), &route.to_le_bytes(), 1).unwrap()] += 1;
        }
        assert!(taken.iter().all(|count| (1_800..2_200).contains(count)), "{taken:?}");
    }

    proptest! {
        /// One that comes takes about `1/n` of the routes, and no route moves between the others.
        #[test]
        fn one_that_comes_moves_only_what_it_gets(count in 1_usize..20, seed in any::<u64>()) {
            let before = candidates(&vec![0; count]);
            let after = candidates(&vec![0; count + 1]);
            let mut moved = 0_usize;
            for route in 0..2_000_u64 {
                let route = (seed.wrapping_add(route)).to_le_bytes();
                let (old, new) = (rendezvous(&before, &route, 1), rendezvous(&after, &route, 1));
                prop_assert!(new == old || new == Some(count));
                moved += usize::from(new != old);
            }
            let share = 2_000 / (count + 1);
            prop_assert!(moved.abs_diff(share) <= share / 2 + 30, "{moved} of 2000 for {count}");
        }

        /// The order in which they are known changes nothing.
        #[test]
        fn the_order_of_candidates_does_not_matter(count in 1_usize..20, route in any::<[u8; 8]>(), by in 0_usize..20) {
            let known = candidates(&vec![0; count]);
            let mut other = known.clone();
            other.rotate_left(by % count);
            let one = known[rendezvous(&known, &route, 1).unwrap()].identity;
            prop_assert_eq!(one, other[rendezvous(&other, &route, 1).unwrap()].identity);
        }

        /// However the routes are skewed, none has more than its room, and there is always one with room.
        #[test]
        fn no_one_gets_more_than_its_room(
            count in 1_usize..12,
            routes in prop::collection::vec(0_u8..4, 1..400),
        ) {
            let mut known = candidates(&vec![0; count]);
            for (calls, route) in (1_usize..).zip(&routes) {
                let at = rendezvous(&known, &[*route], 0).expect("one has room");
                known[at].in_flight += 1;
                prop_assert!(known[at].in_flight <= (5 * calls).div_ceil(4 * count));
            }
        }

        /// As long as little is under way, routes stay together.
        #[test]
        fn little_load_moves_nothing(count in 1_usize..12, calls in 1_usize..64) {
            let mut known = candidates(&vec![0; count]);
            let first = rendezvous(&known, b"hot", 64).unwrap();
            for _ in 0..calls {
                let at = rendezvous(&known, b"hot", 64).unwrap();
                prop_assert_eq!(at, first);
                known[at].in_flight += 1;
            }
        }
    }
}
