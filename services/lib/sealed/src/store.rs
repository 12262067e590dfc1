//! The decorator: seals what goes into a store, opens what comes out.
//!
//! | part | stored as | bound to, beside service, tenant and aggregate |
//! |---|---|---|
//! | entry, with the hash chain up to it | sealed | its `seq` |
//! | head: chain and header | sealed | `seq`, attempt, format |
//! | head: `seq`, attempt, format | in the clear: the store needs the first two, the third tells who decodes | |
//! | state row: value | sealed | its key |
//! | index row: value | sealed | index and key |
//! | keys of state and index rows | in the clear: they are read by prefix and in order. Ids, codes, dates, numbers of documents; never personal data | |
//! | unique value (claim) | keyed hash: only equality is asked for | |
//! | idempotency key | in the clear: a hash, also the random part of ids | |
//! | fingerprint of its request | masked with a keyed hash | all of the row |
//! | feed | in the clear: ids and sequences | |
//!
//! The chain is over what was written and not over what is stored: it stays the same when keys are rotated, and
//! proofs of the audit log hold. A hash of something can confirm a guess of it, so the chain is sealed too:
//! where the store keeps the chain of a head it has the first 32 sealed bytes.
//!
//! The key for hashes and masks is never rotated, as nothing finds the rows that would have to be written again.
//! All of it is done in the task of whoever commits or reads, never on the thread that writes groups.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::feed::{FeedPage, FeedStore};
use journal::relay::Owner;
use journal::store::{
    Chain, Claim, ClaimChange, Commit, Found, Head, IndexRow, KeyHash, KeyRow, Order, Outcome, Refusal, Seq,
    Store, StoreError, check_plain,
};

use crate::cipher::{HEADER_BYTES, TAG_BYTES, TenantKeys};
use crate::keyring::{KeyError, Keyring};

const CHAIN_BYTES: usize = 32;
/// Aggregates that are looked at when a tenant gets its first key.
const ONE: usize = 1;

const _: () = assert!(HEADER_BYTES + TAG_BYTES <= journal::store::SEALING_BYTES_MAX);

/// What a value is.
#[derive(Clone, Copy)]
enum Kind {
    Head = 1,
    Entry = 2,
    Row = 3,
    Index = 4,
}

/// Writes down what values of one aggregate are bound to.
struct Bound {
    bytes: Vec<u8>,
    scope: usize,
}

impl Bound {
    fn to(service: &str, tenant: TenantId, aggregate: AggregateId) -> Bound {
        let mut bytes = Vec::with_capacity(service.len() + 96);
        bytes.extend_from_slice(service.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(tenant.as_bytes());
        bytes.extend_from_slice(aggregate.as_bytes());
        Bound { scope: bytes.len(), bytes }
    }

    fn at(&mut self, kind: Kind, place: &[&[u8]]) -> &[u8] {
        self.bytes.truncate(self.scope);
        self.bytes.push(kind as u8);
        place.iter().for_each(|part| self.bytes.extend_from_slice(part));
        &self.bytes
    }

    fn head(&mut self, head: &Head) -> &[u8] {
        self.at(Kind::Head, &[&head.seq.to_be_bytes(), &head.attempt.0, &head.format.to_be_bytes()])
    }

    fn entry(&mut self, seq: Seq) -> &[u8] {
        self.at(Kind::Entry, &[&seq.to_be_bytes()])
    }

    fn row(&mut self, key: &[u8]) -> &[u8] {
        self.at(Kind::Row, &[key])
    }

    fn index(&mut self, index: u16, key: &[u8]) -> &[u8] {
        self.at(Kind::Index, &[&index.to_be_bytes(), key])
    }
}

/// A store whose values are sealed with the key of their tenant.
pub struct SealedStore<S: ?Sized> {
    store: Arc<S>,
    keyring: Arc<Keyring>,
    /// Values of one service do not open in the store of another.
    service: &'static str,
}

impl<S: Store + ?Sized> SealedStore<S> {
    /// Seals what goes into the store of `service`.
    #[must_use]
    pub fn new(store: Arc<S>, keyring: Arc<Keyring>, service: &'static str) -> SealedStore<S> {
        SealedStore { store, keyring, service }
    }

    fn bound(&self, tenant: TenantId, aggregate: AggregateId) -> Bound {
        Bound::to(self.service, tenant, aggregate)
    }

