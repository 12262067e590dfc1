//! A day in the ledger, told over REST and over gRPC.

use serde_json::{Value, json};

use crate::rest::text;
use crate::shop::{Shop, amount, micros};
use crate::speaker::{Way, comparable};
use crate::world::{Costing, World};

/// What a movement did: quantity, balance after it, value, pool after it.
fn effect(movement: &Value) -> (&str, &str, &str, String) {
    let pool = format!("{} {}", text(&movement["poolQuantityAfter"]), amount(&movement["poolValueAfter"]));
    (text(&movement["quantity"]), text(&movement["balanceAfter"]), amount(&movement["value"]), pool)
}

fn did(movement: &Value, quantity: &str, after: &str, value: &str, pool: &str) {
    assert_eq!(effect(movement), (quantity, after, value, pool.to_owned()), "{movement:#}");
}

/// Everything that a shop does with goods, with every figure that it leads to; by moving average.
async fn a_day(shop: &mut Shop) {
    let (west, floor) = (shop.west.clone(), shop.shop.clone());

    // 100 at 4.20 a piece, and 50 for 235.00.
    let mut receipt = shop.draft("purchase.receipt", "100", &west);
    receipt["unitCost"] = json!({"currency": "EUR", "amount": "4.20"});
    receipt["note"] = "first delivery".into();
    receipt["occurredAt"] = "2020-11-01T10:00:00+01:00".into();
    let receipt = shop.post_one(&receipt).await;
    did(&receipt, "100", "100", "420.00", "100 420.00");
    assert_eq!((text(&receipt["sequence"]), text(&receipt["class"])), ("1", "purchase"));
    assert_eq!(amount(&receipt["unitCost"]), "4.2");
    assert_eq!(
        (text(&receipt["occurredAt"]), text(&receipt["note"])),
        ("2020-11-01T09:00:00Z", "first delivery")
    );
    assert_eq!(receipt["source"]["number"], "No. DOC-1");
    let second = shop.receive("50", "235.00", &west).await;
    did(&second[0], "50", "150", "235.00", "150 655.00");

    // A transfer moves no value; both ends are one posting.
    let mut transfer = shop.draft("transfer.direct", "30", &west);
    transfer["toLocationId"] = floor.as_str().into();
    let transfer = shop.post(&transfer).await;
    assert_eq!(transfer.len(), 2);
    did(&transfer[0], "-30", "120", "0.00", "120 655.00");
    did(&transfer[1], "30", "30", "0.00", "150 655.00");
    assert_eq!(transfer[0]["postingId"], transfer[1]["postingId"]);
    assert_eq!(
        (&transfer[0]["counterpartLocationId"], &transfer[1]["counterpartLocationId"]),
        (&json!(floor), &json!(west))
    );

    let sale = shop.draft("sale.shipment", "2", &floor);
    let sale = shop.post_one(&sale).await;
    did(&sale, "-2", "28", "-8.73", "148 646.27");
    assert_eq!(amount(&sale["unitCost"]), "4.365");

    let mut out = shop.draft("adjustment.manual", "1", &floor);
    out["direction"] = "DIRECTION_OUT".into();
    did(&shop.post_one(&out).await, "-1", "27", "-4.37", "147 641.90");
    let mut found = shop.draft("adjustment.manual", "3", &floor);
    found["direction"] = "DIRECTION_IN".into();
    did(&shop.post_one(&found).await, "3", "30", "13.10", "150 655.00");
    let broken = shop.draft("write_off.damage", "1", &floor);
    let broken = shop.post_one(&broken).await;
    did(&broken, "-1", "29", "-4.37", "149 650.63");
    assert_eq!(text(&broken["reasonCode"]), "recount");

    // One of the two sold comes back at half of what they cost; five go back at the average.
    let mut back = shop.draft("return.customer", "1", &floor);
    back["returnOf"] = sale["id"].clone();
    let back = shop.post_one(&back).await;
    did(&back, "1", "30", "4.37", "150 655.00");
    assert_eq!(back["returnOf"], sale["id"]);
    let mut to_supplier = shop.draft("return.supplier", "5", &west);
    to_supplier["returnOf"] = receipt["id"].clone();
    did(&shop.post_one(&to_supplier).await, "-5", "115", "-21.83", "145 633.17");

    // It was not broken after all.
    let reverse = json!({"movementId": broken["id"], "reasonCode": "mistake", "note": "it was another one"});
    let reversal = shop.speaker.ok("ReverseMovement", &reverse).await["movements"][0].clone();
    did(&reversal, "1", "31", "4.37", "146 637.54");
    assert_eq!((&reversal["reversalOf"], text(&reversal["kind"])), (&broken["id"], "write_off.damage"));
    let shown = shop.speaker.ok("GetMovement", &json!({"movementId": broken["id"]})).await;
    assert_eq!(shown["reversedBy"], reversal["id"]);

    let balance = shop.balance().await;
    assert_eq!((text(&balance["onHand"]), amount(&balance["value"])), ("146", "637.54"));
    assert_eq!(
        (amount(&balance["unitCost"]), text(&balance["costingMethod"])),
        ("4.366712", "MOVING_AVERAGE")
    );
    assert_eq!((shop.on_hand(&west).await, shop.on_hand(&floor).await), ("115".into(), "31".into()));
    // The other variant is known and has not moved.
    let other = json!({"variantId": shop.other_variant});
    assert_eq!(text(&shop.speaker.ok("GetBalance", &other).await["onHand"]), "0");
    let all = shop.speaker.ok("ListBalances", &json!({})).await;
    assert_eq!(
        (all["balances"].as_array().map(Vec::len), &all["balances"][0]["variantId"]),
        (Some(1), &json!(shop.variant))
    );
    let here = shop.speaker.ok("ListBalances", &json!({"locationId": floor})).await;
    assert_eq!(here["balances"][0]["locations"][0]["onHand"], "31");
}

