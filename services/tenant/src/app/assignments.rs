//! Gives roles to principals, and takes them back.

use std::collections::HashMap;

use bytes::Bytes;
use calendar::Instant;
use ids::{AggregateId, ApiKeyId, AssignmentId, BusinessId, RoleId, UserId};
use journal::{Aggregate as _, Keep, Meta, Request, Scope};
use problem::{Invalid, reason};
use rpc::{Actor, ActorKind, Ctx, Limits, PageToken, Permissions, Refused};

use crate::app::granted::{ASSIGNMENTS_MAX, limited_bytes};
use crate::app::places::check_size;
use crate::app::read::may_write;
use crate::app::{App, Page};
use crate::domain::{
    Access, AccessCommand, Assignment, Business, Network, NewAssignment, Reach, Role, UserStatus,
};
use crate::{Error, records};

/// Name of the list in page tokens.
const LIST: &str = "assignments";
/// Rows that one page reads at most to find visible ones.
const ROWS_READ_MAX: usize = 2000;

/// Who has permissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// A program.
    Key(ApiKeyId),
    /// A person.
    User(UserId),
}

impl Who {
    /// The caller, if it is one of them.
    pub(super) fn calls(ctx: &Ctx) -> Option<Who> {
        match ctx.actor.kind {
            ActorKind::ApiKey => ApiKeyId::parse(&ctx.actor.id).ok().map(Who::Key),
            ActorKind::User => UserId::parse(&ctx.actor.id).ok().map(Who::User),
            ActorKind::System => None,
        }
    }

    /// As entries name it.
    pub(super) fn actor(self) -> Actor {
        match self {
            Who::Key(id) => Actor::new(ActorKind::ApiKey, id.to_string()),
            Who::User(id) => Actor::new(ActorKind::User, id.to_string()),
        }
    }
}

/// A key or user as it is now.
pub(super) struct Holder {
    /// The business that it belongs to.
    pub(super) home: BusinessId,
    /// Its own role.
    pub(super) role: Role,
    /// What it has by itself today; `None` while it may not come in.
    pub(super) own: Option<Permissions>,
    /// Whether it has ended, or has left.
    pub(super) ended: bool,
    /// Networks that it works from; empty is any.
    pub(super) networks: Vec<Network>,
}

/// An assignment to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateAssignment {
    /// Who gets the role.
    pub who: Who,
    /// The role.
    pub role: RoleId,
    /// Where; `None` is the caller's business.
    pub business: Option<BusinessId>,
    /// How far down.
    pub reach: Reach,
    /// From when on; `None` is at once.
    pub valid_from: Option<Instant>,
    /// Until when; `None` is until it is revoked. After `valid_from`.
    pub valid_to: Option<Instant>,
    /// The role counts within these only.
    pub limits: Limits,
}

impl App {
    /// Assigns a role. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::GrantEscalation`] for more than the caller has, [`Error::TooManyAssignments`], [`Error::NotFound`]
    /// for a key, user, role or business out of sight, bad fields, or the journal.
    pub async fn create_assignment(
        &self,
        ctx: &Ctx,
        new: CreateAssignment,
        meta: Meta,
    ) -> Result<(Assignment, bool), Error> {
        let business = self.business(ctx, new.business.unwrap_or(ctx.business)).await?.business;
        let holder = self.holder(ctx, new.who).await?;
        self.may_assign(ctx, &new, &business, &holder).await?;
        self.check_locations(ctx, &business, &new.limits.locations).await?;

        // The aggregate follows from the idempotency key, so that a retry finds what the first call made.
        let part = ids::RandomPart(meta.key.0);
        let aggregate = AssignmentId::derived(0, part, 0);
        let command = AccessCommand::Assign(NewAssignment {
            id: AssignmentId::derived(self.env.now().unix_ms(), part, 0),
            principal: new.who.actor(),
            role: new.role,
            business: business.id,
            reach: new.reach,
            valid_from: new.valid_from,
            valid_to: new.valid_to,
            limits: new.limits,
            created_by: ctx.actor.without_session(),
        });
        let keep = if meta.keep == Keep::No { Keep::No } else { Keep::Forever };
        let meta = Meta { keep, ..meta };
        self.change_assignment(ctx, aggregate, command, meta).await
    }

