//! What operators may set.

use std::num::NonZero;
use std::thread::available_parallelism;

use serde::Deserialize;

/// Requests in service for each core: enough that commits are shared, few enough that one that begins now is not
/// behind many others. Measured in `load-tests`.
const SERVING_PER_CORE: usize = 32;

/// Settings of the gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients reach it, without a slash at the end, for example `https://api.example.com`. Empty:
    /// addresses of problem pages are relative. Default empty.
    pub public_url: String,
    /// Requests that are here at the same time, waiting ones included; one more gets 503 and `Retry-After`.
    /// Default 4,096.
    pub requests_max: usize,
    /// Requests of known tenants that services work on at the same time; others wait, and tenants take turns.
    /// As many again are kept for tenants that have none in service. Default: 32 for each core.
    pub serving_max: usize,
    /// Waiting requests of one tenant; one more gets 503 and `Retry-After`. Default 1,024.
    pub waiting_per_tenant_max: usize,
    /// Waiting requests of all tenants; beyond it the youngest one of the longest queue gets 503 and
    /// `Retry-After`. Default 2,048.
    pub waiting_max: usize,
    /// Longest wait, in milliseconds; then 503 and `Retry-After`. Default 5,000.
    pub waiting_max_ms: u64,
    /// Connections that are open at the same time; one more waits to be accepted. Default 8,192.
    pub connections_max: usize,
    /// Longest time for a request, in milliseconds; a client may ask for less. Default 30,000.
    pub deadline_ms: u64,
    /// How long a client may take to send the headers of a request, and a connection to ask for anything, in
    /// milliseconds. Default 30,000.
    pub headers_ms: u64,
    /// How long a shutdown waits for requests that are being answered, in milliseconds. Default 15,000.
    pub drain_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            public_url: String::new(),
            requests_max: 4_096,
            serving_max: SERVING_PER_CORE * available_parallelism().map_or(1, NonZero::get),
            waiting_per_tenant_max: 1_024,
            waiting_max: 2_048,
            waiting_max_ms: 5_000,
            connections_max: 8_192,
            deadline_ms: 30_000,
            headers_ms: 30_000,
            drain_ms: 15_000,
        }
    }
}
