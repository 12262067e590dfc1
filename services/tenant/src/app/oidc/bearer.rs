//! Access tokens of identity providers (RFC 9068) as credentials.

use ids::{BusinessId, TenantId};
use rpc::{Actor, ActorKind, Principal};

use super::login::{is_current, subject};
use crate::Error;
use crate::app::{App, Authenticated};
use crate::domain::jwt::{Claims, Unverified};
use crate::domain::provider::{AUDIENCE, audience};
use crate::domain::{State, User};

impl App {
    /// Finds the user behind an access token. Its audience names the tenant, and only providers of that tenant are
    /// asked: what another tenant has registered changes nothing.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], whatever is wrong, also when its issuer does not answer; [`Error::NotFound`] for
    /// a business that is neither the user's nor below it; or the journal.
    pub(in crate::app) async fn authenticate_jwt(
        &self,
        token: &str,
        business: Option<BusinessId>,
    ) -> Result<Authenticated, Error> {
        let token = Unverified::parse(token).ok_or(Error::InvalidCredentials)?;
        if token.kind.as_deref() != Some("at+jwt") {
            return Err(Error::InvalidCredentials);
        }
        let issuer = token.issuer().ok_or(Error::InvalidCredentials)?.to_owned();
        let tenant = tenant_of(&token).ok_or(Error::InvalidCredentials)?;
        let now = self.env.now();
        let mut found = None;
        for provider in self.providers(tenant).await? {
            if !provider.enabled || !provider.is.bearer || provider.is.issuer != issuer {
                continue;
            }
            match self.issuers.check(&provider, token.clone(), now).await {
                Ok(claims) => {
                    found = Some(claims);
                    break;
                }
                Err(Error::InvalidCredentials | Error::IssuerUnavailable) => {}
                Err(other) => return Err(other),
            }
        }
        let claims = found.ok_or(Error::InvalidCredentials)?;
        if !is_current(&claims, &issuer, now) || !is_complete(&claims) {
            return Err(Error::InvalidCredentials);
        }
        let user = self.user_linked(tenant, &issuer, subject(&claims)?).await?;
        let user = user.ok_or(Error::InvalidCredentials)?;
        // What ended the sessions of a user ends what was issued before, too.
        let (from, _) = user.sessions_from.seconds_nanos();
        if claims.seconds("iat").is_none_or(|issued| issued < from) {
            return Err(Error::InvalidCredentials);
        }
        let permissions = user.permissions().ok_or(Error::InvalidCredentials)?;
        let State::Tenant(owner) = self.state(tenant, tenant).await? else {
            return Err(Error::InvalidCredentials);
        };
        // No session: nothing that needs a recent proof.
        let actor = Actor::new(ActorKind::User, user.profile.id.to_string());
        let home = user.profile.business;
        let (path, bars) = self.place(tenant, home, business, true).await?;
        let business = path.last().copied().unwrap_or(home);
        let permissions = self.held(tenant, &actor, permissions, home, business, now).await?;
        let permissions = permissions.union(&User::own_permissions());
        let principal = Principal { tenant, business, path, actor, permissions, secret: owner.secret };
        let end = claims.seconds("exp").and_then(|end| calendar::Instant::from_seconds_nanos(end, 0));
        let expires_at = Some(end.unwrap_or(now).max(now.plus_seconds(1)));
        Ok(Authenticated { principal, bars, role: user.profile.role, expires_at })
    }
}

/// The tenant that a token is for, if it is for exactly one.
fn tenant_of(token: &Unverified) -> Option<TenantId> {
    let mut ours = token.audiences().into_iter().filter(|one| one.starts_with(AUDIENCE));
    let (Some(one), None) = (ours.next(), ours.next()) else { return None };
    let tenant = TenantId::parse(&one[AUDIENCE.len()..]).ok()?;
    (audience(tenant) == one).then_some(tenant)
}

/// RFC 9068, 2.2: what an access token must say beside issuer, end, audience and subject.
fn is_complete(claims: &Claims) -> bool {
    claims.seconds("iat").is_some() && claims.text("jti").is_some() && claims.text("client_id").is_some()
}
