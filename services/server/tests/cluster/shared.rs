//! Several processes of a role over one database and one bus.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use serde_json::json;

use crate::cluster::{Cluster, receipt};
use crate::http::Http;
use crate::process::{run, wait_until};

/// Callers at the same time; `CLUSTER_CALLERS=64` has more, for a measurement.
fn callers() -> usize {
    std::env::var("CLUSTER_CALLERS").ok().and_then(|callers| callers.parse().ok()).unwrap_or(4)
}

/// Callers that post one receipt after the other, each under a key of its own, until they are stopped. What was not
/// acknowledged they repeat, and write down that they had to.
struct Load {
    stop: Arc<AtomicBool>,
    next: Arc<AtomicUsize>,
    /// What was answered instead of an acknowledgement.
    failed: Arc<Mutex<Vec<String>>>,
    /// The door that is used.
    door: Arc<Mutex<String>>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(cluster: &Cluster, variants: &[String], location: &str, door: &str) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let (next, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let door = Arc::new(Mutex::new(cluster.url(door)));
        let callers = (0..callers()).map(|caller| {
            let (stop, next, failed, door) =
                (Arc::clone(&stop), Arc::clone(&next), Arc::clone(&failed), Arc::clone(&door));
            let variant = variants[caller % variants.len()].clone();
            let (key, location) = (cluster.key.clone(), location.to_owned());
            thread::spawn(move || {
                let mut at = door.lock().unwrap().clone();
                let mut http = Http::new(&at, &key);
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let body = receipt(&variant, &location, number);
                    loop {
                        let now = door.lock().unwrap().clone();
                        if now != at {
                            http = Http::new(&now, &key);
                            at = now;
                        }
                        let answer =
                            http.send("POST", "/v1/movements", &format!("load-{number}"), Some(&body));
                        match answer {
                            Ok((201, _)) => break,
                            other => failed.lock().unwrap().push(format!("{number}: {other:?}")),
                        }
                    }
                }
            })
        });
        Load { callers: callers.collect(), stop, next, failed, door }
    }

    /// Waits until so many more are acknowledged, or about to be.
    fn go_on(&self, more: usize) {
        let until = self.next.load(Ordering::Relaxed) + more;
        wait_until("postings go on", || self.next.load(Ordering::Relaxed) >= until);
    }

    fn take_failed(&self) -> Vec<String> {
        std::mem::take(&mut *self.failed.lock().unwrap())
    }

    /// How many were acknowledged.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.into_iter().for_each(|caller| caller.join().unwrap());
        self.next.load(Ordering::Relaxed)
    }
}

/// Every process is restarted in turn under load, and no request fails. Then processes, the bus and the database fail
/// at the worst moments: what was acknowledged is there, once, and the audit log has all of it.
#[test]
fn a_cluster_on_a_database_loses_nothing() {
    let mut cluster = Cluster::shared();
    let mut http = cluster.http();
    let location = http.location("MAIN");
    // Two callers share a hot item.
    let variants: Vec<String> = ["HOT", "COLD-1", "COLD-2"].map(|sku| http.product(sku)).to_vec();
    let load = Load::start(&cluster, &variants, &location, "gateway");
    load.go_on(20);

    let (since, before) = (Instant::now(), load.next.load(Ordering::Relaxed));
    for name in ["stock", "stock-2", "catalog", "catalog-2", "tenant", "tenant-2", "audit"] {
        let finished = cluster.terminate(name);
        assert_eq!(finished.code, Some(0), "{name}: {finished:?}");
        load.go_on(8);
        cluster.begin(name);
        load.go_on(8);
    }
    // A balancer before the doors leaves the one that is not ready any more.
    for (name, other) in [("gateway", "gateway-2"), ("gateway-2", "gateway")] {
        *load.door.lock().unwrap() = cluster.url(other);
        load.go_on(2 * callers());
        let finished = cluster.terminate(name);
        assert_eq!(finished.code, Some(0), "{name}: {finished:?}");
        load.go_on(8);
        cluster.begin(name);
    }
    let (posted, took) = (load.next.load(Ordering::Relaxed) - before, since.elapsed());
    eprintln!("{posted} postings of {} callers in {took:?} while every process was restarted", callers());
    assert_eq!(load.take_failed(), Vec::<String>::new(), "no request fails while processes are restarted");

    cluster.kill("stock");
    load.go_on(8);
    cluster.below.as_mut().unwrap().kill_bus();
    load.go_on(8);
    cluster.kill("audit");
    cluster.begin("stock");
    load.go_on(8);
    let below = cluster.below.as_mut().unwrap();
    below.hang(true);
    wait_until("a caller notices that the database hangs", || !load.failed.lock().unwrap().is_empty());
    below.hang(false);
    load.go_on(8);
    below.start_bus();
    cluster.begin("audit");
    load.go_on(8);
    let failed = load.take_failed();
    // Not known yet, nobody there, or the first try is still being pursued.
    let again = ["Ok((503,", "Ok((504,", "IDEMPOTENCY_IN_PROGRESS"];
    let told = |failed: &String| again.iter().any(|again| failed.contains(again));
    assert!(failed.iter().all(told), "callers are told to try again: {failed:#?}");

    let posted = load.stop();
    let mut http = cluster.http();
    let on_hand = |http: &mut Http, variant: &String| {
        let balance = http.get(&format!("/v1/balances/{variant}"));
        balance["onHand"].as_str().unwrap().parse::<usize>().unwrap()
    };
    let found: usize = variants.iter().map(|variant| on_hand(&mut http, variant)).sum();
    assert_eq!(found, posted, "each acknowledged posting is there, once");
    // All or none, over several items.
    let sale = |variant: &String, quantity: &str, line: &str| {
        json!({
            "kind": "sale.shipment", "variantId": variant, "locationId": location, "quantity": quantity,
            "source": {"type": "pos_receipt", "id": "S", "lineId": line},
        })
    };
    let batch = |quantity: &str| json!({"atomic": true, "movements": [sale(&variants[0], "1", "1"), sale(&variants[1], quantity, "2")]});
    let (status, refused) =
        http.send("POST", "/v1/movements:batchCreate", "too-much", Some(&batch("1000000"))).unwrap();
    assert_eq!((status, &refused["reason"]), (409, &json!("INSUFFICIENT_STOCK")), "{refused}");
    http.post("/v1/movements:batchCreate", "fits", &batch("1"));
    let left: usize = variants.iter().map(|variant| on_hand(&mut http, variant)).sum();
    assert_eq!(left, posted - 2);
    cluster.audited();
    // A folder stays with its process: nobody else starts on it, and none of its commands makes stores there.
    let twice = ["serve", "stock", "--data", "stock", "--config", "stock-2.toml"];
    let same = run(cluster.path(), twice);
    assert!(matches!(same.code, Some(74 | 75)), "{same:?}");
    cluster.end();
    // A second witness would sign whatever it is shown.
    let other = ["serve", "audit", "--data", "audit-2", "--config", "audit.toml"];
    let refused = run(cluster.path(), other).refused(74).to_owned();
    assert!(refused.contains("'audit-2'") && refused.contains("witness"), "{refused}");
    for args in [&["verify", "--data", "stock"][..], &["owner-key", "--data", "tenant"]] {
        let refused = run(cluster.path(), args).refused(64).to_owned();
        assert!(refused.contains("in a database"), "{args:?}: {refused}");
    }
}
