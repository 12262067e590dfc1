//! Format 1 of headers and events: protobuf. Fields are added, never renumbered.

use bytes::Bytes;
use calendar::Instant;
use ids::{ApiKeyId, BusinessId};
use journal::Damage;
use money::Currency;
use prost::{Message, Oneof};
use rpc::{Actor, ActorKind};

use crate::domain::{
    ApiKey, Business, BusinessUpdate, Costing, Directory, Event, Network, NewKey, NewSecret, Previous, Role,
    Roles, State, Tenant, Use,
};

#[derive(Clone, PartialEq, Message)]
struct StoredState {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Directory(StoredDirectory),
    #[prost(message, tag = "2")]
    Tenant(StoredTenant),
    #[prost(message, tag = "3")]
    Business(StoredBusiness),
    #[prost(message, tag = "4")]
    ApiKey(StoredKey),
}

#[derive(Clone, PartialEq, Message)]
struct StoredEvent {
    #[prost(oneof = "What", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(message, tag = "1")]
    Registered(StoredDirectory),
    #[prost(bytes, tag = "2")]
    KeyRegistered(Vec<u8>),
    #[prost(message, tag = "3")]
    TenantCreated(StoredTenant),
    #[prost(message, tag = "4")]
    BusinessCreated(StoredBusiness),
    #[prost(message, tag = "5")]
    BusinessUpdated(StoredUpdate),
    #[prost(message, tag = "6")]
    KeyIssued(StoredKey),
    #[prost(message, tag = "7")]
    KeyRevoked(StoredNothing),
    #[prost(message, tag = "8")]
    KeyRotated(StoredSecret),
    #[prost(message, tag = "9")]
    KeyUsed(StoredUse),
    #[prost(message, tag = "10")]
    KeyReassigned(StoredReassignment),
}

#[derive(Clone, PartialEq, Message)]
struct StoredNothing {}

