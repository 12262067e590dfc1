//! Figures of one run, on either side.

use std::time::Duration;

use serde::Deserialize;

use crate::load::Outcome;

/// What one run of one scenario gave.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    /// `grpc post uniform`; for the baseline, `uniform`.
    pub(crate) scenario: String,
    pub(crate) in_flight: usize,
    /// Calls offered each second, in an open loop.
    pub(crate) offered: Option<u32>,
    /// Movements posted a second, or reads.
    pub(crate) per_second: f64,
    /// Latency of a call.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// Processor time of the server for one movement or read; unknown for the baseline.
    pub(crate) cpu_us: Option<f64>,
}

impl Measure {
    /// Figures of an outcome whose calls did `units` movements or reads each.
    pub(crate) fn of(
        scenario: String,
        in_flight: usize,
        offered: Option<u32>,
        units: u64,
        outcome: &Outcome,
        cpu: Duration,
    ) -> Self {
        let done = (outcome.calls * units) as f64;
        let at = |quantile| outcome.latencies.value_at_quantile(quantile) as f64 / 1_000.0;
        Self {
            scenario,
            in_flight,
            offered,
            per_second: done / outcome.elapsed.as_secs_f64(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: at(1.0),
            cpu_us: Some(cpu.as_secs_f64() * 1e6 / done),
        }
    }

    /// Names the point of the measurement: `grpc post uniform 32`, `uniform 32 @4000`.
    pub(crate) fn point(&self) -> String {
        let offered = self.offered.map(|rate| format!(" @{rate}")).unwrap_or_default();
        format!("{} {}{offered}", self.scenario, self.in_flight)
    }
}

/// What `baseline/run.py` prints.
#[derive(Deserialize)]
pub(crate) struct Baseline {
    pub(crate) postgres: String,
    pub(crate) memory_mb: u64,
    pub(crate) bytes_per_movement: u64,
    pub(crate) checks: BaselineChecks,
    results: Vec<BaselineResult>,
}

/// Its checks after the load.
#[derive(Deserialize)]
pub(crate) struct BaselineChecks {
    pub(crate) movements: u64,
    pub(crate) wrong_items: u64,
}

#[derive(Deserialize)]
struct BaselineResult {
    scenario: String,
    movements_per_call: u32,
    clients: usize,
    rate: Option<u32>,
    per_second: f64,
    p50_us: u32,
    p99_us: u32,
    max_us: u32,
}

impl Baseline {
    /// Its results, in movements or reads a second.
    pub(crate) fn measures(&self) -> Vec<Measure> {
        let measure = |r: &BaselineResult| Measure {
            scenario: r.scenario.clone(),
            in_flight: r.clients,
            offered: r.rate,
            per_second: r.per_second * f64::from(r.movements_per_call.max(1)),
            p50_us: r.p50_us.into(),
            p99_us: r.p99_us.into(),
            max_us: r.max_us.into(),
            cpu_us: None,
        };
        self.results.iter().map(measure).collect()
    }
}
