//! People, as the contract names it. Who may call what was decided by the guard.

use journal::{Keep, Meta};
use proto::tenant::v1::identity_service_server::IdentityService;
use proto::tenant::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, ChangePasswordRequest, ChangePasswordResponse,
    ConfirmTotpRequest, ConfirmTotpResponse, CreateIdentityProviderRequest, CreateUserRequest,
    CreateUserResponse, DeactivateUserRequest, EndSessionRequest, EnrolTotpRequest, EnrolTotpResponse,
    FinishLoginRequest, GetIdentityProviderRequest, GetUserRequest, IdentityProvider,
    ListIdentityProvidersRequest, ListIdentityProvidersResponse, ListSessionsRequest, ListSessionsResponse,
    ListUsersRequest, ListUsersResponse, LockUserRequest, ReassignUserKeysRequest, ReassignUserKeysResponse,
    ReinviteUserRequest, ReinviteUserResponse, Session, SignInRequest, SignInResponse, StartLoginRequest,
    StartLoginResponse, StepUpRequest, UnlockUserRequest, UpdateIdentityProviderRequest, UpdateUserRequest,
    User,
};
use rpc::{Ctx, Refused};
use tonic::{Request, Response};

use super::{Answer, Grpc};
use crate::convert::{self, identity, provider};
use crate::domain;

impl Grpc {
    /// No idempotency key: the answer holds a secret, or repeating the call changes nothing.
    fn unkept(&self, ctx: &Ctx, method: &str, message: &impl prost::Message) -> Meta {
        let path = format!("/cargopilot.tenant.v1.IdentityService/{method}");
        rpc::meta(ctx, self.app.journal().env(), &path, None, message, Keep::No)
    }

    async fn turn(&self, ctx: &Ctx, id: &str, to: domain::UserStatus, meta: Meta) -> Answer<User> {
        let id = identity::user_id(id).map_err(rpc::status)?;
        let (user, stopped_keys) = self.app.turn_user(ctx, id, to, meta).await.map_err(rpc::status)?;
        Ok(Response::new(User { stopped_keys, ..identity::user(user) }))
    }
}

