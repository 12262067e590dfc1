//! The server dies under load, again and again: what it acknowledged is there, once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::dataset::CURRENCY;
use crate::http::Http;
use crate::import::Business;
use crate::process::{Server, wait_until};

/// Times that the server is killed.
const KILLS: u64 = 8;
/// Callers at the same time.
const CALLERS: u64 = 8;
/// Acknowledgements before a kill, and how many more each time.
const LEAST: u64 = 40;
const MORE: u64 = 45;

/// What a caller was told: the document line of a posting and the ids of its movements.
type Acknowledged = BTreeMap<String, Vec<String>>;

struct Load<'a> {
    variants: &'a [String],
    locations: &'a [String],
    posted: Mutex<Acknowledged>,
    count: AtomicU64,
    stop: AtomicBool,
}

impl Load<'_> {
    /// Posts until the server goes away: receipts, sales, transfers, of few items.
    fn call(&self, mut http: Http, caller: u64, round: u64) {
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let line = format!("{round}-{caller}-{number}");
            let variant = (number + caller) % self.variants.len() as u64;
            let variant = &self.variants[usize::try_from(variant).unwrap()];
            let (here, there) = (&self.locations[0], &self.locations[1]);
            let mut movement = json!({
                "variantId": variant, "locationId": here,
                "source": {"id": line, "lineId": "1"},
            });
            let (kind, source, quantity) = match number % 4 {
                0 | 1 => ("purchase.receipt", "goods_receipt", "5"),
                2 => ("transfer.direct", "transfer", "2"),
                _ => ("sale.shipment", "pos_receipt", "3"),
            };
            movement["kind"] = kind.into();
            movement["source"]["type"] = source.into();
            movement["quantity"] = quantity.into();
            match kind {
                "purchase.receipt" => movement["unitCost"] = json!({"currency": CURRENCY, "amount": "1.37"}),
                "transfer.direct" => movement["toLocationId"] = there.as_str().into(),
                _ => {}
            }
            let Ok((status, answer)) = http.send("POST", "/v1/movements", &line, Some(&movement)) else {
                return;
            };
            match status {
                201 => {
                    let ids = answer["movements"].as_array().expect("movements").iter();
                    let ids =
                        ids.map(|movement| movement["id"].as_str().expect("an id").to_owned()).collect();
                    self.posted.lock().expect("whole").insert(line, ids);
                    self.count.fetch_add(1, Ordering::Relaxed);
                }
                409 => assert_eq!(answer["reason"], "INSUFFICIENT_STOCK", "{answer}"),
                _ => panic!("{status} {answer}"),
            }
        }
    }
}

/// INV-1: what was acknowledged is never lost and never doubled, whenever the process dies.
#[test]
fn what_was_acknowledged_survives_every_kill() {
    let business = Business::new();
    let mut acknowledged = Acknowledged::new();
    let mut made: Option<(Vec<String>, Vec<String>)> = None;
    for round in 0..KILLS {
        let mut server = business.serve();
        let mut http = business.http(&server);
        let (variants, locations) = made.get_or_insert_with(|| {
            let variants = ["A", "B", "C"].map(|sku| http.product(sku)).into();
            (variants, ["NORTH", "SOUTH"].map(|code| http.location(code)).into())
        });
        assert_there(&mut http, variants, &acknowledged);

        let load = Load {
            variants,
            locations,
            posted: Mutex::default(),
            count: AtomicU64::default(),
            stop: AtomicBool::default(),
        };
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (load, http) = (&load, business.http(&server));
                scope.spawn(move || load.call(http, caller, round));
            }
            wait_until("acknowledgements", || LEAST + MORE * round <= load.count.load(Ordering::Relaxed));
            server.process.kill();
            load.stop.store(true, Ordering::Relaxed);
        });
        let new = load.posted.into_inner().expect("whole");
        assert!(LEAST + MORE * round <= new.len() as u64);
        acknowledged.extend(new);
        business.verify();
    }
    let (variants, _) = made.expect("made");
    let server: Server = business.serve();
    assert_there(&mut business.http(&server), &variants, &acknowledged);
    server.stop();
    business.verify();
}

/// Compares every movement of the server with what was acknowledged. What was under way may be there or not,
/// but whole, and not twice.
fn assert_there(http: &mut Http, variants: &[String], acknowledged: &Acknowledged) {
    let mut found = Acknowledged::new();
    for variant in variants {
        let history = http.all(&format!("/v1/movements?variantId={variant}&orderBy=OLDEST"), "movements");
        let mut balances: BTreeMap<String, i64> = BTreeMap::new();
        for (at, movement) in history.iter().enumerate() {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let number =
                |field: &str| movement[field].as_str().expect("a decimal").parse::<i64>().expect("whole");
            assert_eq!(movement["sequence"], (at + 1).to_string(), "a gap");
            let balance = balances.entry(text(&movement["locationId"])).or_default();
            assert_eq!(number("balanceBefore"), *balance);
            *balance += number("quantity");
            assert_eq!(number("balanceAfter"), *balance);
            found.entry(text(&movement["source"]["id"])).or_default().push(text(&movement["id"]));
        }
    }
    for (line, ids) in acknowledged {
        assert_eq!(found.get(line), Some(ids), "{line}");
    }
    for (line, ids) in &found {
        let first = ids[0].clone();
        assert!(ids.len() <= 2 && ids.iter().filter(|id| **id == first).count() == 1, "{line}: {ids:?}");
    }
}
