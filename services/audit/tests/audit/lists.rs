//! Searches.

use audit::domain::summary::Filter;

use crate::world::{World, ctx, tenant};

async fn found(world: &World, filter: &Filter, size: usize) -> Vec<u64> {
    let (ctx, mut found, mut token) = (ctx(tenant(1), "auditor"), Vec::new(), String::new());
    loop {
        let page = world.audit.app().list(&ctx, filter, size, &token).await.unwrap();
        assert!(page.events.len() <= size);
        for event in page.events {
            assert!(filter.actor.as_ref().is_none_or(|actor| *actor == event.actor));
            assert!(filter.action.as_ref().is_none_or(|action| *action == event.action));
            assert!(filter.resource.as_ref().is_none_or(|resource| *resource == event.resource));
            assert!(filter.from.is_none_or(|from| from <= event.recorded_at));
            assert!(filter.before.is_none_or(|before| event.recorded_at < before));
            assert_eq!(
                (event.actor_kind.as_str(), event.request_id),
                ("api_key", format!("req_{}", event.actor))
            );
            found.push(event.index);
        }
        if page.next.is_empty() {
            return found;
        }
        token = page.next;
    }
}

/// Whatever is asked for and however it is paged, what matches is found once, newest first; pages hold on to the
/// log as it was when the search began.
#[tokio::test]
async fn what_matches_is_found_once_newest_first() {
    let world = World::new(true);
    World::count(&world.apples, tenant(1), 1, "key_a", (0..700).map(|n| n % 3)).await;
    world.catch_up().await;
    World::count(&world.apples, tenant(1), 2, "key_rare", [1]).await;
    World::count(&world.pears, tenant(1), 2, "key_b", [0, 1, 2]).await;
    World::count(&world.pears, tenant(2), 2, "key_b", [0, 1, 2]).await;
    world.catch_up().await;
    let some = |text: &str| Some(text.to_owned());
    let all = found(&world, &Filter::default(), 500).await;
    assert_eq!(all, (0..704).rev().collect::<Vec<_>>());
    for size in [1, 7, 300] {
        if 1 < size {
            assert_eq!(found(&world, &Filter::default(), size).await, all);
            let ones = Filter { action: some("count.one"), ..Filter::default() };
            assert_eq!(found(&world, &ones, size).await.len(), 233 + 2);
        }
        let rare = Filter { actor: some("key_rare"), ..Filter::default() };
        assert_eq!(found(&world, &rare, size).await.len(), 1);
        let both = Filter { resource: some("ctr_2"), action: some("count.one"), ..Filter::default() };
        assert_eq!(found(&world, &both, size).await.len(), 2);
        let nothing = Filter { actor: some("key_a"), resource: some("ctr_2"), ..Filter::default() };
        assert_eq!(found(&world, &nothing, size).await, Vec::<u64>::new());
    }
    let page = world.audit.app().list(&ctx(tenant(1), "auditor"), &Filter::default(), 500, "").await.unwrap();
    let middle = page.events[250].recorded_at;
    let since = Filter { from: Some(middle), ..Filter::default() };
    let until = Filter { before: Some(middle), ..Filter::default() };
    let (since, until) = (found(&world, &since, 100).await, found(&world, &until, 100).await);
    assert_eq!(since.len() + until.len(), 704);
    assert!(since.contains(&page.events[250].index));

    // A page token belongs to its search.
    let ones = Filter { action: some("count.one"), ..Filter::default() };
    let app = world.audit.app();
    assert!(app.list(&ctx(tenant(1), "auditor"), &ones, 500, &page.next).await.is_err());
    assert!(app.list(&ctx(tenant(2), "auditor"), &Filter::default(), 500, &page.next).await.is_err());
    // What comes later does not move a search that has begun.
    World::count(&world.apples, tenant(1), 3, "key_a", [1, 1, 1]).await;
    world.catch_up().await;
    let next = app.list(&ctx(tenant(1), "auditor"), &Filter::default(), 500, &page.next).await.unwrap();
    assert_eq!(next.events[0].index + 1, page.events[499].index);
}
