//! Sharing out an amount.

/// Splits `total` in proportion to `weights`, losing nothing.
///
/// Shapes: one share per weight, in order, adding up to `total`. Each share is less than one unit
/// from its exact value and never has the other sign; equal weights differ by at most one unit.
/// Leftover units go to the largest remainders, earliest first.
/// Source: largest-remainder (Hamilton) method.
///
/// `None` when the weights add up to zero (there is nothing to go by), or when `total` times that
/// sum does not fit 128 bits.
pub fn allocate(total: i128, weights: &[u128]) -> Option<Vec<i128>> {
    let size = total.unsigned_abs();
    let base = weights.iter().try_fold(0_u128, |sum, weight| sum.checked_add(*weight))?;
    size.checked_mul(base).filter(|_| base > 0)?;

    let mut shares: Vec<u128> = weights.iter().map(|weight| size * weight / base).collect();
    let left = size - shares.iter().sum::<u128>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(size * weights[index] % base)); // stable: earliest first
    for index in order.into_iter().take(usize::try_from(left).ok()?) {
        shares[index] += 1;
    }

    let signed =
        |share: u128| if total < 0 { 0_i128.checked_sub_unsigned(share) } else { i128::try_from(share).ok() };
    shares.into_iter().map(signed).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn worked_examples() {
        fn check(total: i128, weights: &[u128], expected: Option<&[i128]>) {
            assert_eq!(allocate(total, weights).as_deref(), expected, "{total} over {weights:?}");
        }
        //    total    weights
        check(10_000,  &[1, 1, 1],      Some(&[3334, 3333, 3333]));
        check(-10_000, &[1, 1, 1],      Some(&[-3334, -3333, -3333]));
        check(10,      &[1, 2, 3],      Some(&[2, 3, 5]));  // exact 1.67, 3.33, 5.00
        check(5,       &[1, 1],         Some(&[3, 2]));     // a tie goes to the earliest
        check(-5,      &[1, 1],         Some(&[-3, -2]));
        check(1,       &[0, 0, 7],      Some(&[0, 0, 1]));
        check(2,       &[0, 1, 1, 1],   Some(&[0, 1, 1, 0]));
        check(0,       &[3, 4],         Some(&[0, 0]));
        check(100,     &[5],            Some(&[100]));
        check(100,     &[0, 0],         None);              // zero base
        check(0,       &[0],            None);
        check(100,     &[],             None);
        check(1,       &[u128::MAX, 1], None);              // weights beyond 128 bits
        check(i128::MAX, &[3, 3],       None);              // products beyond 128 bits
        check(i128::MIN, &[1],          Some(&[i128::MIN]));
    }

    proptest! {
        #[test]
        fn a_split_loses_nothing(
            total in -1_000_000_000_000i128..1_000_000_000_000,
            weights in prop::collection::vec(prop_oneof![Just(0u128), 0..10u128, 0..1_000_000_000u128], 1..40),
        ) {
            let base: u128 = weights.iter().sum();
            let Some(shares) = allocate(total, &weights) else {
                prop_assert_eq!(base, 0);
                return Ok(());
            };
            prop_assert_eq!(shares.len(), weights.len());
            prop_assert_eq!(shares.iter().sum::<i128>(), total);
            let base = i128::try_from(base).unwrap();
            for (share, weight) in shares.iter().zip(&weights) {
                let weight = i128::try_from(*weight).unwrap();
                prop_assert!((share * base - total * weight).abs() < base, "more than a unit from exact");
                prop_assert!(*share == 0 || (*share < 0) == (total < 0), "wrong sign");
                prop_assert!(weight != 0 || *share == 0, "a share for nothing");
            }
            for (a, x) in shares.iter().zip(&weights) {
                for (b, y) in shares.iter().zip(&weights) {
                    if x == y {
                        prop_assert!((a - b).abs() <= 1, "equal weights, unequal shares");
                    }
                }
            }
        }

        #[test]
        fn the_sign_of_the_total_is_the_sign_of_the_shares(
            total in 0i128..1_000_000, weights in prop::collection::vec(1u128..1_000, 1..20),
        ) {
            let shares = allocate(total, &weights).unwrap();
            let mirrored: Vec<i128> = shares.iter().map(|share| -share).collect();
            prop_assert_eq!(allocate(-total, &weights).unwrap(), mirrored);
        }
    }
}
