//! The store port: what a journal needs from a database.
//!
//! Three adapters implement it: [`crate::memory::MemoryStore`] (tests and the reference in differential
//! tests), `journal-embedded` and `journal-cql`. One contract suite, [`crate::store_contract`],
//! runs on each. What relay, claims and documents need beyond it is in ports of their own:
//! [`crate::feed::FeedStore`] for a store that one process owns, [`crate::relay_store::RelayStore`] for one
//! that several processes share.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};

use crate::relay::Owner;

/// A shared store, chosen at start-up.
pub type SharedStore = Arc<dyn Store>;

/// Position of an entry in its aggregate: 1, 2, 3, … without gaps; 0 before the first entry.
pub type Seq = u64;

/// Numbers the stretches of time in which a process may commit: about 30 seconds each, but no safety rests on
/// what a clock says. See [`crate::relay_store`].
pub type Bucket = u64;

/// The bucket of a commit that no fence can refuse: what writers use on a store that one process owns.
pub const NO_BUCKET: Bucket = Bucket::MAX;

/// Identifies one try to commit, so that a writer can tell its own commit from another's after an
/// unknown outcome. Random.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AttemptId(pub [u8; 16]);

/// Names a try to commit several aggregates at once on a store that several processes share: see
/// [`crate::group`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct GroupId(pub [u8; 16]);

/// SHA-256 over all entries of an aggregate: `chain(n) = SHA-256(chain(n-1) || entry(n))`, all zero
/// before the first entry.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain(pub [u8; 32]);

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What every command needs from an aggregate, in one row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// Last committed sequence.
    pub seq: Seq,
    /// Attempt of the last commit.
    pub attempt: AttemptId,
    /// Hash over all entries.
    pub chain: Chain,
    /// Format version of `header` and rows, set by the aggregate.
    pub format: u16,
    /// Small state, at most [`HEADER_BYTES_MAX`].
    pub header: Bytes,
}

/// Most bytes of a header.
pub const HEADER_BYTES_MAX: usize = 2048;
/// Most bytes of an entry or of a state row.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;
/// What sealing adds at most to a header or a value: a store takes so much more than a journal may give, because
/// it does not know whether what it gets is sealed. See [`check_group`] and [`check_plain`].
pub const SEALING_BYTES_MAX: usize = 64;
/// Most bytes of a row, index or claim key.
pub const KEY_BYTES_MAX: usize = 512;
/// Most commits in one atomic group.
pub const GROUP_COMMITS_MAX: usize = 1000;

/// One atomic, conditional write to one aggregate.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Whose.
    pub tenant: TenantId,
    /// To which aggregate.
    pub aggregate: AggregateId,
    /// The sequence that the aggregate must still have.
    pub expect: Seq,
    /// The fence of the aggregate must be below it: whoever raised the fence wants to be sure that no commit
    /// of an earlier bucket applies any more. [`NO_BUCKET`] on a store that one process owns, which keeps no
    /// fences and does not look at it.
    pub bucket: Bucket,
    /// The head afterwards; `head.seq == expect + entries.len()`.
    pub head: Head,
    /// Encoded entries `expect + 1 ..= head.seq`.
    pub entries: Vec<Bytes>,
    /// State rows to write, or to remove (`None`). Each key at most once.
    pub rows: Vec<(Bytes, Option<Bytes>)>,
    /// Idempotency keys that these entries answer.
    pub keys: Vec<(KeyHash, KeyRow)>,
    /// Unique values to take or to give back.
    pub claims: Vec<ClaimChange>,
    /// Index rows to write or to remove.
    pub index: Vec<IndexChange>,
}

/// Hash of (principal, route, idempotency key). Its bits are also the random part of the ids that the
/// command makes, so that the same row finds an entry by id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyHash(pub [u8; 9]);

/// Where the answer to an idempotency key is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRow {
    /// The aggregate that it went to.
    pub aggregate: AggregateId,
    /// First entry of the answer.
    pub first: Seq,
    /// How many entries; 0 when the command changed nothing.
    pub count: u32,
    /// Hash of the request.
    pub fingerprint: [u8; 16],
    /// Unix seconds after which the key may be forgotten; 0 for ever.
    pub expires_s: u64,
}

