//! Mark, close, fence, adopt: a process that is silent may be dead or paused, and nobody can tell.
//!
//! One aggregate. Its owner marks it in a bucket, commits in that bucket, publishes what it committed. An adopter
//! takes over at any moment, without a clock: it closes the buckets, fences what is marked, publishes the rest.
//! When it is done, nothing may ever be there that was not published.

use stateright::{Model, Property};

use super::{breaks, holds};

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Fence,
    /// The adopter reads the aggregate and does not fence it.
    NoFence,
    /// The adopter does not close the buckets: the owner may still mark.
    NoClose,
    /// The owner does not wait for its mark.
    CommitBeforeMark,
    /// The owner goes on to the next bucket without renewing its lease.
    NoLease,
    /// A row per commit instead of buckets, which a scan removes when it sees no commit.
    IntentRow,
}

const BUCKETS: u8 = 2;
const COMMITS_MAX: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Message {
    Mark { bucket: u8 },
    Commit { bucket: u8, expect: u8 },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Owner {
    /// Nothing is under way; whether its mark of the present bucket is noted.
    Idle {
        marked: bool,
    },
    Marking,
    Committing {
        expect: u8,
    },
    /// It has committed and not yet published.
    Committed,
    /// It was refused, knows that somebody took over, and stops; or it is dead.
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Adopter {
    Away,
    /// Closes this bucket next.
    Closes(u8),
    /// Looks for marks in this bucket next.
    Looks(u8),
    /// Fences the aggregate at this bucket next.
    Fences(u8),
    /// Publishes up to the sequence that it has read.
    Publishes(u8, u8),
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    seq: u8,
    fence: u8,
    published: u8,
    open: [bool; BUCKETS as usize],
    marks: [bool; BUCKETS as usize],
    /// The lease: the last bucket that the owner may use, and whether somebody adopted it.
    high: u8,
    adopted: bool,
    air: Vec<Message>,
    owner: Owner,
    bucket: u8,
    sent: u8,
    adopter: Adopter,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Mark,
    Commit,
    Again,
    Publish,
    NextBucket,
    /// The owner forgets a bucket that is decided and published.
    Tidy,
    Dies,
    Arrives(usize),
    ArrivesUnheard(usize),
    Lost(usize),
    Adopt,
    Adopts,
}

struct Adoption {
    rule: Rule,
}

impl World {
    fn mark_of(&mut self, bucket: u8) -> &mut bool {
        &mut self.marks[usize::from(bucket) - 1]
    }

    /// A message arrives; the answer is whether it was accepted.
    fn arrive(&mut self, message: Message) -> bool {
        match message {
            Message::Mark { bucket } => {
                let open = self.open[usize::from(bucket) - 1];
                *self.mark_of(bucket) |= open;
                open
            }
            Message::Commit { bucket, expect } => {
                let applies = expect == self.seq && self.fence < bucket;
                self.seq += u8::from(applies);
                applies
            }
        }
    }

    fn send(&mut self, message: Message) {
        self.air.push(message);
        self.air.sort_unstable();
    }
}

impl Model for Adoption {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            seq: 0,
            fence: 0,
            published: 0,
            open: [true; BUCKETS as usize],
            marks: [false; BUCKETS as usize],
            high: 1,
            adopted: false,
            air: vec![],
            owner: Owner::Idle { marked: false },
            bucket: 1,
            sent: 0,
            adopter: Adopter::Away,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        match world.owner {
            Owner::Idle { marked } => {
                if !marked {
                    steps.push(Step::Mark);
                }
                if marked && world.sent < COMMITS_MAX {
                    steps.push(Step::Commit);
                }
                if world.bucket < BUCKETS {
                    steps.push(Step::NextBucket);
                } else if world.marks[0] && world.published == world.seq {
                    steps.push(Step::Tidy);
                }
            }
            Owner::Marking | Owner::Committing { .. } => steps.push(Step::Again),
            Owner::Committed => steps.push(Step::Publish),
            Owner::Gone => {}
        }
        if world.owner != Owner::Gone {
            steps.push(Step::Dies);
        }
        for at in 0..world.air.len() {
            steps.extend([Step::Arrives(at), Step::ArrivesUnheard(at), Step::Lost(at)]);
        }
        match world.adopter {
            Adopter::Away => steps.push(Step::Adopt),
            Adopter::Done => {}
            _ => steps.push(Step::Adopts),
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Mark => {
                world.send(Message::Mark { bucket: world.bucket });
                world.owner = Owner::Marking;
                if self.rule == Rule::CommitBeforeMark {
                    world.owner = Owner::Idle { marked: true };
                }
            }
            Step::Commit => {
                world.sent += 1;
                world.send(Message::Commit { bucket: world.bucket, expect: world.seq });
                world.owner = Owner::Committing { expect: world.seq };
            }
            Step::Again => {
                let message = match world.owner {
                    Owner::Marking => Message::Mark { bucket: world.bucket },
                    Owner::Committing { expect } if world.seq > expect => {
                        // There is one writer: an entry where it expected to write is its own.
                        world.owner = Owner::Committed;
                        return Some(world);
                    }
                    Owner::Committing { expect } => Message::Commit { bucket: world.bucket, expect },
                    _ => return None,
                };
                if world.air.contains(&message) {
                    return None;
                }
                world.send(message);
            }
            Step::Publish => {
                world.published = world.published.max(world.seq);
                world.owner = Owner::Idle { marked: true };
            }
            Step::NextBucket => {
                if self.rule != Rule::NoLease {
                    if world.adopted {
                        world.owner = Owner::Gone;
                        return Some(world);
                    }
                    world.high = world.high.max(world.bucket + 1);
                }
                world.bucket += 1;
                world.owner = Owner::Idle { marked: false };
            }
            Step::Tidy => *world.mark_of(1) = false,
            Step::Dies => world.owner = Owner::Gone,
            Step::Arrives(at) => {
                let message = world.air.remove(at);
                let accepted = world.arrive(message);
                world.owner = match (message, world.owner) {
                    (Message::Mark { bucket }, Owner::Marking) if bucket == world.bucket => match accepted {
                        true => Owner::Idle { marked: true },
                        false => Owner::Gone,
                    },
                    (Message::Commit { bucket, expect }, Owner::Committing { expect: own })
                        if (bucket, expect) == (world.bucket, own) =>
                    {
                        match accepted || world.seq > own {
                            true => Owner::Committed,
                            false => Owner::Gone,
                        }
                    }
                    (_, owner) => owner,
                };
            }
            Step::ArrivesUnheard(at) => {
                let message = world.air.remove(at);
                world.arrive(message);
            }
            Step::Lost(at) => _ = world.air.remove(at),
            Step::Adopt => {
                world.adopted = true;
                world.adopter = Adopter::Closes(1);
            }
            Step::Adopts => {
                let high = world.high;
                let next =
                    |bucket: u8| if bucket < high { Adopter::Closes(bucket + 1) } else { Adopter::Done };
                world.adopter = match world.adopter {
                    Adopter::Closes(bucket) => {
                        world.open[usize::from(bucket) - 1] &=
                            matches!(self.rule, Rule::NoClose | Rule::IntentRow);
                        Adopter::Looks(bucket)
                    }
                    Adopter::Looks(bucket) if world.marks[usize::from(bucket) - 1] => Adopter::Fences(bucket),
                    Adopter::Looks(bucket) => next(bucket),
                    Adopter::Fences(bucket) => {
                        if !matches!(self.rule, Rule::NoFence | Rule::IntentRow) {
                            world.fence = world.fence.max(bucket);
                        }
                        Adopter::Publishes(bucket, world.seq)
                    }
                    Adopter::Publishes(bucket, seq) => {
                        world.published = world.published.max(seq);
                        *world.mark_of(bucket) = false;
                        next(bucket)
                    }
                    Adopter::Away | Adopter::Done => return None,
                };
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(COMPLETE, |_: &Self, world: &World| {
                // What the owner itself has committed and is about to publish is no loss: it is alive.
                let owner_does = world.owner == Owner::Committed;
                world.adopter != Adopter::Done || owner_does || world.published == world.seq
            }),
            Property::sometimes("a paused owner is fenced", |_: &Self, world: &World| {
                world.owner == Owner::Gone
                    && world.fence > 0
                    && world.adopter == Adopter::Done
                    && world.seq > 0
            }),
            Property::sometimes("all is published without an adopter", |_: &Self, world: &World| {
                world.adopter == Adopter::Away && world.published == COMMITS_MAX
            }),
        ]
    }
}

const COMPLETE: &str = "when the adopter is done, everything is published and stays so";

/// INV-7, INV-9.
#[test]
fn nothing_is_committed_behind_the_back_of_an_adopter() {
    holds(Adoption { rule: Rule::Fence });
}

#[test]
fn each_part_of_adoption_is_needed() {
    for rule in [Rule::NoFence, Rule::NoClose, Rule::CommitBeforeMark, Rule::NoLease, Rule::IntentRow] {
        breaks(Adoption { rule }, COMPLETE);
    }
}
