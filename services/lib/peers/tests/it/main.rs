//! Real sockets, real services of the contract, a resolver whose answers the tests change.
//!
//! `world` is what the tests stand on; `balance` (who gets which call), `failure` (processes that are away, refuse or
//! hang), `drain` (processes that end in good order) and
//! `tls` (who may talk to whom).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod balance;
mod drain;
mod failure;
mod tls;
mod world;
