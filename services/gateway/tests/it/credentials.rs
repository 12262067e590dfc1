//! Who may come in.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use rpc::{Actor, ActorKind, Permissions, Principal};

use crate::world::{HOME, KEY, NOW, VIEWER, World, business, sub_business};

#[tokio::test]
async fn no_key_and_a_wrong_key_get_the_same_answer() {
    let world = World::new();
    let mut bodies = vec![];
    for credential in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer cp_live_bad",
        "Basic Z29vZA==",
        KEY,
        &format!("Bearer {}", "x".repeat(401)),
    ] {
        let answer = world.post("", &[&format!("authorization: {credential}")]).await;
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"cargo-pilot\"");
        let mut answer = world.problem(answer, 401, "UNAUTHENTICATED").await;
        answer.json["traceId"].take();
        bodies.push(answer.json);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!(world.posted(), 0);

    // Two credentials are none.
    let request = Request::get("/v1/movements")
        .header("authorization", format!("Bearer {KEY}"))
        .header("authorization", format!("Bearer {VIEWER}"))
        .body(Full::<Bytes>::default());
    assert_eq!(world.gateway.handle(HOME, request.unwrap()).await.status(), 401);
}

/// API-4: a revoked key is refused within 5 s; until then the tenant service is asked once.
#[tokio::test]
async fn a_revoked_key_is_refused_within_five_seconds() {
    let world = World::new();
    let asked = || world.state.asked.load(Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(world.post("", &[]).await.status, 201);
    }
    assert_eq!(asked(), 1);

    world.state.revoked.store(true, Ordering::Relaxed);
    world.state.now.store(NOW + 5_000, Ordering::Relaxed);
    world.problem(world.post("", &[]).await, 401, "UNAUTHENTICATED").await;
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn a_key_is_refused_the_moment_it_expires() {
    let world = World::new();
    world.state.expires_s.store(NOW / 1_000 + 1, Ordering::Relaxed);
    assert_eq!(world.post("", &[]).await.status, 201);
    world.state.now.store(NOW + 1_000, Ordering::Relaxed);
    assert_eq!(world.post("", &[]).await.status, 401);
}

/// A key may be bound to networks: what is known about it elsewhere does not count.
#[tokio::test]
async fn another_address_is_another_question() {
    let world = World::new();
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    for (peer, asked) in [(HOME, 1), (elsewhere, 2), (HOME, 2)] {
        let request = Request::get("/v1/locations").header("authorization", format!("bearer {KEY}"));
        let response = world.gateway.handle(peer, request.body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(world.state.asked.load(Ordering::Relaxed), asked);
    }
}

/// What a client says about itself is thrown away, even if it is signed.
#[tokio::test]
async fn a_context_from_outside_is_ignored() {
    let world = World::new();
    let intruder = Principal {
        tenant: ids::TenantId::new(NOW, [9; 10]),
        business: ids::BusinessId::new(NOW, [9; 10]),
        path: std::sync::Arc::from([ids::BusinessId::new(NOW, [9; 10])]),
        actor: Actor::new(ActorKind::User, "intruder"),
        permissions: Permissions::parse(["*"]).unwrap(),
        secret: [0; 32],
    };
    let token = world.minter.mint(&intruder, "tenant");
    let token = format!("cp-context-bin: {}", token.header().to_str().unwrap());
    let answer = world.post("", &[&token]).await;
    assert_eq!(answer.json["movements"][0]["businessId"], business().to_string());
    assert_ne!(answer.json["movements"][0]["actor"]["id"], "intruder");
    assert_eq!(world.post("", &[&token, "authorization:"]).await.status, 401);
}

#[tokio::test]
async fn the_business_is_that_of_the_key_or_one_that_it_reaches() {
    let world = World::new();
    assert_eq!(world.post("", &[&format!("cp-business: {}", business())]).await.status, 201);
    let other = ids::BusinessId::new(NOW, [8; 10]);
    let answer = world.post("", &[&format!("cp-business: {other}")]).await;
    world.problem(answer, 404, "NOT_FOUND").await;
    let product = ids::ProductId::new(NOW, [8; 10]);
    let answer = world.post("", &[&format!("cp-business: {product}")]).await;
    world.problem(answer, 400, "WRONG_ID_PREFIX").await;
    world.problem(world.post("", &["cp-business: mine"]).await, 400, "MALFORMED_ID").await;
    // Two different ones are none; and who has no valid credential learns nothing about the header.
    let (own, below) = (format!("cp-business: {}", business()), format!("cp-business: {}", sub_business()));
    world
        .problem(
            world.post("", &[&own, &format!("cargo-business: {}", sub_business())]).await,
            400,
            "MALFORMED_ID",
        )
        .await;
    world
        .problem(
            world.post("", &["cp-business: mine", "authorization: Bearer x"]).await,
            401,
            "UNAUTHENTICATED",
        )
        .await;
    assert_eq!(world.posted(), 1);

    // What is known about a credential in one business does not count in another.
    for (header, expected) in [(&below, sub_business()), (&own, business()), (&below, sub_business())] {
        let answer = world.post("", &[header]).await;
        assert_eq!(answer.json["movements"][0]["businessId"], expected.to_string());
    }
}

/// API-2: credential, then permission, then headers, then body; each refusal has its own reason.
#[tokio::test]
async fn checks_come_in_a_fixed_order() {
    let world = World::new();
    let viewer = format!("authorization: Bearer {VIEWER}");
    let send = |headers: &'static [&str], body: &'static str| {
        world.send(Method::POST, "/v1/movements", headers, body)
    };
    world.problem(send(&["authorization:", "idempotency-key:"], "{").await, 401, "UNAUTHENTICATED").await;
    let denied = world.send(Method::POST, "/v1/movements", &[&viewer], "{").await;
    let denied = world.problem(denied, 403, "PERMISSION_DENIED").await;
    assert_eq!(denied.json["metadata"]["permission"], "stock.post");
    world.problem(send(&[], "{").await, 400, "IDEMPOTENCY_KEY_REQUIRED").await;
    world.problem(send(&["idempotency-key: k"], "{").await, 400, "MALFORMED_JSON").await;
    world.problem(send(&["idempotency-key: k"], "{}").await, 400, "INVALID_REQUEST").await;
    assert_eq!(world.posted(), 0);

    assert_eq!(world.send(Method::GET, "/v1/locations", &[&viewer], "").await.status, 200);
}
