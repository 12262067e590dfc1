//! The contract in Rust: messages, clients and servers of every service, and the descriptors that
//! REST, OpenAPI and the authorisation checks are made from.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

mod rules;
#[cfg(test)]
mod tests;

pub use rules::{Audit, Idempotency, MethodRule, Refused, Route, read};

macro_rules! package {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {$(
        $(#[$doc])*
        pub mod $name {
            /// Version 1.
            #[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/", $file));
            }
        }
    )*};
}

package! {
    /// Shapes that every service uses, and the options of the contract.
    api = "cargopilot.api.v1.rs";
    /// Tenants, businesses, roles, API keys.
    tenant = "cargopilot.tenant.v1.rs";
    /// Products, variants, units, barcodes, price lists.
    catalog = "cargopilot.catalog.v1.rs";
    /// Locations, movements, balances, valuation.
    stock = "cargopilot.stock.v1.rs";
    /// The tamper-evident record of everything.
    audit = "cargopilot.audit.v1.rs";
    /// The journals of a service, for other processes of its cluster.
    journal = "cargopilot.journal.v1.rs";
}

/// The compiled contract, a `google.protobuf.FileDescriptorSet` with imports, comments and our options.
pub static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors of the whole contract.
pub fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(DESCRIPTORS).unwrap_or_else(|e| panic!("descriptors of the build: {e}"))
    });
    &POOL
}

/// The rule of every RPC by gRPC path, for example `/cargopilot.stock.v1.StockService/PostMovement`.
pub fn rules() -> &'static HashMap<String, MethodRule> {
    static RULES: LazyLock<HashMap<String, MethodRule>> =
        LazyLock::new(|| read(pool()).unwrap_or_else(|refused| panic!("rules of the build: {refused:?}")));
    &RULES
}
