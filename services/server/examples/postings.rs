//! What a posting costs without a disk: all services behind the gateway, over stores in memory.
//!
//! `cargo run --release -p server --example postings -- loopback|inside [WORK [IN_FLIGHT [CALLS [ITEMS]]]]`
//!
//! - `loopback`: gRPC over four HTTP/2 connections. Prints calls a second, latency, and the processor time of the
//!   server's threads for each call; the clients have threads of their own.
//! - `inside`: calls the gateway as a function, one call at a time on one thread, without sockets and HTTP/2. With
//!   `valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured*'` it counts instructions, and that
//!   figure does not depend on what else the machine does.
//!
//! With `sealed` as the last argument, behind ITEMS, values are sealed as on disk.
//!
//! WORK is `post`, `balance`, `batch` (100 postings, all or none), `each` (100, each by itself), and for `inside` also
//! `rest` (a posting as JSON).

#![allow(clippy::float_arithmetic, reason = "rates and times for people to read")]

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use audit::witness::ShortMemory;
use bytes::{BufMut, Bytes, BytesMut};
use gateway::Gateway;
use http::{HeaderMap, Request, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use journal::SharedStore;
use journal::memory::MemoryStore;
use prost::Message;
use proto::api::v1::Money;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::catalog::v1::{BatchCreateProductsRequest, Product, Variant, product_result};
use proto::stock::v1::stock_service_client::StockServiceClient;
use proto::stock::v1::{
    BatchPostMovementsRequest, CreateLocationRequest, GetBalanceRequest, Location, MovementDraft,
    PostMovementRequest, Source,
};
use sealed::{Keyring, SealedStore};
use server::platform::{AuditKeys, Parts, Platform};
use tonic::transport::{Channel, Endpoint};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CONNECTIONS: usize = 4;
const SERVER_THREADS: usize = 2;
const BATCH: usize = 100;
/// Calls before the measurement: caches are filled, allocations settle.
const WARM_UP: u64 = 2_000;

static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Post,
    Balance,
    Batch { atomic: bool },
    Rest,
}

/// What the calls work on.
#[derive(Clone)]
struct World {
    key: String,
    location: String,
    variants: Arc<[String]>,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let sealed = args.pop_if(|last| last == "sealed").is_some();
    let work = match args.get(1).map_or("post", String::as_str) {
        "post" => Work::Post,
        "balance" => Work::Balance,
        "batch" => Work::Batch { atomic: true },
        "each" => Work::Batch { atomic: false },
        "rest" => Work::Rest,
        other => panic!("{other}?"),
    };
    let number =
        |at: usize, default: u64| args.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (in_flight, calls, items) = (number(2, 64), number(3, 100_000), number(4, 10_000));
    match args.first().map(String::as_str) {
        Some("loopback") => loopback(work, in_flight, calls, items, sealed),
        Some("inside") => inside(work, calls, items, sealed),
        _ => panic!("loopback or inside?"),
    }
}

fn platform(sealed: bool) -> Platform {
    let keyring = Arc::new(Keyring::in_memory().expect("randomness"));
    let store = |service| -> SharedStore {
        let store = Arc::new(MemoryStore::default());
        if sealed { Arc::new(SealedStore::new(store, Arc::clone(&keyring), service)) } else { store }
    };
    let (tenant, catalog, stock) = (store("tenant"), store("catalog"), store("stock"));
    let audit = store("audit");
    let audit_keys = AuditKeys { log: [8; 32], witness: [9; 32], memory: Arc::new(ShortMemory::default()) };
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
    Platform::start(parts).expect("a platform")
}

