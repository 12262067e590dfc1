//! Who calls, for which tenant and business, and until when.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName};
use ids::{BusinessId, TenantId};

use crate::header::name;
use crate::signed::Verified;
use crate::{Limited, Limits, Permissions, Refused};

/// Longest time that a call may take; a longer wish is cut to this.
const DEADLINE_MAX: Duration = Duration::from_secs(30);

/// The scope of what belongs to no tenant, for example which key belongs to which tenant. No
/// credential stands for it.
pub const SYSTEM_TENANT: TenantId = TenantId::from_bytes([0; 16]);

/// What kind of principal acts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ActorKind {
    /// A program with an API key.
    ApiKey,
    /// A person.
    User,
    /// The platform itself: bootstrap, background work, a service on its own account.
    System,
}

impl ActorKind {
    /// `api_key`, `user`, `system`.
    pub fn name(self) -> &'static str {
        match self {
            ActorKind::ApiKey => "api_key",
            ActorKind::User => "user",
            ActorKind::System => "system",
        }
    }

    /// Reads what [`ActorKind::name`] writes.
    pub fn parse(name: &str) -> Option<Self> {
        [ActorKind::ApiKey, ActorKind::User, ActorKind::System].into_iter().find(|kind| kind.name() == name)
    }
}

/// Who does something: goes into every entry of every journal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Actor {
    /// What kind of principal.
    pub kind: ActorKind,
    /// `key_…`, `usr_…`, or the name of a job of the platform. Never empty.
    pub id: Arc<str>,
    /// The session that a user acts in.
    pub session: Option<Session>,
}

/// The session of a user.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Session {
    /// `ses_…`.
    pub id: Arc<str>,
    /// Until when what needs a recent proof of the user is let in, in Unix milliseconds.
    pub proven_until_ms: u64,
}

impl Actor {
    /// Names an actor.
    pub fn new(kind: ActorKind, id: impl Into<Arc<str>>) -> Self {
        let id = id.into();
        assert!(!id.is_empty(), "no actor without an id");
        Actor { kind, id, session: None }
    }

    /// The same actor in a session.
    #[must_use]
    pub fn with_session(self, session: Session) -> Self {
        Actor { session: Some(session), ..self }
    }

    /// Who it is, whatever the session: what is kept for good.
    #[must_use]
    pub fn without_session(&self) -> Self {
        Actor { session: None, ..self.clone() }
    }
}

impl From<&Actor> for proto::api::v1::Actor {
    fn from(actor: &Actor) -> Self {
        Self { kind: actor.kind.name().to_owned(), id: actor.id.to_string() }
    }
}

/// What a credential stands for: the content of the signed context.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    /// The tenant that everything is scoped to.
    pub tenant: TenantId,
    /// The business that the call works in: the last of `path`.
    pub business: BusinessId,
    /// From the master business down to `business`, both included; of what has no business, `business` alone.
    pub path: Arc<[BusinessId]>,
    /// Who acts.
    pub actor: Actor,
    /// What the actor may do.
    pub permissions: Permissions,
    /// The tenant's derivation secret: key of page tokens and derived ids.
    pub secret: [u8; 32],
}

impl Principal {
    /// The platform itself, in no tenant: the gateway that asks what a credential stands for, the
    /// server that sets up a tenant.
    pub fn platform(job: &str, permissions: Permissions) -> Self {
        let nowhere = BusinessId::from_bytes([0; 16]);
        Principal {
            tenant: SYSTEM_TENANT,
            business: nowhere,
            path: Arc::from([nowhere]),
            actor: Actor::new(ActorKind::System, job),
            permissions,
            secret: [0; 32],
        }
    }
}

impl TryFrom<proto::tenant::v1::AuthenticateResponse> for Principal {
    type Error = Refused;

