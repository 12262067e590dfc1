//! Answers that come bit by bit.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{Ready, ready};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use peers::{Peers, ServeSettings, Settings, serve};
use rpc::Services;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::body::Body;
use tonic::server::NamedService;

use crate::world::{PATIENCE, fixed, until};

/// Answers with what comes out of a channel, until it is closed.
#[derive(Clone)]
struct Watch(Arc<parking_lot::Mutex<Option<mpsc::Receiver<Bytes>>>>);

struct Bits(mpsc::Receiver<Bytes>);

impl http_body::Body for Bits {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bit| bit.map(|bit| Ok(Frame::data(bit))))
    }
}

impl NamedService for Watch {
    const NAME: &'static str = "cargopilot.catalog.v1.WatchService";
}

impl tower::Service<Request<Body>> for Watch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let bits = self.0.lock().take().expect("asked once");
        ready(Ok(Response::new(Body::new(Bits(bits)))))
    }
}

/// A process that answers with what is sent here.
async fn world(call_within_ms: u64) -> (mpsc::Sender<Bytes>, Arc<Peers>) {
    let (send, bits) = mpsc::channel(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let services = Services::new(Watch(Arc::new(parking_lot::Mutex::new(Some(bits)))));
    tokio::spawn(serve(
        listener,
        services,
        None,
        ServeSettings::default(),
        CancellationToken::new(),
        PATIENCE,
    ));
    (send, Peers::new(&Settings { call_within_ms, ..fixed(&[address]) }).unwrap())
}

async fn ask(peers: &Arc<Peers>, timeout: Option<&'static str>) -> Body {
    let mut request = Request::post("/cargopilot.catalog.v1.WatchService/Watch").body(Body::empty()).unwrap();
    if let Some(timeout) = timeout {
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
    }
    peers.remote().call(request).await.unwrap().into_body()
}

/// The time that calls have by themselves is for the beginning of such an answer.
#[tokio::test(flavor = "multi_thread")]
async fn bits_are_passed_on_as_they_come() {
    let (send, peers) = world(300).await;
    let mut body = ask(&peers, None).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        send.send(Bytes::from_static(b"bit")).await.unwrap();
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("it comes at once");
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "bit");
        assert_eq!(peers.counts()["catalog"].in_flight, 1);
    }
    drop(send);
    while let Some(frame) = body.frame().await {
        assert!(frame.unwrap().into_data().unwrap().is_empty());
    }
    assert_eq!(peers.counts()["catalog"].in_flight, 0, "it counts until it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_the_caller_names_is_for_all_of_it() {
    let (send, peers) = world(30_000).await;
    let begun = Instant::now();
    let mut body = ask(&peers, Some("300m")).await;
    send.send(Bytes::from_static(b"bit")).await.unwrap();
    body.frame().await.unwrap().unwrap();
    let late = body.frame().await.unwrap().unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() >= Duration::from_millis(295) && begun.elapsed() < Duration::from_secs(5));
    assert!(body.frame().await.is_none());
    assert_eq!(peers.counts()["catalog"].in_flight, 0);
    drop(body);
    until("the other side stops", || send.is_closed()).await;
}
