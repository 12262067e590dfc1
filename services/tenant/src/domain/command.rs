//! What may be asked for, and what happens then.

use std::net::IpAddr;

use calendar::Instant;
use ids::{ApiKeyId, BusinessId};
use rpc::Actor;

use crate::domain::{ApiKey, Business, BusinessUpdate, NewBusiness, NewKey, NewSecret, Role, Tenant};

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Reserves a slug for a tenant, in the directory.
    Register {
        /// What the tenant is called in addresses; unique on the platform.
        slug: String,
    },
    /// Notes in the directory which tenant a key belongs to.
    RegisterKey {
        /// The key.
        key: ApiKeyId,
    },
    /// Makes a tenant.
    CreateTenant {
        /// What it is called in addresses.
        slug: String,
        /// What people call it.
        name: String,
        /// The root of its tree of businesses.
        master: BusinessId,
        /// Key of page tokens and derived ids, random.
        secret: [u8; 32],
    },
    /// Makes a business.
    CreateBusiness(NewBusiness),
    /// Changes a business.
    UpdateBusiness(BusinessUpdate),
    /// Makes an API key.
    IssueKey(NewKey),
    /// Ends an API key for good. Repeating it changes nothing.
    RevokeKey,
    /// Gives an API key a new secret.
    RotateKey(NewSecret),
    /// Gives an API key of a user to another. Repeating it changes nothing.
    ReassignKey {
        /// Whom it belongs to.
        from: Actor,
        /// Whom it is to belong to.
        to: Actor,
        /// The role of `from`: the key can do no more from then on.
        under: Role,
    },
    /// Notes that an API key was used, unless that was noted a short while ago.
    NoteUse {
        /// Where the request came from.
        ip: Option<IpAddr>,
    },
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A slug was reserved.
    Registered {
        /// The slug.
        slug: String,
    },
    /// A key was noted in the directory.
    KeyRegistered {
        /// The key.
        key: ApiKeyId,
    },
    /// A tenant was made.
    TenantCreated(Tenant),
    /// A business was made.
    BusinessCreated(Business),
    /// A business changed: the fields that did.
    BusinessUpdated(BusinessUpdate),
    /// An API key was made.
    KeyIssued(ApiKey),
    /// An API key was revoked.
    KeyRevoked,
    /// An API key has a new secret.
    KeyRotated(NewSecret),
    /// An API key belongs to another user.
    KeyReassigned {
        /// To whom.
        to: Actor,
        /// The role of the user before.
        under: Role,
    },
    /// An API key was used: one of many uses.
    KeyUsed {
        /// When.
        at: Instant,
        /// Where the request came from.
        ip: Option<IpAddr>,
    },
}
