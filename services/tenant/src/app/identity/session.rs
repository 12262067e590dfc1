//! Sessions: what their tokens stand for, how they end.

use std::sync::Arc;

use calendar::Instant;
use ids::{BusinessId, SessionId, TenantId, UserId};
use journal::{Aggregate as _, Meta};
use rpc::{Actor, ActorKind, Ctx, Principal};

use crate::app::{App, Authenticated};
use crate::domain::{Opaque, People, PeopleCommand, Purpose, Session, State, User};
use crate::{Error, records};

const JOB: &str = "session_use";

impl App {
    /// Finds the user behind the token of a session.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], whatever is wrong; [`Error::NotFound`] for a business that is neither the
    /// user's nor below it; or the journal.
    pub(in crate::app) async fn authenticate_session(
        &self,
        token: &Opaque,
        business: Option<BusinessId>,
    ) -> Result<Authenticated, Error> {
        let Purpose::Session(id) = token.purpose else { return Err(Error::InvalidCredentials) };
        let (tenant, now) = (token.tenant, self.env.now());
        let People::Session(session) = self.people(tenant, id).await? else {
            return Err(Error::InvalidCredentials);
        };
        if !session.admits(&token.digest(&self.config.pepper), now) {
            return Err(Error::InvalidCredentials);
        }
        let user = self.user_of(tenant, session.user).await?;
        let Some(user) = user.filter(|user| user.sessions_from <= session.created_at) else {
            return Err(Error::InvalidCredentials);
        };
        let Some(permissions) = user.permissions() else { return Err(Error::InvalidCredentials) };
        let State::Tenant(owner) = self.state(tenant, tenant).await? else {
            return Err(Error::InvalidCredentials);
        };
        self.note_seen(tenant, &session, now);
        let proof =
            rpc::Session { id: id.to_string().into(), proven_until_ms: session.proven_until().unix_ms() };
        let actor = Actor::new(ActorKind::User, user.profile.id.to_string()).with_session(proof);
        let home = user.profile.business;
        let (path, bars) = self.place(tenant, home, business, false).await?;
        let business = path.last().copied().unwrap_or(home);
        // What is the user's own stays with it wherever it works.
        let permissions = self.held(tenant, &actor, permissions, home, business, now).await?;
        let permissions = permissions.union(&User::own_permissions());
        let principal = Principal { tenant, business, path, actor, permissions, secret: owner.secret };
        let expires_at = Some(session.expires_at());
        Ok(Authenticated { principal, bars, role: user.profile.role, expires_at })
    }

    /// Notes a use beside the request, as it is done for keys.
    fn note_seen(&self, tenant: TenantId, session: &Session, now: Instant) {
        if !session.notes_use(now) {
            return;
        }
        let Some(place) = self.uses.begin(*session.id.as_bytes(), now) else { return };
        let (app, id) = (self.clone(), session.id);
        tokio::spawn(async move {
            let meta = app.internal_meta(JOB);
            let _ = app.submit_people(tenant, id, PeopleCommand::NoteSeen, meta).await;
            drop(place);
        });
    }

    /// Sessions of a user that were not ended, the oldest first. Those that expired are among them.
    pub(super) async fn sessions_of(&self, tenant: TenantId, user: UserId) -> Result<Vec<Session>, Error> {
        let prefix = user.as_bytes().to_vec().into();
        let rows = self
            .people
            .store()
            // Each sign-in ends what is over. More can be there for a moment, when many happen at once.
            .index(tenant, records::SESSIONS, prefix, None, Session::OPEN_MAX * 2)
            .await
            .map_err(journal::Error::from)?;
        let mut sessions = Vec::with_capacity(rows.len());
        for row in rows {
            if let People::Session(session) = People::from_header(&row.value).map_err(journal::Error::from)? {
                sessions.push(session);
            }
        }
        Ok(sessions)
    }

    /// Ends what expired, and the oldest sessions until one more has room.
    pub(super) async fn make_room(&self, tenant: TenantId, user: UserId) -> Result<(), Error> {
        let (sessions, now) = (self.sessions_of(tenant, user).await?, self.env.now());
        let alive = sessions.iter().filter(|session| session.is_alive(now)).count();
        let mut too_many = (alive + 1).saturating_sub(Session::OPEN_MAX);
        for session in sessions {
            if session.is_alive(now) {
                if too_many == 0 {
                    continue;
                }
                too_many -= 1;
            }
            let meta = self.internal_meta(JOB);
            self.submit_people(tenant, session.id, PeopleCommand::End, meta).await?;
        }
        Ok(())
    }

    /// Lists the caller's own sessions that are alive, the oldest first: at most [`Session::OPEN_MAX`].
    ///
    /// # Errors
    /// [`Error::UsersOnly`], or the journal.
    pub async fn own_sessions(&self, ctx: &Ctx) -> Result<Vec<Session>, Error> {
        let (user, now) = (self.own_user(ctx).await?, self.env.now());
        let sessions = self.sessions_of(ctx.tenant, user.profile.id).await?.into_iter();
        Ok(sessions
            .filter(|session| session.is_alive(now) && user.sessions_from <= session.created_at)
            .collect())
    }

    /// Ends one of the caller's own sessions. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::UsersOnly`], [`Error::NotFound`], or the journal.
    pub async fn end_session(&self, ctx: &Ctx, id: SessionId, meta: Meta) -> Result<Session, Error> {
        let user = self.own_user(ctx).await?;
        match self.people(ctx.tenant, id).await? {
            People::Session(session) if session.user == user.profile.id => {
                self.submit_session(ctx.tenant, id, PeopleCommand::End, meta).await
            }
            _ => Err(Error::NotFound { what: "session" }),
        }
    }

    /// The session of this call.
    pub(super) fn own_session(ctx: &Ctx) -> Result<SessionId, Error> {
        let session: Option<&Arc<str>> = ctx.actor.session.as_ref().map(|session| &session.id);
        session.and_then(|id| SessionId::parse(id).ok()).ok_or(Error::UsersOnly)
    }
}
