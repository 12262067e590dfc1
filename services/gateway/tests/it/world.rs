//! A gateway over a tenant service that knows one key and a stock service that does as the note says.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use gateway::{Config, Gateway, Parts};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use ids::{ApiKeyId, BusinessId, TenantId};
use problem::{Code, Problem, Violation};
use proto::api::v1 as api;
use proto::stock::v1 as stock;
use proto::tenant::v1 as tenant;
use rpc::{Ctx, Guard, Minter, Verifier};
use serde_json::Value;
use tokio::sync::Notify;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{Layer as _, Service};

pub(crate) const KEY: &str = "cp_live_good";
pub(crate) const VIEWER: &str = "cp_live_viewer";
/// A key of another tenant.
pub(crate) const OTHER: &str = "cp_live_other";
pub(crate) const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const NOW: u64 = 1_780_000_000_000;
pub(crate) const VARIANT: &str = "var_01jd7qz3fve0e8v6fbz2x9n3kq";
pub(crate) const LOCATION: &str = "loc_01jd7qz3fve0e8v6fbz2x9n3kq";
pub(crate) const MOVEMENT: &str = "mov_01jd7qz3fve0e8v6fbz2x9n3kq";

pub(crate) fn business() -> BusinessId {
    BusinessId::new(NOW, [2; 10])
}

/// A business below [`business`].
pub(crate) fn sub_business() -> BusinessId {
    BusinessId::new(NOW, [4; 10])
}

/// What the services behind the gateway are told and tell.
pub(crate) struct State {
    pub(crate) now: AtomicU64,
    pub(crate) asked: AtomicUsize,
    pub(crate) posted: AtomicUsize,
    pub(crate) revoked: AtomicBool,
    pub(crate) expires_s: AtomicU64,
    /// A posting with the note "hold" tells that it is there and waits.
    pub(crate) held: Notify,
    pub(crate) release: Notify,
}

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) state: Arc<State>,
    pub(crate) minter: Arc<Minter>,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> World {
        let state = Arc::new(State {
            now: AtomicU64::new(NOW),
            asked: AtomicUsize::new(0),
            posted: AtomicUsize::new(0),
            revoked: AtomicBool::new(false),
            expires_s: AtomicU64::new(0),
            held: Notify::new(),
            release: Notify::new(),
        });
        let clock: rpc::Clock = {
            let state = Arc::clone(&state);
            Arc::new(move || state.now.load(Ordering::Relaxed))
        };
        let minter = Arc::new(Minter::from_seed(&[1; 32], Arc::clone(&clock)));
        let guard = Guard::new(Arc::new(Verifier::new(&[minter.public_key()], Arc::clone(&clock))));
        let routes = rpc::Services::new(guard.layer(FakeTenant(Arc::clone(&state))))
            .and(guard.layer(FakeStock(Arc::clone(&state))));
        let gateway = Gateway::new(Parts {
            config,
            transport: rpc::local(routes),
            minter: Arc::clone(&minter),
            clock,
            access: None,
            error_pages: &[
                "| INSUFFICIENT_STOCK | FAILED_PRECONDITION | 409 | Less is there. | Take less. |",
            ],
            version: "0.0.0",
        });
        World { gateway: gateway.unwrap(), state, minter }
    }

    pub(crate) fn posted(&self) -> usize {
        self.state.posted.load(Ordering::Relaxed)
    }

    /// Sends a request with the good key; `headers` are `Name: value` and replace what is sent anyway.
    pub(crate) async fn send(&self, method: Method, uri: &str, headers: &[&str], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        let mut sent = HeaderMap::new();
        sent.insert("authorization", format!("Bearer {KEY}").try_into().unwrap());
        sent.insert("content-type", "application/json".try_into().unwrap());
        for header in headers {
            let (name, value) = header.split_once(':').unwrap();
            let name: http::HeaderName = name.parse().unwrap();
            match value.trim() {
                "" => drop(sent.remove(name)),
                value => drop(sent.insert(name, value.try_into().unwrap())),
            }
        }
        request.headers_mut().unwrap().extend(sent);
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        Answer::of(self.gateway.handle(HOME, request).await).await
    }

    /// Posts a movement whose note says what happens.
    pub(crate) async fn post(&self, note: &str, headers: &[&str]) -> Answer {
        let headers = [&["idempotency-key: k"], headers].concat();
        self.send(Method::POST, "/v1/movements", &headers, &draft(note)).await
    }

    /// A problem, whose type leads to a page.
    pub(crate) async fn problem(&self, answer: Answer, status: u16, reason: &str) -> Answer {
        assert_eq!((answer.status.as_u16(), answer.reason()), (status, reason), "{}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json["status"], status);
        assert_eq!(answer.json["traceId"].as_str().unwrap().len(), 32);
        assert!(answer.header("request-id").starts_with("req_"));
        let page =
            self.send(Method::GET, answer.json["type"].as_str().unwrap(), &["authorization:"], "").await;
        assert_eq!(page.status, 200, "{} has no page", answer.json["type"]);
        answer
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) async fn of(response: Response<Body>) -> Answer {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, text, json }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn reason(&self) -> &str {
        self.json["reason"].as_str().unwrap_or_default()
    }
}

