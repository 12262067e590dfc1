//! The stock of one variant in one business: one aggregate, one partition, one order of postings.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use calendar::Instant;
use ids::LocationId;
use journal::{Need, Seq};
use quantity::Quantity;

use crate::domain::kind::{Flow, Kind};
use crate::domain::movement::{Facts, Method, Movement, Slice};
use crate::domain::pool::{Deficit, Pool};
use crate::domain::post::Post;
use crate::domain::reverse::Reverse;
use crate::records::{self, Line};

/// Locations whose balance is in the header; further ones have a row each.
pub const INLINE_BALANCES: usize = 6;

/// Source lines remembered while a commit is prepared; more than one commit can have.
const LINES_MAX: usize = 100_000;

/// Stock at one location.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Balance {
    /// There, in base units.
    pub on_hand: Quantity,
    /// Movements here.
    pub movements: u64,
    /// Sequence of the last of them.
    pub last: Seq,
    /// Latest business time of them.
    pub latest: Instant,
    /// It is in the header.
    pub inline: bool,
}

/// What later movements did to one movement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    /// Value that settlements added to the cost of the issue.
    pub settled: i64,
    /// Quantity that was returned.
    pub returned: Quantity,
    /// Value that was returned.
    pub returned_value: i64,
    /// Sequence of the reversal; 0 if there is none.
    pub reversed_by: Seq,
}

/// The aggregate. What is not loaded is named by [`Item::needs`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Item {
    /// Fixed with the first movement; `None` before.
    pub facts: Option<Facts>,
    /// On hand in all locations.
    pub on_hand: Quantity,
    /// Number of locations that were ever used.
    pub locations: u32,
    /// Balances: all that are in the header, and rows that were loaded.
    pub balances: BTreeMap<LocationId, Balance>,
    /// What it costs.
    pub pool: Pool,
    /// Number of deficits; they are in a row of their own.
    pub deficit_count: u32,
    /// The row of deficits is loaded.
    pub deficits_loaded: bool,
    /// Marks that were loaded, by sequence of the movement.
    pub marks: BTreeMap<Seq, Marks>,
    /// Locations that were looked for and are not used yet.
    pub(crate) absent: BTreeSet<LocationId>,
    /// Source lines that were looked for: the sequence that posted them, if any.
    pub(crate) lines: HashMap<Line, Option<Seq>>,
    pub(crate) dirty_balances: BTreeSet<LocationId>,
    pub(crate) dirty_marks: BTreeSet<Seq>,
    pub(crate) dirty_deficits: bool,
}

/// What callers ask for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Post a movement.
    Post(Box<Post>),
    /// Take a posting back.
    Reverse(Box<Reverse>),
}

impl Item {
    /// On hand at a location; zero where nothing ever moved.
    #[must_use]
    pub fn at(&self, location: LocationId) -> Quantity {
        self.balances.get(&location).map_or(Quantity::ZERO, |balance| balance.on_hand)
    }

    /// Marks of a movement.
    #[must_use]
    pub fn marks_of(&self, movement: Seq) -> Marks {
        self.marks.get(&movement).copied().unwrap_or_default()
    }

    /// The rows that `command` looks at and that are not loaded.
    #[must_use]
    pub fn needs(&self, command: &Command) -> Vec<Need> {
        let mut needs = Vec::new();
        match command {
            Command::Post(post) => self.needs_to_post(post, &mut needs),
            Command::Reverse(reverse) => self.needs_to_reverse(reverse, &mut needs),
        }
        needs
    }

    fn needs_to_post(&self, post: &Post, needs: &mut Vec<Need>) {
        self.need_balance(post.place.id, needs);
        if let Some(to) = &post.to {
            self.need_balance(to.id, needs);
        }
        if let Some(line) = post.line.filter(|line| !self.lines.contains_key(line)) {
            needs.push(Need::Index { index: records::INDEX_SOURCE, key: records::line_key(&line) });
        }
        let arrives = match post.kind.flow() {
            Flow::In => true,
            Flow::Either => post.direction == Some(crate::domain::post::Direction::In),
            Flow::Out | Flow::Move | Flow::Value => false,
        };
        self.need_deficits(arrives, needs);
        if arrives {
            needs.extend(self.pool.layers.missing_last().map(records::chunk_need));
        } else if post.kind == Kind::ReturnSupplier {
            needs.extend(self.pool.layers.missing().into_iter().map(records::chunk_need));
        } else if post.kind.flow() != Flow::Move {
            let quantity = post.base_quantity().unwrap_or_default();
            needs.extend(self.pool.layers.missing_for(quantity).into_iter().map(records::chunk_need));
        }
        if let Some((seq, _)) = &post.return_of {
            self.need_marks(*seq, needs);
        }
    }

    fn needs_to_reverse(&self, reverse: &Reverse, needs: &mut Vec<Need>) {
        if reverse.originals.iter().any(|(_, movement)| movement.kind.flow() != Flow::Move) {
            self.need_deficits(true, needs);
            needs.extend(self.pool.layers.missing().into_iter().map(records::chunk_need));
        }
        for (seq, movement) in &reverse.originals {
            self.need_balance(movement.location, needs);
            self.need_marks(*seq, needs);
            if let Some(original) = movement.return_of {
                self.need_marks(original, needs);
            }
        }
    }

