//! Takes over what a silent process left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::{Publish, relay};
use crate::relay_store::{InstanceId, Lease, RelayStore};
use crate::store::{Bucket, StoreError};

/// Seconds without a renewal, by the adopter's own clock, after which an instance is taken for dead.
pub const SILENT_S: u64 = 60;
/// Leases and marks that are read at once.
const PAGE: usize = 256;

/// Watches the leases of a store.
pub struct Adopter {
    store: Arc<dyn RelayStore>,
    sinks: Vec<Arc<dyn Publish>>,
    /// As which instance it signs.
    by: InstanceId,
    /// Leases as they were seen, and since when.
    seen: BTreeMap<InstanceId, (Lease, Instant)>,
}

impl Adopter {
    /// An adopter that signs as `by` and relays to `sinks`.
    #[must_use]
    pub fn new(store: Arc<dyn RelayStore>, sinks: Vec<Arc<dyn Publish>>, by: InstanceId) -> Adopter {
        Adopter { store, sinks, by, seen: BTreeMap::new() }
    }

    /// Looks at all leases once, and adopts the instances that have been silent for [`SILENT_S`]. Returns which
    /// ones were adopted to the end.
    ///
    /// # Errors
    /// When the store or a sink does not answer; an adoption that was begun is taken up again.
    pub async fn round(&mut self) -> Result<Vec<InstanceId>, StoreError> {
        let now = Instant::now();
        let mut leases = BTreeMap::new();
        let mut after = None;
        loop {
            let page = match self.store.leases(after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    // Nobody could renew either: how long leases were silent before says nothing.
                    self.seen.clear();
                    return Err(error);
                }
            };
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            leases.extend(page);
        }
        self.seen.retain(|instance, _| leases.contains_key(instance));
        let (mut adopted, mut failed) = (Vec::new(), None);
        for (instance, lease) in leases {
            let (seen, since) = self.seen.entry(instance).or_insert_with(|| (lease.clone(), now));
            if *seen != lease {
                (*seen, *since) = (lease, now);
                continue;
            }
            let mine = lease.adopter == Some(self.by);
            let silent = now.duration_since(*since) >= Duration::from_secs(SILENT_S);
            if !(mine || silent) {
                continue;
            }
            match self.adopt(instance, lease).await {
                Ok(true) => {
                    self.seen.remove(&instance);
                    adopted.push(instance);
                }
                Ok(false) => {}
                // The others are not to wait for this one.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(adopted), Err)
    }

    /// Adopts an instance whose lease is still `seen`. False if it is not: the instance lives, or another
    /// adopter was faster.
    ///
    /// # Errors
    /// When the store or a sink does not answer; the call can be repeated.
    pub async fn adopt(&self, instance: InstanceId, seen: Lease) -> Result<bool, StoreError> {
        let adopted = if seen.adopter == Some(self.by) {
            seen
        } else {
            let adopted = Lease { beat: seen.beat + 1, adopter: Some(self.by), ..seen.clone() };
            if !self.store.set_lease(instance, Some(seen), Some(adopted.clone())).await? {
                return Ok(false);
            }
            adopted
        };
        let mut aggregates = 0;
        for bucket in adopted.low..=adopted.high {
            aggregates += self.take_over(instance, bucket).await?;
        }
        let ended = self.store.set_lease(instance, Some(adopted), None).await?;
        if ended {
            info!("an instance that was silent is adopted, with {aggregates} aggregates");
        }
        Ok(ended)
    }

    async fn take_over(&self, instance: InstanceId, bucket: Bucket) -> Result<usize, StoreError> {
        self.store.close_bucket(instance, bucket).await?;
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self.store.marks(instance, bucket, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            count += page.len();
            for (tenant, aggregate) in page {
                let fence = self.store.raise_fence(tenant, aggregate, bucket).await?;
                self.store.apply_index(tenant, aggregate).await?;
                for sink in &self.sinks {
                    relay(&*self.store, &**sink, tenant, aggregate, fence.seq).await?;
                }
            }
        }
        self.store.delete_bucket(instance, bucket).await?;
        Ok(count)
    }
}
