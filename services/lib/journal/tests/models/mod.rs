//! The protocols of the journal as models, looked through state by state: every order of steps, every message
//! lost, late or repeated, every process dead or paused between two steps. Small, and complete.
//!
//! Each model has its rule and the naive variants of it. The rule must hold in every state, and for each naive
//! variant there must be a way into a bad one: a model that cannot fail proves nothing.

#![allow(clippy::cast_possible_truncation)] // a model has few of everything

mod adoption;
mod claims;
mod documents;
mod unknown;

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

/// Every state that can be reached is good, and what should be possible is.
fn holds<M>(model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: std::hash::Hash + std::fmt::Debug + Clone + PartialEq + Send + Sync + 'static,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync + 'static,
{
    let checked = model.checker().spawn_bfs().join();
    assert!(checked.is_done(), "all states were looked at");
    checked.assert_properties();
}

/// There is a way into a state that breaks the property.
fn breaks<M>(model: M, property: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: std::hash::Hash + std::fmt::Debug + Clone + PartialEq + Send + Sync + 'static,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync + 'static,
{
    let found = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let checked = model.checker().finish_when(found).spawn_bfs().join();
    let path = checked.discovery(property);
    let path = path.unwrap_or_else(|| panic!("nothing breaks '{property}'"));
    assert!(!path.into_actions().is_empty());
}
