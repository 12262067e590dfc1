//! Turns a credential into a principal.

use std::net::IpAddr;
use std::sync::Arc;

use calendar::Instant;
use ids::{BusinessId, TenantId};
use journal::Claim;
use rpc::{Actor, ActorKind, Bars, Principal, SYSTEM_TENANT};

use crate::app::App;
use crate::app::operator::is_operators;
use crate::domain::{Credential, Opaque, Role, State};
use crate::{Error, records};

/// A credential, and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// The key; `None` for what cannot be one.
    pub credential: Option<Credential>,
    /// The token of a session; `None` for what cannot be one.
    pub session: Option<Opaque>,
    /// An access token of an identity provider; `None` for what cannot be one.
    pub jwt: Option<String>,
    /// Address of the client.
    pub peer: Option<IpAddr>,
    /// The business to work in; `None` is the credential's own.
    pub business: Option<BusinessId>,
}

/// What a credential stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authenticated {
    /// The principal.
    pub principal: Principal,
    /// The role of its key or user.
    pub role: Role,
    /// What stands against some of its calls.
    pub bars: Bars,
    /// When its secret or session ends.
    pub expires_at: Option<Instant>,
}

impl App {
    /// Finds who a credential belongs to. The same answer for one that is unknown, has a wrong secret,
    /// is expired, revoked, or comes from another network.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], [`Error::NotFound`] for a business that is neither the credential's own
    /// nor below it, or the journal.
    pub async fn authenticate(&self, login: Login) -> Result<Authenticated, Error> {
        if let Some(token) = &login.session {
            return self.authenticate_session(token, login.business).await;
        }
        if let Some(token) = &login.jwt {
            return self.authenticate_jwt(token, login.business).await;
        }
        let credential = login.credential.ok_or(Error::InvalidCredentials)?;
        let tenant = self.tenant_of(&credential).await?;
        let State::ApiKey(key) = self.state(tenant, credential.id).await? else {
            return Err(Error::InvalidCredentials);
        };
        let (digest, now) = (credential.digest(&self.config.pepper), self.env.now());
        if !key.admits(&digest, login.peer, now) {
            return Err(Error::InvalidCredentials);
        }
        let Some(permissions) = self.effective(tenant, &key, now).await? else {
            return Err(Error::InvalidCredentials);
        };
        let State::Tenant(owner) = self.state(tenant, tenant).await? else {
            return Err(Error::InvalidCredentials);
        };
        self.note_use(tenant, &key, login.peer, now);
        let expires_at = key.ends_at(&digest);
        let issued = key.issued;
        let Some(own) = issued.business() else { return Err(Error::InvalidCredentials) };
        let (path, bars) = self.place(tenant, own, login.business, !is_operators(&issued.created_by)).await?;
        let business = path.last().copied().unwrap_or(own);
        let actor = Actor::new(ActorKind::ApiKey, issued.id.to_string());
        let permissions = self.held(tenant, &actor, permissions, own, business, self.env.now()).await?;
        let principal = Principal { tenant, business, path, actor, permissions, secret: owner.secret };
        Ok(Authenticated { principal, bars, role: issued.role, expires_at })
    }

    /// Where a credential of the business `own` works when it asks for `wanted`: the path down to there, and what
    /// stands against calls. `is_api` is for keys, which the plan must include.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a business that is neither its own nor below it, or the journal.
    pub(super) async fn place(
        &self,
        tenant: TenantId,
        own: BusinessId,
        wanted: Option<BusinessId>,
        is_api: bool,
    ) -> Result<(Arc<[BusinessId]>, Bars), Error> {
        let business = wanted.unwrap_or(own);
        let tree = self.tree(tenant).await?;
        let path = tree.path(business).filter(|path| path.contains(&own));
        let path = path.ok_or(Error::NotFound { what: "business" })?;
        let bars = self.bars(tenant, &tree, business, is_api).await?;
        Ok((path, bars))
    }

    /// The tenant that a key was noted for.
    async fn tenant_of(&self, credential: &Credential) -> Result<TenantId, Error> {
        let claim = Claim { kind: records::KEY, value: credential.id.as_bytes().to_vec().into() };
        let owner = self.journal.store().claim(SYSTEM_TENANT, claim).await.map_err(journal::Error::from)?;
        owner.map(|owner| TenantId::from_bytes(*owner.as_bytes())).ok_or(Error::InvalidCredentials)
    }
}
