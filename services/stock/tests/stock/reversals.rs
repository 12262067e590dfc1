//! It never happened.

use stock::domain::kind::Kind;
use stock::domain::location::Status;
use stock::domain::movement::Method::{Fifo, MovingAverage};

use crate::ledger::{Draft, Ledger, draft, why};

fn refused(ledger: &mut Ledger, seq: u64, text: &str) {
    assert_eq!(ledger.reverse(seq).unwrap_err().to_string(), text);
}

const GONE: &str = "the posting cannot be reversed: the goods of this receipt have left";
const SETTLED: &str = "the posting cannot be reversed: it settled earlier shortages";
const RETURNED: &str = "the posting cannot be reversed: returns were posted for it, reverse them first";

/// MOV-3: a movement is never changed; a correction is a linked reversal and a new posting, and all
/// three stay.
#[test]
fn a_receipt_takes_back_what_it_brought_in() {
    let mut ledger = Ledger::new(MovingAverage);
    let first = ledger.receive("10", "100");
    ledger.receive("10", "200");
    let before = ledger.movement(first).clone();
    let reversal = ledger.reverse(first).unwrap();
    // 100.00, although the average is 15.
    assert_eq!(ledger.posting(reversal), ["purchase.receipt -10 -100.00"]);
    assert_eq!(ledger.movement(reversal).reversal_of, Some(first));
    assert_eq!(ledger.item().marks_of(first).reversed_by, 0, "marks are in a row, not in memory");
    assert_eq!(ledger.pool(), "10 200.00");
    let corrected = ledger.receive("9", "90");
    assert_eq!(ledger.movement(first), &before);
    assert_eq!((reversal, corrected), (first + 2, first + 3));
}

#[test]
fn an_average_is_never_left_with_less_than_nothing() {
    // The pool empties: it is worth nothing, and the rest is a variance.
    let mut ledger = Ledger::new(MovingAverage);
    ledger.receive("10", "100");
    let dear = ledger.receive("10", "200");
    ledger.sell("10"); // 150.00
    let reversal = ledger.reverse(dear).unwrap();
    assert_eq!((ledger.value(reversal), ledger.pool()), ("-150.00".into(), "0 0.00".into()));
    assert_eq!(ledger.money(ledger.movement(reversal).variance), "-50.00");

    // A remainder is never worth less than nothing.
    let mut ledger = Ledger::new(MovingAverage);
    ledger.receive("10", "0");
    let dear = ledger.receive("10", "200");
    ledger.sell("9"); // 90.00 of 200.00
    let reversal = ledger.reverse(dear).unwrap();
    assert_eq!((ledger.value(reversal), ledger.pool()), ("-110.00".into(), "1 0.00".into()));
    assert_eq!(ledger.money(ledger.movement(reversal).variance), "-90.00");
}

#[test]
fn an_issue_gives_its_layers_back() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.receive("3", "10");
        ledger.receive("3", "20");
        let layers: Vec<_> =
            ledger.item().pool.layers.iter().map(|layer| (layer.receipt, layer.quantity)).collect();
        let sale = ledger.sell("4");
        let value = ledger.value(sale);
        ledger.receive("3", "90");
        let reversal = ledger.reverse(sale).unwrap();
        assert_eq!(ledger.value(reversal), value.trim_start_matches('-'));
        assert_eq!(ledger.pool(), "9 120.00");
        let now: Vec<_> =
            ledger.item().pool.layers.iter().map(|layer| (layer.receipt, layer.quantity)).collect();
        assert_eq!(now[..2], layers);
        let again = ledger.sell("3");
        assert_eq!(ledger.movement(again).consumed[0].receipt, 1, "the oldest is the oldest again");
    }
}

#[test]
fn an_issue_that_was_settled_comes_back_at_what_it_did_cost() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.allow(1);
        ledger.receive("10", "100");
        let sale = ledger.sell("15");
        let receipt = ledger.receive("3", "60");
        let reversal = ledger.reverse(sale).unwrap();
        // 10 at 10, 3 at 20, and 2 that never had stock.
        assert_eq!(ledger.posting(reversal), ["sale.shipment 15 180.00"]);
        assert_eq!(ledger.pool(), "13 160.00");
        refused(&mut ledger, receipt, SETTLED);
    }
}

#[test]
fn an_issue_that_comes_back_covers_the_shortages_of_others() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.allow(1);
        ledger.receive("2", "20");
        let sale = ledger.sell("2");
        let other = ledger.sell("1"); // assumed at 10
        ledger.receive("1", "30");
        ledger.sell("1"); // assumed at 10 or 30, whatever was last
        let reversal = ledger.reverse(sale).unwrap();
        assert_eq!(ledger.posting(reversal)[0], "sale.shipment 2 20.00");
        assert_eq!(ledger.pool(), "1 10.00");
        ledger.reverse(other).unwrap();
        assert_eq!(ledger.pool(), "2 40.00");
    }
}

