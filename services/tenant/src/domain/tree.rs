//! The tree of businesses of a tenant: one aggregate, so that moving a subtree is one entry, true at once for
//! all that is below.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use calendar::Instant;
use ids::BusinessId;

use crate::Error;
use crate::domain::ApiKey;

/// Parts that the nodes are stored in; a change writes one or two of them.
pub const PARTS: u8 = 16;
/// How long a business is not changed any more before it is closed: until then what was let in before may still be
/// posted. Longer than a gateway believes a credential (5 s), a signed context is valid (60 s, and 5 s for clocks),
/// a call lasts (30 s), and an outcome that nobody knows is pursued (25 s), one after the other, with something to spare.
pub const QUIET_SECONDS: i64 = 180;

/// What a business may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Everything.
    Active,
    /// It and all below it are read and not changed, until it is active again.
    Suspended,
    /// As suspended, on the way to be closed: what was let in before may still arrive.
    Closing,
    /// As suspended, for good; nothing is on hand.
    Closed,
}

/// The place of a business in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// The business above; `None` for the master.
    pub parent: Option<BusinessId>,
    /// What it may do by itself; those above may forbid more.
    pub status: Status,
    /// Since when it is not active, without a break; `None` while it is.
    pub quiet_since: Option<Instant>,
    /// How often its place or status changed since it was made.
    pub changes: u64,
}

/// All businesses of a tenant. Before its first entry it has the master only, see [`Tree::of_master`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    /// The root.
    pub(crate) master: Option<BusinessId>,
    pub(crate) nodes: BTreeMap<BusinessId, Node>,
    /// Parts that are in `nodes`; meaningless before the first entry.
    pub(crate) loaded: BTreeSet<u8>,
    /// Parts that changed and were not saved.
    pub(crate) changed: BTreeSet<u8>,
}

/// What is asked of a tree. `within` is the business that the caller works in: it changes what is below.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The root, for a tree without entries.
    pub master: BusinessId,
    /// The caller's business.
    pub within: BusinessId,
    /// The business to change.
    pub business: BusinessId,
    /// How.
    pub what: What,
}

/// What changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The business is new, below `parent`. Repeating it changes nothing.
    Add {
        /// The business above.
        parent: BusinessId,
    },
    /// The business and all below it move below `parent`.
    Move {
        /// The business above.
        parent: BusinessId,
    },
    /// The business is suspended.
    Suspend,
    /// The business is active again, suspended or closing before.
    Reactivate,
    /// The business is closed, or on the way to it; repeated, nothing changes until [`QUIET_SECONDS`] are over.
    Close {
        /// [`Node::changes`] as it was when somebody began to look whether anything is on hand.
        changes: u64,
        /// When that was. Nothing was found.
        looked_at: Instant,
    },
}

/// What happened to a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeEvent {
    /// The tree got its root.
    Planted {
        /// The root.
        master: BusinessId,
    },
    /// A business was added.
    Added {
        /// Which.
        business: BusinessId,
        /// The business above.
        parent: BusinessId,
    },
    /// A business moved with all that is below it.
    Moved {
        /// Which.
        business: BusinessId,
        /// The business above it until then.
        from: BusinessId,
        /// The business above it now.
        to: BusinessId,
    },
    /// A business was suspended, reactivated, put on the way to be closed, or closed.
    StatusChanged {
        /// Which.
        business: BusinessId,
        /// What it may do now.
        status: Status,
    },
}

impl Node {
    /// The place of a new business.
    fn below(parent: Option<BusinessId>) -> Node {
        Node { parent, status: Status::Active, quiet_since: None, changes: 0 }
    }

    /// Whether by `at` everything had arrived that was let in while the business was active.
    pub fn is_quiet(&self, at: Instant) -> bool {
        self.quiet_since.is_some_and(|since| since.plus_seconds(QUIET_SECONDS) <= at)
    }
}

/// Why the root keeps its status.
const OF_THE_MASTER: &str = "the master business is suspended and closed with its tenant";

impl Tree {
    /// Most levels, the master included.
    pub const LEVELS_MAX: usize = 12;
    /// Most businesses of a tenant, closed ones included.
    pub const BUSINESSES_MAX: usize = 10_000;

    /// The tree of a tenant that has no other business yet.
    pub fn of_master(master: BusinessId) -> Tree {
        let node = Node::below(None);
        Tree { master: Some(master), nodes: BTreeMap::from([(master, node)]), ..Tree::default() }
    }

    /// The place of a business.
    pub fn node(&self, business: BusinessId) -> Option<&Node> {
        self.nodes.get(&business)
    }

