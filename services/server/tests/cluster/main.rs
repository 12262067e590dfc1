//! Clusters of real processes: one per role, each with a store of its own (`roles`), and several per role over a
//! database and a bus (`shared`).
//!
//! Read in this order: `cluster` (how they are configured and started), `below` (what they stand on), then the tests.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod below;
mod cluster;
#[allow(dead_code, reason = "shared with the tests of the command line")]
#[path = "../cli/http.rs"]
mod http;
#[allow(dead_code, reason = "shared with the tests of the command line")]
#[path = "../cli/process.rs"]
mod process;
mod roles;
mod shared;
