//! The prices of a variant in a list and a unit: a line of changes, each for ever from its moment on.
//!
//! The price at a moment is that of the last change that was effective then, the later change where two
//! begin together. A change never begins in the past, so what the price was at a moment that has passed
//! never changes.
//!
//! The owner of a list has a line, and so has each business below it that says a price of its own; which of them
//! holds in a business is decided by the policies between, as for fields of products ([`Lines`]).

use std::collections::BTreeMap;

use calendar::Instant;
use ids::{BusinessId, PriceListId, VariantId};
use inherit::{Effective, Field, Group, Mode, Policies, Purpose, Record, Said, Schema, Value};
use journal::Seq;
use money::{Currency, UnitPrice};
use problem::Invalid;

use super::{Caller, PriceList, UnitRef};
use crate::Error;

/// What a price list has that businesses below its owner may speak about, if a policy lets them: nobody may by
/// itself. A list may be for purchases or between businesses, and whoever may publish prices in a business below
/// could not say anything on the list of another before.
pub const PRICE_LISTS: Schema = Schema {
    entity: "price_list",
    groups: &[Group {
        name: "prices",
        fields: &[Field { name: "prices", is_list: false }],
        mode: Mode::Locked,
        fixed: false,
    }],
};

/// The one group of [`PRICE_LISTS`], and its field.
fn prices() -> (&'static Group, &'static str) {
    let group = &PRICE_LISTS.groups[0];
    (group, group.fields[0].name)
}

/// Most changes of one line that wait for their moment.
pub const PRICES_SCHEDULED_MAX: usize = 100;
/// How far a caller's clock may be behind, in seconds: so much past is taken as now.
pub const CLOCK_SKEW_S_MAX: i64 = 300;

/// A price change. Immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The list.
    pub list: PriceListId,
    /// The variant.
    pub variant: VariantId,
    /// The unit that the price is for.
    pub unit: UnitRef,
    /// The currency of the list.
    pub currency: Currency,
    /// From the root to the business whose price it is, as it was then; empty for the owner of the list.
    pub path: Vec<BusinessId>,
    /// 1, 2, 3, … without gaps in the key (list, variant, unit, business).
    pub sequence: u64,
    /// The price in force just before `effective_at`, as known when this was recorded; `None` for the first.
    pub old: Option<UnitPrice>,
    /// The price from `effective_at` on; `None` when the business took back what it said.
    pub new: Option<UnitPrice>,
    /// From when on.
    pub effective_at: Instant,
    /// Why.
    pub reason: String,
    /// Through which door it came.
    pub source: Source,
}

/// Through which door a change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A call of a user or a program.
    Api,
    /// A file that the platform read.
    Import,
}

impl Source {
    /// `api`, `import`.
    pub fn name(self) -> &'static str {
        match self {
            Source::Api => "api",
            Source::Import => "import",
        }
    }
}

/// Asks for a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPrice {
    /// The list.
    pub list: PriceListId,
    /// The variant.
    pub variant: VariantId,
    /// The unit that the price is for.
    pub unit: UnitRef,
    /// The currency of the list.
    pub currency: Currency,
    /// Not negative.
    pub amount: UnitPrice,
    /// From when on; now when absent.
    pub effective_at: Option<Instant>,
    /// Why.
    pub reason: String,
    /// Through which door it comes.
    pub source: Source,
}

/// Takes back the price that a business below the owner of a list said, and those that it scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearPrice {
    /// The list.
    pub list: PriceListId,
    /// The variant.
    pub variant: VariantId,
    /// The unit that the price is for.
    pub unit: UnitRef,
    /// The currency of the list.
    pub currency: Currency,
    /// Why.
    pub reason: String,
    /// Through which door it comes.
    pub source: Source,
}

/// What callers ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PriceCommand {
    /// Set a price.
    Set(SetPrice),
    /// Take one back.
    Clear(ClearPrice),
}

