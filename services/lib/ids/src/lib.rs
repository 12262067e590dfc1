//! Names of things: typed ids for callers, opaque ids for the journal.
//!
//! A typed id is a UUIDv7: it begins with its creation time, so ids sort by age. Its text form is
//! a prefix that names the type and 26 characters of base32, for example
//! `mov_01jd7qz3fve0e8v6fbz2x9n3kq`; text order is byte order is time order.
//!
//! Reading order: `typed` (the ids), `base32` (their text), [`AggregateId`], [`RandomPart`] (ids
//! that follow from an idempotency key).

mod aggregate;
mod base32;
mod random_part;
mod typed;

pub use aggregate::AggregateId;
pub use random_part::RandomPart;
pub use typed::{
    ApiKeyId, AssignmentId, BusinessId, LocationId, MovementId, OperatorAccessId, PriceListId, ProductId,
    ProviderId, PublicationId, RoleId, SessionId, TenantId, UserId, VariantId,
};

/// Why a text is not the id that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// An id, but of another kind of thing.
    #[error("must be an id that begins with '{expected}_', not with '{found}_'")]
    WrongPrefix {
        /// The prefix of the type that was asked for.
        expected: &'static str,
        /// The prefix that the text has.
        found: String,
    },
    /// Not an id at all.
    #[error("must be an id such as 'mov_01jd7qz3fve0e8v6fbz2x9n3kq'")]
    Malformed,
}

impl problem::FieldError for ParseError {
    fn reason(&self) -> &'static str {
        match self {
            ParseError::WrongPrefix { .. } => problem::reason::WRONG_ID_PREFIX,
            ParseError::Malformed => problem::reason::MALFORMED_ID,
        }
    }
}
