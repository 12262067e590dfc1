//! What `cargo-pilot verify` asks of the audit log.

use std::sync::Arc;

use ids::{AggregateId, TenantId};
use journal::store::Head;
use journal::verify::Finding;
use journal::{Journal, Scope, SharedStore, SystemEnv};

use crate::domain::access::Accesses;
use crate::domain::log::Log;
use crate::records::{KIND_ACCESSES, KIND_LOG};

/// Re-computes one aggregate of this service from its entries: hash chain, tree, cursors, hashes of tiles.
///
/// # Errors
/// When the store cannot answer; damage is a finding.
pub async fn verify_aggregate(
    store: &SharedStore,
    tenant: TenantId,
    aggregate: AggregateId,
    head: &Head,
) -> Result<Finding, journal::Error> {
    let scope = Scope { tenant, aggregate };
    let [kind, _] = head.format.to_be_bytes();
    match kind {
        KIND_LOG => {
            let journal = Journal::<Log>::new(store.clone(), Arc::new(SystemEnv));
            journal.verify(scope, head, |_, _, _| Ok(())).await
        }
        KIND_ACCESSES => {
            let journal = Journal::<Accesses>::new(store.clone(), Arc::new(SystemEnv));
            journal.verify(scope, head, |_, _, _| Ok(())).await
        }
        other => Ok(Finding { entries: 0, faults: vec![format!("an unknown kind of record: {other}")] }),
    }
}
