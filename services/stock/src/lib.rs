//! The stock service: locations, movements, balances, valuation.
//!
//! Read in this order: [`domain`] (the rules), [`aggregates`] (what the journal is told), [`records`]
//! (what is stored), `app` (use cases), `convert` and `grpc` (the edge), [`error`], [`verify`].

pub mod aggregates;
mod app;
mod convert;
pub mod domain;
mod edge;
pub mod error;
mod grpc;
mod metrics;
pub mod records;
pub mod verify;

use std::sync::Arc;

use journal::{Env, SharedStore};
use proto::stock::v1::stock_service_server::StockServiceServer;
use rpc::{System, Transport};

pub use app::Stock;
pub use verify::verify_aggregate;

/// What the service asks other services for, on its own account.
pub const NEEDS: [&str; 2] = ["product.read", "tenant.read"];

/// Makes the service over its store. It asks `catalog` and `tenant` as `system`, which needs the
/// permissions [`NEEDS`].
#[must_use]
pub fn service(
    store: SharedStore,
    env: Arc<dyn Env>,
    catalog: Transport,
    tenant: Transport,
    system: System,
) -> StockServiceServer<Stock> {
    metrics::prepare();
    let directory = app::Directory::new(catalog, tenant, system);
    StockServiceServer::new(Stock::new(store, env, directory))
}
