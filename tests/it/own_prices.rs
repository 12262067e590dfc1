//! HIE, prices: a business below the owner of a price list says prices of its own where a policy lets it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use journal::{Env as _, SystemEnv};
use serde_json::{Value, json};

use crate::rest::{Answer, text};
use crate::world::{Forward, Tenant, World};

/// A master with a price list and a product, and businesses below: `far east` below `east`.
struct Shop {
    world: World,
    clock: Arc<Forward>,
    tenant: Tenant,
    ids: BTreeMap<&'static str, String>,
    list: String,
    variant: String,
}

const NAMES: [&str; 4] = ["master", "east", "far east", "west"];

impl Shop {
    async fn open() -> Shop {
        let clock = Arc::new(Forward::default());
        let world = World::at(clock.clone()).await;
        let tenant = world.tenant("shop").await;
        let mut ids = BTreeMap::from([("master", tenant.business.to_string())]);
        for (name, parent) in [("east", "master"), ("far east", "east"), ("west", "master")] {
            let business =
                json!({"legalName": name, "country": "DE", "baseCurrency": "EUR", "parentId": ids[parent]});
            ids.insert(name, text(&tenant.rest.create("/v1/businesses", &business).await["id"]).to_owned());
        }
        let product = json!({"name": "Tea", "variants": [{"sku": format!("TEA-{}", crate::door::unique())}]});
        let product = tenant.rest.create("/v1/products", &product).await;
        let list = json!({"code": "RETAIL", "name": "Retail", "kind": "SALE", "currency": "EUR"});
        let list = text(&tenant.rest.create("/v1/priceLists", &list).await["id"]).to_owned();
        let variant = text(&product["variants"][0]["id"]).to_owned();
        Shop { world, clock, tenant, ids, list, variant }
    }

    fn uri(&self) -> String {
        format!("/v1/priceLists/{}/prices/{}", self.list, self.variant)
    }

    async fn read(&self, business: &str, uri: String) -> Answer {
        let call = self.tenant.rest.call(Method::GET, uri);
        call.header("cp-business", &self.ids[business]).send().await
    }

    async fn write(&self, business: &str, uri: String, body: &Value) -> Answer {
        let call = self.tenant.rest.post(uri, body).key(&format!("write-{}", crate::door::unique()));
        call.header("cp-business", &self.ids[business]).send().await
    }

    async fn set(&self, business: &str, amount: &str) -> Answer {
        let price = json!({"variantId": self.variant, "amount": amount, "reason": "test"});
        self.write(business, format!("/v1/priceLists/{}/prices", self.list), &price).await
    }

    async fn clear(&self, business: &str) -> Answer {
        self.write(business, format!("{}:clear", self.uri()), &json!({"reason": "as all"})).await
    }

    async fn policy(&self, business: &str, mode: &str, more: &Value) -> Answer {
        let mut policy = json!({"entityType": "price_list", "fieldGroup": "prices", "mode": mode});
        let more = more.as_object().expect("an object").clone();
        policy.as_object_mut().expect("an object").extend(more);
        let call = self.tenant.rest.post("/v1/inheritancePolicies", &policy);
        call.header("cp-business", &self.ids[business]).send().await
    }

    /// The price in a business, and who says it; `-` where there is none.
    async fn price(&self, business: &str, at: Option<&str>) -> String {
        let at = at.map(|at| format!("?at={at}")).unwrap_or_default();
        let answer = self.read(business, format!("{}{at}", self.uri())).await;
        if answer.status == 404 {
            answer.problem(404, "PRICE_NOT_SET");
            return "-".to_owned();
        }
        let price = answer.ok(200).json;
        let origin = &price["origin"]["businessId"];
        assert_eq!(price["change"]["businessId"], *origin, "{price}");
        assert_eq!(price["change"]["newAmount"], price["price"]["amount"]);
        let who = self.ids.iter().find(|(_, id)| json!(id) == *origin).map(|(name, _)| *name);
        format!("{} {}", text(&price["price"]["amount"]), who.expect("a business of ours"))
    }

    async fn prices(&self) -> [String; 4] {
        let mut found = Vec::new();
        for name in NAMES {
            found.push(self.price(name, None).await);
        }
        found.try_into().expect("four")
    }

    /// What a business said, newest first: sequence, old, new.
    async fn history(&self, reader: &str, whose: &str) -> Vec<String> {
        let uri = format!("{}/changes?businessId={}", self.uri(), self.ids[whose]);
        let list = self.read(reader, uri).await.ok(200).json;
        let change = |change: &Value| {
            assert_eq!(change["businessId"], json!(self.ids[whose]));
            let of = |field: &str| {
                change[field].as_str().filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
            };
            format!("{} {} {}", of("sequence"), of("oldAmount"), of("newAmount"))
        };
        list["changes"].as_array().cloned().unwrap_or_default().iter().map(change).collect()
    }
}

