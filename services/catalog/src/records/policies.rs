//! The policies of a tenant in their partition: a row per business that has some.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use calendar::Instant;
use ids::BusinessId;
use inherit::{Existing, Mode, Policies, Policy, Reach};
use journal::{Aggregate, Changes, Damage, Need, Seq};
use prost::Message;

use super::codec;
use super::kind;
use super::overrides::{businesses, path_bytes};
use crate::Error;
use crate::domain::{PolicySet, SetPolicy};

/// The policies of a tenant.
#[derive(Debug, Default)]
pub(crate) struct PoliciesRecord {
    count: u64,
    /// Those of the businesses that are loaded.
    owners: BTreeMap<BusinessId, Policies>,
    changed: BTreeSet<BusinessId>,
}

impl PoliciesRecord {
    /// What is missing to know the policies of these businesses.
    pub(crate) fn needs_of(&self, owners: &[BusinessId]) -> Vec<Need> {
        if self.count == 0 {
            return vec![];
        }
        let missing = owners.iter().filter(|owner| !self.owners.contains_key(owner));
        missing.map(|owner| Need::Row(Bytes::copy_from_slice(owner.as_bytes()))).collect()
    }

    /// Every policy of the businesses that are loaded.
    pub(crate) fn into_policies(self) -> Policies {
        let mut all = Policies::default();
        self.owners.values().flat_map(Policies::all).for_each(|policy| all.add(policy.clone()));
        all
    }
}

impl Aggregate for PoliciesRecord {
    type Command = SetPolicy;
    type Event = PolicySet;
    type Error = Error;

    const SERVICE: &'static str = "catalog";
    const KIND: u8 = kind::POLICIES;
    const FORMAT: u8 = 1;
    const KEPT_MAX: usize = 256;

    fn needs(&self, command: &SetPolicy) -> Vec<Need> {
        self.needs_of(&[command.owner])
    }

    fn load(&mut self, need: &Need, value: Option<&[u8]>) -> Result<(), Damage> {
        let Need::Row(key) = need else { return Err(Damage("no index row is needed".into())) };
        let owner = BusinessId::from_bytes(codec::id(key)?);
        let mut policies = Policies::default();
        for row in value.map(OwnerRow::decode).transpose()?.unwrap_or_default().policies {
            policies.add(row.try_into()?);
        }
        self.owners.insert(owner, policies);
        Ok(())
    }

    fn decide(&self, command: &SetPolicy, now: Instant) -> Result<Vec<PolicySet>, Error> {
        let none = Policies::default();
        Ok(vec![command.decide(self.owners.get(&command.owner).unwrap_or(&none), now)?])
    }

    fn evolve(&mut self, event: &PolicySet, _seq: Seq, _recorded_at: Instant) {
        self.count += 1;
        self.owners.entry(event.0.owner).or_default().add(event.0.clone());
        self.changed.insert(event.0.owner);
    }

    fn project(&self, _event: &PolicySet, _seq: Seq, _changes: &mut Changes) {}

    fn save(&mut self, changes: &mut Changes) {
        for owner in std::mem::take(&mut self.changed) {
            let policies = self.owners.get(&owner).map(Policies::all).unwrap_or_default();
            let row = OwnerRow { policies: policies.iter().map(PolicyRow::from).collect() };
            changes.rows.push((Bytes::copy_from_slice(owner.as_bytes()), Some(row.encode_to_vec().into())));
        }
    }

    fn header(&self) -> Bytes {
        Header { count: self.count }.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        Ok(PoliciesRecord { count: Header::decode(header)?.count, ..PoliciesRecord::default() })
    }

    fn encode(event: &PolicySet) -> Bytes {
        PolicyRow::from(&event.0).encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<PolicySet, Damage> {
        Ok(PolicySet(PolicyRow::decode(bytes)?.try_into()?))
    }

    fn weight(&self) -> usize {
        const POLICY_BYTES: usize = 200; // about
        self.owners.values().map(|policies| POLICY_BYTES * (1 + policies.all().len())).sum()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "1")]
    count: u64,
}

#[derive(Clone, PartialEq, Message)]
struct OwnerRow {
    #[prost(message, repeated, tag = "1")]
    policies: Vec<PolicyRow>,
}

#[derive(Clone, PartialEq, Message)]
struct PolicyRow {
    #[prost(bytes = "vec", tag = "1")]
    owner: Vec<u8>,
    #[prost(string, tag = "2")]
    group: String,
    #[prost(uint32, tag = "3")]
    mode: u32,
    #[prost(uint32, tag = "4")]
    reach: u32,
    #[prost(bytes = "vec", tag = "5")]
    businesses: Vec<u8>,
    #[prost(int64, tag = "6")]
    effective_from_us: i64,
    #[prost(uint64, tag = "7")]
    version: u64,
    #[prost(uint32, tag = "8")]
    existing: u32,
    #[prost(int64, tag = "9")]
    grace_until_us: i64,
    #[prost(int64, tag = "10")]
    recorded_at_us: i64,
    #[prost(string, tag = "11")]
    by: String,
    #[prost(string, tag = "12")]
    reason: String,
}

impl From<&Policy> for PolicyRow {
    fn from(policy: &Policy) -> Self {
        let (existing, grace_until_us) = match policy.existing {
            Existing::Reject => (1, 0),
            Existing::Suspend => (2, 0),
            Existing::Grace(until) => (3, until.unix_micros()),
        };
        PolicyRow {
            owner: policy.owner.as_bytes().to_vec(),
            group: policy.group.clone(),
            mode: match policy.mode {
                Mode::Local => 1,
                Mode::Overridable => 2,
                Mode::Extend => 3,
                Mode::Locked => 4,
            },
            reach: match policy.reach {
                Reach::Subtree => 1,
                Reach::Only(_) => 2,
                Reach::Except(_) => 3,
            },
            businesses: path_bytes(policy.reach.names()).to_vec(),
            effective_from_us: policy.effective_from.unix_micros(),
            version: policy.version,
            existing,
            grace_until_us,
            recorded_at_us: policy.recorded_at.unix_micros(),
            by: policy.by.clone(),
            reason: policy.reason.clone(),
        }
    }
}

impl TryFrom<PolicyRow> for Policy {
    type Error = Damage;

    fn try_from(row: PolicyRow) -> Result<Self, Damage> {
        Ok(Policy {
            owner: BusinessId::from_bytes(codec::id(&row.owner)?),
            group: row.group,
            mode: match row.mode {
                1 => Mode::Local,
                2 => Mode::Overridable,
                3 => Mode::Extend,
                4 => Mode::Locked,
                other => return Err(Damage(format!("unknown mode {other}"))),
            },
            reach: match row.reach {
                1 => Reach::Subtree,
                2 => Reach::Only(businesses(&row.businesses)?),
                3 => Reach::Except(businesses(&row.businesses)?),
                other => return Err(Damage(format!("unknown reach {other}"))),
            },
            effective_from: codec::instant(row.effective_from_us)?,
            version: row.version,
            existing: match row.existing {
                1 => Existing::Reject,
                2 => Existing::Suspend,
                3 => Existing::Grace(codec::instant(row.grace_until_us)?),
                other => return Err(Damage(format!("unknown treatment of overrides {other}"))),
            },
            recorded_at: codec::instant(row.recorded_at_us)?,
            by: row.by,
            reason: row.reason,
        })
    }
}
