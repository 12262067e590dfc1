//! Fences, marks, leases, cursors, claim rows, and index rows on their way.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use ids::{AggregateId, TenantId};
use journal::relay_store::{ClaimRow, Fence, InstanceId, Lease, Mark, Marked, RelayStore, Sink};
use journal::store::{AttemptId, Bucket, Claim, Seq, StoreError};

use crate::codec::{claim_key, fixed, read_index};
use crate::db::{Bound, Value, bigint, blob, int, limit as bound_limit, opt, small};
use crate::schema::{Statement, kind};
use crate::store::{AT_ONCE, Answer, CqlStore, Moved, joined, pair};

/// Fences that others raise while one is raised.
const ROUNDS_MAX: usize = 16;
/// Index rows that are written in one batch, and their bytes, unless one row alone has more.
const ROWS_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 32 * 1024;

type LeaseRow = (Option<i64>, Option<i64>, Option<i64>, Option<Vec<u8>>);
type ClaimedRow = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Option<Vec<u8>>);

fn lease((beat, low, high, adopter): LeaseRow) -> Result<Lease, StoreError> {
    let number = |number: Option<i64>| number.unwrap_or_default().cast_unsigned();
    let adopter = adopter.map(|adopter| fixed(adopter).map(InstanceId)).transpose()?;
    Ok(Lease { beat: number(beat), low: number(low), high: number(high), adopter })
}

fn lease_values(lease: &Lease) -> [Value; 4] {
    let adopter = opt(lease.adopter.map(|adopter| adopter.0));
    [bigint(lease.beat), bigint(lease.low), bigint(lease.high), adopter]
}

/// The greatest bucket is kept as the greatest number of the database, and read as what it was.
fn read_bucket(bucket: i64) -> Bucket {
    if bucket == i64::MAX { Bucket::MAX } else { bucket.cast_unsigned() }
}

fn claim_values(row: &ClaimRow) -> [Value; 4] {
    let before = opt(row.before.map(|before| *before.as_bytes()));
    [blob(row.owner.as_bytes()), blob(row.attempt.0), bigint(row.bucket), before]
}

fn claim_place(tenant: TenantId, claim: &Claim) -> [Value; 3] {
    [blob(tenant.as_bytes()), int(claim.kind), blob(&claim.value)]
}

fn bucket_place(instance: InstanceId, bucket: Bucket) -> Vec<Value> {
    vec![blob(instance.0), bigint(bucket)]
}

impl CqlStore {
    async fn raise(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        bucket: Bucket,
    ) -> Result<Fence, StoreError> {
        for _ in 0..ROUNDS_MAX {
            let statics = self.statics(tenant, aggregate).await?;
            let seq = statics.look.head.map_or(0, |head| head.seq);
            let place = pair(tenant, aggregate);
            let condition: Bound = match statics.fence {
                Some(fence) if fence >= bucket.min(i64::MAX.cast_unsigned()) => {
                    return Ok(Fence { fence, seq });
                }
                None if bucket == 0 => return Ok(Fence { fence: 0, seq }),
                Some(_) => {
                    let values =
                        joined(vec![bigint(bucket)], [place[0].clone(), place[1].clone(), bigint(bucket)]);
                    (Statement::Fence, values)
                }
                None => (
                    Statement::FenceFirst,
                    joined(vec![bigint(bucket)], [place[0].clone(), place[1].clone()]),
                ),
            };
            // The next look tells how far the aggregate is behind the fence.
            self.db.decide(condition).await?;
        }
        Err(StoreError::Unavailable("the fence is raised by others all the time".into()))
    }

    async fn put_mark(&self, mark: Mark) -> Result<Marked, StoreError> {
        let place = bucket_place(mark.instance, mark.bucket);
        let row = joined(place.clone(), [blob(mark.tenant.as_bytes()), blob(mark.aggregate.as_bytes())]);
        let decided = self.db.decide_batch((Statement::Mark, place), vec![(Statement::PutMark, row)]).await?;
        Ok(if decided.applied { Marked::Noted } else { Marked::Closed })
    }

    async fn some_marks(
        &self,
        place: Vec<Value>,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> Result<Vec<(TenantId, AggregateId)>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (statement, values) = match after {
            None => (Statement::Marks, joined(place, [bound_limit(limit)])),
            Some((tenant, aggregate)) => {
                let after = [blob(tenant.as_bytes()), blob(aggregate.as_bytes()), bound_limit(limit)];
                (Statement::MarksAfter, joined(place, after))
            }
        };
        let rows = self.db.read::<(Option<Vec<u8>>, Option<Vec<u8>>)>(statement, values).await?;
        // A bucket that was closed without a mark has a row without one.
        let marks = rows.into_iter().filter_map(|(tenant, aggregate)| tenant.zip(aggregate));
        let mark = |(tenant, aggregate): (Vec<u8>, Vec<u8>)| {
            Ok((TenantId::from_bytes(fixed(tenant)?), AggregateId::from_bytes(fixed(aggregate)?)))
        };
        marks.map(mark).collect()
    }

