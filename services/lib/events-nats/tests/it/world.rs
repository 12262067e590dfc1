//! Services that write, a sink that keeps everything in memory, and consumers that run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use events::{
    Consumer, Cursor, Envelope, InProcess, Parking, ReadJournal, Sink, SinkError, Stretch, Sweep, Undecodable,
};
use events_nats::{FeedRelay, NatsBus};
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::memory::MemoryStore;
use journal::relay::Owner;
use journal::store::{AttemptId, Bucket, Commit, Found, Head, NO_BUCKET, Outcome, Store};
use journal::{Actor, Entry, Seq, SharedStore, StoreError, stored};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub(crate) const SERVICE: &str = "stock";
/// What no consumer understands.
pub(crate) const GIBBERISH: &str = "gibberish";
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn aggregate(number: u64) -> AggregateId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    AggregateId::from_bytes(bytes)
}

pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    within(what, PATIENCE, condition).await;
}

/// Waits for a condition; gives back how long it took.
pub(crate) async fn within(what: &str, limit: Duration, condition: impl AsyncFn() -> bool) -> Duration {
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < limit, "{what} is waited for in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

/// One more entry of an aggregate, whose event is `text`.
async fn next(store: &dyn Store, to: u64, bucket: Bucket, text: &str) -> Result<Commit, StoreError> {
    let head = store.head(TENANT, aggregate(to)).await?.unwrap_or_default();
    let entry = Entry {
        actor: Some(Actor::default()),
        event: Bytes::copy_from_slice(text.as_bytes()),
        ..Entry::default()
    };
    let entry = entry.encode_to_vec();
    let chain = head.chain.then(&entry);
    Ok(Commit {
        tenant: TENANT,
        aggregate: aggregate(to),
        expect: head.seq,
        bucket,
        head: Head {
            seq: head.seq + 1,
            attempt: AttemptId::default(),
            chain,
            format: 0x0301,
            header: Bytes::new(),
        },
        entries: vec![stored(chain, &entry)],
        rows: vec![],
        keys: vec![],
        claims: vec![],
        index: vec![],
    })
}

/// A service on a store that one process owns.
pub(crate) struct Service {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) feed: Arc<InProcess>,
}

impl Service {
    pub(crate) fn new() -> Service {
        let store = Arc::new(MemoryStore::default());
        Service { feed: InProcess::new(SERVICE, Arc::clone(&store) as _), store }
    }

    pub(crate) async fn write(&self, to: u64, text: &str) {
        let commit = next(&*self.store, to, NO_BUCKET, text).await.expect("a head");
        assert_eq!(self.store.commit(vec![commit]).await, Outcome::Applied);
    }

    pub(crate) fn relay(&self, bus: &Arc<NatsBus>) -> FeedRelay {
        FeedRelay::new(self.feed.listener(), bus.publisher(SERVICE, 1).expect("a name"))
    }

    pub(crate) fn journal(&self) -> Arc<Journals> {
        Journals::of(Arc::clone(&self.store) as _)
    }
}

/// Appends an entry as a process of a cluster does.
pub(crate) async fn append(owner: &Arc<Owner>, store: &dyn Store, to: u64, text: &str) -> Outcome {
    let permit = match owner.enter(TENANT, aggregate(to)).await {
        Ok(permit) => permit,
        Err(error) => return Outcome::Unknown(error),
    };
    let commit = match next(store, to, permit.bucket(), text).await {
        Ok(commit) => commit,
        Err(error) => return Outcome::Unknown(error),
    };
    let seq = commit.head.seq;
    let outcome = store.commit(vec![commit]).await;
    permit.settle(&outcome, seq);
    outcome
}

/// The journals of a service as others read them, who count how often all heads are looked at.
pub(crate) struct Journals {
    inner: Arc<Sweep>,
    compared: AtomicUsize,
}

impl Journals {
    pub(crate) fn of(store: SharedStore) -> Arc<Journals> {
        Arc::new(Journals { inner: Sweep::new(SERVICE, store), compared: AtomicUsize::new(0) })
    }

    /// How often somebody began to read all heads.
    pub(crate) fn compared(&self) -> usize {
        self.compared.load(Ordering::Relaxed)
    }
}

