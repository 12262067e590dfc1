//! Enforces the rule that every method declares in its contract.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Either};
use http::{HeaderMap, Request, Response};
use proto::{Idempotency, MethodRule};
use telemetry::http::{Denied, denied};
use telemetry::rpc::Call;
use tonic::Status;
use tonic::server::NamedService;
use tower::{Layer, Service};

use crate::header::name;
use crate::unknown_id::{Answering, Watcher};
use crate::{Access, AccessLog, ActorKind, Ctx, Refused, Verifier, status};

/// Longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Layer around a service: verifies the signed context, enforces the method's rule, and hands a
/// [`Ctx`] to the handler. A method without a rule is refused.
#[derive(Clone)]
pub struct Guard {
    verifier: Arc<Verifier>,
    access: Option<Arc<dyn AccessLog>>,
}

/// A request that may pass.
struct Admitted {
    ctx: Ctx,
    path: &'static str,
    rule: &'static MethodRule,
}

/// A request that may not.
enum Rejected {
    /// Nobody knows who asks, or what is asked for, or something else is wrong with it.
    Refused(Refused),
    /// The caller may not do this.
    Denied(Box<Admitted>),
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Self {
        Rejected::Refused(refused)
    }
}

impl Guard {
    /// Makes a guard.
    pub fn new(verifier: Arc<Verifier>) -> Self {
        Guard { verifier, access: None }
    }

    /// Has calls written down: reads whose method says so, before they are answered, refusals for lack of
    /// a permission, and calls that name what their tenant does not have.
    #[must_use]
    pub fn with_access_log(self, access: Arc<dyn AccessLog>) -> Self {
        Guard { access: Some(access), ..self }
    }

    /// Decides whether a request for `path` may pass.
    ///
    /// # Errors
    /// The first thing that is wrong: credential, then what stands against the call, then permission, then a
    /// recent proof, then headers.
    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Admitted, Rejected> {
        let token = headers.get(&name::CONTEXT).ok_or(Refused::Unauthenticated)?;
        let verified = self.verifier.verify(token)?;
        let (path, rule) = proto::rules().get_key_value(path).ok_or(Refused::UnknownMethod)?;
        // One that was meant for another service was taken from there.
        if *verified.audience != *rule.service {
            return Err(Refused::Unauthenticated.into());
        }
        verified.bars.check(rule)?;
        let admitted = |limits| Admitted { ctx: Ctx::of_request(&verified, limits, headers), path, rule };
        let limits = match verified.may(rule) {
            true => None,
            false => match verified.may_within(rule) {
                limits if limits.is_empty() => return Err(Rejected::Denied(Box::new(admitted(None)))),
                limits => Some(limits.into()),
            },
        };
        if rule.step_up && verified.actor.kind == ActorKind::User {
            let session = verified.actor.session.as_ref();
            if session.is_none_or(|session| session.proven_until_ms <= self.verifier.now_ms()) {
                return Err(Refused::StepUpRequired.into());
            }
        }
        match headers.get(&name::IDEMPOTENCY_KEY) {
            None if rule.idempotency == Idempotency::Required => {
                return Err(Refused::IdempotencyKeyRequired.into());
            }
            Some(key) if !is_key(key.as_bytes()) => return Err(Refused::IdempotencyKeyMalformed.into()),
            _ => {}
        }
        if rule.if_match && !headers.contains_key(&name::IF_MATCH) {
            return Err(Refused::PreconditionRequired.into());
        }
        Ok(admitted(limits))
    }

    /// Who writes a call down that turns out to name what is not there; nobody for those of the platform, which
    /// ask in the course of another call.
    fn watcher(&self, call: &Admitted) -> Option<Watcher> {
        let log = self.access.as_ref().filter(|_| call.ctx.actor.kind != ActorKind::System)?;
        Some(Watcher {
            log: Arc::clone(log),
            ctx: call.ctx.clone(),
            path: call.path,
            permission: &call.rule.permission,
        })
    }

    /// Writes a call down, if anybody listens.
    fn record(&self, call: &Admitted, access: Access) -> Option<BoxFuture<'static, bool>> {
        let log = self.access.as_ref()?;
        Some(log.record(&call.ctx, call.path, &call.rule.permission, access))
    }
}

