//! The way of spans to a collector: a bounded queue and one task, which nothing ever waits for.
//!
//! A collector that is away, slow or silent costs spans and nothing else: what does not fit into the queue is dropped
//! and counted, what cannot be sent in time too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use parking_lot::RwLock;
use prometheus::IntCounter;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::metrics::counter;
use crate::table;

/// Spans that wait, about 1 KiB each.
const QUEUE_MAX: usize = 2_048;
/// Spans that are sent at once.
const BATCH_MAX: usize = 512;
/// How long spans are collected before they are sent.
const COLLECT: Duration = Duration::from_secs(1);
/// How long the collector may take for one batch.
const EXPORT_WITHIN: Duration = Duration::from_secs(5);
/// How long the end of the process waits for what is in the queue.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// Settings of telemetry.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where traces go.
    pub otlp: Otlp,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// URL of a collector that takes OTLP over gRPC, `http://127.0.0.1:4317`; there are no traces when absent.
    pub endpoint: Option<String>,
    /// Share of the requests that begin a trace here and are sampled, 0 to 1. A request that comes with a trace is
    /// sampled if its caller says so. Default 0.01.
    pub sample_ratio: f64,
}

impl Default for Otlp {
    fn default() -> Self {
        Otlp { endpoint: None, sample_ratio: 0.01 }
    }
}

/// Traces cannot be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is none.
    #[error(
        "setting 'telemetry.otlp.endpoint': '{0}' is no URL of a collector: it is 'http://HOST:PORT', without TLS, of an agent that is near"
    )]
    Endpoint(String),
    /// The ratio is none.
    #[error("setting 'telemetry.otlp.sample_ratio': '{0}' is not between 0 and 1")]
    Ratio(f64),
}

struct Queue {
    send: mpsc::Sender<SpanData>,
    cell_key: [u8; 32],
}

static ON: AtomicBool = AtomicBool::new(false);
/// A trace is sampled if half of its last eight bytes, as a number, is below this.
static BELOW: AtomicU64 = AtomicU64::new(0);
static QUEUE: RwLock<Option<Arc<Queue>>> = RwLock::new(None);

pub(crate) struct Counts {
    exported: IntCounter,
    dropped: IntCounter,
    failed: IntCounter,
}

static COUNTS: LazyLock<Counts> = LazyLock::new(|| {
    let count = |outcome| counter(&table::SPANS, &[outcome]);
    Counts { exported: count("exported"), dropped: count("dropped"), failed: count("failed") }
});

/// Makes the series of spans, so that they are there from the start.
pub(crate) fn prepare() {
    LazyLock::force(&COUNTS);
}

/// Whether anybody asks for traces.
#[must_use]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

pub(crate) fn sample_below() -> u64 {
    BELOW.load(Ordering::Relaxed)
}

pub(crate) fn cell_key() -> Option<[u8; 32]> {
    QUEUE.read().as_ref().map(|queue| queue.cell_key)
}

/// Puts a span into the queue, or drops it.
pub(crate) fn put(span: SpanData) {
    let queue = QUEUE.read().clone();
    if queue.is_none_or(|queue| queue.send.try_send(span).is_err()) {
        COUNTS.dropped.inc();
    }
}

/// Traces on their way, until [`Exporting::end`].
pub struct Exporting {
    task: JoinHandle<()>,
}

/// Sends traces from now on, if the settings say where to. `cell_key` is the key of the hashes of tenants.
///
/// # Errors
/// Settings that cannot be. That the collector is away is none.
pub fn start(settings: &Settings, cell_key: [u8; 32]) -> Result<Option<Exporting>, Error> {
    let otlp = &settings.otlp;
    if !(0.0..=1.0).contains(&otlp.sample_ratio) {
        return Err(Error::Ratio(otlp.sample_ratio));
    }
    let Some(endpoint) = &otlp.endpoint else { return Ok(None) };
    let refused = || Error::Endpoint(endpoint.clone());
    let url: http::Uri = endpoint.parse().map_err(|_| refused())?;
    if url.scheme_str() != Some("http") || url.authority().is_none() {
        return Err(refused());
    }
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT_WITHIN);
    let mut exporter = exporter.build().map_err(|_| refused())?;
    let name = KeyValue::new("service.name", "cargo-pilot");
    exporter.set_resource(&Resource::builder_empty().with_attribute(name).build());

    prepare();
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    // 0 to 2^63
    BELOW.store((otlp.sample_ratio * (1u64 << 63) as f64) as u64, Ordering::Relaxed);
    let (send, spans) = mpsc::channel(QUEUE_MAX);
    *QUEUE.write() = Some(Arc::new(Queue { send, cell_key }));
    journal::tally::observe(&crate::trace::Watch);
    events::progress::observe(&crate::trace::Watch);
    ON.store(true, Ordering::Relaxed);
    Ok(Some(Exporting { task: tokio::spawn(export(exporter, spans)) }))
}

impl Exporting {
    /// Sends what is in the queue, as long as that takes less than three seconds, and ends.
    pub async fn end(mut self) {
        ON.store(false, Ordering::Relaxed);
        *QUEUE.write() = None;
        if timeout(FLUSH_WITHIN, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the last spans were not sent: the collector does not answer");
        }
    }
}

async fn export(exporter: SpanExporter, mut spans: mpsc::Receiver<SpanData>) {
    let mut was_away = false;
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        if spans.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return;
        }
        let more =
            async { while batch.len() < BATCH_MAX && spans.recv_many(&mut batch, BATCH_MAX).await > 0 {} };
        let _ = timeout(COLLECT, more).await; // what is there by then is sent
        let count = batch.len() as u64;
        let sent = timeout(EXPORT_WITHIN, exporter.export(std::mem::take(&mut batch))).await;
        let why = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        match why {
            None => COUNTS.exported.inc_by(count),
            Some(_) => COUNTS.failed.inc_by(count),
        }
        match (&why, was_away) {
            (Some(why), false) => {
                tracing::warn!("traces cannot be sent, requests go on without them: {why}");
            }
            (None, true) => tracing::info!("traces are sent again"),
            _ => {}
        }
        was_away = why.is_some();
    }
}
