//! What must be true of the ledger, told independently of the code that keeps it.
//!
//! The model reads every new entry in the order of its aggregate, once: whose operation it is, whether that one
//! may still happen, whether it happened before, whether the balances follow. Answers are compared with it:
//! an acknowledged operation is in the ledger, a refused one was refused by a state inside its window and
//! never happens, a read shows a state inside its window.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use ids::{AggregateId, LocationId, TenantId};
use journal::store::Store as _;
use journal::{Aggregate as _, Entry, Order, Seq};
use proto::stock::v1 as pb;
use sha2::{Digest as _, Sha256};
use stock::domain::item::Item;
use stock::domain::kind::Kind;
use stock::domain::movement::Movement;

use crate::net::{Changed, Net, STOCK};

pub(crate) type Scope = (TenantId, AggregateId);
pub(crate) type OpId = usize;

/// One posting of an operation: the legs that it must have.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) item: Scope,
    pub(crate) kind: Kind,
    /// Where, and how much in millionths, in order.
    pub(crate) legs: Vec<(LocationId, i64)>,
    /// First entry that it takes back.
    pub(crate) reverses: Option<Seq>,
}

/// Something that a client wants to happen once.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) lines: Vec<Line>,
    /// Where the entries of each line are.
    pub(crate) at: Vec<Vec<Seq>>,
    /// What had been acknowledged of each item when it was asked for the first time.
    after: Vec<Seq>,
    /// Attempts without an answer.
    open: usize,
    /// Attempts whose outcome nobody knows.
    unknown: usize,
    attempts: usize,
    acknowledged: bool,
    refused: bool,
}

impl Op {
    /// Whether no other attempt was under way at any moment of this one, which has ended.
    fn was_alone(&self, attempt: &Attempt) -> bool {
        !attempt.joined && self.attempts == attempt.number
    }
}

/// An attempt of an operation.
pub(crate) struct Attempt {
    op: OpId,
    /// It was in the ledger when the attempt began.
    done_before: bool,
    /// Others of the operation were under way when it began.
    joined: bool,
    /// Its number among them.
    number: usize,
    /// What had been acknowledged of the item of each line.
    low: Vec<Seq>,
}

/// An answer to an attempt, for one operation.
pub(crate) enum Answer {
    /// The movements of each line, and whether they are those of an earlier attempt.
    Done(Vec<(Vec<pb::Movement>, bool)>),
    Refused(Refused),
    /// This attempt did nothing.
    NoEffect,
    Unknown,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// What is known of one movement.
#[derive(Clone, PartialEq, Debug)]
struct Fact {
    location: LocationId,
    quantity: i64,
    after: i64,
    item_after: i64,
    kind: Kind,
    note: String,
    chain: [u8; 32],
}

#[derive(Default)]
struct Ledger {
    facts: Vec<Fact>,
    on_hand: i64,
    places: BTreeMap<LocationId, Vec<(Seq, i64)>>,
    reversed: BTreeMap<Seq, Seq>,
    /// Highest sequence that anybody has heard of.
    heard: Seq,
}

#[derive(Default)]
struct Chain {
    seq: Seq,
    hash: [u8; 32],
    recorded_us: i64,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) ops: Vec<Op>,
    chains: BTreeMap<Changed, Chain>,
    ledgers: BTreeMap<Scope, Ledger>,
    /// Locations that may have less than nothing.
    pub(crate) lenient: Vec<LocationId>,
    /// Operations whose last answer was a refusal and that happened, by an earlier attempt of unknown outcome.
    pub(crate) surprises: u64,
}

pub(crate) type Verdict = Result<(), String>;

