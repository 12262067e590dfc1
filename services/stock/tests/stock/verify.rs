//! What the verification of an item finds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use calendar::Instant;
use journal::store::{Commit, Head, NO_BUCKET, Outcome};
use proto::tenant::v1::CostingMethod;
use quantity::Quantity;
use stock::domain::item::Item;
use stock::domain::kind::Kind;
use stock::domain::movement::Method::{self, Fifo, MovingAverage};
use stock::domain::movement::{Cause, Movement};
use stock::domain::post::Direction;
use stock::records;
use stock::verify::Rules;

use crate::ledger::{Draft, Ledger, TENANT, draft, loc};
use crate::world::World;

/// A bit of everything.
fn history(method: Method) -> Vec<Movement> {
    let mut ledger = Ledger::new(method);
    ledger.allow(1);
    let first = ledger.post(draft(Kind::PurchaseReceipt, "10").total("100.01").days_ago(5)).unwrap();
    ledger.receive("7", "90");
    let transfer = ledger.post(Draft { to: Some(2), ..draft(Kind::TransferDirect, "4") }).unwrap();
    let sale = ledger.post(draft(Kind::SaleShipment, "12").line("1")).unwrap();
    ledger.post(draft(Kind::ReturnCustomer, "3").of(sale)).unwrap();
    let short = ledger.sell("11");
    ledger.post(draft(Kind::ReturnCustomer, "1").of(short)).unwrap();
    ledger.receive("3", "50"); // settles
    let dear = ledger.receive("5", "100");
    ledger.receive("5", "10");
    let back = ledger.post(draft(Kind::ReturnSupplier, "2").of(dear)).unwrap();
    ledger.reverse(back).unwrap();
    ledger.reverse(dear).unwrap();
    let lost = ledger.post(draft(Kind::WriteOffLoss, "1").at(2)).unwrap();
    ledger.reverse(lost).unwrap();
    ledger.reverse(transfer).unwrap();
    let late = draft(Kind::WriteOffSample, "1").days_ago(1);
    ledger.post(Draft { may_backdate: true, ..late }).unwrap();
    ledger.post(Draft { direction: Some(Direction::In), ..draft(Kind::AdjustmentManual, "2") }).unwrap();
    assert_eq!(first, 1);
    ledger.movements.clone()
}

fn verify(movements: &[Movement]) -> Result<(), String> {
    let (mut item, mut rules) = (Item::default(), Rules::new(TENANT));
    for (seq, movement) in (1..).zip(movements) {
        item.evolve(movement, seq);
        rules.check(&item, movement, seq)?;
    }
    rules.finish()
}

type Change = fn(&mut Movement);

fn one() -> Quantity {
    Quantity::from_micros(1)
}

fn of_cause(movement: &mut Movement, change: impl FnOnce(&mut Cause)) {
    change(Arc::make_mut(&mut movement.cause));
}

const CHANGES: [(&str, Change); 33] = [
    ("facts", |m| m.facts = None),
    ("position", |m| m.position += 1),
    ("kind", |m| {
        m.kind = if m.kind == Kind::SaleShipment { Kind::WriteOffLoss } else { Kind::SaleShipment };
    }),
    ("location", |m| m.location = loc(9)),
    ("counterpart", |m| m.counterpart = loc(9)),
    ("quantity", |m| m.quantity += one()),
    ("balance before", |m| m.balance_before += one()),
    ("balance after", |m| m.balance_after += one()),
    ("item after", |m| m.item_after += one()),
    ("value", |m| m.value += 1),
    ("pool quantity", |m| m.pool_quantity_after += one()),
    ("pool value", |m| m.pool_value_after += 1),
    ("consumed dropped", |m| _ = m.consumed.pop()),
    ("consumed receipt", |m| m.consumed.iter_mut().for_each(|slice| slice.receipt += 1)),
    ("consumed quantity", |m| m.consumed.iter_mut().for_each(|slice| slice.quantity -= one())),
    ("consumed value", |m| m.consumed.iter_mut().for_each(|slice| slice.value += 1)),
    ("consumed order", |m| m.consumed.reverse()),
    ("restored dropped", |m| _ = m.restored.pop()),
    ("restored value", |m| m.restored.iter_mut().for_each(|slice| slice.value += 1)),
    ("layer dropped", |m| m.layer = None),
    ("layer value", |m| m.layer = m.layer.map(|(quantity, value)| (quantity, value + 1))),
    ("covered dropped", |m| _ = m.covered.pop()),
    ("covered provisional", |m| m.covered.iter_mut().for_each(|cover| cover.provisional += 1)),
    ("covered actual", |m| m.covered.iter_mut().for_each(|cover| cover.actual += 1)),
    ("provisional dropped", |m| m.provisional = None),
    ("provisional value", |m| m.provisional = m.provisional.map(|(quantity, value)| (quantity, value + 1))),
    ("late", |m| m.late = !m.late),
    ("reversal of", |m| m.reversal_of = m.reversal_of.map(|seq| seq + 1)),
    ("return of", |m| m.return_of = m.return_of.map(|seq| seq + 1)),
    ("settles", |m| m.settles = m.settles.map(|seq| seq + 1)),
    ("variance", |m| m.variance += 1),
    ("entered", |m| of_cause(m, |cause| cause.entered.quantity += one())),
    ("source", |m| of_cause(m, |cause| cause.source.kind = "nothing".to_owned())),
];