pub(crate) fn draft(note: &str) -> String {
    format!(
        r#"{{"kind": "sale.shipment", "variantId": "{VARIANT}", "locationId": "{LOCATION}", "quantity": "1",
            "source": {{"type": "pos_receipt", "id": "1"}}, "note": "{note}"}}"#
    )
}

/// Runs one handler as a generated server does.
fn unary<Q, A, F>(
    request: Request<Body>,
    handler: impl FnOnce(Ctx, Q) -> F + Send + 'static,
) -> BoxFuture<'static, Result<Response<Body>, Infallible>>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    Box::pin(async move {
        let mut handler = Some(handler);
        let method = tower::service_fn(move |request: tonic::Request<Q>| {
            let handler = handler.take().unwrap();
            async move {
                let (ctx, message) = rpc::open(request)?;
                let replayed = ctx.idempotency_key.as_deref() == Some("replay");
                handler(ctx, message).await.map(|answer| rpc::respond(answer, replayed))
            }
        });
        let codec = tonic_prost::ProstCodec::<A, Q>::default();
        Ok(tonic::server::Grpc::new(codec).unary(method, request).await)
    })
}

#[derive(Clone)]
struct FakeTenant(Arc<State>);

impl NamedService for FakeTenant {
    const NAME: &'static str = "cargopilot.tenant.v1.TenantService";
}

impl Service<Request<Body>> for FakeTenant {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.0);
        assert!(request.uri().path().ends_with("/Authenticate"));
        unary(request, move |ctx, question: tenant::AuthenticateRequest| async move {
            assert!(ctx.permissions.allows("internal.gateway"));
            state.asked.fetch_add(1, Ordering::Relaxed);
            let permissions = match question.credential.as_str() {
                _ if state.revoked.load(Ordering::Relaxed) => None,
                KEY | OTHER => Some(vec!["*".to_owned()]),
                VIEWER => Some(vec!["*.read".to_owned()]),
                _ => None,
            };
            let permissions =
                permissions.ok_or_else(|| Status::unauthenticated("the credential is not valid"))?;
            let business = match question.business_id.as_str() {
                "" => business(),
                id if [business(), sub_business()].iter().any(|own| own.to_string() == id) => {
                    BusinessId::parse(id).unwrap()
                }
                _ => return Err(Status::not_found("no such business")),
            };
            let expires = state.expires_s.load(Ordering::Relaxed).cast_signed();
            let mut path = vec![self::business().to_string(), business.to_string()];
            path.dedup();
            Ok(tenant::AuthenticateResponse {
                tenant_id: TenantId::new(NOW, [if question.credential == OTHER { 9 } else { 1 }; 10])
                    .to_string(),
                business_id: business.to_string(),
                principal: Some(api::Actor {
                    kind: "api_key".to_owned(),
                    id: ApiKeyId::new(NOW, [3; 10]).to_string(),
                }),
                permissions,
                role: "owner".to_owned(),
                expires_at: (expires != 0).then_some(prost_types::Timestamp { seconds: expires, nanos: 0 }),
                derivation_secret: vec![7; 32],
                business_path: path,
                ..tenant::AuthenticateResponse::default()
            })
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("3 available, 4 wanted")]
struct Insufficient(Vec<Violation>);

impl Problem for Insufficient {
    const DOMAIN: &'static str = "stock";
    fn code(&self) -> Code {
        Code::FailedPrecondition
    }
    fn reason(&self) -> &'static str {
        "INSUFFICIENT_STOCK"
    }
    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("available", "3".to_owned())]
    }
    fn violations(&self) -> &[Violation] {
        &self.0
    }
}

