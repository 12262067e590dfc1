//! Locks, records and prepared commits of a store that several processes share; index rows that wait; segments.

use std::sync::Arc;

use super::*;
use crate::group::{GroupRecord, GroupState, GroupStore, Look};
use crate::seal::Segment;
use crate::store::{GroupId, Order};

type Grouped = Arc<dyn GroupStore>;

const ONE: GroupId = GroupId([1; 16]);
const TWO: GroupId = GroupId([2; 16]);

async fn put(store: &Grouped, commit: Commit) {
    assert_eq!(store.commit(vec![commit]).await, Outcome::Applied);
}

async fn refused(store: &Grouped, commit: Commit, refusal: Refusal) {
    assert_eq!(store.commit(vec![commit]).await, Outcome::Refused(refusal));
}

async fn prepared(store: &Grouped, group: GroupId, commit: Commit) {
    assert_eq!(store.prepare(group, commit).await, Outcome::Applied);
}

async fn locked(store: &Grouped, of: u8) -> Option<GroupId> {
    store.look(tenant(1), aggregate(of)).await.expect("look").lock
}

async fn index_row(store: &Grouped, key: &'static str) -> Option<Bytes> {
    store.index_row(tenant(1), 1, bytes(key), aggregate(1)).await.expect("index")
}

/// A group over several aggregates is not atomic here, so it is refused as a whole.
pub async fn a_shared_store_takes_commits_one_by_one(store: Grouped) {
    let rule = "more than one commit on a shared store";
    let group = store.commit(vec![commit(1, 0, 1).at(1), commit(2, 0, 1).at(1)]).await;
    assert_eq!(group, Outcome::Refused(Refusal::Invalid { at: 1, rule }));
    assert_eq!(store.head(tenant(1), aggregate(1)).await, Ok(None));
    put(&store, commit(1, 0, 1).at(1)).await;
}

/// Index rows of a commit are not lost while nobody moves them, and are moved in the order of their commits.
pub async fn index_rows_wait_until_they_are_moved(store: Grouped) {
    put(&store, commit(1, 0, 1).index("a", Some("1")).index("b", Some("1"))).await;
    assert_eq!(index_row(&store, "a").await, None, "a step of its own");
    put(&store, commit(1, 1, 1).index("a", Some("2")).index("c", Some("2"))).await;
    put(&store, commit(1, 2, 1).index("b", None).index("c", None).index("c", Some("3"))).await;
    for _ in 0..2 {
        store.apply_index(tenant(1), aggregate(1)).await.expect("apply");
        assert_eq!(index_row(&store, "a").await, Some(bytes("2")));
        assert_eq!(index_row(&store, "b").await, None);
        assert_eq!(index_row(&store, "c").await, Some(bytes("3")));
    }
    put(&store, commit(1, 3, 1).index("a", None)).await;
    put(&store, commit(1, 4, 1)).await;
    assert_eq!(index_row(&store, "a").await, Some(bytes("2")));
    store.apply_index(tenant(1), aggregate(1)).await.expect("apply");
    assert_eq!(index_row(&store, "a").await, None);
    store.apply_index(tenant(1), aggregate(2)).await.expect("nothing waits");
}

/// Nothing would order the index rows of two commits at the same position.
pub async fn index_rows_need_an_entry(store: Grouped) {
    put(&store, commit(1, 0, 1)).await;
    let rule = "index rows without entries on a shared store";
    refused(&store, commit(1, 1, 0).index("a", Some("1")), Refusal::Invalid { at: 0, rule }).await;
    put(&store, commit(1, 1, 0).row("a", Some("1"))).await;
}

fn record(state: GroupState) -> GroupRecord {
    GroupRecord { state, members: 2 }
}

/// The commit point: of one who commits and one who aborts, one wins.
pub async fn a_record_changes_for_who_knows_its_state(store: Grouped) {
    use GroupState::{Aborted, Committed, Pending};
    let set = async |group, expect, state| {
        store.set_group(tenant(1), group, expect, record(state)).await.expect("set")
    };
    let state = async |of, group| {
        let record = store.group(tenant(of), group).await.expect("record");
        record.map(|record| (record.state, record.members))
    };
    assert_eq!(state(1, ONE).await, None);
    assert!(!set(ONE, Some(Pending), Committed).await, "there is none");
    assert!(set(ONE, None, Pending).await);
    assert!(!set(ONE, None, Aborted).await, "there is one");
    assert_eq!(state(1, ONE).await, Some((Pending, 2)));
    assert!(set(ONE, Some(Pending), Committed).await);
    assert!(!set(ONE, Some(Pending), Aborted).await, "it is committed");
    store.end_group(tenant(1), ONE).await.expect("end");
    assert_eq!(state(1, ONE).await, Some((Committed, 2)), "a repeat finds it");
    assert_eq!(state(2, ONE).await, None);
    assert!(set(TWO, None, Aborted).await);
    assert!(!set(TWO, None, Pending).await, "it was aborted before it began");
    assert!(!set(TWO, Some(Pending), Committed).await);
    assert_eq!(state(1, TWO).await.map(|record| record.0), Some(Aborted));
}

