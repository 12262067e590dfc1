//! What the ledger promises about movements.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};

use crate::contract::{public, rpc};
use crate::rest::text;
use crate::shop::{Shop, class, micros, source};
use crate::speaker::Way;
use crate::world::{Costing, World};

/// The kinds that the contract offers.
fn kinds() -> Vec<String> {
    let field = rpc("PostMovement").fields().into_iter().find(|field| field.pointer == "/movement/kind");
    field.expect("a kind").options.values
}

/// The location that takes the other leg, by what it is for.
fn virtual_usage(kind: &str) -> &'static str {
    match class(kind) {
        "purchase" => "SUPPLIER",
        "sale" => "CUSTOMER",
        "adjustment" | "write_off" => "LOSS",
        _ if kind == "return.customer" => "CUSTOMER",
        _ if kind == "return.supplier" => "SUPPLIER",
        other => panic!("say in ledger.rs who takes the other leg of '{other}'"),
    }
}

/// Posts one movement of each kind and direction; gives the postings.
async fn one_of_each(shop: &mut Shop) -> Vec<Vec<Value>> {
    let west = shop.west.clone();
    let receipt = shop.receive("1000", "2500.00", &west).await;
    let sale = shop.draft("sale.shipment", "50", &west);
    let sale = shop.post(&sale).await;
    let mut postings = vec![receipt.clone(), sale.clone()];
    for kind in kinds() {
        let directions: &[&str] =
            if kind == "adjustment.manual" { &["DIRECTION_IN", "DIRECTION_OUT"] } else { &[""] };
        for direction in directions {
            let mut draft = shop.draft(&kind, "3", &west);
            match kind.as_str() {
                "purchase.receipt" | "adjustment.opening" => {
                    draft["unitCost"] = json!({"currency": "EUR", "amount": "3"})
                }
                "adjustment.manual" => draft["direction"] = (*direction).into(),
                "transfer.direct" => draft["toLocationId"] = shop.shop.as_str().into(),
                "return.customer" => draft["returnOf"] = sale[0]["id"].clone(),
                "return.supplier" => draft["returnOf"] = receipt[0]["id"].clone(),
                _ => {}
            }
            postings.push(shop.post(&draft).await);
        }
    }
    postings
}

/// MOV-1, but for assemblies, which are not there yet: the kinds are purchase, sale, transfer,
/// adjustment, return and write-off with their sub-kinds; balances change by movements alone, and are
/// their sums.
#[tokio::test]
async fn every_change_of_stock_is_a_movement_of_a_known_kind() {
    let classes: BTreeSet<String> = kinds().iter().map(|kind| class(kind).to_owned()).collect();
    let brief = ["adjustment", "purchase", "return", "sale", "transfer", "write_off"];
    assert_eq!(classes.iter().map(String::as_str).collect::<Vec<_>>(), brief);

    let world = World::new().await;
    let mut shop = Shop::open(&world, "kinds", Costing::MovingAverage, Way::Rest).await;
    for posting in one_of_each(&mut shop).await {
        for movement in posting {
            assert_eq!(text(&movement["class"]), class(text(&movement["kind"])));
        }
    }
    let mut sums = BTreeMap::<String, i64>::new();
    for movement in shop.history().await {
        *sums.entry(text(&movement["locationId"]).to_owned()).or_default() += micros(&movement["quantity"]);
    }
    let balance = shop.balance().await;
    let places = balance["locations"].as_array().expect("places");
    let shown = places.iter().map(|place| (text(&place["locationId"]).to_owned(), micros(&place["onHand"])));
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), sums);
    assert_eq!(micros(&balance["onHand"]), sums.values().sum::<i64>());

    // No other RPC changes a balance: those that write to the stock service name a location or post.
    let writers = public()
        .into_iter()
        .filter(|rpc| rpc.path.contains("StockService") && rpc.rule.audit != proto::Audit::Read);
    let mut writers: Vec<String> = writers.map(|rpc| rpc.name).collect();
    writers.retain(|name| !name.contains("Location"));
    assert_eq!(writers, ["BatchPostMovements", "PostMovement", "ReverseMovement"]);
    world.close().await;
}

