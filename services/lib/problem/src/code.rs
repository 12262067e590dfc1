//! Canonical codes, their gRPC numbers and HTTP statuses.

use crate::reason;

/// A canonical error code.
///
/// Source: `google/rpc/code.proto`; only the codes that Cargo Pilot answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request itself is wrong, whatever the state of the system.
    InvalidArgument,
    /// A deadline passed before the answer was known.
    DeadlineExceeded,
    /// There is no such thing, or it belongs to another tenant.
    NotFound,
    /// The id or name is taken by something with other content.
    AlreadyExists,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// A limit of the plan or of a size was reached.
    ResourceExhausted,
    /// The state of the system does not allow it; trying again does not help.
    FailedPrecondition,
    /// A concurrent change won; trying again helps.
    Aborted,
    /// A value lies outside what exists, for example a page token from elsewhere.
    OutOfRange,
    /// Not offered here.
    Unimplemented,
    /// A bug or a broken disk; the text is fixed and says nothing more.
    Internal,
    /// Overloaded, starting or stopping; trying again later helps.
    Unavailable,
    /// No valid credential.
    Unauthenticated,
}

/// Code, gRPC number, name on the wire, HTTP status.
#[rustfmt::skip] // columns
const TABLE: [(Code, i32, &str, u16); 13] = [
    (Code::InvalidArgument,     3, "INVALID_ARGUMENT",    400),
    (Code::DeadlineExceeded,    4, "DEADLINE_EXCEEDED",   504),
    (Code::NotFound,            5, "NOT_FOUND",           404),
    (Code::AlreadyExists,       6, "ALREADY_EXISTS",      409),
    (Code::PermissionDenied,    7, "PERMISSION_DENIED",   403),
    (Code::ResourceExhausted,   8, "RESOURCE_EXHAUSTED",  429),
    (Code::FailedPrecondition,  9, "FAILED_PRECONDITION", 409),
    (Code::Aborted,            10, "ABORTED",             409),
    (Code::OutOfRange,         11, "OUT_OF_RANGE",        400),
    (Code::Unimplemented,      12, "UNIMPLEMENTED",       501),
    (Code::Internal,           13, "INTERNAL",            500),
    (Code::Unavailable,        14, "UNAVAILABLE",         503),
    (Code::Unauthenticated,    16, "UNAUTHENTICATED",     401),
];

impl Code {
    /// The number in a gRPC status.
    pub fn grpc(self) -> i32 {
        self.row().1
    }

    /// The name on the wire, for example `"FAILED_PRECONDITION"`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// The HTTP status where the reason has none of its own; see [`http_status`].
    pub fn http_status(self) -> u16 {
        self.row().3
    }

    /// The code with this gRPC number; `None` for numbers that Cargo Pilot never answers with.
    pub fn from_grpc(number: i32) -> Option<Code> {
        TABLE.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// The code with this name on the wire.
    pub fn from_name(name: &str) -> Option<Code> {
        TABLE.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    fn row(self) -> &'static (Code, i32, &'static str, u16) {
        // The table is in the order of the enum; a test holds that.
        &TABLE[self as usize]
    }
}

/// The HTTP status of a problem: that of its code, unless HTTP has a better word for the reason.
///
/// Source: RFC 9110 (412, 413, 422), RFC 6585 (428).
pub fn http_status(code: Code, reason: &str) -> u16 {
    match reason {
        reason::STALE_REVISION => 412,
        reason::PAYLOAD_TOO_LARGE => 413,
        reason::IDEMPOTENCY_CONFLICT => 422,
        reason::PRECONDITION_REQUIRED => 428,
        _ => code.http_status(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for row in TABLE {
            assert_eq!(row.0.row(), &row);
        }
    }

    #[test]
    fn a_code_survives_its_number_and_its_name() {
        for (code, number, name, _) in TABLE {
            assert_eq!(Code::from_grpc(number), Some(code));
            assert_eq!(Code::from_name(name), Some(code));
        }
        assert_eq!(Code::from_grpc(0), None, "OK is not a problem");
        assert_eq!(Code::from_grpc(2), None, "UNKNOWN is never answered");
        assert_eq!(Code::from_name("invalid_argument"), None);
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_reason_may_have_its_own_http_status() {
        fn check(code: Code, reason: &str, status: u16) {
            assert_eq!(http_status(code, reason), status, "{code:?} {reason}");
        }
        //    code                      reason                    status
        check(Code::FailedPrecondition, "INSUFFICIENT_STOCK",     409);
        check(Code::FailedPrecondition, "PRECONDITION_REQUIRED",  428);
        check(Code::Aborted,            "CONCURRENT_UPDATE",      409);
        check(Code::Aborted,            "STALE_REVISION",         412);
        check(Code::AlreadyExists,      "IDEMPOTENCY_CONFLICT",   422);
        check(Code::ResourceExhausted,  "PAYLOAD_TOO_LARGE",      413);
        check(Code::ResourceExhausted,  "LIMIT_REACHED",          429);
        check(Code::Unavailable,        "OVERLOADED",             503);
        check(Code::NotFound,           "NOT_FOUND",              404);
    }
}
