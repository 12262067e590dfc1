//! What a consumer hears from: a bus that wakes it, and the journal that it reads.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::feed::Change;
use journal::store::{Found, Head};
use journal::{Seq, SharedStore, StoreError};

use crate::envelope::{self, Envelope};

/// The journals of one service, for others. Never behind what its bus announced.
pub trait ReadJournal: Send + Sync + 'static {
    /// The service.
    fn name(&self) -> &str;

    /// Reads entries `from ..= to` of an aggregate in order, at most `limit`.
    fn read(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>, StoreError>>;

    /// Reads where an aggregate is; `None` if it has no entries.
    fn head(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Head>, StoreError>>;

    /// Reads the heads of all tenants in key order, after `after`, at most `limit`.
    fn heads(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>>;
}

/// The journals of one service in its store.
pub struct StoreJournal {
    service: Arc<str>,
    store: SharedStore,
}

impl StoreJournal {
    /// The journals of the service `name`.
    #[must_use]
    pub fn new(name: &str, store: SharedStore) -> Arc<StoreJournal> {
        Arc::new(StoreJournal { service: name.into(), store })
    }
}

impl ReadJournal for StoreJournal {
    fn name(&self) -> &str {
        &self.service
    }

    fn read(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>, StoreError>> {
        envelope::read(&self.service, &*self.store, (tenant, aggregate), (from, to), limit).boxed()
    }

    fn head(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Head>, StoreError>> {
        self.store.head(tenant, aggregate)
    }

    fn heads(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.store.aggregates(after, limit)
    }
}

/// What a bus says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// Everything up to this position is gone from the bus. Who stands before it has missed something.
    pub forgotten: u64,
    /// The last position of the bus.
    pub last: u64,
    /// Where the bus stands after `changes`: the position to ask behind next.
    pub upto: u64,
    /// Aggregates that got entries. May name one twice, too late, or again.
    pub changes: Vec<Change>,
}

/// Wakes consumers and tells them which aggregates got entries. Never the source of truth: what a bus loses,
/// repeats or says in the wrong order costs time and nothing else.
pub trait Bus: Send + Sync + 'static {
    /// Hears what is behind `after`, about `limit` commits of it.
    fn hear(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Heard, StoreError>>;

    /// Waits until there is something behind `after`. May end for no reason.
    fn moved(&self, after: u64) -> BoxFuture<'_, ()>;

    /// Says that this listener has handled everything up to `upto`, durably.
    fn handled(&self, upto: u64) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// One service, as one consumer hears and reads it.
pub trait Source: ReadJournal + Bus {}

impl<S: ReadJournal + Bus> Source for S {}
