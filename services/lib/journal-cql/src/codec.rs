//! Stored forms of what has no columns of its own.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ids::{AggregateId, TenantId};
use journal::store::{
    AttemptId, Chain, Claim, ClaimChange, Commit, Head, IndexChange, KeyHash, KeyRow, StoreError,
};
use prost::Message;

use crate::db::damaged;

/// Fixed bytes of a column.
pub(crate) fn fixed<const N: usize>(bytes: impl AsRef<[u8]>) -> Result<[u8; N], StoreError> {
    bytes.as_ref().try_into().map_err(|_| damaged(format!("{N} bytes are expected")))
}

/// The key under which a journal lists a value.
pub(crate) fn claim_key(claim: &Claim) -> Vec<u8> {
    [&claim.kind.to_be_bytes(), claim.value.as_ref()].concat()
}

/// 52 bytes: aggregate, first, count, fingerprint, expiry, each big-endian.
pub(crate) fn key_row(row: &KeyRow) -> Bytes {
    let mut bytes = BytesMut::with_capacity(52);
    bytes.put_slice(row.aggregate.as_bytes());
    bytes.put_u64(row.first);
    bytes.put_u32(row.count);
    bytes.put_slice(&row.fingerprint);
    bytes.put_u64(row.expires_s);
    bytes.freeze()
}

pub(crate) fn read_key_row(bytes: &[u8]) -> Result<KeyRow, StoreError> {
    let mut bytes = bytes;
    if bytes.len() != 52 {
        return Err(damaged("a key row has another length"));
    }
    let aggregate = AggregateId::from_bytes(fixed(bytes.copy_to_bytes(16))?);
    let (first, count) = (bytes.get_u64(), bytes.get_u32());
    let fingerprint = fixed(bytes.copy_to_bytes(16))?;
    Ok(KeyRow { aggregate, first, count, fingerprint, expires_s: bytes.get_u64() })
}

#[derive(Clone, PartialEq, Message)]
struct KeyedRecord {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    /// None removes it.
    #[prost(bytes = "bytes", optional, tag = "2")]
    value: Option<Bytes>,
    /// Of an index row: which index. Of a claim: its kind.
    #[prost(uint32, tag = "3")]
    number: u32,
}

#[derive(Clone, PartialEq, Message)]
struct IndexRecord {
    #[prost(message, repeated, tag = "1")]
    changes: Vec<KeyedRecord>,
}

/// A prepared commit; tenant and aggregate are those of its partition.
#[derive(Clone, PartialEq, Message)]
struct CommitRecord {
    #[prost(uint64, tag = "1")]
    expect: u64,
    #[prost(uint64, tag = "2")]
    bucket: u64,
    #[prost(bytes = "bytes", tag = "3")]
    attempt: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    chain: Bytes,
    #[prost(uint32, tag = "5")]
    format: u32,
    #[prost(bytes = "bytes", tag = "6")]
    header: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    entries: Vec<Bytes>,
    #[prost(message, repeated, tag = "8")]
    rows: Vec<KeyedRecord>,
    #[prost(message, repeated, tag = "9")]
    keys: Vec<KeyedRecord>,
    #[prost(message, repeated, tag = "10")]
    takes: Vec<KeyedRecord>,
    #[prost(message, repeated, tag = "11")]
    releases: Vec<KeyedRecord>,
    #[prost(message, repeated, tag = "12")]
    index: Vec<KeyedRecord>,
}

fn index_records(changes: &[IndexChange]) -> Vec<KeyedRecord> {
    let record = |change: &IndexChange| KeyedRecord {
        key: change.key.clone(),
        value: change.value.clone(),
        number: change.index.into(),
    };
    changes.iter().map(record).collect()
}

fn index_changes(records: Vec<KeyedRecord>) -> Result<Vec<IndexChange>, StoreError> {
    let change = |record: KeyedRecord| {
        let index = u16::try_from(record.number).map_err(damaged)?;
        Ok(IndexChange { index, key: record.key, value: record.value })
    };
    records.into_iter().map(change).collect()
}

pub(crate) fn index(changes: &[IndexChange]) -> Vec<u8> {
    IndexRecord { changes: index_records(changes) }.encode_to_vec()
}

pub(crate) fn read_index(bytes: &[u8]) -> Result<Vec<IndexChange>, StoreError> {
    index_changes(IndexRecord::decode(bytes).map_err(damaged)?.changes)
}

