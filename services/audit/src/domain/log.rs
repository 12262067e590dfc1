//! The log of a tenant: which entries of which journals are leaves of its tree, in which order.
//!
//! Entries are taken in stretches, neighbours of one aggregate. A stretch is taken only if it begins where the
//! cursor of its aggregate is, and the cursor is written with the leaves: an entry is a leaf exactly once,
//! whoever repeats what.

use std::collections::{BTreeMap, BTreeSet};

use calendar::Instant;
use events::Cursor;
use ids::AggregateId;
use journal::{Chain, Seq};

use crate::domain::leaf::{Leaf, Salt};
use crate::domain::merkle::{Hash, Node, Peaks, leaf_hash};
use crate::domain::summary::{Facts, Summary};
use crate::domain::tile::{HEIGHT, WIDTH};

/// Whose entries.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Subject {
    /// The service that keeps the journal.
    pub service: String,
    /// The aggregate.
    pub aggregate: AggregateId,
}

/// An entry that becomes a leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// When it was recorded.
    pub recorded_at: Instant,
    /// See [`crate::domain::leaf::commitment`].
    pub commitment: [u8; 32],
    /// What the commitment is salted with.
    pub salt: Salt,
    /// The journal's hash over the entries up to this one.
    pub chain: Chain,
    /// What it is about.
    pub facts: Facts,
}

/// Neighbouring entries of one aggregate that become leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Whose.
    pub subject: Subject,
    /// Which kind of aggregate.
    pub kind: u8,
    /// Where its cursor must be.
    pub from: Cursor,
    /// Where its cursor is afterwards. Without entries the stretch only parks or unparks.
    pub to: Cursor,
    /// The entries between.
    pub items: Vec<Item>,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Makes entries of different aggregates leaves, all or none.
    Append(Vec<Stretch>),
    /// Notes how far the bus of a service was heard.
    Hear {
        /// The service.
        service: String,
        /// The position.
        position: u64,
    },
    /// Keeps a signed checkpoint of the tree as it was with so many leaves.
    Keep {
        /// Its leaves.
        size: u64,
        /// The signed note.
        note: String,
    },
}

/// Neighbouring entries of one aggregate that are leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Whose.
    pub subject: Subject,
    /// Which kind of aggregate.
    pub kind: u8,
    /// Sequence of the first one.
    pub first: Seq,
    /// When each was recorded, and its commitment.
    pub items: Vec<(Instant, [u8; 32])>,
    /// The journal's hash over the entries up to the last one.
    pub chain: Chain,
}

impl Run {
    /// The leaves, in order.
    pub fn leaves(&self) -> impl Iterator<Item = Leaf> {
        (self.first..).zip(&self.items).map(|(seq, (recorded_at, commitment))| Leaf {
            service: self.subject.service.clone(),
            kind: self.kind,
            aggregate: self.subject.aggregate,
            seq,
            recorded_at: *recorded_at,
            commitment: *commitment,
        })
    }
}

/// What is written beside an entry and not in it: it can be erased, or made anew.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beside {
    /// The salt of each leaf.
    pub salts: Vec<Salt>,
    /// What is in the bundle up to these leaves.
    pub summary: Summary,
}

/// Leaves of one bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Number of the first one, from 0.
    pub first: u64,
    /// What they are.
    pub runs: Vec<Run>,
    /// Only when the leaves are new; what is read has none.
    pub beside: Option<Beside>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Leaves were added.
    Appended(Appended),
    /// An aggregate waits for a person, or does not any more.
    Parked {
        /// Which.
        subject: Subject,
        /// Where it is.
        cursor: Cursor,
    },
    /// The bus of a service was heard so far.
    Heard {
        /// The service.
        service: String,
        /// The position.
        position: u64,
    },
    /// A checkpoint was signed.
    Signed {
        /// Its leaves.
        size: u64,
        /// The signed note.
        note: String,
    },
}

/// A cursor is not where a stretch begins: somebody else was faster, or an earlier try was written after all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a cursor has moved")]
pub struct Moved;

