//! Changes of an owner that reach the businesses below it in waves, and can be taken back.

use calendar::Instant;
use ids::BusinessId;

use crate::{Effective, Policies, Reach, Record, Said, Schema, Value, resolve};

/// Some of the businesses that a change reaches, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// Which. The owner itself is part of `Subtree` and of `Except`.
    pub reach: Reach,
    /// From when on.
    pub at: Instant,
}

/// A version of what the owner says about a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// What it says.
    pub said: Said,
    /// Whom it reaches when; if there are none, everybody at once.
    pub waves: Vec<Wave>,
    /// It was taken back: the version before it holds again.
    pub rolled_back: bool,
}

impl Version {
    /// Whether it has reached the business at the end of `line`.
    #[must_use]
    pub fn reached(&self, line: &[BusinessId], at: Instant) -> bool {
        let below = line.get(1..).unwrap_or(&[]);
        let mut reached = self.waves.iter().filter(|wave| wave.at <= at);
        self.waves.is_empty() || reached.any(|wave| wave.reach.covers(below))
    }
}

/// The newest version that has reached the business at the end of `line` and was not taken back. Versions come
/// oldest first.
#[must_use]
pub fn version_for<'a>(versions: &'a [Version], line: &[BusinessId], at: Instant) -> Option<&'a Said> {
    let standing = versions.iter().rev().filter(|version| !version.rolled_back);
    standing.filter(|version| version.reached(line, at)).map(|version| &version.said).next()
}

/// A field that would hold something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub business: BusinessId,
    /// Which.
    pub field: &'static str,
    /// What holds now.
    pub before: Option<Value>,
    /// What would hold.
    pub after: Option<Value>,
}

/// Every business and field in which something else would hold with the second record and policies than with
/// the first ones, at the moment that belongs to each. One line per business that is to be looked at.
#[must_use]
pub fn preview<R: Record>(
    schema: &Schema,
    (before, policies_before, at_before): (&R, &Policies, Instant),
    (after, policies_after, at_after): (&R, &Policies, Instant),
    lines: &[&[BusinessId]],
) -> Vec<Difference> {
    let mut found = Vec::new();
    for line in lines {
        let Some(business) = line.last() else { continue };
        for group in schema.groups {
            for field in group.fields {
                let old = resolve(before, policies_before, group, field.name, line, at_before);
                let new = resolve(after, policies_after, group, field.name, line, at_after);
                let (Effective { value: old, .. }, Effective { value: new, .. }) = (old, new);
                if old != new {
                    let (before, after) = (old, new);
                    found.push(Difference { business: *business, field: field.name, before, after });
                }
            }
        }
    }
    found
}
