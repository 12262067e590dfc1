//! Who writes to an aggregate: in one process one at a time, and the others wait in its queue.
//!
//! The first one to come is the writer. It works in the task of whoever submitted the command: a task of its own
//! would cost two wake-ups of threads for each posting. What came meanwhile is folded into the next commit, which
//! the writer makes after its caller has got its answer, in a task of its own.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::error;

use crate::actor::{Loaded, Reply};
use crate::aggregate::Aggregate;
use crate::error::Error;
use crate::journal::{FOLD_MAX, Inner, QUEUE_MAX, Request, Running, Scope, WEIGHT_MAX};
use crate::tally::Tally;

/// Work that nobody may stop half-way: it goes on in the task of whoever polls it, and in a task of its own once
/// it is dropped.
pub(crate) struct Steady<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> Steady<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Steady(Some(Box::pin(work)))
    }

    /// Works without the caller.
    pub(crate) fn detach(self) {
        drop(self);
    }

    /// Works until `wanted` is there; what is left to do then goes on without the caller.
    pub(crate) async fn until<W: Future + Unpin>(mut self, mut wanted: W) -> W::Output {
        poll_fn(|cx| {
            let _ = Pin::new(&mut self).poll(cx);
            wanted.poll_unpin(cx)
        })
        .await
    }
}

impl<T: Send + 'static> Future for Steady<T> {
    type Output = T;

    /// Pending for ever once it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let polled = work.poll_unpin(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Steady<T> {
    fn drop(&mut self) {
        // Without a runtime the process is about to end.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// A command that waits for its commit.
pub(crate) struct Command<A: Aggregate> {
    pub(crate) request: Request<A::Command>,
    pub(crate) reply: oneshot::Sender<Reply<A>>,
    pub(crate) _running: Option<Running<A>>,
}

enum Pending<A: Aggregate> {
    Command(Command<A>),
    /// Somebody needs the aggregate for an atomic batch.
    Lease(oneshot::Sender<Lease<A>>),
}

/// The exclusive use of an aggregate in this process, until dropped.
pub(crate) struct Lease<A: Aggregate> {
    /// The state, if it is known.
    pub(crate) loaded: Option<Box<Loaded<A>>>,
    inner: Arc<Inner<A>>,
    slot: Arc<Slot<A>>,
}

impl<A: Aggregate> Drop for Lease<A> {
    fn drop(&mut self) {
        if let Some(work) = self.slot.next(&mut self.loaded) {
            let (inner, slot) = (Arc::clone(&self.inner), Arc::clone(&self.slot));
            Steady::new(write(inner, slot, self.loaded.take(), work)).detach();
        }
    }
}

/// The queue of one aggregate.
pub(crate) struct Slot<A: Aggregate> {
    scope: Scope,
    tally: &'static Tally,
    queue: Mutex<Queue<A>>,
}

struct Queue<A: Aggregate> {
    waiting: VecDeque<Pending<A>>,
    /// Somebody is at work and owns the state.
    busy: bool,
    state: Option<Box<Loaded<A>>>,
}

enum Work<A: Aggregate> {
    Commands(Vec<Command<A>>),
    Lease(oneshot::Sender<Lease<A>>),
}

impl<A: Aggregate> Slot<A> {
    pub(crate) fn new(scope: Scope, tally: &'static Tally) -> Self {
        tally.actor_made();
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), busy: false, state: None });
        Slot { scope, tally, queue }
    }

    pub(crate) fn is_idle(&self) -> bool {
        !self.queue.lock().busy
    }

    /// Takes a command in. If nobody is at work, whoever brings it is the writer, and must poll or drop what is
    /// returned: nobody else works meanwhile.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full.
    pub(crate) fn enter(
        self: &Arc<Self>,
        inner: &Arc<Inner<A>>,
        command: Command<A>,
    ) -> Result<Option<Steady<()>>, Error> {
        let mut queue = self.queue.lock();
        if queue.busy {
            queue.wait(Pending::Command(command))?;
            return Ok(None);
        }
        queue.busy = true;
        self.tally.work_began();
        let state = queue.state.take();
        drop(queue);
        let (inner, slot) = (Arc::clone(inner), Arc::clone(self));
        Ok(Some(Steady::new(async move {
            // Not before this is polled: those who came right after it belong to the same commit.
            let work = Work::Commands(slot.queue.lock().fold(Some(command)));
            write(inner, slot, state, work).await;
        })))
    }

    /// Waits for the exclusive use of the aggregate.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full.
    pub(crate) async fn lease(self: Arc<Self>, inner: &Arc<Inner<A>>) -> Result<Lease<A>, Error> {
        let granted = {
            let mut queue = self.queue.lock();
            if queue.busy {
                let (grant, granted) = oneshot::channel();
                queue.wait(Pending::Lease(grant))?;
                granted
            } else {
                queue.busy = true;
                self.tally.work_began();
                let loaded = queue.state.take();
                drop(queue);
                return Ok(Lease { loaded, inner: Arc::clone(inner), slot: self });
            }
        };
        granted.await.map_err(|_| Error::ConcurrentUpdate)
    }

    /// What the writer does next; `None` ends its work and leaves the state here.
    fn next(&self, state: &mut Option<Box<Loaded<A>>>) -> Option<Work<A>> {
        let mut queue = self.queue.lock();
        match queue.waiting.pop_front() {
            Some(Pending::Command(first)) => Some(Work::Commands(queue.fold(Some(first)))),
            Some(Pending::Lease(grant)) => Some(Work::Lease(grant)),
            None => {
                queue.busy = false;
                self.tally.work_ended();
                queue.state = state.take().filter(|loaded| loaded.state.weight() <= WEIGHT_MAX);
                None
            }
        }
    }
}

