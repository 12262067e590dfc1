//! What may be posted, where, when and how much.

use quantity::Factor;
use stock::domain::kind::{Flow, Kind};
use stock::domain::location::Status;
use stock::domain::movement::Method::{Fifo, MovingAverage};
use stock::domain::pool::DEFICITS_MAX;
use stock::domain::post::Direction;

use crate::ledger::{Draft, Ledger, draft, loc, why};

fn outcome<T>(result: Result<T, stock::error::Error>) -> String {
    result.err().map_or_else(String::new, |error| why(&error))
}

#[test]
#[rustfmt::skip] // columns
fn a_place_has_what_leaves_unless_it_may_go_below_zero() {
    let check = |kind: Kind, allow: bool, quantity: &str, expected: &str| {
        let mut ledger = Ledger::new(MovingAverage);
        ledger.receive("100", "100");
        ledger.post(draft(Kind::PurchaseReceipt, "100").at(2).total("100")).unwrap();
        if allow { ledger.allow(1) }
        let to = (kind.flow() == Flow::Move).then_some(2);
        let direction = (kind.flow() == Flow::Either).then_some(Direction::Out);
        let found = outcome(ledger.post(Draft { to, direction, ..draft(kind, quantity) }));
        assert_eq!(found, expected, "{kind} {allow} {quantity}");
    };
    //    kind                   allow  quantity
    check(Kind::SaleShipment,     false, "100",        "");
    check(Kind::SaleShipment,     false, "100.000001", "INSUFFICIENT_STOCK");
    check(Kind::SaleShipment,     true,  "100.000001", "");
    check(Kind::AdjustmentManual, false, "101",        "INSUFFICIENT_STOCK");
    check(Kind::AdjustmentManual, true,  "101",        "");
    check(Kind::WriteOffTheft,    false, "101",        "INSUFFICIENT_STOCK");
    check(Kind::WriteOffTheft,    true,  "101",        "");
    check(Kind::TransferDirect,   false, "100",        "");
    check(Kind::TransferDirect,   false, "101",        "INSUFFICIENT_STOCK");
    // Transfers never make a shortage.
    check(Kind::TransferDirect,   true,  "100",        "");
    check(Kind::TransferDirect,   true,  "101",        "INSUFFICIENT_STOCK");
}

#[test]
fn a_refusal_says_what_is_there() {
    let mut ledger = Ledger::new(Fifo);
    ledger.receive("99.9997", "1");
    let refused = ledger.post(draft(Kind::SaleShipment, "100")).unwrap_err();
    assert_eq!(refused.to_string(), "99.9997 available, 100 wanted");
    let metadata = problem::Problem::metadata(&refused);
    assert_eq!(metadata[0], ("locationId", loc(1).to_string()));
    assert_eq!(metadata[1..], [("available", "99.9997".to_owned()), ("wanted", "100".to_owned())]);
}

#[test]
#[rustfmt::skip] // columns
fn a_blocked_place_lets_nothing_through() {
    let check = |status: Status, arrive: &str, leave: &str, come: &str, go: &str| {
        let mut ledger = Ledger::new(Fifo);
        ledger.receive("5", "5");
        ledger.post(draft(Kind::PurchaseReceipt, "5").at(2).total("5")).unwrap();
        ledger.status(1, status);
        let moves = |at: u8, to: u8| Draft { to: Some(to), ..draft(Kind::TransferDirect, "1").at(at) };
        assert_eq!(outcome(ledger.post(draft(Kind::PurchaseReceipt, "1").total("1"))), arrive, "{status:?}");
        assert_eq!(outcome(ledger.post(draft(Kind::SaleShipment, "1"))), leave, "{status:?}");
        assert_eq!(outcome(ledger.post(moves(2, 1))), come, "{status:?}");
        assert_eq!(outcome(ledger.post(moves(1, 2))), go, "{status:?}");
    };
    const NO: &str = "LOCATION_BLOCKED";
    //    status             arrive leave come go
    check(Status::Active,     "",   "",   "",  "");
    check(Status::BlockedIn,  NO,   "",   NO,  "");
    check(Status::BlockedOut, "",   NO,   "",  NO);
    check(Status::Closed,     NO,   NO,   NO,  NO);
}

#[test]
#[rustfmt::skip] // columns
fn late_is_welcome_with_permission_and_in_the_window() {
    let check = |days: Option<i64>, may: bool, expected: &str, late: bool| {
        let mut ledger = Ledger::new(MovingAverage);
        ledger.post(draft(Kind::PurchaseReceipt, "9").total("9").days_ago(40)).unwrap();
        ledger.post(draft(Kind::SaleShipment, "1").days_ago(5)).unwrap();
        let result = ledger.post(Draft { days_ago: days, may_backdate: may, ..draft(Kind::SaleShipment, "1") });
        let is_late = result.as_ref().is_ok_and(|seq| ledger.movement(*seq).late);
        assert_eq!((outcome(result), is_late), (expected.to_owned(), late), "{days:?} {may}");
    };
    //    days ago   may    refused            late
    check(None,      false, "",                false);
    check(Some(0),   false, "",                false);
    check(Some(5),   false, "",                false); // the same instant is not earlier
    check(Some(6),   false, "BACKDATE_WINDOW", false);
    check(Some(6),   true,  "",                true);
    check(Some(30),  true,  "",                true);
    check(Some(31),  true,  "BACKDATE_WINDOW", false);
}

