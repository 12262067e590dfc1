//! Decides a posting: which movements a draft becomes.

use std::sync::Arc;

use calendar::Instant;
use ids::LocationId;
use journal::Seq;
use money::{Currency, UnitPrice, div_half_away};
use problem::{Invalid, reason};
use quantity::Quantity;
use rpc::AmountsMax;

use crate::domain::item::Item;
use crate::domain::kind::{Flow, Kind};
use crate::domain::location::{Location, NegativePolicy, Status};
use crate::domain::movement::{Cause, Cover, Facts, Movement, Slice};
use crate::domain::pool::{CONSUMED_MAX, DEFICITS_MAX, Taken, VALUE_MAX, share};
use crate::error::Error;
use crate::records::Line;

/// How far ahead of our clock a movement may be dated, in seconds: clocks differ.
pub const FUTURE_S_MAX: i64 = 300;
/// Greatest quantity of one movement and of one balance, in base units.
pub const QUANTITY_MAX: i64 = 1_000_000_000_000;
/// Movements of one posting: their ids have six bits for the position.
pub const MOVEMENTS_MAX: usize = 63;
const DAY_S: i64 = 86_400;
/// Decimal places of unit prices and quantities.
const PLACES: u32 = 6;

/// Which way an adjustment goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Goods arrive.
    In,
    /// Goods leave.
    Out,
}

/// What arriving goods cost, as the caller says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cost {
    /// Per entered unit.
    Unit(UnitPrice, Currency),
    /// Of the whole quantity, scaled 10^-6.
    Total(UnitPrice, Currency),
}

/// A checked draft, with what the decision needs to know of other aggregates.
#[derive(Clone, Debug)]
pub struct Post {
    /// What it is.
    pub kind: Kind,
    /// For adjustments.
    pub direction: Option<Direction>,
    /// Where goods arrive or leave.
    pub place: Arc<Location>,
    /// Where a transfer goes.
    pub to: Option<Arc<Location>>,
    /// Who takes the other leg, unless it is a transfer.
    pub counterpart: LocationId,
    /// What was entered, from which document, why; the entered quantity is positive.
    pub cause: Arc<Cause>,
    /// The source line, if it can be posted once only: see [`crate::records::line`].
    pub line: Option<Line>,
    /// Fractions of the entered unit are refused.
    pub integral: bool,
    /// What it costs.
    pub cost: Option<Cost>,
    /// Business time; now when absent.
    pub occurred_at: Option<Instant>,
    /// The caller may date before existing movements.
    pub may_backdate: bool,
    /// How far back, in days.
    pub backdate_days: u32,
    /// The greatest values that the caller may post; `None` is any.
    pub amounts_max: AmountsMax,
    /// The movement that is returned.
    pub return_of: Option<(Seq, Movement)>,
    /// What the first movement of the item fixes; not needed once there is one.
    pub facts: Option<Arc<Facts>>,
}

impl Post {
    /// The quantity in base units, if it can be expressed.
    #[must_use]
    pub fn base_quantity(&self) -> Option<Quantity> {
        self.cause.entered.factor.to_base(self.cause.entered.quantity).ok()
    }
}

/// Running totals while a posting becomes movements.
pub(crate) struct Draft<'a> {
    item: &'a Item,
    facts: &'a Facts,
    cause: &'a Arc<Cause>,
    occurred_at: Instant,
    balances: Vec<(LocationId, Quantity)>,
    on_hand: Quantity,
    pool_value: i64,
    movements: Vec<Movement>,
    settlements: Vec<(Leg, Seq)>,
}

