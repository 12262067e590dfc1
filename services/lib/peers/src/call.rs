//! One call: to one process, and to another one where that is safe.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, Uri};
use hyper::body::Incoming;
use rpc::header::{IDEMPOTENCY_KEY, name};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::retry::budget::Budget as _;

use crate::body::{Pieces, Timed, Whole};
use crate::endpoint::Endpoint;
use crate::error::Failure;
use crate::method::{Method, method};
use crate::role::Role;

/// The longest time that a caller may name; of a longer one, this.
const CALL_WITHIN_MAX: Duration = Duration::from_secs(3_600);
/// How often a call is sent again after a process may have seen it.
const RETRIES_MAX: usize = 2;
/// How often a call goes elsewhere because nobody has seen it yet.
const MOVES_MAX: usize = 4;
/// Pause before a process that was tried is tried again; twice as long after each try.
const AGAIN_AFTER: Duration = Duration::from_millis(25);
/// A longer answer is passed on while it is read, in bytes; tonic refuses one by default.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// `UNAVAILABLE`, as gRPC writes it.
const UNAVAILABLE: &[u8] = b"14";

/// How long calls may take and what of them is kept.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) call_within: Duration,
    pub(crate) retry_bytes_max: usize,
}

/// A request that can be sent, more than once if its body is there.
struct Outgoing {
    method: Method,
    verb: http::Method,
    path: Option<PathAndQuery>,
    headers: HeaderMap,
    body: Payload,
    /// Until when; `None` for one that answers bit by bit and has no limit of its own.
    deadline: Option<Instant>,
}

impl Outgoing {
    /// What calls for the same aggregate have in common: its name, which the contract finds in the request.
    fn route(&self) -> Option<Bytes> {
        let rule = proto::rules().get(self.path.as_ref()?.path())?;
        let (false, Payload::Whole(body)) = (rule.aggregate.is_empty(), &self.body) else { return None };
        let message = body.message()?;
        rule.aggregate_of(&message).map(Bytes::copy_from_slice)
    }
}

enum Payload {
    Whole(Whole),
    /// Sent as it comes, once; `None` when it is gone.
    Once(Option<Body>),
}

enum Outcome {
    Answered(Response<Body>),
    /// No connection to that process.
    NotConnected,
    /// It never left, or came back unseen.
    Unseen,
    /// The process refused to look at it.
    Refused,
    /// It may have been seen, or not.
    Lost(String),
}

/// A call under way.
struct InFlight {
    role: Arc<Role>,
    endpoint: Arc<Endpoint>,
}

impl InFlight {
    fn enter(role: &Arc<Role>, endpoint: &Arc<Endpoint>) -> Self {
        role.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { role: Arc::clone(role), endpoint: Arc::clone(endpoint) }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.role.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.role.idle.notify_waiters();
        }
    }
}

/// Calls a role. Whatever happens, the answer is one that gRPC knows.
pub(crate) async fn call(role: Arc<Role>, limits: Limits, request: Request<Body>) -> Response<Body> {
    add_one(&role.counts.calls);
    role.budget.deposit();
    let method = method(request.uri().path());
    let asked = rpc::time_left(request.headers());
    let deadline = Instant::now() + asked.unwrap_or(limits.call_within).min(CALL_WITHIN_MAX);
    let answer = async {
        role.is_known().await;
        let outgoing = Outgoing::read(request, method, limits.retry_bytes_max).await?;
        let deadline = (asked.is_some() || method.unary).then_some(deadline);
        send(&role, Outgoing { deadline, ..outgoing }).await.map_err(rpc::status)
    };
    let answered = match tokio::time::timeout_at(deadline, answer).await {
        Ok(answered) => answered,
        Err(_) => {
            add_one(&role.counts.too_late);
            role.complain("a call was not answered in time");
            Err(rpc::status(Failure::TooLate { role: Arc::clone(&role.name) }))
        }
    };
    answered.unwrap_or_else(Status::into_http)
}

/// Sends a request until it is answered, or must not be sent again.
async fn send(role: &Arc<Role>, mut request: Outgoing) -> Result<Response<Body>, Failure> {
    let route = if role.is_hashed() { request.route() } else { None };
    let route = route.as_deref();
    let may_repeat = request.may_repeat();
    // Asked already, and found to be away.
    let (mut tried, mut failed) = (Vec::<SocketAddr>::new(), Vec::<SocketAddr>::new());
    let (mut retries, mut moves) = (0, 0);
    loop {
        let Some(endpoint) = role.choose(route, &tried, &failed) else {
            return Err(unreachable(role));
        };
        if tried.contains(&endpoint.address) {
            tokio::time::sleep(AGAIN_AFTER * (1 << tried.len().min(MOVES_MAX))).await;
        }
        let mut retry = || {
            let may = retries < RETRIES_MAX && {
                let withdrawn = role.budget.withdraw();
                if !withdrawn {
                    add_one(&role.counts.budget_refusals);
                }
                withdrawn
            };
            if may {
                retries += 1;
                add_one(&role.counts.retries);
            }
            may
        };
        match attempt(role, &endpoint, &mut request).await {
            Outcome::Answered(answer) => {
                let is_last = !is_unavailable(&answer) || !may_repeat || !retry();
                if is_last {
                    return Ok(answer);
                }
            }
            Outcome::Lost(why) => {
                let is_last = !may_repeat || !retry();
                if is_last {
                    add_one(&role.counts.lost);
                    role.complain(&format!(
                        "a call to {} at {} was lost: {why}",
                        role.name, endpoint.address
                    ));
                    return Err(match request.method.reads {
                        true => Failure::Unreachable { role: Arc::clone(&role.name) },
                        false => Failure::Lost { role: Arc::clone(&role.name) },
                    });
                }
            }
            Outcome::Refused => {
                if !request.body.is_there() || !retry() {
                    return Err(unreachable(role));
                }
            }
            seen_by_nobody @ (Outcome::NotConnected | Outcome::Unseen) => {
                if let Outcome::NotConnected = seen_by_nobody {
                    failed.push(endpoint.address);
                }
                moves += 1;
                if moves > MOVES_MAX || !request.body.is_there() {
                    return Err(unreachable(role));
                }
                add_one(&role.counts.moves);
            }
        }
        tried.push(endpoint.address);
    }
}

