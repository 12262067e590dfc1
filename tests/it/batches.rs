//! Many things in one call: all or none, or each by itself.

use serde_json::{Value, json};

use crate::door::unique;
use crate::rest::{Answer, Rest, text};
use crate::world::World;

async fn batch(rest: &Rest, uri: &str, body: &Value) -> Answer {
    rest.post(uri, body).key(&format!("batch-{}", unique())).send().await
}

/// A good item of a batch, and one that is refused when it is sent after the good one.
struct Case {
    uri: &'static str,
    list: &'static str,
    one: &'static str,
    good: Box<dyn Fn(usize) -> Value>,
    refused: Value,
    reason: &'static str,
}

async fn cases(rest: &Rest) -> Vec<Case> {
    let product = json!({"name": "There", "variants": [{"sku": "THERE"}]});
    let product = rest.create("/v1/products", &product).await;
    let location = rest.create("/v1/locations", &json!({"code": "THERE", "name": "There"})).await;
    let (variant, place) = (product["variants"][0]["id"].clone(), location["id"].clone());
    let movement = move |kind: &str, quantity: usize| {
        json!({"kind": kind, "variantId": variant, "locationId": place, "quantity": quantity.to_string(),
            "source": {"type": crate::shop::source(kind), "id": unique().to_string(), "lineId": "1"}})
    };
    let receipt = {
        let movement = movement.clone();
        move |at: usize| {
            let mut draft = movement("purchase.receipt", at + 1);
            draft["unitCost"] = json!({"currency": "EUR", "amount": "1"});
            draft
        }
    };
    vec![
        Case {
            uri: "/v1/products:batchCreate",
            list: "products",
            one: "product",
            good: Box::new(
                |at| json!({"name": format!("Product {at}"), "variants": [{"sku": format!("P-{}", unique())}]}),
            ),
            refused: json!({"name": "Taken", "variants": [{"sku": "THERE"}]}),
            reason: "SKU_TAKEN",
        },
        Case {
            uri: "/v1/locations:batchCreate",
            list: "locations",
            one: "location",
            good: Box::new(|at| json!({"code": format!("L-{}", unique()), "name": format!("Location {at}")})),
            refused: json!({"code": "THERE", "name": "Taken"}),
            reason: "CODE_TAKEN",
        },
        Case {
            uri: "/v1/movements:batchCreate",
            list: "movements",
            one: "posting",
            good: Box::new(receipt),
            refused: movement("sale.shipment", 1_000_000),
            reason: "INSUFFICIENT_STOCK",
        },
    ]
}

/// Each by itself: 207, the results in the order of the request, each a thing or a problem.
#[tokio::test]
async fn each_item_has_a_result_of_its_own() {
    let world = World::new().await;
    let tenant = world.tenant("each").await;
    let rest = &tenant.rest;
    for Case { uri, list, one, good, refused, reason } in cases(rest).await {
        let items = json!([good(0), refused, good(1)]);
        let answer = batch(rest, uri, &json!({list: items})).await.ok(207);
        let results = answer.json["results"].as_array().expect("results");
        assert_eq!(results.len(), 3);
        let problem = &results[1]["problem"];
        assert_eq!((text(&problem["reason"]), &problem["status"]), (reason, &json!(409)), "{problem}");
        for (at, name) in [(0, "0"), (2, "1")] {
            let made = &results[at][one];
            // It is in its place: the name or the quantity says which one it is.
            let quantity = text(&made["movements"][0]["quantity"]);
            assert!(text(&made["name"]).ends_with(name) || quantity == (at / 2 + 1).to_string(), "{made}");
        }
        let whole = batch(rest, uri, &json!({list: [good(0), good(1)]})).await.ok(200);
        assert_eq!(whole.json["results"].as_array().map(Vec::len), Some(2));
    }
    world.close().await;
}

/// All or none: one that is refused refuses all, and nothing is written.
#[tokio::test]
async fn an_atomic_batch_is_made_whole_or_not_at_all() {
    let world = World::new().await;
    let tenant = world.tenant("atomic").await;
    let rest = &tenant.rest;
    for Case { uri, list, good, refused, reason, .. } in cases(rest).await {
        let written = world.commit_count();
        for items in
            [json!([good(0), refused]), json!([refused, good(0)]), json!([good(0), good(1), refused])]
        {
            batch(rest, uri, &json!({list: items, "atomic": true})).await.problem(409, reason);
        }
        // A field that is wrong in one of them is named in its place.
        let mut wrong = good(0);
        wrong["colour"] = "red".into();
        let answer = batch(rest, uri, &json!({list: [good(0), wrong], "atomic": true})).await;
        let answer = answer.problem(400, "INVALID_REQUEST");
        assert_eq!(answer.fields(), [format!("/{list}/1/colour UNKNOWN_FIELD")]);
        assert_eq!(world.commit_count(), written, "{uri} wrote something");
        let made = batch(rest, uri, &json!({list: [good(0), good(1)], "atomic": true})).await.ok(200);
        assert_eq!(made.json["results"].as_array().map(Vec::len), Some(2));
    }
    world.close().await;
}

/// A batch has 1 to 1,000 items.
#[tokio::test]
async fn a_batch_has_a_size() {
    let world = World::new().await;
    let tenant = world.tenant("size").await;
    let rest = &tenant.rest;
    for Case { uri, list, good, .. } in cases(rest).await {
        let written = world.commit_count();
        for (items, reason) in [(json!([]), "REQUIRED"), (json!(vec![good(0); 1_001]), "TOO_MANY")] {
            let answer = batch(rest, uri, &json!({list: items})).await.problem(400, "INVALID_REQUEST");
            assert_eq!(answer.fields(), [format!("/{list} {reason}")]);
        }
        batch(rest, uri, &json!({})).await.problem(400, "INVALID_REQUEST");
        assert_eq!(world.commit_count(), written);
        let full: Vec<Value> = (0..1_000).map(&good).collect();
        let made = batch(rest, uri, &json!({list: full, "atomic": true})).await.ok(200);
        assert_eq!(made.json["results"].as_array().map(Vec::len), Some(1_000));
    }
    world.close().await;
}
