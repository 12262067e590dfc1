//! Recording rules, objectives and alerts.

use std::fmt::Write as _;

use telemetry::SERIES_MAX;
use telemetry::table::{
    COMMIT_CONFLICTS, COMMIT_UNDECIDED_AGE, COMMIT_UNKNOWN, COMMITS, CONSUMER_APPLIED, CONSUMER_DEAD,
    CONSUMER_OLDEST, HTTP_REQUESTS, HTTP_SHED, ISOLATION_DENIED, LOOP_LAG, MAX_FDS, OPEN_FDS, READY,
    RPC_SERVER_SECONDS, SCALE_SIGNAL, SPANS,
};

/// An alert.
pub(crate) struct Alert {
    pub(crate) name: &'static str,
    pub(crate) expr: String,
    /// How long it must hold.
    pub(crate) lasts: &'static str,
    /// `page` wakes somebody, `ticket` waits for the morning.
    pub(crate) severity: &'static str,
    pub(crate) summary: &'static str,
    /// The dashboard that shows it.
    pub(crate) dashboard: &'static str,
    /// What tells rules of one alert apart: the long window of a burn rate.
    pub(crate) window: Option<&'static str>,
}

/// An objective: what counts as bad, what counts at all, and how much may be bad.
struct Objective {
    name: &'static str,
    alert: &'static str,
    bad: fn(&str) -> String,
    all: fn(&str) -> String,
    budget: &'static str,
    dashboard: &'static str,
    summary: &'static str,
}

/// Windows over which the share of what is bad is recorded.
const WINDOWS: [&str; 8] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"];
/// Long window, short window, factor by which the budget burns, how long, severity. Source: Beyer and others, "The Site
/// Reliability Workbook", 2018, chapter 5.
const BURNS: [(&str, &str, &str, &str, &str); 4] = [
    ("1h", "5m", "14.4", "2m", "page"),
    ("6h", "30m", "6", "15m", "page"),
    ("1d", "2h", "3", "1h", "ticket"),
    ("3d", "6h", "1", "3h", "ticket"),
];
/// Bad events in the long window without which no budget burns: with little traffic one failure is no trend.
const BAD_MIN: u32 = 20;

fn objectives() -> [Objective; 3] {
    [
        Objective {
            name: "availability",
            alert: "AvailabilityBudgetBurns",
            bad: |window| {
                format!("sum(rate({}{{kind!=\"page\",code=\"server\"}}[{window}]))", HTTP_REQUESTS.name)
            },
            all: |window| {
                format!("sum(rate({}{{kind!=\"page\",code!=\"limited\"}}[{window}]))", HTTP_REQUESTS.name)
            },
            budget: "0.0005",
            dashboard: "door",
            summary: "requests fail faster than 99.95 % in 30 days permits",
        },
        Objective {
            name: "movement_latency",
            alert: "MovementLatencyBudgetBurns",
            bad: |window| slow("service=\"stock\",op=\"write\"", "0.25", window),
            all: |window| calls("service=\"stock\",op=\"write\"", window),
            budget: "0.01",
            dashboard: "rpc",
            summary: "more postings take longer than 250 ms than 1 % in 30 days",
        },
        Objective {
            name: "read_latency",
            alert: "ReadLatencyBudgetBurns",
            bad: |window| slow("service=~\"catalog|stock\",op=\"read\"", "0.1", window),
            all: |window| calls("service=~\"catalog|stock\",op=\"read\"", window),
            budget: "0.01",
            dashboard: "rpc",
            summary: "more reads take longer than 100 ms than 1 % in 30 days",
        },
    ]
}

fn calls(selector: &str, window: &str) -> String {
    format!("sum(rate({}_count{{{selector}}}[{window}]))", RPC_SERVER_SECONDS.name)
}

/// Calls that took longer than a bound of the histogram.
fn slow(selector: &str, bound: &str, window: &str) -> String {
    let name = RPC_SERVER_SECONDS.name;
    format!("{} - sum(rate({name}_bucket{{{selector},le=\"{bound}\"}}[{window}]))", calls(selector, window))
}

fn bad_share(name: &str, window: &str) -> String {
    format!("cargo_pilot:{name}_bad:ratio_rate{window}")
}

fn bad_count(name: &str, window: &str) -> String {
    format!("cargo_pilot:{name}_bad:rate{window}")
}

