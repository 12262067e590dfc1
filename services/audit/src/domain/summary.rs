//! What may be found in a bundle of leaves, so that a search skips those that cannot match.

use std::collections::BTreeSet;

use calendar::Instant;
use sha2::{Digest as _, Sha256};

/// What an entry is about, as a search asks for it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// `key_…`, `usr_…` or the name of a job.
    pub actor: String,
    /// What happened: `stock.movement.posted`.
    pub action: String,
    /// To what: `var_…`.
    pub resource: String,
}

/// A mark of a text: equal texts have equal marks, other texts almost never.
#[must_use]
pub fn mark(text: &str) -> u32 {
    let hash = Sha256::digest(text);
    u32::from_be_bytes(std::array::from_fn(|at| hash[at]))
}

/// The marks and times of all leaves of a bundle so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// The entry of the log that began the bundle.
    pub first_entry: u64,
    /// Marks of the actors.
    pub actors: BTreeSet<u32>,
    /// Marks of the actions.
    pub actions: BTreeSet<u32>,
    /// Marks of the resources.
    pub resources: BTreeSet<u32>,
    /// The earliest and the latest time of recording.
    pub recorded: Option<(Instant, Instant)>,
}

impl Summary {
    /// Takes a leaf in.
    pub fn add(&mut self, facts: &Facts, recorded_at: Instant) {
        self.actors.insert(mark(&facts.actor));
        self.actions.insert(mark(&facts.action));
        self.resources.insert(mark(&facts.resource));
        let (from, to) = self.recorded.unwrap_or((recorded_at, recorded_at));
        self.recorded = Some((from.min(recorded_at), to.max(recorded_at)));
    }
}

/// What a search asks for; `None` is anything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Who.
    pub actor: Option<String>,
    /// What happened.
    pub action: Option<String>,
    /// To what.
    pub resource: Option<String>,
    /// Recorded at that time or later.
    pub from: Option<Instant>,
    /// Recorded before that time.
    pub before: Option<Instant>,
}

impl Filter {
    /// Whether a leaf of the bundle may be looked for. False is certain.
    #[must_use]
    pub fn may_match(&self, summary: &Summary) -> bool {
        let has = |wanted: &Option<String>, marks: &BTreeSet<u32>| {
            wanted.as_deref().is_none_or(|text| marks.contains(&mark(text)))
        };
        let Some((from, to)) = summary.recorded else { return false };
        has(&self.actor, &summary.actors)
            && has(&self.action, &summary.actions)
            && has(&self.resource, &summary.resources)
            && self.from.is_none_or(|wanted| wanted <= to)
            && self.before.is_none_or(|wanted| from < wanted)
    }

    /// Whether a leaf is looked for.
    #[must_use]
    pub fn matches(&self, facts: &Facts, recorded_at: Instant) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        is(&self.actor, &facts.actor)
            && is(&self.action, &facts.action)
            && is(&self.resource, &facts.resource)
            && self.from.is_none_or(|from| from <= recorded_at)
            && self.before.is_none_or(|before| recorded_at < before)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> Instant {
        Instant::from_unix_micros(micros)
    }

    proptest! {
        /// A bundle is never skipped for a leaf that is looked for.
        #[test]
        fn what_matches_is_never_skipped(
            leaves in proptest::collection::vec((0..4_u8, 0..4_u8, 0..4_u8, 0..50_i64), 1..20),
            wanted in (proptest::option::of(0..4_u8), proptest::option::of(0..4_u8), proptest::option::of(0..4_u8)),
            from in proptest::option::of(0..50_i64),
            before in proptest::option::of(0..50_i64),
        ) {
            let text = |kind: &str, number: u8| format!("{kind}{number}");
            let facts = |leaf: &(u8, u8, u8, i64)| Facts {
                actor: text("key_", leaf.0), action: text("a.", leaf.1), resource: text("var_", leaf.2),
            };
            let mut summary = Summary::default();
            leaves.iter().for_each(|leaf| summary.add(&facts(leaf), at(leaf.3)));
            let filter = Filter {
                actor: wanted.0.map(|number| text("key_", number)),
                action: wanted.1.map(|number| text("a.", number)),
                resource: wanted.2.map(|number| text("var_", number)),
                from: from.map(at),
                before: before.map(at),
            };
            if leaves.iter().any(|leaf| filter.matches(&facts(leaf), at(leaf.3))) {
                prop_assert!(filter.may_match(&summary));
            }
        }
    }

    #[test]
    fn what_cannot_match_is_skipped() {
        let mut summary = Summary::default();
        summary
            .add(&Facts { actor: "key_a".into(), action: "x.made".into(), resource: "var_1".into() }, at(5));
        let some = |text: &str| Some(text.to_owned());
        for (filter, expected) in [
            (Filter::default(), true),
            (Filter { actor: some("key_a"), ..Filter::default() }, true),
            (Filter { actor: some("key_b"), ..Filter::default() }, false),
            (Filter { action: some("x.gone"), ..Filter::default() }, false),
            (Filter { resource: some("var_2"), ..Filter::default() }, false),
            (Filter { from: Some(at(5)), before: Some(at(6)), ..Filter::default() }, true),
            (Filter { from: Some(at(6)), ..Filter::default() }, false),
            (Filter { before: Some(at(5)), ..Filter::default() }, false),
        ] {
            assert_eq!(filter.may_match(&summary), expected, "{filter:?}");
        }
        assert!(!Filter::default().may_match(&Summary::default()));
    }
}
