//! People: invitations, signing in, sessions, what proves who somebody is.

mod invite;
mod lists;
mod own;
mod password;
mod session;
mod sign_in;
mod throttle;
mod users;

use ids::{AggregateId, TenantId, UserId};
use journal::{Meta, Rejection, Request, Scope};
use rpc::{ActorKind, Ctx};

pub use invite::{Invite, Invited};
pub use own::{Enrolled, Proof};
pub use sign_in::{SignIn, SignedIn};

pub(super) use password::Passwords;
pub(super) use throttle::Throttle;

use crate::Error;
use crate::app::App;
use crate::app::read::sees;
use crate::domain::{People, PeopleCommand, Session, User};

impl App {
    pub(super) async fn people(
        &self,
        tenant: TenantId,
        aggregate: impl Into<AggregateId>,
    ) -> Result<People, Error> {
        let scope = Scope { tenant, aggregate: aggregate.into() };
        let view = self.people.read(scope, |_| vec![]).await?;
        Ok(view.map_or(People::Unborn, |view| view.state))
    }

    pub(super) async fn user_of(&self, tenant: TenantId, id: UserId) -> Result<Option<User>, Error> {
        match self.people(tenant, id).await? {
            People::User(user) => Ok(Some(*user)),
            _ => Ok(None),
        }
    }

    /// Reads a user of the caller's business, or of one below with `descendants.read`.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn user(&self, ctx: &Ctx, id: UserId) -> Result<User, Error> {
        let tree = self.tree(ctx.tenant).await?;
        let user = self.user_of(ctx.tenant, id).await?;
        user.filter(|user| sees(ctx, tree.path(user.profile.business)))
            .ok_or(Error::NotFound { what: "user" })
    }

    /// The user who calls.
    pub(super) async fn own_user(&self, ctx: &Ctx) -> Result<User, Error> {
        let id = Some(&ctx.actor).filter(|actor| actor.kind == ActorKind::User);
        let id = id.and_then(|actor| UserId::parse(&actor.id).ok()).ok_or(Error::UsersOnly)?;
        self.user_of(ctx.tenant, id).await?.ok_or(Error::UsersOnly)
    }

    pub(super) async fn submit_people(
        &self,
        tenant: TenantId,
        aggregate: impl Into<AggregateId>,
        command: PeopleCommand,
        meta: Meta,
    ) -> Result<(People, bool), Error> {
        let scope = Scope { tenant, aggregate: aggregate.into() };
        let answer = self.people.submit(scope, Request { command, meta }).await?;
        Ok((self.people.state_at(scope, answer.seq).await?.state, answer.replayed))
    }

    async fn submit_user(
        &self,
        tenant: TenantId,
        id: UserId,
        command: PeopleCommand,
        meta: Meta,
    ) -> Result<(User, bool), Error> {
        match self.submit_people(tenant, id, command, meta).await? {
            (People::User(user), replayed) => Ok((*user, replayed)),
            _ => Err(Error::NotFound { what: "user" }),
        }
    }

    async fn submit_session(
        &self,
        tenant: TenantId,
        session: impl Into<AggregateId>,
        command: PeopleCommand,
        meta: Meta,
    ) -> Result<Session, Error> {
        match self.submit_people(tenant, session, command, meta).await? {
            (People::Session(session), _) => Ok(session),
            _ => Err(Error::NotFound { what: "session" }),
        }
    }

    /// Commits a change of a user together with one of the list of owners, both or none.
    pub(super) async fn submit_with_owners(
        &self,
        tenant: TenantId,
        id: UserId,
        commands: [PeopleCommand; 2],
        meta: Meta,
    ) -> Result<User, Error> {
        let [of_user, of_owners] = commands;
        // The key names the user's change; the list follows from it.
        let follows = self.internal_meta("owners");
        let (request_id, trace) = (meta.request_id.clone(), meta.trace);
        let follows = Meta { actor: meta.actor.clone(), request_id, trace, ..follows };
        let requests = vec![
            (id.into(), Request { command: of_user, meta }),
            (crate::records::owners(tenant), Request { command: of_owners, meta: follows }),
        ];
        let done = self.people.submit_all(tenant, requests).await;
        done.map_err(|error| Error::from(error.rejection))?;
        self.user_of(tenant, id).await?.ok_or(Error::NotFound { what: "user" })
    }
}

/// A user as entries name it.
pub(super) fn actor(user: &User) -> journal::Actor {
    journal::Actor { kind: ActorKind::User.name().to_owned(), id: user.profile.id.to_string() }
}

/// The address is taken: the only claim of people.
fn taken(rejection: Rejection<Error>) -> Error {
    match rejection {
        Rejection::Claimed { .. } => Error::EmailTaken,
        other => other.into(),
    }
}
