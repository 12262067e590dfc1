//! Closes a connection so that what was said last arrives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long, and for how many bytes, the other side is listened to after the last word.
const LINGER_WITHIN: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that are read and thrown away at once.
const CHUNK_BYTES: usize = 8 * 1024;

/// A stream that, when it is shut down, says so and then listens until the other side has closed its end.
///
/// Closed at once, bytes that are still on their way here are answered with a reset, upon which the system of the other
/// side throws away what it has not read yet: answers, and the word which requests were not looked at.
pub(crate) struct Linger<S> {
    stream: S,
    after: Option<After>,
    /// Whether the other side has said anything.
    heard: Arc<AtomicBool>,
}

/// After the last word.
struct After {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<S> Linger<S> {
    pub(crate) fn new(stream: S) -> Self {
        Linger { stream, after: None, heard: Arc::default() }
    }

    /// Tells, as long as it runs, whether the other side has said anything.
    pub(crate) fn heard(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.heard)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linger<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !buf.filled().is_empty() {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.after.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let begin =
            || After { until: Box::pin(tokio::time::sleep(LINGER_WITHIN)), bytes_left: LINGER_BYTES_MAX };
        let after = this.after.get_or_insert_with(begin);
        let mut chunk = [0; CHUNK_BYTES];
        while after.until.as_mut().poll(cx).is_pending() {
            let mut chunk = ReadBuf::new(&mut chunk);
            // An error is an end as well.
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk));
            let count = chunk.filled().len();
            if read.is_err() || count == 0 || count > after.bytes_left {
                break;
            }
            after.bytes_left -= count;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
