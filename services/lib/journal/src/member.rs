//! A process as a member of those that share a store: what its services see is a [`Store`] like any other, with
//! groups, claims and sealed entries, and beside it runs what the others rely on.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use ids::{AggregateId, TenantId};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::claims::Claiming;
use crate::env::Env;
use crate::group::{GroupStore, Grouping};
use crate::passing::{pass_on_reads, pass_on_steps};
use crate::relay::{Adopter, Owner, Publish};
use crate::relay_store::{Fence, RelayStore};
use crate::seal::{Sealing, Sizes};
use crate::store::{Bucket, Claim, Commit, Order, Outcome, Seq, Store, StoreError};

/// Pause between two looks at the leases of others.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long the end may take; what is left then, others take over.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Aggregates whose old entries are sealed at the same time; others are sealed when they grow on.
const SEALING_MAX: usize = 2;

/// This process, towards those that it shares a store with.
pub struct Member {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    sinks: Vec<Arc<dyn Publish>>,
}

/// The store with all of its decorators.
struct Shared {
    /// Groups as one; without claims.
    store: Arc<Grouping>,
    claiming: Claiming,
    sealing: Arc<Sealing>,
    sizes: Sizes,
    places: Arc<Semaphore>,
}

impl Member {
    /// Joins those that share `store`, and relays what it commits to `sinks`. [`Member::run`] is to be run.
    #[must_use]
    pub fn join(
        store: Arc<dyn GroupStore>,
        env: Arc<dyn Env>,
        sinks: Vec<Arc<dyn Publish>>,
        sizes: Sizes,
    ) -> Arc<Member> {
        let store = Arc::new(Grouping::new(store));
        let shared = Arc::new(Shared {
            claiming: Claiming::new(Arc::clone(&store) as Arc<dyn RelayStore>),
            sealing: Arc::new(Sealing::new(Arc::clone(&store) as _, sizes)),
            store,
            sizes,
            places: Arc::new(Semaphore::new(SEALING_MAX)),
        });
        let owner = Owner::new(Arc::clone(&shared) as Arc<dyn RelayStore>, env, sinks.clone());
        Arc::new(Member { shared, owner, sinks })
    }

    /// Keeps the lease, relays, sweeps, and takes over what silent processes left, until `stop` ends. Then it relays
    /// what is left of its own and gives the lease back: nothing is committed afterwards.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let adopting = async {
            let store = Arc::clone(&self.shared) as Arc<dyn RelayStore>;
            let mut adopter = Adopter::new(store, self.sinks.clone(), self.owner.id());
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if let Err(error) = adopter.round().await {
                    warn!("the leases of other processes cannot be looked at: {error}");
                }
            }
        };
        let adopting: BoxFuture<'_, ()> = adopting.boxed();
        let (adopting, owning) = (pin!(adopting), pin!(self.owner.run(stop)));
        if let Either::Left(((), _)) = select(adopting, owning).await {}
        match tokio::time::timeout(LEAVE_WITHIN, self.owner.leave()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => warn!("commits are left for others to look after: some were under way"),
            Ok(Err(error)) => warn!("entries are left for others to relay: {error}"),
            Err(_) => warn!("entries are left for others to relay: the store or the bus is too slow"),
        }
    }
}

impl Shared {
    /// Seals the oldest entries of an aggregate that has grown past a multiple of a segment, beside everything else.
    fn tend(&self, tenant: TenantId, aggregate: AggregateId, before: Seq, after: Seq) {
        let of = |seq: Seq| seq / self.sizes.segment;
        if after <= self.sizes.tail || of(before) == of(after) {
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let sealing = Arc::clone(&self.sealing);
        tokio::spawn(async move {
            // It is tried again when the aggregate has grown by another segment.
            if let Err(error) = sealing.seal(tenant, aggregate).await {
                warn!(tenant.id = %tenant, "old entries of {aggregate} were not sealed: {error}");
            }
            drop(place);
        });
    }
}

impl Store for Shared {
    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        async move {
            let moves: Vec<_> = group
                .iter()
                .map(|commit| (commit.tenant, commit.aggregate, commit.expect, commit.head.seq))
                .collect();
            let outcome = self.claiming.commit(group).await;
            if outcome == Outcome::Applied {
                for (tenant, aggregate, before, after) in moves {
                    self.tend(tenant, aggregate, before, after);
                }
            }
            outcome
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
    ) -> BoxFuture<'_, Result<Vec<(Seq, Bytes)>, StoreError>> {
        self.sealing.entries(tenant, aggregate, from, to, order, limit)
    }

    pass_on_reads!();
}

impl RelayStore for Shared {
    fn raise_fence(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        bucket: Bucket,
    ) -> BoxFuture<'_, Result<Fence, StoreError>> {
        self.store.raise_fence(tenant, aggregate, bucket)
    }

    fn lists_claim(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.store.lists_claim(tenant, aggregate, claim)
    }

    fn apply_index(&self, tenant: TenantId, aggregate: AggregateId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.apply_index(tenant, aggregate)
    }

    pass_on_steps!(relay);
}

impl Store for Member {
    fn owner(&self) -> Option<Arc<Owner>> {
        Some(Arc::clone(&self.owner))
    }

    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        self.shared.commit(group)
    }

    fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Seq, Bytes)>, StoreError>> {
        self.shared.entries(tenant, aggregate, from, to, order, limit)
    }

    pass_on_reads!(shared);
}

#[cfg(test)]
mod tests {
    use ids::{AggregateId, TenantId};

    use super::*;
    use crate::env::SystemEnv;
    use crate::journal::stored;
    use crate::memory::MemoryStore;
    use crate::seal::SealStore;
    use crate::store::{AttemptId, Chain, Head, NO_BUCKET};

    fn member(store: &Arc<MemoryStore>, sizes: Sizes) -> Arc<Member> {
        Member::join(Arc::clone(store) as Arc<dyn GroupStore>, Arc::new(SystemEnv), vec![], sizes)
    }

    crate::store_contract!(member_store, || {
        (member(&Arc::new(MemoryStore::cluster()), Sizes::default()) as crate::SharedStore, ())
    });

    /// What grows long is sealed by itself, and reads as before.
    #[tokio::test]
    async fn old_entries_are_sealed_when_an_aggregate_grows() {
        let store = Arc::new(MemoryStore::cluster());
        let member = member(&store, Sizes { segment: 4, tail: 8 });
        let (tenant, aggregate) = (TenantId::from_bytes([1; 16]), AggregateId::from_bytes([2; 16]));
        let mut chain = Chain::default();
        for expect in 0..40 {
            let entry = format!("entry {expect}");
            chain = chain.then(entry.as_bytes());
            let head = Head { seq: expect + 1, attempt: AttemptId([1; 16]), chain, ..Head::default() };
            let entries = vec![stored(chain, entry.as_bytes())];
            let (rows, keys, claims, index) = Default::default();
            let bucket = NO_BUCKET;
            let commit =
                Commit { tenant, aggregate, expect, bucket, head, entries, rows, keys, claims, index };
            assert_eq!(member.commit(vec![commit]).await, Outcome::Applied);
        }
        let sealed = async {
            while store.sealed(tenant, aggregate).await.expect("a mark") < 28 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), sealed).await.expect("sealed");
        let read = member.entries(tenant, aggregate, 1, 40, Order::Ascending, 100).await.expect("entries");
        assert!(read.iter().map(|(seq, _)| *seq).eq(1..=40), "{read:?}");
    }
}
