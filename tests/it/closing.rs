//! Closing a business: nothing is on hand, and nothing arrives afterwards.

use std::sync::Arc;

use serde_json::{Value, json};
use tenant::domain::{AccountChange, AccountCommand, Feature, Override, QUIET_SECONDS, Value as Entitled};

use crate::rest::{Answer, Rest, text};
use crate::world::{Forward, Tenant, World};

/// A tenant with a business below its own, with a key of its own, a location and a variant.
struct Group {
    clock: Arc<Forward>,
    world: World,
    tenant: Tenant,
    branch: String,
    rest: Rest,
    variant: String,
    place: String,
}

impl Group {
    async fn new() -> Group {
        let clock = Arc::new(Forward::default());
        let world = World::at(clock.clone()).await;
        let tenant = world.tenant("group").await;
        let business = json!({"legalName": "Branch SARL", "country": "FR", "baseCurrency": "EUR"});
        let branch = text(&tenant.rest.create("/v1/businesses", &business).await["id"]).to_owned();
        let key = json!({"name": "branch", "role": "owner", "businessId": branch});
        let key = tenant.rest.create("/v1/apiKeys", &key).await;
        let rest = world.rest(text(&key["secret"]));
        let variant = variant(&tenant.rest, "S-1").await;
        let place = json!({"code": "SHOP", "name": "Shop", "negativePolicy": "ALLOW"});
        let place = text(&rest.create("/v1/locations", &place).await["id"]).to_owned();
        Group { clock, world, tenant, branch, rest, variant, place }
    }

    async fn act(&self, what: &str) -> Answer {
        let path = format!("/v1/businesses/{}:{what}", self.branch);
        self.tenant.rest.post(path, &json!({})).send().await
    }

    async fn status(&self) -> String {
        let business = self.tenant.rest.get(format!("/v1/businesses/{}", self.branch)).await;
        text(&business["status"]).to_owned()
    }

    async fn post(&self, kind: &str, variant: &str, quantity: &str, number: &str) -> Answer {
        let source = if kind == "purchase.receipt" { "goods_receipt" } else { "pos_receipt" };
        let mut draft = json!({"kind": kind, "variantId": variant, "locationId": self.place, "quantity": quantity,
            "source": {"type": source, "id": number, "lineId": "1"}});
        if kind == "purchase.receipt" {
            draft["unitCost"] = json!({"currency": "EUR", "amount": "2"});
        }
        self.rest.post("/v1/movements", &draft).key(number).send().await
    }
}

async fn variant(rest: &Rest, sku: &str) -> String {
    let product = json!({"name": "Shirt", "variants": [{"sku": sku}]});
    text(&rest.create("/v1/products", &product).await["variants"][0]["id"]).to_owned()
}

fn stock(refused: Answer) -> String {
    text(&refused.problem(409, "STOCK_ON_HAND").json["metadata"]["stock"]).to_owned()
}

/// A business is closed when nothing is on hand and nothing can arrive any more; until then it says what is where, or
/// that it is on its way. It is read and not changed from the first call on.
#[tokio::test]
async fn a_business_is_closed_once_its_stock_is_gone() {
    let group = Group::new().await;
    group.post("purchase.receipt", &group.variant, "10", "GR-1").await.ok(201);
    let expected = format!("'10' C62 of '{}' at 'SHOP' ('{}')", group.variant, group.place);
    assert_eq!(stock(group.act("close").await), expected);
    assert_eq!(group.status().await, "ACTIVE", "what is refused changes nothing");

    // More than is on hand left: that is not nothing either.
    group.post("sale.shipment", &group.variant, "12", "R-1").await.ok(201);
    assert!(stock(group.act("close").await).starts_with("'-2' C62 of "));
    group.post("purchase.receipt", &group.variant, "2", "GR-2").await.ok(201);

    assert_eq!(group.act("close").await.ok(200).json["status"], "CLOSING");
    group.clock.pass_seconds(5);
    group.post("purchase.receipt", &group.variant, "1", "GR-3").await.problem(403, "BUSINESS_SUSPENDED");
    group.rest.get(format!("/v1/balances/{}", group.variant)).await;
    assert_eq!(group.act("close").await.ok(200).json["status"], "CLOSING");
    group.clock.pass_seconds(QUIET_SECONDS);
    assert_eq!(group.status().await, "CLOSING", "nothing is closed that nobody looked at");
    assert_eq!(group.act("close").await.ok(200).json["status"], "CLOSED");
    assert_eq!(group.act("close").await.ok(200).json["status"], "CLOSED");
    group.act("reactivate").await.problem(409, "ILLEGAL_TRANSITION");
    group.post("purchase.receipt", &group.variant, "1", "GR-3").await.problem(403, "BUSINESS_CLOSED");
    group.world.close().await;
}

