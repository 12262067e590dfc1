//! The ledger of one item without a service around it.
//!
//! Every command is decided twice: by a state that stays in memory, and by one that is made anew from
//! the stored header and rows after every commit. Both must agree, to the byte. When a ledger is
//! dropped, its movements are replayed from nothing, checked against all rules, and must lead to what is
//! stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use calendar::Instant;
use ids::{BusinessId, LocationId, TenantId, VariantId};
use journal::{Aggregate, Changes, Need, Seq};
use money::{Currency, UnitPrice};
use problem::Problem;
use quantity::{Factor, Quantity};
use stock::domain::item::{Command, Item};
use stock::domain::kind::Kind;
use stock::domain::location::{Location, NegativePolicy, Status, Usage, virtual_id};
use stock::domain::movement::{Cause, Entered, Facts, Method, Movement, Source};
use stock::domain::post::{Cost, Direction, Post};
use stock::domain::reverse::Reverse;
use stock::error::Error;
use stock::records;
use stock::verify::Rules;

pub(crate) const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub(crate) const BUSINESS: BusinessId = BusinessId::from_bytes([2; 16]);
pub(crate) const VARIANT: VariantId = VariantId::from_bytes([3; 16]);
pub(crate) const NOW: Instant = Instant::from_unix_micros(1_780_000_000_000_000);

/// What is in the store.
#[derive(Default, Clone, PartialEq, Debug)]
struct Stored {
    header: Option<Bytes>,
    rows: BTreeMap<Bytes, Bytes>,
    index: BTreeMap<(u16, Bytes), Bytes>,
}

impl Stored {
    fn load(&self, item: &mut Item, command: &Command) {
        for round in 0.. {
            let needs = item.needs(command);
            if needs.is_empty() {
                return;
            }
            assert!(round < 4, "an item never has what it needs: {needs:?}");
            for need in needs {
                let value = match &need {
                    Need::Row(key) => self.rows.get(key),
                    Need::Index { index, key } => self.index.get(&(*index, key.clone())),
                };
                item.load(&need, value.map(|bytes| &**bytes)).unwrap();
            }
        }
    }

    fn apply(&mut self, changes: Changes) {
        for (key, value) in changes.rows {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        for change in changes.index {
            self.index.insert((change.index, change.key), change.value.unwrap());
        }
    }

    fn item(&self) -> Item {
        self.header.as_ref().map(|header| Item::from_header(header).unwrap()).unwrap_or_default()
    }
}

/// The ledger.
pub(crate) struct Ledger {
    pub(crate) facts: Arc<Facts>,
    pub(crate) now: Instant,
    /// The greatest values that the caller may post.
    pub(crate) amounts_max: rpc::AmountsMax,
    /// Commands in one commit.
    pub(crate) fold: usize,
    /// By sequence, from 1.
    pub(crate) movements: Vec<Movement>,
    places: BTreeMap<u8, Location>,
    item: Item,
    cold: Item,
    changes: (Changes, Changes),
    folded: usize,
    stored: Stored,
}

/// A request to post, before it is one: `draft(Kind::SaleShipment, "5").at(1)`.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) quantity: Quantity,
    pub(crate) at: u8,
    pub(crate) to: Option<u8>,
    pub(crate) direction: Option<Direction>,
    pub(crate) cost: Option<Cost>,
    pub(crate) unit: Option<(&'static str, Factor)>,
    pub(crate) integral: bool,
    pub(crate) line: String,
    pub(crate) revision: u32,
    pub(crate) days_ago: Option<i64>,
    pub(crate) may_backdate: bool,
    pub(crate) return_of: Option<Seq>,
}

pub(crate) fn draft(kind: Kind, quantity: &str) -> Draft {
    Draft {
        kind,
        quantity: qty(quantity),
        at: 1,
        to: None,
        direction: None,
        cost: None,
        unit: None,
        integral: false,
        line: String::new(),
        revision: 0,
        days_ago: None,
        may_backdate: false,
        return_of: None,
    }
}

impl Draft {
    pub(crate) fn at(self, at: u8) -> Draft {
        Draft { at, ..self }
    }

    pub(crate) fn total(self, total: &str) -> Draft {
        Draft { cost: Some(Cost::Total(price(total), eur())), ..self }
    }

    pub(crate) fn unit_cost(self, cost: &str) -> Draft {
        Draft { cost: Some(Cost::Unit(price(cost), eur())), ..self }
    }

    pub(crate) fn in_unit(self, unit: &'static str, num: i64, den: i64) -> Draft {
        Draft { unit: Some((unit, Factor::new(num, den).unwrap())), ..self }
    }

    pub(crate) fn of(self, original: Seq) -> Draft {
        Draft { return_of: Some(original), ..self }
    }

