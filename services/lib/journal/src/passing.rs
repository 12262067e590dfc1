//! For stores around another one: passes on every read but those of entries and claims.

/// The reads of a store that keeps another one in the field `store`, or in a named one.
macro_rules! pass_on_reads {
    () => {
        $crate::passing::pass_on_reads!(store);
    };
    ($store:ident) => {
        fn head(
            &self,
            tenant: ids::TenantId,
            aggregate: ids::AggregateId,
        ) -> futures::future::BoxFuture<'_, Result<Option<$crate::store::Head>, $crate::store::StoreError>> {
            self.$store.head(tenant, aggregate)
        }

        fn rows(
            &self,
            tenant: ids::TenantId,
            aggregate: ids::AggregateId,
            keys: Vec<bytes::Bytes>,
        ) -> futures::future::BoxFuture<'_, Result<Vec<Option<bytes::Bytes>>, $crate::store::StoreError>> {
            self.$store.rows(tenant, aggregate, keys)
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
            self.$store.scan_rows(tenant, aggregate, prefix, limit)
        }

        fn key(
            &self,
            tenant: ids::TenantId,
            hash: $crate::store::KeyHash,
        ) -> futures::future::BoxFuture<'_, Result<Option<$crate::store::KeyRow>, $crate::store::StoreError>>
        {
            self.$store.key(tenant, hash)
        }

        fn claim(
            &self,
            tenant: ids::TenantId,
            claim: $crate::store::Claim,
        ) -> futures::future::BoxFuture<'_, Result<Option<ids::AggregateId>, $crate::store::StoreError>> {
            self.$store.claim(tenant, claim)
        }

        fn index(
            &self,
            tenant: ids::TenantId,
            index: u16,
            prefix: bytes::Bytes,
            after: Option<(bytes::Bytes, ids::AggregateId)>,
            limit: usize,
        ) -> futures::future::BoxFuture<'_, Result<Vec<$crate::store::IndexRow>, $crate::store::StoreError>> {
            self.$store.index(tenant, index, prefix, after, limit)
        }

        fn index_row(
            &self,
            tenant: ids::TenantId,
            index: u16,
            key: bytes::Bytes,
            aggregate: ids::AggregateId,
        ) -> futures::future::BoxFuture<'_, Result<Option<bytes::Bytes>, $crate::store::StoreError>> {
            self.$store.index_row(tenant, index, key, aggregate)
        }

        fn aggregates(
            &self,
            after: Option<(ids::TenantId, ids::AggregateId)>,
            limit: usize,
        ) -> futures::future::BoxFuture<'_, Result<Vec<$crate::store::Found>, $crate::store::StoreError>> {
            self.$store.aggregates(after, limit)
        }

        fn forget_keys(
            &self,
            now_s: u64,
            limit: usize,
        ) -> futures::future::BoxFuture<'_, Result<usize, $crate::store::StoreError>> {
            self.$store.forget_keys(now_s, limit)
        }
    };
}

/// What a shared store does beyond reads and commits, but for fences and index rows, of a store that keeps another
/// one in the field `store`.
macro_rules! pass_on_steps {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name(
            &self,
            $($argument: $type),*
        ) -> futures::future::BoxFuture<'_, Result<$answer, $crate::store::StoreError>> {
            self.store.$name($($argument),*)
        })*
    };
    (relay) => {
        $crate::passing::pass_on_steps! {
            fn mark(mark: $crate::relay_store::Mark) -> $crate::relay_store::Marked;
            fn close_bucket(
                instance: $crate::relay_store::InstanceId, bucket: $crate::store::Bucket
            ) -> ();
            fn marks(
                instance: $crate::relay_store::InstanceId, bucket: $crate::store::Bucket,
                after: Option<(ids::TenantId, ids::AggregateId)>, limit: usize
            ) -> Vec<(ids::TenantId, ids::AggregateId)>;
            fn delete_bucket(
                instance: $crate::relay_store::InstanceId, bucket: $crate::store::Bucket
            ) -> ();
            fn set_lease(
                instance: $crate::relay_store::InstanceId, expect: Option<$crate::relay_store::Lease>,
                lease: Option<$crate::relay_store::Lease>
            ) -> bool;
            fn lease(instance: $crate::relay_store::InstanceId) -> Option<$crate::relay_store::Lease>;
            fn leases(
                after: Option<$crate::relay_store::InstanceId>, limit: usize
            ) -> Vec<($crate::relay_store::InstanceId, $crate::relay_store::Lease)>;
            fn relayed(
                tenant: ids::TenantId, aggregate: ids::AggregateId, sink: $crate::relay_store::Sink
            ) -> $crate::store::Seq;
            fn set_relayed(
                tenant: ids::TenantId, aggregate: ids::AggregateId, sink: $crate::relay_store::Sink,
                seq: $crate::store::Seq
            ) -> ();
            fn claim_row(
                tenant: ids::TenantId, claim: $crate::store::Claim
            ) -> Option<$crate::relay_store::ClaimRow>;
            fn set_claim_row(
                tenant: ids::TenantId, claim: $crate::store::Claim,
                expect: Option<$crate::relay_store::ClaimRow>, row: Option<$crate::relay_store::ClaimRow>
            ) -> bool;
        }
    };
    (seal) => {
        $crate::passing::pass_on_steps! {
            fn sealed(tenant: ids::TenantId, aggregate: ids::AggregateId) -> $crate::store::Seq;
            fn set_sealed(
                tenant: ids::TenantId, aggregate: ids::AggregateId, expect: $crate::store::Seq,
                to: $crate::store::Seq
            ) -> bool;
            fn put_segment(
                tenant: ids::TenantId, aggregate: ids::AggregateId, segment: $crate::seal::Segment
            ) -> ();
            fn segment(
                tenant: ids::TenantId, aggregate: ids::AggregateId, first: $crate::store::Seq
            ) -> Option<$crate::seal::Segment>;
        }
    };
}

pub(crate) use {pass_on_reads, pass_on_steps};
