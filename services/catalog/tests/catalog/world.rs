//! A catalogue, callers, and what tests say often.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use calendar::Instant;
use catalog::verify_aggregate;
use ids::{BusinessId, TenantId};
use journal::memory::MemoryStore;
use journal::store::{ClaimChange, Commit, NO_BUCKET, Outcome};
use journal::{Claim, Env, SharedStore};
use prost_types::Timestamp;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::catalog::v1::inheritance_service_client::InheritanceServiceClient;
use proto::catalog::v1::*;
use rpc::{Actor, ActorKind, Guard, Minter, Permissions, Principal, Transport, Verifier, header};
use tonic::{Code, Request, Response, Status};
use tonic_types::{FieldViolation, StatusExt as _};
use tower::Layer as _;

/// 2026-05-28T20:26:40Z.
pub(crate) const START_S: i64 = 1_780_000_000;

/// A clock that tests move, and random bytes that are the same in every run.
pub(crate) struct TestEnv {
    now_us: AtomicI64,
    drawn: AtomicU64,
}

impl Env for TestEnv {
    fn now(&self) -> Instant {
        Instant::from_unix_micros(self.now_us.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let spread = ids::AggregateId::derive(&[&drawn.to_be_bytes()]);
        for (byte, random) in bytes.iter_mut().zip(spread.as_bytes().iter().cycle()) {
            *byte = *random;
        }
    }
}

pub(crate) struct World {
    env: Arc<TestEnv>,
    minter: Minter,
    guard: Guard,
    store: SharedStore,
    pub(crate) client: CatalogServiceClient<Transport>,
    pub(crate) inheritance: InheritanceServiceClient<Transport>,
}

/// What a test calls as.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Principal);

impl World {
    pub(crate) fn new() -> World {
        let env = Arc::new(TestEnv { now_us: AtomicI64::new(START_S * 1_000_000), drawn: AtomicU64::new(0) });
        let clock: rpc::Clock = {
            let env = Arc::clone(&env);
            Arc::new(move || env.now().unix_ms())
        };
        let minter = Minter::from_seed(&[3; 32], Arc::clone(&clock));
        let guard = Guard::new(Arc::new(Verifier::new(&[minter.public_key()], clock)));
        let store: SharedStore = Arc::new(MemoryStore::default());
        let (client, inheritance) = serve(&guard, &store, &env);
        World { env, minter, guard, store, client, inheritance }
    }

    /// Another process over the same store: nothing is in memory.
    pub(crate) fn restart(&mut self) {
        (self.client, self.inheritance) = serve(&self.guard, &self.store, &self.env);
    }

