//! The audit log as files: export, and the check without the server.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::http::Http;
use crate::process::{Server, run, wait_until};

/// Waits until every entry is a leaf.
fn complete(http: &mut Http) {
    wait_until("every entry is a leaf", || {
        let found = http.get("/v1/auditLog/completeness");
        found["gaps"].as_array().is_none_or(Vec::is_empty)
    });
}

fn receipt(http: &mut Http, number: u32) {
    let balance = &http.all("/v1/balances", "balances")[0];
    let location = &http.all("/v1/locations", "locations")[0]["id"];
    let movement = json!({"kind": "purchase.receipt", "variantId": balance["variantId"], "locationId": location,
        "quantity": "1", "unitCost": {"currency": "USD", "amount": "1"},
        "source": {"type": "goods_receipt", "id": format!("AUDIT-{number}"), "lineId": "1"}});
    http.post("/v1/movements", &format!("audit-{number}"), &movement);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

#[test]
fn an_exported_log_is_checked_without_the_server() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let server = Server::start(path, &["--demo"]);
    let mut http = server.demo();
    complete(&mut http);
    let export =
        |file: &str| run(path, ["export", "audit", "--data", "data", "--into", file, "--json"]).json();
    let made = export("one.audit");
    receipt(&mut http, 1);
    complete(&mut http);
    assert_eq!(export("two.audit")["logKey"], made["logKey"]);
    let checkpoint = http.get("/v1/auditLog/checkpoint");
    fs::write(path.join("checkpoint"), checkpoint["note"].as_str().unwrap()).unwrap();
    let again = run(path, ["export", "audit", "--data", "data", "--into", "one.audit"]);
    assert!(again.refused(64).contains("exists already"));
    let shown = run(path, ["export", "audit", "--data", "data", "--into", "three.audit"]).ok();
    assert!(
        shown.contains("cargo-pilot verify audit") && shown.contains(made["logKey"].as_str().unwrap()),
        "{shown}"
    );
    drop(http);
    server.stop();

    let keys = [
        "--log-key".to_owned(),
        made["logKey"].as_str().unwrap().to_owned(),
        "--witness-key".to_owned(),
        made["witnessKey"].as_str().unwrap().to_owned(),
    ];
    let verify = |args: &[&str]| {
        run(path, ["verify", "audit"].iter().chain(args).map(|arg| (*arg).to_owned()).chain(keys.clone()))
    };
    let text = verify(&["one.audit", "two.audit"]).ok();
    assert!(
        text.contains("one.audit: the log 'cargo-pilot/audit/ten_") && text.lines().count() == 2,
        "{text}"
    );
    let report = verify(&["two.audit", "--json"]).json();
    assert_eq!(report["ok"], true);
    assert!(report["files"][0]["leaves"].as_u64() > Some(73), "{report}");
    verify(&["three.audit", "--checkpoint", "checkpoint"]).ok();

    // Set back, changed, cut, of another key, not there.
    for args in [&["two.audit", "one.audit"][..], &["one.audit", "--checkpoint", "checkpoint"]] {
        let finished = verify(args);
        let message = finished.refused(65);
        assert!(message.contains("'one.audit' is not an audit log as it was signed"), "{message}");
        assert!(message.contains("it was set back"), "{message}");
    }
    let whole = fs::read(path.join("two.audit")).unwrap();
    let mut changed = whole.clone();
    let at = whole.windows(8).rposition(|bytes| bytes == b"payload/").unwrap() + 200;
    changed[at] ^= 1;
    for (bytes, sentence) in [
        (&changed[..], "its content is not the one that it commits to"),
        (&whole[..whole.len() - 9], "cut off"),
    ] {
        fs::write(path.join("changed.audit"), bytes).unwrap();
        let finished = verify(&["changed.audit"]);
        assert!(finished.refused(65).contains(sentence), "{finished:?}");
    }
    assert!(verify(&["nothing.audit"]).refused(64).contains("there is no file 'nothing.audit'"));
    let swapped = ["verify", "audit", "one.audit", "--log-key", &keys[3], "--witness-key", &keys[1]];
    assert!(run(path, swapped).refused(64).contains("--log-key"));
}

/// TEN-9, SLF-6, the part that the audit log has in them: what was set back is found.
#[test]
fn a_folder_that_was_set_back_is_found() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let started = |more: Option<u32>| {
        let server = Server::start(folder.path(), &["--demo"]);
        let mut http = server.demo();
        if let Some(number) = more {
            receipt(&mut http, number);
        }
        complete(&mut http);
        http.get("/v1/auditLog/checkpoint");
        drop(http);
        server.stop();
    };
    started(None);
    run(folder.path(), ["verify", "--data", "data"]).ok();
    for store in ["stock", "audit"] {
        copy(&data.join(store), &folder.path().join(store));
    }
    started(Some(1));
    run(folder.path(), ["verify", "--data", "data"]).ok();

    // An older journal under a newer log.
    copy(&data, &folder.path().join("kept"));
    fs::remove_dir_all(data.join("stock")).unwrap();
    copy(&folder.path().join("stock"), &data);
    let finished = run(folder.path(), ["verify", "--data", "data"]);
    assert!(finished.refused(65).contains("fault"), "{finished:?}");
    assert!(
        finished.stdout.contains("audit: the log has") && finished.stdout.contains("of stock"),
        "{finished:?}"
    );

    // An older log under newer journals: entries become leaves anew, and the witness does not sign them.
    fs::remove_dir_all(&data).unwrap();
    copy(&folder.path().join("kept"), &data);
    fs::remove_dir_all(data.join("audit")).unwrap();
    copy(&folder.path().join("audit"), &data);
    run(folder.path(), ["verify", "--data", "data"]).ok();
    let server = Server::start(folder.path(), &["--demo"]);
    let mut http = server.demo();
    complete(&mut http);
    let (status, problem) = http.send("GET", "/v1/auditLog/checkpoint", "", None).unwrap();
    assert_eq!((status, &problem["reason"]), (409, &Value::from("CHECKPOINT_REFUSED")), "{problem}");
}
