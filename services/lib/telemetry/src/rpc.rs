//! Calls that services answer and make: how many, how long, and their spans.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{LazyLock, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use foldhash::fast::RandomState;
use http::{Request, Response};
use prometheus::{Counter, Histogram, IntCounter, IntGauge};
use proto::Audit;
use runtime::scope::Scope;

use crate::class::Class;
use crate::metrics::{counter, durations, gauge, sum};
use crate::table;
use crate::trace::{self, Span};

/// What is not in the contract.
const OTHER: &str = "other";
const TRACEPARENT: http::HeaderName = http::HeaderName::from_static("traceparent");

/// The metrics of one method, made when it is called first.
struct Method {
    service: &'static str,
    name: &'static str,
    op: &'static str,
    peer: Peer,
    server: OnceLock<Server>,
}

struct Server {
    requests: [OnceLock<IntCounter>; Class::ALL.len()],
    seconds_total: Counter,
    seconds: Histogram,
    in_flight: IntGauge,
}

/// The metrics of calls to one service.
type Peer = &'static Client;

struct Client {
    requests: [IntCounter; Class::ALL.len()],
    seconds: Histogram,
    in_flight: IntGauge,
}

struct Methods {
    /// By keys of ours: nobody outside chooses them.
    by_path: HashMap<&'static str, Method, RandomState>,
    other: Method,
}

static METHODS: LazyLock<Methods> = LazyLock::new(|| {
    let mut peers: HashMap<&'static str, Peer> = HashMap::new();
    let mut method = |service: &'static str, name, op| {
        let peer = *peers.entry(service).or_insert_with(|| Box::leak(Box::new(Client::new(service))));
        Method { service, name, op, peer, server: OnceLock::new() }
    };
    let by_path = proto::rules().iter().map(|(path, rule)| {
        let op = if rule.audit == Audit::Read { "read" } else { "write" };
        let name = path.rsplit('/').next().unwrap_or(OTHER);
        (path.as_str(), method(&rule.service, name, op))
    });
    let by_path = by_path.collect();
    Methods { by_path, other: method(OTHER, OTHER, OTHER) }
});

impl Client {
    fn new(peer: &str) -> Client {
        Client {
            requests: Class::ALL.map(|class| counter(&table::RPC_CLIENT_REQUESTS, &[peer, class.name()])),
            seconds: durations(&table::RPC_CLIENT_SECONDS, &[peer]),
            in_flight: gauge(&table::RPC_CLIENT_IN_FLIGHT, &[peer]),
        }
    }
}

impl Method {
    /// The method with this gRPC path. One look-up in a map that never changes.
    fn of(path: &str) -> &'static Method {
        let methods = &*METHODS;
        methods.by_path.get(path).unwrap_or(&methods.other)
    }

    fn server(&'static self) -> &'static Server {
        self.server.get_or_init(|| Server {
            requests: std::array::from_fn(|_| OnceLock::new()),
            seconds_total: sum(&table::RPC_SERVER_METHOD_SECONDS, &[self.service, self.name]),
            seconds: durations(&table::RPC_SERVER_SECONDS, &[self.service, self.op]),
            in_flight: gauge(&table::RPC_SERVER_IN_FLIGHT, &[self.service]),
        })
    }

    fn answered(&'static self, class: Class) -> &'static IntCounter {
        let labels = [self.service, self.name, class.name()];
        let known = &self.server().requests[class.number()];
        known.get_or_init(|| counter(&table::RPC_SERVER_REQUESTS, &labels))
    }
}

/// The service that answers a gRPC path of the contract; `other` for what is not in it.
#[must_use]
pub fn service_of(path: &str) -> &'static str {
    Method::of(path).service
}

/// A call that is being answered. Dropped before there is an answer, it counts as one whose caller went away.
pub struct Call {
    method: &'static Method,
    begun: Instant,
    scope: Option<Scope>,
    span: Option<Box<Span>>,
    is_open: bool,
}

impl Call {
    /// Begins to answer. If the call is traced, its trace context becomes that of the span of this call.
    #[must_use]
    pub fn begin<B>(request: &mut Request<B>) -> Call {
        let method = Method::of(request.uri().path());
        method.server().in_flight.inc();
        let parent = request.headers().get(&TRACEPARENT);
        let scope = parent.and_then(|parent| Scope::of(parent.as_bytes(), method.service));
        let span = parent.and_then(trace::sampled_header).map(|parent| {
            let span = Span::answer(method.service, method.name, parent);
            request.headers_mut().insert(TRACEPARENT, span.header());
            Box::new(span)
        });
        Call { method, begun: Instant::now(), scope, span, is_open: true }
    }

    /// For whom it is answered: in its span, as a hash that only this cell knows.
    pub fn tenant(&mut self, tenant: &[u8; 16]) {
        if let Some(span) = &mut self.span {
            span.tenant(tenant);
        }
    }

