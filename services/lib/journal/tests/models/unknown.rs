//! Commits whose outcome is unknown.
//!
//! Two processes write to one aggregate. Two people want one posting each; who is told that it failed asks for a
//! new one, who is told nothing asks again under the same key, at either process.

use stateright::{Model, Property};

use super::{breaks, holds};

/// What a writer does when it does not know what became of its commit.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// The same commit again, until the sequence has moved.
    Pursue,
    /// Tells the caller that it failed.
    Fail,
    /// Reads; what does not show is taken for aborted.
    BelieveARead,
}

const PEOPLE: usize = 2;
const WRITERS: usize = 2;
/// Commits that are ever made, and operations of one person under different keys.
const ATTEMPTS_MAX: u8 = 4;
const KEYS_MAX: u8 = 2;

/// Key of an operation: who wants it, which try.
type Key = (u8, u8);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Commit {
    attempt: u8,
    expect: u8,
    key: Key,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Writer {
    Idle,
    /// Has read the head; looks for the key next.
    Read {
        key: Key,
        expect: u8,
    },
    /// Its commit is on its way.
    Sent(Commit),
    /// It heard that the aggregate had moved; whose the entry is that it expected to write, it reads next.
    Moved(Commit),
    Unknown(Commit),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Person {
    /// Wants it, under the try of this number.
    Wants(u8),
    /// Waits for the answer of a writer.
    Waits(u8, u8),
    Told,
    ToldFailed,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    log: Vec<Commit>,
    /// Commits that may still arrive.
    air: Vec<Commit>,
    writers: [Writer; WRITERS],
    people: [Person; PEOPLE],
    attempts: u8,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Ask {
        person: usize,
        writer: usize,
    },
    LookForKey(usize),
    /// A commit arrives, and the answer reaches its writer.
    Arrives(usize),
    /// A commit arrives, and its answer is lost.
    ArrivesUnheard(usize),
    Lost(usize),
    TimesOut(usize),
    Again(usize),
    Looks(usize),
    Dies(usize),
    GivesUp(usize),
}

struct Commits {
    rule: Rule,
}

impl World {
    fn committed(&self, key: Key) -> bool {
        self.log.iter().any(|entry| entry.key == key)
    }

    /// The person that waits for this writer hears.
    fn tell(&mut self, writer: usize, told: Person) {
        for person in &mut self.people {
            if matches!(person, Person::Waits(_, at) if usize::from(*at) == writer) {
                *person = told;
            }
        }
    }

    /// The person that waits for this writer hears nothing, and may ask again.
    fn leave(&mut self, writer: usize) {
        for person in &mut self.people {
            if let Person::Waits(tries, at) = *person
                && usize::from(at) == writer
            {
                *person = Person::Wants(tries);
            }
        }
        self.writers[writer] = Writer::Idle;
    }

    /// Applies a commit if it still can be.
    fn apply(&mut self, commit: Commit) -> bool {
        let applies = usize::from(commit.expect) == self.log.len();
        if applies {
            self.log.push(commit);
        }
        applies
    }

    fn send(&mut self, writer: usize, commit: Commit) {
        self.air.push(commit);
        self.air.sort_unstable();
        self.writers[writer] = Writer::Sent(commit);
    }
}

impl Model for Commits {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            log: vec![],
            air: vec![],
            writers: [Writer::Idle; WRITERS],
            people: [Person::Wants(0); PEOPLE],
            attempts: 0,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for (person, state) in world.people.iter().enumerate() {
            for (writer, free) in world.writers.iter().enumerate() {
                if matches!(state, Person::Wants(_)) && *free == Writer::Idle {
                    steps.push(Step::Ask { person, writer });
                }
            }
        }
        for at in 0..world.air.len() {
            steps.extend([Step::Arrives(at), Step::ArrivesUnheard(at), Step::Lost(at)]);
        }
        for (writer, state) in world.writers.iter().enumerate() {
            match state {
                Writer::Idle => continue,
                Writer::Read { .. } => {
                    if world.attempts < ATTEMPTS_MAX {
                        steps.push(Step::LookForKey(writer));
                    }
                }
                Writer::Sent(_) => steps.push(Step::TimesOut(writer)),
                Writer::Moved(_) => steps.push(Step::Looks(writer)),
                Writer::Unknown(commit) => match self.rule {
                    Rule::Pursue => {
                        // The same message twice in the air is the same as once: it applies once at most.
                        if !world.air.contains(commit) {
                            steps.push(Step::Again(writer));
                        }
                        steps.push(Step::GivesUp(writer));
                    }
                    Rule::Fail => steps.push(Step::GivesUp(writer)),
                    Rule::BelieveARead => steps.push(Step::Looks(writer)),
                },
            }
            steps.push(Step::Dies(writer));
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Ask { person, writer } => {
                let Person::Wants(tries) = world.people[person] else { return None };
                world.people[person] = Person::Waits(tries, writer as u8);
                let (key, expect) = ((person as u8, tries), world.log.len() as u8);
                world.writers[writer] = Writer::Read { key, expect };
            }
            Step::LookForKey(writer) => {
                let Writer::Read { key, expect } = world.writers[writer] else { return None };
                if world.committed(key) {
                    world.tell(writer, Person::Told);
                    world.writers[writer] = Writer::Idle;
                } else {
                    let commit = Commit { attempt: world.attempts, expect, key };
                    world.attempts += 1;
                    world.send(writer, commit);
                }
            }
            Step::Arrives(at) => {
                let commit = world.air.remove(at);
                let applied = world.apply(commit);
                let waits = |writer: &Writer| *writer == Writer::Sent(commit);
                let writer = world.writers.iter().position(waits)?;
                if applied {
                    world.tell(writer, Person::Told);
                    world.writers[writer] = Writer::Idle;
                } else {
                    world.writers[writer] = Writer::Moved(commit);
                }
            }
            Step::ArrivesUnheard(at) => {
                let commit = world.air.remove(at);
                world.apply(commit);
            }
            Step::Lost(at) => _ = world.air.remove(at),
            Step::TimesOut(writer) => {
                let Writer::Sent(commit) = world.writers[writer] else { return None };
                world.writers[writer] = Writer::Unknown(commit);
            }
            Step::Again(writer) => {
                let Writer::Unknown(commit) = world.writers[writer] else { return None };
                world.send(writer, commit);
            }
            Step::Looks(writer) => match world.writers[writer] {
                Writer::Moved(commit) => {
                    if world
                        .log
                        .get(usize::from(commit.expect))
                        .is_some_and(|entry| entry.attempt == commit.attempt)
                    {
                        world.tell(writer, Person::Told);
                        world.writers[writer] = Writer::Idle;
                    } else {
                        // Another's: decide again, on what is there now.
                        let expect = world.log.len() as u8;
                        world.writers[writer] = Writer::Read { key: commit.key, expect };
                    }
                }
                Writer::Unknown(commit) => {
                    let told = if world.committed(commit.key) { Person::Told } else { Person::ToldFailed };
                    world.told(writer, commit.key, told);
                }
                _ => return None,
            },
            Step::Dies(writer) => world.leave(writer),
            Step::GivesUp(writer) => {
                let Writer::Unknown(commit) = world.writers[writer] else { return None };
                match self.rule {
                    Rule::Fail => world.told(writer, commit.key, Person::ToldFailed),
                    _ => world.leave(writer),
                }
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what one person wants is posted once", |_: &Self, world: &World| {
                (0..PEOPLE)
                    .all(|who| world.log.iter().filter(|entry| usize::from(entry.key.0) == who).count() <= 1)
            }),
            Property::always("who was told finds it", |_: &Self, world: &World| {
                let posted = |who: usize| world.log.iter().any(|entry| usize::from(entry.key.0) == who);
                world.people.iter().enumerate().all(|(who, person)| *person != Person::Told || posted(who))
            }),
            Property::always("what failed did not happen", |_: &Self, world: &World| {
                let posted = |who: usize| world.log.iter().any(|entry| usize::from(entry.key.0) == who);
                world
                    .people
                    .iter()
                    .enumerate()
                    .all(|(who, person)| *person != Person::ToldFailed || !posted(who))
            }),
            Property::sometimes("everybody has what they want", |_: &Self, world: &World| {
                world.people.iter().all(|person| *person == Person::Told)
            }),
            Property::sometimes("a commit arrives after its writer has died", |_: &Self, world: &World| {
                world.log.len() == 1
                    && world.writers == [Writer::Idle; 2]
                    && world.people[0] == Person::Wants(0)
                    && world.people[1] == Person::Wants(0)
            }),
        ]
    }
}

impl World {
    /// A definite word; who is told of a failure tries anew, under another key.
    fn told(&mut self, writer: usize, key: Key, told: Person) {
        let anew = told == Person::ToldFailed && key.1 + 1 < KEYS_MAX;
        self.tell(writer, if anew { Person::Wants(key.1 + 1) } else { told });
        self.writers[writer] = Writer::Idle;
    }
}

/// INV-1.
#[test]
fn an_unknown_outcome_that_is_pursued_posts_once() {
    holds(Commits { rule: Rule::Pursue });
}

#[test]
fn a_failure_reported_from_an_unknown_outcome_posts_twice() {
    breaks(Commits { rule: Rule::Fail }, "what one person wants is posted once");
    breaks(Commits { rule: Rule::Fail }, "what failed did not happen");
}

#[test]
fn a_read_that_does_not_show_a_commit_proves_nothing() {
    breaks(Commits { rule: Rule::BelieveARead }, "what one person wants is posted once");
}