#[derive(Clone, PartialEq, Message)]
struct StoredReassignment {
    #[prost(string, tag = "1")]
    to_kind: String,
    #[prost(string, tag = "2")]
    to_id: String,
    #[prost(string, tag = "3")]
    under: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredDirectory {
    #[prost(string, tag = "1")]
    slug: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredTenant {
    #[prost(string, tag = "1")]
    slug: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes, tag = "3")]
    master: Vec<u8>,
    #[prost(bytes, tag = "4")]
    secret: Vec<u8>,
    #[prost(sint64, tag = "5")]
    created_us: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredBusiness {
    /// From the master down to the business itself.
    #[prost(bytes = "vec", repeated, tag = "1")]
    path: Vec<Vec<u8>>,
    #[prost(string, tag = "2")]
    legal_name: String,
    #[prost(string, tag = "3")]
    country: String,
    #[prost(string, tag = "4")]
    base_currency: String,
    #[prost(uint32, tag = "5")]
    cost_scale: u32,
    #[prost(string, tag = "6")]
    costing: String,
    #[prost(uint32, tag = "7")]
    backdate_window_days: u32,
    #[prost(uint64, tag = "8")]
    revision: u64,
    #[prost(sint64, tag = "9")]
    created_us: i64,
    #[prost(sint64, tag = "10")]
    updated_us: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredUpdate {
    #[prost(string, optional, tag = "1")]
    legal_name: Option<String>,
    #[prost(string, optional, tag = "2")]
    costing: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    backdate_window_days: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredKey {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    role: String,
    #[prost(string, repeated, tag = "4")]
    narrowed: Vec<String>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    path: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "6")]
    digest: Vec<u8>,
    #[prost(string, tag = "7")]
    last4: String,
    #[prost(sint64, optional, tag = "8")]
    expires_us: Option<i64>,
    /// See [`Network::to_bytes`].
    #[prost(bytes = "vec", repeated, tag = "9")]
    ip_allow: Vec<Vec<u8>>,
    #[prost(string, tag = "10")]
    creator_kind: String,
    #[prost(string, tag = "11")]
    creator_id: String,
    #[prost(sint64, tag = "12")]
    created_us: i64,
    #[prost(sint64, optional, tag = "13")]
    revoked_us: Option<i64>,
    #[prost(message, optional, boxed, tag = "14")]
    previous: Option<Box<StoredSecret>>,
    #[prost(message, optional, tag = "15")]
    last_used: Option<StoredUse>,
    #[prost(string, repeated, tag = "16")]
    under: Vec<String>,
}

/// A secret, and when it or the one before it stops working.
#[derive(Clone, PartialEq, Message)]
struct StoredSecret {
    #[prost(bytes = "vec", tag = "1")]
    digest: Vec<u8>,
    #[prost(string, tag = "2")]
    last4: String,
    #[prost(sint64, tag = "3")]
    until_us: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredUse {
    #[prost(sint64, tag = "1")]
    at_us: i64,
    /// Empty: unknown.
    #[prost(string, tag = "2")]
    ip: String,
}

pub(super) fn state(state: &State) -> Bytes {
    let kind = match state {
        State::Unborn => None,
        State::Directory(Directory { slug }) => Some(Kind::Directory(StoredDirectory { slug: slug.clone() })),
        State::Tenant(tenant) => Some(Kind::Tenant(tenant.into())),
        State::Business(business) => Some(Kind::Business(business.into())),
        State::ApiKey(key) => Some(Kind::ApiKey(key.into())),
    };
    StoredState { kind }.encode_to_vec().into()
}

pub(super) fn read_state(bytes: &[u8]) -> Result<State, Damage> {
    Ok(match StoredState::decode(bytes)?.kind {
        None => State::Unborn,
        Some(Kind::Directory(StoredDirectory { slug })) => State::Directory(Directory { slug }),
        Some(Kind::Tenant(tenant)) => State::Tenant(tenant.try_into()?),
        Some(Kind::Business(business)) => State::Business(business.try_into()?),
        Some(Kind::ApiKey(key)) => State::ApiKey(key.try_into()?),
    })
}

pub(super) fn event(event: &Event) -> Bytes {
    let what = match event {
        Event::Registered { slug } => What::Registered(StoredDirectory { slug: slug.clone() }),
        Event::KeyRegistered { key } => What::KeyRegistered(key.as_bytes().to_vec()),
        Event::TenantCreated(tenant) => What::TenantCreated(tenant.into()),
        Event::BusinessCreated(business) => What::BusinessCreated(business.into()),
        Event::BusinessUpdated(changed) => What::BusinessUpdated(StoredUpdate {
            legal_name: changed.legal_name.clone(),
            costing: changed.costing.map(|costing| costing_name(costing).to_owned()),
            backdate_window_days: changed.backdate_window_days,
        }),
        Event::KeyIssued(key) => What::KeyIssued(key.into()),
        Event::KeyRevoked => What::KeyRevoked(StoredNothing {}),
        Event::KeyRotated(secret) => What::KeyRotated(StoredSecret {
            digest: secret.digest.to_vec(),
            last4: secret.last4.clone(),
            until_us: secret.previous_until.unix_micros(),
        }),
        Event::KeyReassigned { to, under } => What::KeyReassigned(StoredReassignment {
            to_kind: to.kind.name().to_owned(),
            to_id: to.id.to_string(),
            under: under.code().to_owned(),
        }),
        Event::KeyUsed { at, ip } => What::KeyUsed(Use { at: *at, ip: *ip }.into()),
    };
    StoredEvent { what: Some(what) }.encode_to_vec().into()
}

pub(super) fn read_event(bytes: &[u8]) -> Result<Event, Damage> {
    let what = StoredEvent::decode(bytes)?.what.ok_or_else(|| damage("an event without content"))?;
    Ok(match what {
        What::Registered(StoredDirectory { slug }) => Event::Registered { slug },
        What::KeyRegistered(key) => Event::KeyRegistered { key: ApiKeyId::from_bytes(fixed(key)?) },
        What::TenantCreated(tenant) => Event::TenantCreated(tenant.try_into()?),
        What::BusinessCreated(business) => Event::BusinessCreated(business.try_into()?),
        What::BusinessUpdated(changed) => Event::BusinessUpdated(BusinessUpdate {
            expected: None,
            legal_name: changed.legal_name,
            costing: changed.costing.as_deref().map(read_costing).transpose()?,
            backdate_window_days: changed.backdate_window_days,
        }),
        What::KeyIssued(key) => Event::KeyIssued(key.try_into()?),
        What::KeyRevoked(StoredNothing {}) => Event::KeyRevoked,
        What::KeyRotated(secret) => Event::KeyRotated(NewSecret {
            digest: fixed(secret.digest)?,
            last4: secret.last4,
            previous_until: instant(secret.until_us)?,
        }),
        What::KeyReassigned(StoredReassignment { to_kind, to_id, under }) => {
            Event::KeyReassigned { to: read_actor(&to_kind, to_id)?, under: read_role(&under)? }
        }
        What::KeyUsed(used) => {
            let Use { at, ip } = used.try_into()?;
            Event::KeyUsed { at, ip }
        }
    })
}

impl From<&Tenant> for StoredTenant {
    fn from(tenant: &Tenant) -> Self {
        StoredTenant {
            slug: tenant.slug.clone(),
            name: tenant.name.clone(),
            master: tenant.master.as_bytes().to_vec(),
            secret: tenant.secret.to_vec(),
            created_us: tenant.created_at.unix_micros(),
        }
    }
}

impl TryFrom<StoredTenant> for Tenant {
    type Error = Damage;

