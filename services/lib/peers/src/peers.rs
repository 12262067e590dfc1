//! All roles that this process calls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use rpc::{Remote, TransportError};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

use crate::call::{Limits, call};
use crate::connect::Connector;
use crate::dice::Dice;
use crate::error::Failure;
use crate::method;
use crate::role::Role;
use crate::{Error, Resolve, Settings, System, Tls};

/// How long calls under way may take when this process ends.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The other processes of the cluster.
///
/// Work in the background ends when the last handle is dropped, those of [`Peers::remote`] included.
pub struct Peers {
    roles: BTreeMap<String, Arc<Role>>,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    stop: CancellationToken,
}

/// What was counted of a role since the process began, and how it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoleCounts {
    /// Calls, each once however often it was sent.
    pub calls: u64,
    /// Times that a call was sent again after a process may have seen it.
    pub retries: u64,
    /// Times that a call went elsewhere before a process had seen it.
    pub moves: u64,
    /// Times that a call would have been sent again if there had not been so many already.
    pub budget_refusals: u64,
    /// Calls that nobody was there for.
    pub unreachable: u64,
    /// Calls that may have been done or not, because their connection was lost.
    pub lost: u64,
    /// Calls that were not answered in time.
    pub too_late: u64,
    /// Calls under way.
    pub in_flight: usize,
    /// Processes that are known.
    pub endpoints_known: usize,
    /// Of these, those that nothing is known against.
    pub endpoints_usable: usize,
}

/// How one process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether there is a connection to it.
    pub is_connected: bool,
    /// Calls of this process that it has under way.
    pub in_flight: usize,
    /// Why it could not be reached, if that is how it is.
    pub why: Option<String>,
}

impl Peers {
    /// Begins to find the processes that the settings name. Waits for none of them: they may come later.
    ///
    /// # Errors
    /// A setting that cannot be meant, or a certificate that cannot be used.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(settings: &Settings) -> Result<Arc<Peers>, Error> {
        Self::with_resolver(settings, Arc::new(System))
    }

    /// As [`Peers::new`], with names that are looked up in another way.
    ///
    /// # Errors
    /// As [`Peers::new`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn with_resolver(settings: &Settings, resolve: Arc<dyn Resolve>) -> Result<Arc<Peers>, Error> {
        let entries = settings.roles()?;
        let tls = settings.tls.as_ref().map(Tls::load).transpose()?;
        let connector = Arc::new(Connector { tls: tls.clone(), within: settings.connect_within() });
        let dice = Arc::new(Dice::new(getrandom::u64()?));
        let stop = CancellationToken::new();
        let mut roles = BTreeMap::new();
        for (name, entries) in entries {
            let role = Arc::new(Role::new(&name, entries, settings, &connector, &dice));
            let every = settings.resolve_every();
            tokio::spawn(Arc::clone(&role).discover(Arc::clone(&resolve), every, stop.clone()));
            tokio::spawn(Arc::clone(&role).tend(stop.clone()));
            roles.insert(name, role);
        }
        if let Some(tls) = &tls {
            tokio::spawn(Arc::clone(tls).watch(stop.clone()));
        }
        let limits =
            Limits { call_within: settings.call_within(), retry_bytes_max: settings.retry_bytes_max };
        Ok(Arc::new(Peers { roles, tls, limits, stop }))
    }

    /// Reaches the role that the service of each call names: `cargopilot.stock.v1.StockService` is `stock`.
    pub fn remote(self: &Arc<Self>) -> Arc<dyn Remote> {
        Arc::new(Any(Arc::clone(self)))
    }

    /// Reaches always this role, whatever the service: for services that many roles have.
    pub fn role(self: &Arc<Self>, role: &str) -> Arc<dyn Remote> {
        Arc::new(One(Arc::clone(self), role.to_owned()))
    }

    /// The certificates of this process, for [`crate::serve`].
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Reads the certificates again if they have changed. That happens by itself every 10 seconds too.
    pub fn reload(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// What was counted, by role.
    pub fn counts(&self) -> BTreeMap<String, RoleCounts> {
        self.roles.iter().map(|(name, role)| (name.clone(), role.counts())).collect()
    }

    /// The processes of a role, by address; none of a role that the settings do not name.
    pub fn endpoints(&self, role: &str) -> Vec<EndpointState> {
        self.roles.get(role).map(|role| role.states()).unwrap_or_default()
    }

    /// Refuses further calls, waits a while for those under way, and closes all connections.
    pub async fn close(&self) {
        self.stop.cancel();
        let ended = async {
            for role in self.roles.values() {
                let mut idle = std::pin::pin!(role.idle.notified());
                loop {
                    // First listen, then look: one that ends in between is heard.
                    idle.as_mut().enable();
                    if role.in_flight.load(Ordering::Acquire) == 0 {
                        break;
                    }
                    idle.as_mut().await;
                    idle.set(role.idle.notified());
                }
            }
        };
        if tokio::time::timeout(CLOSE_WITHIN, ended).await.is_err() {
            let open: usize = self.roles.values().map(|role| role.in_flight.load(Ordering::Relaxed)).sum();
            tracing::warn!("{open} calls to other processes were still under way at the end");
        }
    }

    fn call(&self, role: Option<&str>, request: Request<Body>) -> Reached {
        let Some(name) = role else {
            tracing::error!("'{}' is a service of no role", request.uri().path());
            return answered(Status::unimplemented("unknown service"));
        };
        match self.roles.get(name) {
            Some(role) if !self.stop.is_cancelled() => {
                call(Arc::clone(role), self.limits, request).map(Ok).boxed()
            }
            Some(_) => answered(rpc::status(Failure::Unreachable { role: name.into() })),
            None => {
                tracing::error!("role '{name}' was called, and cluster.services names no address of it");
                answered(rpc::status(Failure::Unreachable { role: name.into() }))
            }
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

type Reached = BoxFuture<'static, Result<Response<Body>, TransportError>>;

fn answered(status: Status) -> Reached {
    std::future::ready(Ok(status.into_http())).boxed()
}

/// Whichever role a call is for.
struct Any(Arc<Peers>);

impl Remote for Any {
    fn call(&self, request: Request<Body>) -> Reached {
        let path = request.uri().path().to_owned();
        self.0.call(method::role(&path), request)
    }
}

/// One role.
struct One(Arc<Peers>, String);

impl Remote for One {
    fn call(&self, request: Request<Body>) -> Reached {
        self.0.call(Some(&self.1), request)
    }
}