impl World {
    /// A tenant, one location, and items with plenty of stock.
    async fn make(platform: &Platform, items: u64) -> World {
        let currency = money::Currency::parse("EUR").expect("a currency");
        let new = tenant::BootstrapTenant {
            slug: "bench".into(),
            name: "Bench".into(),
            legal_name: "Bench".into(),
            country: "DE".into(),
            currency,
            cost_scale: 2,
            costing: tenant::domain::Costing::MovingAverage,
        };
        let made = platform.tenant.app().bootstrap(new).await.expect("a tenant");
        let credential = made.credential.expect("a new tenant has a key");
        let key = credential.reveal();
        let login = tenant::Login {
            credential: tenant::domain::Credential::parse(&key),
            session: None,
            jwt: None,
            peer: None,
            business: None,
        };
        let principal = platform.tenant.app().authenticate(login).await.expect("it is valid").principal;
        let token = platform.minter.mint(&principal, "stock");
        let mut stock = StockServiceClient::new(platform.transport.clone());
        let mut catalog =
            CatalogServiceClient::new(platform.transport.clone()).max_decoding_message_size(usize::MAX);
        let location = Location { code: "BENCH".into(), name: "Bench".into(), ..Location::default() };
        let create = once(&token, CreateLocationRequest { location: Some(location) });
        let location = stock.create_location(create).await.expect("a location").into_inner().id;
        let mut variants = Vec::new();
        let all: Vec<u64> = (0..items).collect();
        for numbers in all.chunks(1_000) {
            let products = numbers.iter().map(|number| product(*number)).collect();
            let made = catalog
                .batch_create_products(once(
                    &platform.minter.mint(&principal, "catalog"),
                    BatchCreateProductsRequest { products, atomic: true },
                ))
                .await;
            for result in made.expect("products").into_inner().results {
                let Some(product_result::Result::Product(mut product)) = result.result else {
                    panic!("a product was not made")
                };
                variants.push(product.variants.remove(0).id);
            }
        }
        let world = World { key, location, variants: variants.into() };
        for variants in world.variants.chunks(1_000) {
            let receipt = |variant: &String| MovementDraft {
                kind: "purchase.receipt".into(),
                quantity: "10000000".into(),
                total_cost: Some(Money { currency: "EUR".into(), amount: "12500000".into() }),
                ..world.draft(variant, "goods_receipt", "OPENING", variant)
            };
            let movements = variants.iter().map(receipt).collect();
            let message = BatchPostMovementsRequest { movements, atomic: true, omit_movements: true };
            stock.batch_post_movements(once(&token, message)).await.expect("opening stock");
        }
        world
    }

    fn draft(&self, variant: &str, kind: &str, document: &str, line: &str) -> MovementDraft {
        MovementDraft {
            variant_id: variant.to_owned(),
            location_id: self.location.clone(),
            source: Some(Source {
                r#type: kind.into(),
                id: document.to_owned(),
                line_id: line.to_owned(),
                ..Source::default()
            }),
            ..MovementDraft::default()
        }
    }

    /// Any variant: neighbours in time are not neighbours in memory.
    fn variant(&self, number: u64) -> &str {
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        &self.variants[usize::try_from(spread).expect("31 bits") % self.variants.len()]
    }

    fn sale(&self, number: u64, document: &str, line: usize) -> MovementDraft {
        MovementDraft {
            kind: "sale.shipment".into(),
            quantity: "1".into(),
            ..self.draft(self.variant(number), "pos_receipt", document, &line.to_string())
        }
    }

    fn sales(&self, document: &str) -> Vec<MovementDraft> {
        (0..BATCH).map(|line| self.sale(number(), document, line)).collect()
    }
}

/// A request to the services themselves, with an idempotency key.
fn once<T>(token: &rpc::Token, message: T) -> tonic::Request<T> {
    let mut request = rpc::with_token(token, message);
    request.metadata_mut().insert("idempotency-key", next().parse().expect("a header"));
    request
}

fn product(number: u64) -> Product {
    Product {
        name: format!("Item {number}"),
        base_unit: "C62".into(),
        variants: vec![Variant { sku: format!("BENCH-{number:05}"), ..Variant::default() }],
        ..Product::default()
    }
}

