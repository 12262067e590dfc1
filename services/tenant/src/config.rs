//! What the service is given at start.

use std::fmt;

/// Settings of the service.
#[derive(Clone)]
pub struct Config {
    /// Key of the hashes of API keys: 32 random bytes that the server keeps apart from the data, in a
    /// file that only its own user may read. Another pepper makes every key invalid.
    pub pepper: [u8; 32],
    /// Calls identity providers.
    pub outbound: outbound::Client,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config { pepper: … }")
    }
}
