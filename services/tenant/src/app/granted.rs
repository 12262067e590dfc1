//! What a principal may do in a business, and where that comes from.

use calendar::Instant;
use ids::{BusinessId, TenantId};
use journal::Aggregate as _;
use rpc::{Actor, ActorKind, Ctx, Limited, Limits, Permissions};

use crate::app::App;
use crate::app::roles::{AnyRole, outlasts};
use crate::domain::{Access, Assignment, Reach};
use crate::{Error, records};

/// Most assignments that a principal has at a time.
pub const ASSIGNMENTS_MAX: usize = 50;
/// Most that are looked at: more can be there for a moment, when several are made at once.
const ASSIGNMENTS_READ_MAX: usize = 2 * ASSIGNMENTS_MAX;

/// Greatest length of what a principal has within limits, as it travels with its calls: half of what a signed
/// context may be.
pub(super) const LIMITED_BYTES_MAX: usize = 6 * 1024;

/// Length of a limited role as it travels, about.
pub(super) fn limited_bytes(permissions: &Permissions, limits: &Limits) -> usize {
    permissions.members().map(|member| member.len() + 2).sum::<usize>() + limits.encoded_len() + 4
}

/// An assignment that gives something now, with its role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// The assignment.
    pub assignment: Assignment,
    /// Its role, as it is today.
    pub role: AnyRole,
}

/// What a caller has without assignments.
pub(super) struct Own {
    /// What it was made with.
    pub(super) permissions: Permissions,
    /// The business that it belongs to.
    pub(super) home: BusinessId,
    /// Until when; `None` is for ever.
    pub(super) ends_at: Option<Instant>,
}

/// What of a key's own permissions counts in its business (`here`) or in one below: there it takes
/// `descendants.write` for all of them, and `descendants.read` for those that change nothing (HIE-10).
pub(super) fn own_there(own: Permissions, here: bool) -> Permissions {
    if here || own.allows("descendants.write") {
        return own;
    }
    if !own.allows("descendants.read") {
        return Permissions::default();
    }
    let authorizer = authz::authorizer();
    let reads = authorizer.permissions().into_iter();
    let reads = reads.filter(|permission| authorizer.reads(permission) && own.allows(permission));
    Permissions::parse(reads).unwrap_or_default()
}

impl App {
    /// All assignments of a principal that are not revoked, oldest first.
    pub(super) async fn assignments_of(
        &self,
        tenant: TenantId,
        principal: &Actor,
    ) -> Result<Vec<Assignment>, Error> {
        let prefix = records::assigned_key(principal);
        let store = self.access.store();
        let rows = store.index(tenant, records::ASSIGNED, prefix, None, ASSIGNMENTS_READ_MAX).await;
        let mut found = Vec::new();
        for row in rows.map_err(journal::Error::from)? {
            if let Access::Assignment(assignment) =
                Access::from_header(&row.value).map_err(journal::Error::from)?
            {
                found.push(assignment);
            }
        }
        Ok(found)
    }

    /// What is assigned to a principal, at `now`, in the business with `id`.
    ///
    /// # Errors
    /// The journal.
    pub async fn assigned(
        &self,
        tenant: TenantId,
        principal: &Actor,
        id: BusinessId,
        now: Instant,
    ) -> Result<Vec<Assigned>, Error> {
        let mut live = self.assignments_of(tenant, principal).await?;
        live.retain(|assignment| assignment.is_live(now));
        if live.is_empty() {
            return Ok(vec![]);
        }
        let Some(path) = self.tree(tenant).await?.path(id) else { return Ok(vec![]) };
        let mut found = Vec::with_capacity(live.len());
        for assignment in live.into_iter().filter(|assignment| assignment.applies_to(&path)) {
            let role = self.role(tenant, assignment.made.role).await?;
            found.push(Assigned { assignment, role });
        }
        Ok(found)
    }

