//! An item that documents take from and put to.

use std::collections::BTreeMap;

use bytes::Bytes;
use calendar::Instant;
use journal::document::{self, Hold, HoldId, Known, Lines, PENDING_PREFIX, SETTLED_PREFIX, Settled, Todo};
use journal::{Aggregate, Changes, Damage, Need, Seq};

/// What is on a shelf. Holds keep back what they will take.
#[derive(Default, Debug, Clone)]
pub(super) struct Shelf {
    pub(super) on_hand: i64,
    /// What pending holds take, as a number that is not negative.
    pub(super) kept: i64,
    known: BTreeMap<HoldId, Known>,
    changed: Vec<(Bytes, Option<Bytes>)>,
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Put(i64),
    Hold(Hold),
    Post(Hold),
    Void(Hold),
    /// A void that leaves nothing behind when it finds no hold: wrong.
    ForgetfulVoid(Hold),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Put(i64),
    Held(Hold),
    Posted(Hold),
    Voided(Hold),
    /// Voided before it came.
    Barred(Hold),
}

/// The change that a line makes.
pub(super) fn what(change: i64) -> Bytes {
    Bytes::copy_from_slice(&change.to_be_bytes())
}

fn change(hold: &Hold) -> i64 {
    i64::from_be_bytes(hold.what.as_ref().try_into().expect("eight bytes"))
}

impl Aggregate for Shelf {
    type Command = Command;
    type Event = Event;
    type Error = String;

    const KIND: u8 = 11;
    const FORMAT: u8 = 1;

    fn needs(&self, command: &Command) -> Vec<Need> {
        match command {
            Command::Put(_) => vec![],
            Command::Hold(hold)
            | Command::Post(hold)
            | Command::Void(hold)
            | Command::ForgetfulVoid(hold) => match self.known.contains_key(&hold.id) {
                true => vec![],
                false => document::rows(hold.id).to_vec(),
            },
        }
    }

    fn load(&mut self, need: &Need, value: Option<&[u8]>) -> Result<(), Damage> {
        let Need::Row(key) = need else { return Ok(()) };
        let (prefix, id) = key.split_at(PENDING_PREFIX.len());
        let known = self.known.entry(HoldId(id.try_into().expect("an id"))).or_default();
        if prefix == PENDING_PREFIX {
            known.pending = value.is_some();
        } else {
            assert_eq!(prefix, SETTLED_PREFIX);
            known.settled = value.map(Settled::decode).transpose()?;
        }
        Ok(())
    }

    fn decide(&self, command: &Command, _: Instant) -> Result<Vec<Event>, String> {
        let known = |hold: &Hold| self.known.get(&hold.id).copied().unwrap_or_default();
        let (todo, event) = match command {
            Command::Put(amount) => (Todo::Now, Event::Put(*amount)),
            Command::Hold(hold) => {
                let todo = document::hold(known(hold));
                if todo == Todo::Now && self.on_hand - self.kept + change(hold).min(0) < 0 {
                    return Err("there is not enough".into());
                }
                (todo, Event::Held(hold.clone()))
            }
            Command::Post(hold) => (document::post(known(hold)), Event::Posted(hold.clone())),
            Command::ForgetfulVoid(hold) if !known(hold).pending => return Ok(vec![]),
            Command::Void(hold) | Command::ForgetfulVoid(hold) => {
                let event = if known(hold).pending { Event::Voided } else { Event::Barred };
                (document::void(known(hold)), event(hold.clone()))
            }
        };
        match todo {
            Todo::Now => Ok(vec![event]),
            Todo::Nothing => Ok(vec![]),
            Todo::Refuse => Err("it comes too late".into()),
        }
    }

    fn evolve(&mut self, event: &Event, _: Seq, _: Instant) {
        let (hold, settled) = match event {
            Event::Put(amount) => {
                self.on_hand += amount;
                return;
            }
            Event::Held(hold) => {
                self.kept -= change(hold).min(0);
                (hold, None)
            }
            Event::Posted(hold) => {
                self.kept += change(hold).min(0);
                self.on_hand += change(hold);
                (hold, Some(Settled::Posted))
            }
            Event::Voided(hold) => {
                self.kept += change(hold).min(0);
                (hold, Some(Settled::Voided))
            }
            Event::Barred(hold) => (hold, Some(Settled::Voided)),
        };
        self.known.insert(hold.id, Known { pending: settled.is_none(), settled });
        let pending = settled.is_none().then(|| hold.encode());
        self.changed.push((document::pending_row(hold.id), pending));
        if let Some(settled) = settled {
            self.changed.push((document::settled_row(hold.id), Some(settled.encode())));
        }
    }

    fn project(&self, _: &Event, _: Seq, _: &mut Changes) {}

    fn save(&mut self, changes: &mut Changes) {
        // The last change of a row wins, also where they are compared without a store.
        let last: BTreeMap<_, _> = self.changed.drain(..).collect();
        changes.rows.extend(last);
    }

    fn header(&self) -> Bytes {
        [self.on_hand.to_be_bytes(), self.kept.to_be_bytes()].concat().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let number = |at: usize| header[at..at + 8].try_into().map(i64::from_be_bytes);
        let damage = |_| Damage("header".into());
        let (on_hand, kept) = (number(0).map_err(damage)?, number(8).map_err(damage)?);
        Ok(Shelf { on_hand, kept, ..Shelf::default() })
    }

    fn encode(event: &Event) -> Bytes {
        let (tag, hold) = match event {
            Event::Put(amount) => return [&[0][..], &amount.to_be_bytes()].concat().into(),
            Event::Held(hold) => (1, hold),
            Event::Posted(hold) => (2, hold),
            Event::Voided(hold) => (3, hold),
            Event::Barred(hold) => (4, hold),
        };
        [&[tag][..], &hold.id.0, &hold.encode()].concat().into()
    }

    fn decode(bytes: &[u8]) -> Result<Event, Damage> {
        let (tag, rest) = bytes.split_first().ok_or_else(|| Damage("event".into()))?;
        if *tag == 0 {
            let amount = rest.try_into().map_err(|_| Damage("event".into()))?;
            return Ok(Event::Put(i64::from_be_bytes(amount)));
        }
        let (id, value) = rest.split_at(16);
        let hold = Hold::decode(&[PENDING_PREFIX, id].concat(), value)?;
        let event = [Event::Held, Event::Posted, Event::Voided, Event::Barred];
        Ok(event[usize::from(*tag) - 1](hold))
    }
}

/// Lines that change what is on shelves.
#[derive(Clone, Copy, Default)]
pub(super) struct Moves {
    /// Voids are forgetful.
    pub(super) forgetful: bool,
}

impl Lines for Moves {
    type Item = Shelf;

    fn hold(&self, hold: &Hold) -> Result<Command, Damage> {
        Ok(Command::Hold(hold.clone()))
    }

    fn post(&self, hold: &Hold) -> Result<Command, Damage> {
        Ok(Command::Post(hold.clone()))
    }

    fn void(&self, hold: &Hold) -> Result<Command, Damage> {
        Ok(if self.forgetful { Command::ForgetfulVoid(hold.clone()) } else { Command::Void(hold.clone()) })
    }

    fn reason(&self, error: &String) -> String {
        error.clone()
    }
}
