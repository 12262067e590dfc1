//! The service behind its door, in a world with a clock of its own, and short names for calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use calendar::Instant;
use ids::{BusinessId, TenantId, VariantId};
use journal::memory::MemoryStore;
use journal::{Env, SharedStore, SystemEnv};
use parking_lot::Mutex;
use proto::api::v1::Money;
use proto::catalog::v1::{UnitConversion, Variant};
use proto::stock::v1::stock_service_client::StockServiceClient;
use proto::stock::v1::*;
use proto::tenant::v1::{Business, CostingMethod};
use rpc::{Actor, ActorKind, Guard, Minter, Permissions, Principal, System, Transport, Verifier, header};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;
use tower::Layer as _;

use crate::fakes::{self, Known};

/// A clock that tests move.
struct TestEnv {
    now_us: AtomicI64,
}

impl Env for TestEnv {
    fn now(&self) -> Instant {
        Instant::from_unix_micros(self.now_us.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        SystemEnv.random(bytes);
    }
}

pub(crate) struct World {
    env: Arc<TestEnv>,
    minter: Arc<Minter>,
    guard: Guard,
    pub(crate) store: SharedStore,
    pub(crate) known: Arc<Known>,
    client: Mutex<StockServiceClient<Transport>>,
    next_key: AtomicU64,
}

impl World {
    pub(crate) fn new() -> World {
        let env = Arc::new(TestEnv { now_us: AtomicI64::new(1_780_000_000_000_000) });
        let clock: rpc::Clock = {
            let env = Arc::clone(&env);
            Arc::new(move || env.now().unix_ms())
        };
        let minter = Arc::new(Minter::generate(Arc::clone(&clock)).unwrap());
        let guard = Guard::new(Arc::new(Verifier::new(&[minter.public_key()], clock)));
        let known = Arc::new(Known::default());
        let store: SharedStore = Arc::new(MemoryStore::default());
        let client = Mutex::new(serve(&store, &env, &minter, &guard, &known));
        World { env, minter, guard, store, known, client, next_key: AtomicU64::new(0) }
    }

    /// Starts the service anew over the same store: it remembers nothing else.
    pub(crate) fn restart(&self) {
        *self.client.lock() = serve(&self.store, &self.env, &self.minter, &self.guard, &self.known);
    }

    /// A business with a variant, `C62` in dozens too, and two locations.
    pub(crate) async fn shop(&self, tenant: u8, method: CostingMethod) -> Shop<'_> {
        let caller = principal(tenant, 1, "key_1", &["*"]);
        let business = Business {
            id: caller.business.to_string(),
            base_currency: "EUR".to_owned(),
            cost_scale: 2,
            costing_method: method.into(),
            backdate_window_days: 30,
            ..Business::default()
        };
        let key = (caller.tenant.to_string(), business.id.clone());
        self.known.businesses.lock().insert(key, business);
        let mut shop =
            Shop { world: self, caller, variant: String::new(), a: String::new(), b: String::new() };
        shop.variant = shop.new_variant(1);
        shop.a = shop.location("A").await.id;
        shop.b = shop.location("B").await.id;
        shop
    }

    pub(crate) fn pass_seconds(&self, seconds: i64) {
        self.env.now_us.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    pub(crate) fn seconds_ago(&self, seconds: i64) -> prost_types::Timestamp {
        let (seconds, nanos) = self.env.now().plus_seconds(-seconds).seconds_nanos();
        prost_types::Timestamp { seconds, nanos }
    }

    /// What the verification of everything that is stored finds.
    pub(crate) async fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (tenant, aggregate, head) in self.store.aggregates(None, 1000).await.unwrap() {
            let finding = stock::verify_aggregate(&self.store, tenant, aggregate, &head).await.unwrap();
            assert!(!finding.faults.is_empty() || finding.entries == head.seq);
            faults.extend(finding.faults);
        }
        faults
    }

    /// A key that nobody used.
    pub(crate) fn key(&self) -> String {
        format!("key-{}", self.next_key.fetch_add(1, Ordering::Relaxed))
    }
}

fn serve(
    store: &SharedStore,
    env: &Arc<TestEnv>,
    minter: &Arc<Minter>,
    guard: &Guard,
    known: &Arc<Known>,
) -> StockServiceClient<Transport> {
    let (catalog, tenant) = fakes::transports(known, guard);
    let needs = Permissions::parse(stock::NEEDS).unwrap();
    let system = System::new(Arc::clone(minter), "stock", needs);
    let env: Arc<dyn Env> = env.clone();
    let service = stock::service(Arc::clone(store), env, catalog, tenant, system);
    StockServiceClient::new(rpc::local(rpc::Services::new(guard.layer(service))))
}

