//! Writes down who read what, who was refused, and who named what is not there.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::TenantId;
use journal::{Actor, Keep, KeyHash, Meta, Request, Scope};
use rpc::{AccessLog, Ctx, SYSTEM_TENANT};

use crate::Error;
use crate::app::App;
use crate::domain::access::{Access, Outcome};
use crate::records;

impl App {
    /// Writes down one call. It is durable when this returns, and becomes a leaf like every entry.
    ///
    /// # Errors
    /// The journal.
    pub async fn write_down(&self, ctx: &Ctx, access: Access) -> Result<(), Error> {
        let tenant: TenantId = ctx.tenant;
        if tenant == SYSTEM_TENANT {
            return Ok(()); // the platform asks itself, for example what a credential stands for
        }
        let mut key = KeyHash([0; 9]);
        self.accesses.env().random(&mut key.0);
        let meta = Meta {
            actor: Actor { kind: ctx.actor.kind.name().to_owned(), id: ctx.actor.id.to_string() },
            key,
            fingerprint: [0; 16],
            keep: Keep::No,
            request_id: ctx.request_id.as_deref().unwrap_or_default().to_owned(),
            trace: None,
        };
        let scope = Scope { tenant, aggregate: records::accesses_id() };
        match self.accesses.submit(scope, Request { command: access, meta }).await {
            Ok(_) => Ok(()),
            Err(journal::Rejection::Journal(error)) => Err(error.into()),
            Err(journal::Rejection::Domain(never)) => match never {},
            Err(journal::Rejection::Claimed { .. }) => Err(journal::Error::ConcurrentUpdate.into()),
        }
    }
}

impl AccessLog for App {
    fn record(
        &self,
        ctx: &Ctx,
        path: &'static str,
        permission: &'static str,
        access: rpc::Access,
    ) -> BoxFuture<'static, bool> {
        let outcome = match access {
            rpc::Access::Read => Outcome::Read,
            rpc::Access::Denied => Outcome::Denied,
            rpc::Access::UnknownId => Outcome::UnknownId,
        };
        let access = Access { method: path.to_owned(), permission: permission.to_owned(), outcome };
        let (app, ctx) = (self.clone(), ctx.clone());
        async move {
            let done = app.write_down(&ctx, access).await;
            if let Err(error) = &done {
                tracing::warn!(rpc = path, tenant.id = %ctx.tenant, "a call is not in the audit log: {error}");
            }
            done.is_ok()
        }
        .boxed()
    }
}