/// All alerts, those of objectives first.
pub(crate) fn alerts() -> Vec<Alert> {
    let mut alerts = Vec::new();
    for objective in objectives() {
        for (long, short, factor, lasts, severity) in BURNS {
            let Objective { name, alert, budget, dashboard, summary, .. } = objective;
            let above = |window: &str| format!("{} > {factor} * {budget}", bad_share(name, window));
            let seconds = seconds(long);
            let enough = format!("{} * {seconds} >= {BAD_MIN}", bad_count(name, long));
            let expr = format!("{} and {} and {enough}", above(long), above(short));
            alerts.push(Alert { name: alert, expr, lasts, severity, summary, dashboard, window: Some(long) });
        }
    }
    let mut add = |name, severity, lasts, dashboard, summary, expr: String| {
        alerts.push(Alert { name, expr, lasts, severity, summary, dashboard, window: None });
    };
    let up = "up{job=~\"cargo-pilot.*\"}";
    add(
        "UndecidedTooLong",
        "page",
        "0m",
        "ledger",
        "the outcome of a commit has been unknown for more than two minutes",
        format!("{} > 120", COMMIT_UNDECIDED_AGE.name),
    );
    add(
        "CommitsUnknown",
        "ticket",
        "10m",
        "ledger",
        "the store keeps leaving outcomes open",
        format!("sum by (service) (rate({}[10m])) > 0.01", COMMIT_UNKNOWN.name),
    );
    add(
        "CommitConflictsHigh",
        "ticket",
        "30m",
        "ledger",
        "more than a fifth of the commits are decided again",
        format!(
            "sum by (service) (rate({}[10m])) / (sum by (service) (rate({}[10m])) > 0.1) > 0.2",
            COMMIT_CONFLICTS.name, COMMITS.name
        ),
    );
    add(
        "ConsumerStuck",
        "page",
        "5m",
        "consumers",
        "a consumer is behind and does not get on",
        format!("{} > 60 and rate({}[5m]) == 0", CONSUMER_OLDEST.name, CONSUMER_APPLIED.name),
    );
    add(
        "AuditStale",
        "page",
        "5m",
        "consumers",
        "the audit log is more than five minutes behind",
        format!("max by (stream) ({}{{consumer=\"audit\"}}) > 300", CONSUMER_OLDEST.name),
    );
    add(
        "ConsumerParked",
        "ticket",
        "5m",
        "consumers",
        "entries were not understood: their aggregates are parked",
        format!("{} > 0", CONSUMER_DEAD.name),
    );
    add(
        "RequestsShed",
        "ticket",
        "10m",
        "door",
        "requests are refused for overload",
        format!("sum by (reason) (rate({}[5m])) > 0.1", HTTP_SHED.name),
    );
    add(
        "DoorNearlyFull",
        "ticket",
        "15m",
        "door",
        "the public door is near its own limit",
        format!("{} > 0.9", SCALE_SIGNAL.name),
    );
    add(
        "IdsGuessed",
        "ticket",
        "15m",
        "door",
        "somebody asks for many ids that are not there",
        format!("sum(rate({}{{reason=\"unknown_id\"}}[5m])) > 5", ISOLATION_DENIED.name),
    );
    add(
        "ProcessDown",
        "page",
        "5m",
        "process",
        "a process is not there for Prometheus",
        format!("{up} == 0"),
    );
    add(
        "NothingRuns",
        "page",
        "5m",
        "process",
        "no process tells of itself",
        format!("absent({})", READY.name),
    );
    add(
        "NotReady",
        "ticket",
        "10m",
        "process",
        "a process has not taken requests for ten minutes",
        format!("{} == 0", READY.name),
    );
    add(
        "EventLoopLate",
        "ticket",
        "5m",
        "process",
        "a process does everything late",
        format!("{} > 0.5", LOOP_LAG.name),
    );
    add(
        "FilesNearLimit",
        "ticket",
        "15m",
        "process",
        "a process has nearly as many files and sockets open as the system permits",
        format!("{} / {} > 0.8", OPEN_FDS.name, MAX_FDS.name),
    );
    add(
        "SpansLost",
        "ticket",
        "30m",
        "process",
        "traces are lost on their way to the collector",
        format!("sum(rate({}{{outcome!=\"exported\"}}[10m])) > 0", SPANS.name),
    );
    let near = SERIES_MAX / 10 * 9;
    add(
        "SeriesNearLimit",
        "ticket",
        "1h",
        "process",
        "a process has nearly as many series as it may",
        format!("scrape_samples_scraped{{job=~\"cargo-pilot.*\"}} > {near}"),
    );
    alerts
}

fn seconds(window: &str) -> u32 {
    let (count, unit) = window.split_at(window.len() - 1);
    count.parse::<u32>().unwrap() * if unit == "h" { 3_600 } else { 86_400 }
}

/// The rules, as Prometheus reads them.
pub(crate) fn text() -> String {
    let mut text = String::from(
        "# Made from services/lib/telemetry: CARGO_PILOT_UPDATE=1 cargo test -p telemetry --test k8s\ngroups:\n",
    );
    for objective in objectives() {
        write!(text, "  - name: cargo-pilot-{}\n    rules:\n", objective.name.replace('_', "-")).unwrap();
        for window in WINDOWS {
            let (bad, all) = ((objective.bad)(window), (objective.all)(window));
            // A class that never came up has no series: nothing is bad then.
            let bad = format!("({bad}) or vector(0)");
            record(&mut text, &bad_count(objective.name, window), &bad);
            let share = format!("({bad}) / ({all} > 0)");
            record(&mut text, &bad_share(objective.name, window), &share);
        }
    }
    text.push_str("  - name: cargo-pilot-alerts\n    rules:\n");
    for alert in alerts() {
        let Alert { name, expr, lasts, severity, summary, dashboard, window } = alert;
        let window = window.map_or_else(String::new, |window| format!("\n          window: {window}"));
        write!(
            text,
            "      - alert: {name}\n        expr: '{expr}'\n        for: {lasts}\n        labels:\n          \
             severity: {severity}{window}\n        annotations:\n          summary: '{summary} ({{{{ $value }}}})'\n          \
             dashboard: cp-{dashboard}\n          runbook_url: k8s/runbooks/{name}.md\n"
        )
        .unwrap();
    }
    text
}

fn record(text: &mut String, name: &str, expr: &str) {
    write!(text, "      - record: {name}\n        expr: '{expr}'\n").unwrap();
}