impl<A: Aggregate> Drop for Slot<A> {
    fn drop(&mut self) {
        self.tally.actor_gone();
        if self.queue.get_mut().busy {
            self.tally.work_ended();
        }
    }
}

impl<A: Aggregate> Queue<A> {
    fn wait(&mut self, pending: Pending<A>) -> Result<(), Error> {
        if self.waiting.len() >= QUEUE_MAX {
            return Err(Error::Overloaded);
        }
        self.waiting.push_back(pending);
        Ok(())
    }

    /// The commands of one commit: `first` and those that wait behind it.
    fn fold(&mut self, first: Option<Command<A>>) -> Vec<Command<A>> {
        let mut commands = Vec::with_capacity(FOLD_MAX.min(1 + self.waiting.len()));
        commands.extend(first);
        while commands.len() < FOLD_MAX
            && let Some(pending) = self.waiting.pop_front()
        {
            match pending {
                Pending::Command(command) => commands.push(command),
                lease @ Pending::Lease(_) => {
                    self.waiting.push_front(lease);
                    break;
                }
            }
        }
        commands
    }
}

/// Works until nobody waits any more.
async fn write<A: Aggregate>(
    inner: Arc<Inner<A>>,
    slot: Arc<Slot<A>>,
    mut state: Option<Box<Loaded<A>>>,
    mut work: Work<A>,
) {
    loop {
        match work {
            Work::Commands(commands) => {
                let committed = inner.commit_folded(slot.scope, state.take(), commands);
                // A rule that panics must not block its aggregate for good: its commands end unanswered,
                // as unknown, and the next ones begin with what is stored.
                state = match AssertUnwindSafe(committed).catch_unwind().await {
                    Ok(next) => next,
                    Err(_) => {
                        error!(aggregate = %slot.scope.aggregate, "deciding a command panicked");
                        None
                    }
                };
            }
            Work::Lease(grant) => {
                // It ends the work of this writer, and its end begins that of the next one. A grant that nobody
                // takes ends at once.
                let _ = grant.send(Lease { loaded: state, inner, slot });
                return;
            }
        }
        match slot.next(&mut state) {
            Some(next) => work = next,
            None => return,
        }
        // The caller whose task this is has its answer: it takes it now, and the rest goes on without it.
        tokio::task::yield_now().await;
    }
}
