//! The account of a tenant with whoever runs the server: its standing, its plan, and what was agreed beside it.

use std::collections::BTreeMap;

use calendar::Instant;

use crate::Error;
use crate::domain::{Feature, Plan, Value};

const DAY_SECONDS: i64 = 86_400;

/// Where a tenant is in its life. `closed` has no account any more: nothing of the tenant can be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// To try, until a moment; then as suspended.
    Trial {
        /// That moment.
        until: Instant,
    },
    /// Everything.
    Active,
    /// As active; somebody waits for money.
    PastDue,
    /// Read and exported, not changed.
    Suspended,
    /// As suspended, and from a moment on it may be purged.
    Closing {
        /// The end of the export window.
        purge_from: Instant,
        /// Whether it was anything but active before: then withdrawing the notice leaves it suspended.
        owed: bool,
    },
}

/// What was agreed beside the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Override {
    /// What holds instead.
    pub value: Value,
    /// Until then; `None` is for good.
    pub until: Option<Instant>,
}

/// The account of a tenant. Without an entry it is that of who runs their own server: active, with everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Where it is in its life.
    pub standing: Standing,
    /// What is paid for.
    pub plan: Plan,
    /// What was agreed beside it.
    pub overrides: BTreeMap<Feature, Override>,
    /// Position of its last entry; 0 without one.
    pub revision: u64,
}

/// A feature as it holds for a tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entitlement {
    /// Which.
    pub feature: Feature,
    /// What holds.
    pub value: Value,
    /// Whether that is an override of the plan.
    pub overridden: bool,
    /// Until when; `None` is for good.
    pub until: Option<Instant>,
}

/// What is asked of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountCommand {
    /// What.
    pub what: AccountChange,
    /// Why.
    pub reason: String,
}

/// How an account changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountChange {
    /// Another plan.
    Plan(Plan),
    /// An agreement beside the plan.
    Override(Feature, Override),
    /// No such agreement any more.
    NoOverride(Feature),
    /// Another standing, as who runs the server says.
    Standing(Standing),
    /// The tenant gives notice; its data are kept for this many days.
    Close {
        /// At most [`Account::EXPORT_DAYS_MAX`].
        export_days: u32,
    },
    /// The tenant takes its notice back.
    Withdraw,
}

/// What happened to an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountEvent {
    /// What.
    pub what: AccountFact,
    /// Why.
    pub reason: String,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountFact {
    /// It has another plan.
    Planned(Plan),
    /// Something was agreed beside the plan.
    Overridden(Feature, Override),
    /// That is no longer so.
    OverrideEnded(Feature),
    /// It has another standing.
    Stands(Standing),
}

impl Default for Account {
    fn default() -> Account {
        Account {
            standing: Standing::Active,
            plan: Plan::Enterprise,
            overrides: BTreeMap::new(),
            revision: 0,
        }
    }
}

impl Standing {
    /// `trial`, `active`, `past_due`, `suspended`, `closing`.
    pub fn code(self) -> &'static str {
        match self {
            Standing::Trial { .. } => "trial",
            Standing::Active => "active",
            Standing::PastDue => "past_due",
            Standing::Suspended => "suspended",
            Standing::Closing { .. } => "closing",
        }
    }

    /// What it is at a moment: a trial that is over is suspended.
    pub fn at(self, now: Instant) -> Standing {
        match self {
            Standing::Trial { until } if until <= now => Standing::Suspended,
            other => other,
        }
    }
}

impl Account {
    /// Longest export window, in days.
    pub const EXPORT_DAYS_MAX: u32 = 365;
    /// Export window of a notice that names none.
    pub const EXPORT_DAYS_DEFAULT: u32 = 30;

    /// What holds for a feature at a moment.
    pub fn entitlement(&self, feature: Feature, now: Instant) -> Entitlement {
        let agreed = self.overrides.get(&feature).filter(|agreed| agreed.until.is_none_or(|end| now < end));
        match agreed {
            Some(Override { value, until }) => {
                Entitlement { feature, value: value.clone(), overridden: true, until: *until }
            }
            None => Entitlement { feature, value: self.plan.value(feature), overridden: false, until: None },
        }
    }

