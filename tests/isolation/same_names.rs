//! Two tenants call their things alike.

use serde_json::{Value, json};

use crate::rest::text;
use crate::world::{Tenant, World};

/// Makes one of everything, all with names that the other tenant has too; gives the ids.
async fn everything(tenant: &Tenant) -> Vec<String> {
    let rest = &tenant.rest;
    let id = |value: &Value| text(&value["id"]).to_owned();
    let product = json!({"name": "Shirt", "brand": "B", "variants": [
        {"sku": "SKU-1", "barcodes": [{"value": "4006381333931"}, {"value": "OWN-1"}]}]});
    let product = rest.create("/v1/products", &product).await;
    let location = rest.create("/v1/locations", &json!({"code": "MAIN", "name": "Main"})).await;
    let list = json!({"code": "RETAIL", "name": "Retail", "kind": "SALE", "currency": "EUR"});
    let list = rest.create("/v1/priceLists", &list).await;
    let key = rest.create("/v1/apiKeys", &json!({"name": "till 1", "role": "clerk"})).await;
    let receipt = json!({"kind": "purchase.receipt", "variantId": product["variants"][0]["id"],
        "locationId": location["id"], "quantity": "5", "unitCost": {"currency": "EUR", "amount": "1"},
        "source": {"type": "goods_receipt", "id": "GR-1", "number": "PO-1", "lineId": "1"}});
    let posted = rest.post("/v1/movements", &receipt).key("GR-1").send().await.ok(201);
    assert_eq!(posted.header("idempotent-replayed"), "");
    let posted = &posted.json["movements"][0];
    assert_eq!(posted["balanceAfter"], "5", "{posted}");
    vec![id(&product), id(&product["variants"][0]), id(&location), id(&list), id(&key["apiKey"]), id(posted)]
}

/// TEN-7, for what exists (SKU, GTIN, own barcode, location and price list code, key name, document number, source
/// document, idempotency key): the same in two tenants, neither notices the other, and each finds its own alone.
/// E-mail addresses and webhooks come later.
#[tokio::test]
async fn two_tenants_may_use_the_same_names() {
    let world = World::new().await;
    let tenants = [world.tenant("one").await, world.tenant("two").await];
    let mut made = vec![];
    for tenant in &tenants {
        made.push(everything(tenant).await);
    }
    assert!(made[0].iter().all(|id| !made[1].contains(id)), "{made:?}");
    for (tenant, ids) in tenants.iter().zip(&made) {
        for (uri, list, id) in [
            ("/v1/variants?sku=SKU-1", "variants", &ids[1]),
            ("/v1/variants?barcode=4006381333931", "variants", &ids[1]),
            ("/v1/variants?barcode=OWN-1", "variants", &ids[1]),
            ("/v1/locations?code=MAIN", "locations", &ids[2]),
            ("/v1/movements?sourceType=goods_receipt&sourceId=GR-1", "movements", &ids[5]),
        ] {
            let found = tenant.rest.get(uri).await;
            let found: Vec<&Value> =
                found[list].as_array().into_iter().flatten().map(|one| &one["id"]).collect();
            assert_eq!(found, [id.as_str()], "{uri}");
        }
    }
    world.close().await;
}
