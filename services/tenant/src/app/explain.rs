//! Says why somebody may do something, or may not.

use authz::{Decision, Kind};
use ids::BusinessId;
use problem::{Invalid, reason};
use rpc::{ActorKind, Ctx, Limits, Permissions, Refused};

use crate::Error;
use crate::app::App;
use crate::app::assignments::Who;
use crate::app::granted::own_there;
use crate::domain::User;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// Whom it is about; `None` is the caller.
    pub who: Option<Who>,
    /// What is to be done: `stock.post`.
    pub permission: String,
    /// Where; `None` is the caller's business.
    pub business: Option<BusinessId>,
}

/// What decides, in the order in which it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// The credential is revoked or expired, or its user is not active.
    Credential,
    /// The business is out of reach.
    BusinessScope,
    /// What was granted.
    Permission,
}

/// Permissions, and where they come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Source {
    /// `key`, `user`, `assignment`; `system` for the platform.
    pub kind: &'static str,
    /// `key_…`, `usr_…`, `asg_…`.
    pub id: String,
    /// Code of the role; empty without one.
    pub role: String,
    /// As members of [`rpc::Permissions`].
    pub members: Vec<String>,
    /// Within what they count.
    pub limits: Limits,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// Whether it may be done.
    pub allowed: bool,
    /// What decided.
    pub gate: Gate,
    /// The policies that did; empty when nothing permits it.
    pub policies: Vec<String>,
    /// What would let it in; empty when it is allowed.
    pub fix: String,
    /// What the principal has there.
    pub grants: Vec<Source>,
    /// Whether it is allowed within the limits of some grants only.
    pub limited: bool,
}

impl App {
    /// Asks the same policies as the guard, and says which of them decided.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a key, user or business out of sight, [`Refused::PermissionDenied`] to ask about others
    /// without `assignment.read`, a permission that does not exist, or the journal.
    pub async fn explain(&self, ctx: &Ctx, asked: Explanation) -> Result<Explained, Error> {
        let authorizer = authz::authorizer();
        let known = authorizer.permissions().contains(&asked.permission.as_str());
        if !known || asked.permission.starts_with("internal.") {
            let detail = format!("there is no permission '{}'", asked.permission);
            return Err(Invalid::field("permission", reason::UNKNOWN_VALUE, detail).into());
        }
        let caller = Who::calls(ctx);
        if asked.who.is_some() && asked.who != caller && !ctx.permissions.allows("assignment.read") {
            return Err(Refused::PermissionDenied { permission: "assignment.read" }.into());
        }
        let place = self.business(ctx, asked.business.unwrap_or(ctx.business)).await?.business;
        let now = self.env.now();
        let mut own =
            Source { kind: ctx.actor.kind.name(), id: ctx.actor.id.to_string(), ..Source::default() };
        let (actor, home, permissions) = match asked.who.or(caller) {
            Some(who) => {
                let holder = self.holder(ctx, who).await?;
                let actor = who.actor();
                let Some(permissions) = holder.own else {
                    let fix = match who {
                        Who::Key(_) => "make another key: this one has ended, or who made it",
                        Who::User(_) => "have the user accept its invitation, or let it in again",
                    };
                    let (gate, policies, grants) = (Gate::Credential, vec![], vec![]);
                    let (allowed, limited, fix) = (false, false, fix.to_owned());
                    return Ok(Explained { allowed, gate, policies, fix, grants, limited });
                };
                let kind = if matches!(who, Who::Key(_)) { "key" } else { "user" };
                let (id, role) = (actor.id.to_string(), holder.role.code().to_owned());
                own = Source { kind, id, role, ..Source::default() };
                (actor, holder.home, permissions)
            }
            None => (ctx.actor.clone(), ctx.business, Permissions::clone(&ctx.permissions)),
        };
        let mut by_itself = own_there(permissions.clone(), home == place.id);
        if actor.kind == ActorKind::User {
            by_itself = by_itself.union(&User::own_permissions());
        }
        own.members = by_itself.members().collect();
        let mut grants = vec![own];
        for assigned in self.assigned(ctx.tenant, &actor, place.id, now).await? {
            grants.push(Source {
                kind: "assignment",
                id: assigned.assignment.made.id.to_string(),
                role: assigned.role.code().to_owned(),
                members: assigned.role.permissions().members().collect(),
                limits: assigned.assignment.made.limits,
            });
        }
        let id = place.id.to_string();
        let resource = authz::Resource::business(ctx.tenant, &id, &place.path);
        let decide = |business, grants: Vec<String>| {
            let kind = match actor.kind {
                ActorKind::ApiKey => Kind::ApiKey,
                ActorKind::User => Kind::User,
                ActorKind::System => Kind::System,
            };
            let principal = authz::Principal { kind, id: &actor.id, tenant: ctx.tenant, business, grants };
            authorizer.decide(&principal, &asked.permission, &resource, &[])
        };
        // From its home it may be out of reach; where it is within, what was granted there decides.
        let reached = decide(home, permissions.members().collect());
        let decide_there = |limited: bool| {
            // A limited grant counts for calls that keep to its limits, and for this permission there may be none.
            let rules = || proto::rules().values().filter(|rule| rule.permission == asked.permission);
            let counts = |limits: &Limits| limited && rules().any(|rule| limits.count_for(rule));
            let count = grants.iter().filter(|source| source.limits.is_none() || counts(&source.limits));
            decide(place.id, count.flat_map(|source| source.members.iter().cloned()).collect())
        };
        let mut there = decide_there(false);
        let limited = !there.allowed && decide_there(true).allowed;
        if limited {
            there = decide_there(true);
        }
        let out_of_reach = reached.by.iter().any(|policy| policy == "forbid:out-of-reach");
        let (gate, decision) = match there.allowed {
            true if !out_of_reach => (Gate::Permission, there),
            _ if !reached.by.is_empty() && !reached.allowed => (Gate::BusinessScope, reached),
            _ => (Gate::Permission, there),
        };
        let Decision { allowed, by: policies, fix } = decision;
        Ok(Explained { allowed, gate, policies, fix, grants, limited: limited && allowed })
    }
}
