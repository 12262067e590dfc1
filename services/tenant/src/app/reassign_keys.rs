//! The keys of a user who leaves: which they are, and who has them next.

use bytes::Bytes;
use ids::{ApiKeyId, TenantId, UserId};
use journal::{Aggregate as _, Meta, Request};
use problem::{Invalid, reason};
use rpc::{Actor, ActorKind, Ctx};

use crate::app::App;
use crate::app::effective::CHAIN_MAX;
use crate::app::read::may_write;
use crate::domain::{ApiKey, Command, Creator, NewKey, State};
use crate::{Error, records};

/// Keys that one call reassigns, all or none.
pub const REASSIGNED_MAX: usize = 200;
/// Keys of a tenant that are looked at to find those of a user.
const READ_MAX: usize = 10_000;
/// Keys that are read at a time.
const PART: usize = 500;

/// Keys of a user that another one gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reassign {
    /// Who made them.
    pub from: UserId,
    /// Who gets them.
    pub to: UserId,
    /// Which; empty is all that are neither revoked nor expired.
    pub keys: Vec<ApiKeyId>,
}

/// What was reassigned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reassigned {
    /// The keys as they are now.
    pub keys: Vec<ApiKey>,
    /// Whether the user has, or may have, more.
    pub more: bool,
}

impl App {
    /// Gives keys of a user to another, who could have made them and answers for them from now on. A key can do what
    /// both could, and no more than before; keys that it made follow it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a user or key out of sight, [`Error::GrantEscalation`] for a user who could not have
    /// made them, or when the caller has less than the user who leaves, [`Error::PermissionEscalation`] when the caller
    /// has less than a key, [`Error::KeyEnded`], bad fields, or the journal.
    pub async fn reassign_keys(&self, ctx: &Ctx, ask: Reassign, meta: Meta) -> Result<Reassigned, Error> {
        let (from, to) = (self.user(ctx, ask.from).await?, self.user(ctx, ask.to).await?);
        let mut given = Vec::with_capacity(ask.keys.len());
        for id in &ask.keys {
            given.push(self.api_key(ctx, *id).await?);
        }
        for user in [&from, &to] {
            may_write(ctx, user.profile.business)?;
        }
        self.may_make(ctx, from.profile.role, Some(&from)).await?;
        if from.profile.id == to.profile.id {
            let detail = "must be another user";
            return Err(Invalid::field("to_user_id", reason::NOT_ALLOWED, detail).into());
        }
        let escalation = Error::GrantEscalation { field: "to_user_id" };
        let theirs = to.permissions().ok_or(escalation.clone())?;
        let [old, new] =
            [from.profile.id, to.profile.id].map(|id| Actor::new(ActorKind::User, id.to_string()));
        let (now, own) = (self.env.now(), self.own_key(ctx).await?);
        let (keys, more) = match given.is_empty() {
            true => self.own_keys_of(ctx.tenant, &old).await?,
            false => (given, false),
        };
        let tree = self.tree(ctx.tenant).await?;
        let mut requests = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            match key.reassign(&old, &new, now) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(Error::NotFound { .. }) => {
                    let field = format!("api_key_ids[{at}]");
                    let detail = "is not a key that the user made: those that a key made follow it";
                    return Err(Invalid::field(&field, reason::NOT_ALLOWED, detail).into());
                }
                Err(error) => return Err(error),
            }
            self.may_take_over(ctx, key, own.as_ref()).await?;
            let path = tree.path_of(key).map(|path| path.to_vec()).unwrap_or_default();
            let issued = NewKey { path, ..key.issued.clone() };
            let creator = Creator { permissions: &theirs, business: to.profile.business, key: None };
            if !theirs.allows("key.create") || issued.may_be_made_by(creator).is_err() {
                return Err(escalation);
            }
            let command =
                Command::ReassignKey { from: old.clone(), to: new.clone(), under: from.profile.role };
            let meta = Meta { key: journal::KeyHash(self.random()), ..meta.clone() };
            requests.push((key.issued.id.into(), Request { command, meta }));
        }
        if !requests.is_empty() {
            let done = self.journal.submit_all(ctx.tenant, requests).await;
            done.map_err(|error| Error::from(error.rejection))?;
        }
        let mut reassigned = Vec::with_capacity(keys.len());
        for key in keys {
            if let State::ApiKey(key) = self.state(ctx.tenant, key.issued.id).await? {
                reassigned.push(key);
            }
        }
        Ok(Reassigned { keys: reassigned, more })
    }

    /// Those of `keys` that `user` made, or keys of theirs, up to the last in a row.
    pub(super) async fn made_by(
        &self,
        tenant: TenantId,
        user: UserId,
        keys: Vec<ApiKey>,
    ) -> Result<Vec<ApiKey>, Error> {
        let user = user.to_string();
        let mut found = vec![];
        for key in keys {
            let mut maker = key.issued.created_by.clone();
            for _ in 0..CHAIN_MAX {
                match self.key_of(tenant, &maker).await? {
                    Some(above) => maker = above.issued.created_by,
                    None => break,
                }
            }
            if maker.kind == ActorKind::User && *maker.id == *user {
                found.push(key);
            }
        }
        Ok(found)
    }

    /// How many keys that have not ended a user made, or keys of theirs: of the first [`READ_MAX`] of the tenant.
    pub(super) async fn count_keys_of(&self, tenant: TenantId, user: UserId) -> Result<usize, Error> {
        let (mut count, now, mut read, mut after) = (0, self.env.now(), 0, None);
        while read < READ_MAX {
            let (part, last) = self.part(tenant, after).await?;
            read += PART;
            let alive = part.into_iter().filter(|key| key.is_alive(now)).collect();
            count += self.made_by(tenant, user, alive).await?.len();
            if last.is_none() {
                break;
            }
            after = last;
        }
        Ok(count)
    }

    /// The keys that `maker` made itself and that have not ended, and whether there may be more.
    async fn own_keys_of(&self, tenant: TenantId, maker: &Actor) -> Result<(Vec<ApiKey>, bool), Error> {
        let (mut found, now, mut read, mut after) = (vec![], self.env.now(), 0, None);
        while read < READ_MAX {
            let (part, last) = self.part(tenant, after).await?;
            read += PART;
            let own = |key: &ApiKey| {
                let by = &key.issued.created_by;
                key.is_alive(now) && by.kind == maker.kind && by.id == maker.id
            };
            found.extend(part.into_iter().filter(own));
            if REASSIGNED_MAX < found.len() {
                found.truncate(REASSIGNED_MAX);
                return Ok((found, true));
            }
            if last.is_none() {
                return Ok((found, false));
            }
            after = last;
        }
        Ok((found, true))
    }

    /// Some keys of a tenant after `after`, and the last of them if there may be more.
    async fn part(
        &self,
        tenant: TenantId,
        after: Option<ApiKeyId>,
    ) -> Result<(Vec<ApiKey>, Option<ApiKeyId>), Error> {
        let after = after.map(|id| (Bytes::copy_from_slice(id.as_bytes()), id.into()));
        let rows = self.journal.store().index(tenant, records::KEYS, Bytes::new(), after, PART).await;
        let rows = rows.map_err(journal::Error::from)?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            if let State::ApiKey(key) = State::from_header(&row.value).map_err(journal::Error::from)? {
                keys.push(key);
            }
        }
        let last = keys.last().map(|key| key.issued.id).filter(|_| rows.len() == PART);
        Ok((keys, last))
    }
}
