//! The one HTTP client for what lies outside: judged addresses, no redirects, bounded answers.
//!
//! In reading order: [`Settings`], [`Client`], `address` (what may be connected to), [`Error`].

mod address;
mod client;
mod error;
mod settings;

pub use client::{Answer, Ask, Client};
pub use error::Error;
pub use settings::Settings;
