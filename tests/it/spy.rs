//! A store that remembers what it was asked for.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::SharedStore;
use journal::feed::FeedStore;
use journal::relay::Owner;
use journal::store::{
    Claim, Commit, Head, IndexRow, KeyHash, KeyRow, Order, Outcome, Refusal, Seq, Store, StoreError,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Passes everything on and keeps a list of it.
pub(crate) struct Spy {
    inner: SharedStore,
    /// What tells of changes, unless processes share the store.
    feed: Option<Arc<dyn FeedStore>>,
    seen: Mutex<Seen>,
    /// Groups that are still written; the others are refused.
    allowed: AtomicUsize,
    /// Whose first entry cannot be read.
    damaged: Mutex<Option<AggregateId>>,
}

/// What was asked for.
#[derive(Default)]
struct Seen {
    commits: Vec<Commit>,
    read: BTreeSet<TenantId>,
}

type Read<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Spy {
    pub(crate) fn new(inner: Arc<impl FeedStore>) -> Spy {
        Spy { feed: Some(Arc::clone(&inner) as Arc<dyn FeedStore>), ..Spy::on(inner) }
    }

    /// Over a store that does not tell of changes.
    pub(crate) fn on(inner: SharedStore) -> Spy {
        Spy {
            inner,
            feed: None,
            seen: Mutex::default(),
            allowed: AtomicUsize::new(usize::MAX),
            damaged: Mutex::default(),
        }
    }

    /// What tells of changes, without being watched.
    pub(crate) fn feed(&self) -> Option<Arc<dyn FeedStore>> {
        self.feed.clone()
    }

    /// Everything that was applied, in order.
    pub(crate) fn commits(&self) -> Vec<Commit> {
        self.seen.lock().expect("no test panics in here").commits.clone()
    }

    /// How much was applied, but for uses of keys and sessions.
    pub(crate) fn commit_count(&self) -> usize {
        let seen = self.seen.lock().expect("no test panics in here");
        seen.commits.iter().filter(|commit| !is_use(commit)).count()
    }

    /// Writes so many groups and refuses all others, until it is called again.
    #[allow(dead_code, reason = "the isolation tests refuse nothing")]
    pub(crate) fn allow(&self, groups: usize) {
        self.allowed.store(groups, Ordering::Relaxed);
    }

    /// From now on the first entry of an aggregate cannot be read; `None` mends it.
    #[allow(dead_code, reason = "the isolation tests damage nothing")]
    pub(crate) fn damage(&self, aggregate: Option<AggregateId>) {
        *self.damaged.lock().expect("no test panics in here") = aggregate;
    }

    /// Whose rows were read since this was asked last.
    pub(crate) fn take_read(&self) -> BTreeSet<TenantId> {
        std::mem::take(&mut self.seen.lock().expect("no test panics in here").read)
    }

    fn reads(&self, tenant: TenantId) -> &SharedStore {
        self.seen.lock().expect("no test panics in here").read.insert(tenant);
        &self.inner
    }
}

/// Whether it notes that a key or session was used: that happens beside whatever a test asks for, at any time.
fn is_use(commit: &Commit) -> bool {
    let is_of = |entry: &Bytes, job: &[u8]| entry.windows(job.len()).any(|bytes| bytes == job);
    commit.entries.iter().any(|entry| is_of(entry, b"key_use") || is_of(entry, b"session_use"))
}

impl Store for Spy {
    fn owner(&self) -> Option<Arc<Owner>> {
        self.inner.owner()
    }

    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        let kept = group.clone();
        async move {
            let one_less = |left: usize| left.checked_sub(1);
            if self.allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
                return Outcome::Refused(Refusal::Invalid { at: 0, rule: "no more is allowed" });
            }
            let outcome = self.inner.commit(group).await;
            if outcome == Outcome::Applied {
                self.seen.lock().expect("no test panics in here").commits.extend(kept);
            }
            outcome
        }
        .boxed()
    }

    fn head(&self, tenant: TenantId, aggregate: AggregateId) -> Read<'_, Option<Head>> {
        self.reads(tenant).head(tenant, aggregate)
    }

    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> Read<'_, Vec<Option<Bytes>>> {
        self.reads(tenant).rows(tenant, aggregate, keys)
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> Read<'_, Vec<(Bytes, Bytes)>> {
        self.reads(tenant).scan_rows(tenant, aggregate, prefix, limit)
    }

    fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> Read<'_, Vec<(Seq, Bytes)>> {
        if from <= 1 && *self.damaged.lock().expect("no test panics in here") == Some(aggregate) {
            return async { Err(StoreError::Damaged("entry 1 is not what was written".into())) }.boxed();
        }
        self.reads(tenant).entries(tenant, aggregate, from, to, order, limit)
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> Read<'_, Option<KeyRow>> {
        self.reads(tenant).key(tenant, hash)
    }

    fn claim(&self, tenant: TenantId, claim: Claim) -> Read<'_, Option<AggregateId>> {
        self.reads(tenant).claim(tenant, claim)
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> Read<'_, Vec<IndexRow>> {
        self.reads(tenant).index(tenant, index, prefix, after, limit)
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> Read<'_, Option<Bytes>> {
        self.reads(tenant).index_row(tenant, index, key, aggregate)
    }

    fn aggregates(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> Read<'_, Vec<(TenantId, AggregateId, Head)>> {
        self.inner.aggregates(after, limit)
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> Read<'_, usize> {
        self.inner.forget_keys(now_s, limit)
    }
}
