//! Many callers at once.

use std::collections::BTreeMap;

use futures::future::{Either, join_all};
use serde_json::json;
use tonic_types::StatusExt as _;

use crate::contract::rpc;
use crate::door::Door;
use crate::rest::text;
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
