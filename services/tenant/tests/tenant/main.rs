//! The service as other services see it: through its client, over a store in memory.

#![allow(clippy::unwrap_used)]

mod access;
mod account;
mod businesses;
mod key_life;
mod keys;
mod people;
mod tenants;
mod visible;
mod world;
