//! Serves the services of this process to the others.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rpc::Services;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service as _;

use crate::Tls;
use crate::dice::Dice;
use crate::linger::Linger;

/// How long the other side may take to prove who it is.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// A silent connection is asked whether it lives, and closed when it does not say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Headers of one request, in bytes.
const HEADER_BYTES_MAX: u32 = 32 * 1024;
/// What one stream and one connection may send before it is read, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Pause after the system refused a connection, for example because no file descriptor is left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Limits of what is served.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeSettings {
    /// Connections at the same time; further ones wait. Default 1,024.
    pub connections_max: usize,
    /// Calls at the same time on one connection; the other side keeps further ones back. Default 1,000.
    pub streams_max: u32,
    /// A connection is ended after this time, more or less by a tenth, so that others get their share of the calls
    /// after a while and certificates do not stay for ever, in milliseconds. Default 600,000.
    pub connection_age_ms: u64,
    /// How long calls of such a connection may take, in milliseconds. Default 30,000.
    pub connection_grace_ms: u64,
}

impl Default for ServeSettings {
    fn default() -> Self {
        ServeSettings {
            connections_max: 1_024,
            streams_max: 1_000,
            connection_age_ms: 600_000,
            connection_grace_ms: 30_000,
        }
    }
}

/// What all connections have in common.
struct Server {
    services: Services,
    tls: Option<Arc<Tls>>,
    settings: ServeSettings,
    dice: Dice,
    /// Requests that are being answered.
    in_flight: Arc<AtomicUsize>,
    /// No new requests; those that are being answered go on.
    stop: CancellationToken,
    /// The time is over.
    cut: CancellationToken,
}

/// Serves until `stop` is cancelled. Then it takes no new connections, tells those that are open to send nothing more,
/// and answers what has come, for at most `drain`; what is still not answered is cut off. Answers how many that were.
///
/// With `tls`, who calls must have a certificate of the authority.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    tls: Option<Arc<Tls>>,
    settings: ServeSettings,
    stop: CancellationToken,
    drain: Duration,
) -> usize {
    let places = Arc::new(Semaphore::new(settings.connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let server = Arc::new(Server {
        services,
        tls: tls.clone(),
        settings,
        // Without random numbers all connections have the same age; nothing else depends on them.
        dice: Dice::new(getrandom::u64().unwrap_or_default()),
        in_flight: Arc::default(),
        stop: stop.clone(),
        cut: CancellationToken::new(),
    });
    let mut connections = JoinSet::new();
    let take = async {
        loop {
            let (place, stream, peer) = accept(&listener, &places).await;
            let server = Arc::clone(&server);
            connections.spawn(async move { server.connection(stream, peer, place).await });
            // Those that have ended.
            while connections.try_join_next().is_some() {}
        }
    };
    let watch = async {
        match tls {
            Some(tls) => tls.watch(stop.clone()).await,
            None => stop.cancelled().await,
        }
    };
    tokio::select! {
        () = take => {}
        () = watch => {}
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, ended).await.is_ok() {
        return 0;
    }
    let cut_off = server.in_flight.load(Ordering::Relaxed);
    tracing::warn!("the time of the shutdown was over: {cut_off} calls of other processes were cut off");
    server.cut.cancel();
    connections.shutdown().await;
    cut_off
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    // Never closed: there is always a place in the end.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (place, stream, peer),
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

impl Server {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, _place: Option<OwnedSemaphorePermit>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("no TCP_NODELAY: {error}");
        }
        let Some(tls) = &self.tls else { return self.http2(stream, peer).await };
        let handshake = TlsAcceptor::from(tls.server()).accept(stream).into_fallible();
        let handshake = tokio::time::timeout(HANDSHAKE_WITHIN, handshake);
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.http2(stream, peer).await,
            Some(Ok(Err((error, stream)))) => {
                tracing::warn!(%peer, "a connection was refused: TLS: {error}");
                // Whether or not it listens to why, this is the end.
                drop(Linger::new(stream).shutdown().await);
            }
            Some(Err(_)) => tracing::warn!(%peer, "a connection was refused: TLS took too long"),
            None => {}
        }
    }

    async fn http2<S>(&self, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let services = self.services.clone();
        let in_flight = Arc::clone(&self.in_flight);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut services = services.clone();
            let answering = Answering::begin(&in_flight);
            async move {
                let answer = services.call(request.map(Body::new)).await;
                drop(answering);
                answer
            }
        });
        let stream = Linger::new(stream);
        let heard = stream.heard();
        let mut connection = pin!(
            http2::Builder::new(Streams(self.cut.clone()))
                .timer(TokioTimer::new())
                .max_concurrent_streams(self.settings.streams_max)
                // Callers give up all together when their time is over: that is no attack.
                .max_pending_accept_reset_streams(
                    usize::try_from(self.settings.streams_max).unwrap_or(usize::MAX)
                )
                .max_header_list_size(HEADER_BYTES_MAX)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PONG_WITHIN)
                .serve_connection(TokioIo::new(stream), service)
        );
        let old = tokio::time::sleep(age(self.settings.connection_age_ms, self.dice.roll()));
        let ended =
            match select(connection.as_mut(), pin!(select(pin!(self.stop.cancelled()), pin!(old)))).await {
                Either::Left((ended, _)) => ended,
                // Nobody is there who could be told.
                Either::Right(_) if !heard.load(Ordering::Relaxed) => return,
                Either::Right((why, _)) => {
                    connection.as_mut().graceful_shutdown();
                    let grace = match why {
                        // Whoever stops the server says how long.
                        Either::Left(_) => None,
                        Either::Right(_) => Some(Duration::from_millis(self.settings.connection_grace_ms)),
                    };
                    self.last(connection, grace).await
                }
            };
        // Others go away all the time.
        if let Err(error) = ended {
            tracing::debug!(%peer, "a connection ended: {error}");
        }
    }

    /// Waits for the end of a connection that takes nothing more.
    async fn last<C>(&self, connection: C, grace: Option<Duration>) -> Result<(), hyper::Error>
    where
        C: Future<Output = Result<(), hyper::Error>>,
    {
        let ended = self.cut.run_until_cancelled(connection);
        let Some(grace) = grace else { return ended.await.unwrap_or(Ok(())) };
        match tokio::time::timeout(grace, ended).await {
            Ok(ended) => ended.unwrap_or(Ok(())),
            Err(_) => {
                tracing::warn!("a connection was cut off: calls took longer than {} ms", grace.as_millis());
                Ok(())
            }
        }
    }
}

/// A request that is being answered.
struct Answering(Arc<AtomicUsize>);

impl Answering {
    fn begin(in_flight: &Arc<AtomicUsize>) -> Self {
        in_flight.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(in_flight))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Each request has a task of its own, so that those of one connection use all cores, until the time is over.
#[derive(Clone)]
struct Streams(CancellationToken);

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(stream));
    }
}

/// The age of one connection, in the tenth around `age_ms`.
fn age(age_ms: u64, random: u64) -> Duration {
    let tenth = age_ms / 10;
    Duration::from_millis(age_ms - tenth + random % (2 * tenth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_differ_by_a_tenth() {
        let ages: Vec<u64> =
            (0..200).map(|random| u64::try_from(age(1_000, random).as_millis()).unwrap()).collect();
        assert_eq!((ages.iter().min(), ages.iter().max()), (Some(&900), Some(&1_099)));
        assert_eq!(age(600_000, 0), Duration::from_secs(540));
        assert_eq!(age(600_000, 120_000), Duration::from_secs(660));
        assert_eq!(age(0, 7), Duration::ZERO);
    }
}
