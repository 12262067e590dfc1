//! Marks, fences, adoption: INV-7 on a shared store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use calendar::Instant;
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::memory::MemoryStore;
use journal::relay::{Adopter, BUCKET_S, Owner, Publish, SILENT_S};
use journal::relay_store::{InstanceId, RelayStore, Sink};
use journal::store::{AttemptId, Chain, Commit, Head, NO_BUCKET, Outcome, Refusal, Seq, Store, StoreError};
use journal::{Env, Journal};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::explore::{Bounds, World, explore, finds_fault};
use super::gated::{Broken, Gated};

pub(super) const TENANT: TenantId = TenantId::from_bytes([1; 16]);

pub(super) fn aggregate(number: u8) -> AggregateId {
    AggregateId::from_bytes([number; 16])
}

/// A clock that stands still until it is moved, and ids that differ.
#[derive(Default)]
pub(super) struct Still {
    pub(super) seconds: AtomicU64,
    pub(super) drawn: AtomicU8,
}

impl Still {
    /// For the process `number`, in bucket 100.
    pub(super) fn of(number: u8) -> Arc<Still> {
        Arc::new(Still {
            seconds: AtomicU64::new(100 * BUCKET_S),
            drawn: AtomicU8::new(number.wrapping_mul(50)),
        })
    }
}

impl Env for Still {
    fn now(&self) -> Instant {
        Instant::from_unix_micros(self.seconds.load(Ordering::Relaxed).cast_signed() * 1_000_000)
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(self.drawn.fetch_add(1, Ordering::Relaxed) + 1);
    }
}

/// A topic that remembers what was published.
#[derive(Default)]
struct Topic {
    heard: Mutex<BTreeMap<AggregateId, BTreeMap<Seq, Bytes>>>,
}

impl Publish for Topic {
    fn sink(&self) -> Sink {
        1
    }

    fn publish(
        &self,
        _: TenantId,
        aggregate: AggregateId,
        entries: Vec<(Seq, Bytes)>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            assert!(entries.is_sorted_by(|one, two| one.0 + 1 == two.0), "{entries:?}");
            for (seq, entry) in entries {
                let known = self.heard.lock().entry(aggregate).or_default().insert(seq, entry.clone());
                assert!(known.is_none_or(|known| known == entry), "two entries at {seq}");
            }
            Ok(())
        }
        .boxed()
    }
}

/// A topic behind the explorer: publishing is a step too.
struct GatedTopic {
    topic: Arc<Topic>,
    world: Arc<World>,
    process: usize,
}

impl Publish for GatedTopic {
    fn sink(&self) -> Sink {
        1
    }

    fn publish(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        entries: Vec<(Seq, Bytes)>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            match self.world.step(self.process, false).await {
                super::explore::Verdict::Go => self.topic.publish(tenant, aggregate, entries).await,
                _ => Err(StoreError::Unavailable("the bus is away".into())),
            }
        }
        .boxed()
    }
}

/// A commit of one entry that names its writer.
pub(super) fn commit(to: u8, expect: Seq, writer: u8) -> Commit {
    Commit {
        tenant: TENANT,
        aggregate: aggregate(to),
        expect,
        bucket: NO_BUCKET,
        head: Head {
            seq: expect + 1,
            attempt: AttemptId([writer; 16]),
            chain: Chain::default(),
            format: 1,
            header: Bytes::new(),
        },
        entries: vec![Bytes::copy_from_slice(&[writer, expect.to_be_bytes()[7]])],
        rows: vec![],
        keys: vec![],
        claims: vec![],
        index: vec![],
    }
}

/// Appends one entry through the owner, as often as it is refused; gives up at the first unknown outcome.
async fn append(owner: &Arc<Owner>, store: &Gated, to: u8, writer: u8) -> bool {
    for _ in 0..6 {
        let Ok(head) = store.head(TENANT, aggregate(to)).await else { return false };
        let seq = head.map_or(0, |head| head.seq);
        let Ok(permit) = owner.enter(TENANT, aggregate(to)).await else { return false };
        let mut commit = commit(to, seq, writer);
        commit.bucket = permit.bucket();
        let outcome = store.commit(vec![commit]).await;
        permit.settle(&outcome, seq + 1);
        match outcome {
            Outcome::Applied => return true,
            Outcome::Refused(Refusal::Moved { .. } | Refusal::Fenced { .. }) => {}
            _ => return false,
        }
    }
    false
}

struct Scene {
    store: Arc<MemoryStore>,
    topic: Arc<Topic>,
    acknowledged: Arc<Mutex<Vec<u8>>>,
}

