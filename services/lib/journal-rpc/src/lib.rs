//! The journals of a service, for other processes: a source of events whose service is elsewhere.
//!
//! [`Journals`] answers where the journals are, [`RemoteJournal`] asks: an [`events::Source`] like one of the own
//! process. `shapes` is what travels.

mod remote;
mod serve;
mod shapes;

pub use remote::{NEEDS, RemoteJournal};
pub use serve::Journals;
