//! What the server says about itself, to whoever asks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

use http::Method;
use serde_json::Value;

use crate::contract::{Rpc, routed};
use crate::rest::{Answer, Rest};
use crate::world::World;

async fn page(rest: &Rest, uri: &str) -> Answer {
    rest.call(Method::GET, uri).send().await
}

/// The methods of a route in the words of the OpenAPI document.
fn documented(rpc: &Rpc) -> (String, String) {
    let route = rpc.rule.http.as_ref().expect("a route");
    let mut path = route.path.clone();
    for field in rpc.input.fields() {
        path = path.replace(&format!("{{{}}}", field.name()), &format!("{{{}}}", field.json_name()));
    }
    (path, route.method.to_ascii_lowercase())
}

/// The document that is served lists exactly the routes that are served: those of the contract.
#[tokio::test]
async fn the_openapi_document_is_the_contract() {
    let world = World::new().await;
    let rest = Rest::new(&world.url, None);
    let document = page(&rest, "/openapi.json").await.ok(200);
    assert_eq!(document.header("content-type"), "application/json");
    assert_eq!(document.json["openapi"], "3.1.0");
    let mut found = BTreeSet::new();
    for (path, methods) in document.json["paths"].as_object().expect("paths") {
        found.extend(
            methods.as_object().expect("methods").keys().map(|method| (path.clone(), method.clone())),
        );
    }
    assert_eq!(found, routed().iter().map(documented).collect());

    for rpc in routed() {
        let (path, method) = documented(&rpc);
        let operation = &document.json["paths"][&path][&method];
        assert_eq!(operation["x-permission"], rpc.rule.permission, "{}", rpc.name);
        // Every `$ref` of it leads somewhere.
        let mut references = vec![];
        references_in(operation, &mut references);
        for reference in references {
            let target = document.json.pointer(reference.trim_start_matches('#'));
            assert!(target.is_some(), "{}: {reference} leads nowhere", rpc.name);
        }
        // It is served: without a credential it is 401, or 400 where none is needed; what is not served is 404.
        let uri = path.replace(['{', '}'], "");
        let answer = rest.call(method.to_ascii_uppercase().parse().expect("a method"), uri).send().await;
        match rpc.rule.is_public() {
            true => answer.problem(400, "INVALID_REQUEST"),
            false => answer.problem(401, "UNAUTHENTICATED"),
        };
    }
    world.close().await;
}

fn references_in(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references_in(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references_in(item, found)),
        _ => {}
    }
}

/// The viewer is whole and needs nobody else: every file that it names is served here, and its policy
/// lets it ask only here.
#[tokio::test]
async fn the_viewer_works_without_the_internet() {
    let world = World::new().await;
    let rest = Rest::new(&world.url, None);
    assert_eq!(page(&rest, "/docs").await.ok(303).header("location"), "/docs/");
    let viewer = page(&rest, "/docs/").await.ok(200);
    let policy: BTreeMap<&str, &str> = viewer
        .header("content-security-policy")
        .split(';')
        .filter_map(|directive| directive.trim().split_once(' '))
        .collect();
    assert_eq!(
        (policy["default-src"], policy["script-src"], policy["connect-src"]),
        ("'none'", "'self'", "'self'")
    );
    assert!(policy.values().all(|sources| !sources.contains("http") && !sources.contains('*')), "{policy:?}");

    let mut pages = vec![viewer.text.clone()];
    let attributes = viewer.text.split(['"', '\'']);
    let files = attributes.filter(|text| [".js", ".css", ".png"].iter().any(|ending| text.ends_with(ending)));
    let mut names = vec![];
    for file in files {
        assert!(!file.contains("://") && !file.starts_with("//"), "{file}");
        let answer = page(&rest, &format!("/docs/{}", file.trim_start_matches("./"))).await.ok(200);
        assert!(!answer.text.is_empty());
        names.push(file.to_owned());
        if file.ends_with("initializer.js") {
            pages.push(answer.text);
        }
    }
    assert!(names.iter().any(|name| name.contains("swagger-ui-bundle")), "{names:?}");
    assert_eq!(pages.len(), 2, "{names:?}");
    for text in pages {
        assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    }
    world.close().await;
}

/// The reasons that the services' pages of errors explain.
fn reasons() -> BTreeSet<String> {
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services");
    let mut found = BTreeSet::new();
    for folder in fs::read_dir(services).expect("the services").flatten() {
        for name in ["errors.md", "problems.md"] {
            let Ok(text) = fs::read_to_string(folder.path().join(name)) else { continue };
            let cells = text.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
            let cells = cells.filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'));
            found.extend(cells.map(str::to_owned));
        }
    }
    found
}

/// The address in `type` of every problem is a page of this server that explains it.
#[tokio::test]
async fn every_reason_is_explained() {
    let world = World::new().await;
    let rest = Rest::new(&world.url, None);
    let announced = routed().into_iter().flat_map(|rpc| rpc.rule.errors.clone());
    let all: BTreeSet<String> = reasons().into_iter().chain(announced).collect();
    assert!(50 < all.len() && all.contains("INSUFFICIENT_STOCK") && all.contains("SKU_TAKEN"), "{all:?}");
    for reason in all {
        let answer =
            page(&rest, &format!("/problems/{}", reason.to_ascii_lowercase().replace('_', "-"))).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "text/html; charset=utf-8"),
            "{reason}"
        );
        assert!(answer.text.contains(&reason) && answer.text.contains("What to do"), "{}", answer.text);
    }
    page(&rest, "/problems/nothing").await.problem(404, "UNKNOWN_ROUTE");
    world.close().await;
}
