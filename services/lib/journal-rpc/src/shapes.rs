//! What travels: the shapes of the port in those of the contract and back.

use bytes::Bytes;
use events::{Envelope, Heard};
use ids::{AggregateId, TenantId};
use journal::feed::Change;
use journal::store::{AttemptId, Found, Head};
use journal::{Chain, Seq, StoreError};
use proto::journal::v1 as wire;

/// Heads, entries or commits that one call asks for at most.
pub(crate) const LIMIT_MAX: u32 = 1_000;
/// Longest wait of one call for something new, in milliseconds: the end of a process waits for it.
pub(crate) const WAIT_MS_MAX: u32 = 5_000;
/// Entries of one answer, in bytes; the first is there whatever its size.
pub(crate) const ENTRIES_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Largest answer, in bytes: what [`LIMIT_MAX`] commits of the largest group may have changed takes less.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The other side said what it cannot have meant.
pub(crate) fn malformed(what: &str) -> StoreError {
    StoreError::Damaged(format!("another process answered with {what} that is none"))
}

/// Reads an id of 16 bytes.
pub(crate) fn tenant(bytes: &[u8]) -> Option<TenantId> {
    bytes.try_into().ok().map(TenantId::from_bytes)
}

/// Reads an id of 16 bytes.
pub(crate) fn aggregate(bytes: &[u8]) -> Option<AggregateId> {
    bytes.try_into().ok().map(AggregateId::from_bytes)
}

pub(crate) fn write_head((tenant, aggregate, head): Found) -> wire::Head {
    wire::Head {
        tenant: tenant.as_bytes().to_vec(),
        aggregate: aggregate.as_bytes().to_vec(),
        seq: head.seq,
        attempt: head.attempt.0.to_vec(),
        chain: head.chain.0.to_vec(),
        format: head.format.into(),
        header: head.header.to_vec(),
    }
}

pub(crate) fn read_head(head: wire::Head) -> Result<Found, StoreError> {
    let read = || {
        Some((
            tenant(&head.tenant)?,
            aggregate(&head.aggregate)?,
            Head {
                seq: head.seq,
                attempt: AttemptId(head.attempt.as_slice().try_into().ok()?),
                chain: Chain(head.chain.as_slice().try_into().ok()?),
                format: head.format.try_into().ok()?,
                header: Bytes::copy_from_slice(&head.header),
            },
        ))
    };
    read().ok_or_else(|| malformed("a head"))
}

pub(crate) fn write_entry(envelope: Envelope) -> wire::StoredEntry {
    wire::StoredEntry {
        seq: envelope.seq,
        format: envelope.format.into(),
        chain: envelope.chain.0.to_vec(),
        entry: envelope.bytes.to_vec(),
    }
}

pub(crate) fn read_entry(
    source: &std::sync::Arc<str>,
    (tenant, aggregate): (TenantId, AggregateId),
    entry: wire::StoredEntry,
) -> Result<Envelope, StoreError> {
    let format = entry.format.try_into().map_err(|_| malformed("an entry"))?;
    let chain = entry.chain.as_slice().try_into().map_err(|_| malformed("an entry"))?;
    Ok(Envelope {
        source: std::sync::Arc::clone(source),
        tenant,
        aggregate,
        seq: entry.seq,
        format,
        chain: Chain(chain),
        bytes: entry.entry.into(),
    })
}

pub(crate) fn write_heard(heard: Heard) -> wire::HearResponse {
    let change = |change: Change| wire::Change {
        tenant: change.tenant.as_bytes().to_vec(),
        aggregate: change.aggregate.as_bytes().to_vec(),
        seq: change.seq,
    };
    wire::HearResponse {
        forgotten: heard.forgotten,
        last: heard.last,
        upto: heard.upto,
        changes: heard.changes.into_iter().map(change).collect(),
    }
}

pub(crate) fn read_heard(heard: wire::HearResponse) -> Result<Heard, StoreError> {
    let change = |change: wire::Change| {
        let seq: Seq = change.seq;
        Some(Change { tenant: tenant(&change.tenant)?, aggregate: aggregate(&change.aggregate)?, seq })
    };
    let changes = heard.changes.into_iter().map(change).collect::<Option<_>>();
    let changes = changes.ok_or_else(|| malformed("a change"))?;
    Ok(Heard { forgotten: heard.forgotten, last: heard.last, upto: heard.upto, changes })
}