/// HIE-3, HIE-5, HIE-6: without a policy nobody below says a price; with one the nearest that says any counts, down to
/// those below it, and says where it comes from; taking it back restores what is inherited in the same call, and the
/// history of each business shows both.
#[tokio::test]
async fn a_business_says_prices_of_its_own_where_a_policy_lets_it() {
    let shop = Shop::open().await;
    shop.set("master", "10").await.ok(200);
    let locked = shop.set("east", "12").await.problem(403, "INHERITED_LOCKED").json;
    let named =
        ["field", "owner", "policy", "policy_version"].map(|key| text(&locked["metadata"][key]).to_owned());
    assert_eq!(named, ["prices", shop.ids["master"].as_str(), "price_list/prices", "0"]);
    assert_eq!(shop.prices().await, ["10 master", "10 master", "10 master", "10 master"]);

    let set = shop.policy("master", "OVERRIDABLE", &json!({})).await.ok(200).json;
    assert_eq!((&set["entityType"], &set["fieldGroup"]), (&json!("price_list"), &json!("prices")));
    let list = shop.read("east", "/v1/inheritancePolicies".to_owned()).await.ok(200).json;
    assert_eq!(list["policies"], json!([set]));
    shop.set("east", "12").await.ok(200);
    assert_eq!(shop.prices().await, ["10 master", "12 east", "12 east", "10 master"]);
    shop.set("master", "11").await.ok(200);
    assert_eq!(shop.prices().await, ["11 master", "12 east", "12 east", "11 master"]);
    shop.set("far east", "13").await.ok(200);
    shop.set("east", "12.5").await.ok(200);
    assert_eq!(shop.prices().await, ["11 master", "12.5 east", "13 far east", "11 master"]);
    let origin = shop.read("far east", shop.uri()).await.ok(200).json["origin"].clone();
    assert_eq!((&origin["mode"], &origin["policyVersion"]), (&json!("OVERRIDABLE"), &json!("1")));
    assert_eq!(origin["policyBusinessId"], json!(shop.ids["master"]));

    // Each has a history of its own; a sister's is not there.
    assert_eq!(shop.history("east", "master").await, ["2 10 11", "1 - 10"]);
    assert_eq!(shop.history("east", "east").await, ["2 12 12.5", "1 - 12"]);
    assert_eq!(shop.history("far east", "east").await, ["2 12 12.5", "1 - 12"]);
    assert_eq!(shop.history("far east", "far east").await, ["1 - 13"]);
    assert_eq!(shop.history("west", "west").await, Vec::<String>::new());
    for (reader, whose) in [("west", "east"), ("east", "far east"), ("master", "east")] {
        let uri = format!("{}/changes?businessId={}", shop.uri(), shop.ids[whose]);
        shop.read(reader, uri).await.problem(404, "NOT_FOUND");
    }
    let owners = shop.read("east", format!("{}/changes", shop.uri())).await.ok(200).json;
    assert_eq!(owners["changes"].as_array().map(Vec::len), Some(2), "the owner's, when nobody is named");

    let cleared = shop.clear("east").await.ok(200).json;
    assert_eq!(
        (text(&cleared["price"]["price"]["amount"]), text(&cleared["change"]["oldAmount"])),
        ("11", "12.5")
    );
    assert_eq!(shop.prices().await, ["11 master", "11 master", "13 far east", "11 master"]);
    assert_eq!(shop.history("east", "east").await, ["3 12.5 -", "2 12 12.5", "1 - 12"]);
    let again = shop.clear("east").await.ok(200).json;
    assert_eq!(again, json!({}), "there is nothing to take back");
    let owner = shop.clear("master").await.ok(200).json;
    assert_eq!(owner, json!({}), "the owner says what is so");
    shop.set("east", "14").await.ok(200);
    assert_eq!(shop.prices().await, ["11 master", "14 east", "13 far east", "11 master"]);
    assert_eq!(shop.history("east", "east").await[0], "4 - 14");
    shop.world.audit().await;
    let events = shop.tenant.rest.get("/v1/auditEvents?action=catalog.price.cleared").await;
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(events["events"][0]["resource"], json!(shop.variant));
    shop.world.close().await;
}

