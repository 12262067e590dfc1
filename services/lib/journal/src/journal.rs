//! Submit, batch, read: the door of a service to its journal.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::hash::{BuildHasher, Hash};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use calendar::Instant;
use foldhash::fast::RandomState;
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _};
use ids::{AggregateId, TenantId};
use parking_lot::Mutex;
use recent::Recent;
use tokio::sync::oneshot;
use tracing::error;

use crate::actor::{LOOKS_AT_ONCE, Loaded, Reply};
use crate::aggregate::{Aggregate, Damage, Need};
use crate::bug;
use crate::entry::{Actor, CHAIN_BYTES, Entry, Posted};
use crate::env::Env;
use crate::error::{Error, Rejection, SubmitError};
use crate::relay::Owner;
use crate::slot::{Command, Slot, Steady};
use crate::store::{Chain, Head, KeyHash, Order, Seq, SharedStore, StoreError};
use crate::tally::{self, Tally, Trace};

/// Commands that may wait for one aggregate.
pub const QUEUE_MAX: usize = 4096;
/// Commands that are folded into one commit.
pub const FOLD_MAX: usize = 256;
/// Aggregates of a kind whose state is kept in memory unless the kind says otherwise: with [`WEIGHT_MAX`], at most 96 MiB of rows, usually a tenth.
pub const SLOTS_MAX: usize = 12_288;
/// Bytes of loaded rows after which a state is dropped from memory.
pub const WEIGHT_MAX: usize = 8 * 1024;
/// How long an unknown outcome is pursued, in seconds.
pub const UNKNOWN_S_MAX: u64 = 25;
/// Rounds of [`Aggregate::needs`], tries after a concurrent update, tries to read a consistent state.
pub const ROUNDS_MAX: usize = 16;

const SHARDS: usize = 32;

/// Whose aggregate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Scope {
    /// The tenant.
    pub tenant: TenantId,
    /// The aggregate.
    pub aggregate: AggregateId,
}

/// How long the idempotency key of a command is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The caller gave no key, and nothing is found by it.
    No,
    /// Seconds.
    Seconds(u64),
    /// For ever: the key row is also how entries are found by id.
    Forever,
}

impl Keep {
    /// What every call with an `Idempotency-Key` gets: 72 hours.
    pub const USUAL: Keep = Keep::Seconds(72 * 3600);

    pub(crate) fn expires_s(self, now: Instant) -> u64 {
        match self {
            Keep::No | Keep::Forever => 0,
            Keep::Seconds(seconds) => now.unix_ms() / 1000 + seconds,
        }
    }
}

/// Who asks, and under which idempotency key.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Who causes the entries.
    pub actor: Actor,
    /// Hash of (principal, route, idempotency key); random when there is no key.
    pub key: KeyHash,
    /// Hash of the request, to tell a retry from another request under the same key.
    pub fingerprint: [u8; 16],
    /// How long the key is remembered.
    pub keep: Keep,
    /// Id of the request.
    pub request_id: String,
    /// The span that asks, if it is traced.
    pub trace: Option<Trace>,
}

/// A command and who gives it.
#[derive(Clone, Debug)]
pub struct Request<C> {
    /// What is asked for.
    pub command: C,
    /// Who asks.
    pub meta: Meta,
}

/// What a command led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<E> {
    /// The events, durable.
    pub events: Vec<Posted<E>>,
    /// Sequence of the aggregate right after them.
    pub seq: Seq,
    /// True if an earlier call with the same key did it.
    pub replayed: bool,
    /// The aggregate that it went to.
    pub aggregate: AggregateId,
}

/// The state of an aggregate at a moment.
#[derive(Debug)]
pub struct View<A> {
    /// The state, with the rows that were asked for.
    pub state: A,
    /// Its sequence.
    pub seq: Seq,
    /// When the last entry was recorded.
    pub recorded_at: Instant,
}

/// Where the answer of a command comes, and the work of its aggregate if this caller is to do it.
type Enqueued<A> = (oneshot::Receiver<Reply<A>>, Option<Steady<()>>);

/// All aggregates of one kind.
pub struct Journal<A: Aggregate> {
    pub(crate) inner: Arc<Inner<A>>,
}

