//! What users do with what proves who they are: prove it again, change it.

use ids::TenantId;
use journal::Meta;
use rpc::Ctx;

use super::sign_in::account;
use crate::Error;
use crate::app::App;
use crate::domain::{PeopleCommand, Session, User, recovery_code, recovery_digest, totp};

/// Recovery codes of a user.
const RECOVERY_CODES: usize = 10;

/// What proves who a user is.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// The password.
    pub password: String,
    /// A one-time or recovery code; empty without one.
    pub code: String,
}

/// A secret for one-time codes that no code has confirmed yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The secret.
    pub secret: [u8; 20],
    /// Whose it is: shown by the app that makes the codes.
    pub email: String,
    /// Short name of the tenant, likewise.
    pub issuer: String,
}

impl App {
    /// Checks password and code of a user again; the code is used up.
    async fn prove(&self, tenant: TenantId, user: &User, proof: Proof, meta: &Meta) -> Result<(), Error> {
        let account = account(&[tenant.as_bytes(), user.profile.id.as_bytes()]);
        self.begin_try(account)?;
        if !self.passwords.verify(proof.password, Some(user.password.clone())).await? {
            return Err(Error::InvalidProof);
        }
        self.use_code(tenant, user, &proof.code, meta).await?;
        self.throttle.succeeded(account);
        Ok(())
    }

    /// Uses a code up, for a user who needs one.
    pub(super) async fn use_code(
        &self,
        tenant: TenantId,
        user: &User,
        code: &str,
        meta: &Meta,
    ) -> Result<(), Error> {
        let Some(seed) = &user.totp.seed else { return Ok(()) };
        let (id, pepper) = (user.profile.id, &self.config.pepper);
        let secret = totp::secret_of(pepper, id, seed);
        let command = match totp::step_of(&secret, code, self.env.now()) {
            Some(step) => PeopleCommand::UseCode { step },
            None => PeopleCommand::UseRecovery { digest: recovery_digest(pepper, id, code) },
        };
        let own = Meta { actor: meta.actor.clone(), ..self.internal_meta("code") };
        self.submit_user(tenant, id, command, own).await?;
        Ok(())
    }

    /// Notes in the session of this call that its user proved himself now.
    ///
    /// # Errors
    /// [`Error::UsersOnly`], [`Error::InvalidProof`], [`Error::TooManyFailures`], [`Error::Busy`], or the journal.
    pub async fn step_up(&self, ctx: &Ctx, proof: Proof, meta: Meta) -> Result<Session, Error> {
        let (user, session) = (self.own_user(ctx).await?, App::own_session(ctx)?);
        self.prove(ctx.tenant, &user, proof, &meta).await?;
        self.submit_session(ctx.tenant, session, PeopleCommand::Prove, meta).await
    }

    /// Chooses another password. All sessions of the user are over.
    ///
    /// # Errors
    /// [`Error::UsersOnly`], [`Error::InvalidProof`], [`Error::TooManyFailures`], [`Error::Busy`], or the journal.
    pub async fn change_password(
        &self,
        ctx: &Ctx,
        proof: Proof,
        password: String,
        meta: Meta,
    ) -> Result<(), Error> {
        let user = self.own_user(ctx).await?;
        self.prove(ctx.tenant, &user, proof, &meta).await?;
        let password = self.passwords.hash(password, self.random()).await?;
        let command = PeopleCommand::ChangePassword { password };
        self.submit_user(ctx.tenant, user.profile.id, command, meta).await?;
        Ok(())
    }

    /// Makes a secret for one-time codes; it counts once it is confirmed. The one before counts until then.
    ///
    /// # Errors
    /// [`Error::UsersOnly`], or the journal.
    pub async fn enrol_totp(&self, ctx: &Ctx, meta: Meta) -> Result<Enrolled, Error> {
        let user = self.own_user(ctx).await?;
        let (id, seed) = (user.profile.id, self.random());
        let issuer = self.tenant(ctx).await?.slug;
        self.submit_user(ctx.tenant, id, PeopleCommand::Enrol { seed }, meta).await?;
        let secret = totp::secret_of(&self.config.pepper, id, &seed);
        Ok(Enrolled { secret, email: user.profile.email, issuer })
    }

    /// Confirms that secret with a code made from it; answers with recovery codes, for the only time.
    ///
    /// # Errors
    /// [`Error::UsersOnly`], [`Error::InvalidProof`], [`Error::TooManyFailures`], or the journal.
    pub async fn confirm_totp(&self, ctx: &Ctx, code: &str, meta: Meta) -> Result<Vec<String>, Error> {
        let user = self.own_user(ctx).await?;
        let (id, pepper) = (user.profile.id, &self.config.pepper);
        let account = account(&[ctx.tenant.as_bytes(), id.as_bytes()]);
        self.begin_try(account)?;
        let seed = user.totp.pending.ok_or(Error::InvalidProof)?;
        let secret = totp::secret_of(pepper, id, &seed);
        let step = totp::step_of(&secret, code, self.env.now()).ok_or(Error::InvalidProof)?;
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code(self.random())).collect();
        let recovery = codes.iter().map(|code| recovery_digest(pepper, id, code)).collect();
        let command = PeopleCommand::Confirm { seed, step, recovery };
        self.submit_user(ctx.tenant, id, command, meta).await?;
        self.throttle.succeeded(account);
        Ok(codes)
    }
}
