//! Commits to several aggregates at once on a store that several processes share, where one partition is all
//! that changes atomically.
//!
//! 1. A *record* of the group is made, `pending`. Its id follows from the attempts of the commits, so that a
//!    repeat finds it.
//! 2. Each member is *prepared*: one conditional write in its partition, under the conditions of a commit,
//!    keeps the whole commit there and sets the *lock* of the aggregate to the group.
//! 3. The record becomes `committed`, if it is still `pending`. This is the commit point.
//! 4. Each member is applied from what was prepared, and its lock goes in the same write.
//!
//! Whoever meets a lock asks the record. `committed`: it applies the member. `aborted`: it takes the lock away.
//! `pending`: a reader reads on, since nothing of the group has happened yet; who wants to write or raises a fence
//! waits for a while and then makes it `aborted`, if it is still `pending`. A record that is missing becomes
//! `aborted` first, so that it cannot be made behind anybody's back. So after a crash anywhere the group applies
//! as a whole or not at all, and no safety rests on how long somebody waits.
//!
//! A reader that saw one member applied sees the others: the record was `committed` before, and it looks at the
//! lock of each aggregate before it reads it. Index rows follow, see [`RelayStore::apply_index`].
//!
//! A record ends [`RECORD_DAYS`] after its group. A record whose writer died stays.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use futures::{FutureExt, TryStreamExt};
use ids::{AggregateId, TenantId};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::passing::pass_on_steps;
use crate::relay_store::{Fence, RelayStore};
use crate::seal::SealStore;
use crate::store::{
    Bucket, Claim, Commit, Found, GroupId, Head, IndexRow, KeyHash, KeyRow, Order, Outcome, Refusal, Seq,
    Store, StoreError, check_group,
};

/// Days for which the record of a group that ended is kept. A repeat of the group that comes later is refused by
/// the positions of its members.
pub const RECORD_DAYS: u32 = 10;

/// Tries to begin a group anew after others aborted it, and to pass one lock after the other.
const ROUNDS_MAX: u32 = 16;
/// How long a writer waits for a group before it aborts it: so much, and so much more for each member.
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_OF_A_MEMBER: Duration = Duration::from_millis(10);
/// Pauses between two looks at a lock.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Members of a group that are prepared in order, which groups that want the same aggregates do not block each
/// other in; larger ones prepare many at once.
const IN_ORDER_MAX: usize = 8;
/// Members of a group that are written at the same time.
const AT_ONCE: usize = 32;

/// How far a group is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupState {
    /// Nothing of it has happened.
    Pending,
    /// All of it happens.
    Committed,
    /// Nothing of it ever happens.
    Aborted,
}

/// The record of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupRecord {
    /// How far it is.
    pub state: GroupState,
    /// How many commits it has: a larger one takes longer.
    pub members: u32,
}

/// An aggregate, read serially.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// Its head; `None` if it was never written.
    pub head: Option<Head>,
    /// The group that has locked it.
    pub lock: Option<GroupId>,
}

/// What groups need from a shared store. The rules of [`RelayStore`] hold: an error is an unknown outcome, and
/// every step may be repeated. While an aggregate is locked, [`Store::commit`] answers [`Refusal::Locked`].
pub trait GroupStore: RelayStore + SealStore {
    /// Reads head and lock of an aggregate, serially.
    fn look(&self, tenant: TenantId, aggregate: AggregateId) -> BoxFuture<'_, Result<Look, StoreError>>;

    /// Reads the record of a group, serially.
    fn group(
        &self,
        tenant: TenantId,
        group: GroupId,
    ) -> BoxFuture<'_, Result<Option<GroupRecord>, StoreError>>;