/// One movement to add to a posting.
#[derive(Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) kind: Kind,
    pub(crate) location: LocationId,
    pub(crate) counterpart: LocationId,
    pub(crate) quantity: Quantity,
    pub(crate) value: i64,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(item: &'a Item, facts: &'a Facts, cause: &'a Arc<Cause>, occurred_at: Instant) -> Self {
        Draft {
            item,
            facts,
            cause,
            occurred_at,
            balances: Vec::with_capacity(2),
            on_hand: item.on_hand,
            pool_value: item.pool.value,
            movements: Vec::with_capacity(2),
            settlements: Vec::new(),
        }
    }

    pub(crate) fn at(&self, location: LocationId) -> Quantity {
        let touched = self.balances.iter().find(|(known, _)| *known == location);
        touched.map_or_else(|| self.item.at(location), |(_, quantity)| *quantity)
    }

    /// Adds a movement; what it does to layers and deficits is filled in by the caller.
    pub(crate) fn add(&mut self, leg: Leg) -> Result<&mut Movement, Error> {
        let before = self.at(leg.location);
        let after = before.checked_add(leg.quantity).filter(|after| within_limit(*after));
        let on_hand = self.on_hand.checked_add(leg.quantity).filter(|after| within_limit(*after));
        let (Some(after), Some(on_hand)) = (after, on_hand) else {
            return Err(Error::QuantityLimit { what: "a balance has at most 10^12 units" });
        };
        let value = self.pool_value.checked_add(leg.value).filter(|value| value.abs() <= VALUE_MAX);
        let Some(value) = value else {
            return Err(Error::QuantityLimit { what: "the value of an item is too large" });
        };
        self.balances.retain(|(known, _)| *known != leg.location);
        self.balances.push((leg.location, after));
        (self.on_hand, self.pool_value) = (on_hand, value);
        let latest = self.item.balances.get(&leg.location).map(|balance| balance.latest);
        let position = u32::try_from(self.movements.len()).unwrap_or(u32::MAX);
        let movement = Movement {
            facts: (self.item.facts.is_none() && position == 0).then(|| self.facts.clone()),
            position,
            kind: leg.kind,
            location: leg.location,
            counterpart: leg.counterpart,
            quantity: leg.quantity,
            balance_before: before,
            balance_after: after,
            item_after: on_hand,
            value: leg.value,
            pool_quantity_after: on_hand,
            pool_value_after: value,
            cause: Arc::clone(self.cause),
            occurred_at: self.occurred_at,
            consumed: vec![],
            restored: vec![],
            layer: None,
            covered: vec![],
            provisional: None,
            late: latest.is_some_and(|latest| self.occurred_at < latest),
            reversal_of: None,
            return_of: None,
            settles: None,
            variance: 0,
            method: self.facts.method,
        };
        assert!(movement.balance_before + movement.quantity == movement.balance_after, "INV-3");
        self.movements.push(movement);
        Ok(self.movements.last_mut().expect("just pushed"))
    }

    /// Lets arriving goods, the movement added last, cover shortages. Those whose cost was assumed
    /// differently are settled by movements of value at the end of the posting.
    pub(crate) fn cover(&mut self, covered: Vec<Cover>, leg: Leg) {
        for cover in covered.iter().filter(|cover| cover.actual != cover.provisional) {
            let value = cover.provisional - cover.actual;
            let settlement = Leg { kind: Kind::ValueSettlement, quantity: Quantity::ZERO, value, ..leg };
            self.settlements.push((settlement, cover.issue));
        }
        if let Some(arrival) = self.movements.last_mut() {
            arrival.covered = covered;
        }
    }

    /// Ends the posting.
    pub(crate) fn finish(mut self) -> Result<Vec<Movement>, Error> {
        for (leg, issue) in std::mem::take(&mut self.settlements) {
            self.add(leg)?.settles = Some(issue);
        }
        if MOVEMENTS_MAX < self.movements.len() {
            return Err(Error::QuantityLimit { what: "a posting has at most 63 movements; split it" });
        }
        assert!(!self.on_hand.is_zero() || self.pool_value == 0, "INV-4: no value without quantity");
        Ok(self.movements)
    }
}

/// Decides what a draft becomes: one movement, two for a transfer, more if an issue takes very many
/// receipts or if arriving goods settle shortages.
pub(crate) fn post(item: &Item, post: &Post, now: Instant) -> Result<Vec<Movement>, Error> {
    let Some(facts) = item.facts.as_ref().or(post.facts.as_deref()) else { return Err(Error::Unprepared) };
    if let Some(sequence) = post.line.and_then(|line| item.lines.get(&line).copied().flatten()) {
        return Err(Error::SourceAlreadyPosted { sequence });
    }
    let quantity = base_quantity(post, facts)?;
    let occurred_at = check_time(item, post, now)?;
    let (location, counterpart) = (post.place.id, post.counterpart);
    let leg = Leg { kind: post.kind, location, counterpart, quantity, value: 0 };
    let draft = Draft::new(item, facts, &post.cause, occurred_at);
    let movements = match (post.kind.flow(), post.direction) {
        (Flow::Move, _) => transfer(draft, post, leg),
        (Flow::In, _) | (Flow::Either, Some(Direction::In)) => arrive(draft, post, leg),
        (Flow::Out, _) | (Flow::Either, Some(Direction::Out)) => leave(draft, post, leg),
        (Flow::Either, None) => Err(Error::field("movement.direction", reason::REQUIRED, "must be given")),
        (Flow::Value, _) => {
            Err(Error::field("movement.kind", reason::UNKNOWN_VALUE, "is made by the ledger"))
        }
    }?;
    check_amount(item, facts, &movements, &post.amounts_max)?;
    Ok(movements)
}

