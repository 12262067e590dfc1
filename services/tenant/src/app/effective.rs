//! What a key may do now: its own permissions, and no more than those above it have today.

use calendar::Instant;
use ids::{ApiKeyId, TenantId, UserId};
use rpc::{Actor, ActorKind, Permissions};

use crate::Error;
use crate::app::App;
use crate::domain::{ApiKey, State};

/// Most keys in a row of which each made the next.
pub(super) const CHAIN_MAX: usize = 8;

impl App {
    /// What `key` may do at `now`: what it was given, narrowed by what each key and the user above it may do.
    /// `None` when one of them is revoked, expired, locked or has left.
    ///
    /// # Errors
    /// The journal.
    pub(super) async fn effective(
        &self,
        tenant: TenantId,
        key: &ApiKey,
        now: Instant,
    ) -> Result<Option<Permissions>, Error> {
        let Some(mut permissions) = key.permissions() else { return Ok(None) };
        let mut creator = key.issued.created_by.clone();
        for _ in 0..CHAIN_MAX {
            if creator.kind == ActorKind::System {
                return Ok(Some(permissions));
            }
            if creator.kind == ActorKind::User {
                let theirs = self.user_permissions(tenant, &creator).await?;
                return Ok(theirs.map(|theirs| permissions.intersect(&theirs)));
            }
            let Some(above) = self.key_of(tenant, &creator).await? else { return Ok(None) };
            let Some(theirs) = above.permissions().filter(|_| above.is_alive(now)) else {
                return Ok(None);
            };
            permissions = permissions.intersect(&theirs);
            creator = above.issued.created_by;
        }
        Ok(None)
    }

    /// Checks that a key made by `creator` would still be followed up to its origin.
    ///
    /// # Errors
    /// [`Error::KeyChainTooLong`], or the journal.
    pub(super) async fn check_chain(&self, tenant: TenantId, creator: &Actor) -> Result<(), Error> {
        let mut creator = creator.clone();
        for _ in 0..CHAIN_MAX {
            match self.key_of(tenant, &creator).await? {
                Some(above) => creator = above.issued.created_by,
                None => return Ok(()),
            }
        }
        Err(Error::KeyChainTooLong { max: CHAIN_MAX })
    }

    async fn user_permissions(&self, tenant: TenantId, actor: &Actor) -> Result<Option<Permissions>, Error> {
        let Ok(id) = UserId::parse(&actor.id) else { return Ok(None) };
        Ok(self.user_of(tenant, id).await?.and_then(|user| user.permissions()))
    }

    pub(super) async fn key_of(&self, tenant: TenantId, actor: &Actor) -> Result<Option<ApiKey>, Error> {
        let id = Some(actor).filter(|actor| actor.kind == ActorKind::ApiKey);
        let Some(id) = id.and_then(|actor| ApiKeyId::parse(&actor.id).ok()) else { return Ok(None) };
        match self.state(tenant, id).await? {
            State::ApiKey(key) => Ok(Some(key)),
            _ => Ok(None),
        }
    }
}
