//! What a business inherits from those above it in the tree, and what it may say otherwise.
//!
//! A record belongs to a business, its owner. Those below the owner read the same record, with what they
//! and those between have said about its fields laid over it. Reading order: [`Schema`] (which fields go
//! together), [`Policy`] and [`Policies`] (who may say what), [`walk`] and [`resolve`] (what holds in a
//! business, and where it comes from), [`prepare`] (the guard before a write), [`Visibility`],
//! [`Version`] and [`preview`] (changes of the owner that reach businesses in waves).
//!
//! A *line* is the way from the owner of the record down to a business, both included; see [`line()`]. All of
//! it is pure: who calls, the time and the record come as arguments.

mod guard;
mod policy;
mod publication;
mod resolve;
mod schema;
mod visibility;

use calendar::Instant;
use ids::BusinessId;

pub use guard::{Locked, Standing, conflicts, prepare};
pub use policy::{Existing, Mode, Policies, Policy, Purpose, Reach, Refused, Ruling};
pub use publication::{Difference, Version, Wave, preview, version_for};
pub use resolve::{Effective, Origin, Record, Status, Step, resolve, walk};
pub use schema::{Field, Group, Schema};
pub use visibility::Visibility;

/// Most businesses that a policy, a wave or a visibility list names.
pub const BUSINESSES_MAX: usize = 1_000;
/// Most waves of a publication.
pub const WAVES_MAX: usize = 20;
/// Deepest tree that is meant to be walked; nothing breaks below it.
pub const LEVELS_MAX: usize = 32;

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A text; what has another form is written as one.
    Text(String),
    /// A list in which each item is there once.
    List(Vec<String>),
}

/// What a business says about a field: the owner about its record, or one below it as an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The value; what an override adds where the field is extended.
    pub value: Value,
    /// The revision of the record that said it.
    pub revision: u64,
    /// When.
    pub at: Instant,
    /// Who, as far as it is known where this was read.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
}

/// The way from `owner` to the business that `path` ends with. `path` begins at the root. `None` if the
/// owner is not on it: what belongs to a sister, or to a business below, is not inherited.
#[must_use]
pub fn line(path: &[BusinessId], owner: BusinessId) -> Option<&[BusinessId]> {
    path.iter().position(|business| *business == owner).map(|at| &path[at..])
}
