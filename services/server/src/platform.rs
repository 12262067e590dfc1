//! All services in one process: [`crate::wiring`] without anything elsewhere.

use std::sync::Arc;

use gateway::Gateway;
use journal::feed::FeedStore;
use journal::{Env, SharedStore, SystemEnv};
use rpc::{Minter, Transport};

pub use crate::wiring::AuditKeys;
use crate::wiring::{AuditHere, ContextKeys, Here, Journals, TenantHere, Wired};

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
    /// The way from tenant to stock: open as long as this is kept.
    pub places: Option<Arc<tenant::Places>>,
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
        let [tenant, catalog, stock, audit] = match parts.feeds {
            Some(feeds) => [Some(feeds.tenant), Some(feeds.catalog), Some(feeds.stock), Some(feeds.audit)],
            None => [const { None }; 4],
        };
        let here = Here {
            tenant: Some(TenantHere {
                journals: Journals { store: parts.tenant, feed: tenant },
                pepper: parts.pepper,
                outbound: parts.outbound,
            }),
            catalog: Some(Journals { store: parts.catalog, feed: catalog }),
            stock: Some(Journals { store: parts.stock, feed: stock }),
            audit: Some(AuditHere {
                journals: Journals { store: parts.audit, feed: audit },
                keys: parts.audit_keys,
            }),
            gateway: Some(parts.gateway),
        };
        Platform::start_here(here, env)
    }

    /// Starts all services.
    pub(crate) fn start_here(here: Here, env: Arc<dyn Env>) -> Result<Platform, String> {
        let wired = Wired::start(here, None, &ContextKeys::default(), env)?;
        let Wired { tenant, audit, follower, minter, transport, gateway, places, .. } = wired;
        let all = tenant.zip(audit).zip(follower).zip(gateway);
        let (((tenant, audit), follower), gateway) = all.ok_or("a service was not started")?;
        Ok(Platform { tenant, audit, follower, minter, transport, gateway, places })
    }
}
