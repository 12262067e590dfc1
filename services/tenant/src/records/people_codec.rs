//! Format 1 of the people's headers and events: protobuf. Fields are added, never renumbered.

use bytes::Bytes;
use calendar::Instant;
use ids::{BusinessId, ProviderId, SessionId, UserId};
use journal::Damage;
use prost::{Message, Oneof};

use super::codec::{damage, fixed, instant};
use super::provider_codec::{StoredProvider, StoredProviderUpdate};
use crate::domain::{
    Invitation, Link, NewUser, People, PeopleEvent, Role, Session, Totp, User, UserStatus, UserUpdate,
};

#[derive(Clone, PartialEq, Message)]
struct StoredPeople {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(message, boxed, tag = "1")]
    User(Box<StoredUser>),
    #[prost(message, tag = "2")]
    Session(StoredSession),
    #[prost(message, tag = "3")]
    Owners(StoredOwners),
    #[prost(message, boxed, tag = "4")]
    Provider(Box<StoredProvider>),
    #[prost(message, tag = "5")]
    Providers(StoredProviders),
}

#[derive(Clone, PartialEq, Message)]
struct StoredEvent {
    #[prost(oneof = "What", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(message, boxed, tag = "1")]
    Invited(Box<StoredUser>),
    #[prost(string, tag = "2")]
    Accepted(String),
    #[prost(message, tag = "3")]
    Updated(StoredUpdate),
    #[prost(string, tag = "4")]
    Turned(String),
    #[prost(string, tag = "5")]
    PasswordChanged(String),
    #[prost(bytes, tag = "6")]
    Enrolled(Vec<u8>),
    #[prost(message, tag = "7")]
    Confirmed(StoredTotp),
    #[prost(uint64, tag = "8")]
    CodeUsed(u64),
    #[prost(bytes, tag = "9")]
    RecoveryUsed(Vec<u8>),
    #[prost(bytes, tag = "10")]
    OwnerAdded(Vec<u8>),
    #[prost(bytes, tag = "11")]
    OwnerRemoved(Vec<u8>),
    #[prost(message, tag = "12")]
    Begun(StoredSession),
    #[prost(message, tag = "13")]
    Seen(StoredNothing),
    #[prost(message, tag = "14")]
    Proven(StoredNothing),
    #[prost(message, tag = "15")]
    Ended(StoredNothing),
    #[prost(message, tag = "16")]
    Reinvited(StoredInvitation),
    #[prost(message, boxed, tag = "17")]
    ProviderAdded(Box<StoredProvider>),
    #[prost(message, boxed, tag = "18")]
    ProviderUpdated(Box<StoredProviderUpdate>),
    #[prost(bytes, tag = "19")]
    ProviderListed(Vec<u8>),
    #[prost(message, tag = "20")]
    Linked(StoredLink),
}

#[derive(Clone, PartialEq, Message)]
struct StoredLink {
    #[prost(bytes = "vec", tag = "1")]
    provider: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    issuer: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    subject: Vec<u8>,
}

impl StoredLink {
    fn of(provider: Option<ProviderId>, link: &Link) -> StoredLink {
        StoredLink {
            provider: provider.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            issuer: link.issuer.to_vec(),
            subject: link.subject.to_vec(),
        }
    }

    fn link(self) -> Result<Link, Damage> {
        Ok(Link { issuer: fixed(self.issuer)?, subject: fixed(self.subject)? })
    }
}

