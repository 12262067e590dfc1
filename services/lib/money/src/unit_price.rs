//! Prices and costs per unit.

use std::{fmt, str::FromStr};

use crate::{Error, format_decimal_trimmed, parse_decimal};

/// What one unit costs, in millionths of the currency's main unit; the currency is known from
/// where it stands.
///
/// Finer than any minor unit, because screws cost 0.0003 each. Text form: `"19.9"`, no zeros at
/// the end. Whether it may be negative is the caller's to check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnitPrice(i64);

impl UnitPrice {
    /// Free of charge.
    pub const ZERO: UnitPrice = UnitPrice(0);
    /// Decimal places that are kept.
    pub const SCALE: u32 = 6;

    /// So many millionths.
    pub const fn from_micros(micros: i64) -> UnitPrice {
        UnitPrice(micros)
    }

    /// The price in millionths.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads a plain decimal with at most six places.
    ///
    /// # Errors
    /// [`Error::Decimal`].
    pub fn parse(text: &str) -> Result<UnitPrice, Error> {
        parse_decimal(text, UnitPrice::SCALE).map(UnitPrice)
    }

    /// Whether it is less than zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The number as it is written: `"19.9"`.
    pub fn amount(self) -> String {
        format_decimal_trimmed(self.0, UnitPrice::SCALE)
    }
}

impl fmt::Display for UnitPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.amount())
    }
}

impl fmt::Debug for UnitPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UnitPrice {
    type Err = Error;

    fn from_str(text: &str) -> Result<UnitPrice, Error> {
        UnitPrice::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn texts_and_what_they_mean() {
        fn check(text: &str, expected: Result<i64, quantity::Error>) {
            assert_eq!(UnitPrice::parse(text).map(UnitPrice::micros), expected.map_err(Error::Decimal), "{text}");
        }
        check("19.90",     Ok(19_900_000));
        check("0.0003",    Ok(300));
        check("-1",        Ok(-1_000_000));
        check("0.0000001", Err(quantity::Error::TooManyPlaces { places: 6 }));
        check("cheap",     Err(quantity::Error::NotADecimal));
        assert!(UnitPrice::from_micros(-1).is_negative() && !UnitPrice::ZERO.is_negative());
    }

    proptest! {
        #[test]
        fn parse_undoes_format(micros: i64) {
            let price = UnitPrice::from_micros(micros);
            prop_assert_eq!(price.to_string().parse(), Ok(price));
        }
    }
}
