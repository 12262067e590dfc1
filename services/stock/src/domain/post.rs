//! Decides a posting: which movements a draft becomes.

use calendar::Instant;
use ids::{BusinessId, LocationId};
use journal::Seq;
use money::{Currency, UnitPrice, div_half_away};
use problem::{Invalid, reason};
use quantity::{Factor, Quantity};

use crate::domain::item::Item;
use crate::domain::kind::{Flow, Kind};
use crate::domain::location::{Location, NegativePolicy, Status};
use crate::domain::movement::{Cover, Entered, Facts, Movement, Slice, Source};
use crate::domain::pool::{CONSUMED_MAX, DEFICITS_MAX, Taken, VALUE_MAX, share};
use crate::error::Error;

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
    /// The business that posts.
    pub business: BusinessId,
    /// What it is.
    pub kind: Kind,
    /// For adjustments.
    pub direction: Option<Direction>,
    /// Where goods arrive or leave.
    pub place: Location,
    /// Where a transfer goes.
    pub to: Option<Location>,
    /// Who takes the other leg, unless it is a transfer.
    pub counterpart: LocationId,
    /// In `unit`, positive.
    pub quantity: Quantity,
    /// `None`: the base unit.
    pub unit: Option<String>,
    /// Base units per unit, once known.
    pub factor: Option<Factor>,
    /// Fractions of `unit` are refused.
    pub integral: bool,
    /// What it costs.
    pub cost: Option<Cost>,
    /// The document line.
    pub source: Source,
    /// Why.
    pub reason_code: String,
    /// In words.
    pub note: String,
    /// Business time; now when absent.
    pub occurred_at: Option<Instant>,
    /// The caller may date before existing movements.
    pub may_backdate: bool,
    /// How far back, in days.
    pub backdate_days: u32,
    /// The movement that is returned.
    pub return_of: Option<(Seq, Movement)>,
    /// Variant and business, once known.
    pub facts: Option<Facts>,
}

impl Post {
    /// The quantity in base units, if the factor is known and it can be expressed.
    #[must_use]
    pub fn base_quantity(&self) -> Option<Quantity> {
        self.factor.unwrap_or(Factor::ONE).to_base(self.quantity).ok()
    }
}

/// Running totals while a posting becomes movements.
pub(crate) struct Draft<'a> {
    item: &'a Item,
    facts: &'a Facts,
    open: bool,
    balances: Vec<(LocationId, Quantity)>,
    on_hand: Quantity,
    pool_quantity: Quantity,
    pool_value: i64,
    movements: Vec<Movement>,
    settlements: Vec<(Leg, Seq)>,
}