/// A unique value, for example a SKU in a tenant.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Claim {
    /// Which kind of value, numbered by the service.
    pub kind: u16,
    /// The value.
    pub value: Bytes,
}

/// A change of a claim. In one commit the releases happen before the takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClaimChange {
    /// The aggregate takes the value; the commit is refused while another owns it.
    Take(Claim),
    /// The aggregate gives its value back; no effect if another owns it.
    Release(Claim),
}

impl ClaimChange {
    /// The value that it is about.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        match self {
            ClaimChange::Take(claim) | ClaimChange::Release(claim) => claim,
        }
    }
}

/// A change of one index row `(tenant, index, key, aggregate)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexChange {
    /// Which index, numbered by the service.
    pub index: u16,
    /// Sort key. Rows are ordered by key, then by aggregate.
    pub key: Bytes,
    /// `None` removes the row.
    pub value: Option<Bytes>,
}

/// One row of an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexRow {
    /// Sort key.
    pub key: Bytes,
    /// The aggregate that the row belongs to.
    pub aggregate: AggregateId,
    /// What the service put there.
    pub value: Bytes,
}

/// An aggregate, as [`Store::aggregates`] lists it.
pub type Found = (TenantId, AggregateId, Head);

/// A commit that did not happen, and never will.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The aggregate has moved on.
    Moved {
        /// Position of the commit in the group.
        at: usize,
        /// Where the aggregate is now.
        current: Seq,
    },
    /// Another aggregate owns the value.
    Claimed {
        /// Position of the commit in the group.
        at: usize,
        /// The value.
        claim: Claim,
        /// Who owns it.
        owner: AggregateId,
    },
    /// The fence of the aggregate is at or above the bucket of the commit. Checked after the position.
    Fenced {
        /// Position of the commit in the group.
        at: usize,
        /// Where the fence is: a later bucket may try again.
        fence: Bucket,
    },
    /// A group that is not decided yet, or not applied everywhere yet, has locked the aggregate. Only stores
    /// under [`crate::group::Grouping`] answer so; checked before the position.
    Locked {
        /// Position of the commit in the group.
        at: usize,
        /// Which group.
        group: GroupId,
    },
    /// The group breaks a rule of the port: a size limit, two tenants, an aggregate or a row twice. A
    /// mistake of the caller's code, found by [`check_group`]; nothing is cut off or guessed.
    Invalid {
        /// Position of the commit in the group.
        at: usize,
        /// Which rule.
        rule: &'static str,
    },
}

/// What became of a group of commits. There are three outcomes, never two: a timeout, a broken
/// connection or an overload leaves the commit undecided, and it may still apply later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All of them are durable.
    Applied,
    /// None of them happened.
    Refused(Refusal),
    /// Nobody knows yet.
    Unknown(StoreError),
}

/// A store that cannot answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Try again later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Stored bytes do not decode or do not match their checksum.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The key of the tenant was destroyed: what is stored of it can never be read again.
    #[error("the key of the tenant was destroyed")]
    KeyDestroyed,
    /// The key of the tenant is not there: nothing of it can be read until it is restored.
    #[error("the key of the tenant is missing: {0}")]
    KeyMissing(String),
}