/// Refuses a posting that is worth more than the caller may post. It is within if it is at most one of `most`, in its
/// currency. What it is worth is what its movements change the value of the stock by, all of them together, without
/// what they settle of others; what a transfer moves is worth what it costs now, although nothing changes by it.
///
/// # Errors
/// [`rpc::Refused::BeyondLimits`].
pub(crate) fn check_amount(
    item: &Item,
    facts: &Facts,
    movements: &[Movement],
    most: &AmountsMax,
) -> Result<(), Error> {
    let Some(most) = most else { return Ok(()) };
    let scaled = |number: i128, places: u32| number.saturating_mul(10i128.pow(PLACES - places.min(PLACES)));
    let own = movements.iter().filter(|movement| movement.kind != Kind::ValueSettlement);
    let worth: i128 = own
        .map(|movement| match movement.kind.flow() {
            Flow::Move if movement.quantity.is_positive() => item.pool.current(movement.quantity).into(),
            Flow::Move => 0,
            _ => i128::from(movement.value).abs(),
        })
        .sum();
    let worth = scaled(worth, facts.cost_scale);
    let within = most.iter().any(|most| {
        most.currency == facts.currency && worth <= scaled(most.minor.into(), most.currency.minor_places())
    });
    match within {
        true => Ok(()),
        false => Err(rpc::Refused::BeyondLimits { limit: rpc::limits::AMOUNT }.into()),
    }
}

fn within_limit(quantity: Quantity) -> bool {
    quantity.abs() <= Quantity::whole(QUANTITY_MAX)
}

fn base_quantity(post: &Post, facts: &Facts) -> Result<Quantity, Error> {
    const FIELD: &str = "movement.quantity";
    let entered = &post.cause.entered;
    assert!(entered.quantity.is_positive(), "checked where the request was parsed");
    if post.integral && 0 < entered.quantity.decimal_places() {
        let detail = format!("'{}' is counted in whole units", entered.unit);
        return Err(Error::field(FIELD, reason::TOO_MANY_PLACES, detail));
    }
    let base = entered.factor.to_base(entered.quantity).map_err(|error| {
        let reason = problem::FieldError::reason(&error);
        Error::Invalid(Invalid::field(FIELD, reason, error.to_string()))
    })?;
    if facts.quantity_scale < base.decimal_places() {
        let (places, unit) = (facts.quantity_scale, &facts.base_unit);
        let detail = format!("'{base}' {unit} has more than the {places} decimal places of this item");
        return Err(Error::field(FIELD, reason::TOO_MANY_PLACES, detail));
    }
    if !within_limit(base) {
        return Err(Error::field(FIELD, reason::TOO_LARGE, "must be at most 10^12 base units"));
    }
    Ok(base)
}

fn check_time(item: &Item, post: &Post, now: Instant) -> Result<Instant, Error> {
    let at = post.occurred_at.unwrap_or(now);
    if now.plus_seconds(FUTURE_S_MAX) < at {
        let detail = "is in the future; a plan is not a movement";
        return Err(Error::field("movement.occurred_at", reason::OUT_OF_RANGE, detail));
    }
    let places = [Some(post.place.id), post.to.as_ref().map(|to| to.id)];
    let balances = places.into_iter().flatten().filter_map(|id| item.balances.get(&id));
    let latest = balances.map(|balance| balance.latest).max();
    match latest {
        Some(latest) if at < latest && post.occurred_at.is_some() => {
            let oldest = now.plus_seconds(-DAY_S * i64::from(post.backdate_days));
            if !post.may_backdate {
                return Err(Error::BackdateWindow {
                    latest,
                    why: "earlier dates need the permission 'stock.backdate'",
                });
            }
            if at < oldest {
                return Err(Error::BackdateWindow {
                    latest,
                    why: "the date is outside the back-dating window",
                });
            }
            Ok(at)
        }
        _ => Ok(at),
    }
}

