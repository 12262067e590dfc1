//! From the credential of a client to the signed context that services trust.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header};
use ids::{BusinessId, TenantId};
use parking_lot::Mutex;
use proto::MethodRule;
use proto::tenant::v1::AuthenticateRequest;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use recent::Recent;
use rpc::{
    Access, AccessLog, Bars, Clock, Ctx, Minter, Permissions, Principal, Refused, SYSTEM_TENANT, Token,
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use telemetry::http::{Denied, denied};
use tonic_types::StatusExt as _;

use crate::Error;

/// How long an answer of the tenant service is believed, so that a revoked key is refused within 5 s.
const BELIEVED_MS: u64 = 4_000;
/// Credentials that are remembered, about 1 KiB each, and 1 KiB for each service that they called.
const REMEMBERED_MAX: usize = 100_000;
/// How long the gateway's own context is used again; shorter than its validity.
const OWN_REUSE_MS: u64 = 20_000;
/// Longest credential that is looked at.
const CREDENTIAL_BYTES_MAX: usize = 400;
/// Longest JWT that is looked at.
const JWT_BYTES_MAX: usize = 8 * 1024;
/// What [`rpc::header::BUSINESS`] was called before.
const BUSINESS_OLD: &str = "cargo-business";
/// The cookie of a session. Its prefix makes browsers take it over TLS only, from this host, for all paths.
pub(crate) const SESSION_COOKIE: &str = "__Host-cp_session";
/// What a call with the cookie must say when it changes something.
const CSRF: &str = "cp-csrf";
/// What is done in nobody's name.
const PUBLIC: [&str; 2] = ["public.accept", "public.sign_in"];

/// Checks credentials.
pub(crate) struct Credentials {
    tenants: TenantServiceClient<rpc::Transport>,
    minter: Arc<Minter>,
    clock: Clock,
    /// By SHA-256 of the credential, the address that it came from and the business that it asks for.
    known: Recent<[u8; 32], Arc<Known>>,
    own: rpc::Remembered<(), Token>,
    /// Who calls what needs no credential.
    nobody: rpc::Remembered<(), Arc<Known>>,
    access: Option<Arc<dyn AccessLog>>,
}

/// A credential that was checked.
pub(crate) struct Known {
    principal: Principal,
    bars: Bars,
    minter: Arc<Minter>,
    /// The signed context for each service that was called: a service takes none that is meant for another.
    contexts: Mutex<Vec<(&'static str, Token)>>,
    /// Believed until then, in Unix milliseconds.
    until_ms: u64,
}

impl Known {
    /// The tenant that its calls are counted for when tenants take turns.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        Some(self.principal.tenant).filter(|tenant| *tenant != SYSTEM_TENANT)
    }

    /// What its holder may do.
    pub(crate) fn permissions(&self) -> &Permissions {
        &self.principal.permissions
    }

    /// What stands against some of its calls.
    pub(crate) fn bars(&self) -> Bars {
        self.bars
    }

    /// Whether it is believed for calls with this rule: a user who proves himself again goes on at once.
    fn serves(&self, rule: &'static MethodRule, now: u64) -> bool {
        let session = self.principal.actor.session.as_ref();
        let stale = rule.step_up && session.is_some_and(|session| session.proven_until_ms <= now);
        now < self.until_ms && !stale
    }

    fn new(principal: Principal, bars: Bars, minter: &Arc<Minter>, until_ms: u64) -> Known {
        Known { principal, bars, minter: Arc::clone(minter), contexts: Mutex::default(), until_ms }
    }

    /// The signed context for the service that answers to this rule, for the header [`rpc::header::CONTEXT`].
    pub(crate) fn context(&self, rule: &'static MethodRule) -> HeaderValue {
        let mut contexts = self.contexts.lock();
        if let Some((_, token)) = contexts.iter().find(|(service, _)| *service == rule.service) {
            return token.header();
        }
        let token = self.minter.mint_barred(&self.principal, self.bars, &rule.service);
        let header = token.header();
        contexts.push((&rule.service, token));
        header
    }
}

impl Credentials {
    pub(crate) fn new(
        transport: rpc::Transport,
        minter: Arc<Minter>,
        clock: Clock,
        access: Option<Arc<dyn AccessLog>>,
    ) -> Self {
        Credentials {
            tenants: TenantServiceClient::new(transport),
            own: rpc::Remembered::new(1, OWN_REUSE_MS, Arc::clone(&clock)),
            nobody: rpc::Remembered::new(1, OWN_REUSE_MS, Arc::clone(&clock)),
            access,
            minter,
            clock,
            known: Recent::new(REMEMBERED_MAX),
        }
    }

    /// Finds out who sends a request from a browser or a program: with a key or the token of a session, or with the
    /// cookie of a session. With the cookie, what may change something must name the session's CSRF token too: a
    /// browser sends cookies whatever page makes it call.
    ///
    /// # Errors
    /// As [`Credentials::check`], and [`Error::CsrfTokenInvalid`].
    pub(crate) async fn check_http(
        &self,
        peer: IpAddr,
        method: &Method,
        headers: &HeaderMap,
        rule: &'static MethodRule,
    ) -> Result<Arc<Known>, Error> {
        let cookie = cookie(headers).filter(|_| !headers.contains_key(header::AUTHORIZATION));
        let Some(session) = cookie else { return self.check(peer, headers, rule).await };
        let known = self.check_credential(session, peer, headers, rule).await?;
        let expected = rpc::csrf_token(session);
        let given = headers.get(CSRF).map(HeaderValue::as_bytes).unwrap_or_default();
        let genuine: bool = expected.as_bytes().ct_eq(given).into();
        match genuine || [Method::GET, Method::HEAD].contains(method) {
            true => Ok(known),
            false => Err(Error::CsrfTokenInvalid),
        }
    }

    /// The context of a call that needs no credential.
    pub(crate) fn nobody(&self) -> Arc<Known> {
        self.nobody.get(&()).unwrap_or_else(|| {
            let permissions = Permissions::parse(PUBLIC).unwrap_or_default();
            let principal = Principal::platform("gateway", permissions);
            let known = Arc::new(Known::new(principal, Bars::default(), &self.minter, u64::MAX));
            self.nobody.insert((), Arc::clone(&known));
            known
        })
    }

    /// Finds out who sends a request with these headers, and for which business. The rule is that of the method
    /// called.
    ///
    /// # Errors
    /// [`Refused::Unauthenticated`] for no credential and for one that is not valid, in the same words;
    /// [`Error::MalformedBusiness`] for what names no business, [`Error::UnknownBusiness`] for one that is neither
    /// that of the credential nor below it.
    pub(crate) async fn check(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        rule: &'static MethodRule,
    ) -> Result<Arc<Known>, Error> {
        let Some(credential) = bearer(headers) else {
            denied(Denied::Credential);
            return Err(Refused::Unauthenticated.into());
        };
        self.check_credential(credential, peer, headers, rule).await
    }

    async fn check_credential(
        &self,
        credential: &str,
        peer: IpAddr,
        headers: &HeaderMap,
        rule: &'static MethodRule,
    ) -> Result<Arc<Known>, Error> {
        let (business, malformed) = match business(headers) {
            Ok(business) => (business, None),
            Err(malformed) => (None, Some(malformed)),
        };
        let key = hash(credential, peer, business);
        let now = (self.clock)();
        let known = match self.known.get(&key).filter(|known| known.serves(rule, now)) {
            Some(known) => known,
            None => {
                let known = match self.ask(credential, peer, business, now).await {
                    Err(Error::UnknownBusiness) => {
                        denied(Denied::Business);
                        self.note_unknown_business(credential, peer, rule, now).await;
                        return Err(Error::UnknownBusiness);
                    }
                    Err(Error::Refused(refused)) => {
                        denied(Denied::Credential);
                        return Err(refused.into());
                    }
                    answered => Arc::new(answered?),
                };
                self.known.insert(key, Arc::clone(&known));
                known
            }
        };
        // Who asks comes before what is asked for.
        malformed.map_or(Ok(known), Err)
    }

    /// Has written down that a call names a business that its credential does not reach, as the services do with what
    /// they do not find. It is refused whether or not that could be.
    async fn note_unknown_business(
        &self,
        credential: &str,
        peer: IpAddr,
        rule: &'static MethodRule,
        now: u64,
    ) {
        let Some(log) = &self.access else { return };
        if let Ok(known) = self.ask(credential, peer, None, now).await {
            let ctx = Ctx::internal(known.principal);
            log.record(&ctx, &rule.path, &rule.permission, Access::UnknownId).await;
        }
    }

    async fn ask(
        &self,
        credential: &str,
        peer: IpAddr,
        business: Option<BusinessId>,
        now: u64,
    ) -> Result<Known, Error> {
        let own = self.own.get(&()).unwrap_or_else(|| {
            let permissions = Permissions::parse(["internal.gateway"]).unwrap_or_default();
            let own = self.minter.mint(&Principal::platform("gateway", permissions), "tenant");
            self.own.insert((), own.clone());
            own
        });
        let question = AuthenticateRequest {
            credential: credential.to_owned(),
            peer_ip: peer.to_string(),
            business_id: business.map(|id| id.to_string()).unwrap_or_default(),
        };
        let answer = self.tenants.clone().authenticate(rpc::with_token(&own, question)).await;
        let answer = answer.map_err(|status| match status.code() {
            tonic::Code::Unauthenticated => Refused::Unauthenticated.into(),
            tonic::Code::NotFound => Error::UnknownBusiness,
            tonic::Code::FailedPrecondition if reason(&status) == "TENANT_KEY_DESTROYED" => {
                Error::KeyDestroyed
            }
            tonic::Code::Unavailable if reason(&status) == "TENANT_KEY_MISSING" => Error::KeyMissing,
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded => Error::Unreachable,
            code => {
                tracing::error!(%code, "the tenant service cannot check a credential: {}", status.message());
                Error::Internal
            }
        })?;
        let answer = answer.into_inner();
        let expires_ms = answer.expires_at.as_ref().map(unix_ms);
        let bars = Bars::parse(&answer.bars).ok_or(Error::Internal)?;
        let principal = Principal::try_from(answer)?;
        let believed = now.saturating_add(BELIEVED_MS);
        let until_ms = expires_ms.map_or(believed, |expires| expires.min(believed));
        if until_ms <= now {
            return Err(Refused::Unauthenticated.into());
        }
        Ok(Known::new(principal, bars, &self.minter, until_ms))
    }
}

/// Why a service refused.
fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().map_or_else(String::new, |info| info.reason)
}