/// HIE-3, HIE-12: a lock over prices that businesses say is refused, suspends them, or lets them count until a moment;
/// what held at a moment that has passed stays so.
#[tokio::test]
async fn a_lock_over_prices_decides_what_becomes_of_them() {
    let shop = Shop::open().await;
    shop.set("master", "10").await.ok(200);
    shop.policy("master", "OVERRIDABLE", &json!({})).await.ok(200);
    shop.set("east", "12").await.ok(200);
    let open = SystemEnv.now().to_string();
    shop.clock.pass_seconds(600);
    let refused = shop.policy("master", "LOCKED", &json!({})).await.problem(409, "OVERRIDES_EXIST").json;
    assert_eq!(text(&refused["metadata"]["businesses"]), shop.ids["east"]);

    shop.policy("master", "LOCKED", &json!({"existingOverrides": "SUSPEND"})).await.ok(200);
    assert_eq!(shop.prices().await, ["10 master", "10 master", "10 master", "10 master"]);
    let locked = shop.set("east", "13").await.problem(403, "INHERITED_LOCKED").json;
    assert_eq!(text(&locked["metadata"]["policy_version"]), "2");
    assert_eq!(shop.price("far east", Some(&open)).await, "12 east", "what held then");
    shop.policy("master", "OVERRIDABLE", &json!({})).await.ok(200);
    assert_eq!(shop.prices().await, ["10 master", "12 east", "12 east", "10 master"]);

    // A business between locks for those below it, and not for itself.
    shop.policy("east", "LOCKED", &json!({"existingOverrides": "SUSPEND"})).await.ok(200);
    let locked = shop.set("far east", "13").await.problem(403, "INHERITED_LOCKED").json;
    assert_eq!(text(&locked["metadata"]["owner"]), shop.ids["east"]);
    shop.set("east", "15").await.ok(200);
    assert_eq!(shop.prices().await, ["10 master", "15 east", "15 east", "10 master"]);

    let until = SystemEnv.now().plus_seconds(600 + 3_600).to_string();
    let grace = json!({"existingOverrides": "GRACE", "graceUntil": until});
    shop.policy("master", "LOCKED", &grace).await.ok(200);
    shop.set("east", "16").await.problem(403, "INHERITED_LOCKED");
    assert_eq!(shop.price("east", None).await, "15 east", "until then");
    shop.clock.pass_seconds(3_700);
    assert_eq!(shop.price("east", None).await, "10 master");

    // One that is suspended is taken back all the same; then nothing is in the way of a lock.
    shop.clear("east").await.ok(200);
    shop.policy("master", "OVERRIDABLE", &json!({})).await.ok(200);
    assert_eq!(shop.price("east", None).await, "10 master");
    shop.policy("master", "LOCKED", &json!({})).await.ok(200);
    shop.policy("master", "LOCAL", &json!({})).await.ok(200);
    assert_eq!(shop.prices().await, ["10 master", "-", "-", "-"], "each says for itself");
    shop.set("west", "9").await.ok(200);
    assert_eq!(shop.price("west", None).await, "9 west");
    shop.policy("master", "EXTEND", &json!({})).await.problem(400, "INVALID_REQUEST");
    let wrong = json!({"entityType": "price_list", "fieldGroup": "text", "mode": "LOCKED"});
    let wrong = shop.tenant.rest.post("/v1/inheritancePolicies", &wrong).send().await;
    let wrong = wrong.problem(400, "INVALID_REQUEST").json;
    assert_eq!(wrong["errors"][0]["pointer"], json!("/fieldGroup"), "{wrong}");
    shop.world.close().await;
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).expect("it is small")
    }
}

/// What everybody said, and when; the seconds are those of the clock.
#[derive(Default)]
struct Model {
    /// Since when, recorded when, who, what.
    said: Vec<(i64, i64, usize, Option<String>)>,
    /// Since when, of whom, what.
    policies: Vec<(i64, usize, &'static str)>,
}

impl Model {
    const ABOVE: [Option<usize>; 4] = [None, Some(0), Some(1), Some(0)];

    fn policy(&self, of: usize, at: i64) -> Option<&'static str> {
        self.policies.iter().rfind(|(since, owner, _)| *owner == of && *since <= at).map(|(.., mode)| *mode)
    }

    /// Who decides for a business, and how: the highest business with the strictest word.
    fn ruling(&self, business: usize, at: i64) -> (usize, &'static str) {
        let master = (0, self.policy(0, at).unwrap_or("LOCKED"));
        match (Model::ABOVE[business], master.1) {
            (Some(1), "OVERRIDABLE" | "LOCAL") => match (self.policy(1, at), master.1) {
                (Some("LOCKED"), _) => (1, "LOCKED"),
                (Some("OVERRIDABLE"), "LOCAL") => (1, "OVERRIDABLE"),
                _ => master,
            },
            _ => master,
        }
    }

