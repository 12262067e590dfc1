//! Rows of an import, checked before anything is sent.

use std::collections::{HashMap, HashSet};

use calendar::Instant;
use indicatif::ProgressBar;
use quantity::Quantity;

use crate::cli::Failure;
use crate::import::client::Known;
use crate::import::files::{Files, Kind, Row};
use crate::import::report::Report;

/// Rows between two steps of the progress bar.
const STEP_ROWS: u64 = 4096;
/// Longest code.
const CODE_CHARS_MAX: usize = 64;

/// How many rows there are.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) products: u64,
    pub(crate) locations: u64,
    pub(crate) movements: u64,
}

impl Plan {
    pub(crate) fn rows(&self) -> u64 {
        self.products + self.locations + self.movements
    }
}

/// A wrong field: its column and why.
type Wrong = (&'static str, String);

/// A row of opening stock or sales.
pub(crate) struct Line<'a> {
    pub(crate) document: &'a str,
    pub(crate) line: &'a str,
    pub(crate) sku: &'a str,
    pub(crate) location: &'a str,
    pub(crate) quantity: Quantity,
    /// Total cost of opening stock, value of a sale; may be empty for a sale.
    pub(crate) amount: &'a str,
    pub(crate) currency: &'a str,
    pub(crate) occurred_at: Instant,
}

/// What is known while rows are checked.
struct Check<'a> {
    server: Option<&'a Known>,
    /// SKU -> number and decimal places, where the file gives them.
    skus: HashMap<String, (u32, Option<u32>)>,
    locations: HashMap<String, u32>,
    has_products: bool,
    has_locations: bool,
    /// On hand of new items, in micro-units.
    balances: HashMap<(u32, u32), i64>,
}

/// Reads and checks all files. Wrong rows go to the report.
pub(crate) fn check(
    files: &Files,
    server: Option<&Known>,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<Plan, Failure> {
    let mut check = Check {
        server,
        skus: HashMap::new(),
        locations: HashMap::new(),
        has_products: files.path(Kind::Products).is_some(),
        has_locations: files.path(Kind::Locations).is_some(),
        balances: HashMap::new(),
    };
    let mut plan = Plan::default();
    let mut before = 0;
    for kind in Kind::ALL {
        let Some(mut reader) = files.open(kind)? else { continue };
        let path = reader.path.clone();
        let mut lines = HashSet::new();
        let mut rows = 0;
        while let Some(row) = reader.next() {
            rows += 1;
            match row {
                Ok(row) => {
                    for (column, reason) in check.row(kind, &row, &mut lines) {
                        report.wrong(&path, row.line, column, &reason);
                    }
                }
                Err((line, reason)) => report.wrong(&path, line, "row", &reason),
            }
            if rows % STEP_ROWS == 0 {
                bar.set_position(before + reader.bytes());
            }
        }
        before += reader.bytes();
        *match kind {
            Kind::Products => &mut plan.products,
            Kind::Locations => &mut plan.locations,
            Kind::Opening | Kind::Sales => &mut plan.movements,
        } += rows;
    }
    bar.finish_and_clear();
    Ok(plan)
}

impl Check<'_> {
    fn row(&mut self, kind: Kind, row: &Row<'_>, seen: &mut HashSet<u128>) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        match kind {
            Kind::Products => self.product(row, &mut wrong),
            Kind::Locations => self.location(row, &mut wrong),
            Kind::Opening | Kind::Sales => self.movement(kind, row, seen, &mut wrong),
        }
        wrong
    }

    fn product(&mut self, row: &Row<'_>, wrong: &mut Vec<Wrong>) {
        let sku = row.get("sku");
        code("sku", sku, wrong);
        if row.get("name").is_empty() {
            wrong.push(("name", "is empty".into()));
        }
        let scale = match row.get("quantity_scale") {
            "" => None,
            text => match text.parse::<u32>() {
                Ok(scale) if scale <= 6 => Some(scale),
                _ => {
                    wrong.push(("quantity_scale", format!("'{text}' is not a number from 0 to 6")));
                    None
                }
            },
        };
        let number = u32::try_from(self.skus.len()).unwrap_or(u32::MAX);
        if self.skus.insert(sku.to_owned(), (number, scale)).is_some() {
            wrong.push(("sku", format!("'{sku}' stands twice in this file")));
        }
    }

    fn location(&mut self, row: &Row<'_>, wrong: &mut Vec<Wrong>) {
        let text = row.get("code");
        code("code", text, wrong);
        if row.get("name").is_empty() {
            wrong.push(("name", "is empty".into()));
        }
        let number = u32::try_from(self.locations.len()).unwrap_or(u32::MAX);
        if self.locations.insert(text.to_owned(), number).is_some() {
            wrong.push(("code", format!("'{text}' stands twice in this file")));
        }
    }

    fn movement(&mut self, kind: Kind, row: &Row<'_>, seen: &mut HashSet<u128>, wrong: &mut Vec<Wrong>) {
        let Some(line) = line(kind, row, wrong) else { return };
        if !seen.insert(fingerprint(line.document, line.line)) {
            wrong.push((
                "line_id",
                format!("line '{}' of '{}' stands twice in this file", line.line, line.document),
            ));
        }
        let on_server = self.server.is_some_and(|known| known.variants.contains_key(line.sku));
        let item = self.skus.get(line.sku).copied();
        // Without a file of products or a server, nobody knows which there are.
        if item.is_none() && !on_server && (self.has_products || self.server.is_some()) {
            wrong.push(("sku", format!("there is no product '{}'", line.sku)));
        }
        if let Some((_, Some(scale))) = item
            && scale < line.quantity.decimal_places()
        {
            wrong.push(("quantity", format!("'{}' has more than {scale} decimal places", line.quantity)));
        }
        let known_place = self.server.is_some_and(|known| known.locations.contains_key(line.location));
        let place = self.locations.get(line.location).copied();
        if place.is_none() && !known_place && (self.has_locations || self.server.is_some()) {
            wrong.push(("location", format!("there is no location '{}'", line.location)));
        }
        // What an item that the server knows has on hand is the server's to say.
        if let (Some((sku, _)), Some(place), false) = (item, place, on_server) {
            let balance = self.balances.entry((sku, place)).or_default();
            let quantity = line.quantity.micros();
            if kind == Kind::Opening {
                *balance = balance.saturating_add(quantity);
            } else if *balance < quantity {
                let left = Quantity::from_micros(*balance);
                wrong.push(("quantity", format!("sells '{}', only '{left}' are left there", line.quantity)));
            } else {
                *balance -= quantity;
            }
        }
    }
}

