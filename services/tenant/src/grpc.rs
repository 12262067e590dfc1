//! The service as the contract names it. Who may call what was decided by the guard.

mod identity;

use ids::BusinessId;
use journal::{Keep, Meta};
use proto::tenant::v1::tenant_service_server::TenantService;
use proto::tenant::v1::{
    ApiKey, AuthenticateRequest, AuthenticateResponse, Business, Caller, CloseBusinessRequest,
    CreateApiKeyRequest, CreateApiKeyResponse, CreateBusinessRequest, GetApiKeyRequest, GetBusinessRequest,
    GetCallerRequest, GetTenantRequest, ListApiKeysRequest, ListApiKeysResponse, ListBusinessesRequest,
    ListBusinessesResponse, MoveBusinessRequest, ReactivateBusinessRequest, RevokeApiKeyRequest,
    RotateApiKeyRequest, RotateApiKeyResponse, SuspendBusinessRequest, Tenant, UpdateBusinessRequest,
};
use rpc::Ctx;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::domain::What;
use crate::{Error, convert};

const UPDATE_BUSINESS: &str = "/cargopilot.tenant.v1.TenantService/UpdateBusiness";
const CREATE_BUSINESS: &str = "/cargopilot.tenant.v1.TenantService/CreateBusiness";
const MOVE_BUSINESS: &str = "/cargopilot.tenant.v1.TenantService/MoveBusiness";
const SUSPEND_BUSINESS: &str = "/cargopilot.tenant.v1.TenantService/SuspendBusiness";
const REACTIVATE_BUSINESS: &str = "/cargopilot.tenant.v1.TenantService/ReactivateBusiness";
const CLOSE_BUSINESS: &str = "/cargopilot.tenant.v1.TenantService/CloseBusiness";
const CREATE_API_KEY: &str = "/cargopilot.tenant.v1.TenantService/CreateApiKey";
const ROTATE_API_KEY: &str = "/cargopilot.tenant.v1.TenantService/RotateApiKey";
const REVOKE_API_KEY: &str = "/cargopilot.tenant.v1.TenantService/RevokeApiKey";

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of [`App`].
#[derive(Clone)]
pub struct Grpc {
    app: App,
}

impl Grpc {
    pub(crate) fn new(app: App) -> Self {
        Grpc { app }
    }

    fn meta(&self, ctx: &Ctx, path: &str, message: &impl prost::Message) -> Meta {
        let key = ctx.idempotency_key.as_deref();
        rpc::meta(ctx, self.app.journal().env(), path, key, message, Keep::USUAL)
    }

    async fn change_tree(&self, ctx: &Ctx, id: BusinessId, what: What, meta: Meta) -> Answer<Business> {
        let done = self.app.change_tree(ctx, id, what, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::business(done.0), done.1))
    }
}

#[tonic::async_trait]
impl TenantService for Grpc {
    async fn get_tenant(&self, request: Request<GetTenantRequest>) -> Answer<Tenant> {
        let (ctx, GetTenantRequest {}) = rpc::open(request)?;
        let tenant = self.app.tenant(&ctx).await.map_err(rpc::status)?;
        Ok(Response::new(convert::tenant(ctx.tenant, tenant)))
    }

    async fn get_caller(&self, request: Request<GetCallerRequest>) -> Answer<Caller> {
        let (ctx, GetCallerRequest {}) = rpc::open(request)?;
        let role = self.app.caller_role(&ctx).await.map_err(rpc::status)?;
        Ok(Response::new(convert::caller(&ctx, role)))
    }