    /// From the master down to `business`, both included; `None` if it is not in the tree.
    pub fn path(&self, business: BusinessId) -> Option<Arc<[BusinessId]>> {
        let mut path: Vec<BusinessId> = self.up(business).collect();
        path.reverse();
        (!path.is_empty()).then(|| path.into())
    }

    /// How many businesses are not closed.
    pub fn open(&self) -> usize {
        self.nodes.values().filter(|node| node.status != Status::Closed).count()
    }

    /// The path of the business that a key works in.
    pub fn path_of(&self, key: &ApiKey) -> Option<Arc<[BusinessId]>> {
        self.path(key.issued.business()?)
    }

    /// Whether `business` is `ancestor` or lies below it.
    pub fn is_within(&self, business: BusinessId, ancestor: BusinessId) -> bool {
        self.up(business).any(|above| above == ancestor)
    }

    /// What `business` may do, those above it considered: the strictest.
    pub fn effective(&self, business: BusinessId) -> Status {
        let status = |id: BusinessId| self.nodes.get(&id).map_or(Status::Closed, |node| node.status);
        self.up(business).map(status).fold(Status::Active, |strictest, one| match (strictest, one) {
            (Status::Closed, _) | (_, Status::Closed) => Status::Closed,
            (Status::Closing, _) | (_, Status::Closing) => Status::Closing,
            (Status::Suspended, _) | (_, Status::Suspended) => Status::Suspended,
            (Status::Active, Status::Active) => Status::Active,
        })
    }

    /// Decides what a change leads to. Pure.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a business that is not within the caller's, [`Error::TreeCycle`],
    /// [`Error::TreeLimit`], [`Error::BusinessClosed`], [`Error::IllegalTransition`], or
    /// [`journal::Error::ConcurrentUpdate`] for a business that changed since somebody looked at its stock.
    pub fn decide(&self, change: &Change) -> Result<Vec<TreeEvent>, Error> {
        if self.master.is_none() {
            let mut events = vec![TreeEvent::Planted { master: change.master }];
            events.extend(Tree::of_master(change.master).decide(change)?);
            return Ok(events);
        }
        let business = change.business;
        let event = match change.what {
            What::Add { parent } => {
                if self.nodes.contains_key(&business) {
                    return Ok(vec![]);
                }
                let levels = self.open_parent(parent, change.within)? + 1;
                self.fits("levels", levels, Tree::LEVELS_MAX)?;
                self.fits("businesses", self.nodes.len() + 1, Tree::BUSINESSES_MAX)?;
                TreeEvent::Added { business, parent }
            }
            What::Move { parent } => {
                let node = self.reached(business, change.within)?;
                let above = self.open_parent(parent, change.within)?;
                if node.status == Status::Closed {
                    return Err(Error::BusinessClosed);
                }
                if self.is_within(parent, business) {
                    return Err(Error::TreeCycle);
                }
                let Some(from) = node.parent.filter(|from| *from != parent) else { return Ok(vec![]) };
                self.fits("levels", above + self.height(business), Tree::LEVELS_MAX)?;
                TreeEvent::Moved { business, from, to: parent }
            }
            What::Suspend => return self.turn(change, Status::Suspended),
            What::Reactivate => return self.turn(change, Status::Active),
            What::Close { changes, looked_at } => {
                self.may_close(business, change.within)?;
                let node = self.reached(business, change.within)?;
                if node.status != Status::Closed && node.changes != changes {
                    return Err(journal::Error::ConcurrentUpdate.into());
                }
                // What arrived before the end of the quiet time was seen only by who looked after it.
                return self
                    .turn(change, if node.is_quiet(looked_at) { Status::Closed } else { Status::Closing });
            }
        };
        Ok(vec![event])
    }

    /// Decides whether a business may be closed, but for what is on hand. True if it is already.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::IllegalTransition`].
    pub fn may_close(&self, business: BusinessId, within: BusinessId) -> Result<bool, Error> {
        let node = self.reached(business, within)?;
        let illegal = |why| Err(Error::IllegalTransition { why });
        if node.parent.is_none() {
            return illegal(OF_THE_MASTER);
        }
        let open = |below: &Node| below.parent == Some(business) && below.status != Status::Closed;
        if self.nodes.values().any(open) {
            return illegal("a business is closed after all that are below it");
        }
        Ok(node.status == Status::Closed)
    }

