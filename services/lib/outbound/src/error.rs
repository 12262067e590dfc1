//! Why a call was not made, or not answered.

/// What went wrong. Nothing of it is for those who call us: what listens where is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an address that may be called: its form, scheme, port, or every address behind its name.
    #[error("the address may not be called")]
    Refused,
    /// Nobody answered in time, or not in HTTP, or not with a certificate that is trusted.
    #[error("no answer")]
    Unreachable,
    /// The answer is longer than is read.
    #[error("the answer is too long")]
    TooLong,
    /// As many calls as are made at the same time are under way.
    #[error("too many calls are under way")]
    Busy,
}

/// An entry of [`crate::Settings::allow`] that is neither a host nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither a host nor a network")]
pub struct BadEntry(pub String);
