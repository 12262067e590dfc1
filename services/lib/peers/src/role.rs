//! The processes of one role: which there are, and which one gets the next call.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::retry::budget::TpsBudget;

use crate::choose::{Candidate, rendezvous, two_choices};
use crate::connect::Connector;
use crate::dice::Dice;
use crate::endpoint::{Around, Endpoint, Rank};
use crate::settings::Entry;
use crate::{EndpointState, Resolve, RoleCounts, Settings};

/// Processes of one role that are known at the same time; of more, the first by address.
const ENDPOINTS_MAX: usize = 256;
/// How long the resolver may take.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);
/// However many connections are lost, names are not resolved more often than this.
const RESOLVE_GAP: Duration = Duration::from_millis(250);
/// A name that does not resolve is looked up again after this.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// How long a retry counts for the budget.
const BUDGET_LASTS: Duration = Duration::from_secs(10);
/// How long a call to a role without addresses waits for the first answer of the resolver.
const FIRST_ADDRESSES_WITHIN: Duration = Duration::from_secs(5);
/// What is said about so many addresses of a role that does not answer; the others are counted.
const SAID_MAX: usize = 8;
/// However many calls come to nothing, it is said once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// One role.
pub(crate) struct Role {
    pub(crate) name: Arc<str>,
    pub(crate) around: Arc<Around>,
    pub(crate) budget: TpsBudget,
    pub(crate) counts: Counts,
    /// Calls under way, answers that are still read included.
    pub(crate) in_flight: AtomicUsize,
    /// The last call under way has ended.
    pub(crate) idle: Notify,
    dice: Arc<Dice>,
    /// Whether a route decides, and from how many calls on it is load that does.
    hash: Option<usize>,
    entries: Vec<Entry>,
    endpoints: RwLock<Arc<[Arc<Endpoint>]>>,
    /// Whether every name was looked up once, with or without success.
    looked_up: watch::Sender<bool>,
    /// Why names have no addresses, by name.
    unresolved: Mutex<BTreeMap<String, String>>,
    is_called: AtomicBool,
    complained: Mutex<Option<Instant>>,
}

/// What has happened since the process began.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) calls: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) moves: AtomicU64,
    pub(crate) budget_refusals: AtomicU64,
    pub(crate) unreachable: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) too_late: AtomicU64,
}

impl Role {
    pub(crate) fn new(
        name: &str,
        entries: Vec<Entry>,
        settings: &Settings,
        connector: &Arc<Connector>,
        dice: &Arc<Dice>,
    ) -> Self {
        let name = Arc::<str>::from(name);
        let around = Around {
            role: Arc::clone(&name),
            connector: Arc::clone(connector),
            dice: Arc::clone(dice),
            changed: Notify::new(),
            lost: Notify::new(),
        };
        let percent = f32::from(settings.retry_percent);
        // A budget is made once: the one place where a share is no whole number.
        #[allow(clippy::float_arithmetic)]
        let share = percent / 100.0;
        let role = Role {
            around: Arc::new(around),
            budget: TpsBudget::new(BUDGET_LASTS, settings.retries_per_second_min.into(), share),
            counts: Counts::default(),
            in_flight: AtomicUsize::new(0),
            idle: Notify::new(),
            dice: Arc::clone(dice),
            hash: settings.hash.iter().any(|hashed| **hashed == *name).then_some(settings.hash_load_min),
            endpoints: RwLock::new(Arc::from([])),
            looked_up: watch::Sender::new(false),
            unresolved: Mutex::default(),
            is_called: AtomicBool::new(false),
            complained: Mutex::new(None),
            name,
            entries,
        };
        role.know(&BTreeMap::new());
        role
    }

