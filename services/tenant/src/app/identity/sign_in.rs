//! Signs a user in.

use calendar::Instant;
use ids::{SessionId, TenantId};
use journal::{Claim, Meta};
use sha2::{Digest as _, Sha256};

use super::actor;
use crate::app::App;
use crate::domain::{Opaque, PeopleCommand, Purpose, Session, User, UserStatus};
use crate::{Error, records};

/// Who signs in, and what proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Slug of the tenant.
    pub tenant: String,
    /// In lower case.
    pub email: String,
    /// The password.
    pub password: String,
    /// A one-time or recovery code; empty without one.
    pub code: String,
}

/// A session, and for the only time its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedIn {
    /// The session.
    pub session: Session,
    /// Its token.
    pub token: Opaque,
}

impl App {
    /// Begins a session. One answer for an unknown tenant, an unknown user, a wrong password, a wrong or missing code
    /// and a user who may not sign in, after the same work.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], [`Error::TooManyFailures`], [`Error::Busy`], or the journal.
    pub async fn sign_in(&self, ask: SignIn, meta: Meta) -> Result<SignedIn, Error> {
        let account = account(&[ask.tenant.as_bytes(), ask.email.as_bytes()]);
        self.begin_try(account)?;
        // Before the password is looked at: who changes it meanwhile ends this session too.
        let now = self.env.now();
        let found = self.find_user(&ask.tenant, &ask.email).await?;
        let hash = found.as_ref().map(|(_, user)| user.password.clone()).filter(|hash| !hash.is_empty());
        let right = self.passwords.verify(ask.password, hash).await?;
        let found = found.filter(|(_, user)| right && user.status == UserStatus::Active);
        let Some((tenant, user)) = found else { return Err(Error::InvalidCredentials) };
        let meta = Meta { actor: actor(&user), ..meta };
        match self.use_code(tenant, &user, &ask.code, &meta).await {
            Ok(()) => {}
            Err(Error::InvalidProof) => return Err(Error::InvalidCredentials),
            Err(other) => return Err(other),
        }
        self.throttle.succeeded(account);
        let session = SessionId::new(now.unix_ms(), self.random());
        self.begin_session(tenant, &user, session, now, now, meta).await
    }

    /// Begins a session of a user who has shown who it is.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for an id that is taken, or the journal.
    pub(in crate::app) async fn begin_session(
        &self,
        tenant: TenantId,
        user: &User,
        session_id: SessionId,
        now: Instant,
        proven_at: Instant,
        meta: Meta,
    ) -> Result<SignedIn, Error> {
        let id = user.profile.id;
        self.make_room(tenant, id).await?;
        let token = Opaque::new(tenant, Purpose::Session(session_id), self.random());
        let session = Session {
            id: session_id,
            user: id,
            digest: token.digest(&self.config.pepper),
            created_at: now,
            seen_at: now,
            proven_at,
            ended_at: None,
        };
        let session = self.submit_session(tenant, session_id, PeopleCommand::Begin(session), meta).await?;
        Ok(SignedIn { session, token })
    }

    /// Counts a try.
    pub(super) fn begin_try(&self, account: [u8; 32]) -> Result<(), Error> {
        let begun = self.throttle.begin(account, self.env.now().unix_ms());
        begun.map_err(|wait_ms| Error::TooManyFailures { wait_ms })
    }

    async fn find_user(&self, slug: &str, email: &str) -> Result<Option<(ids::TenantId, User)>, Error> {
        let Some(tenant) = self.tenant_called(slug).await? else { return Ok(None) };
        let claim = Claim { kind: records::EMAIL, value: email.to_owned().into_bytes().into() };
        let owner = self.people.store().claim(tenant, claim).await.map_err(journal::Error::from)?;
        let Some(owner) = owner else { return Ok(None) };
        let user = self.user_of(tenant, ids::UserId::from_bytes(*owner.as_bytes())).await?;
        Ok(user.map(|user| (tenant, user)))
    }
}

/// What tries are counted under.
pub(super) fn account(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
