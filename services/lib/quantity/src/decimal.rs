//! Decimal texts as scaled integers.

use crate::Error;

/// Largest scale: ten to this power is the largest that fits into 64 bits.
const PLACES_MAX: u32 = 18;

/// Reads a plain decimal as an integer scaled by ten to the power of `places`.
///
/// Shape: an optional `-`, digits, and optionally a point and one to `places` digits. No exponent,
/// no `+`, no spaces, no separators, a digit on both sides of the point.
///
/// # Errors
/// [`Error::NotADecimal`], [`Error::TooManyPlaces`], [`Error::OutOfRange`] beyond 64 bits.
pub fn parse(text: &str, places: u32) -> Result<i64, Error> {
    assert!(places <= PLACES_MAX, "at most {PLACES_MAX} places");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return Err(Error::NotADecimal),
        Some(parts) => parts,
        None => (digits, ""),
    };
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return Err(Error::NotADecimal);
    }
    if fraction.len() > places as usize {
        return Err(Error::TooManyPlaces { places });
    }
    scaled(negative, whole, fraction, places).ok_or(Error::OutOfRange)
}

/// Adds up the digits, below zero if `negative` so that the smallest number fits too.
fn scaled(negative: bool, whole: &str, fraction: &str, places: u32) -> Option<i64> {
    let zeros = std::iter::repeat_n(b'0', places as usize - fraction.len());
    let mut number: i64 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        let digit = i64::from(digit - b'0');
        number = number.checked_mul(10)?.checked_add(if negative { -digit } else { digit })?;
    }
    Some(number)
}

/// Writes an integer scaled by ten to the power of `places`, with all its places: `"19.90"`.
pub fn format(number: i64, places: u32) -> String {
    Text::new(number, places).as_str().to_owned()
}

/// Like [`format`] without zeros at the end: `"19.9"`, `"20"`.
pub fn format_trimmed(number: i64, places: u32) -> String {
    Text::trimmed(number, places).as_str().to_owned()
}

/// Longest text: a sign, a point and the digits of the smallest number.
const LENGTH_MAX: usize = 21;

/// The text of a decimal, without a place of its own in memory: an answer has a dozen of them.
pub(crate) struct Text {
    bytes: [u8; LENGTH_MAX],
    /// Where it begins: it is written from its end.
    start: usize,
}

impl Text {
    fn new(number: i64, places: u32) -> Self {
        assert!(places <= PLACES_MAX, "at most {PLACES_MAX} places");
        let mut text = Text { bytes: [0; LENGTH_MAX], start: LENGTH_MAX };
        let mut rest = number.unsigned_abs();
        for _ in 0..places {
            text.digit(&mut rest);
        }
        if places > 0 {
            text.put(b'.');
        }
        text.digit(&mut rest);
        while rest > 0 {
            text.digit(&mut rest);
        }
        if number < 0 {
            text.put(b'-');
        }
        text
    }

    /// Without zeros at the end.
    pub(crate) fn trimmed(number: i64, places: u32) -> Self {
        let (mut rest, mut needed) = (number, places);
        while needed > 0 && rest % 10 == 0 {
            rest /= 10;
            needed -= 1;
        }
        Text::new(rest, needed)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.start..]).expect("digits, a point and a sign are text")
    }

    fn digit(&mut self, rest: &mut u64) {
        self.put(b"0123456789"[(*rest % 10) as usize]);
        *rest /= 10;
    }

    fn put(&mut self, letter: u8) {
        self.start -= 1;
        self.bytes[self.start] = letter;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn texts_and_what_they_mean() {
        fn check(text: &str, places: u32, expected: Result<i64, Error>) {
            assert_eq!(parse(text, places), expected, "{text} at {places}");
        }
        let too_many = |places| Err(Error::TooManyPlaces { places });
        //    text                   places
        check("0",                   6, Ok(0));
        check("-0",                  6, Ok(0));
        check("12.5",                6, Ok(12_500_000));
        check("-12.5",               6, Ok(-12_500_000));
        check("0.000001",            6, Ok(1));
        check("007",                 6, Ok(7_000_000));
        check("19.99",               2, Ok(1999));
        check("19.9",                2, Ok(1990));
        check("500",                 0, Ok(500));
        check("0.0000001",           6, too_many(6));
        check("1.0000000",           6, too_many(6)); // zeros too: the caller believes in them
        check("19.999",              2, too_many(2));
        check("5.0",                 0, too_many(0));
        check("9223372036854.775807",  6, Ok(i64::MAX));
        check("-9223372036854.775808", 6, Ok(i64::MIN));
        check("9223372036854.775808",  6, Err(Error::OutOfRange));
        check("99999999999999999999",  6, Err(Error::OutOfRange));
        for text in ["", "-", ".", ".5", "5.", "-.5", "+1", "1e3", "1,5", " 1", "1 ", "1_000", "0x1", "1.2.3",
                     "--1", "1-", "NaN", "inf", "١", "½", "1.-5"] {
            check(text, 6, Err(Error::NotADecimal));
        }
    }

    #[test]
    #[rustfmt::skip] // columns
    fn numbers_and_how_they_are_written() {
        fn check(number: i64, places: u32, all: &str, trimmed: &str) {
            assert_eq!((format(number, places).as_str(), format_trimmed(number, places).as_str()), (all, trimmed));
        }
        //    number    places all          trimmed
        check(1990,     2, "19.90",     "19.9");
        check(2000,     2, "20.00",     "20");
        check(-5,       2, "-0.05",     "-0.05");
        check(0,        2, "0.00",      "0");
        check(500,      0, "500",       "500");
        check(i64::MIN, 6, "-9223372036854.775808", "-9223372036854.775808");
    }

    proptest! {
        #[test]
        fn parse_undoes_format(number: i64, places in 0..=PLACES_MAX) {
            prop_assert_eq!(parse(&format(number, places), places), Ok(number));
            prop_assert_eq!(parse(&format_trimmed(number, places), places), Ok(number));
        }

        #[test]
        fn order_survives_parsing(a in -999_999i64..999_999, b in -999_999i64..999_999) {
            let (x, y) = (parse(&format(a, 3), 6), parse(&format(b, 3), 6));
            prop_assert_eq!(x.unwrap().cmp(&y.unwrap()), a.cmp(&b));
        }

        #[test]
        fn no_text_panics(text in "[-+.0-9e]{0,30}|\\PC{0,40}", places in 0..=PLACES_MAX) {
            let _ = parse(&text, places);
        }
    }
}
