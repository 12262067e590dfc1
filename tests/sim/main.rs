//! The platform in a world where everything goes wrong that the ports permit, on a clock that does not wait.
//!
//! In reading order: `dice` (chance from a seed), `life` (a process, its clock and its death), `net` (the stores
//! and the weather on the way to them), `process` (all services behind their gateway), `world` (two processes,
//! storms and calm days), `follower` (who follows the journals), `client` and `reader` and `shelf` (who works there), `call` (what a caller knows after
//! a call), `model` (what must be true), `run` (worlds and seeds), `bugs` (planted ones, which must be found).
//!
//! `SIM_SEED=7` lives through the world of one seed, `SIM_HOURS=100000` through many.

#[cfg(feature = "seeded-bugs")]
mod bugs;
mod call;
mod client;
mod dice;
mod errors;
mod follower;
mod life;
mod model;
mod net;
mod process;
mod reader;
mod run;
mod shelf;
mod world;

use std::time::Duration;

use run::{Plan, Report, caught, worlds};

/// Simulated hours, if `SIM_HOURS` does not say otherwise.
const HOURS: u64 = 200;
/// Simulated hours of each world.
const HOURS_EACH: u64 = 4;

const PLAN: Plan =
    Plan { lasts: Duration::from_secs(HOURS_EACH * 3600), calm: Duration::from_secs(2_400), clients: 6 };

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// INV-1, INV-2, INV-3, INV-6, INV-7, INV-9: whatever is late, lost, repeated, full, paused or dead, what was
/// acknowledged is there once, what was refused is not, and everything that is shown was true.
#[test]
fn nothing_acknowledged_is_lost_doubled_or_wrong() {
    if let Some(seed) = setting("SIM_SEED") {
        let lived = caught(seed, PLAN);
        println!("seed {seed}: {lived:?}");
        assert!(lived.is_ok(), "SIM_SEED={seed}");
        return;
    }
    let hours = setting("SIM_HOURS").unwrap_or(HOURS);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    match worlds(0..hours.div_ceil(HOURS_EACH), PLAN, threads) {
        Ok(report) => println!("{report:?}"),
        Err((seed, what)) => panic!("SIM_SEED={seed}: {what}"),
    }
}

/// A seed that failed must fail again: a world follows from its seed.
#[test]
fn a_world_follows_from_its_seed() {
    let plan = Plan { lasts: Duration::from_secs(900), calm: Duration::from_secs(60), ..PLAN };
    let lived: Vec<Report> = (0..2).map(|_| caught(11, plan).expect("a good world")).collect();
    assert_eq!(lived[0], lived[1]);
    assert_ne!(lived[0], caught(12, plan).expect("a good world"));
}
