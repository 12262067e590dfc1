//! Every kind of movement through the door, and what a movement tells.

use proto::stock::v1::*;
use proto::tenant::v1::CostingMethod::{Fifo, MovingAverage};

use crate::world::{Shop, World, amount, eur, reason};

fn kinds() -> Vec<(&'static str, &'static str, &'static str)> {
    //   kind                     class         other side
    vec![
        ("purchase.receipt", "purchase", "SUPPLIER"),
        ("sale.shipment", "sale", "CUSTOMER"),
        ("adjustment.opening", "adjustment", "LOSS"),
        ("adjustment.manual", "adjustment", "LOSS"),
        ("write_off.damage", "write_off", "LOSS"),
        ("write_off.expiry", "write_off", "LOSS"),
        ("write_off.theft", "write_off", "LOSS"),
        ("write_off.loss", "write_off", "LOSS"),
        ("write_off.sample", "write_off", "LOSS"),
        ("write_off.obsolete", "write_off", "LOSS"),
        ("write_off.donation", "write_off", "LOSS"),
        ("write_off.destruction", "write_off", "LOSS"),
        ("return.customer", "return", "CUSTOMER"),
        ("return.supplier", "return", "SUPPLIER"),
    ]
}

/// A draft of any kind but a transfer that the shop can post.
fn any_draft(shop: &Shop<'_>, kind: &str, receipt: &str, sale: &str) -> MovementDraft {
    let draft = shop.draft(kind, "1");
    match kind {
        "purchase.receipt" | "adjustment.opening" => MovementDraft { unit_cost: eur("2"), ..draft },
        "adjustment.manual" => MovementDraft { direction: Direction::Out.into(), ..draft },
        "return.customer" => MovementDraft { return_of: sale.to_owned(), ..draft },
        "return.supplier" => MovementDraft { return_of: receipt.to_owned(), ..draft },
        _ => draft,
    }
}

#[tokio::test]
async fn every_kind_posts_against_its_other_side() {
    let world = World::new();
    let shop = world.shop(1, MovingAverage).await;
    let receipt = shop.post(shop.receipt("100", "200")).await.unwrap().remove(0);
    let sale = shop.post(shop.sale("10")).await.unwrap().remove(0);
    for (kind, class, other_side) in kinds() {
        let movement = shop.post(any_draft(&shop, kind, &receipt.id, &sale.id)).await.unwrap().remove(0);
        assert_eq!((movement.kind.as_str(), movement.class.as_str()), (kind, class));
        let request = GetLocationRequest { location_id: movement.counterpart_location_id };
        let other = shop.get_location(request, &[]).await.unwrap().into_inner();
        assert_eq!(other.code, other_side, "{kind}");
        let arrives = matches!(kind, "purchase.receipt" | "adjustment.opening" | "return.customer");
        assert_eq!(movement.quantity, if arrives { "1" } else { "-1" }, "{kind}");
    }
    let posting = shop.post(shop.transfer("5")).await.unwrap();
    let legs: Vec<_> = posting
        .iter()
        .map(|leg| (&*leg.quantity, &*leg.location_id, &*leg.counterpart_location_id))
        .collect();
    assert_eq!(legs, [("-5", &*shop.a, &*shop.b), ("5", &*shop.b, &*shop.a)]);
    assert!(posting.iter().all(|leg| leg.class == "transfer" && leg.posting_id == posting[0].id));
}

/// MOV-5: who, why, when, what was typed and how it converted, what it cost.
#[tokio::test]
async fn a_movement_tells_everything() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let occurred_at = Some(world.seconds_ago(3600));
    let source = Source {
        r#type: "goods_receipt".to_owned(),
        id: "0195-abc".to_owned(),
        number: "GR-2026-000123".to_owned(),
        line_id: "7".to_owned(),
        revision: 2,
    };
    let draft = MovementDraft {
        quantity: "2.5".to_owned(),
        unit: "DZN".to_owned(),
        unit_cost: eur("24.006"),
        total_cost: None,
        source: Some(source.clone()),
        reason_code: "weekly".to_owned(),
        note: "two and a half\nboxes".to_owned(),
        occurred_at,
        ..shop.receipt("1", "1")
    };
    // Dozens are counted in whole ones.
    let refused = shop.post(draft.clone()).await.unwrap_err();
    assert_eq!(crate::world::fields(&refused), ["movement.quantity TOO_MANY_PLACES"]);
    let posting = shop.post(MovementDraft { quantity: "3".to_owned(), ..draft }).await.unwrap();
    let [found] = &posting[..] else { panic!("one movement") };
    let money = |text| eur(text);
    let expected = Movement {
        id: found.id.clone(),
        business_id: shop.caller.business.to_string(),
        variant_id: shop.variant.clone(),
        location_id: shop.a.clone(),
        counterpart_location_id: found.counterpart_location_id.clone(),
        sequence: 1,
        kind: "purchase.receipt".to_owned(),
        class: "purchase".to_owned(),
        quantity: "36".to_owned(),
        balance_before: "0".to_owned(),
        balance_after: "36".to_owned(),
        item_balance_after: "36".to_owned(),
        pool_quantity_after: "36".to_owned(),
        pool_value_after: money("72.02"),
        entered: Some(Entered {
            quantity: "3".to_owned(),
            unit: "DZN".to_owned(),
            numerator: 12,
            denominator: 1,
        }),
        unit_cost: money("2.000556"),
        value: money("72.02"),
        source: Some(source),
        reason_code: "weekly".to_owned(),
        note: "two and a half\nboxes".to_owned(),
        occurred_at,
        recorded_at: Some(world.seconds_ago(0)),
        actor: Some(proto::api::v1::Actor { kind: "api_key".to_owned(), id: "key_1".to_owned() }),
        posting_id: found.id.clone(),
        costing_method: "FIFO".to_owned(),
        chain_hash: found.chain_hash.clone(),
        ..Movement::default()
    };
    assert_eq!(found, &expected);
    assert_eq!((found.chain_hash.len(), found.id.len()), (64, 30));

    let sale = shop.post(shop.sale("5")).await.unwrap().remove(0);
    let consumed = Consumed { receipt_sequence: 1, quantity: "5".to_owned(), value: money("10.00") };
    assert_eq!((sale.consumed, sale.occurred_at), (vec![consumed], sale.recorded_at));
    assert_eq!((amount(&sale.value), amount(&sale.unit_cost)), ("-10.00", "2"));
    assert!(!sale.late && sale.provisional.is_none());
}

