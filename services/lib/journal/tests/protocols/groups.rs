//! Commits to several aggregates at once on a shared store: all or nothing, whoever dies.

use std::sync::Arc;

use futures::FutureExt;
use journal::claims::Claiming;
use journal::group::{GroupRecord, GroupState, GroupStore, Grouping};
use journal::memory::MemoryStore;
use journal::relay::{Adopter, BUCKET_S, Owner};
use journal::relay_store::{InstanceId, RelayStore};
use journal::store::{
    AttemptId, Claim, ClaimChange, Commit, GroupId, IndexChange, KeyHash, KeyRow, Outcome, Refusal, Seq,
    Store,
};
use journal::{Journal, Order};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::explore::{Bounds, World, explore, finds_fault};
use super::gated::{Broken, Gated};
use super::relay::{Still, TENANT, aggregate, commit};

/// One entry in each of two aggregates, by a writer that names itself there.
fn pair(expect: [Seq; 2], writer: u8) -> Vec<Commit> {
    let commit = |to: u8, expect| {
        let mut commit = commit(to, expect, writer);
        commit.head.attempt = AttemptId([writer; 16]);
        commit
    };
    vec![commit(1, expect[0]), commit(2, expect[1])]
}

#[derive(Clone, Copy)]
enum Role {
    /// Writes to both, the first one first or last.
    Both { backwards: bool },
    /// Writes to the second one alone.
    One,
    /// Reads both, in this order: what it sees of the second is as new as what it saw of the first.
    Read([u8; 2]),
    /// Makes sure that nothing comes from before.
    Fence,
}

struct Scene {
    store: Arc<MemoryStore>,
    /// Writers, and whether each was told that all of it or nothing of it happened.
    told: Arc<Mutex<Vec<(u8, bool)>>>,
}

/// Who wrote to an aggregate, in order.
async fn writers(store: &dyn Store, of: u8) -> Option<Vec<u8>> {
    let entries = store.entries(TENANT, aggregate(of), 1, Seq::MAX, Order::Ascending, 99).await.ok()?;
    Some(entries.into_iter().map(|(_, entry)| entry[0]).collect())
}

async fn seq(store: &dyn Store, of: u8) -> Option<Seq> {
    Some(store.head(TENANT, aggregate(of)).await.ok()?.map_or(0, |head| head.seq))
}

/// Writes as a journal does: anew where the aggregates have moved, the same again from an unknown outcome. Gives
/// back whether it was applied, if that is known.
async fn write(store: &Grouping, number: u8, role: Role) -> Option<bool> {
    let mut unknown = false;
    for round in 0..3 {
        let expect = [seq(store, 1).await?, seq(store, 2).await?];
        let writer = number * 10 + round;
        let mut group = pair(expect, writer);
        match role {
            Role::Both { backwards: true } => group.reverse(),
            Role::One => drop(group.remove(0)),
            _ => {}
        }
        group.iter_mut().for_each(|commit| commit.bucket = 5);
        for _ in 0..2 {
            match store.commit(group.clone()).await {
                Outcome::Applied => return Some(true),
                // Perhaps its own.
                Outcome::Refused(_) if unknown => return None,
                Outcome::Refused(Refusal::Moved { .. }) => break,
                Outcome::Refused(_) => return Some(false),
                Outcome::Unknown(_) => unknown = true,
            }
        }
        if unknown {
            return None;
        }
    }
    Some(false)
}

fn begin(world: &Arc<World>, broken: Broken, roles: &[Role]) -> (Scene, Vec<JoinHandle<()>>) {
    let scene = Scene { store: Arc::new(MemoryStore::cluster()), told: Arc::default() };
    let mut tasks = Vec::new();
    for (process, role) in roles.iter().copied().enumerate() {
        let store = Arc::clone(&scene.store);
        let gated = Gated { store: Arc::clone(&store), world: Arc::clone(world), process, broken };
        let told = Arc::clone(&scene.told);
        let number = u8::try_from(process).expect("few") + 1;
        tasks.push(tokio::spawn(async move {
            let grouping = Grouping::impatient(Arc::new(gated));
            match role {
                Role::Both { .. } | Role::One => {
                    if let Some(applied) = write(&grouping, number, role).await {
                        told.lock().push((number, applied));
                    }
                }
                Role::Read([first, second]) => {
                    let Some(one) = writers(&grouping, first).await else { return };
                    let Some(two) = writers(&grouping, second).await else { return };
                    let missing = one.iter().find(|writer| !two.contains(writer));
                    assert_eq!(missing, None, "half a group is seen: {one:?} {two:?}");
                }
                Role::Fence => {
                    let Ok(fence) = grouping.raise_fence(TENANT, aggregate(2), 5).await else { return };
                    let all = writers(&*store, 2).await.expect("entries");
                    assert_eq!(all.len() as Seq, fence.seq, "a fence does not know all");
                    told.lock().push((u8::MAX, true));
                }
            }
        }));
    }
    (scene, tasks)
}

