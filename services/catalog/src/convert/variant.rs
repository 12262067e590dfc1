//! Variants, barcodes, unit conversions.

use std::collections::{BTreeMap, HashSet};

use ids::{ProductId, VariantId};
use problem::{Invalid, Violations, reason};
use proto::catalog::v1 as catalog;
use quantity::Factor;

use super::check::{self, Access, Mask, checked, output_only};
use super::timestamp;
use crate::app::{Filter, NewIds, Page, VariantOf};
use crate::domain::{
    AXES_MAX, BARCODES_MAX, Barcode, Conversion, DUPLICATE, NewVariant, Product, Status, Symbology,
    UNITS_MAX, Unit, UnitFactor, Variant, VariantChange, VariantDetails, gtin,
};

/// Characters of the name or value of an option.
pub(super) const OPTION_MAX: usize = 100;
/// Characters of a barcode.
const BARCODE_MAX: usize = 64;

pub(crate) fn variant_id(text: &str) -> Result<VariantId, Invalid> {
    check::one_id("variant_id", text, VariantId::parse)
}

pub(crate) fn create_variant(
    request: catalog::CreateVariantRequest,
    ids: &NewIds<'_>,
) -> Result<(ProductId, NewVariant), Invalid> {
    checked(|v| {
        let product = check::id(v, "product_id", &request.product_id, ProductId::parse);
        let variant = check::message(v, "variant", request.variant)?;
        let (new, _) = v.within("variant", |v| new_variant(v, variant, ids.variant(0)));
        Some((product?, new))
    })
}

/// Reads a variant; also says whether all of it could be read. What could not keeps its place, so that
/// whatever else is found names the right one.
pub(super) fn new_variant(
    v: &mut Violations,
    variant: catalog::Variant,
    id: VariantId,
) -> (NewVariant, bool) {
    output_only(v, "id", !variant.id.is_empty());
    output_only(v, "product_id", !variant.product_id.is_empty());
    output_only(v, "base_unit", !variant.base_unit.is_empty());
    output_only(v, "quantity_scale", variant.quantity_scale != 0);
    output_only(v, "product_name", !variant.product_name.is_empty());
    output_only(v, "etag", !variant.etag.is_empty());
    let sku = check::code(v, "sku", &variant.sku);
    let values = option_values(v, &variant.option_values);
    let barcodes = barcodes(v, &variant.barcodes);
    let factors = factors(v, &variant.conversions);
    let status = status(v, variant.status);

    let whole = sku.is_some() && values && barcodes.is_some() && factors.is_some();
    let details = VariantDetails {
        sku: sku.unwrap_or_default(),
        option_values: variant.option_values,
        barcodes: barcodes.unwrap_or_default(),
        status: status.unwrap_or(Status::Active),
    };
    (NewVariant { id, details, factors: factors.unwrap_or_default() }, whole)
}

const FIELDS: [(&str, Access); 11] = [
    ("id", Access::OutputOnly),
    ("product_id", Access::OutputOnly),
    ("sku", Access::Free),
    ("option_values", Access::Free),
    ("barcodes", Access::Free),
    ("base_unit", Access::OutputOnly),
    ("quantity_scale", Access::OutputOnly),
    ("conversions", Access::Elsewhere("SetUnitConversion")),
    ("status", Access::Free),
    ("product_name", Access::OutputOnly),
    ("etag", Access::OutputOnly),
];

pub(crate) fn update_variant(
    request: catalog::UpdateVariantRequest,
) -> Result<(VariantId, VariantChange), Invalid> {
    checked(|v| {
        let id = check::id(v, "variant_id", &request.variant_id, VariantId::parse);
        let mask = Mask::read(v, &request.update_mask, &FIELDS);
        let variant = check::message(v, "variant", request.variant)?;
        let change = v.within("variant", |v| variant_change(v, &mask, variant));
        Some((id?, change))
    })
}

fn variant_change(v: &mut Violations, mask: &Mask<'_>, variant: catalog::Variant) -> VariantChange {
    let is_set = |field: &str| match field {
        "id" => !variant.id.is_empty(),
        "product_id" => !variant.product_id.is_empty(),
        "base_unit" => !variant.base_unit.is_empty(),
        "quantity_scale" => variant.quantity_scale != 0,
        "conversions" => !variant.conversions.is_empty(),
        "product_name" => !variant.product_name.is_empty(),
        "etag" => !variant.etag.is_empty(),
        _ => false,
    };
    for (field, access) in FIELDS {
        mask.deny(v, field, access, is_set(field));
    }
    let mut change = VariantChange::default();
    if mask.has("sku", !variant.sku.is_empty()) {
        change.sku = check::code(v, "sku", &variant.sku);
    }
    if mask.has("option_values", !variant.option_values.is_empty())
        && option_values(v, &variant.option_values)
    {
        change.option_values = Some(variant.option_values);
    }
    if mask.has("barcodes", !variant.barcodes.is_empty()) {
        change.barcodes = barcodes(v, &variant.barcodes);
    }
    if mask.has("status", variant.status != 0) {
        change.status = required_status(v, variant.status);
    }
    change
}

