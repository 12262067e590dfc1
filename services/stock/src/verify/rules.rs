//! What must be true of the movements of an item.
//!
//! Balances, layers, shortages and links are kept here a second time, from the movements alone, and
//! compared with what each movement says and with the state that it led to.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use calendar::Instant;
use ids::{LocationId, TenantId};
use journal::Seq;
use quantity::Quantity;

use crate::domain::item::{Item, Marks};
use crate::domain::kind::{Flow, Kind};
use crate::domain::location::virtual_id;
use crate::domain::movement::{Cause, Facts, Method, Movement, Slice};
use crate::domain::pool::{CONSUMED_MAX, share};

/// The rules, and the books that they need. Sees the movements of one item in order.
pub struct Rules {
    tenant: TenantId,
    facts: Option<Facts>,
    /// On hand and latest business time.
    places: HashMap<LocationId, (Quantity, Instant)>,
    on_hand: Quantity,
    value: i64,
    layers: Parts,
    deficits: Parts,
    /// By sequence, from 1.
    past: Vec<Past>,
    marks: HashMap<Seq, Marks>,
    posting: Option<Posting>,
}

/// Quantities with values, by sequence of the movement that they come from.
#[derive(Default)]
struct Parts {
    open: BTreeMap<Seq, (Quantity, i64)>,
    quantity: Quantity,
    value: i64,
}

/// What later movements may refer to.
struct Past {
    kind: Kind,
    location: LocationId,
    quantity: Quantity,
    value: i64,
    reversal: bool,
    covers: bool,
    return_of: Option<Seq>,
}

/// The posting whose movements are being looked at.
struct Posting {
    first: Seq,
    movements: u32,
    kind: Kind,
    reversal: bool,
    cause: Arc<Cause>,
    occurred_at: Instant,
    /// Sum over its movements; zero for a transfer.
    net: Quantity,
    /// Sum of what its movements moved, either way.
    moved: Quantity,
    last_leg: Option<(LocationId, LocationId)>,
    /// Quantity and value of the pool before it.
    pool: (Quantity, i64),
    /// What it took out of layers, one after the other.
    taken: Vec<(Quantity, i64)>,
    /// Settlements that are owed: issue and value.
    owed: Vec<(Seq, i64)>,
}

type Checked = Result<(), String>;

fn ensure(holds: bool, fault: &str) -> Checked {
    if holds { Ok(()) } else { Err(fault.to_owned()) }
}

fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Checked {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, expected {expected:?}")) }
}

impl Parts {
    fn add(&mut self, seq: Seq, quantity: Quantity, value: i64) -> Checked {
        ensure(quantity.is_positive(), "a part has no quantity")?;
        let part = self.open.entry(seq).or_default();
        part.0 += quantity;
        part.1 += value;
        self.quantity += quantity;
        self.value += value;
        Ok(())
    }

    fn remove(&mut self, seq: Seq, quantity: Quantity, value: i64) -> Checked {
        let Some(part) = self.open.get_mut(&seq) else { return Err(format!("nothing is open of {seq}")) };
        ensure(quantity.is_positive() && quantity <= part.0, "more is taken than is open")?;
        part.0 -= quantity;
        part.1 -= value;
        self.quantity -= quantity;
        self.value -= value;
        if *part == (Quantity::ZERO, 0) {
            self.open.remove(&seq);
            return Ok(());
        }
        ensure(!part.0.is_zero(), "there is value without quantity")
    }

    fn share(&self, seq: Seq, quantity: Quantity) -> Result<i64, String> {
        match self.open.get(&seq) {
            Some((of, value)) if quantity <= *of => Ok(share(*value, quantity, *of)),
            _ => Err(format!("more is taken of {seq} than is open")),
        }
    }

    fn oldest(&self) -> Option<Seq> {
        self.open.first_key_value().map(|(seq, _)| *seq)
    }
}