macro_rules! hold {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
pub(crate) use hold;

impl Model {
    pub(crate) fn plan(&mut self, lines: Vec<Line>) -> OpId {
        let at = vec![Vec::new(); lines.len()];
        self.ops.push(Op {
            lines,
            at,
            after: Vec::new(),
            open: 0,
            unknown: 0,
            attempts: 0,
            acknowledged: false,
            refused: false,
        });
        self.ops.len() - 1
    }

    pub(crate) fn is_done(&self, op: OpId) -> bool {
        !self.ops[op].at[0].is_empty()
    }

    pub(crate) fn begin(&mut self, op: OpId) -> Attempt {
        let low: Vec<Seq> = self.ops[op].lines.iter().map(|line| self.heard(line.item)).collect();
        let done_before = self.is_done(op);
        let known = &mut self.ops[op];
        if known.attempts == 0 {
            known.after.clone_from(&low);
        }
        let joined = known.open > 0;
        known.attempts += 1;
        known.open += 1;
        Attempt { op, done_before, joined, number: known.attempts, low }
    }

    /// What an item has according to all answers so far.
    pub(crate) fn heard(&self, item: Scope) -> Seq {
        self.ledgers.get(&item).map_or(0, |ledger| ledger.heard)
    }

    fn hear(&mut self, item: Scope, seq: Seq) {
        let ledger = self.ledgers.entry(item).or_default();
        ledger.heard = ledger.heard.max(seq);
    }

    /// Reads what is new in the stores.
    pub(crate) fn catch_up(&mut self, net: &Net) -> Verdict {
        let mut touched = Vec::new();
        for changed in net.take_changed() {
            self.follow(net, changed, &mut touched)?;
        }
        for op in touched {
            let op = &self.ops[op];
            let done = op.at.iter().filter(|at| !at.is_empty()).count();
            hold!(done == op.lines.len(), "only {done} of {} lines were posted", op.lines.len());
        }
        Ok(())
    }

    fn follow(&mut self, net: &Net, changed: Changed, touched: &mut Vec<OpId>) -> Verdict {
        let (which, tenant, aggregate) = changed;
        let store = &net.stores[which];
        let now = "memory answers at once";
        let head = store.head(tenant, aggregate).now_or_never().expect(now).ok().flatten();
        let Some(head) = head else { return Err(format!("{aggregate} was written and has no head")) };
        let [kind, _] = head.format.to_be_bytes();
        let mut chain = self.chains.remove(&changed).unwrap_or_default();
        hold!(chain.seq <= head.seq, "{aggregate} went from {} back to {}", chain.seq, head.seq);
        let page = store.entries(tenant, aggregate, chain.seq + 1, head.seq, Order::Ascending, usize::MAX);
        for (seq, bytes) in page.now_or_never().expect(now).unwrap_or_default() {
            hold!(seq == chain.seq + 1, "entry {} of {aggregate} is missing", chain.seq + 1);
            let (stored, entry) = bytes.split_at(32);
            let hash: [u8; 32] = Sha256::new().chain_update(chain.hash).chain_update(entry).finalize().into();
            hold!(stored == hash, "the chain of {aggregate} breaks at entry {seq}");
            let entry = Entry::read(bytes.slice(32..)).map_err(|damage| damage.to_string())?;
            hold!(chain.recorded_us <= entry.recorded_at_us, "{aggregate}: time runs backwards at {seq}");
            chain = Chain { seq, hash, recorded_us: entry.recorded_at_us };
            if which == STOCK && kind == stock::records::KIND_ITEM {
                let movement = Item::decode(&entry.event).map_err(|damage| damage.to_string())?;
                self.post((tenant, aggregate), seq, &movement, hash, touched).map_err(|fault| {
                    format!("entry {seq} of {aggregate}, {}: {fault}", movement.cause.note)
                })?;
            }
        }
        hold!(chain.seq == head.seq, "entry {} of {aggregate} is missing", chain.seq + 1);
        hold!(chain.hash == head.chain.0, "the head of {aggregate} has another chain");
        self.chains.insert(changed, chain);
        Ok(())
    }

    /// A movement that is new in the ledger.
    fn post(
        &mut self,
        item: Scope,
        seq: Seq,
        movement: &Movement,
        chain: [u8; 32],
        touched: &mut Vec<OpId>,
    ) -> Verdict {
        let ledger = self.ledgers.entry(item).or_default();
        hold!(seq == ledger.facts.len() as Seq + 1, "there is a gap before it");
        let quantity = movement.quantity.micros();
        let place = ledger.places.entry(movement.location).or_default();
        let before = place.last().map_or(0, |(_, balance)| *balance);
        hold!(
            movement.balance_before.micros() == before,
            "{before} was there, not {}",
            movement.balance_before
        );
        let after = before + quantity;
        hold!(movement.balance_after.micros() == after, "{after} is there, not {}", movement.balance_after);
        let lenient = self.lenient.contains(&movement.location);
        hold!(after >= 0 || lenient, "{after} is less than nothing");
        ledger.on_hand += quantity;
        let item_after = movement.item_after.micros();
        hold!(item_after == ledger.on_hand, "{} are there in all, not {item_after}", ledger.on_hand);
        if movement.is_physical() {
            place.push((seq, after));
        }
        ledger.facts.push(Fact {
            location: movement.location,
            quantity,
            after,
            item_after,
            kind: movement.kind,
            note: movement.cause.note.clone(),
            chain,
        });
        if movement.kind == Kind::ValueSettlement {
            hold!(quantity == 0, "a settlement moves goods");
            return Ok(());
        }
        if let Some(original) = movement.reversal_of {
            let first = ledger.reversed.insert(original, seq);
            hold!(first.is_none(), "movement {original} was taken back already, by {first:?}");
        }
        let (op, line) = movement.cause.note.split_once('/').ok_or("it belongs to nobody")?;
        let parsed = op.parse::<OpId>().ok().zip(line.parse::<usize>().ok());
        let (id, line) = parsed.ok_or("it belongs to nobody")?;
        let op = self.ops.get_mut(id).filter(|op| line < op.lines.len()).ok_or("it belongs to nobody")?;
        let wanted = &op.lines[line];
        let leg = op.at[line].len();
        hold!(leg < wanted.legs.len(), "the operation was posted twice: {:?}", op.at[line]);
        hold!(
            wanted.item == item
                && wanted.kind == movement.kind
                && wanted.legs[leg] == (movement.location, quantity),
            "{wanted:?} was wanted, and {} {} at {} happened",
            movement.kind,
            movement.quantity,
            movement.location
        );
        hold!(wanted.reverses.is_some() == movement.reversal_of.is_some(), "it is no reversal, or is one");
        hold!(op.attempts > 0, "nobody asked for it");
        hold!(op.open + op.unknown > 0, "it happened after every attempt was said to have failed");
        hold!(
            op.after[line] < seq,
            "it is before entry {}, which was answered before it began",
            op.after[line]
        );
        if leg > 0 {
            hold!(op.at[line][leg - 1] + 1 == seq, "its legs are apart");
        }
        if op.open == 0 && op.refused {
            self.surprises += 1;
        }
        op.at[line].push(seq);
        touched.push(id);
        Ok(())
    }

    /// Compares an answer with the ledger.
    pub(crate) fn end(&mut self, attempt: Attempt, answer: &Answer) -> Verdict {
        let id = attempt.op;
        let op = &mut self.ops[id];
        op.open -= 1;
        match answer {
            Answer::Unknown => op.unknown += 1,
            Answer::NoEffect => {
                let op = &self.ops[id];
                let by_another = attempt.done_before || op.unknown > 0 || !op.was_alone(&attempt);
                hold!(
                    op.at[0].is_empty() || by_another,
                    "operation {id} {op:?}: an attempt is said to have done nothing, and it is in the ledger"
                );
            }
            Answer::Refused(refused) => {
                op.refused = true;
                let fault = |why: String| {
                    format!("operation {id} {:?} was refused, {refused:?}: {why}", self.ops[id])
                };
                return self.refused(&attempt, refused).map_err(fault);
            }
            Answer::Done(lines) => {
                op.acknowledged = true;
                let checked = self.done(&attempt, lines);
                return checked.map_err(|why| format!("operation {id} {:?}: {why}", self.ops[id]));
            }
        }
        Ok(())
    }

    fn done(&mut self, attempt: &Attempt, lines: &[(Vec<pb::Movement>, bool)]) -> Verdict {
        let op = &self.ops[attempt.op];
        hold!(lines.len() == op.lines.len(), "{} lines were answered", lines.len());
        let mut heard = Vec::new();
        for (line, (movements, replayed)) in lines.iter().enumerate() {
            hold!(!replayed || op.attempts > 1, "it is the first attempt, and said to be a repetition");
            hold!(*replayed || !attempt.done_before, "it is a repetition and does not say so");
            let item = op.lines[line].item;
            let own = movements.iter().filter(|movement| movement.kind != Kind::ValueSettlement.code());
            let own: Vec<Seq> = own.map(|movement| movement.sequence).collect();
            hold!(own == op.at[line] && !own.is_empty(), "line {line} is acknowledged as {own:?}");
            for movement in movements {
                self.same(item, movement)?;
                heard.push((item, movement.sequence));
            }
        }
        for (item, seq) in heard {
            self.hear(item, seq);
        }
        Ok(())
    }

    /// A movement as it was shown is the one in the ledger.
    pub(crate) fn same(&self, item: Scope, shown: &pb::Movement) -> Verdict {
        let ledger = self.ledgers.get(&item).ok_or("a movement of an empty ledger")?;
        let fact = usize::try_from(shown.sequence).ok().and_then(|seq| ledger.facts.get(seq.checked_sub(1)?));
        let fact = fact.ok_or_else(|| format!("movement {} is not in the ledger", shown.sequence))?;
        let location = LocationId::parse(&shown.location_id).map_err(|error| error.to_string())?;
        let hash: String = fact.chain.iter().map(|byte| format!("{byte:02x}")).collect();
        let seen = Fact {
            location,
            quantity: micros(&shown.quantity)?,
            after: micros(&shown.balance_after)?,
            item_after: micros(&shown.item_balance_after)?,
            kind: fact.kind,
            note: shown.note.clone(),
            chain: fact.chain,
        };
        let same = seen == *fact && shown.kind == fact.kind.code() && shown.chain_hash == hash;
        hold!(same, "the ledger has {fact:?}, shown was {shown:?}");
        hold!(
            micros(&shown.balance_before)? == fact.after - fact.quantity,
            "another balance before: {shown:?}"
        );
        Ok(())
    }

    fn refused(&self, attempt: &Attempt, refused: &Refused) -> Verdict {
        let op = &self.ops[attempt.op];
        hold!(!attempt.done_before, "it is in the ledger");
        // Its refusal may have been on its way while another attempt found what this one missed.
        let by_another = op.open + op.unknown > 0 || !op.was_alone(attempt);
        hold!(op.at[0].is_empty() || by_another, "it is in the ledger");
        // An answer does not say which line it is about: one of them must explain it.
        let mut verdict = Ok(());
        for line in 0..op.lines.len() {
            verdict = self.explained(op, line, attempt.low[line], refused);
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }

    /// Whether a line had to be refused in a state inside the window of an attempt.
    fn explained(&self, op: &Op, at: usize, low: Seq, refused: &Refused) -> Verdict {
        let line = &op.lines[at];
        let ledger = self.ledgers.get(&line.item);
        match refused.reason.as_str() {
            "INSUFFICIENT_STOCK" => {
                let field = |name: &str| refused.metadata.get(name).map(String::as_str).unwrap_or_default();
                let (available, wanted) = (micros(field("available"))?, micros(field("wanted"))?);
                let location = LocationId::parse(field("locationId")).map_err(|error| error.to_string())?;
                let leaves = |leg: &&(LocationId, i64)| leg.0 == location && leg.1 == -wanted;
                hold!(line.legs.iter().any(|leg| leaves(&leg)), "it does not take {wanted} there");
                hold!(available < wanted, "there is enough");
                let lenient = self.lenient.contains(&location) && line.kind != Kind::TransferDirect;
                hold!(!lenient, "there may be less than nothing");
                // What the lines before it in the same batch would have changed.
                let earlier = op.lines[..at].iter().filter(|other| other.item == line.item);
                let legs = earlier.flat_map(|other| &other.legs).filter(|leg| leg.0 == location);
                let own: i64 = legs.map(|leg| leg.1).sum();
                let high = ledger.map_or(0, |ledger| ledger.facts.len() as Seq);
                let seen =
                    self.balances(line.item, location, low, high).any(|balance| balance + own == available);
                hold!(seen, "{available} was never there from entry {low} to entry {high}");
                Ok(())
            }
            "ALREADY_REVERSED" => {
                let taken_back = |first| ledger.is_some_and(|ledger| ledger.reversed.contains_key(&first));
                hold!(line.reverses.is_some_and(taken_back), "it was not");
                Ok(())
            }
            // Which goods are left is a question of costs, which the rules of the ledger are asked at the end.
            "REVERSAL_NOT_POSSIBLE" if line.reverses.is_some() => Ok(()),
            other => Err(format!("nobody expects {other}")),
        }
    }

    /// The balances of a place in the states after entries `low ..= high`, newest first.
    fn balances(&self, item: Scope, place: LocationId, low: Seq, high: Seq) -> impl Iterator<Item = i64> {
        let changes = self.ledgers.get(&item).and_then(|ledger| ledger.places.get(&place));
        let mut found = Vec::new();
        for (seq, balance) in changes.into_iter().flatten().rev() {
            if *seq <= high {
                found.push(*balance);
            }
            if *seq <= low {
                return found.into_iter();
            }
        }
        found.push(0);
        found.into_iter()
    }

    /// A balance as it was shown is that of a state which is not older than what was heard when the read began.
    pub(crate) fn balance(&mut self, item: Scope, low: Seq, shown: &pb::ItemBalance) -> Verdict {
        let seq = shown.sequence;
        self.fresh(item, low, seq)?;
        self.hear(item, seq);
        let ledger = self.ledgers.entry(item).or_default();
        let on_hand = usize::try_from(seq).ok().and_then(|seq| ledger.facts.get(seq.checked_sub(1)?));
        let on_hand = on_hand.map_or(0, |fact| fact.item_after);
        hold!(micros(&shown.on_hand)? == on_hand, "{on_hand} was on hand after entry {seq}: {shown:?}");
        let mut places = 0;
        for place in &shown.locations {
            let id = LocationId::parse(&place.location_id).map_err(|error| error.to_string())?;
            let changes = ledger.places.get(&id).map(Vec::as_slice).unwrap_or_default();
            let upto = changes.partition_point(|(at, _)| *at <= seq);
            hold!(
                place.movements == upto as u64 && upto > 0,
                "{upto} movements after entry {seq}: {place:?}"
            );
            let (last, balance) = changes[upto - 1];
            let same = micros(&place.on_hand)? == balance && place.last_sequence == last;
            hold!(same, "{balance} was at the place after entry {seq}: {place:?}");
            places += 1;
        }
        let used = ledger.places.values().filter(|changes| changes.first().is_some_and(|(at, _)| *at <= seq));
        hold!(used.count() == places, "a place is missing after entry {seq}: {shown:?}");
        Ok(())
    }

    /// The newest movements as they were shown.
    pub(crate) fn newest(&mut self, item: Scope, low: Seq, shown: &[pb::Movement]) -> Verdict {
        let first = shown.first().map_or(0, |movement| movement.sequence);
        self.fresh(item, low, first)?;
        for (movement, seq) in shown.iter().zip((0..=first).rev()) {
            hold!(movement.sequence == seq, "movement {seq} is missing");
            self.same(item, movement)?;
        }
        self.hear(item, first);
        Ok(())
    }

    fn fresh(&self, item: Scope, low: Seq, seq: Seq) -> Verdict {
        hold!(low <= seq, "a read shows entry {seq}, and entry {low} was answered before it began");
        let high = self.ledgers.get(&item).map_or(0, |ledger| ledger.facts.len() as Seq);
        hold!(seq <= high, "a read shows entry {seq} of {high}");
        Ok(())
    }

    /// At the end: whoever was told that it happened finds it.
    pub(crate) fn close(&self) -> Verdict {
        for (id, op) in self.ops.iter().enumerate() {
            let done = op.at.iter().zip(&op.lines).all(|(at, line)| at.len() == line.legs.len());
            hold!(done || !op.acknowledged, "operation {id} was acknowledged and is not there: {op:?}");
            hold!(done || op.at.iter().all(Vec::is_empty), "operation {id} is there in part: {op:?}");
        }
        Ok(())
    }
}

/// A decimal of the API in millionths.
pub(crate) fn micros(text: &str) -> Result<i64, String> {
    let parsed = quantity::Quantity::parse(text).map(quantity::Quantity::micros);
    parsed.map_err(|error| format!("'{text}' is no quantity: {error}"))
}
