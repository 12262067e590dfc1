//! Signs a user in with an identity provider: authorization code, PKCE, ID token.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use calendar::Instant;
use http::HeaderValue;
use ids::{ProviderId, TenantId, UserId};
use journal::{Claim, Meta, Rejection, Request};
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512};

use super::login_token::{LoginToken, redirect_digest};
use super::secret;
use crate::app::App;
use crate::app::identity::{SignedIn, actor};
use crate::domain::jwt::{Algorithm, Claims, Unverified};
use crate::domain::{Link, NewUser, PeopleCommand, Provider, Session, User, UserStatus, provider};
use crate::{Error, records};

/// How far the clock of an issuer may be off.
pub(super) const CLOCK_SECONDS_MAX: i64 = 30;
/// Longest subject, in bytes. Source: OpenID Connect Core 1.0, section 2.
const SUBJECT_BYTES_MAX: usize = 255;
/// How long a code may take to be redeemed, and how much an answer may hold, is bounded by the client.
const SCOPE: &str = "openid email";

/// Who begins a login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartLogin {
    /// Slug of the tenant.
    pub tenant: String,
    /// The provider.
    pub provider: ProviderId,
    /// Where to be sent back to.
    pub redirect_uri: String,
    /// Whether the issuer shall ask who sits there, although it knows.
    pub prove: bool,
}

/// A login that was begun.
#[derive(Clone, PartialEq, Eq)]
pub struct Started {
    /// Where to send the browser.
    pub authorization_url: String,
    /// What finishes it.
    pub login_token: String,
    /// When it is too late.
    pub expires_at: Instant,
}

/// Who comes back.
#[derive(Clone, PartialEq, Eq)]
pub struct FinishLogin {
    /// What [`Started`] said.
    pub login_token: String,
    /// From the redirect.
    pub code: String,
    /// From the redirect.
    pub state: String,
}

/// RFC 6749, section 5.1, as far as it is read.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

