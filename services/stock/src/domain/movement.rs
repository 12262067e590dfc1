//! The event of the stock ledger: a movement, with everything that it changes.

use std::sync::Arc;

use calendar::Instant;
use ids::{BusinessId, LocationId, VariantId};
use journal::Seq;
use money::Currency;
use quantity::{Factor, Quantity};

use crate::domain::kind::Kind;

/// How issues are valued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Method {
    /// At the average of what is there.
    #[default]
    MovingAverage,
    /// At the cost of what came first.
    Fifo,
}

impl Method {
    /// `MOVING_AVERAGE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Method::MovingAverage => "MOVING_AVERAGE",
            Method::Fifo => "FIFO",
        }
    }
}

/// What is fixed for an item with its first movement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The business that the stock belongs to.
    pub business: BusinessId,
    /// What it is stock of.
    pub variant: VariantId,
    /// The unit of all quantities (UN/ECE Rec 20).
    pub base_unit: String,
    /// Decimal places of quantities, 0 to 6.
    pub quantity_scale: u32,
    /// Currency of all values.
    pub currency: Currency,
    /// Decimal places of values.
    pub cost_scale: u32,
    /// How issues are valued.
    pub method: Method,
}

/// The document line that causes a movement.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Source {
    /// `goods_receipt`.
    pub kind: String,
    /// Id of the document.
    pub id: String,
    /// What people call it; may be empty.
    pub number: String,
    /// Id of the line; may be empty.
    pub line: String,
    /// Revision of the document.
    pub revision: u32,
}

/// What the person typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entered {
    /// In `unit`.
    pub quantity: Quantity,
    /// UN/ECE Rec 20.
    pub unit: String,
    /// Base units per unit.
    pub factor: Factor,
}

/// What caused a posting: the same for all its movements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// What the person typed.
    pub entered: Entered,
    /// The document line.
    pub source: Source,
    /// Why; may be empty.
    pub reason_code: String,
    /// In words; may be empty.
    pub note: String,
}

/// A part of a receipt, with its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// Sequence of the receipt.
    pub receipt: Seq,
    /// How much of it.
    pub quantity: Quantity,
    /// At which value.
    pub value: i64,
}

/// An issue's shortage, or a part of it, that arriving goods cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cover {
    /// Sequence of the issue.
    pub issue: Seq,
    /// How much is covered.
    pub quantity: Quantity,
    /// The value that the issue had assumed for it.
    pub provisional: i64,
    /// What it did cost.
    pub actual: i64,
}

/// A movement. Posted and immutable; every field is decided when it is posted, `evolve` only applies it.
///
/// Values are integers in units of 10^-`cost_scale` of the base currency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Movement {
    /// Only on the first movement of an item.
    pub facts: Option<Facts>,
    /// Position in its posting, from 0.
    pub position: u32,
    /// What it is.
    pub kind: Kind,
    /// Where.
    pub location: LocationId,
    /// The other leg.
    pub counterpart: LocationId,
    /// Signed, in the base unit.
    pub quantity: Quantity,
    /// On hand at the location, before and after.
    pub balance_before: Quantity,
    /// `balance_before + quantity`.
    pub balance_after: Quantity,
    /// On hand of the variant in the business.
    pub item_after: Quantity,
    /// Signed effect on the value of the pool.
    pub value: i64,
    /// Quantity of the cost pool.
    pub pool_quantity_after: Quantity,
    /// Value of the cost pool.
    pub pool_value_after: i64,
    /// What caused it.
    pub cause: Arc<Cause>,
    /// Business time.
    pub occurred_at: Instant,
    /// Receipts that an issue took.
    pub consumed: Vec<Slice>,
    /// Layers that come back (a reversed issue).
    pub restored: Vec<Slice>,
    /// The new layer that arriving goods make, under this movement's own sequence.
    pub layer: Option<(Quantity, i64)>,
    /// Shortages that arriving goods cover.
    pub covered: Vec<Cover>,
    /// The shortage of an issue: how much left without stock, at which value.
    pub provisional: Option<(Quantity, i64)>,
    /// A movement of this location with a later `occurred_at` was there already.
    pub late: bool,
    /// The movement that it takes back.
    pub reversal_of: Option<Seq>,
    /// The movement that is returned.
    pub return_of: Option<Seq>,
    /// The issue that it settles.
    pub settles: Option<Seq>,
    /// With the moving average, what a reversal could not take back: `value + variance` is the exact
    /// opposite of the original.
    pub variance: i64,
    /// In force when it was posted.
    pub method: Method,
}

impl Movement {
    /// Whether a person or a document caused it: the engine's own value movements are not counted.
    #[must_use]
    pub fn is_physical(&self) -> bool {
        self.kind != Kind::ValueSettlement
    }

    /// Quantity that this movement takes from layers.
    #[must_use]
    pub fn consumed_quantity(&self) -> Quantity {
        self.consumed.iter().map(|slice| slice.quantity).sum()
    }
}