#[derive(Clone, PartialEq, Message)]
struct StoredProviders {
    #[prost(bytes = "vec", repeated, tag = "1")]
    providers: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredNothing {}

#[derive(Clone, PartialEq, Message)]
struct StoredInvitation {
    #[prost(bytes = "vec", tag = "1")]
    digest: Vec<u8>,
    #[prost(sint64, tag = "2")]
    until_us: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredOwners {
    #[prost(bytes = "vec", repeated, tag = "1")]
    users: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredUser {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    email: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    locale: String,
    #[prost(string, tag = "5")]
    role: String,
    #[prost(bytes = "vec", tag = "6")]
    business: Vec<u8>,
    #[prost(message, optional, tag = "7")]
    invitation: Option<StoredInvitation>,
    #[prost(string, tag = "9")]
    status: String,
    #[prost(string, tag = "10")]
    password: String,
    #[prost(message, optional, tag = "11")]
    totp: Option<StoredTotp>,
    #[prost(sint64, tag = "12")]
    sessions_from_us: i64,
    #[prost(uint64, tag = "13")]
    revision: u64,
    #[prost(sint64, tag = "14")]
    created_us: i64,
    #[prost(sint64, tag = "15")]
    updated_us: i64,
    #[prost(message, repeated, tag = "16")]
    links: Vec<StoredLink>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredTotp {
    /// 20 bytes; empty: none.
    #[prost(bytes = "vec", tag = "1")]
    seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pending: Vec<u8>,
    #[prost(uint64, tag = "3")]
    last_step: u64,
    #[prost(bytes = "vec", repeated, tag = "4")]
    recovery: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredUpdate {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    locale: Option<String>,
    #[prost(string, optional, tag = "3")]
    role: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredSession {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    user: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
    #[prost(sint64, tag = "4")]
    created_us: i64,
    #[prost(sint64, tag = "5")]
    seen_us: i64,
    #[prost(sint64, tag = "6")]
    proven_us: i64,
    #[prost(sint64, optional, tag = "7")]
    ended_us: Option<i64>,
}

pub(super) fn state(state: &People) -> Bytes {
    let kind = match state {
        People::Unborn => None,
        People::User(user) => Some(Kind::User(Box::new((&**user).into()))),
        People::Session(session) => Some(Kind::Session(session.into())),
        People::Owners(owners) => {
            let users = owners.iter().map(|id| id.as_bytes().to_vec()).collect();
            Some(Kind::Owners(StoredOwners { users }))
        }
        People::Provider(provider) => Some(Kind::Provider(Box::new((&**provider).into()))),
        People::Providers(listed) => {
            let providers = listed.iter().map(|id| id.as_bytes().to_vec()).collect();
            Some(Kind::Providers(StoredProviders { providers }))
        }
    };
    StoredPeople { kind }.encode_to_vec().into()
}

pub(super) fn read_state(bytes: &[u8]) -> Result<People, Damage> {
    Ok(match StoredPeople::decode(bytes)?.kind {
        None => People::Unborn,
        Some(Kind::User(user)) => People::User(Box::new((*user).try_into()?)),
        Some(Kind::Session(session)) => People::Session(session.try_into()?),
        Some(Kind::Owners(owners)) => {
            People::Owners(owners.users.into_iter().map(user_id).collect::<Result<_, _>>()?)
        }
        Some(Kind::Provider(provider)) => People::Provider(Box::new((*provider).try_into()?)),
        Some(Kind::Providers(listed)) => {
            People::Providers(listed.providers.into_iter().map(provider_id).collect::<Result<_, _>>()?)
        }
    })
}

pub(super) fn event(event: &PeopleEvent) -> Bytes {
    let what = match event {
        PeopleEvent::Invited(user) => What::Invited(Box::new((&**user).into())),
        PeopleEvent::Accepted { password } => What::Accepted(password.clone()),
        PeopleEvent::Reinvited(invitation) => What::Reinvited(invitation.into()),
        PeopleEvent::Updated(changed) => What::Updated(StoredUpdate {
            name: changed.name.clone(),
            locale: changed.locale.clone(),
            role: changed.role.map(|role| role.code().to_owned()),
        }),
        PeopleEvent::Turned(to) => What::Turned(to.name().to_owned()),
        PeopleEvent::PasswordChanged { password } => What::PasswordChanged(password.clone()),
        PeopleEvent::Enrolled { seed } => What::Enrolled(seed.to_vec()),
        PeopleEvent::Confirmed { seed, step, recovery } => What::Confirmed(StoredTotp {
            seed: seed.to_vec(),
            pending: vec![],
            last_step: *step,
            recovery: recovery.iter().map(|digest| digest.to_vec()).collect(),
        }),
        PeopleEvent::CodeUsed { step } => What::CodeUsed(*step),
        PeopleEvent::RecoveryUsed { digest } => What::RecoveryUsed(digest.to_vec()),
        PeopleEvent::OwnerAdded(user) => What::OwnerAdded(user.as_bytes().to_vec()),
        PeopleEvent::OwnerRemoved(user) => What::OwnerRemoved(user.as_bytes().to_vec()),
        PeopleEvent::ProviderAdded(provider) => What::ProviderAdded(Box::new((&**provider).into())),
        PeopleEvent::ProviderUpdated(changed) => What::ProviderUpdated(Box::new(changed.into())),
        PeopleEvent::ProviderListed(id) => What::ProviderListed(id.as_bytes().to_vec()),
        PeopleEvent::Linked { provider, link } => What::Linked(StoredLink::of(Some(*provider), link)),
        PeopleEvent::Begun(session) => What::Begun(session.into()),
        PeopleEvent::Seen => What::Seen(StoredNothing {}),
        PeopleEvent::Proven => What::Proven(StoredNothing {}),
        PeopleEvent::Ended => What::Ended(StoredNothing {}),
    };
    StoredEvent { what: Some(what) }.encode_to_vec().into()
}

pub(super) fn read_event(bytes: &[u8]) -> Result<PeopleEvent, Damage> {
    let what = StoredEvent::decode(bytes)?.what.ok_or_else(|| damage("an event without content"))?;
    Ok(match what {
        What::Invited(user) => PeopleEvent::Invited(Box::new((*user).try_into()?)),
        What::Accepted(password) => PeopleEvent::Accepted { password },
        What::Reinvited(invitation) => PeopleEvent::Reinvited(invitation.try_into()?),
        What::Updated(changed) => PeopleEvent::Updated(UserUpdate {
            expected: None,
            name: changed.name,
            locale: changed.locale,
            role: changed.role.as_deref().map(role).transpose()?,
        }),
        What::Turned(to) => PeopleEvent::Turned(status(&to)?),
        What::PasswordChanged(password) => PeopleEvent::PasswordChanged { password },
        What::Enrolled(seed) => PeopleEvent::Enrolled { seed: fixed(seed)? },
        What::Confirmed(totp) => PeopleEvent::Confirmed {
            seed: fixed(totp.seed)?,
            step: totp.last_step,
            recovery: totp.recovery.into_iter().map(fixed).collect::<Result<_, _>>()?,
        },
        What::CodeUsed(step) => PeopleEvent::CodeUsed { step },
        What::RecoveryUsed(digest) => PeopleEvent::RecoveryUsed { digest: fixed(digest)? },
        What::OwnerAdded(user) => PeopleEvent::OwnerAdded(user_id(user)?),
        What::OwnerRemoved(user) => PeopleEvent::OwnerRemoved(user_id(user)?),
        What::ProviderAdded(provider) => PeopleEvent::ProviderAdded(Box::new((*provider).try_into()?)),
        What::ProviderUpdated(changed) => PeopleEvent::ProviderUpdated((*changed).try_into()?),
        What::ProviderListed(id) => PeopleEvent::ProviderListed(provider_id(id)?),
        What::Linked(stored) => {
            PeopleEvent::Linked { provider: provider_id(stored.provider.clone())?, link: stored.link()? }
        }
        What::Begun(session) => PeopleEvent::Begun(session.try_into()?),
        What::Seen(StoredNothing {}) => PeopleEvent::Seen,
        What::Proven(StoredNothing {}) => PeopleEvent::Proven,
        What::Ended(StoredNothing {}) => PeopleEvent::Ended,
    })
}

pub(super) fn provider_id(bytes: Vec<u8>) -> Result<ProviderId, Damage> {
    Ok(ProviderId::from_bytes(fixed(bytes)?))
}

impl From<&User> for StoredUser {
    fn from(user: &User) -> Self {
        let profile = &user.profile;
        let bytes = |seed: Option<[u8; 20]>| seed.map(|seed| seed.to_vec()).unwrap_or_default();
        StoredUser {
            id: profile.id.as_bytes().to_vec(),
            email: profile.email.clone(),
            name: profile.name.clone(),
            locale: profile.locale.clone(),
            role: profile.role.code().to_owned(),
            business: profile.business.as_bytes().to_vec(),
            invitation: Some((&profile.invitation).into()),
            status: user.status.name().to_owned(),
            password: user.password.clone(),
            totp: Some(StoredTotp {
                seed: bytes(user.totp.seed),
                pending: bytes(user.totp.pending),
                last_step: user.totp.last_step,
                recovery: user.totp.recovery.iter().map(|digest| digest.to_vec()).collect(),
            }),
            links: user.links.iter().map(|link| StoredLink::of(None, link)).collect(),
            sessions_from_us: user.sessions_from.unix_micros(),
            revision: user.revision,
            created_us: user.created_at.unix_micros(),
            updated_us: user.updated_at.unix_micros(),
        }
    }
}

impl TryFrom<StoredUser> for User {
    type Error = Damage;

    fn try_from(stored: StoredUser) -> Result<Self, Damage> {
        let totp = stored.totp.unwrap_or_default();
        let seed = |bytes: Vec<u8>| (!bytes.is_empty()).then(|| fixed(bytes)).transpose();
        Ok(User {
            profile: NewUser {
                id: user_id(stored.id)?,
                email: stored.email,
                name: stored.name,
                locale: stored.locale,
                role: role(&stored.role)?,
                business: BusinessId::from_bytes(fixed(stored.business)?),
                invitation: stored
                    .invitation
                    .ok_or_else(|| damage("a user without invitation"))?
                    .try_into()?,
            },
            status: status(&stored.status)?,
            password: stored.password,
            totp: Totp {
                seed: seed(totp.seed)?,
                pending: seed(totp.pending)?,
                last_step: totp.last_step,
                recovery: totp.recovery.into_iter().map(fixed).collect::<Result<_, _>>()?,
            },
            links: stored.links.into_iter().map(StoredLink::link).collect::<Result<_, _>>()?,
            sessions_from: instant(stored.sessions_from_us)?,
            revision: stored.revision,
            created_at: instant(stored.created_us)?,
            updated_at: instant(stored.updated_us)?,
        })
    }
}

impl From<&Invitation> for StoredInvitation {
    fn from(invitation: &Invitation) -> Self {
        let until_us = invitation.expires_at.unix_micros();
        StoredInvitation { digest: invitation.digest.to_vec(), until_us }
    }
}

impl TryFrom<StoredInvitation> for Invitation {
    type Error = Damage;

    fn try_from(stored: StoredInvitation) -> Result<Self, Damage> {
        Ok(Invitation { digest: fixed(stored.digest)?, expires_at: instant(stored.until_us)? })
    }
}

impl From<&Session> for StoredSession {
    fn from(session: &Session) -> Self {
        StoredSession {
            id: session.id.as_bytes().to_vec(),
            user: session.user.as_bytes().to_vec(),
            digest: session.digest.to_vec(),
            created_us: session.created_at.unix_micros(),
            seen_us: session.seen_at.unix_micros(),
            proven_us: session.proven_at.unix_micros(),
            ended_us: session.ended_at.map(Instant::unix_micros),
        }
    }
}

impl TryFrom<StoredSession> for Session {
    type Error = Damage;

    fn try_from(stored: StoredSession) -> Result<Self, Damage> {
        Ok(Session {
            id: SessionId::from_bytes(fixed(stored.id)?),
            user: user_id(stored.user)?,
            digest: fixed(stored.digest)?,
            created_at: instant(stored.created_us)?,
            seen_at: instant(stored.seen_us)?,
            proven_at: instant(stored.proven_us)?,
            ended_at: stored.ended_us.map(instant).transpose()?,
        })
    }
}

fn user_id(bytes: Vec<u8>) -> Result<UserId, Damage> {
    Ok(UserId::from_bytes(fixed(bytes)?))
}

fn role(code: &str) -> Result<Role, Damage> {
    Role::parse(code).ok_or_else(|| damage("the role of a user"))
}

fn status(name: &str) -> Result<UserStatus, Damage> {
    UserStatus::parse(name).ok_or_else(|| damage("the status of a user"))
}

#[cfg(test)]
mod tests {
    use journal::Aggregate as _;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::jwt::Algorithm;
    use crate::domain::{NewProvider, Provider, ProviderUpdate};

    fn instants() -> impl Strategy<Value = Instant> {
        (Instant::MIN.unix_micros()..=Instant::MAX.unix_micros()).prop_map(Instant::from_unix_micros)
    }

    fn users() -> impl Strategy<Value = User> {
        let totp =
            (any::<Option<[u8; 20]>>(), any::<Option<[u8; 20]>>(), any::<u64>(), any::<Vec<[u8; 16]>>());
        let status =
            prop_oneof![Just(UserStatus::Invited), Just(UserStatus::Active), Just(UserStatus::Locked)];
        let texts = ("[a-z]{1,30}@[a-z]{1,30}", ".{1,100}", "[a-z]{0,8}", ".{0,100}");
        (any::<[u8; 16]>(), any::<[u8; 32]>(), texts, totp, status, instants(), instants(), any::<u64>())
            .prop_map(|(id, digest, (email, name, locale, password), totp, status, at, later, revision)| {
                let (seed, pending, last_step, recovery) = totp;
                let invitation = Invitation { digest, expires_at: later };
                let (id, business) = (UserId::from_bytes(id), BusinessId::from_bytes(id));
                let profile = NewUser { id, email, name, locale, role: Role::Clerk, business, invitation };
                User {
                    status,
                    password,
                    totp: Totp { seed, pending, last_step, recovery },
                    revision,
                    updated_at: later,
                    sessions_from: later,
                    ..User::new(profile, at)
                }
            })
    }

    fn sessions() -> impl Strategy<Value = Session> {
        let optional = proptest::option::of(instants());
        (any::<[u8; 16]>(), any::<[u8; 32]>(), instants(), instants(), optional).prop_map(
            |(id, digest, at, later, ended_at)| {
                let (id, user) = (SessionId::from_bytes(id), UserId::from_bytes(id));
                Session { id, user, digest, created_at: at, seen_at: later, proven_at: later, ended_at }
            },
        )
    }

    fn user_ids() -> impl Strategy<Value = UserId> {
        any::<[u8; 16]>().prop_map(UserId::from_bytes)
    }

    fn links() -> impl Strategy<Value = Link> {
        any::<([u8; 32], [u8; 32])>().prop_map(|(issuer, subject)| Link { issuer, subject })
    }

    fn providers() -> impl Strategy<Value = Provider> {
        let texts = any::<(String, String, String, Vec<String>)>();
        (any::<[u8; 16]>(), texts, any::<Vec<u8>>(), any::<(bool, bool, bool)>(), instants()).prop_map(
            |(id, (name, issuer, client_id, redirect_uris), secret, (bearer, link_by_email, enabled), at)| {
                let id = ProviderId::from_bytes(id);
                let algorithms = Algorithm::ALL.to_vec();
                let is = NewProvider {
                    id,
                    name,
                    issuer,
                    client_id,
                    secret,
                    bearer,
                    algorithms,
                    redirect_uris,
                    link_by_email,
                };
                Provider { enabled, ..Provider::new(is, at) }
            },
        )
    }

    fn events() -> impl Strategy<Value = PeopleEvent> {
        let totp = (any::<[u8; 20]>(), any::<u64>(), any::<Vec<[u8; 16]>>());
        let update = (any::<Option<String>>(), any::<Option<String>>(), any::<bool>());
        prop_oneof![
            users().prop_map(|user| PeopleEvent::Invited(Box::new(user))),
            any::<String>().prop_map(|password| PeopleEvent::Accepted { password }),
            (any::<[u8; 32]>(), instants()).prop_map(|(digest, expires_at)| {
                PeopleEvent::Reinvited(Invitation { digest, expires_at })
            }),
            update.prop_map(|(name, locale, role)| {
                let role = role.then_some(Role::Viewer);
                PeopleEvent::Updated(UserUpdate { expected: None, name, locale, role })
            }),
            Just(PeopleEvent::Turned(UserStatus::Deactivated)),
            any::<String>().prop_map(|password| PeopleEvent::PasswordChanged { password }),
            any::<[u8; 20]>().prop_map(|seed| PeopleEvent::Enrolled { seed }),
            totp.prop_map(|(seed, step, recovery)| PeopleEvent::Confirmed { seed, step, recovery }),
            any::<u64>().prop_map(|step| PeopleEvent::CodeUsed { step }),
            any::<[u8; 16]>().prop_map(|digest| PeopleEvent::RecoveryUsed { digest }),
            user_ids().prop_map(PeopleEvent::OwnerAdded),
            user_ids().prop_map(PeopleEvent::OwnerRemoved),
            sessions().prop_map(PeopleEvent::Begun),
            providers().prop_map(|provider| PeopleEvent::ProviderAdded(Box::new(provider))),
            providers().prop_map(|provider| {
                let is = provider.is;
                PeopleEvent::ProviderUpdated(ProviderUpdate {
                    expected: None,
                    name: Some(is.name),
                    client_id: None,
                    secret: Some(is.secret),
                    bearer: Some(is.bearer),
                    algorithms: Some(is.algorithms),
                    redirect_uris: Some(is.redirect_uris),
                    link_by_email: None,
                    enabled: Some(provider.enabled),
                })
            }),
            any::<[u8; 16]>().prop_map(|id| PeopleEvent::ProviderListed(ProviderId::from_bytes(id))),
            (any::<[u8; 16]>(), links()).prop_map(|(id, link)| {
                PeopleEvent::Linked { provider: ProviderId::from_bytes(id), link }
            }),
            Just(PeopleEvent::Seen),
            Just(PeopleEvent::Proven),
            Just(PeopleEvent::Ended),
        ]
    }

    fn states() -> impl Strategy<Value = People> {
        prop_oneof![
            Just(People::Unborn),
            users().prop_map(|user| People::User(Box::new(user))),
            sessions().prop_map(People::Session),
            proptest::collection::vec(user_ids(), 1..5).prop_map(People::Owners),
            providers().prop_map(|provider| People::Provider(Box::new(provider))),
            proptest::collection::vec(any::<[u8; 16]>().prop_map(ProviderId::from_bytes), 1..5)
                .prop_map(People::Providers),
        ]
    }

    proptest! {
        #[test]
        fn a_state_is_read_back(state in states()) {
            prop_assert_eq!(People::from_header(&state.header()), Ok(state));
        }

        #[test]
        fn an_event_is_read_back(event in events()) {
            prop_assert_eq!(People::decode(&People::encode(&event)), Ok(event));
        }

        #[test]
        fn no_bytes_make_the_decoders_fail(bytes: Vec<u8>) {
            let _ = People::from_header(&bytes);
            let _ = People::decode(&bytes);
        }
    }

    #[test]
    fn headers_stay_below_the_limit_of_the_journal() {
        let profile = NewUser {
            id: UserId::from_bytes([0xff; 16]),
            email: "e".repeat(NewUser::EMAIL_BYTES_MAX),
            name: "\u{1f600}".repeat(NewUser::NAME_CHARS_MAX),
            locale: "e".repeat(35),
            role: Role::Viewer,
            business: BusinessId::from_bytes([0xff; 16]),
            invitation: Invitation { digest: [0xff; 32], expires_at: Instant::MAX },
        };
        let totp = Totp {
            seed: Some([0xff; 20]),
            pending: Some([0xff; 20]),
            last_step: u64::MAX,
            recovery: vec![[0xff; 16]; 10],
        };
        let user =
            User { totp, password: "p".repeat(100), revision: u64::MAX, ..User::new(profile, Instant::MAX) };
        let link = Link { issuer: [0xff; 32], subject: [0xff; 32] };
        let user = User { links: vec![link; User::LINKS_MAX], ..user };
        let owners = vec![UserId::from_bytes([0xff; 16]); crate::domain::OWNERS_MAX];
        let is = NewProvider {
            id: ProviderId::from_bytes([0xff; 16]),
            name: "\u{1f600}".repeat(NewProvider::NAME_CHARS_MAX),
            issuer: "x".repeat(NewProvider::URL_BYTES_MAX),
            client_id: "x".repeat(NewProvider::CLIENT_ID_CHARS_MAX),
            secret: vec![0xff; NewProvider::SECRET_CHARS_MAX + 28],
            bearer: true,
            algorithms: Algorithm::ALL.to_vec(),
            redirect_uris: vec!["x".repeat(NewProvider::URL_BYTES_MAX); NewProvider::REDIRECT_URIS_MAX],
            link_by_email: true,
        };
        let provider = Provider { revision: u64::MAX, ..Provider::new(is, Instant::MAX) };
        let providers = vec![ProviderId::from_bytes([0xff; 16]); crate::domain::PROVIDERS_MAX];
        for state in [
            People::User(Box::new(user)),
            People::Owners(owners),
            People::Provider(Box::new(provider)),
            People::Providers(providers),
        ] {
            assert!(state.header().len() <= journal::store::HEADER_BYTES_MAX, "{}", state.header().len());
        }
    }
}