pub(crate) fn check_in(place: &Location) -> Result<(), Error> {
    match place.status {
        Status::Active | Status::BlockedOut => Ok(()),
        Status::BlockedIn | Status::Closed => Err(Error::LocationBlocked { code: place.code.clone() }),
    }
}

pub(crate) fn check_out(place: &Location, available: Quantity, wanted: Quantity) -> Result<(), Error> {
    if matches!(place.status, Status::BlockedOut | Status::Closed) {
        return Err(Error::LocationBlocked { code: place.code.clone() });
    }
    match place.negative {
        NegativePolicy::Forbid => check_stock(place, available, wanted),
        NegativePolicy::Allow => Ok(()),
    }
}

/// Refuses to take more than is there, whatever the policy of the place.
pub(crate) fn check_stock(place: &Location, available: Quantity, wanted: Quantity) -> Result<(), Error> {
    if available < wanted {
        return Err(Error::InsufficientStock { location: place.id, available, wanted });
    }
    Ok(())
}

/// Value in units of 10^-`cost_scale` of what the caller says that goods cost.
///
/// A unit price is multiplied by the entered quantity, never converted to the base unit first: 156,526
/// per ton for 1,728 kg is exact only that way.
fn stated_value(cost: Cost, entered: Quantity, facts: &Facts) -> Result<i64, Error> {
    let (field, price, currency) = match cost {
        Cost::Unit(price, currency) => ("movement.unit_cost", price, currency),
        Cost::Total(price, currency) => ("movement.total_cost", price, currency),
    };
    if currency != facts.currency {
        let detail = format!("must be in the base currency '{}'", facts.currency.code());
        return Err(Error::field(&format!("{field}.currency"), reason::NOT_ALLOWED, detail));
    }
    let micros = i128::from(price.micros());
    let value = match cost {
        Cost::Unit(..) => {
            let places = 2 * PLACES - facts.cost_scale;
            div_half_away(micros * i128::from(entered.micros()), 10i128.pow(places))
        }
        Cost::Total(..) => {
            let unit = 10i128.pow(PLACES - facts.cost_scale);
            if micros % unit != 0 {
                let detail = format!("must have at most '{}' decimal places", facts.cost_scale);
                return Err(Error::field("movement.total_cost.amount", reason::TOO_MANY_PLACES, detail));
            }
            micros / unit
        }
    };
    match i64::try_from(value) {
        Ok(value) if value <= VALUE_MAX => Ok(value),
        _ => Err(Error::field(field, reason::TOO_LARGE, "the value is too large")),
    }
}

fn transfer(mut draft: Draft<'_>, post: &Post, leg: Leg) -> Result<Vec<Movement>, Error> {
    let Some(to) = &post.to else {
        return Err(Error::field("movement.to_location_id", reason::REQUIRED, "must be given"));
    };
    let available = draft.at(post.place.id);
    check_out(&post.place, available, leg.quantity)?;
    check_stock(&post.place, available, leg.quantity)?; // a transfer makes no shortage
    check_in(to)?;
    // Both places are in one cost pool: value, layers and age stay as they are.
    draft.add(Leg { quantity: -leg.quantity, counterpart: to.id, ..leg })?;
    draft.add(Leg { location: to.id, counterpart: post.place.id, ..leg })?;
    draft.finish()
}

