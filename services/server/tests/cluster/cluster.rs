//! Processes of a cluster, on addresses of this machine that no other test has.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::below::Below;
use crate::http::Http;
use crate::process::{Finished, PATIENCE, Process, command, run, wait_until};

/// The processes of a cluster without a database: name and role are the same.
const OWN: [&str; 5] = ["tenant", "catalog", "stock", "audit", "gateway"];
/// Those over a database; a role is the name up to `-`.
const SHARED: [&str; 9] =
    ["tenant", "tenant-2", "catalog", "catalog-2", "stock", "stock-2", "audit", "gateway", "gateway-2"];

/// A cluster that runs.
pub(crate) struct Cluster {
    folder: TempDir,
    /// The host part of all its addresses: 127.x.y.z.
    host: String,
    names: &'static [&'static str],
    processes: BTreeMap<&'static str, Process>,
    pub(crate) key: String,
    pub(crate) below: Option<Below>,
}

/// An address that no other test has: by process and by number.
fn host() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let (process, test) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{}", 1 + process / 256 % 250, process % 256, test)
}

fn role(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

impl Cluster {
    /// One process per role, each with a store of its own.
    pub(crate) fn own() -> Cluster {
        Cluster::start(&OWN, |_, _| None)
    }

    /// Two processes of most roles over a database and a bus.
    pub(crate) fn shared() -> Cluster {
        Cluster::start(&SHARED, |host, folder| Some(Below::start(host, folder)))
    }

    fn start(names: &'static [&'static str], below: impl FnOnce(&str, &Path) -> Option<Below>) -> Cluster {
        let (folder, host) = (tempdir().unwrap(), host());
        let below = below(&host, folder.path());
        let (processes, key) = Default::default();
        let mut cluster = Cluster { folder, host, names, processes, key, below };
        run(cluster.path(), ["secrets", "--into", "secrets"]).ok();
        for name in names {
            cluster.configure(name);
        }
        if cluster.below.is_some() {
            let migrated =
                run(cluster.path(), ["migrate", "--config", "tenant.toml", "--copies", "1", "--json"]);
            assert_eq!((migrated.code, &migrated.json()["version"]), (Some(0), &json!(1)), "{migrated:?}");
        }
        for name in names {
            cluster.begin(name);
        }
        let args =
            ["init", "--data", "tenant", "--name", "Muster GmbH", "--country", "DE", "--currency", "EUR"];
        let made = run(cluster.path(), args.into_iter().chain(["--json"])).json();
        cluster.key = made["apiKey"].as_str().unwrap().to_owned();
        cluster
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn port(&self, name: &str) -> usize {
        7100 + self.names.iter().position(|other| *other == name).unwrap()
    }

    fn configure(&self, name: &str) {
        let host = &self.host;
        let services = OWN[..4].iter().map(|service| {
            let all = self.names.iter().filter(|name| role(name) == *service);
            let all: Vec<_> = all.map(|name| format!("'{host}:{}'", self.port(name))).collect();
            format!("{service} = [{}]\n", all.join(", "))
        });
        let mut text = format!(
            "[process]\nlisten = '{host}:{}'\ncontext_keys = ['secrets/context-key']\nlinger_ms = 300\n\
             drain_ms = 20000\n[cluster.services]\n{}",
            self.port(name),
            services.collect::<String>()
        );
        if let Some(below) = &self.below {
            text.push_str(&format!(
                "[cql]\ncontact_points = ['{}']\ndatacenter = 'datacenter1'\nsecrets = 'secrets'\n[nats]\n\
                 servers = ['nats://{}']\n",
                below.database(),
                below.bus()
            ));
        }
        std::fs::write(self.path().join(format!("{name}.toml")), text).unwrap();
    }

    /// Where clients reach a door.
    pub(crate) fn url(&self, gateway: &str) -> String {
        let offset = usize::from(gateway != "gateway");
        format!("http://{}:{}", self.host, 8080 + offset)
    }

    /// Starts a process and waits until it is ready.
    pub(crate) fn begin(&mut self, name: &'static str) {
        let (config, listen) = (format!("{name}.toml"), self.url(name).replace("http://", ""));
        let args = ["serve", role(name), "--data", name, "--config", &config, "--listen", &listen, "--json"];
        let process = Process::spawn(command(self.path(), args));
        let Some(line) = process.line(PATIENCE) else {
            panic!("{name} is not ready: {:?}", process.finish())
        };
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["roles"], json!([role(name)]));
        self.processes.insert(name, process);
    }

    pub(crate) fn kill(&mut self, name: &str) {
        self.processes.remove(name).unwrap().kill();
    }

    pub(crate) fn terminate(&mut self, name: &str) -> Finished {
        let process = self.processes.remove(name).unwrap();
        process.terminate();
        process.finish()
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(&self.url("gateway"), &self.key)
    }

    /// Posts a receipt of one piece; the status and the answer.
    pub(crate) fn receive(&self, variant: &str, location: &str, number: usize) -> (u16, Value) {
        let body = receipt(variant, location, number);
        self.http().send("POST", "/v1/movements", &format!("receipt-{number}"), Some(&body)).unwrap()
    }

    /// Waits until the audit log has everything.
    pub(crate) fn audited(&self) {
        wait_until("the audit log is complete", || {
            let found = self.http().get("/v1/auditLog/completeness");
            // Reading it may be an entry of the log's own.
            found["gaps"].as_array().unwrap().iter().all(|gap| gap["service"] == "audit")
        });
    }

    /// Ends all of it in good order.
    pub(crate) fn end(&mut self) {
        for name in self.names.iter().rev() {
            let finished = self.terminate(name);
            assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), ""), "{name}: {finished:?}");
        }
    }

    /// Ends all of it, and verifies every folder.
    pub(crate) fn stop(mut self) {
        self.end();
        for role in &OWN[..4] {
            run(self.path(), ["verify", "--data", role]).ok();
        }
    }
}

/// A receipt of one piece.
pub(crate) fn receipt(variant: &str, location: &str, number: usize) -> Value {
    json!({
        "kind": "purchase.receipt", "variantId": variant, "locationId": location, "quantity": "1",
        "unitCost": {"amount": "2", "currency": "EUR"},
        "source": {"type": "goods_receipt", "id": "R", "lineId": number.to_string()},
    })
}
