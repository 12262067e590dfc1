//! Units and barcodes, from the product to the ledger.

use http::Method;
use serde_json::{Value, json};

use crate::door::unique;
use crate::rest::{Answer, Rest, text};
use crate::world::World;

/// A variant and a place.
struct Goods<'a> {
    rest: &'a Rest,
    variant: String,
    place: String,
}

impl Goods<'_> {
    async fn new<'a>(rest: &'a Rest, product: &Value) -> Goods<'a> {
        let product = rest.create("/v1/products", product).await;
        let place =
            rest.create("/v1/locations", &json!({"code": format!("P-{}", unique()), "name": "P"})).await;
        let (variant, place) =
            (text(&product["variants"][0]["id"]).to_owned(), text(&place["id"]).to_owned());
        Goods { rest, variant, place }
    }

    async fn convert(&self, unit: &str, numerator: i64, denominator: i64) -> Answer {
        let conversion =
            json!({"unit": unit, "numerator": numerator.to_string(), "denominator": denominator.to_string()});
        self.rest.post(format!("/v1/variants/{}:setUnitConversion", self.variant), &conversion).send().await
    }

    async fn receive(&self, quantity: &str, unit: &str, cost: &str) -> Answer {
        let number = unique().to_string();
        let draft = json!({"kind": "purchase.receipt", "variantId": self.variant, "locationId": self.place,
            "quantity": quantity, "unit": unit, "unitCost": {"currency": "EUR", "amount": cost},
            "source": {"type": "goods_receipt", "id": number, "lineId": "1"}});
        self.rest.post("/v1/movements", &draft).key(&number).send().await
    }

    async fn received(&self, quantity: &str, unit: &str, cost: &str) -> Value {
        self.receive(quantity, unit, cost).await.ok(201).json["movements"][0].clone()
    }
}

/// CAT-2: a product has one base unit; factors are rational, of the product's variant and dated; a
/// factor that was used is superseded, never changed, and what was posted with it stays as it was; how
/// many places are shown never changes a figure.
#[tokio::test]
async fn a_factor_is_a_ratio_and_history_keeps_the_one_it_used() {
    let world = World::new().await;
    let tenant = world.tenant("factors").await;
    let rest = &tenant.rest;
    let goods = Goods::new(rest, &json!({"name": "Wine", "variants": [{"sku": "WINE"}]})).await;
    let uri = format!("/v1/variants/{}", goods.variant);
    assert_eq!(rest.get(&uri).await["baseUnit"], "C62");
    let unknown = goods.receive("1", "CS", "60").await.problem(400, "INVALID_REQUEST");
    assert_eq!(unknown.fields(), ["/unit UNKNOWN_VALUE"]);

    goods.convert("CS", 6, 1).await.ok(200);
    let old = goods.received("2", "CS", "60").await;
    assert_eq!(old["entered"], json!({"quantity": "2", "unit": "CS", "numerator": "6", "denominator": "1"}));
    assert_eq!((text(&old["quantity"]), text(&old["value"]["amount"])), ("12", "120.00"));

    // The maker packs twelve now: another factor from now on.
    let changed = goods.convert("CS", 12, 1).await.ok(200).json;
    let cases: Vec<&Value> = changed["conversions"]
        .as_array()
        .expect("factors")
        .iter()
        .filter(|one| one["unit"] == "CS")
        .collect();
    assert_eq!(cases.iter().map(|one| text(&one["numerator"])).collect::<Vec<_>>(), ["6", "12"]);
    assert!(!text(&cases[0]["validFrom"]).is_empty(), "dated");
    assert_eq!(
        (&cases[0]["supersededAt"], &cases[1]["supersededAt"]),
        (&cases[1]["validFrom"], &Value::Null)
    );
    let new = goods.received("2", "CS", "60").await;
    assert_eq!((text(&new["quantity"]), text(&new["entered"]["numerator"])), ("24", "12"));
    assert_eq!(rest.get(format!("/v1/movements/{}", text(&old["id"]))).await, old);

    // Three to one: a third is no decimal, and never becomes one.
    goods.convert("SET", 1, 3).await.ok(200);
    let sets = goods.received("3", "SET", "1").await;
    assert_eq!((text(&sets["quantity"]), text(&sets["entered"]["denominator"])), ("1", "3"));
    let split = goods.receive("1", "SET", "1").await.problem(400, "INVALID_REQUEST");
    assert_eq!(split.fields(), ["/quantity NOT_REPRESENTABLE"]);

    // A unit of another product is none of this one.
    let cheese =
        json!({"name": "Cheese", "baseUnit": "KGM", "quantityScale": 3, "variants": [{"sku": "CHEESE"}]});
    let cheese = Goods::new(rest, &cheese).await;
    cheese.receive("1", "CS", "1").await.problem(400, "INVALID_REQUEST");
    // Grams are known; the price per ton is multiplied by tons, not by a rounded price per kilogram.
    let grams = cheese.received("1500", "GRM", "0.01").await;
    assert_eq!((text(&grams["quantity"]), text(&grams["value"]["amount"])), ("1.5", "15.00"));
    let tons = cheese.received("1.728", "TNE", "156526").await;
    assert_eq!((text(&tons["quantity"]), text(&tons["value"]["amount"])), ("1728", "270476.93"));
    let finer = cheese.receive("0.0001", "KGM", "1").await.problem(400, "INVALID_REQUEST");
    assert_eq!(finer.fields(), ["/quantity TOO_MANY_PLACES"]);
    assert_eq!(rest.get(format!("/v1/balances/{}", cheese.variant)).await["onHand"], "1729.5");
    world.close().await;
}