/// The credential of `Authorization: Bearer …`, if there is exactly one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let (scheme, credential) = value.to_str().ok()?.split_once(' ')?;
    let credential = credential.trim();
    // Only a JWT has dots, and only it may be long.
    let most = if credential.contains('.') { JWT_BYTES_MAX } else { CREDENTIAL_BYTES_MAX };
    let fits = (1..=most).contains(&credential.len());
    (scheme.eq_ignore_ascii_case("bearer") && fits).then_some(credential)
}

/// The token in the cookie of a session, if there is exactly one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lists = headers.get_all(header::COOKIE).iter().filter_map(|list| list.to_str().ok());
    let pairs = lists.flat_map(|list| list.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut given = pairs.filter(|(name, _)| *name == SESSION_COOKIE).map(|(_, value)| value);
    let (Some(token), None) = (given.next(), given.next()) else { return None };
    // Keys come as bearer tokens only.
    (token.starts_with("cp_ses_") && token.len() <= CREDENTIAL_BYTES_MAX).then_some(token)
}

/// The business that the request wants to work in, if it says so; once, or several times the same.
fn business(headers: &HeaderMap) -> Result<Option<BusinessId>, Error> {
    let mut given = headers.get_all(rpc::header::BUSINESS).iter().chain(headers.get_all(BUSINESS_OLD));
    let Some(first) = given.next() else { return Ok(None) };
    if given.any(|other| other != first) {
        return Err(Error::MalformedBusiness(ids::ParseError::Malformed));
    }
    let text = first.to_str().unwrap_or_default();
    BusinessId::parse(text).map(Some).map_err(Error::MalformedBusiness)
}

/// A key may be bound to networks, and what a credential may do depends on the business, so both are part of
/// the question.
fn hash(credential: &str, peer: IpAddr, business: Option<BusinessId>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    match peer {
        IpAddr::V4(ip) => hasher.update(ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => hasher.update(ip.octets()),
    }
    // A credential has no fixed length, and comes last.
    match business {
        None => hasher.update([0]),
        Some(business) => hasher.update([&[1], business.as_bytes().as_slice()].concat()),
    }
    hasher.update(credential.as_bytes());
    hasher.finalize().into()
}

/// What lies before 1970 is over.
fn unix_ms(at: &prost_types::Timestamp) -> u64 {
    let ms = at.seconds.saturating_mul(1_000).saturating_add(i64::from(at.nanos) / 1_000_000);
    u64::try_from(ms).unwrap_or(0)
}
