//! The tree of businesses of a tenant: one aggregate, so that moving a subtree is one entry, true at once for
//! all that is below.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ids::BusinessId;

use crate::Error;
use crate::domain::ApiKey;

/// Parts that the nodes are stored in; a change writes one or two of them.
pub const PARTS: u8 = 16;

/// What a business may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Everything.
    Active,
    /// It and all below it are read and not changed, until it is active again.
    Suspended,
    /// As suspended, for good.
    Closed,
}

/// The place of a business in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// The business above; `None` for the master.
    pub parent: Option<BusinessId>,
    /// What it may do by itself; those above may forbid more.
    pub status: Status,
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
    /// The business gets a status.
    Status(Status),
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
    /// A business was suspended, reactivated or closed.
    StatusChanged {
        /// Which.
        business: BusinessId,
        /// What it may do now.
        status: Status,
    },
}

impl Tree {
    /// Most levels, the master included.
    pub const LEVELS_MAX: usize = 12;
    /// Most businesses of a tenant, closed ones included.
    pub const BUSINESSES_MAX: usize = 10_000;

    /// The tree of a tenant that has no other business yet.
    pub fn of_master(master: BusinessId) -> Tree {
        let node = Node { parent: None, status: Status::Active, changes: 0 };
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
            (Status::Suspended, _) | (_, Status::Suspended) => Status::Suspended,
            (Status::Active, Status::Active) => Status::Active,
        })
    }

    /// Decides what a change leads to. Pure.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a business that is not within the caller's, [`Error::TreeCycle`],
    /// [`Error::TreeLimit`], [`Error::BusinessClosed`], [`Error::IllegalTransition`].
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
            What::Status(status) => {
                let node = self.reached(business, change.within)?;
                if node.status == status {
                    return Ok(vec![]);
                }
                let illegal = |why| Err(Error::IllegalTransition { why });
                if node.parent.is_none() {
                    return illegal("the master business is suspended and closed with its tenant");
                }
                if node.status == Status::Closed {
                    return illegal("the business is closed, for good");
                }
                let open = |below: &Node| below.parent == Some(business) && below.status != Status::Closed;
                if status == Status::Closed && self.nodes.values().any(open) {
                    return illegal("a business is closed after all that are below it");
                }
                TreeEvent::StatusChanged { business, status }
            }
        };
        Ok(vec![event])
    }

    /// Changes the tree as the event says. Cannot fail.
    pub fn evolve(&mut self, event: TreeEvent) {
        let (business, node) = match event {
            TreeEvent::Planted { master } => {
                self.master = Some(master);
                self.loaded = (0..PARTS).collect();
                self.changed.clone_from(&self.loaded);
                (master, Node { parent: None, status: Status::Active, changes: 0 })
            }
            TreeEvent::Added { business, parent } => {
                (business, Node { parent: Some(parent), status: Status::Active, changes: 0 })
            }
            TreeEvent::Moved { business, to, .. } => {
                let Some(node) = self.nodes.get(&business) else { return };
                (business, Node { parent: Some(to), changes: node.changes + 1, ..node.clone() })
            }
            TreeEvent::StatusChanged { business, status } => {
                let Some(node) = self.nodes.get(&business) else { return };
                (business, Node { status, changes: node.changes + 1, ..node.clone() })
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
            Status::Closed => Err(Error::BusinessClosed),
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

    /// Does what is asked, as the journal does.
    fn ask(tree: &mut Tree, within: u16, business: u16, what: What) -> Result<usize, Error> {
        let change = Change { master: id(0), within: id(within), business: id(business), what };
        let events = tree.decide(&change)?;
        events.iter().for_each(|event| tree.evolve(*event));
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
        check(1, 0, What::Status(Status::Suspended),    &not_found);
    }

    #[test]
    fn a_business_is_closed_after_those_below_it_and_for_good() {
        let mut tree = sample();
        let closed = What::Status(Status::Closed);
        let illegal = |done| matches!(done, Err(Error::IllegalTransition { .. }));
        assert!(illegal(ask(&mut tree, 0, 1, closed)));
        assert!(illegal(ask(&mut tree, 0, 0, What::Status(Status::Suspended))));
        for business in [4, 3, 1] {
            assert_eq!(ask(&mut tree, 0, business, closed), Ok(1));
        }
        assert!(illegal(ask(&mut tree, 0, 1, What::Status(Status::Active))));
        assert_eq!(add(&mut tree, 9, 1), Err(Error::BusinessClosed));
        assert_eq!(ask(&mut tree, 0, 2, What::Move { parent: id(1) }), Err(Error::BusinessClosed));
        assert_eq!(ask(&mut tree, 0, 1, What::Move { parent: id(2) }), Err(Error::BusinessClosed));
    }

    #[test]
    fn what_is_above_decides_too() {
        let mut tree = sample();
        ask(&mut tree, 0, 1, What::Status(Status::Suspended)).unwrap();
        let found = [0, 1, 2, 3, 4].map(|business| tree.effective(id(business)));
        let (active, suspended) = (Status::Active, Status::Suspended);
        assert_eq!(found, [active, suspended, active, suspended, suspended]);
        ask(&mut tree, 0, 1, What::Status(Status::Active)).unwrap();
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
    }
}
