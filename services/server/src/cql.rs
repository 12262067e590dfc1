//! Stores in a database that several processes share, and what goes with them: its tables, shared keys and secrets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ids::TenantId;
use journal::SystemEnv;
use journal::member::Member;
use journal::relay::Publish;
use journal::seal::Sizes;
use journal::store::Store as _;
use journal_cql::{Config, CqlStore, Replication};
use sealed::{KeyTable, Keyring, SealedStore};
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::cli::{self, Failure, say};
use crate::data::{self, WitnessFolder, io_failure, store_names};
use crate::serve::Settings;
use crate::wiring::{AuditHere, AuditKeys, Here, Journals, TenantHere};

/// Longest secret file, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;
/// How long a statement for the keys of tenants may take.
const KEYS_WITHIN: Duration = Duration::from_secs(4);
/// Copies of the data that a datacenter keeps, unless told otherwise.
const COPIES: u8 = 3;

/// A database that the processes of a role share, for `serve ROLE …`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cql {
    /// Nodes to ask first, `host:port`; the others are found through them.
    contact_points: Vec<String>,
    /// The datacenter whose nodes are asked, and whose majority counts.
    datacenter: String,
    /// What the name of each keyspace begins with; the service follows. Default `cargo_pilot_`.
    #[serde(default = "prefix")]
    keyspace_prefix: String,
    /// User, if the database wants one, and the file of his password.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password_file: Option<PathBuf>,
    /// Folder of the secrets that all processes share, as `cargo-pilot secrets` makes it.
    pub(crate) secrets: PathBuf,
}

fn prefix() -> String {
    "cargo_pilot_".to_owned()
}

/// `migrate`.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Settings file with `[cql]`.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Copies of the data in each datacenter.
    #[arg(long, default_value_t = COPIES)]
    pub copies: u8,
    /// Prints one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `secrets`.
#[derive(Debug, Args)]
pub(crate) struct Secrets {
    /// Folder to make; it must not hold secrets already.
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
}

/// The keys of tenants in the database of a service.
struct Keys {
    store: Arc<CqlStore>,
    runtime: Handle,
}

impl Keys {
    /// Asks the database from a thread that may block.
    fn ask<T>(&self, question: impl Future<Output = Result<T, journal::StoreError>>) -> Result<T, String> {
        let answer = self.runtime.block_on(async { tokio::time::timeout(KEYS_WITHIN, question).await });
        match answer {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("the database does not answer".to_owned()),
        }
    }
}

impl KeyTable for Keys {
    fn read(&self, tenant: TenantId) -> Result<Option<String>, String> {
        let kept = self.ask(self.store.kept(tenant.as_bytes()))?;
        kept.map(|text| String::from_utf8(text.to_vec()).map_err(|error| error.to_string())).transpose()
    }

    fn insert(&self, tenant: TenantId, text: &str) -> Result<bool, String> {
        self.ask(self.store.keep(tenant.as_bytes(), text.as_bytes()))
    }

    /// This thread leaves its tasks to another one: the answer of the database is among them.
    fn blocking(&self, work: &mut dyn FnMut()) {
        tokio::task::block_in_place(work);
    }
}

