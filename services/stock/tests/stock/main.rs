//! The stock service, from the rules of its ledger to its edge.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod bad_input;
mod batches;
mod chunks;
mod costing;
mod drift;
mod fakes;
mod isolation;
mod ledger;
mod lists;
mod locations;
mod model;
mod movements;
mod properties;
mod records;
mod retries;
mod returns;
mod reversals;
mod rules;
mod verify;
mod world;
