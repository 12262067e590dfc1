//! The server dies while a master changes what others inherit: each of them hears of each change once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::http::Http;
use crate::import::Business;
use crate::process::wait_until;

/// Times that the server is killed.
const KILLS: u64 = 8;
/// Businesses below the master.
const BUSINESSES: usize = 12;
/// Changes before a kill, and how many more each time.
const LEAST: u64 = 5;
const MORE: u64 = 7;

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Changes the product for everybody until the server goes away.
fn change(http: &mut Http, product: &str, round: u64, count: &AtomicU64, stop: &AtomicBool) {
    for number in 0.. {
        let name = format!("{round} {number}");
        let draft = json!({"changes": [{"productId": product, "product": {"name": name}}]});
        let answer = http.send("POST", "/v1/publications", &format!("{round}-{number}"), Some(&draft));
        let Ok((status, answer)) = answer else { return };
        assert_eq!(status, 201, "{answer}");
        count.fetch_add(1, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn heard(http: &mut Http) -> Vec<Value> {
    http.all("/v1/inheritedChanges", "changes")
}

/// HIE-9: whenever the process dies, every business below hears of every change, of each once and in their order.
#[test]
fn a_killed_server_tells_every_change_once() {
    let business = Business::new();
    let mut made: Option<(String, Vec<String>)> = None;
    for round in 0..KILLS {
        let mut server = business.serve();
        let mut http = business.http(&server);
        let (product, _) = made.get_or_insert_with(|| {
            let product = json!({"name": "Tea", "variants": [{"sku": "TEA"}]});
            let product = text(&http.post("/v1/products", "", &product)["id"]).to_owned();
            let keys = (0..BUSINESSES).map(|number| {
                let below = json!({"legalName": format!("{number}"), "country": "DE", "baseCurrency": "EUR"});
                let below = http.post("/v1/businesses", "", &below);
                let key = json!({"name": "reads", "role": "viewer", "businessId": below["id"]});
                text(&http.post("/v1/apiKeys", "", &key)["secret"]).to_owned()
            });
            (product, keys.collect())
        });
        let (count, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| change(&mut http, product, round, &count, &stop));
            wait_until("changes", || LEAST + MORE * round <= count.load(Ordering::Relaxed));
            server.process.kill();
            stop.store(true, Ordering::Relaxed);
        });
        business.verify();
    }
    let (_, keys) = made.expect("made");
    let server = business.serve();
    let changes = business.http(&server).all("/v1/publications", "publications");
    let changes: BTreeSet<&str> = changes.iter().map(|change| text(&change["id"])).collect();
    assert!((KILLS * LEAST + MORE * (0..KILLS).sum::<u64>()) <= changes.len() as u64);
    for key in &keys {
        let mut http = server.http(key);
        wait_until("the last change", || changes.len() <= heard(&mut http).len());
        let heard = heard(&mut http);
        let told: BTreeSet<&str> = heard.iter().map(|change| text(&change["publicationId"])).collect();
        assert_eq!((heard.len(), told), (changes.len(), changes.clone()));
        let revisions: Vec<u64> =
            heard.iter().map(|change| text(&change["revision"]).parse().expect("a number")).collect();
        assert!(revisions.is_sorted(), "{revisions:?}");
        assert!(heard.iter().all(|change| change["fields"] == json!(["name"])));
    }
    server.stop();
    business.verify();
}
