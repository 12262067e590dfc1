//! Hears from a store that does not tell what changed: looks at all heads, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::store::{Found, Head};
use journal::{Seq, SharedStore, StoreError};

use crate::envelope::Envelope;
use crate::source::{Bus, Heard, ReadJournal, StoreJournal};

/// Shortest pause between two looks at all heads.
const PAUSE_MS: u64 = 1_000;
/// Heads that make the pause a millisecond longer: the looks take a small part of the time.
const HEADS_PER_MS: u64 = 10;

type Reading<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The journals of one service, as one consumer sweeps them.
pub struct Sweep {
    journal: Arc<dyn ReadJournal>,
    /// How often everything was to be looked at.
    turn: AtomicU64,
    /// Heads that were seen in this turn.
    heads: AtomicU64,
}

impl Sweep {
    /// The journals of the service `name` in its store.
    #[must_use]
    pub fn new(name: &str, store: SharedStore) -> Arc<Sweep> {
        Sweep::over(StoreJournal::new(name, store))
    }

    /// Journals that are wherever.
    #[must_use]
    pub fn over(journal: Arc<dyn ReadJournal>) -> Arc<Sweep> {
        Arc::new(Sweep { journal, turn: AtomicU64::new(1), heads: AtomicU64::new(0) })
    }

    /// Sees to it that what was written before this call is heard.
    pub fn look_again(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}

impl ReadJournal for Sweep {
    fn name(&self) -> &str {
        self.journal.name()
    }

    fn read(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        limit: usize,
    ) -> Reading<'_, Vec<Envelope>> {
        self.journal.read(tenant, aggregate, from, to, limit)
    }

    fn head(&self, tenant: TenantId, aggregate: AggregateId) -> Reading<'_, Option<Head>> {
        self.journal.head(tenant, aggregate)
    }

    fn heads(&self, after: Option<(TenantId, AggregateId)>, limit: usize) -> Reading<'_, Vec<Found>> {
        self.heads.fetch_add(limit as u64, Ordering::Relaxed);
        self.journal.heads(after, limit)
    }
}

impl Bus for Sweep {
    /// Whoever does not know of this turn has missed something: it compares all heads.
    fn hear(&self, _: u64, _: usize) -> Reading<'_, Heard> {
        let turn = self.turn.load(Ordering::Relaxed);
        async move { Ok(Heard { forgotten: turn, last: turn, upto: turn, changes: vec![] }) }.boxed()
    }

    fn moved(&self, _: u64) -> BoxFuture<'_, ()> {
        async move {
            let heads = self.heads.swap(0, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(PAUSE_MS + heads / HEADS_PER_MS)).await;
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
        .boxed()
    }

    fn handled(&self, _: u64) -> Reading<'_, ()> {
        async { Ok(()) }.boxed()
    }
}