/// One movement to add to a posting.
#[derive(Clone)]
pub(crate) struct Leg {
    pub(crate) kind: Kind,
    pub(crate) location: LocationId,
    pub(crate) counterpart: LocationId,
    pub(crate) quantity: Quantity,
    pub(crate) value: i64,
    pub(crate) entered: Entered,
    pub(crate) source: Source,
    pub(crate) reason_code: String,
    pub(crate) note: String,
    pub(crate) occurred_at: Instant,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(item: &'a Item, facts: &'a Facts) -> Self {
        Draft {
            item,
            facts,
            open: item.facts.is_none(),
            balances: Vec::with_capacity(2),
            on_hand: item.on_hand,
            pool_quantity: item.pool.quantity,
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
        self.pool_quantity = on_hand;
        let latest = self.item.balances.get(&leg.location).map(|balance| balance.latest);
        let position = u32::try_from(self.movements.len()).unwrap_or(u32::MAX);
        let movement = Movement {
            facts: (self.open && position == 0).then(|| self.facts.clone()),
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
            entered: leg.entered,
            consumed: vec![],
            restored: vec![],
            layer: None,
            covered: vec![],
            provisional: None,
            source: leg.source,
            reason_code: leg.reason_code,
            note: leg.note,
            occurred_at: leg.occurred_at,
            late: latest.is_some_and(|latest| leg.occurred_at < latest),
            reversal_of: None,
            return_of: None,
            settles: None,
            method: self.facts.method,
        };
        assert!(movement.balance_before + movement.quantity == movement.balance_after, "INV-3");
        self.movements.push(movement);
        Ok(self.movements.last_mut().expect("just pushed"))
    }

    /// Lets arriving goods, the movement added last, cover shortages. Those whose cost was assumed
    /// differently are settled by movements of value at the end of the posting.
    pub(crate) fn cover(&mut self, covered: Vec<Cover>, leg: &Leg) {
        for cover in covered.iter().filter(|cover| cover.actual != cover.provisional) {
            let settlement = Leg {
                kind: Kind::ValueSettlement,
                quantity: Quantity::ZERO,
                value: cover.provisional - cover.actual,
                entered: Entered { quantity: Quantity::ZERO, ..leg.entered.clone() },
                ..leg.clone()
            };
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
        assert!(self.on_hand == self.pool_quantity, "INV-4: the pool holds what the locations hold");
        assert!(!self.pool_quantity.is_zero() || self.pool_value == 0, "INV-4: no value without quantity");
        Ok(self.movements)
    }
}

/// Decides what a draft becomes: one movement, two for a transfer, more if an issue takes very many
/// receipts or if arriving goods settle shortages.
pub(crate) fn post(item: &Item, post: &Post, now: Instant) -> Result<Vec<Movement>, Error> {
    let Some(facts) = item.facts.as_ref().or(post.facts.as_ref()) else { return Err(Error::Unprepared) };
    item.check_line(post.business, post.kind, &post.source)?;
    let entered = entered(post, facts)?;
    let quantity = base_quantity(post, &entered, facts)?;
    let occurred_at = check_time(item, post, now)?;
    let leg = Leg {
        kind: post.kind,
        location: post.place.id,
        counterpart: post.counterpart,
        quantity,
        value: 0,
        entered,
        source: post.source.clone(),
        reason_code: post.reason_code.clone(),
        note: post.note.clone(),
        occurred_at,
    };
    let draft = Draft::new(item, facts);
    match (post.kind.flow(), post.direction) {
        (Flow::Move, _) => transfer(draft, post, leg),
        (Flow::In, _) | (Flow::Either, Some(Direction::In)) => arrive(draft, post, leg),
        (Flow::Out, _) | (Flow::Either, Some(Direction::Out)) => leave(draft, post, leg),
        (Flow::Either, None) => Err(Error::field("movement.direction", reason::REQUIRED, "must be given")),
        (Flow::Value, _) => {
            Err(Error::field("movement.kind", reason::UNKNOWN_VALUE, "is made by the ledger"))
        }
    }
}

fn within_limit(quantity: Quantity) -> bool {
    quantity.abs() <= Quantity::whole(QUANTITY_MAX)
}

fn entered(post: &Post, facts: &Facts) -> Result<Entered, Error> {
    let (unit, factor) = match (&post.unit, post.factor) {
        (None, _) => (facts.base_unit.clone(), Factor::ONE),
        (Some(unit), _) if *unit == facts.base_unit => (unit.clone(), Factor::ONE),
        (Some(unit), Some(factor)) => (unit.clone(), factor),
        (Some(_), None) => return Err(Error::Unprepared),
    };
    if post.integral && 0 < post.quantity.decimal_places() {
        let detail = format!("'{unit}' is counted in whole units");
        return Err(Error::field("movement.quantity", reason::TOO_MANY_PLACES, detail));
    }
    Ok(Entered { quantity: post.quantity, unit, factor })
}

fn base_quantity(post: &Post, entered: &Entered, facts: &Facts) -> Result<Quantity, Error> {
    const FIELD: &str = "movement.quantity";
    let base = entered.factor.to_base(entered.quantity).map_err(|error| {
        let reason = problem::FieldError::reason(&error);
        Error::Invalid(Invalid::field(FIELD, reason, error.to_string()))
    })?;
    if facts.quantity_scale < base.decimal_places() {
        let (places, unit) = (facts.quantity_scale, &facts.base_unit);
        let detail = format!("'{base}' {unit} has more than the {places} decimal places of this item");
        return Err(Error::field(FIELD, reason::TOO_MANY_PLACES, detail));
    }
    assert!(post.quantity.is_positive(), "checked where the request was parsed");
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

fn check_in(place: &Location) -> Result<(), Error> {
    match place.status {
        Status::Active | Status::BlockedOut => Ok(()),
        Status::BlockedIn | Status::Closed => Err(Error::LocationBlocked { code: place.code.clone() }),
    }
}

pub(crate) fn check_out(place: &Location, available: Quantity, wanted: Quantity) -> Result<(), Error> {
    if matches!(place.status, Status::BlockedOut | Status::Closed) {
        return Err(Error::LocationBlocked { code: place.code.clone() });
    }
    if place.negative == NegativePolicy::Forbid && available < wanted {
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
    check_out(&post.place, draft.at(post.place.id), leg.quantity)?;
    check_in(to)?;
    // Both places are in one cost pool: value, layers and age stay as they are.
    draft.add(Leg { quantity: -leg.quantity, counterpart: to.id, ..leg.clone() })?;
    draft.add(Leg { location: to.id, counterpart: post.place.id, ..leg })?;
    draft.finish()
}

fn arrive(mut draft: Draft<'_>, post: &Post, mut leg: Leg) -> Result<Vec<Movement>, Error> {
    check_in(&post.place)?;
    let item = draft.item;
    if item.pool.layers.is_full() {
        return Err(Error::QuantityLimit { what: "the item has too many open receipts" });
    }
    let mut pool = item.pool.clone_without_layers();
    let mut own = None;
    let mut quantity = leg.quantity;
    match (&post.return_of, post.cost) {
        (Some((seq, original)), _) => {
            let (value, cover) = returned(item, *seq, original, leg.quantity)?;
            leg.value = value;
            own = cover;
        }
        (None, Some(cost)) => leg.value = stated_value(cost, leg.entered.quantity, draft.facts)?,
        (None, None) => leg.value = item.pool.current(leg.quantity),
    }
    let mut value = leg.value;
    if let Some(cover) = own {
        // Goods of an issue that had no stock come back: its own shortage ends first, at its own cost.
        quantity -= cover.quantity;
        value -= cover.actual;
        pool.end(&cover);
    }
    let put = pool.put(quantity, value);
    let movement = draft.add(leg.clone())?;
    movement.layer = put.layer;
    movement.return_of = post.return_of.as_ref().map(|(seq, _)| *seq);
    draft.cover(own.into_iter().chain(put.covered).collect(), &leg);
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
    check_out(&post.place, draft.at(post.place.id), leg.quantity)?;
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
    let taken = item.pool.take(leg.quantity, prefer);
    if taken.provisional.is_some() && DEFICITS_MAX <= item.pool.deficits.len() {
        return Err(Error::QuantityLimit { what: "too many issues wait for goods; post the receipts first" });
    }
    let returns = post.return_of.as_ref().map(|(seq, _)| *seq);
    for (quantity, part) in split(leg.quantity, taken) {
        let movement = draft.add(Leg { quantity: -quantity, value: -part.value, ..leg.clone() })?;
        movement.consumed = part.consumed;
        movement.provisional = part.provisional;
        movement.return_of = returns;
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

impl crate::domain::pool::Pool {
    /// What `put` looks at: deficits and last cost.
    pub(crate) fn clone_without_layers(&self) -> Self {
        Self {
            method: self.method,
            quantity: self.quantity,
            value: self.value,
            last_cost: self.last_cost,
            layers: crate::domain::layers::Layers::default(),
            deficits: self.deficits.clone(),
        }
    }

    /// Ends a deficit, or a part of it.
    pub(crate) fn end(&mut self, cover: &Cover) {
        for deficit in self.deficits.iter_mut().filter(|deficit| deficit.issue == cover.issue) {
            deficit.quantity -= cover.quantity;
            deficit.value -= cover.provisional;
        }
        self.deficits.retain(|deficit| !deficit.quantity.is_zero());
    }
}
