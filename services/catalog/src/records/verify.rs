//! What `cargo-pilot verify` asks of the catalogue.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::store::{ClaimChange, Head};
use journal::verify::Finding;
use journal::{Aggregate, Changes, Claim, Journal, Scope, SharedStore, SystemEnv};

use super::{InheritedRecord, PoliciesRecord, PriceListRecord, PriceRecord, ProductRecord, kind};
use crate::domain::Change;

/// Re-computes one aggregate of the catalogue from its entries: hash chain, header, rows, claims, index
/// rows, and the numbers of price changes.
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
        kind::PRODUCT => verify::<ProductRecord>(store, scope, head, |_| Ok(())).await,
        kind::PRICE_LIST => verify::<PriceListRecord>(store, scope, head, |_| Ok(())).await,
        kind::PRICE => {
            let mut sequences = BTreeMap::new();
            verify::<PriceRecord>(store, scope, head, |change| follows(&mut sequences, change)).await
        }
        kind::POLICIES => verify::<PoliciesRecord>(store, scope, head, |_| Ok(())).await,
        kind::INHERITED => verify::<InheritedRecord>(store, scope, head, |_| Ok(())).await,
        other => Ok(Finding { entries: 0, faults: vec![format!("the catalogue knows no kind {other}")] }),
    }
}

async fn verify<A: Aggregate>(
    store: &SharedStore,
    scope: Scope,
    head: &Head,
    mut check: impl FnMut(&A::Event) -> Result<(), String> + Send,
) -> Result<Finding, journal::Error> {
    let journal = Journal::<A>::new(Arc::clone(store), Arc::new(SystemEnv));
    let mut changes = Changes::default();
    let mut finding = journal
        .verify(scope, head, |state, event, seq| {
            state.project(event, seq, &mut changes);
            check(event)
        })
        .await?;
    if finding.faults.is_empty() {
        compare(store, scope, changes, &mut finding).await?;
    }
    Ok(finding)
}

/// Compares what the entries say about claims and index rows with what is stored.
async fn compare(
    store: &SharedStore,
    scope: Scope,
    changes: Changes,
    finding: &mut Finding,
) -> Result<(), journal::Error> {
    let mut claims: BTreeMap<Claim, bool> = BTreeMap::new();
    for change in changes.claims {
        match change {
            ClaimChange::Take(claim) => claims.insert(claim, true),
            ClaimChange::Release(claim) => claims.insert(claim, false),
        };
    }
    for (claim, owned) in claims {
        let value = String::from_utf8_lossy(&claim.value).into_owned();
        if owned != (store.claim(scope.tenant, claim).await? == Some(scope.aggregate)) {
            finding.faults.push(format!("the claim on '{value}' does not follow from the entries"));
        }
    }
    let mut rows: BTreeMap<(u16, Bytes), Option<Bytes>> = BTreeMap::new();
    for change in changes.index {
        rows.insert((change.index, change.key), change.value);
    }
    for ((index, key), value) in rows {
        if store.index_row(scope.tenant, index, key, scope.aggregate).await? != value {
            finding.faults.push(format!("a row of index {index} does not follow from the entries"));
        }
    }
    Ok(())
}

/// The changes of a unit are numbered without gaps.
fn follows(sequences: &mut BTreeMap<&'static str, u64>, change: &Change) -> Result<(), String> {
    let last = sequences.entry(change.unit.code).or_default();
    *last += 1;
    if change.sequence != *last {
        return Err(format!("the price change is number {}, expected {last}", change.sequence));
    }
    Ok(())
}
