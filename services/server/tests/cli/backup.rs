//! `backup` and `restore` on real processes: what arrives, what is refused, what an interruption leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::dataset::{CURRENCY, Dataset, Ledger};
use crate::http::Http;
use crate::import::Business;
use crate::process::{Finished, Process, Server, command, run, serve_args, wait_until};

pub(crate) fn backup(folder: &Path, to: &str) -> Finished {
    run(folder, ["backup", "--data", "data", "--to", to, "--json"])
}

pub(crate) fn restore(folder: &Path, from: &str, into: &str) -> Finished {
    with_root_key(folder, into, run(folder, ["restore", "--from", from, "--into", into, "--json"]))
}

pub(crate) fn restore_tenant(folder: &Path, tenant: &str, from: &str, into: &str) -> Finished {
    let args = ["restore", "--tenant", tenant, "--from", from, "--into", into, "--json"];
    with_root_key(folder, into, run(folder, args))
}

/// Puts the root key to a folder that was made from a backup, as its operator does: it is in none.
fn with_root_key(folder: &Path, into: &str, restored: Finished) -> Finished {
    let (from, to) = (folder.join("data/secrets/root-key"), folder.join(into).join("secrets/root-key"));
    if restored.code == Some(0) && !to.exists() {
        fs::copy(from, to).unwrap();
    }
    restored
}

pub(crate) fn verify(folder: &Path, data: &str) {
    run(folder, ["verify", "--data", data]).ok();
}

pub(crate) fn serve(folder: &Path, data: &str) -> Server {
    Server::ready(Process::spawn(command(folder, serve_args(data))))
}

/// A receipt of one piece; the ids of its movements.
fn receive(http: &mut Http, variant: &str, location: &str, line: &str) -> Vec<String> {
    let movement = json!({
        "kind": "purchase.receipt", "variantId": variant, "locationId": location, "quantity": "1",
        "unitCost": {"currency": CURRENCY, "amount": "2.50"},
        "source": {"type": "goods_receipt", "id": line, "lineId": "1"},
    });
    let posting = http.post("/v1/movements", line, &movement);
    let ids = posting["movements"].as_array().expect("movements").iter();
    ids.map(|movement| movement["id"].as_str().expect("an id").to_owned()).collect()
}

/// Document lines of the movements of a variant, in posting order, their balances checked.
fn lines(http: &mut Http, variant: &str) -> Vec<String> {
    let history = http.all(&format!("/v1/movements?variantId={variant}&orderBy=OLDEST"), "movements");
    let whole = |movement: &Value, field: &str| movement[field].as_str().expect("a decimal").parse::<i64>();
    let mut balances: BTreeMap<String, i64> = BTreeMap::new();
    for (at, movement) in history.iter().enumerate() {
        assert_eq!(movement["sequence"], (at + 1).to_string(), "a gap");
        let balance = balances.entry(movement["locationId"].to_string()).or_default();
        assert_eq!(whole(movement, "balanceBefore"), Ok(*balance));
        *balance += whole(movement, "quantity").expect("whole");
        assert_eq!(whole(movement, "balanceAfter"), Ok(*balance));
    }
    history.iter().map(|movement| movement["source"]["id"].as_str().expect("an id").to_owned()).collect()
}

