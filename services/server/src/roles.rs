//! `serve ROLE …`: some of the services, as one of the processes of a cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use futures::future::{Either, OptionFuture, join, join_all};
use journal::SystemEnv;
use journal::relay::Publish;
use peers::Peers;
use sealed::Keyring;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{Admin, Door};
use crate::cli::{Failure, Serve, say};
use crate::cql::CqlStores;
use crate::data::{Stores, Which};
use crate::observe::Observed;
use crate::serve::Settings;
use crate::wiring::{BUS_SINK, ContextKeys, Elsewhere, Here, Wired};

/// Shortest secret that signs contexts, in bytes.
const SECRET_BYTES_MIN: usize = 32;
/// Longest, so that no wrong file is taken for one.
const SECRET_BYTES_MAX: u64 = 4096;
/// How long what is under way on the bus may take at the end.
const BUS_DRAIN: Duration = Duration::from_secs(5);
/// What the end may take beyond lingering and draining, before the process ends all the same.
const END_WITHIN: Duration = Duration::from_secs(20);

/// What a process of a cluster does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Role {
    /// The public door.
    Gateway,
    /// Tenants, businesses, keys and users.
    Tenant,
    /// Products and prices.
    Catalog,
    /// Movements and balances.
    Stock,
    /// The record of everything.
    Audit,
}

impl Role {
    const ALL: [Role; 5] = [Role::Gateway, Role::Tenant, Role::Catalog, Role::Stock, Role::Audit];

    /// As commands and settings name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Gateway => "gateway",
            Role::Tenant => "tenant",
            Role::Catalog => "catalog",
            Role::Stock => "stock",
            Role::Audit => "audit",
        }
    }
}

/// Settings of a process of a cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Process {
    /// Where the other processes call the services of this one. Default `127.0.0.1:7000`.
    pub(crate) listen: SocketAddr,
    /// Files with secrets that all processes share. The first signs who calls; what any of them signed is believed, so
    /// that they can be replaced one process after the other.
    pub(crate) context_keys: Vec<PathBuf>,
    /// How long a process that ends still takes calls, in milliseconds, so that others learn of it. Default 8,000.
    pub(crate) linger_ms: u64,
    /// How long it waits then for calls that are being answered, in milliseconds. Default 25,000.
    pub(crate) drain_ms: u64,
    /// Limits of what the other processes call.
    pub(crate) serve: peers::ServeSettings,
}

impl Default for Process {
    fn default() -> Self {
        Process {
            listen: SocketAddr::from(([127, 0, 0, 1], 7000)),
            context_keys: Vec::new(),
            linger_ms: 8_000,
            drain_ms: 25_000,
            serve: peers::ServeSettings::default(),
        }
    }
}

impl Process {
    fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

/// The stores of a process.
enum Held {
    /// A door has none.
    None,
    /// Its own, in its data folder.
    Own(Stores),
    /// In a database that it shares with others.
    Shared(CqlStores),
}

impl Held {
    fn here(&self, outbound: outbound::Settings, data: &Path) -> Result<Here, Failure> {
        match self {
            Held::None => Ok(Here::default()),
            Held::Own(stores) => Ok(stores.here(outbound)),
            Held::Shared(stores) => stores.here(outbound, data),
        }
    }

    fn keyring(&self) -> Option<Arc<Keyring>> {
        match self {
            Held::Own(stores) => Some(Arc::clone(stores.keyring())),
            Held::None | Held::Shared(_) => None,
        }
    }