    /// The keys to write with. A tenant gets its first ones here, if nothing is stored of it: a file that was lost
    /// is never made anew.
    async fn keys_to_write(&self, tenant: TenantId) -> Result<Arc<TenantKeys>, StoreError> {
        if let Some(keys) = self.keyring.of(tenant)? {
            return Ok(keys);
        }
        if let Err(lost) = self.nothing_is_stored(tenant).await {
            // Another process may have made the first ones, and written with them.
            return self.keyring.of(tenant)?.ok_or(lost);
        }
        Ok(self.keyring.of_new(tenant)?)
    }

    /// The keys for what was read just now: another process may have made them after `keys` were looked for.
    fn by_now(
        &self,
        keys: Option<Arc<TenantKeys>>,
        tenant: TenantId,
    ) -> Result<Option<Arc<TenantKeys>>, KeyError> {
        if keys.is_some() { Ok(keys) } else { self.keyring.of(tenant) }
    }

    /// Of a tenant that has no key: or else its key was lost.
    async fn nothing_is_stored(&self, tenant: TenantId) -> Result<(), StoreError> {
        let first = Some((tenant, AggregateId::from_bytes([0; 16])));
        let found = self.store.aggregates(first, ONE).await?;
        match found.first() {
            Some((other, ..)) if *other == tenant => Err(KeyError::Missing.into()),
            _ => Ok(()),
        }
    }

    fn hashed(&self, keys: &TenantKeys, claim: &Claim) -> Claim {
        let parts = [b"claim", self.service.as_bytes(), &claim.kind.to_be_bytes(), claim.value.as_ref()];
        Claim { kind: claim.kind, value: Bytes::copy_from_slice(&keys.hash(&parts)) }
    }

    /// Masks a fingerprint, or takes the mask off.
    fn masked(&self, keys: &TenantKeys, hash: KeyHash, row: &mut KeyRow) {
        let mask = keys.hash(&[
            b"fingerprint",
            &hash.0,
            row.aggregate.as_bytes(),
            &row.first.to_be_bytes(),
            &row.count.to_be_bytes(),
            &row.expires_s.to_be_bytes(),
        ]);
        row.fingerprint.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }

    fn seal(&self, keys: &TenantKeys, commit: &mut Commit) -> Result<(), KeyError> {
        let mut bound = self.bound(commit.tenant, commit.aggregate);
        let head = &mut commit.head;
        let sealed = keys.seal(bound.head(head), &[&head.chain.0, &head.header])?;
        // The first sealed bytes take the place of the chain.
        let (chain, rest) = sealed[HEADER_BYTES..].split_at(CHAIN_BYTES);
        head.chain = Chain(chain.try_into().unwrap_or_else(|_| unreachable!("it has 32 bytes")));
        head.header = [&sealed[..HEADER_BYTES], rest].concat().into();
        for (seq, entry) in (commit.expect + 1..).zip(&mut commit.entries) {
            *entry = keys.seal(bound.entry(seq), &[entry])?.into();
        }
        for (key, value) in &mut commit.rows {
            if let Some(value) = value {
                *value = keys.seal(bound.row(key), &[value])?.into();
            }
        }
        for change in &mut commit.index {
            if let Some(value) = &mut change.value {
                *value = keys.seal(bound.index(change.index, &change.key), &[value])?.into();
            }
        }
        for (hash, row) in &mut commit.keys {
            self.masked(keys, *hash, row);
        }
        for change in &mut commit.claims {
            let (ClaimChange::Take(claim) | ClaimChange::Release(claim)) = change;
            *claim = self.hashed(keys, claim);
        }
        Ok(())
    }

    fn open_head(
        &self,
        keys: &TenantKeys,
        tenant: TenantId,
        aggregate: AggregateId,
        mut head: Head,
    ) -> Result<Head, KeyError> {
        let mut bound = self.bound(tenant, aggregate);
        let (before, after) = head.header.split_at_checked(HEADER_BYTES).ok_or(KeyError::Changed)?;
        let opened = keys.open(bound.head(&head), &[before, &head.chain.0, after])?;
        head.chain = Chain(*opened.first_chunk().ok_or(KeyError::Changed)?);
        head.header = opened.slice(CHAIN_BYTES..);
        Ok(head)
    }

