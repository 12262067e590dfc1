//! Many callers at once.

use std::collections::BTreeMap;

use futures::future::{Either, join_all};
use serde_json::{Value, json};
use tonic_types::StatusExt as _;

use crate::contract::rpc;
use crate::door::{Door, unique};
use crate::rest::{Answer, Rest, text};
use crate::world::{World, folder};

const CALLERS: usize = 1_000;
const THERE: usize = 100;

/// Sends withdrawals of one each, half of them over REST and half over gRPC, all at once; counts the
/// answers by reason.
async fn withdraw(world: &World) -> BTreeMap<String, usize> {
    let tenant = world.tenant("race").await;
    let rest = tenant.rest.http2();
    let product = json!({"name": "Last ones", "variants": [{"sku": "LAST"}]});
    let variant = rest.create("/v1/products", &product).await["variants"][0]["id"].clone();
    let place = rest.create("/v1/locations", &json!({"code": "RACE", "name": "Race"})).await["id"].clone();
    let draft = |kind: &str, source: &str, quantity: usize, id: String| {
        json!({"kind": kind, "variantId": variant, "locationId": place, "quantity": quantity.to_string(),
            "source": {"type": source, "id": id, "lineId": "1"}})
    };
    let mut receipt = draft("purchase.receipt", "goods_receipt", THERE, "GR".to_owned());
    receipt["unitCost"] = json!({"currency": "EUR", "amount": "1"});
    rest.post("/v1/movements", &receipt).key("receipt").send().await.ok(201);

    let door = Door::new(world, Some(&tenant.key)).await;
    let post = rpc("PostMovement");
    let calls = (0..CALLERS).map(|caller| {
        let (rest, door, post) = (&rest, &door, &post);
        let draft = draft("sale.shipment", "pos_receipt", 1, caller.to_string());
        let key = format!("sale-{caller}");
        match caller % 2 {
            0 => Either::Left(async move {
                let answer = rest.post("/v1/movements", &draft).key(&key).send().await;
                if answer.status == 201 { "SOLD".to_owned() } else { answer.reason().to_owned() }
            }),
            _ => Either::Right(async move {
                let request = post.grpc(door, &json!({"movement": draft}));
                match post.send_grpc(door, request).await {
                    Ok(_) => "SOLD".to_owned(),
                    Err(status) => {
                        status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
                    }
                }
            }),
        }
    });
    let mut answers = BTreeMap::new();
    for answer in join_all(calls).await {
        *answers.entry(answer).or_insert(0) += 1;
    }

    let uri = format!("/v1/movements?variantId={}&pageSize=500", text(&variant));
    let movements = rest.get(&uri).await["movements"].as_array().cloned().unwrap_or_default();
    assert_eq!(movements.len(), THERE + 1);
    assert_eq!((text(&movements[0]["balanceAfter"]), text(&movements[0]["itemBalanceAfter"])), ("0", "0"));
    let below = movements.iter().find(|movement| text(&movement["balanceAfter"]).starts_with('-'));
    assert_eq!(below, None);
    let balance = rest.get(format!("/v1/balances/{}", text(&variant))).await;
    assert_eq!((text(&balance["onHand"]), text(&balance["value"]["amount"])), ("0", "0.00"));
    answers
}

/// MOV-9: 1,000 withdrawals of one at the same time from a balance of 100, over REST and gRPC: exactly
/// 100 are posted, the last one leaves zero, none goes below.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_share_a_hundred_pieces() {
    let expected =
        BTreeMap::from([("SOLD".to_owned(), THERE), ("INSUFFICIENT_STOCK".to_owned(), CALLERS - THERE)]);
    let world = World::new().await;
    assert_eq!(withdraw(&world).await, expected);
    world.close().await;

    let folder = folder();
    let world = World::on_disk(folder.path()).await;
    assert_eq!(withdraw(&world).await, expected);
    world.close().await;
}

/// Things that race, and how they are asked for.
struct Track {
    rest: Rest,
    variants: Vec<String>,
    places: Vec<String>,
}

impl Track {
    async fn new(world: &World, slug: &str) -> Track {
        let tenant = world.tenant(slug).await;
        let rest = tenant.rest.http2();
        let (mut variants, mut places) = (vec![], vec![]);
        for name in ["A", "B"] {
            let product = json!({"name": name, "variants": [{"sku": name}]});
            variants.push(text(&rest.create("/v1/products", &product).await["variants"][0]["id"]).to_owned());
            let place = json!({"code": name, "name": name});
            places.push(text(&rest.create("/v1/locations", &place).await["id"]).to_owned());
        }
        let track = Track { rest, variants, places };
        for variant in 0..2 {
            let mut receipt = track.draft("purchase.receipt", variant, "100");
            receipt["unitCost"] = json!({"currency": "EUR", "amount": "1"});
            track.post(&receipt).await.ok(201);
        }
        track
    }

