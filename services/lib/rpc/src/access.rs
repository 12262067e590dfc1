//! Calls that are written down although they change nothing: what was read, who was refused.

use futures::future::BoxFuture;

use crate::Ctx;

/// How a call ended at the guard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It was let in, and its method says that reading is written down.
    Read,
    /// It was refused for lack of the permission that its method needs, or names what is beyond the limits of who
    /// has it.
    Denied,
    /// It named something that the caller's tenant does not have: a mistake, or an id of somebody else. Which of
    /// the two nobody looks up, so that both cost the same.
    UnknownId,
}

/// Writes calls down.
pub trait AccessLog: Send + Sync + 'static {
    /// Writes down a call of the method with the gRPC path `path`, which needs `permission`. True when it is
    /// durable. A read that cannot be written down is not answered.
    fn record(
        &self,
        ctx: &Ctx,
        path: &'static str,
        permission: &'static str,
        access: Access,
    ) -> BoxFuture<'static, bool>;
}
