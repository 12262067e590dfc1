//! Amounts.

use std::fmt;

use crate::{Currency, Error, allocate, format_decimal, parse_decimal};

/// An amount in minor units of its currency.
///
/// Text form: `"19.99 EUR"`; [`Money::amount`] is the number alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// Cents, or whatever the smallest unit of the currency is.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Nothing, in `currency`.
    pub fn zero(currency: Currency) -> Money {
        Money { minor: 0, currency }
    }

    /// Reads a plain decimal with at most as many places as the currency has.
    ///
    /// # Errors
    /// [`Error::Decimal`].
    pub fn parse(amount: &str, currency: Currency) -> Result<Money, Error> {
        let minor = parse_decimal(amount, currency.minor_places())?;
        Ok(Money { minor, currency })
    }

    /// The number with all places of the currency: `"19.90"`.
    pub fn amount(self) -> String {
        format_decimal(self.minor, self.currency.minor_places())
    }

    /// The sum; `None` for another currency or beyond 64 bits.
    pub fn checked_add(self, other: Money) -> Option<Money> {
        self.same_currency(other)?.minor.checked_add(other.minor).map(|minor| Money { minor, ..self })
    }

    /// The difference; `None` for another currency or beyond 64 bits.
    pub fn checked_sub(self, other: Money) -> Option<Money> {
        self.same_currency(other)?.minor.checked_sub(other.minor).map(|minor| Money { minor, ..self })
    }

    fn same_currency(self, other: Money) -> Option<Money> {
        (self.currency == other.currency).then_some(self)
    }

    /// Splits the amount in proportion to `weights`, losing nothing.
    ///
    /// Shapes: `weights` is non-empty and not all zero; one share per weight, in order, adding up
    /// to `self`. Leftover minor units go to the largest remainders, earliest first.
    /// Source: largest-remainder (Hamilton) method.
    ///
    /// # Panics
    /// When the weights add up to zero; what a caller sends goes through [`allocate`].
    pub fn allocate(self, weights: &[u32]) -> Vec<Money> {
        let weights: Vec<u128> = weights.iter().copied().map(u128::from).collect();
        let shares = allocate(self.minor.into(), &weights).expect("weights that do not add up to zero");
        let share = |minor| i64::try_from(minor).expect("a share is not larger than the whole");
        shares.into_iter().map(|minor| Money { minor: share(minor), ..self }).collect()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.amount(), self.currency))
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(amount: &str, code: &str) -> Result<Money, Error> {
        Money::parse(amount, Currency::parse(code)?)
    }

    #[test]
    #[rustfmt::skip] // columns
    fn texts_and_what_they_mean() {
        fn check(amount: &str, code: &str, expected: Result<(i64, &str), Error>) {
            let answer = money(amount, code).map(|money| (money.minor, money.to_string()));
            assert_eq!(answer, expected.map(|(minor, text)| (minor, text.to_owned())), "{amount} {code}");
        }
        let too_many = |places| Err(Error::Decimal(quantity::Error::TooManyPlaces { places }));
        check("19.99",  "EUR", Ok((1999, "19.99 EUR")));
        check("19.9",   "EUR", Ok((1990, "19.90 EUR")));
        check("-0.05",  "EUR", Ok((-5, "-0.05 EUR")));
        check("500",    "JPY", Ok((500, "500 JPY")));
        check("1.234",  "KWD", Ok((1234, "1.234 KWD")));
        check("19.999", "EUR", too_many(2));
        check("1.5",    "JPY", too_many(0));
        check("1,5",    "EUR", Err(Error::Decimal(quantity::Error::NotADecimal)));
        check("1.5",    "EU",  Err(Error::UnknownCurrency));
    }

    #[test]
    fn only_the_same_currency_adds_up() {
        let (one, two) = (money("1", "EUR").unwrap(), money("2", "EUR").unwrap());
        assert_eq!(one.checked_add(one), Some(two));
        assert_eq!(one.checked_sub(two), money("-1", "EUR").ok());
        assert_eq!(one.checked_add(money("1", "USD").unwrap()), None);
        assert_eq!(one.checked_sub(money("1", "USD").unwrap()), None);
        assert_eq!(Money { minor: i64::MAX, ..one }.checked_add(one), None);
    }

    #[test]
    #[should_panic(expected = "weights that do not add up to zero")]
    fn a_zero_base_is_refused() {
        money("1", "EUR").unwrap().allocate(&[0, 0]);
    }

    proptest! {
        #[test]
        fn parse_undoes_format(minor: i64, code in prop::sample::select(vec!["EUR", "JPY", "KWD", "CLF"])) {
            let money = Money { minor, currency: Currency::parse(code).unwrap() };
            prop_assert_eq!(Money::parse(&money.amount(), money.currency), Ok(money));
        }

        #[test]
        fn shares_add_up_to_the_whole(minor: i64, weights in prop::collection::vec(0u32..1_000, 0..20)) {
            let whole = Money { minor, currency: Currency::parse("EUR").unwrap() };
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let nothing = Money::zero(whole.currency);
            let sum = whole.allocate(&weights).into_iter().try_fold(nothing, Money::checked_add);
            prop_assert_eq!(sum, Some(whole));
        }
    }
}
