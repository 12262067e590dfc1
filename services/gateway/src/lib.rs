//! The only public door: REST and gRPC on one listener, over the services of this process or of others.
//!
//! In reading order: [`Config`], [`Gateway`] (what comes in goes to a page, to REST or to gRPC), [`serve`]
//! (the listener), `credential` (from API key or session to signed context), `session` (its cookie), `places` and
//! `fair` (who is served when too many want to be), `rest`, `grpc`, `pages` (documents that need no credential), `trace` (names of requests), [`Error`].

mod config;
mod credential;
mod error;
mod fair;
mod grpc;
mod pages;
mod places;
mod problem_pages;
mod rest;
mod serve;
mod session;
mod streams;
mod trace;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use telemetry::Class;
use telemetry::http::Kind;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic_types::StatusExt as _;
use transcode::Catalogue;

use credential::Credentials;
use pages::Pages;
use places::Places;
use trace::{Trace, Traces};

pub use config::Config;
pub use error::{Error, StartError};
pub use serve::serve;

/// What a browser may do with an answer that is no page: nothing.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Any error of a body.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The door. Cloning is cheap, and all clones are the same door.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    config: Config,
    catalogue: Catalogue,
    credentials: Credentials,
    transport: rpc::Transport,
    pages: Pages,
    traces: Traces,
    /// The longest time for a request, as gRPC writes it.
    timeout: HeaderValue,
    ready: AtomicBool,
    in_flight: AtomicUsize,
    /// Cancelled when the process waits no longer for requests that have not come in full.
    closing: CancellationToken,
    places: Places,
}

/// What a gateway is made of.
pub struct Parts<'a> {
    /// Settings.
    pub config: Config,
    /// Where the services are.
    pub transport: rpc::Transport,
    /// Signs the contexts of requests.
    pub minter: Arc<rpc::Minter>,
    /// Tells when credentials expire.
    pub clock: rpc::Clock,
    /// Where calls are written down that name a business out of reach.
    pub access: Option<Arc<dyn rpc::AccessLog>>,
    /// The `errors.md` of every service: their tables become the pages under `/problems/`.
    pub error_pages: &'a [&'a str],
    /// Version of the software, for the OpenAPI document.
    pub version: &'a str,
}

impl Gateway {
    /// Makes a gateway. It is not ready before [`Gateway::set_ready`] says so.
    ///
    /// # Errors
    /// When the contract cannot be served, or the machine gives no random bytes.
    pub fn new(parts: Parts<'_>) -> Result<Gateway, StartError> {
        let catalogue = Catalogue::new(proto::pool())?;
        let pages = Pages::new(&catalogue, parts.version, parts.error_pages);
        let credentials = Credentials::new(parts.transport.clone(), parts.minter, parts.clock, parts.access);
        let timeout = grpc::whole_ms(Duration::from_millis(parts.config.deadline_ms));
        Ok(Gateway(Arc::new(Inner {
            timeout,
            places: Places::new(&parts.config),
            config: parts.config,
            catalogue,
            credentials,
            transport: parts.transport,
            pages,
            traces: Traces::new()?,
            ready: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            closing: CancellationToken::new(),
        })))
    }

