//! Roles and assignments as the contract names them. Who may call what was decided by the guard.

use journal::{Keep, Meta};
use proto::tenant::v1::access_service_server::AccessService;
use proto::tenant::v1::{
    Assignment, CreateAssignmentRequest, CreateRoleRequest, ExplainPermissionRequest,
    ExplainPermissionResponse, GetAssignmentRequest, GetRoleRequest, ListAssignmentsRequest,
    ListAssignmentsResponse, ListRolesRequest, ListRolesResponse, RevokeAssignmentRequest, Role,
    UpdateRoleRequest,
};
use rpc::Ctx;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::convert;

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of roles and assignments of [`App`].
#[derive(Clone)]
pub struct AccessGrpc {
    app: App,
}

impl AccessGrpc {
    pub(crate) fn new(app: App) -> Self {
        AccessGrpc { app }
    }

    fn meta(&self, ctx: &Ctx, method: &str, message: &impl prost::Message) -> Meta {
        let path = format!("/cargopilot.tenant.v1.AccessService/{method}");
        let key = ctx.idempotency_key.as_deref();
        rpc::meta(ctx, self.app.journal().env(), &path, key, message, Keep::USUAL)
    }
}

#[tonic::async_trait]
impl AccessService for AccessGrpc {
    async fn create_role(&self, request: Request<CreateRoleRequest>) -> Answer<Role> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, "CreateRole", &request);
        let new = convert::access::create_role(request).map_err(rpc::status)?;
        let (role, replayed) = self.app.create_role(&ctx, new, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::access::custom_role(ctx.tenant, role), replayed))
    }

    async fn get_role(&self, request: Request<GetRoleRequest>) -> Answer<Role> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::access::role_id(&request.role_id).map_err(rpc::status)?;
        let role = self.app.role(ctx.tenant, id).await.map_err(rpc::status)?;
        Ok(Response::new(convert::access::role(ctx.tenant, role)))
    }

    async fn list_roles(&self, request: Request<ListRolesRequest>) -> Answer<ListRolesResponse> {
        let (ctx, request) = rpc::open(request)?;
        let size = convert::page_size(request.page_size).map_err(rpc::status)?;
        let page = self.app.roles(&ctx, size, &request.page_token).await.map_err(rpc::status)?;
        Ok(Response::new(convert::access::roles(ctx.tenant, page)))
    }

    async fn update_role(&self, request: Request<UpdateRoleRequest>) -> Answer<Role> {
        let (ctx, request) = rpc::open(request)?;
        let (id, mut update) = convert::access::update_role(&request).map_err(rpc::status)?;
        update.expected = ctx.expected_revision().map_err(rpc::status)?;
        let meta = self.meta(&ctx, "UpdateRole", &request);
        let (role, replayed) = self.app.update_role(&ctx, id, update, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::access::custom_role(ctx.tenant, role), replayed))
    }

    async fn create_assignment(&self, request: Request<CreateAssignmentRequest>) -> Answer<Assignment> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, "CreateAssignment", &request);
        let new = convert::access::create_assignment(request).map_err(rpc::status)?;
        let done = self.app.create_assignment(&ctx, new, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::access::assignment(done.0), done.1))
    }

    async fn get_assignment(&self, request: Request<GetAssignmentRequest>) -> Answer<Assignment> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::access::assignment_id(&request.assignment_id).map_err(rpc::status)?;
        let found = self.app.assignment(&ctx, id).await.map_err(rpc::status)?;
        Ok(Response::new(convert::access::assignment(found)))
    }

    async fn list_assignments(
        &self,
        request: Request<ListAssignmentsRequest>,
    ) -> Answer<ListAssignmentsResponse> {
        let (ctx, request) = rpc::open(request)?;
        let size = convert::page_size(request.page_size).map_err(rpc::status)?;
        let page = self.app.assignments(&ctx, size, &request.page_token).await.map_err(rpc::status)?;
        Ok(Response::new(convert::access::assignments(page)))
    }

    async fn revoke_assignment(&self, request: Request<RevokeAssignmentRequest>) -> Answer<Assignment> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::access::assignment_id(&request.assignment_id).map_err(rpc::status)?;
        let meta = self.meta(&ctx, "RevokeAssignment", &request);
        let done = self.app.revoke_assignment(&ctx, id, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::access::assignment(done.0), done.1))
    }

    async fn explain_permission(
        &self,
        request: Request<ExplainPermissionRequest>,
    ) -> Answer<ExplainPermissionResponse> {
        let (ctx, request) = rpc::open(request)?;
        let asked = convert::access::explain(&request).map_err(rpc::status)?;
        let explained = self.app.explain(&ctx, asked).await.map_err(rpc::status)?;
        Ok(Response::new(convert::access::explained(explained)))
    }
}