    pub(crate) fn line(self, line: &str) -> Draft {
        Draft { line: line.to_owned(), ..self }
    }

    pub(crate) fn days_ago(self, days: i64) -> Draft {
        Draft { days_ago: Some(days), ..self }
    }
}

pub(crate) fn qty(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

pub(crate) fn price(text: &str) -> UnitPrice {
    UnitPrice::parse(text).unwrap()
}

pub(crate) fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

/// Id of a place of the tests.
pub(crate) fn loc(place: u8) -> LocationId {
    LocationId::from_bytes([place; 16])
}

/// A refusal: its reason and, for a bad field, the field and why.
pub(crate) fn why(error: &Error) -> String {
    match error.violations().first() {
        Some(violation) => format!("{} {}", violation.field, violation.reason),
        None => error.reason().to_owned(),
    }
}

impl Ledger {
    pub(crate) fn new(method: Method) -> Ledger {
        Ledger::with(method, 6, 2)
    }

    pub(crate) fn with(method: Method, quantity_scale: u32, cost_scale: u32) -> Ledger {
        let facts = Facts {
            business: BUSINESS,
            variant: VARIANT,
            base_unit: "C62".to_owned(),
            quantity_scale,
            currency: eur(),
            cost_scale,
            method,
        };
        Ledger {
            facts: Arc::new(facts),
            now: NOW,
            amounts_max: None,
            fold: 1,
            movements: Vec::new(),
            places: BTreeMap::new(),
            item: Item::default(),
            cold: Item::default(),
            changes: (Changes::default(), Changes::default()),
            folded: 0,
            stored: Stored::default(),
        }
    }

    /// The state, as long as nothing else is asked.
    pub(crate) fn item(&self) -> &Item {
        &self.item
    }

    /// Bytes of the stored header, and the rows.
    pub(crate) fn stored(&self) -> (usize, Vec<Bytes>) {
        let header = self.stored.header.as_ref().map_or(0, Bytes::len);
        (header, self.stored.rows.keys().cloned().collect())
    }

    /// Changes a place; places are active and forbid negative stock unless said otherwise.
    pub(crate) fn place(&mut self, place: u8) -> &mut Location {
        self.places.entry(place).or_insert_with(|| Location {
            id: loc(place),
            business: BUSINESS,
            code: format!("P{place}"),
            name: format!("Place {place}"),
            parent: None,
            usage: Usage::Internal,
            negative: NegativePolicy::Forbid,
            status: Status::Active,
            created_at: NOW,
            updated_at: NOW,
        })
    }

    pub(crate) fn allow(&mut self, place: u8) {
        self.place(place).negative = NegativePolicy::Allow;
    }

    pub(crate) fn status(&mut self, place: u8, status: Status) {
        self.place(place).status = status;
    }

    /// Posts; the sequence of the first movement.
    pub(crate) fn post(&mut self, draft: Draft) -> Result<Seq, Error> {
        let post = self.prepare(draft);
        self.run(Command::Post(Box::new(post)))
    }

    pub(crate) fn prepare(&mut self, draft: Draft) -> Post {
        let source = Source {
            kind: draft.kind.sources().first().unwrap().to_string(),
            id: "D-1".to_owned(),
            number: "2026-1".to_owned(),
            line: draft.line,
            revision: draft.revision,
        };
        let (unit, factor) = draft.unit.unwrap_or(("C62", Factor::ONE));
        Post {
            kind: draft.kind,
            direction: draft.direction,
            place: Arc::new(self.place(draft.at).clone()),
            to: draft.to.map(|to| Arc::new(self.place(to).clone())),
            counterpart: counterpart(draft.kind),
            line: records::line(BUSINESS, draft.kind, &source),
            cause: Arc::new(Cause {
                entered: Entered { quantity: draft.quantity, unit: unit.to_owned(), factor },
                source,
                reason_code: "test".to_owned(),
                note: String::new(),
            }),
            integral: draft.integral,
            cost: draft.cost,
            occurred_at: draft.days_ago.map(|days| self.now.plus_seconds(-86_400 * days)),
            may_backdate: draft.may_backdate,
            backdate_days: 30,
            amounts_max: self.amounts_max.clone(),
            return_of: draft.return_of.map(|seq| (seq, self.movement(seq).clone())),
            facts: self.item.facts.is_none().then(|| Arc::clone(&self.facts)),
        }
    }

    /// Takes the posting back that a movement belongs to.
    pub(crate) fn reverse(&mut self, seq: Seq) -> Result<Seq, Error> {
        let first = seq - Seq::from(self.movement(seq).position);
        let is_next = |at: &Seq| *at == first || self.movement(*at).position != 0;
        let posting = (first..=self.last()).take_while(is_next);
        let originals: Vec<_> = posting.map(|seq| (seq, self.movement(seq).clone())).collect();
        let cause = Cause { reason_code: "wrong".to_owned(), ..Cause::clone(&originals[0].1.cause) };
        let places = self.places.values().cloned().collect();
        self.run(Command::Reverse(Box::new(Reverse {
            originals,
            places,
            cause: Arc::new(cause),
            amounts_max: self.amounts_max.clone(),
        })))
    }

    pub(crate) fn movement(&self, seq: Seq) -> &Movement {
        &self.movements[usize::try_from(seq).unwrap() - 1]
    }

    pub(crate) fn last(&self) -> Seq {
        self.movements.len() as Seq
    }

    fn run(&mut self, command: Command) -> Result<Seq, Error> {
        self.stored.load(&mut self.item, &command);
        self.stored.load(&mut self.cold, &command);
        let warm = self.item.decide(&command, self.now);
        let cold = self.cold.decide(&command, self.now);
        assert_eq!(warm, cold, "the stored state decides otherwise: {command:?}");
        let first = self.last() + 1;
        for movement in warm? {
            self.movements.push(movement.clone());
            let seq = self.last();
            self.item.evolve(&movement, seq);
            self.item.project(&movement, seq, &mut self.changes.0);
            self.cold.evolve(&movement, seq);
            self.cold.project(&movement, seq, &mut self.changes.1);
        }
        self.folded += 1;
        if self.fold <= self.folded {
            self.commit();
        }
        Ok(first)
    }

    /// Writes what waits, as the journal does.
    pub(crate) fn commit(&mut self) {
        let (mut warm, mut cold) = std::mem::take(&mut self.changes);
        self.folded = 0;
        self.item.save(&mut warm);
        self.cold.save(&mut cold);
        let mut other = self.stored.clone();
        self.stored.apply(warm);
        other.apply(cold);
        assert_eq!(self.stored, other, "the stored state leads elsewhere");
        if self.movements.is_empty() {
            return;
        }
        self.stored.header = Some(self.item.header());
        assert_eq!(self.item.header(), self.cold.header(), "the stored state leads elsewhere");
        self.cold = self.stored.item();
    }

    /// Replays all movements: they keep all rules and lead to what is stored.
    pub(crate) fn check(&mut self) {
        self.commit();
        let (mut item, mut changes) = (Item::default(), Changes::default());
        let mut rules = Rules::new(TENANT);
        for (seq, movement) in (1..).zip(&self.movements) {
            item.evolve(movement, seq);
            item.project(movement, seq, &mut changes);
            rules.check(&item, movement, seq).unwrap_or_else(|fault| panic!("{seq}: {fault}\n{movement:#?}"));
        }
        rules.finish().unwrap();
        item.save(&mut changes);
        let mut replayed = Stored::default();
        if !self.movements.is_empty() {
            replayed.header = Some(item.header());
        }
        replayed.apply(changes);
        assert_eq!(replayed, self.stored, "the movements lead elsewhere");
    }

    /// `receive`, `sell` and others at place 1, for tables.
    pub(crate) fn receive(&mut self, quantity: &str, total: &str) -> Seq {
        self.post(draft(Kind::PurchaseReceipt, quantity).total(total)).unwrap()
    }

    pub(crate) fn sell(&mut self, quantity: &str) -> Seq {
        self.post(draft(Kind::SaleShipment, quantity)).unwrap()
    }

    /// Quantity and value of the pool: `"10 100.00"`.
    pub(crate) fn pool(&self) -> String {
        format!("{} {}", self.item.pool.quantity, self.money(self.item.pool.value))
    }

    pub(crate) fn money(&self, value: i64) -> String {
        money::format_decimal(value, self.facts.cost_scale)
    }

    /// Value of a movement: `"-33.33"`.
    pub(crate) fn value(&self, seq: Seq) -> String {
        self.money(self.movement(seq).value)
    }

    /// Kinds and values of the movements of a posting.
    pub(crate) fn posting(&self, first: Seq) -> Vec<String> {
        let of_posting = |seq: &Seq| *seq == first || self.movement(*seq).position != 0;
        let one = |seq: Seq| {
            let movement = self.movement(seq);
            format!("{} {} {}", movement.kind, movement.quantity, self.money(movement.value))
        };
        (first..=self.last()).take_while(of_posting).map(one).collect()
    }

    pub(crate) fn on_hand(&self, place: u8) -> String {
        self.item.at(loc(place)).to_string()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

pub(crate) fn counterpart(kind: Kind) -> LocationId {
    virtual_id(TENANT, BUSINESS, kind.counterpart())
}
