//! The stock service, from the rules of its ledger to its edge.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod chunks;
mod costing;
mod drift;
mod ledger;
mod model;
mod properties;
mod records;
mod returns;
mod reversals;
mod rules;
mod verify;
