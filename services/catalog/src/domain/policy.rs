//! What businesses let those below them say about products and prices. One aggregate for all businesses of a tenant.

use calendar::Instant;
use ids::BusinessId;
use inherit::{Existing, Mode, Policies, Policy, Reach, Refused};
use problem::{Invalid, reason};

use crate::Error;

/// Most versions of one policy.
pub const POLICIES_MAX: usize = 200;

/// A wish for a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPolicy {
    /// Who says it.
    pub owner: BusinessId,
    /// About which group of fields.
    pub group: String,
    /// What those below may do.
    pub mode: Mode,
    /// Which of them.
    pub reach: Reach,
    /// From when on; now when absent.
    pub effective_from: Option<Instant>,
    /// What becomes of overrides that it locks.
    pub existing: Existing,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The overrides about these fields that were found, if the wish depends on them.
    pub standing: Vec<Standing>,
}

/// An override: the path from the root to the business that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing(pub Vec<BusinessId>);

/// A policy was set: what is said from now on, beside what was said before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet(pub Policy);

impl SetPolicy {
    /// Decides which policy it becomes, over those of the same owner. A beginning in the past is now: what held
    /// at a moment that has passed does not change.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::OverridesExist`], [`Error::LimitReached`].
    pub fn decide(&self, policies: &Policies, now: Instant) -> Result<PolicySet, Error> {
        let Some((_, group)) = super::group(&self.group) else {
            let detail = format!("'{}' is no group of fields", self.group);
            return Err(Invalid::field("policy.field_group", reason::UNKNOWN_VALUE, detail).into());
        };
        let version = policies.next_version(self.owner, group.name);
        if version > POLICIES_MAX as u64 {
            return Err(Error::LimitReached { what: "versions of a policy", max: POLICIES_MAX });
        }
        let policy = Policy {
            owner: self.owner,
            group: self.group.clone(),
            mode: self.mode,
            reach: self.reach.clone(),
            effective_from: self.effective_from.unwrap_or(now).max(now),
            version,
            existing: self.existing,
            recorded_at: now,
            by: self.by.clone(),
            reason: self.reason.clone(),
        };
        let always_there = group.fields.iter().any(|field| ["name", "status"].contains(&field.name));
        if policy.mode == Mode::Local && always_there {
            let detail = "must not be 'LOCAL': every product has a name and a status";
            return Err(Invalid::field("policy.mode", reason::NOT_ALLOWED, detail).into());
        }
        policy.check(group).map_err(|refused| {
            let (field, why) = match refused {
                Refused::Fixed => ("policy.field_group", reason::NOT_ALLOWED),
                Refused::NoList => ("policy.mode", reason::NOT_ALLOWED),
                Refused::Grace => ("policy.grace_until", reason::OUT_OF_RANGE),
                Refused::Names => ("policy.businesses", reason::OUT_OF_RANGE),
            };
            Invalid::field(field, why, refused.to_string())
        })?;
        let lines = self.standing.iter().filter_map(|Standing(path)| inherit::line(path, self.owner));
        let standing: Vec<_> = lines.map(|line| inherit::Standing { line, group: group.name }).collect();
        let businesses = inherit::conflicts(&policy, &standing);
        if !businesses.is_empty() {
            return Err(Error::OverridesExist { businesses });
        }
        Ok(PolicySet(policy))
    }
}