/// The log of one tenant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Log {
    /// The tree.
    pub peaks: Peaks,
    /// The entry of the log that began the bundle that is not full.
    pub bundle_entry: Seq,
    /// Leaves of the last checkpoint.
    pub signed: u64,
    /// Cursors that were loaded or have moved.
    pub(crate) cursors: BTreeMap<Subject, Cursor>,
    /// Cursors that have moved since they were saved.
    pub(crate) moved: BTreeSet<Subject>,
    /// Positions that were noted since they were saved.
    pub(crate) heard: BTreeMap<String, u64>,
    /// Hashes of tiles above the leaves' that came since they were saved: level, place, hash.
    pub(crate) hashes: Vec<(u8, u64, Hash)>,
    /// What is in the bundle that is not full, if it was loaded.
    pub(crate) summary: Option<Summary>,
}

impl Log {
    /// How many leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.peaks.size()
    }

    /// Decides what happens. Pure: `self` is unchanged; the cursors of the command and the summary are loaded.
    ///
    /// # Errors
    /// [`Moved`] when a stretch does not begin at its cursor; nothing happens then.
    pub fn decide(&self, command: &Command) -> Result<Vec<Event>, Moved> {
        match command {
            Command::Append(stretches) => self.append(stretches),
            Command::Hear { service, position } => {
                Ok(vec![Event::Heard { service: service.clone(), position: *position }])
            }
            Command::Keep { size, .. } if *size <= self.signed && self.signed != 0 => Ok(vec![]),
            Command::Keep { size, note } => Ok(vec![Event::Signed { size: *size, note: note.clone() }]),
        }
    }

    fn append(&self, stretches: &[Stretch]) -> Result<Vec<Event>, Moved> {
        let mut building = Building::after(self.size(), self.summary.clone().unwrap_or_default());
        let mut seen = BTreeSet::new();
        let mut parked = Vec::new();
        for stretch in stretches {
            let stored = self.cursors.get(&stretch.subject).cloned().unwrap_or_default();
            assert!(seen.insert(&stretch.subject), "an aggregate stands once in a command");
            assert_eq!(stretch.from.seq + stretch.items.len() as Seq, stretch.to.seq, "no entry is left out");
            if stored != stretch.from {
                return Err(Moved);
            }
            for (seq, item) in (stretch.from.seq + 1..).zip(&stretch.items) {
                building.add(stretch, seq, item);
            }
            if stretch.to.parked.is_some() || stretch.from.parked.is_some() {
                let (subject, cursor) = (stretch.subject.clone(), stretch.to.clone());
                parked.push(Event::Parked { subject, cursor });
            }
        }
        let mut events = building.finish();
        events.extend(parked);
        Ok(events)
    }

    /// Changes the state as the event says. Cannot fail.
    pub fn evolve(&mut self, event: &Event, seq: Seq) {
        match event {
            Event::Signed { size, .. } => self.signed = *size,
            Event::Heard { service, position } => drop(self.heard.insert(service.clone(), *position)),
            Event::Parked { subject, cursor } => self.move_to(subject, cursor.clone()),
            Event::Appended(appended) => {
                if appended.first.is_multiple_of(WIDTH) {
                    self.bundle_entry = seq;
                }
                for run in &appended.runs {
                    self.take(run);
                }
                self.summary = appended.beside.as_ref().map(|beside| beside.summary.clone());
            }
        }
    }

    fn take(&mut self, run: &Run) {
        let hashes = &mut self.hashes;
        for leaf in run.leaves() {
            self.peaks.push(leaf_hash(&leaf.encode()), |node: Node, hash| {
                if 0 < node.height && node.height.is_multiple_of(HEIGHT) {
                    hashes.push((node.height / HEIGHT, node.index, hash));
                }
            });
        }
        let seq = run.first + run.items.len() as Seq - 1;
        self.move_to(&run.subject, Cursor { seq, chain: run.chain, parked: None });
    }

    fn move_to(&mut self, subject: &Subject, cursor: Cursor) {
        self.cursors.insert(subject.clone(), cursor);
        self.moved.insert(subject.clone());
    }
}

/// Events in the making: one for each bundle that gets leaves.
struct Building {
    first: u64,
    next: u64,
    summary: Summary,
    salts: Vec<Salt>,
    runs: Vec<Run>,
    done: Vec<Event>,
}

impl Building {
    fn after(size: u64, summary: Summary) -> Building {
        let summary = if size.is_multiple_of(WIDTH) { Summary::default() } else { summary };
        Building { first: size, next: size, summary, salts: vec![], runs: vec![], done: vec![] }
    }