impl App {
    /// Begins a login. Nothing is stored.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] for what is unknown or not enabled, [`Error::IssuerUnavailable`], or the journal.
    pub async fn start_login(&self, ask: StartLogin) -> Result<Started, Error> {
        let tenant = self.tenant_called(&ask.tenant).await?.ok_or(Error::InvalidCredentials)?;
        let provider = self.enabled_provider(tenant, ask.provider).await?;
        if !provider.is.redirect_uris.contains(&ask.redirect_uri) {
            return Err(Error::InvalidCredentials);
        }
        let (now, pepper) = (self.env.now(), &self.config.pepper);
        let metadata = self.issuers.metadata(&provider.is.issuer, now).await?;
        let token = LoginToken {
            tenant,
            provider: ask.provider,
            begun_at: now,
            redirect: redirect_digest(&ask.redirect_uri),
            random: self.random(),
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(token.verifier(pepper)));
        let (state, nonce) = (token.state(pepper), token.nonce(pepper));
        let mut query = vec![
            ("response_type", "code"),
            ("client_id", &provider.is.client_id),
            ("redirect_uri", &ask.redirect_uri),
            ("scope", SCOPE),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        if ask.prove {
            query.extend([("prompt", "login"), ("max_age", "0")]);
        }
        let endpoint = &metadata.authorization_endpoint;
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        Ok(Started {
            authorization_url: format!("{endpoint}{separator}{}", form(&query)),
            login_token: token.reveal(pepper),
            expires_at: token.expires_at(),
        })
    }

    /// Finishes a login: begins a session of the user that the provider vouches for.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], whatever is wrong; [`Error::IssuerUnavailable`]; [`Error::Busy`] while several
    /// logins of the tenant are being finished; [`Error::TooManyOwners`]; or the journal.
    pub async fn finish_login(&self, ask: FinishLogin, meta: Meta) -> Result<SignedIn, Error> {
        let (now, pepper) = (self.env.now(), self.config.pepper);
        let token = LoginToken::open(&ask.login_token, &pepper, now).ok_or(Error::InvalidCredentials)?;
        if ask.state != token.state(&pepper) {
            return Err(Error::InvalidCredentials);
        }
        let provider = self.enabled_provider(token.tenant, token.provider).await?;
        let claims = self.redeem(&token, &provider, &ask.code, now).await?;
        let subject = subject(&claims)?;
        let user = self.vouched(token.tenant, &provider, subject, &claims, now).await?;
        let user = self.linked(token.tenant, user, &provider, subject, &meta).await?;

        let proven_at = proven_at(&claims, now);
        let session = token.session(&pepper);
        let meta = Meta { actor: actor(&user), ..meta };
        match self.begin_session(token.tenant, &user, session, now, proven_at, meta).await {
            // It was finished before.
            Err(Error::AlreadyExists) => Err(Error::InvalidCredentials),
            other => other,
        }
    }

    async fn enabled_provider(&self, tenant: TenantId, id: ProviderId) -> Result<Provider, Error> {
        match self.provider(tenant, id).await {
            Ok(provider) if provider.enabled => Ok(provider),
            Ok(_) | Err(Error::NotFound { .. }) => Err(Error::InvalidCredentials),
            Err(other) => Err(other),
        }
    }

    /// Exchanges a code for an ID token, and checks that.
    async fn redeem(
        &self,
        token: &LoginToken,
        provider: &Provider,
        code: &str,
        now: Instant,
    ) -> Result<Claims, Error> {
        let _place = self.issuers.redeem(token.tenant)?;
        let (is, pepper) = (&provider.is, &self.config.pepper);
        let redirect_uri = is.redirect_uris.iter().find(|uri| redirect_digest(uri) == token.redirect);
        let redirect_uri = redirect_uri.ok_or(Error::InvalidCredentials)?;
        let metadata = self.issuers.metadata(&is.issuer, now).await?;
        let verifier = token.verifier(pepper);
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &verifier),
        ];
        let client_secret = secret::open(pepper, token.tenant, is.id, &is.secret);
        let client_secret = client_secret.ok_or(Error::InvalidCredentials)?;
        let authorization = match client_secret.is_empty() {
            true => {
                fields.push(("client_id", &is.client_id));
                None
            }
            false => Some(basic(&is.client_id, &client_secret)?),
        };
        let (status, body) =
            self.issuers.post(&metadata.token_endpoint, form(&fields), authorization).await?;
        match status {
            200 => {}
            500.. => return Err(Error::IssuerUnavailable),
            _ => return Err(Error::InvalidCredentials),
        }
        let tokens: Tokens = serde_json::from_slice(&body).map_err(|_| Error::InvalidCredentials)?;
        let id_token = Unverified::parse(&tokens.id_token).ok_or(Error::InvalidCredentials)?;
        let algorithm = id_token.algorithm;
        if id_token.kind.as_ref().is_some_and(|kind| kind != "jwt") {
            return Err(Error::InvalidCredentials);
        }
        let claims = self.issuers.check(provider, id_token, now).await?;
        let client = is.client_id.as_str();
        let audiences = claims.audiences();
        let named = claims.text("azp");
        let for_us = audiences.contains(&client)
            && named.is_none_or(|azp| azp == client)
            && (audiences.len() == 1 || named.is_some());
        let right = for_us
            && is_current(&claims, &is.issuer, now)
            && claims.seconds("iat").is_some()
            && claims.text("nonce") == Some(token.nonce(pepper).as_str())
            && at_hash_fits(&claims, algorithm, tokens.access_token.as_deref());
        if right { Ok(claims) } else { Err(Error::InvalidCredentials) }
    }

    /// The user that the provider has vouched for: known by its link, or found by an email address.
    async fn vouched(
        &self,
        tenant: TenantId,
        provider: &Provider,
        subject: &str,
        claims: &Claims,
        now: Instant,
    ) -> Result<User, Error> {
        let user = match self.user_linked(tenant, &provider.is.issuer, subject).await? {
            Some(user) => Some(user),
            None if provider.is.link_by_email && claims.is_true("email_verified") => {
                let email = claims.text("email").unwrap_or_default().to_ascii_lowercase();
                match (1..=NewUser::EMAIL_BYTES_MAX).contains(&email.len()) {
                    true => self.user_with(tenant, records::EMAIL, email.into_bytes()).await?,
                    false => None,
                }
            }
            None => None,
        };
        user.filter(|user| user.may_come_in(now)).ok_or(Error::InvalidCredentials)
    }

    /// The user that an issuer means by a subject.
    pub(super) async fn user_linked(
        &self,
        tenant: TenantId,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<User>, Error> {
        let link = provider::link(issuer, subject);
        let user = self.user_with(tenant, records::LINK, link.to_vec()).await?;
        // A user who was invited anew is whom the claim names, and not linked any more.
        Ok(user.filter(|user| user.links.iter().any(|known| known.subject == link)))
    }

    async fn user_with(&self, tenant: TenantId, kind: u16, value: Vec<u8>) -> Result<Option<User>, Error> {
        let claim = Claim { kind, value: value.into() };
        let owner = self.people.store().claim(tenant, claim).await.map_err(journal::Error::from)?;
        match owner {
            Some(owner) => self.user_of(tenant, UserId::from_bytes(*owner.as_bytes())).await,
            None => Ok(None),
        }
    }

    /// Notes the link of a user, and that one who was invited has come.
    async fn linked(
        &self,
        tenant: TenantId,
        user: User,
        provider: &Provider,
        subject: &str,
        meta: &Meta,
    ) -> Result<User, Error> {
        let issuer = provider.is.issuer.as_str();
        let link = Link { issuer: Sha256::digest(issuer).into(), subject: provider::link(issuer, subject) };
        if user.is_linked(&link)? && user.status == UserStatus::Active {
            return Ok(user);
        }
        let (id, role) = (user.profile.id, user.profile.role);
        let command = PeopleCommand::Link { provider: provider.is.id, link, role };
        let own = || Meta {
            actor: actor(&user),
            request_id: meta.request_id.clone(),
            trace: meta.trace,
            ..self.internal_meta("link")
        };
        if user.status == UserStatus::Invited && user.runs(role, self.master(tenant).await?) {
            return self.submit_with_owners(tenant, id, [command, PeopleCommand::AddOwner(id)], own()).await;
        }
        let scope = journal::Scope { tenant, aggregate: id.into() };
        match self.people.submit(scope, Request { command, meta: own() }).await {
            Ok(_) => self.user_of(tenant, id).await?.ok_or(Error::InvalidCredentials),
            // Another user was linked at this moment.
            Err(Rejection::Claimed { .. }) => Err(Error::InvalidCredentials),
            Err(other) => Err(other.into()),
        }
    }
}