impl Posting {
    /// Checks that goods left at the average, spread over the receipts by quantity.
    fn check_average(&self) -> Checked {
        let mut left: Quantity = self.taken.iter().map(|(quantity, _)| *quantity).sum();
        let mut cost: i64 = self.taken.iter().map(|(_, value)| *value).sum();
        if !self.reversal && left.is_positive() {
            let (of, value) = self.pool;
            ensure(left <= of, "more is taken than is there")?;
            same("the cost at the average", cost, share(value, left, of))?;
        }
        for (quantity, value) in &self.taken {
            same("the cost of a receipt", *value, share(cost, *quantity, left))?;
            left -= *quantity;
            cost -= *value;
        }
        Ok(())
    }
}

impl Rules {
    /// Books without an entry.
    #[must_use]
    pub fn new(tenant: TenantId) -> Self {
        Rules {
            tenant,
            facts: None,
            places: HashMap::new(),
            on_hand: Quantity::ZERO,
            value: 0,
            layers: Parts::default(),
            deficits: Parts::default(),
            past: Vec::new(),
            marks: HashMap::new(),
            posting: None,
        }
    }

    /// Checks the next movement; `item` is the state after it.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&mut self, item: &Item, movement: &Movement, seq: Seq) -> Checked {
        if movement.position == 0 {
            self.finish()?;
            self.posting = Some(self.begin(movement, seq));
        }
        self.check_posting(movement, seq)?;
        self.check_facts(movement, seq)?;
        self.check_balance(movement)?;
        self.check_links(movement, seq)?;
        self.check_cost(movement, seq)?;
        self.check_state(item, movement, seq)?;
        self.past.push(Past {
            kind: movement.kind,
            location: movement.location,
            quantity: movement.quantity,
            value: movement.value,
            reversal: movement.reversal_of.is_some(),
            covers: !movement.covered.is_empty(),
            return_of: movement.return_of,
        });
        Ok(())
    }

    /// Checks the last posting as a whole.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn finish(&mut self) -> Checked {
        let Some(posting) = self.posting.take() else { return Ok(()) };
        ensure(posting.owed.is_empty(), "a shortage was covered at another cost and not settled")?;
        let legs = if posting.kind.flow() == Flow::Move { 2 } else { 1 };
        if legs == 2 {
            same("the sum of both legs of a transfer", posting.net, Quantity::ZERO)?;
        }
        let entered = &posting.cause.entered;
        let base = entered.factor.to_base(entered.quantity).map_err(|error| error.to_string())?;
        let moved = (1..legs).try_fold(base, |sum, _| sum.checked_add(base));
        same("the quantity of a posting", Some(posting.moved), moved)?;

        let Parts { quantity: owed, value: owed_value, .. } = self.deficits;
        same("what is in layers less what is owed", self.layers.quantity - owed, self.on_hand)?;
        ensure(owed.is_zero() || self.layers.quantity.is_zero(), "goods are there and owed at once")?;
        ensure(!self.on_hand.is_zero() || self.value == 0, "there is value without quantity")?;
        match self.method() {
            Method::Fifo => {
                same("the value of layers and shortages", self.layers.value - owed_value, self.value)
            }
            Method::MovingAverage => {
                posting.check_average()?;
                if owed.is_positive() {
                    return same("the value of shortages", -owed_value, self.value);
                }
                ensure(0 <= self.value, "goods are worth less than nothing")
            }
        }
    }

    fn method(&self) -> Method {
        self.facts.as_ref().map(|facts| facts.method).unwrap_or_default()
    }

    fn begin(&self, movement: &Movement, seq: Seq) -> Posting {
        Posting {
            first: seq,
            movements: 0,
            kind: movement.kind,
            reversal: movement.reversal_of.is_some(),
            cause: Arc::clone(&movement.cause),
            occurred_at: movement.occurred_at,
            net: Quantity::ZERO,
            moved: Quantity::ZERO,
            last_leg: None,
            pool: (self.on_hand, self.value),
            taken: Vec::new(),
            owed: Vec::new(),
        }
    }

    fn posting(&mut self) -> Result<&mut Posting, String> {
        self.posting.as_mut().ok_or_else(|| "a posting does not begin at position 0".to_owned())
    }

    fn check_posting(&mut self, movement: &Movement, seq: Seq) -> Checked {
        let posting = self.posting()?;
        same("the position", movement.position, posting.movements)?;
        same("the sequence", seq, posting.first + Seq::from(movement.position))?;
        posting.movements += 1;
        ensure(movement.cause == posting.cause, "the cause is not that of the posting")?;
        same("the business time", movement.occurred_at, posting.occurred_at)?;
        if movement.is_physical() {
            same("the kind", movement.kind, posting.kind)?;
            same("being a reversal", movement.reversal_of.is_some(), posting.reversal)?;
        }
        let leg = (movement.location, movement.counterpart);
        let leaves = movement.quantity.is_negative();
        match posting.kind.flow() {
            Flow::Move if movement.position == 0 => ensure(leaves, "a transfer begins with what leaves")?,
            Flow::Move => same("the other leg", posting.last_leg, Some((leg.1, leg.0)))?,
            Flow::In | Flow::Out if movement.is_physical() => {
                let expected = (posting.kind.flow() == Flow::Out) != posting.reversal;
                same("leaving", leaves, expected)?;
            }
            _ => {}
        }
        posting.last_leg = Some(leg);
        posting.net = sum(posting.net, movement.quantity)?;
        posting.moved = sum(posting.moved, movement.quantity.abs())?;
        Ok(())
    }

    fn check_facts(&mut self, movement: &Movement, seq: Seq) -> Checked {
        same("carrying facts", movement.facts.is_some(), seq == 1)?;
        if let Some(facts) = &movement.facts {
            self.facts = Some(facts.clone());
        }
        let Some(facts) = &self.facts else { return Err("the item has no facts".to_owned()) };
        same("the costing method", movement.method, facts.method)?;
        let kind = self.posting.as_ref().map_or(movement.kind, |posting| posting.kind);
        let source = movement.cause.source.kind.as_str();
        ensure(kind.sources().contains(&source), "the source may not cause this kind")?;
        if kind.flow() != Flow::Move {
            let other = virtual_id(self.tenant, facts.business, kind.counterpart());
            same("the counterpart", movement.counterpart, other)?;
        }
        ensure(movement.quantity.decimal_places() <= facts.quantity_scale, "the quantity is too fine")
    }

    fn check_balance(&mut self, movement: &Movement) -> Checked {
        let known = self.places.get(&movement.location).copied();
        let (before, latest) = known.unwrap_or((Quantity::ZERO, movement.occurred_at));
        same("the balance before", movement.balance_before, before)?;
        let after = sum(before, movement.quantity)?;
        same("the balance after", movement.balance_after, after)?;
        same("being late", movement.late, movement.occurred_at < latest)?;
        self.on_hand = sum(self.on_hand, movement.quantity)?;
        same("the item's balance", movement.item_after, self.on_hand)?;
        same("the pool's quantity", movement.pool_quantity_after, self.on_hand)?;
        self.value = self.value.checked_add(movement.value).ok_or("a value is out of range")?;
        same("the pool's value", movement.pool_value_after, self.value)?;
        if movement.is_physical() {
            ensure(!movement.quantity.is_zero(), "nothing moves")?;
            self.places.insert(movement.location, (after, latest.max(movement.occurred_at)));
        } else {
            same("the quantity of a settlement", movement.quantity, Quantity::ZERO)?;
        }
        Ok(())
    }

    fn check_links(&mut self, movement: &Movement, seq: Seq) -> Checked {
        same("settling", movement.settles.is_some(), !movement.is_physical())?;
        let returns = movement.kind.returns();
        same("returning", movement.return_of.is_some(), returns.is_some())?;
        if let Some(original) = movement.reversal_of {
            return self.check_reversal(movement, original, seq);
        }
        same("the variance", movement.variance, 0)?;
        if let Some(original) = movement.return_of {
            let past = self.past_of(original, seq)?;
            same("the kind that is returned", Some(past.kind), returns)?;
            ensure(!past.reversal, "a reversal is returned")?;
            let (quantity, value) = (past.quantity.abs(), -past.value);
            let marks = self.marks.entry(original).or_default();
            same("the reversal of what is returned", marks.reversed_by, 0)?;
            let left = quantity - marks.returned;
            ensure(movement.quantity.abs() <= left, "more is returned than went")?;
            if movement.kind == Kind::ReturnCustomer {
                let left_value = value + marks.settled - marks.returned_value;
                let expected = self.returned_value(original, movement.quantity, left, left_value);
                same("the value of a return", movement.value, expected)?;
            }
            let marks = self.marks.entry(original).or_default();
            marks.returned += movement.quantity.abs();
            marks.returned_value += movement.value.abs();
        }
        Ok(())
    }

    /// What a part of an issue is worth that comes back: what is still short ends at its assumed cost, the
    /// rest has its share of what is left, so that the last unit takes the remainder.
    fn returned_value(&self, issue: Seq, quantity: Quantity, left: Quantity, value: i64) -> i64 {
        let (short, assumed) = self.deficits.open.get(&issue).copied().unwrap_or_default();
        let ended = quantity.min(short);
        let ended_value = if ended.is_zero() { 0 } else { share(assumed, ended, short) };
        let goods = quantity - ended;
        let goods_value = if goods.is_zero() { 0 } else { share(value - assumed, goods, left - short) };
        ended_value + goods_value
    }

    fn check_reversal(&mut self, movement: &Movement, original: Seq, seq: Seq) -> Checked {
        let settled = self.marks.get(&original).map_or(0, |marks| marks.settled);
        let past = self.past_of(original, seq)?;
        ensure(!past.reversal && !past.covers, "what is reversed cannot be")?;
        same("the kind", movement.kind, past.kind)?;
        same("the location", movement.location, past.location)?;
        same("the quantity", movement.quantity, -past.quantity)?;
        same("what is returned", movement.return_of, past.return_of)?;
        same("value and variance", movement.value + movement.variance, settled - past.value)?;
        let averages = self.method() == Method::MovingAverage && movement.quantity.is_negative();
        ensure(averages || movement.variance == 0, "only an average leaves a variance")?;
        let marks = self.marks.entry(original).or_default();
        ensure(marks.reversed_by == 0, "it is reversed twice")?;
        ensure(marks.returned.is_zero(), "what was returned is reversed")?;
        marks.reversed_by = seq;
        if let Some(returned) = movement.return_of {
            let marks = self.marks.entry(returned).or_default();
            marks.returned -= movement.quantity.abs();
            marks.returned_value -= (movement.value + movement.variance).abs();
        }
        Ok(())
    }

    fn past_of(&self, original: Seq, seq: Seq) -> Result<&Past, String> {
        let first = self.posting.as_ref().map_or(seq, |posting| posting.first);
        let at = usize::try_from(original).ok().filter(|_| original < first).and_then(|at| at.checked_sub(1));
        at.and_then(|at| self.past.get(at)).ok_or_else(|| format!("{original} is no earlier movement"))
    }

    fn check_cost(&mut self, movement: &Movement, seq: Seq) -> Checked {
        let Movement { consumed, restored, layer, covered, provisional, .. } = movement;
        let takes = !consumed.is_empty() || provisional.is_some();
        let puts = !restored.is_empty() || layer.is_some() || !covered.is_empty();
        match movement.kind.flow() {
            Flow::Move => {
                same("the value of a transfer", movement.value, 0)?;
                ensure(!takes && !puts, "a transfer changes layers")
            }
            Flow::Value => {
                ensure(!takes && !puts, "a settlement changes layers")?;
                let owed = &mut self.posting()?.owed;
                ensure(!owed.is_empty(), "nothing is to be settled")?;
                let (issue, value) = owed.remove(0);
                same("what is settled", (movement.settles, movement.value), (Some(issue), value))?;
                self.marks.entry(issue).or_default().settled -= value;
                Ok(())
            }
            _ if movement.quantity.is_positive() => {
                ensure(!takes, "goods that arrive take layers")?;
                self.check_arrival(movement, seq)
            }
            _ => {
                ensure(!puts, "goods that leave make layers")?;
                self.check_issue(movement, seq)
            }
        }
    }

    fn check_arrival(&mut self, movement: &Movement, seq: Seq) -> Checked {
        ensure(
            movement.restored.is_empty() || movement.reversal_of.is_some(),
            "layers come back from nowhere",
        )?;
        let (mut left, mut worth) = (movement.quantity, movement.value);
        for cover in &movement.covered {
            let assumed = self.deficits.share(cover.issue, cover.quantity)?;
            same("the assumed cost of a shortage", cover.provisional, assumed)?;
            let own = [movement.return_of, movement.reversal_of].contains(&Some(cover.issue));
            if own {
                same("the cost of an own shortage", cover.actual, cover.provisional)?;
            } else {
                same("the oldest shortage", Some(cover.issue), self.deficits.oldest())?;
                ensure(cover.quantity <= left, "more is covered than arrives")?;
                same("the cost of a shortage", cover.actual, share(worth, cover.quantity, left))?;
            }
            self.deficits.remove(cover.issue, cover.quantity, cover.provisional)?;
            left -= cover.quantity;
            worth -= cover.actual;
            if cover.actual != cover.provisional {
                self.posting()?.owed.push((cover.issue, cover.provisional - cover.actual));
            }
        }
        for slice in &movement.restored {
            self.layers.add(slice.receipt, slice.quantity, slice.value)?;
            left -= slice.quantity;
            worth -= slice.value;
        }
        if let Some((quantity, value)) = movement.layer {
            self.layers.add(seq, quantity, value)?;
            left -= quantity;
            worth -= value;
        }
        same("what became of the goods that arrived", (left, worth), (Quantity::ZERO, 0))
    }

    fn check_issue(&mut self, movement: &Movement, seq: Seq) -> Checked {
        ensure(movement.consumed.len() <= CONSUMED_MAX, "an issue takes too many receipts")?;
        let prefers = movement.reversal_of.or(movement.return_of);
        let (mut left, mut cost) = (-movement.quantity, 0);
        for Slice { receipt, quantity, value } in &movement.consumed {
            let oldest = self.layers.oldest();
            let preferred = prefers == Some(*receipt);
            ensure(preferred || oldest == Some(*receipt), "a younger receipt is taken first")?;
            let of_layer = self.layers.share(*receipt, *quantity)?;
            if self.method() == Method::Fifo {
                same("the cost of a receipt", *value, of_layer)?;
            }
            self.layers.remove(*receipt, *quantity, of_layer)?;
            left -= *quantity;
            cost += *value;
        }
        let slices = movement.consumed.iter().map(|slice| (slice.quantity, slice.value));
        self.posting()?.taken.extend(slices);
        if let Some((quantity, value)) = movement.provisional {
            ensure(self.layers.open.is_empty(), "there is a shortage although goods are there")?;
            self.deficits.add(seq, quantity, value)?;
            left -= quantity;
            cost += value;
        }
        same("what left", (left, cost), (Quantity::ZERO, -movement.value))
    }

    /// Compares the state that the movement led to.
    fn check_state(&self, item: &Item, movement: &Movement, seq: Seq) -> Checked {
        let pool = &item.pool;
        same("the state's balance", item.on_hand, self.on_hand)?;
        same("the state's pool", (pool.quantity, pool.value), (self.on_hand, self.value))?;
        let balance = item.balances.get(&movement.location).map(|balance| (balance.on_hand, balance.latest));
        same("the state's balance here", balance, self.places.get(&movement.location).copied())?;
        same("the state's layers", pool.layers.quantity(), self.layers.quantity)?;
        let touched = movement.consumed.iter().chain(&movement.restored).map(|slice| slice.receipt);
        for receipt in touched.chain(movement.layer.map(|_| seq)) {
            let found = pool.layers.of(receipt).map(|layer| (layer.quantity, layer.value));
            same("the state's layer", found, self.layers.open.get(&receipt).copied())?;
        }
        let deficits = pool.deficits.iter().map(|deficit| (deficit.issue, (deficit.quantity, deficit.value)));
        let expected = self.deficits.open.iter().map(|(issue, part)| (*issue, *part));
        ensure(deficits.eq(expected), "the state's shortages are not those of the movements")?;
        for original in [movement.reversal_of, movement.return_of, movement.settles].into_iter().flatten() {
            let expected = self.marks.get(&original).copied().unwrap_or_default();
            same("the state's marks", item.marks_of(original), expected)?;
        }
        Ok(())
    }
}

fn sum(a: Quantity, b: Quantity) -> Result<Quantity, String> {
    a.checked_add(b).ok_or_else(|| "a quantity is out of range".to_owned())
}
