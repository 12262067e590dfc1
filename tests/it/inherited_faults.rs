//! What is told of changes above a business when stored data is damaged or lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::SystemEnv;
use journal::store::Commit;
use serde_json::json;

use crate::errors;
use crate::inherited_changes::{Group, TREE, each, is_inherited};
use crate::rest::text;
use crate::spy::Spy;
use crate::world::World;

fn catalog(group: &Group) -> &Spy {
    group.world.stores().find(|(name, _)| *name == "catalog").expect("a store").1
}

/// HIE-9: a product whose old entries cannot be read is parked, also when a policy is about it, and everybody hears of
/// all others; once it can be read again, it is told of what was missed.
#[tokio::test]
async fn a_damaged_product_holds_up_no_other() {
    let group = Group::of(World::new().await, &TREE).await;
    let (broken, tea) = (group.product("Broken").await, group.product("Tea").await);
    for product in [&broken, &tea] {
        group.patch("far east", product, &json!({"name": "Ours"})).await.ok(200);
    }
    group.world.follow().await;
    let changed = catalog(&group).commits();
    let is_its = |commit: &&Commit| {
        !is_inherited(commit)
            && commit.entries.iter().any(|entry| entry.windows(6).any(|part| part == b"Broken"))
    };
    let aggregate = changed.iter().find(is_its).expect("it was made").aggregate;
    // What the process remembers of products is gone.
    let mut group = Group { world: group.world.again(Arc::new(SystemEnv)).await, ..group };
    group.tenant.rest = group.world.rest(&group.tenant.key);
    let seen = &mut BTreeMap::new();
    group.news(seen).await;

    errors::expect(&format!("aggregate={aggregate}"));
    catalog(&group).damage(Some(aggregate));
    for product in [&broken, &tea] {
        group.patch("master", product, &json!({"brand": "New"})).await.ok(200);
    }
    let all = ["east", "far east", "far west", "north", "west"];
    assert_eq!(group.news(seen).await, each(all, "UPDATED brand"), "of one of them");
    group.policy("master", "text", "LOCKED", &json!({"existingOverrides": "SUSPEND"})).await.ok(200);
    assert_eq!(group.news(seen).await, each(["far east"], "POLICY name"), "of one of them");
    let check = group.world.platform.follower.check().await.expect("it can be read");
    assert_eq!((check.parked.count, check.behind.count), (1, 0));

    catalog(&group).damage(None);
    // Whoever begins to follow tries again what is parked.
    let running = group.world.platform.follower.start();
    while group.heard("far east").await.len() < seen["far east"] + 2 {
        tokio::task::yield_now().await;
    }
    running.stop().await;
    let mut news = each(["east", "far west", "north", "west"], "UPDATED brand");
    news.insert("far east", vec!["POLICY name".to_owned(), "UPDATED brand".to_owned()]);
    assert_eq!(group.news(seen).await, news);
    group.world.close().await;
}

/// INV-7: what was told of entries that a journal has lost is found, by `verify`, too.
#[tokio::test]
async fn what_was_told_of_lost_entries_is_found() {
    let group = Group::of(World::new().await, &TREE).await;
    let tea = group.product("Tea").await;
    let revision = group.patch("master", &tea, &json!({"brand": "Lost"})).await.ok(200).json["etag"].clone();
    let revision: u64 = text(&revision).trim_matches('"').parse().expect("a number");
    let behind = group.world.platform.follower.check().await.expect("it can be read");
    assert_eq!((behind.behind.count, behind.beyond.count), (1, 0), "it is told of nothing yet");
    group.world.follow().await;
    assert!(group.world.platform.follower.check().await.expect("it can be read").is_complete());
    let lost = |commit: &Commit| !is_inherited(commit) && commit.head.seq == revision;
    let world = group.world.with_catalog(|commit| !lost(commit)).await;
    let found = world.platform.follower.check().await.expect("it can be read");
    assert_eq!((found.behind.count, found.beyond.count, found.differing.count), (0, 1, 0));
}
