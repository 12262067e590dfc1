//! The stores, and the bad weather between them and the processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::memory::MemoryStore;
use journal::store::{
    Claim, Commit, Found, Head, IndexRow, KeyHash, KeyRow, Order, Outcome, Refusal, Seq, Store, StoreError,
};

use crate::dice::Dice;
use crate::life::Life;

pub(crate) const TENANT: usize = 0;
pub(crate) const CATALOG: usize = 1;
pub(crate) const STOCK: usize = 2;
pub(crate) const AUDIT: usize = 3;

/// How often something goes wrong, in a thousand.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Weather {
    /// A read fails.
    pub(crate) read_fails: u64,
    /// A step takes seconds.
    pub(crate) slow: u64,
    /// A commit is lost on its way.
    pub(crate) commit_lost: u64,
    /// A commit is applied, and its answer is lost.
    pub(crate) answer_lost: u64,
    /// Nobody knows what became of a commit, and it is applied much later, if it still can be.
    pub(crate) commit_late: u64,
    /// A commit arrives twice, the second time much later.
    pub(crate) commit_twice: u64,
    /// Nothing can be written: the disk is full.
    pub(crate) full: bool,
    /// Nothing can be read or written.
    pub(crate) away: bool,
}

impl Weather {
    pub(crate) fn of(dice: &Dice) -> Weather {
        let scale = *dice.pick(&[0, 1, 1, 4, 12]);
        Weather {
            read_fails: dice.below(8) * scale,
            slow: dice.below(6) * scale,
            commit_lost: dice.below(15) * scale,
            answer_lost: dice.below(20) * scale,
            commit_late: dice.below(15) * scale,
            commit_twice: dice.below(20) * scale,
            full: false,
            away: false,
        }
    }
}

/// What went wrong so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Faults {
    pub(crate) commits: u64,
    pub(crate) reads_failed: u64,
    pub(crate) steps_slow: u64,
    pub(crate) commits_lost: u64,
    pub(crate) answers_lost: u64,
    pub(crate) commits_late: u64,
    /// Of those, the ones that were applied.
    pub(crate) applied_late: u64,
    pub(crate) commits_twice: u64,
}

impl Faults {
    pub(crate) fn sum(&self) -> u64 {
        self.reads_failed
            + self.steps_slow
            + self.commits_lost
            + self.answers_lost
            + self.commits_late
            + self.commits_twice
    }
}

/// An aggregate that has new entries: which store, whose.
pub(crate) type Changed = (usize, TenantId, AggregateId);

