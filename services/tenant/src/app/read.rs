//! Reads one thing.

use ids::{ApiKeyId, BusinessId};
use rpc::Ctx;

use crate::Error;
use crate::app::App;
use crate::domain::{ApiKey, Business, Role, State, Tenant};

/// The role behind the caller's key; `None` for what is no key.
pub type CallerRole = Option<Role>;

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

    /// Reads a business that the caller may see: its own and those below.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn business(&self, ctx: &Ctx, id: BusinessId) -> Result<Business, Error> {
        match self.state(ctx.tenant, id).await? {
            State::Business(business) if business.is_within(ctx.business) => Ok(business),
            _ => Err(Error::NotFound { what: "business" }),
        }
    }

    /// Reads a key of the caller's business or of one below.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn api_key(&self, ctx: &Ctx, id: ApiKeyId) -> Result<ApiKey, Error> {
        match self.state(ctx.tenant, id).await? {
            State::ApiKey(key) if key.is_within(ctx.business) => Ok(key),
            _ => Err(Error::NotFound { what: "API key" }),
        }
    }

    /// Finds the role of the caller.
    ///
    /// # Errors
    /// The journal.
    pub async fn caller_role(&self, ctx: &Ctx) -> Result<CallerRole, Error> {
        Ok(self.own_key(ctx).await?.map(|key| key.issued.role))
    }
}