#[test]
fn a_transfer_comes_back_while_the_goods_are_there() {
    let mut ledger = Ledger::new(MovingAverage);
    ledger.allow(2);
    ledger.receive("10", "100");
    let transfer = ledger.post(Draft { to: Some(2), ..draft(Kind::TransferDirect, "4") }).unwrap();
    let sale = ledger.post(draft(Kind::SaleShipment, "1").at(2)).unwrap();
    refused(&mut ledger, transfer, "3 available, 4 wanted");
    ledger.reverse(sale).unwrap();
    // Any movement of the posting names it.
    let reversal = ledger.reverse(transfer + 1).unwrap();
    assert_eq!(ledger.posting(reversal), ["transfer.direct -4 0.00", "transfer.direct 4 0.00"]);
    assert_eq!(ledger.movement(reversal).reversal_of, Some(transfer + 1), "the last leg first");
    assert_eq!((ledger.on_hand(1), ledger.on_hand(2)), ("10".into(), "0".into()));
}

#[test]
fn a_posting_is_reversed_once_and_a_reversal_never() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        let receipt = ledger.receive("10", "100");
        let reversal = ledger.reverse(receipt).unwrap();
        refused(
            &mut ledger,
            receipt,
            &format!("the posting was reversed already, as movement {reversal} of the item"),
        );
        refused(
            &mut ledger,
            reversal,
            "the posting cannot be reversed: a reversal cannot be reversed, post anew",
        );
    }
}

#[test]
fn what_hangs_on_a_posting_is_reversed_first() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        let receipt = ledger.receive("10", "100");
        let sale = ledger.sell("4");
        let back = ledger.post(draft(Kind::ReturnCustomer, "1").of(sale)).unwrap();
        refused(&mut ledger, sale, RETURNED);
        let returned = ledger.post(draft(Kind::ReturnSupplier, "2").of(receipt)).unwrap();
        refused(&mut ledger, receipt, RETURNED);
        ledger.reverse(returned).unwrap();
        ledger.reverse(back).unwrap();
        ledger.reverse(sale).unwrap();
        ledger.reverse(receipt).unwrap();
        assert_eq!(ledger.pool(), "0 0.00");
    }
}

/// A reversed return gives back exactly what it had taken of its original, whatever the pool could pay.
#[test]
fn a_reversed_return_can_be_returned_again() {
    let mut ledger = Ledger::new(MovingAverage);
    ledger.receive("10", "100");
    let sale = ledger.sell("10"); // 100.00
    let back = ledger.post(draft(Kind::ReturnCustomer, "5").of(sale)).unwrap(); // 50.00
    ledger.receive("5", "0");
    ledger.sell("5"); // 25.00
    let reversal = ledger.reverse(back).unwrap();
    assert_eq!((ledger.value(reversal), ledger.pool()), ("-25.00".into(), "0 0.00".into()));
    let all = ledger.post(draft(Kind::ReturnCustomer, "10").of(sale)).unwrap();
    assert_eq!(ledger.value(all), "100.00");
}

#[test]
fn goods_that_are_gone_cannot_be_taken_back() {
    let mut ledger = Ledger::new(Fifo);
    let first = ledger.receive("10", "100");
    ledger.receive("10", "200");
    ledger.sell("1");
    refused(&mut ledger, first, GONE);
    ledger.sell("10");
    refused(&mut ledger, first, "9 available, 10 wanted");

    // The average knows no receipts: there must be enough.
    let mut ledger = Ledger::new(MovingAverage);
    ledger.allow(1);
    let first = ledger.receive("10", "100");
    ledger.sell("1");
    refused(&mut ledger, first, GONE);
    ledger.receive("10", "100");
    ledger.reverse(first).unwrap();
    assert_eq!(ledger.pool(), "9 90.00");
}

#[test]
fn what_settled_shortages_cannot_be_reversed() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.allow(1);
        ledger.sell("2");
        let receipt = ledger.receive("3", "30");
        assert_eq!(ledger.posting(receipt).len(), 2);
        refused(&mut ledger, receipt, SETTLED);
        refused(&mut ledger, receipt + 1, SETTLED);
        // Also at the assumed cost, where nothing was to be settled.
        ledger.sell("2");
        let receipt = ledger.receive("1", "10");
        assert_eq!(ledger.posting(receipt).len(), 1);
        refused(&mut ledger, receipt, SETTLED);
    }
}

#[test]
fn a_blocked_place_blocks_reversals_too() {
    let mut ledger = Ledger::new(Fifo);
    let receipt = ledger.receive("2", "2");
    let sale = ledger.sell("1");
    ledger.status(1, Status::BlockedIn);
    assert_eq!(why(&ledger.reverse(sale).unwrap_err()), "LOCATION_BLOCKED");
    ledger.status(1, Status::BlockedOut);
    ledger.reverse(sale).unwrap();
    assert_eq!(why(&ledger.reverse(receipt).unwrap_err()), "LOCATION_BLOCKED");
    ledger.status(1, Status::Active);
    ledger.reverse(receipt).unwrap();
}

#[test]
fn a_reversal_has_the_business_time_of_its_original() {
    let mut ledger = Ledger::new(Fifo);
    let receipt = ledger.post(draft(Kind::PurchaseReceipt, "2").total("2").days_ago(9)).unwrap();
    ledger.post(draft(Kind::SaleShipment, "1").days_ago(3)).unwrap();
    let sale = ledger.sell("1");
    let reversal = ledger.reverse(sale - 1).unwrap();
    let movement = ledger.movement(reversal);
    assert_eq!(movement.occurred_at, ledger.now.plus_seconds(-3 * 86_400));
    assert!(movement.late && !ledger.movement(receipt).late);
}