    /// What a principal has in `place`, its home or a business below: its own permissions as far as they count
    /// there, and what is assigned to it. Nothing: it does not reach that far.
    ///
    /// # Errors
    /// The journal.
    pub(super) async fn held(
        &self,
        tenant: TenantId,
        principal: &Actor,
        own: Permissions,
        home: BusinessId,
        place: BusinessId,
        now: Instant,
    ) -> Result<Permissions, Error> {
        let mut held = own_there(own, home == place);
        let (mut limited, mut bytes) = (Vec::new(), 0);
        for assigned in self.assigned(tenant, principal, place, now).await? {
            let permissions = assigned.role.permissions();
            let limits = assigned.assignment.made.limits;
            if limits.is_none() {
                held = held.union(&permissions);
                continue;
            }
            // A role may have grown since: what does not fit any more does not count.
            let more = limited_bytes(&permissions, &limits);
            if LIMITED_BYTES_MAX < bytes + more {
                let id = assigned.assignment.made.id;
                tracing::warn!(assignment = %id, "limited roles of one principal are too large together");
                continue;
            }
            bytes += more;
            limited.push(Limited { permissions, limits });
        }
        Ok(held.with_limited(limited))
    }

    /// What the caller has for good: without what is assigned to it, which can be revoked while what it made with
    /// that would stay.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] for a key or user that has ended since: a context outlives its credential by
    /// some seconds, and what it could leave behind would stay. Or the journal.
    pub(super) async fn own(&self, ctx: &Ctx) -> Result<Own, Error> {
        match ctx.actor.kind {
            ActorKind::ApiKey => {
                let key = self.own_key(ctx).await?.filter(|key| key.is_alive(self.env.now()));
                let key = key.ok_or(Error::InvalidCredentials)?;
                let permissions = key.permissions().unwrap_or_default();
                let home = key.issued.business().unwrap_or(ctx.business);
                Ok(Own { permissions, home, ends_at: key.issued.expires_at })
            }
            ActorKind::User => {
                let user = self.own_user(ctx).await?;
                let permissions = user.permissions().ok_or(Error::InvalidCredentials)?;
                Ok(Own { permissions, home: user.profile.business, ends_at: None })
            }
            ActorKind::System => {
                let permissions = Permissions::clone(&ctx.permissions);
                Ok(Own { permissions, home: ctx.business, ends_at: None })
            }
        }
    }

    /// What the caller has in the business at the end of `path` until `end` (`None` is for ever), and, when
    /// `below`, in all that lie under it too: what can be given on.
    pub(super) async fn lasting(
        &self,
        ctx: &Ctx,
        path: &[BusinessId],
        below: bool,
        end: Option<Instant>,
    ) -> Result<Permissions, Error> {
        let now = self.env.now();
        let Some(place) = path.last().copied() else { return Ok(Permissions::default()) };
        let own = self.own(ctx).await?;
        let mut held = match outlasts(own.ends_at, end) {
            true => own_there(own.permissions, !below && own.home == place),
            false => Permissions::default(),
        };
        for Assigned { assignment, role } in self.assigned(ctx.tenant, &ctx.actor, place, now).await? {
            if !assignment.made.limits.is_none() {
                continue; // what is limited is not given on
            }
            let far = !below || assignment.made.reach == Reach::Subtree;
            if far && outlasts(assignment.made.valid_to, end) {
                held = held.union(&role.permissions());
            }
        }
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HIE-10: reaching down is a permission, not a consequence of being above.
    #[test]
    #[rustfmt::skip] // columns
    fn below_its_business_a_key_needs_the_permission_to_reach_down() {
        let check = |own: &str, wanted: &str, here: bool, below: bool| {
            let own = Permissions::parse(own.split_whitespace()).unwrap();
            let found = [true, false].map(|at_home| own_there(own.clone(), at_home).allows(wanted));
            assert_eq!(found, [here, below], "{own:?} {wanted}");
        };
        check("*",                            "stock.post", true,  true);
        check("*.read",                       "stock.read", true,  true);
        check("*.read",                       "stock.post", false, false);
        check("stock.*",                      "stock.read", true,  false);
        check("stock.*",                      "stock.post", true,  false);
        check("stock.* descendants.read",     "stock.read", true,  true);
        check("stock.* descendants.read",     "stock.post", true,  false);
        check("stock.* descendants.write",    "stock.post", true,  true);
        check("stock.post descendants.*",     "stock.read", false, false);
    }
}