/// What the ledger refuses, with the figures.
async fn what_cannot_be(shop: &mut Shop) {
    let floor = shop.shop.clone();
    let history = shop.history().await;
    let of_kind =
        |kind: &str| history.iter().find(|movement| movement["kind"] == kind).cloned().unwrap_or_default();
    let (sale, broken) = (of_kind("sale.shipment"), of_kind("write_off.damage"));

    let too_much = json!({"movement": shop.draft("sale.shipment", "31.5", &floor)});
    let refused = shop.speaker.refused("PostMovement", &too_much, "INVALID_REQUEST").await;
    assert_eq!(refused.fields, ["/movement/quantity TOO_MANY_PLACES"]);
    let too_much = json!({"movement": shop.draft("sale.shipment", "32", &floor)});
    let refused = shop.speaker.refused("PostMovement", &too_much, "INSUFFICIENT_STOCK").await;
    assert_eq!(
        refused.metadata,
        *json!({"locationId": floor, "available": "31", "wanted": "32"}).as_object().expect("a map")
    );
    assert!(refused.detail.contains("31") && refused.detail.contains("32"), "{}", refused.detail);

    let mut back = shop.draft("return.customer", "2", &floor);
    back["returnOf"] = sale["id"].clone();
    let refused =
        shop.speaker.refused("PostMovement", &json!({"movement": back}), "RETURN_EXCEEDS_ORIGINAL").await;
    assert_eq!((&refused.metadata["left"], &refused.metadata["wanted"]), (&json!("1"), &json!("2")));

    let reverse = |id: &Value| json!({"movementId": id, "reasonCode": "mistake"});
    shop.speaker.refused("ReverseMovement", &reverse(&broken["id"]), "ALREADY_REVERSED").await;
    shop.speaker.refused("ReverseMovement", &reverse(&broken["reversedBy"]), "REVERSAL_NOT_POSSIBLE").await;
    // Something hangs on it.
    shop.speaker.refused("ReverseMovement", &reverse(&sale["id"]), "REVERSAL_NOT_POSSIBLE").await;
    assert_eq!(shop.history().await.len(), history.len(), "nothing was posted");
}

