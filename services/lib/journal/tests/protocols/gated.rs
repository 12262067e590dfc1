//! A shared store as one process sees it: each operation is a step of the explorer.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::group::{GroupRecord, GroupState, GroupStore, Look};
use journal::memory::MemoryStore;
use journal::relay_store::{ClaimRow, Fence, InstanceId, Lease, Mark, Marked, RelayStore, Sink};
use journal::seal::{SealStore, Segment};
use journal::store::{
    Bucket, Claim, Commit, Found, GroupId, Head, IndexRow, KeyHash, KeyRow, NO_BUCKET, Order, Outcome, Seq,
    Store, StoreError,
};

use super::explore::{Verdict, World};

/// What is broken on purpose, to see that it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Broken {
    #[default]
    Nothing,
    /// Fences refuse nobody.
    Fences,
    /// Closed buckets take marks.
    Closing,
    /// Marks are not written.
    Marks,
    /// Nobody looks how far entries are sealed.
    Looking,
    /// Records of groups change whatever they are.
    Records,
}

#[derive(Clone)]
pub(crate) struct Gated {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) world: Arc<World>,
    pub(crate) process: usize,
    pub(crate) broken: Broken,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

fn lost() -> StoreError {
    StoreError::Unavailable("the answer is lost".into())
}

impl Gated {
    fn read<'a, T: Send + 'static>(
        &'a self,
        operation: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Answer<'a, T> {
        async move {
            match self.world.step(self.process, false).await {
                Verdict::Go => operation.await,
                _ => Err(lost()),
            }
        }
        .boxed()
    }

    fn write<T: Send + 'static, F>(
        &self,
        operation: impl FnOnce(Arc<MemoryStore>) -> F + Send + 'static,
    ) -> Answer<'_, T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        async move {
            let store = Arc::clone(&self.store);
            match self.world.step(self.process, true).await {
                Verdict::Go => operation(store).await,
                Verdict::Lost => Err(lost()),
                Verdict::AnswerLost => {
                    let _ = operation(store).await;
                    Err(lost())
                }
                Verdict::Late => {
                    self.world.happens_later(async move {
                        let _ = operation(store).await;
                    });
                    Err(lost())
                }
            }
        }
        .boxed()
    }
}

impl Store for Gated {
    fn commit(&self, mut group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        if self.broken == Broken::Fences {
            group.iter_mut().for_each(|commit| commit.bucket = NO_BUCKET);
        }
        async move {
            let done = self.write(|store| async move { Ok(store.commit(group).await) }).await;
            done.unwrap_or_else(Outcome::Unknown)
        }
        .boxed()
    }

    fn head(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, Option<Head>> {
        self.read(self.store.head(tenant, aggregate))
    }

    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> Answer<'_, Vec<Option<Bytes>>> {
        self.read(self.store.rows(tenant, aggregate, keys))
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> Answer<'_, Vec<(Bytes, Bytes)>> {
        self.read(self.store.scan_rows(tenant, aggregate, prefix, limit))
    }

    fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> Answer<'_, Vec<(Seq, Bytes)>> {
        self.read(self.store.entries(tenant, aggregate, from, to, order, limit))
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> Answer<'_, Option<KeyRow>> {
        self.read(self.store.key(tenant, hash))
    }

    fn claim(&self, tenant: TenantId, claim: Claim) -> Answer<'_, Option<AggregateId>> {
        self.read(self.store.claim(tenant, claim))
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> Answer<'_, Vec<IndexRow>> {
        self.read(self.store.index(tenant, index, prefix, after, limit))
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> Answer<'_, Option<Bytes>> {
        self.read(self.store.index_row(tenant, index, key, aggregate))
    }

    fn aggregates(&self, after: Option<(TenantId, AggregateId)>, limit: usize) -> Answer<'_, Vec<Found>> {
        self.read(self.store.aggregates(after, limit))
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> Answer<'_, usize> {
        self.write(move |store| async move { store.forget_keys(now_s, limit).await })
    }
}

impl SealStore for Gated {
    fn sealed(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, Seq> {
        if self.broken == Broken::Looking {
            return async { Ok(0) }.boxed();
        }
        self.read(self.store.sealed(tenant, aggregate))
    }

    fn set_sealed(&self, tenant: TenantId, aggregate: AggregateId, expect: Seq, to: Seq) -> Answer<'_, bool> {
        self.write(move |store| async move { store.set_sealed(tenant, aggregate, expect, to).await })
    }

    fn put_segment(&self, tenant: TenantId, aggregate: AggregateId, segment: Segment) -> Answer<'_, ()> {
        self.write(move |store| async move { store.put_segment(tenant, aggregate, segment).await })
    }

    fn segment(&self, tenant: TenantId, aggregate: AggregateId, first: Seq) -> Answer<'_, Option<Segment>> {
        self.read(self.store.segment(tenant, aggregate, first))
    }
}

