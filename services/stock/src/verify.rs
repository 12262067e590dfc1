//! Re-computes an item or a location from its entries; the rules of the ledger on top of the journal's.

mod rules;

use std::sync::Arc;

use ids::{AggregateId, TenantId};
use journal::store::Head;
use journal::verify::Finding;
use journal::{Journal, Scope, SharedStore, SystemEnv};

use crate::domain::item::Item;
use crate::domain::location::Place;
use crate::records;

pub use rules::Rules;

/// Verifies one aggregate of this service: chain, sequence and stored state, and for items all [`Rules`].
///
/// # Errors
/// When the store cannot answer; what is wrong with the data is in the finding.
pub async fn verify_aggregate(
    store: &SharedStore,
    tenant: TenantId,
    aggregate: AggregateId,
    head: &Head,
) -> Result<Finding, journal::Error> {
    let scope = Scope { tenant, aggregate };
    let [kind, _] = head.format.to_be_bytes();
    let (store, head) = (store.clone(), head.clone());
    let checked = match kind {
        records::KIND_ITEM => tokio::spawn(verify_item(store, scope, head)).await,
        records::KIND_LOCATION => tokio::spawn(verify_location(store, scope, head)).await,
        other => Ok(Ok(fault(format!("an unknown kind of record: {other}")))),
    };
    // Entries that contradict the state before them may stop the replay.
    checked.unwrap_or_else(|_| Ok(fault("the entries contradict each other".to_owned())))
}

fn fault(text: String) -> Finding {
    Finding { entries: 0, faults: vec![text] }
}

async fn verify_item(store: SharedStore, scope: Scope, head: Head) -> Result<Finding, journal::Error> {
    let mut rules = Rules::new(scope.tenant);
    let journal = Journal::<Item>::new(store, Arc::new(SystemEnv));
    let check = |item: &Item, movement: &_, seq| rules.check(item, movement, seq);
    let mut finding = journal.verify(scope, &head, check).await?;
    if finding.faults.is_empty()
        && let Err(fault) = rules.finish()
    {
        finding.faults.push(format!("entry {}: {fault}", head.seq));
    }
    Ok(finding)
}

async fn verify_location(store: SharedStore, scope: Scope, head: Head) -> Result<Finding, journal::Error> {
    Journal::<Place>::new(store, Arc::new(SystemEnv)).verify(scope, &head, |_, _, _| Ok(())).await
}