/// MOV-6: a posting is written whole or not at all, and its legs add up to nothing, those of the virtual
/// supplier, customer and loss included.
#[tokio::test]
async fn the_legs_of_a_posting_add_up_to_nothing() {
    let world = World::new().await;
    let mut shop = Shop::open(&world, "legs", Costing::MovingAverage, Way::Rest).await;
    let mut stock = BTreeMap::<String, i64>::new();
    for posting in one_of_each(&mut shop).await {
        let ids: BTreeSet<&str> = posting.iter().map(|movement| text(&movement["postingId"])).collect();
        assert_eq!(ids.len(), 1);
        let mut legs = BTreeMap::<&str, i64>::new();
        for movement in &posting {
            let (here, there) = (text(&movement["locationId"]), text(&movement["counterpartLocationId"]));
            *legs.entry(here).or_default() += micros(&movement["quantity"]);
            let other = shop.speaker.ok("GetLocation", &json!({"locationId": there})).await;
            if text(&movement["kind"]) == "transfer.direct" {
                assert_eq!(text(&other["usage"]), "INTERNAL");
                assert!(
                    posting.iter().any(|leg| text(&leg["locationId"]) == there),
                    "the other leg is a movement"
                );
            } else {
                assert_eq!(text(&other["usage"]), virtual_usage(text(&movement["kind"])), "{movement:#}");
                *legs.entry(there).or_default() -= micros(&movement["quantity"]);
            }
        }
        assert_eq!(legs.values().sum::<i64>(), 0, "{posting:#?}");
        for (place, quantity) in legs {
            *stock.entry(place.to_owned()).or_default() += quantity;
        }
    }
    assert_eq!(stock.values().sum::<i64>(), 0);

    // All lines of a document or none: the second one takes more than there is, the third is fine.
    let west = shop.west.clone();
    let before = (shop.history().await, world.commit_count());
    let batch: Vec<Value> =
        ["1", "100000", "1"].iter().map(|quantity| shop.draft("sale.shipment", quantity, &west)).collect();
    let request = json!({"movements": batch, "atomic": true});
    shop.speaker.refused("BatchPostMovements", &request, "INSUFFICIENT_STOCK").await;
    let mut transfer = shop.draft("transfer.direct", "100000", &west);
    transfer["toLocationId"] = shop.shop.as_str().into();
    shop.speaker.refused("PostMovement", &json!({"movement": transfer}), "INSUFFICIENT_STOCK").await;
    assert_eq!((shop.history().await, world.commit_count()), before);
    world.close().await;
}

/// MOV-3: what is posted stays as it is, a correction is a reversal that names it and a movement anew,
/// and all of them stay in sight; there is no route that changes or removes a movement.
#[tokio::test]
async fn a_correction_leaves_what_it_corrects() {
    let world = World::new().await;
    let mut shop = Shop::open(&world, "correct", Costing::MovingAverage, Way::Rest).await;
    let west = shop.west.clone();
    shop.receive("10", "100.00", &west).await;
    let wrong = shop.draft("write_off.loss", "3", &west);
    let wrong = shop.post_one(&wrong).await;
    let before = shop.speaker.ok("GetMovement", &json!({"movementId": wrong["id"]})).await;

    let reverse = json!({"movementId": wrong["id"], "reasonCode": "mistake"});
    let reversal = shop.speaker.ok("ReverseMovement", &reverse).await["movements"][0].clone();
    let right = shop.draft("write_off.loss", "2", &west);
    let right = shop.post_one(&right).await;

    let mut after = shop.speaker.ok("GetMovement", &json!({"movementId": wrong["id"]})).await;
    assert_eq!(after["reversedBy"], reversal["id"]);
    after.as_object_mut().expect("a movement").remove("reversedBy");
    assert_eq!(after, before, "the movement itself, its hash included, has not changed");
    assert_eq!(
        (&reversal["reversalOf"], micros(&reversal["quantity"])),
        (&wrong["id"], -micros(&wrong["quantity"]))
    );
    let history = shop.history().await;
    let ids: Vec<&Value> = history.iter().skip(1).map(|movement| &movement["id"]).collect();
    assert_eq!(ids, [&wrong["id"], &reversal["id"], &right["id"]]);
    assert_eq!(shop.on_hand(&west).await, "8");

    for rpc in public() {
        let route = rpc.rule.http.as_ref().expect("a route");
        let changes = matches!(route.method, "PUT" | "PATCH" | "DELETE");
        assert!(!(changes && route.path.contains("/movements")), "{} {}", route.method, route.path);
    }
    let uri = format!("/v1/movements/{}", text(&wrong["id"]));
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        shop.speaker.door.rest.call(method, &uri).send().await.problem(405, "METHOD_NOT_ALLOWED");
    }
    world.close().await;
}

