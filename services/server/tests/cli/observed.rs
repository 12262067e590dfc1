//! What a server tells of itself on its admin port.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use telemetry::SERIES_MAX;
use telemetry::table::{Kind, TABLE};
use tempfile::tempdir;
use tonic::transport::server::TcpIncoming;

use crate::http::{Http, connect, read_answer};
use crate::process::{Process, Server, command, run, serve_args, wait_until};

/// What a tenant would not want to read in logs, metrics or traces.
const CANARIES: [&str; 5] =
    ["Anna Kanarienvogel", "canary@example.com", "CANARY-SKU-1", "Canary Hall", "canary-note-7261"];

/// Status and body of a page of the admin port.
fn page(admin: &str, path: &str) -> (u16, String) {
    let mut connection = connect(admin.strip_prefix("http://").unwrap()).unwrap();
    write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// There is no admin port unless somebody asks for it; then it tells of the process from the start to the end.
#[test]
fn the_admin_port_tells_of_the_process() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    assert_eq!(server.admin, None);
    server.stop();

    let server = Server::start(folder.path(), &["--admin-listen", "127.0.0.1:0"]);
    let admin = server.admin.clone().unwrap();
    for path in ["/livez", "/startupz", "/readyz"] {
        assert_eq!(page(&admin, path).0, 200, "{path}");
    }
    let (status, metrics) = page(&admin, "/metrics");
    let version = format!("cp_build_info{{name=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(status == 200 && metrics.contains(&version) && metrics.contains("\ncp_ready 1\n"), "{metrics}");
    // It is no door to anything else.
    assert_eq!(page(&admin, "/v1/balances").0, 404);

    // While requests are being answered, it is seen to drain.
    let mut slow = connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let head = server.demo().head("POST", "/v1/locations", "", 2);
    slow.get_mut().write_all(head.as_bytes()).unwrap();
    wait_until("the request has come", || server.demo().get("/v1/locations")["locations"].is_array());
    server.process.terminate();
    wait_until("it drains", || page(&admin, "/readyz").0 == 503);
    assert_eq!(page(&admin, "/livez").0, 200);
    slow.get_mut().write_all(b"{}").unwrap();
    server.stopped();
}

/// A port that is taken stops the server before it opens anything, and the message says which one it is.
#[test]
fn an_admin_port_that_is_taken_is_named() {
    let folder = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = [&serve_args("data")[..], &["--admin-listen", &address]].concat();
    let finished = run(folder.path(), args);
    let message = finished.refused(74);
    assert!(message.contains(&address) && message.contains("--admin-listen"), "{message}");
    assert!(!folder.path().join("data/tenant").exists());

    let mut settings = command(folder.path(), serve_args("data"));
    settings.env("CARGO_PILOT__ADMIN__LISTEN", "127.0.0.1:0");
    let server = Server::ready(Process::spawn(settings));
    assert_eq!(page(server.admin.as_deref().unwrap(), "/livez").0, 200);
    server.stop();
}

/// Does a bit of everything, with canaries in every text: what is answered, what is refused, and what is wrong.
fn do_everything(http: &mut Http) -> String {
    let variant = http.product("CANARY-SKU-1");
    let location = http.post("/v1/locations", "", &json!({"code": "CANARY", "name": "Canary Hall"}));
    let user = json!({"email": "canary@example.com", "name": "Anna Kanarienvogel", "role": "clerk"});
    http.post("/v1/users", "invite", &user);
    let key = http.post("/v1/apiKeys", "", &json!({"name": "Anna Kanarienvogel", "role": "clerk"}));
    let movement = |quantity: &str| {
        json!({"kind": "purchase.receipt", "variantId": variant, "locationId": location["id"],
               "quantity": quantity, "unitCost": {"currency": "USD", "amount": "1.5"}, "note": "canary-note-7261",
               "source": {"type": "purchase_order", "id": "canary-note-7261", "lineId": "1"}})
    };
    for _ in 0..2 {
        http.post("/v1/movements", "canary-note-7261", &movement("3"));
    }
    let (status, _) = http.send("POST", "/v1/movements", "canary-note-7261", Some(&movement("4"))).unwrap();
    assert_eq!(status, 422);
    let (status, _) = http.send("POST", "/v1/movements", "other", Some(&movement("Anna"))).unwrap();
    assert_eq!(status, 400);
    // Every operation of the contract, however wrong.
    let document = http.get("/openapi.json");
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, _) in operations.as_object().unwrap() {
            let bare = path.replace(['{', '}'], "");
            let method = method.to_uppercase();
            let body = (method != "GET").then(|| json!({"Anna Kanarienvogel": "canary@example.com"}));
            http.send(&method, &bare, "canary-note-7261", body.as_ref()).unwrap();
        }
    }
    let nowhere = location["id"].as_str().unwrap().replace("loc_", "/v1/variants/var_");
    assert_eq!(http.send("GET", &nowhere, "", None).unwrap().0, 404);
    key["secret"].as_str().unwrap().to_owned()
}

