//! The one rounding rule for values.

/// Divides and rounds to the nearest integer, ties away from zero: 1 / 2 is 1, -1 / 2 is -1.
///
/// Half-even would leave a cent behind in published costing examples; ties away from zero do not.
/// Source: `ROUND_HALF_UP` of the General Decimal Arithmetic specification.
///
/// # Panics
/// When `den` is zero, or for the smallest 128-bit number divided by -1.
pub fn div_half_away(num: i128, den: i128) -> i128 {
    let (quotient, remainder) = (num / den, num % den);
    let rest = remainder.unsigned_abs();
    // As `2 * rest >= den`, without the product, which may not fit.
    if rest >= den.unsigned_abs() - rest {
        quotient + if (num < 0) == (den < 0) { 1 } else { -1 }
    } else {
        quotient
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn ties_go_away_from_zero() {
        fn check(num: i128, den: i128, expected: i128) {
            assert_eq!(div_half_away(num, den), expected, "{num} / {den}");
        }
        //    num  den
        check(  0,   3,  0);
        check(  1,   2,  1);
        check( -1,   2, -1);
        check(  1,  -2, -1);
        check( -1,  -2,  1);
        check(  3,   2,  2);
        check(  5,   2,  3); // half-even says 2
        check( -5,   2, -3);
        check(  1,   3,  0);
        check(  2,   3,  1);
        check( -2,   3, -1);
        check(  4,   2,  2);
        check(i128::MAX, i128::MAX,     1);
        check(i128::MAX, 1,             i128::MAX);
        check(i128::MIN, 1,             i128::MIN);
        check(i128::MAX, i128::MIN,    -1);
        check(1,         i128::MIN,     0);
    }

    /// 100.00 for three leave as 33.33, 33.34, 33.33: each is a share of what is left, and the last
    /// one takes all of it.
    #[test]
    #[rustfmt::skip] // columns
    fn what_is_taken_one_by_one_adds_up() {
        fn check(value: i128, quantity: i128, expected: &[i128]) {
            let (mut value_left, mut quantity_left) = (value, quantity);
            let taken: Vec<i128> = (0..quantity).map(|_| {
                let taken = div_half_away(value_left, quantity_left);
                value_left -= taken;
                quantity_left -= 1;
                taken
            }).collect();
            assert_eq!((taken.as_slice(), value_left), (expected, 0));
        }
        check( 10_000, 3, &[3333, 3334, 3333]);
        check(-10_000, 3, &[-3333, -3334, -3333]);
        check(      1, 2, &[1, 0]);
        check(      0, 2, &[0, 0]);
        check(    100, 1, &[100]);
    }

    /// Counts up to the answer; independent of how `/` rounds.
    fn slowly(num: i128, den: i128) -> i128 {
        let (size, step) = (num.abs(), den.abs());
        let mut answer = 0;
        // The answer is the largest `n` whose lower tie `(2n - 1) / 2` is not above the size.
        while (2 * answer + 1) * step <= 2 * size {
            answer += 1;
        }
        if (num < 0) == (den < 0) { answer } else { -answer }
    }

    proptest! {
        #[test]
        fn as_if_counted(num in -2_000i128..2_000, den in (-50i128..50).prop_filter("not zero", |den| *den != 0)) {
            prop_assert_eq!(div_half_away(num, den), slowly(num, den));
        }

        #[test]
        fn at_most_half_away(num: i64, den in (any::<i64>()).prop_filter("not zero", |den| *den != 0)) {
            let (num, den) = (i128::from(num), i128::from(den));
            let answer = div_half_away(num, den);
            prop_assert!(2 * (answer * den - num).abs() <= den.abs());
            prop_assert_eq!(div_half_away(-num, den), -answer);
            prop_assert_eq!(div_half_away(num, -den), -answer);
            prop_assert_eq!(div_half_away(num * den, den), num);
        }

        /// The value left is zero when the quantity left is, whatever is taken in between.
        #[test]
        fn the_last_unit_takes_the_remainder(
            value in -1_000_000i128..1_000_000, takes in prop::collection::vec(1i128..1_000, 1..20),
        ) {
            let (mut value_left, mut quantity_left) = (value, takes.iter().sum::<i128>());
            for take in takes {
                let taken = div_half_away(value_left * take, quantity_left);
                prop_assert!(taken == 0 || (taken < 0) == (value < 0));
                value_left -= taken;
                quantity_left -= take;
            }
            prop_assert_eq!((value_left, quantity_left), (0, 0));
        }
    }
}