/// Somebody looks at everything. Then each group is there as a whole or not at all, as its writer was told, and
/// both aggregates can be written.
async fn end(scene: Scene, half: &[u8]) {
    let store = Grouping::impatient(Arc::clone(&scene.store) as _);
    let seen = [writers(&store, 1).await.expect("one"), writers(&store, 2).await.expect("two")];
    let two: Vec<u8> = seen[1].iter().copied().filter(|writer| !half.contains(&(writer / 10))).collect();
    assert_eq!(seen[0], two, "half a group");
    let told = scene.told.lock().clone();
    for (number, applied) in told.iter().copied().filter(|(number, _)| *number != u8::MAX) {
        let times = seen[1].iter().filter(|writer| **writer / 10 == number).count();
        assert_eq!(times, usize::from(applied), "{number} was told otherwise: {seen:?}");
    }
    let expect = [seen[0].len() as Seq, seen[1].len() as Seq];
    assert_eq!(store.commit(pair(expect, 99)).await, Outcome::Applied, "a lock is left");
    assert_eq!([seq(&store, 1).await, seq(&store, 2).await], expect.map(|seq| Some(seq + 1)));
}

const FORWARDS: Role = Role::Both { backwards: false };
const BACKWARDS: Role = Role::Both { backwards: true };

/// INV-1, and atomic batches: a writer that dies at any of its steps leaves all of a group or nothing, for whoever
/// reads meanwhile and afterwards.
#[test]
fn a_group_is_seen_whole_wherever_its_writer_dies() {
    let run = |bounds, roles: &[Role]| {
        explore(bounds, async |world| begin(world, Broken::Nothing, roles), |scene| end(scene, &[]))
    };
    for order in [[1, 2], [2, 1]] {
        let roles = [FORWARDS, Role::Read(order)];
        assert!(run(Bounds { switches: 3, crashes: 0, faults: 0 }, &roles) > 100);
        assert!(run(Bounds { switches: 1, crashes: 1, faults: 0 }, &roles) > 50);
        assert!(run(Bounds { switches: 1, crashes: 0, faults: 1 }, &roles) > 100);
    }
}

/// Two groups over the same aggregates, and a commit to one of them: each whole or not at all, none twice.
#[test]
fn groups_that_race_are_whole_and_in_the_same_order() {
    let run = |bounds, roles: &[Role], half: &[u8]| {
        explore(bounds, async |world| begin(world, Broken::Nothing, roles), |scene| end(scene, half))
    };
    let two = [FORWARDS, BACKWARDS];
    assert!(run(Bounds { switches: 2, crashes: 0, faults: 0 }, &two, &[]) > 100);
    assert!(run(Bounds { switches: 1, crashes: 1, faults: 0 }, &two, &[]) > 100);
    assert!(run(Bounds { switches: 1, crashes: 0, faults: 1 }, &two, &[]) > 100);
    let beside = [FORWARDS, Role::One];
    assert!(run(Bounds { switches: 3, crashes: 0, faults: 0 }, &beside, &[2]) > 100);
    assert!(run(Bounds { switches: 1, crashes: 1, faults: 1 }, &beside, &[2]) > 100);
}

/// INV-9: behind a fence nothing of an earlier bucket applies, also not what was prepared before.
#[test]
fn a_group_does_not_pass_a_fence() {
    let roles = [FORWARDS, Role::Fence];
    let run = |bounds| {
        explore(
            bounds,
            async |world| begin(world, Broken::Nothing, &roles),
            |scene| async move {
                let fenced = scene.told.lock().contains(&(u8::MAX, true));
                let before = writers(&*scene.store, 2).await.expect("entries");
                let store = Grouping::impatient(Arc::clone(&scene.store) as _);
                let after = writers(&store, 2).await.expect("entries");
                assert!(!fenced || before == after, "something came after the fence");
            },
        )
    };
    assert!(run(Bounds { switches: 3, crashes: 0, faults: 0 }) > 100);
    assert!(run(Bounds { switches: 1, crashes: 1, faults: 0 }) > 50);
    assert!(run(Bounds { switches: 1, crashes: 0, faults: 1 }) > 100);
}

/// The proof that the exploration would notice: without a commit point half of a group is left.
#[test]
fn a_group_without_a_commit_point_is_torn() {
    let bounds = Bounds { switches: 2, crashes: 0, faults: 0 };
    let roles = [FORWARDS, BACKWARDS];
    assert!(finds_fault(|| explore(
        bounds,
        async |world| begin(world, Broken::Records, &roles),
        |scene| end(scene, &[])
    )));
}