pub(crate) fn commit(commit: &Commit) -> Vec<u8> {
    let claims = |wanted: fn(&ClaimChange) -> bool| {
        let changes = commit.claims.iter().filter(|change| wanted(change)).map(ClaimChange::claim);
        let record =
            |claim: &Claim| KeyedRecord { key: claim.value.clone(), value: None, number: claim.kind.into() };
        changes.map(record).collect()
    };
    let keyed = |key: Bytes, value: Option<Bytes>| KeyedRecord { key, value, number: 0 };
    let record = CommitRecord {
        expect: commit.expect,
        bucket: commit.bucket,
        attempt: Bytes::copy_from_slice(&commit.head.attempt.0),
        chain: Bytes::copy_from_slice(&commit.head.chain.0),
        format: commit.head.format.into(),
        header: commit.head.header.clone(),
        entries: commit.entries.clone(),
        rows: commit.rows.iter().map(|(key, value)| keyed(key.clone(), value.clone())).collect(),
        keys: commit
            .keys
            .iter()
            .map(|(hash, row)| keyed(Bytes::copy_from_slice(&hash.0), Some(key_row(row))))
            .collect(),
        takes: claims(|change| matches!(change, ClaimChange::Take(_))),
        releases: claims(|change| matches!(change, ClaimChange::Release(_))),
        index: index_records(&commit.index),
    };
    record.encode_to_vec()
}

pub(crate) fn read_commit(
    tenant: TenantId,
    aggregate: AggregateId,
    bytes: &[u8],
) -> Result<Commit, StoreError> {
    let record = CommitRecord::decode(bytes).map_err(damaged)?;
    let claim = |record: KeyedRecord| {
        Ok(Claim { kind: u16::try_from(record.number).map_err(damaged)?, value: record.key })
    };
    // Releases happen before takes.
    let mut claims = Vec::new();
    for one in record.releases {
        claims.push(ClaimChange::Release(claim(one)?));
    }
    for one in record.takes {
        claims.push(ClaimChange::Take(claim(one)?));
    }
    let key = |record: KeyedRecord| {
        let row = read_key_row(record.value.as_deref().unwrap_or_default())?;
        Ok((KeyHash(fixed(&record.key)?), row))
    };
    let seq = record.expect.checked_add(record.entries.len() as u64);
    let head = Head {
        seq: seq.ok_or_else(|| damaged("a prepared commit leads nowhere"))?,
        attempt: AttemptId(fixed(&record.attempt)?),
        chain: Chain(fixed(&record.chain)?),
        format: u16::try_from(record.format).map_err(damaged)?,
        header: record.header,
    };
    Ok(Commit {
        tenant,
        aggregate,
        expect: record.expect,
        bucket: record.bucket,
        head,
        entries: record.entries,
        rows: record.rows.into_iter().map(|row| (row.key, row.value)).collect(),
        keys: record.keys.into_iter().map(key).collect::<Result<_, _>>()?,
        claims,
        index: index_changes(record.index)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_as_it_was_written() {
        let (tenant, aggregate) = (TenantId::from_bytes([1; 16]), AggregateId::from_bytes([2; 16]));
        let row = KeyRow { aggregate, first: 7, count: 2, fingerprint: [3; 16], expires_s: u64::MAX };
        let claim = |kind| Claim { kind, value: "v".into() };
        let written = Commit {
            tenant,
            aggregate,
            expect: 6,
            bucket: u64::MAX,
            head: Head {
                seq: 8,
                attempt: AttemptId([4; 16]),
                chain: Chain([5; 32]),
                format: u16::MAX,
                header: "h".into(),
            },
            entries: vec!["one".into(), Bytes::new()],
            rows: vec![("r".into(), Some(Bytes::new())), (Bytes::new(), None)],
            keys: vec![(KeyHash([6; 9]), row)],
            claims: vec![ClaimChange::Release(claim(1)), ClaimChange::Take(claim(u16::MAX))],
            index: vec![
                IndexChange { index: 1, key: "i".into(), value: None },
                IndexChange { index: u16::MAX, key: "i".into(), value: Some(Bytes::new()) },
            ],
        };
        let read = read_commit(tenant, aggregate, &commit(&written)).expect("decodes");
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
        assert!(read_commit(tenant, aggregate, &commit(&written)[1..]).is_err());
        assert!(read_key_row(&[0; 51]).is_err());
    }
}
