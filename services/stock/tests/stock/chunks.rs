//! Where layers and balances are stored: in the header while they are few, then in rows.

use stock::domain::kind::Kind;
use stock::domain::layers::{CHUNK_LAYERS, CHUNK_LAYERS_MAX, CHUNKS_MAX, INLINE_LAYERS};
use stock::domain::movement::Method::{self, Fifo, MovingAverage};
use stock::domain::pool::CONSUMED_MAX;

use crate::ledger::{Ledger, draft, qty, why};

/// Prefixes of the stored rows: `b` balances, `c` chunks, `d` deficits, `m` marks.
fn rows(ledger: &Ledger, prefix: u8) -> usize {
    ledger.stored().1.iter().filter(|key| key[0] == prefix).count()
}

fn receive(ledger: &mut Ledger, count: usize) {
    for _ in 0..count {
        ledger.receive("1", "1");
    }
}

fn with(method: Method, receipts: usize) -> Ledger {
    let mut ledger = Ledger::new(method);
    receive(&mut ledger, receipts);
    ledger
}

#[test]
fn few_layers_are_in_the_header_and_many_in_rows() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = with(method, INLINE_LAYERS);
        assert_eq!(rows(&ledger, b'c'), 0);
        receive(&mut ledger, 1);
        assert_eq!(rows(&ledger, b'c'), 1, "the thirteenth makes a row");
        ledger.sell("5");
        assert_eq!(rows(&ledger, b'c'), 1, "a row stays one until it is empty");
        receive(&mut ledger, CHUNK_LAYERS - 8);
        assert_eq!(rows(&ledger, b'c'), 1);
        receive(&mut ledger, 1);
        assert_eq!(rows(&ledger, b'c'), 2, "the 129th opens another");
        ledger.sell("128");
        assert_eq!(rows(&ledger, b'c'), 1);
        ledger.sell("1");
        assert_eq!((rows(&ledger, b'c'), ledger.pool()), (0, "0 0.00".into()));
        receive(&mut ledger, 1);
        assert_eq!(rows(&ledger, b'c'), 0, "and the header has room again");
    }
}

/// In one commit a row goes, and a chunk of the same name begins in the header: the row must go all
/// the same.
#[test]
fn a_row_that_becomes_inline_in_one_commit_is_removed() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = with(method, INLINE_LAYERS + 1);
        ledger.fold = 10;
        let first = ledger.post(draft(Kind::SaleShipment, "1")).unwrap();
        ledger.sell("12");
        ledger.reverse(first).unwrap();
        ledger.commit();
        assert_eq!(rows(&ledger, b'c'), 0);
    }
}

#[test]
fn an_issue_of_very_many_receipts_becomes_several_movements() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = Ledger::new(method);
        ledger.allow(1);
        for cents in 1..=450 {
            ledger.receive("1", &format!("{}.{:02}", cents / 100, cents % 100));
        }
        let issue = ledger.sell("460"); // ten without stock
        let posting: Vec<_> = (issue..=ledger.last()).map(|seq| ledger.movement(seq).clone()).collect();
        let taken: Vec<_> = posting.iter().map(|movement| movement.consumed.len()).collect();
        assert_eq!(taken, [CONSUMED_MAX, CONSUMED_MAX, 50]);
        assert_eq!(posting.iter().map(|movement| movement.quantity).sum::<quantity::Quantity>(), qty("-460"));
        assert_eq!(posting.iter().map(|movement| movement.position).collect::<Vec<_>>(), [0, 1, 2]);
        let value: i64 = posting.iter().map(|movement| movement.value).sum();
        let assumed = if method == Fifo { 45_00 } else { 22_55 };
        assert_eq!(-value, (1..=450).sum::<i64>() + assumed, "{method:?}");
        // All of it comes back, by any of its movements.
        let reversal = ledger.reverse(issue + 1).unwrap();
        assert_eq!(ledger.posting(reversal).len(), 3);
        assert_eq!(ledger.pool(), "450 1014.75");
        assert_eq!(ledger.item().pool.layers.iter().count(), 450);
    }
}

/// Layers that come back go where they were: one by one, the youngest first, they make no chunk each.
#[test]
fn layers_that_come_back_fill_chunks() {
    for method in [Fifo, MovingAverage] {
        let mut ledger = with(method, 3 * CHUNK_LAYERS);
        let sales: Vec<_> = (0..3 * CHUNK_LAYERS - 1).map(|_| ledger.sell("1")).collect();
        for sale in sales.into_iter().rev() {
            ledger.reverse(sale).unwrap();
        }
        let layers = &ledger.item().pool.layers;
        assert!(layers.directory.len() <= 3, "{} chunks", layers.directory.len());
        assert!(layers.directory.iter().all(|chunk| chunk.layers as usize <= CHUNK_LAYERS_MAX));
        let order: Vec<_> = layers.iter().map(|layer| layer.receipt).collect();
        assert_eq!(order, (1..=3 * CHUNK_LAYERS as u64).collect::<Vec<_>>());
    }
}

