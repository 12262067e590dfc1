//! Makes one HTTP/2 connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tonic::body::Body;

use crate::Tls;

/// A silent connection is asked whether it lives, and closed when it does not say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// What one stream and one connection may send before it is read, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Headers of one answer, in bytes.
const HEADER_BYTES_MAX: u32 = 32 * 1024;

/// Sends requests over a connection. Cloning is cheap.
pub(crate) type Sender = http2::SendRequest<Body>;

/// What all connections have in common.
pub(crate) struct Connector {
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) within: Duration,
}

/// A connection over which the other side has said something.
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    /// Ready when it takes no more requests; those under way may still be answered.
    pub(crate) closed: BoxFuture<'static, ()>,
}

impl Connector {
    /// Connects to `address`, whose certificate must be for `host`.
    ///
    /// # Errors
    /// Why there is no connection, in words.
    pub(crate) async fn connect(&self, address: SocketAddr, host: &str) -> Result<Connection, String> {
        match tokio::time::timeout(self.within, self.try_connect(address, host)).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("no connection within {} ms", self.within.as_millis())),
        }
    }

    async fn try_connect(&self, address: SocketAddr, host: &str) -> Result<Connection, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else { return greet(stream).await };
        let connector = TlsConnector::from(tls.client());
        let stream = connector.connect(tls.name(host)?, stream).await;
        greet(stream.map_err(|error| format!("TLS: {error}"))?).await
    }
}

/// Begins HTTP/2 and waits until the other side has said something.
///
/// That the system of the other side took the connection proves nothing: its process may hang. And with TLS 1.3 this
/// side is done before the other has looked at the certificate: a refusal would meet the first request, about which
/// nobody would know whether it was seen.
async fn greet<S>(stream: S) -> Result<Connection, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (said, first) = oneshot::channel();
    let first_bytes = First { head: [0; HEAD_BYTES], filled: 0, said: Some(said) };
    let stream = TokioIo::new(Greeted { stream, first: first_bytes });
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
        .handshake(stream)
        .await
        .map_err(|error| format!("HTTP/2: {error}"))?;
    let closed = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("a connection ended: {error}");
        }
    });
    match first.await {
        Ok(Ok(())) => Ok(Connection { sender, closed: closed.map(drop).boxed() }),
        Ok(Err(why)) => Err(why),
        Err(_) => Err("the connection ended before it began".to_owned()),
    }
}

/// The head of a frame, in bytes. Source: RFC 9113, section 4.1.
const HEAD_BYTES: usize = 9;
/// The type of the frame that each side begins with. Source: RFC 9113, sections 3.4 and 6.5.
const SETTINGS: u8 = 4;
/// What a TLS alert begins with, sent to somebody who does not speak TLS. Source: RFC 8446, section 5.1.
const TLS_ALERT: [u8; 2] = [21, 3];

/// A stream that tells when the other side has begun HTTP/2, or that it will not.
struct Greeted<S> {
    stream: S,
    first: First,
}

/// The first bytes that come, until it is clear what they are.
struct First {
    head: [u8; HEAD_BYTES],
    filled: usize,
    said: Option<oneshot::Sender<Result<(), String>>>,
}

impl First {
    fn saw(&mut self, read: &io::Result<()>, new: &[u8]) {
        if self.said.is_none() {
            return;
        }
        match read {
            Err(error) => self.say(Err(error.to_string())),
            Ok(()) if new.is_empty() => self.say(Err("the connection was closed at once".to_owned())),
            Ok(()) => {
                let count = new.len().min(HEAD_BYTES - self.filled);
                self.head[self.filled..self.filled + count].copy_from_slice(&new[..count]);
                self.filled += count;
                if self.head[..self.filled].starts_with(&TLS_ALERT) {
                    self.say(Err("it wants TLS".to_owned()));
                } else if self.filled == HEAD_BYTES {
                    let begins = self.head[3] == SETTINGS && self.head[5..] == [0; 4];
                    let other = || "it does not speak HTTP/2".to_owned();
                    self.say(if begins { Ok(()) } else { Err(other()) });
                }
            }
        }
    }

    fn wrote<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &written {
            self.say(Err(error.to_string()));
        }
        written
    }

    fn say(&mut self, first: Result<(), String>) {
        if let Some(said) = self.said.take() {
            // Nobody waits any more when it took too long.
            let _ = said.send(first);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.first.saw(&read, &buf.filled()[before..]);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.first.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.first.wrote(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.first.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