#[tonic::async_trait]
impl IdentityService for Grpc {
    async fn create_user(&self, request: Request<CreateUserRequest>) -> Answer<CreateUserResponse> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "CreateUser", &request);
        let new = identity::create_user(request).map_err(rpc::status)?;
        let invited = self.app.invite(&ctx, new, meta).await.map_err(rpc::status)?;
        Ok(Response::new(identity::invited(invited)))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Answer<User> {
        let (ctx, request) = rpc::open(request)?;
        let id = identity::user_id(&request.user_id).map_err(rpc::status)?;
        let user = self.app.user(&ctx, id).await.map_err(rpc::status)?;
        Ok(Response::new(identity::user(user)))
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Answer<ListUsersResponse> {
        let (ctx, request) = rpc::open(request)?;
        let size = convert::page_size(request.page_size).map_err(rpc::status)?;
        let page = self.app.users(&ctx, size, &request.page_token).await.map_err(rpc::status)?;
        Ok(Response::new(identity::users(page)))
    }

    async fn update_user(&self, request: Request<UpdateUserRequest>) -> Answer<User> {
        const PATH: &str = "/cargopilot.tenant.v1.IdentityService/UpdateUser";
        let (ctx, request) = rpc::open(request)?;
        let (id, mut update) = identity::update_user(&request).map_err(rpc::status)?;
        update.expected = ctx.expected_revision().map_err(rpc::status)?;
        let meta = self.meta(&ctx, PATH, &request);
        let (user, replayed) = self.app.update_user(&ctx, id, update, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(identity::user(user), replayed))
    }

    async fn lock_user(&self, request: Request<LockUserRequest>) -> Answer<User> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "LockUser", &request);
        self.turn(&ctx, &request.user_id, domain::UserStatus::Locked, meta).await
    }

    async fn unlock_user(&self, request: Request<UnlockUserRequest>) -> Answer<User> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "UnlockUser", &request);
        self.turn(&ctx, &request.user_id, domain::UserStatus::Active, meta).await
    }

    async fn deactivate_user(&self, request: Request<DeactivateUserRequest>) -> Answer<User> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "DeactivateUser", &request);
        self.turn(&ctx, &request.user_id, domain::UserStatus::Deactivated, meta).await
    }

    async fn reassign_user_keys(
        &self,
        request: Request<ReassignUserKeysRequest>,
    ) -> Answer<ReassignUserKeysResponse> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "ReassignUserKeys", &request);
        let ask = identity::reassign_keys(&request).map_err(rpc::status)?;
        let done = self.app.reassign_keys(&ctx, ask, meta).await.map_err(rpc::status)?;
        Ok(Response::new(identity::reassigned(done)))
    }

    async fn reinvite_user(&self, request: Request<ReinviteUserRequest>) -> Answer<ReinviteUserResponse> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "ReinviteUser", &request);
        let id = identity::user_id(&request.user_id).map_err(rpc::status)?;
        let invited = self.app.reinvite(&ctx, id, meta).await.map_err(rpc::status)?;
        Ok(Response::new(identity::reinvited(invited)))
    }

    async fn accept_invitation(
        &self,
        request: Request<AcceptInvitationRequest>,
    ) -> Answer<AcceptInvitationResponse> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "AcceptInvitation", &request);
        let (token, password) = identity::accept(request).map_err(rpc::status)?;
        let user = self.app.accept_invitation(&token, password, meta).await.map_err(rpc::status)?;
        Ok(Response::new(AcceptInvitationResponse { user: Some(identity::user(user)) }))
    }

    async fn sign_in(&self, request: Request<SignInRequest>) -> Answer<SignInResponse> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "SignIn", &request);
        let ask = identity::sign_in(request).map_err(rpc::status)?;
        let done = self.app.sign_in(ask, meta).await.map_err(rpc::status)?;
        Ok(Response::new(identity::signed_in(done)))
    }

    async fn list_sessions(&self, request: Request<ListSessionsRequest>) -> Answer<ListSessionsResponse> {
        let (ctx, request) = rpc::open(request)?;
        convert::page_size(request.page_size).map_err(rpc::status)?;
        // A user has so few that there is no second page.
        if !request.page_token.is_empty() {
            return Err(rpc::status(Refused::PageTokenInvalid));
        }
        let sessions = self.app.own_sessions(&ctx).await.map_err(rpc::status)?.into_iter();
        let sessions = sessions.map(|session| identity::session(session, identity::own_session(&ctx)));
        Ok(Response::new(ListSessionsResponse {
            sessions: sessions.collect(),
            next_page_token: String::new(),
        }))
    }

    async fn end_session(&self, request: Request<EndSessionRequest>) -> Answer<Session> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "EndSession", &request);
        let id = identity::session_id(&request.session_id).map_err(rpc::status)?;
        let session = self.app.end_session(&ctx, id, meta).await.map_err(rpc::status)?;
        Ok(Response::new(identity::session(session, identity::own_session(&ctx))))
    }

    async fn step_up(&self, request: Request<StepUpRequest>) -> Answer<Session> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "StepUp", &request);
        let proof = identity::step_up(request).map_err(rpc::status)?;
        let session = self.app.step_up(&ctx, proof, meta).await.map_err(rpc::status)?;
        Ok(Response::new(identity::session(session, identity::own_session(&ctx))))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Answer<ChangePasswordResponse> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "ChangePassword", &request);
        let (proof, password) = identity::change_password(request).map_err(rpc::status)?;
        self.app.change_password(&ctx, proof, password, meta).await.map_err(rpc::status)?;
        Ok(Response::new(ChangePasswordResponse {}))
    }

    async fn enrol_totp(&self, request: Request<EnrolTotpRequest>) -> Answer<EnrolTotpResponse> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "EnrolTotp", &request);
        let enrolled = self.app.enrol_totp(&ctx, meta).await.map_err(rpc::status)?;
        Ok(Response::new(identity::enrolled(&enrolled)))
    }

    async fn confirm_totp(&self, request: Request<ConfirmTotpRequest>) -> Answer<ConfirmTotpResponse> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "ConfirmTotp", &request);
        identity::totp_code(&request.code).map_err(rpc::status)?;
        let recovery_codes = self.app.confirm_totp(&ctx, &request.code, meta).await.map_err(rpc::status)?;
        Ok(Response::new(ConfirmTotpResponse { recovery_codes }))
    }

    async fn start_login(&self, request: Request<StartLoginRequest>) -> Answer<StartLoginResponse> {
        let (_, request) = rpc::open(request)?;
        let ask = provider::start(request).map_err(rpc::status)?;
        let started = self.app.start_login(ask).await.map_err(rpc::status)?;
        Ok(Response::new(provider::started(started)))
    }

    async fn finish_login(&self, request: Request<FinishLoginRequest>) -> Answer<SignInResponse> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "FinishLogin", &request);
        let ask = provider::finish_login(request).map_err(rpc::status)?;
        let done = self.app.finish_login(ask, meta).await.map_err(rpc::status)?;
        Ok(Response::new(identity::signed_in(done)))
    }

    async fn create_identity_provider(
        &self,
        request: Request<CreateIdentityProviderRequest>,
    ) -> Answer<IdentityProvider> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.unkept(&ctx, "CreateIdentityProvider", &request);
        let new = provider::create(request).map_err(rpc::status)?;
        let made = self.app.create_provider(&ctx, new, meta).await.map_err(rpc::status)?;
        Ok(Response::new(provider::provider(ctx.tenant, made)))
    }

    async fn get_identity_provider(
        &self,
        request: Request<GetIdentityProviderRequest>,
    ) -> Answer<IdentityProvider> {
        let (ctx, request) = rpc::open(request)?;
        let id = provider::provider_id(&request.provider_id).map_err(rpc::status)?;
        let found = self.app.provider(ctx.tenant, id).await.map_err(rpc::status)?;
        Ok(Response::new(provider::provider(ctx.tenant, found)))
    }

    async fn list_identity_providers(
        &self,
        request: Request<ListIdentityProvidersRequest>,
    ) -> Answer<ListIdentityProvidersResponse> {
        let (ctx, request) = rpc::open(request)?;
        convert::page_size(request.page_size).map_err(rpc::status)?;
        // A tenant has so few that there is no second page.
        if !request.page_token.is_empty() {
            return Err(rpc::status(Refused::PageTokenInvalid));
        }
        let providers = self.app.providers(ctx.tenant).await.map_err(rpc::status)?.into_iter();
        Ok(Response::new(ListIdentityProvidersResponse {
            providers: providers.map(|one| provider::provider(ctx.tenant, one)).collect(),
            next_page_token: String::new(),
        }))
    }

    async fn update_identity_provider(
        &self,
        request: Request<UpdateIdentityProviderRequest>,
    ) -> Answer<IdentityProvider> {
        const PATH: &str = "/cargopilot.tenant.v1.IdentityService/UpdateIdentityProvider";
        let (ctx, request) = rpc::open(request)?;
        let (id, mut change) = provider::update(&request).map_err(rpc::status)?;
        change.update.expected = ctx.expected_revision().map_err(rpc::status)?;
        let meta = self.meta(&ctx, PATH, &request);
        let (changed, replayed) =
            self.app.update_provider(&ctx, id, change, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(provider::provider(ctx.tenant, changed), replayed))
    }
}
