//! The journals of the catalogue as the follower hears them: products and policies, and not what it writes itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use events::{Bus, Envelope, Heard, ReadJournal};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::store::{Found, Head};
use journal::{Seq, SharedStore, StoreError};

use crate::records::is_followed;

/// How long changes are collected before they are followed in one commit. Without it each commit of the catalogue
/// would be followed by one of the follower, and both wait for the same disk.
const COLLECT: Duration = Duration::from_millis(100);

type Reading<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A source without what nobody follows.
pub(crate) struct Followed {
    inner: Arc<dyn events::Source>,
    store: SharedStore,
    /// Set when it runs beside the work of others, which it is not to hold up.
    beside: AtomicBool,
    /// Set if there was more than one page the last time.
    more: AtomicBool,
}

impl Followed {
    pub(crate) fn new(inner: Arc<dyn events::Source>, store: SharedStore) -> Arc<Followed> {
        Arc::new(Followed { inner, store, beside: AtomicBool::new(false), more: AtomicBool::new(false) })
    }

    /// From now on changes are taken together for a while.
    pub(crate) fn run_beside(&self) {
        self.beside.store(true, Ordering::Relaxed);
    }
}

impl ReadJournal for Followed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn read(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        limit: usize,
    ) -> Reading<'_, Vec<Envelope>> {
        self.inner.read(tenant, aggregate, from, to, limit)
    }

    fn head(&self, tenant: TenantId, aggregate: AggregateId) -> Reading<'_, Option<Head>> {
        self.inner.head(tenant, aggregate)
    }

    fn heads(&self, mut after: Option<(TenantId, AggregateId)>, limit: usize) -> Reading<'_, Vec<Found>> {
        async move {
            loop {
                let mut page = self.inner.heads(after, limit).await?;
                after = page.last().map(|(tenant, aggregate, _)| (*tenant, *aggregate));
                page.retain(|(_, _, head)| is_followed(head));
                // An empty page is the end to those who ask.
                if !page.is_empty() || after.is_none() {
                    return Ok(page);
                }
            }
        }
        .boxed()
    }
}

impl Bus for Followed {
    fn hear(&self, after: u64, limit: usize) -> Reading<'_, Heard> {
        async move {
            if self.beside.load(Ordering::Relaxed) && !self.more.load(Ordering::Relaxed) {
                tokio::time::sleep(COLLECT).await;
            }
            let mut heard = self.inner.hear(after, limit).await?;
            self.more.store(heard.upto < heard.last, Ordering::Relaxed);
            let mut followed = Vec::with_capacity(heard.changes.len());
            for change in heard.changes {
                let head = self.store.head(change.tenant, change.aggregate).await?;
                followed.extend(head.filter(is_followed).map(|_| change));
            }
            heard.changes = followed;
            Ok(heard)
        }
        .boxed()
    }

    fn moved(&self, after: u64) -> BoxFuture<'_, ()> {
        self.inner.moved(after)
    }

    fn handled(&self, upto: u64) -> Reading<'_, ()> {
        self.inner.handled(upto)
    }
}
