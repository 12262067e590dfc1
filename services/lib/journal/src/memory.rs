//! The reference store: ordered maps behind a lock. For tests, and what the other stores are compared
//! with.
//!
//! It behaves like a store that one process owns ([`MemoryStore::default`]: groups, claims in the commit, a
//! feed), or like one that several processes share ([`MemoryStore::cluster`]: commits one by one, fences,
//! marks, claims and index rows as steps of their own).

mod feed;
mod group;
mod relay;
mod seal;

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bug;
use crate::store::{
    Claim, ClaimChange, Commit, Head, IndexRow, KeyHash, KeyRow, Order, Outcome, Refusal, Seq, Store,
    StoreError, check_group,
};

/// Keeps everything in memory and forgets it when dropped.
#[derive(Default, Debug)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
    /// Several processes share it.
    cluster: bool,
    /// Wakes who waits for the feed.
    moved: Notify,
}

#[derive(Default, Debug)]
struct Tables {
    heads: BTreeMap<(TenantId, AggregateId), Head>,
    entries: BTreeMap<(TenantId, AggregateId, Seq), Bytes>,
    rows: BTreeMap<(TenantId, AggregateId, Bytes), Bytes>,
    keys: BTreeMap<(TenantId, KeyHash), KeyRow>,
    claims: BTreeMap<(TenantId, Claim), AggregateId>,
    index: BTreeMap<(TenantId, u16, Bytes, AggregateId), Bytes>,
    feed: feed::Feed,
    relay: relay::Tables,
    sealed: seal::Sealed,
    groups: group::Groups,
}

/// What a group would make of the claims: `None` is free.
type Claimed = BTreeMap<(TenantId, Claim), Option<AggregateId>>;

impl Tables {
    /// Commits a group of a store that one process owns.
    fn commit_group(&mut self, group: Vec<Commit>) -> Result<(), Refusal> {
        check_group(&group)?;
        self.check_heads(&group)?;
        let mut claimed = Claimed::new();
        for (at, commit) in group.iter().enumerate() {
            self.claim(at, commit, &mut claimed)?;
        }
        for (claim, owner) in claimed {
            match owner {
                Some(owner) => self.claims.insert(claim, owner),
                None => self.claims.remove(&claim),
            };
        }
        self.feed.add(&group);
        group.into_iter().for_each(|commit| self.apply(commit));
        Ok(())
    }

    /// Commits to one aggregate of a store that several processes share.
    fn commit_one(&mut self, group: Vec<Commit>) -> Result<(), Refusal> {
        check_group(&group)?;
        if group.len() > 1 {
            return Err(Refusal::Invalid { at: 1, rule: "more than one commit on a shared store" });
        }
        self.check_shared(&group)?;
        group.into_iter().for_each(|commit| self.apply_shared(commit));
        Ok(())
    }

    fn check_heads(&self, group: &[Commit]) -> Result<(), Refusal> {
        for (at, commit) in group.iter().enumerate() {
            let current = self.seq(commit.tenant, commit.aggregate);
            if current != commit.expect && !bug::is("skip the expect check") {
                return Err(Refusal::Moved { at, current });
            }
            let fence = self.relay.fence(commit.tenant, commit.aggregate);
            if commit.bucket <= fence {
                return Err(Refusal::Fenced { at, fence });
            }
        }
        Ok(())
    }

    fn seq(&self, tenant: TenantId, aggregate: AggregateId) -> Seq {
        self.heads.get(&(tenant, aggregate)).map_or(0, |head| head.seq)
    }

    fn claim(&self, at: usize, commit: &Commit, claimed: &mut Claimed) -> Result<(), Refusal> {
        let owner = |claimed: &Claimed, claim: &(TenantId, Claim)| match claimed.get(claim) {
            Some(owner) => *owner,
            None => self.claims.get(claim).copied(),
        };
        for change in &commit.claims {
            let ClaimChange::Release(claim) = change else { continue };
            let claim = (commit.tenant, claim.clone());
            if owner(claimed, &claim) == Some(commit.aggregate) {
                claimed.insert(claim, None);
            }
        }
        for change in &commit.claims {
            let ClaimChange::Take(claim) = change else { continue };
            let claim = (commit.tenant, claim.clone());
            match owner(claimed, &claim) {
                Some(owner) if owner != commit.aggregate => {
                    return Err(Refusal::Claimed { at, claim: claim.1, owner });
                }
                _ => claimed.insert(claim, Some(commit.aggregate)),
            };
        }
        Ok(())
    }

    fn apply(&mut self, commit: Commit) {
        let Commit { tenant, aggregate, expect, bucket: _, head, entries, rows, keys, claims: _, index } =
            commit;
        self.heads.insert((tenant, aggregate), head);
        for (seq, entry) in (expect + 1..).zip(entries) {
            self.entries.insert((tenant, aggregate, seq), entry);
        }
        for (key, value) in rows {
            set(&mut self.rows, (tenant, aggregate, key), value);
        }
        for (hash, row) in keys {
            self.keys.insert((tenant, hash), row);
        }
        for change in index {
            set(&mut self.index, (tenant, change.index, change.key, aggregate), change.value);
        }
    }
}

