//! Reads: what the log holds, over what the tables hold.
//!
//! A read takes what the generations in memory say and a snapshot of the tables at one moment, so it sees each
//! group with all its records or not at all.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::feed::{FeedGroup, FeedPage};
use journal::store::{Claim, Found, Head, IndexRow, KeyHash, KeyRow, Order, Seq, StoreError};

use crate::overlay::{Change, Generation, Overlay, Scope};
use crate::records;
use crate::tables::{Table, Tables, View};

/// Entries that are read one by one: a look at each is cheaper than the beginning of a range, which opens all runs of
/// the table.
const POINT_READS_MAX: Seq = 8;

/// Everything that is stored.
#[derive(Clone)]
pub(crate) struct Contents {
    pub(crate) overlay: Arc<Overlay>,
    pub(crate) tables: Arc<Tables>,
}

/// What the generations in memory know about one record.
enum Known<'a, T> {
    /// Its value; `None` if it was removed or never was.
    Here(Option<T>),
    /// Nothing: the tables may.
    Not(View<'a>),
}

impl Contents {
    /// Asks the generations from the newest to the oldest.
    fn known<T>(&self, ask: impl Fn(&Generation) -> Option<Option<T>>) -> Known<'_, T> {
        let generations = self.overlay.read();
        match generations.iter().find_map(ask) {
            Some(value) => Known::Here(value),
            None => Known::Not(self.tables.view()),
        }
    }

    fn get<T>(
        &self,
        ask: impl Fn(&Generation) -> Option<Option<T>>,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self.known(ask) {
            Known::Here(value) => Ok(value),
            Known::Not(view) => view.get(table, key)?.map(|value| read(&value)).transpose(),
        }
    }

    pub(crate) fn seq(&self, scope: Scope) -> Result<Seq, StoreError> {
        let key = records::aggregate_key(scope.0, scope.1);
        let ask = |generation: &Generation| generation.head(scope).map(|head| Some(head.seq));
        Ok(self.get(ask, Table::Head, &key, records::read_head_seq)?.unwrap_or(0))
    }

    pub(crate) fn head(&self, scope: Scope) -> Result<Option<Head>, StoreError> {
        let key = records::aggregate_key(scope.0, scope.1);
        let ask = |generation: &Generation| generation.head(scope).map(|head| Some(head.clone()));
        self.get(ask, Table::Head, &key, records::read_head)
    }

    pub(crate) fn rows(&self, scope: Scope, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let (known, view) = {
            let generations = self.overlay.read();
            let ask = |key| generations.iter().find_map(|generation| generation.row(scope, key).cloned());
            (keys.iter().map(ask).collect::<Vec<_>>(), self.tables.view())
        };
        let read = |(key, known): (&Bytes, Option<Option<Bytes>>)| match known {
            Some(value) => Ok(value),
            None => Ok(view.get(Table::Row, &records::row_key(scope.0, scope.1, key))?.map(bytes)),
        };
        keys.iter().zip(known).map(read).collect()
    }

    pub(crate) fn scan_rows(
        &self,
        scope: Scope,
        prefix: &Bytes,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let (changes, view) = {
            let generations = self.overlay.read();
            let changes = newest(generations.iter().map(|generation| generation.rows(scope, prefix)));
            (changes, self.tables.view())
        };
        let from = records::row_key(scope.0, scope.1, prefix);
        let end = end_of(&from);
        let stored = view.range(Table::Row, (Bound::Included(from.as_slice()), as_ref(&end)));
        let stored = stored.map(|row| row.map(|(key, value)| (key.to_vec(), bytes(value))));
        let rows = merge(changes, stored).take(limit);
        rows.map(|row| row.and_then(|(key, value)| Ok((records::read_row_key(&key)?, value)))).collect()
    }

    pub(crate) fn entries(
        &self,
        scope: Scope,
        (from, to): (Seq, Seq),
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Seq, Bytes)>, StoreError> {
        if from > to {
            return Ok(Vec::new());
        }
        // Entries in memory follow those in the tables: each is in one place, or the same in both.
        let (mut recent, first, view) = {
            let generations = self.overlay.read();
            let (mut recent, mut first) = (Vec::new(), Seq::MAX);
            for generation in generations.iter() {
                let Some((begin, entries)) = generation.entries(scope, (from, to), order, limit) else {
                    continue;
                };
                first = begin;
                match order {
                    Order::Ascending => recent.splice(0..0, entries).for_each(drop),
                    Order::Descending => recent.extend(entries),
                }
            }
            (recent, first, self.tables.view())
        };
        recent.truncate(limit);
        let rest = limit - recent.len();
        let older = |limit: usize| {
            if from >= first || limit == 0 {
                return Ok(Vec::new());
            }
            let to = to.min(first.saturating_sub(1));
            if to - from < POINT_READS_MAX {
                return point_reads(&view, scope, (from, to), order, limit);
            }
            let from = records::entry_key(scope.0, scope.1, from);
            let to = records::entry_key(scope.0, scope.1, to);
            let mut stored = view.range(Table::Entry, (Bound::Included(&from), Bound::Included(&to)));
            let next = || match order {
                Order::Ascending => stored.next(),
                Order::Descending => stored.next_back(),
            };
            let entry = |(key, value): (fjall::UserKey, fjall::UserValue)| {
                Ok((records::read_entry_key(&key)?, bytes(value)))
            };
            std::iter::from_fn(next).take(limit).map(|stored| stored.and_then(entry)).collect()
        };
        match order {
            Order::Ascending => {
                let mut entries: Vec<(Seq, Bytes)> = older(limit)?;
                recent.truncate(limit - entries.len());
                entries.append(&mut recent);
                Ok(entries)
            }
            Order::Descending => {
                recent.append(&mut older(rest)?);
                Ok(recent)
            }
        }
    }

    pub(crate) fn key(&self, tenant: TenantId, hash: KeyHash) -> Result<Option<KeyRow>, StoreError> {
        let ask = |generation: &Generation| generation.key(tenant, hash).cloned();
        self.get(ask, Table::Key, &records::key_key(tenant, hash), records::read_key_row)
    }

    pub(crate) fn owner(&self, tenant: TenantId, claim: &Claim) -> Result<Option<AggregateId>, StoreError> {
        self.owner_of(&records::claim_key(tenant, claim))
    }

    /// Owner by stored key.
    pub(crate) fn owner_of(&self, key: &[u8]) -> Result<Option<AggregateId>, StoreError> {
        self.get(|generation| generation.owner(key), Table::Claim, key, records::read_owner)
    }

    pub(crate) fn index_row(
        &self,
        scope: Scope,
        index: u16,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        let key = records::index_key(scope.0, index, key, scope.1);
        let ask = |generation: &Generation| generation.index_row(&key).cloned();
        self.get(ask, Table::Index, &key, |value| Ok(Bytes::copy_from_slice(value)))
    }

    pub(crate) fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: &[u8],
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> Result<Vec<IndexRow>, StoreError> {
        let start = records::index_prefix(tenant, index, prefix);
        let end = end_of(&start);
        let after = after.map(|(key, aggregate)| records::index_key(tenant, index, &key, aggregate));
        let mut from = match after {
            Some(after) if after > start => Bound::Excluded(after),
            _ => Bound::Included(start),
        };
        let mut rows = Vec::new();
        while rows.len() < limit && !is_behind(&from, &end) {
            let part = limit - rows.len();
            let (changes, view) = {
                let generations = self.overlay.read();
                let range = (as_ref(&from), as_ref(&end));
                let changes: Vec<_> =
                    generations.iter().map(|generation| generation.index(range, part)).collect();
                (changes, self.tables.view())
            };
            // What lies behind the last change of a list that was cut is not known yet.
            let cut = changes.iter().filter(|list| list.len() == part);
            let known = cut.filter_map(|list| Some(list.last()?.0.clone())).min();
            let until = known.clone().map_or_else(|| end.clone(), Bound::Included);
            let mut changes = newest(changes.into_iter());
            if let Some(known) = &known {
                changes.retain(|key, _| key <= known);
            }
            let stored = view.range(Table::Index, (as_ref(&from), as_ref(&until)));
            let stored = stored.map(|row| row.map(|(key, value)| (key.to_vec(), bytes(value))));
            for row in merge(changes, stored).take(part) {
                let (key, value) = row?;
                rows.push(records::read_index_row(&key, &value)?);
            }
            match known {
                Some(known) => from = Bound::Excluded(known),
                None => break,
            }
        }
        Ok(rows)
    }

    pub(crate) fn aggregates(&self, after: Option<Scope>, limit: usize) -> Result<Vec<Found>, StoreError> {
        let after = after.map(|(tenant, aggregate)| records::aggregate_key(tenant, aggregate));
        let (changes, view) = {
            let generations = self.overlay.read();
            let changes = newest(generations.iter().map(|generation| {
                let behind = |(key, _): &([u8; 32], &Head)| after.is_none_or(|after| *key > after);
                let heads = smallest(generation.heads().filter(behind).collect(), limit);
                heads.into_iter().map(|(key, head)| (key.to_vec(), Some(records::head_value(head).into())))
            }));
            (changes, self.tables.view())
        };
        let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_slice()));
        let stored = view.range(Table::Head, (from, Bound::Unbounded));
        let stored = stored.map(|head| head.map(|(key, value)| (key.to_vec(), bytes(value))));
        let read = |(key, head): (Vec<u8>, Bytes)| {
            let (tenant, aggregate) = records::read_aggregate_key(&key)?;
            Ok((tenant, aggregate, records::read_head(&head)?))
        };
        merge(changes, stored).take(limit).map(|head| head.and_then(read)).collect()
    }

    pub(crate) fn feed(&self, after: u64, limit: usize) -> Result<FeedPage, StoreError> {
        let (recent, first, forgotten, view) = {
            let generations = self.overlay.read();
            let after = after.max(generations.forgotten());
            let mut lists: Vec<_> =
                generations.iter().map(|generation| generation.feed(after, limit)).collect();
            lists.reverse();
            let recent: Vec<FeedGroup> = lists.into_iter().flatten().take(limit).cloned().collect();
            let first = recent.first().map_or(u64::MAX, |group| group.number);
            (recent, first, generations.forgotten(), self.tables.view())
        };
        let (from, to) = (after.max(forgotten).to_be_bytes(), first.to_be_bytes());
        let mut groups = Vec::new();
        if from < to {
            let stored = view.range(Table::Feed, (Bound::Excluded(&from), Bound::Excluded(&to)));
            for group in stored.take(limit) {
                let (key, value) = group?;
                groups.push(records::read_feed_group(&key, &value)?);
            }
        }
        groups.extend(recent.into_iter().take(limit - groups.len()));
        Ok(FeedPage { forgotten, last: *self.overlay.last().borrow(), groups })
    }

    /// Keys by stored key with their rows, behind `from`, at most `limit`.
    pub(crate) fn keys(
        &self,
        from: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, KeyRow)>, StoreError> {
        let behind = |key: &[u8]| match from {
            Bound::Unbounded => true,
            Bound::Excluded(from) => key > from,
            Bound::Included(from) => key >= from,
        };
        let (changes, view) = {
            let generations = self.overlay.read();
            let changes = newest(generations.iter().map(|generation| {
                let keys = generation.keys().filter(|(key, _)| behind(key));
                keys.map(|(key, row)| (key.to_vec(), row.map(|row| records::key_value(row).into())))
            }));
            (changes, self.tables.view())
        };
        let stored = view.range(Table::Key, (from, Bound::Unbounded));
        let stored = stored.map(|row| row.map(|(key, value)| (key.to_vec(), bytes(value))));
        let read = |(key, row): (Vec<u8>, Bytes)| Ok((key, records::read_key_row(&row)?));
        merge(changes, stored).take(limit).map(|row| row.and_then(read)).collect()
    }
}