    fn try_from(stored: StoredTenant) -> Result<Self, Damage> {
        Ok(Tenant {
            slug: stored.slug,
            name: stored.name,
            master: BusinessId::from_bytes(fixed(stored.master)?),
            secret: fixed(stored.secret)?,
            created_at: instant(stored.created_us)?,
        })
    }
}

impl From<&Business> for StoredBusiness {
    fn from(business: &Business) -> Self {
        StoredBusiness {
            path: path(&business.path),
            legal_name: business.legal_name.clone(),
            country: business.country.clone(),
            base_currency: business.base_currency.code().to_owned(),
            cost_scale: business.cost_scale.into(),
            costing: costing_name(business.costing).to_owned(),
            backdate_window_days: business.backdate_window_days,
            revision: business.revision,
            created_us: business.created_at.unix_micros(),
            updated_us: business.updated_at.unix_micros(),
        }
    }
}

impl TryFrom<StoredBusiness> for Business {
    type Error = Damage;

    fn try_from(stored: StoredBusiness) -> Result<Self, Damage> {
        let path = read_path(stored.path)?;
        Ok(Business {
            id: *path.last().ok_or_else(|| damage("a business without a path"))?,
            path,
            legal_name: stored.legal_name,
            country: stored.country,
            base_currency: Currency::parse(&stored.base_currency).map_err(damage)?,
            cost_scale: stored.cost_scale.try_into().map_err(damage)?,
            costing: read_costing(&stored.costing)?,
            backdate_window_days: stored.backdate_window_days,
            revision: stored.revision,
            created_at: instant(stored.created_us)?,
            updated_at: instant(stored.updated_us)?,
        })
    }
}

impl From<&ApiKey> for StoredKey {
    fn from(key: &ApiKey) -> Self {
        let issued = &key.issued;
        StoredKey {
            id: issued.id.as_bytes().to_vec(),
            name: issued.name.clone(),
            role: issued.role.code().to_owned(),
            narrowed: issued.narrowed.clone(),
            path: path(&issued.path),
            digest: issued.digest.to_vec(),
            last4: issued.last4.clone(),
            expires_us: issued.expires_at.map(Instant::unix_micros),
            ip_allow: issued.ip_allow.iter().map(|network| network.to_bytes()).collect(),
            creator_kind: issued.created_by.kind.name().to_owned(),
            creator_id: issued.created_by.id.to_string(),
            created_us: key.created_at.unix_micros(),
            revoked_us: key.revoked_at.map(Instant::unix_micros),
            previous: key.previous.as_ref().map(|previous| {
                Box::new(StoredSecret {
                    digest: previous.digest.to_vec(),
                    last4: previous.last4.clone(),
                    until_us: previous.until.unix_micros(),
                })
            }),
            last_used: key.last_used.map(StoredUse::from),
            under: key.under.iter().map(|role| role.code().to_owned()).collect(),
        }
    }
}

impl From<Use> for StoredUse {
    fn from(used: Use) -> Self {
        let ip = used.ip.map(|ip| ip.to_string()).unwrap_or_default();
        StoredUse { at_us: used.at.unix_micros(), ip }
    }
}

impl TryFrom<StoredUse> for Use {
    type Error = Damage;