#[tokio::test]
async fn a_shortage_is_settled_by_a_movement_of_value() {
    let world = World::new();
    let shop = world.shop(1, MovingAverage).await;
    let location = Location {
        code: "C".to_owned(),
        name: "Counter".to_owned(),
        negative_policy: NegativePolicy::Allow.into(),
        ..Location::default()
    };
    let counter = shop.make(location).await.unwrap().id;
    let at_counter = |draft| MovementDraft { location_id: counter.clone(), ..draft };
    shop.post(at_counter(shop.receipt("2", "20"))).await.unwrap();
    let sale = shop.post(at_counter(shop.sale("5"))).await.unwrap().remove(0);
    let provisional = Provisional { quantity: "3".to_owned(), value: eur("30.00") };
    assert_eq!((sale.provisional, sale.balance_after.as_str()), (Some(provisional), "-3"));
    let posting = shop.post(at_counter(shop.receipt("4", "60"))).await.unwrap();
    let [receipt, settlement] = &posting[..] else { panic!("two movements") };
    assert_eq!((settlement.kind.as_str(), settlement.class.as_str()), ("value.settlement", "valuation"));
    assert_eq!((&*settlement.settles, amount(&settlement.value)), (&*sale.id, "-15.00"));
    assert_eq!((&*settlement.quantity, &*settlement.balance_after), ("0", "1"));
    assert_eq!((&settlement.posting_id, &settlement.source), (&receipt.id, &receipt.source));
    assert_eq!(settlement.unit_cost, None, "there is no quantity");
    // It has no reversal, and neither has what it belongs to.
    assert_eq!(reason(&shop.reverse(&settlement.id).await.unwrap_err()), "REVERSAL_NOT_POSSIBLE");
    assert_eq!(shop.movement(&settlement.id).await.unwrap(), *settlement);
}

/// MOV-2: balances are contiguous in a gap-free sequence, for each location and for the item.
#[tokio::test]
async fn balances_run_without_a_gap() {
    for method in [Fifo, MovingAverage] {
        let world = World::new();
        let shop = world.shop(1, method).await;
        let at_b = |draft| MovementDraft { location_id: shop.b.clone(), ..draft };
        shop.post(shop.receipt("10", "10")).await.unwrap();
        shop.post(at_b(shop.receipt("7.5", "10"))).await.unwrap();
        let transfer = shop.post(shop.transfer("2.25")).await.unwrap();
        let sale = shop.post(at_b(shop.sale("4"))).await.unwrap();
        shop.post(shop.sale("100")).await.unwrap_err();
        shop.reverse(&sale[0].id).await.unwrap();
        shop.reverse(&transfer[1].id).await.unwrap();
        shop.post(shop.draft("write_off.damage", "0.125")).await.unwrap();

        let history = shop.history(&shop.variant).await;
        let sequences: Vec<_> = history.iter().map(|movement| movement.sequence).collect();
        assert_eq!(sequences, (1..=9).collect::<Vec<_>>());
        let quantity = |text: &str| quantity::Quantity::parse(text).unwrap();
        let value = |money| money::parse_decimal(amount(money), 2).unwrap();
        let (mut here, mut item, mut worth) = (std::collections::HashMap::new(), quantity("0"), 0);
        for movement in &history {
            let balance = here.entry(&movement.location_id).or_insert_with(|| quantity("0"));
            assert_eq!(quantity(&movement.balance_before), *balance);
            *balance += quantity(&movement.quantity);
            item += quantity(&movement.quantity);
            worth += value(&movement.value);
            assert_eq!(quantity(&movement.balance_after), *balance);
            assert_eq!(quantity(&movement.item_balance_after), item);
            assert_eq!(quantity(&movement.pool_quantity_after), item);
            assert_eq!(value(&movement.pool_value_after), worth);
        }
        let shown = shop.balance(&shop.variant).await.unwrap();
        assert_eq!((quantity(&shown.on_hand), value(&shown.value), shown.sequence), (item, worth, 9));
        for location in &shown.locations {
            assert_eq!(quantity(&location.on_hand), here[&location.location_id]);
            let movements = history.iter().filter(|movement| movement.location_id == location.location_id);
            assert_eq!(location.movements, movements.clone().count() as u64);
            assert_eq!(Some(location.last_sequence), movements.map(|movement| movement.sequence).max());
        }
    }
}

