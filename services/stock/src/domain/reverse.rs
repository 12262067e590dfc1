//! Takes a posting back: it never happened.
//!
//! A reversal carries the original's own cost, never today's. What hangs on the original (returns,
//! settlements, goods that are gone) must be taken back first.

use std::sync::Arc;

use ids::LocationId;
use journal::Seq;
use quantity::Quantity;
use rpc::AmountsMax;

use crate::domain::item::Item;
use crate::domain::kind::{Flow, Kind};
use crate::domain::layers::CHUNKS_MAX;
use crate::domain::location::Location;
use crate::domain::movement::{Cause, Cover, Method, Movement, Slice};
use crate::domain::pool::{Pool, share};
use crate::domain::post::{Draft, Leg, check_amount, check_in, check_out, check_stock};
use crate::error::Error;

/// A request to take a posting back, with what the decision needs to know.
#[derive(Clone, Debug)]
pub struct Reverse {
    /// All movements of the posting, in order.
    pub originals: Vec<(Seq, Movement)>,
    /// Their locations.
    pub places: Vec<Location>,
    /// What was entered from which document, as in the originals; why, as the caller says.
    pub cause: Arc<Cause>,
    /// The greatest values that the caller may post; `None` is any.
    pub amounts_max: AmountsMax,
}

/// Decides the reversing movements: the originals', last first.
pub(crate) fn reverse(item: &Item, reverse: &Reverse) -> Result<Vec<Movement>, Error> {
    let (Some(facts), Some((_, first))) = (&item.facts, reverse.originals.first()) else {
        return Err(Error::NotFound);
    };
    for (seq, movement) in &reverse.originals {
        check(item, *seq, movement)?;
    }
    let mut draft = Draft::new(item, facts, &reverse.cause, first.occurred_at);
    let mut pool = item.pool.clone();
    for (seq, original) in reverse.originals.iter().rev() {
        let place = place(reverse, original.location)?;
        if original.quantity.is_positive() {
            let available = draft.at(place.id);
            check_out(place, available, original.quantity)?;
            if original.kind.flow() == Flow::Move {
                check_stock(place, available, original.quantity)?; // a transfer makes no shortage
            }
        } else {
            check_in(place)?;
        }
        let undone = match original.kind.flow() {
            Flow::Move => Undone::default(),
            _ if original.quantity.is_positive() => take_back(&pool, *seq, original)?,
            _ => put_back(&mut pool, item, *seq, original)?,
        };
        let leg = Leg {
            kind: original.kind,
            location: original.location,
            counterpart: original.counterpart,
            quantity: -original.quantity,
            value: undone.value,
        };
        let movement = draft.add(leg)?;
        movement.consumed = undone.consumed;
        movement.restored = undone.restored;
        movement.layer = undone.layer;
        movement.variance = undone.variance;
        movement.reversal_of = Some(*seq);
        movement.return_of = original.return_of;
        draft.cover(undone.covered, leg);
    }
    let movements = draft.finish()?;
    check_amount(item, facts, &movements, &reverse.amounts_max)?;
    Ok(movements)
}

fn check(item: &Item, seq: Seq, movement: &Movement) -> Result<(), Error> {
    let marks = item.marks_of(seq);
    let why = if movement.reversal_of.is_some() {
        "a reversal cannot be reversed, post anew"
    } else if movement.kind == Kind::ValueSettlement || !movement.covered.is_empty() {
        "it settled earlier shortages"
    } else if marks.reversed_by != 0 {
        return Err(Error::AlreadyReversed { sequence: marks.reversed_by });
    } else if !marks.returned.is_zero() {
        "returns were posted for it, reverse them first"
    } else {
        return Ok(());
    };
    Err(Error::ReversalNotPossible { why })
}

fn place(reverse: &Reverse, location: LocationId) -> Result<&Location, Error> {
    reverse.places.iter().find(|place| place.id == location).ok_or(Error::NotFound)
}

#[derive(Default)]
struct Undone {
    value: i64,
    consumed: Vec<Slice>,
    restored: Vec<Slice>,
    layer: Option<(Quantity, i64)>,
    covered: Vec<Cover>,
    variance: i64,
}

/// Takes out again what a receipt brought in: at its own value, bounded by what the pool has, so that
/// an empty pool is worth nothing.
fn take_back(pool: &Pool, seq: Seq, original: &Movement) -> Result<Undone, Error> {
    let gone = Error::ReversalNotPossible { why: "the goods of this receipt have left" };
    let quantity = original.quantity;
    let mut taken = pool.take(quantity, Some(seq));
    if taken.provisional.is_some() {
        return Err(gone);
    }
    let value = match pool.method {
        // Its own layer must be whole: then it is worth what came in.
        Method::Fifo => match pool.layers.of(seq) {
            Some(layer) if layer.quantity == quantity => layer.value,
            _ => return Err(gone),
        },
        Method::MovingAverage if quantity == pool.quantity => pool.value,
        Method::MovingAverage => original.value.min(pool.value),
    };
    let (mut left, mut of) = (value, quantity);
    for slice in &mut taken.consumed {
        slice.value = share(left, slice.quantity, of);
        left -= slice.value;
        of -= slice.quantity;
    }
    let variance = value - original.value;
    Ok(Undone { value: -value, consumed: taken.consumed, variance, ..Undone::default() })
}

/// Puts back what an issue took: its receipts where they were, at what the issue did cost.
fn put_back(pool: &mut Pool, item: &Item, seq: Seq, original: &Movement) -> Result<Undone, Error> {
    let quantity = -original.quantity;
    let value = -original.value + item.marks_of(seq).settled;
    let mut undone = Undone { value, ..Undone::default() };
    let (mut left, mut worth) = (quantity, value);
    // What is still without stock simply ends.
    if let Some(open) = pool.deficits.iter().find(|deficit| deficit.issue == seq).copied() {
        let cover =
            Cover { issue: seq, quantity: open.quantity, provisional: open.value, actual: open.value };
        pool.end(&cover);
        undone.covered.push(cover);
        left -= open.quantity;
        worth -= open.value;
    }
    if pool.deficits.is_empty() {
        for slice in &original.consumed {
            pool.layers.restore(*slice);
            undone.restored.push(*slice);
            left -= slice.quantity;
            worth -= slice.value;
        }
        // The part that goods covered later comes back as a layer of its own.
        undone.layer = left.is_positive().then_some((left, worth));
    } else if left.is_positive() {
        // Other issues wait for goods: these are goods.
        let put = pool.put(left, worth, None);
        for cover in &put.covered {
            pool.end(cover);
        }
        undone.covered.extend(put.covered);
        undone.layer = put.layer;
    }
    if CHUNKS_MAX < pool.layers.directory.len() || (undone.layer.is_some() && pool.layers.is_full()) {
        return Err(Error::QuantityLimit { what: "the item has too many open receipts" });
    }
    Ok(undone)
}
