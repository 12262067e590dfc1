//! The services of a process and how they reach each other: through their clients, in this process or over the
//! network.
//!
//! All in one process ([`crate::platform`]) or some of them ([`crate::roles`]): the wiring is the same.

use std::sync::Arc;

use audit::witness::{LocalWitness, Memory};
use audit::{Describe, Source};
use events::{InProcess, ReadJournal, StoreJournal, Sweep};
use events_nats::{FeedRelay, Listener, NatsBus};
use gateway::Gateway;
use journal::feed::FeedStore;
use journal::{Env, SharedStore};
use journal_rpc::RemoteJournal;
use rpc::{
    AccessLog, Guard, Minter, Permissions, Remote, RemoteAccessLog, Services, System, Transport, Verifier,
};
use tower::Layer as _;

/// The pages that explain errors: the tables of the services' `errors.md`.
const ERROR_PAGES: [&str; 5] = [
    include_str!("../../gateway/errors.md"),
    include_str!("../../tenant/errors.md"),
    include_str!("../../catalog/errors.md"),
    include_str!("../../stock/errors.md"),
    include_str!("../../audit/errors.md"),
];

/// The journals of a service of this process.
#[derive(Clone)]
pub struct Journals {
    /// Where they are.
    pub store: SharedStore,
    /// The same store, if it tells what changed; without, whoever follows looks at all heads again and again.
    pub feed: Option<Arc<dyn FeedStore>>,
}

/// The tenant service.
pub struct TenantHere {
    /// Its journals.
    pub journals: Journals,
    /// Key of the hashes of API keys.
    pub pepper: [u8; 32],
    /// What may be called outside.
    pub outbound: outbound::Settings,
}

/// The audit service.
pub struct AuditHere {
    /// Its journals.
    pub journals: Journals,
    /// Keys and memory of the audit log.
    pub keys: AuditKeys,
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

/// What this process does.
#[derive(Default)]
pub struct Here {
    /// The tenant service.
    pub tenant: Option<TenantHere>,
    /// The catalog service.
    pub catalog: Option<Journals>,
    /// The stock service.
    pub stock: Option<Journals>,
    /// The audit service.
    pub audit: Option<AuditHere>,
    /// Settings of the public door.
    pub gateway: Option<gateway::Config>,
}

/// Finds the processes of a service by its name.
pub type Leads = dyn Fn(&str) -> Arc<dyn Remote> + Send + Sync;

/// What other processes do.
#[derive(Clone)]
pub struct Elsewhere {
    /// Finds the service that a call names.
    pub services: Arc<dyn Remote>,
    /// Leads to the processes of one service: to read its journals.
    pub journals: Arc<Leads>,
    /// What tells of entries. Without it each service tells by itself, or is looked at again and again.
    pub bus: Option<Arc<NatsBus>>,
    /// Whether several processes share the store of a service: none of them knows then what all of them wrote.
    pub is_shared: bool,
}

/// What signs contexts in this process, and whose signatures it believes.
#[derive(Default)]
pub struct ContextKeys {
    /// Seed of the key that signs; drawn at random when absent, since contexts do not leave the process then.
    pub seed: Option<[u8; 32]>,
    /// Seeds of further keys that are believed: before and after all processes have a new one.
    pub believed: Vec<[u8; 32]>,
}

/// What runs in this process.
pub struct Wired {
    /// The tenant service.
    pub tenant: Option<tenant::Service>,
    /// The audit service, whose consumers are to be started.
    pub audit: Option<audit::Service>,
    /// What tells businesses of changes above them, to be started.
    pub follower: Option<catalog::Follower>,
    /// The public door.
    pub gateway: Option<Gateway>,
    /// Signs contexts.
    pub minter: Arc<Minter>,
    /// All services, here and elsewhere.
    pub transport: Transport,
    /// The services of this process behind their guards, for calls from others.
    pub services: Services,
    /// The way from tenant to stock: open as long as this is kept.
    pub places: Option<Arc<tenant::Places>>,
    /// What tells the bus of entries in stores that this process owns, to be run.
    pub relays: Vec<FeedRelay>,
}

/// Under which number the bus is known to relays.
pub const BUS_SINK: u8 = 1;
/// How consumers are known to the bus.
const AUDIT_CONSUMER: &str = "audit";
const INHERITANCE_CONSUMER: &str = "inheritance";

/// What every service of a process needs.
struct Common {
    env: Arc<dyn Env>,
    clock: rpc::Clock,
    minter: Arc<Minter>,
    elsewhere: Option<Elsewhere>,
}

impl Common {
    fn system(&self, job: &str, needs: &[&str]) -> Result<System, String> {
        let permissions = Permissions::parse(needs);
        let permissions = permissions.ok_or_else(|| format!("the permissions of {job} are malformed"))?;
        Ok(System::new(Arc::clone(&self.minter), job, permissions))
    }

