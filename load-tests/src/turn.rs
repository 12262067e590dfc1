//! One turn of each side: everything from an empty folder to the checks after the load.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Error;
use crate::check::{self, Checked};
use crate::client::Grpc;
use crate::measure::{Baseline, Measure};
use crate::random::Random;
use crate::scenario::{self, OPEN_CALLERS, OPEN_RATE, Work};
use crate::server::{Folder, Server, disk};
use crate::world::{ITEMS, World};

/// What the server showed in a turn.
pub(crate) struct Product {
    pub(crate) measures: Vec<Measure>,
    /// From the start of the process to ready, on an empty folder.
    pub(crate) start_empty: Duration,
    /// The same after the load, with all movements in the folder.
    pub(crate) start_loaded: Duration,
    /// From SIGTERM to the end of the process.
    pub(crate) stop: Duration,
    /// Resident memory in bytes: when ready, with 10,000 items, after the load, and the peak.
    pub(crate) memory_ready: u64,
    pub(crate) memory_items: u64,
    pub(crate) memory_end: u64,
    pub(crate) memory_peak: u64,
    /// Disk space that the movements of the load took, each.
    pub(crate) bytes_per_movement: u64,
    pub(crate) checked: Checked,
}

/// Starts the server on an empty folder below `parent`, loads it with the scenarios whose name contains
/// `only`, starts it once more, and checks there that everything acknowledged is in the ledger.
pub(crate) async fn product(
    binary: &Path,
    parent: &Path,
    lasting: Duration,
    only: &str,
) -> Result<Product, Error> {
    let folder = Folder::new(parent)?;
    let data = folder.path().join("data");
    let mut random = Random::fresh()?;
    let server = Server::start(binary, &folder)?;
    let start_empty = server.start_to_ready;
    let (memory_ready, _) = server.memory()?;
    let grpc = Grpc::connect(&server.url, &server.api_key).await?;
    let world = World::make(&grpc, &mut random).await?;
    let mut acknowledged = ITEMS as u64;
    let (memory_items, _) = server.memory()?;
    let disk_items = disk(&data)?;

    // Connections open, the store and the allocator warm, as for the baseline.
    let scenarios = scenario::all();
    acknowledged += scenarios[1].run(&server, &world, WARM_UP).await?.1;
    let mut measures = Vec::new();
    let mut grown = false;
    for scenario in scenarios.iter().filter(|s| s.name().contains(only)) {
        if scenario.work == Work::Last50 && !grown {
            acknowledged += world.grow(&grpc, &mut random).await?;
            grown = true;
        }
        let (measure, posted) = scenario.run(&server, &world, lasting).await?;
        acknowledged += posted;
        eprintln!(
            "{}: {:.0}/s, p50 {:.0} µs, p99 {:.0} µs",
            measure.point(),
            measure.per_second,
            measure.p50_us,
            measure.p99_us
        );
        measures.push(measure);
    }

    let (memory_end, memory_peak) = server.memory()?;
    drop(grpc);
    let stop = server.stop()?;
    let bytes_per_movement = disk(&data)?.saturating_sub(disk_items) / (acknowledged - ITEMS as u64).max(1);
    let server = Server::start(binary, &folder)?;
    let start_loaded = server.start_to_ready;
    let grpc = Grpc::connect(&server.url, &server.api_key).await?;
    let checked = check::ledger(&grpc, &world, acknowledged, &mut random).await?;
    drop(grpc);
    server.stop()?;
    Ok(Product {
        measures,
        start_empty,
        start_loaded,
        stop,
        memory_ready,
        memory_items,
        memory_end,
        memory_peak,
        bytes_per_movement,
        checked,
    })
}

/// Load before the first measurement.
const WARM_UP: Duration = Duration::from_secs(2);

/// Runs `baseline/run.py` with its usual scenarios and the open loop.
pub(crate) fn baseline(python: &str, parent: &Path, lasting: Duration) -> Result<Baseline, Error> {
    let scenarios = [
        "uniform",
        "hot",
        "batch-loop-uniform",
        "batch-set-uniform",
        "batch-loop-hot",
        "batch-set-hot",
        "balance",
        "last50",
    ];
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/baseline/run.py"))
        .args(scenarios)
        .arg(format!("uniform:{OPEN_CALLERS}@{OPEN_RATE}"))
        .args(["--seconds", &lasting.as_secs().to_string(), "--parent"])
        .arg(parent)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("{python}: {e}"))?;
    if !output.status.success() {
        return Err(format!("the baseline ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
