//! What is stored: partitions, row keys, index numbers, claim kinds, format versions, codecs.
//!
//! Five kinds of aggregates share the store of the service: [`ProductRecord`] (a product with its variants and
//! what businesses below its owner say), [`PriceListRecord`], [`PriceRecord`] (the prices of a variant in a
//! list), [`PoliciesRecord`] (what businesses of a tenant let those below them say), [`InheritedRecord`] (what businesses
//! hear of changes above them, and how far those have been followed).

mod codec;
pub mod describe;
mod editions;
mod inherited;
mod inherited_codec;
mod overrides;
mod policies;
mod price;
mod price_list;
mod product;
mod product_codec;
#[cfg(test)]
mod tests;
mod verify;

use ids::{AggregateId, BusinessId, PriceListId, ProductId, RandomPart, VariantId};
use journal::Claim;

use crate::Error;
use crate::domain::VariantDetails;

pub(crate) use editions::{publication_of, publications_key, read_edition};
pub(crate) use inherited::{
    Command as InheritedCommand, Due, Event as InheritedEvent, Follow, InheritedRecord, Moved, Place,
    UnderWay, following, heard_prefix, heard_seq, inherited, is_followed, position_row, read_due,
    spoken_aggregate,
};
pub(crate) use overrides::{businesses, index_prefix};
pub(crate) use policies::PoliciesRecord;
pub(crate) use price::{AskedPrice, LineKey, PriceRecord, seq_of};
pub(crate) use price_list::PriceListRecord;
pub(crate) use product::{Asked, ProductRecord};
pub(crate) use product_codec::variant_of;
pub use verify::verify_aggregate;

/// First byte of the format of a head: which kind of aggregate it is.
pub(crate) mod kind {
    /// A product.
    pub(crate) const PRODUCT: u8 = 1;
    /// A price list.
    pub(crate) const PRICE_LIST: u8 = 2;
    /// The prices of a variant in a list.
    pub(crate) const PRICE: u8 = 3;
    /// The policies of all businesses of a tenant.
    pub(crate) const POLICIES: u8 = 4;
    /// What a business hears of changes above it, or how far those of a tenant have been followed.
    pub(crate) const INHERITED: u8 = 5;
}

/// Numbers of indexes; append-only.
pub(crate) mod index {
    /// Products oldest first: key = product id, no value. Serves lists.
    pub(crate) const PRODUCTS: u16 = 1;
    /// Variants oldest first: key = variant id, aggregate = its product, no value. Serves lists and the
    /// look-up of a variant.
    pub(crate) const VARIANTS: u16 = 2;
    /// Price lists oldest first: key = price list id, no value. Serves lists.
    pub(crate) const PRICE_LISTS: u16 = 3;
    /// Price changes, latest moment first: key = list, variant, unit (4 bytes, zeros behind), moment and
    /// sequence complemented; value = entry. Serves the price at a moment that has passed.
    pub(crate) const PRICES: u16 = 4;
    /// Overrides: key = group of fields (16 bytes, zeros behind) and business, aggregate = the product or the prices,
    /// value = path of the business. Serves what a new lock would meet.
    pub(crate) const OVERRIDES: u16 = 5;
    /// Publications, oldest first: key = business and publication id, aggregate = a product that it changes, value =
    /// what it says about that and how far it has come. Serves lists, and finds the products of a publication.
    pub(crate) const PUBLICATIONS: u16 = 6;
    /// Products that businesses below their owners speak about, as far as they have been followed: key = group of
    /// fields and aggregate, no value. Serves what a policy may change.
    pub(crate) const SPOKEN: u16 = 7;
    /// Moments at which policies begin to count: key = moment and group of fields, no value. Serves the follower.
    pub(crate) const DUE: u16 = 8;
    /// What businesses hear of a product: key = product, business and sequence, no value. Serves lists.
    pub(crate) const HEARD: u16 = 9;
    /// Products and policies that cannot be followed until a person looks: key = aggregate, no value.
    pub(crate) const PARKED: u16 = 10;
    /// Price changes of businesses below the owner of the list, as [`PRICES`] with the business behind the variant.
    pub(crate) const PRICES_BELOW: u16 = 11;
}

/// Kinds of unique values; append-only.
pub(crate) mod claim {
    /// SKU of a variant.
    pub(crate) const SKU: u16 = 1;
    /// Barcode of a variant; GTINs with 14 digits.
    pub(crate) const BARCODE: u16 = 2;
    /// Code of a price list.
    pub(crate) const PRICE_LIST_CODE: u16 = 3;
}

/// The partition of the product that a create with this random part makes, whenever it is tried again:
/// two tries under one idempotency key meet in one partition, in whatever process they run.
pub(crate) fn product_partition(part: RandomPart) -> AggregateId {
    AggregateId::derive(&[b"product", &part.masked().0])
}

/// The partition of a product: its header, a row with its details, a row per variant (at most 200, about
/// 300 bytes each), a row per business below the owner that says something about it (about 200 bytes), an entry
/// per change.
pub(crate) fn product(id: ProductId) -> AggregateId {
    product_partition(id.random_part())
}

/// The partition of the policies of a tenant: its header, a row per business that has policies (about 100 bytes
/// per version), an entry per version.
pub(crate) fn policies() -> AggregateId {
    AggregateId::derive(&[b"policies"])
}

/// The partition of the price list that a create with this random part makes.
pub(crate) fn price_list_partition(part: RandomPart) -> AggregateId {
    AggregateId::derive(&[b"price_list", &part.masked().0])
}

/// The partition of a price list: its header and one entry.
pub(crate) fn price_list(id: PriceListId) -> AggregateId {
    price_list_partition(id.random_part())
}

/// The partition of the prices of a variant in a list, as its owner says them, or a business below: a row per unit
/// (about 40 bytes and 40 per scheduled price), an entry per change (about 200 bytes).
pub(crate) fn price(list: PriceListId, variant: VariantId, business: Option<BusinessId>) -> AggregateId {
    match business {
        None => AggregateId::derive(&[b"price", list.as_bytes(), variant.as_bytes()]),
        Some(business) => {
            AggregateId::derive(&[b"price", list.as_bytes(), variant.as_bytes(), business.as_bytes()])
        }
    }
}

/// The claim on a SKU.
pub(crate) fn sku_claim(sku: &str) -> Claim {
    Claim { kind: claim::SKU, value: sku.as_bytes().to_vec().into() }
}

/// The claim on a barcode.
pub(crate) fn barcode_claim(value: &str) -> Claim {
    Claim { kind: claim::BARCODE, value: value.as_bytes().to_vec().into() }
}

/// Every unique value of a variant.
pub(crate) fn claims(details: &VariantDetails) -> impl Iterator<Item = Claim> {
    let barcodes = details.barcodes.iter().map(|barcode| barcode_claim(&barcode.value));
    [sku_claim(&details.sku)].into_iter().chain(barcodes)
}

/// What to tell a caller who wants a value that another owns; it never learns who.
pub(crate) fn claimed(claim: &Claim) -> Error {
    let value = String::from_utf8_lossy(&claim.value).into_owned();
    match claim.kind {
        claim::BARCODE => Error::BarcodeTaken { barcode: value },
        claim::PRICE_LIST_CODE => Error::CodeTaken { code: value },
        _ => Error::SkuTaken { sku: value },
    }
}
