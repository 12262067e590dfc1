//! What bad input gets: a problem that names the field and the reason, and nothing is written. What
//! follows from the contract alone is in `contract/malformed.rs` and `contract/bodies.rs`; here is what
//! follows from the things that a request names.

use serde_json::{Value, json};

use crate::door::unique;
use crate::rest::{Answer, Rest, text};
use crate::world::World;

/// Pieces, kilograms, and a place for each.
struct Goods {
    pieces: String,
    kilograms: String,
    place: String,
}

impl Goods {
    async fn new(rest: &Rest) -> Goods {
        let mut variants = vec![];
        for (sku, unit, scale) in [("PIECES", "C62", 0), ("KILOGRAMS", "KGM", 2)] {
            let product =
                json!({"name": sku, "baseUnit": unit, "quantityScale": scale, "variants": [{"sku": sku}]});
            variants.push(text(&rest.create("/v1/products", &product).await["variants"][0]["id"]).to_owned());
        }
        let place = rest.create("/v1/locations", &json!({"code": "PLACE", "name": "Place"})).await;
        let (kilograms, pieces) = (variants.pop().unwrap_or_default(), variants.pop().unwrap_or_default());
        Goods { pieces, kilograms, place: text(&place["id"]).to_owned() }
    }

    fn receipt(&self, variant: &str) -> Value {
        json!({"kind": "purchase.receipt", "variantId": variant, "locationId": self.place, "quantity": "5",
            "unitCost": {"currency": "EUR", "amount": "1"},
            "source": {"type": "goods_receipt", "id": unique().to_string(), "lineId": "1"}})
    }
}

async fn post(rest: &Rest, draft: &Value) -> Answer {
    rest.post("/v1/movements", draft).key(&format!("bad-{}", unique())).send().await
}