    fn run(&self, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        match self {
            Held::Shared(stores) => stores.run(stop),
            Held::None | Held::Own(_) => Vec::new(),
        }
    }
}

/// Serves until a signal.
pub(crate) async fn serve(args: &Serve, settings: Settings) -> Result<(), Failure> {
    let roles = checked(args, &settings)?;
    let keys = match (&settings.cql, settings.process.context_keys.is_empty()) {
        (Some(cql), true) => context_keys(&[cql.secrets.join("context-key")])?,
        _ => context_keys(&settings.process.context_keys)?,
    };
    let stop = runtime::shutdown::on_signal().map_err(|error| Failure::Machine(error.to_string()))?;
    let observed = Observed::start(args.admin_listen, &settings.admin, &stop).await?;
    let is_gateway = roles.contains(&Role::Gateway);
    let services: Vec<&'static str> =
        roles.iter().filter(|role| **role != Role::Gateway).map(|role| role.name()).collect();
    // The ports first: nothing is opened or made for a process that cannot listen.
    let door = match is_gateway {
        true => Some(listen(args.listen, "--listen").await?),
        false => None,
    };
    let inside = match services.is_empty() {
        true => None,
        false => Some(listen(settings.process.listen, "process.listen").await?),
    };

    let data = args.data.as_path();
    let bus = match &settings.nats {
        Some(nats) => Some(nats.connect().await?),
        None => None,
    };
    let stores = match (&settings.cql, services.is_empty()) {
        (_, true) => Held::None,
        (None, false) => {
            Held::Own(Stores::open(data, args.root_key.as_deref(), args.accept_loss, Which::Of(&services))?)
        }
        (Some(cql), false) => {
            let sinks = |service: &str| match &bus {
                Some(bus) => {
                    let publisher = bus.publisher(service, BUS_SINK);
                    let publisher = publisher.map_err(|error| Failure::Usage(error.to_string()))?;
                    Ok(vec![publisher as Arc<dyn Publish>])
                }
                None => Ok(Vec::new()),
            };
            Held::Shared(CqlStores::open(cql, &services, (data, args.accept_loss), sinks).await?)
        }
    };
    let peers = Peers::new(&settings.cluster).map_err(|error| Failure::Usage(error.to_string()))?;
    let here = stores.here(settings.outbound.clone(), data)?;
    let here = Here { gateway: is_gateway.then(|| settings.gateway.clone()), ..here };
    let leads = Arc::clone(&peers);
    let elsewhere = Elsewhere {
        services: peers.remote(),
        journals: Arc::new(move |role: &str| leads.role(role)),
        bus: bus.clone(),
        is_shared: settings.cql.is_some(),
    };
    let wired = Wired::start(here, Some(elsewhere), &keys, Arc::new(SystemEnv)).map_err(Failure::Machine)?;

    let observed = observed.platform(wired.gateway.as_ref(), settings.telemetry.clone(), cell_key(&keys))?;
    let admin = (!services.is_empty()).then(|| {
        let door = Door {
            source: None,
            keyring: stores.keyring(),
            tenants: wired.tenant.as_ref().map(|tenant| tenant.app().clone()),
            runtime: tokio::runtime::Handle::current(),
        };
        Admin::open(data, door)
    });
    let relaying = CancellationToken::new();
    let mut relays = stores.run(&relaying);
    relays.extend(wired.relays.into_iter().map(|relay| {
        let stop = relaying.clone();
        tokio::spawn(async move { relay.run(stop.cancelled()).await })
    }));
    let consumers = wired.audit.as_ref().map(|audit| audit.consumers().start());
    let follower = wired.follower.as_ref().map(catalog::Follower::start);
    let at = |port: &Option<(TcpListener, SocketAddr)>| port.as_ref().map(|(_, address)| *address);
    announce(args, &roles, at(&door), at(&inside), observed.url());
    observed.ready();

    let ending = CancellationToken::new();
    tokio::spawn(end(stop, ending.clone(), settings.process.clone(), wired.gateway.clone()));
    let tls = peers.tls();
    let answer = OptionFuture::from(inside.map(|(listener, _)| {
        let (limits, drain) = (settings.process.serve.clone(), settings.process.drain());
        peers::serve(listener, wired.services.clone(), tls, limits, ending.clone(), drain)
    }));
    let public = match (door, wired.gateway.clone()) {
        (Some((listener, _)), Some(gateway)) => {
            gateway.set_ready(true);
            Either::Left(gateway::serve(listener, gateway, ending.clone()))
        }
        _ => Either::Right(std::future::ready(())),
    };
    let (cut, ()) = join(answer, public).await;
    if let Some(cut) = cut.filter(|cut| *cut > 0) {
        warn!("{cut} calls were cut off by the shutdown");
    }
    // What is heard is finished while consumers run, what they write is relayed, and then the bus has nothing to do.
    if let Some(bus) = &bus
        && let Err(undrained) = bus.hush(BUS_DRAIN).await
    {
        warn!("the bus was left with work: {undrained}");
    }
    if let Some(follower) = follower {
        follower.stop().await;
    }
    if let Some(consumers) = consumers {
        consumers.stop().await;
    }
    relaying.cancel();
    join_all(relays).await;
    if let Some(bus) = &bus
        && let Err(undrained) = bus.drain(BUS_DRAIN).await
    {
        warn!("the bus was left with work: {undrained}");
    }
    drop(admin);
    peers.close().await;
    if let Held::Own(stores) = stores {
        let closed = tokio::task::spawn_blocking(move || stores.close()).await;
        closed.map_err(|error| Failure::Machine(format!("the stores did not close: {error}")))?;
    }
    observed.end().await;
    info!("stopped");
    Ok(())
}

/// The roles, each once, and whether the settings are complete for them.
fn checked(args: &Serve, settings: &Settings) -> Result<Vec<Role>, Failure> {
    if args.demo {
        return Err(Failure::Usage(
            "--demo is for all services in one process: leave the roles out".to_owned(),
        ));
    }
    let mut roles = args.roles.clone();
    roles.sort_unstable();
    roles.dedup();
    // Nobody calls the door.
    let asked = Role::ALL.into_iter().filter(|role| *role != Role::Gateway && !roles.contains(role));
    let unknown: Vec<_> = asked
        .map(Role::name)
        .filter(|role| !settings.cluster.services.contains_key(*role))
        .map(|role| format!("cluster.services.{role}"))
        .collect();
    if !unknown.is_empty() {
        return Err(Failure::Usage(format!(
            "the settings do not say where other processes are: set {}, each a list such as [\"127.0.0.1:7001\"]",
            unknown.join(", ")
        )));
    }
    Ok(roles)
}

async fn listen(address: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::Machine(format!(
            "cannot listen on {address}: {error}: stop what listens there, or set another address with {setting}"
        ))
    })?;
    let address = listener.local_addr().map_err(|error| Failure::Machine(error.to_string()))?;
    Ok((listener, address))
}

