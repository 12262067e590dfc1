//! Format 1 of roles and assignments: protobuf. Fields are added, never renumbered.

use bytes::Bytes;
use calendar::Instant;
use ids::{AssignmentId, BusinessId, LocationId, RoleId, TenantId};
use journal::{Aggregate, Changes, Damage, Need, Seq};
use money::{Currency, Money};
use prost::{Message, Oneof};
use rpc::{Actor, ActorKind, Limits};

use super::codec::{damage, fixed, instant};
use super::{ASSIGNED, ASSIGNMENTS, ROLES};
use crate::Error;
use crate::domain::{
    Access, AccessCommand, AccessEvent, Assignment, CustomRole, NewAssignment, NewRole, Reach, RoleUpdate,
};

/// Where the assignments of a principal are in [`ASSIGNED`].
pub(crate) fn assigned_key(principal: &Actor) -> Bytes {
    // An id holds no zero byte, so none begins with another.
    [principal.id.as_bytes(), &[0]].concat().into()
}

/// The aggregate of a role follows from tenant and code, so that a tenant has one role of a name, under an id that
/// no other tenant has.
pub(crate) fn role_id(tenant: TenantId, code: &str) -> RoleId {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest([tenant.as_bytes().as_slice(), b"role", code.as_bytes()].concat());
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    RoleId::from_bytes(id)
}

impl Aggregate for Access {
    type Command = AccessCommand;
    type Event = AccessEvent;
    type Error = Error;

    const SERVICE: &'static str = "tenant";
    const KIND: u8 = super::KIND_ACCESS;
    const FORMAT: u8 = 1;
    const KEPT_MAX: usize = 4096;