/// A movement that makes no sense is refused for the field that is at fault.
#[tokio::test]
#[rustfmt::skip] // columns
async fn a_movement_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    let tenant = world.tenant("bad").await;
    let rest = &tenant.rest;
    let goods = Goods::new(rest).await;
    post(rest, &goods.receipt(&goods.pieces)).await.ok(201);
    post(rest, &goods.receipt(&goods.kilograms)).await.ok(201);
    let written = world.commit_count();
    let random = |prefix: &str| format!("{prefix}_01h455vb4pex5vsknk084sn02q");

    let check = async |variant: &str, changes: &[(&str, Value)], expected: &[&str]| {
        let mut draft = goods.receipt(variant);
        for (field, value) in changes {
            match field.split_once('.') {
                Some((outer, inner)) => draft[outer][inner] = value.clone(),
                None => draft[*field] = value.clone(),
            }
        }
        let answer = post(rest, &draft).await.problem(400, "INVALID_REQUEST");
        let mut found = answer.fields();
        found.sort();
        assert_eq!(found, expected, "{draft}");
    };
    let (pieces, kilograms) = (goods.pieces.as_str(), goods.kilograms.as_str());
    check(pieces, &[("quantity", json!("0"))],                  &["/quantity NOT_POSITIVE"]).await;
    check(pieces, &[("quantity", json!("0.000000"))],           &["/quantity NOT_POSITIVE"]).await;
    check(pieces, &[("quantity", json!("-5"))],                 &["/quantity NOT_POSITIVE"]).await;
    check(pieces, &[("quantity", json!("-0"))],                 &["/quantity NOT_POSITIVE"]).await;
    check(pieces, &[("quantity", json!(5))],                    &["/quantity WRONG_TYPE"]).await;
    check(pieces, &[("quantity", json!(5.5))],                  &["/quantity WRONG_TYPE"]).await;
    check(pieces, &[("quantity", json!("5.5"))],                &["/quantity TOO_MANY_PLACES"]).await;
    check(pieces, &[("quantity", json!("1000000000001"))],      &["/quantity TOO_LARGE"]).await;
    check(kilograms, &[("quantity", json!("5.125"))],           &["/quantity TOO_MANY_PLACES"]).await;
    check(kilograms, &[("quantity", json!("1")), ("unit", json!("GRM"))], &["/quantity TOO_MANY_PLACES"]).await;
    check(kilograms, &[("unit", json!("LTR"))],                 &["/unit UNKNOWN_VALUE"]).await;
    check(kilograms, &[("unit", json!("XYZ"))],                 &["/unit UNKNOWN_VALUE"]).await;
    check(pieces, &[("kind", json!("purchase.gift"))],          &["/kind UNKNOWN_VALUE"]).await;
    check(pieces, &[("kind", json!("value.settlement"))],       &["/kind UNKNOWN_VALUE"]).await;
    check(pieces, &[("variantId", json!(goods.place))],         &["/variantId WRONG_ID_PREFIX"]).await;
    check(pieces, &[("locationId", json!(pieces))],             &["/locationId WRONG_ID_PREFIX"]).await;
    check(pieces, &[("unitCost.amount", json!("-1"))],          &["/unitCost/amount OUT_OF_RANGE"]).await;
    check(pieces, &[("unitCost.amount", json!(1))],             &["/unitCost/amount WRONG_TYPE"]).await;
    check(pieces, &[("unitCost.currency", json!("USD"))],       &["/unitCost/currency NOT_ALLOWED"]).await;
    check(pieces, &[("unitCost.currency", json!("XXY"))],       &["/unitCost/currency UNKNOWN_VALUE"]).await;
    check(pieces, &[("unitCost", Value::Null)],                 &["/unitCost REQUIRED"]).await;
    check(pieces, &[("totalCost", json!({"currency": "EUR", "amount": "1"}))], &["/totalCost NOT_ALLOWED"]).await;
    check(pieces, &[("source.type", json!("pos_receipt"))],     &["/source/type SOURCE_NOT_PERMITTED"]).await;
    check(pieces, &[("source.id", json!(""))],                  &["/source/id REQUIRED"]).await;
    check(pieces, &[("toLocationId", json!(random("loc")))],    &["/toLocationId NOT_ALLOWED"]).await;
    check(pieces, &[("direction", json!("IN"))],                &["/direction NOT_ALLOWED"]).await;
    check(pieces, &[("returnOf", json!(random("mov")))],        &["/returnOf NOT_ALLOWED"]).await;
    check(pieces, &[("occurredAt", json!("2150-01-01T00:00:00Z"))], &["/occurredAt OUT_OF_RANGE"]).await;
    check(pieces, &[("occurredAt", json!("0001-01-01T00:00:00Z"))], &["/occurredAt OUT_OF_RANGE"]).await;
    check(pieces, &[("note", json!("a\u{0}b"))],                &["/note MALFORMED"]).await;
    check(pieces, &[("kind", json!("write_off.damage")), ("source.type", json!("write_off")), ("unitCost", Value::Null)],
        &["/reasonCode REQUIRED"]).await;
    check(pieces, &[("kind", json!("transfer.direct")), ("source.type", json!("transfer")), ("unitCost", Value::Null)],
        &["/toLocationId REQUIRED"]).await;
    check(pieces, &[("kind", json!("return.customer")), ("source.type", json!("sales_return")), ("unitCost", Value::Null)],
        &["/returnOf REQUIRED"]).await;
    // Everything at once.
    check(pieces, &[("quantity", json!(1.5)), ("variantId", json!("7")), ("colour", json!("red")), ("kind", json!(7))],
        &["/colour UNKNOWN_FIELD", "/kind WRONG_TYPE", "/quantity WRONG_TYPE", "/variantId MALFORMED_ID"]).await;

    for (field, value) in [("variantId", random("var")), ("locationId", random("loc"))] {
        let mut draft = goods.receipt(pieces);
        draft[field] = value.into();
        post(rest, &draft).await.problem(404, "NOT_FOUND");
    }
    assert_eq!(world.commit_count(), written);
    world.close().await;
}

