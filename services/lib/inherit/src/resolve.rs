//! What holds in a business, and where it comes from.

use calendar::Instant;
use ids::BusinessId;

use crate::{Group, Mode, Policies, Purpose, Ruling, Said, Value};

/// A record with what businesses say about its fields.
pub trait Record {
    /// What the owner says, as it has reached the business at the end of `line`.
    fn own(&self, field: &str, line: &[BusinessId], at: Instant) -> Said;
    /// What a business below the owner says and has not taken back.
    fn said(&self, business: BusinessId, field: &str) -> Option<&Said>;
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Who said it.
    pub business: BusinessId,
    /// In which revision of the record; 0 if nobody said anything.
    pub revision: u64,
}

/// What holds in a business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The value; `None` where each business says for itself and this one did not.
    pub value: Option<Value>,
    /// Where it comes from; for a list that grew, from the last that added to it.
    pub origin: Origin,
    /// Where each item of a list comes from; empty for texts.
    pub items: Vec<Origin>,
    /// The policy that decides for this business.
    pub ruling: Ruling,
}

/// What became of what a business said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It counts there.
    Active,
    /// It is kept, and does not count while a policy above locks the field.
    Suspended,
}

/// One business on the way down from the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub business: BusinessId,
    /// The policy that decides for it; for the owner what holds without one.
    pub ruling: Ruling,
    /// What it says, and what became of that.
    pub said: Option<(Said, Status)>,
    /// What holds there.
    pub effective: Effective,
}

/// What holds in the business at the end of `line`.
///
/// A lock that applies to the business ends the search at the owner of the lock: what holds there, holds here.
/// Else the nearest business that said something counts (`OVERRIDABLE`), what it said is added to what
/// comes from above (`EXTEND`), or only what it said itself (`LOCAL`).
///
/// # Panics
/// When `line` is empty.
#[must_use]
pub fn resolve(
    record: &impl Record,
    policies: &Policies,
    group: &Group,
    field: &str,
    line: &[BusinessId],
    at: Instant,
) -> Effective {
    let own = record.own(field, line, at);
    let levels = levels(record, policies, group, field, line, at);
    effective(record, &own, field, line, line.len() - 1, &levels)
}

/// The whole way from the owner of the record to the business at the end of `line`. What the owner says is what
/// has reached that business.
///
/// # Panics
/// When `line` is empty.
#[must_use]
pub fn walk(
    record: &impl Record,
    policies: &Policies,
    group: &Group,
    field: &str,
    line: &[BusinessId],
    at: Instant,
) -> Vec<Step> {
    let own = record.own(field, line, at);
    let levels = levels(record, policies, group, field, line, at);
    let step = |(level, business): (usize, &BusinessId)| {
        let ruling = levels[level].ruling;
        let said = match level {
            0 => Some((own.clone(), Status::Active)),
            _ => record.said(*business, field).map(|said| {
                let locked = ruling.mode == Mode::Locked;
                (said.clone(), if locked { Status::Suspended } else { Status::Active })
            }),
        };
        let effective = effective(record, &own, field, line, level, &levels);
        Step { business: *business, ruling, said, effective }
    };
    line.iter().enumerate().map(step).collect()
}

/// What one level of a line has.
struct Level {
    ruling: Ruling,
    /// The levels whose words make up the value, from above: one, or several that are added up.
    sources: Vec<usize>,
}

fn levels(
    record: &impl Record,
    policies: &Policies,
    group: &Group,
    field: &str,
    line: &[BusinessId],
    at: Instant,
) -> Vec<Level> {
    let owner = Ruling { mode: group.mode, owner: line[0], version: 0 };
    let mut levels = vec![Level { ruling: owner, sources: vec![0] }];
    for level in 1..line.len() {
        let ruling = policies.ruling(group, &line[..=level], at, Purpose::Read);
        let says = record.said(line[level], field).is_some();
        let above = &levels[level - 1].sources;
        let sources = match ruling.mode {
            Mode::Locked => {
                let lock = line.iter().position(|business| *business == ruling.owner);
                levels[lock.unwrap_or(0)].sources.clone()
            }
            Mode::Overridable | Mode::Local if says => vec![level],
            Mode::Overridable => above.clone(),
            Mode::Local => vec![],
            Mode::Extend => above.iter().copied().chain(says.then_some(level)).collect(),
        };
        levels.push(Level { ruling, sources });
    }
    levels
}

fn effective(
    record: &impl Record,
    own: &Said,
    field: &str,
    line: &[BusinessId],
    level: usize,
    levels: &[Level],
) -> Effective {
    let Level { ruling, sources } = &levels[level];
    let nobody = Origin { business: line[level], revision: 0 };
    let mut found = Effective { value: None, origin: nobody, items: vec![], ruling: *ruling };
    for source in sources {
        let said = if *source == 0 { Some(own) } else { record.said(line[*source], field) };
        let Some(said) = said else { continue };
        found.origin = Origin { business: line[*source], revision: said.revision };
        match (&mut found.value, &said.value) {
            (Some(Value::List(list)), Value::List(more)) => {
                for item in more {
                    if !list.contains(item) {
                        list.push(item.clone());
                        found.items.push(found.origin);
                    }
                }
            }
            (value, said) => {
                let count = if let Value::List(items) = said { items.len() } else { 0 };
                found.items = vec![found.origin; count];
                *value = Some(said.clone());
            }
        }
    }
    found
}
