//! Products, variants, units, barcodes, price lists.
//!
//! Reading order: [`domain`] (the rules), `app` (the use cases), `records` (what is stored), `convert`
//! (every field check), `grpc`, [`Error`].

mod app;
mod convert;
pub mod domain;
mod error;
mod grpc;
mod records;

pub use error::Error;
pub use grpc::{NEEDS, Service};
pub use records::{describe, verify_aggregate};
