//! The audit log through the public door.

use audit_verifier::{Key, check};
use serde_json::{Value, json};

use crate::contract::Home;
use crate::rest::{Rest, text};
use crate::world::World;

async fn events(rest: &Rest, query: &str) -> Vec<Value> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = rest.get(format!("/v1/auditEvents?pageSize=7&{query}&pageToken={token}")).await;
        found.extend(page["events"].as_array().cloned().unwrap_or_default());
        token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            return found;
        }
    }
}

/// What was done is found by who did it, what it was, and to what; the request that did it is named.
#[tokio::test]
async fn what_was_done_is_found_by_actor_action_and_resource() {
    let world = World::new().await;
    let home = Home::new(&world, "one").await;
    let _other = Home::new(&world, "two").await;
    let rest = &home.tenant.rest;
    let made = home.new_key("clerk").await;
    let (secret, clerk) = (text(&made["secret"]), text(&made["apiKey"]["id"]));
    let (variant, location) = (home.id("var", "/variantId").await, home.id("loc", "/locationId").await);
    let sale = json!({"kind": "sale.shipment", "variantId": variant, "locationId": location, "quantity": "1",
        "source": {"type": "pos_receipt", "id": "audited", "lineId": "1"}});
    let posted = world.rest(secret).post("/v1/movements", &sale).key("audited").send().await.ok(201);
    world.audit().await;

    let by_clerk = events(rest, &format!("actorId={clerk}")).await;
    assert_eq!(by_clerk.len(), 1, "{by_clerk:?}");
    for event in &by_clerk {
        assert_eq!(event["actor"], json!({"kind": "api_key", "id": clerk}));
        assert_eq!(
            (&event["action"], &event["resource"]),
            (&json!("stock.movement.posted"), &json!(variant))
        );
        assert_eq!(
            (&event["service"], &event["requestId"]),
            (&json!("stock"), &json!(posted.header("request-id")))
        );
    }
    let of_key = events(rest, &format!("resource={clerk}")).await;
    assert!(of_key.iter().any(|event| event["action"] == "tenant.api_key.created"), "{of_key:?}");
    for (action, count) in [
        ("catalog.product.created", 1),
        ("catalog.price_list.created", 1),
        ("catalog.price.set", 1),
        ("stock.location.created", 2),
        ("tenant.tenant.created", 1),
        ("stock.movement.reversed", 0),
    ] {
        let found: Vec<_> = events(rest, &format!("action={action}")).await;
        let named =
            found.iter().filter(|event| event["resource"].as_str().is_some_and(|name| name.contains('_')));
        assert!(count <= found.len() && named.count() == found.len(), "{action}: {found:?}");
    }
    // Nothing of another tenant, nothing twice, newest first.
    let all = events(rest, "").await;
    let numbers: Vec<u64> =
        all.iter().map(|event| text(&event["leafIndex"]).parse().expect("a number")).collect();
    assert_eq!(numbers, (0..all.len() as u64).rev().collect::<Vec<_>>());
    world.close().await;
}

/// A refusal is written down whichever door it was knocked at; a read of keys and of the log itself is written down
/// too, before it is answered.
#[tokio::test]
async fn refusals_and_reads_are_written_down() {
    let world = World::new().await;
    let home = Home::new(&world, "one").await;
    let rest = &home.tenant.rest;
    let made = home.new_key("viewer").await;
    let (secret, viewer) = (text(&made["secret"]), text(&made["apiKey"]["id"]));
    let refused = world.rest(secret).post("/v1/locations", &json!({"code": "X", "name": "X"})).send().await;
    refused.problem(403, "PERMISSION_DENIED");
    world
        .rest(secret)
        .call(http::Method::GET, "/v1/auditEvents")
        .send()
        .await
        .problem(403, "PERMISSION_DENIED");
    rest.get("/v1/apiKeys").await;
    world.audit().await;
    let denied = events(rest, &format!("action=audit.access.denied&actorId={viewer}")).await;
    let paths: Vec<&str> = denied.iter().map(|event| text(&event["resource"])).collect();
    assert_eq!(
        paths,
        [
            "/cargopilot.audit.v1.AuditService/ListAuditEvents",
            "/cargopilot.stock.v1.StockService/CreateLocation"
        ]
    );
    let read = events(rest, "action=audit.access.read").await;
    let keys = read.iter().filter(|event| text(&event["resource"]).ends_with("/ListApiKeys"));
    assert_eq!(keys.count(), 1, "{read:?}");
    // Reading the log is read in the log.
    world.audit().await;
    let read = events(rest, "resource=/cargopilot.audit.v1.AuditService/ListAuditEvents").await;
    assert!(read.iter().any(|event| event["action"] == "audit.access.read"), "{read:?}");
    world.close().await;
}

/// POL-A, WFL-B, the part that the log has in them: what was exported is checked by others, offline, down to the
/// entries of every journal, and nothing is missing from it.
#[tokio::test]
async fn an_export_is_complete_and_checked_by_others() {
    let world = World::new().await;
    let home = Home::new(&world, "one").await;
    let rest = &home.tenant.rest;
    let compared = rest.get("/v1/auditLog/completeness").await;
    assert!(compared["gaps"].as_array().is_none_or(Vec::is_empty), "{compared}");
    let mut entries = 0;
    for (_, spy) in world.stores() {
        let commits = spy.commits().into_iter().filter(|commit| commit.tenant == home.tenant.id);
        entries += commits.map(|commit| commit.entries.len() as u64).sum::<u64>();
    }
    assert_eq!(compared["entries"], entries.to_string(), "every entry of every journal is a leaf");

    let (mut file, mut token) = (Vec::new(), String::new());
    loop {
        let part = rest.get(format!("/v1/auditLog:export?pageToken={token}")).await;
        file.extend(decoded(text(&part["data"])));
        token = part["nextPageToken"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    let checkpoint = rest.get("/v1/auditLog/checkpoint").await;
    let log = Key::of_log(text(&checkpoint["logKey"])).expect("a key");
    let witness = Key::of_witness(text(&checkpoint["witnessKey"])).expect("a key");
    let report = check(&*file, &log, &witness).expect("a log as it was signed");
    assert_eq!(report.head.size, entries);
    assert_eq!(report.head.origin, text(&checkpoint["origin"]));
    world.close().await;
}

/// Standard base64.
fn decoded(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => u32::from(letter - b'A'),
        b'a'..=b'z' => u32::from(letter - b'a') + 26,
        b'0'..=b'9' => u32::from(letter - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|letter| *letter != b'=').collect();
    let chunk = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0, |bits, letter| bits << 6 | value(*letter)) << (6 * (4 - chunk.len()));
        bits.to_be_bytes()[1..chunk.len()].to_vec()
    };
    letters.chunks(4).flat_map(chunk).collect()
}
