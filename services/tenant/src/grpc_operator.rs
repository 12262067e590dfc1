//! Operator access as the contract names it. Who may call what was decided by the guard.

use journal::{Keep, Meta};
use proto::tenant::v1::operator_access_service_server::OperatorAccessService;
use proto::tenant::v1::{
    EndOperatorAccessRequest, GetOperatorAccessRequest, GrantOperatorAccessRequest,
    ListOperatorAccessesRequest, ListOperatorAccessesResponse, OperatorAccess,
};
use rpc::Ctx;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::convert;
use crate::domain::OperatorCommand;

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of operator access of [`App`].
#[derive(Clone)]
pub struct OperatorGrpc {
    app: App,
}

impl OperatorGrpc {
    pub(crate) fn new(app: App) -> Self {
        OperatorGrpc { app }
    }

    fn meta(&self, ctx: &Ctx, method: &str, message: &impl prost::Message) -> Meta {
        let path = format!("/cargopilot.tenant.v1.OperatorAccessService/{method}");
        let key = ctx.idempotency_key.as_deref();
        rpc::meta(ctx, self.app.journal().env(), &path, key, message, Keep::USUAL)
    }

    async fn decide(
        &self,
        ctx: &Ctx,
        id: &str,
        command: OperatorCommand,
        meta: Meta,
    ) -> Answer<OperatorAccess> {
        let id = convert::operator::id(id).map_err(rpc::status)?;
        let (access, replayed) =
            self.app.decide_operator_access(ctx, id, command, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::operator::access(access, self.app.journal().env().now()), replayed))
    }
}

#[tonic::async_trait]
impl OperatorAccessService for OperatorGrpc {
    async fn list_operator_accesses(
        &self,
        request: Request<ListOperatorAccessesRequest>,
    ) -> Answer<ListOperatorAccessesResponse> {
        let (ctx, request) = rpc::open(request)?;
        let size = convert::page_size(request.page_size).map_err(rpc::status)?;
        let page = self.app.operator_accesses(&ctx, size, &request.page_token).await.map_err(rpc::status)?;
        Ok(Response::new(convert::operator::accesses(page, self.app.journal().env().now())))
    }

    async fn get_operator_access(
        &self,
        request: Request<GetOperatorAccessRequest>,
    ) -> Answer<OperatorAccess> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::operator::id(&request.operator_access_id).map_err(rpc::status)?;
        let access = self.app.operator_access(&ctx, id).await.map_err(rpc::status)?;
        Ok(Response::new(convert::operator::access(access, self.app.journal().env().now())))
    }

    async fn grant_operator_access(
        &self,
        request: Request<GrantOperatorAccessRequest>,
    ) -> Answer<OperatorAccess> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, "GrantOperatorAccess", &request);
        self.decide(&ctx, &request.operator_access_id, OperatorCommand::Grant, meta).await
    }

    async fn end_operator_access(
        &self,
        request: Request<EndOperatorAccessRequest>,
    ) -> Answer<OperatorAccess> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, "EndOperatorAccess", &request);
        self.decide(&ctx, &request.operator_access_id, OperatorCommand::End, meta).await
    }
}
