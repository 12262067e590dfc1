//! Calls that name what their tenant does not have: each becomes one line of the audit log.
//!
//! An id of another tenant is answered like one that nobody has, and no service can tell the two apart without
//! reading what belongs to somebody else. So both are written down, in the log of the caller's tenant.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Response};
use problem::Code;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{Access, AccessLog, Ctx, respond};

/// The reason of every problem that says so.
const REASON: &str = "NOT_FOUND";

/// Put into an answer that has items of which one names what is not there.
#[derive(Clone, Copy)]
struct UnknownId;

/// Makes the answer to a batch, as [`respond`] does; `names_unknown` says that the problem of one of its items
/// [`is_unknown_id`].
pub fn respond_items<T>(message: T, replayed: bool, names_unknown: bool) -> tonic::Response<T> {
    let mut response = respond(message, replayed);
    if names_unknown {
        response.extensions_mut().insert(UnknownId);
    }
    response
}

/// Whether an item of a batch was refused because it names what is not there.
pub fn is_unknown_id(problem: &proto::api::v1::Problem) -> bool {
    problem.code == Code::NotFound.name() && problem.reason == REASON
}

/// Whether an answer, or an item of it, says that something is not there.
fn names_unknown<R>(answer: &Response<R>) -> bool {
    answer.extensions().get::<UnknownId>().is_some() || says_so(answer.headers())
}

/// Refusals are answers without a body: their status is in the headers.
fn says_so(headers: &HeaderMap) -> bool {
    let not_found = i32::from(tonic::Code::NotFound).to_string();
    let code = headers.get(Status::GRPC_STATUS);
    code.is_some_and(|code| *code == *not_found)
        && Status::from_header_map(headers)
            .and_then(|status| status.get_details_error_info())
            .is_some_and(|info| info.reason == REASON)
}

/// What is written down if a call turns out to be one.
pub(crate) struct Watcher {
    pub(crate) log: Arc<dyn AccessLog>,
    pub(crate) ctx: Ctx,
    pub(crate) path: &'static str,
    pub(crate) permission: &'static str,
}

/// Waits for the answer of a service, and for its line in the audit log if it must have one.
///
/// It is answered whether or not that could be written down, as every refusal.
pub struct Answering<F, R> {
    step: Step<F, R>,
    watcher: Option<Watcher>,
}

enum Step<F, R> {
    Asked(F),
    Writing(BoxFuture<'static, bool>, Option<Response<R>>),
}

impl<F, R> Answering<F, R> {
    pub(crate) fn new(asked: F, watcher: Option<Watcher>) -> Self {
        Answering { step: Step::Asked(asked), watcher }
    }
}

/// An answer is only moved, never pinned.
impl<F: Unpin, R> Unpin for Answering<F, R> {}

impl<F, R> Future for Answering<F, R>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Unpin,
{
    type Output = Result<Response<R>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.step {
                Step::Asked(asked) => {
                    let Ok(answer) = ready!(asked.poll_unpin(cx));
                    let Some(watcher) = self.watcher.take().filter(|_| names_unknown(&answer)) else {
                        return Poll::Ready(Ok(answer));
                    };
                    let Watcher { log, ctx, path, permission } = watcher;
                    let written = log.record(&ctx, path, permission, Access::UnknownId);
                    self.step = Step::Writing(written, Some(answer));
                }
                Step::Writing(written, answer) => {
                    ready!(written.poll_unpin(cx));
                    let answer = answer.take().expect("a future that is done is not polled");
                    return Poll::Ready(Ok(answer));
                }
            }
        }
    }
}
