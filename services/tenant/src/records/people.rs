//! How people are stored.

use bytes::Bytes;
use calendar::Instant;
use ids::{AggregateId, SessionId, TenantId, UserId};
use journal::{Aggregate, Changes, Damage, Need, Seq};
use sha2::{Digest as _, Sha256};

use super::people_codec;
use crate::Error;
use crate::domain::{People, PeopleCommand, PeopleEvent};

/// Index of the users of a tenant.
pub const USERS: u16 = 0x0121;
/// Index of the sessions of a tenant that were not ended.
pub const SESSIONS: u16 = 0x0122;
/// Claim of an email address, in lower case, in the tenant's scope.
pub const EMAIL: u16 = 0x0121;

/// Claim of what a user is recognised by when a provider says who it is, in the tenant's scope.
pub const LINK: u16 = 0x0122;

/// The list of a tenant's identity providers.
pub(crate) fn providers(tenant: TenantId) -> AggregateId {
    let hash =
        Sha256::new().chain_update(b"cargo-pilot providers 1").chain_update(tenant.as_bytes()).finalize();
    AggregateId::from_bytes(std::array::from_fn(|at| hash[at]))
}

/// The list of a tenant's owners.
pub(crate) fn owners(tenant: TenantId) -> AggregateId {
    let hash = Sha256::new().chain_update(b"cargo-pilot owners 1").chain_update(tenant.as_bytes()).finalize();
    AggregateId::from_bytes(std::array::from_fn(|at| hash[at]))
}

/// Key of a session in [`SESSIONS`]: those of a user together, by age.
pub(crate) fn session_key(user: UserId, session: SessionId) -> Bytes {
    [*user.as_bytes(), *session.as_bytes()].concat().into()
}

impl Aggregate for People {
    type Command = PeopleCommand;
    type Event = PeopleEvent;
    type Error = Error;

    const SERVICE: &'static str = "tenant";
    const KIND: u8 = super::KIND_PEOPLE;
    const FORMAT: u8 = 1;

    /// All state is in the header.
    fn needs(&self, _: &PeopleCommand) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, need: &Need, _: Option<&[u8]>) -> Result<(), Damage> {
        Err(Damage(format!("{need:?} was not asked for")))
    }

    fn decide(&self, command: &PeopleCommand, now: Instant) -> Result<Vec<PeopleEvent>, Error> {
        People::decide(self, command, now)
    }

    fn evolve(&mut self, event: &PeopleEvent, seq: Seq, recorded_at: Instant) {
        People::evolve(self, event, seq, recorded_at);
    }

    fn project(&self, event: &PeopleEvent, _: Seq, changes: &mut Changes) {
        if let PeopleEvent::Invited(user) = event {
            changes.take(EMAIL, user.profile.email.clone().into_bytes());
        }
        if let PeopleEvent::Linked { link, .. } = event {
            changes.take(LINK, link.subject.to_vec());
        }
        match self {
            People::User(user) => changes.index(USERS, user.profile.id.as_bytes().to_vec(), self.header()),
            People::Session(session) => {
                let key = session_key(session.user, session.id);
                match session.ended_at {
                    None => changes.index(SESSIONS, key, self.header()),
                    Some(_) => changes.unindex(SESSIONS, key),
                }
            }
            People::Unborn | People::Owners(_) | People::Provider(_) | People::Providers(_) => {}
        }
    }

    fn save(&mut self, _: &mut Changes) {}

    fn header(&self) -> Bytes {
        people_codec::state(self)
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        people_codec::read_state(header)
    }

    fn encode(event: &PeopleEvent) -> Bytes {
        people_codec::event(event)
    }

    fn decode(bytes: &[u8]) -> Result<PeopleEvent, Damage> {
        people_codec::read_event(bytes)
    }
}