    async fn end_bucket(&self, place: Vec<Value>) -> Result<(), StoreError> {
        let marks = (Statement::RemoveMarks, joined(place.clone(), [blob([])]));
        for statement in [Statement::EndOpen, Statement::EndClosed] {
            if self.db.decide_batch((statement, place.clone()), vec![marks.clone()]).await?.applied {
                break;
            }
        }
        Ok(())
    }

    async fn change_lease(
        &self,
        instance: InstanceId,
        expect: Option<Lease>,
        lease: Option<Lease>,
    ) -> Result<bool, StoreError> {
        let at = || blob(instance.0);
        let condition = match (expect, lease) {
            (None, None) => return Ok(self.lease(instance).await?.is_none()),
            (None, Some(lease)) => (Statement::LeaseFirst, joined(vec![at()], lease_values(&lease))),
            (Some(expect), Some(lease)) => {
                let set = joined(lease_values(&lease).to_vec(), [at()]);
                (Statement::LeaseNext, joined(set, lease_values(&expect)))
            }
            (Some(expect), None) => (Statement::LeaseEnd, joined(vec![at()], lease_values(&expect))),
        };
        Ok(self.db.decide(condition).await?.applied)
    }

    async fn change_claim(
        &self,
        tenant: TenantId,
        claim: Claim,
        expect: Option<ClaimRow>,
        row: Option<ClaimRow>,
    ) -> Result<bool, StoreError> {
        let at = claim_place(tenant, &claim);
        let condition = match (expect, row) {
            (None, None) => return Ok(self.claim_row(tenant, claim).await?.is_none()),
            (None, Some(row)) => (Statement::ClaimFirst, joined(at.to_vec(), claim_values(&row))),
            (Some(expect), Some(row)) => {
                let set = joined(claim_values(&row).to_vec(), at);
                (Statement::ClaimNext, joined(set, claim_values(&expect)))
            }
            (Some(expect), None) => (Statement::ClaimEnd, joined(at.to_vec(), claim_values(&expect))),
        };
        Ok(self.db.decide(condition).await?.applied)
    }

    /// Rows carry the sequence of their commit as timestamp, so an older one that is written later has no effect.
    async fn move_index(&self, tenant: TenantId, aggregate: AggregateId) -> Result<(), StoreError> {
        let place = (tenant, aggregate);
        let known = self.moved.get(&place).unwrap_or_default();
        let waiting = self.waiting_index(tenant, aggregate, known.upto + 1).await?;
        let Some(last) = waiting.last().map(|(seq, _)| *seq) else { return Ok(()) };
        let mut rows = BTreeMap::new();
        for (seq, changes) in waiting {
            for change in read_index(&changes)? {
                rows.insert((change.index, change.key), (seq, change.value));
            }
        }
        // The rows of one index are in one partition, and in order here.
        let (mut batches, mut index_before, mut bytes) = (Vec::<Vec<Bound>>::new(), None, 0);
        for ((index, key), (seq, value)) in rows {
            let size = key.len() + value.as_ref().map_or(0, bytes::Bytes::len);
            let full = batches.last().is_none_or(|batch| batch.len() == ROWS_AT_ONCE);
            if full || index_before != Some(index) || bytes + size > BYTES_AT_ONCE {
                batches.push(Vec::new());
                bytes = 0;
            }
            (index_before, bytes) = (Some(index), bytes + size);
            let (of, at, index) = (blob(tenant.as_bytes()), blob(aggregate.as_bytes()), int(index));
            let row = match value {
                Some(value) => {
                    (Statement::PutIndex, vec![of, index, blob(key), at, blob(value), bigint(seq)])
                }
                None => (Statement::RemoveIndex, vec![bigint(seq), of, index, blob(key), at]),
            };
            batches.last_mut().expect("one was begun").push(row);
        }
        let written: Vec<_> = batches.into_iter().map(|batch| self.db.write_batch(batch)).collect();
        stream::iter(written).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let removed = self.moved.get(&place).unwrap_or_default().removed;
        self.moved.insert(place, Moved { upto: last, removed });
        Ok(())
    }
}

