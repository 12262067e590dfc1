//! How it is stored: numbers of indexes and claims, and what the journal must know.
//!
//! | where | key | value | serves | grows to |
//! |---|---|---|---|---|
//! | index [`BUSINESSES`] | id of the business: by age | header of the business | `ListBusinesses`; the tree tells which of them the caller may see | businesses of a tenant |
//! | index [`KEYS`] | id of the key: by age | header of the key | `ListApiKeys` | keys of a tenant |
//! | index [`ROLES`] | code of the role | header of the role | `ListRoles` | roles of a tenant |
//! | index [`ASSIGNMENTS`] | id of the assignment: by age | header of the assignment | `ListAssignments` | assignments of a tenant, the revoked ones too |
//! | index [`ASSIGNED`] | id of the principal, a zero byte, id of the assignment | header of the assignment | what `Authenticate` finds a principal's roles with | assignments that are not revoked |
//! | index [`OPERATOR_ACCESSES`] | id of the access: by age | header of the access | `ListOperatorAccesses` | what the operator asked for |
//! | claim [`SLUG`] in the scope of the platform | the slug | owned by the tenant | bootstrap finds its tenant again | tenants |
//! | claim [`KEY`] in the scope of the platform | id of the key, 16 bytes | owned by the tenant | `Authenticate` finds the tenant of a key | keys of the platform |
//! | index [`USERS`] | id of the user: by age | header of the user | `ListUsers` | users of a tenant |
//! | index [`SESSIONS`] | id of the user, then of the session | header of the session, until it is ended | `ListSessions` | 20 per user |
//! | claim [`EMAIL`] in the tenant's scope | email address in lower case | owned by the user | `SignIn` finds the user | users of a tenant |
//! | claim [`LINK`] in the tenant's scope | SHA-256 of issuer and subject | owned by the user, for good; counts while the user has the link | who signs in with an identity provider | links of users |
//!
//! The scope of the platform is [`rpc::SYSTEM_TENANT`], where each tenant has one directory aggregate
//! under the tenant's id. A key is noted there before it is made, so a key that works is always found;
//! one that was noted and not made is no key.

mod access;
mod account;
mod codec;
pub mod describe;
mod operator;
mod people;
mod people_codec;
mod provider_codec;
mod tree;
mod verify;

use bytes::Bytes;
use calendar::Instant;
use journal::{Aggregate, Changes, Damage, Need, Seq};

pub(crate) use access::{assigned_key, role_id};
pub(crate) use account::account_id;
pub use operator::OPERATOR_ACCESSES;
pub use people::{EMAIL, LINK, SESSIONS, USERS};
pub(crate) use people::{owners, providers};
pub use tree::tree_id;
pub use verify::verify_aggregate;

use crate::Error;
use crate::domain::{Command, Event, State};

/// Index of the businesses of a tenant. The numbers of this service begin with 1.
pub const BUSINESSES: u16 = 0x0101;
/// Index of the keys of a tenant.
pub const KEYS: u16 = 0x0102;
/// Index of the roles that a tenant made.
pub const ROLES: u16 = 0x0111;
/// Index of all assignments of a tenant.
pub const ASSIGNMENTS: u16 = 0x0112;
/// Index of the assignments of a principal.
pub const ASSIGNED: u16 = 0x0113;
/// Kind of tenants, businesses, keys and directory entries.
pub const KIND_STATE: u8 = 1;
/// Kind of the tree of businesses.
pub const KIND_TREE: u8 = 2;
/// Kind of roles and assignments.
pub const KIND_ACCESS: u8 = 5;
/// Kind of users, sessions, identity providers and the lists of owners and providers.
pub const KIND_PEOPLE: u8 = 6;
/// Kind of the account of a tenant.
pub const KIND_ACCOUNT: u8 = 7;
/// Kind of operator accesses.
pub const KIND_OPERATOR: u8 = 8;
/// Claim of a slug.
pub const SLUG: u16 = 0x0101;
/// Claim of a key's id.
pub const KEY: u16 = 0x0102;

impl Aggregate for State {
    type Command = Command;
    type Event = Event;
    type Error = Error;

    const SERVICE: &'static str = "tenant";
    const KIND: u8 = KIND_STATE;
    const FORMAT: u8 = 1;

    /// All state is in the header.
    fn needs(&self, _: &Command) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, need: &Need, _: Option<&[u8]>) -> Result<(), Damage> {
        Err(Damage(format!("{need:?} was not asked for")))
    }

    fn decide(&self, command: &Command, now: Instant) -> Result<Vec<Event>, Error> {
        State::decide(self, command, now)
    }

    fn evolve(&mut self, event: &Event, seq: Seq, recorded_at: Instant) {
        State::evolve(self, event, seq, recorded_at);
    }

    fn project(&self, event: &Event, _: Seq, changes: &mut Changes) {
        match event {
            Event::Registered { slug } => changes.take(SLUG, slug.clone().into_bytes()),
            Event::KeyRegistered { key } => changes.take(KEY, key.as_bytes().to_vec()),
            _ => {}
        }
        match self {
            State::Business(business) => {
                changes.index(BUSINESSES, business.id.as_bytes().to_vec(), self.header());
            }
            State::ApiKey(key) => changes.index(KEYS, key.issued.id.as_bytes().to_vec(), self.header()),
            State::Unborn | State::Directory(_) | State::Tenant(_) => {}
        }
    }

    fn save(&mut self, _: &mut Changes) {}

    fn header(&self) -> Bytes {
        codec::state(self)
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        codec::read_state(header)
    }

    fn encode(event: &Event) -> Bytes {
        codec::event(event)
    }

    fn decode(bytes: &[u8]) -> Result<Event, Damage> {
        codec::read_event(bytes)
    }
}