/// The families of a page of metrics: type, and series with their labels.
fn families(text: &str) -> BTreeMap<&str, (&str, Vec<&str>)> {
    let mut families = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            families.insert(name, (kind, Vec::new()));
        } else if !line.starts_with('#') {
            let series = line.rsplit_once(' ').unwrap().0;
            let name = series.split('{').next().unwrap();
            let mut parts =
                ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
            let name = parts.find(|name| families.contains_key(*name)).unwrap_or(name);
            families.get_mut(name).unwrap_or_else(|| panic!("{line} has no type")).1.push(series);
        }
    }
    families
}

/// Every metric of the table is there after a run, as the table says, and no other one; there are few series, and
/// nothing in them is a tenant's.
#[test]
fn metrics_are_those_of_the_table() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo", "--admin-listen", "127.0.0.1:0"]);
    let secret = do_everything(&mut server.demo());
    let mut wrong = server.http("cp_live_wrong");
    assert_eq!(wrong.send("GET", "/v1/balances", "", None).unwrap().0, 401);
    let mut http = server.demo();
    let (tenant, business) = {
        let mine = http.get("/v1/businesses")["businesses"][0].clone();
        (mine["tenantId"].as_str().unwrap_or("ten_").to_owned(), mine["id"].as_str().unwrap().to_owned())
    };
    let admin = server.admin.clone().unwrap();
    wait_until("consumers have caught up", || {
        let text = page(&admin, "/metrics").1;
        let waits = |line: &str| line.starts_with("cp_consumer_oldest_seconds") && line.ends_with(" 0");
        text.lines().filter(|line| waits(line)).count() >= 5
    });
    let text = page(&admin, "/metrics").1;
    let families = families(&text);
    let expected: BTreeSet<&str> = TABLE.iter().map(|metric| metric.name).collect();
    assert_eq!(families.keys().copied().collect::<BTreeSet<_>>(), expected);
    for metric in TABLE {
        let (kind, series) = &families[metric.name];
        let wanted = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!(*kind, wanted, "{}", metric.name);
        assert!(!series.is_empty(), "{} has no series", metric.name);
        for one in series {
            let labels = one.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
            let names = labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0));
            let names: BTreeSet<&str> = names.filter(|name| *name != "le").collect();
            assert_eq!(names, metric.labels.iter().copied().collect(), "{one}");
        }
    }
    let count: usize = families.values().map(|(_, series)| series.len()).sum();
    assert!(count <= SERIES_MAX, "{count} series");
    let key = server.key.as_deref().unwrap();
    for canary in CANARIES.iter().copied().chain([&*tenant, &*business, key, &*secret, "unnamed"]) {
        assert!(!text.contains(canary), "{canary} is in the metrics");
    }
    // It counts what was done, once.
    for line in [
        r#"cp_rpc_server_requests_total{code="client",method="PostMovement",service="stock"}"#,
        r#"cp_commit_total{service="stock",outcome="applied"}"#,
        r#"cp_isolation_denied_total{reason="credential"}"#,
        r#"cp_isolation_denied_total{reason="unknown_id"}"#,
    ] {
        let told = text.lines().find_map(|told| told.strip_prefix(line)?.trim().parse::<f64>().ok());
        assert!(told.is_some_and(|count| count >= 1.0), "{line}: {told:?}");
    }
    let posted = |text: &str| {
        let line = r#"cp_movements_total{kind="purchase.receipt"} "#;
        text.lines().find_map(|told| told.strip_prefix(line)?.parse::<u32>().ok()).unwrap()
    };
    let before = posted(&text);
    let (variant, location) = (http.product("ONE-MORE"), http.location("ONE-MORE"));
    let movement = json!({"kind": "purchase.receipt", "variantId": variant, "locationId": location,
        "quantity": "3", "unitCost": {"currency": "USD", "amount": "1.5"}, "source": {"type": "purchase_order", "id": "1", "lineId": "1"}});
    for _ in 0..3 {
        http.post("/v1/movements", "once", &movement);
    }
    assert_eq!(posted(&page(&admin, "/metrics").1), before + 1, "a repetition posts nothing");
    server.stop();
}

