//! The connection to the servers, for publishers and listeners of this process.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions, Event};
use events::ReadJournal;
use journal::relay_store::Sink;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::publisher::PUBLISHES_MAX;
use crate::stream::{self, Names};
use crate::{Auth, Config, Error, Listener, Publisher};

/// How long the server may take for an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);
/// Pauses between two tries to connect.
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// The bus of a cell, as one process uses it.
pub struct NatsBus {
    pub(crate) config: Config,
    client: Client,
    pub(crate) jetstream: Context,
    /// How often a connection was made or lost.
    connections: Arc<watch::Sender<u64>>,
    pub(crate) publishes: Semaphore,
    /// Messages that are sent and not acknowledged.
    pub(crate) publishing: AtomicUsize,
    draining: watch::Sender<bool>,
    /// Nothing new is heard.
    hushed: watch::Sender<bool>,
    listeners: Mutex<Vec<Weak<Listener>>>,
}

/// What was not over at the deadline of a drain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the bus is not drained: {publishes} publishes are not acknowledged, {changes} changes are not handled"
)]
pub struct Undrained {
    /// Publishes whose outcome is unknown: they are published again.
    pub publishes: usize,
    /// Changes that were heard: they are heard again.
    pub changes: usize,
}

impl NatsBus {
    /// Takes up the connection, which goes on for ever: the process serves while the bus is away, and this returns at
    /// once.
    ///
    /// # Errors
    /// [`Error::Setting`] only.
    pub async fn connect(config: Config) -> Result<Arc<NatsBus>, Error> {
        config.check()?;
        let setting = |what: String| Error::Setting(what);
        let connections = Arc::new(watch::Sender::new(0_u64));
        let count = Arc::clone(&connections);
        let complained = AtomicBool::new(false);
        let mut options = ConnectOptions::new()
            .name(format!("cargo-pilot {}", config.cell))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .request_timeout(Some(ANSWER))
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                match event {
                    Event::Connected => {
                        count.send_modify(|count| *count += 1);
                        complained.store(false, Ordering::Release);
                        info!("the bus is connected");
                    }
                    Event::Disconnected => {
                        count.send_modify(|count| *count += 1);
                        warn!("the bus is away: entries wait in their journals");
                    }
                    Event::ServerError(error) => warn!("the bus complains: {error}"),
                    // There is one for each try.
                    Event::ClientError(error) if !complained.swap(true, Ordering::AcqRel) => {
                        warn!("the bus cannot be reached, trying again: {error}");
                    }
                    _ => {}
                }
                async {}
            });
        options = match &config.auth {
            Auth::None => options,
            Auth::Password(user, password) => options.user_and_password(user.clone(), password.clone()),
            Auth::Nkey(seed) => options.nkey(seed.clone()),
            Auth::Credentials(file) => options.credentials_file(file).await.map_err(|error| {
                setting(format!(
                    "the credentials for the bus in '{}' cannot be read: {error}",
                    file.display()
                ))
            })?,
        };
        if let Some(tls) = &config.tls {
            options = options.require_tls(true);
            if let Some(authorities) = &tls.authorities {
                options = options.add_root_certificates(authorities.clone());
            }
            if let Some((certificate, key)) = &tls.client {
                options = options.add_client_certificate(certificate.clone(), key.clone());
            }
            if tls.first {
                options = options.tls_first();
            }
        }
        let client = options.connect(config.servers.clone()).await;
        let client =
            client.map_err(|error| setting(format!("the servers of the bus cannot be used: {error}")))?;
        let jetstream = ContextBuilder::new()
            .timeout(ANSWER)
            .max_ack_inflight(PUBLISHES_MAX)
            .backpressure_on_inflight(true)
            .build(client.clone());
        Ok(Arc::new(NatsBus {
            config,
            client,
            jetstream,
            connections,
            publishes: Semaphore::new(PUBLISHES_MAX),
            publishing: AtomicUsize::new(0),
            draining: watch::Sender::new(false),
            hushed: watch::Sender::new(false),
            listeners: Mutex::default(),
        }))
    }

    /// What relays entries of `service` uses, with its cursors kept under `sink`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that cannot be part of a subject.
    pub fn publisher(self: &Arc<Self>, service: &str, sink: Sink) -> Result<Arc<Publisher>, Error> {
        let names = Names::of(&self.config.cell, service)?;
        Ok(Arc::new(Publisher::new(Arc::clone(self), names, sink)))
    }

    /// What the consumer `consumer` of a service hears from. It reads entries from `journal`, which names the service.
    /// All processes in which a consumer of that name runs share the work.
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that cannot be part of a subject.
    pub fn listen(
        self: &Arc<Self>,
        consumer: &str,
        journal: Arc<dyn ReadJournal>,
    ) -> Result<Arc<Listener>, Error> {
        crate::config::name("consumer", consumer)?;
        let names = Names::of(&self.config.cell, journal.name())?;
        let listener = Arc::new(Listener::new(Arc::clone(self), names, consumer.to_owned(), journal));
        let mut listeners = self.listeners.lock();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Arc::downgrade(&listener));
        Ok(listener)
    }

    /// Looks whether the stream of a service is there, or can be made, for whoever wants to know before it is needed.
    ///
    /// # Errors
    /// [`Error::Shape`] when a person has to look; [`Error::Unavailable`].
    pub async fn check(&self, service: &str) -> Result<(), Error> {
        self.answers()?;
        let names = Names::of(&self.config.cell, service)?;
        stream::ensure(&self.jetstream, &names, &self.config).await.map(|_| ())
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// # Errors
    /// At once when there is no connection: nobody is to wait for one with a request in hand.
    pub(crate) fn answers(&self) -> Result<(), Error> {
        match self.is_connected() {
            true => Ok(()),
            false => Err(Error::Unavailable("there is no connection".into())),
        }
    }

    /// How often a connection was made or lost.
    pub(crate) fn connections(&self) -> u64 {
        *self.connections.borrow()
    }

    /// Ends when a connection was made or lost since there were `count` of that.
    pub(crate) async fn reconnected(&self, count: u64) {
        // It cannot be closed: we hold it.
        let _ = self.connections.subscribe().wait_for(|now| *now != count).await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Whether nothing new is heard.
    pub(crate) fn is_hushed(&self) -> bool {
        *self.hushed.borrow()
    }

    /// Ends when nothing new is heard any more.
    pub(crate) async fn hushed(&self) {
        // It cannot be closed: we hold it.
        let _ = self.hushed.subscribe().wait_for(|hushed| *hushed).await;
    }

    /// The first half of [`NatsBus::drain`]: nothing new is heard, what is under way is finished, the rest is given back.
    /// What consumers write meanwhile is still published. Call it while they run.
    ///
    /// # Errors
    /// [`Undrained`] after `limit`: others hear it again.
    pub async fn hush(&self, limit: Duration) -> Result<(), Undrained> {
        self.hushed.send_replace(true);
        let listeners: Vec<_> = self.listeners.lock().iter().filter_map(Weak::upgrade).collect();
        let work = async {
            for listener in &listeners {
                listener.finish().await;
            }
            // Without a connection there is nobody to tell.
            if self.is_connected() {
                let _ = self.client.flush().await;
            }
        };
        tokio::time::timeout(limit, work).await.map_err(|_| Undrained {
            publishes: 0,
            changes: listeners.iter().map(|listener| listener.under_way()).sum(),
        })
    }

    /// Ends the work of this process on the bus: nothing new is heard or published, what is under way is finished,
    /// and what was not begun is given back so that others hear it at once. Call it while consumers still run; or
    /// [`NatsBus::hush`] while they run, and this after they and the relays have ended.
    ///
    /// # Errors
    /// [`Undrained`] after `limit`. Nothing is lost: what is not finished here is published or heard again.
    pub async fn drain(&self, limit: Duration) -> Result<(), Undrained> {
        self.draining.send_replace(true);
        self.hushed.send_replace(true);
        let listeners: Vec<_> = self.listeners.lock().iter().filter_map(Weak::upgrade).collect();
        let work = async {
            // Whoever gets one afterwards looks whether it may publish. It is never closed.
            let all = u32::try_from(PUBLISHES_MAX).unwrap_or(u32::MAX);
            drop(self.publishes.acquire_many(all).await);
            for listener in &listeners {
                listener.finish().await;
            }
            // Without a connection there is nobody to tell.
            if self.is_connected() {
                let _ = self.client.flush().await;
            }
        };
        match tokio::time::timeout(limit, work).await {
            Ok(()) => Ok(()),
            Err(_) => {
                let publishes = self.publishing.load(Ordering::Acquire);
                let changes = listeners.iter().map(|listener| listener.under_way()).sum();
                Err(Undrained { publishes, changes })
            }
        }
    }
}

fn pause(tries: usize) -> Duration {
    let doubled = u32::try_from(tries.min(16)).unwrap_or(16);
    RECONNECT_MIN.saturating_mul(1 << doubled).min(RECONNECT_MAX)
}