    fn own(&self, business: usize, at: i64) -> Option<&str> {
        let said = self.said.iter().filter(|(since, _, who, _)| *who == business && *since <= at);
        // The one that begins last; what was scheduled before a price was taken back does not count behind that.
        let taken_back = self
            .said
            .iter()
            .filter(|(since, _, who, what)| *who == business && what.is_none() && *since <= at);
        let taken_back = taken_back.map(|(since, ..)| *since).max().unwrap_or(i64::MIN);
        let said = said.filter(|(_, recorded, ..)| *recorded >= taken_back);
        let (.., what) = said.max_by_key(|(since, recorded, ..)| (*since, *recorded))?;
        what.as_deref()
    }

    fn price(&self, business: usize, at: i64) -> String {
        let named = |who: usize, what: &str| format!("{what} {}", NAMES[who]);
        let Some(above) = Model::ABOVE[business] else {
            return self.own(0, at).map_or("-".to_owned(), |what| named(0, what));
        };
        match self.ruling(business, at) {
            (owner, "LOCKED") => self.price(owner, at),
            (_, "LOCAL") => self.own(business, at).map_or("-".to_owned(), |what| named(business, what)),
            _ => match self.own(business, at) {
                Some(what) => named(business, what),
                None => self.price(above, at),
            },
        }
    }
}

/// HIE-5, HIE-6. Goal: the price in a business, now and at every moment that has passed, is that of the nearest one
/// above that says one and that policies let.
/// Method: random acts by everybody at moments a clock goes through; a small model keeps what was said.
#[tokio::test]
async fn the_nearest_price_counts_at_every_moment() {
    const SEEDS: u64 = 6;
    let mut refused = 0;
    for seed in 0..SEEDS {
        let shop = Shop::open().await;
        let began = SystemEnv.now().plus_seconds(1);
        let (mut random, mut model, mut now) = (Random(seed), Model::default(), 0);
        shop.clock.pass_seconds(1);
        for number in 0..50 {
            let who = random.below(4);
            match random.below(8) {
                0 | 1 => {
                    let owner = random.below(2);
                    let mode = ["LOCKED", "OVERRIDABLE", "OVERRIDABLE", "LOCAL"][random.below(4)];
                    let existing = if mode == "LOCKED" { "SUSPEND" } else { "REJECT" };
                    let more = json!({"existingOverrides": existing});
                    shop.policy(NAMES[owner], mode, &more).await.ok(200);
                    model.policies.push((now, owner, mode));
                }
                2 => {
                    shop.clear(NAMES[who]).await.ok(200);
                    let says = |one: &&(i64, i64, usize, Option<String>)| one.2 == who;
                    let last = model.said.iter().filter(says).any(|(.., what)| what.is_some());
                    if who > 0 && last {
                        model.said.push((now, now, who, None));
                    }
                }
                act => {
                    let later = if act == 3 { 60 * (1 + random.below(40)) } else { 0 };
                    let later = i64::try_from(later).expect("it is small");
                    let mut price =
                        json!({"variantId": shop.variant, "amount": number.to_string(), "reason": "r"});
                    if later > 0 {
                        price["effectiveAt"] = began.plus_seconds(now + later).to_string().into();
                    }
                    let uri = format!("/v1/priceLists/{}/prices", shop.list);
                    let answer = shop.write(NAMES[who], uri, &price).await;
                    let locked = who > 0 && model.ruling(who, now).1 == "LOCKED";
                    match answer.status {
                        200 => model.said.push((now + later, now, who, Some(number.to_string()))),
                        409 => drop(answer.problem(409, "PRICE_ALREADY_SCHEDULED")),
                        _ => {
                            assert!(locked, "{answer:?}");
                            drop(answer.problem(403, "INHERITED_LOCKED"));
                            refused += 1;
                        }
                    }
                }
            }
            // Acts are apart by more than they take.
            shop.clock.pass_seconds(60);
            now += 60;
            let half =
                i64::try_from(random.below(usize::try_from(now).expect("it is not negative"))).expect("so");
            for moment in [None, Some(half - half % 60 + 30)] {
                let at = moment.map(|moment| began.plus_seconds(moment).to_string());
                for (who, name) in NAMES.iter().enumerate() {
                    let expected = model.price(who, moment.unwrap_or(now));
                    let found = shop.price(name, at.as_deref()).await;
                    assert_eq!(found, expected, "{name} at {moment:?} of {now}, seed {seed}, act {number}");
                }
            }
        }
        shop.world.close().await;
    }
    assert!(refused > 3 * SEEDS, "only {refused} were refused");
}