fn point_reads(
    view: &View<'_>,
    scope: Scope,
    (from, to): (Seq, Seq),
    order: Order,
    limit: usize,
) -> Result<Vec<(Seq, Bytes)>, StoreError> {
    let read = |seq| {
        let entry = view.get(Table::Entry, &records::entry_key(scope.0, scope.1, seq));
        entry.map(|entry| entry.map(|entry| (seq, bytes(entry)))).transpose()
    };
    match order {
        Order::Ascending => (from..=to).filter_map(read).take(limit).collect(),
        Order::Descending => (from..=to).rev().filter_map(read).take(limit).collect(),
    }
}

/// The `limit` items with the smallest keys, in no order: what a page of so many may begin with.
fn smallest<K: Ord, T>(mut items: Vec<(K, T)>, limit: usize) -> Vec<(K, T)> {
    if limit < items.len() {
        items.select_nth_unstable_by(limit, |(one, _), (other, _)| one.cmp(other));
        items.truncate(limit);
    }
    items
}

/// Puts lists of changes over each other, the newest first.
pub(crate) fn newest(
    lists: impl Iterator<Item = impl IntoIterator<Item = Change>>,
) -> BTreeMap<Vec<u8>, Option<Bytes>> {
    let mut changes = BTreeMap::new();
    for (key, value) in lists.flatten() {
        changes.entry(key).or_insert(value);
    }
    changes
}

