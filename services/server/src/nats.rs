//! Settings of the bus between processes.

use std::path::PathBuf;
use std::sync::Arc;

use events_nats::{Auth, Config, NatsBus, Tls};
use serde::Deserialize;

use crate::cli::Failure;

/// Where NATS is, for `serve ROLE …`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nats {
    /// `nats://host:4222`, at least one; more are learned from the servers.
    servers: Vec<String>,
    /// Part of all names, so that several clusters can share servers. Default `main`.
    #[serde(default = "cell")]
    cell: String,
    /// Copies of each message: 1, or 3 where there are at least three servers. Default 1.
    #[serde(default = "one")]
    replicas: usize,
    /// User, if the servers want one, and the file of his password.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password_file: Option<PathBuf>,
    /// File with a JWT and the seed of an nkey.
    #[serde(default)]
    credentials_file: Option<PathBuf>,
    /// PEM file with the authorities of the servers' certificates: TLS is required then.
    #[serde(default)]
    ca: Option<PathBuf>,
}

fn cell() -> String {
    "main".to_owned()
}

fn one() -> usize {
    1
}

impl Nats {
    /// Connects, or begins to: a server that is away is waited for by whoever needs it.
    pub(crate) async fn connect(&self) -> Result<Arc<NatsBus>, Failure> {
        let auth = match (&self.user, &self.password_file, &self.credentials_file) {
            (None, None, None) => Auth::None,
            (Some(user), Some(file), None) => {
                let password = std::fs::read_to_string(file).map_err(|error| {
                    Failure::Usage(format!(
                        "nats.password_file: '{}' cannot be read: {error}",
                        file.display()
                    ))
                })?;
                Auth::Password(user.clone(), password.trim().to_owned())
            }
            (None, None, Some(file)) => Auth::Credentials(file.clone()),
            _ => {
                return Err(Failure::Usage(
                    "nats: set user and password_file, or credentials_file, or none of them".to_owned(),
                ));
            }
        };
        let config = Config {
            auth,
            replicas: self.replicas,
            tls: self.ca.clone().map(|ca| Tls { authorities: Some(ca), ..Tls::default() }),
            ..Config::new(&self.cell, self.servers.clone())
        };
        NatsBus::connect(config).await.map_err(|error| Failure::Usage(format!("nats: {error}")))
    }
}
