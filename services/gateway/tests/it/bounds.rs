//! Nothing is without bounds, and nothing that breaks is shown.

use std::convert::Infallible;

use bytes::Bytes;
use futures::future::join_all;
use futures::stream;
use gateway::Config;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::world::{Answer, HOME, KEY, World};

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let world = World::new();
    let large = format!("{{\"note\": \"{}\"}}", "x".repeat(1024 * 1024));
    let answer = world.send(Method::POST, "/v1/movements", &["idempotency-key: k"], &large).await;
    world.problem(answer, 413, "PAYLOAD_TOO_LARGE").await;
    // What is announced is believed.
    let headers = ["idempotency-key: k", "content-length: 1048577"];
    let answer = world.send(Method::POST, "/v1/movements", &headers, "").await;
    world.problem(answer, 413, "PAYLOAD_TOO_LARGE").await;
    assert_eq!(world.posted(), 0);
}

#[tokio::test]
async fn a_body_without_end_or_with_an_early_one_is_refused() {
    let world = World::new();
    let request = || {
        Request::post("/v1/movements")
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .header("idempotency-key", "k")
    };
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    let endless = stream::repeat_with(move || Ok::<_, Infallible>(Frame::data(chunk.clone())));
    let response = world.gateway.handle(HOME, request().body(StreamBody::new(endless)).unwrap()).await;
    world.problem(Answer::of(response).await, 413, "PAYLOAD_TOO_LARGE").await;

    let broken = stream::iter([Ok(Frame::data(Bytes::from("{"))), Err("connection reset")]);
    let response = world.gateway.handle(HOME, request().body(StreamBody::new(broken)).unwrap()).await;
    world.problem(Answer::of(response).await, 400, "INCOMPLETE_BODY").await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let world = World::with(Config { deadline_ms: 1, ..Config::default() });
    world.problem(world.post("wait", &[]).await, 504, "DEADLINE_EXCEEDED").await;
    assert_eq!(world.gateway.in_flight(), 0);
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_back() {
    let world = World::with(Config { requests_max: 1, ..Config::default() });
    let first = world.post("hold", &[]);
    let second = async {
        world.state.held.notified().await;
        let refused = world.post("", &[]).await;
        assert_eq!(refused.header("retry-after"), "1");
        world.problem(refused, 503, "OVERLOADED").await;
        let alive = world.send(Method::GET, "/livez", &["authorization:"], "").await;
        assert_eq!(alive.status, 200, "health is answered under load too");
        world.state.release.notify_one();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.status, 201);
    assert_eq!(world.post("", &[]).await.status, 201);
}

#[tokio::test]
async fn nothing_of_a_panic_or_a_defect_is_shown() {
    let world = World::new();
    for note in ["panic", "internal"] {
        let answer = world.problem(world.post(note, &[]).await, 500, "INTERNAL").await;
        assert_eq!(answer.json["detail"], "internal error");
        assert!(!answer.text.contains("secret"));
    }
    assert_eq!(world.gateway.in_flight(), 0);
    assert_eq!(world.post("", &[]).await.status, 201, "the door stays open");
}

/// API-13: no quota: 10,000 calls in a row and 500 at once from one key are all answered.
#[tokio::test]
async fn nobody_is_counted() {
    let world = World::new();
    for _ in 0..10_000 {
        assert_eq!(world.send(Method::GET, "/v1/locations", &[], "").await.status, 200);
    }
    let at_once = (0..500).map(|_| world.send(Method::GET, "/v1/locations", &[], ""));
    assert!(join_all(at_once).await.iter().all(|answer| answer.status == 200));
}
