//! Access of whoever runs the server to the data of a tenant: asked for with a reason, granted by the tenant, for a
//! time, and ended by either. Without one there is none.

use calendar::Instant;
use ids::{ApiKeyId, OperatorAccessId};

use crate::Error;
use crate::domain::Role;

const HOUR_SECONDS: i64 = 3600;

/// Where a request for access is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OperatorStatus {
    /// The tenant has not decided.
    Requested,
    /// It has agreed, until a moment.
    Granted {
        /// The end.
        until: Instant,
    },
    /// It has not agreed.
    Refused,
    /// It was ended before its time, or its time is over.
    Ended,
}

/// A request of the operator, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperatorAccess {
    /// Its id.
    pub id: OperatorAccessId,
    /// What it is for.
    pub reason: String,
    /// What the operator may do with it: look, or work with goods as well. Nothing that gives rights.
    pub role: Role,
    /// For how long, from when it is granted.
    pub hours: u32,
    /// What became of it.
    pub status: OperatorStatus,
    /// The key that the operator got, once it was opened.
    pub key: Option<ApiKeyId>,
    /// When it was asked for.
    pub requested_at: Instant,
    /// Position of its last entry.
    pub revision: u64,
}

/// One aggregate: an access, or nothing yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Operator(pub Option<OperatorAccess>);

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OperatorCommand {
    /// The operator asks.
    Request {
        /// See [`OperatorAccess::id`].
        id: OperatorAccessId,
        /// See [`OperatorAccess::reason`].
        reason: String,
        /// See [`OperatorAccess::role`].
        role: Role,
        /// See [`OperatorAccess::hours`].
        hours: u32,
    },
    /// The tenant agrees.
    Grant,
    /// The operator gets a key, once.
    Open {
        /// The key.
        key: ApiKeyId,
    },
    /// The tenant refuses, or ends it.
    End,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OperatorEvent {
    /// The operator asked.
    Requested(OperatorAccess),
    /// The tenant agreed.
    Granted {
        /// Until when.
        until: Instant,
    },
    /// The operator got a key.
    Opened {
        /// Which.
        key: ApiKeyId,
    },
    /// The tenant refused.
    Refused,
    /// The tenant ended it.
    Ended,
}

impl OperatorStatus {
    /// What it is at a moment: what was granted ends by itself.
    pub fn at(self, now: Instant) -> OperatorStatus {
        match self {
            OperatorStatus::Granted { until } if until <= now => OperatorStatus::Ended,
            other => other,
        }
    }
}

impl OperatorAccess {
    /// Longest reason, in characters.
    pub const REASON_CHARS_MAX: usize = 500;
    /// Longest access, in hours.
    pub const HOURS_MAX: u32 = 72;
    /// Roles that can be asked for: neither can give rights, so neither can prolong itself.
    pub const ROLES: [Role; 2] = [Role::Viewer, Role::Clerk];
}

impl Operator {
    /// Decides what a command leads to. Pure. Repeating what was decided changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::AlreadyExists`], [`Error::IllegalTransition`].
    pub fn decide(&self, command: &OperatorCommand, now: Instant) -> Result<Vec<OperatorEvent>, Error> {
        let illegal = |why| Err(Error::IllegalTransition { why });
        let access = match (&self.0, command) {
            (None, OperatorCommand::Request { id, reason, role, hours }) => {
                let access = OperatorAccess {
                    id: *id,
                    reason: reason.clone(),
                    role: *role,
                    hours: *hours,
                    status: OperatorStatus::Requested,
                    key: None,
                    requested_at: now,
                    revision: 1,
                };
                return Ok(vec![OperatorEvent::Requested(access)]);
            }
            (Some(_), OperatorCommand::Request { .. }) => return Err(Error::AlreadyExists),
            (None, _) => return Err(Error::NotFound { what: "operator access" }),
            (Some(access), _) => access,
        };
        match (access.status.at(now), command) {
            (OperatorStatus::Requested, OperatorCommand::Grant) => {
                let until = now.plus_seconds(i64::from(access.hours) * HOUR_SECONDS);
                Ok(vec![OperatorEvent::Granted { until }])
            }
            (OperatorStatus::Granted { .. }, OperatorCommand::Grant) => Ok(vec![]),
            (OperatorStatus::Granted { .. }, OperatorCommand::Open { key }) if access.key.is_none() => {
                Ok(vec![OperatorEvent::Opened { key: *key }])
            }
            (OperatorStatus::Granted { .. }, OperatorCommand::Open { .. }) => {
                illegal("its key was given out before: ask for another access")
            }
            (OperatorStatus::Requested, OperatorCommand::Open { .. }) => {
                illegal("the tenant has not granted it")
            }
            (OperatorStatus::Requested, OperatorCommand::End) => Ok(vec![OperatorEvent::Refused]),
            (OperatorStatus::Granted { .. }, OperatorCommand::End) => Ok(vec![OperatorEvent::Ended]),
            (OperatorStatus::Refused | OperatorStatus::Ended, OperatorCommand::End) => Ok(vec![]),
            (OperatorStatus::Refused, _) => illegal("it was refused"),
            (OperatorStatus::Ended, _) => illegal("it has ended"),
            (_, OperatorCommand::Request { .. }) => Err(Error::AlreadyExists),
        }
    }

    /// Changes it as the event says. Cannot fail.
    pub fn evolve(&mut self, event: &OperatorEvent, seq: u64) {
        if let OperatorEvent::Requested(access) = event {
            self.0 = Some(access.clone());
        }
        let Some(access) = &mut self.0 else { return };
        match event {
            OperatorEvent::Requested(_) => {}
            OperatorEvent::Granted { until } => access.status = OperatorStatus::Granted { until: *until },
            OperatorEvent::Opened { key } => access.key = Some(*key),
            OperatorEvent::Refused => access.status = OperatorStatus::Refused,
            OperatorEvent::Ended => access.status = OperatorStatus::Ended,
        }
        access.revision = seq;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant::from_unix_micros(seconds * 1_000_000)
    }

    fn ask(operator: &mut Operator, command: &OperatorCommand, now: i64) -> Result<usize, Error> {
        let events = operator.decide(command, at(now))?;
        for event in &events {
            let seq = operator.0.as_ref().map_or(1, |access| access.revision + 1);
            operator.evolve(event, seq);
        }
        Ok(events.len())
    }

    fn requested() -> Operator {
        let mut operator = Operator::default();
        let id = OperatorAccessId::from_bytes([1; 16]);
        let request =
            OperatorCommand::Request { id, reason: "help".to_owned(), role: Role::Viewer, hours: 2 };
        assert_eq!(ask(&mut operator, &request, 0), Ok(1));
        operator
    }

    const OPEN: OperatorCommand = OperatorCommand::Open { key: ApiKeyId::from_bytes([2; 16]) };

    /// TEN-11: nothing before the tenant agrees, a key once, and an end by itself.
    #[test]
    fn it_is_granted_for_a_time_and_opened_once() {
        let mut operator = requested();
        let illegal = |done| matches!(done, Err(Error::IllegalTransition { .. }));
        assert!(illegal(ask(&mut operator, &OPEN, 1)));
        assert_eq!(ask(&mut operator, &OperatorCommand::Grant, 10), Ok(1));
        assert_eq!(ask(&mut operator, &OperatorCommand::Grant, 11), Ok(0));
        assert_eq!(ask(&mut operator, &OPEN, 12), Ok(1));
        assert!(illegal(ask(&mut operator, &OPEN, 13)), "a key is shown once");
        let status = operator.0.as_ref().unwrap().status;
        assert_eq!(status, OperatorStatus::Granted { until: at(7210) });
        assert_eq!(status.at(at(7210)), OperatorStatus::Ended);
        assert!(illegal(ask(&mut operator, &OperatorCommand::Grant, 7210)));
    }

    #[test]
    fn it_is_refused_or_ended_and_stays_so() {
        let illegal = |done| matches!(done, Err(Error::IllegalTransition { .. }));
        let mut operator = requested();
        assert_eq!(ask(&mut operator, &OperatorCommand::End, 1), Ok(1));
        assert_eq!(operator.0.as_ref().unwrap().status, OperatorStatus::Refused);
        assert_eq!(ask(&mut operator, &OperatorCommand::End, 2), Ok(0));
        assert!(illegal(ask(&mut operator, &OperatorCommand::Grant, 3)));

        let mut operator = requested();
        ask(&mut operator, &OperatorCommand::Grant, 1).unwrap();
        assert_eq!(ask(&mut operator, &OperatorCommand::End, 2), Ok(1));
        assert!(illegal(ask(&mut operator, &OPEN, 3)));
        assert!(illegal(ask(&mut operator, &OperatorCommand::Grant, 3)));
    }

    #[test]
    fn nobody_who_was_let_in_can_let_himself_in_again() {
        for role in OperatorAccess::ROLES {
            assert!(!role.permissions().allows("operator.grant"), "{role:?}");
            assert!(!role.permissions().allows("key.create"), "{role:?}");
        }
    }
}