    /// Decides a change of status, whatever lies below.
    fn turn(&self, change: &Change, status: Status) -> Result<Vec<TreeEvent>, Error> {
        let business = change.business;
        let node = self.reached(business, change.within)?;
        if node.status == status || (node.status, status) == (Status::Closed, Status::Closing) {
            return Ok(vec![]);
        }
        let illegal = |why| Err(Error::IllegalTransition { why });
        match (node.parent, node.status) {
            (None, _) => illegal(OF_THE_MASTER),
            (_, Status::Closed) => illegal("the business is closed, for good"),
            _ => Ok(vec![TreeEvent::StatusChanged { business, status }]),
        }
    }

    /// Changes the tree as the event of `at` says. Cannot fail.
    pub fn evolve(&mut self, event: TreeEvent, at: Instant) {
        let (business, node) = match event {
            TreeEvent::Planted { master } => {
                self.master = Some(master);
                self.loaded = (0..PARTS).collect();
                self.changed.clone_from(&self.loaded);
                (master, Node::below(None))
            }
            TreeEvent::Added { business, parent } => (business, Node::below(Some(parent))),
            TreeEvent::Moved { business, to, .. } => {
                let Some(node) = self.nodes.get(&business) else { return };
                (business, Node { parent: Some(to), changes: node.changes + 1, ..node.clone() })
            }
            TreeEvent::StatusChanged { business, status } => {
                let Some(node) = self.nodes.get(&business) else { return };
                let quiet_since = match status {
                    Status::Active => None,
                    Status::Suspended | Status::Closing | Status::Closed => node.quiet_since.or(Some(at)),
                };
                (business, Node { status, quiet_since, changes: node.changes + 1, ..node.clone() })
            }
        };
        self.changed.insert(part(business));
        self.nodes.insert(business, node);
    }

    /// The node of a business that the caller reaches.
    fn reached(&self, business: BusinessId, within: BusinessId) -> Result<&Node, Error> {
        let node = self.nodes.get(&business).filter(|_| self.is_within(business, within));
        node.ok_or(Error::NotFound { what: "business" })
    }

    /// The level of a business that others may be put below, counted from 1.
    fn open_parent(&self, parent: BusinessId, within: BusinessId) -> Result<usize, Error> {
        self.reached(parent, within)?;
        match self.effective(parent) {
            Status::Closing | Status::Closed => Err(Error::BusinessClosed),
            Status::Active | Status::Suspended => Ok(self.up(parent).count()),
        }
    }

    fn fits(&self, limit: &'static str, wanted: usize, most: usize) -> Result<(), Error> {
        if most < wanted { Err(Error::TreeLimit { limit, most }) } else { Ok(()) }
    }

    /// Levels of the subtree of `business`, itself included.
    fn height(&self, business: BusinessId) -> usize {
        let depth = |id: BusinessId| self.up(id).take_while(|above| *above != business).count();
        let below = self.nodes.keys().filter(|id| self.is_within(**id, business));
        1 + below.map(|id| depth(*id)).max().unwrap_or(0)
    }

    /// `business`, the one above, and so on up to the master. Bounded even in damaged data.
    fn up(&self, business: BusinessId) -> impl Iterator<Item = BusinessId> {
        let first = self.nodes.contains_key(&business).then_some(business);
        let above = |id: &BusinessId| self.nodes.get(id).and_then(|node| node.parent);
        std::iter::successors(first, above).take(Tree::LEVELS_MAX)
    }
}