/// MOV-4: a movement names its document by type, id, number and line, and the document lists its
/// movements: each way is one call.
#[tokio::test]
async fn a_movement_and_its_document_lead_to_each_other() {
    let world = World::new().await;
    let mut shop = Shop::open(&world, "documents", Costing::MovingAverage, Way::Rest).await;
    let (west, floor) = (shop.west.clone(), shop.shop.clone());
    shop.receive("100", "100.00", &west).await;
    // Two lines of one receipt of the till, of two variants; and one with the same number of another type.
    let mut opening = shop.draft("adjustment.opening", "10", &floor);
    opening["variantId"] = shop.other_variant.as_str().into();
    opening["unitCost"] = json!({"currency": "EUR", "amount": "1"});
    opening["source"] = json!({"type": source("adjustment.opening"), "id": "T1-0042", "lineId": "1"});
    shop.post(&opening).await;
    let mut transfer = shop.draft("transfer.direct", "10", &west);
    transfer["toLocationId"] = floor.as_str().into();
    shop.post(&transfer).await;
    let mut sold = vec![];
    for (line, variant) in ["1", "2"].into_iter().zip([shop.variant.clone(), shop.other_variant.clone()]) {
        let mut sale = shop.draft("sale.shipment", line, &floor);
        sale["variantId"] = variant.into();
        sale["source"] = json!({"type": "pos_receipt", "id": "T1-0042", "number": "Receipt 42", "lineId": line, "revision": 0});
        let posted = shop.post_one(&sale).await;
        assert_eq!(posted["source"], sale["source"]);
        sold.push(posted["id"].clone());
    }
    let document = json!({"sourceType": "pos_receipt", "sourceId": "T1-0042"});
    let listed = shop.speaker.ok("ListMovements", &document).await;
    let listed: Vec<&Value> =
        listed["movements"].as_array().expect("movements").iter().map(|movement| &movement["id"]).collect();
    assert_eq!(listed.len(), 2);
    assert!(sold.iter().all(|id| listed.contains(&id)), "{listed:?}");
    for id in sold {
        let shown = shop.speaker.ok("GetMovement", &json!({"movementId": id})).await;
        assert_eq!(
            (text(&shown["source"]["type"]), text(&shown["source"]["id"])),
            ("pos_receipt", "T1-0042")
        );
    }
    // Both ends of the transfer are its document's.
    let transfers = json!({"sourceType": "transfer", "sourceId": text(&transfer["source"]["id"])});
    assert_eq!(
        shop.speaker.ok("ListMovements", &transfers).await["movements"].as_array().map(Vec::len),
        Some(2)
    );
    let nothing = json!({"sourceType": "pos_receipt", "sourceId": "T1-0043"});
    assert_eq!(shop.speaker.ok("ListMovements", &nothing).await["movements"], json!([]));
    world.close().await;
}

/// MOV-12: the same act twice is posted once, whether it comes with the same key or as the same line of
/// the same document.
#[tokio::test]
async fn the_same_act_is_posted_once() {
    let world = World::new().await;
    let mut shop = Shop::open(&world, "once", Costing::MovingAverage, Way::Rest).await;
    let west = shop.west.clone();
    let mut receipt = shop.draft("purchase.receipt", "10", &west);
    receipt["totalCost"] = json!({"currency": "EUR", "amount": "10"});
    let request = json!({"movement": receipt});
    let first = shop.speaker.ok_with("PostMovement", &request, "the-key").await;
    let again = shop.speaker.ok_with("PostMovement", &request, "the-key").await;
    assert_eq!(first["movements"], again["movements"]);
    let refused = shop.speaker.refused("PostMovement", &request, "SOURCE_ALREADY_POSTED").await;
    assert_eq!(refused.metadata["sequence"], "1");
    // Neither another quantity nor another place makes another line of it.
    let mut other = request.clone();
    other["movement"]["quantity"] = "11".into();
    other["movement"]["locationId"] = shop.shop.as_str().into();
    shop.speaker.refused("PostMovement", &other, "SOURCE_ALREADY_POSTED").await;
    // In a batch, the line and its copy: one of them is posted.
    let line = shop.draft("sale.shipment", "1", &west);
    let batch = json!({"movements": [line, line]});
    let results = shop.speaker.ok("BatchPostMovements", &batch).await["results"].clone();
    assert_eq!(results[0]["posting"]["movements"].as_array().map(Vec::len), Some(1));
    assert_eq!(text(&results[1]["problem"]["reason"]), "SOURCE_ALREADY_POSTED");
    assert_eq!(shop.history().await.len(), 2);
    // A correction of the document is a revision of the line.
    let mut corrected = request.clone();
    corrected["movement"]["source"]["revision"] = 1.into();
    shop.speaker.ok("PostMovement", &corrected).await;
    assert_eq!(shop.on_hand(&west).await, "19");
    world.close().await;
}
