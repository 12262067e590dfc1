//! What a process needs around its services.
//!
//! [`settings`] (a file and the environment), [`log`] (text on a terminal, JSON otherwise), [`scope`] (which request
//! a line is about), [`shutdown`] (signals), [`fatal`] (the end after a failure that cannot be survived).

pub mod fatal;
pub mod log;
pub mod scope;
pub mod settings;
pub mod shutdown;
