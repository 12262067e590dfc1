//! The feed of the reference store.

use std::collections::BTreeMap;
use std::ops::Bound;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::MemoryStore;
use crate::feed::{Change, FeedGroup, FeedPage, FeedStore};
use crate::store::{Commit, StoreError};

#[derive(Default, Debug)]
pub(super) struct Feed {
    groups: BTreeMap<u64, Vec<Change>>,
    last: u64,
    forgotten: u64,
}

impl Feed {
    pub(super) fn add(&mut self, group: &[Commit]) {
        let change = |commit: &Commit| Change {
            tenant: commit.tenant,
            aggregate: commit.aggregate,
            seq: commit.head.seq,
        };
        let wrote = group.iter().filter(|commit| !commit.entries.is_empty());
        let changes: Vec<_> = wrote.map(change).collect();
        if !changes.is_empty() {
            self.last += 1;
            self.groups.insert(self.last, changes);
        }
    }

    fn page(&self, after: u64, limit: usize) -> FeedPage {
        let groups = self.groups.range((Bound::Excluded(after), Bound::Unbounded)).take(limit);
        let groups = groups.map(|(number, changes)| FeedGroup { number: *number, changes: changes.clone() });
        FeedPage { forgotten: self.forgotten, last: self.last, groups: groups.collect() }
    }
}

impl FeedStore for MemoryStore {
    fn feed(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<FeedPage, StoreError>> {
        self.read(move |tables| tables.feed.page(after, limit))
    }

    fn forget_feed(&self, upto: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |tables| {
            let feed = &mut tables.feed;
            feed.forgotten = feed.forgotten.max(upto.min(feed.last));
            feed.groups = feed.groups.split_off(&(feed.forgotten + 1));
        })
    }

    fn feed_moved(&self, after: u64) -> BoxFuture<'_, ()> {
        async move {
            // Registered before the look, so that no group in between is missed.
            let moved = self.moved.notified();
            let last = self.tables.lock().feed.last;
            if last <= after {
                moved.await;
            }
        }
        .boxed()
    }
}
