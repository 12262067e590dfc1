//! Why a request goes no further than this door. `errors.md` explains the reasons.

use std::collections::BTreeMap;

use problem::{Code, Problem};
use rpc::Refused;

/// Why a request goes no further than this door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is at this path.
    #[error("nothing is at this path; '/openapi.json' lists what there is")]
    UnknownRoute,
    /// Something is at this path, but not for this method.
    #[error("this path takes '{allow}'")]
    MethodNotAllowed {
        /// `GET, HEAD, OPTIONS, PATCH`.
        allow: String,
    },
    /// The body is no JSON.
    #[error("the body must be JSON: send 'Content-Type: application/json'")]
    UnsupportedMediaType,
    /// The body ended too early.
    #[error("the body ended before all of it was there")]
    IncompleteBody,
    /// `cp-business` is no id of a business.
    #[error("'cp-business' {0}")]
    MalformedBusiness(ids::ParseError),
    /// `cp-business` names a business that the credential does not reach.
    #[error("no such business")]
    UnknownBusiness,
    /// A call with the cookie of a session that may change something does not come from its page.
    #[error("a call with the cookie of a session needs 'cp-csrf' with the token that signing in answered")]
    CsrfTokenInvalid,
    /// No valid credential, or headers that the RPC needs are missing.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Too many requests at the same time.
    #[error("too many requests at the same time, try again")]
    Overloaded,
    /// Too many requests of this tenant wait, or this one waited too long.
    #[error("more requests of this tenant wait than can be served soon, try again")]
    Shed,
    /// The key that sealed the data of the tenant was destroyed, with the credential.
    #[error("the key that sealed the data of this tenant was destroyed")]
    KeyDestroyed,
    /// The key that sealed the data of the tenant is not there, or its file is damaged.
    #[error("the key that sealed the data of this tenant is missing")]
    KeyMissing,
    /// A service is away.
    #[error("the service cannot be reached, try again")]
    Unreachable,
    /// The process ends before the request is there in full.
    #[error("the server stops and has not got the whole request: nothing was done, try again")]
    Stopping,
    /// The time for the request is over. What it asked for may still happen.
    #[error("the request took too long; try again with the same idempotency key")]
    DeadlineExceeded,
    /// A defect of ours.
    #[error("internal error")]
    Internal,
}

impl Error {
    /// The HTTP status, where neither code nor reason has it.
    fn status(&self) -> Option<u16> {
        match self {
            Error::MethodNotAllowed { .. } => Some(405),
            Error::UnsupportedMediaType => Some(415),
            _ => None,
        }
    }
}

impl Problem for Error {
    const DOMAIN: &'static str = "gateway";

    fn code(&self) -> Code {
        match self {
            Error::UnknownRoute | Error::UnknownBusiness => Code::NotFound,
            Error::MethodNotAllowed { .. } => Code::Unimplemented,
            Error::UnsupportedMediaType | Error::IncompleteBody | Error::MalformedBusiness(_) => {
                Code::InvalidArgument
            }
            Error::CsrfTokenInvalid => Code::PermissionDenied,
            Error::Refused(refused) => refused.code(),
            Error::Overloaded | Error::Shed | Error::Unreachable | Error::KeyMissing | Error::Stopping => {
                Code::Unavailable
            }
            Error::KeyDestroyed => Code::FailedPrecondition,
            Error::DeadlineExceeded => Code::DeadlineExceeded,
            Error::Internal => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::UnknownRoute => "UNKNOWN_ROUTE",
            Error::MethodNotAllowed { .. } => "METHOD_NOT_ALLOWED",
            Error::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Error::IncompleteBody => "INCOMPLETE_BODY",
            Error::MalformedBusiness(ids::ParseError::WrongPrefix { .. }) => "WRONG_ID_PREFIX",
            Error::MalformedBusiness(ids::ParseError::Malformed) => "MALFORMED_ID",
            Error::UnknownBusiness => "NOT_FOUND",
            Error::CsrfTokenInvalid => "CSRF_TOKEN_INVALID",
            Error::Refused(refused) => refused.reason(),
            Error::Overloaded | Error::Shed => "OVERLOADED",
            Error::KeyDestroyed => "TENANT_KEY_DESTROYED",
            Error::KeyMissing => "TENANT_KEY_MISSING",
            Error::Unreachable | Error::Stopping => "UNAVAILABLE",
            Error::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Error::Internal => "INTERNAL",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::MethodNotAllowed { allow } => vec![("allow", allow.clone())],
            Error::Refused(refused) => refused.metadata(),
            _ => vec![],
        }
    }
}

impl From<Error> for Box<transcode::Problem> {
    fn from(error: Error) -> Self {
        let metadata = error.metadata().into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut problem = transcode::Problem::new(error.code(), error.reason(), error.to_string());
        problem.metadata = metadata.collect::<BTreeMap<_, _>>();
        Box::new(match error.status() {
            Some(status) => problem.with_status(status),
            None => problem,
        })
    }
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The contract is at fault.
    #[error(transparent)]
    Unservable(#[from] transcode::Unservable),
    /// The machine is.
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
}
