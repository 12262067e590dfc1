//! A service with its gateway's side, and short names for calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use calendar::Instant;
use ids::BusinessId;
use journal::memory::MemoryStore;
use journal::{Env, SystemEnv};
use money::Currency;
use proto::tenant::v1::access_service_client::AccessServiceClient;
use proto::tenant::v1::account_service_client::AccountServiceClient;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use proto::tenant::v1::*;
use rpc::{Guard, Minter, Permissions, Principal, Transport, Verifier, header};
use tenant::domain::Costing;
use tenant::{BootstrapTenant, Config, Service};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// A clock that tests move.
struct TestEnv {
    now_us: AtomicI64,
}

impl Env for TestEnv {
    fn now(&self) -> Instant {
        Instant::from_unix_micros(self.now_us.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        SystemEnv.random(bytes);
    }
}

pub(crate) struct World {
    env: Arc<TestEnv>,
    minter: Minter,
    pub(crate) guard: Guard,
    pub(crate) service: Service,
    pub(crate) client: TenantServiceClient<Transport>,
    pub(crate) access: AccessServiceClient<Transport>,
    pub(crate) transport: Transport,
    pub(crate) account: AccountServiceClient<Transport>,
}

impl World {
    pub(crate) fn new() -> World {
        let env = Arc::new(TestEnv { now_us: AtomicI64::new(1_780_000_000_000_000) });
        let clock: rpc::Clock = {
            let env = Arc::clone(&env);
            Arc::new(move || env.now().unix_ms())
        };
        let minter = Minter::generate(Arc::clone(&clock)).unwrap();
        let guard = Guard::new(Arc::new(Verifier::new(&[minter.public_key()], clock)));
        let store = Arc::new(MemoryStore::default());
        let service = Service::new(
            store,
            Arc::clone(&env) as Arc<dyn Env>,
            Config {
                pepper: [9; 32],
                outbound: outbound::Client::new(&outbound::Settings::default()).expect("a client"),
            },
        );
        let routes = rpc::Services::new(service.server(&guard))
            .and(service.access_server(&guard))
            .and(service.identity_server(&guard))
            .and(service.account_server(&guard))
            .and(service.operator_server(&guard));
        let transport = rpc::local(routes);
        let access = AccessServiceClient::new(transport.clone());
        let account = AccountServiceClient::new(transport.clone());
        let client = TenantServiceClient::new(transport.clone());
        World { env, minter, guard, service, client, access, account, transport }
    }

    /// Makes a tenant and gives back its owner.
    pub(crate) async fn tenant(&self, slug: &str) -> Principal {
        let done = self.service.app().bootstrap(new_tenant(slug)).await.unwrap();
        let secret = done.credential.expect("the tenant is new").reveal();
        self.login(&secret).await.unwrap()
    }

    /// What the gateway does with a credential.
    pub(crate) async fn login(&self, secret: &str) -> Result<Principal, Status> {
        let answer = self.authenticate(secret, "192.0.2.7").await?;
        Ok(Principal::try_from(answer).unwrap())
    }

    /// The same for a call that asks for a business.
    pub(crate) async fn login_at(&self, secret: &str, business: BusinessId) -> Result<Principal, Status> {
        let gateway = Principal::platform("gateway", Permissions::parse(["internal.gateway"]).unwrap());
        let request = AuthenticateRequest {
            credential: secret.to_owned(),
            business_id: business.to_string(),
            ..AuthenticateRequest::default()
        };
        let request = rpc::with_token(&self.minter.mint(&gateway, "tenant"), request);
        let answer = self.client.clone().authenticate(request).await?.into_inner();
        Ok(Principal::try_from(answer).unwrap())
    }

    pub(crate) async fn authenticate(
        &self,
        credential: &str,
        peer: &str,
    ) -> Result<AuthenticateResponse, Status> {
        let gateway = Principal::platform("gateway", Permissions::parse(["internal.gateway"]).unwrap());
        let request = AuthenticateRequest {
            credential: credential.to_owned(),
            peer_ip: peer.to_owned(),
            ..Default::default()
        };
        let request = rpc::with_token(&self.minter.mint(&gateway, "tenant"), request);
        Ok(self.client.clone().authenticate(request).await?.into_inner())
    }

    /// What the gateway does with a call that needs no credential.
    pub(crate) fn public<T>(&self, message: T) -> Request<T> {
        let permissions = Permissions::parse(["public.accept", "public.sign_in"]).unwrap();
        rpc::with_token(&self.minter.mint(&Principal::platform("gateway", permissions), "tenant"), message)
    }

    pub(crate) fn now(&self) -> Instant {
        self.env.now()
    }

    pub(crate) fn request<T>(&self, caller: &Principal, message: T) -> Request<T> {
        rpc::with_token(&self.minter.mint(caller, "tenant"), message)
    }

    pub(crate) async fn create(
        &self,
        caller: &Principal,
        key: ApiKey,
    ) -> Result<CreateApiKeyResponse, Status> {
        let request = self.request(caller, CreateApiKeyRequest { api_key: Some(key) });
        Ok(self.client.clone().create_api_key(request).await?.into_inner())
    }