    fn need_balance(&self, location: LocationId, needs: &mut Vec<Need>) {
        let all_inline = self.locations as usize <= INLINE_BALANCES;
        if !all_inline && !self.balances.contains_key(&location) && !self.absent.contains(&location) {
            push_new(needs, Need::Row(records::balance_key(location)));
        }
    }

    fn need_marks(&self, movement: Seq, needs: &mut Vec<Need>) {
        if !self.marks.contains_key(&movement) {
            push_new(needs, Need::Row(records::marks_key(movement)));
        }
    }

    fn need_deficits(&self, arrives: bool, needs: &mut Vec<Need>) {
        if self.deficit_count == 0 {
            return;
        }
        if !self.deficits_loaded {
            needs.push(Need::Row(records::deficits_key()));
        } else if arrives {
            for deficit in &self.pool.deficits {
                self.need_marks(deficit.issue, needs);
            }
        }
    }

    /// Applies a movement. Everything was decided when it was posted.
    pub fn evolve(&mut self, movement: &Movement, seq: Seq) {
        if let Some(facts) = &movement.facts {
            self.pool.method = facts.method;
            self.facts = Some(facts.clone());
        }
        if movement.is_physical() {
            self.evolve_balance(movement, seq);
        }
        self.on_hand = movement.item_after;
        self.evolve_pool(movement, seq);
        self.evolve_marks(movement, seq);
        if let Some(line) = self.line_of(movement) {
            if LINES_MAX < self.lines.len() {
                self.lines.clear(); // only a replay of a long history comes here
            }
            self.lines.insert(line, Some(seq - u64::from(movement.position)));
        }
    }

    fn evolve_balance(&mut self, movement: &Movement, seq: Seq) {
        let next = match self.balances.get(&movement.location) {
            Some(balance) => Balance {
                on_hand: movement.balance_after,
                movements: balance.movements + 1,
                last: seq,
                latest: balance.latest.max(movement.occurred_at),
                inline: balance.inline,
            },
            None => {
                let inline = (self.locations as usize) < INLINE_BALANCES;
                self.locations += 1;
                let (on_hand, latest) = (movement.balance_after, movement.occurred_at);
                Balance { on_hand, movements: 1, last: seq, latest, inline }
            }
        };
        self.absent.remove(&movement.location);
        self.balances.insert(movement.location, next);
        if !next.inline {
            self.dirty_balances.insert(movement.location);
        }
    }

    fn evolve_pool(&mut self, movement: &Movement, seq: Seq) {
        let pool = &mut self.pool;
        pool.quantity = movement.pool_quantity_after;
        pool.value = movement.pool_value_after;
        for slice in &movement.consumed {
            pool.layers.take(slice.receipt, slice.quantity);
        }
        for slice in &movement.restored {
            pool.layers.restore(*slice);
        }
        if let Some((quantity, value)) = movement.layer {
            pool.layers.push(Slice { receipt: seq, quantity, value });
        }
        for cover in &movement.covered {
            pool.end(cover);
            self.dirty_deficits = true;
        }
        if let Some((quantity, value)) = movement.provisional {
            pool.deficits.push(Deficit { issue: seq, quantity, value });
            self.dirty_deficits = true;
        }
        if self.dirty_deficits {
            self.deficit_count = u32::try_from(pool.deficits.len()).unwrap_or(u32::MAX);
            self.deficits_loaded = true;
        }
        pool.last_cost = match (movement.quantity.signum(), pool.method, movement.consumed.last()) {
            _ if movement.kind.flow() == Flow::Move || !movement.is_physical() => pool.last_cost,
            (-1, Method::Fifo, Some(slice)) => Some((slice.value, slice.quantity)),
            (-1, Method::MovingAverage, Some(_)) => {
                Some((movement.consumed.iter().map(|slice| slice.value).sum(), movement.consumed_quantity()))
            }
            (1, _, _) => Some((movement.value, movement.quantity)),
            _ => pool.last_cost,
        };
    }

    fn evolve_marks(&mut self, movement: &Movement, seq: Seq) {
        if let Some(original) = movement.reversal_of {
            self.mark(original, |marks| marks.reversed_by = seq);
        }
        if let Some(original) = movement.return_of {
            // A reversed return gives back what can be returned.
            let back = movement.reversal_of.is_some();
            let (quantity, value) = (movement.quantity.abs(), (movement.value + movement.variance).abs());
            self.mark(original, |marks| {
                marks.returned = if back { marks.returned - quantity } else { marks.returned + quantity };
                marks.returned_value += if back { -value } else { value };
            });
        }
        if let Some(issue) = movement.settles {
            self.mark(issue, |marks| marks.settled -= movement.value);
        }
    }

    fn mark(&mut self, movement: Seq, change: impl FnOnce(&mut Marks)) {
        change(self.marks.entry(movement).or_default());
        self.dirty_marks.insert(movement);
    }

    /// The source line that a movement posts, if it names one.
    #[must_use]
    pub fn line_of(&self, movement: &Movement) -> Option<Line> {
        let business = self.facts.as_ref()?.business;
        let posts = movement.is_physical() && movement.reversal_of.is_none();
        posts.then(|| records::line(business, movement.kind, &movement.cause.source)).flatten()
    }
}

fn push_new(needs: &mut Vec<Need>, need: Need) {
    if !needs.contains(&need) {
        needs.push(need);
    }
}
