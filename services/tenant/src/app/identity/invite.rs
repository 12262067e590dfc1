//! Invites a person, and lets the invited in.

use ids::{BusinessId, TenantId, UserId};
use journal::{Meta, Request, Scope};
use rpc::{Actor, ActorKind, Ctx};

use super::{actor, taken};
use crate::Error;
use crate::app::App;
use crate::app::read::may_write;
use crate::domain::{Invitation, NewUser, Opaque, PeopleCommand, PeopleEvent, Purpose, Role, User};

/// A user to be invited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invite {
    /// In lower case.
    pub email: String,
    /// What people call it.
    pub name: String,
    /// BCP 47, or empty.
    pub locale: String,
    /// What it may do.
    pub role: Role,
    /// The business that it works in; `None` is the caller's.
    pub business: Option<BusinessId>,
}

/// A user, and for the only time what lets it in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invited {
    /// The user.
    pub user: User,
    /// Its invitation.
    pub token: Opaque,
}

impl App {
    /// Invites a user that can do no more than the caller.
    ///
    /// # Errors
    /// [`Error::EmailTaken`], [`Error::GrantEscalation`], [`Error::NotFound`] for a business out of sight, or the
    /// journal.
    pub async fn invite(&self, ctx: &Ctx, new: Invite, meta: Meta) -> Result<Invited, Error> {
        let business = self.business(ctx, new.business.unwrap_or(ctx.business)).await?.business.id;
        may_write(ctx, business)?;
        let id = UserId::new(self.env.now().unix_ms(), self.random());
        self.may_make(ctx, new.role, None).await?;
        let (token, invitation) = self.invitation(ctx.tenant, id);
        let Invite { email, name, locale, role, .. } = new;
        let new = NewUser { id, email, name, locale, role, business, invitation };

        let scope = Scope { tenant: ctx.tenant, aggregate: id.into() };
        let request = Request { command: PeopleCommand::Invite(new), meta };
        let answer = self.people.submit(scope, request).await.map_err(taken)?;
        match answer.events.into_iter().next().map(|posted| posted.event) {
            Some(PeopleEvent::Invited(user)) => Ok(Invited { user: *user, token }),
            _ => Err(Error::AlreadyExists),
        }
    }

    /// Invites a user again, whatever it is: who has lost the invitation, the password or what makes the codes, or
    /// comes back. Password, codes and sessions from before are void, and so are invitations.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::GrantEscalation`] for a user who can do more than the caller,
    /// [`Error::LastOwner`], or the journal.
    pub async fn reinvite(&self, ctx: &Ctx, id: UserId, meta: Meta) -> Result<Invited, Error> {
        let user = self.user(ctx, id).await?;
        may_write(ctx, user.profile.business)?;
        self.may_make(ctx, user.profile.role, Some(&user)).await?;
        let (token, invitation) = self.invitation(ctx.tenant, id);
        let commands = [PeopleCommand::Reinvite(invitation), PeopleCommand::RemoveOwner(id)];
        let user = self.submit_with_owners(ctx.tenant, id, commands, meta).await?;
        Ok(Invited { user, token })
    }

    fn invitation(&self, tenant: TenantId, user: UserId) -> (Opaque, Invitation) {
        let token = Opaque::new(tenant, Purpose::Invitation(user), self.random());
        let expires_at = self.env.now().plus_seconds(NewUser::INVITED_SECONDS);
        let invitation = Invitation { digest: token.digest(&self.config.pepper), expires_at };
        (token, invitation)
    }

    /// Checks that the caller has for good what a user with `role` can do, and all that is assigned to `user`. A key
    /// that ends, or works from some networks only, gives nothing to users, who would outlast it.
    ///
    /// # Errors
    /// [`Error::GrantEscalation`], [`Error::InvalidCredentials`], or the journal.
    pub(in crate::app) async fn may_make(
        &self,
        ctx: &Ctx,
        role: Role,
        user: Option<&User>,
    ) -> Result<(), Error> {
        let own = self.own(ctx).await?;
        let key = self.own_key(ctx).await?;
        let bound = own.ends_at.is_some() || key.is_some_and(|key| !key.issued.ip_allow.is_empty());
        let lasting = ctx.permissions.intersect(&own.permissions);
        let mut within = !bound && lasting.covers(&role.permissions());
        if let Some(user) = user.filter(|_| within) {
            let actor = Actor::new(ActorKind::User, user.profile.id.to_string());
            within = self.has_within(ctx.tenant, &actor, &lasting).await?;
        }
        if within { Ok(()) } else { Err(Error::GrantEscalation { field: "role" }) }
    }

    /// Lets an invited person in with the password that it chose.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] for a token that does not work, whatever is wrong with it;
    /// [`Error::StaleRevision`] when its role changes at this moment; [`Error::Busy`]; or the journal.
    pub async fn accept_invitation(&self, token: &str, password: String, meta: Meta) -> Result<User, Error> {
        let Some(token) = Opaque::parse(token) else { return Err(Error::InvalidCredentials) };
        let Purpose::Invitation(id) = token.purpose else { return Err(Error::InvalidCredentials) };
        let (tenant, digest) = (token.tenant, token.digest(&self.config.pepper));
        let user = self.user_of(tenant, id).await?.filter(|user| user.is_invited_by(&digest, self.env.now()));
        let Some(user) = user else { return Err(Error::InvalidCredentials) };
        let password = self.passwords.hash(password, self.random()).await?;
        let role = user.profile.role;
        let accept = PeopleCommand::Accept { invitation: digest, password, role };
        let meta = Meta { actor: actor(&user), ..meta };
        match user.runs(role, self.master(tenant).await?) {
            true => self.submit_with_owners(tenant, id, [accept, PeopleCommand::AddOwner(id)], meta).await,
            false => Ok(self.submit_user(tenant, id, accept, meta).await?.0),
        }
    }
}
