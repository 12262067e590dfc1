//! The platform as one process per role: each role has its own wiring and a port, and they reach each other over
//! sockets alone. `CARGO_PILOT_TEST_SHAPE=roles` has all stories told in it, and `shared` over stores that are shared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use journal::member::Member;
use journal::memory::MemoryStore;
use journal::seal::Sizes;
use journal::{Env, SystemEnv};
use peers::Peers;
use server::platform::{Parts, Platform};
use server::wiring::{AuditHere, ContextKeys, Elsewhere, Here, Journals, TenantHere, Wired};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::spy::Spy;

const ROLES: [&str; 5] = ["tenant", "catalog", "stock", "audit", "gateway"];

/// What `CARGO_PILOT_TEST_SHAPE` asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All services in one process, each over a store of its own.
    One,
    /// Each role by itself, over a store of its own.
    Roles,
    /// All services in one process, over stores that are shared with others: commits of one aggregate, groups,
    /// claims and marks as steps of their own.
    Shared,
}

impl Shape {
    fn asked() -> Shape {
        match std::env::var("CARGO_PILOT_TEST_SHAPE").as_deref() {
            Ok("roles") => Shape::Roles,
            Ok("shared") => Shape::Shared,
            Ok(other) => panic!("CARGO_PILOT_TEST_SHAPE is {other}, not 'roles' or 'shared'"),
            Err(_) => Shape::One,
        }
    }
}

/// Whether the roles are to be apart.
pub(crate) fn is_apart() -> bool {
    Shape::asked() == Shape::Roles
}

/// A store in memory.
pub(crate) fn in_memory() -> Arc<Spy> {
    Arc::new(match Shape::asked() {
        Shape::One | Shape::Roles => Spy::new(Arc::new(MemoryStore::default())),
        Shape::Shared => {
            let store = Arc::new(MemoryStore::cluster());
            let member = Member::join(store, Arc::new(SystemEnv), vec![], Sizes::default());
            let running = Arc::clone(&member);
            tokio::spawn(async move { running.run(std::future::pending()).await });
            Spy::on(member)
        }
    })
}

/// Starts every role by itself, and hands out the parts of them that tests look at.
pub(crate) async fn apart(parts: Parts, env: Arc<dyn Env>, stop: &CancellationToken) -> Platform {
    let mut listeners = BTreeMap::new();
    for role in ROLES {
        listeners.insert(role, TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    }
    let address = |role: &&str| listeners[*role].local_addr().expect("an address").to_string();
    let services = ROLES.iter().map(|role| ((*role).to_owned(), vec![address(role)])).collect();
    let settings = peers::Settings { services, ..peers::Settings::default() };

    let feeds = parts.feeds.expect("roles that are apart are heard");
    let journals = |store, feed| Journals { store, feed: Some(feed) };
    let mut tenant = Some(TenantHere {
        journals: journals(parts.tenant, feeds.tenant),
        pepper: parts.pepper,
        outbound: parts.outbound,
    });
    let mut catalog = Some(journals(parts.catalog, feeds.catalog));
    let mut stock = Some(journals(parts.stock, feeds.stock));
    let mut audit = Some(AuditHere { journals: journals(parts.audit, feeds.audit), keys: parts.audit_keys });
    let mut gateway = Some(parts.gateway);

    let mut wired = BTreeMap::new();
    for role in ROLES {
        let here = match role {
            "tenant" => Here { tenant: tenant.take(), ..Here::default() },
            "catalog" => Here { catalog: catalog.take(), ..Here::default() },
            "stock" => Here { stock: stock.take(), ..Here::default() },
            "audit" => Here { audit: audit.take(), ..Here::default() },
            _ => Here { gateway: gateway.take(), ..Here::default() },
        };
        let peers = Peers::new(&settings).expect("peers");
        let leads = Arc::clone(&peers);
        let elsewhere = Elsewhere {
            services: peers.remote(),
            journals: Arc::new(move |role: &str| leads.role(role)),
            bus: None,
            is_shared: false,
        };
        let keys = ContextKeys { seed: Some([6; 32]), believed: vec![] };
        let started = Wired::start(here, Some(elsewhere), &keys, Arc::clone(&env)).expect("a role");
        let (listener, limits) = (listeners.remove(role).expect("a port"), peers::ServeSettings::default());
        let (services, stop) = (started.services.clone(), stop.clone());
        tokio::spawn(async move {
            peers::serve(listener, services, None, limits, stop, Duration::from_millis(100)).await;
            drop(peers);
        });
        wired.insert(role, started);
    }
    let mut take = |role: &str| wired.remove(role).expect("a role");
    let (tenant, catalog, audit, gateway) = (take("tenant"), take("catalog"), take("audit"), take("gateway"));
    Platform {
        tenant: tenant.tenant.expect("the tenant service"),
        audit: audit.audit.expect("the audit service"),
        follower: catalog.follower.expect("the follower"),
        minter: gateway.minter,
        transport: gateway.transport,
        gateway: gateway.gateway.expect("the door"),
        places: tenant.places,
    }
}
