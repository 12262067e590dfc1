//! Format 1 of operator accesses: protobuf. Fields are added, never renumbered.

use bytes::Bytes;
use calendar::Instant;
use ids::{ApiKeyId, OperatorAccessId};
use journal::{Aggregate, Changes, Damage, Need, Seq};
use prost::{Message, Oneof};

use super::codec::{damage, fixed, instant};
use crate::Error;
use crate::domain::{Operator, OperatorAccess, OperatorCommand, OperatorEvent, OperatorStatus, Role};

/// Index of the operator accesses of a tenant.
pub const OPERATOR_ACCESSES: u16 = 0x0131;

#[derive(Clone, PartialEq, Message)]
struct StoredAccess {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(string, tag = "3")]
    role: String,
    #[prost(uint32, tag = "4")]
    hours: u32,
    /// See [`status`].
    #[prost(uint32, tag = "5")]
    status: u32,
    /// Of one that was granted.
    #[prost(sint64, tag = "6")]
    until_us: i64,
    /// Empty: none.
    #[prost(bytes = "vec", tag = "7")]
    key: Vec<u8>,
    #[prost(sint64, tag = "8")]
    requested_us: i64,
    #[prost(uint64, tag = "9")]
    revision: u64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEvent {
    #[prost(oneof = "What", tags = "1, 2, 3, 4, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(message, tag = "1")]
    Requested(StoredAccess),
    #[prost(sint64, tag = "2")]
    Granted(i64),
    #[prost(bytes, tag = "3")]
    Opened(Vec<u8>),
    #[prost(bool, tag = "4")]
    Refused(bool),
    #[prost(bool, tag = "5")]
    Ended(bool),
}

impl Aggregate for Operator {
    type Command = OperatorCommand;
    type Event = OperatorEvent;
    type Error = Error;

    const SERVICE: &'static str = "tenant";
    const KIND: u8 = super::KIND_OPERATOR;
    const FORMAT: u8 = 1;
    /// They are seldom.
    const KEPT_MAX: usize = 256;

    /// All state is in the header.
    fn needs(&self, _: &OperatorCommand) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, need: &Need, _: Option<&[u8]>) -> Result<(), Damage> {
        Err(Damage(format!("{need:?} was not asked for")))
    }

    fn decide(&self, command: &OperatorCommand, now: Instant) -> Result<Vec<OperatorEvent>, Error> {
        Operator::decide(self, command, now)
    }

    fn evolve(&mut self, event: &OperatorEvent, seq: Seq, _: Instant) {
        Operator::evolve(self, event, seq);
    }

    fn project(&self, _: &OperatorEvent, _: Seq, changes: &mut Changes) {
        if let Some(access) = &self.0 {
            changes.index(OPERATOR_ACCESSES, access.id.as_bytes().to_vec(), self.header());
        }
    }

    fn save(&mut self, _: &mut Changes) {}

    fn header(&self) -> Bytes {
        self.0.as_ref().map_or_else(Bytes::new, |access| StoredAccess::from(access).encode_to_vec().into())
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        match header {
            [] => Ok(Operator(None)),
            header => Ok(Operator(Some(StoredAccess::decode(header)?.try_into()?))),
        }
    }

    fn encode(event: &OperatorEvent) -> Bytes {
        let what = match event {
            OperatorEvent::Requested(access) => What::Requested(access.into()),
            OperatorEvent::Granted { until } => What::Granted(until.unix_micros()),
            OperatorEvent::Opened { key } => What::Opened(key.as_bytes().to_vec()),
            OperatorEvent::Refused => What::Refused(true),
            OperatorEvent::Ended => What::Ended(true),
        };
        StoredEvent { what: Some(what) }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<OperatorEvent, Damage> {
        let what = StoredEvent::decode(bytes)?.what.ok_or_else(|| damage("an event without content"))?;
        Ok(match what {
            What::Requested(access) => OperatorEvent::Requested(access.try_into()?),
            What::Granted(until) => OperatorEvent::Granted { until: instant(until)? },
            What::Opened(key) => OperatorEvent::Opened { key: ApiKeyId::from_bytes(fixed(key)?) },
            What::Refused(_) => OperatorEvent::Refused,
            What::Ended(_) => OperatorEvent::Ended,
        })
    }
}

