//! All services in one process, wired as they are in a cluster: through their clients.

use std::sync::Arc;

use audit::witness::{LocalWitness, Memory};
use audit::{Describe, Source};
use events::InProcess;
use gateway::Gateway;
use journal::feed::FeedStore;
use journal::{Env, SharedStore, SystemEnv};
use rpc::{Guard, Minter, Permissions, Services, System, Transport, Verifier};
use tower::Layer as _;

/// The pages that explain errors: the tables of the services' `errors.md`.
const ERROR_PAGES: [&str; 5] = [
    include_str!("../../gateway/errors.md"),
    include_str!("../../tenant/errors.md"),
    include_str!("../../catalog/errors.md"),
    include_str!("../../stock/errors.md"),
    include_str!("../../audit/errors.md"),
];

/// What the platform is made of.
pub struct Parts {
    /// Store of the tenant service.
    pub tenant: SharedStore,
    /// Store of the catalog service.
    pub catalog: SharedStore,
    /// Store of the stock service.
    pub stock: SharedStore,
    /// Store of the audit service.
    pub audit: SharedStore,
    /// Keys and memory of the audit log.
    pub audit_keys: AuditKeys,
    /// The same stores, if they tell what changed; without, the audit log looks at all heads again and again.
    pub feeds: Option<Feeds>,
    /// Key of the hashes of API keys.
    pub pepper: [u8; 32],
    /// What may be called outside.
    pub outbound: outbound::Settings,
    /// Settings of the public door.
    pub gateway: gateway::Config,
}

/// Stores that tell what changed.
pub struct Feeds {
    /// Of the tenant service.
    pub tenant: Arc<dyn FeedStore>,
    /// Of the catalog service.
    pub catalog: Arc<dyn FeedStore>,
    /// Of the stock service.
    pub stock: Arc<dyn FeedStore>,
    /// Of the audit service.
    pub audit: Arc<dyn FeedStore>,
}

/// What signs the audit log.
pub struct AuditKeys {
    /// Seed of the key of the logs.
    pub log: [u8; 32],
    /// Seed of the key of the witness.
    pub witness: [u8; 32],
    /// What the witness remembers: apart from the log, so that a log that is set back is noticed.
    pub memory: Arc<dyn Memory>,
}

/// Everything that runs.
pub struct Platform {
    /// The tenant service, for the use cases that have no RPC: bootstrap.
    pub tenant: tenant::Service,
    /// The audit service: [`audit::Service::consumers`] make leaves of entries once they are started.
    pub audit: audit::Service,
    /// Tells businesses what changed above them in the catalogue, once it is started.
    pub follower: catalog::Follower,
    /// Signs contexts.
    pub minter: Arc<Minter>,
    /// All services.
    pub transport: Transport,
    /// The public door.
    pub gateway: Gateway,
    /// The way from tenant to stock, kept open.
    _places: Arc<tenant::Places>,
}

impl Platform {
    /// Starts the services over their stores, by the clock and the randomness of the machine.
    ///
    /// # Errors
    /// A text for people: no randomness, or a contract that cannot be served.
    pub fn start(parts: Parts) -> Result<Platform, String> {
        Platform::start_in(parts, Arc::new(SystemEnv))
    }

