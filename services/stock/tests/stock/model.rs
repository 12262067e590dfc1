//! The ledger a second time: slow, of plain lists, written from the rules and not from the code.

use std::collections::{BTreeMap, BTreeSet};

/// What is asked for. Quantities are in millionths, values in cents.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Receive {
        place: u8,
        quantity: i128,
        total: i128,
    },
    Sell {
        place: u8,
        quantity: i128,
    },
    Move {
        from: u8,
        to: u8,
        quantity: i128,
    },
    Find {
        place: u8,
        quantity: i128,
        total: Option<i128>,
    },
    Lose {
        place: u8,
        quantity: i128,
    },
    /// A customer brings a part of sale `of` back.
    ComeBack {
        place: u8,
        quantity: i128,
        of: usize,
    },
    /// A part of receipt `of` goes back to the supplier.
    GoBack {
        place: u8,
        quantity: i128,
        of: usize,
    },
    Reverse {
        of: usize,
    },
    /// Blocks what arrives, what leaves, or nothing.
    Block {
        place: u8,
        arrivals: bool,
        issues: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Receive,
    Sell,
    Move,
    Adjust,
    ComeBack,
    GoBack,
    Settle,
}

/// A movement as the model sees it.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) what: What,
    pub(crate) place: u8,
    pub(crate) quantity: i128,
    pub(crate) value: i128,
    /// The movement that it settles, returns or reverses.
    pub(crate) of: Option<usize>,
    pub(crate) is_reversal: bool,
    posting: usize,
    taken: Vec<(usize, i128, i128)>,
    short: i128,
    covers: bool,
    settled: i128,
    returned: (i128, i128),
    reversed: bool,
}

/// A quantity with its value, from movement `from`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Part {
    pub(crate) from: usize,
    pub(crate) quantity: i128,
    pub(crate) value: i128,
}

/// The ledger.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) fifo: bool,
    pub(crate) may_lack: BTreeSet<u8>,
    pub(crate) places: BTreeMap<u8, i128>,
    pub(crate) value: i128,
    /// With the average their values mean nothing.
    pub(crate) layers: Vec<Part>,
    pub(crate) shortages: Vec<Part>,
    pub(crate) past: Vec<Moved>,
    no_arrivals: BTreeSet<u8>,
    no_issues: BTreeSet<u8>,
    last_cost: Option<(i128, i128)>,
    postings: usize,
}

type Refused = &'static str;

/// To the nearest, halves away from zero, by counting halves.
fn round(numerator: i128, denominator: i128) -> i128 {
    let halves = 2 * numerator.abs() / denominator;
    (halves + 1) / 2 * numerator.signum()
}

fn share(value: i128, part: i128, whole: i128) -> i128 {
    round(value * part, whole)
}

impl Model {
    pub(crate) fn on_hand(&self) -> i128 {
        self.places.values().sum()
    }

    /// Does it; how many movements it made.
    pub(crate) fn step(&mut self, step: &Step) -> Result<usize, Refused> {
        let before = self.past.len();
        let mut next = self.clone();
        next.postings += 1;
        match *step {
            Step::Receive { place, quantity, total } => {
                next.arrive(What::Receive, place, quantity, total, None)?;
            }
            Step::Find { place, quantity, total } => {
                let value = total.unwrap_or_else(|| match next.on_hand() {
                    there if 0 < there => share(next.value, quantity, there),
                    _ => next.last_cost.map_or(0, |(value, of)| share(value, quantity, of)),
                });
                next.arrive(What::Adjust, place, quantity, value, None)?;
            }
            Step::Sell { place, quantity } => next.leave(What::Sell, place, quantity, None)?,
            Step::Lose { place, quantity } => next.leave(What::Adjust, place, quantity, None)?,
            Step::Move { from, to, quantity } => {
                next.may_leave(from, quantity, true)?;
                next.may_arrive(to)?;
                next.add(What::Move, from, -quantity, 0, None);
                next.add(What::Move, to, quantity, 0, None);
            }
            Step::ComeBack { place, quantity, of } => next.come_back(place, quantity, of)?,
            Step::GoBack { place, quantity, of } => {
                let original = &next.past[of];
                if original.reversed {
                    return Err("ALREADY_REVERSED");
                }
                if original.quantity - original.returned.0 < quantity {
                    return Err("RETURN_EXCEEDS_ORIGINAL");
                }
                next.leave(What::GoBack, place, quantity, Some(of))?;
                next.past[of].returned.0 += quantity;
            }
            Step::Reverse { of } => next.reverse(of)?,
            Step::Block { place, arrivals, issues } => {
                for (set, blocked) in [(&mut next.no_arrivals, arrivals), (&mut next.no_issues, issues)] {
                    set.remove(&place);
                    if blocked {
                        set.insert(place);
                    }
                }
            }
        }
        *self = next;
        Ok(self.past.len() - before)
    }

