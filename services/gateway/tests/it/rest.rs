//! JSON in, JSON out, and the headers around it.

use http::Method;

use crate::world::{LOCATION, MOVEMENT, VARIANT, World, draft};

#[tokio::test]
async fn a_posting_is_answered_with_its_address() {
    let world = World::new();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = world.post("", &[&format!("traceparent: {trace}")]).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.header("location"), format!("/v1/movements/{MOVEMENT}"));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("traceparent"), trace);
    assert_eq!(answer.header("idempotent-replayed"), "");
    // The service hears the key, the name of the request and the trace.
    let heard = format!("k {} {trace}", answer.header("request-id"));
    assert_eq!(answer.json["movements"][0]["note"], heard);

    let replayed = world.send(Method::POST, "/v1/movements", &["idempotency-key: replay"], &draft("")).await;
    assert_eq!((replayed.status.as_u16(), replayed.header("idempotent-replayed")), (201, "true"));
}

#[tokio::test]
async fn a_refusal_of_the_service_points_into_the_body() {
    let world = World::new();
    let answer = world.problem(world.post("insufficient", &[]).await, 409, "INSUFFICIENT_STOCK").await;
    assert_eq!(answer.json["code"], "FAILED_PRECONDITION");
    assert_eq!(answer.json["detail"], "3 available, 4 wanted");
    assert_eq!(answer.json["instance"], "/v1/movements");
    assert_eq!(answer.json["metadata"]["available"], "3");
    assert_eq!(answer.json["errors"][0]["pointer"], "/quantity");
    assert_eq!(answer.json["errors"][0]["reason"], "TOO_LARGE");
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn a_batch_says_when_an_item_failed() {
    let world = World::new();
    let batch = |notes: [&str; 2]| {
        let body = format!("{{\"movements\": [{}]}}", notes.map(draft).join(","));
        let world = &world;
        async move { world.send(Method::POST, "/v1/movements:batchCreate", &["idempotency-key: k"], &body).await }
    };
    assert_eq!(batch(["", ""]).await.status, 200);
    let mixed = batch(["", "insufficient"]).await;
    assert_eq!(mixed.status, 207);
    assert_eq!(mixed.json["results"][1]["problem"]["reason"], "INSUFFICIENT_STOCK");
}

#[tokio::test]
async fn a_revision_travels_as_an_entity_tag() {
    let world = World::new();
    let uri = format!("/v1/locations/{LOCATION}");
    let got = world.send(Method::GET, &uri, &[], "").await;
    assert_eq!((got.status.as_u16(), got.header("etag")), (200, "\"3\""));
    assert_eq!(got.header("cache-control"), "private, no-cache");

    let known = world.send(Method::GET, &uri, &["if-none-match: \"2\", \"3\""], "").await;
    assert_eq!((known.status.as_u16(), known.text.as_str(), known.header("etag")), (304, "", "\"3\""));

    let body = r#"{"name": "Shop"}"#;
    let missing = world.send(Method::PATCH, &uri, &[], body).await;
    world.problem(missing, 428, "PRECONDITION_REQUIRED").await;
    let changed = world.send(Method::PATCH, &uri, &["if-match: \"3\""], body).await;
    assert_eq!((changed.status.as_u16(), &changed.json["name"]), (200, &"\"3\"".into()));
}

#[tokio::test]
async fn a_list_links_to_its_next_page() {
    let world = World::new();
    let answer = world.send(Method::GET, "/v1/locations?pageSize=1", &[], "").await;
    assert_eq!(answer.header("link"), r#"</v1/locations?pageSize=1&pageToken=next>; rel="next""#);
    assert_eq!(answer.json["nextPageToken"], "next");
    assert_eq!(answer.json["locations"], serde_json::json!([]));
}

#[tokio::test]
async fn methods_and_paths_that_are_not_there() {
    let world = World::new();
    let uri = format!("/v1/locations/{LOCATION}");
    let wrong = world.problem(world.send(Method::PUT, &uri, &[], "").await, 405, "METHOD_NOT_ALLOWED").await;
    assert_eq!(wrong.header("allow"), "GET, HEAD, OPTIONS, PATCH");
    let options = world.send(Method::OPTIONS, &uri, &["authorization:"], "").await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (204, "GET, HEAD, OPTIONS, PATCH"));
    for uri in ["/v1/nothing", "/v1/locations/", "/v1", "/problems/nothing", "/docs/nothing.js"] {
        world.problem(world.send(Method::GET, uri, &[], "").await, 404, "UNKNOWN_ROUTE").await;
    }
    // What is internal has no route, under no name.
    let internal = "/cargopilot.tenant.v1.TenantService/Authenticate";
    world.problem(world.send(Method::POST, internal, &[], "{}").await, 404, "UNKNOWN_ROUTE").await;
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let world = World::new();
    let uri = format!("/v1/locations/{LOCATION}");
    let (get, head) =
        (world.send(Method::GET, &uri, &[], "").await, world.send(Method::HEAD, &uri, &[], "").await);
    assert_eq!((head.status, head.text.as_str()), (get.status, ""));
    assert_eq!(head.header("etag"), get.header("etag"));
    assert_eq!(head.header("content-length"), get.text.len().to_string());
}

/// Every class of bad input gets a problem with a reason, and nothing is written.
#[tokio::test]
#[rustfmt::skip] // columns
async fn bad_input_is_refused_and_nothing_is_written() {
    let world = World::new();
    let check = async |headers: &[&str], body: &str, status: u16, reason: &str, pointer: &str| {
        let headers = [&["idempotency-key: k"], headers].concat();
        let answer = world.send(Method::POST, "/v1/movements", &headers, body).await;
        let answer = world.problem(answer, status, reason).await;
        if !pointer.is_empty() {
            assert_eq!(answer.json["errors"][0]["pointer"], pointer, "{}", answer.text);
        }
    };
    let with = |from: &str, to: &str| draft("").replace(from, to);
    let long = "k".repeat(256);
    check(&["content-type:"],                     &draft(""), 415, "UNSUPPORTED_MEDIA_TYPE", "").await;
    check(&["content-type: text/plain"],          &draft(""), 415, "UNSUPPORTED_MEDIA_TYPE", "").await;
    check(&[&format!("idempotency-key: {long}")], &draft(""), 400, "IDEMPOTENCY_KEY_MALFORMED", "").await;
    check(&["idempotency-key: schlüssel"],        &draft(""), 400, "IDEMPOTENCY_KEY_MALFORMED", "").await;
    check(&[], "{\"kind\": ",                                 400, "MALFORMED_JSON", "").await;
    check(&[], &"[".repeat(40),                               400, "JSON_TOO_DEEP", "").await;
    check(&[], "[]",                                          400, "INVALID_REQUEST", "").await;
    check(&[], &with("\"1\"", "1.5"),                         400, "INVALID_REQUEST", "/quantity").await;
    check(&[], &with("\"1\"", "\"1.2345678\""),               400, "INVALID_REQUEST", "/quantity").await;
    check(&[], &with("note", "colour"),                       400, "INVALID_REQUEST", "/colour").await;
    check(&[], &with("sale.shipment", "sale.gift"),           400, "INVALID_REQUEST", "/kind").await;
    check(&[], &with("var_", "prd_"),                         400, "INVALID_REQUEST", "/variantId").await;
    check(&[], &with(VARIANT, "7"),                           400, "INVALID_REQUEST", "/variantId").await;
    check(&[], &draft(&"x".repeat(1_001)),                    400, "INVALID_REQUEST", "/note").await;
    assert_eq!(world.posted(), 0);
    // The same, without mistakes.
    assert_eq!(world.post("", &["content-type: application/json; charset=utf-8"]).await.status, 201);
    assert_eq!(world.posted(), 1);
}
