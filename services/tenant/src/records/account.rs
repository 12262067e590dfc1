//! Format 1 of accounts: protobuf. Fields are added, never renumbered.

use std::collections::BTreeMap;

use bytes::Bytes;
use calendar::Instant;
use ids::AggregateId;
use journal::{Aggregate, Changes, Damage, Need, Seq};
use prost::{Message, Oneof};

use super::codec::{damage, instant};
use crate::Error;
use crate::domain::{Account, AccountCommand, AccountEvent, AccountFact, Feature, Override, Plan, Standing};

/// The account, one per tenant.
pub(crate) fn account_id() -> AggregateId {
    AggregateId::derive(&[b"account"])
}

#[derive(Clone, PartialEq, Message)]
struct StoredAccount {
    #[prost(message, optional, tag = "1")]
    standing: Option<StoredStanding>,
    #[prost(string, tag = "2")]
    plan: String,
    #[prost(message, repeated, tag = "3")]
    overrides: Vec<StoredOverride>,
    #[prost(uint64, tag = "4")]
    revision: u64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredStanding {
    /// See [`Standing::code`].
    #[prost(string, tag = "1")]
    code: String,
    /// The end of a trial, or of an export window.
    #[prost(sint64, tag = "2")]
    until_us: i64,
    /// Of one that is closing.
    #[prost(bool, tag = "3")]
    owed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StoredOverride {
    #[prost(string, tag = "1")]
    feature: String,
    #[prost(string, tag = "2")]
    value: String,
    #[prost(sint64, optional, tag = "3")]
    until_us: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEvent {
    #[prost(oneof = "What", tags = "1, 2, 3, 4")]
    what: Option<What>,
    #[prost(string, tag = "15")]
    reason: String,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "1")]
    Planned(String),
    #[prost(message, tag = "2")]
    Overridden(StoredOverride),
    #[prost(string, tag = "3")]
    OverrideEnded(String),
    #[prost(message, tag = "4")]
    Stands(StoredStanding),
}

impl Aggregate for Account {
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = Error;

    const SERVICE: &'static str = "tenant";
    const KIND: u8 = super::KIND_ACCOUNT;
    const FORMAT: u8 = 1;

    /// All state is in the header.
    fn needs(&self, _: &AccountCommand) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, need: &Need, _: Option<&[u8]>) -> Result<(), Damage> {
        Err(Damage(format!("{need:?} was not asked for")))
    }

    fn decide(&self, command: &AccountCommand, now: Instant) -> Result<Vec<AccountEvent>, Error> {
        Account::decide(self, command, now)
    }

    fn evolve(&mut self, event: &AccountEvent, seq: Seq, _: Instant) {
        Account::evolve(self, event, seq);
    }

    fn project(&self, _: &AccountEvent, _: Seq, _: &mut Changes) {}

    fn save(&mut self, _: &mut Changes) {}

    fn header(&self) -> Bytes {
        let overrides = self.overrides.iter().map(|(feature, agreed)| stored(*feature, agreed));
        let account = StoredAccount {
            standing: Some(self.standing.into()),
            plan: self.plan.code().to_owned(),
            overrides: overrides.collect(),
            revision: self.revision,
        };
        account.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let account = StoredAccount::decode(header)?;
        // A header without content is that of an account without an entry.
        let Some(standing) = account.standing else { return Ok(Account::default()) };
        Ok(Account {
            standing: standing.try_into()?,
            plan: plan(&account.plan)?,
            overrides: account.overrides.into_iter().map(read).collect::<Result<BTreeMap<_, _>, _>>()?,
            revision: account.revision,
        })
    }

