//! What the process tells of itself: the admin port, its health, its metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Deserialize;
use telemetry::{Admin, Health, State};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cli::Failure;

/// Settings of the admin port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AdminSettings {
    /// Where it listens, `IP:PORT`; there is none when absent. Probes and Prometheus only: it knows no credential.
    listen: Option<SocketAddr>,
}

/// A process that is watched, from its start to its end.
pub(crate) struct Observed {
    health: Arc<Health>,
    /// Ends the admin port, after everything else.
    end: CancellationToken,
    port: Option<(SocketAddr, JoinHandle<()>)>,
}

impl Observed {
    /// Begins to tell. A process is starting until [`Observed::ready`], and draining from the moment that `stop` is
    /// cancelled. `listen` comes before what the settings say.
    ///
    /// # Errors
    /// [`Failure::Machine`] when the port is taken.
    pub(crate) async fn start(
        listen: Option<SocketAddr>,
        settings: &AdminSettings,
        stop: &CancellationToken,
    ) -> Result<Observed, Failure> {
        let health = Health::start();
        telemetry::watch(&health, env!("CARGO_PKG_VERSION"));
        let end = CancellationToken::new();
        let port = match listen.or(settings.listen) {
            None => None,
            Some(address) => {
                let admin = Admin::bind(address).await.map_err(|error| {
                    Failure::Machine(format!(
                        "cannot listen on {address} for the admin port: {error}: stop what listens there, or name \
                         another address with --admin-listen"
                    ))
                })?;
                info!("the admin port is http://{}", admin.address());
                Some((admin.address(), tokio::spawn(admin.serve(Arc::clone(&health), end.clone()))))
            }
        };
        let (drained, stop) = (Arc::clone(&health), stop.clone());
        tokio::spawn(async move {
            stop.cancelled().await;
            drained.set(State::Draining);
        });
        Ok(Observed { health, end, port })
    }

    /// Where the admin port is.
    pub(crate) fn url(&self) -> Option<String> {
        self.port.as_ref().map(|(address, _)| format!("http://{address}"))
    }

    /// The process takes requests.
    pub(crate) fn ready(&self) {
        self.health.set(State::Ready);
    }

    /// Everything else has ended.
    pub(crate) async fn end(self) {
        self.end.cancel();
        if let Some((_, port)) = self.port {
            let _ = port.await; // it ends by itself, or has panicked and said so
        }
    }
}
