//! What the audit log says about this service's entries.

use ids::{AggregateId, LocationId};
use journal::store::Head;

use crate::domain::location::Event;
use crate::records::{KIND_ITEM, KIND_LOCATION, decode_item, decode_location_event, decode_movement};

/// What has this history: the location, `loc_…`; for stock its variant, `var_…`.
#[must_use]
pub fn resource(head: &Head, aggregate: AggregateId) -> Option<String> {
    let [kind, _] = head.format.to_be_bytes();
    match kind {
        KIND_LOCATION => Some(LocationId::from_bytes(*aggregate.as_bytes()).to_string()),
        KIND_ITEM => decode_item(head.state_header()?).ok()?.facts.map(|facts| facts.variant.to_string()),
        _ => None,
    }
}

/// What happened: `stock.movement.posted`.
#[must_use]
pub fn action(kind: u8, event: &[u8]) -> Option<&'static str> {
    match kind {
        KIND_LOCATION => Some(match decode_location_event(event).ok()? {
            Event::Created(_) => "stock.location.created",
            Event::Changed(_) => "stock.location.updated",
        }),
        KIND_ITEM => decode_movement(event).ok().map(|movement| match movement.is_physical() {
            true => "stock.movement.posted",
            false => "stock.value.settled",
        }),
        _ => None,
    }
}