/// A locked aggregate shows what it was and takes no commit; its fence can be raised.
pub async fn what_is_prepared_locks_its_aggregate(store: Grouped) {
    put(&store, commit(1, 0, 1).at(1)).await;
    prepared(&store, ONE, commit(1, 1, 1).at(3)).await;
    prepared(&store, ONE, commit(1, 1, 1).at(3)).await;
    let look = store.look(tenant(1), aggregate(1)).await;
    assert_eq!(look, Ok(Look { head: Some(head(1, 1)), lock: Some(ONE) }));
    for expect in [0, 1] {
        refused(&store, commit(1, expect, 1).at(9), Refusal::Locked { at: 0, group: ONE }).await;
    }
    let other = store.prepare(TWO, commit(1, 1, 1).at(9)).await;
    assert_eq!(other, Outcome::Refused(Refusal::Locked { at: 0, group: ONE }));
    assert_eq!(store.raise_fence(tenant(1), aggregate(1), 5).await.expect("fence").fence, 5);
    put(&store, commit(2, 0, 1)).await;
    let entries = store.entries(tenant(1), aggregate(1), 1, Seq::MAX, Order::Ascending, 9).await;
    assert_eq!(entries, Ok(vec![(1, entry(1, 1))]));
}

/// What is prepared applies as a whole, once, also behind a fence that was raised meanwhile.
pub async fn what_is_prepared_is_applied_once(store: Grouped) {
    put(&store, commit(1, 0, 1).row("r", Some("1")).row("s", Some("1"))).await;
    let next = commit(1, 1, 2).row("r", Some("2")).row("s", None).key(1, 0).take("sku");
    prepared(&store, ONE, next.index("i", Some("v")).at(3)).await;
    store.raise_fence(tenant(1), aggregate(1), 5).await.expect("fence");
    let (of, at) = (tenant(1), aggregate(1));
    store.roll_forward(of, at, TWO).await.expect("another group");
    assert_eq!(locked(&store, 1).await, Some(ONE));
    for _ in 0..2 {
        store.roll_forward(of, at, ONE).await.expect("apply");
        assert_eq!(store.look(of, at).await, Ok(Look { head: Some(head(1, 3)), lock: None }));
        let rows = store.rows(of, at, vec![bytes("r"), bytes("s")]).await;
        assert_eq!(rows, Ok(vec![Some(bytes("2")), None]));
        let entries = store.entries(of, at, 2, Seq::MAX, Order::Ascending, 9).await;
        assert_eq!(entries, Ok(vec![(2, entry(1, 2)), (3, entry(1, 3))]));
    }
    assert_eq!(store.key(of, KeyHash([1; 9])).await, Ok(Some(key_row(at, 2, 0))));
    assert_eq!(store.lists_claim(of, at, claimed("sku")).await, Ok(true));
    store.apply_index(of, at).await.expect("apply");
    assert_eq!(index_row(&store, "i").await, Some(bytes("v")));
    put(&store, commit(1, 3, 1).row("r", Some("3")).at(6)).await;
    store.roll_forward(of, at, ONE).await.expect("apply");
    assert_eq!(store.rows(of, at, vec![bytes("r")]).await, Ok(vec![Some(bytes("3"))]));
}

/// What is dropped can be committed by somebody else.
pub async fn what_is_dropped_leaves_nothing_behind(store: Grouped) {
    put(&store, commit(1, 0, 1).row("r", Some("1"))).await;
    let next = commit(1, 1, 1).row("r", Some("2")).key(1, 0).take("sku").index("i", Some("v"));
    prepared(&store, ONE, next).await;
    store.unlock(tenant(1), aggregate(1), TWO).await.expect("another group");
    assert_eq!(locked(&store, 1).await, Some(ONE));
    for _ in 0..2 {
        store.unlock(tenant(1), aggregate(1), ONE).await.expect("unlock");
        store.roll_forward(tenant(1), aggregate(1), ONE).await.expect("nothing is there");
    }
    store.apply_index(tenant(1), aggregate(1)).await.expect("apply");
    let look = store.look(tenant(1), aggregate(1)).await;
    assert_eq!(look, Ok(Look { head: Some(head(1, 1)), lock: None }));
    assert_eq!(store.rows(tenant(1), aggregate(1), vec![bytes("r")]).await, Ok(vec![Some(bytes("1"))]));
    assert_eq!(store.key(tenant(1), KeyHash([1; 9])).await, Ok(None));
    assert_eq!(store.lists_claim(tenant(1), aggregate(1), claimed("sku")).await, Ok(false));
    assert_eq!(index_row(&store, "i").await, None);
    prepared(&store, TWO, commit(1, 1, 1)).await;
    store.roll_forward(tenant(1), aggregate(1), TWO).await.expect("apply");
    put(&store, commit(1, 2, 1)).await;
}

