//! What goods cost: the published examples, to the cent.

use stock::domain::kind::Kind;
use stock::domain::movement::Method::{self, Fifo, MovingAverage};
use stock::domain::post::Direction;

use crate::ledger::{Ledger, draft};

/// Steps: `+10 100` receives 10 for 100 in all, `-5` sells 5; place 1 may go below zero. Expected: the
/// values of all movements and what is left of the pool.
fn check(method: Method, steps: &[&str], values: &[&str], pool: &str) {
    let mut ledger = Ledger::new(method);
    ledger.allow(1);
    for step in steps {
        match step.split_at(1) {
            ("+", rest) => {
                let (quantity, total) = rest.split_once(' ').unwrap();
                ledger.receive(quantity, total)
            }
            (_, quantity) => ledger.sell(quantity),
        };
    }
    let found: Vec<_> = (1..=ledger.last()).map(|seq| ledger.value(seq)).collect();
    assert_eq!(found, values, "{method:?} {steps:?}");
    assert_eq!(ledger.pool(), pool, "{method:?} {steps:?}");
}

#[test]
#[rustfmt::skip] // columns
fn issues_leave_at_the_cost_of_the_method() {
    // 100.00 for three leave as 33.33, 33.34, 33.33.
    check(Fifo,          &["+3 100", "-1", "-1", "-1"],          &["100.00", "-33.33", "-33.34", "-33.33"],          "0 0.00");
    check(MovingAverage, &["+3 100", "-1", "-1", "-1"],          &["100.00", "-33.33", "-33.34", "-33.33"],          "0 0.00");
    check(Fifo,          &["+10 100", "+10 200", "-15"],         &["100.00", "200.00", "-200.00"],                   "5 100.00");
    check(MovingAverage, &["+10 100", "+10 200", "-15"],         &["100.00", "200.00", "-225.00"],                   "5 75.00");
    // Free goods have no value, and the average knows them.
    check(Fifo,          &["+1 0", "+1 10", "-1", "-1"],         &["0.00", "10.00", "0.00", "-10.00"],               "0 0.00");
    check(MovingAverage, &["+1 0", "+1 10", "-1", "-1"],         &["0.00", "10.00", "-5.00", "-5.00"],               "0 0.00");
    // A cent for three: the last unit takes what is left.
    check(MovingAverage, &["+3 0.01", "-1", "-1", "-1"],         &["0.01", "0.00", "-0.01", "0.00"],                 "0 0.00");
    check(Fifo,          &["+0.000003 1", "-0.000001", "-0.000002"], &["1.00", "-0.33", "-0.67"],                    "0 0.00");
}

#[test]
#[rustfmt::skip] // columns
fn a_shortage_leaves_at_the_last_cost_and_is_settled() {
    // Ten at 10; 15 and 5 leave; 15 arrive at 15: five are left worth 75, and 50 is settled, 25 for each issue.
    check(Fifo,          &["+10 100", "-15", "-5"],              &["100.00", "-150.00", "-50.00"],                   "-10 -100.00");
    check(Fifo,          &["+10 100", "-15", "-5", "+15 225"],   &["100.00", "-150.00", "-50.00", "225.00", "-25.00", "-25.00"], "5 75.00");
    check(MovingAverage, &["+10 100", "+10 200", "-30"],         &["100.00", "200.00", "-450.00"],                   "-10 -150.00");
    check(MovingAverage, &["+10 100", "+10 200", "-30", "+10 300"], &["100.00", "200.00", "-450.00", "300.00", "-150.00"], "0 0.00");
    // At the same cost nothing is to be settled.
    check(Fifo,          &["+10 100", "-15", "+5 50"],           &["100.00", "-150.00", "50.00"],                    "0 0.00");
    // Cheaper goods settle the other way.
    check(Fifo,          &["+10 100", "-15", "+5 20"],           &["100.00", "-150.00", "20.00", "30.00"],           "0 0.00");
    // Nothing is known of the cost: zero until goods arrive.
    check(MovingAverage, &["-2", "+3 30"],                       &["0.00", "30.00", "-20.00"],                       "1 10.00");
    // Covered in parts, the oldest first; cents go where the rest goes.
    check(Fifo,          &["+3 10", "-4", "-1", "+1 5", "+2 9"], &["10.00", "-13.33", "-3.33", "5.00", "-1.67", "9.00", "-1.17"], "1 4.50");
}

