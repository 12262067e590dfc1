//! `account`: plan, standing and purge on real processes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::backup::{backup, restore, restore_tenant, serve, two_tenants, verify};
use crate::process::{Finished, Process, Server, command, run, wait_until};

fn account(folder: &Path, slug: &str, args: &[&str]) -> Finished {
    run(folder, ["account"].iter().chain(args).chain(&["--data", "data", "--slug", slug, "--json"]))
}

fn asked(server: &Server, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = (method != "GET").then_some(body);
    server.http(key).send(method, path, "", body).unwrap()
}

fn reason(server: &Server, key: &str, method: &str, path: &str) -> Option<String> {
    let body = json!({"product": {"name": "x", "baseUnit": "C62"}});
    let (_, answer) = asked(server, key, method, path, &body);
    answer["reason"].as_str().map(str::to_owned)
}

/// API-9, API-10: a plan is changed under a running server, is effective without a restart, gates what it should and
/// nothing else, and does not touch another tenant.
#[test]
fn a_plan_is_changed_while_the_server_works() {
    let (folder, one, two) = two_tenants();
    let folder = folder.path();
    let server = serve(folder, "data");
    assert_eq!(account(folder, "one", &["show"]).json()["plan"], "enterprise");
    let set = account(folder, "one", &["plan", "standard", "--reason", "downgrade"]).json();
    assert_eq!((&set["plan"], &set["tenantId"]), (&json!("standard"), &json!(one.id)));
    let barred = || reason(&server, &one.key, "GET", "/v1/balances").as_deref() == Some("PLAN_NOT_ENTITLED");
    wait_until("the plan acts", barred);
    let read = |path| asked(&server, &one.key, "GET", path, &Value::Null);
    let (status, shown) = read("/v1/account");
    assert_eq!((status, &shown["plan"]), (200, &json!("standard")), "{shown}");
    assert_eq!(
        shown["entitlements"][0],
        json!({"feature": "api.access", "enabled": false, "overridden": false})
    );
    assert_eq!(read("/v1/auditLog:export").0, 200, "an export is never gated");
    assert_eq!(reason(&server, &two.key, "GET", "/v1/balances"), None);

    account(folder, "one", &["override", "api.access", "true", "--until", "2150-01-01T00:00:00Z"]).ok();
    wait_until("the agreement acts", || reason(&server, &one.key, "GET", "/v1/balances").is_none());
    server.stop();
    // On the stopped folder.
    account(folder, "one", &["override", "api.access"]).ok();
    assert_eq!(account(folder, "one", &["show"]).json()["entitlements"][0]["value"], "false");
    verify(folder, "data");
    for (args, why) in [
        (&["plan", "gold"][..], "'gold' is no plan"),
        (&["override", "api.access", "yes"], "must be 'true' or 'false'"),
        (&["override", "api.calls", "1"], "'api.calls' is no feature"),
        (&["standing", "trial"], "--until"),
    ] {
        let finished = account(folder, "one", args);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(64), ""), "{finished:?}");
        assert!(finished.stderr.contains(why), "{finished:?}");
    }
    assert!(account(folder, "nobody", &["show"]).refused(64).contains("no such tenant"));
}

/// TEN-12: notice, then read-only with exports, then a purge of all stores with a signed receipt; no copy is readable
/// after it, and no other tenant is touched.
#[test]
fn a_tenant_gives_notice_and_is_purged() {
    let (folder, one, two) = two_tenants();
    let folder = folder.path();
    let purge = || account(folder, "one", &["purge"]);
    assert!(purge().refused(64).contains("has not given notice"));
    let server = serve(folder, "data");
    let close =
        |days: u32| asked(&server, &one.key, "POST", "/v1/account:close", &json!({"exportDays": days}));
    assert_eq!(close(9).1["standing"], "CLOSING");
    let create = || reason(&server, &one.key, "POST", "/v1/products");
    wait_until("it is read-only", || create().as_deref() == Some("TENANT_CLOSING"));
    assert_eq!(one.lines(&server).len(), 20);
    assert_eq!(asked(&server, &one.key, "GET", "/v1/auditLog:export", &Value::Null).0, 200);
    server.stop();
    assert!(purge().refused(64).contains("can be exported until"));

    let server = serve(folder, "data");
    let withdrawn = asked(&server, &one.key, "POST", "/v1/account:withdrawClosure", &json!({}));
    assert_eq!(withdrawn.1["standing"], "ACTIVE");
    let closed = asked(&server, &one.key, "POST", "/v1/account:close", &json!({"exportDays": 0}));
    assert_eq!(closed.1["standing"], "CLOSING");
    assert!(purge().refused(75).contains("in use"), "the server runs");
    backup(folder, "late").ok();
    server.stop();

    // Killed while records are removed: nothing else uses a folder that is not whole, and the next purge completes it.
    let marker = folder.join("data/restoring");
    let args = ["account", "purge", "--data", "data", "--slug", "one", "--json"];
    let mut interrupted = Process::spawn(command(folder, args));
    wait_until("records are being removed", || marker.exists());
    interrupted.kill();
    interrupted.finish();
    assert!(marker.exists(), "it ended before it was killed");
    let refused = run(folder, ["verify", "--data", "data"]);
    assert!(refused.refused(74).contains("account purge --slug one"), "{refused:?}");
    let purged = purge().json();
    assert!(!marker.exists());
    let receipt = purged["receipt"].as_str().unwrap();
    assert!(receipt.starts_with(&format!("cargo-pilot/audit/{}\npurged 20", one.id)), "{receipt}");
    for line in
        ["export-window-ended ", "audit-log ", "records of stock", "key destroyed", "\n— cargo-pilot/audit/"]
    {
        assert!(receipt.contains(line), "{line}: {receipt}");
    }
    assert!(!receipt.contains("removed 0 records of stock"), "{receipt}");
    let file = folder.join("data/receipts").join(format!("{}.receipt", one.id));
    assert_eq!(fs::read_to_string(&file).unwrap(), receipt);
    let check = |text: &str| {
        fs::write(folder.join("copy"), text).unwrap();
        run(folder, ["verify", "receipt", "copy", "--log-key", purged["key"].as_str().unwrap()])
    };
    assert!(check(receipt).ok().contains("key destroyed"));
    assert!(check(&receipt.replace("key destroyed", "key kept")).refused(65).contains("does not fit"));
    assert!(purge().refused(64).contains("purged before"));

    verify(folder, "data");
    let server = serve(folder, "data");
    let (status, body) = asked(&server, &one.key, "GET", "/v1/balances", &Value::Null);
    assert_eq!((status, &body["reason"]), (409, &json!("TENANT_KEY_DESTROYED")), "{body}");
    two.receive(&server, 20..21);
    assert_eq!(two.lines(&server).len(), 21);
    server.stop();
    assert!(restore_tenant(folder, &one.id, "late", "data").refused(65).contains("was destroyed"));
    restore(folder, "late", "new").ok();
    let server = serve(folder, "new");
    let (status, body) = asked(&server, &one.key, "GET", "/v1/balances", &Value::Null);
    assert_eq!((status, &body["reason"]), (409, &json!("TENANT_KEY_DESTROYED")), "{body}");
    server.stop();
}
