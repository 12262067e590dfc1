//! A variant: what is stocked and sold, its codes and its units.

use std::collections::BTreeMap;

use calendar::Instant;
use ids::VariantId;
use problem::{Violations, reason};
use quantity::Factor;

use super::{Status, UnitRef};

/// What is stocked and sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Its id.
    pub id: VariantId,
    /// What callers change.
    pub details: VariantDetails,
    /// Factors that were set, oldest first; at most one per unit is in force.
    pub conversions: Vec<Conversion>,
}

/// The part of a variant that callers change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantDetails {
    /// Unique in the tenant.
    pub sku: String,
    /// One value per axis of the product.
    pub option_values: BTreeMap<String, String>,
    /// Each is unique in the tenant.
    pub barcodes: Vec<Barcode>,
    /// Where it is in its life.
    pub status: Status,
}

/// A code that a scanner reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barcode {
    /// A GTIN with 14 digits, or an own code.
    pub value: String,
    /// Which of the two.
    pub symbology: Symbology,
    /// The unit that it stands on; `None` is the base unit.
    pub unit: Option<UnitRef>,
}

/// Whose codes these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbology {
    /// GS1's.
    Gtin,
    /// The tenant's own.
    Internal,
}

/// A factor and when it holds. Immutable but for the moment at which another takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// What it says.
    pub factor: UnitFactor,
    /// From when on.
    pub valid_from: Instant,
    /// Until when, once another took its place.
    pub superseded_at: Option<Instant>,
}

/// `1 unit = factor base units`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitFactor {
    /// The unit.
    pub unit: UnitRef,
    /// How many base units it is.
    pub factor: Factor,
}

/// A variant to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVariant {
    /// Its id.
    pub id: VariantId,
    /// What callers change.
    pub details: VariantDetails,
    /// Its units beside the base unit and those with a standard factor; each once.
    pub factors: Vec<UnitFactor>,
}

/// A change of a variant; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VariantChange {
    /// Another SKU.
    pub sku: Option<String>,
    /// All option values.
    pub option_values: Option<BTreeMap<String, String>>,
    /// All barcodes.
    pub barcodes: Option<Vec<Barcode>>,
    /// Another status.
    pub status: Option<Status>,
}

impl Variant {
    /// The factors in force.
    pub fn in_force(&self) -> impl Iterator<Item = &UnitFactor> {
        self.conversions.iter().filter(|one| one.superseded_at.is_none()).map(|one| &one.factor)
    }

    /// How many base units one `unit` is: 1 for the base unit, the factor in force, or the standard one.
    pub fn factor(&self, unit: UnitRef, base_unit: UnitRef) -> Option<Factor> {
        let own = self.in_force().find(|one| one.unit == unit).map(|one| one.factor);
        own.or_else(|| unit.standard_factor(base_unit))
    }

    /// Puts a factor in force from `at` on; the one before it ends there.
    pub(super) fn supersede(&mut self, factor: UnitFactor, at: Instant) {
        for old in &mut self.conversions {
            if old.factor.unit == factor.unit && old.superseded_at.is_none() {
                old.superseded_at = Some(at);
            }
        }
        self.conversions.push(Conversion { factor, valid_from: at, superseded_at: None });
    }
}

impl NewVariant {
    /// Reports what does not fit the product, under the paths of `Variant` in the contract.
    pub fn check(&self, base_unit: UnitRef, axes: &[String], violations: &mut Violations) {
        check_option_values(&self.details.option_values, axes, violations);
        let units: Vec<UnitRef> = self.factors.iter().map(|one| one.unit).collect();
        for (at, one) in self.factors.iter().enumerate() {
            violations.within(format_args!("conversions[{at}]"), |v| {
                one.check(base_unit, v);
                if units[..at].contains(&one.unit) {
                    v.add("unit", DUPLICATE, format!("must name '{}' once", one.unit.code));
                }
            });
        }
        check_barcode_units(&self.details.barcodes, base_unit, |unit| units.contains(&unit), violations);
    }
}

impl UnitFactor {
    /// Reports a unit whose factor is not the caller's to set.
    pub fn check(&self, base_unit: UnitRef, violations: &mut Violations) {
        if let Some(standard) = self.unit.standard_factor(base_unit) {
            let (unit, base_unit) = (self.unit.code, base_unit.code);
            let detail = format!(
                "must not be set: one '{unit}' is '{}/{}' '{base_unit}'",
                standard.num(),
                standard.den()
            );
            violations.add("unit", reason::NOT_ALLOWED, detail);
        }
    }
}

/// The reason of a value that must be there once.
pub(crate) const DUPLICATE: &str = "DUPLICATE";

/// Reports values that are not one per axis.
pub(super) fn check_option_values(
    values: &BTreeMap<String, String>,
    axes: &[String],
    violations: &mut Violations,
) {
    for axis in axes.iter().filter(|axis| !values.contains_key(*axis)) {
        violations.add("option_values", reason::REQUIRED, format!("must have a value for '{axis}'"));
    }
    for axis in values.keys().filter(|axis| !axes.contains(axis)) {
        let detail = format!("must not have '{axis}', which is no option axis of the product");
        violations.add("option_values", reason::NOT_ALLOWED, detail);
    }
}

/// Reports barcodes on units that have no factor.
pub(super) fn check_barcode_units(
    barcodes: &[Barcode],
    base_unit: UnitRef,
    is_set: impl Fn(UnitRef) -> bool,
    violations: &mut Violations,
) {
    for (at, barcode) in barcodes.iter().enumerate() {
        let Some(unit) = barcode.unit else { continue };
        if unit.standard_factor(base_unit).is_none() && !is_set(unit) {
            let detail = format!("must have a conversion to '{}'", base_unit.code);
            violations.add(&format!("barcodes[{at}].unit"), "UNIT_NOT_CONVERTIBLE", detail);
        }
    }
}
