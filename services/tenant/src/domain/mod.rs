//! What tenants, businesses and keys are, and what may happen to them. Pure.

mod access;
mod account;
mod business;
mod command;
mod credential;
pub mod jwt;
mod key;
mod network;
mod opaque;
mod operator;
mod people;
mod plan;
pub mod provider;
mod role;
mod session;
mod state;
pub mod totp;
mod tree;
mod user;

pub use access::{
    Access, AccessCommand, AccessEvent, Assignment, CustomRole, NewAssignment, NewRole, Reach, RoleUpdate,
};
pub use account::{
    Account, AccountChange, AccountCommand, AccountEvent, AccountFact, Entitlement, Override, Standing,
};
pub use business::{Business, BusinessUpdate, Costing, NewBusiness, Placed};
pub use command::{Command, Event};
pub use credential::{Credential, SECRET_LETTERS};
pub use key::{ApiKey, Creator, NewKey, NewSecret, Previous, Use};
pub use network::Network;
pub use opaque::{Opaque, Purpose, RECOVERY_LETTERS, recovery_code, recovery_digest};
pub use operator::{Operator, OperatorAccess, OperatorCommand, OperatorEvent, OperatorStatus};
pub use people::{OWNERS_MAX, People, PeopleCommand, PeopleEvent};
pub use plan::{Feature, Kind, Plan, Value};
pub use provider::{NewProvider, PROVIDERS_MAX, Provider, ProviderUpdate};
pub use role::{Role, Roles};
pub use session::Session;
pub use state::{Directory, State, Tenant};
pub use tree::{Change, Node, PARTS, QUIET_SECONDS, Status, Tree, TreeEvent, What, part};
pub use user::{Invitation, Link, NewUser, Totp, User, UserStatus, UserUpdate};
