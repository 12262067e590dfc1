//! Conversion between units.

use crate::{Error, Quantity};

/// How many base units one unit has: a positive fraction, reduced.
///
/// A rational and not a decimal, because a twelfth has no decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Factor {
    num: i64,
    den: i64,
}

/// Why a quantity cannot be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    /// The result needs more places than are kept. It lies strictly between the neighbours, which
    /// are one millionth apart.
    #[error("must convert to the base unit exactly; '{below}' and '{above}' are nearest")]
    NotRepresentable {
        /// The largest quantity below, in the base unit.
        below: Quantity,
        /// The smallest quantity above, in the base unit.
        above: Quantity,
    },
    /// The result does not fit.
    #[error("must be a smaller number")]
    OutOfRange,
}

impl problem::FieldError for ConversionError {
    fn reason(&self) -> &'static str {
        match self {
            ConversionError::NotRepresentable { .. } => problem::reason::NOT_REPRESENTABLE,
            ConversionError::OutOfRange => problem::reason::TOO_LARGE,
        }
    }
}

impl Factor {
    /// The base unit itself.
    pub const ONE: Factor = Factor { num: 1, den: 1 };

    /// The factor `num / den`: a dozen of pieces is 12 / 1, a minute of hours is 1 / 60.
    ///
    /// # Errors
    /// [`Error::NotPositive`] unless both are more than zero.
    pub fn new(num: i64, den: i64) -> Result<Factor, Error> {
        if num <= 0 || den <= 0 {
            return Err(Error::NotPositive);
        }
        let divisor = gcd(num, den);
        Ok(Factor { num: num / divisor, den: den / divisor })
    }

    /// The numerator of the reduced fraction.
    pub fn num(self) -> i64 {
        self.num
    }

    /// The denominator of the reduced fraction.
    pub fn den(self) -> i64 {
        self.den
    }

    /// The quantity `entered` in the base unit, exactly; never rounded.
    ///
    /// # Errors
    /// [`ConversionError::NotRepresentable`] with both neighbours, [`ConversionError::OutOfRange`].
    pub fn to_base(self, entered: Quantity) -> Result<Quantity, ConversionError> {
        let product = i128::from(entered.micros()) * i128::from(self.num);
        let den = i128::from(self.den);
        let micros = |number: i128| {
            i64::try_from(number).map(Quantity::from_micros).map_err(|_| ConversionError::OutOfRange)
        };
        let below = product.div_euclid(den);
        if product.rem_euclid(den) == 0 {
            return micros(below);
        }
        Err(ConversionError::NotRepresentable { below: micros(below)?, above: micros(below + 1)? })
    }

    /// The factor in the other direction.
    #[must_use]
    pub fn inverse(self) -> Factor {
        Factor { num: self.den, den: self.num }
    }

    /// The factor that does what `self` does and then what `next` does: a pallet of boxes, then a
    /// box of pieces. `None` when the fraction does not fit.
    pub fn compose(self, next: Factor) -> Option<Factor> {
        // Reduced crosswise first: then the products have no common divisor and fit if anything does.
        let (left, right) = (gcd(self.num, next.den), gcd(next.num, self.den));
        let num = (self.num / left).checked_mul(next.num / right)?;
        let den = (self.den / right).checked_mul(next.den / left)?;
        Some(Factor { num, den })
    }
}

