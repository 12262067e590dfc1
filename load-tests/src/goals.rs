//! Ratios between the two sides, and the floors that they must not fall below.

use std::collections::HashMap;

use crate::measure::Measure;

/// Figure of a measurement; of several measurements, the best one.
#[derive(Clone, Copy)]
enum Figure {
    /// Movements or reads a second.
    Rate,
    P50,
    P99,
}

/// What a ratio must be.
#[derive(Clone, Copy)]
pub(crate) enum Floor {
    AtLeast(f64),
    AtMost(f64),
    /// For information.
    None,
}

/// One ratio of the report.
pub(crate) struct Goal {
    pub(crate) text: &'static str,
    pub(crate) floor: Floor,
    /// A miss fails `compare --enforce`; others wait for the commit log.
    pub(crate) required: bool,
    figure: Figure,
    ours: &'static [&'static str],
    against: &'static [&'static str],
}

const UNIFORM: &[&str] = &["uniform 1", "uniform 8", "uniform 32", "uniform 64", "uniform 128"];
const HOT: &[&str] = &["hot 1", "hot 8", "hot 32", "hot 128"];
const BATCH_UNIFORM: &[&str] =
    &["batch-loop-uniform 1", "batch-loop-uniform 8", "batch-set-uniform 1", "batch-set-uniform 8"];
const BATCH_HOT: &[&str] = &["batch-loop-hot 8", "batch-set-hot 8"];

/// All ratios, those with a required floor first.
pub(crate) const GOALS: &[Goal] = &[
    Goal {
        text: "gRPC single postings, uniform, 32 to 64 in flight / PostgreSQL at its best",
        floor: Floor::AtLeast(2.5),
        required: true,
        figure: Figure::Rate,
        ours: &["grpc post uniform 32", "grpc post uniform 64"],
        against: UNIFORM,
    },
    Goal {
        text: "gRPC single postings, one hot item, 32 to 64 in flight / PostgreSQL at its best",
        floor: Floor::AtLeast(6.0),
        required: true,
        figure: Figure::Rate,
        ours: &["grpc post hot 32", "grpc post hot 64"],
        against: HOT,
    },
    Goal {
        text: "the same at 128 in flight / PostgreSQL at 128",
        floor: Floor::AtLeast(15.0),
        required: true,
        figure: Figure::Rate,
        ours: &["grpc post hot 128"],
        against: &["hot 128"],
    },
    Goal {
        text: "own hot item / own uniform, 64 in flight",
        floor: Floor::AtLeast(0.8),
        required: true,
        figure: Figure::Rate,
        ours: &["grpc post hot 64"],
        against: &["grpc post uniform 64"],
    },
    Goal {
        text: "p50 of one caller / PostgreSQL's",
        floor: Floor::AtMost(1.2),
        required: true,
        figure: Figure::P50,
        ours: &["grpc post uniform 1"],
        against: &["uniform 1"],
    },
    Goal {
        text: "batches of 100, uniform, 8 callers / PostgreSQL's best batch",
        floor: Floor::AtLeast(1.2),
        required: false,
        figure: Figure::Rate,
        ours: &["grpc batch uniform 8"],
        against: BATCH_UNIFORM,
    },
    Goal {
        text: "batches of 100, hot item, 8 callers / PostgreSQL's best batch",
        floor: Floor::AtLeast(2.0),
        required: false,
        figure: Figure::Rate,
        ours: &["grpc batch hot 8"],
        against: BATCH_HOT,
    },
    Goal {
        text: "p99 at 128 in flight, uniform / PostgreSQL's",
        floor: Floor::AtMost(0.5),
        required: false,
        figure: Figure::P99,
        ours: &["grpc post uniform 128"],
        against: &["uniform 128"],
    },
    Goal {
        text: "p99 at 128 in flight, hot item / PostgreSQL's",
        floor: Floor::AtMost(0.05),
        required: false,
        figure: Figure::P99,
        ours: &["grpc post hot 128"],
        against: &["hot 128"],
    },
    Goal {
        text: "p99 at 4,000/s offered, open loop / PostgreSQL's",
        floor: Floor::AtMost(1.0),
        required: false,
        figure: Figure::P99,
        ours: &["grpc post uniform 32 @4000"],
        against: &["uniform 32 @4000"],
    },
    Goal {
        text: "last 50 movements, gRPC, 8 callers / PostgreSQL",
        floor: Floor::AtLeast(1.0),
        required: false,
        figure: Figure::Rate,
        ours: &["grpc last 50 8"],
        against: &["last50 8"],
    },
    Goal {
        text: "balance read, gRPC, 8 callers / PostgreSQL",
        floor: Floor::None,
        required: false,
        figure: Figure::Rate,
        ours: &["grpc balance 8"],
        against: &["balance 8"],
    },
    Goal {
        text: "REST single postings, uniform, 64 connections / PostgreSQL at its best",
        floor: Floor::None,
        required: false,
        figure: Figure::Rate,
        ours: &["rest post uniform 64"],
        against: UNIFORM,
    },
];