/// Two writers on two aggregates, and an adopter that takes the first writer for dead at any moment.
fn begin(world: &Arc<World>, broken: Broken) -> (Scene, Vec<JoinHandle<()>>) {
    let store = Arc::new(MemoryStore::cluster());
    let topic = Arc::new(Topic::default());
    let scene = Scene { store: Arc::clone(&store), topic, acknowledged: Arc::default() };
    let see = |process| Gated { store: Arc::clone(&store), world: Arc::clone(world), process, broken };
    let sinks = |process| -> Vec<Arc<dyn Publish>> {
        let topic = Arc::clone(&scene.topic);
        vec![Arc::new(GatedTopic { topic, world: Arc::clone(world), process })]
    };
    let mut tasks = Vec::new();
    for process in 0..2_usize {
        let (store, sinks) = (see(process), sinks(process));
        let acknowledged = Arc::clone(&scene.acknowledged);
        let number = if process == 0 { 1 } else { 2 };
        tasks.push(tokio::spawn(async move {
            let env = Still::of(number);
            let owner = Owner::new(Arc::new(store.clone()), Arc::clone(&env) as _, sinks);
            let writes = if process == 0 { vec![1, 2] } else { vec![1] };
            for to in writes {
                if append(&owner, &store, to, number).await {
                    acknowledged.lock().push(to);
                }
            }
            env.seconds.fetch_add(BUCKET_S, Ordering::Relaxed);
            let _ = owner.sweep().await;
        }));
    }
    let (store, sinks) = (see(2), sinks(2));
    tasks.push(tokio::spawn(async move {
        let first = InstanceId([51; 16]);
        let adopter = Adopter::new(Arc::new(store.clone()), sinks, InstanceId([250; 16]));
        for _ in 0..2 {
            if let Ok(Some(lease)) = store.lease(first).await {
                let _ = adopter.adopt(first, lease).await;
            }
        }
    }));
    (scene, tasks)
}

/// Everybody is dead; one adopter takes over whatever has a lease. Then every entry was published, and
/// nothing else.
async fn end(scene: Scene) {
    let sinks: Vec<Arc<dyn Publish>> = vec![Arc::clone(&scene.topic) as _];
    let last = Adopter::new(Arc::clone(&scene.store) as _, sinks, InstanceId([251; 16]));
    for (instance, lease) in scene.store.leases(None, 99).await.expect("leases") {
        assert!(last.adopt(instance, lease).await.expect("adopt"));
    }
    let heard = scene.topic.heard.lock().clone();
    let mut written = BTreeMap::new();
    for (tenant, aggregate, head) in scene.store.aggregates(None, 99).await.expect("heads") {
        let order = journal::Order::Ascending;
        let entries = scene.store.entries(tenant, aggregate, 1, Seq::MAX, order, 99).await;
        let entries: BTreeMap<_, _> = entries.expect("entries").into_iter().collect();
        assert_eq!(entries.len() as u64, head.seq);
        written.insert(aggregate, entries);
    }
    assert_eq!(heard, written, "what was heard is not what was written");
    for to in scene.acknowledged.lock().iter() {
        assert!(written.contains_key(&aggregate(*to)), "an acknowledged entry is lost");
    }
}

/// INV-7: whoever dies and whoever is only paused, every entry is published, and only entries are.
#[test]
fn every_entry_is_relayed_whoever_dies_or_pauses() {
    let explore = |bounds| explore(bounds, async |world| begin(world, Broken::Nothing), end);
    assert!(explore(Bounds { switches: 2, crashes: 0, faults: 0 }) > 1000);
    assert!(explore(Bounds { switches: 1, crashes: 1, faults: 0 }) > 1000);
    assert!(explore(Bounds { switches: 0, crashes: 0, faults: 1 }) > 500);
}

/// The proof that the exploration would notice: each part of the protocol that is left out loses an entry.
#[test]
fn a_relay_without_marks_fences_or_closing_loses_entries() {
    let bounds = Bounds { switches: 1, crashes: 1, faults: 0 };
    for broken in [Broken::Marks, Broken::Fences, Broken::Closing] {
        assert!(finds_fault(|| explore(bounds, async |world| begin(world, broken), end)), "{broken:?}");
    }
}

struct Alone {
    store: Arc<MemoryStore>,
    topic: Arc<Topic>,
    env: Arc<Still>,
    owner: Arc<Owner>,
}

fn alone() -> Alone {
    let (store, topic, env) = (Arc::new(MemoryStore::cluster()), Arc::new(Topic::default()), Still::of(1));
    let sinks: Vec<Arc<dyn Publish>> = vec![Arc::clone(&topic) as _];
    let owner = Owner::new(Arc::clone(&store) as _, Arc::clone(&env) as _, sinks);
    Alone { store, topic, env, owner }
}