/// CAT-3, but for suppliers' codes, which come with suppliers: barcodes stand on a variant and a unit;
/// GTINs of 8, 12, 13 and 14 digits are checked and found in every length; a code is one variant's in a
/// tenant; own codes are taken as they are.
#[tokio::test]
async fn a_barcode_leads_to_one_variant() {
    let world = World::new().await;
    let tenant = world.tenant("barcodes").await;
    let rest = &tenant.rest;
    let codes = json!([
        {"value": "96385074"}, {"value": "036000291452", "symbology": "GTIN"}, {"value": "4006381333931"},
        {"value": "10614141000415", "unit": "DZN"}, {"value": "OWN 7/a", "symbology": "INTERNAL"}]);
    let goods =
        Goods::new(rest, &json!({"name": "Coded", "variants": [{"sku": "CODED", "barcodes": codes}]})).await;
    let shown = rest.get(format!("/v1/variants/{}", goods.variant)).await;
    let found: Vec<[&str; 3]> = shown["barcodes"]
        .as_array()
        .expect("barcodes")
        .iter()
        .map(|code| [&code["value"], &code["symbology"], &code["unit"]].map(text))
        .collect();
    assert_eq!(
        found,
        [
            ["00000096385074", "GTIN", "C62"],
            ["00036000291452", "GTIN", "C62"],
            ["04006381333931", "GTIN", "C62"],
            ["10614141000415", "GTIN", "DZN"],
            ["OWN 7/a", "INTERNAL", "C62"],
        ]
    );
    let with_code = async |code: &str| {
        let listed = rest.get(format!("/v1/variants?barcode={}", code.replace(' ', "%20"))).await;
        listed["variants"]
            .as_array()
            .expect("variants")
            .iter()
            .map(|one| text(&one["id"]).to_owned())
            .collect::<Vec<_>>()
    };
    for code in [
        "96385074",
        "0000096385074",
        "36000291452",
        "036000291452",
        "0036000291452",
        "4006381333931",
        "04006381333931",
        "10614141000415",
        "OWN 7/a",
    ] {
        // Eleven digits are no GTIN.
        let expected = if code == "36000291452" { vec![] } else { vec![goods.variant.clone()] };
        assert_eq!(with_code(code).await, expected, "{code}");
    }

    let written = world.commit_count();
    let refuse = async |barcode: Value, status: u16, reason: &str| -> Answer {
        let product = json!({"name": "Other", "variants": [{"sku": "OTHER", "barcodes": [barcode]}]});
        rest.post("/v1/products", &product).send().await.problem(status, reason)
    };
    for (value, expected) in [("4006381333932", "'1'"), ("96385070", "'4'")] {
        let wrong = refuse(json!({"value": value, "symbology": "GTIN"}), 400, "INVALID_REQUEST").await;
        assert_eq!(wrong.fields(), ["/variants/0/barcodes/0/value WRONG_CHECK_DIGIT"]);
        assert!(text(&wrong.json["detail"]).contains(expected), "{}", wrong.text);
    }
    refuse(json!({"value": "12345", "symbology": "GTIN"}), 400, "INVALID_REQUEST").await;
    let taken = refuse(json!({"value": "04006381333931"}), 409, "BARCODE_TAKEN").await;
    assert_eq!(taken.json["metadata"]["barcode"], "04006381333931");
    refuse(json!({"value": "OWN 7/a"}), 409, "BARCODE_TAKEN").await;
    let no_unit = refuse(json!({"value": "OTHER", "unit": "BX"}), 400, "INVALID_REQUEST").await;
    assert_eq!(no_unit.fields(), ["/variants/0/barcodes/0/unit UNIT_NOT_CONVERTIBLE"]);
    let same_sku = json!({"name": "Other", "variants": [{"sku": "CODED"}]});
    rest.post("/v1/products", &same_sku).send().await.problem(409, "SKU_TAKEN");
    assert_eq!(world.commit_count(), written);

    // Given up, a code is free.
    let uri = format!("/v1/variants/{}", goods.variant);
    rest.patch(&uri, &json!({"barcodes": []})).if_match("*").send().await.ok(200);
    assert_eq!(with_code("4006381333931").await, Vec::<String>::new());
    let product =
        json!({"name": "Other", "variants": [{"sku": "OTHER", "barcodes": [{"value": "4006381333931"}]}]});
    rest.create("/v1/products", &product).await;
    world.close().await;
}