    async fn get_business(&self, request: Request<GetBusinessRequest>) -> Answer<Business> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::business_id(&request.business_id).map_err(rpc::status)?;
        let business = self.app.business(&ctx, id).await.map_err(rpc::status)?;
        Ok(Response::new(convert::business(business)))
    }

    async fn list_businesses(
        &self,
        request: Request<ListBusinessesRequest>,
    ) -> Answer<ListBusinessesResponse> {
        let (ctx, request) = rpc::open(request)?;
        let (within, size) = convert::list_businesses(&request).map_err(rpc::status)?;
        let page = self.app.businesses(&ctx, within, size, &request.page_token).await.map_err(rpc::status)?;
        Ok(Response::new(convert::businesses(page)))
    }

    async fn update_business(&self, request: Request<UpdateBusinessRequest>) -> Answer<Business> {
        let (ctx, request) = rpc::open(request)?;
        let (id, mut update) = convert::update_business(&request).map_err(rpc::status)?;
        update.expected = ctx.expected_revision().map_err(rpc::status)?;
        let meta = self.meta(&ctx, UPDATE_BUSINESS, &request);
        let done = self.app.update_business(&ctx, id, update, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::business(done.0), done.1))
    }

    async fn create_business(&self, request: Request<CreateBusinessRequest>) -> Answer<Business> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, CREATE_BUSINESS, &request);
        let new = convert::create_business(request).map_err(rpc::status)?;
        let done = self.app.create_business(&ctx, new, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::business(done.0), done.1))
    }

    async fn move_business(&self, request: Request<MoveBusinessRequest>) -> Answer<Business> {
        let (ctx, request) = rpc::open(request)?;
        let (id, parent) = convert::move_business(&request).map_err(rpc::status)?;
        self.change_tree(&ctx, id, What::Move { parent }, self.meta(&ctx, MOVE_BUSINESS, &request)).await
    }

    async fn suspend_business(&self, request: Request<SuspendBusinessRequest>) -> Answer<Business> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::business_id(&request.business_id).map_err(rpc::status)?;
        let meta = self.meta(&ctx, SUSPEND_BUSINESS, &request);
        self.change_tree(&ctx, id, What::Suspend, meta).await
    }

    async fn reactivate_business(&self, request: Request<ReactivateBusinessRequest>) -> Answer<Business> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::business_id(&request.business_id).map_err(rpc::status)?;
        let meta = self.meta(&ctx, REACTIVATE_BUSINESS, &request);
        self.change_tree(&ctx, id, What::Reactivate, meta).await
    }

    async fn close_business(&self, request: Request<CloseBusinessRequest>) -> Answer<Business> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::business_id(&request.business_id).map_err(rpc::status)?;
        let meta = self.meta(&ctx, CLOSE_BUSINESS, &request);
        let done = self.app.close_business(&ctx, id, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::business(done.0), done.1))
    }

    async fn create_api_key(&self, request: Request<CreateApiKeyRequest>) -> Answer<CreateApiKeyResponse> {
        let (ctx, request) = rpc::open(request)?;
        // No idempotency key is kept: its stored answer would have to hold the secret.
        let meta = rpc::meta(&ctx, self.app.journal().env(), CREATE_API_KEY, None, &request, Keep::No);
        let new = convert::create_api_key(request).map_err(rpc::status)?;
        let created = self.app.create_api_key(&ctx, new, meta).await.map_err(rpc::status)?;
        Ok(Response::new(convert::created_key(created)))
    }

    async fn get_api_key(&self, request: Request<GetApiKeyRequest>) -> Answer<ApiKey> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::api_key_id(&request.api_key_id).map_err(rpc::status)?;
        let key = self.app.api_key(&ctx, id).await.map_err(rpc::status)?;
        Ok(Response::new(convert::api_key(key)))
    }

    async fn list_api_keys(&self, request: Request<ListApiKeysRequest>) -> Answer<ListApiKeysResponse> {
        let (ctx, request) = rpc::open(request)?;
        let (maker, size) = convert::list_api_keys(&request).map_err(rpc::status)?;
        let page = self.app.api_keys(&ctx, maker, size, &request.page_token).await.map_err(rpc::status)?;
        Ok(Response::new(convert::api_keys(page)))
    }

    async fn revoke_api_key(&self, request: Request<RevokeApiKeyRequest>) -> Answer<ApiKey> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::api_key_id(&request.api_key_id).map_err(rpc::status)?;
        let meta = self.meta(&ctx, REVOKE_API_KEY, &request);
        let (key, replayed) = self.app.revoke_api_key(&ctx, id, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::api_key(key), replayed))
    }

    async fn rotate_api_key(&self, request: Request<RotateApiKeyRequest>) -> Answer<RotateApiKeyResponse> {
        let (ctx, request) = rpc::open(request)?;
        // As with a new key: the answer holds the secret, so it is not stored.
        let meta = rpc::meta(&ctx, self.app.journal().env(), ROTATE_API_KEY, None, &request, Keep::No);
        let (id, overlap) = convert::rotate_api_key(&request).map_err(rpc::status)?;
        let rotated = self.app.rotate_api_key(&ctx, id, overlap, meta).await.map_err(rpc::status)?;
        Ok(Response::new(convert::rotated_key(rotated)))
    }

    async fn authenticate(&self, request: Request<AuthenticateRequest>) -> Answer<AuthenticateResponse> {
        let (_, request) = rpc::open(request)?;
        let login = convert::login(&request).map_err(rpc::status)?;
        let found = self.app.authenticate(login).await.map_err(rpc::status::<Error>)?;
        Ok(Response::new(convert::authenticated(found)))
    }
}
