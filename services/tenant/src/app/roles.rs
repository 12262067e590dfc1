//! Roles: those of every tenant, and those that a tenant makes.

use bytes::Bytes;
use calendar::Instant;
use ids::{RoleId, TenantId};
use journal::{Aggregate as _, Meta, Request, Scope};
use rpc::{Ctx, PageToken, Permissions};

use crate::app::{App, Page};
use crate::domain::{Access, AccessCommand, CustomRole, NewRole, Role, RoleUpdate, State};
use crate::{Error, records};

/// A role, whoever made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnyRole {
    /// Every tenant has it.
    System(Role),
    /// The tenant made it.
    Custom(CustomRole),
}

impl AnyRole {
    /// Its id in a tenant, which follows from its code.
    pub fn id(&self, tenant: TenantId) -> RoleId {
        records::role_id(tenant, self.code())
    }

    /// What it is called in requests.
    pub fn code(&self) -> &str {
        match self {
            AnyRole::System(role) => role.code(),
            AnyRole::Custom(role) => &role.code,
        }
    }

    /// What it may do.
    pub fn permissions(&self) -> Permissions {
        match self {
            AnyRole::System(role) => role.permissions(),
            AnyRole::Custom(role) => role.permissions(),
        }
    }

    fn system(tenant: TenantId, id: RoleId) -> Option<Role> {
        Role::ALL.into_iter().find(|role| records::role_id(tenant, role.code()) == id)
    }
}

impl App {
    /// Finds a role of the tenant.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn role(&self, tenant: TenantId, id: RoleId) -> Result<AnyRole, Error> {
        if let Some(role) = AnyRole::system(tenant, id) {
            return Ok(AnyRole::System(role));
        }
        match self.access_state(tenant, id).await? {
            Access::Role(role) => Ok(AnyRole::Custom(role)),
            _ => Err(Error::NotFound { what: "role" }),
        }
    }

    /// Lists the roles: those of every tenant first, then those of this one by their codes.
    ///
    /// # Errors
    /// A page token that does not belong here, or the journal.
    pub async fn roles(&self, ctx: &Ctx, size: usize, token: &str) -> Result<Page<AnyRole>, Error> {
        const LIST: &str = "roles";
        let position = PageToken::open(ctx, LIST, token)?;
        // The code after which it goes on; one that a tenant made never is one of every tenant.
        let after = position.as_deref().map(String::from_utf8_lossy);
        let system = match after.as_deref().map(Role::parse) {
            None => &Role::ALL[..],
            Some(Some(last)) => {
                &Role::ALL[Role::ALL.iter().position(|role| *role == last).map_or(0, |at| at + 1)..]
            }
            Some(None) => &[],
        };
        let mut items: Vec<AnyRole> = system.iter().copied().map(AnyRole::System).take(size + 1).collect();
        let after = after.filter(|code| Role::parse(code).is_none());
        let after = after.map(|code| {
            (Bytes::copy_from_slice(code.as_bytes()), records::role_id(ctx.tenant, &code).into())
        });
        let wanted = (size + 1).saturating_sub(items.len());
        if 0 < wanted {
            let store = self.access.store();
            let rows = store.index(ctx.tenant, records::ROLES, Bytes::new(), after, wanted).await;
            for row in rows.map_err(journal::Error::from)? {
                if let Access::Role(role) = Access::from_header(&row.value).map_err(journal::Error::from)? {
                    items.push(AnyRole::Custom(role));
                }
            }
        }
        let more = size < items.len();
        items.truncate(size);
        let next = match items.last().filter(|_| more) {
            Some(last) => PageToken::seal(ctx, LIST, last.code().as_bytes()),
            None => String::new(),
        };
        Ok(Page { items, next })
    }

    /// Makes a role of the tenant. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::GrantEscalation`] for what the caller may not, [`Error::AlreadyExists`], or the journal.
    pub async fn create_role(
        &self,
        ctx: &Ctx,
        new: NewRole,
        meta: Meta,
    ) -> Result<(CustomRole, bool), Error> {
        self.may_define(ctx, &new.members).await?;
        let id = records::role_id(ctx.tenant, &new.code);
        self.change_role(ctx, id, AccessCommand::CreateRole(new), meta).await
    }

    /// Changes a role of the tenant. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::SystemRole`], [`Error::GrantEscalation`] for what the caller may not, [`Error::NotFound`],
    /// [`Error::StaleRevision`], or the journal.
    pub async fn update_role(
        &self,
        ctx: &Ctx,
        id: RoleId,
        update: RoleUpdate,
        meta: Meta,
    ) -> Result<(CustomRole, bool), Error> {
        match self.role(ctx.tenant, id).await? {
            AnyRole::System(role) => return Err(Error::SystemRole { code: role.code() }),
            AnyRole::Custom(_) => self.may_define(ctx, update.members.as_deref().unwrap_or_default()).await?,
        }
        self.change_role(ctx, id, AccessCommand::UpdateRole(update), meta).await
    }

    async fn change_role(
        &self,
        ctx: &Ctx,
        id: RoleId,
        command: AccessCommand,
        meta: Meta,
    ) -> Result<(CustomRole, bool), Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: id.into() };
        let answer = self.access.submit(scope, Request { command, meta }).await?;
        // The state right after this change: a repeated request gets the same answer as the first.
        match self.access.state_at(scope, answer.seq).await?.state {
            Access::Role(role) => Ok((role, answer.replayed)),
            _ => Err(Error::NotFound { what: "role" }),
        }
    }

    /// Decides whether the caller may put `members` into a role: whoever has the role assigned, anywhere in the
    /// tenant and for ever, gets them. So it takes somebody who has them in the master business, for as long.
    async fn may_define(&self, ctx: &Ctx, members: &[String]) -> Result<(), Error> {
        let escalation = |field| Err(Error::GrantEscalation { field });
        let State::Tenant(tenant) = self.state(ctx.tenant, ctx.tenant).await? else {
            return Err(Error::NotFound { what: "tenant" });
        };
        if tenant.master != ctx.business {
            return escalation("business_id");
        }
        let wanted = Permissions::parse(members).unwrap_or_default();
        let held = self.lasting(ctx, &[tenant.master], true, None).await?;
        if !ctx.permissions.covers(&wanted) || !held.covers(&wanted) {
            return escalation("permissions");
        }
        Ok(())
    }
}

/// Whether what lasts until `end` lasts at least until `wanted`; `None` is for ever.
pub(super) fn outlasts(end: Option<Instant>, wanted: Option<Instant>) -> bool {
    end.is_none_or(|end| wanted.is_some_and(|wanted| wanted <= end))
}
