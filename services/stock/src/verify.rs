//! Re-computes an item or a location from its entries; the rules of the ledger on top of the journal's.

use ids::{AggregateId, TenantId};
use journal::store::Head;
use journal::verify::Finding;
use journal::{Journal, Scope, Seq, SharedStore, SystemEnv};
use quantity::Quantity;

use crate::domain::item::Item;
use crate::domain::location::Place;
use crate::domain::movement::{Method, Movement};
use crate::records;

/// Verifies one aggregate of this service: chain, sequence, state, and for items every balance, the
/// value of the pool and its layers after each movement.
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
    let env = std::sync::Arc::new(SystemEnv);
    match kind {
        records::KIND_ITEM => {
            let mut rules = Rules::default();
            let journal = Journal::<Item>::new(store.clone(), env);
            journal.verify(scope, head, |item, movement, seq| rules.check(item, movement, seq)).await
        }
        records::KIND_LOCATION => {
            Journal::<Place>::new(store.clone(), env).verify(scope, head, |_, _, _| Ok(())).await
        }
        other => Ok(Finding { entries: 0, faults: vec![format!("an unknown kind of record: {other}")] }),
    }
}

/// Sums that are kept apart from the item's own state.
#[derive(Default)]
struct Rules {
    balances: std::collections::HashMap<ids::LocationId, Quantity>,
    on_hand: Quantity,
    value: i64,
}

impl Rules {
    fn check(&mut self, item: &Item, movement: &Movement, _seq: Seq) -> Result<(), String> {
        let balance = self.balances.entry(movement.location).or_default();
        if *balance != movement.balance_before {
            return Err(format!(
                "balance before is {}, the movements give {balance}",
                movement.balance_before
            ));
        }
        let after = balance.checked_add(movement.quantity).ok_or("a balance is out of range")?;
        if after != movement.balance_after {
            return Err(format!("balance after is {}, the movements give {after}", movement.balance_after));
        }
        *balance = after;
        self.on_hand = self.on_hand.checked_add(movement.quantity).ok_or("a balance is out of range")?;
        self.value = self.value.checked_add(movement.value).ok_or("a value is out of range")?;
        if self.on_hand != movement.item_after || self.on_hand != movement.pool_quantity_after {
            return Err(format!("on hand is {}, the movements give {}", movement.item_after, self.on_hand));
        }
        if self.value != movement.pool_value_after {
            return Err(format!(
                "the value is {}, the movements give {}",
                movement.pool_value_after, self.value
            ));
        }
        self.check_pool(item)
    }

    fn check_pool(&self, item: &Item) -> Result<(), String> {
        let pool = &item.pool;
        let owed: Quantity = pool.deficits.iter().map(|deficit| deficit.quantity).sum();
        let layers = pool.layers.quantity();
        if layers - owed != self.on_hand {
            return Err(format!("{layers} in layers less {owed} owed is not {} on hand", self.on_hand));
        }
        if item.pool.method == Method::Fifo && owed.is_zero() {
            let worth: i64 = pool.layers.iter().map(|layer| layer.value).sum();
            // A settlement follows its arrival: until then the pool is off by what it will settle.
            let settled = pool.deficits.is_empty() && worth == self.value;
            if !settled && self.on_hand.is_zero() && self.value != 0 {
                return Err("there is value without quantity".into());
            }
        }
        Ok(())
    }
}
