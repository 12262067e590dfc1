//! The follower as a consumer of the catalogue's own journals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use calendar::Instant;
use events::sink::Parked;
use events::{Cursor, Envelope, Sink, SinkError, Stretch, Undecodable};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::{Aggregate as _, Rejection, Request};
use rpc::SYSTEM_TENANT;
use tokio::sync::Mutex;

use crate::app::{Catalog, Heard};
use crate::records::{self, Follow, InheritedCommand, PoliciesRecord, ProductRecord, index, kind};

/// Groups that are heard until the position is noted: noting it is a write, and hearing again costs little.
const POSITION_EVERY: u64 = 512;
/// Index rows that are read at a time.
const CHUNK: usize = 500;

/// Tells businesses what changed above them.
pub(crate) struct FollowSink {
    catalog: Arc<Catalog>,
    noted: AtomicU64,
    /// When policies of tenants begin to count. Whoever holds it does the work.
    moments: Mutex<Moments>,
}

#[derive(Default)]
struct Moments {
    known: bool,
    next: BTreeMap<TenantId, Instant>,
}

fn unavailable(error: impl std::fmt::Display) -> SinkError {
    SinkError::Unavailable(error.to_string())
}

impl FollowSink {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Arc<FollowSink> {
        Arc::new(FollowSink { catalog, noted: AtomicU64::new(0), moments: Mutex::default() })
    }

    /// Takes in the moments that have come.
    ///
    /// # Errors
    /// [`SinkError`]; it can be called again.
    pub(crate) async fn follow_moments(&self) -> Result<(), SinkError> {
        let mut moments = self.moments.lock().await;
        if !moments.known {
            for tenant in self.tenants().await? {
                moments.next.insert(tenant, Instant::MIN);
            }
            moments.known = true;
        }
        let now = self.catalog.env.now();
        let come: Vec<TenantId> =
            moments.next.iter().filter(|(_, at)| **at <= now).map(|(tenant, _)| *tenant).collect();
        let mut first = Ok(());
        for tenant in come {
            match self.catalog.follow_moments(tenant).await {
                Ok(Some(next)) => drop(moments.next.insert(tenant, next)),
                Ok(None) => drop(moments.next.remove(&tenant)),
                // What is wrong with one tenant holds up no other.
                Err(error) => first = first.and(Err(error)),
            }
        }
        first
    }

    /// Every tenant that has something in the store.
    async fn tenants(&self) -> Result<Vec<TenantId>, SinkError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.catalog.store.aggregates(after, 1).await.map_err(unavailable)?;
            let Some((tenant, ..)) = page.first() else { return Ok(found) };
            found.push(*tenant);
            after = Some((*tenant, AggregateId::from_bytes([u8::MAX; 16])));
        }
    }
}

impl Sink for FollowSink {
    type Event = Heard;

    fn decode(&self, envelope: &Envelope) -> Result<Heard, Undecodable> {
        let undecodable = |damage: journal::Damage| Undecodable(damage.to_string());
        let entry = envelope.entry().map_err(undecodable)?;
        match envelope.kind() {
            kind::PRODUCT => {
                let event = ProductRecord::decode(&entry.event).map_err(undecodable)?;
                Ok(Heard::Product(Box::new(event), entry.recorded_at()))
            }
            kind::POLICIES => PoliciesRecord::decode(&entry.event).map(Heard::Policy).map_err(undecodable),
            other => Err(Undecodable(format!("nobody follows records of kind {other}"))),
        }
    }

    fn cursors<'a>(
        &'a self,
        _: &'a str,
        tenant: TenantId,
        aggregates: Vec<AggregateId>,
    ) -> BoxFuture<'a, Result<Vec<Cursor>, SinkError>> {
        async move {
            let places = self.catalog.places(tenant, &aggregates).await?;
            Ok(places.into_iter().map(|place| place.cursor).collect())
        }
        .boxed()
    }

    fn apply<'a>(
        &'a self,
        _: &'a str,
        tenant: TenantId,
        stretches: Vec<Stretch<Heard>>,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            let mut moments = self.moments.lock().await;
            let due = match self.catalog.follow(tenant, stretches).await {
                Ok(due) => due,
                Err(error) => {
                    // Some of it may be written: what is due is read again.
                    moments.next.insert(tenant, Instant::MIN);
                    return Err(error);
                }
            };
            for (at, _) in due {
                let next = moments.next.entry(tenant).or_insert(at);
                *next = at.min(*next);
            }
            Ok(())
        }
        .boxed()
    }

    fn parked<'a>(
        &'a self,
        _: &'a str,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Parked>, SinkError>> {
        async move {
            let mut found = Vec::new();
            for tenant in self.tenants().await? {
                let mut behind = None;
                loop {
                    let rows = self.catalog.store.index(tenant, index::PARKED, Bytes::new(), behind, CHUNK);
                    let rows = rows.await.map_err(unavailable)?;
                    let aggregates = rows.iter().map(|row| records::spoken_aggregate(&row.key));
                    let aggregates = aggregates.collect::<Result<Vec<_>, _>>().map_err(unavailable)?;
                    let places = self.catalog.places(tenant, &aggregates).await?;
                    for (aggregate, place) in aggregates.into_iter().zip(places) {
                        let Some(parking) = place.cursor.parked else { continue };
                        if after.is_none_or(|after| after < (tenant, aggregate)) && found.len() < limit {
                            found.push((tenant, aggregate, parking));
                        }
                    }
                    match rows.last() {
                        Some(last) if rows.len() == CHUNK && found.len() < limit => {
                            behind = Some((last.key.clone(), last.aggregate));
                        }
                        _ => break,
                    }
                }
            }
            Ok(found)
        }
        .boxed()
    }

    fn position<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<u64>, SinkError>> {
        async move {
            let keys = vec![records::position_row()];
            let rows = self.catalog.store.rows(SYSTEM_TENANT, records::following(), keys).await;
            let row = rows.map_err(unavailable)?.pop().flatten();
            let position = row.and_then(|row| row.as_ref().try_into().ok().map(u64::from_be_bytes));
            self.noted.store(position.unwrap_or(0), Ordering::Relaxed);
            Ok(position)
        }
        .boxed()
    }

    fn set_position<'a>(&'a self, _: &'a str, position: u64) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            let noted = self.noted.load(Ordering::Relaxed);
            if (noted..noted + POSITION_EVERY).contains(&position) {
                return Ok(());
            }
            let command = InheritedCommand::Follow(Follow { position: Some(position), ..Follow::default() });
            let scope = journal::Scope { tenant: SYSTEM_TENANT, aggregate: records::following() };
            let request = Request { command, meta: self.catalog.by_itself() };
            self.catalog.inherited.submit(scope, request).await.map_err(|refused| match refused {
                Rejection::Journal(error) => unavailable(error),
                _ => unavailable("the position"),
            })?;
            self.noted.store(position, Ordering::Relaxed);
            Ok(())
        }
        .boxed()
    }
}
