//! The prices of a variant in a list and a unit: a line of changes, each for ever from its moment on.
//!
//! The price at a moment is that of the last change that was effective then, the later change where two
//! begin together. A change never begins in the past, so what the price was at a moment that has passed
//! never changes.

use calendar::Instant;
use ids::{PriceListId, VariantId};
use journal::Seq;
use money::{Currency, UnitPrice};
use problem::Invalid;

use super::UnitRef;
use crate::Error;

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
    /// 1, 2, 3, … without gaps in the key (list, variant, unit).
    pub sequence: u64,
    /// The price in force just before `effective_at`, as known when this was recorded; `None` for the first.
    pub old: Option<UnitPrice>,
    /// The price from `effective_at` on.
    pub new: UnitPrice,
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

/// Where a price begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// From when on.
    pub effective_at: Instant,
    /// Which change of the line.
    pub sequence: u64,
    /// The price from then on.
    pub amount: UnitPrice,
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
    /// Decides what becomes of a wish for a price. Pure.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the past, [`Error::PriceAlreadyScheduled`], [`Error::LimitReached`].
    pub fn decide(&self, command: &SetPrice, now: Instant) -> Result<Change, Error> {
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
            sequence: self.sequence + 1,
            old: self.at(effective_at).map(|point| point.amount),
            new: command.amount,
            effective_at,
            reason: command.reason.clone(),
            source: command.source,
        })
    }

    /// Takes in a change and forgets what can no longer be the price of any moment from `recorded_at` on.
    pub fn evolve(&mut self, change: &Change, seq: Seq, recorded_at: Instant) {
        assert!(recorded_at <= change.effective_at, "a price never begins in the past");
        self.sequence = change.sequence;
        let point =
            Point { effective_at: change.effective_at, sequence: change.sequence, amount: change.new, seq };
        let place = self.points.partition_point(|other| other.effective_at <= point.effective_at);
        self.points.insert(place, point);
        let past = self.points.partition_point(|other| other.effective_at <= recorded_at);
        self.points.drain(..past.saturating_sub(1));
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