    fn may_arrive(&self, place: u8) -> Result<(), Refused> {
        if self.no_arrivals.contains(&place) { Err("LOCATION_BLOCKED") } else { Ok(()) }
    }

    fn may_leave(&self, place: u8, quantity: i128, must_be_there: bool) -> Result<(), Refused> {
        if self.no_issues.contains(&place) {
            return Err("LOCATION_BLOCKED");
        }
        let there = self.places.get(&place).copied().unwrap_or(0);
        let may_lack = self.may_lack.contains(&place) && !must_be_there;
        if there < quantity && !may_lack { Err("INSUFFICIENT_STOCK") } else { Ok(()) }
    }

    fn add(&mut self, what: What, place: u8, quantity: i128, value: i128, of: Option<usize>) -> &mut Moved {
        *self.places.entry(place).or_default() += quantity;
        self.value += value;
        self.past.push(Moved {
            what,
            place,
            quantity,
            value,
            of,
            is_reversal: false,
            posting: self.postings,
            taken: vec![],
            short: 0,
            covers: false,
            settled: 0,
            returned: (0, 0),
            reversed: false,
        });
        self.past.last_mut().unwrap()
    }

    /// Goods arrive: they cover the shortages of others first, what is left is a layer.
    fn arrive(
        &mut self,
        what: What,
        place: u8,
        quantity: i128,
        value: i128,
        of: Option<usize>,
    ) -> Result<(), Refused> {
        self.may_arrive(place)?;
        self.add(what, place, quantity, value, of);
        self.put(quantity, value);
        self.last_cost = Some((value, quantity));
        Ok(())
    }

    /// Puts goods in for the movement added last.
    fn put(&mut self, mut left: i128, mut worth: i128) {
        let me = self.past.len() - 1;
        let place = self.past[me].place;
        let mut settle = Vec::new();
        while 0 < left && !self.shortages.is_empty() {
            let shortage = &mut self.shortages[0];
            let part = left.min(shortage.quantity);
            let assumed = share(shortage.value, part, shortage.quantity);
            let actual = share(worth, part, left);
            shortage.quantity -= part;
            shortage.value -= assumed;
            settle.push((shortage.from, actual - assumed));
            if shortage.quantity == 0 {
                self.shortages.remove(0);
            }
            left -= part;
            worth -= actual;
            self.past[me].covers = true;
        }
        if 0 < left {
            self.layers.push(Part { from: me, quantity: left, value: worth });
        }
        for (issue, more) in settle.into_iter().filter(|(_, more)| *more != 0) {
            self.past[issue].settled += more;
            self.add(What::Settle, place, 0, -more, Some(issue));
        }
    }

    fn leave(&mut self, what: What, place: u8, quantity: i128, prefer: Option<usize>) -> Result<(), Refused> {
        self.may_leave(place, quantity, false)?;
        let (there, value) = (self.on_hand(), self.value);
        let taken = self.take(quantity, prefer);
        let stocked: i128 = taken.iter().map(|(_, quantity, _)| quantity).sum();
        let cost = match self.fifo {
            true => taken.iter().map(|(_, _, value)| value).sum(),
            false if stocked == 0 => 0,
            false => share(value, stocked, there),
        };
        if let Some((_, quantity, value)) = taken.last() {
            self.last_cost = Some(if self.fifo { (*value, *quantity) } else { (cost, stocked) });
        }
        let short = quantity - stocked;
        let assumed = match self.last_cost {
            Some((value, of)) if 0 < short => share(value, short, of),
            _ => 0,
        };
        if 0 < short && 48 <= self.shortages.len() {
            return Err("QUANTITY_LIMIT");
        }
        let moved = self.add(what, place, -quantity, -cost - assumed, prefer);
        (moved.taken, moved.short) = (taken, short);
        if 0 < short {
            self.shortages.push(Part { from: self.past.len() - 1, quantity: short, value: assumed });
        }
        Ok(())
    }

    /// Takes goods out of layers, the preferred one first, then the oldest.
    fn take(&mut self, quantity: i128, prefer: Option<usize>) -> Vec<(usize, i128, i128)> {
        let mut left = quantity;
        let mut taken = Vec::new();
        self.layers.sort_by_key(|layer| (Some(layer.from) != prefer, layer.from));
        for layer in &mut self.layers {
            let part = left.min(layer.quantity);
            if part == 0 {
                break;
            }
            let value = share(layer.value, part, layer.quantity);
            taken.push((layer.from, part, value));
            layer.quantity -= part;
            layer.value -= value;
            left -= part;
        }
        self.layers.retain(|layer| layer.quantity != 0);
        self.layers.sort_by_key(|layer| layer.from);
        taken
    }

