//! For stores around another one: passes on every read but those of entries and claims.

/// The reads of a store that keeps another one in the field `store`.
macro_rules! pass_on_reads {
    () => {
        fn head(
            &self,
            tenant: ids::TenantId,
            aggregate: ids::AggregateId,
        ) -> futures::future::BoxFuture<'_, Result<Option<$crate::store::Head>, $crate::store::StoreError>> {
            self.store.head(tenant, aggregate)
        }

        fn rows(
            &self,
            tenant: ids::TenantId,
            aggregate: ids::AggregateId,
            keys: Vec<bytes::Bytes>,
        ) -> futures::future::BoxFuture<'_, Result<Vec<Option<bytes::Bytes>>, $crate::store::StoreError>> {
            self.store.rows(tenant, aggregate, keys)
        }

        fn scan_rows(
            &self,
            tenant: ids::TenantId,
            aggregate: ids::AggregateId,
            prefix: bytes::Bytes,
            limit: usize,
        ) -> futures::future::BoxFuture<
            '_,
            Result<Vec<(bytes::Bytes, bytes::Bytes)>, $crate::store::StoreError>,
        > {
            self.store.scan_rows(tenant, aggregate, prefix, limit)
        }

        fn key(
            &self,
            tenant: ids::TenantId,
            hash: $crate::store::KeyHash,
        ) -> futures::future::BoxFuture<'_, Result<Option<$crate::store::KeyRow>, $crate::store::StoreError>>
        {
            self.store.key(tenant, hash)
        }

        fn claim(
            &self,
            tenant: ids::TenantId,
            claim: $crate::store::Claim,
        ) -> futures::future::BoxFuture<'_, Result<Option<ids::AggregateId>, $crate::store::StoreError>> {
            self.store.claim(tenant, claim)
        }

        fn index(
            &self,
            tenant: ids::TenantId,
            index: u16,
            prefix: bytes::Bytes,
            after: Option<(bytes::Bytes, ids::AggregateId)>,
            limit: usize,
        ) -> futures::future::BoxFuture<'_, Result<Vec<$crate::store::IndexRow>, $crate::store::StoreError>> {
            self.store.index(tenant, index, prefix, after, limit)
        }

        fn index_row(
            &self,
            tenant: ids::TenantId,
            index: u16,
            key: bytes::Bytes,
            aggregate: ids::AggregateId,
        ) -> futures::future::BoxFuture<'_, Result<Option<bytes::Bytes>, $crate::store::StoreError>> {
            self.store.index_row(tenant, index, key, aggregate)
        }

        fn aggregates(
            &self,
            after: Option<(ids::TenantId, ids::AggregateId)>,
            limit: usize,
        ) -> futures::future::BoxFuture<'_, Result<Vec<$crate::store::Found>, $crate::store::StoreError>> {
            self.store.aggregates(after, limit)
        }

        fn forget_keys(
            &self,
            now_s: u64,
            limit: usize,
        ) -> futures::future::BoxFuture<'_, Result<usize, $crate::store::StoreError>> {
            self.store.forget_keys(now_s, limit)
        }
    };
}

pub(crate) use pass_on_reads;
