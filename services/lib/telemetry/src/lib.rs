//! What a process tells of itself to whoever runs it: metrics, health, traces.
//!
//! In reading order: [`table`] (all metrics there are), [`metrics()`] (how they are counted and written), [`Class`] (how
//! an answer counts), [`rpc`] and [`http`] (what is counted of calls and requests), `sources` (what journals and
//! consumers know of themselves), [`trace`] (spans) and [`export`] (their way to a collector), [`Health`] and [`Admin`]
//! (the port that tells of the process).

#![allow(clippy::float_arithmetic)] // Prometheus counts in floats

mod admin;
mod class;
pub mod export;
mod health;
pub mod http;
mod metrics;
mod process;
pub mod rpc;
mod sources;
pub mod table;
pub mod trace;

pub use admin::{Admin, nothing_asked};
pub use class::Class;
pub use health::{Health, State};
pub use metrics::{
    CONTENT_TYPE, Metrics, SERIES_MAX, Sheet, Source, counter, durations, gauge, metrics, sum,
};
pub use process::watch;
pub use prometheus::IntCounter as Counter;