    /// Whether a feature that is a switch is there.
    pub fn has(&self, feature: Feature, now: Instant) -> bool {
        self.entitlement(feature, now).value == Value::Switch(true)
    }

    /// How many there may be of what a feature limits.
    pub fn limit(&self, feature: Feature, now: Instant) -> u64 {
        match self.entitlement(feature, now).value {
            Value::Limit(most) => most,
            Value::Switch(_) | Value::Choice(_) => 0,
        }
    }

    /// Decides what a command leads to. Pure. Repeating what is so already changes nothing.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`].
    pub fn decide(&self, command: &AccountCommand, now: Instant) -> Result<Vec<AccountEvent>, Error> {
        use AccountFact::{Overridden, OverrideEnded, Planned, Stands};
        let fact = match &command.what {
            AccountChange::Plan(plan) => (*plan != self.plan).then_some(Planned(*plan)),
            AccountChange::Override(feature, agreed) => {
                (self.overrides.get(feature) != Some(agreed)).then(|| Overridden(*feature, agreed.clone()))
            }
            AccountChange::NoOverride(feature) => {
                self.overrides.contains_key(feature).then_some(OverrideEnded(*feature))
            }
            AccountChange::Standing(next) if *next == self.standing => None,
            AccountChange::Standing(next) => {
                self.may_become(*next)?;
                Some(Stands(*next))
            }
            AccountChange::Close { export_days } => match self.standing {
                Standing::Closing { .. } => None,
                _ => {
                    let purge_from = now.plus_seconds(i64::from(*export_days) * DAY_SECONDS);
                    let owed = self.standing != Standing::Active;
                    Some(Stands(Standing::Closing { purge_from, owed }))
                }
            },
            // A notice is no way to be active for who has not paid.
            AccountChange::Withdraw => match self.standing {
                Standing::Closing { owed: true, .. } => Some(Stands(Standing::Suspended)),
                Standing::Closing { owed: false, .. } => Some(Stands(Standing::Active)),
                Standing::Active => None,
                _ => return Err(Error::IllegalTransition { why: "there is no notice to withdraw" }),
            },
        };
        Ok(fact.map(|what| AccountEvent { what, reason: command.reason.clone() }).into_iter().collect())
    }

    /// Whether who runs the server may set this standing: `trial → active → past_due → suspended`, back to active
    /// from the last two, and suspended from everywhere but closing.
    fn may_become(&self, next: Standing) -> Result<(), Error> {
        use Standing::{Active, Closing, PastDue, Suspended, Trial};
        let why = match (self.standing, next) {
            (Trial { .. } | PastDue | Suspended | Closing { .. }, Active)
            | (Active, PastDue)
            | (Trial { .. } | Active | PastDue, Suspended)
            | (Trial { .. }, Trial { .. }) => return Ok(()),
            (Active, Trial { .. }) if self.revision == 0 => return Ok(()),
            (_, Trial { .. }) => "a trial is the first thing that a tenant has",
            (_, Closing { .. }) => "a tenant is closed by its owner",
            (Closing { .. }, _) => "the tenant has given notice: it can become active or be purged",
            (_, PastDue) => "a tenant that is not active cannot be past due",
            (Active, Active) | (Suspended, Suspended) => return Ok(()),
        };
        Err(Error::IllegalTransition { why })
    }

    /// Changes the account as the event says. Cannot fail.
    pub fn evolve(&mut self, event: &AccountEvent, seq: u64) {
        match &event.what {
            AccountFact::Planned(plan) => self.plan = *plan,
            AccountFact::Overridden(feature, agreed) => {
                self.overrides.insert(*feature, agreed.clone());
            }
            AccountFact::OverrideEnded(feature) => {
                self.overrides.remove(feature);
            }
            AccountFact::Stands(standing) => self.standing = *standing,
        }
        self.revision = seq;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant::from_unix_micros(seconds * 1_000_000)
    }

