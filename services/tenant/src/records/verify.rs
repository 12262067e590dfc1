//! What `cargo-pilot verify` asks of this service.

use std::sync::Arc;

use ids::{AggregateId, TenantId};
use journal::store::Head;
use journal::verify::Finding;
use journal::{Journal, Scope, SharedStore, SystemEnv};

use super::{KIND_ACCESS, KIND_ACCOUNT, KIND_OPERATOR, KIND_PEOPLE, KIND_STATE, KIND_TREE};
use crate::domain::{Access, Account, Operator, People, State, Tree};

/// Re-computes one aggregate of the service from its entries: hash chain, header and rows.
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
    let (store, env) = (Arc::clone(store), Arc::new(SystemEnv));
    let [kind, _] = head.format.to_be_bytes();
    match kind {
        KIND_STATE => Journal::<State>::new(store, env).verify(scope, head, |_, _, _| Ok(())).await,
        KIND_TREE => Journal::<Tree>::new(store, env).verify(scope, head, |_, _, _| Ok(())).await,
        KIND_ACCESS => Journal::<Access>::new(store, env).verify(scope, head, |_, _, _| Ok(())).await,
        KIND_PEOPLE => Journal::<People>::new(store, env).verify(scope, head, |_, _, _| Ok(())).await,
        KIND_OPERATOR => Journal::<Operator>::new(store, env).verify(scope, head, |_, _, _| Ok(())).await,
        KIND_ACCOUNT => Journal::<Account>::new(store, env).verify(scope, head, |_, _, _| Ok(())).await,
        other => {
            Ok(Finding { entries: 0, faults: vec![format!("the tenant service knows no kind {other}")] })
        }
    }
}
