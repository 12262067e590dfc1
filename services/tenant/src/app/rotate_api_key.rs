//! Gives an API key a new secret.

use ids::{ApiKeyId, TenantId};
use journal::{Meta, Request, Scope};
use rpc::{Actor, ActorKind, Ctx, Permissions};

use crate::Error;
use crate::app::read::may_write;
use crate::app::{App, CreatedKey};
use crate::domain::{ApiKey, Command, Creator, Credential, NewSecret, State};

impl App {
    /// Gives a key a new secret; the one before stays valid for `overlap_seconds`.
    ///
    /// Who learns the secret of a key can do what it can do, so the caller must be allowed to make it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PermissionEscalation`], [`Error::KeyEnded`], or the journal.
    pub async fn rotate_api_key(
        &self,
        ctx: &Ctx,
        id: ApiKeyId,
        overlap_seconds: u32,
        meta: Meta,
    ) -> Result<CreatedKey, Error> {
        let key = self.api_key(ctx, id).await?;
        let (own, now) = (self.own_key(ctx).await?, self.env.now());
        // A context outlives its key by some seconds; what it could leave behind would stay.
        if own.as_ref().is_some_and(|key| !key.is_alive(now)) {
            return Err(Error::InvalidCredentials);
        }
        if own.as_ref().is_none_or(|own| own.issued.id != id) {
            self.may_take_over(ctx, &key, own.as_ref()).await?;
        }
        let credential = Credential::new(id, self.random());
        let secret = NewSecret {
            digest: credential.digest(&self.config.pepper),
            last4: credential.last4(),
            previous_until: now.plus_seconds(overlap_seconds.into()),
        };
        let scope = Scope { tenant: ctx.tenant, aggregate: id.into() };
        let answer =
            self.journal.submit(scope, Request { command: Command::RotateKey(secret), meta }).await?;
        match self.journal.state_at(scope, answer.seq).await?.state {
            State::ApiKey(key) => Ok(CreatedKey { key, credential }),
            _ => Err(Error::NotFound { what: "API key" }),
        }
    }

    /// Checks that the caller could have made the key, with all that is assigned to it by now.
    pub(super) async fn may_take_over(
        &self,
        ctx: &Ctx,
        key: &ApiKey,
        own: Option<&ApiKey>,
    ) -> Result<(), Error> {
        may_write(ctx, key.issued.business().unwrap_or(ctx.business))?;
        let creator = Creator { permissions: &ctx.permissions, business: ctx.business, key: own };
        key.issued.may_be_made_by(creator)?;
        // As for a new key: what is only assigned to the caller must not stay with it.
        let lasting = ctx.permissions.intersect(&self.own(ctx).await?.permissions);
        key.issued.may_be_made_by(Creator { permissions: &lasting, ..creator })?;
        let target = Actor::new(ActorKind::ApiKey, key.issued.id.to_string());
        match self.has_within(ctx.tenant, &target, &lasting).await? {
            true => Ok(()),
            false => Err(Error::PermissionEscalation { field: "permissions" }),
        }
    }

    /// Whether all that is assigned to `principal` lies within `permissions`.
    pub(super) async fn has_within(
        &self,
        tenant: TenantId,
        principal: &Actor,
        permissions: &Permissions,
    ) -> Result<bool, Error> {
        for assignment in self.assignments_of(tenant, principal).await? {
            if !permissions.covers(&self.role(tenant, assignment.made.role).await?.permissions()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
