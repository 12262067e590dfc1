//! Who comes in.

use http::Method;
use rpc::{Permissions, Principal};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::home::Home;
use super::sample::sample;
use super::send::{anonymous, parts};
use super::{Rpc, all, public};
use crate::door::Door;
use crate::rest::{Answer, text};
use crate::world::World;

/// Credentials that are none, each for a reason of its own.
async fn bad_credentials(home: &Home) -> Vec<(&'static str, String)> {
    let key = &home.tenant.key;
    let (shown, _) = key.rsplit_once('_').expect("a key with a secret");
    let revoked = home.new_key("owner").await;
    let uri = format!("/v1/apiKeys/{}:revoke", text(&revoked["apiKey"]["id"]));
    home.tenant.rest.post(uri, &json!({})).send().await.ok(200);
    let elsewhere = json!({"name": "elsewhere", "role": "owner", "ipAllow": ["192.0.2.0/24"]});
    let elsewhere = home.tenant.rest.create("/v1/apiKeys", &elsewhere).await;
    vec![
        ("not a key", "secret".to_owned()),
        ("of no tenant", format!("cp_live_01h455vb4pex5vsknk084sn02q_{}", "0".repeat(52))),
        ("with another secret", format!("{shown}_{}", "0".repeat(52))),
        ("without a secret", shown.to_owned()),
        ("cut off", key[..key.len() - 1].to_owned()),
        ("too long", "k".repeat(5_000)),
        ("revoked", text(&revoked["secret"]).to_owned()),
        ("from another network", text(&elsewhere["secret"]).to_owned()),
    ]
}

fn refused(rpc: &Rpc, what: &str, answer: Answer) -> Answer {
    assert_eq!(answer.status, 401, "{} with a credential {what}: {}", rpc.name, answer.text);
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"cargo-pilot\"");
    answer.problem(401, "UNAUTHENTICATED")
}

/// Every RPC refuses every caller whom it does not know, in the same words, whatever is wrong with the
/// credential and with the request.
#[tokio::test]
async fn nothing_answers_without_a_valid_credential() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let mut doors = vec![("that is not there", Door::new(&world, None).await)];
    for (what, key) in bad_credentials(&home).await {
        doors.push((what, Door::new(&world, Some(&key)).await));
    }
    for rpc in public() {
        let request = sample(&rpc, &home, "").await;
        let expected = refused(&rpc, "of none", rpc.rest(&doors[0].1, &request).send().await);
        let expected_status =
            rpc.send_grpc(&doors[0].1, rpc.grpc(&doors[0].1, &request)).await.expect_err("no credential");
        let reason = expected_status.get_details_error_info().map(|info| info.reason);
        assert_eq!(
            (expected_status.code(), reason.as_deref()),
            (Code::Unauthenticated, Some("UNAUTHENTICATED"))
        );
        for (what, door) in &doors {
            let before = world.commit_count();
            let answer = refused(&rpc, what, rpc.rest(door, &request).send().await);
            assert_eq!(anonymous(&answer), anonymous(&expected), "{} {what}", rpc.name);
            // The credential comes before everything else that is wrong.
            let (method, uri, _) = rpc.route(&request);
            if method != Method::GET {
                let garbage = door.rest.call(method, uri).text("{\"a\":").send().await;
                assert_eq!(
                    anonymous(&refused(&rpc, what, garbage)),
                    anonymous(&expected),
                    "{} {what}",
                    rpc.name
                );
            }
            let status = rpc.send_grpc(door, rpc.grpc(door, &request)).await.expect_err(what);
            assert_eq!(parts(&status), parts(&expected_status), "{} {what}", rpc.name);
            assert_eq!(world.commit_count(), before, "{} {what} wrote something", rpc.name);
        }
    }
    world.close().await;
}

/// Two credentials, another scheme: not for us to choose from.
#[tokio::test]
async fn a_credential_comes_once_and_as_a_bearer_token() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let none = Door::new(&world, None).await;
    let uri = "/v1/caller";
    let bearer = format!("Bearer {}", home.tenant.key);
    none.rest.call(Method::GET, uri).header("authorization", &bearer).send().await.ok(200);
    none.rest.call(Method::GET, uri).header("authorization", &bearer.to_lowercase()).send().await.ok(200);
    for wrong in [home.tenant.key.clone(), format!("Basic {}", home.tenant.key), "Bearer".to_owned()] {
        let answer = none.rest.call(Method::GET, uri).header("authorization", &wrong).send().await;
        answer.problem(401, "UNAUTHENTICATED");
    }
    // The client sends its own one first.
    let twice = home.door.rest.call(Method::GET, uri).header("authorization", &bearer).send().await;
    twice.problem(401, "UNAUTHENTICATED");
    let in_the_query = format!("{uri}?key={}", home.tenant.key);
    none.rest.call(Method::GET, in_the_query).send().await.problem(401, "UNAUTHENTICATED");
    world.close().await;
}

/// What is internal is not there for those outside, whoever they are; and nobody brings a context.
#[tokio::test]
async fn internal_calls_do_not_exist_outside() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let internal: Vec<Rpc> = all().into_iter().filter(|rpc| rpc.rule.http.is_none()).collect();
    for name in ["Authenticate", "FindOnHand"] {
        assert!(internal.iter().any(|rpc| rpc.name == name));
    }
    let none = Door::new(&world, None).await;

    // A genuine context of the platform itself, as if it had leaked.
    let permissions = Permissions::parse(["internal.gateway", "internal.tenant", "*"]).expect("permissions");
    let platform = Principal::platform("gateway", permissions);
    for rpc in &internal {
        assert!(rpc.rule.permission.starts_with("internal."));
        let context = world.platform.minter.mint(&platform, &rpc.rule.service).header();
        let body = match rpc.name.as_str() {
            "Authenticate" => json!({"credential": home.tenant.key}),
            _ => json!({}),
        };
        for door in [&home.door, &none] {
            for with_context in [false, true] {
                let mut request = rpc.grpc(door, &body);
                let mut call = door.rest.post(&rpc.path, &body);
                if with_context {
                    request.metadata_mut().as_mut().insert(rpc::header::CONTEXT, context.clone());
                    call = call.header(rpc::header::CONTEXT, context.to_str().expect("base64"));
                }
                let status = rpc.send_grpc(door, request).await.expect_err("an internal call");
                assert_eq!(status.code(), Code::Unimplemented, "{}", rpc.name);
                assert_eq!(
                    status.get_details_error_info().map(|info| info.reason).as_deref(),
                    Some("UNKNOWN_METHOD")
                );
                call.send().await.problem(404, "UNKNOWN_ROUTE");
            }
        }
    }
    for rpc in public() {
        let context = world.platform.minter.mint(&platform, &rpc.rule.service).header();
        let request = sample(&rpc, &home, "").await;
        let call = rpc.rest(&none, &request).header(rpc::header::CONTEXT, context.to_str().expect("base64"));
        call.send().await.problem(401, "UNAUTHENTICATED");
        let mut request = rpc.grpc(&none, &request);
        request.metadata_mut().as_mut().insert(rpc::header::CONTEXT, context.clone());
        let status = rpc.send_grpc(&none, request).await.expect_err("a context from outside");
        assert_eq!(status.code(), Code::Unauthenticated, "{}", rpc.name);
    }
    world.close().await;
}
