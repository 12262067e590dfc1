//! What goes wrong, one variant per decision that the caller can make.

use journal::Rejection;
use problem::{Code, Invalid, Problem, Violation, reason};
use rpc::Refused;

use crate::domain::Feature;

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such thing, or it belongs to another tenant or business: nobody learns which.
    #[error("no such {what}")]
    NotFound {
        /// `business`, `API key`, `user`.
        what: &'static str,
    },
    /// The tenant, business or key was made before.
    #[error("it exists already")]
    AlreadyExists,
    /// The caller has seen another revision.
    #[error("the {what} has changed since, its revision is '{current}'")]
    StaleRevision {
        /// `business`, `role`, `user`.
        what: &'static str,
        /// The revision now.
        current: u64,
    },
    /// A business would lie below itself.
    #[error("a business cannot lie below itself")]
    TreeCycle,
    /// The tree would be too large.
    #[error("a tree has at most '{most}' {limit}")]
    TreeLimit {
        /// `levels`, `businesses`.
        limit: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// The business, or the one to be put below, is closed.
    #[error("the business is closed")]
    BusinessClosed,
    /// The plan of the tenant has no more of it.
    #[error("the plan has {} of '{max}': take a larger one, or close what is not needed", feature.code())]
    PlanNotEntitled {
        /// What is limited.
        feature: Feature,
        /// How many there may be.
        max: u64,
    },
    /// Something is on hand in the business to be closed.
    #[error("the business has stock: {}", some.join(", "))]
    StockOnHand {
        /// How much of what is where, of up to five.
        some: Vec<String>,
    },
    /// The stock of the business is more than is looked through at once.
    #[error("not all items of the business were looked at yet: ask again, and it goes on from there")]
    StockUnknown,
    /// The status does not follow from the present one.
    #[error("{why}")]
    IllegalTransition {
        /// In words.
        why: &'static str,
    },
    /// The key would do what its creator may not.
    #[error("a key can do no more than the key that makes it: '{field}' goes too far")]
    PermissionEscalation {
        /// The field of the new key, in the spelling of the contract.
        field: &'static str,
    },
    /// The assignment, role or user would get what its maker does not have.
    #[error("nobody gives more than they have: '{field}' goes too far")]
    GrantEscalation {
        /// The field that goes too far, in the spelling of the contract.
        field: &'static str,
    },
    /// Every tenant has this role, and nobody changes it.
    #[error("'{code}' is a role of every tenant and cannot be changed")]
    SystemRole {
        /// Its code.
        code: &'static str,
    },
    /// Another service did not answer.
    #[error("'{service}' is not available, try again")]
    Dependency {
        /// Which.
        service: &'static str,
    },
    /// The principal has as many assignments as one can have.
    #[error("a principal has at most '{max}' assignments, revoke one first")]
    TooManyAssignments {
        /// How many there can be.
        max: usize,
    },
    /// The key is revoked or expired.
    #[error("the key is revoked or expired")]
    KeyEnded,
    /// Keys that make keys that make keys: too many of them.
    #[error("a key that was made by a key that was made by a key: at most '{max}' in a row")]
    KeyChainTooLong {
        /// The longest chain.
        max: usize,
    },
    /// Another user of the tenant has the address.
    #[error("another user has that email address")]
    EmailTaken,
    /// Somebody must run the tenant.
    #[error("this is the last owner of the tenant: make another user an owner first")]
    LastOwner,
    /// More owners than are kept.
    #[error("a tenant has at most '{max}' owners")]
    TooManyOwners {
        /// The most.
        max: usize,
    },
    /// The caller is no user in a session.
    #[error("this is for users who are signed in, not for keys")]
    UsersOnly,
    /// Wrong password, or a code that is wrong, used, or missing.
    #[error("password or code is wrong")]
    InvalidProof,
    /// Too many wrong credentials for this account.
    #[error("too many failures in a row, try again later")]
    TooManyFailures {
        /// How long to wait.
        wait_ms: u64,
    },
    /// Too many passwords are being checked.
    #[error("too many passwords are being checked, try again")]
    Busy,
    /// More identity providers than are kept.
    #[error("a tenant has at most '{max}' identity providers: change one")]
    TooManyProviders {
        /// The most.
        max: usize,
    },
    /// An identity provider does not answer, or not as the standard says.
    #[error("the identity provider does not answer as it should")]
    IssuerUnavailable,
    /// Unknown, wrong secret, expired, revoked, or from another network: nobody learns which.
    #[error("the credential is not valid")]
    InvalidCredentials,
    /// Bad fields.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A bad header or page token.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

impl From<Rejection<Error>> for Error {
    fn from(rejection: Rejection<Error>) -> Self {
        match rejection {
            Rejection::Domain(error) => error,
            Rejection::Claimed { .. } => Error::AlreadyExists,
            Rejection::Journal(error) => Error::Journal(error),
        }
    }
}

impl Problem for Error {
    const DOMAIN: &'static str = "tenant";

    fn code(&self) -> Code {
        match self {
            Error::NotFound { .. } => Code::NotFound,
            Error::AlreadyExists => Code::AlreadyExists,
            Error::TreeCycle
            | Error::TreeLimit { .. }
            | Error::BusinessClosed
            | Error::StockOnHand { .. }
            | Error::IllegalTransition { .. } => Code::FailedPrecondition,
            Error::StaleRevision { .. } => Code::Aborted,
            Error::PermissionEscalation { .. }
            | Error::GrantEscalation { .. }
            | Error::InvalidProof
            | Error::PlanNotEntitled { .. } => Code::PermissionDenied,
            Error::SystemRole { .. } | Error::TooManyAssignments { .. } => Code::FailedPrecondition,
            Error::EmailTaken => Code::AlreadyExists,
            Error::LastOwner
            | Error::TooManyOwners { .. }
            | Error::TooManyProviders { .. }
            | Error::UsersOnly => Code::FailedPrecondition,
            Error::TooManyFailures { .. } => Code::ResourceExhausted,
            Error::Busy | Error::StockUnknown | Error::Dependency { .. } | Error::IssuerUnavailable => {
                Code::Unavailable
            }
            Error::KeyEnded | Error::KeyChainTooLong { .. } => Code::FailedPrecondition,
            Error::InvalidCredentials => Code::Unauthenticated,
            Error::Invalid(error) => error.code(),
            Error::Refused(error) => error.code(),
            Error::Journal(error) => error.code(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::NotFound { .. } => "NOT_FOUND",
            Error::AlreadyExists => "ALREADY_EXISTS",
            Error::TreeCycle => "TREE_CYCLE",
            Error::TreeLimit { .. } => "TREE_LIMIT",
            Error::BusinessClosed => "BUSINESS_CLOSED",
            Error::StockOnHand { .. } => "STOCK_ON_HAND",
            Error::StockUnknown => "STOCK_UNKNOWN",
            Error::PlanNotEntitled { .. } => "PLAN_NOT_ENTITLED",
            Error::IllegalTransition { .. } => "ILLEGAL_TRANSITION",
            Error::StaleRevision { .. } => reason::STALE_REVISION,
            Error::PermissionEscalation { .. } | Error::GrantEscalation { .. } => "PERMISSION_ESCALATION",
            Error::SystemRole { .. } => "SYSTEM_ROLE",
            Error::TooManyAssignments { .. } => "TOO_MANY_ASSIGNMENTS",
            Error::Dependency { .. } => "UNAVAILABLE",
            Error::KeyEnded => "KEY_ENDED",
            Error::EmailTaken => "EMAIL_TAKEN",
            Error::LastOwner => "LAST_OWNER",
            Error::TooManyOwners { .. } => "TOO_MANY_OWNERS",
            Error::UsersOnly => "USERS_ONLY",
            Error::InvalidProof => "INVALID_PROOF",
            Error::TooManyFailures { .. } => "TOO_MANY_FAILURES",
            Error::Busy => "BUSY",
            Error::TooManyProviders { .. } => "TOO_MANY_PROVIDERS",
            Error::IssuerUnavailable => "ISSUER_UNAVAILABLE",
            Error::KeyChainTooLong { .. } => "KEY_CHAIN_TOO_LONG",
            Error::InvalidCredentials => "INVALID_CREDENTIALS",
            Error::Invalid(error) => error.reason(),
            Error::Refused(error) => error.reason(),
            Error::Journal(error) => error.reason(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::StockOnHand { some } => vec![("stock", some.join(", "))],
            Error::StaleRevision { current, .. } => vec![("current", rpc::etag(*current))],
            Error::TreeLimit { limit, most } => {
                vec![("limit", (*limit).to_owned()), ("most", most.to_string())]
            }
            Error::PlanNotEntitled { feature, max } => {
                vec![("feature", feature.code().to_owned()), ("max", max.to_string())]
            }
            Error::PermissionEscalation { field } | Error::GrantEscalation { field } => {
                vec![("field", (*field).to_owned())]
            }
            Error::KeyChainTooLong { max }
            | Error::TooManyOwners { max }
            | Error::TooManyProviders { max } => {
                vec![("max", max.to_string())]
            }
            Error::TooManyFailures { wait_ms } => {
                vec![("retry_after_seconds", wait_ms.div_ceil(1_000).to_string())]
            }
            Error::Refused(error) => error.metadata(),
            _ => vec![],
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Error::Invalid(error) => error.violations(),
            _ => &[],
        }
    }
}
