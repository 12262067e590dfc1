//! What a process needs around its services.
//!
//! [`settings`] (a file and the environment), [`log`] (text on a terminal, JSON otherwise),
//! [`metrics`] (a registry and its text form), [`shutdown`] (signals), [`fatal`] (the end after a
//! failure that cannot be survived).

pub mod fatal;
pub mod log;
pub mod metrics;
pub mod settings;
pub mod shutdown;
