//! Tenants, businesses, roles, assignments, API keys, and people who sign in.
//!
//! In reading order: [`Config`], [`domain`] (pure), [`App`] (the use cases), [`records`] (what is
//! stored), `convert` (every field check), `grpc`, [`Error`].

mod app;
mod config;
mod convert;
pub mod domain;
mod error;
mod grpc;
mod grpc_access;
mod grpc_account;
mod grpc_operator;
pub mod records;

use std::sync::Arc;

use journal::{Env, SharedStore};
use proto::tenant::v1::access_service_server::AccessServiceServer;
use proto::tenant::v1::account_service_server::AccountServiceServer;
use proto::tenant::v1::identity_service_server::IdentityServiceServer;
use proto::tenant::v1::operator_access_service_server::OperatorAccessServiceServer;
use proto::tenant::v1::tenant_service_server::TenantServiceServer;
use rpc::{Guard, Guarded, System, Transport};
use tower::Layer as _;

pub use app::{
    ASSIGNMENTS_MAX, AnyRole, App, Assigned, Authenticated, BootstrapTenant, Bootstrapped, CallerRole,
    CreateApiKey, CreateAssignment, CreateBusiness, CreateProvider, CreatedKey, Enrolled, Explained,
    Explanation, FinishLogin, Gate, Invite, Invited, Login, Page, Places, Proof, REASSIGNED_MAX, Reassign,
    Reassigned, SignIn, SignedIn, Source, StartLogin, Started, Tenancy, UpdateProvider, Who,
};
pub use config::Config;
pub use error::Error;
pub use grpc::Grpc;
pub use grpc_access::AccessGrpc;
pub use grpc_account::AccountGrpc;
pub use grpc_operator::OperatorGrpc;
pub use records::verify_aggregate;

/// What the service needs to be permitted elsewhere.
pub const NEEDS: [&str; 2] = ["location.read", "internal.tenant"];

/// Largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// The service.
#[derive(Clone)]
pub struct Service {
    app: App,
}

impl Service {
    /// Makes the service over its store.
    pub fn new(store: SharedStore, env: Arc<dyn Env>, config: Config) -> Self {
        Service { app: App::new(store, env, config) }
    }

    /// Tells where the stock service is, which is asked for locations and for what is on hand: `system` needs [`NEEDS`]. It is asked as
    /// long as the answer is kept: stock asks this service, and neither may keep the other alive.
    #[must_use]
    pub fn ask_stock(&self, transport: Transport, system: System) -> Arc<Places> {
        self.app.ask_stock(transport, system)
    }

    /// The use cases, for the server itself: bootstrap, verify.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The gRPC service behind its guard, to be mounted in [`rpc::Services`].
    pub fn server(&self, guard: &Guard) -> Guarded<TenantServiceServer<Grpc>> {
        let server = TenantServiceServer::new(Grpc::new(self.app.clone()));
        guard.layer(server.max_decoding_message_size(REQUEST_BYTES_MAX))
    }

    /// The gRPC service of roles and assignments behind its guard.
    pub fn access_server(&self, guard: &Guard) -> Guarded<AccessServiceServer<AccessGrpc>> {
        let server = AccessServiceServer::new(AccessGrpc::new(self.app.clone()));
        guard.layer(server.max_decoding_message_size(REQUEST_BYTES_MAX))
    }

    /// The gRPC service of people who sign in behind its guard.
    pub fn identity_server(&self, guard: &Guard) -> Guarded<IdentityServiceServer<Grpc>> {
        let server = IdentityServiceServer::new(Grpc::new(self.app.clone()));
        guard.layer(server.max_decoding_message_size(REQUEST_BYTES_MAX))
    }

    /// The gRPC service of operator access behind its guard.
    pub fn operator_server(&self, guard: &Guard) -> Guarded<OperatorAccessServiceServer<OperatorGrpc>> {
        let server = OperatorAccessServiceServer::new(OperatorGrpc::new(self.app.clone()));
        guard.layer(server.max_decoding_message_size(REQUEST_BYTES_MAX))
    }

    /// The gRPC service of the tenant's account behind its guard.
    pub fn account_server(&self, guard: &Guard) -> Guarded<AccountServiceServer<AccountGrpc>> {
        let server = AccountServiceServer::new(AccountGrpc::new(self.app.clone()));
        guard.layer(server.max_decoding_message_size(REQUEST_BYTES_MAX))
    }
}
