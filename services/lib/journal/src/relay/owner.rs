//! The part of a process that is alive: lease, marks, relaying, sweeping.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::{self, StreamExt as _};
use ids::{AggregateId, TenantId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::warn;

use super::{Publish, relay};
use crate::env::Env;
use crate::relay_store::{InstanceId, Lease, Mark, Marked, RelayStore};
use crate::store::{Bucket, Outcome, Refusal, Seq, StoreError};

/// Seconds of a bucket.
pub const BUCKET_S: u64 = 30;
/// Buckets that a lease reaches into the future.
pub const AHEAD: u64 = 2;
/// Seconds between two renewals.
const BEAT_S: u64 = 10;
/// Aggregates that are relayed at once.
const RELAYS_MAX: usize = 64;
/// Tries to enter a bucket.
const ROUNDS_MAX: usize = 8;

/// This process, towards the store that it shares with others.
pub struct Owner {
    store: Arc<dyn RelayStore>,
    env: Arc<dyn Env>,
    sinks: Vec<Arc<dyn Publish>>,
    state: Mutex<State>,
    /// Whoever holds it renews the lease.
    renewing: tokio::sync::Mutex<()>,
    /// Whoever holds it relays and sweeps.
    relaying: tokio::sync::Mutex<()>,
    applied: Notify,
    /// It commits nothing any more.
    left: AtomicBool,
}

struct State {
    id: InstanceId,
    /// As it was last acknowledged; none before the first time.
    lease: Option<Lease>,
    /// No bucket below it is used any more.
    floor: Bucket,
    buckets: BTreeMap<Bucket, Aggregates>,
}

type Aggregates = BTreeMap<(TenantId, AggregateId), Work>;

/// What this process did to an aggregate in a bucket.
#[derive(Default, Clone, Copy)]
struct Work {
    /// The mark is acknowledged.
    marked: bool,
    /// Permits that are out.
    open: usize,
    /// An attempt was given up whose outcome is unknown.
    undecided: bool,
    /// The last sequence that an attempt led to.
    applied: Seq,
    relayed: Seq,
}

/// The right to commit once to an aggregate in a bucket. Dropping it unsettled leaves its attempt undecided.
pub struct Permit {
    owner: Arc<Owner>,
    instance: InstanceId,
    bucket: Bucket,
    tenant: TenantId,
    aggregate: AggregateId,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Undecided,
    Applied(Seq),
    Nothing,
}

impl Permit {
    /// The bucket that the commit must carry.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        self.bucket
    }

    /// Says what became of the commit that leads to `seq`.
    pub fn settle(mut self, outcome: &Outcome, seq: Seq) {
        self.end = match outcome {
            Outcome::Applied => End::Applied(seq),
            Outcome::Refused(refusal) => {
                if let Refusal::Fenced { fence, .. } = refusal {
                    let mut state = self.owner.state.lock();
                    state.floor = state.floor.max(fence.saturating_add(1));
                }
                End::Nothing
            }
            Outcome::Unknown(_) => End::Undecided,
        };
    }

    /// Gives it back; no commit was sent.
    pub fn unused(mut self) {
        self.end = End::Nothing;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.owner.state.lock();
        if state.id != self.instance {
            return; // adopted: what it did is its adopter's affair
        }
        let aggregates = state.buckets.get_mut(&self.bucket);
        let Some(work) = aggregates.and_then(|all| all.get_mut(&(self.tenant, self.aggregate))) else {
            return;
        };
        work.open -= 1;
        match self.end {
            End::Undecided => work.undecided = true,
            End::Nothing => {}
            End::Applied(seq) => {
                work.applied = seq.max(work.applied);
                self.owner.applied.notify_one();
            }
        }
    }
}

impl Owner {
    /// A process that relays to `sinks`. It takes its lease when it first needs it.
    #[must_use]
    pub fn new(store: Arc<dyn RelayStore>, env: Arc<dyn Env>, sinks: Vec<Arc<dyn Publish>>) -> Arc<Owner> {
        let id = draw(&*env);
        let state = State { id, lease: None, floor: 1, buckets: BTreeMap::new() };
        let (renewing, relaying) = Default::default();
        let (state, applied) = (Mutex::new(state), Notify::new());
        let left = AtomicBool::new(false);
        Arc::new(Owner { store, env, sinks, state, renewing, relaying, applied, left })
    }

