//! The fields of a row.

use calendar::Instant;
use catalog::domain::{QUANTITY_SCALE_MAX, units};
use money::Currency;
use proto::catalog::v1 as catalog_v1;
use proto::stock::v1 as stock_v1;
use quantity::Quantity;

use crate::import::files::{Kind, Row, Wrong};

/// Longest code, in characters.
const CODE_MAX: usize = 64;
/// Longest name of a product, brand or category, barcode, and name of a location, in characters.
const PRODUCT_NAME_MAX: usize = 300;
const TEXT_MAX: usize = 200;
/// Longest number of a document and of its line, in characters.
const DOCUMENT_MAX: usize = 100;
/// Most units in one row.
pub(crate) const QUANTITY_MAX: i64 = 1_000_000_000_000;
/// Decimal places of an amount.
const AMOUNT_PLACES: u32 = 6;

/// A row of products.
pub(crate) struct Product<'a> {
    pub(crate) sku: &'a str,
    pub(crate) name: &'a str,
    pub(crate) brand: &'a str,
    pub(crate) category: &'a str,
    pub(crate) base_unit: &'a str,
    /// Decimal places of its quantities, also where the file leaves it to the unit.
    pub(crate) scale: u8,
    pub(crate) barcode: &'a str,
}

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

/// The column of the document's number, and that of the money.
pub(crate) fn columns(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Sales => ("basket_id", "sales_value"),
        _ => ("source_id", "total_cost"),
    }
}

/// Reads a row of products; says in `wrong` what cannot be used.
pub(crate) fn product<'a>(row: &'a Row<'_>, wrong: &mut Vec<Wrong>) -> Product<'a> {
    let product = Product {
        sku: row.get("sku"),
        name: row.get("name"),
        brand: row.get("brand"),
        category: row.get("category"),
        base_unit: row.get("base_unit"),
        scale: scale(row, wrong),
        barcode: row.get("barcode"),
    };
    code("sku", product.sku, wrong);
    required("name", product.name, wrong);
    line_of_text("name", product.name, PRODUCT_NAME_MAX, wrong);
    line_of_text("brand", product.brand, TEXT_MAX, wrong);
    line_of_text("category", product.category, TEXT_MAX, wrong);
    let printable = product.barcode.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if CODE_MAX < product.barcode.len() || !printable {
        wrong.push(Wrong::new("barcode", "must be up to 64 printable ASCII characters"));
    }
    product
}

fn scale(row: &Row<'_>, wrong: &mut Vec<Wrong>) -> u8 {
    let code = row.get("base_unit");
    let unit = if code.is_empty() { Some(units::PIECE) } else { units::find(code) };
    if unit.is_none() {
        let what = format!("'{code}' must be a unit of UN/ECE Rec 20 such as 'C62', 'KGM' or 'LTR'");
        wrong.push(Wrong::new("base_unit", what));
    }
    let text = row.get("quantity_scale");
    if text.is_empty() {
        return unit.map_or(QUANTITY_SCALE_MAX, |unit| unit.default_scale());
    }
    let scale = text.parse().ok().filter(|scale| *scale <= QUANTITY_SCALE_MAX);
    if scale.is_none() {
        wrong.push(Wrong::new("quantity_scale", format!("'{text}' must be a number from 0 to 6")));
    }
    scale.unwrap_or(QUANTITY_SCALE_MAX)
}

/// Reads a row of locations: code and name.
pub(crate) fn location<'a>(row: &'a Row<'_>, wrong: &mut Vec<Wrong>) -> (&'a str, &'a str) {
    let (text, name) = (row.get("code"), row.get("name"));
    code("code", text, wrong);
    required("name", name, wrong);
    line_of_text("name", name, TEXT_MAX, wrong);
    (text, name)
}

/// Reads a row of opening stock or sales; `None` if it is wrong.
pub(crate) fn line<'a>(kind: Kind, row: &'a Row<'_>, wrong: &mut Vec<Wrong>) -> Option<Line<'a>> {
    let (document, amount) = columns(kind);
    let before = wrong.len();
    for column in [document, "line_id", "sku", "location"] {
        required(column, row.get(column), wrong);
    }
    for column in [document, "line_id"] {
        line_of_text(column, row.get(column), DOCUMENT_MAX, wrong);
    }
    let quantity = quantity(row.get("quantity"), wrong);
    let money = row.get(amount);
    if kind == Kind::Opening || !money.is_empty() {
        match money::parse_decimal(money, AMOUNT_PLACES) {
            Ok(value) if 0 <= value => {}
            Ok(_) => wrong.push(Wrong::new(amount, format!("'{money}' must not be negative"))),
            Err(error) => wrong.push(Wrong::new(amount, format!("'{money}' {error}"))),
        }
        let currency = row.get("currency");
        if let Err(error) = Currency::parse(currency) {
            wrong.push(Wrong::new("currency", format!("'{currency}' {error}")));
        }
    }
    let text = row.get("occurred_at");
    let occurred_at = Instant::parse(text);
    if let Err(error) = &occurred_at {
        wrong.push(Wrong::new("occurred_at", format!("'{text}' {error}")));
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

fn quantity(text: &str, wrong: &mut Vec<Wrong>) -> Option<Quantity> {
    let why = match Quantity::parse(text) {
        Ok(quantity) if !quantity.is_positive() => "must be greater than zero".to_owned(),
        Ok(quantity) if Quantity::whole(QUANTITY_MAX) < quantity => "must be at most 10^12".to_owned(),
        Ok(quantity) => return Some(quantity),
        Err(error) => error.to_string(),
    };
    wrong.push(Wrong::new("quantity", format!("'{text}' {why}")));
    None
}

fn required(column: &str, text: &str, wrong: &mut Vec<Wrong>) {
    if text.is_empty() {
        wrong.push(Wrong::new(column, "is empty"));
    }
}

fn line_of_text(column: &str, text: &str, max: usize, wrong: &mut Vec<Wrong>) {
    if max < text.len() && max < text.chars().count() {
        wrong.push(Wrong::new(column, format!("has more than {max} characters")));
    }
    if text.contains(char::is_control) {
        wrong.push(Wrong::new(column, "has line breaks or other control characters"));
    }
}

fn code(column: &str, text: &str, wrong: &mut Vec<Wrong>) {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "._-/#".contains(char);
    if text.is_empty() {
        wrong.push(Wrong::new(column, "is empty"));
    } else if CODE_MAX < text.len() || !text.chars().all(allowed) {
        wrong.push(Wrong::new(column, format!("'{text}' must be up to 64 letters, digits and '. _ - / #'")));
    }
}

impl Product<'_> {
    /// What is sent.
    pub(crate) fn message(&self) -> catalog_v1::Product {
        let barcode = catalog_v1::Barcode { value: self.barcode.to_owned(), ..Default::default() };
        let variant = catalog_v1::Variant {
            sku: self.sku.to_owned(),
            barcodes: if self.barcode.is_empty() { vec![] } else { vec![barcode] },
            ..Default::default()
        };
        catalog_v1::Product {
            name: self.name.to_owned(),
            brand: self.brand.to_owned(),
            category: self.category.to_owned(),
            base_unit: self.base_unit.to_owned(),
            quantity_scale: Some(u32::from(self.scale)),
            variants: vec![variant],
            ..Default::default()
        }
    }
}

/// What is sent for a location.
pub(crate) fn location_message((code, name): (&str, &str)) -> stock_v1::Location {
    stock_v1::Location { code: code.to_owned(), name: name.to_owned(), ..Default::default() }
}