#[test]
fn an_issue_names_the_receipts_that_it_took() {
    let check = |method, expected: &[(u64, &str, &str)]| {
        let mut ledger = Ledger::new(method);
        ledger.receive("3", "10");
        ledger.receive("3", "20");
        let issue = ledger.sell("4");
        let consumed = &ledger.movement(issue).consumed;
        let found: Vec<_> = consumed
            .iter()
            .map(|slice| (slice.receipt, slice.quantity.to_string(), ledger.money(slice.value)))
            .collect();
        let found: Vec<_> =
            found.iter().map(|(seq, quantity, value)| (*seq, &**quantity, &**value)).collect();
        assert_eq!(found, expected, "{method:?}");
    };
    check(Fifo, &[(1, "3", "10.00"), (2, "1", "6.67")]);
    check(MovingAverage, &[(1, "3", "15.00"), (2, "1", "5.00")]);
}

#[test]
#[rustfmt::skip] // columns
fn costs_are_as_fine_as_the_business_wants() {
    let check = |scale: u32, issued: &str| {
        let mut ledger = Ledger::with(MovingAverage, 0, scale);
        ledger.post(draft(Kind::PurchaseReceipt, "10000").unit_cost("0.0003")).unwrap();
        let issue = ledger.sell("1");
        assert_eq!(ledger.value(issue), issued, "scale {scale}");
    };
    check(0, "0");
    check(2, "0.00");
    check(4, "-0.0003");
    check(6, "-0.000300");
}

/// 156,526 per ton for 1,728 kg: exact only with the price per ton and the quantity in tons.
#[test]
fn a_unit_price_is_multiplied_by_the_entered_quantity() {
    let mut ledger = Ledger::new(MovingAverage);
    let tons = draft(Kind::PurchaseReceipt, "1.728").in_unit("TNE", 1000, 1).unit_cost("156526");
    let receipt = ledger.post(tons).unwrap();
    assert_eq!(ledger.movement(receipt).quantity.to_string(), "1728");
    assert_eq!(ledger.value(receipt), "270476.93");

    // A dozen at 10.00: twelve pieces worth 10.00, though a piece has no exact price.
    let dozen = draft(Kind::PurchaseReceipt, "1").in_unit("DZN", 12, 1).unit_cost("10");
    let receipt = ledger.post(dozen).unwrap();
    assert_eq!(
        (ledger.movement(receipt).quantity.to_string(), ledger.value(receipt)),
        ("12".into(), "10.00".into())
    );
}

#[test]
fn goods_of_unknown_cost_take_the_present_one() {
    let adjust = |direction, quantity: &str| {
        let manual = draft(Kind::AdjustmentManual, quantity);
        crate::ledger::Draft { direction: Some(direction), ..manual }
    };
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        let nothing = ledger.post(adjust(Direction::In, "1")).unwrap();
        assert_eq!(ledger.value(nothing), "0.00", "nothing is known yet");
        ledger.post(adjust(Direction::Out, "1")).unwrap();
        ledger.receive("2", "30");
        let found = ledger.post(adjust(Direction::In, "1")).unwrap();
        assert_eq!(ledger.value(found), "15.00");
        ledger.sell("3");
        let again = ledger.post(adjust(Direction::In, "2")).unwrap();
        assert_eq!(ledger.value(again), "30.00", "at the last cost");
        let stated = ledger.post(adjust(Direction::In, "2").total("7")).unwrap();
        assert_eq!(ledger.value(stated), "7.00");
    }
}

/// A transfer moves no value and no layer, whatever the method.
#[test]
fn a_transfer_keeps_value_and_layers() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.receive("3", "10");
        ledger.receive("3", "20");
        let layers: Vec<_> = ledger.item().pool.layers.iter().copied().collect();
        let transfer = crate::ledger::Draft { to: Some(2), ..draft(Kind::TransferDirect, "4") };
        let first = ledger.post(transfer).unwrap();
        assert_eq!(ledger.posting(first), ["transfer.direct -4 0.00", "transfer.direct 4 0.00"]);
        assert_eq!((ledger.on_hand(1), ledger.on_hand(2)), ("2".into(), "4".into()));
        assert_eq!(ledger.pool(), "6 30.00");
        assert!(ledger.item().pool.layers.iter().eq(&layers));
    }
}