impl RelayStore for CqlStore {
    fn raise_fence(&self, tenant: TenantId, aggregate: AggregateId, bucket: Bucket) -> Answer<'_, Fence> {
        self.raise(tenant, aggregate, bucket).boxed()
    }

    fn mark(&self, mark: Mark) -> Answer<'_, Marked> {
        self.put_mark(mark).boxed()
    }

    fn close_bucket(&self, instance: InstanceId, bucket: Bucket) -> Answer<'_, ()> {
        async move {
            self.db.decide((Statement::Close, bucket_place(instance, bucket))).await?;
            Ok(())
        }
        .boxed()
    }

    fn marks(
        &self,
        instance: InstanceId,
        bucket: Bucket,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> Answer<'_, Vec<(TenantId, AggregateId)>> {
        self.some_marks(bucket_place(instance, bucket), after, limit).boxed()
    }

    fn delete_bucket(&self, instance: InstanceId, bucket: Bucket) -> Answer<'_, ()> {
        self.end_bucket(bucket_place(instance, bucket)).boxed()
    }

    fn set_lease(
        &self,
        instance: InstanceId,
        expect: Option<Lease>,
        lease: Option<Lease>,
    ) -> Answer<'_, bool> {
        self.change_lease(instance, expect, lease).boxed()
    }

    fn lease(&self, instance: InstanceId) -> Answer<'_, Option<Lease>> {
        async move {
            let rows = self.db.read::<LeaseRow>(Statement::Lease, vec![blob(instance.0)]).await?;
            rows.into_iter().next().map(lease).transpose()
        }
        .boxed()
    }

    fn leases(&self, after: Option<InstanceId>, limit: usize) -> Answer<'_, Vec<(InstanceId, Lease)>> {
        async move {
            if limit == 0 {
                return Ok(Vec::new());
            }
            let after = after.map_or(blob([]), |after| blob(after.0));
            type Row = (Vec<u8>, Option<i64>, Option<i64>, Option<i64>, Option<Vec<u8>>);
            let rows = self.db.read::<Row>(Statement::Leases, vec![after, bound_limit(limit)]).await?;
            let one = |(instance, beat, low, high, adopter): Row| {
                Ok((InstanceId(fixed(instance)?), lease((beat, low, high, adopter))?))
            };
            rows.into_iter().map(one).collect()
        }
        .boxed()
    }

    fn relayed(&self, tenant: TenantId, aggregate: AggregateId, sink: Sink) -> Answer<'_, Seq> {
        async move {
            let values = joined(pair(tenant, aggregate), [small(sink)]);
            let rows = self.db.read::<(Option<i64>,)>(Statement::Relayed, values).await?;
            Ok(rows.into_iter().next().and_then(|row| row.0).unwrap_or_default().cast_unsigned())
        }
        .boxed()
    }

    fn set_relayed(&self, tenant: TenantId, aggregate: AggregateId, sink: Sink, seq: Seq) -> Answer<'_, ()> {
        let values = joined(pair(tenant, aggregate), [small(sink), bigint(seq), bigint(seq)]);
        self.db.write(Statement::SetRelayed, values).boxed()
    }

    fn claim_row(&self, tenant: TenantId, claim: Claim) -> Answer<'_, Option<ClaimRow>> {
        async move {
            let values = claim_place(tenant, &claim).to_vec();
            let rows = self.db.read::<ClaimedRow>(Statement::Claim, values).await?;
            let Some((owner, attempt, bucket, before)) = rows.into_iter().next() else { return Ok(None) };
            Ok(Some(ClaimRow {
                owner: AggregateId::from_bytes(fixed(owner.unwrap_or_default())?),
                attempt: AttemptId(fixed(attempt.unwrap_or_default())?),
                bucket: read_bucket(bucket.unwrap_or_default()),
                before: before.map(fixed).transpose()?.map(AggregateId::from_bytes),
            }))
        }
        .boxed()
    }

    fn set_claim_row(
        &self,
        tenant: TenantId,
        claim: Claim,
        expect: Option<ClaimRow>,
        row: Option<ClaimRow>,
    ) -> Answer<'_, bool> {
        self.change_claim(tenant, claim, expect, row).boxed()
    }

    fn lists_claim(&self, tenant: TenantId, aggregate: AggregateId, claim: Claim) -> Answer<'_, bool> {
        async move {
            let row = self.row(tenant, aggregate, kind::CLAIM, &claim_key(&claim)).await?;
            Ok(row.is_some())
        }
        .boxed()
    }

    fn apply_index(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, ()> {
        self.move_index(tenant, aggregate).boxed()
    }
}
