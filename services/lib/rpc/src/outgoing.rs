//! Calling another service.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use ids::{BusinessId, TenantId};
use tonic::{Request, Response};

use crate::{Actor, ActorKind, Clock, Ctx, Minter, Permissions, Principal, Remembered, Token, header};

/// How long a minted context is used again. Shorter than its validity by the longest deadline.
const REUSE_MS: u64 = 20_000;
/// Contexts kept per [`System`].
const MINTED_MAX: usize = 1_000;

/// Makes a request with a given context: how the gateway calls for a client.
pub fn with_token<T>(token: &Token, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().as_mut().insert(header::CONTEXT, token.header());
    request
}

/// Makes an answer; `replayed` says that it was stored by an earlier request with the same
/// idempotency key.
pub fn respond<T>(message: T, replayed: bool) -> Response<T> {
    let mut response = Response::new(message);
    if replayed {
        let yes = HeaderValue::from_static("true");
        response.metadata_mut().as_mut().insert(header::IDEMPOTENT_REPLAYED, yes);
    }
    response
}

fn carry_on(ctx: &Ctx, headers: &mut HeaderMap) {
    for (name, text) in [(header::REQUEST_ID, &ctx.request_id), (header::TRACEPARENT, &ctx.traceparent)] {
        if let Some(value) = text.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
    if let Some(left) = ctx.remaining() {
        // At most 30,000: the deadline of a context is bounded.
        headers.insert(header::GRPC_TIMEOUT, timeout(left));
    }
}

/// The value of `grpc-timeout` for a call that has so much time left, in whole milliseconds.
pub fn timeout(left: Duration) -> HeaderValue {
    let text = format!("{}m", left.as_millis().min(99_999_999));
    HeaderValue::try_from(text).expect("digits and a letter are a header value")
}

/// The service that is asked, the tenant, and the path of the business.
type Scope = (&'static str, TenantId, Arc<[BusinessId]>);

/// Calls of a service on its own account: with permissions that the caller may lack, in the
/// caller's tenant and business. Only for what the caller's own permission implies, for example
/// reading the unit factors of a variant while posting its movement.
pub struct System {
    minter: Arc<Minter>,
    actor: Actor,
    permissions: Permissions,
    minted: Remembered<Scope, Token>,
}

impl System {
    /// Names the service or job that calls, and what it needs.
    pub fn new(minter: Arc<Minter>, job: &str, permissions: Permissions) -> Self {
        let minted = Remembered::new(MINTED_MAX, REUSE_MS, minter.clock());
        System { minter, actor: Actor::new(ActorKind::System, job), permissions, minted }
    }

    /// Tells the time by which contexts are signed.
    pub fn clock(&self) -> Clock {
        self.minter.clock()
    }

    /// Makes a request to a service (named as in [`proto::MethodRule::service`]) in the tenant and business of `ctx`:
    /// same request id, what is left of its time. The idempotency key stays behind: it names the caller's mutation,
    /// not this one.
    pub fn request<T>(&self, ctx: &Ctx, service: &'static str, message: T) -> Request<T> {
        let scope = (service, ctx.tenant, Arc::clone(&ctx.path));
        let token = self.minted.get(&scope).unwrap_or_else(|| {
            let principal = Principal {
                tenant: ctx.tenant,
                business: ctx.business,
                path: Arc::clone(&ctx.path),
                actor: self.actor.clone(),
                permissions: self.permissions.clone(),
                secret: *ctx.secret,
            };
            let token = self.minter.mint(&principal, service);
            self.minted.insert(scope, token.clone());
            token
        });
        let mut request = with_token(&token, message);
        carry_on(ctx, request.metadata_mut().as_mut());
        request
    }
}
