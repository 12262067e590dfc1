//! Read models: rows that follow from entries, kept in a store, rebuilt beside the live ones and switched.
//!
//! Everything that a model knows of a tenant is one partition for each *generation* of the model: its rows, and
//! the cursors of the aggregates that they come from, written together. A new generation is built from the
//! first entry on while the live one goes on and is read. Once the new one has everything, readers are switched
//! to it in one write, and the rows of the old one are removed.
//!
//! A model has a store of its own: looking for parked aggregates walks all of its partitions.

mod rows;
mod sink;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{Either, select, select_all};
use ids::{AggregateId, TenantId};
use journal::{Env, SharedStore, StoreError};
use tokio::sync::watch;
use tracing::info;

pub use rows::Rows;
pub use sink::ModelSink;

use crate::consumer::{Consumer, Error};
use crate::envelope::Envelope;
use crate::sink::Undecodable;
use crate::source::Source;
use sink::{Partition, unavailable};

/// Tries to read while the generation changes, and to change it.
const ROUNDS_MAX: usize = 16;
/// Rows that are removed at once.
const REMOVE_PAGE: usize = 512;
/// Where a model keeps what belongs to no tenant; no tenant has this id.
const NOBODY: TenantId = TenantId::from_bytes([0; 16]);
/// Key of the row with the live generation.
const LIVE_ROW: &[u8] = b"live";

/// What a model makes of entries. Pure, and the same for the same entries, whenever it runs.
pub trait Projection: Send + Sync + 'static {
    /// Name of the model, a part of where it is stored.
    const NAME: &'static str;
    /// What it makes of an entry.
    type Event: Send + Sync + 'static;

    /// Decodes an entry; one of no interest is decoded to an event that says so.
    ///
    /// # Errors
    /// [`Undecodable`] when it cannot be understood: its aggregate is parked.
    fn decode(&self, envelope: &Envelope) -> Result<Self::Event, Undecodable>;

    /// Names the rows that `project` looks at.
    fn reads(&self, envelope: &Envelope, event: &Self::Event) -> Vec<Bytes>;

    /// Changes rows of the tenant as the event says.
    fn project(&self, envelope: &Envelope, event: &Self::Event, rows: &mut Rows);
}

/// A read model of one kind.
pub struct ReadModel<P: Projection> {
    store: SharedStore,
    env: Arc<dyn Env>,
    projection: Arc<P>,
    live: watch::Sender<u32>,
    /// Whoever holds it builds a generation.
    building: tokio::sync::Mutex<()>,
}

