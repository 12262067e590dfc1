//! Commits and reads.

use std::collections::HashMap;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use futures::{FutureExt, TryFutureExt};
use ids::{AggregateId, TenantId};
use journal::group::Look;
use journal::relay_store::RelayStore;
use journal::store::{
    AttemptId, Chain, Claim, Commit, Found, GroupId, Head, IndexRow, KeyHash, KeyRow, Order, Outcome,
    Refusal, Seq, Store, StoreError, check_group,
};
use recent::Recent;

use crate::batch;
use crate::codec::{fixed, read_key_row};
use crate::config::Config;
use crate::db::{Bound, Db, Value, blob, damaged, int, limit as bound_limit, tiny};
use crate::error::Error;
use crate::schema::{Statement, kind};

/// Statements that are on their way for one call.
pub(crate) const AT_ONCE: usize = 16;
/// Rows that are asked for by key in one statement.
const KEYS_AT_ONCE: usize = 100;
/// Aggregates of which is remembered which of their index rows are moved; of others they stay until they are read.
const MOVED_MAX: usize = 65_536;
/// Tenants that are known to be listed.
const TENANTS_MAX: usize = 65_536;
/// Answers that say something else than the one before, until a commit is given up as undecided.
const ROUNDS_MAX: usize = 8;

/// A journal's store in a keyspace of ScyllaDB or Apache Cassandra, shared by any number of processes.
///
/// Use it under [`journal::group::Grouping`] and [`journal::claims::Claiming`]; alone it takes commits one by one,
/// whose claims and index rows are steps of their own.
pub struct CqlStore {
    pub(crate) db: Db,
    /// Up to which commit the index rows of an aggregate are moved, and to which they are removed.
    pub(crate) moved: Recent<(TenantId, AggregateId), Moved>,
    listed: Recent<TenantId, ()>,
}

/// How far index rows are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) upto: Seq,
    pub(crate) removed: Seq,
}

/// The three ways to write a condition, by what is there: a head, nothing, or a fence without a head.
pub(crate) struct Condition {
    pub(crate) head: Statement,
    pub(crate) nothing: Statement,
    pub(crate) fence: Statement,
}

const COMMIT: Condition =
    Condition { head: Statement::Commit, nothing: Statement::CommitFirst, fence: Statement::CommitFenced };

type LookRow = (
    Option<i64>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<i32>,
    Option<i64>,
    Option<Vec<u8>>,
);

/// What is static in a partition.
#[derive(Default)]
pub(crate) struct Statics {
    pub(crate) look: Look,
    pub(crate) fence: Option<u64>,
    pub(crate) sealed: Option<Seq>,
}

pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

pub(crate) fn pair(tenant: TenantId, aggregate: AggregateId) -> Vec<Value> {
    vec![blob(tenant.as_bytes()), blob(aggregate.as_bytes())]
}

/// The values of a statement, one behind the other.
pub(crate) fn joined<const N: usize>(first: Vec<Value>, then: [Value; N]) -> Vec<Value> {
    let mut all = first;
    all.extend(then);
    all
}

/// The least key that does not begin with `prefix`; `None` if there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

impl CqlStore {
    /// Opens the store of a service. The tables must be there: see [`crate::migrate`].
    ///
    /// # Errors
    /// When the database does not answer, or the tables are not those that this program knows.
    pub async fn open(config: &Config) -> Result<CqlStore, Error> {
        let db = Db::open(config).await?;
        Ok(CqlStore { db, moved: Recent::new(MOVED_MAX), listed: Recent::new(TENANTS_MAX) })
    }