/// Whether claims are of this issuer and of this moment.
pub(super) fn is_current(claims: &Claims, issuer: &str, now: Instant) -> bool {
    let now = now.unix_micros().div_euclid(1_000_000);
    let begun = |name: &str| match claims.has(name) {
        true => claims.seconds(name).is_some_and(|at| at <= now.saturating_add(CLOCK_SECONDS_MAX)),
        false => true,
    };
    claims.text("iss") == Some(issuer)
        && claims.seconds("exp").is_some_and(|end| now < end.saturating_add(CLOCK_SECONDS_MAX))
        && begun("nbf")
        && begun("iat")
}

/// Whom the issuer means.
pub(super) fn subject(claims: &Claims) -> Result<&str, Error> {
    let subject = claims.text("sub").filter(|subject| subject.len() <= SUBJECT_BYTES_MAX);
    subject.ok_or(Error::InvalidCredentials)
}

/// When the issuer has seen who sits there, if it says so and it was just now; else a moment that proves nothing.
fn proven_at(claims: &Claims, now: Instant) -> Instant {
    let never = now.plus_seconds(-Session::PROOF_SECONDS);
    let at = claims.seconds("auth_time").and_then(|at| Instant::from_seconds_nanos(at, 0));
    at.filter(|at| never < *at && *at <= now.plus_seconds(CLOCK_SECONDS_MAX)).map_or(never, |at| at.min(now))
}

/// OpenID Connect Core 1.0, 3.1.3.8: an access token that comes along is the one that is meant.
fn at_hash_fits(claims: &Claims, algorithm: Algorithm, access_token: Option<&str>) -> bool {
    if !claims.has("at_hash") {
        return true;
    }
    let Some(token) = access_token else { return false };
    let hash = match algorithm {
        Algorithm::EdDsa => Sha512::digest(token).to_vec(),
        Algorithm::Rs256 | Algorithm::Es256 => Sha256::digest(token).to_vec(),
    };
    claims.text("at_hash") == Some(URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2]).as_str())
}

/// RFC 6749, 2.3.1: both are encoded as in forms before they are put together.
fn basic(client: &str, secret: &str) -> Result<HeaderValue, Error> {
    let credentials = STANDARD.encode(format!("{}:{}", encoded(client), encoded(secret)));
    let value = HeaderValue::try_from(format!("Basic {credentials}"));
    let mut value = value.map_err(|_| Error::InvalidCredentials)?;
    value.set_sensitive(true);
    Ok(value)
}

fn form(fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    fields.collect::<Vec<_>>().join("&")
}

/// As in URLs: what is no letter, digit or one of `-._~` as `%2F`.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
