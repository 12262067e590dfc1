//! Instants and legal days.
//!
//! An [`Instant`] is a moment everywhere; a [`Date`] is a day in the place where it is written,
//! for example an expiry. Nothing here reads a clock: the present arrives as an argument.

mod date;
mod instant;

pub use date::Date;
pub use instant::Instant;

/// Why a text is not the instant or date that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an instant of RFC 3339.
    #[error("must be an instant such as '2026-11-23T10:00:00Z'")]
    NotAnInstant,
    /// Not a calendar day.
    #[error("must be a date such as '2026-11-23'")]
    NotADate,
    /// Outside the years that are kept.
    #[error("must be in the years from '1900' to '2199'")]
    OutOfRange,
}

impl problem::FieldError for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::NotAnInstant | Error::NotADate => problem::reason::MALFORMED,
            Error::OutOfRange => problem::reason::OUT_OF_RANGE,
        }
    }
}