/// Merges changes with stored records, both in order of the keys; a change hides the stored record.
pub(crate) fn merge(
    changes: BTreeMap<Vec<u8>, Option<Bytes>>,
    stored: impl Iterator<Item = Result<(Vec<u8>, Bytes), StoreError>>,
) -> impl Iterator<Item = Result<(Vec<u8>, Bytes), StoreError>> {
    let (mut changes, mut stored) = (changes.into_iter().peekable(), stored.peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (changes.peek(), stored.peek()) {
                (None, None) => return None,
                (_, Some(Err(_))) | (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some((changed, _)), Some(Ok((key, _)))) => changed.cmp(key),
            };
            if order == Ordering::Greater {
                return stored.next();
            }
            if order == Ordering::Equal {
                stored.next();
            }
            if let Some((key, Some(value))) = changes.next() {
                return Some(Ok((key, value)));
            }
        }
    })
}

/// The smallest key behind all keys that begin with `prefix`.
pub(crate) fn end_of(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// Whether nothing can lie between the bounds.
fn is_behind(from: &Bound<Vec<u8>>, end: &Bound<Vec<u8>>) -> bool {
    matches!((from, end), (Bound::Excluded(from) | Bound::Included(from), Bound::Excluded(end)) if from >= end)
}

fn as_ref(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

pub(crate) fn bytes(value: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(value.as_ref())
}
