//! The dashboards: each panel asks for metrics of the table by their constants.

use serde_json::{Value, json};
use telemetry::table::{
    self, ACTORS, ACTORS_BUSY, ACTORS_EVICTED, BUILD_INFO, COMMIT_COMMANDS, COMMIT_CONFLICTS, COMMIT_SECONDS,
    COMMIT_UNDECIDED_AGE, COMMIT_UNKNOWN, COMMITS, CONSUMER_APPLIED, CONSUMER_DEAD, CONSUMER_FAILED,
    CONSUMER_LAG, CONSUMER_OLDEST, CPU, HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS, HTTP_SERVING, HTTP_SHED,
    HTTP_WAITING, ISOLATION_DENIED, LOOP_LAG, MAX_FDS, MOVEMENTS, Metric, OPEN_FDS, READY, RESIDENT_BYTES,
    RPC_CLIENT_IN_FLIGHT, RPC_CLIENT_REQUESTS, RPC_CLIENT_SECONDS, RPC_SERVER_IN_FLIGHT,
    RPC_SERVER_METHOD_SECONDS, RPC_SERVER_REQUESTS, RPC_SERVER_SECONDS, SCALE_SIGNAL, SPANS, STARTED_AT,
    THREADS, Unit, VIRTUAL_BYTES,
};

/// Panels beside each other, of 24 columns.
const ACROSS: usize = 3;
const WIDTH: usize = 24 / ACROSS;
const HEIGHT: usize = 8;

/// A panel: title, unit, what it means and when to worry, and its queries with their legends.
struct Panel {
    title: &'static str,
    unit: &'static str,
    worry: &'static str,
    stat: bool,
    queries: Vec<(String, &'static str)>,
}

/// All dashboards by the name of their file, which is `cp-` and the name in Grafana too.
pub(crate) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("overview", dashboard("overview", "Cargo Pilot: overview", &overview())),
        ("rpc", dashboard("rpc", "Cargo Pilot: calls by service", &rpc())),
        ("door", dashboard("door", "Cargo Pilot: public door", &door())),
        ("ledger", dashboard("ledger", "Cargo Pilot: ledger", &ledger())),
        ("consumers", dashboard("consumers", "Cargo Pilot: audit log and followers", &consumers())),
        ("process", dashboard("process", "Cargo Pilot: process", &process())),
    ]
}

/// A metric, in the jobs that are looked at.
fn of(metric: &Metric) -> String {
    format!("{}{{job=~\"$job\"}}", metric.name)
}

/// As [`of`], of the services that are looked at.
fn of_service(metric: &Metric) -> String {
    assert!(metric.labels.contains(&"service"), "{}", metric.name);
    format!("{}{{job=~\"$job\",service=~\"$service\"}}", metric.name)
}

fn rate(series: &str) -> String {
    format!("rate({series}[$__rate_interval])")
}

fn sum(by: &str, series: &str) -> String {
    format!("sum by ({by}) ({})", rate(series))
}

/// A quantile of a histogram, by labels.
fn quantile(quantile: &str, by: &str, metric: &Metric, selector: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("{by}, le") };
    let buckets = format!("{}_bucket{selector}", metric.name);
    format!("histogram_quantile({quantile}, {})", sum(&by, &buckets))
}

const JOB: &str = "{job=~\"$job\"}";
const SERVICE: &str = "{job=~\"$job\",service=~\"$service\"}";

/// The unit of a metric, as Grafana calls it.
fn unit(metric: &Metric) -> &'static str {
    match metric.unit {
        Unit::Count => "short",
        Unit::Seconds => "s",
        Unit::Bytes => "bytes",
        Unit::Ratio => "percentunit",
        Unit::UnixTime => "dateTimeFromNow",
    }
}

