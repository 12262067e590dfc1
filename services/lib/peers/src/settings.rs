//! Where the processes of the cluster are, and how they are called.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::Error;

/// Addresses that the settings may name for one role.
const ENTRIES_MAX: usize = 64;
/// Longest time that a setting may ask for.
const WITHIN_MS_MAX: u64 = 600_000;

/// Settings of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the processes of each role listen: `stock = ["stock-headless:7000", "10.0.0.1:7001"]`. A name stands for
    /// all addresses that it resolves to, now and later. A role that is not here cannot be called.
    pub services: BTreeMap<String, Vec<String>>,
    /// Certificates of this process. Without them calls are not encrypted and nobody proves who he is: for a network
    /// that does both by itself.
    pub tls: Option<TlsSettings>,
    /// Roles whose calls for the same aggregate go to the same process. Default `["stock"]`.
    pub hash: Vec<String>,
    /// So many calls of this process may be under way to one process before it counts as loaded and calls go past it in
    /// spite of their route. Default 64.
    pub hash_load_min: usize,
    /// How often names are resolved, in milliseconds. Default 5,000.
    pub resolve_every_ms: u64,
    /// How long a connection may take until the other side has said something, in milliseconds. Default 1,000.
    pub connect_within_ms: u64,
    /// How long a call may take that says nothing about its time, in milliseconds. Default 30,000.
    pub call_within_ms: u64,
    /// A longer request is sent once and never again, in bytes: it would have to be kept. Default 1 MiB.
    pub retry_bytes_max: usize,
    /// So many of a hundred calls may be sent once more, for each role. Default 10.
    pub retry_percent: u16,
    /// So many calls a second may be sent once more whatever the traffic, for each role. Default 10.
    pub retries_per_second_min: u16,
}

/// Files in PEM. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate of this process, with those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose certificates are believed; nobody else's are.
    pub ca: PathBuf,
    /// The name that the certificate of every other process must carry. Without it: the host of its address.
    #[serde(default)]
    pub name: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            services: BTreeMap::new(),
            tls: None,
            hash: vec!["stock".to_owned()],
            hash_load_min: 64,
            resolve_every_ms: 5_000,
            connect_within_ms: 1_000,
            call_within_ms: 30_000,
            retry_bytes_max: 1024 * 1024,
            retry_percent: 10,
            retries_per_second_min: 10,
        }
    }
}

/// Where some processes of a role are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// There.
    Fixed(SocketAddr),
    /// Wherever the name leads.
    Named { host: String, port: u16 },
}

impl Entry {
    fn parse(text: &str) -> Option<Entry> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() != 0).then_some(Entry::Fixed(address));
        }
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!host.is_empty() && host.bytes().all(letter)).then(|| Entry::Named { host: host.to_owned(), port })
    }
}

impl Settings {
    /// The entries of each role.
    ///
    /// # Errors
    /// The first setting that cannot be meant.
    pub(crate) fn roles(&self) -> Result<BTreeMap<String, Vec<Entry>>, Error> {
        let times = [
            ("resolve_every_ms", self.resolve_every_ms),
            ("connect_within_ms", self.connect_within_ms),
            ("call_within_ms", self.call_within_ms),
        ];
        for (setting, value) in times {
            if !(1..=WITHIN_MS_MAX).contains(&value) {
                return Err(Error::Setting {
                    setting,
                    why: format!("{value} is not within 1 and {WITHIN_MS_MAX}"),
                });
            }
        }
        if self.retry_percent > 100 {
            let why = format!("{} is more than 100", self.retry_percent);
            return Err(Error::Setting { setting: "retry_percent", why });
        }
        self.services.iter().map(|(role, entries)| Ok((role.clone(), parse(role, entries)?))).collect()
    }

    pub(crate) fn resolve_every(&self) -> Duration {
        Duration::from_millis(self.resolve_every_ms)
    }

    pub(crate) fn connect_within(&self) -> Duration {
        Duration::from_millis(self.connect_within_ms)
    }

    pub(crate) fn call_within(&self) -> Duration {
        Duration::from_millis(self.call_within_ms)
    }
}

fn parse(role: &str, entries: &[String]) -> Result<Vec<Entry>, Error> {
    let refused = |why: String| Error::Setting { setting: "services", why };
    if entries.is_empty() || entries.len() > ENTRIES_MAX {
        return Err(refused(format!(
            "role '{role}' has {} addresses, not 1 to {ENTRIES_MAX}",
            entries.len()
        )));
    }
    let parse = |text: &String| {
        Entry::parse(text).ok_or_else(|| {
            refused(format!("role '{role}': '{text}' is no 'host:port', such as 'stock-headless:7000'"))
        })
    };
    entries.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn an_entry_is_an_address_or_a_name() {
        let check = |text: &str, expected: Option<Entry>| assert_eq!(Entry::parse(text), expected, "{text}");
        let named = |host: &str, port| Some(Entry::Named { host: host.to_owned(), port });
        check("10.0.0.1:7001",       Some(Entry::Fixed("10.0.0.1:7001".parse().unwrap())));
        check("[::1]:7001",          Some(Entry::Fixed("[::1]:7001".parse().unwrap())));
        check("stock-headless:7000", named("stock-headless", 7000));
        check("a.b.svc:1",           named("a.b.svc", 1));
        check("stock",               None);
        check(":7000",               None);
        check("stock:0",             None);
        check("10.0.0.1:0",          None);
        check("stock:70000",         None);
        check("http://stock:7000",   None);
        check("::1:7000",            None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let check = |change: fn(&mut Settings), words: &str| {
            let mut settings = Settings::default();
            change(&mut settings);
            let refused = settings.roles().unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        };
        check(|s| s.resolve_every_ms = 0, "cluster.resolve_every_ms: 0 is not within");
        check(|s| s.call_within_ms = 700_000, "cluster.call_within_ms: 700000");
        check(|s| s.retry_percent = 101, "cluster.retry_percent: 101");
        check(|s| drop(s.services.insert("stock".to_owned(), vec![])), "role 'stock' has 0 addresses");
        check(
            |s| drop(s.services.insert("stock".to_owned(), vec!["stock".to_owned()])),
            "role 'stock': 'stock' is no 'host:port'",
        );
    }
}
