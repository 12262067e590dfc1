//! The platform in one process behind its public door, on a port of its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use audit::witness::ShortMemory;
use calendar::Instant;
use futures::stream::{self, StreamExt as _};
use ids::{BusinessId, TenantId};
use journal::store::{Commit, Outcome, Store as _};
use journal::{Env, SharedStore, SystemEnv};
use journal_embedded::{EmbeddedStore, Options};
use money::Currency;
use serde_json::{Value, json};
use server::platform::{AuditKeys, Feeds, Parts, Platform};
use tempfile::TempDir;
use tenant::BootstrapTenant;
pub(crate) use tenant::domain::Costing;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::door::unique;
use crate::errors;
use crate::rest::{Rest, text};
use crate::shape;
use crate::spy::Spy;

/// Aggregates that are read at once.
const PAGE: usize = 500;

/// The clock of the machine, put forward.
#[derive(Default)]
pub(crate) struct Forward(AtomicI64);

impl Forward {
    pub(crate) fn pass_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Env for Forward {
    fn now(&self) -> Instant {
        SystemEnv.now().plus_seconds(self.0.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        SystemEnv.random(bytes);
    }
}

/// All services, their stores and a listener.
pub(crate) struct World {
    pub(crate) platform: Platform,
    pub(crate) url: String,
    stores: Stores,
    running: Running,
}

/// The store of each service.
#[derive(Clone)]
struct Stores {
    tenant: Arc<Spy>,
    catalog: Arc<Spy>,
    stock: Arc<Spy>,
    audit: Arc<Spy>,
}

struct Running {
    stop: CancellationToken,
    served: JoinHandle<()>,
}

/// The password of all users.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A tenant and how its owner speaks.
pub(crate) struct Tenant {
    pub(crate) slug: String,
    pub(crate) id: TenantId,
    pub(crate) business: BusinessId,
    pub(crate) key: String,
    pub(crate) rest: Rest,
}

impl Tenant {
    /// Makes a user who has chosen a password: its id, and what signs it in.
    pub(crate) async fn new_user(&self, role: &str) -> (String, Value) {
        let email = format!("ada{}@example.com", unique());
        let invited = json!({"email": email, "name": "Ada", "role": role});
        let invited = self.rest.create("/v1/users", &invited).await;
        let accept = json!({"invitationToken": invited["invitationToken"], "password": PASSWORD});
        self.rest.post("/v1/invitations:accept", &accept).send().await.ok(200);
        let sign_in = json!({"tenant": self.slug, "email": email, "password": PASSWORD});
        (text(&invited["user"]["id"]).to_owned(), sign_in)
    }

    /// Makes a user and signs it in: the session and its token.
    pub(crate) async fn new_session(&self, role: &str) -> Value {
        let (_, sign_in) = self.new_user(role).await;
        self.rest.post("/v1/sessions:signIn", &sign_in).send().await.ok(200).json
    }
}

impl World {
    /// Starts over stores in memory.
    pub(crate) async fn new() -> World {
        let spy = shape::in_memory;
        World::over(Stores { tenant: spy(), catalog: spy(), stock: spy(), audit: spy() }).await
    }

    /// Starts over the stores in a folder, made if they are not there.
    pub(crate) async fn on_disk(folder: &Path) -> World {
        let spy = |name: &str| {
            let store = EmbeddedStore::open(folder.join(name), Options::default()).expect("a store");
            Arc::new(Spy::new(Arc::new(store)))
        };
        let (tenant, catalog, stock) = (spy("tenant"), spy("catalog"), spy("stock"));
        World::over(Stores { tenant, catalog, stock, audit: spy("audit") }).await
    }

    /// Starts over stores in memory, by another clock.
    pub(crate) async fn at(env: Arc<dyn Env>) -> World {
        let spy = shape::in_memory;
        World::over_at(Stores { tenant: spy(), catalog: spy(), stock: spy(), audit: spy() }, env).await
    }

    async fn over(stores: Stores) -> World {
        World::over_at(stores, Arc::new(SystemEnv)).await
    }

    async fn over_at(stores: Stores, env: Arc<dyn Env>) -> World {
        errors::watch();
        let parts = Parts {
            tenant: stores.tenant.clone(),
            catalog: stores.catalog.clone(),
            stock: stores.stock.clone(),
            audit: stores.audit.clone(),
            audit_keys: AuditKeys {
                log: [8; 32],
                witness: [9; 32],
                memory: Arc::new(ShortMemory::default()),
            },
            feeds: shape::is_apart().then(|| Feeds {
                tenant: stores.tenant.feed().expect("a feed"),
                catalog: stores.catalog.feed().expect("a feed"),
                stock: stores.stock.feed().expect("a feed"),
                audit: stores.audit.feed().expect("a feed"),
            }),
            pepper: [7; 32],
            // An issuer of the tests is on this machine.
            outbound: outbound::Settings { allow: vec!["127.0.0.1".to_owned()] },
            gateway: gateway::Config::default(),
        };
        let stop = CancellationToken::new();
        let platform = match shape::is_apart() {
            true => shape::apart(parts, env, &stop).await,
            false => Platform::start_in(parts, env).expect("a platform"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        platform.gateway.set_ready(true);
        let served = tokio::spawn(gateway::serve(listener, platform.gateway.clone(), stop.clone()));
        World { platform, url: format!("http://{address}"), stores, running: Running { stop, served } }
    }

    /// Stops, and starts anew over copies of the stores: that of the catalogue has only the commits that are kept.
    #[allow(dead_code, reason = "the isolation tests lose nothing")]
    pub(crate) async fn with_catalog(mut self, keep: impl Fn(&Commit) -> bool) -> World {
        let catalog = shape::in_memory();
        for commit in self.stores.catalog.commits().into_iter().filter(keep) {
            assert_eq!(catalog.commit(vec![commit]).await, Outcome::Applied);
        }
        self.stores.catalog = catalog;
        self.again(Arc::new(SystemEnv)).await
    }

    /// Stops, and starts anew over the same stores.
    #[allow(dead_code, reason = "the isolation tests do not")]
    pub(crate) async fn again(self, env: Arc<dyn Env>) -> World {
        self.running.stop.cancel();
        self.running.served.abort();
        World::over_at(self.stores, env).await
    }

    /// Makes a tenant that values by moving average, in euros and cents.
    pub(crate) async fn tenant(&self, slug: &str) -> Tenant {
        self.tenant_with(slug, Costing::MovingAverage).await
    }

    pub(crate) async fn tenant_with(&self, slug: &str, costing: Costing) -> Tenant {
        let slug = slug.to_owned();
        let new = BootstrapTenant {
            slug: slug.clone(),
            name: format!("{slug} group"),
            legal_name: format!("{slug} GmbH"),
            country: "DE".to_owned(),
            currency: Currency::parse("EUR").expect("a currency"),
            cost_scale: 2,
            costing,
        };
        let made = self.platform.tenant.app().bootstrap(new).await.expect("a tenant");
        let key = made.credential.expect("a new tenant has a key").reveal();
        let rest = self.rest(&key);
        Tenant { slug, id: made.tenant, business: made.business, key, rest }
    }

    /// A client with this API key.
    pub(crate) fn rest(&self, key: &str) -> Rest {
        Rest::new(&self.url, Some(key))
    }

    /// Makes leaves of the audit log of everything that was written so far.
    pub(crate) async fn audit(&self) {
        self.platform.audit.consumers().catch_up().await.expect("all journals can be read");
    }

    /// Tells businesses everything that changed above them so far.
    pub(crate) async fn follow(&self) {
        self.platform.follower.catch_up().await.expect("the catalogue can be read");
    }

    /// How much was written, to all stores but the audit log's, which follows them.
    pub(crate) fn commit_count(&self) -> usize {
        self.stores.of_the_business().map(|(_, store)| store.commit_count()).sum()
    }

    /// The stores by service, but for the audit log's.
    pub(crate) fn stores(&self) -> impl Iterator<Item = (&'static str, &Spy)> {
        self.stores.of_the_business().map(|(name, store)| (name, &**store))
    }

    /// The store of the audit log.
    #[allow(dead_code, reason = "the isolation tests look into it")]
    pub(crate) fn audit_store(&self) -> &Spy {
        &self.stores.audit
    }

    /// Whose rows were read since this was asked last.
    pub(crate) fn take_read(&self) -> BTreeSet<TenantId> {
        self.stores.of_the_business().flat_map(|(_, store)| store.take_read()).collect()
    }

    /// Ends a test: every hash chain, balance and value must follow from the entries, and nothing may
    /// have gone wrong inside.
    pub(crate) async fn close(self) {
        for (service, spy) in self.stores.all() {
            let store: SharedStore = spy.clone();
            let mut after = None;
            loop {
                let page = store.aggregates(after, PAGE).await.expect("aggregates");
                let Some((tenant, aggregate, _)) = page.last() else { break };
                after = Some((*tenant, *aggregate));
                let found = page.into_iter().map(|(tenant, aggregate, head)| {
                    let store = store.clone();
                    async move {
                        let finding = match service {
                            "tenant" => tenant::verify_aggregate(&store, tenant, aggregate, &head).await,
                            "catalog" => catalog::verify_aggregate(&store, tenant, aggregate, &head).await,
                            "audit" => audit::verify_aggregate(&store, tenant, aggregate, &head).await,
                            _ => stock::verify_aggregate(&store, tenant, aggregate, &head).await,
                        };
                        let faults = finding.expect("a finding").faults;
                        assert!(faults.is_empty(), "{service} {aggregate} of {tenant}: {faults:?}");
                    }
                });
                stream::iter(found).for_each(|check| check).await;
            }
        }
        self.running.stop.cancel();
        // A client may keep its connection open.
        self.running.served.abort();
        errors::none();
    }
}

impl Stores {
    fn all(&self) -> impl Iterator<Item = (&'static str, &Arc<Spy>)> {
        self.of_the_business().chain([("audit", &self.audit)])
    }

    fn of_the_business(&self) -> impl Iterator<Item = (&'static str, &Arc<Spy>)> {
        [("tenant", &self.tenant), ("catalog", &self.catalog), ("stock", &self.stock)].into_iter()
    }
}

/// An instant that was so many days ago, in whole seconds.
pub(crate) fn days_ago(days: i64) -> String {
    let (seconds, _) = SystemEnv.now().plus_seconds(-days * 86_400).seconds_nanos();
    calendar::Instant::from_seconds_nanos(seconds, 0).expect("an instant of our time").to_string()
}

/// A folder that goes away with the test.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}
