//! The stock service, from the rules of its ledger to its edge.

mod chunks;
mod costing;
mod ledger;
mod records;
mod returns;
mod reversals;
mod rules;