pub(crate) fn principal(tenant: u8, business: u8, actor: &str, permissions: &[&str]) -> Principal {
    Principal {
        tenant: TenantId::from_bytes([tenant; 16]),
        business: BusinessId::from_bytes([0x40 + business; 16]),
        path: Arc::from([BusinessId::from_bytes([0x40 + business; 16])]),
        actor: Actor::new(ActorKind::ApiKey, actor),
        permissions: Permissions::parse(permissions).unwrap(),
        secret: [tenant; 32],
    }
}

/// A caller in a business.
#[derive(Clone)]
pub(crate) struct Shop<'a> {
    pub(crate) world: &'a World,
    pub(crate) caller: Principal,
    pub(crate) variant: String,
    pub(crate) a: String,
    pub(crate) b: String,
}

/// One method per call: the message, then headers where the call has some.
macro_rules! calls {
    ($($name:ident: $request:ty => $answer:ty;)*) => { $(
        pub(crate) async fn $name(
            &self,
            message: $request,
            headers: &[(&'static str, &str)],
        ) -> Result<Response<$answer>, Status> {
            let mut client = self.world.client.lock().clone();
            client.$name(self.request(message, headers)).await
        }
    )* };
}

impl<'a> Shop<'a> {
    calls! {
        create_location: CreateLocationRequest => Location;
        batch_create_locations: BatchCreateLocationsRequest => BatchCreateLocationsResponse;
        get_location: GetLocationRequest => Location;
        list_locations: ListLocationsRequest => ListLocationsResponse;
        update_location: UpdateLocationRequest => Location;
        post_movement: PostMovementRequest => Posting;
        batch_post_movements: BatchPostMovementsRequest => BatchPostMovementsResponse;
        reverse_movement: ReverseMovementRequest => Posting;
        get_movement: GetMovementRequest => Movement;
        list_movements: ListMovementsRequest => ListMovementsResponse;
        get_balance: GetBalanceRequest => ItemBalance;
        list_balances: ListBalancesRequest => ListBalancesResponse;
    }

    fn request<T>(&self, message: T, headers: &[(&'static str, &str)]) -> Request<T> {
        let mut request = rpc::with_token(&self.world.minter.mint(&self.caller, "stock"), message);
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    /// The same business as another principal.
    pub(crate) fn as_other(&self, actor: &str, permissions: &[&str]) -> Shop<'a> {
        let permissions = Permissions::parse(permissions).unwrap();
        let actor = Actor::new(ActorKind::ApiKey, actor);
        Shop { caller: Principal { actor, permissions, ..self.caller.clone() }, ..self.clone() }
    }

    /// Makes a variant known to the catalog.
    pub(crate) fn new_variant(&self, number: u8) -> String {
        let tenant = self.caller.tenant.as_bytes()[0];
        let id = VariantId::new(1_700_000_000_000, [tenant, number, 0, 0, 0, 0, 0, 0, 0, 0]).to_string();
        let conversion = |unit: &str, numerator, denominator| UnitConversion {
            unit: unit.to_owned(),
            numerator,
            denominator,
            ..UnitConversion::default()
        };
        let variant = Variant {
            id: id.clone(),
            base_unit: "C62".to_owned(),
            quantity_scale: 3,
            conversions: vec![conversion("DZN", 12, 1), conversion("KGM", 1, 7)],
            ..Variant::default()
        };
        self.world.known.variants.lock().insert((self.caller.tenant.to_string(), id.clone()), variant);
        id
    }

    pub(crate) async fn location(&self, code: &str) -> Location {
        let location =
            Location { code: code.to_owned(), name: format!("Place {code}"), ..Location::default() };
        self.make(location).await.unwrap()
    }

    pub(crate) async fn make(&self, location: Location) -> Result<Location, Status> {
        let request = CreateLocationRequest { location: Some(location) };
        Ok(self.create_location(request, &[]).await?.into_inner())
    }

    /// A draft of the shop's variant at A, from a document that the kind permits.
    pub(crate) fn draft(&self, kind: &str, quantity: &str) -> MovementDraft {
        let source = match kind {
            "purchase.receipt" => "goods_receipt",
            "sale.shipment" => "shipment",
            "transfer.direct" => "transfer",
            "adjustment.opening" => "opening",
            "adjustment.manual" => "adjustment",
            "return.customer" => "sales_return",
            "return.supplier" => "supplier_return",
            _ => "write_off",
        };
        MovementDraft {
            kind: kind.to_owned(),
            variant_id: self.variant.clone(),
            location_id: self.a.clone(),
            quantity: quantity.to_owned(),
            source: Some(Source { r#type: source.to_owned(), id: "D-1".to_owned(), ..Source::default() }),
            reason_code: "test".to_owned(),
            ..MovementDraft::default()
        }
    }

    pub(crate) fn receipt(&self, quantity: &str, total: &str) -> MovementDraft {
        MovementDraft { total_cost: eur(total), ..self.draft("purchase.receipt", quantity) }
    }

    pub(crate) fn sale(&self, quantity: &str) -> MovementDraft {
        self.draft("sale.shipment", quantity)
    }

    pub(crate) fn transfer(&self, quantity: &str) -> MovementDraft {
        MovementDraft { to_location_id: self.b.clone(), ..self.draft("transfer.direct", quantity) }
    }

    /// Posts under a new key.
    pub(crate) async fn post(&self, draft: MovementDraft) -> Result<Vec<Movement>, Status> {
        let key = self.world.key();
        Ok(self.post_as(&key, draft).await?.movements)
    }

    pub(crate) async fn post_as(&self, key: &str, draft: MovementDraft) -> Result<Posting, Status> {
        let request = PostMovementRequest { movement: Some(draft) };
        Ok(self.post_movement(request, &[(header::IDEMPOTENCY_KEY, key)]).await?.into_inner())
    }

    pub(crate) async fn reverse(&self, id: &str) -> Result<Vec<Movement>, Status> {
        let request = ReverseMovementRequest {
            movement_id: id.to_owned(),
            reason_code: "mistake".to_owned(),
            note: String::new(),
        };
        let key = self.world.key();
        let answer = self.reverse_movement(request, &[(header::IDEMPOTENCY_KEY, &key)]).await?;
        Ok(answer.into_inner().movements)
    }

    pub(crate) async fn batch(
        &self,
        key: &str,
        atomic: bool,
        movements: Vec<MovementDraft>,
    ) -> Result<Vec<PostingResult>, Status> {
        let request = BatchPostMovementsRequest { movements, atomic, omit_movements: false };
        let answer = self.batch_post_movements(request, &[(header::IDEMPOTENCY_KEY, key)]).await?;
        Ok(answer.into_inner().results)
    }

    pub(crate) async fn movement(&self, id: &str) -> Result<Movement, Status> {
        let request = GetMovementRequest { movement_id: id.to_owned() };
        Ok(self.get_movement(request, &[]).await?.into_inner())
    }

    pub(crate) async fn balance(&self, variant: &str) -> Result<ItemBalance, Status> {
        let request = GetBalanceRequest { variant_id: variant.to_owned() };
        Ok(self.get_balance(request, &[]).await?.into_inner())
    }

    pub(crate) async fn list(&self, request: ListMovementsRequest) -> Result<ListMovementsResponse, Status> {
        Ok(self.list_movements(request, &[]).await?.into_inner())
    }

    /// The whole history of a variant, oldest first.
    pub(crate) async fn history(&self, variant: &str) -> Vec<Movement> {
        let mut request = ListMovementsRequest {
            variant_id: variant.to_owned(),
            order_by: MovementOrder::Oldest.into(),
            page_size: 500,
            ..ListMovementsRequest::default()
        };
        let mut all = Vec::new();
        loop {
            let page = self.list(request.clone()).await.unwrap();
            all.extend(page.movements);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }
}

pub(crate) fn eur(amount: &str) -> Option<Money> {
    Some(Money { currency: "EUR".to_owned(), amount: amount.to_owned() })
}

/// `"12.50"` of a value in euros.
pub(crate) fn amount(money: &Option<Money>) -> &str {
    money.as_ref().map_or("", |money| {
        assert_eq!(money.currency, "EUR");
        &money.amount
    })
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// A value from the details of a refusal.
pub(crate) fn detail(status: &Status, name: &str) -> String {
    let info = status.get_details_error_info().unwrap();
    info.metadata.get(name).cloned().unwrap_or_default()
}

/// Bad fields and their reasons: `["movement.quantity NOT_POSITIVE"]`.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let bad = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    bad.into_iter().map(|field| format!("{} {}", field.field, field.reason)).collect()
}

/// Everything that a caller sees of a refusal.
pub(crate) fn bytes(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}