impl PriceCommand {
    /// The unit that it is about.
    pub fn unit(&self) -> UnitRef {
        match self {
            PriceCommand::Set(set) => set.unit,
            PriceCommand::Clear(clear) => clear.unit,
        }
    }
}

/// Where a price begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// From when on.
    pub effective_at: Instant,
    /// Which change of the line.
    pub sequence: u64,
    /// The price from then on; `None` when there is none.
    pub amount: Option<UnitPrice>,
    /// The entry that says so.
    pub seq: Seq,
}

/// The present and the future of a key (list, variant, unit); the past is in its entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// How many changes there were.
    pub sequence: u64,
    /// The change in force when the last one was recorded, if any, then those that waited, in the order of
    /// their moments, those of one moment by sequence.
    pub points: Vec<Point>,
}

impl Line {
    /// Decides what a caller's command does to the prices that its business says: nothing, or one change. Pure.
    ///
    /// # Errors
    /// [`Error::InheritedLocked`], [`Error::NotFound`], and those of [`Line::set`].
    pub fn decide(
        &self,
        caller: &Caller,
        list: &PriceList,
        command: &PriceCommand,
        now: Instant,
    ) -> Result<Option<Change>, Error> {
        let line = list.line(&caller.path).ok_or(Error::NotFound { what: "price list" })?;
        let path = if line.len() > 1 { caller.path.to_vec() } else { vec![] };
        match command {
            PriceCommand::Set(set) => {
                if line.len() > 1 {
                    may_say(line, &caller.policies, now)?;
                }
                Ok(Some(Change { path, ..self.set(set, now)? }))
            }
            // The owner says what is so; there is nothing to take back.
            PriceCommand::Clear(_) if line.len() == 1 => Ok(None),
            PriceCommand::Clear(clear) => Ok(self.clear(clear, now).map(|change| Change { path, ..change })),
        }
    }

    /// Whether it says a price, now or later.
    pub fn says(&self) -> bool {
        self.points.iter().any(|point| point.amount.is_some())
    }

    fn clear(&self, command: &ClearPrice, now: Instant) -> Option<Change> {
        self.says().then(|| Change {
            list: command.list,
            variant: command.variant,
            unit: command.unit,
            currency: command.currency,
            path: vec![],
            sequence: self.sequence + 1,
            old: self.at(now).and_then(|point| point.amount),
            new: None,
            effective_at: now,
            reason: command.reason.clone(),
            source: command.source,
        })
    }

    /// Decides what becomes of a wish for a price. Pure.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the past, [`Error::PriceAlreadyScheduled`], [`Error::LimitReached`].
    pub fn set(&self, command: &SetPrice, now: Instant) -> Result<Change, Error> {
        assert!(!command.amount.is_negative(), "checked where the request was parsed");
        let effective_at = match command.effective_at {
            Some(wanted) if wanted < now.plus_seconds(-CLOCK_SKEW_S_MAX) => {
                let detail = format!("must not be in the past; it is '{now}'");
                return Err(Invalid::field("price.effective_at", "IN_THE_PAST", detail).into());
            }
            Some(wanted) => wanted.max(now),
            None => now,
        };
        if now < effective_at {
            let mut scheduled = self.points.iter().filter(|point| now < point.effective_at);
            if scheduled.clone().count() >= PRICES_SCHEDULED_MAX {
                return Err(Error::LimitReached { what: "scheduled prices", max: PRICES_SCHEDULED_MAX });
            }
            if scheduled.any(|point| point.effective_at == effective_at) {
                return Err(Error::PriceAlreadyScheduled { effective_at });
            }
        }
        Ok(Change {
            list: command.list,
            variant: command.variant,
            unit: command.unit,
            currency: command.currency,
            path: vec![],
            sequence: self.sequence + 1,
            old: self.at(effective_at).and_then(|point| point.amount),
            new: Some(command.amount),
            effective_at,
            reason: command.reason.clone(),
            source: command.source,
        })
    }

