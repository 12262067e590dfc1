//! A service that writes, a sink that keeps everything in memory, and what may go wrong between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use events::{
    Bus, Cursor, Envelope, Heard, InProcess, Parking, ReadJournal, Sink, SinkError, Stretch, Undecodable,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::feed::{Change, FeedStore};
use journal::memory::MemoryStore;
use journal::store::{AttemptId, Commit, Found, Head, NO_BUCKET, Outcome, Store};
use journal::{Actor, Chain, Entry, Seq, StoreError, stored};
use parking_lot::Mutex;
use prost::Message;

pub(crate) fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([number; 16])
}

pub(crate) fn aggregate(number: u8) -> AggregateId {
    AggregateId::from_bytes([number; 16])
}

/// A service with a store.
pub(crate) struct Service {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) bus: Arc<InProcess>,
}

impl Service {
    pub(crate) fn new(name: &str) -> Service {
        let store = Arc::new(MemoryStore::default());
        let bus = InProcess::new(name, Arc::clone(&store) as Arc<dyn FeedStore>);
        Service { store, bus }
    }

    /// Appends one entry, whose event is `text`.
    pub(crate) async fn write(&self, of: u8, to: u8, text: &str) {
        let head = self.store.head(tenant(of), aggregate(to)).await.expect("head").unwrap_or_default();
        let entry = Entry {
            actor: Some(Actor::default()),
            event: Bytes::copy_from_slice(text.as_bytes()),
            ..Entry::default()
        };
        let entry = entry.encode_to_vec();
        let chain = head.chain.then(&entry);
        self.put(of, to, &head, chain, stored(chain, &entry)).await;
    }

    /// Appends an entry as it is.
    pub(crate) async fn put(&self, of: u8, to: u8, before: &Head, chain: Chain, entry: Bytes) {
        let head = Head {
            seq: before.seq + 1,
            attempt: AttemptId::default(),
            chain,
            format: 0x0301,
            header: Bytes::new(),
        };
        let commit = Commit {
            tenant: tenant(of),
            aggregate: aggregate(to),
            expect: before.seq,
            bucket: NO_BUCKET,
            head,
            entries: vec![entry],
            rows: vec![],
            keys: vec![],
            claims: vec![],
            index: vec![],
        };
        assert_eq!(self.store.commit(vec![commit]).await, Outcome::Applied);
    }
}

/// What becomes of a write to the sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    None,
    /// It is lost on its way.
    Lost,
    /// It is written, and the answer is lost.
    AnswerLost,
}

/// Keeps texts in the order in which they took effect.
#[derive(Default)]
pub(crate) struct Kept {
    state: Mutex<State>,
    faults: Mutex<VecDeque<Fault>>,
    /// Texts that it does not understand.
    pub(crate) unknown: Mutex<Vec<String>>,
}

type Key = (String, TenantId, AggregateId);

#[derive(Default)]
struct State {
    cursors: BTreeMap<Key, Cursor>,
    effects: Vec<(Key, Seq, String)>,
    positions: BTreeMap<String, u64>,
    writes: usize,
}

impl Kept {
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().extend(faults);
    }

    /// The texts of an aggregate, in the order of their effect.
    pub(crate) fn texts(&self, source: &str, of: u8, to: u8) -> Vec<String> {
        let state = self.state.lock();
        let key = (source.to_owned(), tenant(of), aggregate(to));
        state.effects.iter().filter(|(at, ..)| *at == key).map(|(_, _, text)| text.clone()).collect()
    }

    /// Sequences that took effect, for each aggregate.
    pub(crate) fn seqs(&self) -> BTreeMap<AggregateId, Vec<Seq>> {
        let mut seqs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((_, _, aggregate), seq, _) in &self.state.lock().effects {
            seqs.entry(*aggregate).or_default().push(*seq);
        }
        seqs
    }

    pub(crate) fn writes(&self) -> usize {
        self.state.lock().writes
    }

    /// Moves the cursor of an aggregate without effects.
    pub(crate) fn move_cursor(&self, source: &str, of: u8, to: u8, change: impl FnOnce(&mut Cursor)) {
        let key = (source.to_owned(), tenant(of), aggregate(to));
        change(self.state.lock().cursors.entry(key).or_default());
    }

    /// As after a long time away: the position is lost.
    pub(crate) fn forget_position(&self, source: &str) {
        self.state.lock().positions.remove(source);
    }
}

impl Sink for Kept {
    type Event = String;

    fn decode(&self, envelope: &Envelope) -> Result<String, Undecodable> {
        let entry = envelope.entry().map_err(|damage| Undecodable(damage.to_string()))?;
        let text = String::from_utf8(entry.event.to_vec()).map_err(|e| Undecodable(e.to_string()))?;
        if self.unknown.lock().contains(&text) {
            return Err(Undecodable(format!("'{text}' is not known")));
        }
        Ok(text)
    }

