//! What the guard costs per call: a context that was seen before, and one that is new.
//!
//! `cargo run -p rpc --example guard_cost --release`

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use ids::{BusinessId, TenantId};
use rpc::{Actor, ActorKind, Guard, Minter, Permissions, Principal, Token, Verifier, header, wall_clock};
use tower::{Layer as _, Service as _, service_fn};

const POST: &str = "/cargopilot.stock.v1.StockService/PostMovement";
const SEEN: u32 = 200_000;
const NEW: u32 = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let minter = Minter::generate(wall_clock())?;
    let guard = Guard::new(Arc::new(Verifier::new(&[minter.public_key()], wall_clock())));
    let mut service =
        guard.layer(service_fn(|_: Request<()>| std::future::ready(Ok::<_, Infallible>(Response::new(())))));
    let permissions = Permissions::parse(["location.read", "product.*", "stock.post", "stock.read"]);
    let permissions = permissions.ok_or("permissions")?;
    let mint = |number: u32| {
        let principal = Principal {
            tenant: TenantId::from_bytes([1; 16]),
            business: BusinessId::from_bytes([2; 16]),
            path: std::sync::Arc::from([BusinessId::from_bytes([2; 16])]),
            actor: Actor::new(ActorKind::ApiKey, format!("key_{number}")),
            permissions: permissions.clone(),
            secret: [7; 32],
        };
        minter.mint(&principal, "stock")
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut call = |token: &Token| -> Result<Duration, Box<dyn Error>> {
        let request = Request::builder().uri(POST).header(header::CONTEXT, token.header());
        let request = request.header(header::IDEMPOTENCY_KEY, "sale-1").body(())?;
        let began = Instant::now();
        let answer = runtime.block_on(service.call(request))?;
        let took = began.elapsed();
        assert!(!answer.headers().contains_key("grpc-status"), "the guard refused");
        Ok(took)
    };
    let seen = mint(0);
    call(&seen)?;
    let mut total = Duration::ZERO;
    for _ in 0..SEEN {
        total += call(&seen)?;
    }
    println!("seen before: {} ns per call", total.as_nanos() / u128::from(SEEN));
    let mut total = Duration::ZERO;
    for number in 1..=NEW {
        total += call(&mint(number))?;
    }
    println!("new context: {} ns per call", total.as_nanos() / u128::from(NEW));
    Ok(())
}