/// A chunk that layers come back to while new ones arrive splits in two, and stays readable.
#[test]
fn a_chunk_that_grows_too_long_becomes_two() {
    for (method, youngest_first) in [(Fifo, true), (Fifo, false), (MovingAverage, true)] {
        let mut ledger = with(method, CHUNK_LAYERS);
        let mut sales = Vec::new();
        for _ in 0..200 {
            sales.push(ledger.sell("1"));
            ledger.receive("1", "1");
        }
        if youngest_first {
            sales.reverse();
        }
        for sale in sales {
            ledger.reverse(sale).unwrap();
        }
        let layers = &ledger.item().pool.layers;
        assert_eq!(layers.iter().count(), CHUNK_LAYERS + 200);
        assert!(layers.directory.len() <= 3, "{} chunks", layers.directory.len());
        assert!(layers.iter().is_sorted_by_key(|layer| layer.receipt));
        ledger.sell("328");
        assert_eq!(rows(&ledger, b'c'), 0);
    }
}

/// The header stays below what a store accepts, and further receipts are refused before it does not.
#[test]
fn an_item_has_so_many_open_receipts() {
    let mut ledger = Ledger::with(MovingAverage, 6, 6);
    ledger.fold = 1000;
    for place in 1..=6 {
        ledger.allow(place);
    }
    for at in 0..CHUNKS_MAX * CHUNK_LAYERS {
        let place = u8::try_from(at % 6 + 1).unwrap();
        let receipt = draft(Kind::PurchaseReceipt, "100000000.123456").at(place).total("100000000.123456");
        ledger.post(receipt).unwrap();
    }
    ledger.commit();
    assert_eq!(rows(&ledger, b'c'), CHUNKS_MAX);
    let (header, _) = ledger.stored();
    assert!(header + 8 + 100 < journal::store::HEADER_BYTES_MAX, "{header} bytes");
    let refused = ledger.post(draft(Kind::PurchaseReceipt, "1").total("1")).unwrap_err();
    assert_eq!(why(&refused), "QUANTITY_LIMIT");
    // What came back would not fit: 256 layers leave, 256 arrive, and the 256 have no place any more.
    let issue = ledger.post(draft(Kind::SaleShipment, "25600000031.604736")).unwrap();
    for _ in 0..2 * CHUNK_LAYERS {
        ledger.post(draft(Kind::PurchaseReceipt, "1").total("1")).unwrap();
    }
    assert_eq!(why(&ledger.reverse(issue).unwrap_err()), "QUANTITY_LIMIT");
    // Goods that leave make room.
    let issue = ledger.post(draft(Kind::SaleShipment, "100000000.123456")).unwrap();
    assert_eq!(
        why(&ledger.post(draft(Kind::PurchaseReceipt, "1").total("1")).unwrap_err()),
        "QUANTITY_LIMIT"
    );
    ledger.reverse(issue).unwrap();
    let issue = ledger.post(draft(Kind::SaleShipment, "12800000015.802368")).unwrap();
    ledger.post(draft(Kind::PurchaseReceipt, "1").total("1")).unwrap();
    // It comes back into the chunks that are left.
    ledger.reverse(issue).unwrap();
    ledger.commit();
    assert_eq!(rows(&ledger, b'c'), CHUNKS_MAX);
}

#[test]
fn further_places_have_a_row_each() {
    for fold in [1, 4] {
        let mut ledger = Ledger::new(Fifo);
        ledger.fold = fold;
        for round in 1..4u64 {
            for place in 1..=9 {
                let receipt = ledger.post(draft(Kind::PurchaseReceipt, "2").at(place).total("2")).unwrap();
                ledger.post(draft(Kind::SaleShipment, "1").at(place)).unwrap();
                assert_eq!(ledger.movement(receipt).balance_before.to_string(), (round - 1).to_string());
            }
        }
        ledger.commit();
        assert_eq!(rows(&ledger, b'b'), 3);
        for place in 1..=9 {
            let over = ledger.post(draft(Kind::SaleShipment, "4").at(place)).unwrap_err();
            assert_eq!(over.to_string(), "3 available, 4 wanted");
        }
    }
}

#[test]
fn marks_and_shortages_have_rows_while_they_matter() {
    let mut ledger = Ledger::new(Fifo);
    ledger.allow(1);
    let sale = ledger.sell("2");
    assert_eq!((rows(&ledger, b'd'), rows(&ledger, b'm')), (1, 0));
    ledger.receive("1", "5");
    assert_eq!((rows(&ledger, b'd'), rows(&ledger, b'm')), (1, 1), "the sale is marked as settled");
    ledger.receive("1", "5");
    assert_eq!((rows(&ledger, b'd'), rows(&ledger, b'm')), (0, 1));
    ledger.reverse(sale).unwrap();
    assert_eq!((rows(&ledger, b'd'), rows(&ledger, b'm')), (0, 1));
}
