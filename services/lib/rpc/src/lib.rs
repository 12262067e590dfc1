//! What a request carries between services, and how it travels.
//!
//! In reading order: [`Ctx`] (who calls, for which tenant, how long), [`Permissions`],
//! [`Minter`] and [`Verifier`] (the signed context), [`Guard`] (enforces the rule of every method, and has
//! an [`AccessLog`] write down what the contract wants to be seen),
//! [`open`] and [`status`] (the two ends of a handler), [`Transport`] and [`System`] (calling
//! another service, in this process or over the network), [`PageToken`], [`meta`] (what the journal
//! notes about a request), [`Remembered`] (answers that are used again for a while), [`fingerprint`] and [`key_hash`].

mod access;
mod bar;
mod context;
mod csrf;
mod decided;
mod etag;
mod guard;
mod hash;
pub mod limits;
mod meta;
mod outgoing;
mod page;
mod permissions;
mod refused;
mod remembered;
mod signed;
mod status;
mod transport;
mod unknown_id;

pub use access::{Access, AccessLog, RemoteAccessLog};
pub use bar::{Bar, Bars};
pub use context::{Actor, ActorKind, Ctx, Principal, SYSTEM_TENANT, Session, time_left};
pub use csrf::csrf_token;
pub use etag::etag;
pub use guard::{Guard, Guarded, open};
pub use hash::{fingerprint, key_hash};
pub use limits::{AmountsMax, Limited, Limits};
pub use meta::meta;
pub use outgoing::{System, respond, timeout, with_token};
pub use page::{PageToken, page_size};
pub use permissions::Permissions;
pub use refused::Refused;
pub use remembered::Remembered;
pub use signed::{Clock, MintError, Minter, Token, VALIDITY_MS, Verifier, wall_clock};
pub use status::{item_problem, pointer, status};
pub use transport::{Remote, Services, Transport, TransportError, local, local_or_remote, remote};
pub use unknown_id::{noted_problem, respond_items};

/// Metadata and header names.
pub mod header {
    /// Names the business to work in: the credential's own or one below; the credential's own when absent.
    pub const BUSINESS: &str = "cp-business";
    /// The signed context. Stripped from whatever comes from outside; set by the gateway.
    pub const CONTEXT: &str = "cp-context-bin";
    /// Names a mutation, so that repeating it has no second effect: 1 to 255 visible characters.
    pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
    /// Set to `true` on an answer that was stored by an earlier request.
    pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
    /// The revision that the caller has seen.
    pub const IF_MATCH: &str = "if-match";
    /// Names one request in logs and answers: `req_…`.
    pub const REQUEST_ID: &str = "request-id";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// Time that is left for the call, as gRPC writes it: `30S`, `1500m`.
    pub const GRPC_TIMEOUT: &str = "grpc-timeout";

    /// The same names, parsed already: for what every request does.
    pub mod name {
        use http::HeaderName;

        /// See [`super::CONTEXT`].
        pub const CONTEXT: HeaderName = HeaderName::from_static(super::CONTEXT);
        /// See [`super::IDEMPOTENCY_KEY`].
        pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(super::IDEMPOTENCY_KEY);
        /// See [`super::IDEMPOTENT_REPLAYED`].
        pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static(super::IDEMPOTENT_REPLAYED);
        /// See [`super::IF_MATCH`].
        pub const IF_MATCH: HeaderName = HeaderName::from_static(super::IF_MATCH);
        /// See [`super::REQUEST_ID`].
        pub const REQUEST_ID: HeaderName = HeaderName::from_static(super::REQUEST_ID);
        /// See [`super::TRACEPARENT`].
        pub const TRACEPARENT: HeaderName = HeaderName::from_static(super::TRACEPARENT);
        /// See [`super::GRPC_TIMEOUT`].
        pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static(super::GRPC_TIMEOUT);
    }
}
