//! `init`.

use serde_json::json;
use tempfile::tempdir;

use crate::process::{Server, run};

const ARGS: [&str; 10] =
    ["init", "--data", "data", "--name", "Muster GmbH", "--country", "DE", "--currency", "EUR", "--json"];

#[test]
fn a_tenant_is_made_once_and_its_key_works() {
    let folder = tempdir().unwrap();
    let made = run(folder.path(), ARGS);
    let made = (made.json(), made.ok()).0;
    let key = made["apiKey"].as_str().unwrap();

    let again = run(folder.path(), ARGS);
    let message = again.refused(64);
    assert!(message.contains("'main'") && message.contains("already"), "{message}");
    assert!(!message.contains("cp_live_") && again.stdout.is_empty(), "{again:?}");

    let other: Vec<&str> = ARGS.into_iter().chain(["--slug", "other", "--costing", "fifo"]).collect();
    let other = run(folder.path(), other).json();

    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.key, None);
    let mut http = server.http(key);
    let caller = http.get("/v1/caller");
    assert_eq!(caller["tenantId"], made["tenantId"]);
    assert_eq!((&caller["businessId"], &caller["role"]), (&made["businessId"], &json!("owner")));
    let business = http.get(&format!("/v1/businesses/{}", made["businessId"].as_str().unwrap()));
    for (field, expected) in [
        ("legalName", json!("Muster GmbH")),
        ("country", json!("DE")),
        ("baseCurrency", json!("EUR")),
        ("costScale", json!(2)),
        ("costingMethod", json!("MOVING_AVERAGE")),
    ] {
        assert_eq!(business[field], expected, "{field}");
    }
    // Tenants in one folder see nothing of each other.
    let variant = http.product("SKU");
    let mut others = server.http(other["apiKey"].as_str().unwrap());
    assert_eq!(others.all("/v1/variants", "variants").len(), 0);
    let (status, _) = others.send("GET", &format!("/v1/variants/{variant}"), "", None).unwrap();
    assert_eq!(status, 404);
    server.stop();
}

#[test]
fn people_are_told_to_keep_the_key() {
    let folder = tempdir().unwrap();
    let text = run(folder.path(), &ARGS[..ARGS.len() - 1]).ok();
    assert_eq!(text.matches("cp_live_").count(), 1, "{text}");
    assert!(text.contains("only now") && text.contains("serve --data 'data'"), "{text}");
}

/// Whoever runs the server lets the owner in again, while it runs and while it does not.
#[test]
fn a_lost_owner_key_is_replaced() {
    const NEW_KEY: [&str; 4] = ["owner-key", "--data", "data", "--json"];
    let folder = tempdir().unwrap();
    let made = run(folder.path(), ARGS).json();
    let stopped = run(folder.path(), NEW_KEY).json();
    let server = Server::start(folder.path(), &[]);
    let running = run(folder.path(), NEW_KEY).json();
    for key in [&made, &stopped, &running].map(|answer| answer["apiKey"].as_str().unwrap()) {
        let caller = server.http(key).get("/v1/caller");
        assert_eq!((&caller["tenantId"], &caller["role"]), (&made["tenantId"], &json!("owner")));
    }
    let unknown = |args: &[&str]| run(folder.path(), args).refused(64).to_owned();
    let while_running = unknown(&["owner-key", "--data", "data", "--slug", "nobody"]);
    server.stop();
    assert_eq!(unknown(&["owner-key", "--data", "data", "--slug", "nobody"]), while_running);
    assert!(while_running.contains("'nobody'") && while_running.contains("--slug"), "{while_running}");
    let nowhere = run(folder.path(), ["owner-key", "--data", "nowhere"]);
    nowhere.refused(64);
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn what_is_wrong_is_named_before_anything_is_made() {
    let folder = tempdir().unwrap();
    let check = |name: &str, value: &str, words: &[&str]| {
        let mut args = ARGS.to_vec();
        match args.iter().position(|arg| *arg == name) {
            Some(at) => args[at + 1] = value,
            None => args.extend([name, value]),
        }
        let finished = run(folder.path(), args);
        let message = finished.refused(64);
        for word in words.iter().chain(&[name]) {
            assert!(message.contains(word), "{word}: {message}");
        }
        assert!(!folder.path().join("data").exists(), "{message}");
    };
    check("--country", "Germany", &["two", "ISO 3166"]);
    check("--country", "de", &["upper-case"]);
    check("--currency", "EURO", &["'EURO'", "ISO 4217"]);
    check("--currency", "XQX", &["'XQX'"]);
    check("--slug", "My Shop", &["lower-case"]);
    check("--name", "", &[]);
    check("--cost-scale", "1", &["2"]);
    check("--cost-scale", "7", &["6"]);
}

#[test]
fn a_running_server_makes_a_tenant() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let made = run(folder.path(), ARGS).json();
    let caller = server.http(made["apiKey"].as_str().unwrap()).get("/v1/caller");
    assert_eq!(caller["tenantId"], made["tenantId"]);
    let again = run(folder.path(), ARGS).refused(64).to_owned();
    assert!(again.contains("already"), "{again}");
    server.stop();
}