    async fn write(&self, mut group: Vec<Commit>) -> Outcome {
        if let Err(refusal) = check_plain(&group) {
            return Outcome::Refused(refusal);
        }
        let Some(tenant) = group.first().map(|commit| commit.tenant) else {
            return self.store.commit(group).await;
        };
        let keys = match self.keys_to_write(tenant).await {
            Ok(keys) => keys,
            // Whoever reads next is told so: nothing of the group was written, or ever will be.
            Err(StoreError::KeyDestroyed | StoreError::KeyMissing(_)) => {
                return Outcome::Refused(Refusal::Moved { at: 0, current: group[0].expect });
            }
            Err(error) => return Outcome::Unknown(error),
        };
        let claims: Vec<Claim> = group
            .iter()
            .flat_map(|commit| commit.claims.iter().map(|change| change.claim().clone()))
            .collect();
        for commit in &mut group {
            if let Err(error) = self.seal(&keys, commit) {
                return Outcome::Unknown(error.into());
            }
        }
        match self.store.commit(group).await {
            Outcome::Refused(Refusal::Claimed { at, claim, owner }) => {
                let plain = claims.into_iter().find(|plain| self.hashed(&keys, plain) == claim);
                Outcome::Refused(Refusal::Claimed { at, claim: plain.unwrap_or(claim), owner })
            }
            outcome => outcome,
        }
    }
}

/// The keys of a tenant of which something was found.
fn present(keys: &Option<Arc<TenantKeys>>) -> Result<&TenantKeys, KeyError> {
    keys.as_deref().ok_or(KeyError::Missing)
}

/// The keys of a tenant, if any were made.
type MadeKeys = Option<Arc<TenantKeys>>;

/// Says which value did not open.
fn at<T>(opened: Result<T, KeyError>, what: impl FnOnce() -> String) -> Result<T, StoreError> {
    opened.map_err(|error| match error {
        KeyError::Changed => StoreError::Damaged(format!("{}: {error}", what())),
        KeyError::Missing => {
            StoreError::KeyMissing(format!("{} was sealed with one that is in no file", what()))
        }
        other => other.into(),
    })
}

impl<S: Store + ?Sized> Store for SealedStore<S> {
    fn owner(&self) -> Option<Arc<Owner>> {
        self.store.owner()
    }

    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        self.write(group).boxed()
    }

