//! Fences, marks, leases, cursors and claim rows of the reference store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};

use super::MemoryStore;
use crate::relay_store::{ClaimRow, Fence, InstanceId, Lease, Mark, Marked, RelayStore, Sink};
use crate::store::{Bucket, Claim, ClaimChange, Commit, IndexChange, Seq, StoreError};

#[derive(Default, Debug)]
pub(super) struct Tables {
    fences: BTreeMap<(TenantId, AggregateId), Bucket>,
    marks: BTreeSet<(InstanceId, Bucket, TenantId, AggregateId)>,
    closed: BTreeSet<(InstanceId, Bucket)>,
    leases: BTreeMap<InstanceId, Lease>,
    relayed: BTreeMap<(TenantId, AggregateId, Sink), Seq>,
    claims: BTreeMap<(TenantId, Claim), ClaimRow>,
    /// What the journals of the aggregates list.
    listed: BTreeSet<(TenantId, AggregateId, Claim)>,
    /// Index rows that wait to be moved, of which aggregate and from which commit.
    waiting: BTreeMap<(TenantId, AggregateId, Seq), Vec<IndexChange>>,
}

impl Tables {
    pub(super) fn fence(&self, tenant: TenantId, aggregate: AggregateId) -> Bucket {
        self.fences.get(&(tenant, aggregate)).copied().unwrap_or(0)
    }

    /// Releases come before takes, as in every store.
    pub(super) fn list_claims(&mut self, commit: &Commit) {
        let row = |claim: &Claim| (commit.tenant, commit.aggregate, claim.clone());
        for change in &commit.claims {
            if let ClaimChange::Release(claim) = change {
                self.listed.remove(&row(claim));
            }
        }
        for change in &commit.claims {
            if let ClaimChange::Take(claim) = change {
                self.listed.insert(row(claim));
            }
        }
    }

    pub(super) fn owner(&self, tenant: TenantId, claim: &Claim) -> Option<AggregateId> {
        let row = self.claims.get(&(tenant, claim.clone()))?;
        let lists = |owner: &AggregateId| self.listed.contains(&(tenant, *owner, claim.clone()));
        Some(row.owner).into_iter().chain(row.before).find(lists)
    }

    pub(super) fn wait(&mut self, commit: &Commit, index: Vec<IndexChange>) {
        if !index.is_empty() {
            self.waiting.insert((commit.tenant, commit.aggregate, commit.head.seq), index);
        }
    }
}

/// Writes `row` if the table still has `expect`.
fn replace<K: Ord, V: PartialEq>(
    table: &mut BTreeMap<K, V>,
    key: K,
    expect: Option<&V>,
    row: Option<V>,
) -> bool {
    if table.get(&key) != expect {
        return false;
    }
    match row {
        Some(row) => table.insert(key, row),
        None => table.remove(&key),
    };
    true
}

impl RelayStore for MemoryStore {
    fn raise_fence(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        bucket: Bucket,
    ) -> BoxFuture<'_, Result<Fence, StoreError>> {
        self.write(move |tables| {
            let fence = tables.relay.fences.entry((tenant, aggregate)).or_default();
            *fence = bucket.max(*fence);
            Fence { fence: *fence, seq: tables.seq(tenant, aggregate) }
        })
    }

    fn mark(&self, mark: Mark) -> BoxFuture<'_, Result<Marked, StoreError>> {
        self.write(move |tables| {
            if tables.relay.closed.contains(&(mark.instance, mark.bucket)) {
                return Marked::Closed;
            }
            tables.relay.marks.insert((mark.instance, mark.bucket, mark.tenant, mark.aggregate));
            Marked::Noted
        })
    }

    fn close_bucket(&self, instance: InstanceId, bucket: Bucket) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |tables| {
            tables.relay.closed.insert((instance, bucket));
        })
    }

    fn marks(
        &self,
        instance: InstanceId,
        bucket: Bucket,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(TenantId, AggregateId)>, StoreError>> {
        self.read(move |tables| {
            let least = (TenantId::from_bytes([0; 16]), AggregateId::from_bytes([0; 16]));
            let from = match after {
                Some((tenant, aggregate)) => Bound::Excluded((instance, bucket, tenant, aggregate)),
                None => Bound::Included((instance, bucket, least.0, least.1)),
            };
            let marks = tables.relay.marks.range((from, Bound::Unbounded));
            let marks = marks.take_while(|(i, b, ..)| *i == instance && *b == bucket).take(limit);
            marks.map(|(_, _, tenant, aggregate)| (*tenant, *aggregate)).collect()
        })
    }

    fn delete_bucket(&self, instance: InstanceId, bucket: Bucket) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |tables| {
            tables.relay.marks.retain(|(i, b, ..)| *i != instance || *b != bucket);
        })
    }

    fn set_lease(
        &self,
        instance: InstanceId,
        expect: Option<Lease>,
        lease: Option<Lease>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(move |tables| replace(&mut tables.relay.leases, instance, expect.as_ref(), lease))
    }

    fn lease(&self, instance: InstanceId) -> BoxFuture<'_, Result<Option<Lease>, StoreError>> {
        self.read(move |tables| tables.relay.leases.get(&instance).cloned())
    }

    fn leases(
        &self,
        after: Option<InstanceId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(InstanceId, Lease)>, StoreError>> {
        self.read(move |tables| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let leases = tables.relay.leases.range((from, Bound::Unbounded)).take(limit);
            leases.map(|(instance, lease)| (*instance, lease.clone())).collect()
        })
    }

    fn relayed(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        sink: Sink,
    ) -> BoxFuture<'_, Result<Seq, StoreError>> {
        self.read(move |tables| tables.relay.relayed.get(&(tenant, aggregate, sink)).copied().unwrap_or(0))
    }

    fn set_relayed(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        sink: Sink,
        seq: Seq,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |tables| {
            let noted = tables.relay.relayed.entry((tenant, aggregate, sink)).or_default();
            *noted = seq.max(*noted);
        })
    }

    fn claim_row(
        &self,
        tenant: TenantId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Option<ClaimRow>, StoreError>> {
        self.read(move |tables| tables.relay.claims.get(&(tenant, claim)).cloned())
    }

    fn set_claim_row(
        &self,
        tenant: TenantId,
        claim: Claim,
        expect: Option<ClaimRow>,
        row: Option<ClaimRow>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(move |tables| replace(&mut tables.relay.claims, (tenant, claim), expect.as_ref(), row))
    }

    fn lists_claim(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.read(move |tables| tables.relay.listed.contains(&(tenant, aggregate, claim)))
    }

    fn apply_index(&self, tenant: TenantId, aggregate: AggregateId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |tables| {
            let all = (tenant, aggregate, 0)..=(tenant, aggregate, Seq::MAX);
            let moved: Vec<_> = tables.relay.waiting.extract_if(all, |_, _| true).collect();
            for change in moved.into_iter().flat_map(|(_, changes)| changes) {
                super::set(&mut tables.index, (tenant, change.index, change.key, aggregate), change.value);
            }
        })
    }
}