fn panel(
    title: &'static str,
    unit: &'static str,
    worry: &'static str,
    queries: Vec<(String, &'static str)>,
) -> Panel {
    Panel { title, unit, worry, stat: false, queries }
}

fn stat(title: &'static str, unit: &'static str, worry: &'static str, query: String) -> Panel {
    Panel { title, unit, worry, stat: true, queries: vec![(query, "")] }
}

/// Share of answers of one class; 0 while nobody asks.
fn share(metric: &Metric, code: &str) -> String {
    let name = metric.name;
    let bad = format!("sum({})", rate(&format!("{name}{{job=~\"$job\",code=\"{code}\"}}")));
    let all = format!("sum({})", rate(&of(metric)));
    format!("({bad} or vector(0)) / clamp_min({all}, 1e-9)")
}

fn overview() -> Vec<Panel> {
    vec![
        stat(
            "Ready",
            "short",
            "Processes that take requests. Worry when it is less than what runs.",
            format!("sum({})", of(&READY)),
        ),
        stat(
            "Failed requests",
            "percentunit",
            "Share of answers that are our fault. The objective is 0.05 %.",
            share(&HTTP_REQUESTS, "server"),
        ),
        stat(
            "Oldest undecided commit",
            "s",
            "How long an outcome has been unknown. Anything above 120 s wakes somebody.",
            format!("max({})", of(&COMMIT_UNDECIDED_AGE)),
        ),
        panel(
            "Requests",
            "reqps",
            "By class of the answer. Worry when 'server' grows.",
            vec![(sum("code", &of(&HTTP_REQUESTS)), "{{code}}")],
        ),
        panel(
            "Latency at the door",
            "s",
            "Half, 99 and 99.9 of a hundred requests are faster. Worry when p99 passes 250 ms.",
            vec![
                (quantile("0.5", "", &HTTP_SECONDS, JOB), "p50"),
                (quantile("0.99", "", &HTTP_SECONDS, JOB), "p99"),
                (quantile("0.999", "", &HTTP_SECONDS, JOB), "p999"),
            ],
        ),
        panel(
            "Commits",
            "ops",
            "By outcome. 'unknown' is never normal.",
            vec![(sum("outcome", &of(&COMMITS)), "{{outcome}}")],
        ),
        panel(
            "Movements",
            "ops",
            "Movements that were posted, by kind: what the business does.",
            vec![(sum("kind", &of(&MOVEMENTS)), "{{kind}}")],
        ),
        panel(
            "Behind",
            "s",
            "How long ago a consumer had handled everything. Worry above a minute.",
            vec![(of(&CONSUMER_OLDEST), "{{consumer}} {{stream}}")],
        ),
        panel(
            "Denied",
            "ops",
            "Calls that were denied, by reason. 'unknown_id' in numbers is somebody who guesses ids.",
            vec![(sum("reason", &of(&ISOLATION_DENIED)), "{{reason}}")],
        ),
    ]
}

fn rpc() -> Vec<Panel> {
    let mean = format!(
        "topk(15, sum by (method) ({}) / (sum by (method) ({}) > 0))",
        rate(&of_service(&RPC_SERVER_METHOD_SECONDS)),
        rate(&of_service(&RPC_SERVER_REQUESTS))
    );
    vec![
        panel(
            "Calls answered",
            "reqps",
            "By service. Worry about a service that falls silent.",
            vec![(sum("service", &of_service(&RPC_SERVER_REQUESTS)), "{{service}}")],
        ),
        panel(
            "Answers by class",
            "reqps",
            "Worry when 'server' is not flat at zero.",
            vec![(sum("code", &of_service(&RPC_SERVER_REQUESTS)), "{{code}}")],
        ),
        panel(
            "Calls in flight",
            unit(&RPC_SERVER_IN_FLIGHT),
            "Worry when it grows and calls a second do not.",
            vec![(of_service(&RPC_SERVER_IN_FLIGHT), "{{service}}")],
        ),
        panel(
            "Latency of reads, p99",
            "s",
            "The objective is 100 ms for 99 of a hundred.",
            vec![(
                quantile(
                    "0.99",
                    "service",
                    &RPC_SERVER_SECONDS,
                    "{job=~\"$job\",service=~\"$service\",op=\"read\"}",
                ),
                "{{service}}",
            )],
        ),
        panel(
            "Latency of writes, p99",
            "s",
            "The objective is 250 ms for 99 of a hundred.",
            vec![(
                quantile(
                    "0.99",
                    "service",
                    &RPC_SERVER_SECONDS,
                    "{job=~\"$job\",service=~\"$service\",op=\"write\"}",
                ),
                "{{service}}",
            )],
        ),
        panel(
            "Slowest methods",
            "s",
            "Mean time of a call. Lists and batches are slow by nature; others are not.",
            vec![(mean, "{{method}}")],
        ),
        panel(
            "Busiest methods",
            "reqps",
            "The fifteen methods that are called most.",
            vec![(format!("topk(15, {})", sum("method", &of_service(&RPC_SERVER_REQUESTS))), "{{method}}")],
        ),
        panel(
            "Calls made",
            "reqps",
            "By the service that is asked, and class of the answer.",
            vec![(sum("peer, code", &of(&RPC_CLIENT_REQUESTS)), "{{peer}} {{code}}")],
        ),
        panel(
            "Waiting for others, p99",
            "s",
            "Time until a service that is asked has answered. Worry when it is more than that service says itself.",
            vec![(quantile("0.99", "peer", &RPC_CLIENT_SECONDS, JOB), "{{peer}}")],
        ),
        panel(
            "Calls waited for",
            unit(&RPC_CLIENT_IN_FLIGHT),
            "Worry about one that only grows.",
            vec![(of(&RPC_CLIENT_IN_FLIGHT), "{{peer}}")],
        ),
    ]
}

fn door() -> Vec<Panel> {
    vec![
        stat(
            "Failed requests",
            "percentunit",
            "Share of answers that are our fault, overload included. The objective is 0.05 %.",
            share(&HTTP_REQUESTS, "server"),
        ),
        stat(
            "In flight",
            "short",
            "Requests that are here. Worry near gateway.requests_max.",
            format!("sum({})", of(&HTTP_IN_FLIGHT)),
        ),
        stat(
            "Waiting",
            "short",
            "Requests that wait for a place. Worry when it is not zero for long.",
            format!("sum({})", of(&HTTP_WAITING)),
        ),
        panel(
            "Requests by kind",
            "reqps",
            "REST, gRPC, and pages that need no credential.",
            vec![(sum("kind", &of(&HTTP_REQUESTS)), "{{kind}}")],
        ),
        panel(
            "Answers by class",
            "reqps",
            "Worry when 'server' grows; 'limited' is a caller above its plan.",
            vec![(sum("code", &of(&HTTP_REQUESTS)), "{{code}}")],
        ),
        panel(
            "Latency by kind, p99",
            "s",
            "From the headers of a request to those of its answer.",
            vec![(quantile("0.99", "kind", &HTTP_SECONDS, JOB), "{{kind}}")],
        ),
        panel(
            "Places",
            unit(&HTTP_SERVING),
            "Requests in service and waiting for a place.",
            vec![(of(&HTTP_SERVING), "serving"), (of(&HTTP_WAITING), "waiting")],
        ),
        panel(
            "Shed",
            "reqps",
            "Refused for overload: 'queue' is one tenant with too many requests, 'door' is all of them together.",
            vec![(sum("reason", &of(&HTTP_SHED)), "{{reason}}")],
        ),
        panel(
            "Fill",
            unit(&SCALE_SIGNAL),
            "Against its own limits; more processes are needed above 60 %.",
            vec![(of(&SCALE_SIGNAL), "{{name}}")],
        ),
        panel(
            "Denied",
            "ops",
            "By reason. Worry about a step, not about the level.",
            vec![(sum("reason", &of(&ISOLATION_DENIED)), "{{reason}}")],
        ),
    ]
}

fn ledger() -> Vec<Panel> {
    let per_commit = format!(
        "sum by (service) ({}) / (sum by (service) ({}) > 0)",
        rate(&format!("{}_sum{SERVICE}", COMMIT_COMMANDS.name)),
        rate(&format!("{}_count{SERVICE}", COMMIT_COMMANDS.name))
    );
    let conflicts = format!(
        "sum by (service) ({}) / (sum by (service) ({}) > 0)",
        rate(&of_service(&COMMIT_CONFLICTS)),
        rate(&of_service(&COMMITS))
    );
    vec![
        stat(
            "Commits",
            "ops",
            "Commits a second of all services.",
            format!("sum({})", rate(&of_service(&COMMITS))),
        ),
        stat(
            "Oldest undecided commit",
            "s",
            "Worry above zero; above 120 s somebody is woken.",
            format!("max({})", of_service(&COMMIT_UNDECIDED_AGE)),
        ),
        stat(
            "Unknown outcomes",
            "ops",
            "Answers of the store that left an outcome open. Each is pursued; many say that the store is ill.",
            format!("sum({})", rate(&of_service(&COMMIT_UNKNOWN))),
        ),
        panel(
            "Commits by outcome",
            "ops",
            "'moved' is decided again by itself, 'claimed' is a value that somebody has, 'unknown' is never normal.",
            vec![(sum("outcome", &of_service(&COMMITS)), "{{outcome}}")],
        ),
        panel(
            "Commits by service",
            "ops",
            "Where the ledger grows.",
            vec![(sum("service", &of_service(&COMMITS)), "{{service}}")],
        ),
        panel(
            "Time of a commit",
            "s",
            "Until the store has synced. Worry when p99 leaves the time that the disk takes for a sync.",
            vec![
                (quantile("0.5", "service", &COMMIT_SECONDS, SERVICE), "{{service}} p50"),
                (quantile("0.99", "service", &COMMIT_SECONDS, SERVICE), "{{service}} p99"),
            ],
        ),
        panel(
            "Commands in a commit",
            "short",
            "How well neighbours share. It grows with load on one aggregate; that is what it is for.",
            vec![(per_commit, "{{service}}")],
        ),
        panel(
            "Conflicts",
            "percentunit",
            "Share of commits that were decided again. Above 20 % two processes work on the same aggregates.",
            vec![(conflicts, "{{service}}")],
        ),
        panel(
            "Aggregates in memory",
            unit(&ACTORS),
            "Worry about nothing here but its growth without bound.",
            vec![(of_service(&ACTORS), "{{service}}")],
        ),
        panel(
            "Aggregates at work",
            unit(&ACTORS_BUSY),
            "Share of those in memory.",
            vec![(of_service(&ACTORS_BUSY), "{{service}}")],
        ),
        panel(
            "Evictions",
            "ops",
            "States that made room for others and are read again when they are needed.",
            vec![(rate(&of_service(&ACTORS_EVICTED)), "{{service}}")],
        ),
        panel("Movements", "ops", "By kind.", vec![(sum("kind", &of(&MOVEMENTS)), "{{kind}}")]),
    ]
}

fn consumers() -> Vec<Panel> {
    vec![
        stat(
            "Furthest behind",
            "s",
            "How long ago a consumer had handled everything. Above a minute its readers notice.",
            format!("max({})", of(&CONSUMER_OLDEST)),
        ),
        stat(
            "Lag",
            "short",
            "Groups of commits that are known and not handled, of all consumers.",
            format!("sum({})", of(&CONSUMER_LAG)),
        ),
        stat(
            "Parked",
            "short",
            "Aggregates whose next entry was not understood. Worry above zero.",
            format!("sum({})", of(&CONSUMER_DEAD)),
        ),
        panel(
            "Behind",
            "s",
            "By consumer and the service that it follows.",
            vec![(of(&CONSUMER_OLDEST), "{{consumer}} {{stream}}")],
        ),
        panel(
            "Lag",
            unit(&CONSUMER_LAG),
            "Worry when it grows while entries are applied: the consumer is slower than its source.",
            vec![(of(&CONSUMER_LAG), "{{consumer}} {{stream}}")],
        ),
        panel(
            "Entries applied",
            "ops",
            "Worry when it is zero while there is a lag.",
            vec![(rate(&of(&CONSUMER_APPLIED)), "{{consumer}} {{stream}}")],
        ),
        panel(
            "Failed steps",
            "ops",
            "Tried again after a pause. Worry when it does not stop.",
            vec![(rate(&of(&CONSUMER_FAILED)), "{{consumer}} {{stream}}")],
        ),
        panel(
            "Parked since the start",
            unit(&CONSUMER_DEAD),
            "Their entries take no effect until somebody has looked.",
            vec![(of(&CONSUMER_DEAD), "{{consumer}} {{stream}}")],
        ),
    ]
}

fn process() -> Vec<Panel> {
    vec![
        stat("Ready", unit(&READY), "Processes that take requests.", format!("sum({})", of(&READY))),
        stat(
            "Started",
            unit(&STARTED_AT),
            "When the youngest process was started. The value is in seconds; Grafana wants milliseconds.",
            format!("1000 * max({})", of(&STARTED_AT)),
        ),
        stat(
            "Event loop",
            unit(&LOOP_LAG),
            "How late the task was that must run every second. Worry above 100 ms.",
            format!("max({})", of(&LOOP_LAG)),
        ),
        panel(
            "Versions",
            "short",
            "Processes by version. Two at the same time is a rollout.",
            vec![(format!("count by (name) ({})", of(&BUILD_INFO)), "{{name}}")],
        ),
        panel("CPU", "short", "Cores that are used.", vec![(rate(&of(&CPU)), "{{instance}}")]),
        panel(
            "Memory",
            unit(&RESIDENT_BYTES),
            "Worry when it only grows.",
            vec![(of(&RESIDENT_BYTES), "{{instance}}")],
        ),
        panel(
            "Address space",
            unit(&VIRTUAL_BYTES),
            "Of interest only when memory is.",
            vec![(of(&VIRTUAL_BYTES), "{{instance}}")],
        ),
        panel(
            "Files and sockets",
            "percentunit",
            "Share of what the system permits. Worry above 80 %.",
            vec![(format!("{} / {}", of(&OPEN_FDS), of(&MAX_FDS)), "{{instance}}")],
        ),
        panel("Threads", unit(&THREADS), "Worry about a step.", vec![(of(&THREADS), "{{instance}}")]),
        panel(
            "Event loop",
            unit(&LOOP_LAG),
            "A process whose loop is late answers everything late.",
            vec![(of(&LOOP_LAG), "{{instance}}")],
        ),
        panel(
            "Spans",
            "ops",
            "'dropped' and 'failed' cost traces and nothing else.",
            vec![(sum("outcome", &of(&SPANS)), "{{outcome}}")],
        ),
    ]
}

fn variable(name: &str, of: &Metric) -> Value {
    let query = format!("label_values({}, {name})", of.name);
    json!({
        "name": name, "type": "query", "label": name, "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": "variable"}, "definition": query, "refresh": 2,
        "includeAll": true, "multi": true, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    })
}

