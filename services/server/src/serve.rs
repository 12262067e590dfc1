//! `serve`: all services in one process, until a signal.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tracing::info;

use crate::admin::{Admin, Door};
use crate::cli::{self, Failure, Serve, say};
use crate::cql::Cql;
use crate::data::{self, Stores, Which};
use crate::demo;
use crate::nats::Nats;
use crate::observe::{AdminSettings, Observed};
use crate::roles::{self, Process};

/// Settings of the process, from `cargo-pilot.toml` and `CARGO_PILOT__…`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    log: runtime::log::Settings,
    pub(crate) gateway: gateway::Config,
    pub(crate) outbound: outbound::Settings,
    /// Where the other processes are, for `serve ROLE …`.
    pub(crate) cluster: peers::Settings,
    /// A database that processes share, for `serve ROLE …`; without it each has stores of its own.
    pub(crate) cql: Option<Cql>,
    /// The bus between processes, for `serve ROLE …`.
    pub(crate) nats: Option<Nats>,
    /// This process, for `serve ROLE …`.
    pub(crate) process: Process,
    pub(crate) admin: AdminSettings,
    pub(crate) telemetry: telemetry::export::Settings,
}

/// What the storage engine tells of each of its files is for whoever asks for it.
const QUIET: &str = ",fjall=warn,lsm_tree=warn";

pub(crate) fn run(args: &Serve) -> Result<(), Failure> {
    let mut settings: Settings =
        runtime::settings::load(args.config.as_deref()).map_err(|error| Failure::Usage(error.to_string()))?;
    if !settings.log.level.contains("fjall") {
        settings.log.level.push_str(QUIET);
    }
    let initialised = runtime::log::init(&settings.log);
    initialised.map_err(|error| Failure::Usage(error.to_string().replace(QUIET, "")))?;
    cli::run_async(async {
        match args.roles.is_empty() {
            true => serve(args, settings).await,
            false => Box::pin(roles::serve(args, settings)).await,
        }
    })
}

async fn serve(args: &Serve, settings: Settings) -> Result<(), Failure> {
    let data = args.data.as_path();
    let stop = runtime::shutdown::on_signal().map_err(|error| Failure::Machine(error.to_string()))?;
    // The port first: nothing is opened or made for a server that cannot listen.
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::Machine(format!(
            "cannot listen on {}: {error}: stop what listens there, or name another address with --listen",
            args.listen
        ))
    })?;
    let address = listener.local_addr().map_err(|error| Failure::Machine(error.to_string()))?;
    let observed = Observed::start(args.admin_listen, &settings.admin, &stop).await?;
    let stores = Stores::open(data, args.root_key.as_deref(), args.accept_loss, Which::All)?;
    let platform = stores.platform(settings.gateway, settings.outbound)?;
    let observed = observed.platform(Some(&platform.gateway), settings.telemetry, stores.cell_key())?;
    let key = if args.demo { Some(demo::prepare(&platform, data).await?) } else { data::demo_key(data) };

    let url = format!("http://{address}");
    let running = data::Running::at(data, &url);
    let door = Door {
        source: Some(stores.source(data)),
        keyring: Some(Arc::clone(stores.keyring())),
        tenants: Some(platform.tenant.app().clone()),
        runtime: tokio::runtime::Handle::current(),
    };
    let admin = Admin::open(data, door);
    let consumers = platform.audit.consumers().start();
    let follower = platform.follower.start();
    platform.gateway.set_ready(true);
    observed.ready();
    announce(args, &url, observed.url().as_deref(), key.as_deref(), data);
    gateway::serve(listener, platform.gateway.clone(), stop).await;
    follower.stop().await;
    consumers.stop().await;
    drop((running, admin));
    let closed = tokio::task::spawn_blocking(move || stores.close()).await;
    closed.map_err(|error| Failure::Machine(format!("the stores did not close: {error}")))?;
    observed.end().await;
    info!("stopped");
    Ok(())
}

fn announce(args: &Serve, url: &str, admin: Option<&str>, key: Option<&str>, data: &Path) {
    let folder = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    if args.json {
        let mut line = json!({"url": url, "apiKey": key, "data": folder});
        if let Some(admin) = admin {
            line["adminUrl"] = json!(admin);
        }
        say(line);
        return;
    }
    say("Cargo Pilot is ready.\n");
    say(format_args!("  URL        {url}"));
    say(format_args!("  API docs   {url}/docs"));
    if let Some(key) = key {
        say(format_args!("  API key    {key}"));
    }
    if let Some(admin) = admin {
        say(format_args!("  Metrics    {admin}/metrics"));
    }
    say(format_args!("  Data       {}\n", folder.display()));
    match key {
        Some(key) => say(format_args!("Try:  curl -H 'Authorization: Bearer {key}' {url}/v1/balances")),
        None => {
            say("Use an API key that `cargo-pilot init` printed; `--demo` makes a tenant with sample data.")
        }
    }
    say("Stop with Ctrl-C.");
}
