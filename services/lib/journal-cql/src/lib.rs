//! The journal's store on CQL: a keyspace of ScyllaDB or Apache Cassandra that any number of processes share.
//!
//! One aggregate is one partition, and a commit is one conditional batch in it. Read in this order: `schema` (all
//! CQL), [`config`], `db` (how statements are sent and answered), `policy` (which node coordinates), `codec` and
//! `batch` (what a commit writes), [`store`] (commits and reads), `relay`, `group`.

mod batch;
mod codec;
pub mod config;
mod db;
pub mod error;
mod group;
mod policy;
mod relay;
mod schema;
pub mod store;

pub use crate::batch::{COMMIT_BYTES_MAX, COMMIT_ROWS_MAX};
pub use crate::config::{Config, Replication};
pub use crate::error::Error;
pub use crate::schema::{VERSION, migrate};
pub use crate::store::CqlStore;