    /// Finds out where the processes are, again and again, until `stop` is cancelled.
    pub(crate) async fn discover(
        self: Arc<Self>,
        resolve: Arc<dyn Resolve>,
        every: Duration,
        stop: CancellationToken,
    ) {
        let mut known = BTreeMap::new();
        let work = async {
            loop {
                // All at the same time: one that takes long holds up no other.
                let named = self.entries.iter().filter_map(|entry| match entry {
                    Entry::Named { host, port } => Some(self.look_up(&*resolve, host, *port, &known)),
                    Entry::Fixed(_) => None,
                });
                let answers = join_all(named).await;
                known.extend(answers.into_iter().flatten());
                self.know(&known);
                self.looked_up.send_replace(true);
                tokio::time::sleep(RESOLVE_GAP.min(every)).await;
                let is_open = !self.unresolved.lock().is_empty();
                let wait = if is_open { RESOLVE_AGAIN.min(every) } else { every };
                // Whether something was lost or it is time: both are a reason to look.
                drop(tokio::time::timeout(wait, self.around.lost.notified()).await);
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// An answer that is empty, or none, changes nothing: a name server that fails, or a moment without ready
    /// processes, must not cut off those that still serve.
    async fn look_up(
        &self,
        resolve: &dyn Resolve,
        host: &str,
        port: u16,
        known: &BTreeMap<String, Vec<SocketAddr>>,
    ) -> Option<(String, Vec<SocketAddr>)> {
        let name = format!("{host}:{port}");
        let why = match tokio::time::timeout(RESOLVE_WITHIN, resolve.resolve(host, port)).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => {
                if self.unresolved.lock().remove(&name).is_some() {
                    tracing::info!("'{name}' of {} resolves again", self.name);
                }
                return Some((name, addresses));
            }
            Ok(Ok(_)) => "it has no address".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", RESOLVE_WITHIN.as_secs()),
        };
        if self.unresolved.lock().insert(name.clone(), why.clone()).is_none() {
            let known = known.get(&name).map_or(0, Vec::len);
            tracing::warn!(
                "'{name}' of {} does not resolve, {known} known addresses stay in use: {why}",
                self.name
            );
        }
        None
    }

    /// Takes over the addresses that are fixed and those that were found.
    fn know(&self, found: &BTreeMap<String, Vec<SocketAddr>>) {
        let mut addresses = BTreeMap::new();
        for entry in &self.entries {
            match entry {
                Entry::Fixed(address) => drop(addresses.insert(*address, address.ip().to_string())),
                Entry::Named { host, port } => {
                    for address in found.get(&format!("{host}:{port}")).into_iter().flatten() {
                        addresses.entry(*address).or_insert_with(|| host.clone());
                    }
                }
            }
        }
        let before = Arc::clone(&self.endpoints.read());
        let known = |address: &SocketAddr| before.iter().find(|endpoint| endpoint.address == *address);
        let now: Arc<[Arc<Endpoint>]> = addresses
            .into_iter()
            .take(ENDPOINTS_MAX)
            .map(|(address, host)| match known(&address) {
                Some(endpoint) => Arc::clone(endpoint),
                None => {
                    tracing::info!("{} is at {address}", self.name);
                    Arc::new(Endpoint::new(address, host))
                }
            })
            .collect();
        *self.endpoints.write() = Arc::clone(&now);
        for gone in before.iter().filter(|old| !now.iter().any(|new| new.address == old.address)) {
            tracing::info!("{} is no longer at {}", self.name, gone.address);
            gone.retire();
        }
        self.around.changed.notify_one();
    }

    /// Keeps a connection to every process, from the first call on, until `stop` is cancelled.
    pub(crate) async fn tend(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            loop {
                let mut again = None;
                if self.is_called.load(Ordering::Acquire) {
                    let endpoints = self.endpoints();
                    again = endpoints.iter().filter_map(|endpoint| endpoint.tend(&self.around)).min();
                }
                match again {
                    None => self.around.changed.notified().await,
                    Some(at) => drop(tokio::time::timeout_at(at, self.around.changed.notified()).await),
                }
            }
        };
        stop.run_until_cancelled(work).await;
        for endpoint in self.endpoints().iter() {
            endpoint.retire();
        }
    }

    pub(crate) fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.endpoints.read())
    }

    /// Notes that the role is called, and waits until it is known where its processes are, unless some are.
    pub(crate) async fn is_known(&self) {
        if !self.is_called.swap(true, Ordering::AcqRel) {
            self.around.changed.notify_one();
        }
        if self.endpoints.read().is_empty() {
            let mut looked_up = self.looked_up.subscribe();
            let known = looked_up.wait_for(|known| *known);
            // Without an answer the call finds nobody, and says so.
            drop(tokio::time::timeout(FIRST_ADDRESSES_WITHIN, known).await);
        }
    }

    /// Whether calls with the same route go to the same process.
    pub(crate) fn is_hashed(&self) -> bool {
        self.hash.is_some()
    }

    /// The process that gets a call with such a route: one that is connected if there is one, none of `tried` unless
    /// there is no other, none of `failed` at all.
    pub(crate) fn choose(
        &self,
        route: Option<&[u8]>,
        tried: &[SocketAddr],
        failed: &[SocketAddr],
    ) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints();
        let choice = |but_not: &[SocketAddr]| {
            let rank = |endpoint: &Arc<Endpoint>| {
                let is_out = failed.contains(&endpoint.address) || but_not.contains(&endpoint.address);
                endpoint.rank().filter(|_| !is_out)
            };
            let ranks: Vec<Option<Rank>> = endpoints.iter().map(rank).collect();
            let best = ranks.iter().copied().flatten().min()?;
            let among: Vec<&Arc<Endpoint>> = endpoints
                .iter()
                .zip(&ranks)
                .filter(|(_, rank)| **rank == Some(best))
                .map(|(e, _)| e)
                .collect();
            let candidates: Vec<Candidate> = among.iter().map(|endpoint| endpoint.candidate()).collect();
            let at = match (self.hash, route) {
                (Some(load_min), Some(route)) => rendezvous(&candidates, route, load_min),
                _ => two_choices(&candidates, self.dice.roll()),
            };
            at.map(|at| Arc::clone(among[at]))
        };
        choice(tried).or_else(|| if tried.is_empty() { None } else { choice(&[]) })
    }

    /// Counts a call and says, not too often, why it came to nothing.
    pub(crate) fn complain(&self, what: &str) {
        let now = Instant::now();
        let mut complained = self.complained.lock();
        if complained.is_some_and(|at| now < at + COMPLAIN_EVERY) {
            return;
        }
        *complained = Some(now);
        drop(complained);
        tracing::warn!(role = %self.name, "{what}");
    }

    /// Why nobody answers, for who runs the cluster.
    pub(crate) fn nobody(&self) -> String {
        let endpoints = self.endpoints();
        let name = &self.name;
        let mut said = match endpoints.len() {
            0 => format!("no process of role {name} is known"),
            _ => format!("no process of role {name} answers at "),
        };
        for (at, endpoint) in endpoints.iter().take(SAID_MAX).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(said, "{comma}{}", endpoint.address);
            if let Some(why) = endpoint.why() {
                let _ = write!(said, " ({why})");
            }
        }
        if endpoints.len() > SAID_MAX {
            let _ = write!(said, " and {} more", endpoints.len() - SAID_MAX);
        }
        for (name, why) in self.unresolved.lock().iter().take(SAID_MAX) {
            let _ = write!(said, "; '{name}' does not resolve: {why}");
        }
        said
    }

    pub(crate) fn counts(&self) -> RoleCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let endpoints = self.endpoints();
        let usable = |endpoint: &&Arc<Endpoint>| matches!(endpoint.rank(), Some(Rank::Up | Rank::Fresh));
        RoleCounts {
            calls: read(&self.counts.calls),
            retries: read(&self.counts.retries),
            moves: read(&self.counts.moves),
            budget_refusals: read(&self.counts.budget_refusals),
            unreachable: read(&self.counts.unreachable),
            lost: read(&self.counts.lost),
            too_late: read(&self.counts.too_late),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            endpoints_known: endpoints.len(),
            endpoints_usable: endpoints.iter().filter(usable).count(),
        }
    }

    pub(crate) fn states(&self) -> Vec<EndpointState> {
        let state = |endpoint: &Arc<Endpoint>| EndpointState {
            address: endpoint.address,
            is_connected: endpoint.rank() == Some(Rank::Up),
            in_flight: endpoint.in_flight.load(Ordering::Relaxed),
            why: endpoint.why().map(|why| why.to_string()),
        };
        self.endpoints().iter().map(state).collect()
    }
}
