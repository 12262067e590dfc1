//! Segments of the reference store.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};

use super::MemoryStore;
use crate::seal::{SealStore, Segment};
use crate::store::{Seq, StoreError};

#[derive(Default, Debug)]
pub(super) struct Sealed {
    upto: BTreeMap<(TenantId, AggregateId), Seq>,
    segments: BTreeMap<(TenantId, AggregateId, Seq), Segment>,
}

impl SealStore for MemoryStore {
    fn sealed(&self, tenant: TenantId, aggregate: AggregateId) -> BoxFuture<'_, Result<Seq, StoreError>> {
        self.read(move |tables| tables.sealed.upto.get(&(tenant, aggregate)).copied().unwrap_or(0))
    }

    fn set_sealed(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        expect: Seq,
        to: Seq,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(move |tables| {
            let upto = tables.sealed.upto.entry((tenant, aggregate)).or_default();
            if *upto != expect {
                return false;
            }
            *upto = to;
            for seq in expect + 1..=to {
                tables.entries.remove(&(tenant, aggregate, seq));
            }
            true
        })
    }

    fn put_segment(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        segment: Segment,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |tables| {
            tables.sealed.segments.entry((tenant, aggregate, segment.first)).or_insert(segment);
        })
    }

    fn segment(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        first: Seq,
    ) -> BoxFuture<'_, Result<Option<Segment>, StoreError>> {
        self.read(move |tables| tables.sealed.segments.get(&(tenant, aggregate, first)).cloned())
    }
}
