//! Traces against real collectors: one that takes them, one that never answers, and one that is not there.

#![allow(clippy::unwrap_used)] // helpers are tests too

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use telemetry::export::{self, Otlp, Settings};
use telemetry::rpc::{Answering, Call};
use telemetry::{Class, counter, table, trace};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tonic::transport::server::TcpIncoming;

/// Nothing here takes longer.
const WITHIN: Duration = Duration::from_secs(30);
const POST: &str = "/cargopilot.stock.v1.StockService/PostMovement";
const TENANT: [u8; 16] = [0xab; 16];

/// A process has one way for traces: tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

struct Collector(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        for span in resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans) {
            let _ = self.0.send(span);
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn settings(endpoint: String, sample_ratio: f64) -> Settings {
    Settings { otlp: Otlp { endpoint: Some(endpoint), sample_ratio } }
}

fn spans(outcome: &str) -> u64 {
    counter(&table::SPANS, &[outcome]).get()
}

/// One call that is traced if `flags` say so; gives back the context that its handler saw.
async fn call(flags: &str) -> String {
    let parent = format!("00-{}-{}-{flags}", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let mut request = Request::builder().uri(POST).header("traceparent", parent).body(()).unwrap();
    let mut call = Call::begin(&mut request);
    call.tenant(&TENANT);
    let seen = request.headers()["traceparent"].to_str().unwrap().to_owned();
    let answer = tonic::Status::unavailable("").into_http::<()>();
    Answering::new(call, std::future::ready(Ok::<_, ()>(answer))).await.unwrap();
    seen
}

fn text(span: &Span, key: &str) -> String {
    let value = span.attributes.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
    format!("{:?}", value.and_then(|value| value.value))
}

/// What is sampled arrives, as a child of its caller; what is not costs nothing and is not there.
#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_at_a_collector() {
    let _turn = TURN.lock().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (send, mut arrived) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(send)));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    assert_eq!(call("01").await.split('-').nth(2), Some("00f067aa0ba902b7"), "nobody asks for traces yet");
    let exporting = export::start(&settings(endpoint, 1.0), [7; 32]).unwrap().unwrap();
    assert_eq!(call("00").await.split('-').nth(2), Some("00f067aa0ba902b7"), "its caller is not sampled");
    let seen = call("01").await;
    assert!(trace::begins_sampled(&[0xff; 16]));
    let door = trace::Span::request(&Method::from_bytes(b"ANNA").unwrap(), [3; 16], None);
    door.end(Class::Ok);
    exporting.end().await;

    let first = tokio::time::timeout(WITHIN, arrived.recv()).await.unwrap().unwrap();
    assert_eq!(first.name, "stock/PostMovement");
    assert_eq!(first.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(first.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    let id: String = first.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(seen, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id}-01"), "what it calls is below it");
    assert_eq!(first.status.as_ref().map(|status| status.code), Some(2));
    assert!(first.start_time_unix_nano <= first.end_time_unix_nano);
    assert!(text(&first, "code").contains("server"), "{first:?}");
    // The tenant is a hash with a key: not its id, nor a hash that somebody else could make.
    let hash = text(&first, "tenant.hash");
    assert!(hash.len() > 16 && !hash.contains("abababab"), "{hash}");
    let second = tokio::time::timeout(WITHIN, arrived.recv()).await.unwrap().unwrap();
    assert_eq!((second.name.as_str(), second.parent_span_id.len()), ("OTHER", 0), "{second:?}");
    assert!(arrived.try_recv().is_err(), "two spans and no more");
}

/// A collector that takes connections and never answers, or that is not there, costs spans and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_collector_holds_up_nobody() {
    let _turn = TURN.lock().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let endpoints = [address(&silent), address(&gone)];
    drop(gone);
    let held = Arc::new(Mutex::new(Vec::new()));
    let holding = Arc::clone(&held);
    tokio::spawn(async move {
        while let Ok((stream, _)) = silent.accept().await {
            holding.lock().await.push(stream);
        }
    });
    for endpoint in endpoints {
        let exporting = export::start(&settings(endpoint.clone(), 1.0), [7; 32]).unwrap().unwrap();
        let (dropped, exported) = (spans("dropped"), spans("exported"));
        let begun = Instant::now();
        const CALLS: u64 = 10_000;
        for _ in 0..CALLS {
            call("01").await;
        }
        // Sending one batch takes five seconds until it is given up: none of the calls waited for that.
        assert!(begun.elapsed() < Duration::from_secs(5), "{endpoint}: {:?}", begun.elapsed());
        assert!(spans("dropped") - dropped > 0, "{endpoint}: the queue has a bound");
        let ending = Instant::now();
        exporting.end().await;
        assert!(
            ending.elapsed() < Duration::from_secs(4),
            "{endpoint}: the end waits for three seconds at most"
        );
        assert_eq!(spans("exported"), exported, "{endpoint}");
    }
}

#[tokio::test]
#[rustfmt::skip] // columns
async fn settings_that_cannot_be_are_refused() {
    let _turn = TURN.lock().await;
    let check = |endpoint: &str, ratio: f64, name: &str| {
        let error = export::start(&settings(endpoint.to_owned(), ratio), [0; 32]).err().unwrap().to_string();
        assert!(error.contains(name), "{error}");
    };
    check("http://127.0.0.1:4317",  1.1,      "telemetry.otlp.sample_ratio");
    check("http://127.0.0.1:4317",  -0.1,     "telemetry.otlp.sample_ratio");
    check("http://127.0.0.1:4317",  f64::NAN, "telemetry.otlp.sample_ratio");
    check("https://127.0.0.1:4317", 0.5,      "telemetry.otlp.endpoint");
    check("127.0.0.1:4317",         0.5,      "telemetry.otlp.endpoint");
    check("",                       0.5,      "telemetry.otlp.endpoint");
    assert!(export::start(&Settings::default(), [0; 32]).unwrap().is_none());
}
