//! What goes wrong, one variant per decision that the caller can make.

use problem::{Code, Invalid, Problem, Violation};
use rpc::Refused;

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log has fewer leaves.
    #[error("the log has {size} leaves")]
    BeyondLog {
        /// How many it has.
        size: u64,
    },
    /// The witness does not sign.
    #[error("the witness does not co-sign the log: {0}")]
    CheckpointRefused(String),
    /// Bad fields.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A bad header or page token.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

impl From<journal::StoreError> for Error {
    fn from(error: journal::StoreError) -> Self {
        Error::Journal(error.into())
    }
}

impl Problem for Error {
    const DOMAIN: &'static str = "audit";

    fn code(&self) -> Code {
        match self {
            Error::BeyondLog { .. } => Code::NotFound,
            Error::CheckpointRefused(_) => Code::FailedPrecondition,
            Error::Invalid(error) => error.code(),
            Error::Refused(error) => error.code(),
            Error::Journal(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::BeyondLog { .. } => "BEYOND_LOG",
            Error::CheckpointRefused(_) => "CHECKPOINT_REFUSED",
            Error::Invalid(error) => error.reason(),
            Error::Refused(error) => error.reason(),
            Error::Journal(error) => error.reason(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::BeyondLog { size } => vec![("size", size.to_string())],
            Error::Refused(error) => error.metadata(),
            _ => vec![],
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Error::Invalid(error) => error.violations(),
            _ => &[],
        }
    }
}
