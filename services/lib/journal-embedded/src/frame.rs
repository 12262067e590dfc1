//! Frames of the log: one per group, with its number, a checksum and its place in the history.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `cpframe1` |
//! | 4 | bytes of the payload |
//! | 4 | CRC32 of everything else |
//! | 8 | number of the group |
//! | 16 | the store |
//! | 32 | hash over all groups up to this one |
//! | n | payload: commits, then changes of claims, or forgotten keys |
//! | 0 to 15 | zeros, so that the next frame begins at a multiple of 16 |

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::store::{AttemptId, Chain, Commit, Head, IndexChange, KeyHash, KeyRow, NO_BUCKET, StoreError};
use sha2::{Digest, Sha256};

use crate::directory::StoreId;
use crate::records::{Position, Reader, push_number, short};

const MAGIC: [u8; 8] = *b"cpframe1";
pub(crate) const HEADER_BYTES: usize = 72;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 16;

const COMMIT: u8 = 1;
const CLAIM: u8 = 2;
const FORGET: u8 = 3;
const FORGET_FEED: u8 = 4;

/// What a payload holds, in order.
#[expect(clippy::large_enum_variant, reason = "nearly all are commits, and they are moved on at once")]
pub(crate) enum Record {
    /// Without claims: who owns what afterwards is told by the records behind the commits.
    Commit(Commit),
    /// The stored key of a claim and its owner; `None` is free.
    Claim(Vec<u8>, Option<AggregateId>),
    /// An idempotency key that expired.
    Forget(TenantId, KeyHash),
    /// The feed up to this group.
    ForgetFeed(u64),
}

/// The position behind a group, given the one before it.
pub(crate) struct Next {
    group: u64,
    hash: Sha256,
}

impl Next {
    pub(crate) fn after(at: Position) -> Next {
        let group = at.group + 1;
        Next { group, hash: Sha256::new().chain_update(at.hash).chain_update(group.to_be_bytes()) }
    }

    /// Adds a commit; the aggregate's own chain stands for its entries.
    pub(crate) fn commit(&mut self, commit: &Commit) {
        self.hash.update(commit.tenant.as_bytes());
        self.hash.update(commit.aggregate.as_bytes());
        self.hash.update(commit.head.seq.to_be_bytes());
        self.hash.update(commit.head.chain.0);
    }

    pub(crate) fn forget(&mut self, tenant: TenantId, hash: KeyHash) {
        self.hash.update(tenant.as_bytes());
        self.hash.update(hash.0);
    }

    pub(crate) fn forget_feed(&mut self, upto: u64) {
        self.hash.update(upto.to_be_bytes());
    }

    pub(crate) fn position(self) -> Position {
        Position { group: self.group, hash: self.hash.finalize().into() }
    }
}

/// Makes a frame in `buffer`, replacing what is in it.
pub(crate) fn write<'a>(
    buffer: &mut Vec<u8>,
    store: StoreId,
    at: Position,
    payload: impl Iterator<Item = &'a [u8]>,
) {
    buffer.clear();
    buffer.extend_from_slice(&MAGIC);
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(&at.group.to_be_bytes());
    buffer.extend_from_slice(&store);
    buffer.extend_from_slice(&at.hash);
    payload.for_each(|part| buffer.extend_from_slice(part));
    let len = u32::try_from(buffer.len() - HEADER_BYTES);
    let len = len.unwrap_or_else(|_| unreachable!("the queue bounds a group far below 4 GiB"));
    buffer[8..12].copy_from_slice(&len.to_be_bytes());
    let checksum = checksum(buffer);
    buffer[12..16].copy_from_slice(&checksum.to_be_bytes());
    buffer.resize(buffer.len().next_multiple_of(ALIGN), 0);
}

/// Of a frame without its padding.
fn checksum(frame: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&frame[8..12]);
    checksum.update(&frame[16..]);
    checksum.finalize()
}

/// A frame that was found in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) at: Position,
    /// Bytes with header and padding.
    pub(crate) len: usize,
}

/// Reads the header of the frame at the beginning of `bytes`; `None` if no whole frame of `store` is there.
pub(crate) fn find(bytes: &[u8], store: StoreId) -> Option<Found> {
    let header = bytes.get(..HEADER_BYTES)?;
    if header[..8] != MAGIC || header[24..40] != store {
        return None;
    }
    let len = u32::from_be_bytes(header[8..12].try_into().ok()?) as usize;
    let frame = bytes.get(..HEADER_BYTES + len)?;
    if checksum(frame).to_be_bytes() != header[12..16] {
        return None;
    }
    let group = u64::from_be_bytes(header[16..24].try_into().ok()?);
    let hash = header[40..72].try_into().ok()?;
    Some(Found { at: Position { group, hash }, len: frame.len().next_multiple_of(ALIGN) })
}

