//! One real process per role, each with its own folder, on addresses of this machine that nobody else uses.

use serde_json::json;
use tempfile::tempdir;

use crate::cluster::Cluster;
use crate::http::Http;
use crate::process::{run, wait_until};

/// A story over five processes: what one of them makes, the others see, and the log has all of it.
#[test]
fn a_cluster_of_roles_does_what_one_process_does() {
    let cluster = Cluster::own();
    let mut http = cluster.http();
    let (variant, location) = (http.product("MUG"), http.location("MAIN"));
    assert_eq!(cluster.receive(&variant, &location, 1).0, 201);
    let sale = |quantity: &str| {
        json!({
            "kind": "sale.shipment", "variantId": variant, "locationId": location, "quantity": quantity,
            "source": {"type": "pos_receipt", "id": "S", "lineId": "1"},
        })
    };
    let (status, refused) = http.send("POST", "/v1/movements", "sale", Some(&sale("2"))).unwrap();
    assert_eq!((status, &refused["reason"]), (409, &json!("INSUFFICIENT_STOCK")), "{refused}");
    http.post("/v1/movements", "sale", &sale("1"));
    assert_eq!(http.get(&format!("/v1/balances/{variant}"))["onHand"], "0");
    cluster.audited();
    let actions = http.all("/v1/auditEvents", "events");
    let has = |action: &str| actions.iter().any(|event| event["action"] == action);
    assert!(has("catalog.product.created") && has("stock.movement.posted"), "{actions:?}");
    // Who is refused by the guard of another process is in the log, too.
    let key = http.post("/v1/apiKeys", "viewer", &json!({"name": "v", "role": "viewer"}));
    let mut viewer = Http::new(&cluster.url("gateway"), key["secret"].as_str().unwrap());
    let (status, _) = viewer.send("POST", "/v1/movements", "x", Some(&sale("1"))).unwrap();
    assert_eq!(status, 403);
    wait_until("the refusal is in the log", || {
        let events = http.all("/v1/auditEvents", "events");
        events.iter().any(|event| {
            event["actor"]["id"] == key["apiKey"]["id"] && event["action"] == "audit.access.denied"
        })
    });
    cluster.stop();
}

/// A process that dies at any moment loses nothing that it acknowledged; while it is away callers are told so, and a
/// repeated request has no second effect.
#[test]
fn a_role_that_dies_loses_nothing() {
    let mut cluster = Cluster::own();
    let mut http = cluster.http();
    let (variant, location) = (http.product("MUG"), http.location("MAIN"));
    for (round, role) in ["stock", "catalog", "tenant", "audit"].into_iter().enumerate() {
        let number = 2 * round;
        assert_eq!(cluster.receive(&variant, &location, number).0, 201);
        cluster.kill(role);
        let (status, answer) = cluster.receive(&variant, &location, number + 1);
        assert!(matches!(status, 201 | 503), "{role}: {status} {answer}");
        cluster.begin(role);
        wait_until("all answer again", || {
            let (status, answer) = cluster.receive(&variant, &location, number + 1);
            assert!(matches!(status, 201 | 503), "{role}: {status} {answer}");
            status == 201
        });
        assert_eq!(cluster.receive(&variant, &location, number).0, 201);
        let on_hand = http.get(&format!("/v1/balances/{variant}"))["onHand"].clone();
        assert_eq!(on_hand, (number + 2).to_string(), "{role}");
    }
    cluster.audited();
    cluster.stop();
}

/// Who starts with settings that cannot work is told all that is missing.
#[test]
fn settings_that_cannot_work_are_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let refused = |args: &[&str], code| run(path, args).refused(code).to_owned();
    let message = refused(&["serve", "stock"], 64);
    for role in ["tenant", "catalog", "audit"] {
        assert!(message.contains(&format!("cluster.services.{role}")), "{message}");
    }
    assert!(!message.contains("services.stock") && !message.contains("services.gateway"), "{message}");
    assert!(refused(&["serve", "stock", "--demo"], 64).contains("--demo"));
    let unknown = run(path, ["serve", "store"]);
    assert!(
        unknown.code == Some(64) && unknown.stderr.contains("gateway, tenant, catalog, stock, audit"),
        "{unknown:?}"
    );

    let all = "[cluster.services]\ntenant = ['a:1']\ncatalog = ['a:1']\nstock = ['a:1']\naudit = ['a:1']\n";
    let config =
        |process: &str| std::fs::write(path.join("c.toml"), format!("[process]\n{process}\n{all}")).unwrap();
    config("");
    assert!(refused(&["serve", "stock", "--config", "c.toml"], 64).contains("process.context_keys"));
    std::fs::write(path.join("short"), "too short\n").unwrap();
    for (file, words) in [("short", "fewer than 32"), ("nowhere", "cannot be read")] {
        config(&format!("context_keys = ['{file}']"));
        let message = refused(&["serve", "stock", "--config", "c.toml"], 64);
        assert!(message.contains(file) && message.contains(words), "{message}");
    }
    assert!(!path.join("cargo-pilot-data").exists(), "nothing was made");
}

/// A folder stays with the roles that made it, and what needs all services says so.
#[test]
fn a_folder_stays_with_its_roles() {
    let mut cluster = Cluster::own();
    let path = cluster.path().to_owned();
    cluster.terminate("stock");
    let refused = |args: &[&str]| run(&path, args).refused(64).to_owned();
    for args in [
        &["serve", "--data", "stock", "--listen", "127.0.0.1:0"][..],
        &["serve", "catalog", "--data", "stock", "--config", "stock.toml"],
        &["backup", "--data", "stock", "--to", "backup"],
        &["account", "show", "--data", "stock"],
    ] {
        let message = refused(args);
        assert!(message.contains("'stock'"), "{args:?}: {message}");
    }
    run(&path, ["verify", "--data", "stock"]).ok();
    let whole = tempdir().unwrap();
    run(whole.path(), ["init", "--data", "all", "--name", "A", "--country", "DE", "--currency", "EUR"]).ok();
    std::fs::copy(path.join("stock.toml"), whole.path().join("stock.toml")).unwrap();
    std::fs::create_dir(whole.path().join("secrets")).unwrap();
    let key = "secrets/context-key";
    std::fs::copy(path.join(key), whole.path().join(key)).unwrap();
    let message = run(whole.path(), ["serve", "stock", "--data", "all", "--config", "stock.toml"]);
    assert!(message.refused(64).contains("all services"), "{message:?}");
    cluster.begin("stock");
    cluster.stop();
}
