//! `import`: what arrives, and that it arrives once.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::dataset::{CURRENCY, Dataset, Ledger};
use crate::http::Http;
use crate::process::{Finished, Process, Server, command, run};

/// A folder with a business of its own, and the owner's key.
pub(crate) struct Business {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) key: String,
}

impl Business {
    pub(crate) fn new() -> Business {
        let folder = tempdir().unwrap();
        let args =
            ["init", "--data", "data", "--name", "X", "--country", "DE", "--currency", CURRENCY, "--json"];
        let key = run(folder.path(), args).json()["apiKey"].as_str().unwrap().to_owned();
        Business { folder, key }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn serve(&self) -> Server {
        Server::start(self.path(), &[])
    }

    /// Starts an import of `files`.
    pub(crate) fn import(&self, server: &Server, files: &Path) -> Process {
        self.import_with(server, &self.key, files, &["--json"])
    }

    pub(crate) fn import_with(&self, server: &Server, key: &str, files: &Path, extra: &[&str]) -> Process {
        let files = files.to_str().unwrap();
        let args = ["import", files, "--url", &server.url, "--key", key];
        Process::spawn(command(self.path(), args.iter().chain(extra)))
    }

    pub(crate) fn http(&self, server: &Server) -> Http {
        server.http(&self.key)
    }

    pub(crate) fn verify(&self) {
        run(self.path(), ["verify", "--data", "data"]).ok();
    }
}

/// Made and there already, of products, locations, movements.
pub(crate) fn counts(finished: &Finished) -> [(u64, u64); 3] {
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    let report = finished.json();
    assert_eq!(report["refusedRows"], 0, "{report}");
    ["products", "locations", "movements"].map(|kind| {
        let count = |what: &str| report[kind][what].as_u64().unwrap();
        (count("made"), count("thereAlready"))
    })
}

#[test]
fn everything_arrives_once() {
    let business = Business::new();
    let server = business.serve();
    let set = Dataset::new(1, 23, 3000);
    let files = set.write(business.path());
    let movements = set.ledger.movements();

    let first = business.import(&server, &files).finish();
    assert_eq!(counts(&first), [(set.products, 0), (set.locations, 0), (movements, 0)]);
    assert_eq!(first.json()["rows"], set.rows);
    let mut http = business.http(&server);
    assert_eq!(Ledger::fetch(&mut http), set.ledger);

    // A line of a receipt becomes a movement with its document.
    let item = http.get("/v1/variants?sku=SKU-0001")["variants"][0].clone();
    assert_eq!((&item["baseUnit"], &item["productName"]), (&json!("C62"), &json!("Item 1, \"fine\"")));
    let history = format!("/v1/movements?variantId={}&orderBy=OLDEST", item["id"].as_str().unwrap());
    let history = http.all(&history, "movements");
    assert_eq!(history.len() as u64, set.ledger.items["SKU-0001"].2);
    assert_eq!(
        (&history[0]["kind"], &history[0]["source"]["type"]),
        (&json!("adjustment.opening"), &json!("opening"))
    );
    let sale = history.last().unwrap();
    assert_eq!((&sale["kind"], &sale["note"]), (&json!("sale.shipment"), &json!("sold for 1.99 EUR")));
    assert!(sale["source"]["id"].as_str().unwrap().starts_with("T1-"), "{sale}");

    // Again: nothing changes, in the whole and file by file, and for people in words.
    let again = business.import(&server, &files).finish();
    assert_eq!(counts(&again), [(0, set.products), (0, set.locations), (0, movements)]);
    for (name, _) in &set.files {
        let one = business.import(&server, &files.join(name)).finish();
        assert!(counts(&one).iter().all(|(made, _)| *made == 0), "{name}");
    }
    let text = business.import_with(&server, &business.key, &files, &[]).finish().ok();
    assert!(text.contains(&format!("movements          0 made, {movements:>9} there already")), "{text}");
    assert_eq!(Ledger::fetch(&mut http), set.ledger);

    // With another key of the tenant, too.
    let clerk = http.post("/v1/apiKeys", "", &json!({"name": "till", "role": "clerk"}));
    let clerk = clerk["secret"].as_str().unwrap();
    let theirs = business.import_with(&server, clerk, &files, &["--json"]).finish();
    assert_eq!(counts(&theirs), [(0, set.products), (0, set.locations), (0, movements)]);
    assert_eq!(Ledger::fetch(&mut http), set.ledger);
    server.stop();
    business.verify();
}

/// Beside the server, neither its URL nor a key is needed.
#[test]
fn the_data_folder_says_where_the_server_is() {
    let folder = tempdir().unwrap();
    let set = Dataset::new(2, 4, 10);
    let files = set.write(folder.path());
    for (name, text) in &set.files {
        fs::write(files.join(name), text.replace(CURRENCY, "USD")).unwrap();
    }
    let args = ["import", files.to_str().unwrap(), "--data", "data", "--json"];
    let none = run(folder.path(), args);
    assert!(none.refused(64).contains("cargo-pilot serve"), "{none:?}");

    let server = Server::start(folder.path(), &["--demo"]);
    assert_eq!(counts(&run(folder.path(), args))[2], (set.ledger.movements(), 0));
    let ledger = Ledger::fetch(&mut server.demo());
    for (sku, item) in &set.ledger.items {
        assert_eq!(&ledger.items[sku], item);
    }
    let url = server.url.clone();
    server.stop();
    let gone = run(folder.path(), args);
    assert!(gone.refused(64).contains("no server runs"), "{gone:?}");
    let gone = run(folder.path(), args.iter().chain(&["--url", &url]));
    assert!(gone.refused(69).contains(&url), "{gone:?}");
}

/// What others did with the items stays, and rows that came before are still known.
#[test]
fn an_import_goes_on_where_others_were_busy() {
    let business = Business::new();
    let server = business.serve();
    let set = Dataset::new(3, 5, 40);
    let files = set.write(business.path());
    let mut http = business.http(&server);
    // An item and a location of the files are there already, with stock.
    let (variant, location) = (http.product("SKU-0001"), http.location("NORTH"));
    let receipt = json!({
        "kind": "purchase.receipt", "variantId": variant, "locationId": location, "quantity": "7",
        "unitCost": {"currency": CURRENCY, "amount": "0"},
        "source": {"type": "goods_receipt", "id": "GR-1", "lineId": "1"},
        "occurredAt": "2024-12-01T00:00:00Z",
    });
    http.post("/v1/movements", "gr-1", &receipt);
    let movements = set.ledger.movements();
    let first = business.import(&server, &files).finish();
    assert_eq!(counts(&first), [(4, 1), (2, 1), (movements, 0)]);
    let again = business.import(&server, &files).finish();
    assert_eq!(counts(&again)[2], (0, movements));
    let (ledger, at) = (Ledger::fetch(&mut http), ("SKU-0001".to_owned(), "NORTH".to_owned()));
    let (on_hand, count) = set.ledger.places[&at];
    assert_eq!(ledger.places[&at], (on_hand + 7000, count + 1));
    server.stop();
    business.verify();
}

/// An answer to the whole command, before anything is read or sent.
#[test]
fn what_cannot_be_imported_at_all_is_said_at_once() {
    let business = Business::new();
    let server = business.serve();
    let set = Dataset::new(4, 3, 5);
    let files = set.write(business.path());
    let file = |name: &str| files.join(name).to_str().unwrap().to_owned();
    fs::write(files.join("stock.csv"), "sku\n").unwrap();
    fs::create_dir(business.path().join("empty")).unwrap();
    fs::create_dir(business.path().join("more")).unwrap();
    fs::copy(file("sales.csv"), business.path().join("more/sales.csv")).unwrap();
    let mut http = business.http(&server);
    let viewer = http.post("/v1/apiKeys", "", &json!({"name": "eyes", "role": "viewer"}));
    let clerk = http.post("/v1/apiKeys", "", &json!({"name": "till", "role": "clerk"}));
    let secret = |key: &Value| key["secret"].as_str().unwrap().to_owned();
    let (viewer, clerk) = (secret(&viewer), secret(&clerk));

    let (url, key) = (server.url.as_str(), business.key.as_str());
    let check = |paths: &[&str], url: &str, key: &str, code: i32, words: &[&str]| {
        let finished = run(business.path(), [&["import"], paths, &["--url", url, "--key", key]].concat());
        let message = finished.refused(code);
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
        assert_eq!(finished.stdout, "");
    };
    let all = files.to_str().unwrap();
    let stranger = key.replace(&key[key.len() - 4..], "0000");
    check(&["nowhere"], url, key, 64, &["no file or folder 'nowhere'"]);
    check(&[&file("stock.csv")], url, key, 64, &["stock.csv", "sales.csv"]);
    check(&["empty"], url, key, 64, &["none of", "sales.csv"]);
    check(&[all, "more"], url, key, 64, &["more/sales.csv", "one after the other"]);
    check(&[all], url, &stranger, 64, &["does not know this API key", "--key"]);
    check(&[all], url, "cp_live_\u{7}", 64, &["characters"]);
    check(
        &[all],
        url,
        &viewer,
        64,
        &["product.create", "location.create", "stock.post", "nothing was imported"],
    );
    check(&[all], url, &clerk, 64, &["permission location.create:", "owner"]);
    check(&[all], "127.0.0.1:8080", key, 64, &["--url", "http://"]);
    check(&[all], "https://127.0.0.1:8080", key, 64, &["http://"]);
    check(&[all], "http://127.0.0.1:1", key, 69, &["no server answers", "cargo-pilot serve"]);
    assert_eq!(http.all("/v1/variants", "variants").len(), 0);
    assert_eq!(http.all("/v1/locations", "locations").len(), 0);

    // The key can come from the environment, where other users do not see it.
    let mut import = command(business.path(), ["import", all, "--url", url, "--json"]);
    import.env("CARGO_PILOT_KEY", key);
    assert_eq!(counts(&Process::spawn(import).finish())[2], (set.ledger.movements(), 0));
    // A clerk may import what makes no new location.
    check(&[all], url, &viewer, 64, &["permission stock.post:"]);
    server.stop();
}