/// Goal: a backup of a busy server is one causally closed cut with everything that was acknowledged before it.
/// Method: each caller makes a product, then a location, then posts to both, again and again; what a restored server
/// answers is compared with what the callers were told before the backup began.
#[test]
fn a_backup_of_a_busy_server_is_one_cut() {
    const CALLERS: usize = 4;
    const BACKUPS: usize = 3;
    let business = Business::new();
    let server = business.serve();
    let told: Mutex<Vec<(String, Vec<String>)>> = Mutex::default();
    let stop = AtomicBool::new(false);
    let mut before = Vec::new();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (told, stop, mut http) = (&told, &stop, business.http(&server));
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("L-{caller}-{number}");
                    let (variant, location) = (http.product(&name), http.location(&name));
                    let ids = receive(&mut http, &variant, &location, &name);
                    told.lock().expect("whole").push((variant, ids));
                }
            });
        }
        for number in 0..BACKUPS {
            wait_until("acknowledgements", || (number + 1) * 20 <= told.lock().expect("whole").len());
            before.push(told.lock().expect("whole").clone());
            let report = backup(business.path(), &format!("backup-{number}"));
            assert_eq!((report.code, report.stderr.as_str()), (Some(0), ""), "{report:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    server.stop();
    for (number, before) in before.into_iter().enumerate() {
        let into = format!("restored-{number}");
        restore(business.path(), &format!("backup-{number}"), &into).ok();
        verify(business.path(), &into);
        let restored = serve(business.path(), &into);
        let mut http = business.http(&restored);
        let mut found = BTreeMap::new();
        let locations = http.all("/v1/locations", "locations");
        let locations: BTreeSet<&str> =
            locations.iter().map(|location| location["id"].as_str().expect("an id")).collect();
        for balance in http.all("/v1/balances", "balances") {
            let variant = balance["variantId"].as_str().expect("an id").to_owned();
            for place in balance["locations"].as_array().expect("locations") {
                assert!(locations.contains(place["locationId"].as_str().expect("an id")), "{balance}");
            }
            http.get(&format!("/v1/variants/{variant}"));
            let movements = http.all(&format!("/v1/movements?variantId={variant}"), "movements");
            let ids = movements.iter().map(|movement| movement["id"].as_str().expect("an id").to_owned());
            found.insert(variant, ids.collect::<Vec<_>>());
        }
        for (variant, ids) in before {
            assert_eq!(found.get(&variant), Some(&ids), "it was acknowledged before the backup");
        }
        restored.stop();
    }
}

/// A folder with a data set, a backup of it, and what it must lead to.
fn made() -> (Business, Dataset) {
    let business = Business::new();
    let server = business.serve();
    let set = Dataset::new(3, 7, 200);
    let files = set.write(business.path());
    business.import(&server, &files).finish().ok();
    server.stop();
    backup(business.path(), "backup").ok();
    (business, set)
}

#[test]
fn a_stopped_folder_is_backed_up_and_restored_whole() {
    let (business, set) = made();
    let folder = business.path();
    let mode = fs::metadata(folder.join("backup")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "it holds secrets");
    let checked = run(folder, ["restore", "--from", "backup", "--check", "--json"]).json();
    let restored = restore(folder, "backup", "new").json();
    assert_eq!(checked["stores"], restored["stores"]);
    assert!(restored["stores"]["stock"]["entry"].as_u64() >= Some(200), "{restored}");
    assert!(!folder.join("new/restoring").exists());
    verify(folder, "new");
    let server = serve(folder, "new");
    let mut http = business.http(&server);
    assert_eq!(Ledger::fetch(&mut http), set.ledger);
    // The key is kept: nothing is posted twice. And it goes on.
    let again = business.import(&server, &folder.join("files")).finish();
    assert_eq!(again.json()["movements"]["made"], 0, "{again:?}");
    http.product("AFTER-THE-RESTORE");
    server.stop();
    verify(folder, "new");

    // A backup of what was restored holds the same.
    restore(folder, "backup", "second").ok();
    let args = ["backup", "--data", "second", "--to", "again", "--json"];
    assert_eq!(run(folder, args).json()["stores"], checked["stores"]);
}

#[test]
fn nothing_is_replaced() {
    let (business, _) = made();
    let folder = business.path();
    assert!(backup(folder, "backup").refused(64).contains("exists already"));
    assert!(backup(folder, "no/where").refused(74).contains("no/where"));
    let message = restore(folder, "backup", "data");
    assert!(message.refused(64).contains("not empty"), "{message:?}");
    verify(folder, "data");
    assert!(restore(folder, "missing", "new").refused(74).contains("missing"));
    assert!(restore(folder, "files/sales.csv", "new").refused(65).contains("not a backup"));
    let nothing = run(folder, ["backup", "--data", "nowhere", "--to", "other"]);
    assert!(nothing.refused(64).contains("no Cargo Pilot data"), "{nothing:?}");
    for left in ["new", "other", "backup.part", "other.part"] {
        assert!(!folder.join(left).exists(), "{left}");
    }
}

/// INV-1: a backup that is not whole is never taken for one.
#[test]
fn a_damaged_backup_is_refused_before_anything_is_made() {
    let (business, _) = made();
    let folder = business.path();
    let file = fs::read(folder.join("backup")).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(folder.join("damaged"), bytes).unwrap();
        let finished = restore(folder, "damaged", "new");
        let message = finished.refused(65).to_owned();
        assert!(message.contains("'damaged'"), "{message}");
        assert!(!folder.join("new").exists());
        message
    };
    for part in 1..8 {
        let at = file.len() * part / 8;
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        assert!(refused(&damaged).contains("damaged at byte"), "{at}");
        assert!(refused(&file[..at]).contains(&format!("it ends at byte {at}")), "{at}");
    }
    assert!(refused(&[&file[..], b"!"].concat()).contains("follows its end"));
    assert!(refused(b"").contains("not a backup"));
}