    fn head(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Head>, StoreError>> {
        async move {
            let keys = self.keyring.of(tenant)?;
            let Some(head) = self.store.head(tenant, aggregate).await? else { return Ok(None) };
            let keys = self.by_now(keys, tenant)?;
            let opened = present(&keys).and_then(|keys| self.open_head(keys, tenant, aggregate, head));
            at(opened, || format!("the head of {aggregate}")).map(Some)
        }
        .boxed()
    }

    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, StoreError>> {
        async move {
            let opening = self.keyring.of(tenant)?;
            let found = self.store.rows(tenant, aggregate, keys.clone()).await?;
            let opening = self.by_now(opening, tenant)?;
            let mut bound = self.bound(tenant, aggregate);
            let open = |(key, value): (Bytes, Option<Bytes>)| {
                let Some(value) = value else { return Ok(None) };
                let opened = present(&opening).and_then(|keys| keys.open(bound.row(&key), &[&value]));
                at(opened, || format!("a state row of {aggregate}")).map(Some)
            };
            keys.into_iter().zip(found).map(open).collect()
        }
        .boxed()
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        async move {
            let keys = self.keyring.of(tenant)?;
            let mut found = self.store.scan_rows(tenant, aggregate, prefix, limit).await?;
            let keys = self.by_now(keys, tenant)?;
            let mut bound = self.bound(tenant, aggregate);
            for (key, value) in &mut found {
                let opened = present(&keys).and_then(|keys| keys.open(bound.row(key), &[value]));
                *value = at(opened, || format!("a state row of {aggregate}"))?;
            }
            Ok(found)
        }
        .boxed()
    }

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
            let keys = self.keyring.of(tenant)?;
            let mut found = self.store.entries(tenant, aggregate, from, to, order, limit).await?;
            let keys = self.by_now(keys, tenant)?;
            let mut bound = self.bound(tenant, aggregate);
            for (seq, entry) in &mut found {
                let opened = present(&keys).and_then(|keys| keys.open(bound.entry(*seq), &[entry]));
                *entry = at(opened, || format!("entry {seq} of {aggregate}"))?;
            }
            Ok(found)
        }
        .boxed()
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        async move {
            let keys = self.keyring.of(tenant)?;
            let Some(mut row) = self.store.key(tenant, hash).await? else { return Ok(None) };
            let keys = self.by_now(keys, tenant)?;
            self.masked(at(present(&keys), || "an idempotency key".into())?, hash, &mut row);
            Ok(Some(row))
        }
        .boxed()
    }

    fn claim(
        &self,
        tenant: TenantId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Option<AggregateId>, StoreError>> {
        async move {
            let mut keys = self.keyring.of(tenant)?;
            if keys.is_none() {
                // Without a key nothing was claimed: where it is stored follows from the key.
                let nothing = self.nothing_is_stored(tenant).await;
                keys = self.keyring.of(tenant)?;
                if keys.is_none() {
                    return nothing.map(|()| None);
                }
            }
            let Some(keys) = keys else { return Ok(None) };
            self.store.claim(tenant, self.hashed(&keys, &claim)).await
        }
        .boxed()
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreError>> {
        async move {
            let keys = self.keyring.of(tenant)?;
            let mut found = self.store.index(tenant, index, prefix, after, limit).await?;
            let keys = self.by_now(keys, tenant)?;
            for row in &mut found {
                let mut bound = self.bound(tenant, row.aggregate);
                let opened =
                    present(&keys).and_then(|keys| keys.open(bound.index(index, &row.key), &[&row.value]));
                row.value = at(opened, || format!("a row of index {index} of {}", row.aggregate))?;
            }
            Ok(found)
        }
        .boxed()
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        async move {
            let keys = self.keyring.of(tenant)?;
            let found = self.store.index_row(tenant, index, key.clone(), aggregate).await?;
            let Some(value) = found else { return Ok(None) };
            let keys = self.by_now(keys, tenant)?;
            let mut bound = self.bound(tenant, aggregate);
            let opened = present(&keys).and_then(|keys| keys.open(bound.index(index, &key), &[&value]));
            at(opened, || format!("a row of index {index} of {aggregate}")).map(Some)
        }
        .boxed()
    }

    /// Leaves out what is of tenants whose key was destroyed, as if it were not there. A head that does not open
    /// has its sequence, no chain and an empty header: whoever reads on is told why, and all other aggregates are
    /// listed.
    fn aggregates(
        &self,
        mut after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        async move {
            loop {
                let page = self.store.aggregates(after, limit).await?;
                let Some((tenant, aggregate, _)) = page.last() else { return Ok(Vec::new()) };
                after = Some((*tenant, *aggregate));
                let mut found: Vec<Found> = Vec::with_capacity(page.len());
                let mut keys: Option<(TenantId, Result<MadeKeys, KeyError>)> = None;
                for (tenant, aggregate, head) in page {
                    if keys.as_ref().is_none_or(|(of, _)| *of != tenant) {
                        keys = Some((tenant, self.keyring.of(tenant)));
                    }
                    let opened = match keys.as_ref().map(|(_, keys)| keys) {
                        Some(Err(KeyError::Destroyed)) => continue,
                        Some(Err(error @ (KeyError::Unavailable(_) | KeyError::Exhausted))) => {
                            return Err(error.clone().into());
                        }
                        Some(Ok(Some(keys))) => self.open_head(keys, tenant, aggregate, head.clone()).ok(),
                        _ => None,
                    };
                    let unread = || Head { chain: Chain::default(), header: Bytes::new(), ..head };
                    found.push((tenant, aggregate, opened.unwrap_or_else(unread)));
                }
                // An empty page is the end to those who ask.
                if !found.is_empty() {
                    return Ok(found);
                }
            }
        }
        .boxed()
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.store.forget_keys(now_s, limit)
    }
}

impl<S: FeedStore + ?Sized> FeedStore for SealedStore<S> {
    /// Without changes of tenants whose key was destroyed: nobody could read them.
    fn feed(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<FeedPage, StoreError>> {
        async move {
            let mut page = self.store.feed(after, limit).await?;
            for group in &mut page.groups {
                group.changes.retain(|change| !self.keyring.is_destroyed(change.tenant));
            }
            Ok(page)
        }
        .boxed()
    }

    fn forget_feed(&self, upto: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.forget_feed(upto)
    }

    fn feed_moved(&self, after: u64) -> BoxFuture<'_, ()> {
        self.store.feed_moved(after)
    }
}
