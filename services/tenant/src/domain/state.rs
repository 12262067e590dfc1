//! One aggregate: a directory entry, a tenant, a business or a key. They share a type so that a new
//! tenant with its business and its first key is one commit.

use std::fmt;

use calendar::Instant;
use ids::BusinessId;

use crate::Error;
use crate::domain::{ApiKey, Business, Command, Event, Use};

/// What the platform knows of a tenant outside of the tenant's own scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// What the tenant is called in addresses; unique on the platform.
    pub slug: String,
}

/// A tenant: isolation, and the key of its derived ids.
#[derive(Clone, PartialEq, Eq)]
pub struct Tenant {
    /// What it is called in addresses.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// The root of its tree of businesses.
    pub master: BusinessId,
    /// Key of page tokens and derived ids.
    pub secret: [u8; 32],
    /// When it was made.
    pub created_at: Instant,
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.slug)
    }
}

/// The state of one aggregate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Nothing happened yet.
    #[default]
    Unborn,
    /// In the scope of the platform, one per tenant.
    Directory(Directory),
    /// In the tenant's scope, one.
    Tenant(Tenant),
    /// In the tenant's scope, one per business.
    Business(Business),
    /// In the tenant's scope, one per key.
    ApiKey(ApiKey),
}

impl State {
    /// Decides what a command leads to. Pure: no clock, no I/O, `self` unchanged.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for what was made before, [`Error::NotFound`] for what is not there or
    /// is something else, and what [`Business::update`] refuses.
    pub fn decide(&self, command: &Command, now: Instant) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (State::Unborn, Command::Register { slug }) => Ok(vec![Event::Registered { slug: slug.clone() }]),
            (State::Directory(_), Command::RegisterKey { key }) => {
                Ok(vec![Event::KeyRegistered { key: *key }])
            }
            (State::Unborn, Command::CreateTenant { slug, name, master, secret }) => {
                let (slug, name) = (slug.clone(), name.clone());
                let tenant = Tenant { slug, name, master: *master, secret: *secret, created_at: now };
                Ok(vec![Event::TenantCreated(tenant)])
            }
            (State::Unborn, Command::CreateBusiness(new)) => {
                Ok(vec![Event::BusinessCreated(Business::new(new.clone(), now))])
            }
            (State::Unborn, Command::IssueKey(new)) => {
                Ok(vec![Event::KeyIssued(ApiKey::new(new.clone(), now))])
            }
            (State::Business(business), Command::UpdateBusiness(update)) => {
                Ok(business.update(update)?.map(Event::BusinessUpdated).into_iter().collect())
            }
            (State::ApiKey(key), Command::RevokeKey) if key.revoked_at.is_some() => Ok(vec![]),
            (State::ApiKey(_), Command::RevokeKey) => Ok(vec![Event::KeyRevoked]),
            (State::ApiKey(key), Command::RotateKey(secret)) => {
                key.rotate(now)?;
                Ok(vec![Event::KeyRotated(secret.clone())])
            }
            (State::ApiKey(key), Command::ReassignKey { from, to, under }) => {
                Ok(match key.reassign(from, to, now)? {
                    true => vec![],
                    false => vec![Event::KeyReassigned { to: to.clone(), under: *under }],
                })
            }
            (State::ApiKey(key), Command::NoteUse { ip }) => Ok(match key.notes_use(now) {
                true => vec![Event::KeyUsed { at: now, ip: *ip }],
                false => vec![],
            }),
            (_, Command::UpdateBusiness(_)) => Err(Error::NotFound { what: "business" }),
            (_, Command::RevokeKey | Command::RotateKey(_) | Command::NoteUse { .. }) => {
                Err(Error::NotFound { what: "API key" })
            }
            (_, Command::ReassignKey { .. }) => Err(Error::NotFound { what: "API key" }),
            (_, Command::RegisterKey { .. }) => Err(Error::NotFound { what: "tenant" }),
            (_, Command::Register { .. } | Command::CreateTenant { .. }) => Err(Error::AlreadyExists),
            (_, Command::CreateBusiness(_) | Command::IssueKey(_)) => Err(Error::AlreadyExists),
        }
    }

    /// Changes the state as the event says. Cannot fail.
    pub fn evolve(&mut self, event: &Event, seq: u64, recorded_at: Instant) {
        match (&mut *self, event) {
            (_, Event::Registered { slug }) => *self = State::Directory(Directory { slug: slug.clone() }),
            (_, Event::KeyRegistered { .. }) => {}
            (_, Event::TenantCreated(tenant)) => *self = State::Tenant(tenant.clone()),
            (_, Event::BusinessCreated(business)) => *self = State::Business(business.clone()),
            (State::Business(business), Event::BusinessUpdated(changed)) => {
                business.apply(changed, seq, recorded_at);
            }
            (_, Event::KeyIssued(key)) => *self = State::ApiKey(key.clone()),
            (State::ApiKey(key), Event::KeyRevoked) => key.revoked_at = Some(recorded_at),
            (State::ApiKey(key), Event::KeyRotated(secret)) => key.apply_rotation(secret),
            (State::ApiKey(key), Event::KeyReassigned { to, under }) => key.apply_reassignment(to, *under),
            (State::ApiKey(key), Event::KeyUsed { at, ip }) => key.last_used = Some(Use { at: *at, ip: *ip }),
            // `decide` lets these follow their own kind only; in damaged data `verify` finds the difference.
            (_, Event::BusinessUpdated(_) | Event::KeyRevoked) => {}
            (_, Event::KeyRotated(_) | Event::KeyReassigned { .. } | Event::KeyUsed { .. }) => {}
        }
    }
}