impl Goal {
    /// The ratio in one pair of turns; none where a run is missing.
    pub(crate) fn ratio(&self, pair: &HashMap<String, Measure>) -> Option<f64> {
        Some(self.best(self.ours, pair)? / self.best(self.against, pair)?)
    }

    fn best(&self, points: &[&str], pair: &HashMap<String, Measure>) -> Option<f64> {
        let measures = points.iter().map(|&point| pair.get(point)).collect::<Option<Vec<_>>>()?;
        let figures = measures.into_iter().map(|m| match self.figure {
            Figure::Rate => m.per_second,
            Figure::P50 => m.p50_us,
            Figure::P99 => m.p99_us,
        });
        match self.figure {
            Figure::Rate => figures.max_by(f64::total_cmp),
            Figure::P50 | Figure::P99 => figures.min_by(f64::total_cmp),
        }
    }

    /// Whether `ratio` is on the right side of the floor; none where there is no floor.
    pub(crate) fn met(&self, ratio: f64) -> Option<bool> {
        match self.floor {
            Floor::AtLeast(floor) => Some(ratio >= floor),
            Floor::AtMost(floor) => Some(ratio <= floor),
            Floor::None => None,
        }
    }
}

/// Median, least and greatest of the figures; the lower of the two in the middle of an even number.
pub(crate) fn spread(figures: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some((*sorted.get(sorted.len().checked_sub(1)? / 2)?, *sorted.first()?, *sorted.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    fn measure(scenario: &str, in_flight: usize, per_second: f64, p99_us: f64) -> (String, Measure) {
        let measure = Measure {
            scenario: scenario.into(),
            in_flight,
            offered: None,
            per_second,
            p50_us: 1.0,
            p99_us,
            max_us: p99_us,
            cpu_us: None,
        };
        (measure.point(), measure)
    }

    #[test]
    fn a_ratio_takes_the_best_of_each_side() {
        let hot = GOALS.iter().find(|goal| goal.against == HOT).unwrap();
        let mut pair = HashMap::from([
            measure("grpc post hot", 32, 12_000.0, 9.0),
            measure("grpc post hot", 64, 18_000.0, 9.0),
            measure("hot", 1, 2_000.0, 9.0),
            measure("hot", 8, 3_000.0, 9.0),
            measure("hot", 32, 1_000.0, 9.0),
        ]);
        assert_eq!(hot.ratio(&pair), None, "a run is missing");
        pair.extend([measure("hot", 128, 500.0, 9.0)]);
        assert_eq!(hot.ratio(&pair), Some(6.0));
        assert_eq!((hot.met(6.0), hot.met(5.9)), (Some(true), Some(false)));
    }

    #[test]
    fn every_goal_names_runs_that_are_made() {
        let ours: Vec<String> = scenario::all()
            .iter()
            .map(|s| s.rate.map_or(String::new(), |rate| format!(" @{rate}")))
            .zip(scenario::all())
            .map(|(offered, s)| format!("{} {}{offered}", s.name(), s.in_flight))
            .collect();
        for goal in GOALS {
            for point in goal.ours {
                assert!(ours.contains(&(*point).to_owned()), "{point}");
            }
        }
    }

    #[test]
    fn spread_is_median_least_and_greatest() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(spread(&[4.0, 1.0]), Some((1.0, 1.0, 4.0)));
    }
}
