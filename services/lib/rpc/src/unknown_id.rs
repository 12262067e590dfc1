//! Calls that name what their tenant does not have, or what lies beyond the caller's limits: each becomes one line
//! of the audit log.
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
use proto::api::v1::Problem;
use telemetry::http::{Denied, denied};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::refused::BEYOND_LIMITS;
use crate::{Access, AccessLog, Ctx, respond};

/// The reason of every problem that says so.
const REASON: &str = "NOT_FOUND";

/// Put into an answer that has items of which one is written down.
#[derive(Clone, Copy)]
struct Noted(Access);

/// Makes the answer to a batch, as [`respond`] does. `refused` is what [`noted_problem`] says of the first item of
/// which it says something: that is one line of the audit log.
pub fn respond_items<T>(message: T, replayed: bool, refused: Option<Access>) -> tonic::Response<T> {
    let mut response = respond(message, replayed);
    if let Some(access) = refused {
        response.extensions_mut().insert(Noted(access));
    }
    response
}

/// How the refusal of an item of a batch is written down, if it is.
pub fn noted_problem(problem: &Problem) -> Option<Access> {
    match (problem.code.as_str(), problem.reason.as_str()) {
        (code, REASON) if code == Code::NotFound.name() => Some(Access::UnknownId),
        (code, BEYOND_LIMITS) if code == Code::PermissionDenied.name() => Some(Access::Denied),
        _ => None,
    }
}

/// How an answer, or an item of it, is written down: something is not there, or beyond the caller's limits.
fn noted<R>(answer: &Response<R>) -> Option<Access> {
    answer.extensions().get::<Noted>().map(|noted| noted.0).or_else(|| of_status(answer.headers()))
}

/// Refusals are answers without a body: their status is in the headers.
fn of_status(headers: &HeaderMap) -> Option<Access> {
    let code = headers.get(Status::GRPC_STATUS)?;
    let (reason, access) = match code.as_bytes() {
        b"5" => (REASON, Access::UnknownId),
        b"7" => (BEYOND_LIMITS, Access::Denied),
        _ => return None,
    };
    let info = Status::from_header_map(headers)?.get_details_error_info()?;
    (info.reason == reason).then_some(access)
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
                    let Some((watcher, access)) = self.watcher.take().zip(noted(&answer)) else {
                        return Poll::Ready(Ok(answer));
                    };
                    denied(if access == Access::Denied { Denied::Limits } else { Denied::UnknownId });
                    let Watcher { log, ctx, path, permission } = watcher;
                    let written = log.record(&ctx, path, permission, access);
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
