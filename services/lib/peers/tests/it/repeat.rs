//! Which calls are made again, by what the contract says about their methods and by what became of them.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{Ready, ready};
use http::{Request, Response};
use http_body::Frame;
use peers::{Peers, ServeSettings, Settings, serve};
use rpc::Services;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};

use crate::world::{Caller, PATIENCE, Start, With, connected, fixed};

/// The name of a service.
trait Name: Clone + Send + Sync + 'static {
    const NAME: &'static str;
}

#[derive(Clone)]
struct Tenant;

impl Name for Tenant {
    const NAME: &'static str = "cargopilot.tenant.v1.TenantService";
}

#[derive(Clone)]
struct Publication;

impl Name for Publication {
    const NAME: &'static str = "cargopilot.catalog.v1.PublicationService";
}

/// Answers all calls in the same way, and counts them.
#[derive(Clone)]
struct Same<N> {
    answer: fn() -> Response<Body>,
    calls: Arc<AtomicU32>,
    name: PhantomData<fn() -> N>,
}

impl<N: Name> NamedService for Same<N> {
    const NAME: &'static str = N::NAME;
}

impl<N> tower::Service<Request<Body>> for Same<N> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok((self.answer)()))
    }
}

async fn same<N: Name>(answer: fn() -> Response<Body>) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::<AtomicU32>::default();
    let services = Services::new(Same::<N> { answer, calls: Arc::clone(&calls), name: PhantomData });
    let (settings, stop) = (ServeSettings::default(), CancellationToken::new());
    tokio::spawn(serve(listener, services, None, settings, stop, PATIENCE));
    (address, calls)
}

/// What the contract says decides, not what the caller sends along.
#[tokio::test(flavor = "multi_thread")]
#[rustfmt::skip] // columns
async fn the_contract_says_what_may_be_made_again() {
    let (address, calls) = same::<Tenant>(|| Status::unavailable("not now").into_http()).await;
    let peers = Peers::new(&Settings { retries_per_second_min: 1_000, ..fixed(&[address]) }).unwrap();
    let remote = peers.role("catalog");
    let check = async |method: &str, key: bool, times: u32| {
        calls.store(0, Ordering::SeqCst);
        let mut request = Request::post(format!("/{}/{method}", Tenant::NAME)).body(Body::empty()).unwrap();
        if key {
            request.headers_mut().insert(rpc::header::IDEMPOTENCY_KEY, "k".parse().unwrap());
        }
        let answer = remote.call(request).await.unwrap();
        assert_eq!(Status::from_header_map(answer.headers()).unwrap().code(), Code::Unavailable);
        assert_eq!(calls.load(Ordering::SeqCst), times, "{method} {key}");
    };
    //    method            key    times
    check("GetBusiness",    false, 3).await;
    check("GetBusiness",    true,  3).await;
    check("CreateBusiness", true,  3).await;
    check("CreateBusiness", false, 1).await;
    // It has no use for a key: a second one would make a second API key.
    check("CreateApiKey",   true,  1).await;
    check("NotThere",       true,  1).await;
}

/// Says that it is there, and breaks off.
struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(Some(Err(Status::internal("broken"))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let (breaks, calls) = same::<Publication>(|| Response::new(Body::new(Broken))).await;
    let works = Start::at(SocketAddr::from(([127, 0, 0, 2], 0))).run().await;
    let settings = fixed(&[breaks, works.address]);
    let peers = Peers::new(&Settings { retries_per_second_min: 1_000, ..settings }).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    connected(&peers, 2).await;
    for _ in 0..30 {
        assert_eq!(caller.read("pub_1", With::default()).await.unwrap(), works.address);
    }
    assert!(calls.load(Ordering::SeqCst) > 3, "it was asked too");
    let mut lost = 0;
    for _ in 0..30 {
        let answer = caller.write("pub_1", With::default()).await;
        lost += u32::from(answer.is_err_and(|status| status.code() == Code::DeadlineExceeded));
    }
    assert!(lost > 3, "what may not be made again is lost: {lost}");
}

/// `REFUSED_STREAM` says that it was not looked at: whatever it is, it may be sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_refused_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut seen = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            seen += 1;
            if seen < 3 {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                continue;
            }
            let (head, ()) = Status::not_found("nothing here").into_http::<()>().into_parts();
            respond.send_response(Response::from_parts(head, ()), true).unwrap();
        }
        seen
    });
    let peers = Peers::new(&fixed(&[address])).unwrap();
    let status = Caller::new(&peers).write("pub_1", With::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "nothing here"));
    assert_eq!(peers.counts()["catalog"].retries, 2);
    peers.close().await;
    drop(peers);
    assert_eq!(served.await.unwrap(), 3);
}

/// The end of a connection says up to which request it has looked: the others go elsewhere, those before do not.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_connection_that_ends_has_not_looked_at_goes_elsewhere() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, go) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // SETTINGS, and later: GOAWAY after stream 0, so that the first request, stream 1, was not looked at.
        tokio::io::AsyncWriteExt::write_all(&mut stream, &[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut seen = Vec::new();
        // A frame of headers, behind the preface and the settings of the other side.
        while !String::from_utf8_lossy(&seen).contains("pub_write") {
            assert!(tokio::io::AsyncReadExt::read_buf(&mut stream, &mut seen).await.unwrap() > 0);
        }
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        tokio::io::AsyncWriteExt::write_all(&mut stream, &goaway).await.unwrap();
        let _ = go.await;
    });
    let peers = Peers::new(&fixed(&[address])).unwrap();
    let caller = Caller::new(&peers);
    let status = caller.write("pub_write", With::default()).await.unwrap_err();
    // There is nobody else, and it takes no second connection.
    assert_eq!(status.code(), Code::Unavailable, "it was not looked at: {status:?}");
    assert!(peers.counts()["catalog"].moves > 0 && peers.counts()["catalog"].lost == 0);
    drop(tell);
}