#[test]
fn an_interrupted_restore_does_not_start_and_is_run_again() {
    let (business, set) = made();
    let folder = business.path();
    let args = ["restore", "--from", "backup", "--into", "new"];
    let mut restoring = Process::spawn(command(folder, args));
    wait_until("the restore begins", || folder.join("new/restoring").exists());
    restoring.kill();
    if !folder.join("new/restoring").exists() {
        // It was faster than the kill.
        fs::write(folder.join("new/restoring"), "all").unwrap();
    }
    let started = run(folder, serve_args("new"));
    let message = started.refused(74);
    assert!(message.contains("interrupted") && message.contains("--into 'new'"), "{message}");
    assert!(run(folder, ["verify", "--data", "new"]).refused(74).contains("again"));
    let other = restore_tenant(folder, "ten_01h455vb4pex5vsknk084sn02q", "backup", "new");
    assert!(other.refused(74).contains("interrupted"), "{other:?}");

    restore(folder, "backup", "new").ok();
    verify(folder, "new");
    let server = serve(folder, "new");
    assert_eq!(Ledger::fetch(&mut business.http(&server)), set.ledger);
    server.stop();
}

/// A tenant of a folder that others share.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) key: String,
    variant: String,
    location: String,
}

impl Tenant {
    fn new(folder: &Path, slug: &str) -> Tenant {
        let args = ["init", "--data", "data", "--slug", slug, "--name", slug, "--country", "DE"];
        let made = run(folder, args.iter().chain(&["--currency", CURRENCY, "--json"])).json();
        let text = |field: &str| made[field].as_str().expect("a text").to_owned();
        Tenant { id: text("tenantId"), key: text("apiKey"), variant: String::new(), location: String::new() }
    }

    fn prepare(&mut self, server: &Server) {
        let mut http = server.http(&self.key);
        (self.variant, self.location) = (http.product("A"), http.location("HERE"));
    }

    pub(crate) fn receive(&self, server: &Server, lines: std::ops::Range<u32>) {
        let mut http = server.http(&self.key);
        for line in lines {
            receive(&mut http, &self.variant, &self.location, &line.to_string());
        }
    }

    pub(crate) fn lines(&self, server: &Server) -> Vec<String> {
        lines(&mut server.http(&self.key), &self.variant)
    }
}

pub(crate) fn numbers(to: u32) -> Vec<String> {
    (0..to).map(|number| number.to_string()).collect()
}