    /// Reads a key or user in the caller's sight.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub(super) async fn holder(&self, ctx: &Ctx, who: Who) -> Result<Holder, Error> {
        Ok(match who {
            Who::Key(id) => {
                let key = self.api_key(ctx, id).await?;
                let now = self.env.now();
                let alive = key.is_alive(now);
                let own = match alive {
                    true => self.effective(ctx.tenant, &key, now).await?,
                    false => None,
                };
                Holder {
                    home: key.issued.business().unwrap_or(ctx.business),
                    role: key.issued.role,
                    own,
                    ended: !alive,
                    networks: key.issued.ip_allow,
                }
            }
            Who::User(id) => {
                let user = self.user(ctx, id).await?;
                Holder {
                    home: user.profile.business,
                    role: user.profile.role,
                    own: user.permissions(),
                    ended: user.status == UserStatus::Deactivated,
                    networks: vec![],
                }
            }
        })
    }

    /// Decides whether the caller may make an assignment: of what they have, where they have it, for as long.
    async fn may_assign(
        &self,
        ctx: &Ctx,
        new: &CreateAssignment,
        business: &Business,
        holder: &Holder,
    ) -> Result<(), Error> {
        let escalation = |field| Err(Error::GrantEscalation { field });
        let now = self.env.now();
        let bad = |field, reason, detail: &str| Err(Invalid::field(field, reason, detail).into());
        if new.valid_to.is_some_and(|end| end <= now) {
            return bad("assignment.valid_to", reason::OUT_OF_RANGE, "must be in the future");
        }
        let (what, field) = match new.who {
            Who::Key(_) => ("API key", "api_key_id"),
            Who::User(_) => ("user", "user_id"),
        };
        if holder.ended {
            return Err(Error::NotFound { what });
        }
        if !business.is_within(holder.home) {
            let detail = "must be the business of the key or user, or one below it";
            return bad("assignment.business_id", reason::NOT_ALLOWED, detail);
        }
        let wanted = self.role(ctx.tenant, new.role).await?.permissions();
        let below = new.reach == Reach::Subtree;
        let down = (business.id != ctx.business).then_some("business_id").or(below.then_some("reach"));
        if let Some(field) = down.filter(|_| !ctx.permissions.allows("descendants.write")) {
            return escalation(field);
        }
        let covers = async |below, end| -> Result<bool, Error> {
            let held = self.lasting(ctx, &business.path, below, end).await?;
            Ok(ctx.permissions.covers(&wanted) && held.covers(&wanted))
        };
        if !covers(below, new.valid_to).await? {
            // What is wrong with it: how long, how far down, or what.
            return escalation(match (covers(below, Some(now)).await?, covers(false, Some(now)).await?) {
                (true, _) => "valid_to",
                (false, true) => "reach",
                (false, false) => "role_id",
            });
        }
        // A key that works from some networks only gives nothing to who works from others; users work from all.
        if let Some(own) = self.own_key(ctx).await? {
            let (allowed, theirs) = (&own.issued.ip_allow, &holder.networks);
            let inside = theirs.iter().all(|one| allowed.iter().any(|network| network.covers(*one)));
            if !allowed.is_empty() && (theirs.is_empty() || !inside) {
                return escalation(field);
            }
        }
        let others = self.assignments_of(ctx.tenant, &new.who.actor()).await?;
        if ASSIGNMENTS_MAX <= others.len() {
            return Err(Error::TooManyAssignments { max: ASSIGNMENTS_MAX });
        }
        if !new.limits.is_none() {
            let mut bytes = limited_bytes(&wanted, &new.limits);
            for other in others.iter().filter(|other| !other.made.limits.is_none()) {
                let role = self.role(ctx.tenant, other.made.role).await?;
                bytes += limited_bytes(&role.permissions(), &other.made.limits);
            }
            check_size(bytes)?;
        }
        Ok(())
    }

    /// Reads an assignment in the caller's business or one below.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn assignment(&self, ctx: &Ctx, id: AssignmentId) -> Result<Assignment, Error> {
        let missing = Error::NotFound { what: "assignment" };
        match self.access_state(ctx.tenant, aggregate_of(id)).await? {
            Access::Assignment(found) if found.made.id == id => {
                match self.business(ctx, found.made.business).await {
                    Ok(_) => Ok(found),
                    Err(Error::NotFound { .. }) => Err(missing),
                    Err(error) => Err(error),
                }
            }
            _ => Err(missing),
        }
    }

    /// Ends an assignment for good. Repeating it changes nothing. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the journal.
    pub async fn revoke_assignment(
        &self,
        ctx: &Ctx,
        id: AssignmentId,
        meta: Meta,
    ) -> Result<(Assignment, bool), Error> {
        let found = self.assignment(ctx, id).await?;
        may_write(ctx, found.made.business)?;
        self.change_assignment(ctx, aggregate_of(id), AccessCommand::Revoke, meta).await
    }

    async fn change_assignment(
        &self,
        ctx: &Ctx,
        aggregate: AssignmentId,
        command: AccessCommand,
        meta: Meta,
    ) -> Result<(Assignment, bool), Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: aggregate.into() };
        let answer = self.access.submit(scope, Request { command, meta }).await?;
        match self.access.state_at(scope, answer.seq).await?.state {
            Access::Assignment(assignment) => Ok((assignment, answer.replayed)),
            _ => Err(Error::NotFound { what: "assignment" }),
        }
    }

    /// Lists the assignments in the caller's business and in those below, newest last.
    ///
    /// # Errors
    /// A page token that does not belong here, or the journal.
    pub async fn assignments(&self, ctx: &Ctx, size: usize, token: &str) -> Result<Page<Assignment>, Error> {
        let mut after: Option<(Bytes, AggregateId)> = match PageToken::open(ctx, LIST, token)? {
            Some(position) => {
                let id = position.as_slice().try_into().map_err(|_| Refused::PageTokenInvalid)?;
                Some((Bytes::from(position), aggregate_of(AssignmentId::from_bytes(id)).into()))
            }
            None => None,
        };
        let mut visible: HashMap<BusinessId, bool> = HashMap::new();
        let (mut items, mut read) = (Vec::new(), 0);
        loop {
            let store = self.access.store();
            let rows = store.index(ctx.tenant, records::ASSIGNMENTS, Bytes::new(), after.clone(), size).await;
            let rows = rows.map_err(journal::Error::from)?;
            let ended = rows.len() < size;
            for row in rows {
                if items.len() == size || read == ROWS_READ_MAX {
                    let next = after.map_or_else(String::new, |(key, _)| PageToken::seal(ctx, LIST, &key));
                    return Ok(Page { items, next });
                }
                let state = Access::from_header(&row.value).map_err(journal::Error::from)?;
                if let Access::Assignment(assignment) = state {
                    let business = assignment.made.business;
                    let seen = match visible.get(&business) {
                        Some(seen) => *seen,
                        None => match self.business(ctx, business).await {
                            Ok(_) => true,
                            Err(Error::NotFound { .. }) => false,
                            Err(error) => return Err(error),
                        },
                    };
                    visible.insert(business, seen);
                    items.extend(seen.then_some(assignment));
                }
                after = Some((row.key, row.aggregate));
                read += 1;
            }
            if ended {
                return Ok(Page { items, next: String::new() });
            }
        }
    }
}

/// The aggregate of an assignment: its id without the time, so that it follows from the idempotency key alone.
fn aggregate_of(id: AssignmentId) -> AssignmentId {
    AssignmentId::derived(0, id.random_part(), 0)
}