pub(crate) fn set_conversion(
    request: catalog::SetUnitConversionRequest,
) -> Result<(VariantId, UnitFactor), Invalid> {
    checked(|v| {
        let id = check::id(v, "variant_id", &request.variant_id, VariantId::parse);
        let conversion = check::message(v, "conversion", request.conversion)?;
        let factor = v.within("conversion", |v| factor(v, &conversion));
        Some((id?, factor?))
    })
}

pub(crate) fn filter(request: &catalog::ListVariantsRequest) -> Result<Filter, Invalid> {
    checked(|v| {
        v.at_most("sku", &request.sku, check::CODE_MAX);
        v.at_most("barcode", &request.barcode, BARCODE_MAX);
        Some(Filter { sku: request.sku.clone(), barcode: request.barcode.clone() })
    })
}

fn option_values(v: &mut Violations, values: &BTreeMap<String, String>) -> bool {
    if values.len() > AXES_MAX {
        v.add("option_values", reason::TOO_MANY, format!("must have at most '{AXES_MAX}' items"));
        return false;
    }
    values.iter().all(|(axis, value)| {
        let axis = check::name(v, "option_values", axis, OPTION_MAX);
        let value = check::name(v, "option_values", value, OPTION_MAX);
        axis.is_some() && value.is_some()
    })
}

fn barcodes(v: &mut Violations, barcodes: &[catalog::Barcode]) -> Option<Vec<Barcode>> {
    if !check::at_most(v, "barcodes", barcodes, BARCODES_MAX) {
        return None;
    }
    let read = |(at, one)| v.within(format_args!("barcodes[{at}]"), |v| barcode(v, one));
    let read: Vec<Option<Barcode>> = barcodes.iter().enumerate().map(read).collect();
    let mut seen = HashSet::new();
    for (at, one) in read.iter().enumerate() {
        if let Some(one) = one
            && !seen.insert(&one.value)
        {
            v.add(
                &format!("barcodes[{at}].value"),
                DUPLICATE,
                format!("must be unique; '{}' is there twice", one.value),
            );
        }
    }
    let unique = seen.len() == read.iter().flatten().count();
    read.into_iter().collect::<Option<Vec<Barcode>>>().filter(|_| unique)
}

fn barcode(v: &mut Violations, one: &catalog::Barcode) -> Option<Barcode> {
    let unit = check::optional_unit(v, "unit", &one.unit);
    let value = v.required("value", &one.value)?;
    let (value, symbology) = match catalog::Symbology::try_from(one.symbology) {
        Ok(catalog::Symbology::Gtin) => (v.field("value", gtin::normalise(value))?, Symbology::Gtin),
        Ok(catalog::Symbology::Internal) => (own_code(v, value)?, Symbology::Internal),
        Ok(catalog::Symbology::Unspecified) => match gtin::normalise(value) {
            Ok(gtin) => (gtin, Symbology::Gtin),
            Err(_) => (own_code(v, value)?, Symbology::Internal),
        },
        Err(_) => {
            v.add("symbology", reason::UNKNOWN_VALUE, "must be 'GTIN' or 'INTERNAL'");
            return None;
        }
    };
    Some(Barcode { value, symbology, unit: unit? })
}

/// An own code: what Code 128 prints, without spaces at the ends.
fn own_code(v: &mut Violations, value: &str) -> Option<String> {
    v.at_most("value", value, BARCODE_MAX);
    let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !printable || value.trim().len() != value.len() {
        v.add(
            "value",
            reason::MALFORMED,
            "must have printable ASCII characters only, and no spaces at the ends",
        );
        return None;
    }
    (value.len() <= BARCODE_MAX).then(|| value.to_owned())
}

fn factors(v: &mut Violations, conversions: &[catalog::UnitConversion]) -> Option<Vec<UnitFactor>> {
    if !check::at_most(v, "conversions", conversions, UNITS_MAX) {
        return None;
    }
    let read = |(at, one)| v.within(format_args!("conversions[{at}]"), |v| factor(v, one));
    let read: Vec<Option<UnitFactor>> = conversions.iter().enumerate().map(read).collect();
    read.into_iter().collect()
}