fn with_everything(mut group: Vec<Commit>) -> Vec<Commit> {
    for (number, commit) in (1..).zip(&mut group) {
        let (aggregate, first) = (commit.aggregate, commit.expect + 1);
        let row = KeyRow { aggregate, first, count: 1, fingerprint: [number; 16], expires_s: 0 };
        commit.keys.push((KeyHash([number; 9]), row));
        commit.rows.push(("r".into(), Some("v".into())));
        commit.index.push(IndexChange { index: 1, key: "i".into(), value: Some("v".into()) });
        let value = bytes::Bytes::copy_from_slice(&[number]);
        commit.claims.push(ClaimChange::Take(Claim { kind: 1, value }));
    }
    group
}

/// A dropped request: at every point at which a commit waits it may be dropped. Rows, keys, claims and index rows
/// follow the entries, whoever reads first; and a repeat of the same attempts ends it.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_dropped_anywhere_is_whole() {
    let mut results = [0, 0];
    for count in 1.. {
        let world = Arc::new(World::default());
        let store = Arc::new(MemoryStore::cluster());
        let gated = Gated {
            store: Arc::clone(&store),
            world: Arc::clone(&world),
            process: 0,
            broken: Broken::Nothing,
        };
        let claiming = Claiming::impatient(Arc::new(Grouping::impatient(Arc::new(gated))));
        let group = || with_everything(pair([0, 0], 1));
        let mut ended = false;
        {
            let mut commit = Box::pin(claiming.commit(group()));
            for _ in 0..count {
                ended = (&mut commit).now_or_never().is_some();
                if ended {
                    break;
                }
                world.let_one_go();
            }
        }
        let reader = Claiming::impatient(Arc::new(Grouping::impatient(Arc::clone(&store) as _)));
        let keys = async || {
            let mut found = Vec::new();
            for number in [1, 2] {
                found.push(reader.key(TENANT, KeyHash([number; 9])).await.expect("key").is_some());
            }
            found
        };
        let found = keys().await;
        assert_eq!(found[0], found[1], "after {count} steps");
        let whole = found[0];
        results[usize::from(whole)] += 1;
        for number in [1_u8, 2] {
            assert_eq!(seq(&reader, number).await, Some(u64::from(whole)), "after {count} steps");
            let rows = reader.rows(TENANT, aggregate(number), vec!["r".into()]).await.expect("rows");
            assert_eq!(rows[0].is_some(), whole);
            let claim = Claim { kind: 1, value: bytes::Bytes::copy_from_slice(&[number]) };
            let owner = reader.claim(TENANT, claim).await.expect("claim");
            assert_eq!(owner, whole.then_some(aggregate(number)));
        }
        match reader.commit(group()).await {
            Outcome::Applied => {}
            Outcome::Refused(Refusal::Moved { current: 1, .. }) if whole => {}
            other => panic!("{other:?} after {count} steps"),
        }
        assert_eq!(keys().await, [true, true]);
        for number in [1, 2] {
            store.apply_index(TENANT, aggregate(number)).await.expect("applies");
            let row = reader.index_row(TENANT, 1, "i".into(), aggregate(number)).await.expect("index");
            assert!(row.is_some(), "after {count} steps");
        }
        if ended {
            break;
        }
    }
    assert!(results[0] > 5 && results[1] > 3, "{results:?}");
}

/// A value changes hands in a group that is not decided: until then it is the old owner's, and nobody steals it.
#[tokio::test(start_paused = true)]
async fn a_value_changes_hands_with_its_group() {
    let sku = || Claim { kind: 1, value: "sku".into() };
    let store = Arc::new(MemoryStore::cluster());
    let claiming = Claiming::new(Arc::new(Grouping::new(Arc::clone(&store) as _)));
    let mut first = commit(1, 0, 1);
    first.bucket = 1;
    first.claims = vec![ClaimChange::Take(sku())];
    assert_eq!(claiming.commit(vec![first]).await, Outcome::Applied);
    let hand_over = |expect, attempt, bucket| {
        let mut group = pair([1, expect], attempt);
        group.iter_mut().for_each(|commit| commit.bucket = bucket);
        group[0].claims = vec![ClaimChange::Release(sku())];
        group[1].claims = vec![ClaimChange::Take(sku())];
        group
    };
    // It asks, and is refused: the row names both.
    let refused = claiming.commit(hand_over(7, 2, 1)).await;
    assert_eq!(refused, Outcome::Refused(Refusal::Moved { at: 1, current: 0 }));
    assert_eq!(claiming.claim(TENANT, sku()).await, Ok(Some(aggregate(1))));
    let mut thief = commit(3, 0, 3);
    thief.claims = vec![ClaimChange::Take(sku())];
    let owned = Refusal::Claimed { at: 0, claim: sku(), owner: aggregate(1) };
    assert_eq!(claiming.commit(vec![thief.clone()]).await, Outcome::Refused(owned));
    // The second one was fenced by the thief, and comes again in a later bucket.
    assert_eq!(claiming.commit(hand_over(0, 4, 2)).await, Outcome::Applied);
    assert_eq!(claiming.claim(TENANT, sku()).await, Ok(Some(aggregate(2))));
    let owned = Refusal::Claimed { at: 0, claim: sku(), owner: aggregate(2) };
    assert_eq!(claiming.commit(vec![thief]).await, Outcome::Refused(owned));
}