/// The greatest common divisor of two positive numbers. Source: Euclid, Elements, book VII.
fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn conversions_are_exact_or_refused() {
        fn check(entered: &str, num: i64, den: i64, expected: Result<&str, (&str, &str)>) {
            let quantity = |text| Quantity::parse(text).unwrap();
            let answer = Factor::new(num, den).unwrap().to_base(quantity(entered));
            let expected = expected.map(quantity).map_err(|(below, above)| ConversionError::NotRepresentable {
                below: quantity(below), above: quantity(above),
            });
            assert_eq!(answer, expected, "{entered} × {num}/{den}");
        }
        //    entered     num          den
        check("3",        12,          1,           Ok("36"));                     // dozens in pieces
        check("30",       1,           60,          Ok("0.5"));                    // minutes in hours
        check("1",        1,           12,          Err(("0.083333", "0.083334")));
        check("12",       1,           12,          Ok("1"));
        check("-1",       1,           12,          Err(("-0.083334", "-0.083333")));
        check("1",        45_359_237,  100_000_000, Err(("0.453592", "0.453593"))); // pounds in kilograms
        check("100",      45_359_237,  100_000_000, Ok("45.359237"));
        check("10",       100_000,     45_359_237,  Err(("0.022046", "0.022047"))); // grams in pounds
        check("0",        1,           7,           Ok("0"));
        check("0.000001", 1,           2,           Err(("0", "0.000001")));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let huge = Factor::new(i64::MAX, 1).unwrap();
        assert_eq!(huge.to_base(Quantity::whole(2)), Err(ConversionError::OutOfRange));
        assert_eq!(huge.compose(huge), None);
        assert_eq!(huge.compose(huge.inverse()), Some(Factor::ONE));
        for (num, den) in [(0, 1), (1, 0), (-1, 2), (1, -2), (i64::MIN, i64::MIN)] {
            assert_eq!(Factor::new(num, den), Err(Error::NotPositive));
        }
    }

    prop_compose! {
        fn factors()(num in 1i64..1_000_000, den in 1i64..1_000_000) -> Factor {
            Factor::new(num, den).unwrap()
        }
    }

    proptest! {
        #[test]
        fn a_factor_is_reduced(num in 1i64..10_000, den in 1i64..10_000, by in 1i64..1_000) {
            let factor = Factor::new(num, den).unwrap();
            prop_assert_eq!(Factor::new(num * by, den * by).unwrap(), factor);
            prop_assert_eq!(factor.num() * den, factor.den() * num);
        }

        /// A conversion is exact, or the true neighbours are one millionth apart around it.
        #[test]
        fn a_conversion_is_exact_or_names_its_neighbours(micros in -10i64.pow(15)..10i64.pow(15), factor in factors()) {
            let (num, den) = (i128::from(factor.num()), i128::from(factor.den()));
            let exact_times_den = i128::from(micros) * num;
            match factor.to_base(Quantity::from_micros(micros)) {
                Ok(base) => prop_assert_eq!(i128::from(base.micros()) * den, exact_times_den),
                Err(ConversionError::NotRepresentable { below, above }) => {
                    prop_assert_eq!(above - below, Quantity::from_micros(1));
                    prop_assert!(i128::from(below.micros()) * den < exact_times_den);
                    prop_assert!(exact_times_den < i128::from(above.micros()) * den);
                }
                Err(ConversionError::OutOfRange) => prop_assert!(exact_times_den / den > i128::from(i64::MAX)
                    || exact_times_den / den < i128::from(i64::MIN)),
            }
        }

        #[test]
        fn there_and_back_is_where_it_was(micros in -1_000_000i64..1_000_000, factor in factors()) {
            let entered = Quantity::from_micros(micros * factor.den());
            let base = factor.to_base(entered).unwrap();
            prop_assert_eq!(factor.inverse().to_base(base), Ok(entered));
            prop_assert_eq!(factor.compose(factor.inverse()), Some(Factor::ONE));
            prop_assert_eq!(factor.inverse().inverse(), factor);
        }

        #[test]
        fn composing_is_converting_twice(micros in -1_000i64..1_000, a in factors(), b in factors()) {
            let b = Factor::new(b.num() % 1_000 + 1, b.den() % 1_000 + 1).unwrap();
            let entered = Quantity::from_micros(micros * a.den() * b.den());
            let twice = b.to_base(a.to_base(entered).unwrap());
            prop_assert_eq!(a.compose(b).unwrap().to_base(entered), twice);
            prop_assert_eq!(a.compose(b), b.compose(a));
        }
    }
}