    /// A draft for a variant at the first place.
    fn draft(&self, kind: &str, variant: usize, quantity: &str) -> Value {
        json!({"kind": kind, "variantId": self.variants[variant], "locationId": self.places[0], "quantity": quantity,
            "source": {"type": crate::shop::source(kind), "id": unique().to_string(), "lineId": "1"}})
    }

    async fn post(&self, draft: &Value) -> Answer {
        self.rest.post("/v1/movements", draft).key(&format!("race-{}", unique())).send().await
    }

    async fn on_hand(&self, variant: usize) -> String {
        let balance = self.rest.get(format!("/v1/balances/{}", self.variants[variant])).await;
        text(&balance["onHand"]).to_owned()
    }
}

/// Fails unless exactly `won` of the answers are successes and the others are refused for `reason`.
fn shared(answers: &[Answer], won: usize, reason: &str) {
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status < 300);
    let reasons: Vec<&str> = bad.iter().map(|answer| answer.reason()).collect();
    assert!(reasons.iter().all(|found| *found == reason), "{reasons:?}");
    assert_eq!(good.len(), won, "{reasons:?}");
}

/// Of many who want the same thing, one gets it, and the others are told.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_wins() {
    const MANY: usize = 20;
    let world = World::new().await;
    let track = Track::new(&world, "winners").await;
    let rest = &track.rest;

    let product = json!({"name": "Same", "variants": [{"sku": "SAME"}]});
    let answers = join_all((0..MANY).map(|_| rest.post("/v1/products", &product).send())).await;
    shared(&answers, 1, "SKU_TAKEN");
    let place = json!({"code": "SAME", "name": "Same"});
    let answers = join_all((0..MANY).map(|_| rest.post("/v1/locations", &place).send())).await;
    shared(&answers, 1, "CODE_TAKEN");

    // All have read the same revision.
    let uri = format!("/v1/locations/{}", track.places[0]);
    let patches = (0..MANY).map(|at| {
        let (uri, change) = (uri.clone(), json!({"name": format!("Name {at}")}));
        async move { rest.patch(uri, &change).if_match("\"1\"").send().await }
    });
    shared(&join_all(patches).await, 1, "STALE_REVISION");

    let sale = track.post(&track.draft("sale.shipment", 0, "10")).await.ok(201);
    let sale = text(&sale.json["movements"][0]["id"]).to_owned();
    // Ten went, ten can come back, one by one.
    let back = (0..MANY).map(|_| {
        let mut draft = track.draft("return.customer", 0, "1");
        draft["returnOf"] = sale.as_str().into();
        let track = &track;
        async move { track.post(&draft).await }
    });
    shared(&join_all(back).await, 10, "RETURN_EXCEEDS_ORIGINAL");
    let sale = track.post(&track.draft("sale.shipment", 0, "1")).await.ok(201);
    let uri = format!("/v1/movements/{}:reverse", text(&sale.json["movements"][0]["id"]));
    let reversals = (0..MANY).map(|at| {
        let (uri, key) = (uri.clone(), format!("reverse-{at}"));
        async move { rest.post(uri, &json!({"reasonCode": "mistake"})).key(&key).send().await }
    });
    shared(&join_all(reversals).await, 1, "ALREADY_REVERSED");
    // The same line of a document.
    let line = track.draft("sale.shipment", 0, "1");
    shared(&join_all((0..MANY).map(|_| track.post(&line))).await, 1, "SOURCE_ALREADY_POSTED");
    assert_eq!(track.on_hand(0).await, "99");
    world.close().await;
}

/// Batches that want the same items in opposite orders, and transfers in opposite directions: none waits
/// for ever, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn batches_in_opposite_orders_all_come_through() {
    const PAIRS: usize = 20;
    let world = World::new().await;
    let track = Track::new(&world, "crossing").await;
    let batches = (0..2 * PAIRS).map(|at| {
        let order = if at % 2 == 0 { [0, 1] } else { [1, 0] };
        let drafts = order.map(|variant| track.draft("sale.shipment", variant, "1"));
        let (body, key) = (json!({"movements": drafts, "atomic": true}), format!("batch-{at}"));
        let rest = &track.rest;
        async move { rest.post("/v1/movements:batchCreate", &body).key(&key).send().await }
    });
    let moves = (0..2 * PAIRS).map(|at| {
        let mut draft = track.draft("transfer.direct", 0, "1");
        draft["locationId"] = track.places[at % 2].as_str().into();
        draft["toLocationId"] = track.places[1 - at % 2].as_str().into();
        let track = &track;
        async move { track.post(&draft).await }
    });
    let (batches, moves) = tokio::join!(join_all(batches), join_all(moves));
    shared(&batches, 2 * PAIRS, "");
    let moved = moves.iter().filter(|answer| answer.status == 201).count();
    shared(&moves, moved, "INSUFFICIENT_STOCK");
    assert!(PAIRS <= moved, "what leaves the first place is always there");
    assert_eq!((track.on_hand(0).await, track.on_hand(1).await), ("60".into(), "60".into()));
    world.close().await;
}
