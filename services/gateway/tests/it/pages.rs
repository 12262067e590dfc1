//! Documents that need no credential.

use http::Method;
use serde_json::Value;

use crate::world::{Answer, World};

async fn get(world: &World, uri: &str) -> Answer {
    world.send(Method::GET, uri, &["authorization:"], "").await
}

#[tokio::test]
async fn health_is_told_without_a_key() {
    let world = World::new();
    assert_eq!(get(&world, "/livez").await.status, 200);
    assert_eq!(get(&world, "/readyz").await.status, 503);
    world.gateway.set_ready(true);
    assert_eq!(get(&world, "/readyz").await.status, 200);
}

#[tokio::test]
async fn the_contract_is_served() {
    let world = World::new();
    let document = get(&world, "/openapi.json").await;
    assert_eq!(document.json["openapi"], "3.1.0");
    assert!(document.json["paths"]["/v1/movements"]["post"].is_object());
    let tag = format!("if-none-match: {}", document.header("etag"));
    assert_eq!(world.send(Method::GET, "/openapi.json", &[&tag], "").await.status, 304);
    let head = world.send(Method::HEAD, "/openapi.json", &[], "").await;
    assert_eq!(head.header("content-length"), document.text.len().to_string());

    // Every documented path is served: without a credential it says 401, not 404; what needs none looks at the body.
    for (path, methods) in document.json["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let uri = path.replace(['{', '}'], "");
            let expected = if operation.get("security").is_some() { 400 } else { 401 };
            assert_eq!(world.send(method, &uri, &["authorization:"], "").await.status, expected, "{uri}");
        }
    }
}

/// The viewer works without the internet.
#[tokio::test]
async fn the_viewer_asks_nobody_else() {
    let world = World::new();
    assert_eq!(get(&world, "/").await.header("location"), "/docs/");
    assert_eq!(get(&world, "/docs").await.header("location"), "/docs/");
    let page = get(&world, "/docs/").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "{}", page.text);

    let files = page.text.split(['"', '\'']).filter(|text| text.ends_with(".js") || text.ends_with(".css"));
    let mut count = 0;
    for file in files {
        let file = get(&world, &format!("/docs/{}", file.trim_start_matches("./"))).await;
        assert_eq!(file.status, 200);
        count += 1;
    }
    assert!(2 < count, "{}", page.text);
    let start = get(&world, "/docs/swagger-initializer.js").await.text;
    assert!(start.contains("\"/openapi.json\""), "{start}");
    assert!(start.contains("\"validatorUrl\": \"none\""), "{start}");
}

#[tokio::test]
async fn reasons_are_explained() {
    let world = World::new();
    let page = get(&world, "/problems/insufficient-stock").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text.contains("Less is there."));
    assert!(!page.header("content-security-policy").is_empty());
    assert_eq!(page.json, Value::Null);
}
