//! What the audit log says about this service's entries.

use ids::{AggregateId, ApiKeyId, BusinessId, TenantId};
use journal::Aggregate as _;
use journal::store::Head;

use crate::domain::{Event, State};

/// What has this history: `biz_…`, `key_…`, `ten_…`.
#[must_use]
pub fn resource(head: &Head, aggregate: AggregateId) -> Option<String> {
    let id = *aggregate.as_bytes();
    Some(match State::from_header(head.state_header()?).ok()? {
        State::Unborn => return None,
        State::Directory(_) | State::Tenant(_) => TenantId::from_bytes(id).to_string(),
        State::Business(_) => BusinessId::from_bytes(id).to_string(),
        State::ApiKey(_) => ApiKeyId::from_bytes(id).to_string(),
    })
}

/// What happened: `tenant.business.updated`.
#[must_use]
pub fn action(_: u8, event: &[u8]) -> Option<&'static str> {
    Some(match State::decode(event).ok()? {
        Event::Registered { .. } => "tenant.slug.registered",
        Event::KeyRegistered { .. } => "tenant.api_key.registered",
        Event::TenantCreated(_) => "tenant.tenant.created",
        Event::BusinessCreated(_) => "tenant.business.created",
        Event::BusinessUpdated(_) => "tenant.business.updated",
        Event::KeyIssued(_) => "tenant.api_key.created",
        Event::KeyRevoked => "tenant.api_key.revoked",
    })
}
