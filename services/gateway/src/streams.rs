//! The streams of one HTTP/2 connection, answered in the task of the connection.
//!
//! A task for each stream, as hyper makes them by itself, is woken for each answer and wakes the connection for each
//! answer. Here one task reads what came, answers what is ready, and writes all of it at once. Only calls that work
//! for long have a task of their own, so that they do not hold up the others of their connection. And a connection
//! with a thousand calls has turns like one with a single call: after [`POLLS_PER_TURN`] it is the others' turn.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// How many streams of a connection are polled before the other connections have their turn: a poll takes some tens
/// of microseconds, so that a turn is about a millisecond.
const POLLS_PER_TURN: usize = 32;

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
pub(crate) struct Inbox(Arc<Shared>);

#[derive(Default)]
struct Shared {
    new: Mutex<Vec<Stream>>,
    /// Polls that are left of this turn. Only the task of the connection looks at it.
    left: AtomicUsize,
}

/// A stream that waits when its connection has had its turn.
struct Stream {
    answer: BoxFuture<'static, ()>,
    shared: Arc<Shared>,
}

impl Future for Stream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.shared.left.load(Ordering::Relaxed) {
            0 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            left => {
                self.shared.left.store(left - 1, Ordering::Relaxed);
                self.answer.as_mut().poll(cx)
            }
        }
    }
}

impl<F> Executor<F> for Inbox
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stream = Stream { answer: Box::pin(stream), shared: Arc::clone(&self.0) };
        self.0.new.lock().push(stream);
    }
}

impl Inbox {
    /// Runs a connection and the streams that it puts here, until both are done.
    pub(crate) async fn run<C: Future>(self, connection: C) -> C::Output {
        let mut connection = pin!(Some(connection));
        let mut streams = FuturesUnordered::new();
        let mut ended = None;
        poll_fn(|cx| {
            self.0.left.store(POLLS_PER_TURN, Ordering::Relaxed);
            loop {
                if let Some(running) = connection.as_mut().as_pin_mut()
                    && let Poll::Ready(end) = running.poll(cx)
                {
                    ended = Some(end);
                    // Streams that still wait for it learn that nothing comes any more.
                    connection.set(None);
                }
                let new = std::mem::take(&mut *self.0.new.lock());
                let is_new = !new.is_empty();
                streams.extend(new);
                let finished = finish(&mut streams, cx);
                if streams.is_empty()
                    && let Some(end) = ended.take()
                {
                    return Poll::Ready(end);
                }
                if self.0.left.load(Ordering::Relaxed) == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
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
fn finish(streams: &mut FuturesUnordered<Stream>, cx: &mut Context<'_>) -> bool {
    let mut finished = false;
    while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {
        finished = true;
    }
    finished
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    /// A connection that is over at once, and that a stream waits for until it is gone.
    struct Over {
        _held: oneshot::Sender<()>,
        stream: Option<(Inbox, oneshot::Receiver<()>)>,
    }

    impl Future for Over {
        type Output = &'static str;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<&'static str> {
            let (inbox, gone) = self.stream.take().expect("polled once");
            inbox.execute(async move { drop(gone.await) });
            Poll::Ready("over")
        }
    }

    /// Seen as requests whose bodies never came although their connection was over: each held the end of the process
    /// until its deadline.
    #[tokio::test]
    async fn a_stream_that_waits_for_a_connection_that_is_over_ends() {
        let inbox = Inbox::default();
        let (held, gone) = oneshot::channel();
        let connection = Over { _held: held, stream: Some((inbox.clone(), gone)) };
        let ended = tokio::time::timeout(Duration::from_secs(1), inbox.run(connection)).await;
        assert_eq!(ended, Ok("over"));
    }
}