/// Position, fence and rules count when it is prepared.
pub async fn what_is_prepared_keeps_the_conditions_of_a_commit(store: Grouped) {
    put(&store, commit(1, 0, 1).at(1)).await;
    store.raise_fence(tenant(1), aggregate(1), 5).await.expect("fence");
    let refused = async |commit: Commit, refusal: Refusal| {
        assert_eq!(store.prepare(ONE, commit).await, Outcome::Refused(refusal));
    };
    for expect in [0, 2] {
        refused(commit(1, expect, 1).at(9), Refusal::Moved { at: 0, current: 1 }).await;
    }
    refused(commit(1, 1, 1).at(5), Refusal::Fenced { at: 0, fence: 5 }).await;
    refused(commit(2, 1, 1), Refusal::Moved { at: 0, current: 0 }).await;
    let rule = "a row twice in a commit";
    let twice = commit(1, 1, 1).row("r", None).row("r", None);
    refused(twice.at(9), Refusal::Invalid { at: 0, rule }).await;
    assert_eq!(locked(&store, 1).await, None);
    prepared(&store, ONE, commit(1, 1, 1).at(6)).await;
}

/// An aggregate can be locked before its first entry, fenced or not.
pub async fn an_unborn_aggregate_is_locked_without_a_head(store: Grouped) {
    store.raise_fence(tenant(1), aggregate(2), 4).await.expect("fence");
    for number in [1, 2] {
        let (of, at) = (tenant(1), aggregate(number));
        prepared(&store, ONE, commit(number, 0, 1).at(5)).await;
        assert_eq!(store.look(of, at).await, Ok(Look { head: None, lock: Some(ONE) }));
        assert_eq!(store.head(of, at).await, Ok(None));
        store.unlock(of, at, ONE).await.expect("unlock");
        assert_eq!(store.look(of, at).await, Ok(Look::default()));
        prepared(&store, TWO, commit(number, 0, 1).at(5)).await;
        store.roll_forward(of, at, TWO).await.expect("apply");
        assert_eq!(store.look(of, at).await, Ok(Look { head: Some(head(number, 1)), lock: None }));
        put(&store, commit(number, 1, 1).at(5)).await;
    }
    assert_eq!(store.aggregates(None, 9).await.expect("aggregates").len(), 2);
}

/// Who has a key looks where it may be before it decides again.
pub async fn a_prepared_key_is_asked_for(store: Grouped) {
    let hash = KeyHash([1; 9]);
    assert_eq!(store.asked_for(tenant(1), hash).await, Ok(vec![]));
    prepared(&store, ONE, commit(1, 0, 1).key(1, 0)).await;
    assert_eq!(store.asked_for(tenant(1), hash).await, Ok(vec![aggregate(1)]));
    assert_eq!(store.key(tenant(1), hash).await, Ok(None));
    store.roll_forward(tenant(1), aggregate(1), ONE).await.expect("apply");
    assert!(store.asked_for(tenant(1), hash).await.expect("asked").contains(&aggregate(1)));
    assert_eq!(store.asked_for(tenant(2), hash).await, Ok(vec![]));
}

/// The mark moves for who knows where it is, and what is sealed is gone from the entries.
pub async fn segments_take_the_place_of_entries(store: Grouped) {
    let (of, at) = (tenant(1), aggregate(1));
    put(&store, commit(1, 0, 5).row("r", Some("1"))).await;
    assert_eq!(store.sealed(of, at).await, Ok(0));
    assert_eq!(store.segment(of, at, 1).await, Ok(None));
    let (chain_in, chain_out) = (Chain([1; 32]), Chain([2; 32]));
    let segment = Segment { first: 1, last: 3, codec: 1, chain_in, chain_out, data: bytes("data") };
    for _ in 0..2 {
        store.put_segment(of, at, segment.clone()).await.expect("segment");
    }
    assert_eq!(store.segment(of, at, 1).await, Ok(Some(segment)));
    assert_eq!(store.segment(of, at, 4).await, Ok(None));
    assert_eq!(store.set_sealed(of, at, 1, 3).await, Ok(false));
    assert_eq!(store.set_sealed(of, at, 0, 3).await, Ok(true));
    assert_eq!(store.set_sealed(of, at, 0, 4).await, Ok(false));
    assert_eq!(store.sealed(of, at).await, Ok(3));
    let entries = store.entries(of, at, 1, Seq::MAX, Order::Ascending, 9).await;
    assert_eq!(entries, Ok(vec![(4, entry(1, 4)), (5, entry(1, 5))]));
    assert_eq!(store.head(of, at).await, Ok(Some(head(1, 5))));
    assert_eq!(store.set_sealed(of, at, 3, 4).await, Ok(true));
    put(&store, commit(1, 5, 1)).await;
    assert_eq!(store.sealed(of, at).await, Ok(4));
    assert_eq!(store.rows(of, at, vec![bytes("r")]).await, Ok(vec![Some(bytes("1"))]));
}
