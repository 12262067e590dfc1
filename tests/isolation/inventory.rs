//! What is served is what is known, and it says nothing about its insides.

use http::Method;
use serde_json::json;
use tonic::Code;

use crate::contract::{Home, public, sample};
use crate::door::Door;
use crate::rest::Answer;
use crate::world::World;

/// What no answer may have in it.
const INTERNALS: [&str; 16] = [
    ".rs:",
    "/src/",
    "panicked",
    "RUST_BACKTRACE",
    "stack backtrace",
    "Some(",
    "None)",
    "Err(",
    "Error {",
    "Error(",
    "::",
    "tonic",
    "hyper",
    "fjall",
    "rustc",
    "cargo/registry",
];

/// What scanners look for.
const WELL_KNOWN: [&str; 24] = [
    "/metrics",
    "/debug",
    "/debug/pprof",
    "/admin",
    "/actuator/health",
    "/.git/config",
    "/.env",
    "/server-status",
    "/graphql",
    "/swagger.json",
    "/v2/api-docs",
    "/api",
    "/console",
    "/phpinfo.php",
    "/wp-login.php",
    "/v1/debug",
    "/v1/internal",
    "/v0/locations",
    "/v2/locations",
    "/internal",
    "/config",
    "/backup",
    "/health",
    "/status",
];

/// Every answer forbids to guess what it is and to keep it for others, and tells nothing of what made it.
#[track_caller]
fn is_hardened(answer: &Answer, what: &str) {
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert!(
        ["no-store", "private, no-cache"].contains(&answer.header("cache-control")),
        "{what}: {answer:?}"
    );
    assert_eq!(
        answer.header("content-security-policy"),
        "default-src 'none'; frame-ancestors 'none'",
        "{what}"
    );
    assert_eq!(answer.header("referrer-policy"), "no-referrer", "{what}");
    for name in ["server", "x-powered-by", "via", "access-control-allow-origin", "set-cookie"] {
        assert!(answer.headers.get(name).is_none(), "{what} has '{name}'");
    }
    if 400 <= answer.status {
        let told = INTERNALS.iter().find(|internal| answer.text.contains(**internal));
        assert!(told.is_none(), "{what} tells of {told:?}: {}", answer.text);
    }
}

/// OWASP 8: every answer of every RPC, good or bad, has the headers that keep browsers and caches from harm, and no
/// error tells of anything inside.
#[tokio::test]
async fn every_answer_is_hardened() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let none = Door::new(&world, None).await;
    for rpc in public() {
        let request = sample(&rpc, &home, "").await;
        is_hardened(&rpc.rest(&home.door, &request).send().await, &rpc.name);
        is_hardened(&rpc.rest(&none, &request).send().await.problem(401, "UNAUTHENTICATED"), &rpc.name);
        let (method, uri, _) = rpc.route(&request);
        for body in
            ["{", "[]", "{\"x\":{\"y\":[1,2,{}]}}", "\u{0}", "{\"name\":1e999}", "{\"name\":\"\\ud800\"}"]
        {
            let call = home.door.rest.call(method.clone(), uri.clone()).text(body).key("k").if_match("*");
            let answer = call.send().await;
            assert!(answer.status < 500, "{} {body}: {}", rpc.name, answer.text);
            is_hardened(&answer, &format!("{} {body}", rpc.name));
        }
        for query in ["?%ff=%ff", "?pageSize=%00", "?a=1&a=2", "?pageToken=../../etc/passwd", "?'\"<script>"]
        {
            let path = uri.split('?').next().expect("a path");
            let answer = home.door.rest.call(Method::GET, format!("{path}{query}")).try_send().await;
            let Some(answer) = answer else { continue };
            assert!(answer.status < 500, "{path}{query}: {}", answer.text);
            is_hardened(&answer, &format!("{path}{query}"));
        }
    }
    for path in ["/v1/nothing", "/problems/nothing"] {
        is_hardened(&home.door.rest.call(Method::GET, path).send().await.problem(404, "UNKNOWN_ROUTE"), path);
    }
    world.close().await;
}

/// OWASP 9: nothing is served that the contract does not have. The routes that it has are those of the document:
/// see `tests/it/pages.rs`.
#[tokio::test]
async fn nothing_else_is_served() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    for path in WELL_KNOWN {
        for method in [Method::GET, Method::POST, Method::TRACE] {
            let answer = home.door.rest.call(method, path).send().await;
            answer.problem(404, "UNKNOWN_ROUTE");
        }
    }
    for rpc in public() {
        // The gRPC path is no route, and the route's other spellings are none.
        home.door.rest.post(&rpc.path, &json!({})).send().await.problem(404, "UNKNOWN_ROUTE");
        let unknown = rpc.path.replace("/cargopilot.", "/cargopilot.internal.");
        for path in [unknown, format!("{}2", rpc.path), rpc.path.to_lowercase()] {
            let mut call = tonic::Request::new(bytes::Bytes::new());
            let bearer = format!("Bearer {}", home.tenant.key).parse().expect("a header");
            call.metadata_mut().insert("authorization", bearer);
            let path_and_query = path.parse().expect("a path");
            let status = transcode::unary(home.door.grpc.clone(), path_and_query, call).await;
            assert_eq!(status.expect_err(&path).code(), Code::Unimplemented, "{path}");
        }
    }
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Check",
        "/grpc.channelz.v1.Channelz/GetServers",
    ] {
        let call = tonic::Request::new(bytes::Bytes::new());
        let status = transcode::unary(home.door.grpc.clone(), path.parse().expect("a path"), call).await;
        assert_eq!(status.expect_err(path).code(), Code::Unimplemented, "{path}");
    }
    world.close().await;
}
