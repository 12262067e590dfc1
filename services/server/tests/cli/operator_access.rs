//! `operator-access` on real processes.

use std::path::Path;

use serde_json::{Value, json};

use crate::backup::{serve, two_tenants, verify};
use crate::process::{Finished, Server, run, wait_until};

fn operator(folder: &Path, slug: &str, args: &[&str]) -> Finished {
    run(folder, ["operator-access"].iter().chain(args).chain(&["--data", "data", "--slug", slug, "--json"]))
}

fn asked(server: &Server, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    server.http(key).send(method, path, "", (method != "GET").then_some(body)).unwrap()
}

/// TEN-11: the operator has no access until the tenant grants what was asked for with a reason; then for a time, to
/// look; the tenant ends it, and all of it is in its audit log.
#[test]
fn an_operator_is_let_in_by_the_tenant_alone() {
    let (folder, one, two) = two_tenants();
    let folder = folder.path();
    let server = serve(folder, "data");
    let request = ["request", "--reason", "ticket 4711: a balance looks wrong", "--hours", "2"];
    let access = operator(folder, "one", &request).json();
    let id = access["id"].as_str().unwrap();
    assert_eq!((&access["status"], &access["role"]), (&json!("requested"), &json!("viewer")));
    assert!(operator(folder, "one", &["open", id]).refused(64).contains("has not granted it"));

    let listed = asked(&server, &one.key, "GET", "/v1/operatorAccesses", &Value::Null).1;
    assert_eq!(listed["operatorAccesses"][0]["reason"], "ticket 4711: a balance looks wrong", "{listed}");
    let path = format!("/v1/operatorAccesses/{id}");
    assert_eq!(asked(&server, &two.key, "GET", &path, &Value::Null).0, 404, "it is of another tenant");
    let decide = |what: &str| asked(&server, &one.key, "POST", &format!("{path}:{what}"), &json!({}));
    let (status, granted) = decide("grant");
    assert_eq!((status, &granted["status"]), (200, &json!("GRANTED")), "{granted}");
    assert!(granted["until"].is_string());

    let opened = operator(folder, "one", &["open", id]).json();
    let key = opened["apiKey"].as_str().unwrap();
    assert_eq!(asked(&server, key, "GET", "/v1/balances", &Value::Null).0, 200);
    let product = json!({"name": "Tea", "baseUnit": "C62"});
    let refused = asked(&server, key, "POST", "/v1/products", &product);
    assert_eq!((refused.0, &refused.1["reason"]), (403, &json!("PERMISSION_DENIED")), "it is let in to look");
    assert_eq!(
        asked(&server, key, "POST", &format!("{path}:grant"), &json!({})).0,
        403,
        "nobody prolongs himself"
    );
    assert!(operator(folder, "one", &["open", id]).refused(64).contains("given out before"));

    assert_eq!(decide("end").1["status"], "ENDED");
    wait_until("the key is refused", || asked(&server, key, "GET", "/v1/balances", &Value::Null).0 == 401);
    assert_eq!(operator(folder, "one", &["show", id]).json()["status"], "ended");
    assert_eq!(decide("grant").1["reason"], "ILLEGAL_TRANSITION");
    for action in ["requested", "granted", "opened", "ended"] {
        let path = format!("/v1/auditEvents?action=tenant.operator_access.{action}");
        let seen = || asked(&server, &one.key, "GET", &path, &Value::Null).1;
        wait_until(action, || seen()["events"].as_array().is_some_and(|events| events.len() == 1));
    }
    server.stop();
    verify(folder, "data");

    // On the stopped folder too: the tenant decides when it is up again.
    let id = operator(folder, "two", &["request", "--reason", "x"]).json()["id"].as_str().unwrap().to_owned();
    assert!(operator(folder, "two", &["open", &id]).refused(64).contains("has not granted it"));
    let without = operator(folder, "two", &["request", "--reason", " "]);
    assert!(without.refused(64).contains("reason"), "{without:?}");
}