impl RelayStore for Gated {
    fn raise_fence(&self, tenant: TenantId, aggregate: AggregateId, bucket: Bucket) -> Answer<'_, Fence> {
        self.write(move |store| async move { store.raise_fence(tenant, aggregate, bucket).await })
    }

    fn mark(&self, mut mark: Mark) -> Answer<'_, Marked> {
        match self.broken {
            Broken::Marks => return async { Ok(Marked::Noted) }.boxed(),
            Broken::Closing => mark.bucket += 1000,
            _ => {}
        }
        self.write(move |store| async move { store.mark(mark).await })
    }

    fn close_bucket(&self, instance: InstanceId, bucket: Bucket) -> Answer<'_, ()> {
        self.write(move |store| async move { store.close_bucket(instance, bucket).await })
    }

    fn marks(
        &self,
        instance: InstanceId,
        mut bucket: Bucket,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> Answer<'_, Vec<(TenantId, AggregateId)>> {
        if self.broken == Broken::Closing {
            bucket += 1000;
        }
        self.read(self.store.marks(instance, bucket, after, limit))
    }

    fn delete_bucket(&self, instance: InstanceId, bucket: Bucket) -> Answer<'_, ()> {
        self.write(move |store| async move { store.delete_bucket(instance, bucket).await })
    }

    fn set_lease(
        &self,
        instance: InstanceId,
        expect: Option<Lease>,
        lease: Option<Lease>,
    ) -> Answer<'_, bool> {
        self.write(move |store| async move { store.set_lease(instance, expect, lease).await })
    }

    fn lease(&self, instance: InstanceId) -> Answer<'_, Option<Lease>> {
        self.read(self.store.lease(instance))
    }

    fn leases(&self, after: Option<InstanceId>, limit: usize) -> Answer<'_, Vec<(InstanceId, Lease)>> {
        self.read(self.store.leases(after, limit))
    }

    fn relayed(&self, tenant: TenantId, aggregate: AggregateId, sink: Sink) -> Answer<'_, Seq> {
        self.read(self.store.relayed(tenant, aggregate, sink))
    }

    fn set_relayed(&self, tenant: TenantId, aggregate: AggregateId, sink: Sink, seq: Seq) -> Answer<'_, ()> {
        self.write(move |store| async move { store.set_relayed(tenant, aggregate, sink, seq).await })
    }

    fn claim_row(&self, tenant: TenantId, claim: Claim) -> Answer<'_, Option<ClaimRow>> {
        self.read(self.store.claim_row(tenant, claim))
    }

    fn set_claim_row(
        &self,
        tenant: TenantId,
        claim: Claim,
        expect: Option<ClaimRow>,
        row: Option<ClaimRow>,
    ) -> Answer<'_, bool> {
        self.write(move |store| async move { store.set_claim_row(tenant, claim, expect, row).await })
    }

    fn lists_claim(&self, tenant: TenantId, aggregate: AggregateId, claim: Claim) -> Answer<'_, bool> {
        self.read(self.store.lists_claim(tenant, aggregate, claim))
    }

    fn apply_index(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, ()> {
        self.write(move |store| async move { store.apply_index(tenant, aggregate).await })
    }
}

impl GroupStore for Gated {
    fn look(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, Look> {
        self.read(self.store.look(tenant, aggregate))
    }

    fn group(&self, tenant: TenantId, group: GroupId) -> Answer<'_, Option<GroupRecord>> {
        self.read(self.store.group(tenant, group))
    }

    fn set_group(
        &self,
        tenant: TenantId,
        group: GroupId,
        expect: Option<GroupState>,
        record: GroupRecord,
    ) -> Answer<'_, bool> {
        if self.broken == Broken::Records {
            return self.write(move |store| async move {
                let found = store.group(tenant, group).await?.map(|record| record.state);
                store.set_group(tenant, group, found, record).await
            });
        }
        self.write(move |store| async move { store.set_group(tenant, group, expect, record).await })
    }

    fn end_group(&self, tenant: TenantId, group: GroupId) -> Answer<'_, ()> {
        self.write(move |store| async move { store.end_group(tenant, group).await })
    }

    fn prepare(&self, group: GroupId, commit: Commit) -> BoxFuture<'_, Outcome> {
        async move {
            let done = self.write(move |store| async move { Ok(store.prepare(group, commit).await) }).await;
            done.unwrap_or_else(Outcome::Unknown)
        }
        .boxed()
    }

    fn roll_forward(&self, tenant: TenantId, aggregate: AggregateId, group: GroupId) -> Answer<'_, ()> {
        self.write(move |store| async move { store.roll_forward(tenant, aggregate, group).await })
    }

    fn unlock(&self, tenant: TenantId, aggregate: AggregateId, group: GroupId) -> Answer<'_, ()> {
        self.write(move |store| async move { store.unlock(tenant, aggregate, group).await })
    }

    fn asked_for(&self, tenant: TenantId, hash: KeyHash) -> Answer<'_, Vec<AggregateId>> {
        self.read(self.store.asked_for(tenant, hash))
    }
}
