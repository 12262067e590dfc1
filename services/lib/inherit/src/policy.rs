//! What a business lets those below it say.

use calendar::Instant;
use ids::BusinessId;

use crate::{BUSINESSES_MAX, Group};

/// What a business may do with a group of fields that it inherits; a later one is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Each business says for itself; nothing is inherited.
    Local,
    /// The nearest business that said something counts.
    Overridable,
    /// Lists grow on the way down; nothing is taken away.
    Extend,
    /// What the owner of the policy has is what all below it have.
    Locked,
}

impl Mode {
    /// `LOCKED`, `OVERRIDABLE`, `EXTEND`, `LOCAL`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Local => "LOCAL",
            Mode::Overridable => "OVERRIDABLE",
            Mode::Extend => "EXTEND",
            Mode::Locked => "LOCKED",
        }
    }
}

/// Which businesses below an owner. A business that is named stands for all below it, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// All.
    Subtree,
    /// These.
    Only(Vec<BusinessId>),
    /// All but these.
    Except(Vec<BusinessId>),
}

impl Reach {
    /// Whether the business at the end of `below` is reached. `below` is the way from just below the owner;
    /// it is empty for the owner itself.
    #[must_use]
    pub fn covers(&self, below: &[BusinessId]) -> bool {
        let named = |names: &[BusinessId]| below.iter().any(|business| names.contains(business));
        match self {
            Reach::Subtree => true,
            Reach::Only(names) => named(names),
            Reach::Except(names) => !named(names),
        }
    }

    /// The businesses that are named.
    #[must_use]
    pub fn names(&self) -> &[BusinessId] {
        match self {
            Reach::Subtree => &[],
            Reach::Only(names) | Reach::Except(names) => names,
        }
    }
}

/// What becomes of overrides that a lock meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The lock is refused while there are any.
    Reject,
    /// They are kept and do not count; they count again when the lock goes.
    Suspend,
    /// They count until then, and are suspended from then on. New ones are refused at once.
    Grace(Instant),
}

/// What a business says about a group of fields of its records and of those that it inherits, for those
/// below it. A later version takes the place of an earlier one; none is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Who says it.
    pub owner: BusinessId,
    /// About which group of fields.
    pub group: String,
    /// What those below may do.
    pub mode: Mode,
    /// Which of them.
    pub reach: Reach,
    /// From when on.
    pub effective_from: Instant,
    /// 1, 2, 3, … in the key (owner, group).
    pub version: u64,
    /// What becomes of overrides that it locks.
    pub existing: Existing,
    /// When it was said.
    pub recorded_at: Instant,
    /// Who said it, as far as it is known where this was read.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
}

/// Why there can be no such policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The mode of the group is fixed.
    #[error("the mode of this group cannot be changed")]
    Fixed,
    /// A field of the group is no list.
    #[error("only lists can be extended")]
    NoList,
    /// The grace ends before the lock begins, or there is no lock.
    #[error("a grace belongs to a lock and ends after its beginning")]
    Grace,
    /// A reach that names nobody, or too many.
    #[error("must name from '1' to '{BUSINESSES_MAX}' businesses")]
    Names,
}

impl Policy {
    /// Checks what can be wrong with a policy about `group`.
    ///
    /// # Errors
    /// What it is.
    pub fn check(&self, group: &Group) -> Result<(), Refused> {
        if group.fixed {
            return Err(Refused::Fixed);
        }
        if self.mode == Mode::Extend && !group.fields.iter().all(|field| field.is_list) {
            return Err(Refused::NoList);
        }
        if let Existing::Grace(until) = self.existing
            && (self.mode != Mode::Locked || until <= self.effective_from)
        {
            return Err(Refused::Grace);
        }
        let names = self.reach.names().len();
        if self.reach != Reach::Subtree && !(1..=BUSINESSES_MAX).contains(&names) {
            return Err(Refused::Names);
        }
        Ok(())
    }

    /// Whether it counts at `at`.
    fn counts(&self, at: Instant, purpose: Purpose) -> bool {
        let waits = matches!(self.existing, Existing::Grace(until) if at < until);
        self.effective_from <= at && !(purpose == Purpose::Read && waits)
    }
}

/// What a ruling is asked for: a lock with a grace counts for writes at once, for reads when the grace is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Finding what holds.
    Read,
    /// Deciding whether something may be said.
    Write,
}

/// The policy that decides for a business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling {
    /// What the business may do.
    pub mode: Mode,
    /// Whose policy it is.
    pub owner: BusinessId,
    /// Its version; 0 for what holds without a policy.
    pub version: u64,
}

/// The policies about one kind of record, of all businesses or of those on a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    all: Vec<Policy>,
}

impl Policies {
    /// Adds a policy.
    pub fn add(&mut self, policy: Policy) {
        self.all.push(policy);
    }

    /// Every version of every policy, in the order in which they were added.
    #[must_use]
    pub fn all(&self) -> &[Policy] {
        &self.all
    }

    /// The version that the next policy of `owner` about `group` has.
    #[must_use]
    pub fn next_version(&self, owner: BusinessId, group: &str) -> u64 {
        let same = self.all.iter().filter(|policy| policy.owner == owner && policy.group == group);
        same.map(|policy| policy.version).max().unwrap_or(0) + 1
    }

    /// The policy of `owner` about `group` that counts: the one that began last, the later version of two
    /// that begin together.
    #[must_use]
    pub fn in_force(&self, owner: BusinessId, group: &str, at: Instant, purpose: Purpose) -> Option<&Policy> {
        let same = self.all.iter().filter(|policy| policy.owner == owner && policy.group == group);
        let counting = same.filter(|policy| policy.counts(at, purpose));
        counting.max_by_key(|policy| (policy.effective_from, policy.version))
    }

    /// What decides for the business at the end of `line`: the strictest of what the businesses above it say,
    /// up to the owner of the record; of equally strict ones that of the highest business.
    ///
    /// # Panics
    /// When `line` is empty.
    #[must_use]
    pub fn ruling(&self, group: &Group, line: &[BusinessId], at: Instant, purpose: Purpose) -> Ruling {
        let default = Ruling { mode: group.mode, owner: line[0], version: 0 };
        if group.fixed {
            return default;
        }
        let mut ruling = default;
        for (level, owner) in line[..line.len() - 1].iter().enumerate() {
            let Some(policy) = self.in_force(*owner, group.name, at, purpose) else { continue };
            let applies = policy.reach.covers(&line[level + 1..]);
            if applies && (level == 0 || policy.mode > ruling.mode) {
                ruling = Ruling { mode: policy.mode, owner: *owner, version: policy.version };
            }
        }
        ruling
    }
}
