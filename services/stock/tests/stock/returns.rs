//! Goods that come back, and goods that go back.

use stock::domain::kind::Kind;
use stock::domain::movement::Method::{Fifo, MovingAverage};

use crate::ledger::{Draft, Ledger, draft, why};

fn comes_back(quantity: &str, of: u64) -> Draft {
    draft(Kind::ReturnCustomer, quantity).of(of)
}

fn goes_back(quantity: &str, of: u64) -> Draft {
    draft(Kind::ReturnSupplier, quantity).of(of)
}

#[test]
fn a_customer_return_comes_back_at_the_cost_of_its_shipment() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.receive("3", "10");
        let sale = ledger.sell("3");
        ledger.receive("3", "90"); // today's cost does not matter
        let values: Vec<_> = (0..3).map(|_| ledger.post(comes_back("1", sale)).unwrap()).collect();
        let values: Vec<_> = values.into_iter().map(|seq| ledger.value(seq)).collect();
        assert_eq!(values, ["3.33", "3.34", "3.33"], "the last unit takes the remainder");
        assert_eq!(ledger.pool(), "6 100.00");
        let refused = ledger.post(comes_back("0.000001", sale)).unwrap_err();
        assert_eq!(refused.to_string(), "0 of the original can still be returned, 0.000001 wanted");
    }
}

#[test]
fn a_settled_shipment_is_returned_at_what_it_did_cost() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.allow(1);
        ledger.receive("10", "100");
        let sale = ledger.sell("15"); // 150.00, five of them assumed
        ledger.receive("5", "100"); // and they did cost 100.00
        assert_eq!(ledger.pool(), "0 0.00");
        let half = ledger.post(comes_back("7.5", sale)).unwrap();
        let rest = ledger.post(comes_back("7.5", sale)).unwrap();
        assert_eq!((ledger.value(half), ledger.value(rest)), ("100.00".into(), "100.00".into()));
        assert_eq!(why(&ledger.post(comes_back("1", sale)).unwrap_err()), "RETURN_EXCEEDS_ORIGINAL");
    }
}

/// A return of what never had stock ends the shortage at the assumed cost: nothing is settled.
#[test]
fn a_return_ends_its_own_shortage_first() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.allow(1);
        ledger.receive("10", "100");
        ledger.sell("12");
        let sale = ledger.sell("5");
        let back = ledger.post(comes_back("3", sale)).unwrap();
        assert_eq!(ledger.posting(back), ["return.customer 3 30.00"]);
        assert_eq!(ledger.pool(), "-4 -40.00");
        // Two of it and two of the older one are still short; what arrives covers the older ones first.
        let receipt = ledger.receive("3", "60");
        assert_eq!(
            ledger.posting(receipt),
            ["purchase.receipt 3 60.00", "value.settlement 0 -20.00", "value.settlement 0 -10.00"]
        );
        assert_eq!(ledger.pool(), "-1 -10.00");
        let rest = ledger.post(comes_back("2", sale)).unwrap();
        assert_eq!(ledger.posting(rest), ["return.customer 2 30.00"], "one at 10, one at 20");
        assert_eq!(ledger.pool(), "1 20.00");
    }
}

/// Goods that come back beyond their own shortage are goods: they cover the shortages of others.
#[test]
fn a_return_covers_the_shortages_of_others_too() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.allow(1);
        ledger.receive("4", "40");
        let sale = ledger.sell("4");
        ledger.receive("1", "30");
        ledger.sell("3"); // one at 30, two assumed at 30
        let back = ledger.post(comes_back("3", sale)).unwrap();
        assert_eq!(ledger.posting(back), ["return.customer 3 30.00", "value.settlement 0 40.00"]);
        assert_eq!(ledger.pool(), "1 10.00");
    }
}

#[test]
fn a_supplier_return_takes_its_own_receipt_with_fifo_and_the_average_otherwise() {
    let check = |method, values: [&str; 2], pool: &str| {
        let mut ledger = Ledger::new(method);
        ledger.receive("10", "100");
        let receipt = ledger.receive("10", "200");
        ledger.receive("10", "300");
        let first = ledger.post(goes_back("8", receipt)).unwrap();
        assert_eq!(ledger.movement(first).consumed[0].receipt, receipt);
        ledger.sell("11"); // 10 of the first and 1 of the second
        let rest = ledger.post(goes_back("2", receipt)).unwrap();
        assert_eq!([ledger.value(first), ledger.value(rest)], values, "{method:?}");
        assert_eq!(ledger.pool(), pool, "{method:?}");
        assert_eq!(why(&ledger.post(goes_back("1", receipt)).unwrap_err()), "RETURN_EXCEEDS_ORIGINAL");
    };
    // Its own receipt while it lasts (20), then the oldest (30).
    check(Fifo, ["-160.00", "-50.00"], "9 270.00");
    check(MovingAverage, ["-160.00", "-40.00"], "9 180.00");
}

#[test]
fn what_was_reversed_cannot_be_returned() {
    let mut ledger = Ledger::new(MovingAverage);
    let receipt = ledger.receive("2", "10");
    let sale = ledger.sell("1");
    ledger.reverse(sale).unwrap();
    assert_eq!(why(&ledger.post(comes_back("1", sale)).unwrap_err()), "ALREADY_REVERSED");
    ledger.reverse(receipt).unwrap();
    assert_eq!(why(&ledger.post(goes_back("1", receipt)).unwrap_err()), "ALREADY_REVERSED");
}

#[test]
fn more_than_is_there_does_not_go_back() {
    let mut ledger = Ledger::new(Fifo);
    let receipt = ledger.receive("2", "10");
    ledger.sell("1");
    assert_eq!(why(&ledger.post(goes_back("2", receipt)).unwrap_err()), "INSUFFICIENT_STOCK");
}
