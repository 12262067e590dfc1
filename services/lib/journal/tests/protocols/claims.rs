//! Unique values on a shared store: whoever dies, at most one aggregate has a value.

use std::sync::Arc;

use journal::claims::Claiming;
use journal::memory::MemoryStore;
use journal::relay_store::RelayStore;
use journal::store::{AttemptId, Bucket, Claim, ClaimChange, Commit, Outcome, Refusal, Store};
use journal::{Journal, Rejection, SystemEnv};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::explore::{Bounds, World, explore, finds_fault};
use super::gated::{Broken, Gated};
use super::relay::{TENANT, aggregate, commit};

fn sku() -> Claim {
    Claim { kind: 1, value: "sku".into() }
}

fn changing(to: u8, expect: u64, attempt: u8, bucket: Bucket, change: ClaimChange) -> Commit {
    let mut commit = commit(to, expect, attempt);
    commit.head.attempt = AttemptId([attempt; 16]);
    commit.bucket = bucket;
    commit.claims = vec![change];
    commit
}

/// Commits a change of the claim, as a journal would: again in a later bucket when it is fenced, again with
/// another attempt when the aggregate has moved, the same attempt again when the outcome is unknown.
async fn change(store: &Claiming, to: u8, writer: u8, change: ClaimChange) -> bool {
    let (mut bucket, mut unknown) = (1, 0);
    for round in 0..5 {
        let Ok(head) = store.head(TENANT, aggregate(to)).await else { return false };
        let expect = head.as_ref().map_or(0, |head| head.seq);
        let attempt = writer * 10 + round;
        loop {
            match store.commit(vec![changing(to, expect, attempt, bucket, change.clone())]).await {
                Outcome::Applied => return true,
                Outcome::Refused(Refusal::Fenced { fence, .. }) => bucket = fence + 1,
                Outcome::Refused(Refusal::Moved { .. }) if unknown == 0 => {}
                Outcome::Unknown(_) if unknown < 2 => {
                    unknown += 1;
                    continue;
                }
                _ => return false,
            }
            break;
        }
    }
    false
}

struct Scene {
    store: Arc<MemoryStore>,
    /// Aggregates whose taking was answered, and which nobody releases.
    took: Arc<Mutex<Vec<u8>>>,
}

/// Processes that change the claim of an aggregate; the first ones before anybody else begins.
fn begin(
    world: &Arc<World>,
    broken: Broken,
    processes: &[(u8, &[ClaimChange])],
) -> (Scene, Vec<JoinHandle<()>>) {
    let scene = Scene { store: Arc::new(MemoryStore::cluster()), took: Arc::default() };
    let mut tasks = Vec::new();
    for (process, (to, changes)) in processes.iter().enumerate() {
        let store = Arc::clone(&scene.store);
        let gated = Gated { store, world: Arc::clone(world), process, broken };
        let (to, changes, took) = (*to, changes.to_vec(), Arc::clone(&scene.took));
        tasks.push(tokio::spawn(async move {
            let store = Claiming::impatient(Arc::new(gated));
            for (number, one) in (0..).zip(changes) {
                let takes = matches!(one, ClaimChange::Take(_));
                let writer = u8::try_from(process).expect("few") * 4 + number + 1;
                if change(&store, to, writer, one).await && takes {
                    took.lock().push(to);
                }
            }
        }));
    }
    (scene, tasks)
}

/// How many journals list the value, and whether whoever does is its owner for everybody.
async fn end(scene: Scene, released: bool) {
    let mut lists = Vec::new();
    for to in 1..=3 {
        if scene.store.lists_claim(TENANT, aggregate(to), sku()).await.expect("read") {
            lists.push(aggregate(to));
        }
    }
    assert!(lists.len() <= 1, "two own it: {lists:?}");
    assert_eq!(scene.store.claim(TENANT, sku()).await, Ok(lists.first().copied()));
    let took: Vec<_> = scene.took.lock().iter().copied().map(aggregate).collect();
    if !released {
        assert!(took.len() <= 1 && took.iter().all(|owner| lists.contains(owner)), "{took:?} {lists:?}");
    }
}

fn take() -> ClaimChange {
    ClaimChange::Take(sku())
}

fn release() -> ClaimChange {
    ClaimChange::Release(sku())
}

#[test]
fn of_aggregates_that_want_a_value_at_most_one_gets_it() {
    let two: [(u8, &[ClaimChange]); 2] = [(1, &[take()]), (2, &[take()])];
    let explore =
        |bounds| explore(bounds, async |world| begin(world, Broken::Nothing, &two), |s| end(s, false));
    assert!(explore(Bounds { switches: 6, crashes: 0, faults: 0 }) > 100);
    assert!(explore(Bounds { switches: 2, crashes: 1, faults: 0 }) > 100);
    assert!(explore(Bounds { switches: 1, crashes: 0, faults: 2 }) > 1000);
}

