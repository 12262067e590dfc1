//! One call, and what its caller knows afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::api::v1::Problem;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::model::{Answer, Refused};
use crate::process::Process;
use crate::world::World;

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(40);

/// Why there is no answer.
pub(crate) enum Failure {
    Refused(Refused),
    NoEffect,
    Unknown,
    /// A mistake of the platform.
    Broken(String),
}

/// A request with a credential and the name of what it asks for.
pub(crate) fn named<T>(credential: &str, key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("Bearer {credential}").parse().expect("a header"));
    metadata.insert("idempotency-key", key.parse().expect("a header"));
    request
}

impl World {
    /// Waits for an answer, for the death of the process, or for as long as anybody would.
    pub(crate) async fn call<T>(
        &self,
        process: &Process,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answered = tokio::select! {
            biased;
            () = process.life.dead.cancelled() => return Err(Failure::Unknown),
            answered = tokio::time::timeout(PATIENCE, call) => answered,
        };
        match answered {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(failure(&status)),
            Err(_) => Err(Failure::Unknown),
        }
    }

    /// What a failed call says about an operation.
    pub(crate) fn answer(&self, failure: Failure) -> Answer {
        match failure {
            Failure::Refused(refused) => Answer::Refused(refused),
            Failure::NoEffect => Answer::NoEffect,
            Failure::Unknown => Answer::Unknown,
            Failure::Broken(what) => {
                self.judge(Err(what));
                Answer::Unknown
            }
        }
    }
}

fn failure(status: &Status) -> Failure {
    let info = status.get_details_error_info();
    let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
    let metadata: BTreeMap<_, _> = metadata.into_iter().collect();
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => Failure::Unknown,
        Code::Unavailable => Failure::NoEffect,
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Unauthenticated | Code::InvalidArgument => {
            Failure::Broken(format!("a call was answered with {status:?}"))
        }
        _ => refusal(reason, metadata),
    }
}

/// What the problem of one item of a batch says.
pub(crate) fn problem(problem: Problem) -> Failure {
    match problem.reason.as_str() {
        "UNAVAILABLE" | "OVERLOADED" => Failure::NoEffect,
        "OUTCOME_UNKNOWN" | "DEADLINE_EXCEEDED" => Failure::Unknown,
        "INTERNAL" | "DATA_DAMAGED" | "INVALID_REQUEST" => Failure::Broken(format!("{problem:?}")),
        _ => refusal(problem.reason, problem.metadata.into_iter().collect()),
    }
}

fn refusal(reason: String, metadata: BTreeMap<String, String>) -> Failure {
    if matches!(reason.as_str(), "CONCURRENT_UPDATE" | "IDEMPOTENCY_IN_PROGRESS") {
        return Failure::NoEffect;
    }
    Failure::Refused(Refused { reason, metadata })
}
