//! Entries become leaves: all of them, once, in order.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use journal::memory::MemoryStore;
use journal::store::{Commit, NO_BUCKET, Outcome, Store as _};

use crate::world::{World, counter, tenant};

async fn filled(world: &World) {
    for number in 1..4 {
        World::count(&world.apples, tenant(1), number, "key_a", 0..90).await;
    }
    World::count(&world.pears, tenant(1), 1, "key_b", 0..300).await;
    World::count(&world.pears, tenant(2), 1, "key_c", 0..5).await;
}

/// INV-7: whoever starts, stops and starts again, each entry is a leaf once.
#[tokio::test]
async fn every_entry_is_a_leaf_once() {
    for fed in [true, false] {
        let world = World::new(fed);
        assert_eq!(world.catch_up().await, 0);
        filled(&world).await;
        assert_eq!(world.catch_up().await, 575);
        assert_eq!(world.catch_up().await, 0);
        let again = world.restarted();
        assert_eq!(again.catch_up().await, 0);
        World::count(&world.apples, tenant(1), 2, "key_a", 0..10).await;
        assert_eq!(again.catch_up().await, 10);
        assert_eq!(world.restarted().catch_up().await, 0);
        again.complete(tenant(1), 580).await;
        again.complete(tenant(2), 5).await;
        again.complete(tenant(3), 0).await;
        again.check().await;
    }
}

/// INV-7: several that consume the same journals at once do not make two leaves of an entry.
#[tokio::test]
async fn several_consumers_make_one_leaf_of_an_entry() {
    for fed in [true, false] {
        let world = World::new(fed);
        filled(&world).await;
        let others: Vec<World> = (0..4).map(|_| world.restarted()).collect();
        join_all(others.iter().map(World::catch_up)).await;
        world.catch_up().await;
        world.complete(tenant(1), 570).await;
        world.complete(tenant(2), 5).await;
        world.check().await;
    }
}

/// What is written while the consumers run becomes leaves without anybody asking.
#[tokio::test(start_paused = true)]
async fn running_consumers_follow() {
    for fed in [true, false] {
        let world = World::new(fed);
        let running = world.audit.consumers().start();
        filled(&world).await;
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(3600);
        loop {
            let found = world.audit.app().completeness(tenant(1), None, 1000).await.unwrap();
            if found.gaps.is_empty() && found.entries == 570 {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{found:?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        running.stop().await;
        world.complete(tenant(1), 570).await;
    }
}

/// An entry that nobody understands is a leaf like others, and says that it is not understood.
#[tokio::test]
async fn what_nobody_understands_is_a_leaf() {
    let world = World::new(true);
    World::count(&world.apples, tenant(1), 1, "key_a", [1, 13, 1]).await;
    assert_eq!(world.catch_up().await, 3);
    let ctx = crate::world::ctx(tenant(1), "auditor");
    let page = world.audit.app().list(&ctx, &Default::default(), 10, "").await.unwrap();
    let actions: Vec<_> = page.events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["count.one", "apples.unreadable", "count.one"]);
    assert!(page.events.iter().all(|event| event.actor == "key_a" && event.resource == "ctr_1"));
}

/// What is missing is named: before it is consumed, where a journal was cut, exchanged, or cannot be followed.
#[tokio::test]
async fn what_is_missing_is_named() {
    let world = World::new(false);
    World::count(&world.apples, tenant(1), 1, "key_a", 0..5).await;
    World::count(&world.apples, tenant(1), 2, "key_a", 0..5).await;
    let gaps = async |world: &World| {
        let found = world.audit.app().completeness(tenant(1), None, 1000).await.unwrap();
        let gaps = found.gaps.into_iter();
        gaps.map(|gap| (gap.aggregate, gap.head, gap.covered, gap.contradicts)).collect::<Vec<_>>()
    };
    assert_eq!(gaps(&world).await, [(counter(1), 5, 0, false), (counter(2), 5, 0, false)]);
    world.catch_up().await;
    assert_eq!(gaps(&world).await, []);

    // Another journal in the place of the one that was consumed: shorter, of the same length, longer.
    for (entries, head) in [(3, 3), (5, 5), (8, 8)] {
        let other = Arc::new(MemoryStore::default());
        World::count(&other, tenant(1), 1, "key_x", 0..entries).await;
        World::count(&other, tenant(1), 2, "key_x", 0..5).await;
        let pears = Arc::clone(&world.pears);
        let changed = World::over(false, other, pears, Arc::clone(&world.own), Arc::clone(&world.memory));
        assert_eq!(gaps(&changed).await, [(counter(1), head, 5, true), (counter(2), 5, 5, true)]);
    }

    // An entry that does not continue its journal is no leaf, and the others go on.
    let head = world.apples.head(tenant(1), counter(1)).await.unwrap().unwrap();
    let mut forged = Commit {
        tenant: tenant(1),
        aggregate: counter(1),
        expect: head.seq,
        bucket: NO_BUCKET,
        head: head.clone(),
        entries: vec![Bytes::from(vec![7; 100])],
        rows: vec![],
        keys: vec![],
        claims: vec![],
        index: vec![],
    };
    forged.head.seq += 1;
    assert_eq!(world.apples.commit(vec![forged]).await, Outcome::Applied);
    World::count(&world.apples, tenant(1), 2, "key_a", [1]).await;
    assert_eq!(world.catch_up().await, 1);
    let found = world.audit.app().completeness(tenant(1), None, 1000).await.unwrap();
    assert_eq!(found.gaps.len(), 1);
    assert_eq!((found.gaps[0].head, found.gaps[0].covered), (6, 5));
    assert!(found.gaps[0].parked.contains("hash chain"), "{:?}", found.gaps);
    world.check().await;
}

/// A comparison of many aggregates goes on where it stopped.
#[tokio::test]
async fn completeness_is_paged() {
    let world = World::new(true);
    for number in 1..200 {
        World::count(&world.apples, tenant(1), number, "key_a", [1, 2]).await;
        World::count(&world.pears, tenant(1), number, "key_a", [1]).await;
    }
    World::count(&world.pears, tenant(2), 1, "key_a", [1]).await;
    world.catch_up().await;
    let (mut aggregates, mut entries, mut from, mut calls) = (0, 0, None, 0);
    loop {
        let found = world.audit.app().completeness(tenant(1), from, 1).await.unwrap();
        assert_eq!(found.gaps, vec![]);
        (aggregates, entries, calls) = (aggregates + found.aggregates, entries + found.entries, calls + 1);
        from = found.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!((aggregates, entries), (398, 597));
    assert!(1 < calls);
}