/// Logs say which request a line is about, and nothing that is a tenant's.
#[test]
fn logs_tell_nothing_of_what_tenants_have() {
    let folder = tempdir().unwrap();
    let mut debug = command(folder.path(), serve_args("data").iter().chain(&["--demo"]));
    debug.env("CARGO_PILOT__LOG__LEVEL", "info,gateway=trace,rpc=trace,stock=trace,tenant=trace,catalog=trace,audit=trace,journal=trace,events=trace,telemetry=trace");
    let server = Server::ready(Process::spawn(debug));
    let key = server.key.clone().unwrap();
    let secret = do_everything(&mut server.demo());
    assert_eq!(server.http("cp_live_Kanarienvogel").send("GET", "/v1/balances", "", None).unwrap().0, 401);
    server.process.terminate();
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(0));
    let lines = finished.stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    assert!(!lines.is_empty());
    for line in &lines {
        assert_ne!(line["level"], "ERROR", "nothing needs a person: {line}");
    }
    for canary in CANARIES.iter().copied().chain([&*key, &*secret, "Kanarienvogel"]) {
        assert!(!finished.stderr.contains(canary), "{canary} is in the logs: {}", finished.stderr);
    }
}

/// A request that fails for a reason of ours is one line at the door, with its trace.
#[test]
fn a_failed_request_is_one_line_with_its_trace() {
    let folder = tempdir().unwrap();
    let mut short = command(folder.path(), serve_args("data").iter().chain(&["--demo"]));
    short.env("CARGO_PILOT__GATEWAY__DEADLINE_MS", "300");
    let server = Server::ready(Process::spawn(short));
    let head = server.demo().head("POST", "/v1/locations", "", 2);
    for _ in 0..3 {
        // Its body never comes.
        let mut late = connect(server.url.strip_prefix("http://").unwrap()).unwrap();
        late.get_mut().write_all(head.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut late).unwrap().0, 504);
    }
    server.process.terminate();
    let stderr = server.process.finish().stderr;
    let lines = stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let failed: Vec<Value> = lines.filter(|line| line["code"] == "DEADLINE_EXCEEDED").collect();
    assert_eq!(failed.len(), 3, "{stderr}");
    for line in failed {
        assert_eq!((&line["service"], &line["level"]), (&json!("gateway"), &json!("WARN")));
        assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
    }
}

/// Keeps the spans that it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let spans = resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn traced(folder: &Path, endpoint: &str) -> Server {
    let mut traced = command(folder, serve_args("data").iter().chain(&["--demo"]));
    traced
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("CARGO_PILOT__TELEMETRY__OTLP__SAMPLE_RATIO", "1");
    Server::ready(Process::spawn(traced))
}

/// A posting is one trace from the door to the commit, and what follows the journal links to it.
#[test]
fn a_posting_is_one_trace_and_its_followers_link_to_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let collector = Collector::default();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(collector.clone());
    let serving = tonic::transport::Server::builder().add_service(service);
    runtime.spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));

    let folder = tempdir().unwrap();
    let server = traced(folder.path(), &endpoint);
    let secret = do_everything(&mut server.demo());
    let spans = || collector.0.lock().unwrap().clone();
    let posting = |spans: &[Span]| {
        let commit = spans.iter().filter(|span| span.name == "commit").find_map(|commit| {
            let call = spans.iter().find(|span| span.span_id == commit.parent_span_id)?;
            (call.name == "stock/PostMovement").then(|| (commit.clone(), call.clone()))
        });
        let (commit, call) = commit?;
        let door = spans.iter().find(|span| span.span_id == call.parent_span_id)?.clone();
        let links = |span: &&Span| span.links.iter().any(|link| link.span_id == call.span_id);
        let follower = spans.iter().find(links)?.clone();
        Some((door, call, commit, follower))
    };
    wait_until("all spans of a posting have arrived", || posting(&spans()).is_some());
    let (door, call, commit, follower) = posting(&spans()).unwrap();
    assert_eq!(door.name, "POST");
    assert!(door.parent_span_id.is_empty(), "it begins at the door");
    assert!(door.trace_id == call.trace_id && call.trace_id == commit.trace_id, "one trace");
    assert_eq!(follower.name, "consume audit stock");
    assert_ne!(follower.trace_id, door.trace_id, "a link, not a child");
    server.stop();
    let all = format!("{:?}", spans());
    for canary in CANARIES.iter().copied().chain([&*secret]) {
        assert!(!all.contains(canary), "{canary} is in the traces");
    }
    // Entries with a trace are entries like others.
    run(folder.path(), ["verify", "--data", "data"]).ok();
}

/// Nobody notices that there is no collector.
#[test]
fn a_collector_that_is_not_there_is_not_missed() {
    let folder = tempdir().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = traced(folder.path(), &format!("http://{gone}"));
    do_everything(&mut server.demo());
    server.process.terminate();
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);

    let args = [&serve_args("data")[..], &["--demo"]].concat();
    let mut wrong = command(folder.path(), args);
    wrong.env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317");
    let finished = Process::spawn(wrong).finish();
    assert!(finished.refused(64).contains("telemetry.otlp.endpoint"));
}
