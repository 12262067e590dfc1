//! Headers that some RPCs need.

use http::Method;
use proto::Idempotency;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::home::Home;
use super::public;
use super::sample::sample;
use super::send::anonymous;
use crate::world::World;

/// What posts to a ledger has an idempotency key, what changes a thing names its revision.
#[tokio::test]
async fn a_header_that_is_needed_is_asked_for() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let mut checked = 0;
    for rpc in public() {
        let required = [
            (
                rpc.rule.idempotency == Idempotency::Required,
                "idempotency-key",
                400,
                "IDEMPOTENCY_KEY_REQUIRED",
                Code::InvalidArgument,
            ),
            (rpc.rule.if_match, "if-match", 428, "PRECONDITION_REQUIRED", Code::FailedPrecondition),
        ];
        for (_, header, status, reason, code) in required.into_iter().filter(|(needed, ..)| *needed) {
            let request = sample(&rpc, &home, "").await;
            let written = world.commit_count();
            let call = rpc.rest(&home.door, &request).without(header);
            call.send().await.problem(status, reason);
            let mut call = rpc.grpc(&home.door, &request);
            call.metadata_mut().remove(header);
            let refused = rpc.send_grpc(&home.door, call).await.expect_err("a header is missing");
            let found = refused.get_details_error_info().map(|info| info.reason);
            assert_eq!((refused.code(), found.as_deref()), (code, Some(reason)), "{}", rpc.name);
            assert_eq!(world.commit_count(), written, "{} wrote something", rpc.name);
            checked += 1;
        }
        if rpc.rule.idempotency != Idempotency::None {
            let request = sample(&rpc, &home, "").await;
            let written = world.commit_count();
            for key in ["", "k\u{e4}se", &"k".repeat(256)] {
                let answer = rpc.rest(&home.door, &request).key(key).send().await;
                answer.problem(400, "IDEMPOTENCY_KEY_MALFORMED");
            }
            if rpc.rule.if_match {
                let call = async |tag: &str| rpc.rest(&home.door, &request).if_match(tag).send().await;
                call("W/\"1\"").await.problem(400, "PRECONDITION_MALFORMED");
                call("new").await.problem(400, "PRECONDITION_MALFORMED");
                let stale = call("\"999999\"").await.problem(412, "STALE_REVISION");
                assert!(stale.json["metadata"]["current"].is_string(), "{}", stale.text);
            }
            assert_eq!(world.commit_count(), written, "{} wrote something", rpc.name);
        }
    }
    assert!(5 < checked, "{checked} headers are few");
    world.close().await;
}

/// The header that names a business is checked like any id.
#[tokio::test]
async fn a_foreign_business_is_not_there() {
    let world = World::new().await;
    let (one, two) = (world.tenant("one").await, world.tenant("two").await);
    let call = async |business: &str| {
        one.rest.call(Method::GET, "/v1/caller").header("cp-business", business).send().await
    };
    call(&one.business.to_string()).await.ok(200);
    let foreign = call(&two.business.to_string()).await.problem(404, "NOT_FOUND");
    let random = call("biz_01h455vb4pex5vsknk084sn02q").await.problem(404, "NOT_FOUND");
    assert_eq!(anonymous(&foreign), anonymous(&random));
    call(&one.id.to_string()).await.problem(400, "WRONG_ID_PREFIX");
    call("biz_1").await.problem(400, "MALFORMED_ID");
    world.close().await;
}

/// A revision travels as `ETag`: what is known is not sent again, what has changed is not overwritten.
#[tokio::test]
async fn a_revision_protects_a_thing_from_changes_that_nobody_saw() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let rest = &home.tenant.rest;
    let product = home.id("prd", "").await;
    let things = [
        (format!("/v1/products/{product}"), "name"),
        (format!("/v1/locations/{}", home.id("loc", "").await), "name"),
        (format!("/v1/businesses/{}", home.tenant.business), "legalName"),
    ];
    for (uri, field) in &things {
        let read = rest.call(Method::GET, uri).send().await.ok(200);
        let tag = read.header("etag").to_owned();
        assert_eq!(read.json["etag"], tag);
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        let known = rest.call(Method::GET, uri).header("if-none-match", &tag).send().await.ok(304);
        assert_eq!((known.text.as_str(), known.header("etag")), ("", tag.as_str()));

        let changed = rest.patch(uri, &json!({*field: "Changed"})).if_match(&tag).send().await.ok(200);
        assert_eq!(changed.json[*field], "Changed");
        assert_ne!(changed.header("etag"), tag);
        rest.call(Method::GET, uri).header("if-none-match", &tag).send().await.ok(200);
        let late = rest.patch(uri, &json!({*field: "Late"})).if_match(&tag).send().await;
        let late = late.problem(412, "STALE_REVISION");
        assert_eq!(late.json["metadata"]["current"], changed.header("etag"));
        rest.patch(uri, &json!({*field: "Blind"})).send().await.problem(428, "PRECONDITION_REQUIRED");
        assert_eq!(rest.get(uri).await[*field], "Changed");
    }
    world.close().await;
}
