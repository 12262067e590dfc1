//! Prices and how they came about.

use calendar::Instant;
use http::Method;
use journal::{Env as _, SystemEnv};
use serde_json::{Value, json};

use crate::door::unique;
use crate::rest::{Answer, Rest, text};
use crate::world::World;

struct List<'a> {
    rest: &'a Rest,
    uri: String,
    variant: String,
}

impl List<'_> {
    async fn set(&self, amount: &str, from: Option<Instant>, reason: &str) -> Answer {
        let mut price = json!({"variantId": self.variant, "amount": amount, "reason": reason});
        if let Some(from) = from {
            price["effectiveAt"] = from.to_string().into();
        }
        let key = format!("price-{}", unique());
        self.rest.post(format!("{}/prices", self.uri), &price).key(&key).send().await
    }

    async fn at(&self, moment: Option<Instant>) -> Answer {
        let query = moment.map(|moment| format!("?at={moment}")).unwrap_or_default();
        self.rest.call(Method::GET, format!("{}/prices/{}{query}", self.uri, self.variant)).send().await
    }

    async fn history(&self) -> Vec<Value> {
        let listed = self.rest.get(format!("{}/prices/{}/changes", self.uri, self.variant)).await;
        listed["changes"].as_array().cloned().unwrap_or_default()
    }
}

fn instant(value: &Value) -> Instant {
    Instant::parse(text(value)).expect("an instant")
}

/// PRC-1, for the lists that there are (sale, purchase, transfer, standard cost): every change of a price
/// writes an immutable change with key, old, new, currency, from when, when recorded, by whom, why and
/// through which door; what was, what is and what is scheduled can be asked for.
#[tokio::test]
async fn every_change_of_a_price_is_kept() {
    let world = World::new().await;
    let tenant = world.tenant("prices").await;
    let rest = &tenant.rest;
    let product = json!({"name": "Priced", "variants": [{"sku": "PRICED"}]});
    let product = rest.create("/v1/products", &product).await;
    let variant = text(&product["variants"][0]["id"]).to_owned();
    let caller = rest.get("/v1/caller").await;
    let hour = 3_600;
    for kind in ["SALE", "PURCHASE", "TRANSFER", "STANDARD_COST"] {
        let made = json!({"code": kind, "name": kind, "kind": kind, "currency": "EUR", "taxInclusive": true});
        let made = rest.create("/v1/priceLists", &made).await;
        assert_eq!((text(&made["kind"]), text(&made["currency"])), (kind, "EUR"));
        let list =
            List { rest, uri: format!("/v1/priceLists/{}", text(&made["id"])), variant: variant.clone() };

        let before = SystemEnv.now();
        list.at(None).await.problem(404, "PRICE_NOT_SET");
        let first = list.set("19.90", None, "opening price").await.ok(200).json;
        let (soon, later) = (before.plus_seconds(hour), before.plus_seconds(2 * hour));
        let scheduled = list.set("17.5", Some(later), "winter sale").await.ok(200).json;
        let now = list.set("21", None, "supplier is dearer").await.ok(200).json;
        let between = list.set("20.000001", Some(soon), "first step").await.ok(200).json;

        // Old, new, in the order in which they were decided.
        let figures = |change: &Value| {
            [&change["sequence"], &change["oldAmount"], &change["newAmount"]]
                .map(|value| text(value).to_owned())
        };
        let history = list.history().await;
        assert_eq!(history, [&between, &now, &scheduled, &first].map(Value::clone));
        let found: Vec<_> = history.iter().map(figures).collect();
        assert_eq!(
            found,
            [["4", "21", "20.000001"], ["3", "19.9", "21"], ["2", "19.9", "17.5"], ["1", "", "19.9"]]
        );
        for (change, reason) in
            history.iter().zip(["first step", "supplier is dearer", "winter sale", "opening price"])
        {
            assert_eq!((&change["priceListId"], text(&change["variantId"])), (&made["id"], variant.as_str()));
            assert_eq!((text(&change["unit"]), text(&change["currency"])), ("C62", "EUR"));
            assert_eq!((text(&change["reason"]), text(&change["source"])), (reason, "api"));
            assert_eq!(change["actor"], caller["principal"]);
            let recorded = instant(&change["recordedAt"]);
            assert!(before <= recorded && recorded <= SystemEnv.now());
        }
        assert_eq!((instant(&between["effectiveAt"]), instant(&scheduled["effectiveAt"])), (soon, later));
        assert_eq!(first["effectiveAt"], first["recordedAt"]);

        // What it is, was and will be, and which change says so.
        let check = async |moment: Option<Instant>, expected: &Value, next: &Value| {
            let price = list.at(moment).await.ok(200).json;
            assert_eq!(
                price["price"],
                json!({"currency": "EUR", "amount": expected["newAmount"]}),
                "{moment:?}"
            );
            assert_eq!((&price["change"], &price["nextChange"]), (expected, next));
            assert_eq!(price["taxInclusive"], true);
        };
        let nothing = Value::Null;
        check(None, &now, &between).await;
        check(Some(instant(&first["effectiveAt"])), &first, &between).await;
        check(Some(soon), &between, &scheduled).await;
        check(Some(later), &scheduled, &nothing).await;
        check(Some(later.plus_seconds(1_000_000)), &scheduled, &nothing).await;
        list.at(Some(before.plus_seconds(-hour))).await.problem(404, "PRICE_NOT_SET");

        // History does not change.
        let written = world.commit_count();
        let refused =
            list.set("1", Some(before.plus_seconds(-hour)), "too late").await.problem(400, "INVALID_REQUEST");
        assert_eq!(refused.fields(), ["/effectiveAt IN_THE_PAST"]);
        list.set("18", Some(later), "twice").await.problem(409, "PRICE_ALREADY_SCHEDULED");
        for amount in ["-1", "1.2345678"] {
            list.set(amount, None, "wrong").await.problem(400, "INVALID_REQUEST");
        }
        assert_eq!(list.history().await, history);
        assert_eq!(world.commit_count(), written);
    }
    world.close().await;
}