    fn cursors<'a>(
        &'a self,
        source: &'a str,
        tenant: TenantId,
        aggregates: Vec<AggregateId>,
    ) -> BoxFuture<'a, Result<Vec<Cursor>, SinkError>> {
        async move {
            let state = self.state.lock();
            let cursor = |id| state.cursors.get(&(source.to_owned(), tenant, id)).cloned();
            Ok(aggregates.into_iter().map(|id| cursor(id).unwrap_or_default()).collect())
        }
        .boxed()
    }

    fn apply<'a>(
        &'a self,
        source: &'a str,
        tenant: TenantId,
        stretches: Vec<Stretch<String>>,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            let lost = || Err(SinkError::Unavailable("the line is dead".into()));
            let fault = self.faults.lock().pop_front().unwrap_or(Fault::None);
            if fault == Fault::Lost {
                return lost();
            }
            let mut state = self.state.lock();
            let key = |stretch: &Stretch<String>| (source.to_owned(), tenant, stretch.aggregate);
            for (at, stretch) in stretches.iter().enumerate() {
                assert!(stretches[..at].iter().all(|other| other.aggregate != stretch.aggregate));
                if state.cursors.get(&key(stretch)).cloned().unwrap_or_default() != stretch.from {
                    return Err(SinkError::Moved);
                }
            }
            state.writes += 1;
            for stretch in stretches {
                let key = key(&stretch);
                state.cursors.insert(key.clone(), stretch.to);
                for (envelope, text) in stretch.events {
                    state.effects.push((key.clone(), envelope.seq, text));
                }
            }
            if fault == Fault::AnswerLost { lost() } else { Ok(()) }
        }
        .boxed()
    }

    fn parked<'a>(
        &'a self,
        source: &'a str,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(TenantId, AggregateId, Parking)>, SinkError>> {
        async move {
            let state = self.state.lock();
            let parked = state.cursors.iter().filter(|((name, tenant, aggregate), _)| {
                name == source && after.is_none_or(|after| (*tenant, *aggregate) > after)
            });
            let parked = parked.filter_map(|((_, tenant, aggregate), cursor)| {
                Some((*tenant, *aggregate, cursor.parked.clone()?))
            });
            Ok(parked.take(limit).collect())
        }
        .boxed()
    }

    fn position<'a>(&'a self, source: &'a str) -> BoxFuture<'a, Result<Option<u64>, SinkError>> {
        async move { Ok(self.state.lock().positions.get(source).copied()) }.boxed()
    }

    fn set_position<'a>(&'a self, source: &'a str, position: u64) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            self.state.lock().positions.insert(source.to_owned(), position);
            Ok(())
        }
        .boxed()
    }
}

/// A bus that says whatever it wants about aggregates of tenant 1, and the journal of a service.
pub(crate) struct Rumours {
    pub(crate) journal: Arc<events::in_process::Listener>,
    /// What it says: aggregate and sequence. One rumour at a time.
    pub(crate) said: Mutex<Vec<(u8, Seq)>>,
    /// Whose entries nobody can read any more.
    pub(crate) destroyed: Option<TenantId>,
}

impl ReadJournal for Rumours {
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
    ) -> BoxFuture<'_, Result<Vec<Envelope>, StoreError>> {
        if self.destroyed == Some(tenant) {
            return async { Err(StoreError::KeyDestroyed) }.boxed();
        }
        // Short pages, so that gaps are read in several steps.
        self.journal.read(tenant, aggregate, from, to, limit.min(2))
    }

    fn head(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Head>, StoreError>> {
        self.journal.head(tenant, aggregate)
    }

    fn heads(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.journal.heads(after, limit.min(2))
    }
}

impl Bus for Rumours {
    fn hear(&self, after: u64, _limit: usize) -> BoxFuture<'_, Result<Heard, StoreError>> {
        async move {
            let said = self.said.lock();
            let last = said.len() as u64;
            let heard = usize::try_from(after).ok().and_then(|after| said.get(after));
            let change =
                |(to, seq): &(u8, Seq)| Change { tenant: tenant(1), aggregate: aggregate(*to), seq: *seq };
            let changes: Vec<_> = heard.map(change).into_iter().collect();
            Ok(Heard { forgotten: 0, last, upto: after + changes.len() as u64, changes })
        }
        .boxed()
    }

    fn moved(&self, _: u64) -> BoxFuture<'_, ()> {
        futures::future::pending().boxed()
    }

    fn handled(&self, _: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }
}