    /// Reads what the processes of the service keep under a name, beside its journals.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn kept(&self, name: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let rows = self.db.read::<(Option<Vec<u8>>,)>(Statement::Kept, vec![blob(name)]).await?;
        Ok(rows.into_iter().next().and_then(|(value,)| value).map(Bytes::from))
    }

    /// Keeps a value under a name, for good. False if there is one already.
    ///
    /// # Errors
    /// When the database does not answer: it may have been kept.
    pub async fn keep(&self, name: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        Ok(self.db.decide((Statement::Keep, vec![blob(name), blob(value)])).await?.applied)
    }

    pub(crate) async fn statics(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> Result<Statics, StoreError> {
        let rows = self.db.read::<LookRow>(Statement::Look, pair(tenant, aggregate)).await?;
        let Some((seq, fence, attempt, chain, header, format, sealed, lock)) = rows.into_iter().next() else {
            return Ok(Statics::default());
        };
        let head = match seq {
            Some(seq) => Some(Head {
                seq: seq.cast_unsigned(),
                attempt: AttemptId(fixed(attempt.unwrap_or_default())?),
                chain: Chain(fixed(chain.unwrap_or_default())?),
                format: u16::try_from(format.unwrap_or_default()).map_err(damaged)?,
                header: header.unwrap_or_default().into(),
            }),
            None => None,
        };
        let lock = lock.map(|lock| fixed(lock).map(GroupId)).transpose()?;
        let (fence, sealed) = (fence.map(i64::cast_unsigned), sealed.map(i64::cast_unsigned));
        Ok(Statics { look: Look { head, lock }, fence, sealed })
    }

    /// Notes where a commit may be found, before it is there: a pointer to nothing does no harm.
    pub(crate) async fn point_to(&self, commit: &Commit) -> Result<(), StoreError> {
        let (tenant, aggregate) = (commit.tenant, commit.aggregate);
        let mut pointers: Vec<Bound> = Vec::new();
        for (hash, row) in &commit.keys {
            let [of, at] = batch::place(commit);
            let seconds = batch::seconds_to_live(row.expires_s);
            pointers.push((Statement::PutKeyPointer, vec![of, blob(hash.0), at, int(seconds)]));
        }
        if commit.expect == 0 {
            pointers.push((Statement::PutAggregate, pair(tenant, aggregate)));
            if self.listed.get(&tenant).is_none() {
                pointers.push((Statement::PutTenant, vec![blob(tenant.as_bytes())]));
            }
        }
        let written: Vec<_> =
            pointers.into_iter().map(|(statement, values)| self.db.write(statement, values)).collect();
        stream::iter(written).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        if commit.expect == 0 {
            self.listed.insert(tenant, ());
        }
        Ok(())
    }

    /// Writes rows if the aggregate is where a commit expects it, unlocked and not fenced. A lock of `mine` counts
    /// as written.
    pub(crate) async fn write_if_expected(
        &self,
        commit: &Commit,
        condition: &Condition,
        set: &[Value],
        rows: &[Bound],
        mine: Option<GroupId>,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let bucket = batch::bucket(commit.bucket);
        let mut statement = if commit.expect == 0 { condition.nothing } else { condition.head };
        for _ in 0..ROUNDS_MAX {
            let mut values = set.to_vec();
            if statement == condition.head {
                values.extend([crate::db::bigint(commit.expect), bucket.clone()]);
            } else if statement == condition.fence {
                values.push(bucket.clone());
            }
            let decided = self.db.decide_batch((statement, values), rows.to_vec()).await?;
            if decided.applied {
                return Ok(Ok(()));
            }
            if let Some(group) = decided.blob("lock") {
                let group = GroupId(fixed(group)?);
                if mine == Some(group) {
                    return Ok(Ok(()));
                }
                return Ok(Err(Refusal::Locked { at: 0, group }));
            }
            let (seq, fence) = (decided.bigint("seq"), decided.bigint("fence"));
            let current = seq.unwrap_or(0);
            if current != commit.expect {
                return Ok(Err(Refusal::Moved { at: 0, current }));
            }
            if let Some(fence) = fence.filter(|fence| commit.bucket.min(i64::MAX.cast_unsigned()) <= *fence) {
                return Ok(Err(Refusal::Fenced { at: 0, fence }));
            }
            // It was refused for what the condition took for granted.
            statement = match (seq, fence) {
                (Some(_), Some(_)) => condition.head,
                (None, None) => condition.nothing,
                (None, Some(_)) => condition.fence,
                (Some(_), None) => return Err(damaged("a head has no fence")),
            };
        }
        Err(StoreError::Unavailable("the aggregate changes all the time".into()))
    }

    async fn commit_one(&self, commit: Commit) -> Result<Outcome, StoreError> {
        if let Err(refusal) = batch::check(&commit) {
            return Ok(Outcome::Refused(refusal));
        }
        self.point_to(&commit).await?;
        let place = (commit.tenant, commit.aggregate);
        let moved = self.moved.get(&place).filter(|moved| moved.removed < moved.upto);
        let rows = batch::rows(&commit, moved.map(|moved| moved.upto));
        match self.write_if_expected(&commit, &COMMIT, &batch::head(&commit), &rows, None).await? {
            Err(refusal) => Ok(Outcome::Refused(refusal)),
            Ok(()) => {
                if let Some(moved) = moved {
                    self.moved.insert(place, Moved { removed: moved.upto, ..moved });
                }
                Ok(Outcome::Applied)
            }
        }
    }

    /// Rows of a partition, `from <= key < to`.
    async fn keyed(
        &self,
        (tenant, aggregate): (TenantId, AggregateId),
        kind: i8,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let from = joined(pair(tenant, aggregate), [tiny(kind), blob(from)]);
        let (statement, values) = match to {
            None => (Statement::From, joined(from, [bound_limit(limit)])),
            Some(to) => {
                let statement = match order {
                    Order::Ascending => Statement::Ascending,
                    Order::Descending => Statement::Descending,
                };
                (statement, joined(from, [blob(to), bound_limit(limit)]))
            }
        };
        let rows = self.db.read::<(Vec<u8>, Option<Vec<u8>>)>(statement, values).await?;
        Ok(rows.into_iter().map(|(key, value)| (key, value.unwrap_or_default().into())).collect())
    }

    /// The rows of the index outbox after `from`, with the sequences of their commits.
    pub(crate) async fn waiting_index(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
    ) -> Result<Vec<(Seq, Bytes)>, StoreError> {
        let place = (tenant, aggregate);
        let from = from.to_be_bytes();
        let rows = self.keyed(place, kind::INDEX, &from, None, Order::Ascending, usize::MAX).await?;
        rows.into_iter().map(|(key, value)| Ok((u64::from_be_bytes(fixed(key)?), value))).collect()
    }

    /// Reads one row, and decides what was begun in its partition.
    pub(crate) async fn row(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        kind: i8,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        let values = joined(pair(tenant, aggregate), [tiny(kind), blob(key)]);
        let rows = self.db.read::<(Option<Vec<u8>>,)>(Statement::Row, values).await?;
        Ok(rows.into_iter().next().map(|(value,)| value.unwrap_or_default().into()))
    }

    async fn some_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut found = HashMap::with_capacity(keys.len());
        for some in keys.chunks(KEYS_AT_ONCE) {
            let list = some.iter().filter_map(blob).collect();
            let list = Some(scylla::value::CqlValue::List(list));
            let values = joined(pair(tenant, aggregate), [tiny(kind::ROW), list]);
            found.extend(self.db.read::<(Vec<u8>, Option<Vec<u8>>)>(Statement::Rows, values).await?);
        }
        let row =
            |key: Bytes| found.get(key.as_ref()).map(|value| Bytes::from(value.clone().unwrap_or_default()));
        Ok(keys.into_iter().map(row).collect())
    }

    async fn some_entries(
        &self,
        place: (TenantId, AggregateId),
        (from, to): (Seq, Seq),
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Seq, Bytes)>, StoreError> {
        if from > to {
            return Ok(Vec::new());
        }
        let to = to.saturating_add(1).to_be_bytes();
        let rows = self.keyed(place, kind::ENTRY, &from.to_be_bytes(), Some(&to), order, limit).await?;
        rows.into_iter().map(|(key, value)| Ok((u64::from_be_bytes(fixed(key)?), value))).collect()
    }

    async fn find_key(&self, tenant: TenantId, hash: KeyHash) -> Result<Option<KeyRow>, StoreError> {
        for aggregate in self.pointers(tenant, hash).await? {
            if let Some(row) = self.row(tenant, aggregate, kind::KEY, &hash.0).await? {
                return Ok(Some(read_key_row(&row)?));
            }
        }
        Ok(None)
    }

    /// Where a commit with this key may be.
    pub(crate) async fn pointers(
        &self,
        tenant: TenantId,
        hash: KeyHash,
    ) -> Result<Vec<AggregateId>, StoreError> {
        let values = vec![blob(tenant.as_bytes()), blob(hash.0)];
        let rows = self.db.read::<(Vec<u8>,)>(Statement::KeyPointers, values).await?;
        rows.into_iter().map(|(aggregate,)| Ok(AggregateId::from_bytes(fixed(aggregate)?))).collect()
    }

    async fn index_page(
        &self,
        (tenant, index): (TenantId, u16),
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> Result<Vec<IndexRow>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let to = behind(&prefix);
        let after = after.filter(|(key, _)| *key >= prefix);
        if after.as_ref().zip(to.as_ref()).is_some_and(|((key, _), to)| key.as_ref() >= to.as_slice()) {
            return Ok(Vec::new());
        }
        let mut values = vec![blob(tenant.as_bytes()), int(index)];
        let statement = match (&after, &to) {
            (None, None) => Statement::Index,
            (None, Some(_)) => Statement::IndexUpto,
            (Some(_), None) => Statement::IndexAfter,
            (Some(_), Some(_)) => Statement::IndexAfterUpto,
        };
        match after {
            Some((key, aggregate)) => values.extend([blob(key), blob(aggregate.as_bytes())]),
            None => values.push(blob(prefix)),
        }
        values.extend(to.map(blob));
        values.push(bound_limit(limit));
        let rows = self.db.read::<(Vec<u8>, Vec<u8>, Option<Vec<u8>>)>(statement, values).await?;
        let row = |(key, aggregate, value): (Vec<u8>, Vec<u8>, Option<Vec<u8>>)| {
            let aggregate = AggregateId::from_bytes(fixed(aggregate)?);
            Ok(IndexRow { key: key.into(), aggregate, value: value.unwrap_or_default().into() })
        };
        rows.into_iter().map(row).collect()
    }

    /// Walks the pointers to aggregates in key order, and leaves out those that point to nothing.
    async fn some_aggregates(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> Result<Vec<Found>, StoreError> {
        let mut found = Vec::new();
        let page = limit.min(KEYS_AT_ONCE);
        let mut tenant = after.map_or([0; 16], |(tenant, _)| *tenant.as_bytes());
        // The first key that may be listed, and the next one to look at behind it.
        let mut from =
            after.map_or(vec![], |(_, aggregate)| [aggregate.as_bytes().as_slice(), &[0]].concat());
        let mut within = after.map(|(tenant, _)| tenant);
        while found.len() < limit {
            let Some(of) = within else {
                let values = vec![blob(tenant), bound_limit(1)];
                let next = self.db.read::<(Vec<u8>,)>(Statement::Tenants, values).await?;
                let Some((next,)) = next.into_iter().next() else { break };
                within = Some(TenantId::from_bytes(fixed(next)?));
                continue;
            };
            let values = vec![blob(of.as_bytes()), blob(&from), bound_limit(page)];
            let ids = self.db.read::<(Vec<u8>,)>(Statement::Aggregates, values).await?;
            let Some((last,)) = ids.last() else {
                let Some(next) = u128::from_be_bytes(*of.as_bytes()).checked_add(1) else { break };
                (tenant, from, within) = (next.to_be_bytes(), vec![], None);
                continue;
            };
            from = [last.as_slice(), &[0]].concat();
            let ids = ids.iter().map(|(id,)| Ok(AggregateId::from_bytes(fixed(id)?)));
            let ids = ids.collect::<Result<Vec<_>, StoreError>>()?;
            let heads: Vec<_> = ids
                .into_iter()
                .map(|id| self.statics(of, id).map_ok(move |statics| (of, id, statics.look.head)))
                .collect();
            let heads: Vec<_> = stream::iter(heads).buffered(AT_ONCE).try_collect().await?;
            let heads = heads.into_iter().filter_map(|(of, id, head)| Some((of, id, head?)));
            found.extend(heads.take(limit - found.len()));
        }
        Ok(found)
    }

    async fn find_claim(&self, tenant: TenantId, claim: Claim) -> Result<Option<AggregateId>, StoreError> {
        let Some(row) = self.claim_row(tenant, claim.clone()).await? else { return Ok(None) };
        for owner in [Some(row.owner), row.before].into_iter().flatten() {
            if self.lists_claim(tenant, owner, claim.clone()).await? {
                return Ok(Some(owner));
            }
        }
        Ok(None)
    }
}