#[derive(Clone)]
struct FakeStock(Arc<State>);

impl NamedService for FakeStock {
    const NAME: &'static str = "cargopilot.stock.v1.StockService";
}

impl Service<Request<Body>> for FakeStock {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.0);
        match request.uri().path().rsplit('/').next().unwrap_or_default() {
            "PostMovement" => unary(request, |ctx, q: stock::PostMovementRequest| async move {
                state.posted.fetch_add(1, Ordering::Relaxed);
                post(&state, &ctx, &q.movement.unwrap_or_default().note).await
            }),
            "BatchPostMovements" => unary(request, |_, q: stock::BatchPostMovementsRequest| async move {
                let result = |draft: &stock::MovementDraft| match draft.note.as_str() {
                    "insufficient" => {
                        stock::posting_result::Result::Problem(rpc::item_problem(&Insufficient(vec![])))
                    }
                    _ => stock::posting_result::Result::Posting(stock::Posting::default()),
                };
                let results = q.movements.iter().map(|d| stock::PostingResult { result: Some(result(d)) });
                Ok(stock::BatchPostMovementsResponse { results: results.collect() })
            }),
            "GetLocation" | "UpdateLocation" => {
                unary(request, |ctx, q: stock::GetLocationRequest| async move {
                    let name = ctx.if_match.as_deref().unwrap_or("as it was").to_owned();
                    Ok(stock::Location { id: q.location_id, name, etag: rpc::etag(3), ..Default::default() })
                })
            }
            "ListLocations" => unary(request, |_, _: stock::ListLocationsRequest| async move {
                Ok(stock::ListLocationsResponse { locations: vec![], next_page_token: "next".to_owned() })
            }),
            other => panic!("{other} is not in the test"),
        }
    }
}

async fn post(state: &State, ctx: &Ctx, note: &str) -> Result<stock::Posting, Status> {
    match note {
        "panic" => panic!("secret of the handler"),
        "insufficient" => {
            let field = "movement.quantity".to_owned();
            let violation =
                Violation { field, reason: "TOO_LARGE", detail: "must be at most '3'".to_owned() };
            return Err(rpc::status(Insufficient(vec![violation])));
        }
        "internal" => return Err(Status::internal("secret of the handler")),
        "wait" => std::future::pending().await,
        "hold" => {
            state.held.notify_one();
            state.release.notified().await;
        }
        "slow" => {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        }
        _ => {}
    }
    let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or("none").to_owned();
    let heard = [&ctx.idempotency_key, &ctx.request_id, &ctx.traceparent].map(text).join(" ");
    assert!(ctx.deadline.is_some());
    Ok(stock::Posting {
        movements: vec![stock::Movement {
            id: MOVEMENT.to_owned(),
            business_id: ctx.business.to_string(),
            actor: Some((&ctx.actor).into()),
            note: heard,
            ..Default::default()
        }],
        replayed: false,
    })
}
