//! Keys and values of the tables.
//!
//! | table | key | value | serves | grows with |
//! |---|---|---|---|---|
//! | head | tenant, aggregate | seq, attempt, chain, format, header | every command; `aggregates` | aggregates |
//! | entry | tenant, aggregate, seq | the entry | history of one aggregate | entries, for ever |
//! | row | tenant, aggregate, row key | the state row | commands that touch it | state, not history |
//! | key | tenant, key hash | where the answer is | retries, entries by id | keys that are kept |
//! | claim | tenant, kind, value | owner | uniqueness | unique values |
//! | index | tenant, index, escaped key, aggregate | what the service put there | lists | index rows |
//! | feed | number of a group | tenant, aggregate, seq, for each that got entries | who follows | groups not yet forgotten |
//! | meta | `store`, `applied`, `forgotten` | identity; the last group that the tables hold; where the feed begins | guards at open | constant |
//!
//! Numbers in keys are big-endian, so that they sort. Every key of a tenant's data begins with the
//! tenant.

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::feed::{Change, FeedGroup};
use journal::store::{AttemptId, Chain, Claim, Head, IndexRow, KeyHash, KeyRow, Seq, StoreError};

const TENANT: usize = 16;
const AGGREGATE: usize = 16;

pub(crate) fn aggregate_key(tenant: TenantId, aggregate: AggregateId) -> [u8; 32] {
    let mut key = [0; 32];
    key[..TENANT].copy_from_slice(tenant.as_bytes());
    key[TENANT..].copy_from_slice(aggregate.as_bytes());
    key
}

pub(crate) fn read_aggregate_key(key: &[u8]) -> Result<(TenantId, AggregateId), StoreError> {
    let mut reader = Reader(key);
    let tenant = TenantId::from_bytes(reader.array()?);
    let aggregate = AggregateId::from_bytes(reader.array()?);
    Ok((tenant, aggregate))
}

pub(crate) fn entry_key(tenant: TenantId, aggregate: AggregateId, seq: Seq) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(&aggregate_key(tenant, aggregate));
    key[32..].copy_from_slice(&seq.to_be_bytes());
    key
}

pub(crate) fn read_entry_key(key: &[u8]) -> Result<Seq, StoreError> {
    key.get(32..).and_then(|seq| seq.try_into().ok()).map(Seq::from_be_bytes).ok_or_else(short)
}

/// Also the beginning of the keys of all rows that begin with `key`.
pub(crate) fn row_key(tenant: TenantId, aggregate: AggregateId, key: &[u8]) -> Vec<u8> {
    [tenant.as_bytes(), aggregate.as_bytes(), key].concat()
}

pub(crate) fn read_row_key(key: &[u8]) -> Result<Bytes, StoreError> {
    key.get(TENANT + AGGREGATE..).map(Bytes::copy_from_slice).ok_or_else(short)
}

pub(crate) fn key_key(tenant: TenantId, hash: KeyHash) -> [u8; 25] {
    let mut key = [0; 25];
    key[..TENANT].copy_from_slice(tenant.as_bytes());
    key[TENANT..].copy_from_slice(&hash.0);
    key
}

pub(crate) fn read_key_key(key: &[u8]) -> Result<(TenantId, KeyHash), StoreError> {
    let mut reader = Reader(key);
    Ok((TenantId::from_bytes(reader.array()?), KeyHash(reader.array()?)))
}

pub(crate) fn claim_key(tenant: TenantId, claim: &Claim) -> Vec<u8> {
    [tenant.as_bytes().as_slice(), &claim.kind.to_be_bytes(), &claim.value].concat()
}

/// Where the key of an index row ends, so that `a` sorts before `ab` whatever the aggregates are. A zero
/// inside the key is written as [`ZERO`], which sorts behind the end and before every other byte.
const END: [u8; 2] = [0, 0];
const ZERO: [u8; 2] = [0, 255];

