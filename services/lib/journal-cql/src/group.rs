//! Locks, prepared commits and records of groups; segments.

use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::group::{GroupRecord, GroupState, GroupStore, Look, RECORD_DAYS};
use journal::seal::{SealStore, Segment};
use journal::store::{Chain, Commit, GroupId, KeyHash, Outcome, Seq, StoreError};

use crate::batch;
use crate::codec::{fixed, read_commit};
use crate::db::{Value, bigint, blob, damaged, int, tiny};
use crate::schema::{Statement, kind};
use crate::store::{Answer, Condition, CqlStore, joined, pair};

const RECORD_SECONDS: u32 = RECORD_DAYS * 24 * 3600;
/// Entries whose segments are in one partition.
const SEGMENT_PARTITION_ENTRIES: u64 = 131_072;

const PREPARE: Condition =
    Condition { head: Statement::Prepare, nothing: Statement::PrepareFirst, fence: Statement::PrepareFenced };

fn number(state: GroupState) -> Value {
    tiny(match state {
        GroupState::Pending => 0,
        GroupState::Committed => 1,
        GroupState::Aborted => 2,
    })
}

fn seconds() -> Value {
    int(i32::try_from(RECORD_SECONDS).unwrap_or(i32::MAX))
}

impl CqlStore {
    async fn change_group(
        &self,
        tenant: TenantId,
        group: GroupId,
        expect: Option<GroupState>,
        record: GroupRecord,
    ) -> Result<bool, StoreError> {
        // A record that is final ends by itself; a committed one is final when it is applied.
        let ends = record.state == GroupState::Aborted;
        let mut values = if ends { vec![seconds()] } else { vec![] };
        let members = int(i32::try_from(record.members).unwrap_or(i32::MAX));
        values.extend([number(record.state), members, blob(tenant.as_bytes()), blob(group.0)]);
        let statement = match (expect, ends) {
            (None, false) => Statement::GroupFirst,
            (None, true) => Statement::GroupFirstFor,
            (Some(_), false) => Statement::GroupNext,
            (Some(_), true) => Statement::GroupNextFor,
        };
        values.extend(expect.map(number));
        Ok(self.db.decide((statement, values)).await?.applied)
    }

    async fn read_group(&self, tenant: TenantId, group: GroupId) -> Result<Option<GroupRecord>, StoreError> {
        let values = vec![blob(tenant.as_bytes()), blob(group.0)];
        let rows = self.db.read::<(Option<i8>, Option<i32>)>(Statement::Group, values).await?;
        let Some((Some(state), members)) = rows.into_iter().next() else { return Ok(None) };
        let state = match state {
            0 => GroupState::Pending,
            1 => GroupState::Committed,
            2 => GroupState::Aborted,
            _ => return Err(damaged("the record of a group has another state")),
        };
        Ok(Some(GroupRecord { state, members: members.unwrap_or_default().cast_unsigned() }))
    }

    async fn end_record(&self, tenant: TenantId, group: GroupId) -> Result<(), StoreError> {
        let members = self.read_group(tenant, group).await?.map_or(0, |record| record.members);
        let members = int(i32::try_from(members).unwrap_or(i32::MAX));
        let committed = || number(GroupState::Committed);
        let set = vec![seconds(), committed(), members, blob(tenant.as_bytes()), blob(group.0), committed()];
        self.db.decide((Statement::GroupNextFor, set)).await?;
        Ok(())
    }

    async fn prepare_one(&self, group: GroupId, commit: Commit) -> Result<Outcome, StoreError> {
        if let Err(refusal) = batch::check(&commit) {
            return Ok(Outcome::Refused(refusal));
        }
        self.point_to(&commit).await?;
        let [tenant, aggregate] = batch::place(&commit);
        let set = [blob(group.0), tenant, aggregate];
        let row = batch::prepared(&commit, group);
        let written = self.write_if_expected(&commit, &PREPARE, &set, &[row], Some(group)).await?;
        Ok(written.map_or_else(Outcome::Refused, |()| Outcome::Applied))
    }

    async fn apply_prepared(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        group: GroupId,
    ) -> Result<(), StoreError> {
        let Some(row) = self.row(tenant, aggregate, kind::PREPARED, &group.0).await? else { return Ok(()) };
        let commit = read_commit(tenant, aggregate, &row)?;
        let mut rows = batch::rows(&commit, None);
        rows.push(batch::unprepared(batch::place(&commit), group));
        let condition = (Statement::RollForward, joined(batch::head(&commit), [blob(group.0)]));
        // If the lock is not the group's any more, somebody else has applied it.
        self.db.decide_batch(condition, rows).await?;
        Ok(())
    }

