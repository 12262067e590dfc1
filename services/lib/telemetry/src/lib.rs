//! What a process tells of itself to whoever runs it: metrics, health, traces.
//!
//! In reading order: [`table`] (all metrics there are), [`metrics()`] (how they are counted and written), [`Health`]
//! and [`Admin`] (the port that tells of both).

#![allow(clippy::float_arithmetic)] // Prometheus counts in floats

mod admin;
mod health;
mod metrics;
mod process;
pub mod table;

pub use admin::Admin;
pub use health::{Health, State};
pub use metrics::{CONTENT_TYPE, Metrics, SERIES_MAX, Sheet, Source, metrics};
pub use process::watch;
