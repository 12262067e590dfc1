//! Exact decimals: nothing drifts, however long it goes on.

use journal::Aggregate;
use quantity::Quantity;
use stock::domain::item::{Command, Item};
use stock::domain::kind::Kind;
use stock::domain::movement::Method::{self, Fifo, MovingAverage};
use stock::domain::post::Post;

use crate::ledger::{Draft, Ledger, draft};

/// Units and factors, and the smallest quantity that converts exactly, in millionths of the unit.
const UNITS: [(&str, i64, i64, i64); 6] = [
    ("KGM", 1, 1, 1),
    ("GRM", 1, 1000, 1000),
    ("TNE", 1000, 1, 1),
    ("LBR", 45_359_237, 100_000_000, 100_000_000),
    ("DZN", 12, 1, 1),
    ("PTD", 1, 12, 12),
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((bits ^ (bits >> 31)) >> 1).unwrap() % limit
    }
}

/// Posts half a million random receipts and issues in random units, beside the exact sum of what was
/// entered, and then sells what is left.
fn half_a_million_do_not_drift(method: Method) {
    let mut ledger = Ledger::new(method);
    let mut item = Item::default();
    let mut seq = 0;
    let mut post = |item: &mut Item, draft: Draft| {
        let facts = item.facts.is_none().then(|| ledger.facts.clone());
        let command = Command::Post(Box::new(Post { facts, ..ledger.prepare(draft) }));
        for movement in item.decide(&command, ledger.now).unwrap() {
            seq += 1;
            item.evolve(&movement, seq);
        }
    };
    let drafts = UNITS.map(|(unit, num, den, _)| {
        let of = |kind| draft(kind, "1").in_unit(unit, num, den);
        (of(Kind::PurchaseReceipt), of(Kind::SaleShipment))
    });
    let (mut expected, mut random) = (0i128, Random(13));
    for _ in 0..500_000 {
        let which = usize::try_from(random.below(6)).unwrap();
        let (_, num, den, step) = UNITS[which];
        let entered = step * (1 + random.below(20_000_000 / step + 3));
        let base = i128::from(entered) * i128::from(num) / i128::from(den);
        assert_eq!(base * i128::from(den), i128::from(entered) * i128::from(num), "chosen so");
        let (receipt, issue) = drafts[which].clone();
        let leaves = base <= expected && random.below(2) == 0;
        let chosen = match leaves {
            true => issue,
            false => receipt.total(&format!("{}.{:02}", random.below(1000), random.below(100))),
        };
        expected += if leaves { -base } else { base };
        post(&mut item, Draft { quantity: Quantity::from_micros(entered), ..chosen });
    }
    assert_eq!(i128::from(item.on_hand.micros()), expected);
    assert_eq!((item.pool.quantity, item.pool.layers.quantity()), (item.on_hand, item.on_hand));
    let value: i64 = item.pool.layers.iter().map(|layer| layer.value).sum();
    assert!(method == MovingAverage || value == item.pool.value);
    let rest = Draft { quantity: item.on_hand, ..draft(Kind::SaleShipment, "1") };
    post(&mut item, rest);
    assert_eq!((item.on_hand, item.pool.value, item.pool.layers.iter().count()), (Quantity::ZERO, 0, 0));
}

/// MOV-13, the first half of a million: FIFO.
#[test]
fn fifo_does_not_drift() {
    half_a_million_do_not_drift(Fifo);
}

/// MOV-13, the second half of a million: moving average.
#[test]
fn the_moving_average_does_not_drift() {
    half_a_million_do_not_drift(MovingAverage);
}
