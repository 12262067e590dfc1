//! The quantity itself.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
    str::FromStr,
};

use crate::{Error, decimal};

/// The most that one entry may hold: 10^12 units.
///
/// Sums of millions of such entries still do not fit 64 bits, so whoever adds without a limit of
/// its own uses [`Quantity::checked_add`].
pub const QUANTITY_MAX: Quantity = Quantity::whole(1_000_000_000_000);

/// A quantity, exact to the millionth of a unit; the unit is known from where it stands.
///
/// Text form: `"12.5"`, no zeros at the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(i64);

const MICROS_PER_UNIT: i64 = 10_i64.pow(Quantity::SCALE);

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity(0);
    /// Decimal places that are kept.
    pub const SCALE: u32 = 6;

    /// So many whole units.
    ///
    /// # Panics
    /// Beyond 9.2 × 10^12 units.
    pub const fn whole(units: i64) -> Quantity {
        match units.checked_mul(MICROS_PER_UNIT) {
            Some(micros) => Quantity(micros),
            None => panic!("quantity overflow"),
        }
    }

    /// So many millionths of a unit.
    pub const fn from_micros(micros: i64) -> Quantity {
        Quantity(micros)
    }

    /// The quantity in millionths of a unit.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads a plain decimal with at most six places; see [`decimal::parse`].
    ///
    /// # Errors
    /// [`Error::NotADecimal`], [`Error::TooManyPlaces`], [`Error::OutOfRange`] beyond 64 bits
    /// ([`QUANTITY_MAX`] is the caller's to check).
    pub fn parse(text: &str) -> Result<Quantity, Error> {
        decimal::parse(text, Quantity::SCALE).map(Quantity)
    }

    /// The sum, or `None` beyond 64 bits.
    pub fn checked_add(self, other: Quantity) -> Option<Quantity> {
        self.0.checked_add(other.0).map(Quantity)
    }

    /// The difference, or `None` beyond 64 bits.
    pub fn checked_sub(self, other: Quantity) -> Option<Quantity> {
        self.0.checked_sub(other.0).map(Quantity)
    }

    /// The quantity without its sign.
    pub fn abs(self) -> Quantity {
        if self.is_negative() { -self } else { self }
    }

    /// -1, 0 or 1.
    pub fn signum(self) -> i64 {
        self.0.signum()
    }

    /// Whether it is more than zero.
    pub fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// Whether it is less than zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// How many decimal places it needs: 0 for whole units, at most [`Quantity::SCALE`].
    pub fn decimal_places(self) -> u32 {
        let mut places = Quantity::SCALE;
        let mut rest = self.0;
        while places > 0 && rest % 10 == 0 {
            rest /= 10;
            places -= 1;
        }
        places
    }
}

/// # Panics
/// Beyond 64 bits: the limits of an entry and of a balance are checked before.
impl Add for Quantity {
    type Output = Quantity;

    fn add(self, other: Quantity) -> Quantity {
        self.checked_add(other).expect("quantity overflow")
    }
}

/// # Panics
/// Beyond 64 bits: the limits of an entry and of a balance are checked before.
impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Quantity) -> Quantity {
        self.checked_sub(other).expect("quantity overflow")
    }
}

/// # Panics
/// For the smallest 64-bit number, which no entry or balance holds.
impl Neg for Quantity {
    type Output = Quantity;

    fn neg(self) -> Quantity {
        Quantity::ZERO - self
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Quantity) {
        *self = *self - other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Quantity>>(quantities: I) -> Quantity {
        quantities.fold(Quantity::ZERO, Add::add)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(decimal::Text::trimmed(self.0, Quantity::SCALE).as_str())
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Quantity, Error> {
        Quantity::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn texts_and_places() {
        fn check(text: &str, micros: i64, places: u32) {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!((quantity.micros(), quantity.decimal_places()), (micros, places), "{text}");
            assert_eq!(quantity.to_string(), text);
        }
        check("0",         0,           0);
        check("12",        12_000_000,  0);
        check("12.5",      12_500_000,  1);
        check("-0.25",     -250_000,    2);
        check("0.000001",  1,           6);
        check("1000000000000", QUANTITY_MAX.micros(), 0);
        assert_eq!(format!("{:>6}|{:?}", Quantity::whole(7), Quantity::whole(7)), "     7|7");
    }

    #[test]
    fn overflow_is_never_a_wrong_number() {
        let most = Quantity::from_micros(i64::MAX);
        assert_eq!(most.checked_add(Quantity::from_micros(1)), None);
        assert_eq!(Quantity::from_micros(i64::MIN).checked_sub(Quantity::from_micros(1)), None);
        assert!(std::panic::catch_unwind(|| most + most).is_err());
        assert!(std::panic::catch_unwind(|| -Quantity::from_micros(i64::MIN)).is_err());
    }

    /// Quantities of which thousands can be added.
    fn quantities() -> impl Strategy<Value = Quantity> {
        (-1_000_000_000_000_000i64..1_000_000_000_000_000).prop_map(Quantity::from_micros)
    }

    proptest! {
        #[test]
        fn parse_undoes_format(micros: i64) {
            let quantity = Quantity::from_micros(micros);
            prop_assert_eq!(quantity.to_string().parse(), Ok(quantity));
            let written = quantity.to_string().split_once('.').map_or(0, |(_, places)| places.len());
            prop_assert_eq!(quantity.decimal_places() as usize, written);
        }

        #[test]
        fn sums_do_not_depend_on_order(mut all in prop::collection::vec(quantities(), 0..50)) {
            let sum: Quantity = all.iter().copied().sum();
            all.reverse();
            prop_assert_eq!(all.iter().copied().sum::<Quantity>(), sum);
            let less = all.iter().fold(sum, |rest, quantity| rest - *quantity);
            prop_assert_eq!(less, Quantity::ZERO);
        }

        #[test]
        fn signs_agree(a in quantities(), b in quantities()) {
            prop_assert_eq!(a - b, -(b - a));
            prop_assert_eq!((a - b).signum(), a.cmp(&b) as i64);
            prop_assert_eq!((a - b).is_positive(), a > b);
            prop_assert_eq!((a - b).is_negative(), a < b);
            prop_assert_eq!((a - b).is_zero(), a == b);
            prop_assert_eq!(a.abs(), a.max(-a));
            let (mut up, mut down) = (a, a);
            up += b;
            down -= b;
            prop_assert_eq!(up + down, a + a);
        }
    }
}
