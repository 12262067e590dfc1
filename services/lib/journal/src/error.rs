//! Why a journal does not do what it was asked for.

use problem::{Code, Problem};

use crate::aggregate::Damage;
use crate::store::{Claim, StoreError};
use ids::AggregateId;

/// The journal itself could not answer, or refuses for a reason that is the same in every service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store is away; nothing is known to be written.
    #[error("the journal is not available, try again")]
    Unavailable(#[source] StoreError),
    /// The deadline passed while the outcome was open. A retry with the same idempotency key is safe.
    #[error("the outcome is not known yet, try again with the same idempotency key")]
    OutcomeUnknown,
    /// More commands wait for this aggregate than its queue holds.
    #[error("too many requests wait for the same record, try again")]
    Overloaded,
    /// Stored bytes do not decode.
    #[error("stored data is damaged")]
    Damaged(#[source] Damage),
    /// The key of the tenant was destroyed: nothing of it can be read any more.
    #[error("the key that sealed the data of this tenant was destroyed")]
    KeyDestroyed,
    /// The key of the tenant is missing.
    #[error("the key that sealed the data of this tenant is missing")]
    KeyMissing(#[source] StoreError),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyConflict,
    /// A request with the same idempotency key is still running.
    #[error("a request with the same idempotency key is still running, try again")]
    InProgress,
    /// The record would break a limit of the store.
    #[error("the record is too large: {0}")]
    TooLarge(&'static str),
    /// Other writers were always faster.
    #[error("the record was changed at the same time, try again")]
    ConcurrentUpdate,
}

impl Error {
    /// What a read says that was made for the answer of a commit: something was written, so it is not the store
    /// alone that was away.
    #[must_use]
    pub fn after_commit(self) -> Error {
        match self {
            Error::Unavailable(_) => Error::OutcomeUnknown,
            other => other,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(what) => Error::Damaged(Damage(what)),
            StoreError::KeyDestroyed => Error::KeyDestroyed,
            missing @ StoreError::KeyMissing(_) => Error::KeyMissing(missing),
            unavailable @ StoreError::Unavailable(_) => Error::Unavailable(unavailable),
        }
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        Error::Damaged(damage)
    }
}

impl Problem for Error {
    const DOMAIN: &'static str = "journal";

    fn code(&self) -> Code {
        match self {
            Error::Unavailable(_) | Error::Overloaded | Error::KeyMissing(_) => Code::Unavailable,
            Error::OutcomeUnknown => Code::DeadlineExceeded,
            Error::Damaged(_) => Code::Internal,
            Error::TooLarge(_) => Code::InvalidArgument,
            Error::IdempotencyConflict | Error::KeyDestroyed => Code::FailedPrecondition,
            Error::InProgress | Error::ConcurrentUpdate => Code::Aborted,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Error::Unavailable(_) => "UNAVAILABLE",
            Error::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Error::Overloaded => "OVERLOADED",
            Error::Damaged(_) => "DATA_DAMAGED",
            Error::KeyDestroyed => "TENANT_KEY_DESTROYED",
            Error::KeyMissing(_) => "TENANT_KEY_MISSING",
            Error::TooLarge(_) => "RECORD_TOO_LARGE",
            Error::IdempotencyConflict => "IDEMPOTENCY_CONFLICT",
            Error::InProgress => "IDEMPOTENCY_IN_PROGRESS",
            Error::ConcurrentUpdate => "CONCURRENT_UPDATE",
        }
    }
}

/// Why one command was not committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection<E> {
    /// The domain refused it.
    Domain(E),
    /// Another aggregate owns a value that it must be the only owner of.
    Claimed {
        /// The value.
        claim: Claim,
        /// Who owns it.
        owner: AggregateId,
    },
    /// The journal.
    Journal(Error),
}

impl<E> From<Error> for Rejection<E> {
    fn from(error: Error) -> Self {
        Rejection::Journal(error)
    }
}

/// Why an atomic batch was not committed: which request of it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitError<E> {
    /// Position in the batch.
    pub at: usize,
    /// Why.
    pub rejection: Rejection<E>,
}
