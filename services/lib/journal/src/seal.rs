//! Sealing: old entries of a long journal become compressed segments, so that a partition stays small.
//!
//! A segment holds a fixed number of entries at a fixed place, so what is in it follows from the aggregate and
//! its first sequence, whoever makes it and how often. It is written first; then the mark `sealed` is moved, if
//! it is still where it was, and the entries up to it are removed. Whoever dies in between leaves a segment
//! that will be written again, the same.
//!
//! Entries are kept as they are stored, and a hash runs over all of them, from one segment to the next: it is compared
//! when a segment is read. What is in an entry is not looked at: its value may be sealed.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};

use crate::passing::pass_on_reads;
use crate::store::{Chain, Commit, Order, Outcome, Seq, Store, StoreError};

/// Entries of a segment.
pub const SEGMENT_ENTRIES: u64 = 1024;
/// Entries that are not sealed before the oldest segment is made of them.
pub const TAIL_ENTRIES: u64 = 1536;
/// Tries to read while entries are being sealed.
const ROUNDS_MAX: usize = 16;
/// LZ4 blocks with their size before them, over entries with their size before each.
const LZ4: u8 = 1;

/// Sealed entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The first entry.
    pub first: Seq,
    /// The last entry.
    pub last: Seq,
    /// How `data` is encoded.
    pub codec: u8,
    /// Hash over all stored entries before the first.
    pub chain_in: Chain,
    /// Hash over all stored entries up to the last.
    pub chain_out: Chain,
    /// The entries.
    pub data: Bytes,
}

/// A store that keeps segments. Its [`Store::entries`] shows the entries that are not sealed.
pub trait SealStore: Store {
    /// Reads up to where entries are sealed, serially; 0 if none is.
    fn sealed(&self, tenant: TenantId, aggregate: AggregateId) -> BoxFuture<'_, Result<Seq, StoreError>>;

    /// Moves the mark from `expect` to `to` and removes the entries up to `to`. False if it is elsewhere.
    fn set_sealed(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        expect: Seq,
        to: Seq,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Writes a segment, durably. If there is one with the same first entry, that one may stay: it says the same.
    fn put_segment(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        segment: Segment,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads the segment with this first entry.
    fn segment(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        first: Seq,
    ) -> BoxFuture<'_, Result<Option<Segment>, StoreError>>;
}

/// How long segments and tails are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Entries of a segment. Never changed for a store that has one.
    pub segment: u64,
    /// Entries beyond which the oldest are sealed; more than `segment`.
    pub tail: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { segment: SEGMENT_ENTRIES, tail: TAIL_ENTRIES }
    }
}

impl Segment {
    /// Seals stored entries that follow each other, as they are stored: their values may be sealed with a key that
    /// nobody has here.
    ///
    /// # Errors
    /// When one is missing.
    pub fn seal(chain_in: Chain, entries: &[(Seq, Bytes)]) -> Result<Segment, StoreError> {
        let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else {
            return Err(damaged("a segment needs entries"));
        };
        let (mut chain, mut plain) = (chain_in, BytesMut::new());
        for (expected, (seq, bytes)) in (*first..).zip(entries) {
            if *seq != expected {
                return Err(damaged(&format!("entry {expected} is missing")));
            }
            chain = chain.then(bytes);
            plain.put_u32(u32::try_from(bytes.len()).map_err(|_| damaged("an entry is too large"))?);
            plain.put_slice(bytes);
        }
        let data = lz4_flex::compress_prepend_size(&plain).into();
        Ok(Segment { first: *first, last: *last, codec: LZ4, chain_in, chain_out: chain, data })
    }

