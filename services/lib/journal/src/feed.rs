//! The port of a store that one process owns: which aggregates changed, in the order of its groups.
//!
//! Such a store needs no dirty marks, no fences and no adoption: what would be a mark is a record in the
//! group's own atomic write, so an entry and the fact that somebody must hear of it are durable together.
//!
//! **For the store.** With each group that it syncs, in the same atomic write, it puts one record
//! `group number -> [(tenant, aggregate, seq)]`: one for the group, not one for each commit, and none if the
//! group wrote no entry (keys alone, forgotten keys). Numbers rise and may have holes. A group is shown once
//! it is durable, never before, and then to every later read; so is what `last` and `feed_moved` say. Forgetting may be lazy: what is forgotten
//! need not be gone at once, but must not come back after a restart once `forgotten` was shown.
//!
//! **For the reader.** Positions of readers are their own affair: they keep the last group whose entries
//! they handled. A reader without a position, or with one before [`FeedPage::forgotten`], notes
//! [`FeedPage::last`], walks all heads ([`crate::store::Store::aggregates`]) and goes on from what it noted.

use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};

use crate::store::{Seq, Store, StoreError};

/// An aggregate that got entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Change {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub aggregate: AggregateId,
    /// Its sequence after the group, or after the commit.
    pub seq: Seq,
}

/// What one group changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedGroup {
    /// Its number, from 1.
    pub number: u64,
    /// The aggregates that got entries. One that got several commits may stand there more than once; its
    /// greatest sequence counts.
    pub changes: Vec<Change>,
}

/// A part of the feed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FeedPage {
    /// Groups up to this number are forgotten; 0 if none is.
    pub forgotten: u64,
    /// The last group that ever had a record, also if it is not on this page or is forgotten; 0 before the
    /// first. Never less than `forgotten`.
    pub last: u64,
    /// The groups that were asked for, in order.
    pub groups: Vec<FeedGroup>,
}

/// A store that tells which aggregates changed.
pub trait FeedStore: Store {
    /// Reads groups behind number `after`, in order, at most `limit` of them. Shows every group with a commit
    /// that was answered `Applied` before the read began.
    fn feed(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<FeedPage, StoreError>>;

    /// Forgets the groups up to number `upto`: every reader has handled them. Their entries stay.
    fn forget_feed(&self, upto: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Waits until there is a record behind number `after`; for ever if the store is closed before. May end
    /// for no reason: the caller reads and waits again.
    fn feed_moved(&self, after: u64) -> BoxFuture<'_, ()>;
}
