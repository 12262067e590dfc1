//! What a read of an inherited product costs beside a read of an own one: HIE, 8 levels and 1,000 businesses, each of
//! which says something of its own about the product.
//!
//! `cargo run --release -p server --example inherited [CALLS]`
//!
//! All services behind the gateway, over stores in memory; one call at a time as a function, without sockets: what
//! sockets cost is the same for both and would hide the difference. The kinds of calls take turns. Prints the median
//! of the rounds for each, and the ratio. For instructions instead of times: `valgrind --tool=callgrind
//! --collect-atstart=no --toggle-collect='*measured_own*'`, or `*measured_inherited*`.

#![allow(clippy::float_arithmetic, reason = "times for people to read")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use audit::witness::ShortMemory;
use gateway::Gateway;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use ids::BusinessId;
use journal::SharedStore;
use journal::memory::MemoryStore;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::catalog::v1::{CreateProductRequest, Product, UpdateProductRequest, Variant};
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use proto::tenant::v1::{Business, CreateBusinessRequest};
use rpc::Principal;
use server::platform::{AuditKeys, Parts, Platform};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LEVELS: usize = 8;
const BUSINESSES: usize = 1_000;
const ROUNDS: usize = 15;

/// What is read, by whom.
struct World {
    platform: Platform,
    key: String,
    own: String,
    inherited: String,
    lowest: BusinessId,
}

fn main() {
    let calls = std::env::args().nth(1).map_or(4_000, |text| text.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = runtime.block_on(World::make());
    let read = |path: &str, business: Option<BusinessId>| -> Vec<Request<Empty<bytes::Bytes>>> {
        (0..calls).map(|_| world.request(path, business)).collect()
    };
    let gateway = &world.platform.gateway;
    let (mut own, mut inherited) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let requests = read(&world.own, Some(world.lowest));
        let began = Instant::now();
        measured_own(&runtime, gateway, requests);
        own.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(calls));
        let requests = read(&world.inherited, Some(world.lowest));
        let began = Instant::now();
        measured_inherited(&runtime, gateway, requests);
        inherited.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(calls));
    }
    let median = |figures: &mut Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let (own, inherited) = (median(&mut own), median(&mut inherited));
    println!(
        "own {own:.2} us, inherited over {LEVELS} levels {inherited:.2} us, ratio {:.2}",
        inherited / own
    );
}

#[inline(never)]
fn measured_own(
    runtime: &tokio::runtime::Runtime,
    gateway: &Gateway,
    requests: Vec<Request<Empty<bytes::Bytes>>>,
) {
    runtime.block_on(answer(gateway, requests));
}

#[inline(never)]
fn measured_inherited(
    runtime: &tokio::runtime::Runtime,
    gateway: &Gateway,
    requests: Vec<Request<Empty<bytes::Bytes>>>,
) {
    runtime.block_on(answer(gateway, requests));
}

async fn answer(gateway: &Gateway, requests: Vec<Request<Empty<bytes::Bytes>>>) {
    for request in requests {
        let answer = gateway.handle(PEER, request).await;
        assert!(answer.status().is_success(), "{answer:?}");
        answer.into_body().collect().await.expect("an answer");
    }
}

impl World {
    /// A product of the master that every business has a name of its own for, and one that the lowest business owns.
    async fn make() -> World {
        let store = || -> SharedStore { Arc::new(MemoryStore::default()) };
        let audit_keys =
            AuditKeys { log: [8; 32], witness: [9; 32], memory: Arc::new(ShortMemory::default()) };
        let (tenant, catalog, stock, audit) = (store(), store(), store(), store());
        let gateway = gateway::Config::default();
        let parts = Parts {
            tenant,
            catalog,
            stock,
            audit,
            audit_keys,
            feeds: None,
            pepper: [7; 32],
            outbound: outbound::Settings::default(),
            gateway,
        };
        let platform = Platform::start(parts).expect("a platform");
        platform.gateway.set_ready(true);
        let new = tenant::BootstrapTenant {
            slug: "bench".into(),
            name: "Bench".into(),
            legal_name: "Bench".into(),
            country: "DE".into(),
            currency: money::Currency::parse("EUR").expect("a currency"),
            cost_scale: 2,
            costing: tenant::domain::Costing::MovingAverage,
        };
        let made = platform.tenant.app().bootstrap(new).await.expect("a tenant");
        let key = made.credential.expect("a new tenant has a key").reveal();
        let login = tenant::Login {
            credential: tenant::domain::Credential::parse(&key),
            session: None,
            jwt: None,
            peer: None,
            business: None,
        };
        let master = platform.tenant.app().authenticate(login).await.expect("it is valid").principal;

        let mut catalog = CatalogServiceClient::new(platform.transport.clone());
        let product = |sku: &str| Product {
            name: format!("Item {sku}"),
            description: "Whole bean, 1 kg".into(),
            brand: "Cargo".into(),
            category: "Coffee".into(),
            base_unit: "C62".into(),
            tags: vec!["coffee".into(), "beans".into()],
            variants: vec![Variant { sku: sku.into(), ..Variant::default() }],
            ..Product::default()
        };
        let create = CreateProductRequest { product: Some(product("MASTER")) };
        let create = rpc::with_token(&platform.minter.mint(&master, "catalog"), create);
        let inherited = catalog.create_product(create).await.expect("a product").into_inner().id;

        let mut tree = TenantServiceClient::new(platform.transport.clone());
        let mut chain = vec![master.clone()];
        for number in 1..BUSINESSES {
            let above = if chain.len() < LEVELS { chain.len() - 1 } else { number % (LEVELS - 1) };
            let parent = chain[above].clone();
            let business = Business {
                parent_id: parent.business.to_string(),
                legal_name: format!("Sub {number}"),
                country: "DE".into(),
                base_currency: "EUR".into(),
                ..Business::default()
            };
            let request = CreateBusinessRequest { business: Some(business) };
            let request = rpc::with_token(&platform.minter.mint(&master, "tenant"), request);
            let id = tree.create_business(request).await.expect("a business").into_inner().id;
            let id = BusinessId::parse(&id).expect("an id");
            let path: Vec<BusinessId> = parent.path.iter().copied().chain([id]).collect();
            let own = Principal { business: id, path: path.into(), ..master.clone() };
            let update = UpdateProductRequest {
                product_id: inherited.clone(),
                product: Some(Product { name: format!("Item {number}"), ..Product::default() }),
                update_mask: vec!["name".into()],
            };
            let mut update = rpc::with_token(&platform.minter.mint(&own, "catalog"), update);
            update.metadata_mut().insert("if-match", "*".parse().expect("a header"));
            catalog.update_product(update).await.expect("an override");
            if chain.len() < LEVELS {
                chain.push(own);
            }
        }
        let lowest = chain.last().expect("levels");
        assert_eq!(lowest.path.len(), LEVELS);
        let create = CreateProductRequest { product: Some(product("OWN")) };
        let create = rpc::with_token(&platform.minter.mint(lowest, "catalog"), create);
        let own = catalog.create_product(create).await.expect("a product").into_inner().id;
        let lowest = lowest.business;
        World { platform, key, own, inherited, lowest }
    }

    fn request(&self, product: &str, business: Option<BusinessId>) -> Request<Empty<bytes::Bytes>> {
        let mut request = Request::get(format!("/v1/products/{product}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key));
        if let Some(business) = business {
            request = request.header("cp-business", business.to_string());
        }
        request.body(Empty::new()).expect("a request")
    }
}
