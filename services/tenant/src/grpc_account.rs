//! The account of a tenant as the contract names it. Who may call what was decided by the guard.

use journal::{Keep, Meta};
use proto::tenant::v1::account_service_server::AccountService;
use proto::tenant::v1::{Account, CloseAccountRequest, GetAccountRequest, WithdrawClosureRequest};
use rpc::Ctx;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::convert;
use crate::domain::AccountCommand;

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of the account of [`App`].
#[derive(Clone)]
pub struct AccountGrpc {
    app: App,
}

impl AccountGrpc {
    pub(crate) fn new(app: App) -> Self {
        AccountGrpc { app }
    }

    fn meta(&self, ctx: &Ctx, method: &str, message: &impl prost::Message) -> Meta {
        let path = format!("/cargopilot.tenant.v1.AccountService/{method}");
        let key = ctx.idempotency_key.as_deref();
        rpc::meta(ctx, self.app.journal().env(), &path, key, message, Keep::USUAL)
    }

    async fn change(&self, ctx: &Ctx, command: AccountCommand, meta: Meta) -> Answer<Account> {
        let (account, replayed) = self.app.change_account(ctx, command, meta).await.map_err(rpc::status)?;
        let now = self.app.journal().env().now();
        Ok(rpc::respond(convert::account::account(ctx.tenant, &account, now), replayed))
    }
}

#[tonic::async_trait]
impl AccountService for AccountGrpc {
    async fn get_account(&self, request: Request<GetAccountRequest>) -> Answer<Account> {
        let (ctx, GetAccountRequest {}) = rpc::open(request)?;
        let account = self.app.account(&ctx).await.map_err(rpc::status)?;
        let now = self.app.journal().env().now();
        Ok(Response::new(convert::account::account(ctx.tenant, &account, now)))
    }

    async fn close_account(&self, request: Request<CloseAccountRequest>) -> Answer<Account> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, "CloseAccount", &request);
        let command = convert::account::close(request).map_err(rpc::status)?;
        self.change(&ctx, command, meta).await
    }

    async fn withdraw_closure(&self, request: Request<WithdrawClosureRequest>) -> Answer<Account> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, "WithdrawClosure", &request);
        let command = convert::account::withdraw(request).map_err(rpc::status)?;
        self.change(&ctx, command, meta).await
    }
}
