//! The feed of a store that one process owns.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{join, join_all};

use super::*;
use crate::feed::{Change, FeedPage, FeedStore};

async fn page(store: &Arc<dyn FeedStore>, after: u64, limit: usize) -> FeedPage {
    store.feed(after, limit).await.expect("feed")
}

async fn put(store: &Arc<dyn FeedStore>, group: Vec<Commit>) {
    assert_eq!(store.commit(group).await, Outcome::Applied);
}

fn change(to: u8, seq: Seq) -> Change {
    Change { tenant: tenant(1), aggregate: aggregate(to), seq }
}

/// Before the first entry there is nothing to hear of.
pub async fn the_feed_of_a_new_store_is_empty(store: Arc<dyn FeedStore>) {
    assert_eq!(page(&store, 0, 10).await, FeedPage::default());
    assert_eq!(page(&store, 7, 10).await.groups, []);
}

/// INV-7: a commit that was answered is in the feed, with the sequence that it led to; groups come in the
/// order in which they were answered.
pub async fn the_feed_has_every_acknowledged_commit(store: Arc<dyn FeedStore>) {
    let mut expected = Vec::new();
    for seq in 0..5 {
        put(&store, vec![commit(1, seq, 1)]).await;
        put(&store, vec![commit(2, seq * 2, 2), commit(3, seq, 1)]).await;
        expected.extend([change(1, seq + 1), change(2, seq * 2 + 2), change(3, seq + 1)]);
    }
    let page = page(&store, 0, 100).await;
    assert!(page.groups.is_sorted_by(|one, two| one.number < two.number), "{page:?}");
    let mut heard: Vec<_> = page.groups.iter().flat_map(|group| group.changes.clone()).collect();
    assert_eq!(page.last, page.groups.last().expect("groups").number);
    // Within a group the order is free.
    heard.sort_by_key(|change| (change.seq, *change));
    expected.sort_by_key(|change| (change.seq, *change));
    assert_eq!(heard, expected);
}

/// What wrote no entry is not in the feed: idempotency keys alone, refused commits.
pub async fn the_feed_has_entries_only(store: Arc<dyn FeedStore>) {
    put(&store, vec![commit(1, 0, 0).key(1, 0)]).await;
    let late = store.commit(vec![commit(2, 5, 1)]).await;
    assert!(matches!(late, Outcome::Refused(Refusal::Moved { .. })), "{late:?}");
    assert_eq!(page(&store, 0, 10).await.groups, []);
    put(&store, vec![commit(1, 0, 0).key(2, 0), commit(2, 0, 1)]).await;
    let groups = page(&store, 0, 10).await.groups;
    assert_eq!(groups.iter().flat_map(|group| &group.changes).collect::<Vec<_>>(), [&change(2, 1)]);
}

/// Pages join without a gap and without an overlap, whatever their size.
pub async fn the_feed_is_paged(store: Arc<dyn FeedStore>) {
    for seq in 0..7 {
        put(&store, vec![commit(1, seq, 1)]).await;
    }
    let all = page(&store, 0, 100).await.groups;
    for size in 1..=8 {
        let (mut joined, mut after) = (Vec::new(), 0);
        loop {
            let next = page(&store, after, size).await.groups;
            let Some(last) = next.last() else { break };
            assert!(next.len() <= size);
            after = last.number;
            joined.extend(next);
        }
        assert_eq!(joined, all, "pages of {size}");
    }
}

/// Forgetting takes groups away up to a number and no others, shows that it did, and touches no entry;
/// forgetting the future forgets nothing that is yet to come.
pub async fn the_feed_is_forgotten_up_to_a_number(store: Arc<dyn FeedStore>) {
    for seq in 0..4 {
        put(&store, vec![commit(1, seq, 1)]).await;
    }
    let all = page(&store, 0, 10).await.groups;
    store.forget_feed(all[1].number).await.expect("forget");
    let rest = page(&store, 0, 10).await;
    assert_eq!((rest.forgotten, rest.last), (all[1].number, all[3].number));
    assert_eq!(page(&store, rest.forgotten, 10).await.groups, all[2..]);
    store.forget_feed(all[0].number).await.expect("forget");
    assert_eq!(page(&store, 0, 10).await.forgotten, all[1].number, "never less");

    store.forget_feed(u64::MAX).await.expect("forget");
    let none = page(&store, all[3].number, 10).await;
    assert_eq!((none.groups.len(), none.last), (0, all[3].number));
    assert!(none.forgotten <= none.last);
    put(&store, vec![commit(1, 4, 1)]).await;
    let new = page(&store, none.last, 10).await;
    assert_eq!(new.groups.iter().flat_map(|group| &group.changes).collect::<Vec<_>>(), [&change(1, 5)]);
    let entries = store.entries(tenant(1), aggregate(1), 0, Seq::MAX, crate::store::Order::Ascending, 9);
    assert_eq!(entries.await.expect("entries").len(), 5);
}

/// Whoever waits is woken by the next group, also by one that was written before it began to wait.
pub async fn the_feed_wakes_who_waits(store: Arc<dyn FeedStore>) {
    assert!(store.feed_moved(0).now_or_never().is_none(), "nothing has moved");
    let waiting = store.feed_moved(0);
    let writing = async {
        tokio::task::yield_now().await;
        put(&store, vec![commit(1, 0, 1)]).await;
    };
    join(waiting, writing).await;
    let last = page(&store, 0, 10).await.last;
    store.feed_moved(0).await;
    assert!(store.feed_moved(last).now_or_never().is_none(), "nothing has moved since");
}

/// Under many writers the feed shows each aggregate's way without a gap: who adds up what it heard knows
/// every head.
pub async fn the_feed_of_racing_writers_is_complete(store: Arc<dyn FeedStore>) {
    let writers = (1..=8).map(|to| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for seq in 0..20 {
                put(&store, vec![commit(to, seq, 1)]).await;
            }
        })
    });
    for done in join_all(writers).await {
        done.expect("no writer panics");
    }
    let mut heard: BTreeMap<AggregateId, Vec<Seq>> = BTreeMap::new();
    for group in page(&store, 0, usize::MAX).await.groups {
        for change in group.changes {
            heard.entry(change.aggregate).or_default().push(change.seq);
        }
    }
    for to in 1..=8 {
        let seqs = &heard[&aggregate(to)];
        assert!(seqs.is_sorted(), "{seqs:?}");
        assert_eq!(seqs.last(), Some(&20));
    }
}
