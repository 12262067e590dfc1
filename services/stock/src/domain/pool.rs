//! The cost pool: a quantity and its value, never a unit cost.
//!
//! `cost(q) = round_half_away(value * q / quantity)`: with `q = quantity` that is the whole value, so
//! the value is exactly zero when the quantity is, and the last unit takes the remainder by itself.
//! Products use 128 bits; nothing between is rounded. Sources: DESIGN, "Numbers"; the rounding rule
//! reproduces the published scenarios of other systems, half-even does not.

use journal::Seq;
use money::div_half_away;
use quantity::Quantity;

use crate::domain::layers::Layers;
use crate::domain::movement::{Cover, Method, Slice};

/// Issues that wait for goods to be settled.
pub const DEFICITS_MAX: usize = 48;
/// Receipts that one movement consumes; an issue that takes more becomes several movements.
pub const CONSUMED_MAX: usize = 200;
/// Greatest value of a pool or a posting, in units of 10^-scale.
pub const VALUE_MAX: i64 = 1_000_000_000_000_000_000;

/// A part of an issue that had no stock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deficit {
    /// Sequence of the issue.
    pub issue: Seq,
    /// How much is open.
    pub quantity: Quantity,
    /// The value that was assumed for it.
    pub value: i64,
}

impl Deficit {
    /// What is left of it when `cover` has ended a part; `None` if nothing is.
    fn less(self, cover: &Cover) -> Option<Deficit> {
        let (quantity, value) = (self.quantity - cover.quantity, self.value - cover.provisional);
        (!quantity.is_zero()).then_some(Deficit { issue: self.issue, quantity, value })
    }
}

/// The stock of a variant in a business, as seen by cost.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pool {
    /// How issues are valued.
    pub method: Method,
    /// On hand in all locations; negative while issues wait for goods.
    pub quantity: Quantity,
    /// Value of it, negative while issues wait for goods.
    pub value: i64,
    /// Value and quantity that last came or left: the cost of goods when there are none.
    pub last_cost: Option<(i64, Quantity)>,
    /// What is left of each receipt.
    pub layers: Layers,
    /// What left without stock, oldest first.
    pub deficits: Vec<Deficit>,
}

/// What an issue takes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Receipts, with the value that leaves with each.
    pub consumed: Vec<Slice>,
    /// Quantity without stock, and its assumed value.
    pub provisional: Option<(Quantity, i64)>,
    /// All value that leaves.
    pub value: i64,
}

/// What arriving goods do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Put {
    /// Shortages that they cover, oldest first.
    pub covered: Vec<Cover>,
    /// What is left of them.
    pub layer: Option<(Quantity, i64)>,
}

/// `round_half_away(value * part / whole)`.
#[must_use]
pub fn share(value: i64, part: Quantity, whole: Quantity) -> i64 {
    if part == whole {
        return value;
    }
    let exact = i128::from(value) * i128::from(part.micros());
    let rounded = div_half_away(exact, i128::from(whole.micros()));
    i64::try_from(rounded).unwrap_or(if rounded < 0 { -VALUE_MAX } else { VALUE_MAX })
}

impl Pool {
    /// What `quantity` would cost if it had to be assumed: at the last cost, zero if there is none.
    #[must_use]
    pub fn assumed(&self, quantity: Quantity) -> i64 {
        self.last_cost.map_or(0, |(value, of)| share(value, quantity, of))
    }

    /// What `quantity` of arriving goods of unknown cost are worth: the present average, else the last
    /// cost.
    #[must_use]
    pub fn current(&self, quantity: Quantity) -> i64 {
        if self.quantity.is_positive() {
            share(self.value, quantity, self.quantity)
        } else {
            self.assumed(quantity)
        }
    }

    /// Takes `quantity` out, by the method of the pool: oldest first, or `prefer` first.
    ///
    /// With the moving average the same walk tells where the goods came from, and the cost at the
    /// average is spread over the slices by quantity; the last slice takes the remainder.
    #[must_use]
    pub fn take(&self, quantity: Quantity, prefer: Option<Seq>) -> Taken {
        let preferred = self.layers.iter().filter(|layer| Some(layer.receipt) == prefer);
        let others = self.layers.iter().filter(|layer| Some(layer.receipt) != prefer);
        let mut left = quantity;
        let mut consumed = Vec::new();
        for layer in preferred.chain(others) {
            if left.is_zero() {
                break;
            }
            let part = left.min(layer.quantity);
            consumed.push(Slice {
                value: share(layer.value, part, layer.quantity),
                quantity: part,
                ..*layer
            });
            left -= part;
        }
        let stocked = quantity - left;
        if self.method == Method::MovingAverage && stocked.is_positive() {
            self.spread(&mut consumed, stocked);
        }
        let mut value = consumed.iter().map(|slice| slice.value).sum();
        let provisional = left.is_positive().then(|| {
            let last = match (self.method, consumed.last()) {
                (Method::Fifo, Some(slice)) => Some((slice.value, slice.quantity)),
                (Method::MovingAverage, Some(_)) => Some((value, stocked)),
                (_, None) => self.last_cost,
            };
            (left, last.map_or(0, |(cost, of)| share(cost, left, of)))
        });
        value += provisional.map_or(0, |(_, assumed)| assumed);
        Taken { consumed, provisional, value }
    }

    /// Values the slices of an issue at the average. Layers and deficits never coexist: what arrives
    /// covers deficits first, what leaves takes layers first.
    fn spread(&self, consumed: &mut [Slice], stocked: Quantity) {
        let mut cost = share(self.value, stocked, self.quantity);
        let mut quantity = stocked;
        for slice in consumed {
            slice.value = share(cost, slice.quantity, quantity);
            cost -= slice.value;
            quantity -= slice.quantity;
        }
    }

    /// Puts `quantity` worth `value` in: shortages are covered first, at the cost of these goods.
    /// `ended` is a shortage, or a part of one, that is covered already.
    #[must_use]
    pub fn put(&self, quantity: Quantity, value: i64, ended: Option<&Cover>) -> Put {
        let (mut left, mut worth) = (quantity, value);
        let mut covered = Vec::new();
        let open = self.deficits.iter().filter_map(|deficit| match ended {
            Some(cover) if cover.issue == deficit.issue => deficit.less(cover),
            _ => Some(*deficit),
        });
        for deficit in open {
            if left.is_zero() {
                break;
            }
            let part = left.min(deficit.quantity);
            let cover = Cover {
                issue: deficit.issue,
                quantity: part,
                provisional: share(deficit.value, part, deficit.quantity),
                actual: share(worth, part, left),
            };
            left -= part;
            worth -= cover.actual;
            covered.push(cover);
        }
        Put { covered, layer: left.is_positive().then_some((left, worth)) }
    }

    /// Ends a shortage, or a part of it.
    pub fn end(&mut self, cover: &Cover) {
        if let Some(at) = self.deficits.iter().position(|deficit| deficit.issue == cover.issue) {
            match self.deficits[at].less(cover) {
                Some(rest) => self.deficits[at] = rest,
                None => drop(self.deficits.remove(at)),
            }
        }
    }
}
