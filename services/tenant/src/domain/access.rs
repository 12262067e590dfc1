//! Roles of a tenant, and their assignment to principals.

use calendar::Instant;
use ids::{AssignmentId, BusinessId, RoleId};
use rpc::{Actor, Limits, Permissions};

use crate::Error;
use crate::domain::Role;

/// A role that the tenant made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustomRole {
    /// What it is called in requests; unique in the tenant, fixed.
    pub code: String,
    /// For people.
    pub description: String,
    /// What it may do, as members of [`Permissions`]; sorted, never empty.
    pub members: Vec<String>,
    /// Position of its last entry.
    pub revision: u64,
    /// When it was made.
    pub created_at: Instant,
    /// When it last changed.
    pub updated_at: Instant,
}

/// A role to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRole {
    /// See [`CustomRole::code`].
    pub code: String,
    /// See [`CustomRole::description`].
    pub description: String,
    /// See [`CustomRole::members`].
    pub members: Vec<String>,
}

/// What changes of a role; absent fields stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoleUpdate {
    /// The revision that the caller has seen; `None` is any.
    pub expected: Option<u64>,
    /// See [`CustomRole::description`].
    pub description: Option<String>,
    /// See [`CustomRole::members`].
    pub members: Option<Vec<String>>,
}

/// How far down an assignment reaches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reach {
    /// Its business only.
    Itself,
    /// Its business and all that lie below.
    Subtree,
}

/// The assignment of a role to a principal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// What was asked for when it was made.
    pub made: NewAssignment,
    /// When it was made.
    pub created_at: Instant,
    /// When it was revoked.
    pub revoked_at: Option<Instant>,
}

/// An assignment to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAssignment {
    /// Its id.
    pub id: AssignmentId,
    /// Who gets the role: an API key or a user.
    pub principal: Actor,
    /// The role.
    pub role: RoleId,
    /// Where.
    pub business: BusinessId,
    /// How far down.
    pub reach: Reach,
    /// From when on; `None` is at once.
    pub valid_from: Option<Instant>,
    /// Until when; `None` is until it is revoked.
    pub valid_to: Option<Instant>,
    /// The role counts within these only.
    pub limits: Limits,
    /// Who made it.
    pub created_by: Actor,
}

impl CustomRole {
    /// Longest description, in characters.
    pub const DESCRIPTION_CHARS_MAX: usize = 200;
    /// Most members.
    pub const MEMBERS_MAX: usize = 50;

    /// What it may do.
    pub fn permissions(&self) -> Permissions {
        Permissions::parse(&self.members).unwrap_or_default()
    }

    /// Decides what an update really changes; `None` if nothing.
    ///
    /// # Errors
    /// [`Error::StaleRevision`] when the caller has seen another revision.
    fn update(&self, update: &RoleUpdate) -> Result<Option<RoleUpdate>, Error> {
        if update.expected.is_some_and(|seen| seen != self.revision) {
            return Err(Error::StaleRevision { what: "role", current: self.revision });
        }
        let changed = RoleUpdate {
            expected: None,
            description: update.description.clone().filter(|wanted| *wanted != self.description),
            members: update.members.clone().filter(|wanted| *wanted != self.members),
        };
        Ok((changed != RoleUpdate::default()).then_some(changed))
    }
}

impl Assignment {
    /// Whether it gives something at `now`.
    pub fn is_live(&self, now: Instant) -> bool {
        self.revoked_at.is_none()
            && self.made.valid_from.is_none_or(|from| from <= now)
            && self.made.valid_to.is_none_or(|to| now < to)
    }

    /// Whether it speaks of the business at the end of `path`, which begins with the master.
    pub fn applies_to(&self, path: &[BusinessId]) -> bool {
        match self.made.reach {
            Reach::Itself => path.last() == Some(&self.made.business),
            Reach::Subtree => path.contains(&self.made.business),
        }
    }
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessCommand {
    /// Makes a role.
    CreateRole(NewRole),
    /// Changes a role.
    UpdateRole(RoleUpdate),
    /// Assigns a role.
    Assign(NewAssignment),
    /// Ends an assignment. Repeating it changes nothing.
    Revoke,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessEvent {
    /// A role was made.
    RoleCreated(NewRole),
    /// A role changed: the fields that did.
    RoleUpdated(RoleUpdate),
    /// A role was assigned.
    Assigned(NewAssignment),
    /// An assignment was revoked.
    Revoked,
}

/// The state of one aggregate: a role or an assignment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Access {
    /// Nothing happened yet.
    #[default]
    Unborn,
    /// A role, under the id that follows from its code.
    Role(CustomRole),
    /// An assignment.
    Assignment(Assignment),
}

impl Access {
    /// Decides what a command leads to. Pure: no clock, no I/O, `self` unchanged.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for what was made before or is a role of every tenant, [`Error::NotFound`] for
    /// what is not there, [`Error::StaleRevision`].
    pub fn decide(&self, command: &AccessCommand) -> Result<Vec<AccessEvent>, Error> {
        match (self, command) {
            (Access::Unborn, AccessCommand::CreateRole(new)) if Role::parse(&new.code).is_none() => {
                Ok(vec![AccessEvent::RoleCreated(new.clone())])
            }
            (Access::Unborn, AccessCommand::Assign(new)) => Ok(vec![AccessEvent::Assigned(new.clone())]),
            (Access::Role(role), AccessCommand::UpdateRole(update)) => {
                Ok(role.update(update)?.map(AccessEvent::RoleUpdated).into_iter().collect())
            }
            (Access::Assignment(assignment), AccessCommand::Revoke) => {
                Ok(if assignment.revoked_at.is_none() { vec![AccessEvent::Revoked] } else { vec![] })
            }
            (_, AccessCommand::CreateRole(_) | AccessCommand::Assign(_)) => Err(Error::AlreadyExists),
            (_, AccessCommand::UpdateRole(_)) => Err(Error::NotFound { what: "role" }),
            (_, AccessCommand::Revoke) => Err(Error::NotFound { what: "assignment" }),
        }
    }

