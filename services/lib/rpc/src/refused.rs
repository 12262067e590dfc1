//! Why a request is refused before it reaches a handler.

use problem::{Code, Problem};

use crate::Bar;

/// The reason of [`Refused::BeyondLimits`].
pub(crate) const BEYOND_LIMITS: &str = "BEYOND_LIMITS";

/// A request that no handler sees, or that a handler refuses for what it says itself.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// No signed context, or one that is damaged, expired or meant for somebody else.
    #[error("the request carries no valid credential")]
    Unauthenticated,
    /// No rule exists for the method, so nobody may call it.
    #[error("unknown method")]
    UnknownMethod,
    /// Something stands against the call, whoever makes it.
    #[error("{}", .0.sentence())]
    Barred(Bar),
    /// The credential does not grant what the method needs.
    #[error("the credential lacks the permission '{permission}'")]
    PermissionDenied {
        /// What it needs.
        permission: &'static str,
    },
    /// The credential grants it within limits, and what the call names lies beyond them.
    #[error("the credential grants this within limits, and the {limit} is beyond them")]
    BeyondLimits {
        /// `location`, `category` or `amount`.
        limit: &'static str,
    },
    /// The method needs a recent proof of the user.
    #[error("prove who you are again: the last proof of this session is too old")]
    StepUpRequired,
    /// The method posts to a ledger and needs a name for the mutation.
    #[error("this request needs an Idempotency-Key")]
    IdempotencyKeyRequired,
    /// The idempotency key cannot be one.
    #[error("an Idempotency-Key has 1 to 255 visible characters")]
    IdempotencyKeyMalformed,
    /// The method changes what others may change too.
    #[error("this request needs If-Match with the revision that it is based on")]
    PreconditionRequired,
    /// `If-Match` holds no revision.
    #[error("If-Match is the value of an ETag")]
    PreconditionMalformed,
    /// The method wants every call to be written down, and this one could not be.
    #[error("the request cannot be written down in the audit log, try again")]
    NotRecorded,
    /// A page token of another list, of somebody else, or made up.
    #[error("the page token does not belong to this list")]
    PageTokenInvalid,
}

impl Problem for Refused {
    const DOMAIN: &'static str = "request";

    fn code(&self) -> Code {
        match self {
            Refused::Unauthenticated => Code::Unauthenticated,
            Refused::UnknownMethod => Code::Unimplemented,
            Refused::NotRecorded => Code::Unavailable,
            Refused::PermissionDenied { .. }
            | Refused::BeyondLimits { .. }
            | Refused::Barred(_)
            | Refused::StepUpRequired => Code::PermissionDenied,
            Refused::PreconditionRequired => Code::FailedPrecondition,
            Refused::IdempotencyKeyRequired
            | Refused::IdempotencyKeyMalformed
            | Refused::PreconditionMalformed
            | Refused::PageTokenInvalid => Code::InvalidArgument,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Refused::Unauthenticated => "UNAUTHENTICATED",
            Refused::UnknownMethod => "UNKNOWN_METHOD",
            Refused::PermissionDenied { .. } => "PERMISSION_DENIED",
            Refused::Barred(bar) => bar.reason(),
            Refused::BeyondLimits { .. } => BEYOND_LIMITS,
            Refused::StepUpRequired => "STEP_UP_REQUIRED",
            Refused::NotRecorded => "NOT_RECORDED",
            Refused::IdempotencyKeyRequired => "IDEMPOTENCY_KEY_REQUIRED",
            Refused::IdempotencyKeyMalformed => "IDEMPOTENCY_KEY_MALFORMED",
            Refused::PreconditionRequired => "PRECONDITION_REQUIRED",
            Refused::PreconditionMalformed => "PRECONDITION_MALFORMED",
            Refused::PageTokenInvalid => "PAGE_TOKEN_INVALID",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Refused::PermissionDenied { permission } => vec![("permission", (*permission).to_owned())],
            Refused::BeyondLimits { limit } => vec![("limit", (*limit).to_owned())],
            _ => vec![],
        }
    }
}