    /// Reads the stored entries.
    ///
    /// # Errors
    /// When the bytes do not decode, or do not lead from `chain_in` to `chain_out`.
    pub fn open(&self) -> Result<Vec<(Seq, Bytes)>, StoreError> {
        let broken = || damaged(&format!("segment {}..={} is damaged", self.first, self.last));
        if self.codec != LZ4 || self.first > self.last {
            return Err(broken());
        }
        let plain = lz4_flex::decompress_size_prepended(&self.data).map_err(|_| broken())?;
        let mut plain = Bytes::from(plain);
        let (mut chain, mut entries) = (self.chain_in, Vec::new());
        for seq in self.first..=self.last {
            let length = plain.try_get_u32().map_err(|_| broken())? as usize;
            if plain.len() < length {
                return Err(broken());
            }
            let entry = plain.split_to(length);
            chain = chain.then(&entry);
            entries.push((seq, entry));
        }
        if chain != self.chain_out || !plain.is_empty() {
            return Err(broken());
        }
        Ok(entries)
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

/// A store whose entries are read through its segments, as if none were sealed.
pub struct Sealing {
    store: Arc<dyn SealStore>,
    sizes: Sizes,
}

impl Sealing {
    /// Reads through the segments of a store, and makes them.
    #[must_use]
    pub fn new(store: Arc<dyn SealStore>, sizes: Sizes) -> Sealing {
        assert!(0 < sizes.segment && sizes.segment < sizes.tail, "a tail is longer than a segment");
        Sealing { store, sizes }
    }

    /// Seals the oldest entries of an aggregate while its tail is too long. Gives back up to where it is sealed.
    /// Any process may, at any time.
    ///
    /// # Errors
    /// When the store does not answer, or what it has is damaged; then nothing is removed.
    pub async fn seal(&self, tenant: TenantId, aggregate: AggregateId) -> Result<Seq, StoreError> {
        let head = self.store.head(tenant, aggregate).await?.map_or(0, |head| head.seq);
        let mut sealed = self.store.sealed(tenant, aggregate).await?;
        while sealed + self.sizes.tail < head {
            let (first, last) = (sealed + 1, sealed + self.sizes.segment);
            let length = usize::try_from(self.sizes.segment).unwrap_or(usize::MAX);
            let entries =
                self.store.entries(tenant, aggregate, first, last, Order::Ascending, length).await?;
            let chain_in = self.chain_before(tenant, aggregate, first).await?;
            let complete = entries.len() == length;
            if complete {
                let segment = Segment::seal(chain_in, &entries)?;
                self.store.put_segment(tenant, aggregate, segment).await?;
                // What is there may have been written by another process, and the entries are about to go.
                if self.segment(tenant, aggregate, first).await?.open()? != entries {
                    return Err(damaged(&format!("segment {first}..={last} is not what its entries are")));
                }
                if self.store.set_sealed(tenant, aggregate, sealed, last).await? {
                    sealed = last;
                    continue;
                }
            }
            // Another process was faster, or there is a hole.
            let now = self.store.sealed(tenant, aggregate).await?;
            if now == sealed {
                return Err(damaged(&format!("entries {first}..={last} are not complete")));
            }
            sealed = now;
        }
        Ok(sealed)
    }

    async fn chain_before(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        first: Seq,
    ) -> Result<Chain, StoreError> {
        if first == 1 {
            return Ok(Chain::default());
        }
        Ok(self.segment(tenant, aggregate, first - self.sizes.segment).await?.chain_out)
    }

    async fn segment(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        first: Seq,
    ) -> Result<Segment, StoreError> {
        let segment = self.store.segment(tenant, aggregate, first).await?;
        segment.ok_or_else(|| damaged(&format!("the segment that begins with entry {first} is missing")))
    }

    /// Reads entries `from ..= to`, of which those up to `sealed` are in segments.
    async fn read(
        &self,
        (tenant, aggregate): (TenantId, AggregateId),
        (from, to): (Seq, Seq),
        sealed: Seq,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Seq, Bytes)>, StoreError> {
        let mut found = Vec::new();
        let tail = from.max(sealed + 1);
        if order == Order::Descending && tail <= to {
            found = self.store.entries(tenant, aggregate, tail, to, order, limit).await?;
        }
        if from <= sealed {
            let number = |seq: Seq| (seq.max(1) - 1) / self.sizes.segment;
            let (low, high) = (number(from), number(sealed.min(to)));
            for step in 0..=high - low {
                if found.len() >= limit || to == 0 {
                    break;
                }
                let at = if order == Order::Ascending { low + step } else { high - step };
                let segment = self.segment(tenant, aggregate, at * self.sizes.segment + 1).await?;
                let mut entries = segment.open()?;
                if order == Order::Descending {
                    entries.reverse();
                }
                let wanted = entries.into_iter().filter(|(seq, _)| (from..=to).contains(seq));
                found.extend(wanted.take(limit - found.len()));
            }
        }
        if order == Order::Ascending && tail <= to && found.len() < limit {
            let rest = limit - found.len();
            found.extend(self.store.entries(tenant, aggregate, tail, to, order, rest).await?);
        }
        Ok(found)
    }
}

impl Store for Sealing {
    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        self.store.commit(group)
    }

    /// Entries may be sealed while they are read: if the mark moved, they are read again.
    fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Seq, Bytes)>, StoreError>> {
        async move {
            let from = from.max(1);
            if from > to {
                return Ok(Vec::new());
            }
            for _ in 0..ROUNDS_MAX {
                let sealed = self.store.sealed(tenant, aggregate).await?;
                let found = self.read((tenant, aggregate), (from, to), sealed, order, limit).await?;
                // Segments do not change, so without a tail there is nothing to compare.
                if to <= sealed || self.store.sealed(tenant, aggregate).await? == sealed {
                    return Ok(found);
                }
            }
            Err(StoreError::Unavailable("entries are being sealed all the time".into()))
        }
        .boxed()
    }

    pass_on_reads!();
}
