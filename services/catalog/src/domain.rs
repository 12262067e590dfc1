//! The rules, pure: no clock, no I/O.
//!
//! Reading order: [`units`], [`gtin`], [`Product`] with its variants, [`Caller`] and [`Overridden`] (what
//! businesses below the owner say), [`SetPolicy`] (what they may say), [`InheritedChange`] (what they hear), [`PriceList`], [`Line`] (the prices of a
//! variant in a list and unit).

pub mod gtin;
mod inheritance;
mod inherited;
mod policy;
mod price;
mod price_list;
mod product;
mod publication;
#[cfg(test)]
mod tests;
pub mod units;
mod variant;

pub(crate) use inheritance::value_of;
pub use inheritance::{Caller, Overridden, Overrides, PRODUCTS};
pub use inherited::{Cause, Compared, InheritedChange, Known, Step, Timeline, What};
pub use policy::{POLICIES_MAX, PolicySet, SetPolicy, Standing};
pub use price::{
    CLOCK_SKEW_S_MAX, Change, ClearPrice, Line, Lines, PRICE_LISTS, PRICES_SCHEDULED_MAX, Point,
    PriceCommand, SetPrice, Source,
};
pub use price_list::{Kind, NewPriceList, PriceList, REVISION as PRICE_LIST_REVISION};
pub use product::{Command, Details, DetailsChange, Event, NewProduct, Product, Status, check_batch};
pub use publication::{EDITIONS_MAX, Edition, Progress, Publish, Published};
pub use units::{Dimension, Unit, UnitRef};
pub(crate) use variant::DUPLICATE;
pub use variant::{
    Barcode, Conversion, NewVariant, Symbology, UnitFactor, Variant, VariantChange, VariantDetails,
};

/// Everything that is inherited. Names of groups are unique over all of it.
pub const SCHEMAS: [&inherit::Schema; 2] = [&PRODUCTS, &PRICE_LISTS];

/// The schema that has a group of this name, and the group.
pub(crate) fn group(name: &str) -> Option<(&'static inherit::Schema, &'static inherit::Group)> {
    SCHEMAS.into_iter().find_map(|schema| Some((schema, schema.group(name)?)))
}

/// Most variants of a product, archived ones included.
pub const VARIANTS_MAX: usize = 200;
/// Most axes in which variants differ.
pub const AXES_MAX: usize = 5;
/// Most tags of a product.
pub const TAGS_MAX: usize = 50;
/// Most barcodes of a variant.
pub const BARCODES_MAX: usize = 20;
/// Most units of a variant that have a factor in force.
pub const UNITS_MAX: usize = 50;
/// Most factors of a variant, superseded ones included.
pub const FACTORS_MAX: usize = 200;
/// Most decimal places of a quantity.
pub const QUANTITY_SCALE_MAX: u8 = 6;
