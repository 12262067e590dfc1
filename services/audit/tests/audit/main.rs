//! The service over stores in memory, as its callers see it.
//!
//! Read in this order: `world` (a service with journals to follow), then the tests.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod accesses;
mod consume;
mod export;
mod lists;
mod proofs;
mod witness;
mod world;