    /// Changes the state as the event says. Cannot fail.
    pub fn evolve(&mut self, event: &AccessEvent, seq: u64, recorded_at: Instant) {
        match (&mut *self, event) {
            (_, AccessEvent::RoleCreated(new)) => {
                *self = Access::Role(CustomRole {
                    code: new.code.clone(),
                    description: new.description.clone(),
                    members: new.members.clone(),
                    revision: seq,
                    created_at: recorded_at,
                    updated_at: recorded_at,
                });
            }
            (Access::Role(role), AccessEvent::RoleUpdated(changed)) => {
                role.revision = seq;
                role.updated_at = recorded_at;
                if let Some(description) = &changed.description {
                    role.description.clone_from(description);
                }
                if let Some(members) = &changed.members {
                    role.members.clone_from(members);
                }
            }
            (_, AccessEvent::Assigned(new)) => {
                let made = new.clone();
                *self = Access::Assignment(Assignment { made, created_at: recorded_at, revoked_at: None });
            }
            (Access::Assignment(assignment), AccessEvent::Revoked) => {
                assignment.revoked_at = Some(recorded_at);
            }
            // `decide` lets these follow their own kind only; in damaged data `verify` finds the difference.
            (_, AccessEvent::RoleUpdated(_) | AccessEvent::Revoked) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rpc::ActorKind;

    use super::*;

    fn at(second: i64) -> Instant {
        Instant::from_unix_micros(second * 1_000_000)
    }

    fn business(byte: u8) -> BusinessId {
        BusinessId::from_bytes([byte; 16])
    }

    fn assignment(reach: Reach) -> Assignment {
        let actor = |id: &str| Actor::new(ActorKind::ApiKey, id);
        let made = NewAssignment {
            id: AssignmentId::from_bytes([1; 16]),
            principal: actor("key_a"),
            role: RoleId::from_bytes([2; 16]),
            business: business(2),
            reach,
            valid_from: Some(at(10)),
            valid_to: Some(at(20)),
            limits: Limits::default(),
            created_by: actor("key_b"),
        };
        Assignment { made, created_at: at(1), revoked_at: None }
    }

    /// API-6: an assignment speaks of its business or of the subtree, between two moments, until it is revoked.
    #[test]
    #[rustfmt::skip] // columns
    fn an_assignment_reaches_as_far_and_as_long_as_it_says() {
        let check = |reach, path: &[u8], expected: bool| {
            let path: Vec<BusinessId> = path.iter().copied().map(business).collect();
            assert_eq!(assignment(reach).applies_to(&path), expected, "{reach:?} {path:?}");
        };
        check(Reach::Itself,  &[1, 2],    true);
        check(Reach::Itself,  &[1, 2, 3], false);
        check(Reach::Itself,  &[1],       false);
        check(Reach::Subtree, &[1, 2],    true);
        check(Reach::Subtree, &[1, 2, 3], true);
        check(Reach::Subtree, &[1, 3],    false);
        check(Reach::Subtree, &[1],       false);

        for (second, expected) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(assignment(Reach::Itself).is_live(at(second)), expected, "{second}");
        }
        assert!(!Assignment { revoked_at: Some(at(12)), ..assignment(Reach::Itself) }.is_live(at(15)));
    }

    #[test]
    fn the_roles_of_every_tenant_are_nobodys_to_make() {
        for role in Role::ALL {
            let new = NewRole { code: role.code().to_owned(), description: String::new(), members: vec![] };
            assert_eq!(Access::Unborn.decide(&AccessCommand::CreateRole(new)), Err(Error::AlreadyExists));
        }
    }
}
