//! What businesses hear of changes above them.

use ids::ProductId;
use journal::{Posted, Seq};
use problem::Invalid;
use proto::catalog::v1 as catalog;

use super::check::{self, checked};
use super::timestamp;
use crate::app::{Page, PageRequest};
use crate::domain::{Cause, InheritedChange, What};

/// What is asked for: the product, the sequence that was seen last, the page.
pub(crate) fn list_inherited_changes(
    request: catalog::ListInheritedChangesRequest,
) -> Result<(Option<ProductId>, Seq, PageRequest), Invalid> {
    checked(|v| {
        let product = match request.product_id.is_empty() {
            true => None,
            false => Some(check::id(v, "product_id", &request.product_id, ProductId::parse)?),
        };
        Some((product, request.after_sequence, super::page(request.page_size, request.page_token)))
    })
}

pub(crate) fn inherited_changes(
    page: &Page<Posted<InheritedChange>>,
) -> catalog::ListInheritedChangesResponse {
    let changes = page.items.iter().map(inherited_change).collect();
    catalog::ListInheritedChangesResponse { changes, next_page_token: page.next.clone() }
}

fn inherited_change(posted: &Posted<InheritedChange>) -> catalog::InheritedChange {
    let change = &posted.event;
    let visibility = match change.shown {
        None => catalog::InheritedVisibility::Unchanged,
        Some(true) => catalog::InheritedVisibility::Shown,
        Some(false) => catalog::InheritedVisibility::Hidden,
    };
    let told = catalog::InheritedChange {
        sequence: posted.seq,
        product_id: change.product.to_string(),
        fields: change.fields.clone(),
        visibility: visibility.into(),
        origin_business_id: change.origin.to_string(),
        occurred_at: timestamp(change.occurred_at),
        recorded_at: timestamp(posted.recorded_at),
        ..catalog::InheritedChange::default()
    };
    match &change.cause {
        Cause::Entry { revision, what, publication } => catalog::InheritedChange {
            cause: cause(*what).into(),
            revision: *revision,
            publication_id: publication.map(|id| id.to_string()).unwrap_or_default(),
            ..told
        },
        Cause::Policy { group, version } => catalog::InheritedChange {
            cause: catalog::InheritedChangeCause::Policy.into(),
            policy_field_group: group.clone(),
            policy_version: *version,
            ..told
        },
    }
}

fn cause(what: What) -> catalog::InheritedChangeCause {
    use catalog::InheritedChangeCause as Cause;
    match what {
        What::Updated => Cause::Updated,
        What::Overridden => Cause::Overridden,
        What::VisibilitySet => Cause::VisibilitySet,
        What::Published => Cause::Published,
        What::Advanced => Cause::Advanced,
        What::RolledBack => Cause::RolledBack,
    }
}