impl<A: Aggregate> Clone for Journal<A> {
    fn clone(&self) -> Self {
        Journal { inner: Arc::clone(&self.inner) }
    }
}

pub(crate) struct Inner<A: Aggregate> {
    pub(crate) store: SharedStore,
    pub(crate) env: Arc<dyn Env>,
    /// This process, if it shares the store with others.
    pub(crate) owner: Option<Arc<Owner>>,
    pub(crate) tally: &'static Tally,
    slots: Recent<Scope, Arc<Slot<A>>>,
    running: Vec<Mutex<HashSet<(TenantId, KeyHash), RandomState>>>,
    hasher: RandomState,
}

/// Marks an idempotency key as running until it is dropped.
pub(crate) struct Running<A: Aggregate> {
    inner: Arc<Inner<A>>,
    key: (TenantId, KeyHash),
}

impl<A: Aggregate> Drop for Running<A> {
    fn drop(&mut self) {
        self.inner.running[self.inner.shard(&self.key)].lock().remove(&self.key);
    }
}

impl<A: Aggregate> Journal<A> {
    /// Makes the journal of one kind of aggregate over a store.
    #[must_use]
    pub fn new(store: SharedStore, env: Arc<dyn Env>) -> Self {
        let owner = store.owner();
        Journal::with(store, env, owner)
    }

    /// Makes the journal of one kind of aggregate over a store that this process shares with others: `owner`
    /// marks what it is about to commit, and relays it.
    #[must_use]
    pub fn shared(store: SharedStore, env: Arc<dyn Env>, owner: Arc<Owner>) -> Self {
        Journal::with(store, env, Some(owner))
    }

    fn with(store: SharedStore, env: Arc<dyn Env>, owner: Option<Arc<Owner>>) -> Self {
        let running = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (slots, hasher) = (Recent::new(A::KEPT_MAX), RandomState::default());
        let tally = tally::of(A::SERVICE);
        Journal { inner: Arc::new(Inner { store, env, owner, tally, slots, running, hasher }) }
    }

