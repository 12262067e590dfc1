//! A day in the calendar.

use std::{fmt, str::FromStr};

use jiff::civil;

use crate::{Error, instant::has_shape};

/// A day as the law and the label on the box know it, without a zone; from 1900 to 2199.
///
/// Text form: `2026-11-23`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(civil::Date);

impl Date {
    /// The day with these numbers, or `None` if there is none in the years that are kept.
    pub fn new(year: i16, month: i8, day: i8) -> Option<Date> {
        let date = civil::Date::new(year, month, day).ok()?;
        (1900..2200).contains(&year).then_some(Date(date))
    }

    /// Year, month from 1, day from 1.
    pub fn year_month_day(self) -> (i16, i8, i8) {
        (self.0.year(), self.0.month(), self.0.day())
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`Error::NotADate`], [`Error::OutOfRange`].
    pub fn parse(text: &str) -> Result<Date, Error> {
        if !has_shape(text.as_bytes(), b"dddd-dd-dd") {
            return Err(Error::NotADate);
        }
        let date: civil::Date = text.parse().map_err(|_| Error::NotADate)?;
        Date::new(date.year(), date.month(), date.day()).ok_or(Error::OutOfRange)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Date, Error> {
        Date::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn texts_and_what_they_mean() {
        fn check(text: &str, expected: Result<(i16, i8, i8), Error>) {
            assert_eq!(Date::parse(text).map(Date::year_month_day), expected, "{text}");
        }
        check("2026-11-23", Ok((2026, 11, 23)));
        check("2024-02-29", Ok((2024, 2, 29)));
        check("2026-02-29", Err(Error::NotADate));
        check("2026-13-01", Err(Error::NotADate));
        check("1899-12-31", Err(Error::OutOfRange));
        check("2200-01-01", Err(Error::OutOfRange));
        check("2026-1-1",   Err(Error::NotADate));
        check("23.11.2026", Err(Error::NotADate));
        check("20261123",   Err(Error::NotADate));
        check("2026-11-23T10:00:00Z", Err(Error::NotADate));
    }

    proptest! {
        #[test]
        fn parse_undoes_format(year in 1900i16..2200, month in 1i8..=12, day in 1i8..=31) {
            if let Some(date) = Date::new(year, month, day) {
                prop_assert_eq!(Date::parse(&date.to_string()), Ok(date));
            }
        }
    }
}
