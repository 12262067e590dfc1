//! Where the servers are, who we are there, and what they keep.

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;

/// Longest name of a cell, a service or a consumer: they become parts of subjects and of names of files.
pub const NAME_BYTES_MAX: usize = 32;

/// How long a stream keeps a message, unless told otherwise. Who was away for longer compares all heads.
pub const AGE_MAX: Duration = Duration::from_hours(72);
/// Most bytes of a stream, unless told otherwise: the oldest messages go first. About five million messages.
pub const BYTES_MAX: u64 = 1 << 30;
/// How often a consumer compares all heads although nothing seems to be missing, unless told otherwise: a bus may lose
/// what it acknowledged.
pub const COMPARE_EVERY: Duration = Duration::from_hours(1);
/// How long a consumer may take for what it heard before another process hears it, unless told otherwise.
pub const ACK_WAIT: Duration = Duration::from_secs(30);

/// Who we are to the servers.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// Nobody.
    #[default]
    None,
    /// A user and a password.
    Password(String, String),
    /// The seed of an nkey: `SU…`.
    Nkey(String),
    /// A file with a JWT and the seed of an nkey.
    Credentials(PathBuf),
}

/// Secrets are not shown.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::None => "None",
            Auth::Password(..) => "Password",
            Auth::Nkey(_) => "Nkey",
            Auth::Credentials(_) => "Credentials",
        })
    }
}

/// How servers are known, and how they know us.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    /// PEM file with the authorities that may have signed the servers' certificates, beside those of the machine.
    pub authorities: Option<PathBuf>,
    /// PEM files with our certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The servers speak TLS from the first byte.
    pub first: bool,
}

/// Settings of the bus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `nats://host:4222`, at least one; more are learned from the servers.
    pub servers: Vec<String>,
    /// Who we are.
    pub auth: Auth,
    /// TLS is required if set.
    pub tls: Option<Tls>,
    /// Part of all names, so that cells can share servers: `[a-z0-9-]`, at most [`NAME_BYTES_MAX`] bytes.
    pub cell: String,
    /// Copies of each message: 1, or 3 where there are at least three servers.
    pub replicas: usize,
    /// See [`AGE_MAX`].
    pub age_max: Duration,
    /// See [`BYTES_MAX`].
    pub bytes_max: u64,
    /// See [`COMPARE_EVERY`].
    pub compare_every: Duration,
    /// See [`ACK_WAIT`].
    pub ack_wait: Duration,
}

impl Config {
    /// One copy of each message, on servers that ask for no credentials.
    #[must_use]
    pub fn new(cell: &str, servers: Vec<String>) -> Config {
        Config {
            servers,
            auth: Auth::None,
            tls: None,
            cell: cell.to_owned(),
            replicas: 1,
            age_max: AGE_MAX,
            bytes_max: BYTES_MAX,
            compare_every: COMPARE_EVERY,
            ack_wait: ACK_WAIT,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::Setting(what.to_owned()));
        name("cell", &self.cell)?;
        if self.servers.is_empty() {
            return wrong("no server of the bus is named: set at least one, such as nats://nats:4222");
        }
        if !matches!(self.replicas, 1 | 3) {
            return wrong("a stream has 1 or 3 replicas");
        }
        if self.bytes_max == 0 || i64::try_from(self.bytes_max).is_err() {
            return wrong("the bytes of a stream must be bounded, by a positive number");
        }
        let short = Duration::from_secs(1);
        if self.age_max < crate::stream::DUPLICATES || self.compare_every < short || self.ack_wait < short {
            return wrong(
                "a stream keeps messages for at least two minutes; all other durations are at least a second",
            );
        }
        Ok(())
    }
}

/// Checks a name that becomes part of subjects.
pub(crate) fn name(of: &str, name: &str) -> Result<(), Error> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(fine) {
        true => Ok(()),
        false => Err(Error::Setting(format!(
            "the name of a {of} is made of a-z, 0-9 and '-', at most {NAME_BYTES_MAX} of them, and is not '{name}'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_told_of() {
        let check = |change: fn(&mut Config), part: &str| {
            let mut config = Config::new("one", vec!["nats://a:4222".into()]);
            change(&mut config);
            let error = config.check().expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        };
        assert_eq!(Config::new("one", vec!["nats://a:4222".into()]).check(), Ok(()));
        check(|config| config.cell = "a.b".into(), "not 'a.b'");
        check(|config| config.cell = String::new(), "not ''");
        check(|config| config.servers.clear(), "no server");
        check(|config| config.replicas = 2, "1 or 3");
        check(|config| config.bytes_max = 0, "bounded");
        check(|config| config.age_max = Duration::from_secs(10), "two minutes");
        check(|config| config.ack_wait = Duration::ZERO, "a second");
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut config = Config::new("one", vec![]);
        config.auth = Auth::Password("user".into(), "geheim".into());
        assert!(!format!("{config:?}").contains("geheim"));
    }
}