    fn bus(&self) -> Option<&Arc<NatsBus>> {
        self.elsewhere.as_ref()?.bus.as_ref()
    }

    /// Hears of the journals of another process, or of a store that others write to as well, on the bus.
    fn listen(&self, consumer: &str, journal: Arc<dyn ReadJournal>) -> Result<Option<Arc<Listener>>, String> {
        let listen = |bus: &Arc<NatsBus>| bus.listen(consumer, journal).map_err(|error| error.to_string());
        self.bus().map(listen).transpose()
    }

    /// Reaches the services of this process so far, and all others.
    fn transport(&self, here: &Services) -> Transport {
        match &self.elsewhere {
            Some(elsewhere) => rpc::local_or_remote(here.clone(), Arc::clone(&elsewhere.services)),
            None => rpc::local(here.clone()),
        }
    }
}

/// How the journals of a service are followed.
enum Followed {
    /// By what listens to this bus.
    Bus(Arc<InProcess>),
    /// By looking at all heads of the store.
    Swept(SharedStore),
    /// In another process.
    Elsewhere,
}

impl Followed {
    fn of(service: &str, journals: Option<&Journals>) -> Followed {
        match journals {
            Some(Journals { feed: Some(feed), .. }) => {
                Followed::Bus(InProcess::new(service, Arc::clone(feed)))
            }
            Some(Journals { store, .. }) => Followed::Swept(Arc::clone(store)),
            None => Followed::Elsewhere,
        }
    }

    /// The journals for the audit log of this process.
    fn source(&self, service: &'static str, describe: Describe, common: &Common) -> Result<Source, String> {
        Ok(match self {
            Followed::Bus(bus) => Source::heard(service, bus.listener(), describe),
            Followed::Swept(store) => {
                let journal = StoreJournal::new(service, Arc::clone(store));
                match common.listen(AUDIT_CONSUMER, journal)? {
                    Some(listener) => Source::heard(service, listener, describe),
                    None => Source::swept(service, Arc::clone(store), describe),
                }
            }
            Followed::Elsewhere => {
                let elsewhere = common.elsewhere.as_ref();
                let elsewhere =
                    elsewhere.ok_or_else(|| format!("nothing says where the journals of {service} are"))?;
                let transport = rpc::remote((elsewhere.journals)(service));
                let system = common.system(audit::records::SERVICE, &journal_rpc::NEEDS)?;
                let remote = RemoteJournal::new(service, transport, audit::records::SERVICE, system);
                match common.listen(AUDIT_CONSUMER, Arc::clone(&remote) as Arc<dyn ReadJournal>)? {
                    Some(listener) => Source::heard(service, listener, describe),
                    None if elsewhere.is_shared => Source::heard(service, Sweep::over(remote), describe),
                    None => Source::heard(service, remote, describe),
                }
            }
        })
    }

