//! Why the stock service refuses; see `errors.md`.

use calendar::Instant;
use ids::LocationId;
use problem::{Code, Invalid, Problem, Violation};
use quantity::Quantity;

/// One variant per decision that the caller can make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Bad fields.
    #[error("the request has bad fields")]
    Invalid(Invalid),
    /// The resource does not exist, or is another tenant's.
    #[error("not found")]
    NotFound,
    /// Less is there than is to leave.
    #[error("{available} available, {wanted} wanted")]
    InsufficientStock {
        /// Where.
        location: LocationId,
        /// On hand there.
        available: Quantity,
        /// What was asked for.
        wanted: Quantity,
    },
    /// The location does not let goods in or out.
    #[error("the location '{code}' is blocked for this direction")]
    LocationBlocked {
        /// Its code.
        code: String,
    },
    /// The document line has posted this kind already.
    #[error("this line of the source document was posted already, as movement {sequence} of the item")]
    SourceAlreadyPosted {
        /// Sequence of the movement.
        sequence: u64,
    },
    /// More comes back than went.
    #[error("{left} of the original can still be returned, {wanted} wanted")]
    ReturnExceedsOriginal {
        /// What is not returned yet.
        left: Quantity,
        /// What was asked for.
        wanted: Quantity,
    },
    /// The movement is dated before others, and too far back or without the permission.
    #[error("movements here are dated up to {latest}; {why}")]
    BackdateWindow {
        /// The latest business time of the location.
        latest: Instant,
        /// Which rule.
        why: &'static str,
    },
    /// It is taken back already.
    #[error("the posting was reversed already, as movement {sequence} of the item")]
    AlreadyReversed {
        /// Sequence of the reversal.
        sequence: u64,
    },
    /// It cannot be taken back.
    #[error("the posting cannot be reversed: {why}")]
    ReversalNotPossible {
        /// Why.
        why: &'static str,
    },
    /// A named limit of the ledger.
    #[error("{what}")]
    QuantityLimit {
        /// Which limit.
        what: &'static str,
    },
    /// Another location of the business has the code.
    #[error("the code '{code}' is taken")]
    CodeTaken {
        /// The code.
        code: String,
    },
    /// The resource changed since the caller saw it.
    #[error("the revision is '{current}' now")]
    StaleRevision {
        /// Its revision now.
        current: u64,
    },
    /// A token, key or header of the request.
    #[error(transparent)]
    Refused(rpc::Refused),
    /// Facts of the item or a unit factor were not looked up. A mistake of ours.
    #[error("internal error")]
    Unprepared,
    /// Another service did not answer.
    #[error("'{service}' is not available, try again")]
    Dependency {
        /// Which.
        service: &'static str,
    },
    /// The journal.
    #[error("{0}")]
    Journal(journal::Error),
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Error::Invalid(invalid)
    }
}

impl From<journal::Error> for Error {
    fn from(error: journal::Error) -> Self {
        Error::Journal(error)
    }
}

impl From<rpc::Refused> for Error {
    fn from(refused: rpc::Refused) -> Self {
        Error::Refused(refused)
    }
}

impl Error {
    /// The same error in the item of a batch: its fields are found there.
    #[must_use]
    pub fn within(self, list: &str, at: usize) -> Self {
        let Error::Invalid(mut invalid) = self else { return self };
        for violation in &mut invalid.violations {
            if let Some((_, rest)) = violation.field.split_once('.') {
                violation.field = format!("{list}[{at}].{rest}");
            }
        }
        Error::Invalid(invalid)
    }

    /// What a read says that was made for the answer of a commit.
    #[must_use]
    pub fn after_commit(self) -> Self {
        match self {
            Error::Journal(error) => Error::Journal(error.after_commit()),
            other => other,
        }
    }

    /// One bad field.
    pub fn field(field: &str, reason: &'static str, detail: impl Into<String>) -> Self {
        Error::Invalid(Invalid::field(field, reason, detail))
    }
}

impl Problem for Error {
    const DOMAIN: &'static str = "stock";

    fn code(&self) -> Code {
        match self {
            Error::Invalid(invalid) => invalid.code(),
            Error::NotFound => Code::NotFound,
            Error::SourceAlreadyPosted { .. } | Error::CodeTaken { .. } => Code::AlreadyExists,
            Error::Refused(refused) => refused.code(),
            Error::StaleRevision { .. } => Code::Aborted,
            Error::Unprepared => Code::Internal,
            Error::Dependency { .. } => Code::Unavailable,
            Error::Journal(error) => error.code(),
            _ => Code::FailedPrecondition,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(invalid) => invalid.reason(),
            Error::NotFound => "NOT_FOUND",
            Error::InsufficientStock { .. } => "INSUFFICIENT_STOCK",
            Error::LocationBlocked { .. } => "LOCATION_BLOCKED",
            Error::SourceAlreadyPosted { .. } => "SOURCE_ALREADY_POSTED",
            Error::ReturnExceedsOriginal { .. } => "RETURN_EXCEEDS_ORIGINAL",
            Error::BackdateWindow { .. } => "BACKDATE_WINDOW",
            Error::AlreadyReversed { .. } => "ALREADY_REVERSED",
            Error::ReversalNotPossible { .. } => "REVERSAL_NOT_POSSIBLE",
            Error::QuantityLimit { .. } => "QUANTITY_LIMIT",
            Error::CodeTaken { .. } => "CODE_TAKEN",
            Error::StaleRevision { .. } => "STALE_REVISION",
            Error::Refused(refused) => refused.reason(),
            Error::Unprepared => "INTERNAL",
            Error::Dependency { .. } => "UNAVAILABLE",
            Error::Journal(error) => error.reason(),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::InsufficientStock { location, available, wanted } => vec![
                ("locationId", location.to_string()),
                ("available", available.to_string()),
                ("wanted", wanted.to_string()),
            ],
            Error::SourceAlreadyPosted { sequence } | Error::AlreadyReversed { sequence } => {
                vec![("sequence", sequence.to_string())]
            }
            Error::ReturnExceedsOriginal { left, wanted } => {
                vec![("left", left.to_string()), ("wanted", wanted.to_string())]
            }
            Error::BackdateWindow { latest, .. } => vec![("latest", latest.to_string())],
            Error::CodeTaken { code } => vec![("code", code.clone())],
            Error::StaleRevision { current } => vec![("current", rpc::etag(*current))],
            Error::Refused(refused) => refused.metadata(),
            _ => vec![],
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Error::Invalid(invalid) => invalid.violations(),
            _ => &[],
        }
    }
}
