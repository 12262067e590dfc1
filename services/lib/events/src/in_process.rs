//! The bus of one process: a cursor over the journals of a store.
//!
//! There is no second store and no second copy: the feed says which aggregates changed, and the entries are
//! read from the journals themselves.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::feed::FeedStore;
use journal::store::{Found, Head};
use journal::{Seq, SharedStore, StoreError};
use parking_lot::Mutex;

use crate::envelope::{self, Envelope};
use crate::source::{Bus, Heard, ReadJournal, StoreJournal};

/// Groups that pile up in the feed before those that all listeners handled are forgotten: forgetting is a
/// write.
const FORGET_GROUPS: u64 = 1024;

/// The feed of one service's store, for its listeners.
pub struct InProcess {
    name: Arc<str>,
    store: Arc<dyn FeedStore>,
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    /// Up to where each one has handled the feed.
    handled: Vec<u64>,
    forgotten: u64,
}

impl InProcess {
    /// The feed of the service `name`.
    #[must_use]
    pub fn new(name: &str, store: Arc<dyn FeedStore>) -> Arc<InProcess> {
        Arc::new(InProcess { name: name.into(), store, listeners: Mutex::default() })
    }

    /// The journals alone, for whoever hears of them elsewhere.
    #[must_use]
    pub fn listened(&self) -> Arc<StoreJournal> {
        let store: SharedStore = Arc::clone(&self.store) as _;
        StoreJournal::new(&self.name, store)
    }

    /// A place to listen, for one consumer. The feed is kept until all listeners have handled it, so make one
    /// for each consumer of the process before the first of them runs, and run them all.
    #[must_use]
    pub fn listener(self: &Arc<Self>) -> Arc<Listener> {
        let mut listeners = self.listeners.lock();
        listeners.handled.push(0);
        Arc::new(Listener { bus: Arc::clone(self), number: listeners.handled.len() - 1 })
    }

    /// Notes how far a listener is; says up to where the feed is to be forgotten, if it is worth it.
    fn note(&self, number: usize, upto: u64) -> Option<u64> {
        let mut listeners = self.listeners.lock();
        listeners.handled[number] = upto.max(listeners.handled[number]);
        let all = listeners.handled.iter().copied().min().unwrap_or(0);
        if all < listeners.forgotten + FORGET_GROUPS {
            return None;
        }
        listeners.forgotten = all;
        Some(all)
    }
}

/// One service in this process, as one consumer hears and reads it.
pub struct Listener {
    bus: Arc<InProcess>,
    number: usize,
}

impl ReadJournal for Listener {
    fn name(&self) -> &str {
        &self.bus.name
    }

    fn read(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>, StoreError>> {
        envelope::read(&self.bus.name, &*self.bus.store, (tenant, aggregate), (from, to), limit).boxed()
    }

    fn head(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Head>, StoreError>> {
        self.bus.store.head(tenant, aggregate)
    }

    fn heads(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.bus.store.aggregates(after, limit)
    }
}

impl Bus for Listener {
    fn hear(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Heard, StoreError>> {
        async move {
            let page = self.bus.store.feed(after, limit).await?;
            let upto = page.groups.last().map_or(after, |group| group.number);
            let changes = page.groups.into_iter().flat_map(|group| group.changes).collect();
            Ok(Heard { forgotten: page.forgotten, last: page.last, upto, changes })
        }
        .boxed()
    }

    fn moved(&self, after: u64) -> BoxFuture<'_, ()> {
        self.bus.store.feed_moved(after)
    }

    fn handled(&self, upto: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            match self.bus.note(self.number, upto) {
                Some(all) => self.bus.store.forget_feed(all).await,
                None => Ok(()),
            }
        }
        .boxed()
    }
}