    fn try_from(stored: StoredUse) -> Result<Self, Damage> {
        let ip = (!stored.ip.is_empty()).then(|| stored.ip.parse()).transpose();
        Ok(Use { at: instant(stored.at_us)?, ip: ip.map_err(damage)? })
    }
}

impl TryFrom<StoredSecret> for Previous {
    type Error = Damage;

    fn try_from(stored: StoredSecret) -> Result<Self, Damage> {
        let until = instant(stored.until_us)?;
        Ok(Previous { digest: fixed(stored.digest)?, last4: stored.last4, until })
    }
}

impl TryFrom<StoredKey> for ApiKey {
    type Error = Damage;

    fn try_from(stored: StoredKey) -> Result<Self, Damage> {
        let network =
            |bytes: &Vec<u8>| Network::from_bytes(bytes).ok_or_else(|| damage("a network of an API key"));
        let issued = NewKey {
            id: ApiKeyId::from_bytes(fixed(stored.id)?),
            name: stored.name,
            role: read_role(&stored.role)?,
            narrowed: stored.narrowed,
            path: read_path(stored.path)?,
            digest: fixed(stored.digest)?,
            last4: stored.last4,
            expires_at: stored.expires_us.map(instant).transpose()?,
            ip_allow: stored.ip_allow.iter().map(network).collect::<Result<_, _>>()?,
            created_by: read_actor(&stored.creator_kind, stored.creator_id)?,
        };
        Ok(ApiKey {
            issued,
            created_at: instant(stored.created_us)?,
            revoked_at: stored.revoked_us.map(instant).transpose()?,
            previous: stored
                .previous
                .map(|previous| Previous::try_from(*previous))
                .transpose()?
                .map(Box::new),
            last_used: stored.last_used.map(Use::try_from).transpose()?,
            under: stored.under.iter().map(|role| read_role(role)).collect::<Result<Roles, _>>()?,
        })
    }
}

fn read_role(code: &str) -> Result<Role, Damage> {
    Role::parse(code).ok_or_else(|| damage("the role of an API key"))
}

fn read_actor(kind: &str, id: String) -> Result<Actor, Damage> {
    let kind = ActorKind::parse(kind).filter(|_| !id.is_empty());
    Ok(Actor::new(kind.ok_or_else(|| damage("the creator of an API key"))?, id))
}

pub(super) fn damage(what: impl ToString) -> Damage {
    Damage(what.to_string())
}

pub(super) fn fixed<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], Damage> {
    bytes.try_into().map_err(|bytes: Vec<u8>| damage(format_args!("{} bytes instead of {N}", bytes.len())))
}

pub(super) fn instant(micros: i64) -> Result<Instant, Damage> {
    Instant::checked_from_unix_micros(micros).ok_or_else(|| damage("an instant out of range"))
}

fn path(path: &[BusinessId]) -> Vec<Vec<u8>> {
    path.iter().map(|id| id.as_bytes().to_vec()).collect()
}

fn read_path(path: Vec<Vec<u8>>) -> Result<Vec<BusinessId>, Damage> {
    path.into_iter().map(|id| Ok(BusinessId::from_bytes(fixed(id)?))).collect()
}

fn costing_name(costing: Costing) -> &'static str {
    match costing {
        Costing::MovingAverage => "moving_average",
        Costing::Fifo => "fifo",
    }
}