/// The beginning of the keys of all index rows whose key begins with `prefix`.
pub(crate) fn index_prefix(tenant: TenantId, index: u16, prefix: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(TENANT + 2 + prefix.len() + END.len() + AGGREGATE + 8);
    key.extend_from_slice(tenant.as_bytes());
    key.extend_from_slice(&index.to_be_bytes());
    for &byte in prefix {
        match byte {
            0 => key.extend_from_slice(&ZERO),
            byte => key.push(byte),
        }
    }
    key
}

pub(crate) fn index_key(tenant: TenantId, index: u16, key: &[u8], aggregate: AggregateId) -> Vec<u8> {
    let mut stored = index_prefix(tenant, index, key);
    stored.extend_from_slice(&END);
    stored.extend_from_slice(aggregate.as_bytes());
    stored
}

pub(crate) fn read_index_row(stored: &[u8], value: &[u8]) -> Result<IndexRow, StoreError> {
    let escaped = stored.get(TENANT + 2..stored.len().saturating_sub(AGGREGATE)).ok_or_else(short)?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut rest = escaped.strip_suffix(&END).ok_or_else(short)?;
    while let Some((&byte, behind)) = rest.split_first() {
        key.push(byte);
        rest = match byte {
            0 => behind.strip_prefix(&ZERO[1..]).ok_or_else(short)?,
            _ => behind,
        };
    }
    Ok(IndexRow {
        key: key.into(),
        aggregate: read_owner(&stored[stored.len() - AGGREGATE..])?,
        value: Bytes::copy_from_slice(value),
    })
}

pub(crate) fn head_value(head: &Head) -> Vec<u8> {
    let mut value = Vec::with_capacity(10 + 16 + 32 + 2 + head.header.len());
    push_number(&mut value, head.seq);
    value.extend_from_slice(&head.attempt.0);
    value.extend_from_slice(&head.chain.0);
    value.extend_from_slice(&head.format.to_be_bytes());
    value.extend_from_slice(&head.header);
    value
}

pub(crate) fn read_head(value: &[u8]) -> Result<Head, StoreError> {
    let mut reader = Reader(value);
    Ok(Head {
        seq: reader.number()?,
        attempt: AttemptId(reader.array()?),
        chain: Chain(reader.array()?),
        format: u16::from_be_bytes(reader.array()?),
        header: Bytes::copy_from_slice(reader.0),
    })
}

/// The part of a head that the conditions of a commit look at.
pub(crate) fn read_head_seq(value: &[u8]) -> Result<Seq, StoreError> {
    Reader(value).number()
}

pub(crate) fn key_value(row: &KeyRow) -> Vec<u8> {
    let mut value = Vec::with_capacity(16 + 16 + 10 + 5 + 10);
    value.extend_from_slice(row.aggregate.as_bytes());
    value.extend_from_slice(&row.fingerprint);
    push_number(&mut value, row.first);
    push_number(&mut value, u64::from(row.count));
    push_number(&mut value, row.expires_s);
    value
}

pub(crate) fn read_key_row(value: &[u8]) -> Result<KeyRow, StoreError> {
    let mut reader = Reader(value);
    let aggregate = AggregateId::from_bytes(reader.array()?);
    let fingerprint = reader.array()?;
    let first = reader.number()?;
    let count = u32::try_from(reader.number()?).map_err(|_| short())?;
    Ok(KeyRow { aggregate, first, count, fingerprint, expires_s: reader.number()? })
}

pub(crate) fn read_owner(value: &[u8]) -> Result<AggregateId, StoreError> {
    value.try_into().map(AggregateId::from_bytes).map_err(|_| short())
}

/// A position in the history of a store: the number of a group and the hash over all groups up to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Position {
    /// 0 before the first group.
    pub(crate) group: u64,
    pub(crate) hash: [u8; 32],
}

pub(crate) fn feed_value(changes: &[Change]) -> Vec<u8> {
    let mut value = Vec::with_capacity(changes.len() * (TENANT + AGGREGATE + 4));
    for change in changes {
        value.extend_from_slice(change.tenant.as_bytes());
        value.extend_from_slice(change.aggregate.as_bytes());
        push_number(&mut value, change.seq);
    }
    value
}

