//! The guard before a write, and what a new lock meets.

use calendar::Instant;
use ids::BusinessId;

use crate::{Existing, Group, Mode, Policies, Policy, Purpose, Record, Ruling, Said, Value, resolve};

/// A field that the business may not change: `INHERITED_LOCKED`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{field}' is inherited and locked")]
pub struct Locked {
    /// Which field.
    pub field: String,
    /// Its group.
    pub group: &'static str,
    /// Whose policy locks it.
    pub owner: BusinessId,
    /// The version of that policy; 0 for what holds without one.
    pub version: u64,
    /// `LOCKED`, or `EXTEND` for a wish to take something from a list.
    pub mode: Mode,
}

/// Decides whether the business at the end of `line`, which is not the owner, may say `wanted` about a field,
/// and what is to be kept as its override. Where lists are extended, `wanted` is the whole list, and what is
/// kept is what it adds.
///
/// # Errors
/// [`Locked`] when a policy above locks the field, or when `wanted` lacks an inherited item of a list that
/// may only be extended.
///
/// # Panics
/// When `line` has only the owner: it says what it wants.
pub fn prepare(
    record: &impl Record,
    policies: &Policies,
    group: &'static Group,
    field: &str,
    line: &[BusinessId],
    wanted: &Value,
    at: Instant,
) -> Result<Value, Locked> {
    assert!(line.len() > 1, "the owner of a record writes to the record itself");
    let ruling = policies.ruling(group, line, at, Purpose::Write);
    let locked = |ruling: Ruling| Locked {
        field: field.to_owned(),
        group: group.name,
        owner: ruling.owner,
        version: ruling.version,
        mode: ruling.mode,
    };
    match (ruling.mode, wanted) {
        (Mode::Locked, _) => Err(locked(ruling)),
        (Mode::Extend, Value::List(wanted)) => {
            let above = Reached { record, line };
            let above = resolve(&above, policies, group, field, &line[..line.len() - 1], at).value;
            let above = if let Some(Value::List(above)) = above { above } else { vec![] };
            if above.iter().any(|item| !wanted.contains(item)) {
                return Err(locked(ruling));
            }
            let added = wanted.iter().filter(|item| !above.contains(item));
            Ok(Value::List(added.cloned().collect()))
        }
        _ => Ok(wanted.clone()),
    }
}

/// A record as it has reached one business: what comes to it from above is what the owner says to it, not to its
/// parent, which a version may not have reached.
struct Reached<'a, R> {
    record: &'a R,
    line: &'a [BusinessId],
}

impl<R: Record> Record for Reached<'_, R> {
    fn own(&self, field: &str, _: &[BusinessId], at: Instant) -> Said {
        self.record.own(field, self.line, at)
    }

    fn said(&self, business: BusinessId, field: &str) -> Option<&Said> {
        self.record.said(business, field)
    }
}

/// An override that counts now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The way from the owner of the policy to the business that has it.
    pub line: &'a [BusinessId],
    /// The group of its field.
    pub group: &'a str,
}

/// The businesses whose overrides keep `policy` from being made, each once: those that it locks, if it says so.
#[must_use]
pub fn conflicts(policy: &Policy, standing: &[Standing<'_>]) -> Vec<BusinessId> {
    if policy.mode != Mode::Locked || policy.existing != Existing::Reject {
        return vec![];
    }
    let mut found = Vec::new();
    for one in standing.iter().filter(|one| one.group == policy.group) {
        let [owner, below @ ..] = one.line else { continue };
        if let Some(business) = below.last()
            && *owner == policy.owner
            && policy.reach.covers(below)
            && !found.contains(business)
        {
            found.push(*business);
        }
    }
    found
}
