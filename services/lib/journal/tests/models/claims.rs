//! A value that only one aggregate may have, on a store that writes one aggregate at a time.
//!
//! An aggregate asks for the value in a row of its own, then commits an entry that lists it. Another one that wants
//! it fences the owner at the bucket for which it asked, reads whether its journal lists the value, and takes the
//! row over if it does not.

use stateright::{Model, Property};

use super::{breaks, holds};

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Fence,
    /// Whoever has waited long enough takes the row.
    ByTime,
    /// An owner that was fenced commits again in a later bucket, without asking again.
    NoAskingAgain,
}

const BUCKETS: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Row {
    owner: u8,
    bucket: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Commit {
    who: u8,
    bucket: u8,
    expect: u8,
    /// Takes the value, or gives it back.
    takes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Wants,
    /// Has seen this row.
    Saw(Option<Row>),
    /// Has fenced the owner of this row.
    Fenced(Row),
    /// Has read that the journal of the owner does not list the value.
    Free(Row),
    /// The row is its own.
    Asked,
    Sent(Commit),
    Owns,
    /// Another one has it.
    Refused,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    row: Option<Row>,
    lists: [bool; 2],
    seq: [u8; 2],
    fence: [u8; 2],
    bucket: [u8; 2],
    air: Vec<Commit>,
    phase: [Phase; 2],
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Goes(usize),
    Releases(usize),
    /// It was restarted, or has waited for too long: from the beginning, in a later bucket.
    Restarts(usize),
    Arrives(usize),
    ArrivesUnheard(usize),
    Lost(usize),
}

struct Claims {
    rule: Rule,
}

impl World {
    fn send(&mut self, who: usize, takes: bool) {
        let commit = Commit { who: who as u8, bucket: self.bucket[who], expect: self.seq[who], takes };
        self.air.push(commit);
        self.air.sort_unstable();
        self.phase[who] = Phase::Sent(commit);
    }

    fn apply(&mut self, commit: Commit) -> bool {
        let who = usize::from(commit.who);
        let applies = self.seq[who] == commit.expect && self.fence[who] < commit.bucket;
        if applies {
            self.seq[who] += 1;
            self.lists[who] = commit.takes;
        }
        applies
    }

    /// Writes the row if it is still the one that was seen.
    fn swap(&mut self, who: usize, seen: Option<Row>) {
        if self.row == seen {
            self.row = Some(Row { owner: who as u8, bucket: self.bucket[who] });
            self.phase[who] = Phase::Asked;
        } else {
            self.phase[who] = Phase::Wants;
        }
    }
}

impl Model for Claims {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            row: None,
            lists: [false; 2],
            seq: [0; 2],
            fence: [0; 2],
            bucket: [1; 2],
            air: vec![],
            phase: [Phase::Wants; 2],
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for (who, phase) in world.phase.iter().enumerate() {
            match phase {
                Phase::Owns => {
                    if world.seq[who] < 2 {
                        steps.push(Step::Releases(who));
                    }
                }
                Phase::Refused => {}
                _ => steps.push(Step::Goes(who)),
            }
            if world.bucket[who] < BUCKETS && *phase != Phase::Owns {
                steps.push(Step::Restarts(who));
            }
        }
        for at in 0..world.air.len() {
            steps.extend([Step::Arrives(at), Step::ArrivesUnheard(at), Step::Lost(at)]);
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Goes(who) => {
                let other = 1 - who;
                match world.phase[who] {
                    Phase::Wants if world.lists[who] => world.phase[who] = Phase::Owns,
                    Phase::Wants => world.phase[who] = Phase::Saw(world.row),
                    Phase::Saw(Some(row)) if usize::from(row.owner) != who => {
                        if self.rule != Rule::ByTime {
                            world.fence[other] = world.fence[other].max(row.bucket);
                        }
                        world.phase[who] = Phase::Fenced(row);
                    }
                    Phase::Saw(row) => world.swap(who, row),
                    Phase::Fenced(_) if world.lists[other] => world.phase[who] = Phase::Refused,
                    Phase::Fenced(row) => world.phase[who] = Phase::Free(row),
                    Phase::Free(row) => world.swap(who, Some(row)),
                    Phase::Asked => world.send(who, true),
                    // The outcome is unknown: the same once more.
                    Phase::Sent(commit) if !world.air.contains(&commit) => {
                        world.air.push(commit);
                        world.air.sort_unstable();
                    }
                    Phase::Sent(_) | Phase::Owns | Phase::Refused => return None,
                }
            }
            Step::Releases(who) => world.send(who, false),
            Step::Restarts(who) => {
                world.bucket[who] += 1;
                world.phase[who] = Phase::Wants;
            }
            Step::Arrives(at) => {
                let commit = world.air.remove(at);
                let who = usize::from(commit.who);
                let applied = world.apply(commit);
                if world.phase[who] == Phase::Sent(commit) {
                    let moved = world.seq[who] > commit.expect;
                    world.phase[who] = match (applied, commit.takes) {
                        (true, true) => Phase::Owns,
                        (true, false) => Phase::Refused,
                        // Its own, or another's: that is read.
                        (false, _) if moved => Phase::Wants,
                        // It was fenced.
                        (false, _) if world.bucket[who] == BUCKETS => Phase::Refused,
                        (false, _) => {
                            world.bucket[who] += 1;
                            if self.rule == Rule::NoAskingAgain { Phase::Asked } else { Phase::Wants }
                        }
                    };
                }
            }
            Step::ArrivesUnheard(at) => {
                let commit = world.air.remove(at);
                world.apply(commit);
            }
            Step::Lost(at) => _ = world.air.remove(at),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE, |_: &Self, world: &World| world.lists != [true; 2]),
            Property::sometimes("a value is stolen", |_: &Self, world: &World| {
                world.lists[1] && world.fence[0] > 0 && world.seq[0] == 0
            }),
            Property::sometimes("a value changes hands", |_: &Self, world: &World| {
                world.lists[1] && world.seq[0] == 2
            }),
        ]
    }
}

const ONE: &str = "a value is listed by one";

#[test]
fn a_value_has_one_owner() {
    holds(Claims { rule: Rule::Fence });
}

#[test]
fn a_value_that_is_stolen_by_time_has_two_owners() {
    breaks(Claims { rule: Rule::ByTime }, ONE);
}

#[test]
fn an_owner_that_does_not_ask_again_is_one_of_two() {
    breaks(Claims { rule: Rule::NoAskingAgain }, ONE);
}