pub(crate) fn read_feed_group(key: &[u8], value: &[u8]) -> Result<FeedGroup, StoreError> {
    let number = u64::from_be_bytes(Reader(key).array()?);
    let (mut reader, mut changes) = (Reader(value), Vec::new());
    while !reader.0.is_empty() {
        changes.push(Change {
            tenant: TenantId::from_bytes(reader.array()?),
            aggregate: AggregateId::from_bytes(reader.array()?),
            seq: reader.number()?,
        });
    }
    Ok(FeedGroup { number, changes })
}

pub(crate) fn read_group(value: &[u8]) -> Result<u64, StoreError> {
    Reader(value).array().map(u64::from_be_bytes)
}

/// Key of the store's identity in the meta table.
pub(crate) const STORE_KEY: &[u8] = b"store";
/// Key of the last group that the tables hold, in the meta table.
pub(crate) const APPLIED_KEY: &[u8] = b"applied";
/// Key of the group up to which the feed is forgotten, in the meta table.
pub(crate) const FORGOTTEN_KEY: &[u8] = b"forgotten";

pub(crate) fn position_value(position: Position) -> [u8; 40] {
    let mut value = [0; 40];
    value[..8].copy_from_slice(&position.group.to_be_bytes());
    value[8..].copy_from_slice(&position.hash);
    value
}

pub(crate) fn read_position(value: &[u8]) -> Result<Position, StoreError> {
    let mut reader = Reader(value);
    Ok(Position { group: u64::from_be_bytes(reader.array()?), hash: reader.array()? })
}

/// Appends a number, seven bits a byte, least significant first.
pub(crate) fn push_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

/// Takes a record apart from its beginning.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (array, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], StoreError> {
        let len = usize::try_from(len).map_err(|_| short())?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(short)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Bytes behind their length.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = self.number()?;
        self.take(len)
    }

    pub(crate) fn number(&mut self) -> Result<u64, StoreError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(short())
    }
}

pub(crate) fn short() -> StoreError {
    StoreError::Damaged("a stored record is too short or malformed".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tenant() -> TenantId {
        TenantId::from_bytes([7; 16])
    }

    proptest! {
        /// Index rows sort by (key, aggregate), whatever bytes the keys have.
        #[test]
        fn index_keys_sort_like_their_parts(
            one in (proptest::collection::vec(0_u8..3, 0..4), any::<[u8; 16]>()),
            two in (proptest::collection::vec(0_u8..3, 0..4), any::<[u8; 16]>()),
        ) {
            let stored = |(key, aggregate): &(Vec<u8>, [u8; 16])| {
                index_key(tenant(), 1, key, AggregateId::from_bytes(*aggregate))
            };
            prop_assert_eq!(stored(&one).cmp(&stored(&two)), one.cmp(&two));
            prop_assert_eq!(
                stored(&one).starts_with(&index_prefix(tenant(), 1, &two.0)),
                one.0.starts_with(&two.0)
            );
            let row = read_index_row(&stored(&one), b"v").unwrap();
            prop_assert_eq!((&row.key[..], *row.aggregate.as_bytes()), (&one.0[..], one.1));
        }

        #[test]
        fn heads_and_key_rows_decode_to_what_was_encoded(
            seq: u64, attempt: [u8; 16], chain: [u8; 32], format: u16, header: Vec<u8>,
            count: u32, expires_s: u64,
        ) {
            let head = Head { seq, attempt: AttemptId(attempt), chain: Chain(chain), format, header: header.into() };
            prop_assert_eq!(read_head_seq(&head_value(&head)), Ok(seq));
            prop_assert_eq!(read_head(&head_value(&head)), Ok(head));
            let row = KeyRow {
                aggregate: AggregateId::from_bytes(attempt), first: seq, count, fingerprint: attempt, expires_s,
            };
            prop_assert_eq!(read_key_row(&key_value(&row)), Ok(row));
        }

        /// Damaged bytes are an error, never a panic.
        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>) {
            let _ = read_head(&bytes);
            let _ = read_key_row(&bytes);
            let _ = read_index_row(&bytes, &bytes);
            let _ = read_entry_key(&bytes);
            let _ = read_aggregate_key(&bytes);
            let _ = read_position(&bytes);
            let _ = read_feed_group(&bytes, &bytes);
        }
    }
}
