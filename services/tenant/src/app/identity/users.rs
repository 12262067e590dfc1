//! Changes users.

use ids::{BusinessId, TenantId, UserId};
use journal::Meta;
use rpc::Ctx;

use crate::Error;
use crate::app::App;
use crate::app::read::may_write;
use crate::domain::{PeopleCommand, User, UserStatus, UserUpdate};

impl App {
    /// Changes a user that the caller may see, and that can do no more than the caller before and after. True if the
    /// answer is a stored one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::GrantEscalation`], [`Error::StaleRevision`], [`Error::LastOwner`],
    /// [`Error::TooManyOwners`], or the journal.
    pub async fn update_user(
        &self,
        ctx: &Ctx,
        id: UserId,
        mut update: UserUpdate,
        meta: Meta,
    ) -> Result<(User, bool), Error> {
        let user = self.user(ctx, id).await?;
        may_write(ctx, user.profile.business)?;
        self.may_make(ctx, user.profile.role, Some(&user)).await?;
        let role = update.role.unwrap_or(user.profile.role);
        self.may_make(ctx, role, None).await?;
        let (active, master) = (user.status == UserStatus::Active, self.master(ctx.tenant).await?);
        let list = match (user.runs(user.profile.role, master), user.runs(role, master)) {
            (true, false) if active => PeopleCommand::RemoveOwner(id),
            (false, true) if active => PeopleCommand::AddOwner(id),
            _ => return self.submit_user(ctx.tenant, id, PeopleCommand::Update(update), meta).await,
        };
        // A repeated request gets the answer of the first, and leaves the list as it is today.
        if self.people.find(ctx.tenant, meta.key).await?.is_some() {
            return self.submit_user(ctx.tenant, id, PeopleCommand::Update(update), meta).await;
        }
        // What was read here is what is changed, also for `If-Match: *`.
        update.expected = update.expected.or(Some(user.revision));
        let commands = [PeopleCommand::Update(update), list];
        Ok((self.submit_with_owners(ctx.tenant, id, commands, meta).await?, false))
    }

    /// Locks, lets in again or takes out a user that can do no more than the caller. Says how many keys do not work any
    /// more, see [`App::reassign_keys`].
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::GrantEscalation`], [`Error::IllegalTransition`], [`Error::LastOwner`],
    /// [`Error::TooManyOwners`], [`Error::StaleRevision`] when its role changes at this moment, or the journal.
    pub async fn turn_user(
        &self,
        ctx: &Ctx,
        id: UserId,
        to: UserStatus,
        meta: Meta,
    ) -> Result<(User, u32), Error> {
        let user = self.user(ctx, id).await?;
        may_write(ctx, user.profile.business)?;
        let role = user.profile.role;
        self.may_make(ctx, role, Some(&user)).await?;
        let turn = PeopleCommand::Turn { to, role };
        let list = match to {
            // Always, so that who becomes an owner at this moment is on the list no longer than in fact.
            UserStatus::Locked | UserStatus::Deactivated => PeopleCommand::RemoveOwner(id),
            _ if user.runs(role, self.master(ctx.tenant).await?) => PeopleCommand::AddOwner(id),
            _ => return Ok((self.submit_user(ctx.tenant, id, turn, meta).await?.0, 0)),
        };
        let out = matches!(to, UserStatus::Locked | UserStatus::Deactivated);
        let user = self.submit_with_owners(ctx.tenant, id, [turn, list], meta).await?;
        let counted = if out { self.count_keys_of(ctx.tenant, id).await } else { Ok(0) };
        // The user is out; that the keys cannot be counted is no failure of that.
        let stopped = counted.unwrap_or_else(|error| {
            tracing::warn!(user.id = %id, "the keys of who leaves cannot be counted: {error}");
            0
        });
        Ok((user, u32::try_from(stopped).unwrap_or(u32::MAX)))
    }

    /// The master business of a tenant.
    pub(in crate::app) async fn master(&self, tenant: TenantId) -> Result<BusinessId, Error> {
        self.tree(tenant).await?.master.ok_or(Error::NotFound { what: "tenant" })
    }
}
