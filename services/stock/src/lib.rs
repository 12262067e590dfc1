//! The stock service: locations, movements, balances, valuation.
//!
//! Read in this order: [`domain`] (the rules), [`aggregates`] (what the journal is told), [`records`]
//! (what is stored), `app` (use cases), `convert` and `grpc` (the edge), [`error`].

pub mod aggregates;
pub mod domain;
pub mod error;
pub mod records;
