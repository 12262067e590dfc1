//! Money: amounts, prices per unit, and sharing out without losing anything.
//!
//! Reading order: `rounding` (the one rule), `share` (largest remainder), [`Currency`], [`Money`],
//! [`UnitPrice`].

mod amount;
mod currency;
mod rounding;
mod share;
mod unit_price;

pub use amount::Money;
pub use currency::Currency;
pub use rounding::div_half_away;
pub use share::allocate;
pub use unit_price::UnitPrice;

/// Why a text is not the amount or currency that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a decimal that fits.
    #[error(transparent)]
    Decimal(#[from] quantity::Error),
    /// Not the code of a currency in which amounts are written.
    #[error("must be a currency code of ISO 4217 such as 'EUR'")]
    UnknownCurrency,
}

impl problem::FieldError for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Decimal(error) => error.reason(),
            Error::UnknownCurrency => problem::reason::UNKNOWN_VALUE,
        }
    }
}

/// Reads a plain decimal as an integer scaled by ten to the power of `places`.
///
/// # Errors
/// [`Error::Decimal`]; see [`quantity::decimal::parse`] for the shape.
pub fn parse_decimal(text: &str, places: u32) -> Result<i64, Error> {
    Ok(quantity::decimal::parse(text, places)?)
}

/// Writes an integer scaled by ten to the power of `places`, with all its places: `"19.90"`.
pub fn format_decimal(number: i64, places: u32) -> String {
    quantity::decimal::format(number, places)
}

/// Like [`format_decimal`] without zeros at the end: `"19.9"`.
pub fn format_decimal_trimmed(number: i64, places: u32) -> String {
    quantity::decimal::format_trimmed(number, places)
}