    /// Starts the services over their stores, in a world of its own: time and ids come from `env` alone.
    ///
    /// # Errors
    /// As [`Platform::start`].
    pub fn start_in(parts: Parts, env: Arc<dyn Env>) -> Result<Platform, String> {
        let watch = Arc::clone(&env);
        let clock: rpc::Clock = Arc::new(move || watch.now().unix_ms());
        // The key lives as long as the process: contexts never leave it.
        let minter = Arc::new(Minter::generate(Arc::clone(&clock)).map_err(|error| error.to_string())?);
        let verifier = Arc::new(Verifier::new(&[minter.public_key()], Arc::clone(&clock)));
        // Of the catalogue both the audit log and its own follower hear.
        let catalog_bus =
            parts.feeds.as_ref().map(|feeds| InProcess::new("catalog", Arc::clone(&feeds.catalog)));
        let audit = audit(&parts, catalog_bus.as_ref(), Arc::clone(&env));
        let guard = Guard::new(verifier).with_access_log(Arc::new(audit.app().clone()));

        let outbound = outbound::Client::new(&parts.outbound).map_err(|error| error.to_string())?;
        let config = tenant::Config { pepper: parts.pepper, outbound };
        let tenant = tenant::Service::new(parts.tenant, Arc::clone(&env), config);
        let catalog = catalog::Service::new(parts.catalog, Arc::clone(&env));
        let needs = Permissions::parse(catalog::NEEDS).ok_or("the permissions of catalog are malformed")?;
        let system = || System::new(Arc::clone(&minter), "catalog", needs.clone());
        catalog.ask_tenant(rpc::local(Services::new(tenant.server(&guard))), system(), system());
        let follower = catalog.follower(catalog_bus.as_ref());
        let asked = Services::new(tenant.server(&guard))
            .and(tenant.access_server(&guard))
            .and(tenant.identity_server(&guard))
            .and(tenant.account_server(&guard))
            .and(tenant.operator_server(&guard))
            .and(guard.layer(catalog.catalog()))
            .and(guard.layer(catalog.inheritance()))
            .and(guard.layer(catalog.publications()));
        let needs = Permissions::parse(stock::NEEDS).ok_or("the permissions of stock are malformed")?;
        let system = System::new(Arc::clone(&minter), "stock", needs);
        let transport = rpc::local(asked.clone());
        let stock = stock::service(parts.stock, env, transport.clone(), transport, system);
        let asked = asked.and(guard.layer(stock)).and(guard.layer(audit.server()));
        let transport = rpc::local(asked);
        let needs = Permissions::parse(tenant::NEEDS).ok_or("the permissions of tenant are malformed")?;
        let places = tenant.ask_stock(transport.clone(), System::new(Arc::clone(&minter), "tenant", needs));

        let gateway = Gateway::new(gateway::Parts {
            config: parts.gateway,
            transport: transport.clone(),
            minter: Arc::clone(&minter),
            clock,
            access: Some(Arc::new(audit.app().clone())),
            error_pages: &ERROR_PAGES,
            version: env!("CARGO_PKG_VERSION"),
        });
        let gateway = gateway.map_err(|error| error.to_string())?;
        Ok(Platform { tenant, audit, follower, minter, transport, gateway, _places: places })
    }
}

/// The audit service over the journals of all services.
fn audit(parts: &Parts, catalog: Option<&Arc<InProcess>>, env: Arc<dyn Env>) -> audit::Service {
    let feeds = parts.feeds.as_ref();
    let source = |service, store: &SharedStore, feed: Option<&Arc<dyn FeedStore>>, describe| match feed {
        Some(feed) => Source::fed(service, Arc::clone(feed), describe),
        None => Source::swept(service, store.clone(), describe),
    };
    let tenants =
        Describe { resource: tenant::records::describe::resource, action: tenant::records::describe::action };
    let products = Describe { resource: catalog::describe::resource, action: catalog::describe::action };
    let items =
        Describe { resource: stock::records::describe::resource, action: stock::records::describe::action };
    let sources = vec![
        source("tenant", &parts.tenant, feeds.map(|feeds| &feeds.tenant), tenants),
        match catalog {
            Some(bus) => Source::heard("catalog", Arc::clone(&parts.catalog), bus.listener(), products),
            None => Source::swept("catalog", Arc::clone(&parts.catalog), products),
        },
        source("stock", &parts.stock, feeds.map(|feeds| &feeds.stock), items),
    ];
    let feed = feeds.map(|feeds| &feeds.audit);
    let own = source(audit::records::SERVICE, &parts.audit, feed, audit::describe());
    let keys = &parts.audit_keys;
    let memory = Arc::clone(&keys.memory);
    let witness = LocalWitness::new(audit::config::WITNESS, &keys.witness, memory);
    let config = audit::Config { log_seed: keys.log };
    audit::Service::new(own, sources, env, Arc::new(witness), config)
}
