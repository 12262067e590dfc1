//! Fences, marks, leases, cursors and claims of a store that several processes share.

use std::sync::Arc;

use futures::future::join_all;

use super::*;
use crate::relay_store::{ClaimRow, Fence, InstanceId, Lease, Mark, Marked, RelayStore};
use crate::store::Bucket;

type Shared = Arc<dyn RelayStore>;

const ONE: InstanceId = InstanceId([1; 16]);
const TWO: InstanceId = InstanceId([2; 16]);

impl Commit {
    pub(super) fn at(mut self, bucket: Bucket) -> Commit {
        self.bucket = bucket;
        self
    }
}

async fn put(store: &Shared, commit: Commit) {
    assert_eq!(store.commit(vec![commit]).await, Outcome::Applied);
}

async fn refused(store: &Shared, commit: Commit) -> Refusal {
    match store.commit(vec![commit]).await {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn fence(store: &Shared, to: u8, bucket: Bucket) -> Fence {
    store.raise_fence(tenant(1), aggregate(to), bucket).await.expect("fence")
}

/// A raised fence refuses its bucket and all before it, of this aggregate only, and never sinks.
pub async fn a_fence_refuses_its_bucket_and_earlier_ones(store: Shared) {
    put(&store, commit(1, 0, 2).at(5)).await;
    assert_eq!(fence(&store, 1, 7).await, Fence { fence: 7, seq: 2 });
    for bucket in [0, 1, 6, 7] {
        assert_eq!(refused(&store, commit(1, 2, 1).at(bucket)).await, Refusal::Fenced { at: 0, fence: 7 });
    }
    assert_eq!(fence(&store, 1, 3).await, Fence { fence: 7, seq: 2 });
    assert_eq!(refused(&store, commit(1, 2, 1).at(7)).await, Refusal::Fenced { at: 0, fence: 7 });
    put(&store, commit(2, 0, 1).at(1)).await;
    put(&store, commit(1, 2, 1).at(8)).await;
    put(&store, commit(1, 3, 1).at(NO_BUCKET)).await;
    assert_eq!(fence(&store, 1, 0).await, Fence { fence: 7, seq: 4 });
}

/// Whoever looked at an old state learns that first: it must look again before it knows what it wants.
pub async fn a_position_is_checked_before_the_fence(store: Shared) {
    put(&store, commit(1, 0, 1).at(5)).await;
    fence(&store, 1, 9).await;
    assert_eq!(refused(&store, commit(1, 0, 1).at(5)).await, Refusal::Moved { at: 0, current: 1 });
}

/// An aggregate can be fenced before it has an entry, and is born behind the fence.
pub async fn an_unborn_aggregate_can_be_fenced(store: Shared) {
    assert_eq!(fence(&store, 1, 4).await, Fence { fence: 4, seq: 0 });
    assert_eq!(refused(&store, commit(1, 0, 1).at(4)).await, Refusal::Fenced { at: 0, fence: 4 });
    assert_eq!(store.head(tenant(1), aggregate(1)).await, Ok(None), "a fence makes no head");
    assert_eq!(store.aggregates(None, 10).await, Ok(vec![]));
    put(&store, commit(1, 0, 1).at(5)).await;
    assert_eq!(fence(&store, 1, 0).await, Fence { fence: 4, seq: 1 });
}

/// A fence and a commit that race: either the commit is in what the fence saw, or it is refused.
pub async fn a_fence_and_a_racing_commit_exclude_each_other(store: Shared) {
    for to in 1..=32 {
        let (one, two) = (Arc::clone(&store), Arc::clone(&store));
        let write = tokio::spawn(async move { one.commit(vec![commit(to, 0, 1).at(3)]).await });
        let raise = tokio::spawn(async move { fence(&two, to, 3).await });
        match (write.await.expect("write"), raise.await.expect("raise")) {
            (Outcome::Applied, seen) => assert_eq!(seen, Fence { fence: 3, seq: 1 }),
            (refused, seen) => {
                assert_eq!(refused, Outcome::Refused(Refusal::Fenced { at: 0, fence: 3 }));
                assert_eq!(seen, Fence { fence: 3, seq: 0 });
            }
        }
    }
}

fn mark(instance: InstanceId, bucket: Bucket, to: u8) -> Mark {
    Mark { instance, bucket, tenant: tenant(1), aggregate: aggregate(to) }
}

async fn marked(store: &Shared, instance: InstanceId, bucket: Bucket) -> Vec<(TenantId, AggregateId)> {
    store.marks(instance, bucket, None, 100).await.expect("marks")
}

/// Marks are kept once each, listed by instance and bucket in order, in pages, until they are deleted.
pub async fn marks_are_listed_and_deleted(store: Shared) {
    for to in [3, 1, 2, 1] {
        assert_eq!(store.mark(mark(ONE, 5, to)).await, Ok(Marked::Noted));
    }
    assert_eq!(store.mark(mark(ONE, 6, 9)).await, Ok(Marked::Noted));
    assert_eq!(store.mark(mark(TWO, 5, 8)).await, Ok(Marked::Noted));
    let all: Vec<_> = [1, 2, 3].map(|to| (tenant(1), aggregate(to))).to_vec();
    assert_eq!(marked(&store, ONE, 5).await, all);
    let (mut joined, mut after) = (Vec::new(), None);
    while let Some(last) = {
        let page = store.marks(ONE, 5, after, 2).await.expect("marks");
        assert!(page.len() <= 2);
        joined.extend_from_slice(&page);
        page.last().copied()
    } {
        after = Some(last);
    }
    assert_eq!(joined, all);
    store.delete_bucket(ONE, 5).await.expect("delete");
    assert_eq!(marked(&store, ONE, 5).await, []);
    assert_eq!(marked(&store, ONE, 6).await, [(tenant(1), aggregate(9))]);
    assert_eq!(marked(&store, TWO, 5).await, [(tenant(1), aggregate(8))]);
}

/// A closed bucket takes no mark, keeps those that it has, and stays closed when they are deleted.
pub async fn a_closed_bucket_takes_no_mark(store: Shared) {
    assert_eq!(store.mark(mark(ONE, 5, 1)).await, Ok(Marked::Noted));
    for bucket in [5, 6] {
        store.close_bucket(ONE, bucket).await.expect("close");
        assert_eq!(store.mark(mark(ONE, bucket, 2)).await, Ok(Marked::Closed));
    }
    assert_eq!(store.mark(mark(ONE, 5, 1)).await, Ok(Marked::Closed));
    assert_eq!(marked(&store, ONE, 5).await, [(tenant(1), aggregate(1))]);
    store.delete_bucket(ONE, 5).await.expect("delete");
    assert_eq!(store.mark(mark(ONE, 5, 1)).await, Ok(Marked::Closed));
    assert_eq!(marked(&store, ONE, 5).await, []);
    assert_eq!(store.mark(mark(ONE, 7, 1)).await, Ok(Marked::Noted));
    assert_eq!(store.mark(mark(TWO, 5, 1)).await, Ok(Marked::Noted));
}

fn lease(beat: u64) -> Lease {
    Lease { beat, low: 1, high: beat + 1, adopter: None }
}

/// A lease changes only for whoever knows what it is: of an owner that renews and an adopter that takes
/// over, one wins.
pub async fn a_lease_changes_for_who_knows_it(store: Shared) {
    assert_eq!(store.set_lease(ONE, Some(lease(1)), Some(lease(2))).await, Ok(false), "there is none");
    assert_eq!(store.set_lease(ONE, None, Some(lease(1))).await, Ok(true));
    assert_eq!(store.set_lease(ONE, None, Some(lease(1))).await, Ok(false), "there is one");
    assert_eq!(store.set_lease(ONE, Some(lease(1)), Some(lease(2))).await, Ok(true));
    let adopted = Lease { adopter: Some(TWO), ..lease(2) };
    assert_eq!(store.set_lease(ONE, Some(lease(1)), Some(adopted.clone())).await, Ok(false), "it renewed");
    assert_eq!(store.set_lease(ONE, Some(lease(2)), Some(adopted.clone())).await, Ok(true));
    assert_eq!(store.set_lease(ONE, Some(lease(2)), Some(lease(3))).await, Ok(false), "it was adopted");
    assert_eq!(store.lease(ONE).await, Ok(Some(adopted.clone())));
    assert_eq!(store.set_lease(TWO, None, Some(lease(9))).await, Ok(true));
    assert_eq!(store.leases(None, 9).await, Ok(vec![(ONE, adopted.clone()), (TWO, lease(9))]));
    assert_eq!(store.leases(None, 1).await, Ok(vec![(ONE, adopted.clone())]));
    assert_eq!(store.leases(Some(ONE), 9).await, Ok(vec![(TWO, lease(9))]));
    assert_eq!(store.set_lease(ONE, Some(lease(2)), None).await, Ok(false));
    assert_eq!(store.set_lease(ONE, Some(adopted), None).await, Ok(true));
    assert_eq!(store.lease(ONE).await, Ok(None));
}

/// A cursor never moves backwards, and is kept for each sink, aggregate and tenant.
pub async fn relay_cursors_move_forwards(store: Shared) {
    let (of, at) = (tenant(1), aggregate(1));
    assert_eq!(store.relayed(of, at, 1).await, Ok(0));
    for (seq, expected) in [(3, 3), (1, 3), (7, 7), (7, 7)] {
        store.set_relayed(of, at, 1, seq).await.expect("note");
        assert_eq!(store.relayed(of, at, 1).await, Ok(expected));
    }
    assert_eq!(store.relayed(of, at, 2).await, Ok(0));
    assert_eq!(store.relayed(of, aggregate(2), 1).await, Ok(0));
    assert_eq!(store.relayed(tenant(2), at, 1).await, Ok(0));
}

fn row(owner: u8, attempt: u8, bucket: Bucket) -> ClaimRow {
    ClaimRow { owner: aggregate(owner), attempt: AttemptId([attempt; 16]), bucket, before: None }
}

/// A claim row changes only for whoever knows what it is; of many takers one wins.
pub async fn a_claim_row_changes_for_who_knows_it(store: Shared) {
    let (of, sku) = (tenant(1), claimed("sku"));
    let takers = (1..=8).map(|number| {
        let (store, sku) = (Arc::clone(&store), sku.clone());
        let take = async move { store.set_claim_row(of, sku, None, Some(row(number, 1, 1))).await };
        tokio::spawn(take)
    });
    let took = join_all(takers).await.into_iter().map(|took| took.expect("no panic").expect("answer"));
    assert_eq!(took.filter(|took| *took).count(), 1);
    let first = store.claim_row(of, sku.clone()).await.expect("read").expect("present");
    let stale = ClaimRow { attempt: AttemptId([9; 16]), ..first.clone() };
    assert_eq!(store.set_claim_row(of, sku.clone(), Some(stale), Some(row(9, 1, 2))).await, Ok(false));
    assert_eq!(store.set_claim_row(of, sku.clone(), Some(first), Some(row(9, 1, 2))).await, Ok(true));
    assert_eq!(store.claim_row(of, sku.clone()).await, Ok(Some(row(9, 1, 2))));
    assert_eq!(store.claim_row(tenant(2), sku.clone()).await, Ok(None));
    assert_eq!(store.set_claim_row(of, sku.clone(), Some(row(9, 1, 2)), None).await, Ok(true));
    assert_eq!(store.claim_row(of, sku).await, Ok(None));
}

/// A claim is valid only if the journal of the aggregate that asks for it lists it, and a commit lists what
/// it takes whoever asks for the value: asking is a step of its own.
pub async fn a_claim_is_valid_if_the_journal_of_its_owner_lists_it(store: Shared) {
    let (of, sku) = (tenant(1), claimed("sku"));
    assert_eq!(store.set_claim_row(of, sku.clone(), None, Some(row(1, 1, 1))).await, Ok(true));
    assert_eq!(store.claim(of, sku.clone()).await, Ok(None), "nothing is committed");
    put(&store, commit(1, 0, 1).take("sku").at(1)).await;
    assert_eq!(store.lists_claim(of, aggregate(1), sku.clone()).await, Ok(true));
    assert_eq!(store.claim(of, sku.clone()).await, Ok(Some(aggregate(1))));
    put(&store, commit(2, 0, 1).take("sku").at(1)).await;
    assert_eq!(store.claim(of, sku.clone()).await, Ok(Some(aggregate(1))), "2 has not asked");
    put(&store, commit(1, 1, 1).release("sku").at(1)).await;
    assert_eq!(store.lists_claim(of, aggregate(1), sku.clone()).await, Ok(false));
    assert_eq!(store.claim(of, sku.clone()).await, Ok(None));
    put(&store, commit(1, 2, 1).release("sku").take("sku").at(1)).await;
    assert_eq!(store.lists_claim(of, aggregate(1), sku.clone()).await, Ok(true));
    fence(&store, 1, 4).await;
    refused(&store, commit(1, 3, 1).release("sku").at(4)).await;
    assert_eq!(store.lists_claim(of, aggregate(1), sku.clone()).await, Ok(true), "it was refused");
    assert_eq!(store.lists_claim(tenant(2), aggregate(1), sku).await, Ok(false));
}

/// A value whose row names two owners belongs to whichever journal lists it.
pub async fn a_value_that_changes_hands_belongs_to_who_lists_it(store: Shared) {
    let (of, sku) = (tenant(1), claimed("sku"));
    assert_eq!(store.set_claim_row(of, sku.clone(), None, Some(row(1, 1, 1))).await, Ok(true));
    put(&store, commit(1, 0, 1).take("sku").at(1)).await;
    let both = ClaimRow { before: Some(aggregate(1)), ..row(2, 1, 1) };
    assert_eq!(store.set_claim_row(of, sku.clone(), Some(row(2, 1, 1)), Some(both.clone())).await, Ok(false));
    assert_eq!(store.set_claim_row(of, sku.clone(), Some(row(1, 1, 1)), Some(both.clone())).await, Ok(true));
    assert_eq!(store.claim_row(of, sku.clone()).await, Ok(Some(both.clone())));
    assert_eq!(store.claim(of, sku.clone()).await, Ok(Some(aggregate(1))));
    put(&store, commit(1, 1, 1).release("sku").at(1)).await;
    assert_eq!(store.claim(of, sku.clone()).await, Ok(None));
    put(&store, commit(2, 0, 1).take("sku").at(1)).await;
    assert_eq!(store.claim(of, sku.clone()).await, Ok(Some(aggregate(2))));
    assert_eq!(store.set_claim_row(of, sku.clone(), Some(row(2, 1, 1)), None).await, Ok(false));
    assert_eq!(store.set_claim_row(of, sku, Some(both), Some(row(2, 1, 1))).await, Ok(true));
}