    /// Makes a key and signs in with it.
    pub(crate) async fn new_caller(&self, caller: &Principal, key: ApiKey) -> (String, String) {
        let made = self.create(caller, key).await.unwrap();
        (made.api_key.unwrap().id, made.secret)
    }

    /// Makes a business below `parents`, from the master down.
    pub(crate) async fn below(&self, owner: &Principal, parents: &[BusinessId]) -> BusinessId {
        let parent_id = parents.last().map(ToString::to_string).unwrap_or_default();
        let business = Business { parent_id, ..new_business() };
        let request = self.request(owner, CreateBusinessRequest { business: Some(business) });
        let made = self.client.clone().create_business(request).await.unwrap().into_inner();
        BusinessId::parse(&made.id).unwrap()
    }

    pub(crate) async fn role(
        &self,
        caller: &Principal,
        code: &str,
        permissions: &[&str],
    ) -> Result<Role, Status> {
        let permissions = permissions.iter().map(ToString::to_string).collect();
        let role = Role { code: code.to_owned(), permissions, ..Role::default() };
        let request = self.request(caller, CreateRoleRequest { role: Some(role) });
        Ok(self.access.clone().create_role(request).await?.into_inner())
    }

    pub(crate) async fn assign(
        &self,
        caller: &Principal,
        assignment: Assignment,
    ) -> Result<Assignment, Status> {
        let request = self.request(caller, CreateAssignmentRequest { assignment: Some(assignment) });
        Ok(self.access.clone().create_assignment(request).await?.into_inner())
    }

    pub(crate) async fn explain(
        &self,
        caller: &Principal,
        request: ExplainPermissionRequest,
    ) -> Result<ExplainPermissionResponse, Status> {
        Ok(self.access.clone().explain_permission(self.request(caller, request)).await?.into_inner())
    }

    pub(crate) async fn key(&self, caller: &Principal, id: &str) -> Result<ApiKey, Status> {
        let request = self.request(caller, GetApiKeyRequest { api_key_id: id.to_owned() });
        Ok(self.client.clone().get_api_key(request).await?.into_inner())
    }

    pub(crate) async fn revoke(&self, caller: &Principal, id: &str) -> Result<ApiKey, Status> {
        let request = self.request(caller, RevokeApiKeyRequest { api_key_id: id.to_owned() });
        Ok(self.client.clone().revoke_api_key(request).await?.into_inner())
    }

    pub(crate) async fn rotate(
        &self,
        caller: &Principal,
        id: &str,
        overlap_seconds: u32,
    ) -> Result<RotateApiKeyResponse, Status> {
        let request =
            self.request(caller, RotateApiKeyRequest { api_key_id: id.to_owned(), overlap_seconds });
        Ok(self.client.clone().rotate_api_key(request).await?.into_inner())
    }

    pub(crate) async fn business(&self, caller: &Principal, id: &str) -> Result<Business, Status> {
        let request = self.request(caller, GetBusinessRequest { business_id: id.to_owned() });
        Ok(self.client.clone().get_business(request).await?.into_inner())
    }

    pub(crate) async fn update(
        &self,
        caller: &Principal,
        if_match: &str,
        business: Business,
        mask: &[&str],
    ) -> Result<Business, Status> {
        let mut request = self.request(
            caller,
            UpdateBusinessRequest {
                business_id: caller.business.to_string(),
                business: Some(business),
                update_mask: mask.iter().map(ToString::to_string).collect(),
            },
        );
        request.metadata_mut().insert(header::IF_MATCH, if_match.parse().unwrap());
        Ok(self.client.clone().update_business(request).await?.into_inner())
    }

    pub(crate) fn pass_seconds(&self, seconds: i64) {
        self.env.now_us.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    pub(crate) fn in_seconds(&self, seconds: i64) -> prost_types::Timestamp {
        let (seconds, nanos) = self.env.now().plus_seconds(seconds).seconds_nanos();
        prost_types::Timestamp { seconds, nanos }
    }
}

pub(crate) fn new_business() -> Business {
    Business {
        legal_name: "Acme Süd".to_owned(),
        country: "DE".to_owned(),
        base_currency: "EUR".to_owned(),
        costing_method: CostingMethod::Fifo.into(),
        ..Business::default()
    }
}

pub(crate) fn new_tenant(slug: &str) -> BootstrapTenant {
    BootstrapTenant {
        slug: slug.to_owned(),
        name: "Acme".to_owned(),
        legal_name: "Acme GmbH".to_owned(),
        country: "DE".to_owned(),
        currency: Currency::parse("EUR").unwrap(),
        cost_scale: 2,
        costing: Costing::MovingAverage,
    }
}

pub(crate) fn new_key(role: &str) -> ApiKey {
    ApiKey { name: "till 4".to_owned(), role: role.to_owned(), ..ApiKey::default() }
}

/// What an assignment needs.
pub(crate) fn of(key: &str, role: &str, reach: Reach) -> Assignment {
    let (api_key_id, role_id) = (key.to_owned(), role.to_owned());
    Assignment { api_key_id, role_id, reach: reach.into(), ..Assignment::default() }
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Bad fields and their reasons.
pub(crate) fn fields(status: &Status) -> Vec<(String, String)> {
    let bad = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    bad.into_iter().map(|field| (field.field, field.reason)).collect()
}

/// Everything that a caller sees of a refusal.
pub(crate) fn bytes(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}
