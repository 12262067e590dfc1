//! The streams of one HTTP/2 connection, answered in the task of the connection.
//!
//! A task for each stream, as hyper makes them by itself, is woken for each answer and wakes the connection for each
//! answer. Here one task reads what came, answers what is ready, and writes all of it at once. Only calls that work
//! for long have a task of their own, so that they do not hold up the others of their connection.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::Response;
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tonic::body::Body;

use crate::Error;

/// Whether an RPC is one that works on many things: a batch or a list.
pub(crate) fn is_long(path: &str) -> bool {
    let method = path.rsplit('/').next().unwrap_or_default();
    ["Batch", "List"].iter().any(|verb| method.starts_with(verb))
}

/// Answers in a task of its own, which ends when nobody waits for it any more.
pub(crate) async fn in_own_task(
    answer: impl Future<Output = Response<Body>> + Send + 'static,
) -> Response<Body> {
    let mut task = Task(tokio::spawn(answer));
    // It has no panics to tell of: those were caught inside.
    (&mut task.0).await.unwrap_or_else(|_| rpc::status(Error::Internal).into_http())
}

struct Task(JoinHandle<Response<Body>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where a connection puts its streams.
#[derive(Clone, Default)]
pub(crate) struct Inbox(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F> Executor<F> for Inbox
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.lock().push(Box::pin(stream));
    }
}

impl Inbox {
    /// Runs a connection and the streams that it puts here, until both are done.
    pub(crate) async fn run<C: Future>(self, connection: C) -> C::Output {
        let mut connection = pin!(connection);
        let mut streams = FuturesUnordered::new();
        let mut ended = None;
        poll_fn(|cx| {
            loop {
                if ended.is_none()
                    && let Poll::Ready(end) = connection.as_mut().poll(cx)
                {
                    ended = Some(end);
                }
                let new = std::mem::take(&mut *self.0.lock());
                let is_new = !new.is_empty();
                streams.extend(new);
                let finished = finish(&mut streams, cx);
                if streams.is_empty()
                    && let Some(end) = ended.take()
                {
                    return Poll::Ready(end);
                }
                // What the streams wrote leaves with the connection's next turn.
                if !is_new && !finished {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// Polls what was woken; says whether a stream came to its end.
fn finish(streams: &mut FuturesUnordered<BoxFuture<'static, ()>>, cx: &mut Context<'_>) -> bool {
    let mut finished = false;
    while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {
        finished = true;
    }
    finished
}