fn is_key(key: &[u8]) -> bool {
    (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(|byte| (0x20..0x7f).contains(byte))
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

/// What a guarded service answers with.
type Answered<R> = Result<Response<R>, Infallible>;

/// Its answer, under way: a refusal at once, one that is written down first, or what the service answers.
type Answer<F, R> = Either<Either<Ready<Answered<R>>, BoxFuture<'static, Answered<R>>>, Answering<F, R>>;

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + Unpin + 'static,
    B: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = telemetry::rpc::Answering<Answer<S::Future, R>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut call = Call::begin(&mut request);
        let answer = self.answer(request, &mut call);
        telemetry::rpc::Answering::new(call, answer)
    }
}

impl<S> Guarded<S> {
    fn answer<B, R>(&mut self, mut request: Request<B>, call: &mut Call) -> Answer<S::Future, R>
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + Unpin + 'static,
        B: Send + 'static,
        R: Default + Send + 'static,
    {
        match self.guard.admit(request.uri().path(), request.headers()) {
            Ok(admitted) => {
                call.tenant(admitted.ctx.tenant.as_bytes());
                let read = admitted.rule.audited_read.then(|| self.guard.record(&admitted, Access::Read));
                let watcher = self.guard.watcher(&admitted);
                request.extensions_mut().insert(admitted.ctx);
                let Some(written) = read.flatten() else {
                    return Either::Right(Answering::new(self.inner.call(request), watcher));
                };
                // The service that was ready is the one that is called.
                let waiting = self.inner.clone();
                let mut inner = std::mem::replace(&mut self.inner, waiting);
                let answer = async move {
                    match written.await {
                        true => Answering::new(inner.call(request), watcher).await,
                        false => Ok(status(Refused::NotRecorded).into_http()),
                    }
                };
                Either::Left(Either::Right(answer.boxed()))
            }
            Err(Rejected::Refused(refused)) => {
                if refused == Refused::Unauthenticated {
                    denied(Denied::Credential);
                }
                Either::Left(Either::Left(ready(Ok(status(refused).into_http()))))
            }
            Err(Rejected::Denied(call)) => {
                denied(Denied::Permission);
                let refused = Refused::PermissionDenied { permission: &call.rule.permission };
                match self.guard.record(&call, Access::Denied) {
                    None => Either::Left(Either::Left(ready(Ok(status(refused).into_http())))),
                    // It is refused whether or not that could be written down.
                    Some(written) => {
                        let answer = written.map(move |_| Ok(status(refused).into_http()));
                        Either::Left(Either::Right(answer.boxed()))
                    }
                }
            }
        }
    }
}

