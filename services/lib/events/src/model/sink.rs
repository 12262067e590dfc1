//! The sink of one generation of a model: rows and cursors in one partition for each tenant.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::store::{AttemptId, Commit, Head, NO_BUCKET, Outcome, Refusal};
use journal::{Actor, Chain, Entry, Env, SharedStore, StoreError, stored};
use prost::Message;

use super::rows::{Rows, stored_key};
use super::{NOBODY, Projection, REMOVE_PAGE};
use crate::envelope::Envelope;
use crate::sink::{Cursor, Parked, Parking, Sink, SinkError, Stretch, Undecodable};

/// Kind and format of the partitions of models.
const FORMAT: u16 = 0xf001;
/// Partitions and cursors that are read at once.
const PAGE: usize = 1024;
/// The beginning of the keys of cursors: source, zero, aggregate. One for each aggregate of the source.
const CURSOR: &[u8] = b"c";

pub(super) fn unavailable(what: String) -> SinkError {
    SinkError::Unavailable(what)
}

fn failed(error: StoreError) -> SinkError {
    SinkError::Unavailable(error.to_string())
}

type Row = (Bytes, Option<Bytes>);

/// One aggregate of the model's store. Its entries say that something was written; what it was is in the rows.
pub(super) struct Partition {
    store: SharedStore,
    env: Arc<dyn Env>,
    tenant: TenantId,
    id: AggregateId,
}

impl Partition {
    pub(super) fn new(store: SharedStore, env: Arc<dyn Env>, tenant: TenantId, id: AggregateId) -> Self {
        Partition { store, env, tenant, id }
    }

    pub(super) async fn head(&self) -> Result<Head, SinkError> {
        Ok(self.store.head(self.tenant, self.id).await.map_err(failed)?.unwrap_or_default())
    }

    async fn rows(&self, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, SinkError> {
        self.store.rows(self.tenant, self.id, keys).await.map_err(failed)
    }

    /// Writes rows if the partition is still where `head` says: what was read since then is still true.
    pub(super) async fn write(&self, head: Head, rows: Vec<Row>) -> Result<(), SinkError> {
        let mut attempt = AttemptId::default();
        self.env.random(&mut attempt.0);
        let entry = Entry {
            recorded_at_us: self.env.now().unix_micros(),
            actor: Some(Actor { kind: "system".into(), id: "read model".into() }),
            attempt: Bytes::copy_from_slice(&attempt.0),
            key: Bytes::copy_from_slice(&attempt.0[..9]),
            ..Entry::default()
        };
        let entry = entry.encode_to_vec();
        let chain: Chain = head.chain.then(&entry);
        let commit = Commit {
            tenant: self.tenant,
            aggregate: self.id,
            expect: head.seq,
            bucket: NO_BUCKET,
            head: Head { seq: head.seq + 1, attempt, chain, format: FORMAT, header: Bytes::new() },
            entries: vec![stored(chain, &entry)],
            rows,
            keys: vec![],
            claims: vec![],
            index: vec![],
        };
        match self.store.commit(vec![commit]).await {
            Outcome::Applied => Ok(()),
            Outcome::Refused(Refusal::Moved { .. }) => Err(SinkError::Moved),
            Outcome::Refused(refusal) => Err(unavailable(format!("a write is refused: {refusal:?}"))),
            Outcome::Unknown(error) => Err(failed(error)),
        }
    }

    /// Removes all rows.
    pub(super) async fn clear(&self) -> Result<(), SinkError> {
        loop {
            let head = self.head().await?;
            let rows = self.store.scan_rows(self.tenant, self.id, Bytes::new(), REMOVE_PAGE).await;
            let rows: Vec<Row> = rows.map_err(failed)?.into_iter().map(|(key, _)| (key, None)).collect();
            if rows.is_empty() {
                return Ok(());
            }
            match self.write(head, rows).await {
                Ok(()) | Err(SinkError::Moved) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Effects and cursors of one generation of a model.
pub struct ModelSink<P> {
    store: SharedStore,
    env: Arc<dyn Env>,
    projection: Arc<P>,
    id: AggregateId,
}

impl<P: Projection> ModelSink<P> {
    pub(super) fn new(store: SharedStore, env: Arc<dyn Env>, projection: Arc<P>, generation: u32) -> Self {
        ModelSink { store, env, projection, id: Self::partition_id(generation) }
    }

    pub(super) fn partition_id(generation: u32) -> AggregateId {
        AggregateId::derive(&[b"read model generation", P::NAME.as_bytes(), &generation.to_be_bytes()])
    }

    fn partition(&self, tenant: TenantId) -> Partition {
        Partition::new(Arc::clone(&self.store), Arc::clone(&self.env), tenant, self.id)
    }

    async fn write(
        &self,
        source: &str,
        tenant: TenantId,
        stretches: Vec<Stretch<P::Event>>,
    ) -> Result<(), SinkError> {
        let partition = self.partition(tenant);
        // Read first: if a row changes after it, so does the head, and the write is refused.
        let head = partition.head().await?;
        let keys: Vec<_> = stretches.iter().map(|one| cursor_key(source, one.aggregate)).collect();
        let cursors = read_cursors(partition.rows(keys.clone()).await?)?;
        if cursors.iter().zip(&stretches).any(|(stored, one)| *stored != one.from) {
            return Err(SinkError::Moved);
        }
        let events = || stretches.iter().flat_map(|one| &one.events);
        let wanted: BTreeSet<Bytes> =
            events().flat_map(|(envelope, event)| self.projection.reads(envelope, event)).collect();
        let found = partition.rows(wanted.iter().map(|key| stored_key(key)).collect()).await?;
        let mut rows = Rows { loaded: wanted.into_iter().zip(found).collect(), ..Rows::default() };
        for (envelope, event) in events() {
            self.projection.project(envelope, event, &mut rows);
        }
        let mut changes: Vec<Row> =
            rows.changed.into_iter().map(|(key, value)| (stored_key(&key), value)).collect();
        let moved = keys.into_iter().zip(&stretches);
        changes.extend(moved.map(|(key, one)| (key, Some(cursor_value(&one.to)))));
        partition.write(head, changes).await
    }
}

impl<P: Projection> Sink for ModelSink<P> {
    type Event = P::Event;

    fn decode(&self, envelope: &Envelope) -> Result<P::Event, Undecodable> {
        self.projection.decode(envelope)
    }

    fn cursors<'a>(
        &'a self,
        source: &'a str,
        tenant: TenantId,
        aggregates: Vec<AggregateId>,
    ) -> BoxFuture<'a, Result<Vec<Cursor>, SinkError>> {
        async move {
            let keys = aggregates.into_iter().map(|aggregate| cursor_key(source, aggregate)).collect();
            read_cursors(self.partition(tenant).rows(keys).await?)
        }
        .boxed()
    }

    fn apply<'a>(
        &'a self,
        source: &'a str,
        tenant: TenantId,
        stretches: Vec<Stretch<P::Event>>,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        self.write(source, tenant, stretches).boxed()
    }

    fn parked<'a>(
        &'a self,
        source: &'a str,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Parked>, SinkError>> {
        async move {
            let prefix = cursor_prefix(source);
            let (mut found, mut walked) = (Vec::new(), None);
            loop {
                let page = self.store.aggregates(walked, PAGE).await.map_err(failed)?;
                let Some((tenant, aggregate, _)) = page.last() else { return Ok(found) };
                walked = Some((*tenant, *aggregate));
                for (tenant, ..) in page.into_iter().filter(|(_, id, _)| *id == self.id) {
                    let rows = self.store.scan_rows(tenant, self.id, prefix.clone(), usize::MAX).await;
                    for (key, value) in rows.map_err(failed)? {
                        let aggregate = key[prefix.len()..].try_into().map(AggregateId::from_bytes);
                        let aggregate = aggregate.map_err(|_| unavailable("a cursor has no key".into()))?;
                        let Some(parking) = read_cursor(&value)?.parked else { continue };
                        if after.is_none_or(|after| (tenant, aggregate) > after) && found.len() < limit {
                            found.push((tenant, aggregate, parking));
                        }
                    }
                }
            }
        }
        .boxed()
    }

    fn position<'a>(&'a self, source: &'a str) -> BoxFuture<'a, Result<Option<u64>, SinkError>> {
        async move {
            let rows = self.partition(NOBODY).rows(vec![position_key(source)]).await?;
            let Some(value) = rows.into_iter().next().flatten() else { return Ok(None) };
            let position = value.as_ref().try_into().map(u64::from_be_bytes);
            position.map(Some).map_err(|_| unavailable("a position does not decode".into()))
        }
        .boxed()
    }

    fn set_position<'a>(&'a self, source: &'a str, position: u64) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            let partition = self.partition(NOBODY);
            let head = partition.head().await?;
            let value = Bytes::copy_from_slice(&position.to_be_bytes());
            match partition.write(head, vec![(position_key(source), Some(value))]).await {
                // Another process noted one: either is right.
                Err(SinkError::Moved) => Ok(()),
                done => done,
            }
        }
        .boxed()
    }
}