/// A wrong movement is found, whichever and whatever is wrong with it.
#[test]
fn no_wrong_movement_stays_unseen() {
    let mut tried = 0;
    for method in [Fifo, MovingAverage] {
        let movements = history(method);
        assert_eq!(verify(&movements), Ok(()));
        for at in 0..movements.len() {
            for (name, change) in CHANGES {
                let mut changed = movements.clone();
                change(&mut changed[at]);
                if changed == movements {
                    continue;
                }
                tried += 1;
                // Applying a contradiction may stop the replay: that is seen as well.
                let seen = catch_unwind(AssertUnwindSafe(|| verify(&changed)));
                assert!(!matches!(seen, Ok(Ok(()))), "{method:?} {}: {name}\n{:#?}", at + 1, movements[at]);
            }
        }
    }
    assert!(500 < tried, "{tried}");
}

/// Movements that are right by themselves, but are too many, too few, or in another order.
#[test]
fn no_lost_or_doubled_movement_stays_unseen() {
    for method in [Fifo, MovingAverage] {
        let movements = history(method);
        let unseen = |what: &str, changed: Vec<Movement>| {
            let seen = catch_unwind(AssertUnwindSafe(|| verify(&changed)));
            assert!(!matches!(seen, Ok(Ok(()))), "{method:?}: {what}");
        };
        for at in 0..movements.len() - 1 {
            let mut without = movements.clone();
            without.remove(at);
            unseen(&format!("without {}", at + 1), without);
            let mut twice = movements.clone();
            twice.insert(at, movements[at].clone());
            unseen(&format!("{} twice", at + 1), twice);
            let mut swapped = movements.clone();
            swapped.swap(at, at + 1);
            unseen(&format!("{} after its successor", at + 1), swapped);
        }
    }
}

#[test]
fn a_settlement_that_is_missing_at_the_end_is_seen() {
    let mut ledger = Ledger::new(Fifo);
    ledger.allow(1);
    ledger.sell("1");
    ledger.receive("1", "5");
    let mut movements = ledger.movements.clone();
    movements.pop();
    assert!(verify(&movements).unwrap_err().contains("not settled"));
}

/// The business time alone is not checked by another value; the hash chain of the journal holds it.
#[test]
fn a_posting_has_one_cause_and_one_time() {
    let mut movements = history(Fifo);
    let second = movements.iter().position(|movement| movement.position == 1).unwrap();
    movements[second].occurred_at = Instant::from_unix_micros(0);
    assert!(verify(&movements).is_err());
    let mut movements = history(Fifo);
    of_cause(&mut movements[second], |cause| cause.note = "another".to_owned());
    assert_eq!(verify(&movements), Err("the cause is not that of the posting".to_owned()));
}

/// Writes a commit as a faulty program would: the journal's conditions hold, the content is `change`d.
async fn tamper(world: &World, kind: u8, change: impl Fn(&mut Commit)) {
    let all = world.store.aggregates(None, 1000).await.unwrap();
    let of_kind = |head: &Head| head.format.to_be_bytes()[0] == kind;
    let (tenant, aggregate, head) = all.into_iter().find(|(_, _, head)| of_kind(head)).unwrap();
    let mut commit = Commit {
        tenant,
        aggregate,
        expect: head.seq,
        bucket: NO_BUCKET,
        head,
        entries: vec![],
        rows: vec![],
        keys: vec![],
        claims: vec![],
        index: vec![],
    };
    change(&mut commit);
    assert_eq!(world.store.commit(vec![commit]).await, Outcome::Applied);
}

#[tokio::test]
async fn a_service_that_worked_leaves_nothing_to_find() {
    let world = World::new();
    let shop = world.shop(1, CostingMethod::Fifo).await;
    for _ in 0..20 {
        shop.post(shop.receipt("2", "5")).await.unwrap();
    }
    let sale = shop.post(shop.sale("30")).await.unwrap().remove(0);
    shop.post(shop.transfer("5")).await.unwrap();
    shop.reverse(&sale.id).await.unwrap();
    assert_eq!(world.faults().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_stored_wrongly_is_found() {
    let check = async |kind: u8, change: fn(&mut Commit), expected: &str| {
        let world = World::new();
        let shop = world.shop(1, CostingMethod::Fifo).await;
        for _ in 0..20 {
            shop.post(shop.receipt("2", "5")).await.unwrap();
        }
        tamper(&world, kind, change).await;
        let faults = world.faults().await;
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{faults:?}");
    };
    const ITEM: u8 = records::KIND_ITEM;
    check(ITEM, |commit| commit.rows.push((Bytes::from_static(b"b-more"), Some(Bytes::new()))), "state rows")
        .await;
    check(ITEM, |commit| commit.rows.push((records::chunk_key(1), None)), "state rows").await;
    check(ITEM, |commit| commit.head.chain.0[0] ^= 1, "hash chain").await;
    check(ITEM, |commit| commit.head.header = Bytes::new(), "the stored state").await;
    check(ITEM, |commit| commit.head.format = 0x0901, "unknown kind").await;
    check(records::KIND_LOCATION, |commit| commit.head.header = Bytes::new(), "the stored state").await;
    check(
        records::KIND_LOCATION,
        |commit| {
            commit.entries.push(Bytes::from_static(b"short"));
            commit.head.seq += 1;
        },
        "",
    )
    .await;
}