    fn add(&mut self, stretch: &Stretch, seq: Seq, item: &Item) {
        if self.runs.last().is_none_or(|run| run.subject != stretch.subject) {
            let (subject, kind) = (stretch.subject.clone(), stretch.kind);
            self.runs.push(Run { subject, kind, first: seq, items: vec![], chain: Chain::default() });
        }
        let run = self.runs.last_mut().expect("a run was put there");
        run.items.push((item.recorded_at, item.commitment));
        run.chain = item.chain;
        self.salts.push(item.salt);
        self.summary.add(&item.facts, item.recorded_at);
        self.next += 1;
        if self.next.is_multiple_of(WIDTH) {
            self.close();
            self.summary = Summary::default();
        }
    }

    fn close(&mut self) {
        if self.first < self.next {
            let salts = std::mem::take(&mut self.salts);
            let beside = Some(Beside { salts, summary: self.summary.clone() });
            let runs = std::mem::take(&mut self.runs);
            self.done.push(Event::Appended(Appended { first: self.first, runs, beside }));
            self.first = self.next;
        }
    }

    fn finish(mut self) -> Vec<Event> {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject(number: u8) -> Subject {
        Subject { service: "stock".to_owned(), aggregate: AggregateId::from_bytes([number; 16]) }
    }

    fn chain(seq: Seq) -> Chain {
        Chain([u8::try_from(seq % 249).unwrap(); 32])
    }

    fn cursor(seq: Seq) -> Cursor {
        Cursor { seq, chain: if seq == 0 { Chain::default() } else { chain(seq) }, parked: None }
    }

    fn stretch(number: u8, after: Seq, count: u64) -> Stretch {
        let items = (after + 1..=after + count).map(|seq| Item {
            recorded_at: Instant::from_unix_micros(i64::try_from(seq).unwrap()),
            commitment: [u8::try_from(seq % 251).unwrap(); 32],
            salt: [number; 16],
            chain: chain(seq),
            facts: Facts {
                actor: format!("key_{number}"),
                action: "a.b".into(),
                resource: format!("var_{number}"),
            },
        });
        let (from, to) = (cursor(after), cursor(after + count));
        Stretch { subject: subject(number), kind: 2, from, to, items: items.collect() }
    }

    fn apply(log: &mut Log, seq: &mut Seq, stretches: Vec<Stretch>) -> Result<Vec<Event>, Moved> {
        let events = log.decide(&Command::Append(stretches))?;
        for event in &events {
            *seq += 1;
            log.evolve(event, *seq);
        }
        Ok(events)
    }

    #[test]
    fn an_entry_is_a_leaf_once_and_none_is_left_out() {
        let (mut log, mut seq) = (Log::default(), 0);
        assert_eq!(apply(&mut log, &mut seq, vec![stretch(1, 0, 3)]).unwrap().len(), 1);
        let before = log.clone();
        // Again, the middle of it, something behind a gap: and not the other aggregate's either.
        for wrong in [stretch(1, 0, 3), stretch(1, 1, 1), stretch(1, 4, 1)] {
            assert_eq!(apply(&mut log, &mut seq, vec![stretch(2, 0, 1), wrong]), Err(Moved));
            assert_eq!(log, before);
        }
        assert_eq!(apply(&mut log, &mut seq, vec![stretch(2, 0, 1), stretch(1, 3, 3)]).unwrap().len(), 1);
        assert_eq!(log.size(), 7);
        assert_eq!((&log.cursors[&subject(1)], &log.cursors[&subject(2)]), (&cursor(6), &cursor(1)));
        // Another history of the same length is not continued.
        let mut other = stretch(1, 6, 1);
        other.from.chain.0[0] ^= 1;
        assert_eq!(apply(&mut log, &mut seq, vec![other]), Err(Moved));
    }

    #[test]
    fn an_event_stays_within_its_bundle() {
        let (mut log, mut seq) = (Log::default(), 0);
        apply(&mut log, &mut seq, vec![stretch(1, 0, 200)]).unwrap();
        let events = apply(&mut log, &mut seq, vec![stretch(2, 0, 400), stretch(1, 200, 20)]).unwrap();
        let found: Vec<_> = events
            .iter()
            .map(|event| {
                let Event::Appended(appended) = event else { panic!("nothing else happened") };
                let beside = appended.beside.as_ref().unwrap();
                let leaves: usize = appended.runs.iter().map(|run| run.items.len()).sum();
                assert_eq!(beside.salts.len(), leaves);
                (appended.first, leaves, beside.summary.actors.len())
            })
            .collect();
        assert_eq!(found, [(200, 56, 2), (256, 256, 1), (512, 108, 2)]);
        assert_eq!((log.size(), log.bundle_entry), (620, 4));
        assert_eq!(
            log.hashes.iter().map(|(level, at, _)| (*level, *at)).collect::<Vec<_>>(),
            [(1, 0), (1, 1)]
        );
    }

    #[test]
    fn checkpoints_are_kept_once_each() {
        let (mut log, note) = (Log::default(), "note".to_owned());
        let keep = |size| Command::Keep { size, note: note.clone() };
        for event in log.decide(&keep(0)).unwrap() {
            log.evolve(&event, 1);
        }
        assert_eq!(log.decide(&keep(7)).unwrap().len(), 1);
        log.signed = 7;
        assert_eq!(log.decide(&keep(7)), Ok(vec![]));
        assert_eq!(log.decide(&keep(6)), Ok(vec![]));
    }

    #[test]
    fn an_aggregate_waits_until_it_is_unparked() {
        let (mut log, mut seq) = (Log::default(), 0);
        let parking = Some(events::Parking { seq: 3, reason: "why".to_owned() });
        let mut parks = stretch(1, 0, 2);
        parks.to.parked.clone_from(&parking);
        assert_eq!(apply(&mut log, &mut seq, vec![parks]).unwrap().len(), 2);
        assert_eq!(log.cursors[&subject(1)], Cursor { parked: parking.clone(), ..cursor(2) });
        assert_eq!(apply(&mut log, &mut seq, vec![stretch(1, 2, 1)]), Err(Moved));
        let from = Cursor { parked: parking, ..cursor(2) };
        let unparks = Stretch { from, to: cursor(2), items: vec![], ..stretch(1, 2, 0) };
        apply(&mut log, &mut seq, vec![unparks]).unwrap();
        apply(&mut log, &mut seq, vec![stretch(1, 2, 1)]).unwrap();
        assert_eq!(log.size(), 3);
    }

    proptest! {
        /// INV-7: however the entries of some aggregates are cut into stretches, repeated and interleaved, each
        /// becomes a leaf once, in the order of its aggregate, and the tree is that of the leaves.
        #[test]
        fn any_way_of_taking_entries_makes_each_a_leaf_once(
            takes in proptest::collection::vec(
                proptest::collection::btree_map(0..4_u8, (0..8_u64, 1..200_u64), 1..4), 1..20),
        ) {
            let (mut log, mut seq, mut leaves) = (Log::default(), 0, Vec::new());
            let mut expected = [0_u64; 4];
            for take in takes {
                // Most stretches begin where they should, some are late.
                let stretches: Vec<_> = take.iter().map(|(number, (back, count))| {
                    let back = if *back < 6 { 0 } else { back - 5 };
                    stretch(*number, expected[usize::from(*number)].saturating_sub(back), *count)
                }).collect();
                let right = stretches.iter().all(|stretch| {
                    stretch.from.seq == expected[usize::from(stretch.subject.aggregate.as_bytes()[0])]
                });
                let applied = apply(&mut log, &mut seq, stretches);
                prop_assert_eq!(applied.is_ok(), right);
                let Ok(events) = applied else { continue };
                for (number, (_, count)) in take {
                    expected[usize::from(number)] += count;
                }
                for event in events {
                    let Event::Appended(appended) = event else { panic!("nothing else happened") };
                    prop_assert_eq!(appended.first, leaves.len() as u64);
                    leaves.extend(appended.runs.iter().flat_map(Run::leaves));
                    prop_assert_eq!(appended.first / WIDTH, (leaves.len() as u64 - 1) / WIDTH);
                }
            }
            let mut seen = [0_u64; 4];
            let mut peaks = Peaks::default();
            for leaf in &leaves {
                let last = &mut seen[usize::from(leaf.aggregate.as_bytes()[0])];
                *last += 1;
                prop_assert_eq!(leaf.seq, *last);
                peaks.push(leaf_hash(&leaf.encode()), |_, _| {});
            }
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(&log.peaks, &peaks);
        }
    }
}