fn factor(v: &mut Violations, conversion: &catalog::UnitConversion) -> Option<UnitFactor> {
    output_only(v, "valid_from", conversion.valid_from.is_some());
    output_only(v, "superseded_at", conversion.superseded_at.is_some());
    let unit = check::unit(v, "unit", &conversion.unit);
    let denominator = if conversion.denominator == 0 { 1 } else { conversion.denominator };
    for (field, number) in [("numerator", conversion.numerator), ("denominator", denominator)] {
        if number <= 0 {
            v.add(field, reason::NOT_POSITIVE, "must be more than '0'");
        }
    }
    let factor = Factor::new(conversion.numerator, denominator).ok();
    Some(UnitFactor { unit: unit?, factor: factor? })
}

/// A status; active when absent.
pub(super) fn status(v: &mut Violations, number: i32) -> Option<Status> {
    if number == 0 { Some(Status::Active) } else { required_status(v, number) }
}

pub(super) fn required_status(v: &mut Violations, number: i32) -> Option<Status> {
    match catalog::ProductStatus::try_from(number) {
        Ok(catalog::ProductStatus::Draft) => Some(Status::Draft),
        Ok(catalog::ProductStatus::Active) => Some(Status::Active),
        Ok(catalog::ProductStatus::Discontinued) => Some(Status::Discontinued),
        Ok(catalog::ProductStatus::Archived) => Some(Status::Archived),
        Ok(catalog::ProductStatus::Unspecified) => {
            v.add("status", reason::REQUIRED, "must be given");
            None
        }
        Err(_) => {
            v.add("status", reason::UNKNOWN_VALUE, "must be 'DRAFT', 'ACTIVE', 'DISCONTINUED' or 'ARCHIVED'");
            None
        }
    }
}

pub(super) fn status_number(status: Status) -> i32 {
    let status = match status {
        Status::Draft => catalog::ProductStatus::Draft,
        Status::Active => catalog::ProductStatus::Active,
        Status::Discontinued => catalog::ProductStatus::Discontinued,
        Status::Archived => catalog::ProductStatus::Archived,
    };
    status.into()
}

/// A variant as callers see it; `None` if its product was read without it.
pub(crate) fn variant(found: &VariantOf) -> catalog::Variant {
    found.product.variant(found.id).map(|variant| variant_in(&found.product, variant)).unwrap_or_default()
}

pub(crate) fn variants(page: &Page<VariantOf>) -> catalog::ListVariantsResponse {
    catalog::ListVariantsResponse {
        variants: page.items.iter().map(variant).collect(),
        next_page_token: page.next.clone(),
    }
}

pub(super) fn variant_in(product: &Product, variant: &Variant) -> catalog::Variant {
    let base_unit = product.base_unit;
    let own = variant.conversions.iter().map(conversion);
    // Known without being set; who converts needs no table of units.
    let standard = Unit::standard_factors(base_unit).map(|(unit, factor)| catalog::UnitConversion {
        unit: unit.code.to_owned(),
        numerator: factor.num(),
        denominator: factor.den(),
        valid_from: None,
        superseded_at: None,
    });
    catalog::Variant {
        id: variant.id.to_string(),
        product_id: product.id.to_string(),
        sku: variant.details.sku.clone(),
        option_values: variant.details.option_values.clone(),
        barcodes: variant.details.barcodes.iter().map(|one| barcode_in(product, one)).collect(),
        base_unit: base_unit.code.to_owned(),
        quantity_scale: u32::from(product.quantity_scale),
        conversions: own.chain(standard).collect(),
        status: status_number(variant.details.status),
        product_name: product.details.name.clone(),
        etag: rpc::etag(product.revision),
    }
}

fn barcode_in(product: &Product, one: &Barcode) -> catalog::Barcode {
    let symbology = match one.symbology {
        Symbology::Gtin => catalog::Symbology::Gtin,
        Symbology::Internal => catalog::Symbology::Internal,
    };
    catalog::Barcode {
        value: one.value.clone(),
        symbology: symbology.into(),
        unit: one.unit.unwrap_or(product.base_unit).code.to_owned(),
    }
}

fn conversion(one: &Conversion) -> catalog::UnitConversion {
    catalog::UnitConversion {
        unit: one.factor.unit.code.to_owned(),
        numerator: one.factor.factor.num(),
        denominator: one.factor.factor.den(),
        valid_from: timestamp(one.valid_from),
        superseded_at: one.superseded_at.and_then(timestamp),
    }
}
