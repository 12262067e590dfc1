//! Files for an import, and what the ledger must say afterwards: computed here, without the server's code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::http::Http;

pub(crate) const CURRENCY: &str = "EUR";
pub(crate) const PRODUCTS: &str = "sku,name,brand,category,base_unit,quantity_scale,barcode";
pub(crate) const LOCATIONS: &str = "code,name";
pub(crate) const OPENING: &str = "source_id,line_id,sku,location,quantity,total_cost,currency,occurred_at";
pub(crate) const SALES: &str = "basket_id,line_id,sku,location,quantity,sales_value,currency,occurred_at";

/// Thousandths in one unit: the finest quantity in the files.
const UNIT: i64 = 1000;

/// What is on hand, per item and location, with the number of movements; and per item with its value.
#[derive(Debug, PartialEq, Eq, Default, Clone)]
pub(crate) struct Ledger {
    /// (sku, location) to (thousandths, movements).
    pub(crate) places: BTreeMap<(String, String), (i64, u64)>,
    /// sku to (thousandths, cents, movements).
    pub(crate) items: BTreeMap<String, (i64, i64, u64)>,
}

impl Ledger {
    fn add(&mut self, sku: &str, location: &str, quantity: i64, value: i64) {
        let place = self.places.entry((sku.to_owned(), location.to_owned())).or_default();
        *place = (place.0 + quantity, place.1 + 1);
        let item = self.items.entry(sku.to_owned()).or_default();
        *item = (item.0 + quantity, item.1 + value, item.2 + 1);
    }

    /// Goods leave at the moving average: value * quantity / on hand, ties away from zero.
    fn sell(&mut self, sku: &str, location: &str, quantity: i64) {
        let (on_hand, value, _) = self.items[sku];
        let cost = (2 * value * quantity + on_hand) / (2 * on_hand);
        self.add(sku, location, -quantity, -cost);
    }

    pub(crate) fn movements(&self) -> u64 {
        self.items.values().map(|(_, _, movements)| movements).sum()
    }

    /// What the server says.
    pub(crate) fn fetch(http: &mut Http) -> Ledger {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &serde_json::Value| text(value).parse::<u64>().unwrap_or_default();
        let named = |rows: Vec<serde_json::Value>, name: &str| -> BTreeMap<String, String> {
            rows.iter().map(|row| (text(&row["id"]), text(&row[name]))).collect()
        };
        let skus = named(http.all("/v1/variants", "variants"), "sku");
        let codes = named(http.all("/v1/locations", "locations"), "code");
        let mut ledger = Ledger::default();
        for balance in http.all("/v1/balances", "balances") {
            let sku = &skus[&text(&balance["variantId"])];
            let value = scaled(&text(&balance["value"]["amount"]), 2);
            let item = (scaled(&text(&balance["onHand"]), 3), value, number(&balance["sequence"]));
            assert_eq!(ledger.items.insert(sku.clone(), item), None, "{sku} is listed twice");
            for place in balance["locations"].as_array().expect("locations") {
                let at = (sku.clone(), codes[&text(&place["locationId"])].clone());
                ledger.places.insert(at, (scaled(&text(&place["onHand"]), 3), number(&place["movements"])));
            }
        }
        ledger
    }
}

/// Reads a decimal as an integer of 10^-`places`.
fn scaled(text: &str, places: usize) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= places, "{text}");
    format!("{whole}{fraction:0<places$}").parse().unwrap_or_else(|_| panic!("{text:?} is no decimal"))
}

/// Rows of all four files, and the ledger that they lead to.
pub(crate) struct Dataset {
    pub(crate) files: [(&'static str, String); 4],
    pub(crate) rows: u64,
    pub(crate) products: u64,
    pub(crate) locations: u64,
    pub(crate) ledger: Ledger,
}

impl Dataset {
    /// About `sales` sales of `items` items at three locations. The same seed gives the same rows.
    pub(crate) fn new(seed: u64, items: usize, sales: usize) -> Dataset {
        const PLACES: [&str; 3] = ["NORTH", "SOUTH", "web/1"];
        let mut random = Random(seed);
        let mut ledger = Ledger::default();
        let mut products = format!("{PRODUCTS}\n");
        let mut opening = format!("{OPENING}\n");
        let (mut skus, mut lines) = (Vec::new(), 0);
        for number in 0..items {
            let sku = format!("SKU-{number:04}");
            // Every fifth is weighed.
            let weighed = number % 5 == 0;
            let unit = if weighed { "KGM,3" } else { "," };
            writeln!(products, "{sku},\"Item {number}, \"\"fine\"\"\",Ours,Things,{unit},").expect("text");
            for place in PLACES {
                let quantity =
                    if weighed { random.below(900_000) + 1 } else { (random.below(900) + 1) * UNIT };
                let cents = random.below(10_000_000);
                lines += 1;
                writeln!(
                    opening,
                    "OPEN-{place},{lines},{sku},{place},{},{}.{:02},{CURRENCY},2025-01-01T00:00:00Z",
                    decimal(quantity),
                    cents / 100,
                    cents % 100
                )
                .expect("text");
                ledger.add(&sku, place, quantity, cents);
            }
            skus.push((sku, weighed));
        }
        let mut file = format!("{SALES}\n");
        let mut sold = 0;
        for sale in 0..sales {
            let (sku, weighed) = &skus[usize::try_from(random.below(items as i64)).expect("small")];
            let place = PLACES[usize::try_from(random.below(3)).expect("small")];
            let wanted = if *weighed { random.below(3000) + 1 } else { (random.below(3) + 1) * UNIT };
            let left = ledger.places[&(sku.clone(), place.to_owned())].0;
            // The last piece is sold too.
            let quantity = wanted.min(left);
            if quantity == 0 {
                continue;
            }
            sold += 1;
            let day = sale * 300 / sales;
            writeln!(
                file,
                "T1-{:05},{},{sku},{place},{},1.99,{CURRENCY},2025-{:02}-{:02}T12:00:00Z",
                sale / 3,
                sale % 3 + 1,
                decimal(quantity),
                2 + day / 28 % 11,
                1 + day % 28
            )
            .expect("text");
            ledger.sell(sku, place, quantity);
        }
        let locations = PLACES.map(|place| format!("{place},Place {place}\n")).concat();
        let files = [
            ("products.csv", products),
            ("locations.csv", format!("{LOCATIONS}\n{locations}")),
            ("opening.csv", opening),
            ("sales.csv", file),
        ];
        let (products, locations) = (items as u64, PLACES.len() as u64);
        Dataset { files, rows: products + locations + lines + sold, products, locations, ledger }
    }

    /// Writes the files below `folder`.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let files: Vec<_> = self.files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        write(folder, &files)
    }
}

/// Writes files below `folder`, nothing else there.
pub(crate) fn write(folder: &Path, files: &[(&str, &[u8])]) -> PathBuf {
    let files_folder = folder.join("files");
    let _ = fs::remove_dir_all(&files_folder);
    fs::create_dir(&files_folder).expect("a folder");
    for (name, bytes) in files {
        fs::write(files_folder.join(name), bytes).expect("a file");
    }
    files_folder
}

fn decimal(thousandths: i64) -> String {
    let (whole, rest) = (thousandths / UNIT, thousandths % UNIT);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}") }
}

/// Numbers that look random: the same for the same seed. Source: splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From 0 to `limit`, not included.
    pub(crate) fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((mixed ^ (mixed >> 31)) >> 1).expect("63 bits") % limit
    }
}