/// The places that take the other leg are nobody's to use or to change.
#[tokio::test]
async fn virtual_locations_are_not_for_use() {
    let world = World::new().await;
    let tenant = world.tenant("virtual").await;
    let rest = &tenant.rest;
    let goods = Goods::new(rest).await;
    let posted = post(rest, &goods.receipt(&goods.pieces)).await.ok(201);
    let supplier = text(&posted.json["movements"][0]["counterpartLocationId"]).to_owned();
    assert_eq!(rest.get(format!("/v1/locations/{supplier}")).await["usage"], "SUPPLIER");
    let written = world.commit_count();
    let mut draft = goods.receipt(&goods.pieces);
    draft["locationId"] = supplier.as_str().into();
    let answer = post(rest, &draft).await.problem(400, "INVALID_REQUEST");
    assert_eq!(answer.fields(), ["/locationId NOT_ALLOWED"]);
    let inside = json!({"code": "INSIDE", "name": "Inside", "parentId": supplier});
    let answer = rest.post("/v1/locations", &inside).send().await.problem(400, "INVALID_REQUEST");
    assert_eq!(answer.fields(), ["/parentId NOT_ALLOWED"]);
    let uri = format!("/v1/locations/{supplier}");
    let answer =
        rest.patch(uri, &json!({"name": "Mine"})).if_match("*").send().await.problem(400, "INVALID_REQUEST");
    assert_eq!(answer.fields(), ["/locationId NOT_ALLOWED"]);
    for usage in ["SUPPLIER", "CUSTOMER", "LOSS"] {
        let made = json!({"code": usage, "name": usage, "usage": usage});
        let answer = rest.post("/v1/locations", &made).send().await.problem(400, "INVALID_REQUEST");
        assert_eq!(answer.fields(), ["/usage NOT_ALLOWED"]);
    }
    assert_eq!(world.commit_count(), written);
    world.close().await;
}

/// What a place lets through, and how far back a date may lie.
#[tokio::test]
async fn blocked_places_and_old_dates_are_refused() {
    let world = World::new().await;
    let tenant = world.tenant("blocked").await;
    let rest = &tenant.rest;
    let goods = Goods::new(rest).await;
    post(rest, &goods.receipt(&goods.pieces)).await.ok(201);
    let sale = || {
        json!({"kind": "sale.shipment", "variantId": goods.pieces, "locationId": goods.place, "quantity": "1",
            "source": {"type": "pos_receipt", "id": unique().to_string()}})
    };
    let place = format!("/v1/locations/{}", goods.place);
    for (status, arrives, leaves) in
        [("BLOCKED_IN", 409, 201), ("BLOCKED_OUT", 201, 409), ("CLOSED", 409, 409), ("ACTIVE", 201, 201)]
    {
        rest.patch(&place, &json!({"status": status})).if_match("*").send().await.ok(200);
        for (draft, expected) in [(goods.receipt(&goods.pieces), arrives), (sale(), leaves)] {
            let answer = post(rest, &draft).await.ok(expected);
            assert!(expected == 201 || answer.reason() == "LOCATION_BLOCKED", "{status}: {}", answer.text);
        }
    }

    // The owner may date back, within the window of the business; a clerk may not at all.
    let clerk = rest.create("/v1/apiKeys", &json!({"name": "clerk", "role": "clerk"})).await;
    let clerk = world.rest(text(&clerk["secret"]));
    let dated = |at: &str| {
        let mut draft = sale();
        draft["occurredAt"] = at.into();
        draft
    };
    let written = world.commit_count();
    let late = post(&clerk, &dated("2020-11-01T00:00:00Z")).await.problem(409, "BACKDATE_WINDOW");
    assert!(late.json["metadata"]["latest"].is_string());
    post(rest, &dated("1999-12-31T00:00:00Z")).await.problem(409, "BACKDATE_WINDOW");
    assert_eq!(world.commit_count(), written);
    world.close().await;
}

