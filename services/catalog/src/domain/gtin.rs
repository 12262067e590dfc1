//! Global Trade Item Numbers: the digits under a barcode.

use problem::FieldError;

/// Digits of a normalised GTIN.
pub const DIGITS: usize = 14;

/// Why a text is no GTIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not 8, 12, 13 or 14 digits.
    #[error("must be a GTIN of 8, 12, 13 or 14 digits")]
    NotAGtin,
    /// The last digit does not fit the others.
    #[error("must end in the check digit '{expected}'")]
    WrongCheckDigit {
        /// What the last digit would have to be.
        expected: u8,
    },
}

impl FieldError for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::NotAGtin => problem::reason::MALFORMED,
            Error::WrongCheckDigit { .. } => "WRONG_CHECK_DIGIT",
        }
    }
}

/// Checks a GTIN-8, -12, -13 or -14 and writes it with 14 digits, zeros in front.
///
/// # Errors
/// [`Error::NotAGtin`], [`Error::WrongCheckDigit`] with the right digit.
pub fn normalise(text: &str) -> Result<String, Error> {
    let digits = text.as_bytes();
    if !matches!(digits.len(), 8 | 12 | 13 | 14) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Error::NotAGtin);
    }
    let (check, rest) = digits.split_last().ok_or(Error::NotAGtin)?;
    let expected = check_digit(rest);
    if check - b'0' != expected {
        return Err(Error::WrongCheckDigit { expected });
    }
    Ok(format!("{text:0>DIGITS$}"))
}

/// The digit that makes the weighted sum a multiple of ten; the digit next to it weighs three, the one
/// before that one, and so on. Source: GS1 General Specifications, section 7.9.
fn check_digit(digits: &[u8]) -> u8 {
    let weights = [3u32, 1].into_iter().cycle();
    let sum: u32 =
        digits.iter().rev().zip(weights).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    u8::try_from((10 - sum % 10) % 10).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// CAT-3: GTIN-8, -12, -13, -14 are normalised and their check digit is verified.
    #[test]
    #[rustfmt::skip] // columns
    fn numbers_and_what_is_wrong_with_them() {
        fn check(text: &str, expected: Result<&str, Error>) {
            assert_eq!(normalise(text), expected.map(str::to_owned), "{text:?}");
        }
        let wrong = |expected| Err(Error::WrongCheckDigit { expected });
        check("96385074",        Ok("00000096385074"));
        check("036000291452",    Ok("00036000291452"));
        check("4006381333931",   Ok("04006381333931"));
        check("10614141000415",  Ok("10614141000415"));
        check("4006381333932",   wrong(1));
        check("96385070",        wrong(4));
        check("0000000000001",   wrong(0));
        check("400638133393",    wrong(0)); // a digit lost: twelve digits are a GTIN of another kind
        check("40063813339",     Err(Error::NotAGtin));
        check("400638133393-1",  Err(Error::NotAGtin));
        check("４006381333931",  Err(Error::NotAGtin));
        check("",                Err(Error::NotAGtin));
    }

    proptest! {
        #[test]
        fn every_check_digit_but_one_is_wrong(length in prop::sample::select(vec![8usize, 12, 13, 14]), number: u64) {
            let rest = format!("{:0>1$}", number % 10u64.pow(u32::try_from(length).unwrap() - 1), length - 1);
            let right: Vec<_> = (0..10).filter(|digit| normalise(&format!("{rest}{digit}")).is_ok()).collect();
            prop_assert_eq!(right.len(), 1);
            let wrong = (right[0] + 1) % 10;
            let expected = u8::try_from(right[0]).unwrap();
            prop_assert_eq!(normalise(&format!("{rest}{wrong}")), Err(Error::WrongCheckDigit { expected }));
        }

        #[test]
        fn a_mistyped_digit_is_found(number in 0..10u64.pow(12), at in 0..13usize, by in 1..10u8) {
            let rest = format!("{number:0>12}");
            let mut digits = format!("{rest}{}", check_digit(rest.as_bytes())).into_bytes();
            digits[at] = (digits[at] - b'0' + by) % 10 + b'0';
            prop_assert!(normalise(std::str::from_utf8(&digits).unwrap()).is_err());
        }

        /// The same product under a shorter number is the same number.
        #[test]
        fn normalising_twice_is_normalising_once(number in 0..10u64.pow(12)) {
            let rest = format!("{number:0>12}");
            let gtin = normalise(&format!("{rest}{}", check_digit(rest.as_bytes()))).unwrap();
            prop_assert_eq!(normalise(&gtin), Ok(gtin.clone()));
            prop_assert_eq!(gtin.len(), DIGITS);
        }
    }
}