fn dashboard(name: &str, title: &str, panels: &[Panel]) -> Value {
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let panels = panels.iter().enumerate().map(|(at, panel)| {
        let targets = panel.queries.iter().zip('A'..).map(|((expr, legend), letter)| {
            json!({"refId": letter.to_string(), "expr": expr, "legendFormat": legend, "datasource": source})
        });
        let description = format!("{} See k8s/README.md for what to do.", panel.worry);
        json!({
            "id": at + 1,
            "title": panel.title,
            "type": if panel.stat { "stat" } else { "timeseries" },
            "description": description,
            "datasource": source,
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "gridPos": {"x": at % ACROSS * WIDTH, "y": at / ACROSS * HEIGHT, "w": WIDTH, "h": HEIGHT},
            "targets": targets.collect::<Vec<_>>(),
        })
    });
    let panels: Vec<Value> = panels.collect();
    let datasource =
        json!({"name": "datasource", "type": "datasource", "query": "prometheus", "label": "datasource"});
    let mut variables = vec![datasource, variable("job", &READY)];
    if panels.iter().any(|panel| panel.to_string().contains("$service")) {
        variables.push(variable("service", &table::COMMITS));
    }
    json!({
        "uid": format!("cp-{name}"),
        "title": title,
        "tags": ["cargo-pilot"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables},
        "panels": panels,
    })
}
