//! What operators may set.

use serde::Deserialize;

/// Settings of the gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients reach it, without a slash at the end, for example `https://api.example.com`. Empty:
    /// addresses of problem pages are relative. Default empty.
    pub public_url: String,
    /// Requests that are answered at the same time; one more gets 503 and `Retry-After`. Default 4,096.
    pub requests_max: usize,
    /// Connections that are open at the same time; one more waits to be accepted. Default 8,192.
    pub connections_max: usize,
    /// Longest time for a request, in milliseconds; a client may ask for less. Default 30,000.
    pub deadline_ms: u64,
    /// How long a shutdown waits for requests that are being answered, in milliseconds. Default 15,000.
    pub drain_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            public_url: String::new(),
            requests_max: 4_096,
            connections_max: 8_192,
            deadline_ms: 30_000,
            drain_ms: 15_000,
        }
    }
}
