//! The listener: HTTP/1.1 and HTTP/2 without TLS on one port.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::streams::{Inbox, in_own_task, is_long};

/// Headers of one request, in bytes.
const HEADER_BYTES_MAX: u32 = 32 * 1024;
/// Headers of one request, by number (HTTP/1.1).
const HEADERS_MAX: usize = 100;
/// Read buffer of a connection (HTTP/1.1), in bytes: a request line and headers must fit.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Requests that one HTTP/2 connection may have open; a client keeps further ones back by itself. What is open is
/// read and decoded before others have their turn, and shed when its tenant has too much: measured with two tenants,
/// 1,024 cost the other one twice the latency, and the one that sends them a third of its throughput. 100 is the
/// least that RFC 9113, section 6.5.2, recommends.
const STREAMS_MAX: u32 = 100;
/// What one stream and one connection may send before it is read, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// A silent HTTP/2 connection is asked whether it lives, and closed when it does not say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// How long a process that ends waits for the rest of requests that have begun to come: nothing of them was done.
const BODIES_WITHIN: Duration = Duration::from_secs(3);
/// Pause after the system refused a connection, for example because no file descriptor is left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Serves until `shutdown` is cancelled; then takes no new connections and waits for the requests that are
/// being answered, as long as the settings allow.
pub async fn serve(listener: TcpListener, gateway: Gateway, shutdown: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(gateway.0.config.connections_max));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        prepare(&stream);
        let headers_within = Duration::from_millis(gateway.0.config.headers_ms);
        let gateway = gateway.clone();
        let asked = Arc::new(Notify::new());
        let asks = Arc::clone(&asked);
        let service = service_fn(move |request: http::Request<Incoming>| {
            asks.notify_one();
            let gateway = gateway.clone();
            async move {
                Ok::<_, Infallible>(match is_long(request.uri().path()) {
                    false => gateway.handle(peer.ip(), request).await,
                    true => in_own_task(async move { gateway.handle(peer.ip(), request).await }).await,
                })
            }
        });
        let streams = Inbox::default();
        let connection = builder(streams.clone(), headers_within)
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = streams.run(graceful.watch(connection));
        tokio::spawn(async move {
            tokio::select! {
                // Clients go away all the time.
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, "a connection ended: {error}");
                    }
                }
                () = telemetry::nothing_asked(&asked, headers_within) => {
                    tracing::debug!(%peer, "a connection asked for nothing");
                }
            }
            drop(place);
        });
    }
    drop(listener);
    gateway.set_ready(false);
    let drain = Duration::from_millis(gateway.0.config.drain_ms);
    let closing = gateway.0.closing.clone();
    tokio::spawn(async move {
        tokio::time::sleep(BODIES_WITHIN.min(drain / 2)).await;
        closing.cancel();
    });
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("{} requests were cut off by the shutdown", gateway.in_flight());
    }
}

fn builder(streams: Inbox, headers_within: Duration) -> Builder<Inbox> {
    let mut builder = Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(headers_within)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    builder
}

/// Small answers leave at once.
fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("no TCP_NODELAY: {error}");
    }
}