/// The part that a business is stored in. Ids begin with their time and end with random bits.
pub fn part(business: BusinessId) -> u8 {
    business.as_bytes()[15] % PARTS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u16) -> BusinessId {
        let mut bytes = [0; 16];
        bytes[14..].copy_from_slice(&number.to_be_bytes());
        BusinessId::from_bytes(bytes)
    }

    fn at(second: i64) -> Instant {
        Instant::from_unix_micros(1_780_000_000_000_000).plus_seconds(second)
    }

    /// Nothing was found, a long time after.
    fn close(tree: &Tree, business: u16) -> What {
        let changes = tree.node(id(business)).map_or(0, |node| node.changes);
        What::Close { changes, looked_at: at(QUIET_SECONDS) }
    }

    /// Does what is asked, as the journal does.
    fn ask(tree: &mut Tree, within: u16, business: u16, what: What) -> Result<usize, Error> {
        let change = Change { master: id(0), within: id(within), business: id(business), what };
        let events = tree.decide(&change)?;
        events.iter().for_each(|event| tree.evolve(*event, at(0)));
        Ok(events.len())
    }

    fn add(tree: &mut Tree, business: u16, parent: u16) -> Result<usize, Error> {
        ask(tree, 0, business, What::Add { parent: id(parent) })
    }

    /// 0 above 1 and 2; 3 below 1; 4 below 3.
    fn sample() -> Tree {
        let mut tree = Tree::default();
        for (business, parent) in [(1, 0), (2, 0), (3, 1), (4, 3)] {
            add(&mut tree, business, parent).unwrap();
        }
        tree
    }

    /// HIE-1: a subtree moves in one event, and the path of everything below follows.
    #[test]
    fn a_subtree_moves_in_one_event() {
        let mut tree = sample();
        assert_eq!(tree.path(id(4)).unwrap()[..], [0, 1, 3, 4].map(id));
        assert_eq!(ask(&mut tree, 0, 3, What::Move { parent: id(2) }), Ok(1));
        assert_eq!(tree.path(id(4)).unwrap()[..], [0, 2, 3, 4].map(id));
        assert!(!tree.is_within(id(4), id(1)));
        assert_eq!(ask(&mut tree, 0, 3, What::Move { parent: id(2) }), Ok(0), "it is there already");
        assert_eq!(add(&mut tree, 4, 0), Ok(0), "it was added already");
    }

    #[test]
    #[rustfmt::skip] // columns
    fn what_makes_no_tree_is_refused() {
        let to = |parent: u16| What::Move { parent: id(parent) };
        let not_found = Error::NotFound { what: "business" };
        let check = |within, business, what, expected: &Error| {
            assert_eq!(ask(&mut sample(), within, business, what).as_ref(), Err(expected), "{business} {what:?}");
        };
        check(0, 1, to(1),                              &Error::TreeCycle);
        check(0, 1, to(4),                              &Error::TreeCycle);
        check(0, 0, to(4),                              &Error::TreeCycle);
        check(1, 1, to(3),                              &Error::TreeCycle);
        check(0, 9, to(1),                              &not_found);
        check(0, 1, to(9),                              &not_found);
        check(1, 2, to(3),                              &not_found);
        check(1, 3, to(2),                              &not_found);
        check(1, 3, to(0),                              &not_found);
        check(1, 9, What::Add { parent: id(2) },        &not_found);
        check(1, 0, What::Suspend,                      &not_found);
    }

    #[test]
    fn a_business_is_closed_after_those_below_it_and_for_good() {
        let mut tree = sample();
        let illegal = |done| matches!(done, Err(Error::IllegalTransition { .. }));
        let what = close(&tree, 1);
        assert!(illegal(ask(&mut tree, 0, 1, what)));
        assert!(illegal(ask(&mut tree, 0, 0, What::Suspend)));
        for business in [4, 3, 1] {
            for status in [Status::Closing, Status::Closed] {
                let what = close(&tree, business);
                assert_eq!(ask(&mut tree, 0, business, what), Ok(1));
                assert_eq!(tree.effective(id(business)), status);
            }
            let what = close(&tree, business);
            assert_eq!(ask(&mut tree, 0, business, what), Ok(0), "it is done");
        }
        assert!(illegal(ask(&mut tree, 0, 1, What::Reactivate)));
        assert_eq!(add(&mut tree, 9, 1), Err(Error::BusinessClosed));
        assert_eq!(ask(&mut tree, 0, 2, What::Move { parent: id(1) }), Err(Error::BusinessClosed));
        assert_eq!(ask(&mut tree, 0, 1, What::Move { parent: id(2) }), Err(Error::BusinessClosed));
    }

    /// What was let in before lands in the quiet time: who looked before its end, or at another state, closes nothing.
    #[test]
    fn a_business_is_quiet_before_it_is_closed() {
        let mut tree = sample();
        let status = |tree: &Tree| tree.effective(id(4));
        let what = |changes, second| What::Close { changes, looked_at: at(second) };
        assert_eq!(ask(&mut tree, 0, 4, What::Suspend), Ok(1));
        assert_eq!(ask(&mut tree, 0, 4, what(1, QUIET_SECONDS - 1)), Ok(1));
        assert_eq!(status(&tree), Status::Closing);
        assert_eq!(ask(&mut tree, 0, 4, what(2, QUIET_SECONDS - 1)), Ok(0), "it is on its way already");
        assert_eq!(add(&mut tree, 9, 4), Err(Error::BusinessClosed), "a child would keep it open");
        let concurrent = Err(Error::Journal(journal::Error::ConcurrentUpdate));
        assert_eq!(ask(&mut tree, 0, 4, what(1, QUIET_SECONDS)), concurrent);

        assert_eq!(ask(&mut tree, 0, 4, What::Reactivate), Ok(1));
        assert_eq!(ask(&mut tree, 0, 4, what(2, QUIET_SECONDS)), concurrent, "it was active meanwhile");
        assert_eq!(ask(&mut tree, 0, 4, what(3, QUIET_SECONDS)), Ok(1));
        assert_eq!(status(&tree), Status::Closing, "the time begins anew");
        assert_eq!(ask(&mut tree, 0, 4, what(4, QUIET_SECONDS)), Ok(1));
        assert_eq!(status(&tree), Status::Closed);
    }

    #[test]
    fn what_is_above_decides_too() {
        let mut tree = sample();
        ask(&mut tree, 0, 1, What::Suspend).unwrap();
        let found = [0, 1, 2, 3, 4].map(|business| tree.effective(id(business)));
        let (active, suspended) = (Status::Active, Status::Suspended);
        assert_eq!(found, [active, suspended, active, suspended, suspended]);
        ask(&mut tree, 0, 1, What::Reactivate).unwrap();
        assert_eq!(tree.effective(id(4)), Status::Active);
    }

    #[test]
    fn a_tree_has_limits() {
        let mut tree = Tree::default();
        for business in 1..12 {
            add(&mut tree, business, business - 1).unwrap();
        }
        let levels = Error::TreeLimit { limit: "levels", most: Tree::LEVELS_MAX };
        assert_eq!(add(&mut tree, 12, 11).as_ref(), Err(&levels));
        add(&mut tree, 20, 0).unwrap();
        add(&mut tree, 21, 20).unwrap();
        assert_eq!(ask(&mut tree, 0, 20, What::Move { parent: id(10) }).as_ref(), Err(&levels));
        assert_eq!(ask(&mut tree, 0, 20, What::Move { parent: id(9) }), Ok(1));

        for business in 0..Tree::BUSINESSES_MAX - tree.nodes.len() {
            add(&mut tree, 100 + u16::try_from(business).unwrap(), 0).unwrap();
        }
        let full = Error::TreeLimit { limit: "businesses", most: Tree::BUSINESSES_MAX };
        assert_eq!(add(&mut tree, 20_000, 0), Err(full));
    }

    proptest! {
        /// Whatever is asked, everything stays below the master, within the limits, and without cycles.
        #[test]
        fn a_tree_stays_a_tree(asked in proptest::collection::vec((0u16..20, 0u16..20, any::<bool>()), 0..200)) {
            let mut tree = Tree::default();
            for (business, parent, moves) in asked {
                let parent = id(parent);
                let what = if moves { What::Move { parent } } else { What::Add { parent } };
                let _ = ask(&mut tree, 0, business, what);
            }
            for business in tree.nodes.keys() {
                let path = tree.path(*business).unwrap();
                prop_assert_eq!(path[0], id(0));
                prop_assert_eq!(path.last(), Some(business));
                prop_assert!(path.len() <= Tree::LEVELS_MAX);
            }
        }

        /// Goal: no closed business has stock, and nothing arrives in one.
        /// Method: postings are let in by what was true up to 5 s ago, and land up to 95 s later; somebody looks at
        /// the stock and closes some time after; others suspend and reactivate.
        #[test]
        fn nothing_is_on_hand_in_a_closed_business(
            steps in proptest::collection::vec((0u8..12, 0i64..60, 0i64..=5, 0i64..=95), 0..60),
        ) {
            let mut tree = sample();
            let (mut now, mut on_hand, mut under_way, mut looked) = (0, 0, vec![], None);
            let mut was_active = vec![(0, true)];
            for (step, seconds, believed, lasting) in steps {
                let what = match step {
                    0 => Some(What::Suspend),
                    1 => Some(What::Reactivate),
                    2 | 3 => looked.take().map(|(changes, second)| What::Close { changes, looked_at: at(second) }),
                    4 | 5 => {
                        let changes = tree.node(id(4)).unwrap().changes;
                        looked = (on_hand == 0).then_some((changes, now));
                        None
                    }
                    6..=8 => {
                        let then = was_active.iter().rev().find(|(since, _)| *since <= now - believed);
                        if then.is_none_or(|(_, active)| *active) {
                            under_way.push((now + lasting, if on_hand == 0 { 1 } else { -on_hand }));
                        }
                        None
                    }
                    _ => {
                        now += seconds;
                        under_way.retain(|(lands, quantity)| {
                            on_hand += if *lands <= now { *quantity } else { 0 };
                            now < *lands
                        });
                        None
                    }
                };
                if let Some(what) = what {
                    let change = Change { master: id(0), within: id(0), business: id(4), what };
                    let events = tree.decide(&change).unwrap_or_default();
                    events.iter().for_each(|event| tree.evolve(*event, at(now)));
                    was_active.push((now, tree.effective(id(4)) == Status::Active));
                }
                if tree.effective(id(4)) == Status::Closed {
                    prop_assert_eq!((on_hand, &under_way), (0, &vec![]));
                }
            }
        }
    }
}
