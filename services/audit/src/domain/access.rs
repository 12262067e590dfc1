//! What was read and what was refused: entries of their own, since no other journal has them.

/// How a call ended that the contract wants to be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was let in, to read.
    Read,
    /// It was refused for lack of a permission.
    Denied,
    /// It named something that the tenant does not have.
    UnknownId,
}

/// A call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// gRPC path of the method: `/cargopilot.audit.v1.AuditService/ListAuditEvents`.
    pub method: String,
    /// The permission that it needs.
    pub permission: String,
    /// How it ended.
    pub outcome: Outcome,
}

impl Access {
    /// `audit.access.read`, `audit.access.denied`, `audit.access.unknown_id`.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self.outcome {
            Outcome::Read => "audit.access.read",
            Outcome::Denied => "audit.access.denied",
            Outcome::UnknownId => "audit.access.unknown_id",
        }
    }
}

/// All such calls of a tenant, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Accesses {
    /// How many.
    pub count: u64,
}