    /// All state is in the header.
    fn needs(&self, _: &AccessCommand) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, need: &Need, _: Option<&[u8]>) -> Result<(), Damage> {
        Err(Damage(format!("{need:?} was not asked for")))
    }

    fn decide(&self, command: &AccessCommand, _: Instant) -> Result<Vec<AccessEvent>, Error> {
        Access::decide(self, command)
    }

    fn evolve(&mut self, event: &AccessEvent, seq: Seq, recorded_at: Instant) {
        Access::evolve(self, event, seq, recorded_at);
    }

    fn project(&self, _: &AccessEvent, _: Seq, changes: &mut Changes) {
        match self {
            Access::Unborn => {}
            Access::Role(role) => changes.index(ROLES, role.code.clone().into_bytes(), self.header()),
            Access::Assignment(assignment) => {
                let id = assignment.made.id.as_bytes();
                changes.index(ASSIGNMENTS, id.to_vec(), self.header());
                let assigned = [&assigned_key(&assignment.made.principal), id.as_slice()].concat();
                match assignment.revoked_at {
                    None => changes.index(ASSIGNED, assigned, self.header()),
                    Some(_) => changes.unindex(ASSIGNED, assigned),
                }
            }
        }
    }

    fn save(&mut self, _: &mut Changes) {}

    fn header(&self) -> Bytes {
        let kind = match self {
            Access::Unborn => None,
            Access::Role(role) => Some(Kind::Role(role.into())),
            Access::Assignment(assignment) => Some(Kind::Assignment(StoredAssignment {
                created_us: assignment.created_at.unix_micros(),
                revoked_us: assignment.revoked_at.map(Instant::unix_micros),
                ..(&assignment.made).into()
            })),
        };
        StoredAccess { kind }.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        Ok(match StoredAccess::decode(header)?.kind {
            None => Access::Unborn,
            Some(Kind::Role(role)) => Access::Role(role.try_into()?),
            Some(Kind::Assignment(stored)) => {
                let created_at = instant(stored.created_us)?;
                let revoked_at = stored.revoked_us.map(instant).transpose()?;
                Access::Assignment(Assignment { made: stored.try_into()?, created_at, revoked_at })
            }
        })
    }

    fn encode(event: &AccessEvent) -> Bytes {
        let what = match event {
            AccessEvent::RoleCreated(new) => What::RoleCreated(StoredRole {
                code: new.code.clone(),
                description: new.description.clone(),
                members: new.members.clone(),
                ..StoredRole::default()
            }),
            AccessEvent::RoleUpdated(changed) => What::RoleUpdated(StoredRoleUpdate {
                description: changed.description.clone(),
                members: changed.members.clone().unwrap_or_default(),
            }),
            AccessEvent::Assigned(new) => What::Assigned(new.into()),
            AccessEvent::Revoked => What::Revoked(StoredRevoked {}),
        };
        StoredAccessEvent { what: Some(what) }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<AccessEvent, Damage> {
        let what =
            StoredAccessEvent::decode(bytes)?.what.ok_or_else(|| damage("an event without content"))?;
        Ok(match what {
            What::RoleCreated(role) => {
                let StoredRole { code, description, members, .. } = role;
                AccessEvent::RoleCreated(NewRole { code, description, members })
            }
            What::RoleUpdated(changed) => AccessEvent::RoleUpdated(RoleUpdate {
                expected: None,
                description: changed.description,
                // A role without members does not exist.
                members: Some(changed.members).filter(|members| !members.is_empty()),
            }),
            What::Assigned(new) => AccessEvent::Assigned(new.try_into()?),
            What::Revoked(StoredRevoked {}) => AccessEvent::Revoked,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct StoredAccess {
    #[prost(oneof = "Kind", tags = "1, 2")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Role(StoredRole),
    #[prost(message, tag = "2")]
    Assignment(StoredAssignment),
}

#[derive(Clone, PartialEq, Message)]
struct StoredAccessEvent {
    #[prost(oneof = "What", tags = "1, 2, 3, 4")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(message, tag = "1")]
    RoleCreated(StoredRole),
    #[prost(message, tag = "2")]
    RoleUpdated(StoredRoleUpdate),
    #[prost(message, tag = "3")]
    Assigned(StoredAssignment),
    #[prost(message, tag = "4")]
    Revoked(StoredRevoked),
}

#[derive(Clone, PartialEq, Message)]
struct StoredRevoked {}

#[derive(Clone, PartialEq, Message)]
struct StoredRole {
    #[prost(string, tag = "1")]
    code: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, repeated, tag = "3")]
    members: Vec<String>,
    /// The rest is state, not part of an event.
    #[prost(uint64, tag = "4")]
    revision: u64,
    #[prost(sint64, tag = "5")]
    created_us: i64,
    #[prost(sint64, tag = "6")]
    updated_us: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredRoleUpdate {
    #[prost(string, optional, tag = "1")]
    description: Option<String>,
    /// Empty: unchanged.
    #[prost(string, repeated, tag = "2")]
    members: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredLimits {
    #[prost(bytes = "vec", repeated, tag = "1")]
    locations: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "2")]
    categories: Vec<String>,
    /// In minor units of the currency.
    #[prost(sint64, optional, tag = "3")]
    amount_max_minor: Option<i64>,
    #[prost(string, tag = "4")]
    amount_max_currency: String,
}

#[derive(Clone, PartialEq, Message)]
struct StoredAssignment {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    principal_kind: String,
    #[prost(string, tag = "3")]
    principal_id: String,
    #[prost(bytes = "vec", tag = "4")]
    role: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    business: Vec<u8>,
    #[prost(bool, tag = "6")]
    subtree: bool,
    #[prost(sint64, optional, tag = "7")]
    from_us: Option<i64>,
    #[prost(sint64, optional, tag = "8")]
    to_us: Option<i64>,
    #[prost(string, tag = "9")]
    creator_kind: String,
    #[prost(string, tag = "10")]
    creator_id: String,
    #[prost(message, optional, boxed, tag = "13")]
    limits: Option<Box<StoredLimits>>,
    /// The rest is state, not part of an event.
    #[prost(sint64, tag = "11")]
    created_us: i64,
    #[prost(sint64, optional, tag = "12")]
    revoked_us: Option<i64>,
}

impl From<&CustomRole> for StoredRole {
    fn from(role: &CustomRole) -> Self {
        StoredRole {
            code: role.code.clone(),
            description: role.description.clone(),
            members: role.members.clone(),
            revision: role.revision,
            created_us: role.created_at.unix_micros(),
            updated_us: role.updated_at.unix_micros(),
        }
    }
}

impl TryFrom<StoredRole> for CustomRole {
    type Error = Damage;

    fn try_from(stored: StoredRole) -> Result<Self, Damage> {
        Ok(CustomRole {
            created_at: instant(stored.created_us)?,
            updated_at: instant(stored.updated_us)?,
            code: stored.code,
            description: stored.description,
            members: stored.members,
            revision: stored.revision,
        })
    }
}

impl From<&Limits> for StoredLimits {
    fn from(limits: &Limits) -> Self {
        let currency = limits.amount_max.map(|max| max.currency.code().to_owned());
        StoredLimits {
            locations: limits.locations.iter().map(|id| id.as_bytes().to_vec()).collect(),
            categories: limits.categories.clone(),
            amount_max_minor: limits.amount_max.map(|max| max.minor),
            amount_max_currency: currency.unwrap_or_default(),
        }
    }
}

impl TryFrom<StoredLimits> for Limits {
    type Error = Damage;

    fn try_from(stored: StoredLimits) -> Result<Self, Damage> {
        let location = |id| Ok(LocationId::from_bytes(fixed(id)?));
        let amount_max = match stored.amount_max_minor {
            None => None,
            Some(minor) => {
                let currency = Currency::parse(&stored.amount_max_currency);
                Some(Money { minor, currency: currency.map_err(|_| damage("a currency of an assignment"))? })
            }
        };
        Ok(Limits {
            locations: stored.locations.into_iter().map(location).collect::<Result<_, Damage>>()?,
            categories: stored.categories,
            amount_max,
        })
    }
}

impl From<&NewAssignment> for StoredAssignment {
    fn from(new: &NewAssignment) -> Self {
        StoredAssignment {
            id: new.id.as_bytes().to_vec(),
            principal_kind: new.principal.kind.name().to_owned(),
            principal_id: new.principal.id.to_string(),
            role: new.role.as_bytes().to_vec(),
            business: new.business.as_bytes().to_vec(),
            subtree: new.reach == Reach::Subtree,
            from_us: new.valid_from.map(Instant::unix_micros),
            to_us: new.valid_to.map(Instant::unix_micros),
            creator_kind: new.created_by.kind.name().to_owned(),
            creator_id: new.created_by.id.to_string(),
            limits: (!new.limits.is_none()).then(|| Box::new((&new.limits).into())),
            created_us: 0,
            revoked_us: None,
        }
    }
}

impl TryFrom<StoredAssignment> for NewAssignment {
    type Error = Damage;

    fn try_from(stored: StoredAssignment) -> Result<Self, Damage> {
        let actor = |kind: &str, id: String| match ActorKind::parse(kind) {
            Some(kind) if !id.is_empty() => Ok(Actor::new(kind, id)),
            _ => Err(damage("a principal of an assignment")),
        };
        Ok(NewAssignment {
            limits: stored.limits.map_or(Ok(Limits::default()), |limits| (*limits).try_into())?,
            id: AssignmentId::from_bytes(fixed(stored.id)?),
            principal: actor(&stored.principal_kind, stored.principal_id)?,
            role: RoleId::from_bytes(fixed(stored.role)?),
            business: BusinessId::from_bytes(fixed(stored.business)?),
            reach: if stored.subtree { Reach::Subtree } else { Reach::Itself },
            valid_from: stored.from_us.map(instant).transpose()?,
            valid_to: stored.to_us.map(instant).transpose()?,
            created_by: actor(&stored.creator_kind, stored.creator_id)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instants() -> impl Strategy<Value = Instant> {
        (Instant::MIN.unix_micros()..=Instant::MAX.unix_micros()).prop_map(Instant::from_unix_micros)
    }

    fn members() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[a-z]{1,9}\\.[a-z]{1,9}", 1..5)
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let locations = proptest::collection::vec(any::<[u8; 16]>().prop_map(LocationId::from_bytes), 0..3);
        let categories = proptest::collection::vec(".{1,9}", 0..3);
        let amount = proptest::option::of((any::<i64>(), prop_oneof![Just("EUR"), Just("JPY"), Just("KWD")]));
        (locations, categories, amount).prop_map(|(locations, categories, amount)| {
            let amount_max =
                amount.map(|(minor, code)| Money { minor, currency: Currency::parse(code).unwrap() });
            Limits { locations, categories, amount_max }
        })
    }

    fn assignments() -> impl Strategy<Value = NewAssignment> {
        let when = || proptest::option::of(instants());
        let made = (any::<[[u8; 16]; 3]>(), any::<bool>(), when(), when(), limits());
        made.prop_map(|(ids, subtree, from, to, limits)| NewAssignment {
            limits,
            id: AssignmentId::from_bytes(ids[0]),
            principal: Actor::new(ActorKind::User, "usr_a"),
            role: RoleId::from_bytes(ids[1]),
            business: BusinessId::from_bytes(ids[2]),
            reach: if subtree { Reach::Subtree } else { Reach::Itself },
            valid_from: from,
            valid_to: to,
            created_by: Actor::new(ActorKind::ApiKey, "key_a"),
        })
    }

    fn events() -> impl Strategy<Value = AccessEvent> {
        let update = (proptest::option::of(".{1,40}"), proptest::option::of(members()));
        prop_oneof![
            ("[A-Z]{1,64}", ".{0,200}", members()).prop_map(|(code, description, members)| {
                AccessEvent::RoleCreated(NewRole { code, description, members })
            }),
            update.prop_map(|(description, members)| {
                AccessEvent::RoleUpdated(RoleUpdate { expected: None, description, members })
            }),
            assignments().prop_map(AccessEvent::Assigned),
            Just(AccessEvent::Revoked),
        ]
    }

    proptest! {
        #[test]
        fn an_event_and_what_it_leads_to_are_read_back(events in proptest::collection::vec(events(), 0..5), at in instants()) {
            let mut state = Access::default();
            for (event, seq) in events.iter().zip(1..) {
                prop_assert_eq!(&Access::decode(&Access::encode(event)), &Ok(event.clone()));
                state.evolve(event, seq, at);
                prop_assert_eq!(Access::from_header(&Aggregate::header(&state)), Ok(state.clone()));
            }
        }

        #[test]
        fn no_bytes_make_the_decoders_fail(bytes: Vec<u8>) {
            let _ = Access::from_header(&bytes);
            let _ = Access::decode(&bytes);
        }
    }

    #[test]
    fn a_header_stays_below_the_limit_of_the_journal() {
        let longest = proto::rules().values().map(|rule| rule.permission.len()).max().unwrap_or_default();
        let role = Access::Role(CustomRole {
            code: "X".repeat(64),
            description: "ä".repeat(CustomRole::DESCRIPTION_CHARS_MAX),
            members: vec!["m".repeat(longest); CustomRole::MEMBERS_MAX],
            revision: u64::MAX,
            created_at: Instant::MAX,
            updated_at: Instant::MAX,
        });
        assert!(role.header().len() <= journal::store::HEADER_BYTES_MAX, "{}", role.header().len());
    }

    /// Codes lead to ids for ever: assignments name them.
    #[test]
    fn ids_of_roles_do_not_change() {
        let [one, two] = [1, 2].map(|byte| TenantId::from_bytes([byte; 16]));
        assert_eq!(role_id(one, "owner").to_string(), "rol_76x2zb9jatx7det70hrb5tw7hb");
        assert_ne!(role_id(one, "owner"), role_id(one, "clerk"));
        assert_ne!(role_id(one, "owner"), role_id(two, "owner"));
    }
}
