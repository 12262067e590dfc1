//! `verify`: what it finds, beyond what is found at every open.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use journal::store::{Commit, Head, NO_BUCKET, Outcome, Store};
use journal_embedded::{EmbeddedStore, Options};
use sealed::{Keyring, SealedStore};
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::process::{Server, run};

const VERIFY: [&str; 3] = ["verify", "--data", "data"];

fn made() -> TempDir {
    let folder = tempdir().unwrap();
    Server::start(folder.path(), &["--demo"]).stop();
    folder
}

#[test]
fn a_sound_folder_verifies() {
    let folder = made();
    let text = run(folder.path(), VERIFY).ok();
    assert!(text.contains("every hash chain, balance and value"), "{text}");
    let report = run(folder.path(), VERIFY.iter().chain(&["--json"])).json();
    let found = (&report["ok"], &report["faultCount"], &report["faults"]);
    assert_eq!(found, (&json!(true), &json!(0), &json!([])));
    assert!(report["entries"].as_u64() > Some(73), "{report}");
}

/// Writes `change` past the rules of the ledger, as somebody who has all keys, to the first record of `service` that
/// it fits.
fn forge(folder: &Path, service: &'static str, change: impl Fn(&[(Bytes, Bytes)], &mut Commit) -> bool) {
    let data = folder.join("data");
    let raw = EmbeddedStore::open(data.join(service), Options::default()).unwrap();
    let keyring = Keyring::open(&data.join("secrets/root-key"), &data.join("keys")).unwrap();
    write(&SealedStore::new(Arc::new(raw), Arc::new(keyring), service), change);
}

fn write(store: &impl Store, change: impl Fn(&[(Bytes, Bytes)], &mut Commit) -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for (tenant, aggregate, head) in store.aggregates(None, 1000).await.unwrap() {
            let rows = store.scan_rows(tenant, aggregate, Bytes::new(), 1000).await.unwrap();
            let mut commit = Commit {
                tenant,
                aggregate,
                expect: head.seq,
                bucket: NO_BUCKET,
                head,
                entries: vec![],
                rows: vec![],
                keys: vec![],
                claims: vec![],
                index: vec![],
            };
            if change(&rows, &mut commit) {
                assert_eq!(store.commit(vec![commit]).await, Outcome::Applied);
                return;
            }
        }
        panic!("nothing to forge");
    });
}

fn flip_last(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    bytes.into()
}

/// INV-2, INV-3: whatever does not follow from the entries is found.
#[test]
fn what_does_not_follow_from_the_entries_is_found() {
    type Change = fn(&[(Bytes, Bytes)], &mut Commit) -> bool;
    let changed_header: Change = |_, commit| {
        commit.head.header = flip_last(&commit.head.header);
        true
    };
    let changed_chain: Change = |_, commit| {
        commit.head.chain.0[7] ^= 1;
        true
    };
    let added_entry: Change = |_, commit| {
        commit.head = Head { seq: commit.expect + 1, ..commit.head.clone() };
        commit.entries = vec![vec![7; 100].into()];
        true
    };
    let added_row: Change = |_, commit| {
        commit.rows = vec![(Bytes::from_static(b"forged"), Some(Bytes::from_static(b"row")))];
        true
    };
    let lost_row: Change = |rows, commit| {
        commit.rows = rows.first().map(|(key, _)| (key.clone(), None)).into_iter().collect();
        !rows.is_empty()
    };
    for (service, change, sentence) in [
        ("stock", changed_header, "state"),
        ("stock", changed_chain, "the hash chain does not end where the head says"),
        ("stock", added_entry, "the hash does not match"),
        ("stock", added_row, "rows are stored"),
        ("catalog", changed_chain, "the hash chain does not end where the head says"),
        ("catalog", lost_row, "rows are stored"),
        ("tenant", added_row, "rows are stored"),
    ] {
        let folder = made();
        forge(folder.path(), service, change);
        let finished = run(folder.path(), VERIFY);
        let message = finished.refused(65);
        assert!(message.contains("1 fault in 'data'") && message.contains("backup"), "{message}");
        assert!(finished.stdout.starts_with(service) && finished.stdout.contains(sentence), "{finished:?}");

        let finished = run(folder.path(), VERIFY.iter().chain(&["--json"]));
        finished.refused(65);
        let report = finished.json();
        assert_eq!((&report["ok"], &report["faultCount"]), (&json!(false), &json!(1)), "{report}");
        assert!(report["faults"][0].as_str().unwrap().contains(sentence), "{report}");
    }
}

/// TEN-10: whoever has the disk and no keys changes or moves nothing unnoticed.
#[test]
fn sealed_values_that_were_changed_or_moved_are_found() {
    type Change = fn(&[(Bytes, Bytes)], &mut Commit) -> bool;
    let changed: Change = |rows, commit| {
        commit.rows =
            rows.first().map(|(key, value)| (key.clone(), Some(flip_last(value)))).into_iter().collect();
        !rows.is_empty()
    };
    let moved: Change = |rows, commit| {
        commit.rows =
            rows.first().map(|(_, value)| ("elsewhere".into(), Some(value.clone()))).into_iter().collect();
        !rows.is_empty()
    };
    for change in [changed, moved] {
        let folder = made();
        let raw = EmbeddedStore::open(folder.path().join("data/catalog"), Options::default()).unwrap();
        write(&raw, change);
        raw.close();
        drop(raw);
        let finished = run(folder.path(), VERIFY);
        finished.refused(65);
        assert!(finished.stdout.contains("a value was changed, or moved"), "{finished:?}");
    }
}