/// Every movement follows from the one before it, and all of them lead to the balance.
async fn the_history_adds_up(shop: &mut Shop) {
    let history = shop.history().await;
    let mut places = std::collections::BTreeMap::<String, i64>::new();
    let (mut item, mut value) = (0, 0);
    for (at, movement) in (1..).zip(&history) {
        assert_eq!(text(&movement["sequence"]), format!("{at}"));
        let before = places.entry(text(&movement["locationId"]).to_owned()).or_default();
        assert_eq!(micros(&movement["balanceBefore"]), *before, "{movement:#}");
        *before += micros(&movement["quantity"]);
        assert_eq!(micros(&movement["balanceAfter"]), *before, "{movement:#}");
        item += micros(&movement["quantity"]);
        assert_eq!(micros(&movement["itemBalanceAfter"]), item, "{movement:#}");
        value += micros(&movement["value"]["amount"]);
        assert_eq!(micros(&movement["poolValueAfter"]["amount"]), value, "{movement:#}");
    }
    let balance = shop.balance().await;
    assert_eq!((micros(&balance["onHand"]), micros(&balance["value"]["amount"])), (item, value));
    assert_eq!(text(&balance["sequence"]), history.len().to_string());
    for place in balance["locations"].as_array().expect("places") {
        assert_eq!(micros(&place["onHand"]), places[text(&place["locationId"])]);
    }
    // The other way round it is the same.
    let newest = json!({"variantId": shop.variant, "pageSize": 500});
    let mut newest =
        shop.speaker.ok("ListMovements", &newest).await["movements"].as_array().cloned().unwrap_or_default();
    newest.reverse();
    assert_eq!(newest, history);
}

/// MOV-2, in the order of the item (a variant in a business): every movement has the balance of its
/// location before and after it; the one before is the one after the movement before it; sequences have
/// no gap; all of them add up to the balance.
///
/// The same day over REST and over gRPC: the same figures, the same refusals, word by word.
#[tokio::test]
async fn a_day_is_the_same_over_rest_and_grpc() {
    let world = World::new().await;
    let mut told = vec![];
    for (slug, way) in [("rest", Way::Rest), ("grpc", Way::Grpc)] {
        let mut shop = Shop::open(&world, slug, Costing::MovingAverage, way).await;
        a_day(&mut shop).await;
        what_cannot_be(&mut shop).await;
        the_history_adds_up(&mut shop).await;
        told.push(comparable(&shop.speaker.heard));
    }
    let (grpc, rest) = (told.pop().unwrap_or_default(), told.pop().unwrap_or_default());
    for (at, (rest, grpc)) in rest.iter().zip(&grpc).enumerate() {
        assert_eq!(rest, grpc, "answer {at}");
    }
    assert_eq!(rest.len(), grpc.len());
    world.close().await;
}

/// The same day on the disk, and still there for the next process.
#[test]
fn a_day_is_kept_on_disk() {
    let folder = crate::world::folder();
    let process = || tokio::runtime::Runtime::new().expect("a runtime");
    let uri = |shop: &Shop| format!("/v1/movements?variantId={}&orderBy=OLDEST", shop.variant);
    let (key, uri, history) = process().block_on(async {
        let world = World::on_disk(folder.path()).await;
        let mut shop = Shop::open(&world, "disk", Costing::MovingAverage, Way::Rest).await;
        a_day(&mut shop).await;
        the_history_adds_up(&mut shop).await;
        let uri = uri(&shop);
        let history = shop.speaker.door.rest.get(&uri).await;
        let key = shop.speaker.door.key.clone().expect("a key");
        world.close().await;
        (key, uri, history)
    });
    process().block_on(async {
        let world = World::on_disk(folder.path()).await;
        assert_eq!(world.rest(&key).get(&uri).await, history);
        world.close().await;
    });
}
