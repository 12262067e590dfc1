//! One entry under way.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::store::{Order, Store};
use journal::{Chain, Damage, Entry, Seq, StoreError, unstored};
use sha2::{Digest, Sha256};

/// An entry of a journal, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// The service whose journal it is, such as `stock`.
    pub source: Arc<str>,
    /// Whose.
    pub tenant: TenantId,
    /// Of which aggregate.
    pub aggregate: AggregateId,
    /// Its position there.
    pub seq: Seq,
    /// Kind (high byte) and format version (low byte) of the aggregate's record.
    pub format: u16,
    /// Hash over the entries of the aggregate up to this one, as stored.
    pub chain: Chain,
    /// The entry as stored: an encoded [`Entry`], which is what the chain is over.
    pub bytes: Bytes,
}

/// Reads entries `from ..= to` of an aggregate from the store that has them, as envelopes, at most `limit`.
///
/// # Errors
/// Those of the store; [`StoreError::Damaged`] for an entry that is not one.
pub(crate) async fn read(
    source: &Arc<str>,
    store: &(impl Store + ?Sized),
    (tenant, aggregate): (TenantId, AggregateId),
    (from, to): (Seq, Seq),
    limit: usize,
) -> Result<Vec<Envelope>, StoreError> {
    let Some(head) = store.head(tenant, aggregate).await? else { return Ok(Vec::new()) };
    let stored = store.entries(tenant, aggregate, from, to, Order::Ascending, limit).await?;
    let envelope = |(seq, bytes)| {
        let (chain, bytes) = unstored(bytes).map_err(|damage| {
            StoreError::Damaged(format!("entry {seq} of aggregate {aggregate}: {damage}"))
        })?;
        let source = Arc::clone(source);
        Ok(Envelope { source, tenant, aggregate, seq, format: head.format, chain, bytes })
    };
    stored.into_iter().map(envelope).collect()
}

/// Names an entry for a bus that drops what it saw already: first 16 bytes of SHA-256 over tenant, aggregate
/// and seq.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// The name of entry `seq` of an aggregate.
    #[must_use]
    pub fn of(tenant: TenantId, aggregate: AggregateId, seq: Seq) -> MessageId {
        let mut hash = Sha256::new();
        hash.update(tenant.as_bytes());
        hash.update(aggregate.as_bytes());
        hash.update(seq.to_be_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        MessageId(id)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Envelope {
    /// The kind of the aggregate: `Aggregate::KIND`.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.format.to_be_bytes()[0]
    }

    /// Decodes who caused the entry, when, and the encoded event.
    ///
    /// # Errors
    /// [`Damage`] when the bytes do not decode.
    pub fn entry(&self) -> Result<Entry, Damage> {
        Entry::read(self.bytes.clone())
    }

    /// The same for the same entry, whoever publishes it and how often.
    #[must_use]
    pub fn id(&self) -> MessageId {
        MessageId::of(self.tenant, self.aggregate, self.seq)
    }
}