impl Store for CqlStore {
    fn commit(&self, mut group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        async move {
            if let Err(refusal) = check_group(&group) {
                return Outcome::Refused(refusal);
            }
            match group.len() {
                0 => Outcome::Applied,
                1 => self.commit_one(group.remove(0)).await.unwrap_or_else(Outcome::Unknown),
                _ => {
                    let rule = "more than one commit on a shared store";
                    Outcome::Refused(Refusal::Invalid { at: 1, rule })
                }
            }
        }
        .boxed()
    }

    fn head(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, Option<Head>> {
        async move { Ok(self.statics(tenant, aggregate).await?.look.head) }.boxed()
    }

    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> Answer<'_, Vec<Option<Bytes>>> {
        self.some_rows(tenant, aggregate, keys).boxed()
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> Answer<'_, Vec<(Bytes, Bytes)>> {
        async move {
            let to = behind(&prefix);
            let place = (tenant, aggregate);
            let rows = self.keyed(place, kind::ROW, &prefix, to.as_deref(), Order::Ascending, limit).await?;
            Ok(rows.into_iter().map(|(key, value)| (key.into(), value)).collect())
        }
        .boxed()
    }

    fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> Answer<'_, Vec<(Seq, Bytes)>> {
        self.some_entries((tenant, aggregate), (from, to), order, limit).boxed()
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> Answer<'_, Option<KeyRow>> {
        self.find_key(tenant, hash).boxed()
    }

    fn claim(&self, tenant: TenantId, claim: Claim) -> Answer<'_, Option<AggregateId>> {
        self.find_claim(tenant, claim).boxed()
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> Answer<'_, Vec<IndexRow>> {
        self.index_page((tenant, index), prefix, after, limit).boxed()
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> Answer<'_, Option<Bytes>> {
        async move {
            let values = vec![blob(tenant.as_bytes()), int(index), blob(key), blob(aggregate.as_bytes())];
            let rows = self.db.read::<(Option<Vec<u8>>,)>(Statement::IndexRow, values).await?;
            Ok(rows.into_iter().next().map(|(value,)| value.unwrap_or_default().into()))
        }
        .boxed()
    }

    fn aggregates(&self, after: Option<(TenantId, AggregateId)>, limit: usize) -> Answer<'_, Vec<Found>> {
        self.some_aggregates(after, limit).boxed()
    }

    /// The database forgets them by itself.
    fn forget_keys(&self, _: u64, _: usize) -> Answer<'_, usize> {
        async { Ok(0) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_behind_all_that_begin_with_it() {
        assert_eq!(behind(b""), None);
        assert_eq!(behind(b"a"), Some(b"b".to_vec()));
        assert_eq!(behind(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(behind(b"\xff\xff"), None);
        assert_eq!(behind(b"\xff\0\xff"), Some(b"\xff\x01".to_vec()));
    }
}
