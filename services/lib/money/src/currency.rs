//! Currencies.

use std::{fmt, str::FromStr};

use crate::Error;

/// A currency of ISO 4217 in which amounts are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Reads a code in upper case.
    ///
    /// # Errors
    /// [`Error::UnknownCurrency`], also for codes without a minor unit, such as gold or testing.
    pub fn parse(code: &str) -> Result<Currency, Error> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Currency)
            .ok_or(Error::UnknownCurrency)
    }

    /// The code: `"EUR"`.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Decimal places of an amount: 2 for euros, 0 for yen, 3 for dinars.
    pub fn minor_places(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl FromStr for Currency {
    type Err = Error;

    fn from_str(code: &str) -> Result<Currency, Error> {
        Currency::parse(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn codes_and_their_places() {
        fn check(code: &'static str, places: Option<u32>) {
            let currency = Currency::parse(code).ok();
            assert_eq!(currency.map(Currency::minor_places), places, "{code}");
            assert_eq!(currency.map_or(code, Currency::code), code);
        }
        check("EUR", Some(2));
        check("USD", Some(2));
        check("JPY", Some(0));
        check("KRW", Some(0));
        check("KWD", Some(3));
        check("CLF", Some(4));
        check("XAU", None); // gold
        check("XXX", None); // no currency
        check("eur", None);
        check("EURO", None);
        check("",    None);
    }
}