/// Takes a request apart: the first line of every handler.
///
/// # Errors
/// `INTERNAL` when no [`Guard`] stands before the service.
pub fn open<T>(request: tonic::Request<T>) -> Result<(Ctx, T), Status> {
    let (_, mut extensions, message) = request.into_parts();
    match extensions.remove::<Ctx>() {
        Some(ctx) => Ok((ctx, message)),
        None => {
            tracing::error!("a service is mounted without its guard");
            Err(Status::internal("internal error"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ids::{BusinessId, TenantId};
    use tonic_types::{ErrorDetails, StatusExt as _};
    use tower::service_fn;

    use super::*;
    use crate::header;
    use crate::{Actor, Minter, Permissions, Principal, Session, etag, wall_clock};

    const POST: &str = "/cargopilot.stock.v1.StockService/PostMovement";
    const GET: &str = "/cargopilot.tenant.v1.TenantService/GetBusiness";
    const UPDATE: &str = "/cargopilot.tenant.v1.TenantService/UpdateBusiness";
    const AUTHENTICATE: &str = "/cargopilot.tenant.v1.TenantService/Authenticate";

    /// Whom the context of a call is meant for; for what is no method, somebody.
    fn service_of(path: &str) -> &str {
        proto::rules().get(path).map_or("stock", |rule| &rule.service)
    }

    struct World {
        minter: Minter,
        guard: Guard,
    }

    impl World {
        fn new() -> Self {
            let minter = Minter::generate(wall_clock()).unwrap();
            let verifier = Verifier::new(&[minter.public_key()], wall_clock());
            World { minter, guard: Guard::new(Arc::new(verifier)) }
        }

        /// Calls `path`; answers what the handler saw, or the reason of the refusal.
        async fn call(
            &self,
            path: &str,
            permissions: &str,
            headers: &[(&'static str, &str)],
        ) -> Result<Ctx, String> {
            self.call_as(ActorKind::ApiKey, path, permissions, headers).await
        }

        async fn call_as(
            &self,
            kind: ActorKind,
            path: &str,
            permissions: &str,
            headers: &[(&'static str, &str)],
        ) -> Result<Ctx, String> {
            let principal = Principal {
                tenant: TenantId::from_bytes([1; 16]),
                business: BusinessId::from_bytes([2; 16]),
                path: std::sync::Arc::from([BusinessId::from_bytes([2; 16])]),
                actor: Actor::new(kind, "key_a"),
                permissions: Permissions::parse(permissions.split_whitespace()).unwrap(),
                secret: [7; 32],
            };
            let token = self.minter.mint(&principal, service_of(path));
            let mut request = Request::builder().uri(path).header(header::CONTEXT, token.header());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            self.send(request.body(()).unwrap()).await
        }

        async fn send(&self, request: Request<()>) -> Result<Ctx, String> {
            let mut service = self.guard.layer(service_fn(|mut request: Request<()>| {
                let mut response = Response::new(());
                let ctx: Ctx = request.extensions_mut().remove().expect("the guard puts a context there");
                response.extensions_mut().insert(ctx);
                ready(Ok::<_, Infallible>(response))
            }));
            let response = service.call(request).await.unwrap();
            match response.extensions().get::<Ctx>() {
                Some(ctx) => Ok(ctx.clone()),
                None => {
                    let status = Status::from_header_map(response.headers()).expect("a refusal is a status");
                    Err(status.get_details_error_info().expect("a refusal has a reason").reason)
                }
            }
        }
    }

    #[tokio::test]
    #[rustfmt::skip] // columns
    async fn the_rule_of_a_method_is_enforced() {
        let world = World::new();
        let key = (header::IDEMPOTENCY_KEY, "sale-1");
        let long = "k".repeat(256);
        let check = async |path, permissions, headers: &[(&'static str, &str)], expected: Result<(), &str>| {
            let found = world.call(path, permissions, headers).await.map(drop);
            assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|reason| *reason), "{path}");
        };
        check(POST,         "stock.post",       &[key],                              Ok(())).await;
        check(POST,         "*",                &[key],                              Ok(())).await;
        check(POST,         "*.read",           &[key],                              Err("PERMISSION_DENIED")).await;
        check(POST,         "",                 &[],                                 Err("PERMISSION_DENIED")).await;
        check(POST,         "stock.post",       &[],                                 Err("IDEMPOTENCY_KEY_REQUIRED")).await;
        check(POST,         "stock.post",       &[(header::IDEMPOTENCY_KEY, "")],    Err("IDEMPOTENCY_KEY_MALFORMED")).await;
        check(POST,         "stock.post",       &[(header::IDEMPOTENCY_KEY, &long)], Err("IDEMPOTENCY_KEY_MALFORMED")).await;
        check(GET,          "tenant.read",      &[],                                 Ok(())).await;
        check(UPDATE,       "tenant.update",    &[],                                 Err("PRECONDITION_REQUIRED")).await;
        check(UPDATE,       "tenant.update",    &[(header::IF_MATCH, "\"3\"")],      Ok(())).await;
        check(AUTHENTICATE, "*",                &[],                                 Err("PERMISSION_DENIED")).await;
        check(AUTHENTICATE, "internal.gateway", &[],                                 Err("PERMISSION_DENIED")).await;
        check("/cargopilot.tenant.v1.TenantService/Drop", "*", &[],                  Err("UNKNOWN_METHOD")).await;
        check("/",          "*",                &[],                                 Err("UNKNOWN_METHOD")).await;
        world.call_as(ActorKind::System, AUTHENTICATE, "internal.gateway", &[]).await.unwrap();
    }

    /// API-2: whatever was granted, for every method of the contract, the guard decides what the permissions mean,
    /// the second time as the first: a remembered decision is the decision.
    #[tokio::test]
    async fn remembered_decisions_are_those_of_the_policies() {
        let world = World::new();
        for granted in ["", "*", "*.read", "stock.* key.read", "product.update"] {
            let permissions = Permissions::parse(granted.split_whitespace()).unwrap();
            for (path, rule) in proto::rules() {
                let headers = [(header::IDEMPOTENCY_KEY, "k"), (header::IF_MATCH, "\"3\"")];
                for _ in 0..2 {
                    let found = world.call(path, granted, &headers).await.map(drop);
                    let expected = match permissions.allows(&rule.permission) {
                        true => Ok(()),
                        false => Err("PERMISSION_DENIED".to_owned()),
                    };
                    assert_eq!(found, expected, "{granted:?} {path}");
                }
            }
        }
    }

    /// API-8, the part of step-up: what needs a recent proof is refused to a user without one, and asks nobody
    /// else.
    #[tokio::test]
    async fn a_user_proves_himself_again_for_what_says_so() {
        const CREATE: &str = "/cargopilot.tenant.v1.TenantService/CreateApiKey";
        let world = World::new();
        let send = async |actor: Actor, path: &str| {
            let principal = Principal {
                tenant: TenantId::from_bytes([1; 16]),
                business: BusinessId::from_bytes([2; 16]),
                path: Arc::from([BusinessId::from_bytes([2; 16])]),
                actor,
                permissions: Permissions::parse(["*"]).unwrap(),
                secret: [7; 32],
            };
            let token = world.minter.mint(&principal, service_of(path));
            let request = Request::builder().uri(path).header(header::CONTEXT, token.header());
            world.send(request.body(()).unwrap()).await.map(|ctx| ctx.actor)
        };
        let user = || Actor::new(ActorKind::User, "usr_a");
        let proven = |proven_until_ms| user().with_session(Session { id: "ses_a".into(), proven_until_ms });
        let refused = Err("STEP_UP_REQUIRED".to_owned());
        assert_eq!(send(user(), CREATE).await, refused);
        assert_eq!(send(proven(wall_clock()() - 1), CREATE).await, refused);
        assert_eq!(send(proven(u64::MAX), CREATE).await, Ok(proven(u64::MAX)));
        assert_eq!(send(user(), GET).await, Ok(user()));
        let key = Actor::new(ActorKind::ApiKey, "key_a");
        assert_eq!(send(key.clone(), CREATE).await, Ok(key));
    }

    /// Remembers what it was told to write down.
    #[derive(Default)]
    struct Notes {
        seen: std::sync::Mutex<Vec<(String, &'static str, &'static str, Access)>>,
        full: bool,
    }

    impl AccessLog for Notes {
        fn record(
            &self,
            ctx: &Ctx,
            path: &'static str,
            permission: &'static str,
            access: Access,
        ) -> BoxFuture<'static, bool> {
            self.seen.lock().unwrap().push((ctx.actor.id.to_string(), path, permission, access));
            ready(!self.full).boxed()
        }
    }

    /// Reads whose method says so and refusals for lack of a permission are written down; nothing else is. A read
    /// that cannot be written down is not answered, a refusal stays one.
    #[tokio::test]
    async fn what_the_contract_wants_to_be_seen_is_written_down() {
        const KEYS: &str = "/cargopilot.tenant.v1.TenantService/ListApiKeys";
        for full in [false, true] {
            let notes = Arc::new(Notes { full, ..Notes::default() });
            let mut world = World::new();
            world.guard = world.guard.with_access_log(notes.clone());
            let key = (header::IDEMPOTENCY_KEY, "sale-1");
            world.call(GET, "*", &[]).await.unwrap();
            world.call(POST, "*", &[key]).await.unwrap();
            assert_eq!(world.call(POST, "*", &[]).await.unwrap_err(), "IDEMPOTENCY_KEY_REQUIRED");
            assert_eq!(world.call("/", "*", &[]).await.unwrap_err(), "UNKNOWN_METHOD");
            assert_eq!(*notes.seen.lock().unwrap(), []);

            assert_eq!(world.call(POST, "stock.read", &[key]).await.unwrap_err(), "PERMISSION_DENIED");
            let read = world.call(KEYS, "key.read", &[]).await;
            assert_eq!(read.map(drop), if full { Err("NOT_RECORDED".to_owned()) } else { Ok(()) });
            let expected = [
                ("key_a".to_owned(), POST, "stock.post", Access::Denied),
                ("key_a".to_owned(), KEYS, "key.read", Access::Read),
            ];
            assert_eq!(*notes.seen.lock().unwrap(), expected);
        }
    }

    /// TEN-2, the part of the log: a call that names what is not there is one line, whether all of it is refused or
    /// one item of it; what the platform asks itself in the course of a call, and what is missing for another
    /// reason, is none.
    #[tokio::test]
    async fn a_call_that_names_what_is_not_there_is_written_down_once() {
        let notes = Arc::new(Notes::default());
        let mut world = World::new();
        world.guard = world.guard.with_access_log(notes.clone());
        let refusal = |code, reason| {
            let details = ErrorDetails::with_error_info(reason, "sample", HashMap::new());
            Status::with_error_details(code, "no such product", details).into_http::<()>()
        };
        let items = |code: &str, reasons: &[&str]| {
            let problem = |reason: &&str| proto::api::v1::Problem {
                code: code.to_owned(),
                reason: (*reason).to_owned(),
                ..Default::default()
            };
            let refused = reasons.iter().map(problem).find_map(|problem| crate::noted_problem(&problem));
            let (metadata, (), extensions) = crate::respond_items((), false, refused).into_parts();
            let mut answer = Response::new(());
            *answer.headers_mut() = metadata.into_headers();
            *answer.extensions_mut() = extensions;
            answer
        };
        let check_as = async |kind: ActorKind, answer: Response<()>, lines: usize, access| {
            let principal = Principal {
                tenant: TenantId::from_bytes([1; 16]),
                business: BusinessId::from_bytes([2; 16]),
                path: std::sync::Arc::from([BusinessId::from_bytes([2; 16])]),
                actor: Actor::new(kind, "key_a"),
                permissions: Permissions::parse(["*"]).unwrap(),
                secret: [7; 32],
            };
            let token = world.minter.mint(&principal, "tenant");
            let request = Request::builder().uri(GET).header(header::CONTEXT, token.header()).body(());
            let expected = answer.headers().clone();
            let mut service =
                world.guard.layer(service_fn(move |_| ready(Ok::<_, Infallible>(answer.clone()))));
            let found = service.call(request.unwrap()).await.unwrap();
            assert_eq!(found.headers(), &expected);
            let noted = std::mem::take(&mut *notes.seen.lock().unwrap());
            assert_eq!(noted, vec![("key_a".to_owned(), GET, "tenant.read", access); lines]);
        };
        let check = async |kind, answer, lines| check_as(kind, answer, lines, Access::UnknownId).await;
        let not_found = tonic::Code::NotFound;
        check(ActorKind::ApiKey, refusal(not_found, "NOT_FOUND"), 1).await;
        check(ActorKind::User, refusal(not_found, "NOT_FOUND"), 1).await;
        check(ActorKind::System, refusal(not_found, "NOT_FOUND"), 0).await;
        check(ActorKind::ApiKey, refusal(not_found, "PRICE_NOT_SET"), 0).await;
        check(ActorKind::ApiKey, refusal(tonic::Code::Aborted, "NOT_FOUND"), 0).await;
        check(ActorKind::ApiKey, items("NOT_FOUND", &[]), 0).await;
        check(ActorKind::ApiKey, items("NOT_FOUND", &["OTHER"]), 0).await;
        check(ActorKind::ApiKey, items("NOT_FOUND", &["OTHER", "NOT_FOUND", "NOT_FOUND"]), 1).await;
        check(ActorKind::ApiKey, items("ABORTED", &["NOT_FOUND"]), 0).await;
        // What is beyond the limits of a caller is refused to it: it lacks the permission there.
        let denied = tonic::Code::PermissionDenied;
        check_as(ActorKind::User, refusal(denied, "BEYOND_LIMITS"), 1, Access::Denied).await;
        check_as(ActorKind::User, refusal(denied, "INHERITED_LOCKED"), 0, Access::Denied).await;
        let beyond = items("PERMISSION_DENIED", &["OTHER", "BEYOND_LIMITS"]);
        check_as(ActorKind::User, beyond, 1, Access::Denied).await;
    }

    #[tokio::test]
    async fn a_request_without_a_valid_context_is_refused() {
        let world = World::new();
        let bare = Request::builder().uri(GET).body(()).unwrap();
        assert_eq!(world.send(bare).await.unwrap_err(), "UNAUTHENTICATED");

        let stranger = World::new();
        let principal = Principal {
            tenant: TenantId::from_bytes([1; 16]),
            business: BusinessId::from_bytes([2; 16]),
            path: std::sync::Arc::from([BusinessId::from_bytes([2; 16])]),
            actor: Actor::new(ActorKind::System, "stranger"),
            permissions: Permissions::parse(["*"]).unwrap(),
            secret: [0; 32],
        };
        let token = stranger.minter.mint(&principal, "tenant");
        let forged = Request::builder().uri(GET).header(header::CONTEXT, token.header()).body(()).unwrap();
        assert_eq!(world.send(forged).await.unwrap_err(), "UNAUTHENTICATED");
    }

    /// OWASP 2: a context that one service got opens no other one, whatever its permissions.
    #[tokio::test]
    async fn a_context_opens_the_service_that_it_is_meant_for_only() {
        let world = World::new();
        let principal = Principal {
            tenant: TenantId::from_bytes([1; 16]),
            business: BusinessId::from_bytes([2; 16]),
            path: Arc::from([BusinessId::from_bytes([2; 16])]),
            actor: Actor::new(ActorKind::ApiKey, "key_a"),
            permissions: Permissions::parse(["*"]).unwrap(),
            secret: [7; 32],
        };
        for audience in ["stock", "tenant", "catalog", "audit", "stoc", "Stock", "*", ""] {
            let token = world.minter.mint(&principal, audience);
            for (path, rule) in proto::rules().iter().filter(|(_, rule)| rule.http.is_some()) {
                let request = Request::builder().uri(path).header(header::CONTEXT, token.header());
                let request = request.header(header::IDEMPOTENCY_KEY, "k").header(header::IF_MATCH, "\"3\"");
                let found = world.send(request.body(()).unwrap()).await.map(drop);
                let expected = match audience == rule.service {
                    true => Ok(()),
                    false => Err("UNAUTHENTICATED".to_owned()),
                };
                assert_eq!(found, expected, "{audience:?} at {path}");
            }
        }
    }

    #[tokio::test]
    async fn the_handler_sees_what_the_request_carries() {
        let world = World::new();
        let headers = [
            (header::IDEMPOTENCY_KEY, "sale-1"),
            (header::IF_MATCH, &*etag(3)),
            (header::REQUEST_ID, "req_1"),
            (header::TRACEPARENT, "00-1-2-01"),
            (header::GRPC_TIMEOUT, "5S"),
        ];
        let ctx = world.call(UPDATE, "*", &headers).await.unwrap();
        assert_eq!(ctx.tenant, TenantId::from_bytes([1; 16]));
        assert_eq!(ctx.business, BusinessId::from_bytes([2; 16]));
        assert_eq!(&*ctx.actor.id, "key_a");
        assert_eq!(ctx.idempotency_key.as_deref(), Some("sale-1"));
        assert_eq!(ctx.expected_revision(), Ok(Some(3)));
        assert_eq!(ctx.request_id.as_deref(), Some("req_1"));
        assert_eq!(ctx.traceparent.as_deref(), Some("00-1-2-01"));
        assert!(ctx.remaining().is_some_and(|left| left.as_secs() <= 5));

        let permissions = Permissions::parse(["*.read"]).unwrap();
        let system = crate::System::new(Arc::new(world.minter), "stock", permissions);
        let sent_on = system.request(&ctx, "catalog", ());
        let headers = sent_on.metadata().as_ref();
        assert!(headers.contains_key(header::CONTEXT));
        assert_eq!(headers[header::REQUEST_ID], "req_1");
        assert!(headers.contains_key(header::GRPC_TIMEOUT));
        assert!(!headers.contains_key(header::IDEMPOTENCY_KEY));
    }

    #[test]
    fn a_service_without_its_guard_answers_nothing() {
        let error = open(tonic::Request::new(())).unwrap_err();
        assert_eq!(error.code(), tonic::Code::Internal);
    }
}
