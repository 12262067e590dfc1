//! What tenants, businesses and keys are, and what may happen to them. Pure.

mod access;
mod business;
mod command;
mod credential;
mod key;
mod network;
mod role;
mod state;
mod tree;

pub use access::{
    Access, AccessCommand, AccessEvent, Assignment, CustomRole, NewAssignment, NewRole, Reach, RoleUpdate,
};
pub use business::{Business, BusinessUpdate, Costing, NewBusiness, Placed};
pub use command::{Command, Event};
pub use credential::{Credential, SECRET_LETTERS};
pub use key::{ApiKey, Creator, NewKey, NewSecret, Previous, Use};
pub use network::Network;
pub use role::Role;
pub use state::{Directory, State, Tenant};
pub use tree::{Change, Node, PARTS, Status, Tree, TreeEvent, What, part};