/// A posting that the gateway lets in just after, because it still believes the credential, lands in a business that
/// is on its way to be closed: that is found before it is closed, and the business is not.
#[tokio::test]
async fn what_arrives_while_a_business_closes_is_found() {
    let group = Group::new().await;
    group.rest.get("/v1/caller").await;
    assert_eq!(group.act("close").await.ok(200).json["status"], "CLOSING");
    group.post("purchase.receipt", &group.variant, "3", "GR-1").await.ok(201);
    assert!(stock(group.act("close").await).starts_with("'3' C62 of "));
    group.clock.pass_seconds(QUIET_SECONDS);
    assert!(stock(group.act("close").await).starts_with("'3' C62 of "));
    assert_eq!(group.status().await, "CLOSING");

    // It is let back in, sends the goods away, and begins anew.
    group.act("reactivate").await.ok(200);
    group.post("sale.shipment", &group.variant, "3", "R-1").await.ok(201);
    group.act("suspend").await.ok(200);
    group.clock.pass_seconds(QUIET_SECONDS);
    assert_eq!(group.act("close").await.ok(200).json["status"], "CLOSED", "it was quiet for long enough");
    group.world.close().await;
}

/// However many items have stock, five places are named; and one that has some is found behind 600 that have none.
#[tokio::test]
async fn a_few_of_many_are_named() {
    const ITEMS: usize = 600;
    let group = Group::new().await;
    let mut variants = vec![];
    for part in 0..ITEMS / 50 {
        let skus: Vec<Value> = (0..50)
            .map(|sku| json!({"sku": format!("V-{part}-{sku}"), "optionValues": {"size": sku.to_string()}}))
            .collect();
        let product = json!({"name": "Shirt", "optionAxes": ["size"], "variants": skus});
        let product = group.tenant.rest.create("/v1/products", &product).await;
        let made = product["variants"].as_array().expect("variants");
        variants.extend(made.iter().map(|variant| text(&variant["id"]).to_owned()));
    }
    variants.sort();
    let post = async |kind: &str, source: &str, variants: &[String]| {
        let drafts: Vec<Value> = variants
            .iter()
            .map(|variant| {
                let mut draft = json!({"kind": kind, "variantId": variant, "locationId": group.place, "quantity": "1",
                    "source": {"type": source, "id": kind, "lineId": variant}});
                if kind == "purchase.receipt" {
                    draft["unitCost"] = json!({"currency": "EUR", "amount": "2"});
                }
                draft
            })
            .collect();
        let batch = json!({"movements": drafts, "atomic": true, "omitMovements": true});
        group.rest.post("/v1/movements:batchCreate", &batch).key(kind).send().await.ok(200);
    };
    post("purchase.receipt", "goods_receipt", &variants).await;
    let named = stock(group.act("close").await);
    assert_eq!(named.matches("'1' C62 of 'var_").count(), 5, "{named}");
    post("sale.shipment", "pos_receipt", &variants[..ITEMS - 1]).await;
    let named = stock(group.act("close").await);
    assert!(named.contains(&variants[ITEMS - 1]) && named.matches("C62").count() == 1, "{named}");
    group.post("sale.shipment", &variants[ITEMS - 1], "1", "R-1").await.ok(201);
    assert_eq!(group.act("close").await.ok(200).json["status"], "CLOSING");
    group.world.close().await;
}

/// A plan counts a business until it is closed.
#[tokio::test]
async fn a_closed_business_makes_room_for_another() {
    let group = Group::new().await;
    let agreed = Override { value: Entitled::Limit(2), until: None };
    let change = AccountChange::Override(Feature::BusinessesMax, agreed);
    let app = group.world.platform.tenant.app();
    app.set_account("group", AccountCommand::new(change, "agreed")).await.expect("an account");
    let create = async || {
        let business = json!({"legalName": "Another SARL", "country": "FR", "baseCurrency": "EUR"});
        group.tenant.rest.post("/v1/businesses", &business).send().await
    };
    create().await.problem(403, "PLAN_NOT_ENTITLED");
    group.act("close").await.ok(200);
    create().await.problem(403, "PLAN_NOT_ENTITLED");
    group.clock.pass_seconds(QUIET_SECONDS);
    group.act("close").await.ok(200);
    create().await.ok(201);
    group.world.close().await;
}