fn context_keys(files: &[PathBuf]) -> Result<ContextKeys, Failure> {
    let mut seeds = files.iter().map(|file| seed(file)).collect::<Result<Vec<_>, _>>()?.into_iter();
    let Some(seed) = seeds.next() else {
        return Err(Failure::Usage(
            "process.context_keys names no file: all processes of a cluster share a secret, such as one that \
             `head -c 32 /dev/urandom | base64 > context-key` makes"
                .to_owned(),
        ));
    };
    Ok(ContextKeys { seed: Some(seed), believed: seeds.collect() })
}

/// The seed of a signing key from a secret of any form.
fn seed(file: &Path) -> Result<[u8; 32], Failure> {
    let refused = |why: String| Failure::Usage(format!("process.context_keys: '{}' {why}", file.display()));
    let long = std::fs::metadata(file).map_err(|error| refused(format!("cannot be read: {error}")))?.len();
    if long > SECRET_BYTES_MAX {
        return Err(refused(format!("has {long} bytes, more than {SECRET_BYTES_MAX}: it is no secret")));
    }
    let secret = std::fs::read(file).map_err(|error| refused(format!("cannot be read: {error}")))?;
    let secret = secret.trim_ascii();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(refused(format!("has {} bytes, fewer than {SECRET_BYTES_MIN}", secret.len())));
    }
    let mut hash = Sha256::new();
    hash.update(b"cargo-pilot context key 1\0");
    hash.update(secret);
    Ok(hash.finalize().into())
}

/// What tenants are hashed with in traces: the same in all processes of the cluster.
fn cell_key(keys: &ContextKeys) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"cargo-pilot cell key 1\0");
    hash.update(keys.seed.unwrap_or_default());
    hash.finalize().into()
}

/// The orderly end: others learn that this process ends while it still answers, then it takes no more.
async fn end(
    stop: CancellationToken,
    ending: CancellationToken,
    process: Process,
    gateway: Option<gateway::Gateway>,
) {
    stop.cancelled().await;
    if let Some(gateway) = &gateway {
        gateway.set_ready(false);
    }
    info!("still serving for {} ms, so that others learn that this process ends", process.linger_ms);
    tokio::time::sleep(process.linger()).await;
    ending.cancel();
    tokio::time::sleep(process.drain() + END_WITHIN).await;
    runtime::fatal::exit("the shutdown did not come to an end in time")
}

fn announce(
    args: &Serve,
    roles: &[Role],
    door: Option<SocketAddr>,
    inside: Option<SocketAddr>,
    admin: Option<String>,
) {
    let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
    let url = door.map(|address| format!("http://{address}"));
    let data = inside.is_some().then(|| args.data.canonicalize().unwrap_or_else(|_| args.data.clone()));
    if args.json {
        let mut line = json!({"roles": names, "url": url, "internal": inside, "data": data});
        if let Some(admin) = admin {
            line["adminUrl"] = json!(admin);
        }
        say(line);
        return;
    }
    say(format_args!("Cargo Pilot is ready: {}.\n", names.join(", ")));
    if let Some(url) = url {
        say(format_args!("  URL        {url}"));
        say(format_args!("  API docs   {url}/docs"));
    }
    if let Some(inside) = inside {
        say(format_args!("  Internal   {inside}"));
    }
    if let Some(data) = data {
        say(format_args!("  Data       {}", data.display()));
    }
    if let Some(admin) = admin {
        say(format_args!("  Admin      {admin}"));
    }
    say("\nStop with Ctrl-C.");
}