/// Reads a row of opening stock or sales; `None` if it is wrong.
pub(crate) fn line<'a>(kind: Kind, row: &'a Row<'_>, wrong: &mut Vec<Wrong>) -> Option<Line<'a>> {
    let (document, amount) = match kind {
        Kind::Sales => ("basket_id", "sales_value"),
        _ => ("source_id", "total_cost"),
    };
    let before = wrong.len();
    for column in [document, "line_id", "sku", "location"] {
        if row.get(column).is_empty() {
            wrong.push((column, "is empty".into()));
        }
    }
    let text = row.get("quantity");
    let quantity = match Quantity::parse(text) {
        Ok(quantity) if quantity.is_positive() => Some(quantity),
        Ok(_) => {
            wrong.push(("quantity", format!("'{text}' is not greater than zero")));
            None
        }
        Err(error) => {
            wrong.push(("quantity", format!("'{text}': {error}")));
            None
        }
    };
    let money = row.get(amount);
    if kind == Kind::Opening || !money.is_empty() {
        match money::parse_decimal(money, 6) {
            Ok(value) if 0 <= value => {}
            Ok(_) => wrong.push((amount, format!("'{money}' is negative"))),
            Err(error) => wrong.push((amount, format!("'{money}': {error}"))),
        }
        if let Err(error) = money::Currency::parse(row.get("currency")) {
            wrong.push(("currency", format!("'{}': {error}", row.get("currency"))));
        }
    }
    let text = row.get("occurred_at");
    let occurred_at = Instant::parse(text);
    if let Err(error) = &occurred_at {
        wrong.push(("occurred_at", format!("'{text}': {error}")));
    }
    if before < wrong.len() {
        return None;
    }
    Some(Line {
        document: row.get(document),
        line: row.get("line_id"),
        sku: row.get("sku"),
        location: row.get("location"),
        quantity: quantity?,
        amount: money,
        currency: row.get("currency"),
        occurred_at: occurred_at.ok()?,
    })
}

fn code(column: &'static str, text: &str, wrong: &mut Vec<Wrong>) {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "._-/#".contains(char);
    if text.is_empty() {
        wrong.push((column, "is empty".into()));
    } else if CODE_CHARS_MAX < text.len() || !text.chars().all(allowed) {
        wrong.push((column, format!("'{text}' is not up to 64 letters, digits and '. _ - / #'")));
    }
}

/// 128 bits that tell lines of documents apart, so that a file of any size can be checked in memory.
fn fingerprint(document: &str, line: &str) -> u128 {
    let id = ids::AggregateId::derive(&[document.as_bytes(), line.as_bytes()]);
    u128::from_be_bytes(*id.as_bytes())
}

/// Reads the file of products for sending.
pub(crate) fn product(row: &Row<'_>) -> proto::catalog::v1::Product {
    use proto::catalog::v1 as catalog;
    let barcode = Some(row.get("barcode")).filter(|barcode| !barcode.is_empty());
    let barcode =
        barcode.map(|value| catalog::Barcode { value: value.to_owned(), ..catalog::Barcode::default() });
    let variant = catalog::Variant {
        sku: row.get("sku").to_owned(),
        barcodes: barcode.into_iter().collect(),
        ..catalog::Variant::default()
    };
    catalog::Product {
        name: row.get("name").to_owned(),
        brand: row.get("brand").to_owned(),
        category: row.get("category").to_owned(),
        base_unit: row.get("base_unit").to_owned(),
        quantity_scale: row.get("quantity_scale").parse().ok(),
        variants: vec![variant],
        ..catalog::Product::default()
    }
}