    /// Reads what the tenant service says about a credential.
    fn try_from(answer: proto::tenant::v1::AuthenticateResponse) -> Result<Self, Refused> {
        let read = move || {
            let actor = answer.principal.filter(|actor| !actor.id.is_empty())?;
            let path = answer.business_path.iter().map(|id| BusinessId::parse(id).ok());
            let path: Arc<[BusinessId]> = path.collect::<Option<_>>()?;
            let business = BusinessId::parse(&answer.business_id).ok()?;
            let mut who = Actor::new(ActorKind::parse(&actor.kind)?, actor.id);
            if !answer.session_id.is_empty() {
                let until = answer.proven_until.unwrap_or_default();
                let ms =
                    until.seconds.saturating_mul(1_000).saturating_add(i64::from(until.nanos) / 1_000_000);
                let proven_until_ms = u64::try_from(ms).unwrap_or(0);
                who.session = Some(Session { id: answer.session_id.into(), proven_until_ms });
            }
            let limited = answer.limited.into_iter().map(Limited::read).collect::<Option<_>>()?;
            Some(Principal {
                tenant: TenantId::parse(&answer.tenant_id).ok()?,
                business: path.last().copied().filter(|last| *last == business)?,
                path,
                actor: who,
                permissions: Permissions::parse(&answer.permissions)?.with_limited(limited),
                secret: answer.derivation_secret.try_into().ok()?,
            })
        };
        read().filter(|principal| principal.tenant != SYSTEM_TENANT).ok_or(Refused::Unauthenticated)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({}, {}, {:?})", self.tenant, self.business, self.actor)
    }
}

/// The context of one request; the first argument of everything that does I/O.
///
/// It comes from [`crate::open`] only, so a tenant is always one that a verified credential named.
/// Cloning is cheap.
#[derive(Clone)]
pub struct Ctx {
    /// The tenant that everything is scoped to.
    pub tenant: TenantId,
    /// The business that the call works in: the last of `path`.
    pub business: BusinessId,
    /// From the master business down to `business`, both included. Never empty. The tree as it was when the
    /// signed context was made, at most some seconds ago.
    pub path: Arc<[BusinessId]>,
    /// Who acts.
    pub actor: Actor,
    /// What the actor may do.
    pub permissions: Arc<Permissions>,
    /// What the call must keep to: it is within one of these. `None`: the actor has the permission without limits.
    pub limits: Option<Arc<[Limits]>>,
    /// The tenant's derivation secret: key of page tokens and derived ids. Never logged.
    pub secret: Arc<[u8; 32]>,
    /// When the caller stops waiting; at most 30 s after the request came.
    pub deadline: Option<Instant>,
    /// Names the mutation; 1 to 255 visible ASCII characters.
    pub idempotency_key: Option<Arc<str>>,
    /// The `If-Match` of the request as it came. See [`Ctx::expected_revision`].
    pub if_match: Option<Arc<str>>,
    /// Names the request in logs.
    pub request_id: Option<Arc<str>>,
    /// W3C trace context.
    pub traceparent: Option<Arc<str>>,
}

impl Ctx {
    /// Makes a context without a request: bootstrap, background work, tests of use cases.
    pub fn internal(principal: Principal) -> Self {
        Ctx {
            tenant: principal.tenant,
            business: principal.business,
            path: principal.path,
            actor: principal.actor,
            permissions: Arc::new(principal.permissions),
            limits: None,
            secret: Arc::new(principal.secret),
            deadline: None,
            idempotency_key: None,
            if_match: None,
            request_id: None,
            traceparent: None,
        }
    }

    pub(crate) fn of_request(
        verified: &Verified,
        limits: Option<Arc<[Limits]>>,
        headers: &HeaderMap,
    ) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(Arc::from);
        Ctx {
            tenant: verified.tenant,
            business: verified.business,
            path: Arc::clone(&verified.path),
            actor: verified.actor.clone(),
            permissions: Arc::clone(&verified.permissions),
            limits,
            secret: Arc::clone(&verified.secret),
            deadline: deadline(headers),
            idempotency_key: text(name::IDEMPOTENCY_KEY),
            if_match: text(name::IF_MATCH),
            request_id: text(name::REQUEST_ID),
            traceparent: text(name::TRACEPARENT),
        }
    }

    /// Time that is left, or `None` without a deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("tenant", &self.tenant)
            .field("business", &self.business)
            .field("actor", &self.actor)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