    async fn drop_prepared(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        group: GroupId,
    ) -> Result<(), StoreError> {
        let place = [blob(tenant.as_bytes()), blob(aggregate.as_bytes())];
        let condition = (Statement::Unlock, joined(place.to_vec(), [blob(group.0)]));
        self.db.decide_batch(condition, vec![batch::unprepared(place, group)]).await?;
        Ok(())
    }

    async fn move_seal(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        expect: Seq,
        to: Seq,
    ) -> Result<bool, StoreError> {
        let place = pair(tenant, aggregate);
        let upto = joined(place.clone(), [tiny(kind::ENTRY), blob(to.to_be_bytes())]);
        let mut set = vec![bigint(to)];
        set.extend(place);
        let condition = match expect {
            0 => (Statement::SealFirst, set),
            _ => (Statement::Seal, joined(set, [bigint(expect)])),
        };
        Ok(self.db.decide_batch(condition, vec![(Statement::RemoveUpto, upto)]).await?.applied)
    }

    async fn find_segment(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        first: Seq,
    ) -> Result<Option<Segment>, StoreError> {
        let bucket = bigint(first / SEGMENT_PARTITION_ENTRIES);
        let values = joined(pair(tenant, aggregate), [bucket, bigint(first)]);
        type Row = (i64, i8, Vec<u8>, Vec<u8>, Vec<u8>);
        let rows = self.db.read::<Row>(Statement::Segment, values).await?;
        let Some((last, codec, chain_in, chain_out, data)) = rows.into_iter().next() else { return Ok(None) };
        Ok(Some(Segment {
            first,
            last: last.cast_unsigned(),
            codec: codec.cast_unsigned(),
            chain_in: Chain(fixed(chain_in)?),
            chain_out: Chain(fixed(chain_out)?),
            data: data.into(),
        }))
    }
}

impl GroupStore for CqlStore {
    fn look(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, Look> {
        async move { Ok(self.statics(tenant, aggregate).await?.look) }.boxed()
    }

    fn group(&self, tenant: TenantId, group: GroupId) -> Answer<'_, Option<GroupRecord>> {
        self.read_group(tenant, group).boxed()
    }

    fn set_group(
        &self,
        tenant: TenantId,
        group: GroupId,
        expect: Option<GroupState>,
        record: GroupRecord,
    ) -> Answer<'_, bool> {
        self.change_group(tenant, group, expect, record).boxed()
    }

    fn end_group(&self, tenant: TenantId, group: GroupId) -> Answer<'_, ()> {
        self.end_record(tenant, group).boxed()
    }

    fn prepare(&self, group: GroupId, commit: Commit) -> BoxFuture<'_, Outcome> {
        async move { self.prepare_one(group, commit).await.unwrap_or_else(Outcome::Unknown) }.boxed()
    }

    fn roll_forward(&self, tenant: TenantId, aggregate: AggregateId, group: GroupId) -> Answer<'_, ()> {
        self.apply_prepared(tenant, aggregate, group).boxed()
    }

    fn unlock(&self, tenant: TenantId, aggregate: AggregateId, group: GroupId) -> Answer<'_, ()> {
        self.drop_prepared(tenant, aggregate, group).boxed()
    }

    fn asked_for(&self, tenant: TenantId, hash: KeyHash) -> Answer<'_, Vec<AggregateId>> {
        self.pointers(tenant, hash).boxed()
    }
}

impl SealStore for CqlStore {
    fn sealed(&self, tenant: TenantId, aggregate: AggregateId) -> Answer<'_, Seq> {
        async move { Ok(self.statics(tenant, aggregate).await?.sealed.unwrap_or(0)) }.boxed()
    }

    fn set_sealed(&self, tenant: TenantId, aggregate: AggregateId, expect: Seq, to: Seq) -> Answer<'_, bool> {
        self.move_seal(tenant, aggregate, expect, to).boxed()
    }

    fn put_segment(&self, tenant: TenantId, aggregate: AggregateId, segment: Segment) -> Answer<'_, ()> {
        let Segment { first, last, codec, chain_in, chain_out, data } = segment;
        let bucket = bigint(first / SEGMENT_PARTITION_ENTRIES);
        let numbers = [bucket, bigint(first), bigint(last), tiny(codec.cast_signed())];
        let values = joined(joined(pair(tenant, aggregate), numbers), [blob(chain_in.0), blob(chain_out.0)]);
        self.db.write(Statement::PutSegment, joined(values, [blob(data)])).boxed()
    }

    fn segment(&self, tenant: TenantId, aggregate: AggregateId, first: Seq) -> Answer<'_, Option<Segment>> {
        self.find_segment(tenant, aggregate, first).boxed()
    }
}