#[test]
fn what_was_never_touched_may_be_dated_as_it_was() {
    let mut ledger = Ledger::new(MovingAverage);
    ledger.receive("1", "1");
    let old = ledger.post(draft(Kind::AdjustmentOpening, "5").at(2).total("5").days_ago(4000)).unwrap();
    assert!(!ledger.movement(old).late);
    let refused = ledger.post(draft(Kind::AdjustmentOpening, "5").total("5").days_ago(4000)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "movements here are dated up to {}; earlier dates need the permission 'stock.backdate'",
            ledger.now
        )
    );
}

#[test]
fn a_transfer_is_late_where_it_is_late() {
    let mut ledger = Ledger::new(MovingAverage);
    ledger.post(draft(Kind::PurchaseReceipt, "9").total("9").days_ago(9)).unwrap();
    ledger.post(draft(Kind::PurchaseReceipt, "9").at(2).total("9").days_ago(2)).unwrap();
    let moves = Draft { to: Some(2), may_backdate: true, ..draft(Kind::TransferDirect, "1").days_ago(5) };
    assert_eq!(outcome(ledger.post(Draft { may_backdate: false, ..moves.clone() })), "BACKDATE_WINDOW");
    let first = ledger.post(moves).unwrap();
    assert_eq!([first, first + 1].map(|seq| ledger.movement(seq).late), [false, true]);
}

#[test]
fn a_plan_is_not_a_movement() {
    let mut ledger = Ledger::new(Fifo);
    let mut ahead = |seconds| {
        let mut post = ledger.prepare(draft(Kind::PurchaseReceipt, "1").total("1"));
        post.occurred_at = Some(ledger.now.plus_seconds(seconds));
        outcome(journal::Aggregate::decide(
            ledger.item(),
            &stock::domain::item::Command::Post(Box::new(post)),
            ledger.now,
        ))
    };
    assert_eq!(ahead(300), "", "clocks differ");
    assert_eq!(ahead(301), "movement.occurred_at OUT_OF_RANGE");
}

#[test]
#[rustfmt::skip] // columns
fn units_convert_exactly_or_not_at_all() {
    let check = |scale: u32, quantity: &str, unit: (i64, i64), integral: bool, expected: Result<&str, &str>| {
        let mut ledger = Ledger::with(MovingAverage, scale, 2);
        let entered = Draft { integral, ..draft(Kind::PurchaseReceipt, quantity).in_unit("XX", unit.0, unit.1).total("1") };
        let found = ledger.post(entered).map(|seq| ledger.movement(seq).quantity.to_string());
        let found = found.map_err(|error| format!("{} {}", why(&error), problem::Problem::violations(&error)[0].detail));
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{quantity} × {unit:?}");
    };
    //    scale quantity    factor                   whole  expected
    check(0,    "3",        (12, 1),                 true,  Ok("36"));
    check(0,    "0.5",      (12, 1),                 false, Ok("6"));
    check(0,    "0.5",      (12, 1),                 true,  Err("movement.quantity TOO_MANY_PLACES 'XX' is counted in whole units"));
    check(0,    "1.0",      (12, 1),                 true,  Ok("12"));
    check(0,    "0.1",      (12, 1),                 false, Err("movement.quantity TOO_MANY_PLACES '1.2' C62 has more than the 0 decimal places of this item"));
    check(1,    "0.1",      (12, 1),                 false, Ok("1.2"));
    check(6,    "1",        (1, 12),                 false, Err("movement.quantity NOT_REPRESENTABLE must convert to the base unit exactly; '0.083333' and '0.083334' are nearest"));
    check(6,    "12",       (1, 12),                 false, Ok("1"));
    check(6,    "10",       (100_000, 45_359_237),   false, Err("movement.quantity NOT_REPRESENTABLE must convert to the base unit exactly; '0.022046' and '0.022047' are nearest"));
    check(6,    "100",      (45_359_237, 100_000_000), false, Ok("45.359237"));
    check(6,    "2",        (1_000_000_000_000, 1),  false, Err("movement.quantity TOO_LARGE must be at most 10^12 base units"));
    check(6,    "1000000000", (1_000_000_000_000, 1), false, Err("movement.quantity TOO_LARGE must be a smaller number"));
}

