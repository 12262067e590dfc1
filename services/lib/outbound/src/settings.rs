//! What may be called beside the public internet.

use serde::Deserialize;

/// Settings of the client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Hosts (`idp.internal`), addresses (`10.1.2.3`) and networks (`10.1.0.0/16`) that may be called although they
    /// are private, on any port, with or without TLS. Empty: none.
    pub allow: Vec<String>,
}
