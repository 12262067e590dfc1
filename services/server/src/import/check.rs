//! Checks rows among each other and against what the server has, before anything is sent.

use std::collections::{HashMap, HashSet};

use calendar::Instant;
use catalog::domain::gtin;
use journal::{Env as _, SystemEnv};
use quantity::Quantity;

use crate::cli::Failure;
use crate::import::client::{Business, Known, Place, Stock};
use crate::import::files::{Files, Kind, Row, Wrong};
use crate::import::report::Report;
use crate::import::rows::{self, Line, QUANTITY_MAX};

/// Rows between two steps of the progress bar.
const STEP_ROWS: u64 = 4096;
/// How far clocks may differ, in seconds.
const FUTURE_S_MAX: i64 = 300;
const DAY_S: i64 = 86_400;

/// How many rows there are.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) products: u64,
    pub(crate) locations: u64,
    pub(crate) movements: u64,
    /// Products and locations that the server does not have.
    new_products: u64,
    new_locations: u64,
}

impl Plan {
    pub(crate) fn rows(&self) -> u64 {
        self.products + self.locations + self.movements
    }

    /// Sees that the key may do all of it.
    pub(crate) fn permitted(&self, known: &Known) -> Result<(), Failure> {
        let needs = [
            (self.new_products, "product.create"),
            (self.new_locations, "location.create"),
            (self.movements, "stock.post"),
        ];
        let lacking: Vec<&str> = needs
            .into_iter()
            .filter(|(rows, permission)| 0 < *rows && !known.business.permissions.allows(permission))
            .map(|(_, permission)| permission)
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "the API key lacks the permission {}: use the key of an owner; nothing was imported",
            lacking.join(" and ")
        )))
    }
}

/// Reads and checks all files. Wrong rows go to the report.
pub(crate) fn all(files: &Files, known: Option<&Known>, report: &mut Report) -> Result<Plan, Failure> {
    report.start("checking", files.bytes(), true);
    for kind in Kind::ALL {
        let Some(reader) = files.open(kind)? else { continue };
        for wrong in &reader.header_faults {
            report.wrong(&reader.path, 1, wrong);
        }
    }
    let mut plan = Plan::default();
    if 0 < report.wrong_rows() {
        return Ok(plan); // nothing can be said of the rows
    }
    let mut check = Check::new(files, known);
    let mut before = 0;
    for kind in Kind::ALL {
        let Some(mut reader) = files.open(kind)? else { continue };
        let path = reader.path.clone();
        let mut lines = HashSet::new();
        let mut rows = 0;
        let mut wrong = Vec::new();
        while let Some(row) = reader.next()? {
            rows += 1;
            let line = match row {
                Ok(row) => {
                    check.row(kind, &row, &mut lines, &mut wrong);
                    row.line
                }
                Err(unreadable) => {
                    wrong.push(unreadable.wrong);
                    unreadable.line
                }
            };
            report.wrong_row(&path, line, &mut wrong);
            if rows % STEP_ROWS == 0 {
                report.at(before + reader.bytes());
            }
        }
        before += reader.bytes();
        match kind {
            Kind::Products => plan.products = rows,
            Kind::Locations => plan.locations = rows,
            Kind::Opening | Kind::Sales => plan.movements += rows,
        }
    }
    (plan.new_products, plan.new_locations) = (check.new_products, check.new_locations);
    report.end();
    Ok(plan)
}

/// What is known of a product.
#[derive(Clone, Copy)]
struct Item {
    number: u32,
    scale: u8,
    /// A row of the file.
    listed: bool,
}

/// What is known of a location.
#[derive(Clone, Copy)]
struct Location {
    number: u32,
    listed: bool,
    place: Place,
}

/// One item at one location, while its rows go by.
#[derive(Default)]
struct Balance {
    /// What the rows so far lead to.
    on_hand: i64,
    rows: u64,
    latest: Option<Instant>,
    /// What the server has.
    there: Stock,
    /// The server has what the first rows lead to, as after an interrupted import, or nothing at all.
    ours: bool,
}

