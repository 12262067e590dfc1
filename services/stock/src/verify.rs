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
    let env = Arc::new(SystemEnv);
    match kind {
        records::KIND_ITEM => {
            let mut rules = Rules::new(tenant);
            let journal = Journal::<Item>::new(store.clone(), env);
            let check = |item: &Item, movement: &_, seq| rules.check(item, movement, seq);
            let mut finding = journal.verify(scope, head, check).await?;
            if finding.faults.is_empty()
                && let Err(fault) = rules.finish()
            {
                finding.faults.push(format!("entry {}: {fault}", head.seq));
            }
            Ok(finding)
        }
        records::KIND_LOCATION => {
            Journal::<Place>::new(store.clone(), env).verify(scope, head, |_, _, _| Ok(())).await
        }
        other => Ok(Finding { entries: 0, faults: vec![format!("an unknown kind of record: {other}")] }),
    }
}
