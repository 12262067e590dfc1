//! Makes an API key.

use calendar::Instant;
use ids::{ApiKeyId, BusinessId};
use journal::{Meta, Request, Scope};
use problem::{Invalid, reason};
use rpc::{ActorKind, Ctx};

use crate::Error;
use crate::app::App;
use crate::app::read::may_write;
use crate::domain::{ApiKey, Command, Creator, Credential, Event, Network, NewKey, Role, State};

/// An API key to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateApiKey {
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Narrows the role; empty is all that the role may do. Each within the role.
    pub narrowed: Vec<String>,
    /// The business that it works in; `None` is the caller's.
    pub business: Option<BusinessId>,
    /// When it stops working; `None` is never.
    pub expires_at: Option<Instant>,
    /// Networks that may use it; empty is any.
    pub ip_allow: Vec<Network>,
}

/// A key, and for the only time its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatedKey {
    /// The key.
    pub key: ApiKey,
    /// With its secret.
    pub credential: Credential,
}

impl App {
    /// Makes an API key that can do no more than the caller.
    ///
    /// # Errors
    /// [`Error::PermissionEscalation`], [`Error::NotFound`] for a business out of sight, bad fields, or
    /// the journal.
    pub async fn create_api_key(
        &self,
        ctx: &Ctx,
        new: CreateApiKey,
        meta: Meta,
    ) -> Result<CreatedKey, Error> {
        if new.expires_at.is_some_and(|end| end <= self.env.now()) {
            let detail = "must be in the future";
            return Err(Invalid::field("api_key.expires_at", reason::OUT_OF_RANGE, detail).into());
        }
        let business = self.business(ctx, new.business.unwrap_or(ctx.business)).await?.business;
        may_write(ctx, business.id)?;
        let id = ApiKeyId::new(self.env.now().unix_ms(), self.random());
        let credential = Credential::new(id, self.random());
        let new = NewKey {
            id,
            name: new.name,
            role: new.role,
            narrowed: new.narrowed,
            path: business.path,
            digest: credential.digest(&self.config.pepper),
            last4: credential.last4(),
            expires_at: new.expires_at,
            ip_allow: new.ip_allow,
            created_by: ctx.actor.without_session(),
        };
        let own = self.own_key(ctx).await?;
        let creator = Creator { permissions: &ctx.permissions, business: ctx.business, key: own.as_ref() };
        new.may_be_made_by(creator)?;
        // What is assigned can be revoked; what was made with that would stay.
        let lasting = self.own(ctx).await?.permissions;
        new.may_be_made_by(Creator { permissions: &lasting, ..creator })?;
        self.check_chain(ctx.tenant, &new.created_by).await?;

        self.register_key(ctx.tenant, id).await?;
        let scope = Scope { tenant: ctx.tenant, aggregate: id.into() };
        let answer = self.journal.submit(scope, Request { command: Command::IssueKey(new), meta }).await?;
        match answer.events.into_iter().next().map(|posted| posted.event) {
            Some(Event::KeyIssued(key)) => Ok(CreatedKey { key, credential }),
            _ => Err(Error::AlreadyExists),
        }
    }

    /// The caller's own key, if the caller is one.
    pub(super) async fn own_key(&self, ctx: &Ctx) -> Result<Option<ApiKey>, Error> {
        let id = match ctx.actor.kind {
            ActorKind::ApiKey => ApiKeyId::parse(&ctx.actor.id).ok(),
            ActorKind::User | ActorKind::System => None,
        };
        let Some(id) = id else { return Ok(None) };
        match self.state(ctx.tenant, id).await? {
            State::ApiKey(key) => Ok(Some(key)),
            _ => Ok(None),
        }
    }
}