impl Alone {
    fn journal(&self) -> Journal<crate::Sum> {
        Journal::shared(Arc::clone(&self.store) as _, Arc::clone(&self.env) as _, Arc::clone(&self.owner))
    }

    fn heard(&self, of: u8) -> usize {
        self.topic.heard.lock().get(&aggregate(of)).map_or(0, BTreeMap::len)
    }

    async fn marks(&self, bucket: u64) -> usize {
        self.store.marks(self.owner.id(), bucket, None, 99).await.expect("marks").len()
    }

    fn adopter(&self) -> Adopter {
        Adopter::new(Arc::clone(&self.store) as _, vec![Arc::clone(&self.topic) as _], InstanceId([9; 16]))
    }
}

/// Commands of a journal on a shared store are marked before and relayed after; marks of past buckets go.
#[tokio::test]
async fn a_journal_on_a_shared_store_marks_and_relays() {
    let alone = alone();
    let journal = alone.journal();
    for key in 1..=3 {
        let scope = crate::scope(key % 2 + 1);
        journal.submit(scope, crate::request(key, crate::Change::Add(5))).await.expect("applied");
    }
    assert_eq!(alone.marks(100).await, 2, "two aggregates in this bucket");
    alone.owner.relay().await.expect("relays");
    assert_eq!((alone.heard(1), alone.heard(2)), (1, 2));
    assert_eq!(alone.owner.sweep().await, Ok(0), "the bucket is not over");
    alone.env.seconds.fetch_add(BUCKET_S, Ordering::Relaxed);
    journal.submit(crate::scope(1), crate::request(4, crate::Change::Add(5))).await.expect("applied");
    assert_eq!(alone.owner.sweep().await, Ok(1));
    assert_eq!((alone.marks(100).await, alone.marks(101).await), (0, 1));
    assert_eq!(alone.heard(1), 2);
}

/// A clock that is set back does not lead into a bucket whose marks are deleted.
#[tokio::test]
async fn a_swept_bucket_is_never_entered_again() {
    let alone = alone();
    let permit = alone.owner.enter(TENANT, aggregate(1)).await.expect("enters");
    assert_eq!(permit.bucket(), 100);
    permit.settle(&Outcome::Refused(Refusal::Moved { at: 0, current: 0 }), 1);
    alone.env.seconds.fetch_add(BUCKET_S, Ordering::Relaxed);
    assert_eq!(alone.owner.sweep().await, Ok(1));
    alone.env.seconds.fetch_sub(BUCKET_S, Ordering::Relaxed);
    assert_eq!(alone.owner.enter(TENANT, aggregate(1)).await.expect("enters").bucket(), 101);
}

/// An attempt that was given up is decided by fencing it, before its bucket is deleted.
#[tokio::test]
async fn an_undecided_attempt_is_fenced_before_its_bucket_is_deleted() {
    let alone = alone();
    let permit = alone.owner.enter(TENANT, aggregate(1)).await.expect("enters");
    let mut late = commit(1, 0, 1);
    late.bucket = permit.bucket();
    permit.settle(&Outcome::Unknown(StoreError::Unavailable("who knows".into())), 1);
    alone.env.seconds.fetch_add(BUCKET_S, Ordering::Relaxed);
    assert_eq!(alone.owner.sweep().await, Ok(1));
    let refused = alone.store.commit(vec![late]).await;
    assert_eq!(refused, Outcome::Refused(Refusal::Fenced { at: 0, fence: 100 }));
    assert_eq!(alone.marks(100).await, 0);
}

/// A process that ends in good order leaves nothing for an adopter, and commits nothing any more.
#[tokio::test]
async fn who_leaves_gives_marks_and_lease_back() {
    let alone = alone();
    let journal = alone.journal();
    for key in 1..=2 {
        journal.submit(crate::scope(key), crate::request(key, crate::Change::Add(5))).await.expect("applied");
    }
    let undecided = alone.owner.enter(TENANT, aggregate(3)).await.expect("enters");
    assert_eq!(alone.owner.leave().await, Ok(false), "a commit is under way");
    assert_eq!((alone.heard(1), alone.heard(2)), (1, 1), "what is committed is relayed all the same");
    assert_eq!(alone.store.leases(None, 9).await.expect("leases").len(), 1);
    let mut late = commit(3, 0, 1);
    late.bucket = undecided.bucket();
    undecided.settle(&Outcome::Unknown(StoreError::Unavailable("who knows".into())), 1);
    assert_eq!(alone.owner.leave().await, Ok(true));
    assert_eq!(alone.store.leases(None, 9).await.expect("leases"), vec![]);
    assert_eq!(alone.marks(100).await, 0);
    let refused = alone.store.commit(vec![late]).await;
    assert_eq!(refused, Outcome::Refused(Refusal::Fenced { at: 0, fence: 100 }));
    assert!(alone.owner.enter(TENANT, aggregate(1)).await.is_err(), "nothing is committed afterwards");
    assert_eq!(alone.owner.leave().await, Ok(true), "once more does no harm");
}

