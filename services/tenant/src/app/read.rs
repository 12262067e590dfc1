//! Reads one thing.

use std::sync::Arc;

use ids::{ApiKeyId, BusinessId, UserId};
use rpc::{ActorKind, Ctx, Refused};

use crate::Error;
use crate::app::App;
use crate::domain::{ApiKey, Placed, Role, State, Tenant};

/// The role behind the caller's key or user; `None` for the platform itself.
pub type CallerRole = Option<Role>;

/// Whether the caller sees what belongs to the business at the end of `path`: it is the caller's own, or lies
/// below and the caller may look down (HIE-10).
pub(super) fn sees(ctx: &Ctx, path: Option<Arc<[BusinessId]>>) -> bool {
    let Some(path) = path else { return false };
    path.last() == Some(&ctx.business)
        || path.contains(&ctx.business) && ctx.permissions.allows("descendants.read")
}

/// Decides whether the caller may change what belongs to `business`, which the caller sees: its own, or one below
/// with `descendants.write` (HIE-10).
///
/// # Errors
/// [`Refused::PermissionDenied`].
pub(super) fn may_write(ctx: &Ctx, business: BusinessId) -> Result<(), Error> {
    if business == ctx.business || ctx.permissions.allows("descendants.write") {
        return Ok(());
    }
    Err(Refused::PermissionDenied { permission: "descendants.write" }.into())
}

impl App {
    /// Reads the caller's tenant.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn tenant(&self, ctx: &Ctx) -> Result<Tenant, Error> {
        match self.state(ctx.tenant, ctx.tenant).await? {
            State::Tenant(tenant) => Ok(tenant),
            _ => Err(Error::NotFound { what: "tenant" }),
        }
    }

    /// Reads a business that the caller may see: its own, and those below with `descendants.read`.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn business(&self, ctx: &Ctx, id: BusinessId) -> Result<Placed, Error> {
        let tree = self.tree(ctx.tenant).await?;
        match self.state(ctx.tenant, id).await? {
            State::Business(business) if sees(ctx, tree.path(id)) => App::placed(&tree, business),
            _ => Err(Error::NotFound { what: "business" }),
        }
    }

    /// Reads a key of the caller's business, or of one below with `descendants.read`.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn api_key(&self, ctx: &Ctx, id: ApiKeyId) -> Result<ApiKey, Error> {
        let tree = self.tree(ctx.tenant).await?;
        match self.state(ctx.tenant, id).await? {
            State::ApiKey(key) if sees(ctx, tree.path_of(&key)) => Ok(key),
            _ => Err(Error::NotFound { what: "API key" }),
        }
    }

    /// Finds the role of the caller.
    ///
    /// # Errors
    /// The journal.
    pub async fn caller_role(&self, ctx: &Ctx) -> Result<CallerRole, Error> {
        if let (ActorKind::User, Ok(id)) = (ctx.actor.kind, UserId::parse(&ctx.actor.id)) {
            return Ok(self.user_of(ctx.tenant, id).await?.map(|user| user.profile.role));
        }
        Ok(self.own_key(ctx).await?.map(|key| key.issued.role))
    }
}