pub(crate) struct Net {
    pub(crate) stores: [Arc<MemoryStore>; 4],
    /// Whether processes follow the journals beside requests: in some worlds, because it costs as much as all else.
    pub(crate) followed: bool,
    dice: Arc<Dice>,
    weather: Mutex<Weather>,
    faults: Mutex<Faults>,
    changed: Mutex<Vec<Changed>>,
    /// Attempts that are not heard until then, however often they are repeated.
    unheard: Mutex<HashMap<[u8; 16], tokio::time::Instant>>,
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Net {
    pub(crate) fn new(dice: Arc<Dice>) -> Net {
        Net {
            stores: std::array::from_fn(|_| Arc::new(MemoryStore::default())),
            followed: dice.permille(250),
            dice,
            weather: Mutex::default(),
            faults: Mutex::default(),
            changed: Mutex::default(),
            unheard: Mutex::default(),
        }
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        *held(&self.weather) = weather;
    }

    pub(crate) fn faults(&self) -> Faults {
        *held(&self.faults)
    }

    /// The aggregates that were written since this was asked last.
    pub(crate) fn take_changed(&self) -> Vec<Changed> {
        std::mem::take(&mut *held(&self.changed))
    }

    fn count(&self, add: impl FnOnce(&mut Faults)) {
        add(&mut held(&self.faults));
    }

    async fn apply(&self, which: usize, group: Vec<Commit>) -> Outcome {
        let aggregates: Vec<_> = group.iter().map(|commit| (commit.tenant, commit.aggregate)).collect();
        let outcome = self.stores[which].commit(group).await;
        if outcome == Outcome::Applied {
            let changed = aggregates.into_iter().map(|(tenant, aggregate)| (which, tenant, aggregate));
            held(&self.changed).extend(changed);
        }
        outcome
    }

    /// A way through the network; mostly short.
    async fn travel(&self, slow: u64) {
        if self.dice.permille(slow) {
            self.count(|faults| faults.steps_slow += 1);
            let longest = *self.dice.pick(&[300, 3_000, 40_000]);
            tokio::time::sleep(self.dice.millis(20, longest)).await;
        } else if self.dice.permille(300) {
            tokio::time::sleep(self.dice.millis(1, 8)).await;
        }
    }

    async fn read<T>(
        &self,
        life: &Life,
        read: BoxFuture<'_, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        life.step().await;
        let weather = *held(&self.weather);
        if weather.away || self.dice.permille(weather.read_fails) {
            self.count(|faults| faults.reads_failed += 1);
            self.travel(weather.slow).await;
            life.step().await;
            return Err(away());
        }
        // What was read may be old when it arrives.
        let found = read.await;
        self.travel(weather.slow).await;
        life.step().await;
        found
    }

    async fn commit(self: &Arc<Self>, which: usize, life: &Life, group: Vec<Commit>) -> Outcome {
        life.step().await;
        self.count(|faults| faults.commits += 1);
        let weather = *held(&self.weather);
        self.travel(weather.slow).await;
        life.step().await;
        let lost = Outcome::Unknown(away());
        let attempt = group.first().map(|commit| commit.head.attempt.0).unwrap_or_default();
        let unheard =
            held(&self.unheard).get(&attempt).is_some_and(|until| tokio::time::Instant::now() < *until);
        let outcome = if weather.away || weather.full || unheard || self.dice.permille(weather.commit_lost) {
            self.count(|faults| faults.commits_lost += 1);
            lost
        } else if self.dice.permille(weather.commit_late) {
            self.count(|faults| faults.commits_late += 1);
            if self.dice.permille(600) {
                self.silence(attempt);
            }
            self.apply_later(which, group);
            lost
        } else if self.dice.permille(weather.answer_lost) {
            self.count(|faults| faults.answers_lost += 1);
            if self.dice.permille(300) {
                self.silence(attempt);
            }
            self.apply(which, group).await;
            lost
        } else {
            let again = self.dice.permille(weather.commit_twice).then(|| group.clone());
            let outcome = self.apply(which, group).await;
            // A store that answers a refusal says that the commit never happens. A copy finds the aggregate where it
            // was refused or further on, but a claim may be free again.
            if let Some(group) = again
                && !matches!(outcome, Outcome::Refused(Refusal::Claimed { .. }))
            {
                self.count(|faults| faults.commits_twice += 1);
                self.apply_later(which, group);
            }
            outcome
        };
        self.travel(weather.slow).await;
        life.step().await;
        outcome
    }

    /// However often this attempt is repeated, it is not heard for a while.
    fn silence(&self, attempt: [u8; 16]) {
        let until = tokio::time::Instant::now() + self.dice.millis(10, 90_000);
        held(&self.unheard).insert(attempt, until);
    }

    /// Applies a commit later, whether its writer lives or not.
    fn apply_later(self: &Arc<Self>, which: usize, group: Vec<Commit>) {
        let (net, delay) = (Arc::clone(self), Duration::from_millis(self.dice.between(5, 90_000)));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if net.apply(which, group).await == Outcome::Applied {
                net.count(|faults| faults.applied_late += 1);
            }
        });
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("the line is dead".into())
}

/// What one process sees of one store.
pub(crate) struct Port {
    pub(crate) net: Arc<Net>,
    pub(crate) life: Arc<Life>,
    pub(crate) which: usize,
}

impl Port {
    fn store(&self) -> &MemoryStore {
        &self.net.stores[self.which]
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        read: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.net.read(&self.life, read).boxed()
    }
}

impl Store for Port {
    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        self.net.commit(self.which, &self.life, group).boxed()
    }

    fn head(&self, tenant: TenantId, id: AggregateId) -> BoxFuture<'_, Result<Option<Head>, StoreError>> {
        self.read(self.store().head(tenant, id))
    }

    fn rows(
        &self,
        tenant: TenantId,
        id: AggregateId,
        keys: Vec<Bytes>,
    ) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, StoreError>> {
        self.read(self.store().rows(tenant, id, keys))
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        id: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        self.read(self.store().scan_rows(tenant, id, prefix, limit))
    }

    fn entries(
        &self,
        tenant: TenantId,
        id: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Seq, Bytes)>, StoreError>> {
        self.read(self.store().entries(tenant, id, from, to, order, limit))
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        self.read(self.store().key(tenant, hash))
    }

    fn claim(
        &self,
        tenant: TenantId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Option<AggregateId>, StoreError>> {
        self.read(self.store().claim(tenant, claim))
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreError>> {
        self.read(self.store().index(tenant, index, prefix, after, limit))
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        id: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.read(self.store().index_row(tenant, index, key, id))
    }

    fn aggregates(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.read(self.store().aggregates(after, limit))
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.read(self.store().forget_keys(now_s, limit))
    }
}
