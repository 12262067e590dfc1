//! A process that dies, or whose work fails once, at a chosen step.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::memory::MemoryStore;
use journal::relay::Publish;
use journal::relay_store::{ClaimRow, Fence, InstanceId, Lease, Mark, Marked, RelayStore, Sink};
use journal::store::{
    Bucket, Claim, Commit, Found, Head, IndexRow, KeyHash, KeyRow, Order, Outcome, Seq, Store, StoreError,
};
use journal::{Env, SystemEnv};
use tokio::sync::Notify;

/// What happens at the chosen step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// The process is no more.
    Dies,
    /// One call is answered with an error.
    Fails,
}

/// Counts the steps of one process. Each call has two: before it is done, and before its answer is there.
pub(crate) struct Life {
    fate: Fate,
    at: usize,
    steps: AtomicUsize,
    dead: Notify,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Life {
    pub(crate) fn new(fate: Fate, at: usize) -> Arc<Life> {
        Arc::new(Life { fate, at, steps: AtomicUsize::new(0), dead: Notify::new() })
    }

    /// Steps that were taken.
    pub(crate) fn steps(&self) -> usize {
        self.steps.load(Ordering::SeqCst)
    }

    /// Does the work of the process until it dies.
    pub(crate) async fn live(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = work => {}
            () = self.dead.notified() => {}
        }
    }

    async fn step(&self) -> Result<(), StoreError> {
        if self.steps.fetch_add(1, Ordering::SeqCst) != self.at {
            return Ok(());
        }
        match self.fate {
            Fate::Fails => Err(StoreError::Unavailable("this step fails".into())),
            Fate::Dies => {
                self.dead.notify_one();
                futures::future::pending().await
            }
        }
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> Answer<'a, T> {
        async move {
            self.step().await?;
            let answer = call.await?;
            self.step().await?;
            Ok(answer)
        }
        .boxed()
    }
}

/// A shared store as the process sees it.
pub(crate) struct Mortal {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) life: Arc<Life>,
}

impl Store for Mortal {
    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        let commit = self.store.commit(group).map(Ok);
        self.life.call(commit).map(|done| done.unwrap_or_else(Outcome::Unknown)).boxed()
    }

    fn head(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, Option<Head>> {
        self.life.call(self.store.head(tenant, aggregate))
    }

    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> Answer<'_, Vec<Option<Bytes>>> {
        self.life.call(self.store.rows(tenant, aggregate, keys))
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> Answer<'_, Vec<(Bytes, Bytes)>> {
        self.life.call(self.store.scan_rows(tenant, aggregate, prefix, limit))
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
        self.life.call(self.store.entries(tenant, aggregate, from, to, order, limit))
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> Answer<'_, Option<KeyRow>> {
        self.life.call(self.store.key(tenant, hash))
    }

    fn claim(&self, tenant: TenantId, claim: Claim) -> Answer<'_, Option<AggregateId>> {
        self.life.call(self.store.claim(tenant, claim))
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> Answer<'_, Vec<IndexRow>> {
        self.life.call(self.store.index(tenant, index, prefix, after, limit))
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> Answer<'_, Option<Bytes>> {
        self.life.call(self.store.index_row(tenant, index, key, aggregate))
    }

    fn aggregates(&self, after: Option<(TenantId, AggregateId)>, limit: usize) -> Answer<'_, Vec<Found>> {
        self.life.call(self.store.aggregates(after, limit))
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> Answer<'_, usize> {
        self.life.call(self.store.forget_keys(now_s, limit))
    }
}

