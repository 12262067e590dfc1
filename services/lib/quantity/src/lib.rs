//! How much of something: exact decimals and exact conversions between units.
//!
//! Reading order: `decimal` (text to scaled integer and back, shared with `money`),
//! [`Quantity`], [`Factor`].

pub mod decimal;
mod factor;
mod value;

pub use factor::{ConversionError, Factor};
pub use value::{QUANTITY_MAX, Quantity};

/// Why a text or number is not the quantity or factor that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a plain decimal number.
    #[error("must be a plain decimal number such as '12.5'")]
    NotADecimal,
    /// More decimal places than are kept; nothing is rounded silently.
    #[error("must have at most '{places}' decimal places")]
    TooManyPlaces {
        /// How many are kept.
        places: u32,
    },
    /// A number that does not fit.
    #[error("must be a smaller number")]
    OutOfRange,
    /// Zero or negative where only more than zero makes sense.
    #[error("must be more than '0'")]
    NotPositive,
}

impl problem::FieldError for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::NotADecimal => problem::reason::NOT_A_DECIMAL,
            Error::TooManyPlaces { .. } => problem::reason::TOO_MANY_PLACES,
            Error::OutOfRange => problem::reason::TOO_LARGE,
            Error::NotPositive => problem::reason::NOT_POSITIVE,
        }
    }
}
