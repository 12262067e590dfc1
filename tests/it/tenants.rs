//! Two tenants over one platform.

use std::collections::BTreeMap;

use http::Method;
use ids::TenantId;
use serde_json::{Value, json};

use crate::contract::public;
use crate::rest::text;
use crate::world::{Tenant, World};

/// A text of a tenant that is nobody else's, wherever a text may stand.
fn canary(tenant: &str, place: &str) -> String {
    format!("{tenant}canary{place}")
}

/// Makes one of everything, all with canaries in it; gives the ids.
async fn fill(world: &World, tenant: &Tenant, name: &str) -> BTreeMap<&'static str, String> {
    let rest = &tenant.rest;
    let mark = |place: &str| canary(name, place);
    let id = |value: &Value| text(&value["id"]).to_owned();
    let product = json!({"name": mark("product"), "description": mark("description"), "brand": mark("brand"),
        "category": mark("category"), "optionAxes": [mark("axis")],
        "variants": [{"sku": mark("sku"), "optionValues": {mark("axis"): mark("value")},
            "barcodes": [{"value": mark("barcode")}]}]});
    let product = rest.create("/v1/products", &product).await;
    let place = rest.create("/v1/locations", &json!({"code": mark("code"), "name": mark("place")})).await;
    let list = json!({"code": mark("list"), "name": mark("listname"), "kind": "SALE", "currency": "EUR"});
    let list = rest.create("/v1/priceLists", &list).await;
    let variant = id(&product["variants"][0]);
    let price = json!({"variantId": variant, "amount": "1", "reason": mark("reason")});
    let prices = format!("/v1/priceLists/{}/prices", id(&list));
    rest.post(prices, &price).key(&mark("key")).send().await.ok(200);
    let receipt = json!({"kind": "purchase.receipt", "variantId": variant, "locationId": place["id"], "quantity": "5",
        "unitCost": {"currency": "EUR", "amount": "1"}, "note": mark("note"), "reasonCode": mark("why"),
        "source": {"type": "goods_receipt", "id": mark("document"), "number": mark("number"), "lineId": mark("line")}});
    let posted = rest.post("/v1/movements", &receipt).key(&mark("key")).send().await.ok(201);
    let key = rest.create("/v1/apiKeys", &json!({"name": mark("apikey"), "role": "viewer"})).await;
    let user =
        json!({"email": format!("{}@example.com", mark("email")), "name": mark("user"), "role": "viewer"});
    let user = rest.create("/v1/users", &user).await;
    let role = json!({"code": mark("role"), "description": mark("about"), "permissions": ["stock.read"]});
    let role = rest.create("/v1/roles", &role).await;
    let given = json!({"apiKeyId": key["apiKey"]["id"], "roleId": role["id"], "reach": "SELF"});
    let given = rest.create("/v1/assignments", &given).await;
    let provider = json!({"name": mark("provider"), "issuer": format!("https://{}.example.com", mark("issuer")),
        "clientId": mark("client"), "redirectUris": [format!("https://{}.example.com/", mark("back"))]});
    let provider = rest.create("/v1/identityProviders", &provider).await;
    let business = tenant.business.to_string();
    let publication = json!({"note": mark("publication"), "stages": [{"businesses": [business]}],
        "changes": [{"productId": product["id"], "product": {"brand": mark("published")}}]});
    let publication = rest.create("/v1/publications", &publication).await;
    rest.patch(format!("/v1/businesses/{business}"), &json!({"legalName": mark("legal")}))
        .if_match("*")
        .send()
        .await
        .ok(200);
    let (operator, looks) = (world.platform.tenant.app(), tenant::domain::Role::Viewer);
    let asked = operator.request_operator_access(&tenant.slug, &mark("reason"), looks, 1).await;
    BTreeMap::from([
        ("businessId", business),
        ("productId", id(&product)),
        ("variantId", variant),
        ("locationId", id(&place)),
        ("priceListId", id(&list)),
        ("movementId", id(&posted.json["movements"][0])),
        ("apiKeyId", id(&key["apiKey"])),
        ("roleId", id(&role)),
        ("assignmentId", id(&given)),
        ("providerId", id(&provider)),
        ("userId", id(&user["user"])),
        ("operatorAccessId", asked.expect("a tenant").id.to_string()),
        ("publicationId", id(&publication)),
    ])
}

/// Every read of the contract, with ids from `ids` in its path and its query.
fn reads(ids: &BTreeMap<&str, String>, name: &str) -> Vec<String> {
    let mut uris = vec![];
    for rpc in
        public().into_iter().filter(|rpc| rpc.rule.http.as_ref().is_some_and(|route| route.method == "GET"))
    {
        let mut uri = rpc.rule.http.as_ref().expect("a route").path.clone();
        let mut query = vec![];
        for field in rpc.input.fields() {
            let (slot, name) = (format!("{{{}}}", field.name()), field.json_name());
            if uri.contains(&slot) {
                uri =
                    uri.replace(&slot, ids.get(name).unwrap_or_else(|| panic!("no '{name}' in tenants.rs")));
            } else if let Some(id) = ids.get(name) {
                query.push(format!("{name}={id}"));
            }
        }
        uris.push(uri.clone());
        uris.extend(query.iter().map(|one| format!("{uri}?{one}")));
        if 1 < query.len() {
            uris.push(format!("{uri}?{}", query.join("&")));
        }
    }
    for (uri, parameter, place) in [
        ("/v1/variants", "sku", "sku"),
        ("/v1/variants", "barcode", "barcode"),
        ("/v1/locations", "code", "code"),
    ] {
        uris.push(format!("{uri}?{parameter}={}", canary(name, place)));
    }
    uris.push(format!("/v1/movements?sourceType=goods_receipt&sourceId={}", canary(name, "document")));
    uris
}