/// A value that is released and taken again, by the same aggregate in two processes and by another one.
#[test]
fn a_value_that_changes_hands_has_at_most_one_owner() {
    let three: [(u8, &[ClaimChange]); 3] = [(1, &[take(), release()]), (1, &[take()]), (2, &[take()])];
    let explore =
        |bounds| explore(bounds, async |world| begin(world, Broken::Nothing, &three), |s| end(s, true));
    assert!(explore(Bounds { switches: 2, crashes: 0, faults: 0 }) > 100);
    assert!(explore(Bounds { switches: 1, crashes: 0, faults: 1 }) > 1000);
}

/// The proof that the exploration would notice: without fences a value gets two owners.
#[test]
fn stealing_without_fencing_gives_a_value_two_owners() {
    let two: [(u8, &[ClaimChange]); 2] = [(1, &[take()]), (2, &[take()])];
    let bounds = Bounds { switches: 2, crashes: 0, faults: 0 };
    assert!(finds_fault(|| explore(
        bounds,
        async |world| begin(world, Broken::Fences, &two),
        |s| end(s, false)
    )));
}

/// A process that died between asking and committing keeps nothing from anybody, and what is listed is kept.
#[tokio::test(start_paused = true)]
async fn a_claim_is_stolen_from_who_does_not_list_it_only() {
    let store = Arc::new(MemoryStore::cluster());
    let claiming = Claiming::new(Arc::clone(&store) as _);
    let (owner, attempt) = (aggregate(1), AttemptId([9; 16]));
    let row = journal::relay_store::ClaimRow { owner, attempt, bucket: 7, before: None };
    assert_eq!(store.set_claim_row(TENANT, sku(), None, Some(row)).await, Ok(true));
    assert!(change(&claiming, 2, 1, take()).await);
    assert_eq!(claiming.claim(TENANT, sku()).await, Ok(Some(aggregate(2))));
    let late = changing(1, 0, 9, 7, take());
    let refused = store.commit(vec![late]).await;
    assert_eq!(refused, Outcome::Refused(Refusal::Fenced { at: 0, fence: 7 }));
    let taken = claiming.commit(vec![changing(1, 0, 8, 8, take())]).await;
    let owned = Refusal::Claimed { at: 0, claim: sku(), owner: aggregate(2) };
    assert_eq!(taken, Outcome::Refused(owned));
    assert_eq!(store.raise_fence(TENANT, aggregate(2), 0).await.expect("read").fence, 0, "not fenced");
    assert!(change(&claiming, 2, 2, release()).await);
    assert_eq!(store.claim_row(TENANT, sku()).await, Ok(None), "it is given back");
    assert_eq!(claiming.commit(vec![changing(1, 0, 7, 8, take())]).await, Outcome::Applied);
}

/// Who looked at an old state is told so first, and a claim needs an entry that tells its attempt.
#[tokio::test(start_paused = true)]
async fn a_commit_from_elsewhere_is_refused_before_its_claims() {
    let claiming = Claiming::new(Arc::new(MemoryStore::cluster()));
    assert!(change(&claiming, 1, 1, take()).await);
    assert_eq!(claiming.commit(vec![commit(2, 0, 1)]).await, Outcome::Applied);
    let late = claiming.commit(vec![changing(2, 0, 3, 1, take())]).await;
    assert_eq!(late, Outcome::Refused(Refusal::Moved { at: 0, current: 1 }));
    let mut empty = changing(2, 1, 3, 1, release());
    (empty.entries, empty.head.seq) = (vec![], 1);
    let rule = "claims without entries on a shared store";
    assert_eq!(claiming.commit(vec![empty]).await, Outcome::Refused(Refusal::Invalid { at: 0, rule }));
}

/// A journal does not notice that its claims are steps of their own.
#[tokio::test(start_paused = true)]
async fn a_journal_has_unique_values_on_a_shared_store() {
    let store = Arc::new(Claiming::new(Arc::new(MemoryStore::cluster())));
    let journal: Journal<crate::Sum> = Journal::new(store, Arc::new(SystemEnv));
    let name = |key| crate::request(key, crate::Change::Name("a"));
    journal.submit(crate::scope(1), name(1)).await.expect("applied");
    let second = journal.submit(crate::scope(2), name(2)).await;
    assert_eq!(second, Err(Rejection::Claimed { claim: claimed("a"), owner: aggregate(1) }));
    journal.submit(crate::scope(1), name(3)).await.expect("it has it already");
}

fn claimed(value: &'static str) -> Claim {
    Claim { kind: 1, value: value.into() }
}