fn position_key(source: &str) -> Bytes {
    [b"p", source.as_bytes()].concat().into()
}

fn cursor_prefix(source: &str) -> Bytes {
    [CURSOR, source.as_bytes(), &[0]].concat().into()
}

fn cursor_key(source: &str, aggregate: AggregateId) -> Bytes {
    [&cursor_prefix(source)[..], aggregate.as_bytes()].concat().into()
}

/// Sequence, chain, and while it is parked the entry and the reason.
fn cursor_value(cursor: &Cursor) -> Bytes {
    let mut value = Vec::with_capacity(48);
    value.extend_from_slice(&cursor.seq.to_be_bytes());
    value.extend_from_slice(&cursor.chain.0);
    if let Some(Parking { seq, reason }) = &cursor.parked {
        value.extend_from_slice(&seq.to_be_bytes());
        value.extend_from_slice(reason.as_bytes());
    }
    value.into()
}

fn read_cursors(rows: Vec<Option<Bytes>>) -> Result<Vec<Cursor>, SinkError> {
    let cursor = |row: Option<Bytes>| row.map_or_else(|| Ok(Cursor::default()), |value| read_cursor(&value));
    rows.into_iter().map(cursor).collect()
}

fn read_cursor(value: &[u8]) -> Result<Cursor, SinkError> {
    let damaged = || unavailable("a cursor does not decode".into());
    let (seq, rest) = value.split_first_chunk().ok_or_else(damaged)?;
    let (chain, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
    let parked = match rest.split_first_chunk() {
        None if rest.is_empty() => None,
        None => return Err(damaged()),
        Some((seq, reason)) => {
            let reason = std::str::from_utf8(reason).map_err(|_| damaged())?.to_owned();
            Some(Parking { seq: u64::from_be_bytes(*seq), reason })
        }
    };
    Ok(Cursor { seq: u64::from_be_bytes(*seq), chain: Chain(*chain), parked })
}
