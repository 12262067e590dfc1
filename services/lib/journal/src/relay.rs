//! Relay without a queue, for a store that several processes share: every entry reaches every sink, whichever
//! process dies and wherever, and a paused one does not commit behind anybody's back.
//!
//! 1. A process draws an instance id and keeps a lease ([`Owner`]). Before its first commit to an aggregate in
//!    a bucket it marks (instance, bucket, aggregate) as dirty, and commits only after the mark is
//!    acknowledged, with the bucket in the commit.
//! 2. After the commit it applies index rows, publishes the entries above the relay cursor and moves the cursor.
//!    When all attempts of a past bucket are decided and relayed, it deletes the marks of the bucket.
//! 3. Of an owner that is silent, an [`Adopter`] takes over the lease, which keeps the owner from using a new
//!    bucket. Then it closes each of its buckets, so that no mark is added, raises the fence of each marked
//!    aggregate to the bucket, so that no commit is added, applies its index rows, and publishes what is above
//!    the relay cursor.
//!
//! No safety depends on a clock: a wrong guess that an owner is dead costs it its lease and a few refused
//! commits, and it goes on as another instance.
//!
//! A store that one process owns needs none of this: see [`crate::feed`].

mod adopter;
mod owner;

use bytes::Bytes;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};

pub use adopter::{Adopter, SILENT_S};
pub use owner::{AHEAD, BUCKET_S, Owner, Permit};

use crate::relay_store::{RelayStore, Sink};
use crate::store::{Order, Seq, StoreError};

/// Entries that are published at once.
const PAGE: usize = 256;

/// Where relayed entries go. May see an entry again, and entries of different calls in any order; each call has
/// entries of one aggregate in order and without a gap.
pub trait Publish: Send + Sync + 'static {
    /// Under which number its cursors are kept.
    fn sink(&self) -> Sink;

    /// Publishes stored entries, durably. An error is an unknown outcome: they will be published again.
    fn publish(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        entries: Vec<(Seq, Bytes)>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Publishes the entries of an aggregate above its relay cursor, at least up to `upto`, and moves the cursor.
///
/// # Errors
/// When the store or the sink does not answer, or the store does not show an entry that is known to exist.
pub async fn relay(
    store: &dyn RelayStore,
    to: &dyn Publish,
    tenant: TenantId,
    aggregate: AggregateId,
    upto: Seq,
) -> Result<(), StoreError> {
    let mut at = store.relayed(tenant, aggregate, to.sink()).await?;
    while at < upto {
        let entries = store.entries(tenant, aggregate, at + 1, Seq::MAX, Order::Ascending, PAGE).await?;
        let gap_free = (at + 1..).zip(&entries).all(|(expected, (seq, _))| *seq == expected);
        let Some((last, _)) = entries.last().filter(|_| gap_free) else {
            return Err(StoreError::Unavailable(format!("entry {} is not shown yet", at + 1)));
        };
        let last = *last;
        to.publish(tenant, aggregate, entries).await?;
        store.set_relayed(tenant, aggregate, to.sink(), last).await?;
        at = last;
    }
    Ok(())
}