fn read_costing(name: &str) -> Result<Costing, Damage> {
    match name {
        "moving_average" => Ok(Costing::MovingAverage),
        "fifo" => Ok(Costing::Fifo),
        _ => Err(damage(format_args!("costing method '{name}'"))),
    }
}

#[cfg(test)]
mod tests {
    use journal::Aggregate as _;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::NewBusiness;

    fn instants() -> impl Strategy<Value = Instant> {
        (Instant::MIN.unix_micros()..=Instant::MAX.unix_micros()).prop_map(Instant::from_unix_micros)
    }

    fn paths() -> impl Strategy<Value = Vec<BusinessId>> {
        proptest::collection::vec(any::<[u8; 16]>().prop_map(BusinessId::from_bytes), 1..9)
    }

    fn costings() -> impl Strategy<Value = Costing> {
        prop_oneof![Just(Costing::MovingAverage), Just(Costing::Fifo)]
    }

    fn businesses() -> impl Strategy<Value = Business> {
        (paths(), ".{1,200}", 2u8..=6, costings(), any::<u32>(), any::<u64>(), instants(), instants())
            .prop_map(
                |(
                    mut path,
                    legal_name,
                    cost_scale,
                    costing,
                    backdate_window_days,
                    revision,
                    created_at,
                    updated_at,
                )| {
                    let id = path.pop().unwrap();
                    let (country, base_currency) = ("DE".to_owned(), Currency::parse("EUR").unwrap());
                    let new = NewBusiness {
                        id,
                        parents: path,
                        legal_name,
                        country,
                        base_currency,
                        cost_scale,
                        costing,
                    };
                    Business { backdate_window_days, revision, updated_at, ..Business::new(new, created_at) }
                },
            )
    }

    fn keys() -> impl Strategy<Value = ApiKey> {
        let optional = || proptest::option::of(instants());
        let under = proptest::sample::subsequence(Role::ALL.to_vec(), 0..=3).prop_map(Roles::from_iter);
        let later = (proptest::option::of(previous()), proptest::option::of(uses()), under);
        (any::<[u8; 16]>(), any::<[u8; 32]>(), ".{1,200}", paths(), optional(), instants(), optional(), later)
            .prop_map(|(id, digest, name, path, expires_at, created_at, revoked_at, later)| {
                let issued = NewKey {
                    id: ApiKeyId::from_bytes(id),
                    name,
                    role: Role::Clerk,
                    narrowed: vec!["stock.read".to_owned()],
                    path,
                    digest,
                    last4: "wxyz".to_owned(),
                    expires_at,
                    ip_allow: vec![Network::parse("192.0.2.0/24").unwrap()],
                    created_by: Actor::new(ActorKind::ApiKey, "key_a"),
                };
                let (previous, last_used, under) = later;
                ApiKey { issued, created_at, revoked_at, previous: previous.map(Box::new), last_used, under }
            })
    }

    fn previous() -> impl Strategy<Value = Previous> {
        (any::<[u8; 32]>(), instants()).prop_map(|(digest, until)| Previous {
            digest,
            last4: "wxyz".to_owned(),
            until,
        })
    }

    fn uses() -> impl Strategy<Value = Use> {
        (instants(), any::<Option<std::net::IpAddr>>()).prop_map(|(at, ip)| Use { at, ip })
    }

