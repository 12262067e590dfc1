//! The executable `cargo-pilot`. Services and stores are wired here and nowhere else.
//!
//! Read in this order: [`cli`] (commands and exit codes), `data` (the data folder), [`wiring`] (which services run here,
//! and how they reach each other), [`platform`] (all of them in one process), `serve`, [`roles`] (some of them, as one of a
//! cluster) with `cql` and `nats` (what a cluster stands on), `observe` (the admin port, traces), `demo`, `init`,
//! `owner_key`, `import`, `verify`, `keys` (root key, rotation, destruction), `export` and `verify_audit` (audit logs as
//! files), `backup` with `admin` (the door of a running server), `restore`.

mod account;
mod admin;
mod backup;
pub mod cli;
mod cql;
mod data;
mod demo;
mod export;
mod import;
mod init;
mod keys;
mod memory;
mod nats;
mod observe;
mod operator_access;
mod owner_key;
pub mod platform;
mod purge;
mod restore;
pub mod roles;
mod serve;
mod verify;
mod verify_audit;
pub mod wiring;

pub use cli::run;
pub use platform::Platform;