fn arrive(mut draft: Draft<'_>, post: &Post, mut leg: Leg) -> Result<Vec<Movement>, Error> {
    check_in(&post.place)?;
    let item = draft.item;
    if item.pool.layers.is_full() {
        return Err(Error::QuantityLimit { what: "the item has too many open receipts" });
    }
    let mut own = None;
    let mut quantity = leg.quantity;
    match (&post.return_of, post.cost) {
        (Some((seq, original)), _) => {
            let (value, cover) = returned(item, *seq, original, leg.quantity)?;
            leg.value = value;
            own = cover;
        }
        (None, Some(cost)) => leg.value = stated_value(cost, post.cause.entered.quantity, draft.facts)?,
        (None, None) => leg.value = item.pool.current(leg.quantity),
    }
    let mut value = leg.value;
    if let Some(cover) = own {
        // Goods of an issue that had no stock come back: its own shortage ends first, at its own cost.
        quantity -= cover.quantity;
        value -= cover.actual;
    }
    let put = item.pool.put(quantity, value, own.as_ref());
    let movement = draft.add(leg)?;
    movement.layer = put.layer;
    movement.return_of = post.return_of.as_ref().map(|(seq, _)| *seq);
    draft.cover(own.into_iter().chain(put.covered).collect(), leg);
    draft.finish()
}

/// Value of goods that a customer brings back: the part of the settled cost that is not returned yet,
/// the last unit takes the remainder. With the part of the issue's own shortage that ends.
fn returned(
    item: &Item,
    seq: Seq,
    original: &Movement,
    quantity: Quantity,
) -> Result<(i64, Option<Cover>), Error> {
    let marks = item.marks_of(seq);
    if marks.reversed_by != 0 {
        return Err(Error::AlreadyReversed { sequence: marks.reversed_by });
    }
    let left = -original.quantity - marks.returned;
    if left < quantity {
        return Err(Error::ReturnExceedsOriginal { left, wanted: quantity });
    }
    let left_value = -original.value + marks.settled - marks.returned_value;
    let open = item.pool.deficits.iter().find(|deficit| deficit.issue == seq);
    let Some(open) = open else { return Ok((share(left_value, quantity, left), None)) };
    let part = quantity.min(open.quantity);
    let provisional = share(open.value, part, open.quantity);
    let cover = Cover { issue: seq, quantity: part, provisional, actual: provisional };
    let rest = quantity - part;
    let value = if rest.is_zero() {
        provisional
    } else {
        provisional + share(left_value - open.value, rest, left - open.quantity)
    };
    Ok((value, Some(cover)))
}

fn leave(mut draft: Draft<'_>, post: &Post, leg: Leg) -> Result<Vec<Movement>, Error> {
    let item = draft.item;
    let mut prefer = None;
    if let Some((seq, original)) = &post.return_of {
        let marks = item.marks_of(*seq);
        if marks.reversed_by != 0 {
            return Err(Error::AlreadyReversed { sequence: marks.reversed_by });
        }
        let left = original.quantity - marks.returned;
        if left < leg.quantity {
            return Err(Error::ReturnExceedsOriginal { left, wanted: leg.quantity });
        }
        // With FIFO, goods go back from their own receipt while it lasts.
        prefer = Some(*seq);
    }
    check_out(&post.place, draft.at(post.place.id), leg.quantity)?;
    let taken = item.pool.take(leg.quantity, prefer);
    if taken.provisional.is_some() && DEFICITS_MAX <= item.pool.deficits.len() {
        return Err(Error::QuantityLimit { what: "too many issues wait for goods; post the receipts first" });
    }
    for (quantity, part) in split(leg.quantity, taken) {
        let movement = draft.add(Leg { quantity: -quantity, value: -part.value, ..leg })?;
        movement.consumed = part.consumed;
        movement.provisional = part.provisional;
        movement.return_of = prefer;
    }
    draft.finish()
}

/// Splits an issue that takes more than [`CONSUMED_MAX`] receipts.
fn split(quantity: Quantity, taken: Taken) -> Vec<(Quantity, Taken)> {
    if taken.consumed.len() <= CONSUMED_MAX {
        return vec![(quantity, taken)];
    }
    let chunks = taken.consumed.chunks(CONSUMED_MAX);
    let mut parts: Vec<(Quantity, Taken)> = chunks
        .map(|slices| {
            let quantity = slices.iter().map(|slice: &Slice| slice.quantity).sum();
            let value = slices.iter().map(|slice| slice.value).sum();
            (quantity, Taken { consumed: slices.to_vec(), provisional: None, value })
        })
        .collect();
    if let (Some((short, assumed)), Some((quantity, last))) = (taken.provisional, parts.last_mut()) {
        *quantity += short;
        last.value += assumed;
        last.provisional = Some((short, assumed));
    }
    parts
}