struct Check<'a> {
    business: Option<&'a Business>,
    stock: Option<&'a HashMap<(u32, u32), Stock>>,
    /// Without a file of products or a server, nobody knows which there are.
    knows_items: bool,
    knows_places: bool,
    items: HashMap<String, Item>,
    locations: HashMap<String, Location>,
    /// Barcodes and whose they are.
    barcodes: HashMap<String, String>,
    balances: HashMap<(u32, u32), Balance>,
    new_products: u64,
    new_locations: u64,
    now: Instant,
}

impl<'a> Check<'a> {
    fn new(files: &Files, known: Option<&'a Known>) -> Check<'a> {
        let mut check = Check {
            business: known.map(|known| &known.business),
            stock: known.map(|known| &known.stock),
            knows_items: files.has(Kind::Products) || known.is_some(),
            knows_places: files.has(Kind::Locations) || known.is_some(),
            items: HashMap::new(),
            locations: HashMap::new(),
            barcodes: HashMap::new(),
            balances: HashMap::new(),
            new_products: 0,
            new_locations: 0,
            now: SystemEnv.now(),
        };
        let Some(known) = known else { return check };
        for (sku, variant) in &known.variants {
            let item = Item { number: variant.number, scale: variant.scale, listed: false };
            check.items.insert(sku.clone(), item);
        }
        for (code, location) in &known.locations {
            let location = Location { number: location.number, listed: false, place: location.place };
            check.locations.insert(code.clone(), location);
        }
        check.barcodes.clone_from(&known.barcodes);
        check
    }

    fn row(&mut self, kind: Kind, row: &Row<'_>, seen: &mut HashSet<u128>, wrong: &mut Vec<Wrong>) {
        match kind {
            Kind::Products => self.product(row, wrong),
            Kind::Locations => self.location(row, wrong),
            Kind::Opening | Kind::Sales => self.movement(kind, row, seen, wrong),
        }
    }

    fn product(&mut self, row: &Row<'_>, wrong: &mut Vec<Wrong>) {
        let product = rows::product(row, wrong);
        if product.sku.is_empty() {
            return;
        }
        let new = Item { number: number(self.items.len()), scale: product.scale, listed: false };
        let fresh = !self.items.contains_key(product.sku);
        let item = self.items.entry(product.sku.to_owned()).or_insert(new);
        if std::mem::replace(&mut item.listed, true) {
            wrong.push(Wrong::new("sku", format!("'{}' stands twice in this file", product.sku)));
        } else if fresh {
            self.new_products += 1;
            self.barcode(product.sku, product.barcode, wrong);
        }
    }

    fn barcode(&mut self, sku: &str, barcode: &str, wrong: &mut Vec<Wrong>) {
        if barcode.is_empty() {
            return;
        }
        let barcode = gtin::normalise(barcode).unwrap_or_else(|_| barcode.to_owned());
        if let Some(other) = self.barcodes.get(&barcode) {
            wrong.push(Wrong::new("barcode", format!("'{barcode}' is that of product '{other}'")));
        } else {
            self.barcodes.insert(barcode, sku.to_owned());
        }
    }

    fn location(&mut self, row: &Row<'_>, wrong: &mut Vec<Wrong>) {
        let (code, _) = rows::location(row, wrong);
        if code.is_empty() {
            return;
        }
        let new = Location { number: number(self.locations.len()), listed: false, place: Place::default() };
        self.new_locations += u64::from(!self.locations.contains_key(code));
        let location = self.locations.entry(code.to_owned()).or_insert(new);
        if std::mem::replace(&mut location.listed, true) {
            wrong.push(Wrong::new("code", format!("'{code}' stands twice in this file")));
        }
    }

    fn movement(&mut self, kind: Kind, row: &Row<'_>, seen: &mut HashSet<u128>, wrong: &mut Vec<Wrong>) {
        let Some(line) = rows::line(kind, row, wrong) else { return };
        if !seen.insert(fingerprint(line.document, line.line)) {
            let what = format!("line '{}' of '{}' stands twice in this file", line.line, line.document);
            wrong.push(Wrong::new("line_id", what));
        }
        if self.now.plus_seconds(FUTURE_S_MAX) < line.occurred_at {
            wrong.push(Wrong::new("occurred_at", format!("'{}' is in the future", line.occurred_at)));
        }
        self.money(kind, &line, wrong);
        let item = self.items.get(line.sku).copied();
        match item {
            None if self.knows_items => {
                wrong.push(Wrong::new("sku", format!("there is no product '{}'", line.sku)));
            }
            Some(item) if u32::from(item.scale) < line.quantity.decimal_places() => {
                let what = format!("'{}' has more than {} decimal places", line.quantity, item.scale);
                wrong.push(Wrong::new("quantity", what));
            }
            _ => {}
        }
        let place = self.locations.get(line.location).copied();
        if place.is_none() && self.knows_places {
            wrong.push(Wrong::new("location", format!("there is no location '{}'", line.location)));
        }
        if let (Some(item), Some(location), true) = (item, place, wrong.is_empty()) {
            self.balance(kind, &line, item.number, location, wrong);
        }
    }

    /// Opening stock is valued in the currency of the business; that of a sale is only noted.
    fn money(&self, kind: Kind, line: &Line<'_>, wrong: &mut Vec<Wrong>) {
        let (Kind::Opening, Some(business)) = (kind, self.business) else { return };
        if line.currency != business.currency {
            let what =
                format!("'{}' is not the currency of the business, '{}'", line.currency, business.currency);
            wrong.push(Wrong::new("currency", what));
        } else if money::parse_decimal(line.amount, business.cost_scale).is_err() {
            let what = format!("'{}' must have at most {} decimal places", line.amount, business.cost_scale);
            wrong.push(Wrong::new("total_cost", what));
        }
    }

    /// Follows what is on hand. Whether the server has some of these rows already, after an interrupted
    /// import, is not known, but how many at most. What else moved the item, the server decides by itself.
    fn balance(
        &mut self,
        kind: Kind,
        line: &Line<'_>,
        item: u32,
        location: Location,
        wrong: &mut Vec<Wrong>,
    ) {
        let at = (item, location.number);
        let there = self.stock.and_then(|stock| stock.get(&at)).copied().unwrap_or_default();
        let balance = self.balances.entry(at).or_insert_with(|| Balance {
            there,
            ours: there.movements == 0,
            ..Balance::default()
        });
        balance.rows += 1;
        let is_new = balance.there.movements < balance.rows;
        if is_new && let Some(why) = location.place.refuses(kind) {
            wrong.push(Wrong::new("location", format!("'{}' {why}", line.location)));
        }
        let checked = is_new && balance.ours;
        if checked && let Some(why) = backdated(self.business, self.now, balance.latest, line.occurred_at) {
            wrong.push(Wrong::new("occurred_at", why));
        }
        let quantity = line.quantity.micros();
        let next = match kind {
            Kind::Opening => balance.on_hand.saturating_add(quantity),
            _ => balance.on_hand.saturating_sub(quantity),
        };
        if checked && next < 0 && !location.place.allows_negative {
            let left = Quantity::from_micros(balance.on_hand);
            let what = format!("'{}' is more than the '{left}' that are left there", line.quantity);
            wrong.push(Wrong::new("quantity", what));
            return;
        }
        if checked && Quantity::whole(QUANTITY_MAX).micros() < next {
            wrong.push(Wrong::new("quantity", "makes more than 10^12 there"));
        }
        balance.on_hand = next;
        balance.latest = balance.latest.max(Some(line.occurred_at));
        if balance.rows == balance.there.movements {
            balance.ours = balance.on_hand == balance.there.on_hand;
        }
    }
}

/// Why a row is dated too far before one that precedes it.
fn backdated(
    business: Option<&Business>,
    now: Instant,
    latest: Option<Instant>,
    at: Instant,
) -> Option<String> {
    let (business, latest) = (business?, latest?);
    if latest <= at {
        return None;
    }
    let days = business.backdate_days;
    let hint = "sort the rows by time";
    if !business.permissions.allows("stock.backdate") {
        Some(format!("'{at}' is before '{latest}' of an earlier row: {hint}, or use the key of an owner"))
    } else if at < now.plus_seconds(-DAY_S * i64::from(days)) {
        Some(format!("'{at}' is before '{latest}' of an earlier row, and more than {days} days ago: {hint}"))
    } else {
        None
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// 128 bits that tell lines of documents apart, so that a file of any size can be checked in memory.
fn fingerprint(document: &str, line: &str) -> u128 {
    let id = ids::AggregateId::derive(&[document.as_bytes(), line.as_bytes()]);
    u128::from_be_bytes(*id.as_bytes())
}
