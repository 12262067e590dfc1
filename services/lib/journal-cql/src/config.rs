//! Where the database is, and how it is asked.

use std::sync::Arc;
use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::{Consistency, SerialConsistency};

use crate::error::Error;

/// Longest name of a keyspace, on both databases.
const KEYSPACE_CHARS_MAX: usize = 48;
/// Between two signs of life that a node is asked for, and how long it may take: a node that hangs is left by then.
const KEEPALIVE: Duration = Duration::from_secs(2);
const KEEPALIVE_MAX: Duration = Duration::from_secs(2);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Between two looks whether all nodes know a table that was made.
const AGREEMENT_PAUSE: Duration = Duration::from_millis(20);
/// How long one change of the tables may take, of all nodes together.
const CHANGE_MAX: Duration = Duration::from_secs(60);

/// Where the database of one service is.
#[derive(Clone)]
pub struct Config {
    /// Nodes to ask first, `host` or `host:port`; the others are found through them.
    pub contact_points: Vec<String>,
    /// The keyspace of the service: letters, digits and `_`, lower case.
    pub keyspace: String,
    /// The datacenter whose nodes are asked, and whose majority counts.
    pub datacenter: String,
    /// User and password, where the database wants them.
    pub credentials: Option<(String, String)>,
    /// How long a statement may take; its outcome is unknown afterwards. Default 3 s, longer than the database
    /// itself takes to give up on a conditional write.
    pub request_timeout: Duration,
}

/// How often a datacenter keeps the data, for [`crate::migrate`].
#[derive(Clone, Debug)]
pub struct Replication {
    /// The datacenters, and the number of copies in each: 3 where it matters.
    pub datacenters: Vec<(String, u8)>,
}

impl Replication {
    /// The same number of copies in one datacenter.
    #[must_use]
    pub fn of(datacenter: &str, copies: u8) -> Replication {
        Replication { datacenters: vec![(datacenter.to_owned(), copies)] }
    }

    pub(crate) fn text(&self) -> Result<String, Error> {
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || "_-.".contains(char))
        };
        if self.datacenters.is_empty() || !self.datacenters.iter().all(|(name, _)| is_name(name)) {
            return Err(Error::Config(
                "a datacenter has letters, digits, '_', '-' and '.', and there is one",
            ));
        }
        let each = self.datacenters.iter().map(|(name, copies)| format!("'{name}': {copies}"));
        Ok(each.collect::<Vec<_>>().join(", "))
    }
}

impl Config {
    /// Asks these nodes, without credentials.
    #[must_use]
    pub fn new(contact_points: Vec<String>, keyspace: &str, datacenter: &str) -> Config {
        Config {
            contact_points,
            keyspace: keyspace.to_owned(),
            datacenter: datacenter.to_owned(),
            credentials: None,
            request_timeout: Duration::from_secs(3),
        }
    }

    /// The name of the keyspace, which stands in statements as it is.
    pub(crate) fn keyspace(&self) -> Result<&str, Error> {
        let is_safe = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
        let starts = self.keyspace.starts_with(|char: char| char.is_ascii_lowercase());
        if !starts || self.keyspace.len() > KEYSPACE_CHARS_MAX || !self.keyspace.chars().all(is_safe) {
            return Err(Error::Config(
                "a keyspace begins with a letter and has at most 48 lower-case letters, digits and '_'",
            ));
        }
        Ok(&self.keyspace)
    }

    /// Connects to the keyspace, which is known to be there.
    pub(crate) async fn connect(&self) -> Result<Session, Error> {
        let builder = self.builder(self.request_timeout);
        let builder = builder.use_keyspace(self.keyspace()?, false).keyspaces_to_fetch([self.keyspace()?]);
        Ok(builder.build().await?)
    }

    /// Connects to whatever is there, to look at tables or to make them.
    pub(crate) async fn connect_for_tables(&self) -> Result<Session, Error> {
        let builder = self.builder(CHANGE_MAX).schema_agreement_interval(AGREEMENT_PAUSE);
        Ok(builder.refresh_metadata_on_auto_schema_agreement(false).build().await?)
    }

    fn builder(&self, request_timeout: Duration) -> SessionBuilder {
        // Nothing is repeated by the driver: an unknown outcome is for the journal to pursue.
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .serial_consistency(Some(SerialConsistency::LocalSerial))
            .request_timeout(Some(request_timeout))
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&self.contact_points)
            .default_execution_profile_handle(profile.into_handle())
            .prefer_datacenter(self.datacenter.clone())
            .connection_timeout(CONNECT_MAX)
            .keepalive_interval(KEEPALIVE)
            .keepalive_timeout(KEEPALIVE_MAX);
        if let Some((user, password)) = &self.credentials {
            builder = builder.user(user, password);
        }
        builder
    }
}
