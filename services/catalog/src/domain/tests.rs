use calendar::Instant;
use ids::{PriceListId, VariantId};
use money::{Currency, UnitPrice};
use problem::Problem as _;
use proptest::prelude::*;

use super::price::CLOCK_SKEW_S_MAX;
use super::*;

const NOW: i64 = 1_780_000_000;

fn at(seconds: i64) -> Instant {
    Instant::from_unix_micros(seconds * 1_000_000)
}

fn wish(amount: i64, effective_at: Option<Instant>) -> SetPrice {
    SetPrice {
        list: PriceListId::from_bytes([1; 16]),
        variant: VariantId::from_bytes([2; 16]),
        unit: units::PIECE,
        currency: Currency::parse("EUR").unwrap(),
        amount: UnitPrice::from_micros(amount),
        effective_at,
        reason: "list 2026".to_owned(),
        source: Source::Api,
    }
}

/// Decides and takes in, as the journal does.
fn set(line: &mut Line, wish: &SetPrice, seq: u64, now: Instant) -> Result<Change, crate::Error> {
    let change = line.set(wish, now)?;
    line.evolve(&change, seq, now);
    Ok(change)
}

/// PRC-3: the past is refused, the future waits, and two may not wait for the same moment.
#[test]
#[rustfmt::skip] // columns
fn when_a_price_may_begin() {
    fn check(effective_at: Option<i64>, expected: Result<i64, &str>) {
        let mut line = Line::default();
        set(&mut line, &wish(1, None), 1, at(NOW)).unwrap();
        set(&mut line, &wish(2, Some(at(NOW + 100))), 2, at(NOW)).unwrap();
        let answer = set(&mut line, &wish(3, effective_at.map(at)), 3, at(NOW));
        let answer = answer.map(|change| change.effective_at);
        let refused = answer.as_ref().err().map(|error| error.violations().first().map_or(error.reason(), |v| v.reason));
        assert_eq!(refused, expected.err(), "{effective_at:?}");
        assert_eq!(answer.ok(), expected.ok().map(at), "{effective_at:?}");
    }
    //    effective at                        begins
    check(None,                               Ok(NOW));
    check(Some(NOW),                          Ok(NOW));
    check(Some(NOW + 1),                      Ok(NOW + 1));
    check(Some(NOW + 99),                     Ok(NOW + 99));
    check(Some(NOW + 100),                    Err("PRICE_ALREADY_SCHEDULED"));
    check(Some(NOW + 101),                    Ok(NOW + 101));
    check(Some(NOW - 1),                      Ok(NOW)); // a clock that is behind
    check(Some(NOW - CLOCK_SKEW_S_MAX),       Ok(NOW));
    check(Some(NOW - CLOCK_SKEW_S_MAX - 1),   Err("IN_THE_PAST"));
    check(Some(0),                            Err("IN_THE_PAST"));
}

#[test]
fn so_many_prices_may_wait() {
    let mut line = Line::default();
    for n in 1..=PRICES_SCHEDULED_MAX {
        let seconds = i64::try_from(n).unwrap();
        set(&mut line, &wish(1, Some(at(NOW + seconds))), 1, at(NOW)).unwrap();
    }
    let full = line.set(&wish(1, Some(at(NOW + 1_000))), at(NOW)).unwrap_err();
    assert_eq!(full.reason(), "LIMIT_REACHED");
    line.set(&wish(1, None), at(NOW)).expect("a price for now waits for nothing");
    line.set(&wish(1, Some(at(NOW + 1_000))), at(NOW + 1)).expect("one is in force");
}

/// What callers do to one line: seconds that pass before, and when the price shall begin, in seconds
/// from then.
fn wishes() -> impl Strategy<Value = Vec<(i64, Option<i64>)>> {
    prop::collection::vec((0..20i64, prop::option::of(-5..60i64)), 1..60)
}