    fn end(&mut self, class: Class) {
        let server = self.method.server();
        let took = self.begun.elapsed().as_secs_f64();
        server.in_flight.dec();
        server.seconds.observe(took);
        server.seconds_total.inc_by(took);
        self.method.answered(class).inc();
        if let Some(span) = self.span.take() {
            span.end(class);
        }
        self.is_open = false;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.is_open {
            self.end(Class::Client);
        }
    }
}

/// The answer to a call, counted when it is there.
pub struct Answering<F> {
    answer: F,
    call: Call,
}

impl<F> Answering<F> {
    /// Waits for the answer to a call.
    pub fn new(call: Call, answer: F) -> Self {
        Answering { answer, call }
    }
}

impl<F, R, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<R>, E>> + Unpin,
{
    type Output = Result<Response<R>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let _entered = self.call.scope.map(Scope::enter);
        let polled = Pin::new(&mut self.answer).poll(cx);
        if let Poll::Ready(answer) = &polled {
            let class = answer.as_ref().map_or(Class::Server, |answer| Class::of_grpc(answer.headers()));
            self.call.end(class);
        }
        polled
    }
}

/// A call that this process makes. Dropped before there is an answer, it counts as one that nobody waits for.
pub struct Ask {
    peer: Peer,
    begun: Instant,
    is_open: bool,
}

impl Ask {
    /// Begins to ask the service that answers this gRPC path.
    #[must_use]
    pub fn begin(path: &str) -> Ask {
        let peer = Method::of(path).peer;
        peer.in_flight.inc();
        Ask { peer, begun: Instant::now(), is_open: true }
    }

    /// Waits for the answer.
    pub fn until<F>(self, answer: F) -> Asking<F> {
        Asking { answer, ask: self }
    }

    fn end(&mut self, class: Class) {
        self.peer.in_flight.dec();
        self.peer.seconds.observe(self.begun.elapsed().as_secs_f64());
        self.peer.requests[class.number()].inc();
        self.is_open = false;
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        if self.is_open {
            self.end(Class::Client);
        }
    }
}

/// The answer of a service that this process calls, counted when it is there.
pub struct Asking<F> {
    answer: F,
    ask: Ask,
}

impl<F, R, E> Future for Asking<F>
where
    F: Future<Output = Result<Response<R>, E>> + Unpin,
{
    type Output = Result<Response<R>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.answer).poll(cx);
        if let Poll::Ready(answer) = &polled {
            let class = answer.as_ref().map_or(Class::Server, |answer| Class::of_grpc(answer.headers()));
            self.ask.end(class);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const GET: &str = "/cargopilot.stock.v1.StockService/GetMovement";

    fn counted(method: &'static Method) -> [u64; 4] {
        Class::ALL.map(|class| method.answered(class).get())
    }

    /// Every call is counted once, whether it is answered, refused or given up; nothing stays in flight.
    #[tokio::test]
    async fn a_call_counts_once_however_it_ends() {
        let method = Method::of(GET);
        assert_eq!((method.service, method.name, method.op), ("stock", "GetMovement", "read"));
        let before = counted(method);
        let call = || Call::begin(&mut Request::builder().uri(GET).body(()).unwrap());
        let answer = |status: tonic::Status| Ok::<_, ()>(status.into_http::<()>());
        Answering::new(call(), ready(Ok::<_, ()>(Response::new(())))).await.unwrap();
        Answering::new(call(), ready(answer(tonic::Status::not_found("")))).await.unwrap();
        Answering::new(call(), ready(answer(tonic::Status::unavailable("")))).await.unwrap();
        Answering::new(call(), ready(Err::<Response<()>, _>(()))).await.unwrap_err();
        drop(Answering::new(call(), pending::<Result<Response<()>, ()>>()));
        let after = counted(method);
        let grown: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        assert_eq!(grown, [1, 2, 2, 0]);
        assert_eq!(method.server().in_flight.get(), 0);
    }

    /// What a stranger calls makes no series of its own.
    #[test]
    fn an_unknown_path_is_other() {
        for path in ["", "/", "/cargopilot.stock.v1.StockService/Nothing", "/a/b/c"] {
            let method = Method::of(path);
            assert_eq!((method.service, method.name), (OTHER, OTHER), "{path}");
        }
    }

    #[tokio::test]
    async fn calls_of_others_are_counted_by_whom_they_ask() {
        let peer = Method::of(GET).peer;
        let before = peer.requests[0].get();
        Ask::begin(GET).until(ready(Ok::<_, ()>(Response::new(())))).await.unwrap();
        assert_eq!((peer.requests[0].get() - before, peer.in_flight.get()), (1, 0));
    }
}
