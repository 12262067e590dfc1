//! Calls that are written down although they change nothing: what was read, who was refused.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use proto::audit::v1::access_log_service_client::AccessLogServiceClient;
use proto::audit::v1::{AccessOutcome, RecordAccessRequest};

use crate::{Ctx, SYSTEM_TENANT, System, Transport};

/// The service that keeps the log.
const AUDIT: &str = "audit";

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

/// Has the audit service write calls down, which runs elsewhere.
pub struct RemoteAccessLog {
    client: AccessLogServiceClient<Transport>,
    system: System,
}

impl RemoteAccessLog {
    /// What its `system` needs.
    pub const NEEDS: [&'static str; 1] = ["internal.guard"];

    /// Asks over a transport that leads to the audit service.
    pub fn new(transport: Transport, system: System) -> Self {
        RemoteAccessLog { client: AccessLogServiceClient::new(transport), system }
    }
}

impl AccessLog for RemoteAccessLog {
    fn record(
        &self,
        ctx: &Ctx,
        path: &'static str,
        _: &'static str,
        access: Access,
    ) -> BoxFuture<'static, bool> {
        if ctx.tenant == SYSTEM_TENANT {
            return std::future::ready(true).boxed(); // the platform asks itself
        }
        let outcome = match access {
            Access::Read => AccessOutcome::Read,
            Access::Denied => AccessOutcome::Denied,
            Access::UnknownId => AccessOutcome::UnknownId,
        };
        let record = RecordAccessRequest {
            actor: Some((&ctx.actor).into()),
            method: path.to_owned(),
            outcome: outcome.into(),
        };
        let request = self.system.request(ctx, AUDIT, record);
        let (mut client, tenant) = (self.client.clone(), ctx.tenant);
        async move {
            let done = client.record_access(request).await;
            if let Err(status) = &done {
                let why = status.message();
                tracing::warn!(rpc = path, tenant.id = %tenant, "a call is not in the audit log: {why}");
            }
            done.is_ok()
        }
        .boxed()
    }
}
