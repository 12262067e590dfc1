//! Between the contract and the domain, with every check of a field.

mod check;
mod inheritance;
mod inherited;
mod price;
mod product;
mod publication;
mod variant;

use prost_types::Timestamp;

use calendar::Instant;
use proto::catalog::v1 as catalog;

use crate::app::PageRequest;
use crate::domain::units::UNITS;

pub(crate) use inheritance::{
    clear_overrides, explain, explained, policies, policy, product_with_origins, set_policy, set_visibility,
    visibility,
};
pub(crate) use inherited::{inherited_changes, list_inherited_changes};
pub(crate) use price::{
    clear_price, cleared, create_price_list, get_price, list_price_changes, price, price_change,
    price_changes, price_list, price_list_id, price_lists, set_price,
};
pub(crate) use product::{
    batch_create, create_product, product, product_id, products, results, update_product,
};
pub(crate) use publication::{
    advance, new_publication, preview, publication, publication_id, publications, roll_back,
};
pub(crate) use variant::{
    create_variant, filter, set_conversion, update_variant, variant, variant_id, variants,
};

/// What a list is asked for.
pub(crate) fn page(size: u32, token: String) -> PageRequest {
    PageRequest { size, token }
}

/// Every unit that is known.
pub(crate) fn units() -> catalog::ListUnitsResponse {
    let unit = |unit: &crate::domain::Unit| catalog::Unit {
        code: unit.code.to_owned(),
        name: unit.name.to_owned(),
        symbol: unit.symbol.to_owned(),
        dimension: unit.dimension.name().to_owned(),
        integral: unit.integral,
    };
    catalog::ListUnitsResponse { units: UNITS.iter().map(unit).collect() }
}

fn timestamp(at: Instant) -> Option<Timestamp> {
    let (seconds, nanos) = at.seconds_nanos();
    Some(Timestamp { seconds, nanos })
}