fn unreachable(role: &Role) -> Failure {
    add_one(&role.counts.unreachable);
    role.complain(&role.nobody());
    Failure::Unreachable { role: Arc::clone(&role.name) }
}

/// Sends a request to one process.
async fn attempt(role: &Arc<Role>, endpoint: &Arc<Endpoint>, request: &mut Outgoing) -> Outcome {
    let in_flight = InFlight::enter(role, endpoint);
    let Ok(mut sender) = endpoint.sender(&role.around).await else { return Outcome::NotConnected };
    let scheme = if role.around.connector.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let Some(outgoing) = request.to(scheme, endpoint) else { return Outcome::Refused };
    match sender.try_send_request(outgoing).await {
        Ok(answer) => read(role, in_flight, answer, request.method, request.deadline).await,
        Err(mut error) => match error.take_message() {
            Some(unsent) => {
                request.body.came_back(unsent.into_body());
                Outcome::Unseen
            }
            None => classify(error.error()),
        },
    }
}

/// Reads a single answer in full, so that one that breaks off can be asked for again.
async fn read(
    role: &Arc<Role>,
    in_flight: InFlight,
    answer: Response<Incoming>,
    method: Method,
    deadline: Option<Instant>,
) -> Outcome {
    let (head, body) = answer.into_parts();
    let timed = || {
        let late = rpc::status(Failure::TooLate { role: Arc::clone(&role.name) });
        deadline.map(|at| (Box::pin(tokio::time::sleep_until(at)), late))
    };
    if !method.unary {
        let body = Timed { body: Some(body), deadline: timed(), held: Some(in_flight) };
        return Outcome::Answered(Response::from_parts(head, Body::new(body)));
    }
    match Pieces::read(body, ANSWER_BYTES_MAX).await {
        Ok(pieces) if pieces.is_whole() => Outcome::Answered(Response::from_parts(head, Body::new(pieces))),
        Ok(pieces) => {
            let body = Timed { body: Some(pieces), deadline: timed(), held: Some(in_flight) };
            Outcome::Answered(Response::from_parts(head, Body::new(body)))
        }
        Err(error) => classify(&error),
    }
}

/// What became of a request that was handed to a connection and not answered.
fn classify(error: &hyper::Error) -> Outcome {
    // A connection that went away while the request waited for its turn drops it: its body, without which nothing is
    // done, has not left. A body of ours has no errors, so no other mistake of the user is possible.
    if error.is_user() {
        return Outcome::Unseen;
    }
    let http2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    match http2 {
        // The other side goes away and says that it has not looked at it. Source: RFC 9113, section 6.8.
        Some(error) if error.is_go_away() && error.is_remote() => Outcome::Unseen,
        // Source: RFC 9113, section 8.7.
        Some(error) if error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM) => {
            Outcome::Refused
        }
        _ => {
            let mut why = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                // Writing to a string cannot fail.
                let _ = write!(why, ": {error}");
                cause = error.source();
            }
            Outcome::Lost(why)
        }
    }
}

/// Whether a service says that it cannot work right now. Source: gRPC over HTTP/2, "Trailers-Only".
fn is_unavailable(answer: &Response<Body>) -> bool {
    answer.headers().get("grpc-status").is_some_and(|code| code.as_bytes() == UNAVAILABLE)
}

impl Outgoing {
    async fn read(request: Request<Body>, method: Method, bytes_max: usize) -> Result<Self, Status> {
        let (head, body) = request.into_parts();
        let pieces = Pieces::read(body, bytes_max).await?;
        let body = match pieces.whole() {
            Some(whole) => Payload::Whole(whole),
            None => Payload::Once(Some(Body::new(pieces))),
        };
        let path = head.uri.into_parts().path_and_query;
        Ok(Outgoing { method, verb: head.method, path, headers: head.headers, body, deadline: None })
    }

    /// Whether a second time has no second effect.
    fn may_repeat(&self) -> bool {
        let is_keyed = self.method.keyed && self.headers.contains_key(IDEMPOTENCY_KEY);
        matches!(self.body, Payload::Whole(_)) && (self.method.reads || is_keyed)
    }

    /// The request for one process, with the time that is left; `None` when it cannot be made again.
    fn to(&mut self, scheme: Scheme, endpoint: &Endpoint) -> Option<Request<Body>> {
        let body = match &mut self.body {
            Payload::Whole(whole) => Body::new(whole.clone()),
            Payload::Once(body) => body.take()?,
        };
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(scheme);
        uri.authority = Some(endpoint.authority.clone());
        uri.path_and_query = self.path.clone();
        let mut request = Request::new(body);
        *request.method_mut() = self.verb.clone();
        *request.uri_mut() = Uri::from_parts(uri).ok()?;
        *request.headers_mut() = self.headers.clone();
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            request.headers_mut().insert(name::GRPC_TIMEOUT, rpc::timeout(left));
        }
        Some(request)
    }
}

impl Payload {
    fn is_there(&self) -> bool {
        !matches!(self, Payload::Once(None))
    }

    fn came_back(&mut self, unsent: Body) {
        if let Payload::Once(body) = self {
            *body = Some(unsent);
        }
    }
}

fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
