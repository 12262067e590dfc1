//! A source for a consumer that runs beside the work of others: without what it does not follow, and not heard at
//! every commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::store::{Found, Head};
use journal::{Seq, StoreError};

use crate::envelope::Envelope;
use crate::source::{Bus, Heard, ReadJournal, Source};

/// How long changes are collected before their effects are written in one commit. Without it each commit of a service
/// would be followed by one of the consumer, and both wait for the same disk.
const COLLECT: Duration = Duration::from_millis(100);

type Reading<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// What a consumer follows.
#[derive(Clone, Copy)]
pub enum Follows {
    /// Everything.
    All,
    /// Aggregates with such ids.
    Ids(fn(AggregateId) -> bool),
    /// Aggregates with such heads.
    Heads(fn(&Head) -> bool),
}

/// A source without what is not followed.
pub struct Beside {
    inner: Arc<dyn Source>,
    follows: Follows,
    collects: AtomicBool,
    /// Set if there was more than one page the last time.
    more: AtomicBool,
}

impl Beside {
    /// What `follows` says of a source.
    #[must_use]
    pub fn new(inner: Arc<dyn Source>, follows: Follows) -> Arc<Beside> {
        Arc::new(Beside { inner, follows, collects: AtomicBool::new(false), more: AtomicBool::new(false) })
    }

    /// From now on changes are collected for a while before they are heard: a consumer at work is not to hold up
    /// others. One that only catches up does not wait.
    pub fn collect(&self) {
        self.collects.store(true, Ordering::Relaxed);
    }
}

impl ReadJournal for Beside {
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
                page.retain(|(_, aggregate, head)| match self.follows {
                    Follows::All => true,
                    Follows::Ids(follows) => follows(*aggregate),
                    Follows::Heads(follows) => follows(head),
                });
                // An empty page is the end to those who ask.
                if !page.is_empty() || after.is_none() {
                    return Ok(page);
                }
            }
        }
        .boxed()
    }
}

impl Bus for Beside {
    fn hear(&self, after: u64, limit: usize) -> Reading<'_, Heard> {
        async move {
            if self.collects.load(Ordering::Relaxed) && !self.more.load(Ordering::Relaxed) {
                tokio::time::sleep(COLLECT).await;
            }
            let mut heard = self.inner.hear(after, limit).await?;
            self.more.store(heard.upto < heard.last, Ordering::Relaxed);
            match self.follows {
                Follows::All => {}
                Follows::Ids(follows) => heard.changes.retain(|change| follows(change.aggregate)),
                Follows::Heads(follows) => {
                    let mut followed = Vec::with_capacity(heard.changes.len());
                    for change in heard.changes {
                        let head = self.inner.head(change.tenant, change.aggregate).await?;
                        followed.extend(head.filter(follows).map(|_| change));
                    }
                    heard.changes = followed;
                }
            }
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