#[test]
fn a_movement_keeps_what_the_person_typed() {
    let mut ledger = Ledger::new(MovingAverage);
    let receipt = ledger.post(draft(Kind::PurchaseReceipt, "3").in_unit("DZN", 24, 2).total("1")).unwrap();
    let entered = &ledger.movement(receipt).cause.entered;
    assert_eq!((entered.quantity.to_string(), entered.unit.as_str()), ("3".into(), "DZN"));
    assert_eq!(entered.factor, Factor::new(12, 1).unwrap());
}

#[test]
#[rustfmt::skip] // columns
fn costs_are_in_the_base_currency_and_fit() {
    let check = |cost: Draft, expected: &str| {
        let mut ledger = Ledger::new(MovingAverage);
        assert_eq!(outcome(ledger.post(cost)), expected);
    };
    let receipt = |quantity| draft(Kind::PurchaseReceipt, quantity);
    let dollars = money::Currency::parse("USD").unwrap();
    let unit = stock::domain::post::Cost::Unit(crate::ledger::price("1"), dollars);
    let total = stock::domain::post::Cost::Total(crate::ledger::price("1"), dollars);
    check(receipt("1").total("0.01"),                     "");
    check(receipt("1").total("0.001"),                    "movement.total_cost.amount TOO_MANY_PLACES");
    check(receipt("1").unit_cost("0.001"),                "");
    check(Draft { cost: Some(unit),  ..receipt("1") },    "movement.unit_cost.currency NOT_ALLOWED");
    check(Draft { cost: Some(total), ..receipt("1") },    "movement.total_cost.currency NOT_ALLOWED");
    check(receipt("1000000").unit_cost("9000000000000"),  "movement.unit_cost TOO_LARGE");
}

#[test]
fn balances_and_values_have_limits() {
    let mut ledger = Ledger::new(MovingAverage);
    ledger.allow(1);
    ledger.post(draft(Kind::PurchaseReceipt, "1000000000000").total("0")).unwrap();
    assert_eq!(outcome(ledger.post(draft(Kind::PurchaseReceipt, "0.000001").total("0"))), "QUANTITY_LIMIT");
    // Also in another place: the item is full.
    let there = draft(Kind::PurchaseReceipt, "0.000001").at(2).total("0");
    assert_eq!(outcome(ledger.post(there)), "QUANTITY_LIMIT");

    let mut ledger = Ledger::with(MovingAverage, 6, 6);
    ledger.post(draft(Kind::PurchaseReceipt, "1").unit_cost("600000000000")).unwrap();
    let again = draft(Kind::PurchaseReceipt, "1").unit_cost("600000000000");
    assert_eq!(outcome(ledger.post(again)), "QUANTITY_LIMIT");
    // What would be assumed for a huge find is too large as well.
    let found = Draft { direction: Some(Direction::In), ..draft(Kind::AdjustmentManual, "1000000") };
    assert_eq!(outcome(ledger.post(found)), "QUANTITY_LIMIT");
}

#[test]
fn so_many_issues_may_wait_for_goods() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.allow(1);
        ledger.receive("1", "10");
        ledger.sell("2");
        for _ in 1..DEFICITS_MAX {
            ledger.sell("1");
        }
        assert_eq!(outcome(ledger.post(draft(Kind::SaleShipment, "1"))), "QUANTITY_LIMIT");
        // One receipt settles them all.
        let receipt = ledger.receive("49", "49");
        assert_eq!(ledger.posting(receipt).len(), 1 + DEFICITS_MAX);
        assert_eq!(ledger.pool(), "1 1.00");
    }
}

/// A line of a document posts once per kind and revision, also within one commit.
#[test]
fn a_source_line_posts_once() {
    for fold in [1, 10] {
        let mut ledger = Ledger::new(Fifo);
        ledger.fold = fold;
        let line = |line: &str| draft(Kind::PurchaseReceipt, "1").total("1").line(line);
        let first = ledger.post(line("1")).unwrap();
        let refused = ledger.post(line("1")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("this line of the source document was posted already, as movement {first} of the item")
        );
        ledger.post(line("2")).unwrap();
        ledger.post(Draft { revision: 1, ..line("1") }).unwrap();
        assert_eq!(outcome(ledger.post(Draft { revision: 1, ..line("1") })), "SOURCE_ALREADY_POSTED");
        // A reversal does not free the line: a correction has a new revision.
        ledger.reverse(first).unwrap();
        assert_eq!(outcome(ledger.post(line("1"))), "SOURCE_ALREADY_POSTED");
        // Without a line the document may post as often as it likes.
        ledger.post(line("")).unwrap();
        ledger.post(line("")).unwrap();
    }
}

#[test]
fn an_adjustment_has_a_direction() {
    let mut ledger = Ledger::new(Fifo);
    let found = outcome(ledger.post(draft(Kind::AdjustmentManual, "1")));
    assert_eq!(found, "movement.direction REQUIRED");
}