fn number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An idempotency key that was not used before.
fn next() -> String {
    format!("bench-{:016x}", number())
}

// Over sockets.

fn loopback(work: Work, in_flight: u64, calls: u64, items: u64, sealed: bool) {
    let server = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVER_THREADS)
        .thread_name("serving")
        .enable_all()
        .build()
        .expect("a runtime");
    let clients = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("calling")
        .enable_all()
        .build()
        .expect("a runtime");
    let (sender, url) = std::sync::mpsc::channel();
    server.spawn(async move {
        let platform = platform(sealed);
        let world = World::make(&platform, items).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        platform.gateway.set_ready(true);
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        sender.send((url, world)).expect("somebody waits");
        gateway::serve(listener, platform.gateway, tokio_util::sync::CancellationToken::new()).await;
    });
    let (url, world) = url.recv().expect("a server");
    clients.block_on(async {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS.min(usize::try_from(in_flight).expect("a few")) {
            channels
                .push(Endpoint::from_shared(url.clone()).expect("a URL").connect().await.expect("a server"));
        }
        drive(&channels, &world, work, in_flight, WARM_UP.min(calls)).await;
        let (began, cpu) = (Instant::now(), serving());
        let mut latencies = drive(&channels, &world, work, in_flight, calls).await;
        let (lasted, cpu) = (began.elapsed(), serving() - cpu);
        latencies.sort_unstable();
        let count = latencies.len();
        println!(
            "{count} calls, {:.0} a second; p50 {:?}, p99 {:?}; server {:.1} us of processor a call",
            count as f64 / lasted.as_secs_f64(),
            latencies[count / 2],
            latencies[count * 99 / 100],
            cpu.as_secs_f64() * 1e6 / count as f64,
        );
    });
    std::process::exit(0); // the server would serve for ever
}

async fn drive(channels: &[Channel], world: &World, work: Work, in_flight: u64, calls: u64) -> Vec<Duration> {
    let callers = (0..in_flight).map(|caller| {
        let channel = channels[usize::try_from(caller).expect("a few") % channels.len()].clone();
        let (world, share) = (world.clone(), calls / in_flight);
        tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(usize::try_from(share).expect("fits"));
            let mut client = StockServiceClient::new(channel);
            for _ in 0..share {
                let began = Instant::now();
                call(&mut client, &world, work).await;
                latencies.push(began.elapsed());
            }
            latencies
        })
    });
    let mut latencies = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        latencies.extend(caller.await.expect("no caller fails"));
    }
    latencies
}

async fn call(client: &mut StockServiceClient<Channel>, world: &World, work: Work) {
    let key = next();
    match work {
        Work::Post => {
            let movement = Some(world.sale(number(), &key, 1));
            let request = asked(world, &key, PostMovementRequest { movement });
            let posting = client.post_movement(request).await.expect("a posting").into_inner();
            assert_eq!(posting.movements.len(), 1);
        }
        Work::Batch { atomic } => {
            let message =
                BatchPostMovementsRequest { movements: world.sales(&key), atomic, omit_movements: true };
            let request = asked(world, &key, message);
            let answer = client.batch_post_movements(request).await.expect("a batch").into_inner();
            assert_eq!(answer.results.len(), BATCH);
        }
        Work::Balance => {
            let variant_id = world.variant(number()).to_owned();
            let request = asked(world, &key, GetBalanceRequest { variant_id });
            client.get_balance(request).await.expect("a balance");
        }
        Work::Rest => panic!("only inside"),
    }
}

fn asked<T>(world: &World, key: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let authorization = format!("Bearer {}", world.key).parse().expect("a header");
    request.metadata_mut().insert("authorization", authorization);
    request.metadata_mut().insert("idempotency-key", key.parse().expect("a header"));
    request
}

