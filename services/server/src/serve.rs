//! `serve` and `init`.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tracing::info;

use crate::cli::{self, Failure, Init, Serve};
use crate::data::{self, Stores};
use crate::demo;

/// Settings of the process, from `cargo-pilot.toml` and `CARGO_PILOT__…`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    log: runtime::log::Settings,
    gateway: gateway::Config,
}

pub(crate) fn run(args: &Serve) -> Result<(), Failure> {
    let settings: Settings =
        runtime::settings::load(args.config.as_deref()).map_err(|error| Failure::Usage(error.to_string()))?;
    runtime::log::init(&settings.log).map_err(|error| Failure::Usage(error.to_string()))?;
    asynchronous(serve(args, settings))
}

fn asynchronous(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::Machine(format!("no runtime: {error}")))?.block_on(work)
}

async fn serve(args: &Serve, settings: Settings) -> Result<(), Failure> {
    let data = args.data.data.as_path();
    let stop = runtime::shutdown::on_signal().map_err(|error| Failure::Machine(error.to_string()))?;
    // The port first: nothing is opened or made for a server that cannot listen.
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::Machine(format!(
            "cannot listen on {}: {error}; name another address with --listen",
            args.listen
        ))
    })?;
    let address = listener.local_addr().map_err(|error| Failure::Machine(error.to_string()))?;
    let stores = Stores::open(data, args.accept_loss)?;
    let platform = stores.platform(data, settings.gateway)?;
    let key = if args.demo { Some(demo::prepare(&platform, data).await?) } else { data::demo_key(data) };

    let url = format!("http://{address}");
    let running = data::Running::at(data, &url);
    platform.gateway.set_ready(true);
    announce(args, &url, key.as_deref(), data);
    gateway::serve(listener, platform.gateway.clone(), stop).await;
    drop(running);
    let closed = tokio::task::spawn_blocking(move || stores.close()).await;
    closed.map_err(|error| Failure::Machine(format!("the stores did not close: {error}")))?;
    info!("stopped");
    Ok(())
}

fn announce(args: &Serve, url: &str, key: Option<&str>, data: &Path) {
    let folder = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    if args.json {
        println!("{}", json!({"url": url, "apiKey": key, "data": folder}));
        return;
    }
    println!("Cargo Pilot is ready.\n");
    println!("  URL        {url}");
    println!("  API docs   {url}/docs");
    if let Some(key) = key {
        println!("  API key    {key}");
    }
    println!("  Data       {}\n", folder.display());
    match key {
        Some(key) => println!("Try:  curl -H 'Authorization: Bearer {key}' {url}/v1/balances"),
        None => println!(
            "Use an API key that `cargo-pilot init` printed; `--demo` makes a tenant with sample data."
        ),
    }
    println!("Stop with Ctrl-C.");
}

pub(crate) fn init(args: &Init) -> Result<(), Failure> {
    asynchronous(async {
        let data = args.data.data.as_path();
        let stores = Stores::open(data, false)?;
        let platform = stores.platform(data, gateway::Config::default())?;
        let currency = money::Currency::parse(&args.currency)
            .map_err(|error| Failure::Usage(format!("--currency '{}': {error}", args.currency)))?;
        let minor = u8::try_from(currency.minor_places()).unwrap_or(2);
        let new = tenant::BootstrapTenant {
            slug: args.slug.clone(),
            name: args.name.clone(),
            legal_name: args.name.clone(),
            country: args.country.clone(),
            currency,
            cost_scale: args.cost_scale.unwrap_or(minor),
            costing: match args.costing {
                cli::Costing::MovingAverage => tenant::domain::Costing::MovingAverage,
                cli::Costing::Fifo => tenant::domain::Costing::Fifo,
            },
        };
        let made = platform.tenant.app().bootstrap(new).await.map_err(|error| demo::refused(&error))?;
        stores.close();
        let Some(credential) = made.credential else {
            let what = format!("the tenant '{}' is there already; its owner's key was shown once", args.slug);
            return Err(Failure::Usage(what));
        };
        let key = credential.reveal();
        if args.json {
            let (tenant, business) = (made.tenant.to_string(), made.business.to_string());
            println!("{}", json!({"tenantId": tenant, "businessId": business, "apiKey": key}));
        } else {
            println!("{} is ready. The owner's API key is shown once, keep it safe:\n\n  {key}\n", args.name);
            println!("Start the server:  cargo-pilot serve --data {}", data.display());
        }
        Ok(())
    })
}