/// Decodes the payload of a frame that [`find`] found, and computes its position from the one before.
pub(crate) fn read(frame: &[u8], before: Position) -> Result<(Position, Vec<Record>), StoreError> {
    let len = frame.get(8..12).and_then(|len| len.try_into().ok()).map(u32::from_be_bytes);
    let end = HEADER_BYTES + len.ok_or_else(short)? as usize;
    let mut reader = Reader(frame.get(HEADER_BYTES..end).ok_or_else(short)?);
    let mut next = Next::after(before);
    let mut records = Vec::new();
    while !reader.0.is_empty() {
        let [tag] = reader.array()?;
        records.push(match tag {
            COMMIT => {
                let commit = read_commit(&mut reader)?;
                next.commit(&commit);
                Record::Commit(commit)
            }
            CLAIM => {
                let key = reader.bytes()?.to_vec();
                let [owned] = reader.array()?;
                let owner = (owned != 0).then(|| reader.array().map(AggregateId::from_bytes));
                Record::Claim(key, owner.transpose()?)
            }
            FORGET => {
                let (tenant, hash) = (TenantId::from_bytes(reader.array()?), KeyHash(reader.array()?));
                next.forget(tenant, hash);
                Record::Forget(tenant, hash)
            }
            FORGET_FEED => {
                let upto = reader.number()?;
                next.forget_feed(upto);
                Record::ForgetFeed(upto)
            }
            _ => return Err(short()),
        });
    }
    Ok((next.position(), records))
}

/// Appends a commit without its claims.
pub(crate) fn push_commit(to: &mut Vec<u8>, commit: &Commit) {
    to.push(COMMIT);
    to.extend_from_slice(commit.tenant.as_bytes());
    to.extend_from_slice(commit.aggregate.as_bytes());
    let head = &commit.head;
    push_number(to, head.seq);
    to.extend_from_slice(&head.attempt.0);
    to.extend_from_slice(&head.chain.0);
    to.extend_from_slice(&head.format.to_be_bytes());
    push_bytes(to, &head.header);
    push_number(to, commit.entries.len() as u64);
    for entry in &commit.entries {
        push_bytes(to, entry);
    }
    push_number(to, commit.rows.len() as u64);
    for (key, value) in &commit.rows {
        push_bytes(to, key);
        push_value(to, value.as_ref());
    }
    push_number(to, commit.keys.len() as u64);
    for (hash, row) in &commit.keys {
        to.extend_from_slice(&hash.0);
        to.extend_from_slice(row.aggregate.as_bytes());
        to.extend_from_slice(&row.fingerprint);
        push_number(to, row.first);
        push_number(to, u64::from(row.count));
        push_number(to, row.expires_s);
    }
    push_number(to, commit.index.len() as u64);
    for change in &commit.index {
        push_number(to, u64::from(change.index));
        push_bytes(to, &change.key);
        push_value(to, change.value.as_ref());
    }
}

fn read_commit(reader: &mut Reader<'_>) -> Result<Commit, StoreError> {
    let tenant = TenantId::from_bytes(reader.array()?);
    let aggregate = AggregateId::from_bytes(reader.array()?);
    let head = Head {
        seq: reader.number()?,
        attempt: AttemptId(reader.array()?),
        chain: Chain(reader.array()?),
        format: u16::from_be_bytes(reader.array()?),
        header: copy(reader.bytes()?),
    };
    let entries = list(reader, |reader| Ok(copy(reader.bytes()?)))?;
    let rows = list(reader, |reader| Ok((copy(reader.bytes()?), read_value(reader)?)))?;
    let keys = list(reader, |reader| {
        let hash = KeyHash(reader.array()?);
        let aggregate = AggregateId::from_bytes(reader.array()?);
        let fingerprint = reader.array()?;
        let first = reader.number()?;
        let count = u32::try_from(reader.number()?).map_err(|_| short())?;
        Ok((hash, KeyRow { aggregate, first, count, fingerprint, expires_s: reader.number()? }))
    })?;
    let index = list(reader, |reader| {
        let index = u16::try_from(reader.number()?).map_err(|_| short())?;
        Ok(IndexChange { index, key: copy(reader.bytes()?), value: read_value(reader)? })
    })?;
    let expect = head.seq.checked_sub(entries.len() as u64).ok_or_else(short)?;
    let (bucket, claims) = (NO_BUCKET, Vec::new());
    Ok(Commit { tenant, aggregate, expect, bucket, head, entries, rows, keys, claims, index })
}

pub(crate) fn push_claim(to: &mut Vec<u8>, key: &[u8], owner: Option<AggregateId>) {
    to.push(CLAIM);
    push_bytes(to, key);
    to.push(u8::from(owner.is_some()));
    if let Some(owner) = owner {
        to.extend_from_slice(owner.as_bytes());
    }
}

pub(crate) fn push_forget(to: &mut Vec<u8>, tenant: TenantId, hash: KeyHash) {
    to.push(FORGET);
    to.extend_from_slice(tenant.as_bytes());
    to.extend_from_slice(&hash.0);
}

pub(crate) fn push_forget_feed(to: &mut Vec<u8>, upto: u64) {
    to.push(FORGET_FEED);
    push_number(to, upto);
}