/// The stores of the services of this process, in a database.
pub(crate) struct CqlStores {
    stores: Vec<(&'static str, Arc<SealedStore<Member>>)>,
    members: Vec<Arc<Member>>,
    secrets: PathBuf,
    /// Locked as long as the process runs.
    _folder: fs::File,
}

impl CqlStores {
    /// Opens the stores of `services`. `sinks` says where the entries of each are relayed to.
    pub(crate) async fn open(
        settings: &Cql,
        services: &[&'static str],
        (data, accept_loss): (&Path, bool),
        sinks: impl Fn(&str) -> Result<Vec<Arc<dyn Publish>>, Failure>,
    ) -> Result<CqlStores, Failure> {
        let folder = data::lock_shared(data)?;
        let (mut stores, mut members) = (Vec::new(), Vec::new());
        for service in services {
            let store = CqlStore::open(&settings.config(service)?).await.map_err(|error| failed(&error))?;
            let store = Arc::new(store);
            let table = Keys { store: Arc::clone(&store), runtime: Handle::current() };
            let root = settings.secrets.join("root-key");
            let keyring = Keyring::shared(&root, Arc::new(table)).map_err(|error| {
                Failure::Machine(format!("'{}': {error}: see `cargo-pilot secrets`", root.display()))
            })?;
            let member = Member::join(store, Arc::new(SystemEnv), sinks(service)?, Sizes::default());
            stores.push((
                *service,
                Arc::new(SealedStore::new(Arc::clone(&member), Arc::new(keyring), service)),
            ));
            members.push(member);
        }
        let stores = CqlStores { stores, members, secrets: settings.secrets.clone(), _folder: folder };
        stores.must_remember(data, accept_loss).await?;
        Ok(stores)
    }

    /// Sees that the witness of the audit log remembers what it signed, in `data`: one that remembers nothing would sign
    /// a log that was set back. A new cluster has nothing to remember.
    async fn must_remember(&self, data: &Path, accept_loss: bool) -> Result<(), Failure> {
        let Some((_, logs)) = self.stores.iter().find(|(name, _)| *name == "audit") else { return Ok(()) };
        let memory = WitnessFolder::below(data);
        if !memory.is_there() && !accept_loss {
            let first = logs.aggregates(None, 1).await;
            let first = first.map_err(|error| Failure::Unavailable(format!("the audit logs: {error}")))?;
            if !first.is_empty() {
                return Err(Failure::Machine(format!(
                    "there are audit logs, and '{}' does not hold what their witness has signed: one process has the \
                     role audit, on the folder that it always had. If that folder is lost, look at the logs with an \
                     exported one, then start once with --accept-loss",
                    data.display()
                )));
            }
        }
        memory.make()
    }

    /// The services of these stores. `data` is where the witness of the audit log remembers what it signed.
    pub(crate) fn here(&self, outbound: outbound::Settings, data: &Path) -> Result<Here, Failure> {
        let journals = |service: &str| {
            let (_, store) = self.stores.iter().find(|(name, _)| *name == service)?;
            Some(Journals { store: Arc::<SealedStore<Member>>::clone(store), feed: None })
        };
        let secret = |name: &str| read_secret(&self.secrets.join(name));
        let tenant = journals("tenant")
            .map(|journals| Ok::<_, Failure>(TenantHere { journals, pepper: secret("pepper")?, outbound }));
        let audit = journals("audit").map(|journals| {
            let memory = Arc::new(WitnessFolder::below(data));
            let (log, witness) = (secret("audit-key")?, secret("audit-witness-key")?);
            Ok::<_, Failure>(AuditHere { journals, keys: AuditKeys { log, witness, memory } })
        });
        Ok(Here {
            tenant: tenant.transpose()?,
            catalog: journals("catalog"),
            stock: journals("stock"),
            audit: audit.transpose()?,
            gateway: None,
        })
    }

    /// Keeps leases and relays until `stop` is cancelled.
    pub(crate) fn run(&self, stop: &CancellationToken) -> Vec<tokio::task::JoinHandle<()>> {
        let run = |member: &Arc<Member>| {
            let (member, stop) = (Arc::clone(member), stop.clone());
            tokio::spawn(async move { member.run(stop.cancelled()).await })
        };
        self.members.iter().map(run).collect()
    }
}

impl Cql {
    fn config(&self, service: &str) -> Result<Config, Failure> {
        let keyspace = format!("{}{service}", self.keyspace_prefix);
        let mut config = Config::new(self.contact_points.clone(), &keyspace, &self.datacenter);
        config.credentials = match (&self.user, &self.password_file) {
            (None, None) => None,
            (Some(user), Some(file)) => {
                let password = fs::read_to_string(file).map_err(|error| {
                    Failure::Usage(format!("cql.password_file: '{}' cannot be read: {error}", file.display()))
                })?;
                Some((user.clone(), password.trim().to_owned()))
            }
            _ => return Err(Failure::Usage("cql: set both user and password_file, or neither".to_owned())),
        };
        Ok(config)
    }
}

/// An error with what caused it, for people.
fn failed(error: &journal_cql::Error) -> Failure {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    match error {
        journal_cql::Error::Config(_) => Failure::Usage(format!("cql: {error}")),
        journal_cql::Error::Database(_) => Failure::Unavailable(format!("{error}{cause}")),
        _ => Failure::Machine(format!("{error}{cause}")),
    }
}

pub(crate) fn migrate(args: &Migrate) -> Result<(), Failure> {
    cli::log_warnings()?;
    let settings: Settings =
        runtime::settings::load(Some(&args.config)).map_err(|error| Failure::Usage(error.to_string()))?;
    let Some(cql) = settings.cql else {
        return Err(Failure::Usage(format!("'{}' has no [cql]", args.config.display())));
    };
    cli::run_async(async {
        for service in store_names() {
            let replication = Replication::of(&cql.datacenter, args.copies);
            journal_cql::migrate(&cql.config(service)?, &replication)
                .await
                .map_err(|error| failed(&error))?;
            if !args.json {
                say(format_args!("{}{service} is ready", cql.keyspace_prefix));
            }
        }
        if args.json {
            say(json!({"version": journal_cql::VERSION}));
        }
        Ok(())
    })
}

/// The secrets that the processes of a cluster share, apart from the root key.
const SECRETS: [&str; 4] = ["context-key", "pepper", "audit-key", "audit-witness-key"];

pub(crate) fn make_secrets(args: &Secrets) -> Result<(), Failure> {
    data::make_folder(&args.into)?;
    for name in SECRETS.into_iter().chain(["root-key"]) {
        if args.into.join(name).exists() {
            return Err(Failure::Usage(format!(
                "'{}' is there already, and what is stored cannot be read with another one: name another folder",
                args.into.join(name).display()
            )));
        }
    }
    for name in SECRETS {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| Failure::Machine(format!("the system gives no randomness: {error}")))?;
        let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        data::write_synced(&args.into.join(name), format!("{text}\n").as_bytes())?;
    }
    Keyring::make_root(&args.into.join("root-key")).map_err(|error| Failure::Machine(error.to_string()))?;
    say(format_args!(
        "The secrets of a cluster are in '{}'. Keep a copy apart: without the root key nothing that is stored can be read.",
        args.into.display()
    ));
    Ok(())
}

/// Reads a secret of 32 bytes in hex.
fn read_secret(path: &Path) -> Result<[u8; 32], Failure> {
    let bad = || Failure::Usage(format!("'{}' is no secret that `cargo-pilot secrets` made", path.display()));
    let long = fs::metadata(path).map_err(|error| io_failure(path, "cannot be read", &error))?.len();
    if long > SECRET_BYTES_MAX {
        return Err(bad());
    }
    let text = fs::read_to_string(path).map_err(|error| io_failure(path, "cannot be read", &error))?;
    let text = text.trim();
    let mut secret = [0; 32];
    if text.len() != 2 * secret.len() || !text.is_ascii() {
        return Err(bad());
    }
    for (at, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
    }
    Ok(secret)
}
