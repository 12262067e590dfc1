//! Lists, page by page.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::door::unique;
use crate::rest::{Answer, Rest, text};
use crate::world::{World, days_ago};

/// A variant and a place to move it.
struct Item<'a> {
    rest: &'a Rest,
    variant: String,
    place: String,
}

impl Item<'_> {
    async fn new(rest: &Rest) -> Item<'_> {
        let product = json!({"name": "Paged", "variants": [{"sku": format!("SKU-{}", unique())}]});
        let product = rest.create("/v1/products", &product).await;
        let place =
            rest.create("/v1/locations", &json!({"code": format!("C-{}", unique()), "name": "P"})).await;
        let (variant, place) =
            (text(&product["variants"][0]["id"]).to_owned(), text(&place["id"]).to_owned());
        Item { rest, variant, place }
    }

    /// Posts receipts, in one batch.
    async fn receive(&self, count: usize) {
        let draft = || {
            json!({"kind": "purchase.receipt", "variantId": self.variant, "locationId": self.place, "quantity": "1",
                "unitCost": {"currency": "EUR", "amount": "1"},
                "source": {"type": "goods_receipt", "id": unique().to_string()}})
        };
        let batch: Vec<Value> = (0..count).map(|_| draft()).collect();
        let key = format!("receive-{}", unique());
        self.rest
            .post("/v1/movements:batchCreate", &json!({"movements": batch}))
            .key(&key)
            .send()
            .await
            .ok(200);
    }
}

/// The address of the next page, as `Link` gives it.
fn next(answer: &Answer) -> Option<String> {
    let token = text(&answer.json["nextPageToken"]);
    let link = answer.header("link");
    assert_eq!(token.is_empty(), link.is_empty());
    let uri = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"").expect("a link to the next page");
    assert!(uri.contains(&format!("pageToken={token}")), "{uri} {token}");
    Some(uri.to_owned())
}

fn sequences(answer: &Answer) -> Vec<u64> {
    let movements = answer.json["movements"].as_array().expect("movements");
    movements.iter().map(|movement| text(&movement["sequence"]).parse().expect("a number")).collect()
}

/// Movements that arrive between two pages are behind the reader, who reads the newest first, or ahead,
/// where the oldest come first: nothing is shown twice, nothing is left out.
#[tokio::test]
async fn pages_are_stable_while_movements_arrive() {
    let world = World::new().await;
    let tenant = world.tenant("pages").await;
    let item = Item::new(&tenant.rest).await;
    for (order, round) in [("NEWEST", 0u64), ("OLDEST", 1)] {
        item.receive(25).await;
        let before = 25 * (round + 1) + 5 * 4 * round;
        let mut uri = Some(format!("/v1/movements?variantId={}&orderBy={order}&pageSize=7", item.variant));
        let mut seen = vec![];
        let mut arrived = 0;
        while let Some(page) = uri {
            let answer = item.rest.call(Method::GET, page).send().await.ok(200);
            let found = sequences(&answer);
            assert!(found.len() <= 7);
            seen.extend(found);
            if arrived < 4 {
                item.receive(5).await;
                arrived += 1;
            }
            uri = next(&answer);
        }
        let all: Vec<u64> = match order {
            "NEWEST" => (1..=before).rev().collect(),
            _ => (1..=before + 20).collect(),
        };
        assert_eq!(seen, all, "{order}");
    }
    world.close().await;
}