fn push_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    push_number(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// The length is one more than the value's, and 0 if there is none.
fn push_value(to: &mut Vec<u8>, value: Option<&Bytes>) {
    push_number(to, value.map_or(0, |value| value.len() as u64 + 1));
    to.extend_from_slice(value.map_or(&[], |value| value));
}

fn read_value(reader: &mut Reader<'_>) -> Result<Option<Bytes>, StoreError> {
    match reader.number()?.checked_sub(1) {
        None => Ok(None),
        Some(len) => Ok(Some(copy(reader.take(len)?))),
    }
}

fn list<T>(
    reader: &mut Reader<'_>,
    mut one: impl FnMut(&mut Reader<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let count = reader.number()?;
    // Each takes at least one byte: a damaged count allocates no more than the frame is long.
    if count > reader.0.len() as u64 {
        return Err(short());
    }
    (0..count).map(|_| one(reader)).collect()
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const STORE: StoreId = [3; 16];

    fn commit() -> impl Strategy<Value = Commit> {
        let value = || proptest::option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from));
        let bytes = || vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let key = (any::<[u8; 9]>(), any::<[u8; 16]>(), any::<u64>(), any::<u32>(), any::<u64>());
        let index = (any::<u16>(), bytes(), value());
        let entries = vec(bytes(), 0..3);
        (
            any::<[u8; 16]>(),
            0..u64::MAX / 2,
            bytes(),
            entries,
            vec((bytes(), value()), 0..3),
            vec(key, 0..3),
            vec(index, 0..3),
        )
            .prop_map(|(id, expect, header, entries, rows, keys, index)| Commit {
                tenant: TenantId::from_bytes(id),
                aggregate: AggregateId::from_bytes(id),
                expect,
                bucket: NO_BUCKET,
                head: Head {
                    seq: expect + entries.len() as u64,
                    attempt: AttemptId(id),
                    chain: Chain([id[0]; 32]),
                    format: u16::from(id[1]),
                    header,
                },
                entries,
                rows,
                keys: keys
                    .into_iter()
                    .map(|(hash, fingerprint, first, count, expires_s)| {
                        let aggregate = AggregateId::from_bytes(id);
                        (KeyHash(hash), KeyRow { aggregate, first, count, fingerprint, expires_s })
                    })
                    .collect(),
                claims: Vec::new(),
                index: index
                    .into_iter()
                    .map(|(index, key, value)| IndexChange { index, key, value })
                    .collect(),
            })
    }

    fn frame(commits: &[Commit], before: Position) -> (Position, Vec<u8>) {
        let (mut next, mut payload) = (Next::after(before), Vec::new());
        for commit in commits {
            next.commit(commit);
            push_commit(&mut payload, commit);
        }
        push_claim(&mut payload, b"claim", Some(AggregateId::from_bytes([1; 16])));
        push_claim(&mut payload, b"free", None);
        let (at, mut buffer) = (next.position(), Vec::new());
        write(&mut buffer, STORE, at, [payload.as_slice()].into_iter());
        (at, buffer)
    }

    proptest! {
        #[test]
        fn a_frame_decodes_to_what_was_encoded(commits in vec(commit(), 0..4), group in 0..u64::MAX) {
            let before = Position { group, hash: [9; 32] };
            let (at, buffer) = frame(&commits, before);
            prop_assert_eq!(buffer.len() % ALIGN, 0);
            let found = find(&buffer, STORE).unwrap();
            prop_assert_eq!((found.at, found.len), (at, buffer.len()));
            prop_assert!(find(&buffer, [4; 16]).is_none(), "of another store");

            let (computed, records) = read(&buffer, before).unwrap();
            prop_assert_eq!(computed, at);
            let mut read_commits = Vec::new();
            let mut claims = Vec::new();
            for record in records {
                match record {
                    Record::Commit(commit) => read_commits.push(format!("{commit:?}")),
                    Record::Claim(key, owner) => claims.push((key, owner.is_some())),
                    Record::Forget(..) | Record::ForgetFeed(_) => unreachable!(),
                }
            }
            prop_assert_eq!(read_commits, commits.iter().map(|commit| format!("{commit:?}")).collect::<Vec<_>>());
            prop_assert_eq!(claims, vec![(b"claim".to_vec(), true), (b"free".to_vec(), false)]);
        }

        /// A frame with any bit flipped, or cut anywhere, is no frame.
        #[test]
        fn a_damaged_frame_is_not_found(commits in vec(commit(), 1..3), at: prop::sample::Index, bit in 0..8) {
            let (_, mut buffer) = frame(&commits, Position::default());
            let len = u32::from_be_bytes(buffer[8..12].try_into().unwrap()) as usize + HEADER_BYTES;
            let at = at.index(len);
            prop_assert!(find(&buffer[..at], STORE).is_none());
            buffer[at] ^= 1_u8 << bit;
            prop_assert!(find(&buffer, STORE).is_none());
        }

        /// Damaged bytes are an error, never a panic.
        #[test]
        fn any_bytes_can_be_read(bytes in vec(any::<u8>(), 0..300)) {
            let _ = find(&bytes, STORE);
            let _ = read(&bytes, Position::default());
        }
    }
}
