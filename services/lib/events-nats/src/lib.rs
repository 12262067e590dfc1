//! The bus between processes: NATS JetStream wakes consumers and fans out. The truth is the journals.
//!
//! In reading order: [`Config`], [`announcement`] (what a message says), [`stream`] (where messages are kept),
//! [`NatsBus`] (the connection, and how it is drained), [`Publisher`] (what relays entries to it), [`FeedRelay`] (the
//! same for a store that one process owns), [`Listener`] (what a consumer hears from), `session` (its pulls).

pub mod announcement;
mod bus;
pub mod config;
mod error;
mod feed_relay;
mod listener;
mod publisher;
mod session;
pub mod stream;

pub use crate::bus::{NatsBus, Undrained};
pub use crate::config::{Auth, Config, Tls};
pub use crate::error::Error;
pub use crate::feed_relay::{BEHIND_MAX, FeedRelay};
pub use crate::listener::Listener;
pub use crate::publisher::{PUBLISHES_MAX, Publisher};