fn deadline(headers: &HeaderMap) -> Option<Instant> {
    Instant::now().checked_add(time_left(headers)?.min(DEADLINE_MAX))
}

/// What `grpc-timeout` says, or `None` without one that can be read.
pub fn time_left(headers: &HeaderMap) -> Option<Duration> {
    parse_timeout(headers.get(&name::GRPC_TIMEOUT)?.to_str().ok()?)
}

/// Reads `grpc-timeout`: at most eight digits and a unit. What does not parse is no deadline.
/// Source: gRPC over HTTP/2, "Timeout".
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proto::tenant::v1::AuthenticateResponse;

    use super::*;
    use crate::header;

    #[test]
    fn a_principal_is_read_from_what_the_tenant_service_says() {
        let answer = AuthenticateResponse {
            tenant_id: TenantId::from_bytes([1; 16]).to_string(),
            business_id: BusinessId::from_bytes([2; 16]).to_string(),
            principal: Some(proto::api::v1::Actor { kind: "api_key".to_owned(), id: "key_a".to_owned() }),
            permissions: vec!["stock.*".to_owned()],
            role: "clerk".to_owned(),
            expires_at: None,
            derivation_secret: vec![7; 32],
            business_path: [1, 2].map(|byte| BusinessId::from_bytes([byte; 16]).to_string()).into(),
            ..AuthenticateResponse::default()
        };
        let principal = Principal::try_from(answer.clone()).unwrap();
        assert_eq!(principal.tenant, TenantId::from_bytes([1; 16]));
        assert_eq!(*principal.path, [1, 2].map(|byte| BusinessId::from_bytes([byte; 16])));
        assert!(principal.permissions.allows("stock.post"));

        let nobody = TenantId::from_bytes([0; 16]).to_string();
        for bad in [
            AuthenticateResponse { tenant_id: nobody, ..answer.clone() },
            AuthenticateResponse { business_id: String::new(), ..answer.clone() },
            AuthenticateResponse { business_path: vec![], ..answer.clone() },
            AuthenticateResponse { business_path: answer.business_path[..1].into(), ..answer.clone() },
            AuthenticateResponse { business_path: vec!["biz_".to_owned()], ..answer.clone() },
            AuthenticateResponse { principal: None, ..answer.clone() },
            AuthenticateResponse { permissions: vec!["all".to_owned()], ..answer.clone() },
            AuthenticateResponse { derivation_secret: vec![], ..answer.clone() },
        ] {
            assert_eq!(Principal::try_from(bad), Err(Refused::Unauthenticated));
        }
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_timeout_is_read_as_grpc_writes_it() {
        let check = |text: &str, expected: Option<Duration>| assert_eq!(parse_timeout(text), expected, "{text:?}");
        check("2H",        Some(Duration::from_secs(7200)));
        check("3M",        Some(Duration::from_secs(180)));
        check("30S",       Some(Duration::from_secs(30)));
        check("1500m",     Some(Duration::from_millis(1500)));
        check("20u",       Some(Duration::from_micros(20)));
        check("99999999n", Some(Duration::from_nanos(99_999_999)));
        check("",          None);
        check("S",         None);
        check("30",        None);
        check("-1S",       None);
        check("999999999S", None);
        check("1µ",        None);
    }

    #[test]
    fn a_wish_beyond_the_limit_is_cut() {
        let mut headers = HeaderMap::new();
        headers.insert(header::GRPC_TIMEOUT, http::HeaderValue::from_static("2H"));
        let left = deadline(&headers).map(|at| at.saturating_duration_since(Instant::now()));
        assert!(left.is_some_and(|left| left <= DEADLINE_MAX));
    }
}
