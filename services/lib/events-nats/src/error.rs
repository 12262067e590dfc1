//! What can go wrong with the bus.

use journal::StoreError;

/// Why the bus did not do something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong. Trying again does not help.
    #[error("{0}")]
    Setting(String),
    /// The stream on the server cannot become what it must be. A person has to look at it.
    #[error("stream '{stream}' {what}; delete it: it is made anew, and consumers compare all journals")]
    Shape {
        /// The stream.
        stream: String,
        /// What is wrong with it.
        what: String,
    },
    /// The server does not answer, or not as it should. It may have done it.
    #[error("the bus is not available: {0}")]
    Unavailable(String),
    /// The process is about to end.
    #[error("the bus is being drained")]
    Draining,
}

impl Error {
    pub(crate) fn unavailable(error: impl std::fmt::Display) -> Error {
        Error::Unavailable(error.to_string())
    }
}

/// For the ports, which know of stores only.
impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        StoreError::Unavailable(error.to_string())
    }
}
