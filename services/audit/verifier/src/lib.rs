//! Checks exported audit logs from files alone.
//!
//! In reading order: `file` (sections), [`note`] (checkpoints and keys), `leaf` (leaves and contents),
//! [`check`] (everything together).

pub mod check;
mod file;
mod leaf;
pub mod note;

pub use check::{Report, check, continues};
pub use note::{Head, Key, KeyError, read_checkpoint, read_signed};

/// Why a file is not what it claims to be, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something is wrong with it.
    #[error("{0}")]
    Wrong(String),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

impl Fault {
    fn wrong(what: impl Into<String>) -> Fault {
        Fault::Wrong(what.into())
    }
}