fn set<K: Ord>(table: &mut BTreeMap<K, Bytes>, key: K, value: Option<Bytes>) {
    match value {
        Some(value) => table.insert(key, value),
        None => table.remove(&key),
    };
}

impl MemoryStore {
    /// Makes a store that behaves as if several processes shared it. Its commits have a bucket, and their
    /// claims are valid only with [`crate::relay_store::RelayStore::set_claim_row`] before.
    #[must_use]
    pub fn cluster() -> MemoryStore {
        MemoryStore { cluster: true, ..MemoryStore::default() }
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        read: impl FnOnce(&Tables) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        async move { Ok(read(&self.tables.lock())) }.boxed()
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        write: impl FnOnce(&mut Tables) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        async move { Ok(write(&mut self.tables.lock())) }.boxed()
    }
}

impl Store for MemoryStore {
    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        async move {
            let done = {
                let mut tables = self.tables.lock();
                if self.cluster { tables.commit_one(group) } else { tables.commit_group(group) }
            };
            match done {
                Ok(()) => {
                    self.moved.notify_waiters();
                    Outcome::Applied
                }
                Err(refusal) => Outcome::Refused(refusal),
            }
        }
        .boxed()
    }

    fn head(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Head>, StoreError>> {
        self.read(move |tables| tables.heads.get(&(tenant, aggregate)).cloned())
    }

    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, StoreError>> {
        self.read(move |tables| {
            keys.into_iter().map(|key| tables.rows.get(&(tenant, aggregate, key)).cloned()).collect()
        })
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        self.read(move |tables| {
            let from = (tenant, aggregate, prefix.clone());
            let rows = tables
                .rows
                .range(from..)
                .take_while(|((t, a, key), _)| *t == tenant && *a == aggregate && key.starts_with(&prefix));
            rows.take(limit).map(|((_, _, key), value)| (key.clone(), value.clone())).collect()
        })
    }

    fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Seq, Bytes)>, StoreError>> {
        self.read(move |tables| {
            if from > to {
                return Vec::new();
            }
            let range = tables.entries.range((tenant, aggregate, from)..=(tenant, aggregate, to));
            let entries = range.map(|((_, _, seq), entry)| (*seq, entry.clone()));
            match order {
                Order::Ascending => entries.take(limit).collect(),
                Order::Descending => entries.rev().take(limit).collect(),
            }
        })
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        self.read(move |tables| tables.keys.get(&(tenant, hash)).cloned())
    }

    fn claim(
        &self,
        tenant: TenantId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Option<AggregateId>, StoreError>> {
        let cluster = self.cluster;
        self.read(move |tables| match cluster {
            true => tables.relay.owner(tenant, &claim),
            false => tables.claims.get(&(tenant, claim)).copied(),
        })
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreError>> {
        self.read(move |tables| {
            let least = AggregateId::from_bytes([0; 16]);
            let from = match after {
                Some((key, aggregate)) if key >= prefix => Bound::Excluded((tenant, index, key, aggregate)),
                _ => Bound::Included((tenant, index, prefix.clone(), least)),
            };
            let rows = tables
                .index
                .range((from, Bound::Unbounded))
                .take_while(|((t, i, key, _), _)| *t == tenant && *i == index && key.starts_with(&prefix));
            let rows = rows.take(limit).map(|((_, _, key, aggregate), value)| IndexRow {
                key: key.clone(),
                aggregate: *aggregate,
                value: value.clone(),
            });
            rows.collect()
        })
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.read(move |tables| tables.index.get(&(tenant, index, key, aggregate)).cloned())
    }

    fn aggregates(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(TenantId, AggregateId, Head)>, StoreError>> {
        self.read(move |tables| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let heads = tables.heads.range((from, Bound::Unbounded)).take(limit);
            heads.map(|((tenant, aggregate), head)| (*tenant, *aggregate, head.clone())).collect()
        })
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        async move {
            let mut tables = self.tables.lock();
            let expired = tables.keys.iter().filter(|(_, row)| row.expires_s != 0 && row.expires_s < now_s);
            let expired: Vec<_> = expired.map(|(key, _)| *key).take(limit).collect();
            for key in &expired {
                tables.keys.remove(key);
            }
            Ok(expired.len())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::claims::Claiming;
    use crate::feed::FeedStore;
    use crate::group::{GroupStore, Grouping};
    use crate::relay_store::RelayStore;

    crate::store_contract!(memory, || (Arc::new(MemoryStore::default()) as crate::SharedStore, ()));
    crate::feed_contract!(feed, || (Arc::new(MemoryStore::default()) as Arc<dyn FeedStore>, ()));
    crate::relay_contract!(relayed, || (Arc::new(MemoryStore::cluster()) as Arc<dyn RelayStore>, ()));
    crate::group_contract!(grouped, || (Arc::new(MemoryStore::cluster()) as Arc<dyn GroupStore>, ()));
    crate::relay_contract!(relayed_in_groups, || {
        (Arc::new(Grouping::new(Arc::new(MemoryStore::cluster()))) as Arc<dyn RelayStore>, ())
    });
    crate::store_contract!(shared, || {
        let grouping = Arc::new(Grouping::new(Arc::new(MemoryStore::cluster())));
        (Arc::new(Claiming::new(grouping)) as crate::SharedStore, ())
    });
}