/// A price is per unit: a box has one of its own.
#[tokio::test]
async fn a_unit_has_a_price_of_its_own() {
    let world = World::new().await;
    let tenant = world.tenant("units").await;
    let rest = &tenant.rest;
    let product = json!({"name": "Boxed", "variants": [{"sku": "BOXED"}]});
    let product = rest.create("/v1/products", &product).await;
    let variant = text(&product["variants"][0]["id"]);
    let list = json!({"code": "L", "name": "L", "kind": "SALE", "currency": "EUR"});
    let uri = format!("/v1/priceLists/{}/prices", text(&rest.create("/v1/priceLists", &list).await["id"]));
    let set = async |unit: &str, amount: &str| {
        let price = json!({"variantId": variant, "unit": unit, "amount": amount, "reason": "r"});
        rest.post(&uri, &price).key(&format!("{unit}-{amount}")).send().await
    };
    set("BX", "55").await.problem(409, "UNIT_NOT_CONVERTIBLE");
    let conversion = json!({"unit": "BX", "numerator": 6});
    rest.post(format!("/v1/variants/{variant}:setUnitConversion"), &conversion).send().await.ok(200);
    set("BX", "55").await.ok(200);
    set("C62", "10").await.ok(200);
    let amount = async |query: &str| {
        let price = rest.get(format!("{uri}/{variant}{query}")).await;
        (text(&price["unit"]).to_owned(), text(&price["price"]["amount"]).to_owned())
    };
    assert_eq!(amount("").await, ("C62".into(), "10".into()));
    assert_eq!(amount("?unit=BX").await, ("BX".into(), "55".into()));
    let changes = rest.get(format!("{uri}/{variant}/changes?unit=BX")).await;
    let sequences: Vec<&str> =
        changes["changes"].as_array().expect("changes").iter().map(|c| text(&c["sequence"])).collect();
    assert_eq!(sequences, ["1"], "each key counts for itself");
    world.close().await;
}