    pub(crate) fn pass_seconds(&self, seconds: i64) {
        self.env.now_us.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    pub(crate) fn in_seconds(&self, seconds: i64) -> Timestamp {
        let (seconds, nanos) = self.env.now().plus_seconds(seconds).seconds_nanos();
        Timestamp { seconds, nanos }
    }

    pub(crate) fn request<T>(&self, caller: &Caller, message: T) -> Request<T> {
        rpc::with_token(&self.minter.mint(&caller.0, "catalog"), message)
    }

    pub(crate) fn keyed<T>(&self, caller: &Caller, key: &str, message: T) -> Request<T> {
        let mut request = self.request(caller, message);
        request.metadata_mut().insert(header::IDEMPOTENCY_KEY, key.parse().unwrap());
        request
    }

    pub(crate) fn matching<T>(&self, caller: &Caller, if_match: &str, message: T) -> Request<T> {
        let mut request = self.request(caller, message);
        request.metadata_mut().insert(header::IF_MATCH, if_match.parse().unwrap());
        request
    }

    pub(crate) async fn create(&self, caller: &Caller, product: Product) -> Result<Product, Status> {
        let request = self.request(caller, CreateProductRequest { product: Some(product) });
        Ok(self.client.clone().create_product(request).await?.into_inner())
    }

    pub(crate) async fn product(&self, caller: &Caller, id: &str) -> Result<Product, Status> {
        let request =
            self.request(caller, GetProductRequest { product_id: id.to_owned(), ..Default::default() });
        Ok(self.client.clone().get_product(request).await?.into_inner())
    }

    pub(crate) async fn variant(&self, caller: &Caller, id: &str) -> Result<Variant, Status> {
        let request = self.request(caller, GetVariantRequest { variant_id: id.to_owned() });
        Ok(self.client.clone().get_variant(request).await?.into_inner())
    }

    pub(crate) async fn add(
        &self,
        caller: &Caller,
        product_id: &str,
        variant: Variant,
    ) -> Result<Variant, Status> {
        let message = CreateVariantRequest { product_id: product_id.to_owned(), variant: Some(variant) };
        Ok(self.client.clone().create_variant(self.request(caller, message)).await?.into_inner())
    }

    /// Updates a product from any revision.
    pub(crate) async fn update(
        &self,
        caller: &Caller,
        id: &str,
        product: Product,
        mask: &[&str],
    ) -> Result<Product, Status> {
        let message = UpdateProductRequest {
            product_id: id.to_owned(),
            product: Some(product),
            update_mask: paths(mask),
        };
        Ok(self.client.clone().update_product(self.matching(caller, "*", message)).await?.into_inner())
    }

    /// Updates a variant from any revision.
    pub(crate) async fn change(
        &self,
        caller: &Caller,
        id: &str,
        variant: Variant,
        mask: &[&str],
    ) -> Result<Variant, Status> {
        let message = UpdateVariantRequest {
            variant_id: id.to_owned(),
            variant: Some(variant),
            update_mask: paths(mask),
        };
        Ok(self.client.clone().update_variant(self.matching(caller, "*", message)).await?.into_inner())
    }

    pub(crate) async fn convert(
        &self,
        caller: &Caller,
        id: &str,
        unit: &str,
        numerator: i64,
        denominator: i64,
    ) -> Result<Variant, Status> {
        let conversion =
            UnitConversion { unit: unit.to_owned(), numerator, denominator, ..UnitConversion::default() };
        let message = SetUnitConversionRequest { variant_id: id.to_owned(), conversion: Some(conversion) };
        Ok(self.client.clone().set_unit_conversion(self.request(caller, message)).await?.into_inner())
    }

    /// Variants that have a SKU or a barcode.
    pub(crate) async fn with_code(&self, caller: &Caller, sku: &str, barcode: &str) -> Vec<String> {
        let message = ListVariantsRequest {
            sku: sku.to_owned(),
            barcode: barcode.to_owned(),
            ..ListVariantsRequest::default()
        };
        let found =
            self.client.clone().list_variants(self.request(caller, message)).await.unwrap().into_inner();
        assert_eq!(found.next_page_token, "");
        found.variants.into_iter().map(|variant| variant.id).collect()
    }

    pub(crate) async fn price_list(&self, caller: &Caller, code: &str) -> Result<PriceList, Status> {
        let request = self.request(caller, CreatePriceListRequest { price_list: Some(new_list(code)) });
        Ok(self.client.clone().create_price_list(request).await?.into_inner())
    }

    /// Re-computes everything that is stored.
    pub(crate) async fn verify(&self) {
        assert!(self.aggregates().await > 0, "there is something to verify");
        assert_eq!(self.faults().await, Vec::<String>::new());
    }

    /// Takes a claim away from the aggregate that owns it, behind the back of its entries.
    pub(crate) async fn lose_claim(&self, caller: &Caller, kind: u16, value: &str) {
        let tenant = caller.0.tenant;
        let claim = Claim { kind, value: value.as_bytes().to_vec().into() };
        let aggregate = self.store.claim(tenant, claim.clone()).await.unwrap().unwrap();
        let head = self.store.head(tenant, aggregate).await.unwrap().unwrap();
        let commit = Commit {
            tenant,
            aggregate,
            expect: head.seq,
            bucket: NO_BUCKET,
            head,
            entries: vec![],
            rows: vec![],
            keys: vec![],
            claims: vec![ClaimChange::Release(claim)],
            index: vec![],
        };
        assert_eq!(self.store.commit(vec![commit]).await, Outcome::Applied);
    }

    /// What `verify` finds wrong, in all tenants.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (tenant, aggregate, head) in self.store.aggregates(None, usize::MAX).await.unwrap() {
            let finding = verify_aggregate(&self.store, tenant, aggregate, &head).await.unwrap();
            assert_eq!(finding.entries, head.seq);
            faults.extend(finding.faults);
        }
        faults
    }