    /// The clock and random source.
    #[must_use]
    pub fn env(&self) -> &dyn Env {
        &*self.inner.env
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &SharedStore {
        &self.inner.store
    }

    /// Commits one command. It is folded with its neighbours into one commit. The returned future may do the
    /// work of all of them: poll it or drop it. Dropping it does not take the command back.
    ///
    /// # Errors
    /// Why the command was refused; nothing is written then, except after [`Error::OutcomeUnknown`].
    pub async fn submit(
        &self,
        scope: Scope,
        request: Request<A::Command>,
    ) -> Result<Answer<A::Event>, Rejection<A::Error>> {
        let (answer, work) = self.enqueue(scope, request)?;
        let answer = match work {
            Some(work) => work.until(answer).await,
            None => answer.await,
        };
        answer.unwrap_or(Err(Rejection::Journal(Error::OutcomeUnknown)))
    }

    /// Commits commands for any aggregates of a tenant, each by itself, those for the same aggregate in
    /// the given order. One answer per command, in order.
    pub async fn submit_each(
        &self,
        tenant: TenantId,
        requests: Vec<(AggregateId, Request<A::Command>)>,
    ) -> Vec<Result<Answer<A::Event>, Rejection<A::Error>>> {
        // On a shared store a commit is of one aggregate.
        if requests.len() < 2 || self.inner.owner.is_some() {
            return self.submit_one_by_one(tenant, requests).await;
        }
        let mut marks = Vec::with_capacity(requests.len());
        let mut entered = Vec::with_capacity(requests.len());
        let mut places = Vec::with_capacity(requests.len());
        let mut refused: HashMap<AggregateId, Error> = HashMap::new();
        for (aggregate, request) in requests {
            // A command must not overtake one that another caller is about to commit for this same batch.
            let marked = match refused.get(&aggregate) {
                Some(error) => Err(error.clone()),
                None => self.mark_running(tenant, &request.meta),
            };
            places.push(match marked {
                Ok(mark) => {
                    marks.push(mark);
                    entered.push((aggregate, request));
                    None
                }
                Err(error) => {
                    refused.insert(aggregate, error.clone());
                    Some(error)
                }
            });
        }
        let count = entered.len();
        let inner = Arc::clone(&self.inner);
        let work = Steady::new(async move {
            let answers = AssertUnwindSafe(inner.commit_each(tenant, &entered)).catch_unwind().await;
            drop(marks);
            (answers, entered)
        });
        let answers = match work.await {
            (Ok(Some(answers)), _) => answers,
            (Ok(None), entered) => self.submit_one_by_one(tenant, entered).await,
            (Err(_), _) => {
                error!("deciding a batch panicked");
                (0..count).map(|_| Err(Error::OutcomeUnknown.into())).collect()
            }
        };
        let mut answers = answers.into_iter();
        let lost = || Err(Error::OutcomeUnknown.into());
        let answer = |refused: Option<Error>| match refused {
            Some(error) => Err(error.into()),
            None => answers.next().unwrap_or_else(lost),
        };
        places.into_iter().map(answer).collect()
    }

    async fn submit_one_by_one(
        &self,
        tenant: TenantId,
        requests: Vec<(AggregateId, Request<A::Command>)>,
    ) -> Vec<Result<Answer<A::Event>, Rejection<A::Error>>> {
        let mut waiting = Vec::with_capacity(requests.len());
        let mut works = FuturesUnordered::new();
        let mut refused: HashMap<AggregateId, Error> = HashMap::new();
        for (aggregate, request) in requests {
            // A command must not overtake one that another caller is about to commit for this same batch.
            let entered = match refused.get(&aggregate) {
                Some(error) => Err(error.clone()),
                None => self.enqueue(Scope { tenant, aggregate }, request),
            };
            waiting.push(match entered {
                Ok((answer, work)) => {
                    works.extend(work);
                    Ok(answer)
                }
                Err(error) => {
                    refused.insert(aggregate, error.clone());
                    Err(error)
                }
            });
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for one in waiting {
            answers.push(match one {
                Ok(mut answer) => poll_fn(|cx| {
                    while let Poll::Ready(Some(())) = works.poll_next_unpin(cx) {}
                    answer.poll_unpin(cx)
                })
                .await
                .unwrap_or(Err(Rejection::Journal(Error::OutcomeUnknown))),
                Err(error) => Err(Rejection::Journal(error)),
            });
        }
        answers
    }

    /// Commits commands for any aggregates of a tenant, all or none, decided in the given order.
    ///
    /// # Errors
    /// The first command that is refused, and why; nothing is written then.
    pub async fn submit_all(
        &self,
        tenant: TenantId,
        requests: Vec<(AggregateId, Request<A::Command>)>,
    ) -> Result<Vec<Answer<A::Event>>, SubmitError<A::Error>> {
        let mut running = Vec::with_capacity(requests.len());
        for (at, (_, request)) in requests.iter().enumerate() {
            match self.mark_running(tenant, &request.meta) {
                Ok(mark) => running.push(mark),
                Err(error) => return Err(SubmitError { at, rejection: error.into() }),
            }
        }
        let inner = Arc::clone(&self.inner);
        let work = Steady::new(async move {
            let answers = AssertUnwindSafe(inner.commit_all(tenant, &requests)).catch_unwind().await;
            drop(running);
            answers
        });
        let lost = || SubmitError { at: 0, rejection: Rejection::Journal(Error::OutcomeUnknown) };
        work.await.unwrap_or_else(|_| {
            error!("deciding a batch panicked");
            Err(lost())
        })
    }

    /// Reads the state of an aggregate with the rows that `needs` names; `None` if it was never written.
    ///
    /// # Errors
    /// When the store cannot answer or its bytes do not decode.
    pub async fn read(
        &self,
        scope: Scope,
        needs: impl Fn(&A) -> Vec<Need> + Send,
    ) -> Result<Option<View<A>>, Error> {
        let store = &self.inner.store;
        for _ in 0..ROUNDS_MAX {
            let Some(head) = store.head(scope.tenant, scope.aggregate).await? else { return Ok(None) };
            let mut loaded = Loaded::<A>::from_head(&head)?;
            let mut rows = false;
            for _ in 0..ROUNDS_MAX {
                let wanted = needs(&loaded.state);
                if wanted.is_empty() {
                    break;
                }
                rows = true;
                self.inner.load(scope, &mut loaded, wanted).await?;
            }
            let same = !rows
                || store
                    .head(scope.tenant, scope.aggregate)
                    .await?
                    .is_some_and(|again| again.seq == head.seq);
            if same {
                return Ok(Some(View {
                    state: loaded.state,
                    seq: head.seq,
                    recorded_at: loaded.recorded_at,
                }));
            }
        }
        Err(Error::ConcurrentUpdate)
    }

    /// Computes the state that an aggregate had right after entry `seq`, from its entries.
    ///
    /// # Errors
    /// When the store cannot answer or its bytes do not decode.
    pub async fn state_at(&self, scope: Scope, seq: Seq) -> Result<View<A>, Error> {
        const PAGE: usize = 500;
        let mut view = View { state: A::default(), seq: 0, recorded_at: Instant::from_unix_micros(0) };
        while view.seq < seq {
            let page = self.entries(scope, view.seq + 1, seq, Order::Ascending, PAGE).await?;
            let Some(last) = page.last() else {
                return Err(Error::Damaged(Damage(format!("entry {} is missing", view.seq + 1))));
            };
            (view.seq, view.recorded_at) = (last.seq, last.recorded_at);
            for posted in &page {
                view.state.evolve(&posted.event, posted.seq, posted.recorded_at);
            }
        }
        Ok(view)
    }

    /// Reads entries `from ..= to`, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot answer or its bytes do not decode.
    pub async fn entries(
        &self,
        scope: Scope,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Posted<A::Event>>, Error> {
        self.inner.entries(scope, from, to, order, limit).await
    }

    /// Finds the entries that a command with this key wrote: the aggregate and its events.
    ///
    /// # Errors
    /// When the store cannot answer or its bytes do not decode.
    pub async fn find(
        &self,
        tenant: TenantId,
        key: KeyHash,
    ) -> Result<Option<(AggregateId, Vec<Posted<A::Event>>)>, Error> {
        let Some(row) = self.inner.store.key(tenant, key).await? else { return Ok(None) };
        let scope = Scope { tenant, aggregate: row.aggregate };
        let count = row.count as usize;
        let events = self
            .entries(scope, row.first, row.first + u64::from(row.count) - 1, Order::Ascending, count)
            .await?;
        Ok(Some((row.aggregate, events)))
    }

    fn enqueue(&self, scope: Scope, request: Request<A::Command>) -> Result<Enqueued<A>, Error> {
        let running = self.mark_running(scope.tenant, &request.meta)?;
        let (reply, answer) = oneshot::channel();
        let slot = self.inner.slot(scope);
        let work = slot.enter(&self.inner, Command { request, reply, _running: running })?;
        Ok((answer, work))
    }

    fn mark_running(&self, tenant: TenantId, meta: &Meta) -> Result<Option<Running<A>>, Error> {
        if meta.keep == Keep::No || bug::is("let a key run twice at the same time") {
            return Ok(None);
        }
        let key = (tenant, meta.key);
        if !self.inner.running[self.inner.shard(&key)].lock().insert(key) {
            return Err(Error::InProgress);
        }
        Ok(Some(Running { inner: Arc::clone(&self.inner), key }))
    }
}

impl<A: Aggregate> Inner<A> {
    fn shard(&self, key: &impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }

    /// The slot of an aggregate. Two slots for one aggregate (one evicted while somebody held it) are
    /// harmless: the conditional commit decides.
    pub(crate) fn slot(&self, scope: Scope) -> Arc<Slot<A>> {
        self.slots.get_or_insert(scope, |slot| slot.is_idle(), || Arc::new(Slot::new(scope, self.tally)))
    }

    pub(crate) async fn load(
        &self,
        scope: Scope,
        loaded: &mut Loaded<A>,
        needs: Vec<Need>,
    ) -> Result<(), Error> {
        let (mut keys, mut rows) = (Vec::new(), Vec::new());
        for need in &needs {
            match need {
                Need::Row(key) => keys.push(key.clone()),
                Need::Index { index, key } => rows.push((need, *index, key.clone())),
            }
        }
        let read = |(need, index, key)| async move {
            let value = self.store.index_row(scope.tenant, index, key, scope.aggregate).await?;
            Ok::<_, StoreError>((need, value))
        };
        // On a shared store each look takes a while.
        if self.owner.is_some() && rows.len() > 1 {
            let looks: Vec<_> = rows.into_iter().map(read).collect();
            let mut looks = stream::iter(looks).buffered(LOOKS_AT_ONCE);
            while let Some(found) = looks.next().await {
                let (need, value) = found?;
                loaded.state.load(need, value.as_deref())?;
            }
        } else {
            for row in rows {
                let (need, value): (&Need, _) = read(row).await?;
                loaded.state.load(need, value.as_deref())?;
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let values = self.store.rows(scope.tenant, scope.aggregate, keys).await?;
        for (need, value) in needs.iter().filter(|need| matches!(need, Need::Row(_))).zip(values) {
            loaded.state.load(need, value.as_deref())?;
        }
        Ok(())
    }

    pub(crate) async fn entries(
        &self,
        scope: Scope,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Posted<A::Event>>, Error> {
        let stored = self.store.entries(scope.tenant, scope.aggregate, from, to, order, limit).await?;
        stored.into_iter().map(|(seq, bytes)| posted::<A>(seq, bytes)).collect()
    }
}

/// The stored form of an entry: the chain up to it, then its bytes.
#[must_use]
pub fn stored(chain: Chain, entry: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(CHAIN_BYTES + entry.len());
    bytes.extend_from_slice(&chain.0);
    bytes.extend_from_slice(entry);
    bytes.into()
}

/// Takes the stored form of an entry apart: the chain up to it, and its bytes.
///
/// # Errors
/// [`Damage`] when there are fewer bytes than a hash has.
pub fn unstored(mut bytes: Bytes) -> Result<(Chain, Bytes), Damage> {
    if bytes.len() < CHAIN_BYTES {
        return Err(Damage("an entry is shorter than its hash".into()));
    }
    let chain = bytes.split_to(CHAIN_BYTES);
    Ok((Chain(chain.as_ref().try_into().map_err(|_| Damage("hash".into()))?), bytes))
}

pub(crate) fn posted<A: Aggregate>(seq: Seq, bytes: Bytes) -> Result<Posted<A::Event>, Error> {
    let (chain, bytes) = unstored(bytes)?;
    let entry = Entry::read(bytes)?;
    Ok(Posted {
        seq,
        event: A::decode(&entry.event)?,
        recorded_at: entry.recorded_at(),
        key: entry.key_hash().ok_or_else(|| Damage(format!("entry {seq} has no key")))?,
        actor: entry.actor.unwrap_or_default(),
        position: entry.position,
        chain: Some(chain),
    })
}

impl Head {
    /// The aggregate's own part of the header, which [`Aggregate::from_header`] reads.
    #[must_use]
    pub fn state_header(&self) -> Option<&[u8]> {
        self.header.split_first_chunk::<8>().map(|(_, header)| header)
    }
}

impl<A: Aggregate> Loaded<A> {
    /// The state before the first entry.
    pub(crate) fn unborn() -> Self {
        Loaded {
            state: A::default(),
            seq: 0,
            chain: Chain::default(),
            recorded_at: Instant::from_unix_micros(0),
        }
    }

    pub(crate) fn from_head(head: &Head) -> Result<Self, Damage> {
        let format = u16::from_be_bytes([A::KIND, A::FORMAT]);
        if head.format != format {
            return Err(Damage(format!("record of format {:04x}, expected {format:04x}", head.format)));
        }
        let (recorded, header) =
            head.header.split_first_chunk::<8>().ok_or_else(|| Damage("a header is too short".into()))?;
        Ok(Loaded {
            state: A::from_header(header)?,
            seq: head.seq,
            chain: head.chain,
            recorded_at: Instant::checked_from_unix_micros(i64::from_be_bytes(*recorded))
                .ok_or_else(|| Damage("a record was written at an impossible time".into()))?,
        })
    }

    pub(crate) fn header(&self) -> Bytes {
        let header = self.state.header();
        let mut bytes = Vec::with_capacity(8 + header.len());
        bytes.extend_from_slice(&self.recorded_at.unix_micros().to_be_bytes());
        bytes.extend_from_slice(&header);
        bytes.into()
    }
}