impl<P: Projection> ReadModel<P> {
    /// Opens a model in its store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open(
        store: SharedStore,
        env: Arc<dyn Env>,
        projection: P,
    ) -> Result<Arc<ReadModel<P>>, StoreError> {
        let (live, building) = (watch::Sender::new(1), Default::default());
        let model = ReadModel { store, env, projection: Arc::new(projection), live, building };
        let stored = model.stored_live().await?;
        model.live.send_replace(stored);
        Ok(Arc::new(model))
    }

    /// Which generation is read.
    #[must_use]
    pub fn live(&self) -> u32 {
        *self.live.borrow()
    }

    async fn stored_live(&self) -> Result<u32, StoreError> {
        let rows = self.store.rows(NOBODY, Self::pointer(), vec![LIVE_ROW.into()]).await?;
        match rows.into_iter().next().flatten() {
            None => Ok(1),
            Some(value) => value
                .as_ref()
                .try_into()
                .map(u32::from_be_bytes)
                .map_err(|_| StoreError::Damaged("the live generation does not decode".into())),
        }
    }

    fn pointer() -> AggregateId {
        AggregateId::derive(&[b"read model", P::NAME.as_bytes()])
    }

    /// Where effects and cursors of a generation are kept.
    #[must_use]
    pub fn sink(&self, generation: u32) -> Arc<ModelSink<P>> {
        let (store, env) = (Arc::clone(&self.store), Arc::clone(&self.env));
        Arc::new(ModelSink::new(store, env, Arc::clone(&self.projection), generation))
    }

    /// Follows sources in the live generation until `stop` ends, whatever generation that is.
    pub async fn run(&self, sources: Vec<Arc<dyn Source>>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut live = self.live.subscribe();
        loop {
            let generation = *live.borrow_and_update();
            let sink = self.sink(generation);
            let consumer = |source| Consumer::new(P::NAME, source, Arc::clone(&sink));
            let consumers: Vec<_> = sources.iter().cloned().map(consumer).collect();
            let running = consumers.iter().map(|one| Box::pin(one.run(std::future::pending())));
            let running: Vec<_> = running.collect();
            if running.is_empty() {
                return;
            }
            let switched = pin!(live.changed());
            let work = select(select_all(running), switched);
            if let Either::Right(_) = select(work, &mut stop).await {
                return;
            }
        }
    }

    /// Builds the next generation from the first entry on, switches to it, and removes the old one. The live one
    /// is read and goes on meanwhile. Goes on where an earlier try stopped. Gives back the new generation. What
    /// was written in the last moments may be in it a little later than it was in the old one.
    ///
    /// # Errors
    /// When a source or the store does not answer, or something is parked in the new generation: then the old
    /// one stays, and the call can be repeated.
    pub async fn rebuild(&self, sources: &[Arc<dyn Source>]) -> Result<u32, Error> {
        let _one = self.building.lock().await;
        let old = self.live();
        let next = old + 1;
        let sink = self.sink(next);
        for source in sources {
            let consumer = Consumer::new(P::NAME, Arc::clone(source), Arc::clone(&sink));
            consumer.unpark_all().await?;
            consumer.catch_up().await?;
            let found = consumer.check().await?;
            if found.parked.count + found.beyond.count + found.differing.count > 0 {
                return Err(Error::Sink(unavailable(format!(
                    "generation {next} of {} is not complete: {} aggregates are parked",
                    P::NAME,
                    found.parked.count
                ))));
            }
        }
        self.switch(old, next).await?;
        info!(model = P::NAME, "generation {next} is live");
        self.remove(old).await?;
        Ok(next)
    }

    async fn switch(&self, old: u32, next: u32) -> Result<(), Error> {
        let pointer = Partition::new(Arc::clone(&self.store), Arc::clone(&self.env), NOBODY, Self::pointer());
        for _ in 0..ROUNDS_MAX {
            let head = pointer.head().await.map_err(Error::Sink)?;
            let stored = self.stored_live().await.map_err(Error::Source)?;
            if stored != old && stored != next {
                let what = format!("generation {stored} of {} is live", P::NAME);
                return Err(Error::Sink(unavailable(what)));
            }
            let row = (LIVE_ROW.into(), Some(Bytes::copy_from_slice(&next.to_be_bytes())));
            if stored == next || pointer.write(head, vec![row]).await.is_ok() {
                self.live.send_replace(next);
                return Ok(());
            }
        }
        Err(Error::Sink(unavailable("the live generation could not be changed".into())))
    }

    /// Removes the rows of all generations up to `last`, none of which is live: a write of an old one that was
    /// under way at its switch may have come late. What stays is a head for each tenant.
    async fn remove(&self, last: u32) -> Result<(), Error> {
        let old: BTreeSet<_> = (1..=last).map(ModelSink::<P>::partition_id).collect();
        let mut after = None;
        loop {
            let page = self.store.aggregates(after, REMOVE_PAGE).await.map_err(Error::Source)?;
            let Some((tenant, aggregate, _)) = page.last() else { return Ok(()) };
            after = Some((*tenant, *aggregate));
            for (tenant, id, _) in page.into_iter().filter(|(_, aggregate, _)| old.contains(aggregate)) {
                let (store, env) = (Arc::clone(&self.store), Arc::clone(&self.env));
                Partition::new(store, env, tenant, id).clear().await.map_err(Error::Sink)?;
            }
        }
    }

    /// Reads rows of the live generation by key, in the order of `keys`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get(&self, tenant: TenantId, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, StoreError> {
        let keys: Vec<_> = keys.iter().map(|key| rows::stored_key(key)).collect();
        self.in_live(|id| self.store.rows(tenant, id, keys.clone())).await
    }

    /// Reads rows of the live generation whose key begins with `prefix`, in key order, at most `limit`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn scan(
        &self,
        tenant: TenantId,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let prefix = rows::stored_key(prefix);
        let found = self.in_live(|id| self.store.scan_rows(tenant, id, prefix.clone(), limit)).await?;
        Ok(found.into_iter().map(|(key, value)| (rows::key(&key), value)).collect())
    }

    /// Reads from the live generation, again if it changed meanwhile: the rows of the old one go away.
    async fn in_live<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        read: impl Fn(AggregateId) -> F,
    ) -> Result<T, StoreError> {
        for _ in 0..ROUNDS_MAX {
            let generation = self.live();
            let found = read(ModelSink::<P>::partition_id(generation)).await?;
            if generation == self.live() {
                return Ok(found);
            }
        }
        Err(StoreError::Unavailable("the generation keeps changing".into()))
    }
}