/// Processor time that the server's threads used so far. Source: proc(5), `schedstat`.
fn serving() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.filter_map(|task| {
        let path = task.ok()?.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let stat = std::fs::read_to_string(path.join("schedstat")).ok()?;
        name.starts_with("serving").then(|| stat.split(' ').next()?.parse::<u64>().ok())?
    });
    Duration::from_nanos(nanos.sum())
}

// Inside the process.

fn inside(work: Work, calls: u64, items: u64, sealed: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let platform = platform(sealed);
    platform.gateway.set_ready(true);
    let world = runtime.block_on(World::make(&platform, items));
    let requests = |count: u64| (0..count).map(|_| request(&world, work)).collect::<Vec<_>>();
    let (warm_up, requests) = (requests(WARM_UP.min(calls)), requests(calls));
    runtime.block_on(answer(&platform.gateway, warm_up));
    let began = Instant::now();
    measured(&runtime, &platform.gateway, requests);
    println!("{calls} calls, {:.1} us each", began.elapsed().as_secs_f64() * 1e6 / calls as f64);
}

/// What callgrind counts: its name is given to `--toggle-collect`.
#[inline(never)]
fn measured(runtime: &tokio::runtime::Runtime, gateway: &Gateway, requests: Vec<Request<GrpcBody>>) {
    runtime.block_on(answer(gateway, requests));
}

async fn answer(gateway: &Gateway, requests: Vec<Request<GrpcBody>>) {
    for request in requests {
        let answer = gateway.handle(PEER, request).await;
        assert!(answer.status().is_success(), "{answer:?}");
        let body = answer.into_body().collect().await.expect("an answer");
        let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
        assert!(status.is_none_or(|status| status == "0"), "{body:?}");
    }
}

type GrpcBody = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A request as HTTP/2 or HTTP/1.1 would hand it over.
fn request(world: &World, work: Work) -> Request<GrpcBody> {
    let key = next();
    let (path, body) = match work {
        Work::Post => {
            let movement = Some(world.sale(number(), &key, 1));
            ("/cargopilot.stock.v1.StockService/PostMovement", framed(&PostMovementRequest { movement }))
        }
        Work::Balance => {
            let variant_id = world.variant(number()).to_owned();
            ("/cargopilot.stock.v1.StockService/GetBalance", framed(&GetBalanceRequest { variant_id }))
        }
        Work::Batch { atomic } => {
            let message =
                BatchPostMovementsRequest { movements: world.sales(&key), atomic, omit_movements: true };
            ("/cargopilot.stock.v1.StockService/BatchPostMovements", framed(&message))
        }
        Work::Rest => {
            let (variant, location) = (world.variant(number()), &world.location);
            let body = format!(
                r#"{{"kind":"sale.shipment","variantId":"{variant}","locationId":"{location}","quantity":"1","source":{{"type":"pos_receipt","id":"{key}","lineId":"1"}}}}"#,
            );
            ("/v1/movements", Bytes::from(body))
        }
    };
    let json = work == Work::Rest;
    let body: GrpcBody = if json {
        Full::new(body).boxed()
    } else {
        StreamBody::new(tokio_stream::once(Ok(Frame::data(body)))).boxed()
    };
    let mut request = Request::post(path).body(body).expect("a request");
    let headers: &mut HeaderMap = request.headers_mut();
    let content_type = if json { "application/json" } else { "application/grpc" };
    headers.insert(header::CONTENT_TYPE, content_type.parse().expect("a header"));
    headers.insert(header::TE, "trailers".parse().expect("a header"));
    headers.insert(header::USER_AGENT, "tonic/0.14.9".parse().expect("a header"));
    headers.insert(header::AUTHORIZATION, format!("Bearer {}", world.key).parse().expect("a header"));
    headers.insert("idempotency-key", key.parse().expect("a header"));
    request
}

/// A message with the five bytes that gRPC puts before it.
fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(message.encoded_len() + 5);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("small"));
    message.encode(&mut bytes).expect("there is room");
    bytes.freeze()
}
