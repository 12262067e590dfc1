//! Bodies, paths and methods that are none.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::Value;

use super::home::Home;
use super::sample::sample;
use super::{Rpc, public};
use crate::door::Door;
use crate::rest::{Answer, Call};
use crate::world::World;

/// One byte more than a body may have.
const TOO_MANY_BYTES: usize = 1024 * 1024 + 1;

fn call<'a>(rpc: &Rpc, door: &'a Door, request: &Value) -> Call<'a> {
    let (method, uri, _) = rpc.route(request);
    door.rest.call(method, uri).key("body").if_match("*")
}

/// Every RPC with a body refuses what is not JSON of a bounded size and depth, and writes nothing.
#[tokio::test]
async fn a_body_is_json_of_bounded_size_and_depth() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let door = &home.door;
    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(TOO_MANY_BYTES));
    let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
    let object_in_object = format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33));
    for rpc in public().into_iter().filter(|rpc| !rpc.body().is_empty()) {
        let request = sample(&rpc, &home, "").await;
        let written = world.commit_count();
        let refuse = async |body: &str, status, reason| -> Answer {
            call(&rpc, door, &request).text(body.to_owned()).send().await.problem(status, reason)
        };
        refuse(&large, 413, "PAYLOAD_TOO_LARGE").await;
        refuse(&deep, 400, "JSON_TOO_DEEP").await;
        refuse(&object_in_object, 400, "JSON_TOO_DEEP").await;
        for broken in ["{", "{\"a\":1,}", "{'a':1}", "{\"a\":NaN}", "{}{}", "\u{feff}{}", "hello"] {
            let answer = refuse(broken, 400, "MALFORMED_JSON").await;
            assert!(
                answer.json["detail"].as_str().is_some_and(|detail| detail.contains("column")),
                "{}",
                answer.text
            );
        }
        for other in ["[]", "\"text\"", "7", "null", "true"] {
            let answer = refuse(other, 400, "INVALID_REQUEST").await;
            assert_eq!(answer.fields(), [" WRONG_TYPE"], "{}", answer.text);
        }
        let not_text = call(&rpc, door, &request).text(&b"{\"name\":\"\xff\"}"[..]).send().await;
        not_text.problem(400, "MALFORMED_JSON");
        let (_, _, body) = rpc.route(&request);
        for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"] {
            let body = body.as_ref().expect("a body");
            let answer =
                call(&rpc, door, &request).json(body).header("content-type", media_type).send().await;
            // Without a body there is nothing to be told what it is.
            answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
        }
        assert_eq!(world.commit_count(), written, "{} wrote something", rpc.name);
    }
    world.close().await;
}

/// Each route takes its methods and names them to those who come with another; what is no route says so.
#[tokio::test]
async fn a_route_takes_its_own_methods_only() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let rest = &home.door.rest;
    let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut asked = vec![];
    for rpc in public() {
        let request = sample(&rpc, &home, "").await;
        let (method, uri, _) = rpc.route(&request);
        let path = uri.split('?').next().expect("a path").to_owned();
        let template = rpc.rule.http.as_ref().expect("a route").path.clone();
        methods.entry(template.clone()).or_default().insert(method.to_string());
        asked.push((template, path));
    }
    let written = world.commit_count();
    for (template, path) in asked {
        let mut allowed = methods[&template].clone();
        allowed.insert("OPTIONS".to_owned());
        if allowed.contains("GET") {
            allowed.insert("HEAD".to_owned());
        }
        let allow = allowed.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if !allowed.contains(method.as_str()) {
                let answer = rest.call(method, &path).send().await.problem(405, "METHOD_NOT_ALLOWED");
                assert_eq!(answer.header("allow"), allow, "{path}");
            }
        }
        assert_eq!(rest.call(Method::OPTIONS, &path).send().await.ok(204).header("allow"), allow, "{path}");
        for wrong in
            [format!("{path}/"), format!("/{path}"), format!("{path}:drop"), path.replacen("/v1", "/v2", 1)]
        {
            let answer = rest.call(Method::GET, &wrong).send().await;
            // `{id}:drop` is no id of anything.
            let is_id = answer.status == 400 && answer.reason() == "INVALID_REQUEST";
            assert!(
                is_id || answer.status == 405 || answer.reason() == "UNKNOWN_ROUTE",
                "{wrong}: {}",
                answer.text
            );
        }
    }
    for wrong in [
        "/v1",
        "/v1/nothing",
        "/v1/movements/x/y",
        "/v1/products:drop",
        "/admin",
        "/../etc/passwd",
        "/v1//products",
    ] {
        rest.call(Method::GET, wrong).send().await.problem(404, "UNKNOWN_ROUTE");
    }
    assert_eq!(world.commit_count(), written);
    world.close().await;
}
