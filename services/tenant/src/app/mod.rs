//! What the service does, one use case per file.

mod account;
mod assignments;
mod authenticate;
mod bootstrap;
mod create_api_key;
mod effective;
mod explain;
mod granted;
mod identity;
mod key_use;
mod list;
mod oidc;
mod operator;
mod places;
mod read;
mod reassign_keys;
mod revoke_api_key;
mod roles;
mod rotate_api_key;
mod tree;
mod update_business;

use std::sync::{Arc, OnceLock, Weak};

use ids::{AggregateId, TenantId};
use journal::{Actor, Env, Journal, Keep, KeyHash, Meta, Request, Scope, Seq, SharedStore};
use recent::Recent;
use rpc::SYSTEM_TENANT;

pub use account::Tenancy;
pub use assignments::{CreateAssignment, Who};
pub use authenticate::{Authenticated, Login};
pub use bootstrap::{BootstrapTenant, Bootstrapped};
pub use create_api_key::{CreateApiKey, CreatedKey};
pub use explain::{Explained, Explanation, Gate, Source};
pub use granted::{ASSIGNMENTS_MAX, Assigned};
pub use identity::{Enrolled, Invite, Invited, Proof, SignIn, SignedIn};
pub use list::Page;
pub use oidc::{CreateProvider, FinishLogin, StartLogin, Started, UpdateProvider};
pub use places::Places;
pub use read::CallerRole;
pub use reassign_keys::{REASSIGNED_MAX, Reassign, Reassigned};
pub use roles::AnyRole;
pub use tree::CreateBusiness;

use crate::domain::{Access, Account, Operator, People, State, Tree};
use crate::{Config, Error};
use identity::{Passwords, Throttle};
use oidc::Issuers;

/// Trees that are remembered, at most 1 MiB each and usually some KiB.
const TREES_MAX: usize = 256;
/// Accounts that are remembered, some hundred bytes each.
const ACCOUNTS_MAX: usize = 4096;

/// The use cases of the service.
#[derive(Clone)]
pub struct App {
    journal: Journal<State>,
    /// Roles and assignments.
    access: Journal<Access>,
    /// Users, sessions, owners.
    people: Journal<People>,
    trees: Journal<Tree>,
    /// Trees that were read, with the sequence that they belong to.
    grown: Arc<Recent<TenantId, (Seq, Arc<Tree>)>>,
    accounts: Journal<Account>,
    operators: Journal<Operator>,
    /// Accounts that were read, with the sequence that they belong to.
    known_accounts: Arc<Recent<TenantId, (Seq, Account)>>,
    env: Arc<dyn Env>,
    config: Config,
    uses: Arc<key_use::Uses>,
    passwords: Arc<Passwords>,
    throttle: Arc<Throttle>,
    /// Weak, because the stock service asks this one: in one process neither would ever end.
    places: Arc<OnceLock<Weak<Places>>>,
    /// How far the items of businesses were looked at that are to be closed.
    looks: Arc<Recent<places::Looked, places::Look>>,
    issuers: Arc<Issuers>,
}

impl App {
    pub(crate) fn new(store: SharedStore, env: Arc<dyn Env>, config: Config) -> Self {
        let access = Journal::new(Arc::clone(&store), Arc::clone(&env));
        let people = Journal::new(Arc::clone(&store), Arc::clone(&env));
        let trees = Journal::new(Arc::clone(&store), Arc::clone(&env));
        let grown = Arc::new(Recent::new(TREES_MAX));
        let accounts = Journal::new(Arc::clone(&store), Arc::clone(&env));
        let operators = Journal::new(Arc::clone(&store), Arc::clone(&env));
        let known_accounts = Arc::new(Recent::new(ACCOUNTS_MAX));
        App {
            journal: Journal::new(store, Arc::clone(&env)),
            access,
            people,
            trees,
            grown,
            uses: Arc::default(),
            passwords: Arc::new(Passwords::new(config.pepper)),
            throttle: Arc::default(),
            places: Arc::default(),
            looks: Arc::new(Recent::new(places::LOOKS_MAX)),
            issuers: Arc::new(Issuers::new(config.outbound.clone())),
            accounts,
            operators,
            known_accounts,
            env,
            config,
        }
    }

    /// The journal of the service, for `verify` and exports.
    pub fn journal(&self) -> &Journal<State> {
        &self.journal
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.env.random(&mut bytes);
        bytes
    }

    /// A request of the platform itself, which needs no idempotency key: what it does is idempotent.
    fn internal<C>(&self, job: &str, command: C) -> Request<C> {
        Request { command, meta: self.internal_meta(job) }
    }

    fn internal_meta(&self, job: &str) -> Meta {
        Meta {
            actor: Actor { kind: rpc::ActorKind::System.name().to_owned(), id: job.to_owned() },
            key: KeyHash(self.random()),
            fingerprint: [0; 16],
            keep: Keep::No,
            request_id: String::new(),
            trace: None,
        }
    }

    /// Notes in the directory that a key belongs to a tenant; before the key is made.
    async fn register_key(&self, tenant: TenantId, key: ids::ApiKeyId) -> Result<(), Error> {
        let scope = Scope { tenant: SYSTEM_TENANT, aggregate: tenant.into() };
        let request = self.internal("directory", crate::domain::Command::RegisterKey { key });
        self.journal.submit(scope, request).await?;
        Ok(())
    }

    /// Reads one aggregate; an unborn one is [`State::Unborn`].
    async fn state(&self, tenant: TenantId, aggregate: impl Into<AggregateId>) -> Result<State, Error> {
        let scope = Scope { tenant, aggregate: aggregate.into() };
        let view = self.journal.read(scope, |_| vec![]).await?;
        Ok(view.map_or(State::Unborn, |view| view.state))
    }

    /// Reads a role or an assignment; an unborn one is [`Access::Unborn`].
    async fn access_state(
        &self,
        tenant: TenantId,
        aggregate: impl Into<AggregateId>,
    ) -> Result<Access, Error> {
        let scope = Scope { tenant, aggregate: aggregate.into() };
        let view = self.access.read(scope, |_| vec![]).await?;
        Ok(view.map_or(Access::Unborn, |view| view.state))
    }
}