/// Two tenants with ten movements each, a backup, and ten more each.
pub(crate) fn two_tenants() -> (TempDir, Tenant, Tenant) {
    let folder = tempdir().unwrap();
    let (mut one, mut two) = (Tenant::new(folder.path(), "one"), Tenant::new(folder.path(), "two"));
    let server = serve(folder.path(), "data");
    for tenant in [&mut one, &mut two] {
        tenant.prepare(&server);
        tenant.receive(&server, 0..10);
    }
    backup(folder.path(), "backup").ok();
    one.receive(&server, 10..20);
    two.receive(&server, 10..20);
    let made_later = server.http(&one.key).product("MADE-LATER");
    assert!(!made_later.is_empty());
    server.stop();
    (folder, one, two)
}

/// TEN-9, INV-6: one tenant is as it was, and nothing of another moved.
#[test]
fn one_tenant_is_restored_and_no_other_is_touched() {
    let (folder, one, two) = two_tenants();
    let folder = folder.path();
    restore_tenant(folder, &one.id, "backup", "data").ok();
    verify(folder, "data");
    for round in 0..2 {
        let server = serve(folder, "data");
        assert_eq!(one.lines(&server), numbers(10 + round));
        assert_eq!(two.lines(&server), numbers(20 + round));
        // What was made after the backup is gone, its name is free, and both go on.
        if round == 0 {
            server.http(&one.key).product("MADE-LATER");
        }
        one.receive(&server, 10 + round..11 + round);
        two.receive(&server, 20 + round..21 + round);
        server.stop();
        verify(folder, "data");
    }
}

#[test]
fn an_interrupted_restore_of_a_tenant_is_run_again() {
    let (folder, one, two) = two_tenants();
    let folder = folder.path();
    let args = ["restore", "--tenant", &one.id, "--from", "backup", "--into", "data"];
    let mut restoring = Process::spawn(command(folder, args));
    wait_until("the restore begins", || folder.join("data/restoring").exists());
    restoring.kill();
    if !folder.join("data/restoring").exists() {
        fs::write(folder.join("data/restoring"), &one.id).unwrap();
    }
    let started = run(folder, serve_args("data"));
    let message = started.refused(74);
    assert!(message.contains("interrupted") && message.contains(&one.id), "{message}");
    assert!(restore_tenant(folder, &two.id, "backup", "data").refused(74).contains(&one.id));
    restore_tenant(folder, &one.id, "backup", "data").ok();
    verify(folder, "data");
    let server = serve(folder, "data");
    assert_eq!((one.lines(&server), two.lines(&server)), (numbers(10), numbers(20)));
    server.stop();
}

#[test]
fn one_tenant_is_restored_into_a_new_folder() {
    let (folder, one, two) = two_tenants();
    let folder = folder.path();
    restore_tenant(folder, &two.id, "backup", "new").ok();
    verify(folder, "new");
    let server = serve(folder, "new");
    assert_eq!(two.lines(&server), numbers(10));
    let (status, _) = server.http(&one.key).send("GET", "/v1/balances", "", None).unwrap();
    assert_eq!(status, 401, "the other one is not there");
    two.receive(&server, 10..12);
    server.stop();
    // The other one may follow.
    restore_tenant(folder, &one.id, "backup", "new").ok();
    verify(folder, "new");
    let server = serve(folder, "new");
    assert_eq!((one.lines(&server), two.lines(&server)), (numbers(10), numbers(12)));
    server.stop();

    let unknown = restore_tenant(folder, "ten_01h455vb4pex5vsknk084sn02q", "backup", "other");
    assert!(unknown.refused(64).contains("no tenant"), "{unknown:?}");
    let wrong = restore_tenant(folder, "main", "backup", "other");
    assert!(wrong.refused(64).contains("--tenant 'main'"), "{wrong:?}");
    assert!(!folder.join("other").exists());
    // Its keys would not work in a folder with other secrets.
    let stranger = Business::new();
    fs::copy(folder.join("backup"), stranger.path().join("backup")).unwrap();
    let refused = restore_tenant(stranger.path(), &one.id, "backup", "data");
    assert!(refused.refused(64).contains("new folder"), "{refused:?}");
    stranger.verify();
}
