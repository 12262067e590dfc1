//! Which tables are merged when: in tiers, not level by level.
//!
//! A table's records are in *runs*, one table file or several, each in order of the keys. Six runs that were written
//! become one of the first tier, four of a tier become one of the next: so a record is written again two or three
//! times until it lies in the last tier, where merging every level into the whole next one wrote it again and again.
//! The last tier is merged into one run when what came since is half of what was there; records that were removed
//! vanish then.
//!
//! The engine knows levels, not tiers, and each of its two simple steps takes a whole level: merge it, or put it
//! before what another level has. So a tier is a level, and the level above it is a place where one run is made:
//!
//! | level | holds | newest first |
//! | --- | --- | --- |
//! | 0 | what was written | |
//! | 1, 3, 5 | nothing, or one run on its way | |
//! | 2, 4 | a tier | |
//! | 6 | the last tier | |
//!
//! Whatever lies in a level is newer than what lies in those below, at every moment, also where an earlier version
//! of this module merged by levels.

/// Levels of the engine.
pub(crate) const LEVELS: usize = 7;
/// Runs of level 0 that become one of the first tier: fewer cost more merging, more cost reads.
pub(crate) const WRITTEN_RUNS: usize = 6;
/// Runs of a tier that become one of the next.
const TIER_RUNS: usize = 4;
/// Runs of the last tier that become one, however small the newer ones are.
const LAST_RUNS_MAX: usize = 8;

/// The runs of a level, the newest first: how many files each has.
pub(crate) type Level = Vec<usize>;

/// What to do with the runs of a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Merges them, and all of the second level, into one run of the second.
    Merge(u8, u8),
    /// Puts them before those of the second level.
    Move(u8, u8),
}

/// What is due with what was written.
pub(crate) fn shallow(levels: &[Level; LEVELS]) -> Option<Step> {
    match (levels[0].len(), levels[1].len()) {
        (_, 1..) => Some(Step::Move(1, 2)),
        (WRITTEN_RUNS.., 0) => Some(Step::Merge(0, 1)),
        _ => None,
    }
}

/// What is due with the tiers, the smaller ones first. It never touches the levels of [`shallow`], but as the place
/// where that one puts a run: so both may be done at once.
pub(crate) fn deep(levels: &[Level; LEVELS]) -> Option<Step> {
    for (tier, place, next) in [(2_u8, 3_u8, 4_u8), (4, 5, 6)] {
        if !levels[usize::from(place)].is_empty() {
            return Some(Step::Move(place, next));
        }
        if levels[usize::from(tier)].len() >= TIER_RUNS {
            return Some(Step::Merge(tier, place));
        }
    }
    let last = &levels[LEVELS - 1];
    let (oldest, newer) = (last.last().copied().unwrap_or(0), last.iter().rev().skip(1).sum::<usize>());
    let is_due = last.len() >= LAST_RUNS_MAX || (last.len() >= TIER_RUNS && 2 * newer >= oldest);
    is_due.then_some(Step::Merge(6, 6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs as the engine has them; a run is the numbers of the writes that it holds.
    #[derive(Default)]
    struct Engine {
        levels: [Vec<Vec<u32>>; LEVELS],
        /// Records that were written again.
        rewritten: usize,
    }

    impl Engine {
        fn files(&self) -> [Level; LEVELS] {
            std::array::from_fn(|level| self.levels[level].iter().map(|run| 1 + run.len() / 64).collect())
        }

        fn take(&mut self, step: Step) {
            match step {
                Step::Move(from, to) => {
                    let mut runs = std::mem::take(&mut self.levels[usize::from(from)]);
                    runs.append(&mut self.levels[usize::from(to)]);
                    self.levels[usize::from(to)] = runs;
                }
                Step::Merge(from, to) => {
                    let mut runs = std::mem::take(&mut self.levels[usize::from(from)]);
                    runs.append(&mut self.levels[usize::from(to)]);
                    let run = runs.concat();
                    self.rewritten += run.len();
                    self.levels[usize::from(to)] = vec![run];
                }
            }
        }

        /// Numbers of writes, the newest first.
        fn writes(&self) -> Vec<u32> {
            self.levels.iter().flatten().flatten().copied().collect()
        }
    }

    proptest! {
        /// Whenever steps are taken and whichever of the two threads is faster: nothing is lost, what is newer is
        /// found first, there are few runs once nothing is due, and a record is not written again often.
        #[test]
        fn tiers_keep_the_order_and_stay_few(pace in proptest::collection::vec((0_u8..3, 0_u8..3), 1..700)) {
            let mut engine = Engine::default();
            let mut written = 0;
            for (above, below) in pace {
                written += 1;
                engine.levels[0].insert(0, vec![written]);
                for _ in 0..above {
                    let Some(step) = shallow(&engine.files()) else { break };
                    engine.take(step);
                }
                for _ in 0..below {
                    let Some(step) = deep(&engine.files()) else { break };
                    engine.take(step);
                }
                prop_assert_eq!(engine.writes(), (1..=written).rev().collect::<Vec<_>>());
            }
            while let Some(step) = shallow(&engine.files()).or_else(|| deep(&engine.files())) {
                engine.take(step);
            }
            let runs: usize = engine.levels.iter().map(Vec::len).sum();
            prop_assert!(runs < WRITTEN_RUNS + 2 * TIER_RUNS + LAST_RUNS_MAX, "{runs} runs");
            prop_assert_eq!(engine.writes(), (1..=written).rev().collect::<Vec<_>>());
            prop_assert!(engine.rewritten <= 6 * engine.writes().len(), "{} of {written}", engine.rewritten);
        }

        /// What levels that were merged in another way hold comes into the tiers, in its order.
        #[test]
        fn any_levels_become_tiers(lens in proptest::array::uniform7(0_usize..4)) {
            let mut engine = Engine::default();
            let mut number = u32::try_from(lens.iter().sum::<usize>()).unwrap();
            for (level, len) in engine.levels.iter_mut().zip(lens) {
                for _ in 0..len {
                    level.push(vec![number]);
                    number -= 1;
                }
            }
            let before = engine.writes();
            while let Some(step) = shallow(&engine.files()).or_else(|| deep(&engine.files())) {
                engine.take(step);
            }
            prop_assert_eq!(engine.writes(), before);
            for level in [1, 3, 5] {
                prop_assert!(engine.levels[level].is_empty());
            }
        }
    }
}