proptest! {
    /// PRC-1, PRC-3: the price at a moment, its predecessor and its successor are those of a model that
    /// keeps every change for ever; and what the price was at a moment that has passed never changes.
    #[test]
    fn the_price_at_a_moment_is_the_last_change_before_it(wishes in wishes(), moments in prop::collection::vec(-10..1_500i64, 20)) {
        let mut line = Line::default();
        let mut all: Vec<Change> = Vec::new();
        let mut history: Vec<(Instant, Option<u64>)> = Vec::new();
        let mut now = at(NOW);
        for (n, (pause, offset)) in wishes.into_iter().enumerate() {
            now = now.plus_seconds(pause);
            let model = |all: &[Change], moment: Instant| {
                let begun = all.iter().filter(|change| change.effective_at <= moment);
                begun.max_by_key(|change| (change.effective_at, change.sequence)).cloned()
            };
            let seq = n as u64 + 1;
            let wish = wish(i64::try_from(n).unwrap(), offset.map(|offset| now.plus_seconds(offset)));
            if let Ok(change) = set(&mut line, &wish, seq, now) {
                prop_assert_eq!(change.sequence, all.len() as u64 + 1, "no gap");
                prop_assert_eq!(change.old, model(&all, change.effective_at).and_then(|change| change.new));
                prop_assert!(change.effective_at >= now);
                all.push(change);
            } else {
                let taken = |change: &Change| Some(change.effective_at) == wish.effective_at;
                prop_assert!(all.iter().any(taken), "only a taken moment is refused here");
            }
            for offset in &moments {
                let moment = now.plus_seconds(offset.max(&0) / 10);
                let expected = model(&all, moment);
                prop_assert_eq!(line.at(moment).map(|point| point.sequence), expected.map(|change| change.sequence));
                let next = all.iter().filter(|change| moment < change.effective_at);
                let next = next.min_by_key(|change| (change.effective_at, change.sequence));
                prop_assert_eq!(line.next_after(moment).map(|point| point.sequence), next.map(|change| change.sequence));
            }
            for (moment, price) in &history {
                prop_assert_eq!(&model(&all, *moment).map(|change| change.sequence), price);
            }
            // The moment itself may still get another price; the one before it may not.
            let before = Instant::from_unix_micros(now.unix_micros() - 1);
            history.push((before, model(&all, before).map(|change| change.sequence)));
            prop_assert!(line.points.len() <= PRICES_SCHEDULED_MAX + 1);
        }
    }

    /// CAT-2: a factor is superseded, never edited; at most one per unit is in force.
    #[test]
    fn factors_are_superseded(sets in prop::collection::vec((0..3usize, 1..50i64), 1..30)) {
        let units = ["BX", "CT", "PX"].map(|code| units::find(code).unwrap());
        let mut variant = Variant {
            id: VariantId::from_bytes([2; 16]),
            details: VariantDetails {
                sku: "A".to_owned(),
                option_values: Default::default(),
                barcodes: vec![],
                status: Status::Active,
            },
            conversions: vec![],
        };
        for (n, (unit, num)) in sets.into_iter().enumerate() {
            let before = variant.conversions.clone();
            let factor = UnitFactor { unit: units[unit], factor: quantity::Factor::new(num, 1).unwrap() };
            let now = at(NOW + i64::try_from(n).unwrap());
            variant.supersede(factor, now);
            prop_assert_eq!(variant.factor(units[unit], units::PIECE), Some(factor.factor));
            prop_assert_eq!(variant.conversions.len(), before.len() + 1);
            for (old, new) in before.iter().zip(&variant.conversions) {
                prop_assert_eq!((&old.factor, old.valid_from), (&new.factor, new.valid_from));
                let ends = old.superseded_at.or((old.factor.unit == units[unit]).then_some(now));
                prop_assert_eq!(new.superseded_at, ends);
            }
            for unit in units {
                prop_assert!(variant.in_force().filter(|one| one.unit == unit).count() <= 1);
            }
        }
    }
}

/// CAT-1: what a status may become.
#[test]
fn a_status_has_few_successors() {
    let all = [Status::Draft, Status::Active, Status::Discontinued, Status::Archived];
    let mut allowed = vec![];
    for from in all {
        for to in all {
            match from.become_next(to) {
                Ok(next) => {
                    assert_eq!(next, to);
                    if from != to {
                        allowed.push(format!("{} {}", from.name(), to.name()));
                    }
                }
                Err(error) => assert_eq!(error.reason(), "ILLEGAL_TRANSITION"),
            }
        }
    }
    let expected = [
        "DRAFT ACTIVE",
        "DRAFT ARCHIVED",
        "ACTIVE DISCONTINUED",
        "DISCONTINUED ACTIVE",
        "DISCONTINUED ARCHIVED",
    ];
    assert_eq!(allowed, expected);
}
