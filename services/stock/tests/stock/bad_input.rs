//! Every class of bad input: named by field and reason, and nothing is written.

use proto::api::v1::Money;
use proto::stock::v1::*;
use proto::tenant::v1::CostingMethod::Fifo;
use rpc::header;
use tonic::Code;

use crate::world::{World, eur, fields, reason};

fn money(currency: &str, amount: &str) -> Option<Money> {
    Some(Money { currency: currency.to_owned(), amount: amount.to_owned() })
}

#[tokio::test]
#[rustfmt::skip] // columns
async fn every_bad_field_of_a_movement_is_named() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let sale = shop.post(shop.receipt("9", "9")).await.unwrap().remove(0).id;
    let check = async |draft: MovementDraft, expected: &[&str]| {
        let expected: Vec<_> = expected.iter().map(|field| format!("movement.{field}")).collect();
        let refused = shop.post(draft).await.unwrap_err();
        assert_eq!((fields(&refused), refused.code()), (expected, Code::InvalidArgument));
        assert_eq!(reason(&refused), "INVALID_REQUEST");
    };
    let receipt = shop.receipt("1", "1");
    let sold = shop.sale("1");
    let source = |change: fn(&mut Source)| {
        let mut source = receipt.source.clone().unwrap();
        change(&mut source);
        MovementDraft { source: Some(source), ..receipt.clone() }
    };
    // All of them at once.
    check(MovementDraft::default(), &["kind REQUIRED", "variant_id REQUIRED", "location_id REQUIRED", "quantity REQUIRED", "source.type REQUIRED", "source.id REQUIRED"]).await;
    // Kind.
    check(shop.draft("sale", "1"),              &["kind UNKNOWN_VALUE"]).await;
    check(shop.draft("value.settlement", "1"),  &["kind UNKNOWN_VALUE"]).await;
    // Ids.
    check(MovementDraft { variant_id: "var_1".into(), ..sold.clone() },             &["variant_id MALFORMED_ID"]).await;
    check(MovementDraft { variant_id: shop.a.clone(), ..sold.clone() },             &["variant_id WRONG_ID_PREFIX"]).await;
    check(MovementDraft { location_id: shop.variant.clone(), ..sold.clone() },      &["location_id WRONG_ID_PREFIX"]).await;
    check(MovementDraft { to_location_id: "loc".into(), ..shop.transfer("1") },     &["to_location_id MALFORMED_ID"]).await;
    check(MovementDraft { return_of: shop.a.clone(), ..shop.draft("return.customer", "1") }, &["return_of WRONG_ID_PREFIX"]).await;
    // Quantities.
    check(shop.sale("0"),                       &["quantity NOT_POSITIVE"]).await;
    check(shop.sale("-1"),                      &["quantity NOT_POSITIVE"]).await;
    check(shop.sale("1.0000001"),               &["quantity TOO_MANY_PLACES"]).await;
    check(shop.sale("1e3"),                     &["quantity NOT_A_DECIMAL"]).await;
    check(shop.sale("1,5"),                     &["quantity NOT_A_DECIMAL"]).await;
    check(shop.sale(" 1"),                      &["quantity NOT_A_DECIMAL"]).await;
    check(shop.sale("NaN"),                     &["quantity NOT_A_DECIMAL"]).await;
    check(shop.sale("1000000000000.1"),         &["quantity TOO_LARGE"]).await;
    check(shop.sale("99999999999999999999"),    &["quantity TOO_LARGE"]).await;
    check(shop.sale("0.0001"),                  &["quantity TOO_MANY_PLACES"]).await; // the item has three
    check(MovementDraft { unit: "DZN".into(), ..shop.sale("0.5") },  &["quantity TOO_MANY_PLACES"]).await;
    check(MovementDraft { unit: "KGM".into(), ..shop.sale("1") },    &["quantity NOT_REPRESENTABLE"]).await;
    check(MovementDraft { unit: "XX".into(), ..shop.sale("1") },     &["unit UNKNOWN_VALUE"]).await;
    check(MovementDraft { unit: "a b".into(), ..shop.sale("1") },    &["unit MALFORMED"]).await;
    // Costs.
    check(MovementDraft { total_cost: None, ..receipt.clone() },     &["unit_cost REQUIRED"]).await;
    check(MovementDraft { unit_cost: eur("1"), ..receipt.clone() },  &["total_cost NOT_ALLOWED"]).await;
    check(MovementDraft { unit_cost: eur("1"), ..sold.clone() },     &["unit_cost NOT_ALLOWED"]).await;
    check(MovementDraft { total_cost: eur("1"), ..sold.clone() },    &["total_cost NOT_ALLOWED"]).await;
    check(shop.receipt("1", "-1"),                                   &["total_cost.amount OUT_OF_RANGE"]).await;
    check(shop.receipt("1", "1.0000001"),                            &["total_cost.amount TOO_MANY_PLACES"]).await;
    check(shop.receipt("1", "0.001"),                                &["total_cost.amount TOO_MANY_PLACES"]).await; // euros have two
    check(shop.receipt("1", "much"),                                 &["total_cost.amount NOT_A_DECIMAL"]).await;
    check(MovementDraft { total_cost: money("", ""), ..receipt.clone() },      &["total_cost.currency REQUIRED", "total_cost.amount REQUIRED"]).await;
    check(MovementDraft { total_cost: money("EURO", "1"), ..receipt.clone() }, &["total_cost.currency UNKNOWN_VALUE"]).await;
    check(MovementDraft { total_cost: money("USD", "1"), ..receipt.clone() },  &["total_cost.currency NOT_ALLOWED"]).await;
    check(MovementDraft { unit_cost: eur("9000000000000"), total_cost: None, ..shop.receipt("1000000", "1") }, &["unit_cost TOO_LARGE"]).await;
    // What a kind has no use for, and what it needs.
    check(MovementDraft { to_location_id: shop.b.clone(), ..sold.clone() },    &["to_location_id NOT_ALLOWED"]).await;
    check(shop.draft("transfer.direct", "1"),                                  &["to_location_id REQUIRED"]).await;
    check(MovementDraft { to_location_id: shop.a.clone(), ..shop.transfer("1") }, &["to_location_id NOT_ALLOWED"]).await;
    check(MovementDraft { direction: Direction::In.into(), ..sold.clone() },   &["direction NOT_ALLOWED"]).await;
    check(shop.draft("adjustment.manual", "1"),                                &["direction REQUIRED"]).await;
    check(MovementDraft { direction: 7, ..shop.draft("adjustment.manual", "1") }, &["direction UNKNOWN_VALUE"]).await;
    check(MovementDraft { direction: Direction::Out.into(), unit_cost: eur("1"), ..shop.draft("adjustment.manual", "1") }, &["unit_cost NOT_ALLOWED"]).await;
    check(MovementDraft { return_of: sale.clone(), ..sold.clone() },           &["return_of NOT_ALLOWED"]).await;
    check(shop.draft("return.customer", "1"),                                  &["return_of REQUIRED"]).await;
    check(MovementDraft { return_of: sale.clone(), ..shop.draft("return.customer", "1") }, &["return_of NOT_ALLOWED"]).await; // a receipt is no sale
    check(MovementDraft { reason_code: String::new(), ..shop.draft("write_off.loss", "1") }, &["reason_code REQUIRED"]).await;
    // Source.
    check(MovementDraft { source: None, ..receipt.clone() },                   &["source.type REQUIRED", "source.id REQUIRED"]).await;
    check(source(|source| source.r#type = "shipment".into()),                  &["source.type SOURCE_NOT_PERMITTED"]).await;
    check(source(|source| source.r#type = "invoice".into()),                   &["source.type SOURCE_NOT_PERMITTED"]).await;
    check(source(|source| source.id = "i".repeat(101)),                        &["source.id TOO_LONG"]).await;
    check(source(|source| source.number = "n".repeat(101)),                    &["source.number TOO_LONG"]).await;
    check(source(|source| source.line_id = "l".repeat(101)),                   &["source.line_id TOO_LONG"]).await;
    check(source(|source| source.number = "a\nb".into()),                      &["source.number MALFORMED"]).await;
    // Texts and times.
    check(MovementDraft { reason_code: "r".repeat(65), ..receipt.clone() },    &["reason_code TOO_LONG"]).await;
    check(MovementDraft { reason_code: "a b".into(), ..receipt.clone() },      &["reason_code MALFORMED"]).await;
    check(MovementDraft { note: "n".repeat(1001), ..receipt.clone() },         &["note TOO_LONG"]).await;
    check(MovementDraft { note: "\u{7}".into(), ..receipt.clone() },           &["note MALFORMED"]).await;
    check(MovementDraft { occurred_at: Some(world.seconds_ago(-301)), ..receipt.clone() }, &["occurred_at OUT_OF_RANGE"]).await;
    check(MovementDraft { occurred_at: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }), ..receipt.clone() }, &["occurred_at OUT_OF_RANGE"]).await;

    // Nothing of it was written.
    assert_eq!(shop.history(&shop.variant).await.len(), 1);
    assert_eq!(shop.balance(&shop.variant).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_request_without_its_message_is_refused() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let headers = [(header::IDEMPOTENCY_KEY, "k")];
    let none = PostMovementRequest { movement: None };
    assert_eq!(fields(&shop.post_movement(none, &headers).await.unwrap_err()), ["movement REQUIRED"]);
    let none = ReverseMovementRequest::default();
    let refused = shop.reverse_movement(none, &headers).await.unwrap_err();
    assert_eq!(fields(&refused), ["movement_id REQUIRED", "reason_code REQUIRED"]);
    let refused = shop.reverse_movement(
        ReverseMovementRequest {
            movement_id: shop.a.clone(),
            reason_code: "a b".to_owned(),
            note: "n".repeat(1001),
        },
        &headers,
    );
    let expected = ["movement_id WRONG_ID_PREFIX", "reason_code MALFORMED", "note TOO_LONG"];
    assert_eq!(fields(&refused.await.unwrap_err()), expected);
    for refused in [
        shop.movement("").await.unwrap_err(),
        shop.balance("").await.unwrap_err(),
        shop.get_location(GetLocationRequest::default(), &[]).await.unwrap_err(),
    ] {
        assert_eq!(fields(&refused).len(), 1);
        assert!(fields(&refused)[0].ends_with("_id REQUIRED"));
    }
}

#[tokio::test]
async fn a_posting_needs_a_key() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let request = PostMovementRequest { movement: Some(shop.receipt("1", "1")) };
    let refused = shop.post_movement(request, &[]).await.unwrap_err();
    assert_eq!(reason(&refused), "IDEMPOTENCY_KEY_REQUIRED");
    let reversal = ReverseMovementRequest::default();
    assert_eq!(reason(&shop.reverse_movement(reversal, &[]).await.unwrap_err()), "IDEMPOTENCY_KEY_REQUIRED");
    let batch = BatchPostMovementsRequest::default();
    assert_eq!(reason(&shop.batch_post_movements(batch, &[]).await.unwrap_err()), "IDEMPOTENCY_KEY_REQUIRED");
    let change = UpdateLocationRequest { location_id: shop.a.clone(), ..UpdateLocationRequest::default() };
    assert_eq!(reason(&shop.update_location(change, &[]).await.unwrap_err()), "PRECONDITION_REQUIRED");
}

/// A service that does not answer is not a mistake of the caller's, and nothing is written.
#[tokio::test]
async fn stock_waits_for_the_services_that_it_asks() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    world.known.away.store(true, std::sync::atomic::Ordering::Relaxed);
    let refused = shop.post(shop.receipt("1", "1")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "UNAVAILABLE".into()));
    world.known.away.store(false, std::sync::atomic::Ordering::Relaxed);
    shop.post(shop.receipt("1", "1")).await.unwrap();
    // What an opened item needs is known: it goes on without them.
    world.known.away.store(true, std::sync::atomic::Ordering::Relaxed);
    shop.post(shop.sale("1")).await.unwrap();
}
