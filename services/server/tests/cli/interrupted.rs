//! Imports that are interrupted, or run twice at once: exactly once all the same.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::dataset::{Dataset, Ledger, Random};
use crate::http::Http;
use crate::import::{Business, counts};
use crate::process::{Process, wait_until};

/// Kills of each kind.
const KILLS: i64 = 6;

fn dataset() -> Dataset {
    Dataset::new(7, 40, 9000)
}

fn posted(http: &mut Http) -> u64 {
    let sequence = |item: &Value| item["sequence"].as_str().unwrap().parse::<u64>().unwrap();
    http.all("/v1/balances", "balances").iter().map(sequence).sum()
}

/// Waits until an import that began at `before` has posted something new, and about `part` of `parts` of
/// all movements are posted.
fn wait_for_part(http: &mut Http, set: &Dataset, before: u64, part: i64, parts: i64) {
    let all = set.ledger.movements();
    let target = all * u64::try_from(part).unwrap() / u64::try_from(parts).unwrap();
    wait_until("some of the rows", || target.max(before + 1).min(all) <= posted(http));
}

/// The server dies under an import: it says so, and the same command completes it.
#[test]
fn a_killed_server_loses_and_doubles_nothing() {
    let set = dataset();
    let business = Business::new();
    let files = set.write(business.path());
    let mut interrupted = 0;
    let mut random = Random(11);
    for kill in 0..KILLS {
        let mut server = business.serve();
        let mut http = business.http(&server);
        let before = posted(&mut http);
        let import = business.import(&server, &files);
        wait_for_part(&mut http, &set, before, kill * 10 + random.below(8), KILLS * 10);
        // In good order is no better for those who are not done.
        if kill % 3 == 2 {
            server.stop()
        } else {
            server.process.kill()
        }
        let finished = import.finish();
        if finished.code != Some(0) {
            let message = finished.refused(69);
            // It may not even have begun.
            let says = ["repeat the same command", "no server answers"];
            assert!(says.iter().any(|says| message.contains(says)), "{message}");
            interrupted += 1;
        }
    }
    assert!(interrupted >= KILLS / 2, "only {interrupted} of {KILLS} imports were interrupted");
    let server = business.serve();
    let last = business.import(&server, &files).finish();
    let [products, _, (made, there)] = counts(&last);
    assert_eq!((products, made + there), ((0, set.products), set.ledger.movements()));
    assert_eq!(Ledger::fetch(&mut business.http(&server)), set.ledger);
    server.stop();
    business.verify();
}

/// As above, while products are made.
#[test]
fn a_killed_server_doubles_no_product() {
    const PRODUCTS: usize = 3000;
    let set = Dataset::new(5, PRODUCTS, 0);
    let business = Business::new();
    let file = set.write(business.path()).join("products.csv");
    let mut there = 0;
    for _ in 0..3 {
        let mut server = business.serve();
        let mut http = business.http(&server);
        let import = business.import(&server, &file);
        wait_until("products", || there < http.all("/v1/variants", "variants").len() || there == PRODUCTS);
        server.process.kill();
        assert_ne!(import.finish().code, Some(65));
        let server = business.serve();
        there = business.http(&server).all("/v1/variants", "variants").len();
        server.stop();
    }
    let server = business.serve();
    let [(made, found), ..] = counts(&business.import(&server, &file).finish());
    assert_eq!((made, found), ((PRODUCTS - there) as u64, there as u64));
    let mut http = business.http(&server);
    let variants = http.all("/v1/variants", "variants");
    let skus: BTreeSet<&str> = variants.iter().map(|variant| variant["sku"].as_str().unwrap()).collect();
    assert_eq!((variants.len(), skus.len()), (PRODUCTS, PRODUCTS));
    assert_eq!(http.all("/v1/products", "products").len(), PRODUCTS);
    server.stop();
    business.verify();
}

/// The import dies: the same command completes it, also while the server still works on its last rows.
#[test]
fn a_killed_import_goes_on_where_it_was() {
    let set = dataset();
    let business = Business::new();
    let files = set.write(business.path());
    let server = business.serve();
    let mut http = business.http(&server);
    let mut random = Random(13);
    for kill in 0..KILLS {
        let before = posted(&mut http);
        let mut import = business.import(&server, &files);
        wait_for_part(&mut http, &set, before, kill * 10 + random.below(8), KILLS * 10);
        import.kill();
    }
    let last = business.import(&server, &files).finish();
    let [_, _, (made, there)] = counts(&last);
    assert_eq!(made + there, set.ledger.movements());
    assert_eq!(Ledger::fetch(&mut http), set.ledger);
    server.stop();
    business.verify();
}

/// Two imports of the same files at the same time: each row once, in the order of the files.
#[test]
fn imports_at_the_same_time_share_the_rows() {
    let set = dataset();
    let business = Business::new();
    let files = set.write(business.path());
    let server = business.serve();
    let mut http = business.http(&server);
    let other = http.post("/v1/apiKeys", "", &json!({"name": "other", "role": "owner"}));
    let other = other["secret"].as_str().unwrap();
    let imports: Vec<Process> = [business.key.as_str(), &business.key, other]
        .into_iter()
        .map(|key| business.import_with(&server, key, &files, &["--json"]))
        .collect();
    let done: Vec<_> = imports.into_iter().map(|import| counts(&import.finish())).collect();
    let total = |kind: usize| done.iter().map(|counts| counts[kind].0).sum::<u64>();
    assert_eq!((total(0), total(1), total(2)), (set.products, set.locations, set.ledger.movements()));
    assert_eq!(Ledger::fetch(&mut http), set.ledger);
    server.stop();
    business.verify();
}