/// MOV-3: movements are immutable; a correction is a linked reversal and a new movement, and all stay
/// visible.
#[tokio::test]
async fn a_correction_leaves_everything_visible() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let wrong = shop.post(shop.receipt("10", "100")).await.unwrap().remove(0);
    world.pass_seconds(60);
    let reversal = shop.reverse(&wrong.id).await.unwrap().remove(0);
    assert_eq!((&*reversal.reversal_of, &*reversal.quantity), (&*wrong.id, "-10"));
    assert_eq!((&*reversal.reason_code, &reversal.source), ("mistake", &wrong.source));
    assert_eq!(reversal.occurred_at, wrong.occurred_at);
    assert_ne!(reversal.recorded_at, wrong.recorded_at);
    let right = shop.post(shop.receipt("9", "90")).await.unwrap().remove(0);

    let history = shop.history(&shop.variant).await;
    assert_eq!(history.len(), 3);
    // The original says who took it back, and nothing else about it has changed.
    assert_eq!(history[0], Movement { reversed_by: reversal.id.clone(), ..wrong.clone() });
    assert_eq!(history[1..], [reversal.clone(), right]);
    let refused = shop.reverse(&wrong.id).await.unwrap_err();
    assert_eq!(
        (reason(&refused), crate::world::detail(&refused, "sequence")),
        ("ALREADY_REVERSED".into(), "2".into())
    );
    assert_eq!(reason(&shop.reverse(&reversal.id).await.unwrap_err()), "REVERSAL_NOT_POSSIBLE");
}

#[tokio::test]
async fn a_return_names_what_it_returns() {
    let world = World::new();
    let shop = world.shop(1, MovingAverage).await;
    shop.post(shop.receipt("3", "10")).await.unwrap();
    let sale = shop.post(shop.sale("3")).await.unwrap().remove(0);
    let back = MovementDraft { return_of: sale.id.clone(), ..shop.draft("return.customer", "1") };
    let back = shop.post(back).await.unwrap().remove(0);
    assert_eq!((&*back.return_of, amount(&back.value)), (&*sale.id, "3.33"));
    let more = MovementDraft { return_of: sale.id.clone(), ..shop.draft("return.customer", "3") };
    let refused = shop.post(more).await.unwrap_err();
    assert_eq!(reason(&refused), "RETURN_EXCEEDS_ORIGINAL");
    assert_eq!(
        [crate::world::detail(&refused, "left"), crate::world::detail(&refused, "wanted")],
        ["2", "3"]
    );
    assert_eq!(reason(&shop.reverse(&sale.id).await.unwrap_err()), "REVERSAL_NOT_POSSIBLE");
}

#[tokio::test]
async fn late_movements_need_a_permission_and_say_so() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    shop.post(shop.receipt("3", "10")).await.unwrap();
    let late = MovementDraft { occurred_at: Some(world.seconds_ago(60)), ..shop.sale("1") };
    let clerk = shop.as_other("key_2", &["stock.post", "stock.read"]);
    let refused = clerk.post(late.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "BACKDATE_WINDOW");
    assert!(shop.post(late).await.unwrap()[0].late);
    let too_late = MovementDraft { occurred_at: Some(world.seconds_ago(31 * 86_400)), ..shop.sale("1") };
    assert_eq!(reason(&shop.post(too_late).await.unwrap_err()), "BACKDATE_WINDOW");
}

/// What is fixed with the first movement of an item stays, whatever the business decides later.
#[tokio::test]
async fn the_costing_method_of_an_item_is_fixed() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    shop.post(shop.receipt("1", "10")).await.unwrap();
    for business in world.known.businesses.lock().values_mut() {
        business.costing_method = MovingAverage.into();
    }
    world.restart();
    let movement = shop.post(shop.receipt("1", "20")).await.unwrap().remove(0);
    assert_eq!(movement.costing_method, "FIFO");
    let sale = shop.post(shop.sale("1")).await.unwrap().remove(0);
    assert_eq!(amount(&sale.value), "-10.00");
}
