//! Reasons that more than one crate speaks of. Append-only: clients match on them.

/// The request has bad fields; they are listed.
pub const INVALID_REQUEST: &str = "INVALID_REQUEST";
/// The idempotency key was used for another request.
pub const IDEMPOTENCY_CONFLICT: &str = "IDEMPOTENCY_CONFLICT";
/// The method needs an idempotency key.
pub const IDEMPOTENCY_KEY_REQUIRED: &str = "IDEMPOTENCY_KEY_REQUIRED";
/// The revision in `If-Match` is not the current one.
pub const STALE_REVISION: &str = "STALE_REVISION";
/// The method needs `If-Match`.
pub const PRECONDITION_REQUIRED: &str = "PRECONDITION_REQUIRED";
/// The request is larger than the method takes.
pub const PAYLOAD_TOO_LARGE: &str = "PAYLOAD_TOO_LARGE";

// Reasons of a field.

/// The field must be given.
pub const REQUIRED: &str = "REQUIRED";
/// The message has no such field.
pub const UNKNOWN_FIELD: &str = "UNKNOWN_FIELD";
/// JSON of another type than the field's.
pub const WRONG_TYPE: &str = "WRONG_TYPE";
/// Not a plain decimal number.
pub const NOT_A_DECIMAL: &str = "NOT_A_DECIMAL";
/// Zero or negative where only more than zero makes sense.
pub const NOT_POSITIVE: &str = "NOT_POSITIVE";
/// More decimal places than are kept.
pub const TOO_MANY_PLACES: &str = "TOO_MANY_PLACES";
/// Not an id at all.
pub const MALFORMED_ID: &str = "MALFORMED_ID";
/// An id of another kind of thing.
pub const WRONG_ID_PREFIX: &str = "WRONG_ID_PREFIX";
/// Not one of the values of the field.
pub const UNKNOWN_VALUE: &str = "UNKNOWN_VALUE";
/// More characters than the field takes.
pub const TOO_LONG: &str = "TOO_LONG";
/// More items than the list takes.
pub const TOO_MANY: &str = "TOO_MANY";
/// A number or size above the limit.
pub const TOO_LARGE: &str = "TOO_LARGE";
/// Set by the service, never by the caller.
pub const OUTPUT_ONLY: &str = "OUTPUT_ONLY";
/// Cannot change after creation.
pub const IMMUTABLE: &str = "IMMUTABLE";
/// The value cannot be kept exactly.
pub const NOT_REPRESENTABLE: &str = "NOT_REPRESENTABLE";
/// Outside the range of the field.
pub const OUT_OF_RANGE: &str = "OUT_OF_RANGE";
/// Makes no sense together with another field.
pub const NOT_ALLOWED: &str = "NOT_ALLOWED";
/// Not in the format of the field.
pub const MALFORMED: &str = "MALFORMED";