    /// Takes in a change and forgets what can no longer be the price of any moment from `recorded_at` on. Gives back
    /// what was scheduled and will not be any more: taking a price back takes those back, too.
    pub fn evolve(&mut self, change: &Change, seq: Seq, recorded_at: Instant) -> Vec<Point> {
        assert!(recorded_at <= change.effective_at, "a price never begins in the past");
        self.sequence = change.sequence;
        let kept = match change.new {
            None => self.points.partition_point(|other| other.effective_at <= change.effective_at),
            Some(_) => self.points.len(),
        };
        let gone = self.points.split_off(kept);
        let point =
            Point { effective_at: change.effective_at, sequence: change.sequence, amount: change.new, seq };
        let place = self.points.partition_point(|other| other.effective_at <= point.effective_at);
        self.points.insert(place, point);
        let past = self.points.partition_point(|other| other.effective_at <= recorded_at);
        self.points.drain(..past.saturating_sub(1));
        gone
    }

    /// The change in force at a moment that is not before the last change was recorded; for an earlier
    /// one, `None` says that the entries must be asked.
    pub fn at(&self, moment: Instant) -> Option<&Point> {
        let after = self.points.partition_point(|point| point.effective_at <= moment);
        self.points[..after].last()
    }

    /// The first change that begins after a moment, as [`Line::at`] knows it.
    pub fn next_after(&self, moment: Instant) -> Option<&Point> {
        self.points.iter().find(|point| moment < point.effective_at)
    }
}

/// Refuses a price of a business that a policy above does not let say any.
///
/// # Errors
/// [`Error::InheritedLocked`].
fn may_say(line: &[BusinessId], policies: &Policies, now: Instant) -> Result<(), Error> {
    let (group, field) = prices();
    // What is wanted does not matter: a price is no list, of which something could be missing.
    let wanted = Value::Text(String::new());
    let prepared = inherit::prepare(&Lines::default(), policies, group, field, line, &wanted, now);
    prepared.map(drop).map_err(|locked| Error::InheritedLocked { entity: PRICE_LISTS.entity, locked })
}

/// What the businesses on the way from the owner of a list down to another say about a price at a moment.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    owner: Option<Said>,
    below: BTreeMap<BusinessId, Said>,
}

impl Lines {
    /// Which businesses of `line`, beside the owner of the list at its beginning, can have a say at a moment: those
    /// that no policy above locks.
    pub fn speakers<'a>(
        line: &'a [BusinessId],
        policies: &'a Policies,
        at: Instant,
    ) -> impl Iterator<Item = BusinessId> + 'a {
        let (group, _) = prices();
        let may = move |level: &usize| {
            policies.ruling(group, &line[..=*level], at, Purpose::Read).mode != Mode::Locked
        };
        (1..line.len()).filter(may).map(|level| line[level])
    }

    /// Takes in what a business says: a price since a moment, in the change with that sequence.
    pub fn add(&mut self, business: BusinessId, owner: BusinessId, change: &Change) {
        let Some(amount) = change.new else { return };
        let said = Said {
            value: Value::Text(amount.amount()),
            revision: change.sequence,
            at: change.effective_at,
            by: String::new(),
            reason: change.reason.clone(),
        };
        match business == owner {
            true => self.owner = Some(said),
            false => drop(self.below.insert(business, said)),
        }
    }

    /// Which price holds at the end of `line`, and where it comes from; `None` if there is none.
    pub fn effective(&self, line: &[BusinessId], policies: &Policies, at: Instant) -> Option<Effective> {
        let (group, field) = prices();
        let found = inherit::resolve(self, policies, group, field, line, at);
        (found.origin.revision > 0).then_some(found)
    }
}

impl Record for Lines {
    fn own(&self, _: &str, _: &[BusinessId], at: Instant) -> Said {
        let nothing = || Said {
            value: Value::Text(String::new()),
            revision: 0, // nobody said anything
            at,
            by: String::new(),
            reason: String::new(),
        };
        self.owner.clone().unwrap_or_else(nothing)
    }

    fn said(&self, business: BusinessId, _: &str) -> Option<&Said> {
        self.below.get(&business)
    }
}
