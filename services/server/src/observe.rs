//! What the process tells of itself: the admin port, its health, its metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway::Gateway;
use serde::Deserialize;
use telemetry::export::Exporting;
use telemetry::{Admin, Health, Sheet, Source, State, table};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cli::Failure;

/// The usual name of the setting `telemetry.otlp.endpoint`, which counts when that is absent. Source: OpenTelemetry, "OTLP Exporter
/// Configuration".
const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

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
    traces: Option<Exporting>,
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
        Ok(Observed { health, end, port, traces: None })
    }

    /// Tells of the public door too, where it is, and sends traces if the settings, or `OTEL_EXPORTER_OTLP_ENDPOINT`, say where to.
    ///
    /// # Errors
    /// [`Failure::Usage`] for settings that cannot be.
    pub(crate) fn platform(
        mut self,
        gateway: Option<&Gateway>,
        mut settings: telemetry::export::Settings,
        cell_key: [u8; 32],
    ) -> Result<Observed, Failure> {
        if let Some(gateway) = gateway {
            telemetry::metrics().add(Door(gateway.clone()));
        }
        if settings.otlp.endpoint.is_none() {
            settings.otlp.endpoint =
                std::env::var(OTLP_ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty());
        }
        let exporting = telemetry::export::start(&settings, cell_key);
        self.traces = exporting.map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(self)
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
        if let Some(traces) = self.traces {
            traces.end().await;
        }
        self.end.cancel();
        if let Some((_, port)) = self.port {
            let _ = port.await; // it ends by itself, or has panicked and said so
        }
    }
}

/// The public door, as metrics.
struct Door(Gateway);

impl Source for Door {
    #[allow(clippy::cast_precision_loss)] // numbers of requests at the same time
    #[allow(clippy::float_arithmetic)] // a share, for Prometheus
    fn read(&self, sheet: &mut Sheet) {
        let (serving, waiting) = self.0.serving_and_waiting();
        let (requests_max, serving_max) = self.0.limits();
        let in_flight = self.0.in_flight();
        sheet.number(&table::HTTP_IN_FLIGHT, &[], in_flight as f64);
        sheet.number(&table::HTTP_SERVING, &[], serving as f64);
        sheet.number(&table::HTTP_WAITING, &[], waiting as f64);
        let full = [("in_flight", in_flight, requests_max), ("serving", serving, serving_max)];
        for (name, count, most) in full {
            sheet.number(&table::SCALE_SIGNAL, &["gateway", name], count as f64 / most as f64);
        }
    }
}
