//! Products, variants, units, barcodes, price lists.
//!
//! Reading order: [`domain`] (the rules), `app` (the use cases), `records` (what is stored), `convert`
//! (every field check), `grpc`, `sink` and [`tasks`](Follower) (what runs beside requests), [`Error`].

mod app;
mod convert;
pub mod domain;
mod error;
mod grpc;
mod records;
mod sink;
mod tasks;

pub use error::Error;
pub use grpc::{NEEDS, Service};
pub use records::{describe, verify_aggregate};
pub use tasks::{Follower, Running};