/// `null` clears, absence keeps, a mask says what is meant.
#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let world = World::new().await;
    let tenant = world.tenant("patch").await;
    let rest = &tenant.rest;
    let product =
        json!({"name": "Name", "description": "Text", "brand": "Brand", "variants": [{"sku": "PATCH"}]});
    let product = rest.create("/v1/products", &product).await;
    let uri = format!("/v1/products/{}", text(&product["id"]));
    let patch = async |uri: &str, body: Value| rest.patch(uri, &body).if_match("*").send().await;
    let changed = patch(&uri, json!({"description": null, "brand": "Other"})).await.ok(200).json;
    let fields = [&changed["name"], &changed["description"], &changed["brand"]];
    assert_eq!(fields, [&json!("Name"), &Value::Null, &json!("Other")]);
    let masked = patch(&format!("{uri}?updateMask=name"), json!({"name": "New", "brand": "Ignored"}))
        .await
        .ok(200)
        .json;
    assert_eq!([&masked["name"], &masked["brand"]], [&json!("New"), &json!("Other")]);
    let unknown = patch(&format!("{uri}?updateMask=colour"), json!({"name": "New"}))
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(unknown.fields(), ["/updateMask UNKNOWN_VALUE"]);
    let required = patch(&uri, json!({"name": null})).await.problem(400, "INVALID_REQUEST");
    assert_eq!(required.fields(), ["/name REQUIRED"]);
    let fixed = patch(&uri, json!({"baseUnit": "KGM"})).await.problem(400, "INVALID_REQUEST");
    assert_eq!(fixed.fields(), ["/baseUnit IMMUTABLE"]);
    let archived = patch(&uri, json!({"status": "ARCHIVED"})).await.problem(409, "ILLEGAL_TRANSITION");
    assert_eq!(archived.json["metadata"], json!({"from": "ACTIVE", "to": "ARCHIVED"}));
    let head = rest.call(Method::HEAD, &uri).send().await.ok(200);
    assert_eq!((head.text.as_str(), head.header("etag")), ("", text(&rest.get(&uri).await["etag"])));
    world.close().await;
}
