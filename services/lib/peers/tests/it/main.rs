//! Real sockets, real services of the contract, a resolver whose answers the tests change.
//!
//! `world` is what the tests stand on; `balance` (who gets which call), `failure` (processes that are away, refuse or
//! hang), `drain` (processes that end in good order), `repeat` (what is sent again), `stream` (answers that come bit by bit), `tls` (who may talk to
//! whom), `log` (what who runs the cluster is told).

#![allow(clippy::unwrap_used)] // helpers are tests too

mod balance;
mod drain;
mod failure;
mod log;
mod repeat;
mod stream;
mod tls;
mod world;