    /// Which instance this process is now.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.state.lock().id
    }

    fn now(&self) -> Bucket {
        self.env.now().unix_ms() / 1000 / BUCKET_S
    }

    /// Asks to commit to an aggregate: marks it first, where that is needed.
    ///
    /// # Errors
    /// When the store does not answer; nothing may be committed then.
    pub async fn enter(
        self: &Arc<Self>,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> Result<Permit, StoreError> {
        if self.left.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("this process is about to end".into()));
        }
        for _ in 0..ROUNDS_MAX {
            let Some((permit, marked)) = self.open(tenant, aggregate) else {
                self.renew().await?;
                continue;
            };
            if marked {
                return Ok(permit);
            }
            let (instance, bucket) = (permit.instance, permit.bucket);
            match self.store.mark(Mark { instance, bucket, tenant, aggregate }).await {
                Ok(Marked::Noted) => {
                    self.note(&permit);
                    return Ok(permit);
                }
                Ok(Marked::Closed) => {
                    permit.unused();
                    self.renew().await?;
                }
                Err(error) => {
                    permit.unused();
                    return Err(error);
                }
            }
        }
        Err(StoreError::Unavailable("no bucket could be entered".into()))
    }

    /// A permit, and whether the aggregate is marked; `None` if the lease does not reach.
    fn open(self: &Arc<Self>, tenant: TenantId, aggregate: AggregateId) -> Option<(Permit, bool)> {
        let now = self.now();
        let mut state = self.state.lock();
        let bucket = now.max(state.floor);
        if state.lease.as_ref().is_none_or(|lease| lease.high < bucket) {
            return None;
        }
        // A clock that is set back must not lead into a bucket that was swept.
        state.floor = bucket;
        let instance = state.id;
        let work = state.buckets.entry(bucket).or_default().entry((tenant, aggregate)).or_default();
        work.open += 1;
        let marked = work.marked;
        let owner = Arc::clone(self);
        Some((Permit { owner, instance, bucket, tenant, aggregate, end: End::Undecided }, marked))
    }

    fn note(&self, permit: &Permit) {
        let mut state = self.state.lock();
        if state.id != permit.instance {
            return;
        }
        let aggregates = state.buckets.entry(permit.bucket).or_default();
        aggregates.entry((permit.tenant, permit.aggregate)).or_default().marked = true;
    }

    /// Renews the lease. If it was adopted, the process goes on as a new instance.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn renew(&self) -> Result<(), StoreError> {
        let _one = self.renewing.lock().await;
        for _ in 0..ROUNDS_MAX {
            let (id, expect, wanted) = self.wanted();
            let done = self.store.set_lease(id, expect.clone(), Some(wanted.clone())).await?;
            let found = match done {
                true => Some(wanted),
                // Perhaps an earlier try was written after all: nobody else writes one without an adopter.
                false => self.store.lease(id).await?,
            };
            match found {
                Some(lease) if lease.adopter.is_none() => {
                    let mut state = self.state.lock();
                    state.lease = Some(lease);
                    if done {
                        return Ok(());
                    }
                }
                None if expect.is_none() => {} // a first try that failed and is not there: once more
                _ => self.become_another(),
            }
        }
        Err(StoreError::Unavailable("the lease could not be renewed".into()))
    }

    fn wanted(&self) -> (InstanceId, Option<Lease>, Lease) {
        let now = self.now();
        let mut state = self.state.lock();
        let next = now.max(state.floor);
        state.floor = next;
        let low = state.buckets.keys().next().copied().unwrap_or(next).min(next);
        let beat = state.lease.as_ref().map_or(1, |lease| lease.beat + 1);
        let high = next.saturating_add(AHEAD);
        let high = state.lease.as_ref().map_or(high, |lease| high.max(lease.high));
        (state.id, state.lease.clone(), Lease { beat, low, high, adopter: None })
    }

    fn become_another(&self) {
        let id = draw(&*self.env);
        let mut state = self.state.lock();
        warn!("this process was taken for dead and goes on as another instance");
        *state = State { id, lease: None, floor: state.floor, buckets: BTreeMap::new() };
    }

    /// Publishes what this process committed and has not published yet, several aggregates at a time: after the bus
    /// was away, each of them waits for the same few round trips.
    ///
    /// # Errors
    /// When the store or a sink does not answer; the call can be repeated.
    pub async fn relay(&self) -> Result<(), StoreError> {
        let _one = self.relaying.lock().await;
        let (id, dirty) = self.dirty();
        let relays = dirty.into_iter().map(|((tenant, aggregate), upto)| async move {
            self.publish(tenant, aggregate, upto).await?;
            self.relayed(id, (tenant, aggregate), upto);
            Ok(())
        });
        let mut relays = stream::iter(relays).buffer_unordered(RELAYS_MAX);
        // One that cannot be read keeps no other waiting.
        let mut all = Ok(());
        while let Some(done) = relays.next().await {
            all = all.and(done);
        }
        all
    }

    /// Aggregates with entries to publish, each once, and up to which one.
    fn dirty(&self) -> (InstanceId, BTreeMap<(TenantId, AggregateId), Seq>) {
        let state = self.state.lock();
        let mut dirty = BTreeMap::new();
        for (aggregate, work) in
            state.buckets.values().flatten().filter(|(_, work)| work.relayed < work.applied)
        {
            let upto = dirty.entry(*aggregate).or_insert(0);
            *upto = work.applied.max(*upto);
        }
        (state.id, dirty)
    }

    /// Notes that entries of an aggregate up to `upto` are published, in whichever bucket they were committed.
    fn relayed(&self, id: InstanceId, aggregate: (TenantId, AggregateId), upto: Seq) {
        let mut state = self.state.lock();
        if state.id != id {
            return;
        }
        for work in state.buckets.values_mut().filter_map(|all| all.get_mut(&aggregate)) {
            work.relayed = work.relayed.max(upto.min(work.applied));
        }
    }

    async fn publish(&self, tenant: TenantId, aggregate: AggregateId, upto: Seq) -> Result<(), StoreError> {
        self.store.apply_index(tenant, aggregate).await?;
        for sink in &self.sinks {
            relay(&*self.store, &**sink, tenant, aggregate, upto).await?;
        }
        Ok(())
    }

    /// Decides and relays what is left of past buckets, and deletes them. A bucket with a commit under way is
    /// left for the next time. Returns how many were deleted.
    ///
    /// # Errors
    /// When the store or a sink does not answer; the call can be repeated.
    pub async fn sweep(&self) -> Result<usize, StoreError> {
        let relayed = self.relay().await;
        let _one = self.relaying.lock().await;
        let now = self.now();
        let (id, past) = {
            let mut state = self.state.lock();
            // From here on no permit is given for a bucket before this one.
            state.floor = state.floor.max(now);
            let past: Vec<Bucket> = state.buckets.range(..state.floor).map(|(bucket, _)| *bucket).collect();
            (state.id, past)
        };
        self.hand_on(id);
        let deleted = self.end(id, past).await?;
        relayed.map(|()| deleted)
    }

    /// Leaves entries that are not relayed yet to the last bucket in which their aggregate is marked: an adopter finds
    /// them there as well. So while a sink is away no more is kept than each aggregate once.
    fn hand_on(&self, id: InstanceId) {
        let mut state = self.state.lock();
        if state.id != id {
            return;
        }
        let mut last: BTreeMap<(TenantId, AggregateId), Bucket> = BTreeMap::new();
        for (bucket, all) in &state.buckets {
            let marked = all.iter().filter(|(_, work)| work.marked);
            last.extend(marked.map(|(aggregate, _)| (*aggregate, *bucket)));
        }
        let mut handed = Vec::new();
        for (bucket, all) in &mut state.buckets {
            let is_left = |aggregate: &(TenantId, AggregateId), work: &mut Work| {
                work.open == 0 && !work.undecided && last.get(aggregate).is_some_and(|last| bucket < last)
            };
            handed.extend(all.extract_if(.., is_left).map(|(aggregate, work)| (aggregate, work.applied)));
        }
        for (aggregate, applied) in handed {
            let all = last.get(&aggregate).and_then(|bucket| state.buckets.get_mut(bucket));
            if let Some(work) = all.and_then(|all| all.get_mut(&aggregate)) {
                work.applied = applied.max(work.applied);
            }
        }
    }

    /// Decides and relays everything, deletes all marks and gives the lease back: nobody has to adopt this instance.
    /// Nothing is committed afterwards. False if a commit is still under way, whose marks and lease stay.
    ///
    /// # Errors
    /// When the store or a sink does not answer; what is left is for an adopter.
    pub async fn leave(&self) -> Result<bool, StoreError> {
        self.left.store(true, Ordering::Release);
        self.relay().await?;
        let _renewing = self.renewing.lock().await;
        let _relaying = self.relaying.lock().await;
        let (id, all) = {
            let state = self.state.lock();
            (state.id, state.buckets.keys().copied().collect())
        };
        self.end(id, all).await?;
        let lease = {
            let mut state = self.state.lock();
            if state.id != id || !state.buckets.is_empty() {
                return Ok(false);
            }
            state.lease.take()
        };
        match lease {
            Some(lease) => self.store.set_lease(id, Some(lease), None).await,
            None => Ok(true),
        }
    }

    /// Ends buckets of which no permit is out. One that cannot be ended keeps no other waiting.
    async fn end(&self, id: InstanceId, buckets: Vec<Bucket>) -> Result<usize, StoreError> {
        let (mut deleted, mut failed) = (0, None);
        for bucket in buckets {
            let Some(all) = self.closed(id, bucket) else { continue };
            if let Err(error) = self.end_one(id, bucket, all).await {
                failed = failed.or(Some(error));
                continue;
            }
            let mut state = self.state.lock();
            if state.id != id {
                return Ok(deleted);
            }
            state.buckets.remove(&bucket);
            deleted += 1;
        }
        failed.map_or(Ok(deleted), Err)
    }

    async fn end_one(&self, id: InstanceId, bucket: Bucket, all: Aggregates) -> Result<(), StoreError> {
        for ((tenant, aggregate), work) in all {
            let mut upto = work.applied;
            if work.undecided {
                upto = self.store.raise_fence(tenant, aggregate, bucket).await?.seq;
            }
            if upto > work.relayed {
                self.publish(tenant, aggregate, upto).await?;
            }
        }
        self.store.delete_bucket(id, bucket).await
    }

    /// The aggregates of a bucket, if no permit for it is out.
    fn closed(&self, id: InstanceId, bucket: Bucket) -> Option<Aggregates> {
        let state = self.state.lock();
        let all = state.buckets.get(&bucket).filter(|_| state.id == id)?;
        all.values().all(|work| work.open == 0).then(|| all.clone())
    }

    /// Renews, relays and sweeps until `stop` ends.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let work = pin!(self.work());
        let stop = pin!(stop);
        if let Either::Left((never, _)) = select(work, stop).await {
            match never {}
        }
    }

    async fn work(&self) -> std::convert::Infallible {
        let beat = Duration::from_secs(BEAT_S);
        let mut due = tokio::time::Instant::now();
        let mut failing = false;
        loop {
            let done = match tokio::time::Instant::now() >= due {
                true => {
                    due = tokio::time::Instant::now() + beat;
                    match self.renew().await {
                        Ok(()) => self.sweep().await.map(|_| ()),
                        failed => failed,
                    }
                }
                false => self.relay().await,
            };
            match done {
                Err(error) => {
                    if !failing {
                        warn!("entries wait to be relayed: {error}");
                    }
                    failing = true;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Ok(()) => {
                    failing = false;
                    let _ = tokio::time::timeout_at(due, self.applied.notified()).await;
                }
            }
        }
    }
}

fn draw(env: &dyn Env) -> InstanceId {
    let mut id = InstanceId([0; 16]);
    env.random(&mut id.0);
    id
}