/// Products that make no sense, and names that are taken.
#[tokio::test]
#[rustfmt::skip] // columns
async fn a_product_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    let tenant = world.tenant("products").await;
    let rest = &tenant.rest;
    let product = |axes: Value, variants: Value| json!({"name": "P", "optionAxes": axes, "variants": variants});
    rest.create("/v1/products", &product(json!([]), json!([{"sku": "TAKEN"}]))).await;
    let written = world.commit_count();
    let check = async |body: Value, status: u16, reason: &str, expected: &[&str]| {
        let answer = rest.post("/v1/products", &body).send().await.problem(status, reason);
        assert_eq!(answer.fields(), expected, "{body}: {}", answer.text);
    };
    check(product(json!([]), json!([])), 400, "INVALID_REQUEST", &["/variants REQUIRED"]).await;
    check(product(json!([]), json!([{"sku": "A"}, {"sku": "A"}])), 400, "INVALID_REQUEST",
        &["/variants/1/sku DUPLICATE", "/variants/1/optionValues DUPLICATE"]).await;
    check(product(json!(["size", "size"]), json!([{"sku": "A"}])), 400, "INVALID_REQUEST", &["/optionAxes/1 DUPLICATE"]).await;
    check(product(json!(["size"]), json!([{"sku": "A"}])), 400, "INVALID_REQUEST", &["/variants/0/optionValues REQUIRED"]).await;
    check(product(json!([]), json!([{"sku": "A", "optionValues": {"size": "M"}}])), 400, "INVALID_REQUEST",
        &["/variants/0/optionValues NOT_ALLOWED"]).await;
    check(product(json!([]), json!([{"sku": "TAKEN"}])), 409, "SKU_TAKEN", &[]).await;
    check(json!({"name": "P", "quantityScale": 7, "variants": [{"sku": "A"}]}), 400, "INVALID_REQUEST", &["/quantityScale OUT_OF_RANGE"]).await;
    check(json!({"name": "P", "baseUnit": "XYZ", "variants": [{"sku": "A"}]}), 400, "INVALID_REQUEST", &["/baseUnit UNKNOWN_VALUE"]).await;
    check(json!({"name": " ", "variants": [{"sku": "A"}]}), 400, "INVALID_REQUEST", &["/name REQUIRED"]).await;
    check(json!({"id": "prd_01h455vb4pex5vsknk084sn02q", "name": "P", "variants": [{"sku": "A"}]}), 400, "INVALID_REQUEST", &["/id OUTPUT_ONLY"]).await;
    assert_eq!(world.commit_count(), written);
    world.close().await;
}

/// Locations and price lists have a code of their own.
#[tokio::test]
async fn a_code_is_taken_once() {
    let world = World::new().await;
    let tenant = world.tenant("codes").await;
    let rest = &tenant.rest;
    let list = json!({"code": "A", "name": "A", "kind": "SALE", "currency": "EUR"});
    for (uri, body) in [("/v1/locations", json!({"code": "A", "name": "A"})), ("/v1/priceLists", list)] {
        rest.create(uri, &body).await;
        let written = world.commit_count();
        let answer = rest.post(uri, &body).send().await.problem(409, "CODE_TAKEN");
        assert_eq!(answer.json["metadata"]["code"], "A");
        assert_eq!(world.commit_count(), written);
    }
    world.close().await;
}

/// Numbers at the edge of what is kept: refused for a reason, never for a defect.
#[tokio::test]
async fn the_largest_numbers_are_refused_in_words() {
    let world = World::new().await;
    let tenant = world.tenant("large").await;
    let rest = &tenant.rest;
    let goods = Goods::new(rest).await;
    let uri = format!("/v1/variants/{}:setUnitConversion", goods.pieces);
    let huge = json!({"unit": "CS", "numerator": i64::MAX.to_string()});
    let tiny = json!({"unit": "BX", "numerator": "1", "denominator": i64::MAX.to_string()});
    for conversion in [&huge, &tiny] {
        rest.post(&uri, conversion).send().await.ok(200);
    }
    let written = world.commit_count();
    let most = "1000000000000";
    let money = "9223372036854.775807";
    let mut refused = vec![];
    for (quantity, unit, cost) in [
        (most, "C62", money),
        ("1", "CS", "1"),
        (most, "CS", money),
        ("1", "BX", "1"),
        (most, "BX", "1"),
        ("1", "MIL", "99999999999999999999"),
        ("1001000000", "MIL", "1"),
    ] {
        for cost_of in ["unitCost", "totalCost"] {
            let mut draft = goods.receipt(&goods.pieces);
            draft["quantity"] = quantity.into();
            draft["unit"] = unit.into();
            draft.as_object_mut().expect("a draft").remove("unitCost");
            draft[cost_of] = json!({"currency": "EUR", "amount": cost});
            let answer = post(rest, &draft).await;
            if answer.status == 201 {
                continue;
            }
            assert!(matches!(answer.status, 400 | 409), "{draft}: {}", answer.text);
            refused.push(answer.reason().to_owned());
        }
    }
    assert!(10 <= refused.len(), "{refused:?}");
    // Two of the largest do not fit into one balance.
    let mut draft = goods.receipt(&goods.kilograms);
    draft["quantity"] = most.into();
    draft["unitCost"]["amount"] = "0.01".into();
    post(rest, &draft).await.ok(201);
    draft["source"]["lineId"] = "2".into();
    post(rest, &draft).await.problem(409, "QUANTITY_LIMIT");
    assert!(written < world.commit_count());
    world.close().await;
}