    fn ask(account: &mut Account, what: AccountChange) -> Result<usize, Error> {
        let events = account.decide(&AccountCommand { what, reason: "test".to_owned() }, at(0))?;
        for event in &events {
            let seq = account.revision + 1;
            account.evolve(event, seq);
        }
        Ok(events.len())
    }

    fn stand(account: &mut Account, standing: Standing) -> Result<usize, Error> {
        ask(account, AccountChange::Standing(standing))
    }

    /// API-10: an override counts instead of the plan until it ends.
    #[test]
    fn an_override_counts_until_its_end() {
        let mut account = Account::default();
        let (feature, until) = (Feature::BusinessesMax, Some(at(100)));
        ask(&mut account, AccountChange::Plan(Plan::Starter)).unwrap();
        assert_eq!(account.limit(feature, at(0)), 1);
        let agreed = Override { value: Value::Limit(7), until };
        assert_eq!(ask(&mut account, AccountChange::Override(feature, agreed.clone())), Ok(1));
        assert_eq!(ask(&mut account, AccountChange::Override(feature, agreed)), Ok(0), "it is so already");
        assert_eq!([99, 100].map(|now| account.limit(feature, at(now))), [7, 1]);
        assert_eq!(account.entitlement(feature, at(99)).until, until);
        assert_eq!(ask(&mut account, AccountChange::NoOverride(feature)), Ok(1));
        assert_eq!(account.limit(feature, at(0)), 1);
        assert!(!account.has(Feature::ApiAccess, at(0)));
    }

    #[test]
    fn a_trial_that_is_over_is_suspended() {
        let trial = Standing::Trial { until: at(10) };
        assert_eq!([9, 10].map(|now| trial.at(at(now)).code()), ["trial", "suspended"]);
    }

    #[test]
    fn a_standing_follows_another() {
        let mut account = Account::default();
        let trial = Standing::Trial { until: at(10) };
        assert_eq!(stand(&mut account, trial), Ok(1));
        assert_eq!(stand(&mut account, Standing::Trial { until: at(20) }), Ok(1), "it may be longer");
        for standing in [Standing::Active, Standing::PastDue, Standing::Suspended, Standing::Active] {
            assert_eq!(stand(&mut account, standing), Ok(1));
        }
        assert_eq!(stand(&mut account, Standing::Active), Ok(0));
        let illegal = |done| matches!(done, Err(Error::IllegalTransition { .. }));
        assert!(illegal(stand(&mut account, trial)));
        assert!(illegal(stand(&mut account, Standing::Closing { purge_from: at(0), owed: false })));
        stand(&mut account, Standing::Suspended).unwrap();
        assert!(illegal(stand(&mut account, Standing::PastDue)));
        assert!(illegal(ask(&mut account, AccountChange::Withdraw)));
    }

    #[test]
    fn a_notice_has_a_window_and_can_be_withdrawn() {
        let mut account = Account::default();
        assert_eq!(ask(&mut account, AccountChange::Close { export_days: 30 }), Ok(1));
        assert_eq!(account.standing, Standing::Closing { purge_from: at(30 * DAY_SECONDS), owed: false });
        assert_eq!(ask(&mut account, AccountChange::Close { export_days: 7 }), Ok(0), "the first one counts");
        assert!(stand(&mut account, Standing::Suspended).is_err());
        assert_eq!(ask(&mut account, AccountChange::Withdraw), Ok(1));
        assert_eq!(account.standing, Standing::Active);
        stand(&mut account, Standing::PastDue).unwrap();
        ask(&mut account, AccountChange::Close { export_days: 7 }).unwrap();
        ask(&mut account, AccountChange::Withdraw).unwrap();
        assert_eq!(account.standing, Standing::Suspended, "a notice pays no bill");
    }
}