    fn tenants() -> impl Strategy<Value = Tenant> {
        ("[a-z]{1,60}", ".{1,200}", any::<[u8; 16]>(), any::<[u8; 32]>(), instants()).prop_map(
            |(slug, name, master, secret, created_at)| {
                let master = BusinessId::from_bytes(master);
                Tenant { slug, name, master, secret, created_at }
            },
        )
    }

    fn states() -> impl Strategy<Value = State> {
        prop_oneof![
            Just(State::Unborn),
            "[a-z]{1,60}".prop_map(|slug| State::Directory(Directory { slug })),
            tenants().prop_map(State::Tenant),
            businesses().prop_map(State::Business),
            keys().prop_map(State::ApiKey),
        ]
    }

    fn events() -> impl Strategy<Value = Event> {
        let update =
            (proptest::option::of(".{1,200}"), proptest::option::of(costings()), any::<Option<u32>>());
        prop_oneof![
            "[a-z]{1,60}".prop_map(|slug| Event::Registered { slug }),
            any::<[u8; 16]>().prop_map(|id| Event::KeyRegistered { key: ApiKeyId::from_bytes(id) }),
            proptest::sample::select(&Role::ALL[..]).prop_map(|under| {
                let to = Actor::new(ActorKind::User, "usr_a");
                Event::KeyReassigned { to, under }
            }),
            tenants().prop_map(Event::TenantCreated),
            businesses().prop_map(Event::BusinessCreated),
            update.prop_map(|(legal_name, costing, backdate_window_days)| {
                Event::BusinessUpdated(BusinessUpdate {
                    expected: None,
                    legal_name,
                    costing,
                    backdate_window_days,
                })
            }),
            keys().prop_map(Event::KeyIssued),
            Just(Event::KeyRevoked),
            previous().prop_map(|Previous { digest, last4, until }| {
                Event::KeyRotated(NewSecret { digest, last4, previous_until: until })
            }),
            uses().prop_map(|Use { at, ip }| Event::KeyUsed { at, ip }),
        ]
    }

    proptest! {
        #[test]
        fn a_state_is_read_back(state in states()) {
            prop_assert_eq!(State::from_header(&state.header()), Ok(state));
        }

        #[test]
        fn an_event_is_read_back(event in events()) {
            prop_assert_eq!(State::decode(&State::encode(&event)), Ok(event));
        }

        #[test]
        fn no_bytes_make_the_decoders_fail(bytes: Vec<u8>) {
            let _ = State::from_header(&bytes);
            let _ = State::decode(&bytes);
        }
    }

    #[test]
    fn a_header_stays_below_the_limit_of_the_journal() {
        let name = "ä".repeat(NewKey::NAME_CHARS_MAX);
        let issued = NewKey {
            id: ApiKeyId::from_bytes([0xff; 16]),
            name,
            role: Role::Viewer,
            narrowed: Role::Clerk.members().iter().map(ToString::to_string).collect(),
            path: vec![BusinessId::from_bytes([0xff; 16]); 9],
            digest: [0xff; 32],
            last4: "wxyz".to_owned(),
            expires_at: Some(Instant::MAX),
            ip_allow: vec![Network::parse("2001:db8::7").unwrap(); 50],
            created_by: Actor::new(ActorKind::ApiKey, "k".repeat(30)),
        };
        let (digest, last4, until) = ([0xff; 32], "wxyz".to_owned(), Instant::MAX);
        let key = State::ApiKey(ApiKey {
            revoked_at: Some(Instant::MAX),
            previous: Some(Box::new(Previous { digest, last4, until })),
            last_used: Some(Use { at: Instant::MAX, ip: Some([0xff; 16].into()) }),
            under: Roles::from_iter(Role::ALL),
            ..ApiKey::new(issued, Instant::MAX)
        });
        assert!(key.header().len() <= journal::store::HEADER_BYTES_MAX, "{}", key.header().len());
    }
}
