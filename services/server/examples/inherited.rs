//! What a read of an inherited product costs beside a read of an own one: HIE, 8 levels and 1,000 businesses, each of
//! which says something of its own about the product.
//!
//! `cargo run --release -p server --example inherited [CALLS]`
//!
//! And, `cargo run --release -p server --example inherited reach [CHANGES]`: how long it takes from a change of the
//! master until each of the 1,000 businesses has heard of it (HIE-9), over stores on the disk, as the server has them.
//! Prints the percentiles over all changes and businesses, by the times that entries carry, and how long it took until
//! the last one could read it.
//!
//! All services behind the gateway, over stores in memory; one call at a time as a function, without sockets: what
//! sockets cost is the same for both and would hide the difference. The kinds of calls take turns. Prints the median
//! of the rounds for each, and the ratio. For instructions instead of times: `valgrind --tool=callgrind
//! --collect-atstart=no --toggle-collect='*measured_own*'`, or `*measured_inherited*`.

#![allow(clippy::float_arithmetic, reason = "times for people to read")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::witness::ShortMemory;
use gateway::Gateway;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use ids::BusinessId;
use journal::SharedStore;
use journal::feed::FeedStore;
use journal::memory::MemoryStore;
use journal_embedded::{EmbeddedStore, Options};
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::catalog::v1::inheritance_service_client::InheritanceServiceClient;
use proto::catalog::v1::{
    CreateProductRequest, InheritedChangeCause, ListInheritedChangesRequest, Product, UpdateProductRequest,
    Variant,
};
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use proto::tenant::v1::{Business, CreateBusinessRequest};
use rpc::Principal;
use server::platform::{AuditKeys, Feeds, Parts, Platform};

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
    master: Principal,
    /// All but the master.
    businesses: Vec<Principal>,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("reach") {
        let changes = std::env::args().nth(2).map_or(200, |text| text.parse().expect("a number"));
        return reach(changes);
    }
    let calls = std::env::args().nth(1).map_or(4_000, |text| text.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let store = || -> SharedStore { Arc::new(MemoryStore::default()) };
    let world = runtime.block_on(World::make([store(), store(), store(), store()], None));
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

/// Changes the product of the master, and waits each time until everybody has heard of it.
fn reach(changes: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = ["tenant", "catalog", "stock", "audit"].map(|name| {
        Arc::new(EmbeddedStore::open(folder.path().join(name), Options::default()).expect("a store"))
    });
    let [tenant, catalog, stock, audit] =
        stores.each_ref().map(|store| -> Arc<dyn FeedStore> { store.clone() });
    let feeds = Feeds { tenant, catalog, stock, audit };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let world =
            World::make(stores.each_ref().map(|store| -> SharedStore { store.clone() }), Some(feeds)).await;
        let (follower, consumers) =
            (world.platform.follower.start(), world.platform.audit.consumers().start());
        let (mut each, mut last) = (Vec::new(), Vec::new());
        for number in 0..=changes {
            let began = Instant::now();
            world.change(number).await;
            // The last one made is the last one told.
            let reader = world.businesses.last().expect("businesses");
            world.heard(reader, number).await;
            let read = began.elapsed();
            let mut heard = Vec::with_capacity(world.businesses.len());
            for business in &world.businesses {
                heard.push(world.heard(business, number).await);
            }
            // The first one comes behind everything that was made before.
            if number > 0 {
                last.push(read.as_secs_f64() * 1e3);
                each.extend(heard);
            }
        }
        follower.stop().await;
        consumers.stop().await;
        for (what, figures) in [("each business, ms", &mut each), ("the last one to read it, ms", &mut last)]
        {
            figures.sort_by(f64::total_cmp);
            let at = |percent: usize| figures[(figures.len() - 1) * percent / 100];
            println!("{what}: p50 {:.1}, p99 {:.1}, max {:.1} of {}", at(50), at(99), at(100), figures.len());
        }
    });
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
    async fn make([tenant, catalog, stock, audit]: [SharedStore; 4], feeds: Option<Feeds>) -> World {
        let audit_keys =
            AuditKeys { log: [8; 32], witness: [9; 32], memory: Arc::new(ShortMemory::default()) };
        let gateway = gateway::Config::default();
        let parts = Parts {
            tenant,
            catalog,
            stock,
            audit,
            audit_keys,
            feeds,
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
        let (mut chain, mut businesses) = (vec![master.clone()], Vec::new());
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
            businesses.push(own.clone());
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
        World { platform, key, own, inherited, lowest, master, businesses }
    }

    /// Changes what all businesses inherit: nobody has a brand of its own.
    async fn change(&self, number: usize) {
        let update = UpdateProductRequest {
            product_id: self.inherited.clone(),
            product: Some(Product { brand: format!("Brand {number}"), ..Product::default() }),
            update_mask: vec!["brand".into()],
        };
        let mut update = rpc::with_token(&self.platform.minter.mint(&self.master, "catalog"), update);
        update.metadata_mut().insert("if-match", "*".parse().expect("a header"));
        CatalogServiceClient::new(self.platform.transport.clone())
            .update_product(update)
            .await
            .expect("a change");
    }

    /// Waits until a business has heard of that many changes and one; milliseconds from the change to its entry.
    async fn heard(&self, business: &Principal, number: usize) -> f64 {
        let mut client = InheritanceServiceClient::new(self.platform.transport.clone());
        loop {
            // Names were given from above to below, each before the next business was there: nobody heard of them.
            let ask = ListInheritedChangesRequest { after_sequence: number as u64, ..Default::default() };
            let ask = rpc::with_token(&self.platform.minter.mint(business, "catalog"), ask);
            let page = client.list_inherited_changes(ask).await.expect("a list").into_inner();
            if let Some(change) = page.changes.first() {
                assert_eq!(change.cause(), InheritedChangeCause::Updated);
                let ms = |at: &prost_types::Timestamp| at.seconds as f64 * 1e3 + f64::from(at.nanos) / 1e6;
                let times = change.recorded_at.as_ref().map(ms).zip(change.occurred_at.as_ref().map(ms));
                let (recorded, occurred) = times.expect("times");
                return recorded - occurred;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
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