    /// Changes the state of a record, or makes it, if its state is still `expect` (`None`: there is no record).
    /// False if it is not. An aborted record may be forgotten after [`RECORD_DAYS`].
    fn set_group(
        &self,
        tenant: TenantId,
        group: GroupId,
        expect: Option<GroupState>,
        record: GroupRecord,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Notes that all members of a committed group are applied: its record may be forgotten after
    /// [`RECORD_DAYS`].
    fn end_group(&self, tenant: TenantId, group: GroupId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Keeps a commit beside its aggregate and locks it, under the same conditions as a commit. An aggregate
    /// that the group has locked already is prepared.
    fn prepare(&self, group: GroupId, commit: Commit) -> BoxFuture<'_, Outcome>;

    /// Applies what a group has prepared, and unlocks the aggregate; no effect unless the group has locked it.
    fn roll_forward(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        group: GroupId,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Drops what a group has prepared, and unlocks the aggregate; no effect unless the group has locked it.
    fn unlock(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        group: GroupId,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads to which aggregates a commit with this idempotency key went, or may still go.
    fn asked_for(
        &self,
        tenant: TenantId,
        hash: KeyHash,
    ) -> BoxFuture<'_, Result<Vec<AggregateId>, StoreError>>;
}

impl GroupId {
    /// The id of the `round`th try to commit a group: the same for the same attempts, in whichever order.
    fn of(group: &[Commit], round: u32) -> GroupId {
        let mut members: Vec<_> = group.iter().map(|one| (one.aggregate, one.head.attempt)).collect();
        members.sort_by_key(|(aggregate, _)| *aggregate);
        let mut hash = Sha256::new_with_prefix(round.to_be_bytes());
        for (aggregate, attempt) in members {
            hash.update(aggregate.as_bytes());
            hash.update(attempt.0);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        GroupId(id)
    }
}

/// How a try to commit a group ended.
enum Tried {
    Decided(Outcome),
    /// Somebody who wanted one of the aggregates aborted it.
    Aborted,
}

/// A shared store that commits groups, and moves index rows before it answers.
pub struct Grouping {
    store: Arc<dyn GroupStore>,
    patience: Duration,
    patience_of_a_member: Duration,
}

impl Grouping {
    /// Adds groups to a shared store.
    #[must_use]
    pub fn new(store: Arc<dyn GroupStore>) -> Grouping {
        Grouping { store, patience: PATIENCE, patience_of_a_member: PATIENCE_OF_A_MEMBER }
    }

    /// The same without patience: a pending group that is in the way is aborted at once.
    #[must_use]
    pub fn impatient(store: Arc<dyn GroupStore>) -> Grouping {
        Grouping { store, patience: Duration::ZERO, patience_of_a_member: Duration::ZERO }
    }

    /// Decides a group that has locked an aggregate, and takes its lock away. Waits for a pending one first.
    async fn pass(&self, tenant: TenantId, aggregate: AggregateId, group: GroupId) -> Result<(), StoreError> {
        let (since, mut pause) = (Instant::now(), PAUSE);
        loop {
            let record = self.store.group(tenant, group).await?;
            match record.map(|record| record.state) {
                Some(GroupState::Committed) => {
                    return self.store.roll_forward(tenant, aggregate, group).await;
                }
                Some(GroupState::Aborted) => return self.store.unlock(tenant, aggregate, group).await,
                Some(GroupState::Pending) => {
                    let members = record.map_or(1, |record| record.members);
                    // Two that wait for each other do not give up at the same moment.
                    let longer = self.patience * u32::from(group.0[0]) / 256;
                    let patience = self.patience + self.patience_of_a_member * members + longer;
                    if since.elapsed() < patience {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                        if self.store.look(tenant, aggregate).await?.lock != Some(group) {
                            return Ok(());
                        }
                        continue;
                    }
                    self.abort(tenant, group, Some(GroupState::Pending)).await?;
                }
                None => self.abort(tenant, group, None).await?,
            }
        }
    }

    async fn abort(
        &self,
        tenant: TenantId,
        group: GroupId,
        expect: Option<GroupState>,
    ) -> Result<(), StoreError> {
        let aborted = GroupRecord { state: GroupState::Aborted, members: 0 };
        self.store.set_group(tenant, group, expect, aborted).await?;
        Ok(())
    }

    /// Looks at an aggregate for a reader: applies what is committed; what is pending has not happened.
    async fn see(&self, tenant: TenantId, aggregate: AggregateId) -> Result<Option<Head>, StoreError> {
        for _ in 0..ROUNDS_MAX {
            let look = self.store.look(tenant, aggregate).await?;
            let Some(group) = look.lock else { return Ok(look.head) };
            let record = self.store.group(tenant, group).await?;
            match record.map(|record| record.state) {
                Some(GroupState::Committed) => self.store.roll_forward(tenant, aggregate, group).await?,
                _ => return Ok(look.head),
            }
        }
        Err(crowded())
    }

    /// Commits to one aggregate, behind the groups that have locked it.
    async fn commit_one(&self, commit: Commit) -> Outcome {
        let (tenant, aggregate, has_index) = (commit.tenant, commit.aggregate, !commit.index.is_empty());
        for _ in 0..ROUNDS_MAX {
            match self.store.commit(vec![commit.clone()]).await {
                Outcome::Refused(Refusal::Locked { group, .. }) => {
                    if let Err(error) = self.pass(tenant, aggregate, group).await {
                        return Outcome::Unknown(error);
                    }
                }
                Outcome::Applied => {
                    if has_index {
                        // If it fails, whoever relays the commit does it.
                        let _ = self.store.apply_index(tenant, aggregate).await;
                    }
                    return Outcome::Applied;
                }
                decided => return decided,
            }
        }
        Outcome::Unknown(crowded())
    }

    async fn commit_group(&self, group: Vec<Commit>) -> Outcome {
        let mut order: Vec<usize> = (0..group.len()).collect();
        order.sort_by_key(|at| group[*at].aggregate);
        for round in 0..ROUNDS_MAX {
            match self.attempt(GroupId::of(&group, round), &group, &order).await {
                Ok(Tried::Decided(outcome)) => return outcome,
                Ok(Tried::Aborted) => tokio::time::sleep(PAUSE * round).await,
                Err(error) => return Outcome::Unknown(error),
            }
        }
        Outcome::Unknown(crowded())
    }

    async fn attempt(&self, id: GroupId, group: &[Commit], order: &[usize]) -> Result<Tried, StoreError> {
        let (tenant, members) = (group[0].tenant, u32::try_from(group.len()).unwrap_or(u32::MAX));
        match self.begin(tenant, id, members).await? {
            GroupState::Pending => {}
            GroupState::Committed => return self.finish(tenant, id, group).await,
            GroupState::Aborted => return Ok(Tried::Aborted),
        }
        if let Some(refusal) = self.prepare_all(id, group, order).await? {
            self.abort(tenant, id, Some(GroupState::Pending)).await?;
            return match self.begin(tenant, id, members).await? {
                GroupState::Committed => self.finish(tenant, id, group).await,
                _ => {
                    self.unlock_all(id, group).await;
                    Ok(Tried::Decided(Outcome::Refused(refusal)))
                }
            };
        }
        let committed = GroupRecord { state: GroupState::Committed, members };
        let done = self.store.set_group(tenant, id, Some(GroupState::Pending), committed).await?;
        if done || self.begin(tenant, id, members).await? == GroupState::Committed {
            return self.finish(tenant, id, group).await;
        }
        self.unlock_all(id, group).await;
        Ok(Tried::Aborted)
    }

    /// The state of a record, which is made if it is missing.
    async fn begin(&self, tenant: TenantId, id: GroupId, members: u32) -> Result<GroupState, StoreError> {
        for _ in 0..ROUNDS_MAX {
            if let Some(record) = self.store.group(tenant, id).await? {
                return Ok(record.state);
            }
            let pending = GroupRecord { state: GroupState::Pending, members };
            if self.store.set_group(tenant, id, None, pending).await? {
                return Ok(GroupState::Pending);
            }
        }
        Err(crowded())
    }

    async fn prepare_all(
        &self,
        id: GroupId,
        group: &[Commit],
        order: &[usize],
    ) -> Result<Option<Refusal>, StoreError> {
        let at_once = if order.len() <= IN_ORDER_MAX { 1 } else { AT_ONCE };
        // The first one alone: of groups that begin with the same aggregate, one goes on.
        let (first, rest) = order.split_first().expect("a group has members");
        if let Some(refusal) = self.prepare_one(id, *first, &group[*first]).await? {
            return Ok(Some(refusal));
        }
        let rest: Vec<_> = rest.iter().map(|at| self.prepare_one(id, *at, &group[*at])).collect();
        let mut prepared = stream::iter(rest).buffer_unordered(at_once);
        while let Some(refusal) = prepared.try_next().await? {
            if refusal.is_some() {
                return Ok(refusal);
            }
        }
        Ok(None)
    }

    async fn prepare_one(
        &self,
        id: GroupId,
        at: usize,
        commit: &Commit,
    ) -> Result<Option<Refusal>, StoreError> {
        for _ in 0..ROUNDS_MAX {
            match self.store.prepare(id, commit.clone()).await {
                Outcome::Applied => return Ok(None),
                Outcome::Unknown(error) => return Err(error),
                Outcome::Refused(Refusal::Locked { group, .. }) => {
                    self.pass(commit.tenant, commit.aggregate, group).await?;
                }
                Outcome::Refused(refusal) => return Ok(Some(refusal.at(at))),
            }
        }
        Err(crowded())
    }

    /// Applies all members of a committed group.
    async fn finish(&self, tenant: TenantId, id: GroupId, group: &[Commit]) -> Result<Tried, StoreError> {
        let apply = |commit: &Commit| {
            let (aggregate, has_index) = (commit.aggregate, !commit.index.is_empty());
            async move {
                self.store.roll_forward(tenant, aggregate, id).await?;
                if has_index {
                    let _ = self.store.apply_index(tenant, aggregate).await;
                }
                Ok(())
            }
        };
        let applied: Vec<_> = group.iter().map(apply).collect();
        stream::iter(applied).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        // Without it the record stays.
        let _ = self.store.end_group(tenant, id).await;
        Ok(Tried::Decided(Outcome::Applied))
    }

    /// Unlocks the members of an aborted group; what fails here is done by whoever meets the lock.
    async fn unlock_all(&self, id: GroupId, group: &[Commit]) {
        let unlocked: Vec<_> =
            group.iter().map(|commit| self.store.unlock(commit.tenant, commit.aggregate, id)).collect();
        stream::iter(unlocked).buffer_unordered(AT_ONCE).for_each(|_| async {}).await;
    }
}

fn crowded() -> StoreError {
    StoreError::Unavailable("too many write to the same aggregates".into())
}

impl Refusal {
    /// The refusal of a single commit as that of the member `at` of a group.
    pub(crate) fn at(mut self, number: usize) -> Refusal {
        match &mut self {
            Refusal::Moved { at, .. }
            | Refusal::Claimed { at, .. }
            | Refusal::Fenced { at, .. }
            | Refusal::Locked { at, .. }
            | Refusal::Invalid { at, .. } => *at = number,
        }
        self
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Store for Grouping {
    fn commit(&self, mut group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        async move {
            if let Err(refusal) = check_group(&group) {
                return Outcome::Refused(refusal);
            }
            match group.len() {
                0 => Outcome::Applied,
                1 => self.commit_one(group.remove(0)).await,
                _ => self.commit_group(group).await,
            }
        }
        .boxed()
    }

    fn head(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, Option<Head>> {
        self.see(tenant, aggregate).boxed()
    }

    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> Answer<'_, Vec<Option<Bytes>>> {
        async move {
            self.see(tenant, aggregate).await?;
            self.store.rows(tenant, aggregate, keys).await
        }
        .boxed()
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> Answer<'_, Vec<(Bytes, Bytes)>> {
        async move {
            self.see(tenant, aggregate).await?;
            self.store.scan_rows(tenant, aggregate, prefix, limit).await
        }
        .boxed()
    }

    fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> Answer<'_, Vec<(Seq, Bytes)>> {
        async move {
            self.see(tenant, aggregate).await?;
            self.store.entries(tenant, aggregate, from, to, order, limit).await
        }
        .boxed()
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> Answer<'_, Option<KeyRow>> {
        async move {
            for aggregate in self.store.asked_for(tenant, hash).await? {
                self.see(tenant, aggregate).await?;
            }
            self.store.key(tenant, hash).await
        }
        .boxed()
    }

    fn claim(&self, tenant: TenantId, claim: Claim) -> Answer<'_, Option<AggregateId>> {
        async move {
            if let Some(row) = self.store.claim_row(tenant, claim.clone()).await? {
                for aggregate in [Some(row.owner), row.before].into_iter().flatten() {
                    self.see(tenant, aggregate).await?;
                }
            }
            self.store.claim(tenant, claim).await
        }
        .boxed()
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> Answer<'_, Vec<IndexRow>> {
        self.store.index(tenant, index, prefix, after, limit)
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> Answer<'_, Option<Bytes>> {
        self.store.index_row(tenant, index, key, aggregate)
    }

    fn aggregates(&self, after: Option<(TenantId, AggregateId)>, limit: usize) -> Answer<'_, Vec<Found>> {
        self.store.aggregates(after, limit)
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> Answer<'_, usize> {
        self.store.forget_keys(now_s, limit)
    }
}

impl RelayStore for Grouping {
    /// A group that was prepared before the fence is decided here: it may not apply afterwards.
    fn raise_fence(&self, tenant: TenantId, aggregate: AggregateId, bucket: Bucket) -> Answer<'_, Fence> {
        async move {
            for _ in 0..ROUNDS_MAX {
                let fence = self.store.raise_fence(tenant, aggregate, bucket).await?;
                let look = self.store.look(tenant, aggregate).await?;
                let Some(group) = look.lock else {
                    return Ok(Fence { seq: look.head.map_or(0, |head| head.seq), ..fence });
                };
                self.pass(tenant, aggregate, group).await?;
            }
            Err(crowded())
        }
        .boxed()
    }

    fn lists_claim(&self, tenant: TenantId, aggregate: AggregateId, claim: Claim) -> Answer<'_, bool> {
        async move {
            self.see(tenant, aggregate).await?;
            self.store.lists_claim(tenant, aggregate, claim).await
        }
        .boxed()
    }

    fn apply_index(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, ()> {
        async move {
            self.see(tenant, aggregate).await?;
            self.store.apply_index(tenant, aggregate).await
        }
        .boxed()
    }

    pass_on_steps!(relay);
}

impl SealStore for Grouping {
    pass_on_steps!(seal);
}
