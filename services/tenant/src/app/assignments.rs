//! Gives roles to principals, and takes them back.

use std::collections::HashMap;

use bytes::Bytes;
use calendar::Instant;
use ids::{AggregateId, ApiKeyId, AssignmentId, BusinessId, RoleId};
use journal::{Aggregate as _, Keep, Meta, Request, Scope};
use problem::{Invalid, reason};
use rpc::{Actor, ActorKind, Ctx, PageToken, Refused};

use crate::app::granted::ASSIGNMENTS_MAX;
use crate::app::read::may_write;
use crate::app::{App, Page};
use crate::domain::{Access, AccessCommand, ApiKey, Assignment, Business, NewAssignment, Reach};
use crate::{Error, records};

/// Name of the list in page tokens.
const LIST: &str = "assignments";
/// Rows that one page reads at most to find visible ones.
const ROWS_READ_MAX: usize = 2000;

/// An assignment to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateAssignment {
    /// Who gets the role.
    pub key: ApiKeyId,
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
}

impl App {
    /// Assigns a role. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::GrantEscalation`] for more than the caller has, [`Error::TooManyAssignments`], [`Error::NotFound`]
    /// for a key, role or business out of sight, bad fields, or the journal.
    pub async fn create_assignment(
        &self,
        ctx: &Ctx,
        new: CreateAssignment,
        meta: Meta,
    ) -> Result<(Assignment, bool), Error> {
        let business = self.business(ctx, new.business.unwrap_or(ctx.business)).await?.business;
        let key = self.api_key(ctx, new.key).await?;
        self.may_assign(ctx, &new, &business, &key).await?;

        // The aggregate follows from the idempotency key, so that a retry finds what the first call made.
        let part = ids::RandomPart(meta.key.0);
        let aggregate = AssignmentId::derived(0, part, 0);
        let command = AccessCommand::Assign(NewAssignment {
            id: AssignmentId::derived(self.env.now().unix_ms(), part, 0),
            principal: Actor::new(ActorKind::ApiKey, key.issued.id.to_string()),
            role: new.role,
            business: business.id,
            reach: new.reach,
            valid_from: new.valid_from,
            valid_to: new.valid_to,
            created_by: ctx.actor.clone(),
        });
        let keep = if meta.keep == Keep::No { Keep::No } else { Keep::Forever };
        let meta = Meta { keep, ..meta };
        self.change_assignment(ctx, aggregate, command, meta).await
    }

    /// Decides whether the caller may make an assignment: of what they have, where they have it, for as long.
    async fn may_assign(
        &self,
        ctx: &Ctx,
        new: &CreateAssignment,
        business: &Business,
        key: &ApiKey,
    ) -> Result<(), Error> {
        let escalation = |field| Err(Error::GrantEscalation { field });
        let now = self.env.now();
        let bad = |field, reason, detail: &str| Err(Invalid::field(field, reason, detail).into());
        if new.valid_to.is_some_and(|end| end <= now) {
            return bad("assignment.valid_to", reason::OUT_OF_RANGE, "must be in the future");
        }
        if !key.is_alive(now) {
            return Err(Error::NotFound { what: "API key" });
        }
        if !key.issued.business().is_some_and(|home| business.is_within(home)) {
            let detail = "must be the business of the key or one below it";
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
        // A key that works from some networks only gives nothing to one that works from others.
        if let Some(own) = self.own_key(ctx).await? {
            let (allowed, theirs) = (&own.issued.ip_allow, &key.issued.ip_allow);
            let inside = theirs.iter().all(|one| allowed.iter().any(|network| network.covers(*one)));
            if !allowed.is_empty() && (theirs.is_empty() || !inside) {
                return escalation("api_key_id");
            }
        }
        let principal = Actor::new(ActorKind::ApiKey, key.issued.id.to_string());
        if ASSIGNMENTS_MAX <= self.assignments_of(ctx.tenant, &principal).await?.len() {
            return Err(Error::TooManyAssignments { max: ASSIGNMENTS_MAX });
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