/// Which entries or rows to read, in which direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// What a database does for the journals of one service.
///
/// Reads see every commit that was answered `Applied` before they began.
pub trait Store: Send + Sync + 'static {
    /// Who marks aggregates before they are committed to and relays them afterwards, on a store that several
    /// processes share; `None` on one that this process owns. A store around another one passes it on.
    fn owner(&self) -> Option<Arc<Owner>> {
        None
    }

    /// Writes a group of commits to different aggregates of one tenant, all or none.
    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome>;

    /// Reads the head of an aggregate; `None` if it was never written.
    fn head(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Head>, StoreError>>;

    /// Reads state rows by key, in the order of `keys`.
    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, StoreError>>;

    /// Reads the state rows whose key begins with `prefix`, in key order, at most `limit`.
    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>>;

    /// Reads entries with `from <= seq <= to`, at most `limit`, in the given order.
    fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Seq, Bytes)>, StoreError>>;

    /// Reads an idempotency key.
    fn key(&self, tenant: TenantId, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>>;

    /// Reads who owns a value.
    fn claim(&self, tenant: TenantId, claim: Claim)
    -> BoxFuture<'_, Result<Option<AggregateId>, StoreError>>;

    /// Reads index rows whose key begins with `prefix`, in order of (key, aggregate), after the row
    /// `after`, at most `limit`.
    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreError>>;

    /// Reads the value of one index row: a point read, cheap when the row is absent.
    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;

    /// Reads the aggregates of all tenants in key order, after `after`, at most `limit`: for `verify`,
    /// backups and rebuilds, never for requests.
    fn aggregates(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>>;

    /// Forgets idempotency keys that expired before `now_s` (Unix seconds), at most `limit`; returns how
    /// many. A store that forgets them by itself has nothing to do and returns 0.
    fn forget_keys(&self, now_s: u64, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>>;
}

/// Checks the rules of the port that need no database. Every store calls it first, so that a group that
/// one of them refuses is refused by all.
///
/// # Errors
/// [`Refusal::Invalid`] with the first rule that is broken.
pub fn check_group(group: &[Commit]) -> Result<(), Refusal> {
    check(group, SEALING_BYTES_MAX)
}

/// The same for what is not sealed yet: what seals calls it, so that what it makes fits into the store.
///
/// # Errors
/// As [`check_group`].
pub fn check_plain(group: &[Commit]) -> Result<(), Refusal> {
    check(group, 0)
}

/// Checks with `more` bytes of each header and value allowed.
fn check(group: &[Commit], more: usize) -> Result<(), Refusal> {
    if group.len() > GROUP_COMMITS_MAX {
        return Err(Refusal::Invalid { at: GROUP_COMMITS_MAX, rule: "too many commits in a group" });
    }
    let mut aggregates = HashSet::with_capacity(group.len());
    for (at, commit) in group.iter().enumerate() {
        let rule = if commit.tenant != group[0].tenant {
            Some("two tenants in a group")
        } else if group.len() > 1 && !aggregates.insert(commit.aggregate) {
            Some("an aggregate twice in a group")
        } else {
            broken_rule(commit, more)
        };
        if let Some(rule) = rule {
            return Err(Refusal::Invalid { at, rule });
        }
    }
    Ok(())
}

fn broken_rule(commit: &Commit, more: usize) -> Option<&'static str> {
    let claim = |change: &ClaimChange| match change {
        ClaimChange::Take(claim) | ClaimChange::Release(claim) => claim.value.len(),
    };
    if commit.expect.checked_add(commit.entries.len() as Seq) != Some(commit.head.seq) {
        return Some("head.seq is not expect + entries");
    }
    if commit.head.header.len() > HEADER_BYTES_MAX + more {
        return Some("header too large");
    }
    let values = commit.entries.iter().chain(commit.rows.iter().filter_map(|(_, value)| value.as_ref()));
    let values = values.chain(commit.index.iter().filter_map(|change| change.value.as_ref()));
    if values.map(Bytes::len).any(|len| len > VALUE_BYTES_MAX + more) {
        return Some("value too large");
    }
    let keys = commit.rows.iter().map(|(key, _)| key.len());
    let keys = keys.chain(commit.index.iter().map(|change| change.key.len()));
    if keys.chain(commit.claims.iter().map(claim)).any(|len| len > KEY_BYTES_MAX) {
        return Some("key too large");
    }
    let mut rows = HashSet::with_capacity(commit.rows.len());
    if commit.rows.len() > 1 && !commit.rows.iter().all(|(key, _)| rows.insert(key)) {
        return Some("a row twice in a commit");
    }
    None
}