/// A sink that is away.
struct Away;

impl Publish for Away {
    fn sink(&self) -> Sink {
        1
    }

    fn publish(
        &self,
        _: TenantId,
        _: AggregateId,
        _: Vec<(Seq, Bytes)>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        async { Err(StoreError::Unavailable("the bus is away".into())) }.boxed()
    }
}

/// While a sink is away for long, an aggregate is kept once and not once for each bucket, and whoever adopts finds it.
#[tokio::test]
async fn a_sink_that_is_away_piles_nothing_up() {
    let mut alone = alone();
    let away: Vec<Arc<dyn Publish>> = vec![Arc::new(Away)];
    alone.owner = Owner::new(Arc::clone(&alone.store) as _, Arc::clone(&alone.env) as _, away);
    let journal = alone.journal();
    journal.submit(crate::scope(2), crate::request(99, crate::Change::Add(5))).await.expect("applied");
    for key in 1..=20 {
        journal.submit(crate::scope(1), crate::request(key, crate::Change::Add(5))).await.expect("applied");
        alone.env.seconds.fetch_add(BUCKET_S, Ordering::Relaxed);
        assert!(alone.owner.sweep().await.is_err(), "nothing is relayed");
    }
    let mut marks = Vec::new();
    for bucket in 100..=120 {
        marks.push(alone.marks(bucket).await);
    }
    // The first bucket has the aggregate that was written in no other one, and its own mark of the other until then.
    assert_eq!(marks.iter().filter(|count| **count > 0).count(), 2, "{marks:?}");
    let (id, lease) = alone.store.leases(None, 9).await.expect("leases").remove(0);
    assert_eq!(alone.adopter().adopt(id, lease).await, Ok(true));
    assert_eq!((alone.heard(1), alone.heard(2)), (20, 1));
}

/// A commit that is still under way keeps its bucket.
#[tokio::test]
async fn a_bucket_with_a_commit_under_way_is_kept() {
    let alone = alone();
    let permit = alone.owner.enter(TENANT, aggregate(1)).await.expect("enters");
    alone.env.seconds.fetch_add(BUCKET_S, Ordering::Relaxed);
    assert_eq!(alone.owner.sweep().await, Ok(0));
    assert_eq!(alone.marks(100).await, 1);
    drop(permit);
    assert_eq!(alone.owner.sweep().await, Ok(1));
}

/// Silence is measured by the adopter's own clock, from when it saw the lease last change.
#[tokio::test(start_paused = true)]
async fn an_instance_is_adopted_after_its_silence_only() {
    use std::time::Duration;

    let alone = alone();
    alone.journal().submit(crate::scope(1), crate::request(1, crate::Change::Add(5))).await.expect("applied");
    let (first, mut adopter) = (alone.owner.id(), alone.adopter());
    for _ in 0..3 {
        assert_eq!(adopter.round().await, Ok(vec![]));
        tokio::time::advance(Duration::from_secs(SILENT_S - 1)).await;
        alone.owner.renew().await.expect("renews");
    }
    assert_eq!(adopter.round().await, Ok(vec![]));
    tokio::time::advance(Duration::from_secs(SILENT_S)).await;
    assert_eq!(alone.heard(1), 0);
    assert_eq!(adopter.round().await, Ok(vec![first]));
    assert_eq!((alone.heard(1), alone.store.lease(first).await), (1, Ok(None)));

    // It was only paused: it goes on as another instance, and its entries are relayed.
    alone.journal().submit(crate::scope(1), crate::request(2, crate::Change::Add(5))).await.expect("applied");
    assert_ne!(alone.owner.id(), first);
    alone.owner.relay().await.expect("relays");
    assert_eq!(alone.heard(1), 2);
}

/// A process that works by itself relays at once, and stops when it is told to.
#[tokio::test(start_paused = true)]
async fn a_running_owner_relays_what_is_committed() {
    let alone = alone();
    let owner = Arc::clone(&alone.owner);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let stop = async {
            let _ = stopped.await;
        };
        owner.run(stop).await;
    });
    for key in 1..=3 {
        let request = crate::request(key, crate::Change::Add(1));
        alone.journal().submit(crate::scope(1), request).await.expect("applied");
        while alone.heard(1) < usize::from(key) {
            tokio::task::yield_now().await;
        }
    }
    drop(stop);
    running.await.expect("it stops");
}