/// A group of a process that vanished is decided by whoever adopts it; a batch of a journal is such a group.
#[tokio::test(start_paused = true)]
async fn a_journal_commits_batches_on_a_shared_store() {
    let store = Arc::new(MemoryStore::cluster());
    let grouping = Arc::new(Grouping::new(Arc::clone(&store) as _));
    let env = Still::of(1);
    let owner = Owner::new(Arc::clone(&grouping) as _, Arc::clone(&env) as _, vec![]);
    let journal: Journal<crate::Sum> =
        Journal::shared(Arc::clone(&grouping) as _, env.clone(), Arc::clone(&owner));
    let batch = |key, amounts: [i64; 2]| {
        let request = |to: u8| {
            let amount = amounts[usize::from(to) - 1];
            (crate::scope(to).aggregate, crate::request(key + to, crate::Change::Add(amount)))
        };
        vec![request(1), request(2)]
    };
    let tenant = crate::scope(1).tenant;
    journal.submit_all(tenant, batch(0, [5, 7])).await.expect("applied");
    assert!(journal.submit_all(tenant, batch(2, [1, -9])).await.is_err(), "one is refused");
    journal.submit_all(tenant, batch(4, [1, -7])).await.expect("applied");
    assert_eq!((crate::value(&journal, 1).await, crate::value(&journal, 2).await), (Some(6), Some(0)));
    for number in [1, 2] {
        let marks = store.marks(owner.id(), 100, None, 9).await.expect("marks");
        assert!(marks.contains(&(tenant, crate::scope(number).aggregate)), "{number} is not marked");
    }
    env.seconds.fetch_add(BUCKET_S, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(owner.sweep().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn an_adopter_decides_the_groups_of_who_vanished() {
    let world = Arc::new(World::default());
    let store = Arc::new(MemoryStore::cluster());
    let gated =
        Gated { store: Arc::clone(&store), world: Arc::clone(&world), process: 0, broken: Broken::Nothing };
    let grouping = Grouping::new(Arc::new(gated));
    let owner = Owner::new(Arc::clone(&store) as _, Still::of(1) as _, vec![]);
    let mut group = pair([0, 0], 1);
    for commit in &mut group {
        let permit = owner.enter(TENANT, commit.aggregate).await.expect("enters");
        commit.bucket = permit.bucket();
    }
    // It dies when the first member is prepared.
    let mut commit = Box::pin(grouping.commit(group));
    for _ in 0..3 {
        assert!((&mut commit).now_or_never().is_none());
        world.let_one_go();
    }
    assert!((&mut commit).now_or_never().is_none());
    drop(commit);
    let locked = store.commit(pair([0, 0], 2)[..1].to_vec()).await;
    assert!(matches!(locked, Outcome::Refused(Refusal::Locked { .. })), "{locked:?}");
    let shared: Arc<dyn RelayStore> = Arc::new(Grouping::new(Arc::clone(&store) as _));
    let adopter = Adopter::new(shared, vec![], InstanceId([9; 16]));
    let lease = store.lease(owner.id()).await.expect("reads").expect("a lease");
    assert!(adopter.adopt(owner.id(), lease).await.expect("adopts"));
    assert_eq!(store.commit(pair([0, 0], 3)[..1].to_vec()).await, Outcome::Applied);
}

/// A record that is missing may still be made: it is aborted before its lock is taken away.
#[tokio::test(start_paused = true)]
async fn a_lock_without_a_record_is_aborted_first() {
    let store = Arc::new(MemoryStore::cluster());
    let (group, tenant) = (GroupId([7; 16]), TENANT);
    let [prepared, other] = [1, 2].map(|writer| commit(1, 0, writer));
    assert_eq!(store.prepare(group, prepared).await, Outcome::Applied);
    let grouping = Grouping::new(Arc::clone(&store) as _);
    assert_eq!(grouping.head(tenant, aggregate(1)).await, Ok(None), "a reader does not abort it");
    assert_eq!(store.group(tenant, group).await, Ok(None));
    assert_eq!(grouping.commit(vec![other]).await, Outcome::Applied);
    let pending = GroupRecord { state: GroupState::Pending, members: 2 };
    assert_eq!(store.set_group(tenant, group, None, pending).await, Ok(false));
}
