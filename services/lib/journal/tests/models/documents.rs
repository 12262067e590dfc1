//! A document over several items: hold, commit point, post.
//!
//! Two documents want the same two items. A coordinator asks each item for a hold, commits the
//! document when it has heard of all of them, and has them posted; whoever finds an old document may abort it.
//! Every message may be late or lost, every coordinator dead or paused.

use stateright::{Model, Property};

use super::{breaks, holds};

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    AskTheDocument,
    /// An item gives a hold back when it is old.
    HoldsExpire,
    /// A coordinator that hears nothing of its commit gives the holds back.
    CompensateUnknown,
    /// An item forgets a hold when it is posted, and takes a late repetition for a new one.
    ForgetHolds,
}

const ITEMS: usize = 2;
const DOCUMENTS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Message {
    Hold { document: u8, item: u8 },
    Commit { document: u8 },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Document {
    Posting,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Hold {
    Never,
    Held,
    Posted,
    Voided,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    documents: [Document; DOCUMENTS],
    holds: [[Hold; ITEMS]; DOCUMENTS],
    stock: [i8; ITEMS],
    /// How often a line was posted.
    posted: [[u8; ITEMS]; DOCUMENTS],
    air: Vec<Message>,
    /// What the coordinator has heard; a new one knows nothing.
    heard: [[bool; ITEMS]; DOCUMENTS],
    /// Holds that were asked for, so that the model ends.
    asked: [[u8; ITEMS]; DOCUMENTS],
    committing: [bool; DOCUMENTS],
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    AskHold(usize, usize),
    Commit(usize),
    Abort(usize),
    /// The coordinator dies; the next one begins anew.
    Forget(usize),
    Post(usize, usize),
    Void(usize, usize),
    /// What a naive rule does.
    VoidAnyway(usize, usize),
    Arrives(usize),
    ArrivesUnheard(usize),
    Lost(usize),
}

struct Documents {
    rule: Rule,
    /// Pieces of each item; with one the documents compete.
    stock: i8,
}

impl World {
    fn send(&mut self, message: Message) {
        self.air.push(message);
        self.air.sort_unstable();
    }

    fn held(&self, item: usize) -> i8 {
        self.holds.iter().map(|holds| i8::from(holds[item] == Hold::Held)).sum()
    }

    /// A message arrives; true if the answer is yes.
    fn arrive(&mut self, message: Message) -> bool {
        match message {
            Message::Hold { document, item } => {
                let (document, item) = (usize::from(document), usize::from(item));
                let available = self.stock[item] - self.held(item);
                let hold = &mut self.holds[document][item];
                if *hold == Hold::Never && available > 0 {
                    *hold = Hold::Held;
                }
                matches!(hold, Hold::Held | Hold::Posted)
            }
            Message::Commit { document } => {
                let state = &mut self.documents[usize::from(document)];
                if *state == Document::Posting {
                    *state = Document::Committed;
                }
                *state == Document::Committed
            }
        }
    }

    fn hear(&mut self, message: Message, yes: bool) {
        match message {
            Message::Hold { document, item } => self.heard[usize::from(document)][usize::from(item)] |= yes,
            Message::Commit { document } => self.committing[usize::from(document)] = false,
        }
    }
}

impl Model for Documents {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            documents: [Document::Posting; DOCUMENTS],
            holds: [[Hold::Never; ITEMS]; DOCUMENTS],
            stock: [self.stock; ITEMS],
            posted: [[0; ITEMS]; DOCUMENTS],
            air: vec![],
            heard: [[false; ITEMS]; DOCUMENTS],
            asked: [[0; ITEMS]; DOCUMENTS],
            committing: [false; DOCUMENTS],
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for (document, state) in world.documents.iter().enumerate() {
            // The second document is asked for once, the first one twice: that is enough for a late repetition.
            let asked_max = if document == 0 { 2 } else { 1 };
            for item in 0..ITEMS {
                let hold = world.holds[document][item];
                if !world.heard[document][item]
                    && world.asked[document][item] < asked_max
                    && *state == Document::Posting
                {
                    steps.push(Step::AskHold(document, item));
                }
                match state {
                    Document::Committed if hold == Hold::Held => steps.push(Step::Post(document, item)),
                    Document::Aborted if hold == Hold::Held => steps.push(Step::Void(document, item)),
                    Document::Posting if hold == Hold::Held => {
                        let naive = self.rule == Rule::HoldsExpire
                            || self.rule == Rule::CompensateUnknown && world.committing[document];
                        if naive {
                            steps.push(Step::VoidAnyway(document, item));
                        }
                    }
                    _ => {}
                }
            }
            if *state == Document::Posting {
                steps.push(Step::Abort(document));
                if world.heard[document] == [true; ITEMS] && !world.committing[document] {
                    steps.push(Step::Commit(document));
                }
                if world.heard[document] != [false; ITEMS] {
                    steps.push(Step::Forget(document));
                }
            }
        }
        for at in 0..world.air.len() {
            steps.extend([Step::Arrives(at), Step::ArrivesUnheard(at), Step::Lost(at)]);
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::AskHold(document, item) => {
                world.asked[document][item] += 1;
                world.send(Message::Hold { document: document as u8, item: item as u8 });
            }
            Step::Commit(document) => {
                world.committing[document] = true;
                world.send(Message::Commit { document: document as u8 });
            }
            Step::Abort(document) => world.documents[document] = Document::Aborted,
            Step::Forget(document) => {
                world.heard[document] = [false; ITEMS];
                world.committing[document] = false;
            }
            Step::Post(document, item) => {
                world.stock[item] -= 1;
                world.posted[document][item] += 1;
                world.holds[document][item] = match self.rule {
                    Rule::ForgetHolds => Hold::Never,
                    _ => Hold::Posted,
                };
            }
            Step::Void(document, item) | Step::VoidAnyway(document, item) => {
                world.holds[document][item] = Hold::Voided;
            }
            Step::Arrives(at) => {
                let message = world.air.remove(at);
                let yes = world.arrive(message);
                world.hear(message, yes);
            }
            Step::ArrivesUnheard(at) => {
                let message = world.air.remove(at);
                world.arrive(message);
            }
            Step::Lost(at) => _ = world.air.remove(at),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(WHOLE, |_: &Self, world: &World| {
                (0..DOCUMENTS).all(|document| {
                    let lines = 0..ITEMS;
                    match world.documents[document] {
                        Document::Committed => lines.into_iter().all(|item| {
                            world.holds[document][item] == Hold::Held || world.posted[document][item] == 1
                        }),
                        _ => world.posted[document] == [0; ITEMS],
                    }
                })
            }),
            Property::always(ONCE, |_: &Self, world: &World| {
                world.posted.iter().flatten().all(|times| *times <= 1)
            }),
            Property::always("what is held is there", |_: &Self, world: &World| {
                (0..ITEMS).all(|item| 0 <= world.stock[item] && world.held(item) <= world.stock[item])
            }),
            Property::always("what is decided ends", |model: &Self, world: &World| {
                let mut steps = vec![];
                model.actions(world, &mut steps);
                let open = world.holds.iter().flatten().any(|hold| *hold == Hold::Held);
                !steps.is_empty() || !open
            }),
            Property::sometimes("a document is posted", |_: &Self, world: &World| {
                world.posted[0] == [1; ITEMS]
            }),
            Property::sometimes("a hold comes after its document was aborted", |_: &Self, world: &World| {
                world.documents == [Document::Aborted; 2] && world.holds[0][0] == Hold::Held
            }),
        ]
    }
}

const WHOLE: &str = "a committed document can be posted whole, and no other is posted";
const ONCE: &str = "a line is posted once";

#[test]
fn a_document_is_posted_whole_or_not_at_all() {
    holds(Documents { rule: Rule::AskTheDocument, stock: 1 });
}

#[test]
fn a_hold_that_expires_by_a_clock_breaks_a_committed_document() {
    breaks(Documents { rule: Rule::HoldsExpire, stock: 1 }, WHOLE);
}

#[test]
fn holds_given_back_on_an_unknown_commit_break_a_committed_document() {
    breaks(Documents { rule: Rule::CompensateUnknown, stock: 1 }, WHOLE);
}

#[test]
fn a_forgotten_hold_is_taken_again() {
    breaks(Documents { rule: Rule::ForgetHolds, stock: 2 }, ONCE);
}
