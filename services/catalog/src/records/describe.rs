//! What the audit log says about this service's entries.

use ids::AggregateId;
use journal::Aggregate as _;
use journal::store::Head;

use super::{
    InheritedEvent, InheritedRecord, PoliciesRecord, PriceListRecord, PriceRecord, ProductRecord, kind,
};
use crate::domain::Event;

/// What has this history: `prd_…`, `prl_…`; for prices their variant, `var_…`.
#[must_use]
pub fn resource(head: &Head, _: AggregateId) -> Option<String> {
    let [kind, _] = head.format.to_be_bytes();
    let header = head.state_header()?;
    match kind {
        kind::PRODUCT => ProductRecord::from_header(header).ok()?.id().map(|id| id.to_string()),
        kind::PRICE_LIST => {
            PriceListRecord::from_header(header).ok()?.list.map(|made| made.list.id.to_string())
        }
        kind::PRICE => PriceRecord::from_header(header).ok()?.variant().map(|id| id.to_string()),
        kind::POLICIES => Some("inheritance_policies".to_owned()),
        kind::INHERITED => {
            let business = InheritedRecord::from_header(header).ok()?.business;
            Some(business.map_or_else(|| "inheritance_follower".to_owned(), |business| business.to_string()))
        }
        _ => None,
    }
}

/// What happened: `catalog.product.created`.
#[must_use]
pub fn action(kind: u8, event: &[u8]) -> Option<&'static str> {
    match kind {
        kind::PRODUCT => Some(match ProductRecord::decode(event).ok()? {
            Event::Created(_) => "catalog.product.created",
            Event::DetailsChanged(_) => "catalog.product.updated",
            Event::VariantAdded(_) => "catalog.variant.created",
            Event::VariantChanged { .. } => "catalog.variant.updated",
            Event::FactorSet { .. } => "catalog.unit_conversion.set",
            Event::Overridden(_) => "catalog.product.overridden",
            Event::VisibilitySet { .. } => "catalog.product.visibility_set",
            Event::Published(_) => "catalog.publication.published",
            Event::Advanced { .. } => "catalog.publication.advanced",
            Event::RolledBack { .. } => "catalog.publication.rolled_back",
        }),
        kind::PRICE_LIST => PriceListRecord::decode(event).ok().map(|_| "catalog.price_list.created"),
        kind::PRICE => Some(match PriceRecord::decode(event).ok()?.new {
            Some(_) => "catalog.price.set",
            None => "catalog.price.cleared",
        }),
        kind::INHERITED => Some(match InheritedRecord::decode(event).ok()? {
            InheritedEvent::Followed { .. } => "catalog.inheritance.followed",
            InheritedEvent::Noted { .. } => "catalog.inherited_change.noted",
        }),
        kind::POLICIES => PoliciesRecord::decode(event).ok().map(|_| "catalog.inheritance_policy.set"),
        _ => None,
    }
}
