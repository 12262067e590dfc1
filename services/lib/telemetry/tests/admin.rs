//! The admin port, over real connections.

#![allow(clippy::unwrap_used)] // helpers are tests too

use std::sync::Arc;
use std::time::Duration;

use telemetry::{Admin, Health, Sheet, Source, State, metrics, table};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Nothing here takes longer.
const WITHIN: Duration = Duration::from_secs(20);

struct Port {
    health: Arc<Health>,
    address: std::net::SocketAddr,
    stop: CancellationToken,
}

impl Port {
    async fn open() -> Port {
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (health, address, stop) = (Health::start(), admin.address(), CancellationToken::new());
        tokio::spawn(admin.serve(Arc::clone(&health), stop.clone()));
        Port { health, address, stop }
    }

    /// What a request gets: all of the answer.
    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(WITHIN, stream.read_to_end(&mut answer));
        read.await.expect("an answer in time").unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

#[tokio::test]
#[rustfmt::skip] // columns
async fn probes_tell_of_the_state_of_the_process() {
    let port = Port::open().await;
    let check = async |state: State, live: u16, started: u16, ready: u16| {
        port.health.set(state);
        assert_eq!(port.get("/livez").await.0, live, "{state:?}");
        assert_eq!(port.get("/startupz").await, (started, state.name().to_owned()));
        assert_eq!(port.get("/readyz").await, (ready, state.name().to_owned()));
    };
    //    state            live started ready
    check(State::Starting, 200, 503,    503).await;
    check(State::Ready,    200, 200,    200).await;
    check(State::Draining, 200, 200,    503).await;
    assert_eq!(port.get("/").await.0, 404);
    assert!(port.ask("POST /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.contains(" 405 "));
}

/// gRPC health says the same, for the process and for each of its services; a watcher is told of the change.
#[tokio::test]
async fn grpc_health_follows_the_state() {
    let port = Port::open().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", port.address)).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    port.health.set(State::Ready);
    for service in ["", "cargopilot.stock.v1.StockService"] {
        let mut told = client.watch(of(service)).await.unwrap().into_inner();
        let until = async |told: &mut tonic::Streaming<_>, wanted: ServingStatus| {
            loop {
                let next: tonic_health::pb::HealthCheckResponse = told.message().await.unwrap().unwrap();
                if next.status() == wanted {
                    return;
                }
            }
        };
        tokio::time::timeout(WITHIN, until(&mut told, ServingStatus::Serving)).await.unwrap();
        port.health.set(State::Draining);
        tokio::time::timeout(WITHIN, until(&mut told, ServingStatus::NotServing)).await.unwrap();
        assert_eq!(client.check(of(service)).await.unwrap().get_ref().status(), ServingStatus::NotServing);
        port.health.set(State::Ready);
    }
    let unknown = client.check(of("cargopilot.nothing.v1.Nothing")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

/// Connections that ask for nothing are bounded by number and in time, however they begin: who opens many keeps
/// nobody out for long.
#[tokio::test]
async fn silent_connections_do_not_keep_probes_out() {
    let check = async |begins: &'static str| {
        let port = Port::open().await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            let mut stream = TcpStream::connect(port.address).await.unwrap();
            stream.write_all(begins.as_bytes()).await.unwrap();
            silent.push(stream);
        }
        let probe = tokio::time::timeout(WITHIN, port.get("/livez")).await;
        assert_eq!(probe.expect(begins).0, 200);
    };
    // Nothing, as HTTP/2 begins, and as HTTP/1.1 does.
    tokio::join!(check(""), check("P"), check("PRI * HT"), check("GET / HT"));
    // Headers without end are refused.
    let endless = format!("GET /livez HTTP/1.1\r\n{}", "x: y\r\n".repeat(200));
    assert!(Port::open().await.ask(&format!("{endless}\r\n")).await.starts_with("HTTP/1.1 431"));
}

struct Fixed;

impl Source for Fixed {
    fn read(&self, sheet: &mut Sheet) {
        sheet.number(&table::MOVEMENTS, &["told-twice"], 2.0);
        sheet.number(&table::MOVEMENTS, &["told-twice"], 3.0);
        sheet.histogram(&table::COMMIT_COMMANDS, &["sample"], &[1.0, 2.0], &[4, 5, 6], 99.0);
    }
}

#[tokio::test]
async fn metrics_have_the_process_and_what_sources_tell() {
    let port = Port::open().await;
    metrics().add(Fixed);
    let (status, text) = port.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "cp_movements_total{kind=\"told-twice\"} 5",
        "cp_commit_commands_per_commit_bucket{service=\"sample\",le=\"1\"} 4",
        "cp_commit_commands_per_commit_bucket{service=\"sample\",le=\"2\"} 9",
        "cp_commit_commands_per_commit_bucket{service=\"sample\",le=\"+Inf\"} 15",
        "cp_commit_commands_per_commit_sum{service=\"sample\"} 99",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_port_closes_when_it_is_told_to() {
    let port = Port::open().await;
    let mut open = TcpStream::connect(port.address).await.unwrap();
    assert_eq!(port.get("/livez").await.0, 200);
    port.stop.cancel();
    let mut nothing = Vec::new();
    let ended = tokio::time::timeout(WITHIN, open.read_to_end(&mut nothing));
    let _ = ended.await.expect("the connection ends"); // by a reset, or in order
    assert!(nothing.is_empty());
}