    /// Says whether `/readyz` answers 200.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
    }

    /// Number of requests that are being answered, waiting ones included, for metrics.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Of those in flight, the requests in service and the requests that wait for a place, for metrics.
    pub fn serving_and_waiting(&self) -> (usize, usize) {
        self.0.places.counts()
    }

    /// Number of requests of known tenants that were refused since the start because of overload, for metrics.
    pub fn shed(&self) -> u64 {
        self.0.places.shed()
    }

    /// Requests that may be here at the same time, and of those the ones in service, for metrics.
    pub fn limits(&self) -> (usize, usize) {
        (self.0.config.requests_max, self.0.config.serving_max.max(1))
    }

    /// Answers one request that came from `peer`.
    pub async fn handle<B>(&self, peer: IpAddr, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let begun = Instant::now();
        let mut trace = self.0.traces.begin(request.method(), request.headers());
        // In a box: who serves a connection moves what is given back here, and it is some KiB.
        let answer = Box::pin(self.answer(peer, request, &trace));
        let (kind, class, mut response) = runtime::scope::within(trace.scope(), answer).await;
        trace.mark(response.headers_mut());
        telemetry::http::answered(kind, class, begun.elapsed());
        trace.end(kind, class, response.status());
        response
    }

    async fn answer<B>(
        &self,
        peer: IpAddr,
        request: Request<B>,
        trace: &Trace,
    ) -> (Kind, Class, Response<Body>)
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let inner = &*self.0;
        if grpc::is_grpc(request.headers()) {
            let answered = inner.guarded(trace, inner.grpc(peer, request, trace)).await;
            let response = answered.unwrap_or_else(|error| rpc::status(error).into_http());
            let class = Class::of_grpc(response.headers());
            if class == Class::Server
                && let Some(status) = Status::from_header_map(response.headers())
            {
                let code =
                    problem::Code::from_grpc(status.code().into()).map_or("UNKNOWN", |code| code.name());
                let info = status.get_details_error_info();
                tell_failure(trace, code, info.as_ref().map_or("", |info| &info.reason));
            }
            (Kind::Grpc, class, response)
        } else if let Some(page) = inner.pages.find(&request, inner.ready.load(Ordering::Acquire)) {
            (Kind::Page, Class::of_http(page.status()), page)
        } else {
            let instance = request.uri().path().to_owned();
            let is_head = request.method() == Method::HEAD;
            let answered = inner.guarded(trace, Box::pin(inner.rest(peer, request, trace))).await;
            let response = answered.unwrap_or_else(|problem| {
                if problem.status >= 500 {
                    tell_failure(trace, problem.code, &problem.reason);
                }
                inner.problem(&problem, &instance, trace)
            });
            let response = if is_head { without_body(response) } else { response };
            (Kind::Rest, Class::of_http(response.status()), response)
        }
    }
}

/// One line for each request that failed and is ours: what went wrong was logged where that was found. Of overload one
/// line a second tells already.
fn tell_failure(trace: &Trace, code: &str, reason: &str) {
    if reason != "OVERLOADED" {
        tracing::warn!(request.id = trace.request_id(), code, reason, "a request failed: {code} {reason}");
    }
}

impl Inner {
    /// Runs one of a bounded number of requests, in a bounded time, whatever it does.
    async fn guarded<E: From<Error>>(
        &self,
        trace: &Trace,
        answer: impl Future<Output = Result<Response<Body>, E>>,
    ) -> Result<Response<Body>, E> {
        let _entrance = self.entrance().ok_or_else(|| {
            telemetry::http::shed_at_door();
            Error::Overloaded
        })?;
        let answer = AssertUnwindSafe(tokio::time::timeout(self.deadline(), answer)).catch_unwind();
        match answer.await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => Err(Error::DeadlineExceeded.into()),
            Err(_) => {
                // What it said went to standard error where it happened.
                tracing::error!(request.id = trace.request_id(), "a handler panicked");
                Err(Error::Internal.into())
            }
        }
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.config.deadline_ms)
    }

    /// Waits for a body, but not for one that would hold up the end of the process.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    async fn unless_stopping<T>(&self, body: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            body = body => Ok(body),
            () = self.closing.cancelled() => Err(Error::Stopping),
        }
    }

    /// Counts one of the requests that are here at the same time; `None` when there are too many.
    fn entrance(&self) -> Option<Entrance<'_>> {
        let entrance = Entrance(&self.in_flight);
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        (before < self.config.requests_max).then_some(entrance)
    }

    fn problem(&self, problem: &transcode::Problem, instance: &str, trace: &Trace) -> Response<Body> {
        let types = format!("{}/problems/", self.config.public_url);
        let body = problem.to_json(&types, instance, trace.trace_id());
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = respond(status, transcode::PROBLEM_CONTENT_TYPE, body);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cargo-pilot\""));
        }
        let asks_again = problem.status == 503 || problem.code == "ABORTED" && problem.status == 409;
        if let Some(ms) = problem.retry_after_ms.or(asks_again.then_some(1_000)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        if let Some(allow) = problem.metadata.get("allow").and_then(|allow| HeaderValue::from_str(allow).ok())
        {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

/// One of the requests that are here, until it is dropped.
struct Entrance<'a>(&'a AtomicUsize);

impl Drop for Entrance<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes an answer with a body.
fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    harden(headers);
    response
}

/// Answers are data: no browser guesses what they are, runs or frames them, or tells others where they came from.
fn harden(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DATA_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// The answer to HEAD: the headers of GET.
fn without_body(response: Response<Body>) -> Response<Body> {
    let length = http_body::Body::size_hint(response.body()).exact();
    let (mut parts, _) = response.into_parts();
    if let Some(length) = length {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}