impl From<&OperatorAccess> for StoredAccess {
    fn from(access: &OperatorAccess) -> Self {
        let (status, until_us) = match access.status {
            OperatorStatus::Requested => (1, 0),
            OperatorStatus::Granted { until } => (2, until.unix_micros()),
            OperatorStatus::Refused => (3, 0),
            OperatorStatus::Ended => (4, 0),
        };
        StoredAccess {
            id: access.id.as_bytes().to_vec(),
            reason: access.reason.clone(),
            role: access.role.code().to_owned(),
            hours: access.hours,
            status,
            until_us,
            key: access.key.map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
            requested_us: access.requested_at.unix_micros(),
            revision: access.revision,
        }
    }
}

impl TryFrom<StoredAccess> for OperatorAccess {
    type Error = Damage;

    fn try_from(stored: StoredAccess) -> Result<Self, Damage> {
        let key = (!stored.key.is_empty()).then(|| fixed(stored.key)).transpose()?;
        Ok(OperatorAccess {
            id: OperatorAccessId::from_bytes(fixed(stored.id)?),
            reason: stored.reason,
            role: Role::parse(&stored.role).ok_or_else(|| damage(format_args!("role '{}'", stored.role)))?,
            hours: stored.hours,
            status: match stored.status {
                1 => OperatorStatus::Requested,
                2 => OperatorStatus::Granted { until: instant(stored.until_us)? },
                3 => OperatorStatus::Refused,
                4 => OperatorStatus::Ended,
                other => return Err(damage(format_args!("status {other} of an operator access"))),
            },
            key: key.map(ApiKeyId::from_bytes),
            requested_at: instant(stored.requested_us)?,
            revision: stored.revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accesses() -> impl Strategy<Value = OperatorAccess> {
        let moments = || (0i64..4_000_000_000_000_000).prop_map(Instant::from_unix_micros);
        let statuses = prop_oneof![
            Just(OperatorStatus::Requested),
            moments().prop_map(|until| OperatorStatus::Granted { until }),
            Just(OperatorStatus::Refused),
            Just(OperatorStatus::Ended),
        ];
        let ids = (any::<[u8; 16]>(), proptest::option::of(any::<[u8; 16]>()));
        (ids, ".{0,20}", any::<bool>(), any::<u32>(), statuses, moments(), any::<u64>()).prop_map(
            |((id, key), reason, clerk, hours, status, requested_at, revision)| OperatorAccess {
                id: OperatorAccessId::from_bytes(id),
                reason,
                role: if clerk { Role::Clerk } else { Role::Viewer },
                hours,
                status,
                key: key.map(ApiKeyId::from_bytes),
                requested_at,
                revision,
            },
        )
    }

    proptest! {
        #[test]
        fn accesses_and_events_are_read_back(access in accesses(), until in 0i64..4_000_000_000_000_000) {
            let operator = Operator(Some(access.clone()));
            prop_assert_eq!(Operator::from_header(&operator.header()), Ok(operator));
            let until = Instant::from_unix_micros(until);
            let events = [
                OperatorEvent::Requested(access.clone()),
                OperatorEvent::Granted { until },
                OperatorEvent::Opened { key: access.key.unwrap_or(ApiKeyId::from_bytes([1; 16])) },
                OperatorEvent::Refused,
                OperatorEvent::Ended,
            ];
            for event in events {
                prop_assert_eq!(Operator::decode(&Operator::encode(&event)), Ok(event));
            }
        }

        #[test]
        fn no_bytes_make_the_decoders_fail(bytes: Vec<u8>) {
            let _ = Operator::from_header(&bytes);
            let _ = Operator::decode(&bytes);
        }
    }
}