    /// How many aggregates there are in all tenants.
    pub(crate) async fn aggregates(&self) -> usize {
        self.store.aggregates(None, usize::MAX).await.unwrap().len()
    }
}

type Clients = (CatalogServiceClient<Transport>, InheritanceServiceClient<Transport>);

fn serve(guard: &Guard, store: &SharedStore, env: &Arc<TestEnv>) -> Clients {
    let service = catalog::Service::new(Arc::clone(store), Arc::clone(env) as Arc<dyn Env>);
    let services = rpc::Services::new(guard.layer(service.catalog())).and(guard.layer(service.inheritance()));
    let transport = rpc::local(services);
    (CatalogServiceClient::new(transport.clone()), InheritanceServiceClient::new(transport))
}

fn paths(mask: &[&str]) -> Vec<String> {
    mask.iter().map(ToString::to_string).collect()
}

/// Who may do everything in a tenant of its own.
pub(crate) fn owner(tenant: u8) -> Caller {
    caller(tenant, &["*"])
}

pub(crate) fn caller(tenant: u8, permissions: &[&str]) -> Caller {
    Caller(Principal {
        tenant: TenantId::from_bytes([tenant; 16]),
        business: BusinessId::from_bytes([tenant; 16]),
        path: Arc::from([BusinessId::from_bytes([tenant; 16])]),
        actor: Actor::new(ActorKind::ApiKey, "key_test"),
        permissions: Permissions::parse(permissions).unwrap(),
        secret: [tenant; 32],
    })
}

/// The owner's key in the business with these numbers on the way from the root, of tenant 1.
pub(crate) fn below(path: &[u8]) -> Caller {
    let path: Arc<[BusinessId]> = path.iter().map(|byte| BusinessId::from_bytes([*byte; 16])).collect();
    let Caller(principal) = owner(1);
    Caller(Principal { business: *path.last().unwrap(), path, ..principal })
}

pub(crate) fn variant(sku: &str) -> Variant {
    Variant { sku: sku.to_owned(), ..Variant::default() }
}

/// A product with one variant.
pub(crate) fn simple(sku: &str) -> Product {
    Product { name: format!("Product {sku}"), variants: vec![variant(sku)], ..Product::default() }
}

pub(crate) fn sized(sku: &str, size: &str) -> Variant {
    Variant { option_values: [("size".to_owned(), size.to_owned())].into(), ..variant(sku) }
}

pub(crate) fn barcode(value: &str, symbology: Symbology, unit: &str) -> Barcode {
    Barcode { value: value.to_owned(), symbology: symbology.into(), unit: unit.to_owned() }
}

pub(crate) fn new_list(code: &str) -> PriceList {
    PriceList {
        code: code.to_owned(),
        name: "Retail".to_owned(),
        kind: PriceListKind::Sale.into(),
        currency: "EUR".to_owned(),
        tax_inclusive: true,
        ..PriceList::default()
    }
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

pub(crate) fn metadata(status: &Status, name: &str) -> String {
    status.get_details_error_info().and_then(|info| info.metadata.get(name).cloned()).unwrap_or_default()
}

fn violations(status: &Status) -> Vec<FieldViolation> {
    status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default()
}

/// Bad fields and their reasons, `product.name REQUIRED`.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    violations(status).into_iter().map(|field| format!("{} {}", field.field, field.reason)).collect()
}

/// The text about the first bad field.
pub(crate) fn detail(status: &Status) -> String {
    violations(status).into_iter().next().map(|field| field.description).unwrap_or_default()
}

/// Everything that a caller sees of a refusal.
pub(crate) fn bytes(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

pub(crate) fn replayed<T>(response: &Response<T>) -> bool {
    response.metadata().contains_key(header::IDEMPOTENT_REPLAYED)
}