impl RelayStore for Mortal {
    fn raise_fence(&self, tenant: TenantId, aggregate: AggregateId, bucket: Bucket) -> Answer<'_, Fence> {
        self.life.call(self.store.raise_fence(tenant, aggregate, bucket))
    }

    fn apply_index(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, ()> {
        self.life.call(self.store.apply_index(tenant, aggregate))
    }

    fn mark(&self, mark: Mark) -> Answer<'_, Marked> {
        self.life.call(self.store.mark(mark))
    }

    fn close_bucket(&self, instance: InstanceId, bucket: Bucket) -> Answer<'_, ()> {
        self.life.call(self.store.close_bucket(instance, bucket))
    }

    fn marks(
        &self,
        instance: InstanceId,
        bucket: Bucket,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> Answer<'_, Vec<(TenantId, AggregateId)>> {
        self.life.call(self.store.marks(instance, bucket, after, limit))
    }

    fn delete_bucket(&self, instance: InstanceId, bucket: Bucket) -> Answer<'_, ()> {
        self.life.call(self.store.delete_bucket(instance, bucket))
    }

    fn set_lease(
        &self,
        instance: InstanceId,
        expect: Option<Lease>,
        lease: Option<Lease>,
    ) -> Answer<'_, bool> {
        self.life.call(self.store.set_lease(instance, expect, lease))
    }

    fn lease(&self, instance: InstanceId) -> Answer<'_, Option<Lease>> {
        self.life.call(self.store.lease(instance))
    }

    fn leases(&self, after: Option<InstanceId>, limit: usize) -> Answer<'_, Vec<(InstanceId, Lease)>> {
        self.life.call(self.store.leases(after, limit))
    }

    fn relayed(&self, tenant: TenantId, aggregate: AggregateId, sink: Sink) -> Answer<'_, Seq> {
        self.life.call(self.store.relayed(tenant, aggregate, sink))
    }

    fn set_relayed(&self, tenant: TenantId, aggregate: AggregateId, sink: Sink, seq: Seq) -> Answer<'_, ()> {
        self.life.call(self.store.set_relayed(tenant, aggregate, sink, seq))
    }

    fn claim_row(&self, tenant: TenantId, claim: Claim) -> Answer<'_, Option<ClaimRow>> {
        self.life.call(self.store.claim_row(tenant, claim))
    }

    fn set_claim_row(
        &self,
        tenant: TenantId,
        claim: Claim,
        expect: Option<ClaimRow>,
        row: Option<ClaimRow>,
    ) -> Answer<'_, bool> {
        self.life.call(self.store.set_claim_row(tenant, claim, expect, row))
    }

    fn lists_claim(&self, tenant: TenantId, aggregate: AggregateId, claim: Claim) -> Answer<'_, bool> {
        self.life.call(self.store.lists_claim(tenant, aggregate, claim))
    }
}

/// The bus as the process sees it. One more step is between sending and the acknowledgement.
pub(crate) struct MortalPublish<P> {
    pub(crate) to: Arc<P>,
    pub(crate) life: Arc<Life>,
}

impl<P: Publish> Publish for MortalPublish<P> {
    fn sink(&self) -> Sink {
        self.to.sink()
    }

    fn publish(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        entries: Vec<(Seq, Bytes)>,
    ) -> Answer<'_, ()> {
        let publish = async move {
            let mut publish = self.to.publish(tenant, aggregate, entries);
            // As far as it goes without an answer from the server.
            if let Some(done) = (&mut publish).now_or_never() {
                return done;
            }
            self.life.step().await?;
            publish.await
        };
        self.life.call(publish)
    }
}

/// A clock that can be moved ahead.
#[derive(Default)]
pub(crate) struct Ahead {
    seconds: AtomicU64,
}

impl Ahead {
    pub(crate) fn by(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Env for Ahead {
    fn now(&self) -> calendar::Instant {
        let ahead = Duration::from_secs(self.seconds.load(Ordering::Relaxed)).as_micros();
        let now = SystemEnv.now().unix_micros();
        calendar::Instant::from_unix_micros(now + i64::try_from(ahead).expect("not that far"))
    }

    fn random(&self, bytes: &mut [u8]) {
        SystemEnv.random(bytes);
    }
}