/// TEN-1, as far as there are rows: everything that is stored of a tenant is stored under it, with what
/// finds it, and a call of one tenant reads and writes no row of another; no answer, and no header, has a
/// text or an id of another tenant in it. The store port has no operation without a tenant but those of
/// `verify`. Events, object storage and traces come later.
#[tokio::test]
async fn two_tenants_over_one_store_never_see_each_other() {
    let world = World::new().await;
    let (one, two) = (world.tenant("one").await, world.tenant("two").await);
    let mine = fill(&world, &one, "one").await;
    let theirs = fill(&world, &two, "two").await;

    // What is stored: a canary of a tenant in rows of that tenant, and nowhere else.
    for (service, spy) in world.stores() {
        let mut seen = BTreeMap::<TenantId, usize>::new();
        for commit in spy.commits() {
            let stored = format!("{commit:?}");
            for (tenant, name) in [(one.id, "one"), (two.id, "two")] {
                if stored.contains(&format!("{name}canary")) {
                    assert_eq!(commit.tenant, tenant, "{service}: {stored}");
                    *seen.entry(tenant).or_default() += 1;
                }
            }
            assert!([one.id, two.id, rpc::SYSTEM_TENANT].contains(&commit.tenant), "{service}: {stored}");
        }
        assert_eq!(seen.len(), 2, "{service} stores nothing of one of them");
    }

    // What is read: of whom.
    let mut own = 0;
    for (ids, name) in [(&mine, "one"), (&theirs, "two")] {
        for uri in reads(ids, name) {
            world.take_read();
            let answer = one.rest.call(Method::GET, &uri).send().await;
            let read = world.take_read();
            assert!(!read.contains(&two.id), "{uri} read rows of another tenant");
            let shown = format!("{:?} {}", answer.headers, answer.text.replace(&uri, ""));
            assert!(!shown.contains("twocanary") && !shown.contains(&two.id.to_string()), "{uri}: {shown}");
            for id in theirs.values() {
                let instance = format!("\"instance\":\"{}\"", uri.split('?').next().unwrap_or_default());
                assert!(!shown.replace(&instance, "").contains(id.as_str()), "{uri}: {shown}");
            }
            own += usize::from(answer.status == 200 && shown.contains("onecanary"));
        }
    }
    assert!(20 < own, "{own} answers with an own text are few");
    world.close().await;
}

/// TEN-7, for what there is: the same SKU, GTIN, codes of locations and price lists, document lines and
/// idempotency keys in two tenants, with no interaction.
#[tokio::test]
async fn two_tenants_may_call_everything_the_same() {
    let world = World::new().await;
    let tenants = [world.tenant("one").await, world.tenant("two").await];
    let mut made = vec![];
    for tenant in &tenants {
        let rest = &tenant.rest;
        let make = async |uri: &str, body: Value| {
            let answer = rest.post(uri, &body).key("the-same").send().await.ok(201);
            assert_eq!(answer.header("idempotent-replayed"), "", "{uri}");
            answer.json
        };
        let product =
            json!({"name": "Same", "variants": [{"sku": "SAME", "barcodes": [{"value": "4006381333931"}]}]});
        let product = make("/v1/products", product).await;
        let place = make("/v1/locations", json!({"code": "SAME", "name": "Same"})).await;
        let list = json!({"code": "SAME", "name": "Same", "kind": "SALE", "currency": "EUR"});
        let list = make("/v1/priceLists", list).await;
        let variant = product["variants"][0]["id"].clone();
        let receipt = json!({"kind": "purchase.receipt", "variantId": variant, "locationId": place["id"],
            "quantity": "5", "unitCost": {"currency": "EUR", "amount": "1"},
            "source": {"type": "goods_receipt", "id": "GR-1", "lineId": "1"}});
        let posted = make("/v1/movements", receipt).await["movements"][0].clone();
        made.push([
            product["id"].clone(),
            variant,
            place["id"].clone(),
            list["id"].clone(),
            posted["id"].clone(),
        ]);
    }
    for (one, two) in made[0].iter().zip(&made[1]) {
        assert_ne!(one, two);
    }
    // Each finds its own, and has only that.
    for (tenant, made) in tenants.iter().zip(&made) {
        let rest = &tenant.rest;
        for (uri, list, id) in [
            ("/v1/variants?sku=SAME", "variants", &made[1]),
            ("/v1/variants?barcode=4006381333931", "variants", &made[1]),
            ("/v1/locations?code=SAME", "locations", &made[2]),
            ("/v1/locations", "locations", &made[2]),
            ("/v1/products", "products", &made[0]),
            ("/v1/priceLists", "priceLists", &made[3]),
            ("/v1/movements?sourceType=goods_receipt&sourceId=GR-1", "movements", &made[4]),
        ] {
            let found = rest.get(uri).await[list].as_array().cloned().unwrap_or_default();
            assert_eq!(found.iter().map(|one| &one["id"]).collect::<Vec<_>>(), [id], "{uri}");
        }
    }
    // One sells out; the other does not notice.
    let sale = json!({"kind": "sale.shipment", "variantId": made[0][1], "locationId": made[0][2], "quantity": "5",
        "source": {"type": "pos_receipt", "id": "1"}});
    tenants[0].rest.post("/v1/movements", &sale).key("sale").send().await.ok(201);
    let on_hand = async |at: usize| {
        let balances = tenants[at].rest.get("/v1/balances").await;
        text(&balances["balances"][0]["onHand"]).to_owned()
    };
    assert_eq!((on_hand(0).await, on_hand(1).await), ("0".into(), "5".into()));
    world.close().await;
}