    /// The journals for a consumer of the same service; `None` if nobody tells what changed.
    fn own(
        &self,
        service: &str,
        consumer: &str,
        common: &Common,
    ) -> Result<Option<Arc<dyn events::Source>>, String> {
        match self {
            Followed::Bus(bus) => Ok(Some(bus.listener())),
            Followed::Swept(store) => {
                let heard = common.listen(consumer, StoreJournal::new(service, Arc::clone(store)))?;
                Ok(heard.map(|listener| listener as Arc<dyn events::Source>))
            }
            Followed::Elsewhere => Ok(None),
        }
    }

    /// The journals for an audit log elsewhere: to be read, and to be heard unless they are heard (`is_heard`) in
    /// another way.
    fn handed_out(&self, service: &str, is_heard: bool) -> Option<Arc<dyn events::Source>> {
        match self {
            // Nobody says what of a feed was handled who does not listen to it.
            Followed::Bus(bus) if is_heard => Some(Sweep::over(bus.listened())),
            Followed::Bus(bus) => Some(bus.listener()),
            Followed::Swept(store) => Some(Sweep::new(service, Arc::clone(store))),
            Followed::Elsewhere => None,
        }
    }

    /// What tells the bus of entries in a store that this process owns; on a shared one the relay of its owner does.
    fn relay(&self, service: &str, common: &Common) -> Result<Option<FeedRelay>, String> {
        let (Followed::Bus(feed), Some(bus)) = (self, common.bus()) else { return Ok(None) };
        let publisher = bus.publisher(service, BUS_SINK).map_err(|error| error.to_string())?;
        Ok(Some(FeedRelay::new(feed.listener(), publisher)))
    }
}

impl Wired {
    /// Starts what is `here`, in a world of its own: time and ids come from `env` alone.
    ///
    /// # Errors
    /// A text for people: no randomness, a contract that cannot be served, or a service that is neither here nor
    /// elsewhere.
    pub fn start(
        here: Here,
        elsewhere: Option<Elsewhere>,
        keys: &ContextKeys,
        env: Arc<dyn Env>,
    ) -> Result<Wired, String> {
        let watch = Arc::clone(&env);
        let clock: rpc::Clock = Arc::new(move || watch.now().unix_ms());
        let minter = match &keys.seed {
            Some(seed) => Minter::from_seed(seed, Arc::clone(&clock)),
            None => Minter::generate(Arc::clone(&clock)).map_err(|error| error.to_string())?,
        };
        let public = |seed| Minter::from_seed(seed, Arc::clone(&clock)).public_key();
        let believed: Vec<_> = keys.believed.iter().map(public).chain([minter.public_key()]).collect();
        let verifier = Arc::new(Verifier::new(&believed, Arc::clone(&clock)));
        let common = Common { env, clock, minter: Arc::new(minter), elsewhere };

        let journals = |service: &Option<Journals>, name| Followed::of(name, service.as_ref());
        let tenant = here.tenant.as_ref().map(|tenant| tenant.journals.clone());
        let followed = [
            ("tenant", journals(&tenant, "tenant")),
            // Of the catalogue both the audit log and its own follower hear.
            ("catalog", journals(&here.catalog, "catalog")),
            ("stock", journals(&here.stock, "stock")),
        ];
        let audit = here.audit.map(|audit| start_audit(audit, &followed, &common)).transpose()?;
        let access: Arc<dyn AccessLog> = match &audit {
            Some(audit) => Arc::new(audit.app().clone()),
            None => {
                let system = common.system("guard", &RemoteAccessLog::NEEDS)?;
                Arc::new(RemoteAccessLog::new(common.transport(&Services::default()), system))
            }
        };
        let guard = Guard::new(verifier).with_access_log(Arc::clone(&access));

        let mut services = Services::default();
        let mut tenant = None;
        if let Some(here) = here.tenant {
            let outbound = outbound::Client::new(&here.outbound).map_err(|error| error.to_string())?;
            let config = tenant::Config { pepper: here.pepper, outbound };
            let service = tenant::Service::new(here.journals.store, Arc::clone(&common.env), config);
            services = services
                .and(service.server(&guard))
                .and(service.access_server(&guard))
                .and(service.identity_server(&guard))
                .and(service.account_server(&guard))
                .and(service.operator_server(&guard));
            tenant = Some(service);
        }
        let mut follower = None;
        if let Some(journals) = here.catalog {
            let catalog = catalog::Service::new(journals.store, Arc::clone(&common.env));
            let system = || common.system("catalog", &catalog::NEEDS);
            catalog.ask_tenant(common.transport(&services), system()?, system()?);
            let [_, (_, followed), _] = &followed;
            let heard = followed.own("catalog", INHERITANCE_CONSUMER, &common)?;
            follower = Some(catalog.follower(heard));
            services = services
                .and(guard.layer(catalog.catalog()))
                .and(guard.layer(catalog.inheritance()))
                .and(guard.layer(catalog.publications()));
        }
        if let Some(journals) = here.stock {
            let system = common.system("stock", &stock::NEEDS)?;
            let asked = common.transport(&services);
            let env = Arc::clone(&common.env);
            services =
                services.and(guard.layer(stock::service(journals.store, env, asked.clone(), asked, system)));
        }
        if let Some(audit) = &audit {
            services = services.and(guard.layer(audit.server())).and(guard.layer(audit.access_log_server()));
        }
        if common.elsewhere.is_some() {
            let is_heard = audit.is_some() || common.bus().is_some();
            let handed = |(service, followed): &(&str, Followed)| followed.handed_out(service, is_heard);
            let journals = journal_rpc::Journals::server(followed.iter().filter_map(handed).collect());
            services = services.and(guard.layer(journals));
        }
        let transport = common.transport(&services);
        let places = match &tenant {
            Some(tenant) => {
                Some(tenant.ask_stock(transport.clone(), common.system("tenant", &tenant::NEEDS)?))
            }
            None => None,
        };
        let gateway = here.gateway.map(|config| {
            Gateway::new(gateway::Parts {
                config,
                transport: transport.clone(),
                minter: Arc::clone(&common.minter),
                clock: Arc::clone(&common.clock),
                access: Some(access),
                error_pages: &ERROR_PAGES,
                version: env!("CARGO_PKG_VERSION"),
            })
        });
        let gateway = gateway.transpose().map_err(|error| error.to_string())?;
        let mut relays = Vec::new();
        for (service, followed) in &followed {
            relays.extend(followed.relay(service, &common)?);
        }
        let minter = common.minter;
        Ok(Wired { tenant, audit, follower, gateway, minter, transport, services, places, relays })
    }
}

/// The audit service over the journals of all services.
fn start_audit(
    here: AuditHere,
    followed: &[(&'static str, Followed); 3],
    common: &Common,
) -> Result<audit::Service, String> {
    let tenants =
        Describe { resource: tenant::records::describe::resource, action: tenant::records::describe::action };
    let products = Describe { resource: catalog::describe::resource, action: catalog::describe::action };
    let items =
        Describe { resource: stock::records::describe::resource, action: stock::records::describe::action };
    let sources = followed.iter().zip([tenants, products, items]);
    let sources = sources.map(|((service, followed), describe)| followed.source(service, describe, common));
    let own = Followed::of(audit::records::SERVICE, Some(&here.journals));
    let own = own.source(audit::records::SERVICE, audit::describe(), common)?;
    let AuditKeys { log, witness, memory } = here.keys;
    let witness = LocalWitness::new(audit::config::WITNESS, &witness, memory);
    let config = audit::Config { log_seed: log };
    let (store, env) = (here.journals.store, Arc::clone(&common.env));
    Ok(audit::Service::new(store, own, sources.collect::<Result<_, _>>()?, env, Arc::new(witness), config))
}
