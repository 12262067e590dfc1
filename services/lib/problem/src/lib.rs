//! What goes wrong, in the words of the contract.
//!
//! Reading order: [`Code`] (the canonical codes and their numbers), [`Problem`] (what every
//! service error says about itself), [`Violations`] (collects every bad field of a request).
//! Turning a problem into a gRPC status is `rpc`'s work, into JSON the gateway's.

mod code;
pub mod reason;
mod violations;

pub use code::{Code, http_status};
pub use violations::{FieldError, Invalid, VIOLATIONS_MAX, Violation, Violations};

/// An error that a caller may see: one variant per decision that the caller can make.
///
/// The text (`Display`) is lower case, without a full stop, quotes values and names nothing
/// internal. What caused it is its `source`, which is logged and never shown.
pub trait Problem: std::error::Error + Send + Sync + 'static {
    /// The service that speaks, for example `"stock"`.
    const DOMAIN: &'static str;

    /// The canonical code: how a client that does not know the reason should behave.
    fn code(&self) -> Code;

    /// The stable reason, for example `"INSUFFICIENT_STOCK"`; append-only, listed in the
    /// service's `errors.md`.
    fn reason(&self) -> &'static str;

    /// Values that a program may want without reading the text.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The bad fields of the request, if that is what went wrong.
    fn violations(&self) -> &[Violation] {
        &[]
    }
}