    fn encode(event: &AccountEvent) -> Bytes {
        let what = match &event.what {
            AccountFact::Planned(plan) => What::Planned(plan.code().to_owned()),
            AccountFact::Overridden(feature, agreed) => What::Overridden(stored(*feature, agreed)),
            AccountFact::OverrideEnded(feature) => What::OverrideEnded(feature.code().to_owned()),
            AccountFact::Stands(standing) => What::Stands((*standing).into()),
        };
        StoredEvent { what: Some(what), reason: event.reason.clone() }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<AccountEvent, Damage> {
        let stored = StoredEvent::decode(bytes)?;
        let what = match stored.what.ok_or_else(|| damage("an event without content"))? {
            What::Planned(code) => AccountFact::Planned(plan(&code)?),
            What::Overridden(stored) => {
                let (feature, agreed) = read(stored)?;
                AccountFact::Overridden(feature, agreed)
            }
            What::OverrideEnded(code) => AccountFact::OverrideEnded(feature(&code)?),
            What::Stands(standing) => AccountFact::Stands(standing.try_into()?),
        };
        Ok(AccountEvent { what, reason: stored.reason })
    }
}

impl From<Standing> for StoredStanding {
    fn from(standing: Standing) -> Self {
        let (until_us, owed) = match standing {
            Standing::Trial { until } => (until.unix_micros(), false),
            Standing::Closing { purge_from, owed } => (purge_from.unix_micros(), owed),
            Standing::Active | Standing::PastDue | Standing::Suspended => (0, false),
        };
        StoredStanding { code: standing.code().to_owned(), until_us, owed }
    }
}

impl TryFrom<StoredStanding> for Standing {
    type Error = Damage;

    fn try_from(stored: StoredStanding) -> Result<Self, Damage> {
        match stored.code.as_str() {
            "trial" => Ok(Standing::Trial { until: instant(stored.until_us)? }),
            "active" => Ok(Standing::Active),
            "past_due" => Ok(Standing::PastDue),
            "suspended" => Ok(Standing::Suspended),
            "closing" => Ok(Standing::Closing { purge_from: instant(stored.until_us)?, owed: stored.owed }),
            other => Err(damage(format_args!("standing '{other}' of a tenant"))),
        }
    }
}

fn stored(feature: Feature, agreed: &Override) -> StoredOverride {
    StoredOverride {
        feature: feature.code().to_owned(),
        value: agreed.value.text(),
        until_us: agreed.until.map(Instant::unix_micros),
    }
}

fn read(stored: StoredOverride) -> Result<(Feature, Override), Damage> {
    let feature = feature(&stored.feature)?;
    let value = feature.value(&stored.value).map_err(|why| damage(format_args!("a value {why}")))?;
    Ok((feature, Override { value, until: stored.until_us.map(instant).transpose()? }))
}

fn feature(code: &str) -> Result<Feature, Damage> {
    Feature::parse(code).ok_or_else(|| damage(format_args!("feature '{code}'")))
}

fn plan(code: &str) -> Result<Plan, Damage> {
    Plan::parse(code).ok_or_else(|| damage(format_args!("plan '{code}'")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn instants() -> impl Strategy<Value = Instant> {
        (0i64..4_000_000_000_000_000).prop_map(Instant::from_unix_micros)
    }

    fn facts() -> impl Strategy<Value = AccountFact> {
        let features = || select(Feature::ALL.to_vec());
        let agreed = (features(), select(Plan::ALL.to_vec()), proptest::option::of(instants()));
        prop_oneof![
            select(Plan::ALL.to_vec()).prop_map(AccountFact::Planned),
            features().prop_map(AccountFact::OverrideEnded),
            agreed.prop_map(|(feature, plan, until)| {
                AccountFact::Overridden(feature, Override { value: plan.value(feature), until })
            }),
            prop_oneof![
                instants().prop_map(|until| Standing::Trial { until }),
                select(vec![Standing::Active, Standing::PastDue, Standing::Suspended]),
                (instants(), any::<bool>())
                    .prop_map(|(purge_from, owed)| Standing::Closing { purge_from, owed }),
            ]
            .prop_map(AccountFact::Stands),
        ]
    }

    proptest! {
        #[test]
        fn events_and_accounts_are_read_back(facts in proptest::collection::vec(facts(), 1..20), reason in ".{0,20}") {
            let mut account = Account::default();
            for (what, seq) in facts.into_iter().zip(1..) {
                let event = AccountEvent { what, reason: reason.clone() };
                prop_assert_eq!(<Account as Aggregate>::decode(&Account::encode(&event)), Ok(event.clone()));
                Account::evolve(&mut account, &event, seq);
            }
            prop_assert_eq!(Account::from_header(&account.header()), Ok(account));
        }

        #[test]
        fn no_bytes_make_the_decoders_fail(bytes: Vec<u8>) {
            let _ = Account::from_header(&bytes);
            let _ = <Account as Aggregate>::decode(&bytes);
        }
    }

    #[test]
    fn nothing_stored_is_the_account_of_who_has_none() {
        assert_eq!(Account::from_header(&[]), Ok(Account::default()));
    }
}