impl ReadJournal for Journals {
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
    ) -> BoxFuture<'_, Result<Vec<Envelope>, StoreError>> {
        self.inner.read(tenant, aggregate, from, to, limit)
    }

    fn head(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Head>, StoreError>> {
        self.inner.head(tenant, aggregate)
    }

    fn heads(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        if after.is_none() {
            self.compared.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.heads(after, limit)
    }
}

/// Keeps sequences in the order in which they took effect.
#[derive(Default)]
pub(crate) struct Kept {
    state: Mutex<State>,
    /// While it is locked, nothing is written.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    cursors: BTreeMap<(TenantId, AggregateId), Cursor>,
    effects: BTreeMap<AggregateId, Vec<(Seq, String)>>,
    position: Option<u64>,
    count: usize,
}

impl Kept {
    /// How many entries took effect.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().count
    }

    pub(crate) fn seqs(&self, of: u64) -> Vec<Seq> {
        let state = self.state.lock();
        state.effects.get(&aggregate(of)).into_iter().flatten().map(|(seq, _)| *seq).collect()
    }

    pub(crate) fn position(&self) -> Option<u64> {
        self.state.lock().position
    }

    /// INV-7: each entry took effect once, in the order of its aggregate, and none is missing.
    pub(crate) async fn assert_equals(&self, store: &dyn Store) {
        let heads = store.aggregates(None, 1_000_000).await.expect("heads");
        let state = self.state.lock();
        assert_eq!(state.effects.len(), heads.len());
        for (_, aggregate, head) in heads {
            let seqs: Vec<_> = state.effects[&aggregate].iter().map(|(seq, _)| *seq).collect();
            assert_eq!(seqs, (1..=head.seq).collect::<Vec<_>>(), "{aggregate}");
        }
    }
}

impl Sink for Kept {
    type Event = String;

    fn decode(&self, envelope: &Envelope) -> Result<String, Undecodable> {
        let entry = envelope.entry().map_err(|damage| Undecodable(damage.to_string()))?;
        let text = String::from_utf8(entry.event.to_vec()).map_err(|e| Undecodable(e.to_string()))?;
        if text == GIBBERISH { Err(Undecodable("it is gibberish".into())) } else { Ok(text) }
    }

    fn cursors<'a>(
        &'a self,
        _: &'a str,
        tenant: TenantId,
        aggregates: Vec<AggregateId>,
    ) -> BoxFuture<'a, Result<Vec<Cursor>, SinkError>> {
        async move {
            let state = self.state.lock();
            let cursor = |id| state.cursors.get(&(tenant, id)).cloned().unwrap_or_default();
            Ok(aggregates.into_iter().map(cursor).collect())
        }
        .boxed()
    }

    fn apply<'a>(
        &'a self,
        _: &'a str,
        tenant: TenantId,
        stretches: Vec<Stretch<String>>,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            let _open = self.gate.lock().await;
            let mut state = self.state.lock();
            let key = |stretch: &Stretch<String>| (tenant, stretch.aggregate);
            let moved = |stretch: &Stretch<String>| {
                state.cursors.get(&key(stretch)).cloned().unwrap_or_default() != stretch.from
            };
            if stretches.iter().any(moved) {
                return Err(SinkError::Moved);
            }
            for stretch in stretches {
                state.cursors.insert(key(&stretch), stretch.to);
                state.count += stretch.events.len();
                let effects = state.effects.entry(stretch.aggregate).or_default();
                effects.extend(stretch.events.into_iter().map(|(envelope, text)| (envelope.seq, text)));
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
    ) -> BoxFuture<'a, Result<Vec<(TenantId, AggregateId, Parking)>, SinkError>> {
        async move {
            let state = self.state.lock();
            let parked = state.cursors.iter().filter(|(key, _)| after.is_none_or(|after| **key > after));
            let parked =
                parked.filter_map(|((tenant, id), cursor)| Some((*tenant, *id, cursor.parked.clone()?)));
            Ok(parked.take(limit).collect())
        }
        .boxed()
    }

    fn position<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<u64>, SinkError>> {
        async move { Ok(self.state.lock().position) }.boxed()
    }

    fn set_position<'a>(&'a self, _: &'a str, position: u64) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            self.state.lock().position = Some(position);
            Ok(())
        }
        .boxed()
    }
}

/// Something that runs until it is stopped.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// `work` gets what it is to stop at.
    pub(crate) fn new<F>(work: impl FnOnce(BoxFuture<'static, ()>) -> F) -> Running
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        Running { task: tokio::spawn(work(stopped.boxed())), stop }
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("it does not panic");
    }
}

/// A consumer of a service, which is not run yet.
pub(crate) fn consumer(bus: &Arc<NatsBus>, journal: &Arc<Journals>, sink: &Arc<Kept>) -> Arc<Consumer<Kept>> {
    let listener = bus.listen("audit", Arc::clone(journal) as _).expect("a name");
    Arc::new(Consumer::new("audit", listener, Arc::clone(sink)))
}

pub(crate) fn run(consumer: &Arc<Consumer<Kept>>) -> Running {
    let consumer = Arc::clone(consumer);
    Running::new(|stop| async move { consumer.run(stop).await })
}

pub(crate) fn run_relay(relay: FeedRelay) -> Running {
    Running::new(|stop| async move { relay.run(stop).await })
}
