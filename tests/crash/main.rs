//! What was acknowledged survives whatever happens to the process, the disk and the files.
//!
//! Real processes of the server, and callers that keep what they asked and were told in synced files of their
//! own. Read in this order: `process` and `http` (starting and asking), `ledger` (what callers keep), `load`
//! (what they ask), `check` (the server against the ledgers), then the tests: `kill`, `fault` with `shim`,
//! `power`, `full`, `damage`. The README has the long runs.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod check;
mod damage;
mod fault;
mod full;
mod http;
mod kill;
mod ledger;
mod load;
mod power;
mod process;
mod shim;
