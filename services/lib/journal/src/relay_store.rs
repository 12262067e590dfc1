//! The port of a store that several processes share: fences, dirty marks, leases, relay cursors, claims.
//!
//! One database partition is the unit of atomicity here, so a commit and what must follow it are separate
//! steps, and a process may stop between any two of them. Protocols over it make this safe; a store only does
//! single, atomic, conditional steps.
//!
//! **Rules for every method.** An error is an unknown outcome: the step may have happened, may happen later,
//! or never; every step may be repeated. What is read here is read serially: it shows every step that was
//! answered before the read began. A store that cannot read serially must answer with an error.
//!
//! Such a store takes groups of one commit only; [`crate::group`] makes groups of them. It writes the claims of a
//! commit as a list in the aggregate's own partition, in the same atomic write, and does not look at who owns
//! them: that is a step of its own, see [`RelayStore::set_claim_row`]. The index rows of a commit are kept
//! there too, until a later step moves them to where lists are read, see [`RelayStore::apply_index`]; a commit
//! without entries has none, since nothing would order its rows.

use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};

use crate::store::{AttemptId, Bucket, Claim, Seq, Store, StoreError};

/// A process: random, drawn anew at each start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct InstanceId(pub [u8; 16]);

/// Where relayed entries go, numbered by the service.
pub type Sink = u8;

/// "I may commit to this aggregate in this bucket": whoever adopts the instance looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Mark {
    /// The process.
    pub instance: InstanceId,
    /// The bucket.
    pub bucket: Bucket,
    /// The tenant.
    pub tenant: TenantId,
    /// The aggregate.
    pub aggregate: AggregateId,
}

/// What became of a mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marked {
    /// It is durable.
    Noted,
    /// The bucket was closed by an adopter; the mark was not written.
    Closed,
}

/// That a process is alive, and which buckets it may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Counts renewals. A reader that sees it unchanged for long, by its own clock, may adopt.
    pub beat: u64,
    /// No bucket below it has marks.
    pub low: Bucket,
    /// The process uses no bucket above it.
    pub high: Bucket,
    /// Who took over its buckets. It must not use a new one any more.
    pub adopter: Option<InstanceId>,
}

/// The fence of an aggregate, and where the aggregate was when it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fence {
    /// Commits of this bucket and of earlier ones are refused; 0 if none was ever raised.
    pub fence: Bucket,
    /// Last sequence that is committed. Entries behind it come from later buckets only.
    pub seq: Seq,
}

/// Who asks for a unique value. It owns the value only if its journal lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimRow {
    /// The aggregate.
    pub owner: AggregateId,
    /// The attempt to commit for which it asked last.
    pub attempt: AttemptId,
    /// No commit that lists the value carries a later bucket, since the owner asks again for each attempt.
    pub bucket: Bucket,
    /// Whose journal lists the value until a group lets it change hands; it owns the value while `owner`'s
    /// journal does not list it.
    pub before: Option<AggregateId>,
}

/// What relay, adoption and claims need from a store that several processes share.
pub trait RelayStore: Store {
    /// Raises the fence of an aggregate, which may be unborn, to at least `bucket`; it never sinks. When this
    /// is answered, no commit of `bucket` or of an earlier one applies any more.
    fn raise_fence(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        bucket: Bucket,
    ) -> BoxFuture<'_, Result<Fence, StoreError>>;

    /// Writes a dirty mark, unless its bucket is closed.
    fn mark(&self, mark: Mark) -> BoxFuture<'_, Result<Marked, StoreError>>;

    /// Closes a bucket for good, also one that was never used or was deleted: no later mark is noted.
    fn close_bucket(&self, instance: InstanceId, bucket: Bucket) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads the marks of a bucket in order of (tenant, aggregate), after `after`, at most `limit`.
    fn marks(
        &self,
        instance: InstanceId,
        bucket: Bucket,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(TenantId, AggregateId)>, StoreError>>;

    /// Deletes the marks of a bucket. A closed bucket stays closed.
    fn delete_bucket(&self, instance: InstanceId, bucket: Bucket) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Writes the lease of an instance, or removes it (`None`), if it is still `expect`. False if it is not.
    fn set_lease(
        &self,
        instance: InstanceId,
        expect: Option<Lease>,
        lease: Option<Lease>,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Reads a lease.
    fn lease(&self, instance: InstanceId) -> BoxFuture<'_, Result<Option<Lease>, StoreError>>;

    /// Reads leases in order of instances, after `after`, at most `limit`.
    fn leases(
        &self,
        after: Option<InstanceId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(InstanceId, Lease)>, StoreError>>;

    /// Reads up to where the entries of an aggregate are relayed to a sink; 0 before the first.
    fn relayed(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        sink: Sink,
    ) -> BoxFuture<'_, Result<Seq, StoreError>>;

    /// Notes that entries up to `seq` are relayed to a sink. A lower `seq` than the noted one has no effect.
    fn set_relayed(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        sink: Sink,
        seq: Seq,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads who asks for a value.
    fn claim_row(
        &self,
        tenant: TenantId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Option<ClaimRow>, StoreError>>;

    /// Writes who asks for a value, or removes it (`None`), if the row is still `expect`. False if it is not.
    fn set_claim_row(
        &self,
        tenant: TenantId,
        claim: Claim,
        expect: Option<ClaimRow>,
        row: Option<ClaimRow>,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Reads whether the journal of an aggregate lists a value: a commit took it, and none released it.
    fn lists_claim(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Moves the index rows of an aggregate's commits to where [`Store::index`] reads them, at least those of
    /// commits that were answered before. Rows of an older commit never replace those of a later one, so any
    /// process may do it at any time, as often as it likes.
    fn apply_index(&self, tenant: TenantId, aggregate: AggregateId) -> BoxFuture<'_, Result<(), StoreError>>;
}