    fn come_back(&mut self, place: u8, quantity: i128, of: usize) -> Result<(), Refused> {
        self.may_arrive(place)?;
        let sale = &self.past[of];
        if sale.reversed {
            return Err("ALREADY_REVERSED");
        }
        let mut left = -sale.quantity - sale.returned.0;
        let mut worth = -sale.value + sale.settled - sale.returned.1;
        if left < quantity {
            return Err("RETURN_EXCEEDS_ORIGINAL");
        }
        let (mut ended, mut ended_value) = (0, 0);
        if let Some(at) = self.shortages.iter().position(|shortage| shortage.from == of) {
            let shortage = &mut self.shortages[at];
            // What is still short is neither in the goods that can come back nor in their cost.
            left -= shortage.quantity;
            worth -= shortage.value;
            ended = quantity.min(shortage.quantity);
            ended_value = share(shortage.value, ended, shortage.quantity);
            shortage.quantity -= ended;
            shortage.value -= ended_value;
            if shortage.quantity == 0 {
                self.shortages.remove(at);
            }
        }
        let goods = quantity - ended;
        let goods_value = if goods == 0 { 0 } else { share(worth, goods, left) };
        let value = ended_value + goods_value;
        let sale = &mut self.past[of];
        sale.returned = (sale.returned.0 + quantity, sale.returned.1 + value);
        self.add(What::ComeBack, place, quantity, value, Some(of)).covers = 0 < ended;
        self.put(goods, goods_value);
        self.last_cost = Some((value, quantity));
        Ok(())
    }

    fn reverse(&mut self, of: usize) -> Result<(), Refused> {
        let posting = self.past[of].posting;
        let originals: Vec<usize> =
            (0..self.past.len()).filter(|at| self.past[*at].posting == posting).collect();
        for at in &originals {
            let original = &self.past[*at];
            if original.is_reversal || original.what == What::Settle || original.covers {
                return Err("REVERSAL_NOT_POSSIBLE");
            }
            if original.reversed {
                return Err("ALREADY_REVERSED");
            }
            if original.returned.0 != 0 {
                return Err("REVERSAL_NOT_POSSIBLE");
            }
        }
        for at in originals.into_iter().rev() {
            let original = self.past[at].clone();
            self.past[at].reversed = true;
            let is_move = original.what == What::Move;
            if 0 < original.quantity {
                self.may_leave(original.place, original.quantity, is_move)?;
            } else {
                self.may_arrive(original.place)?;
            }
            match original.quantity {
                quantity if is_move => {
                    self.add(What::Move, original.place, -quantity, 0, Some(at)).is_reversal = true;
                }
                quantity if 0 < quantity => self.take_back(at, &original)?,
                _ => self.put_back(at, &original),
            }
            if let (What::ComeBack | What::GoBack, Some(returned)) = (original.what, original.of) {
                let returned = &mut self.past[returned].returned;
                returned.0 -= original.quantity.abs();
                if original.what == What::ComeBack {
                    returned.1 -= original.value;
                }
            }
        }
        Ok(())
    }

    fn take_back(&mut self, at: usize, original: &Moved) -> Result<(), Refused> {
        let own = self.layers.iter().find(|layer| layer.from == at).map_or(0, |layer| layer.quantity);
        let there: i128 = self.layers.iter().map(|layer| layer.quantity).sum();
        if there < original.quantity || (self.fifo && own != original.quantity) {
            return Err("REVERSAL_NOT_POSSIBLE");
        }
        let value = match (self.fifo, there == original.quantity) {
            (false, true) => self.value,
            _ => original.value.min(self.value),
        };
        let taken = self.take(original.quantity, Some(at));
        self.last_cost = Some((value, original.quantity));
        let moved = self.add(original.what, original.place, -original.quantity, -value, Some(at));
        (moved.taken, moved.is_reversal) = (taken, true);
        Ok(())
    }

    fn put_back(&mut self, at: usize, original: &Moved) {
        let value = -original.value + original.settled;
        let (mut goods, mut worth) = (-original.quantity, value);
        let mut ended = false;
        if let Some(own) = self.shortages.iter().position(|shortage| shortage.from == at) {
            let own = self.shortages.remove(own);
            goods -= own.quantity;
            worth -= own.value;
            ended = true;
        }
        let moved = self.add(original.what, original.place, -original.quantity, value, Some(at));
        (moved.is_reversal, moved.covers) = (true, ended);
        if self.shortages.is_empty() {
            for (from, quantity, value) in &original.taken {
                match self.layers.iter_mut().find(|layer| layer.from == *from) {
                    Some(layer) => {
                        layer.quantity += quantity;
                        layer.value += value;
                    }
                    None => self.layers.push(Part { from: *from, quantity: *quantity, value: *value }),
                }
                goods -= quantity;
                worth -= value;
            }
        }
        self.put(goods, worth);
        self.layers.sort_by_key(|layer| layer.from);
        self.last_cost = Some((value, -original.quantity));
    }
}