/// Filters hold on every page; a token is good for its own list, filter and caller.
#[tokio::test]
async fn filters_hold_on_every_page_and_tokens_fit_their_list() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("filters").await, world.tenant("others").await);
    let rest = &tenant.rest;
    let item = Item::new(rest).await;
    item.receive(12).await;
    let days: Vec<String> = (0..6).map(|number| days_ago(12 - number)).collect();
    for (number, day) in days.iter().enumerate() {
        let draft = json!({"kind": "sale.shipment", "variantId": item.variant, "locationId": item.place, "quantity": "1",
            "occurredAt": day,
            "source": {"type": "pos_receipt", "id": number.to_string()}});
        rest.post("/v1/movements", &draft).key(&format!("sale-{number}")).send().await.ok(201);
        item.receive(1).await;
    }
    let list = async |query: &str| {
        let mut found = vec![];
        let mut uri = Some(format!("/v1/movements?variantId={}&pageSize=2&{query}", item.variant));
        while let Some(page) = uri {
            let answer = rest.call(Method::GET, page).send().await.ok(200);
            found.extend(answer.json["movements"].as_array().cloned().unwrap_or_default());
            uri = next(&answer);
        }
        found
    };
    let sales = list("kind=sale.shipment").await;
    assert_eq!((sales.len(), sales.iter().all(|sale| sale["kind"] == "sale.shipment")), (6, true));
    assert_eq!(list("kind=sale.shipment&kind=purchase.receipt").await.len(), 24);
    let some = list(&format!("occurredFrom={}&occurredBefore={}", days[1], days[4])).await;
    let some: Vec<&str> = some.iter().map(|sale| text(&sale["occurredAt"])).collect();
    assert_eq!(some, [&days[3], &days[2], &days[1]]);
    assert_eq!(list(&format!("locationId={}&kind=sale.shipment", item.place)).await.len(), 6);

    let uri = format!("/v1/movements?variantId={}&pageSize=2", item.variant);
    let token = text(&rest.get(&uri).await["nextPageToken"]).to_owned();
    rest.get(format!("{uri}&pageToken={token}")).await;
    let viewer = json!({"name": "viewer", "role": "viewer"});
    let viewer = world.rest(text(&rest.create("/v1/apiKeys", &viewer).await["secret"]));
    for (caller, uri) in [
        (rest, format!("{uri}&kind=sale.shipment&pageToken={token}")),
        (rest, format!("{uri}&orderBy=OLDEST&pageToken={token}")),
        (rest, format!("/v1/balances?pageToken={token}")),
        (rest, format!("{uri}&pageToken={}", &token[1..])),
        (rest, format!("{uri}&pageToken=made-up")),
        (&viewer, format!("{uri}&pageToken={token}")),
        (&other.rest, format!("/v1/balances?pageToken={token}")),
    ] {
        caller.call(Method::GET, &uri).send().await.problem(400, "PAGE_TOKEN_INVALID");
    }
    for size in ["501", "100000"] {
        let answer =
            rest.call(Method::GET, format!("/v1/movements?variantId={}&pageSize={size}", item.variant));
        let answer = answer.send().await.problem(400, "INVALID_REQUEST");
        assert_eq!(answer.fields(), ["/pageSize TOO_LARGE"]);
    }
    world.close().await;
}

/// Every other list goes through all of its things, however small the pages are.
#[tokio::test]
async fn every_list_shows_everything_once() {
    let world = World::new().await;
    let tenant = world.tenant("lists").await;
    let rest = &tenant.rest;
    for number in 0..7 {
        let item = Item::new(rest).await;
        item.receive(1).await;
        let list = json!({"code": format!("PL-{number}"), "name": "List", "kind": "SALE", "currency": "EUR"});
        rest.create("/v1/priceLists", &list).await;
        rest.create("/v1/apiKeys", &json!({"name": format!("key {number}"), "role": "viewer"})).await;
    }
    for (uri, list, id, count) in [
        ("/v1/products", "products", "id", 7),
        ("/v1/variants", "variants", "id", 7),
        ("/v1/locations", "locations", "id", 7),
        ("/v1/priceLists", "priceLists", "id", 7),
        ("/v1/apiKeys", "apiKeys", "id", 8),
        ("/v1/businesses", "businesses", "id", 1),
        ("/v1/balances", "balances", "variantId", 7),
    ] {
        for size in [1, 3, 500] {
            let mut seen = vec![];
            let mut page = Some(format!("{uri}?pageSize={size}"));
            while let Some(uri) = page {
                let answer = rest.call(Method::GET, uri).send().await.ok(200);
                let found = answer.json[list].as_array().expect("a list");
                assert!(found.len() <= size);
                seen.extend(found.iter().map(|one| text(&one[id]).to_owned()));
                page = next(&answer);
            }
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), count, "{uri} {seen:?}");
            assert_eq!(seen.len(), count, "{uri} in pages of {size}");
        }
    }
    world.close().await;
}

/// The movements of a document, in pages of any size.
#[tokio::test]
async fn a_document_shows_all_of_its_movements_once() {
    let world = World::new().await;
    let tenant = world.tenant("documents").await;
    let rest = &tenant.rest;
    let item = Item::new(rest).await;
    item.receive(20).await;
    let other = rest.create("/v1/locations", &json!({"code": "TO", "name": "To"})).await["id"].clone();
    for line in 0..5 {
        let draft = json!({"kind": "transfer.direct", "variantId": item.variant, "locationId": item.place,
            "toLocationId": other, "quantity": "1",
            "source": {"type": "transfer", "id": "TR-1", "lineId": line.to_string()}});
        rest.post("/v1/movements", &draft).key(&format!("transfer-{line}")).send().await.ok(201);
    }
    for size in [1, 2, 3, 500] {
        let mut seen = vec![];
        let mut page = Some(format!("/v1/movements?sourceType=transfer&sourceId=TR-1&pageSize={size}"));
        while let Some(uri) = page {
            let answer = rest.call(Method::GET, uri).send().await.ok(200);
            let found = answer.json["movements"].as_array().expect("movements");
            assert!(found.len() <= size, "{} on a page of {size}", found.len());
            seen.extend(found.iter().map(|one| text(&one["id"]).to_owned()));
            page = next(&answer);
        }
        assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (10, 10), "in pages of {size}");
    }
    world.close().await;
}
