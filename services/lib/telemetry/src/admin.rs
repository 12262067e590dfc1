//! The admin port: plain HTTP for whoever runs the process, never for callers.
//!
//! `/livez`, `/startupz`, `/readyz`, `/metrics`, and `grpc.health.v1.Health`, all without a credential: the kubelet
//! has none. Nothing of any tenant is told here. Keep the port closed to everybody but probes and Prometheus.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::ServiceExt as _;

use crate::health::{Health, State};
use crate::metrics::{self, metrics};

/// Connections at the same time; further ones wait.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take to send its headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// How long one connection may last: a prober or a Prometheus that comes back makes a new one.
const CONNECTION_LASTS: Duration = Duration::from_secs(600);
/// Headers of one request, by number and in bytes.
const HEADERS_MAX: usize = 50;
const HEADER_BYTES_MAX: u32 = 8 * 1024;
/// Read buffer of a connection (HTTP/1.1), in bytes.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Streams of one HTTP/2 connection.
const STREAMS_MAX: u32 = 8;
/// Pause after the system refused a connection, for example because no file descriptor is left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The admin port, bound and not served yet.
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Binds the port; port 0 picks a free one.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Admin> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Admin { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is cancelled: give it a token that outlives the drain, so that a process that drains is
    /// seen to be alive and not ready.
    pub async fn serve(self, health: Arc<Health>, stop: CancellationToken) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let reported = tokio::spawn(report(reporter, health.watch()));
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accepted => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("a connection to the admin port was not accepted: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                    continue;
                }
            };
            let (health, service, stop) = (Arc::clone(&health), service.clone(), stop.clone());
            tokio::spawn(async move {
                let asked = Arc::new(Notify::new());
                let asks = Arc::clone(&asked);
                let answer = service_fn(move |request: Request<Incoming>| {
                    asks.notify_one();
                    let (health, service) = (Arc::clone(&health), service.clone());
                    async move {
                        if is_grpc(&request) {
                            return service.oneshot(request.map(Body::new)).await;
                        }
                        Ok::<_, Infallible>(page(&health, &request))
                    }
                });
                let builder = builder();
                let connection = builder.serve_connection(TokioIo::new(stream), answer);
                tokio::select! {
                    ended = connection => {
                        if let Err(error) = ended {
                            tracing::debug!("a connection to the admin port ended: {error}");
                        }
                    }
                    () = stop.cancelled() => {}
                    () = nothing_asked(&asked, HEADERS_WITHIN) => {}
                    () = tokio::time::sleep(CONNECTION_LASTS) => {}
                }
                drop(place);
            });
        }
        reported.abort();
    }
}

/// Ends when a connection has not asked for anything (`asked` was not notified) after `within`. What reads headers has
/// such a bound too, but only from the moment when it knows which version of HTTP is spoken.
pub async fn nothing_asked(asked: &Notify, within: Duration) {
    if tokio::time::timeout(within, asked.notified()).await.is_ok() {
        std::future::pending().await
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(HEADERS_WITHIN)
        .keep_alive_timeout(HEADERS_WITHIN);
    builder
}

/// Tells gRPC health of every change: of the whole process, and by name of each service of the contract.
async fn report(reporter: HealthReporter, mut states: tokio::sync::watch::Receiver<State>) {
    let paths = proto::rules().keys();
    let mut names: Vec<&str> = paths.filter_map(|path| path.get(1..)?.split('/').next()).collect();
    names.sort_unstable();
    names.dedup();
    loop {
        let status = match *states.borrow_and_update() {
            State::Ready => ServingStatus::Serving,
            State::Starting | State::Draining => ServingStatus::NotServing,
        };
        for name in [""].iter().chain(&names) {
            reporter.set_service_status(name, status).await;
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

fn page(health: &Health, request: &Request<Incoming>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "this page is read with GET\n");
    }
    let state = health.state();
    let probe = |good: bool, says: &'static str| match good {
        true => text(StatusCode::OK, says),
        false => text(StatusCode::SERVICE_UNAVAILABLE, says),
    };
    match request.uri().path() {
        "/livez" if health.is_alive() => probe(true, "alive\n"),
        "/livez" => probe(false, "the event loop does not turn\n"),
        "/startupz" => probe(state != State::Starting, state.name()),
        "/readyz" => probe(state == State::Ready, state.name()),
        "/metrics" => match metrics().render() {
            Ok(rendered) => {
                let mut response = text(StatusCode::OK, rendered);
                let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
                response.headers_mut().insert(CONTENT_TYPE, content_type);
                response
            }
            Err(error) => {
                tracing::error!("the metrics cannot be written: {error}");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n")
            }
        },
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /startupz, /readyz and /metrics\n"),
    }
}

fn text(status: StatusCode, says: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::from(says.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
