//! How the tree is stored: a header with the root, and its nodes in [`PARTS`] state rows. Format 1, protobuf.

use bytes::Bytes;
use calendar::Instant;
use ids::{AggregateId, BusinessId};
use journal::{Aggregate, Changes, Damage, Need, Seq};
use prost::{Message, Oneof};

use super::codec::{damage, fixed};
use crate::Error;
use crate::domain::{Change, Node, PARTS, Status, Tree, TreeEvent, part};

/// The aggregate of the tree, one per tenant.
pub fn tree_id() -> AggregateId {
    AggregateId::derive(&[b"tree"])
}

#[derive(Clone, PartialEq, Message)]
struct StoredHeader {
    #[prost(bytes = "vec", tag = "1")]
    master: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPart {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<StoredNode>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredNode {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    /// Empty for the master.
    #[prost(bytes = "vec", tag = "2")]
    parent: Vec<u8>,
    /// See [`status`].
    #[prost(uint32, tag = "3")]
    status: u32,
    #[prost(uint64, tag = "4")]
    changes: u64,
    /// Microseconds; absent for an active one, and for one that was suspended before this was noted.
    #[prost(sint64, optional, tag = "5")]
    quiet_since_us: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEvent {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(bytes, tag = "1")]
    Planted(Vec<u8>),
    #[prost(message, tag = "2")]
    Added(StoredPlace),
    #[prost(message, tag = "3")]
    Moved(StoredPlace),
    #[prost(message, tag = "4")]
    StatusChanged(StoredStatus),
}

#[derive(Clone, PartialEq, Message)]
struct StoredPlace {
    #[prost(bytes = "vec", tag = "1")]
    business: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    parent: Vec<u8>,
    /// Of what moved.
    #[prost(bytes = "vec", tag = "3")]
    from: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredStatus {
    #[prost(bytes = "vec", tag = "1")]
    business: Vec<u8>,
    #[prost(uint32, tag = "2")]
    status: u32,
}

impl Tree {
    /// The rows that are not loaded.
    pub(crate) fn missing(&self) -> Vec<Need> {
        let missing = (0..PARTS).filter(|part| !self.loaded.contains(part));
        missing.map(|part| Need::Row(Bytes::copy_from_slice(&[part]))).collect()
    }
}

impl Aggregate for Tree {
    type Command = Change;
    type Event = TreeEvent;
    type Error = Error;

    const SERVICE: &'static str = "tenant";
    const KIND: u8 = super::KIND_TREE;
    const FORMAT: u8 = 1;
    /// Trees change seldom.
    const KEPT_MAX: usize = 256;

    fn needs(&self, _: &Change) -> Vec<Need> {
        if self.master.is_some() { self.missing() } else { vec![] }
    }

    fn load(&mut self, need: &Need, value: Option<&[u8]>) -> Result<(), Damage> {
        let Need::Row(key) = need else { return Err(damage("a tree has no rows in an index")) };
        let [part] = key[..] else { return Err(damage("a part of a tree has a number")) };
        for node in StoredPart::decode(value.unwrap_or_default())?.nodes {
            let parent = (!node.parent.is_empty()).then(|| read_id(node.parent)).transpose()?;
            let status = read_status(node.status)?;
            // Whatever was suspended before this was noted was so before this process began.
            let quiet_since_us = node.quiet_since_us.or((status != Status::Active).then_some(0));
            let quiet_since = quiet_since_us.map(read_instant).transpose()?;
            let place = Node { parent, status, quiet_since, changes: node.changes };
            self.nodes.insert(read_id(node.id)?, place);
        }
        self.loaded.insert(part);
        Ok(())
    }

    fn decide(&self, change: &Change, _: Instant) -> Result<Vec<TreeEvent>, Error> {
        Tree::decide(self, change)
    }

    fn evolve(&mut self, event: &TreeEvent, _: Seq, recorded_at: Instant) {
        Tree::evolve(self, *event, recorded_at);
    }

    fn project(&self, _: &TreeEvent, _: Seq, _: &mut Changes) {}

    fn save(&mut self, changes: &mut Changes) {
        for wanted in std::mem::take(&mut self.changed) {
            let own = self.nodes.iter().filter(|(id, _)| part(**id) == wanted);
            let node = |(id, node): (&BusinessId, &Node)| StoredNode {
                id: id.as_bytes().to_vec(),
                parent: node.parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
                status: status(node.status),
                changes: node.changes,
                quiet_since_us: node.quiet_since.map(Instant::unix_micros),
            };
            let bytes = StoredPart { nodes: own.map(node).collect() }.encode_to_vec();
            // A part without a node has no row.
            if !bytes.is_empty() {
                changes.rows.push((Bytes::copy_from_slice(&[wanted]), Some(bytes.into())));
            }
        }
    }

    fn header(&self) -> Bytes {
        let master = self.master.map(|master| master.as_bytes().to_vec()).unwrap_or_default();
        StoredHeader { master }.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let master = StoredHeader::decode(header)?.master;
        let master = (!master.is_empty()).then(|| read_id(master)).transpose()?;
        Ok(Tree { master, ..Tree::default() })
    }

    fn encode(event: &TreeEvent) -> Bytes {
        let bytes = |id: BusinessId| id.as_bytes().to_vec();
        let kind = match *event {
            TreeEvent::Planted { master } => Kind::Planted(bytes(master)),
            TreeEvent::Added { business, parent } => {
                Kind::Added(StoredPlace { business: bytes(business), parent: bytes(parent), from: vec![] })
            }
            TreeEvent::Moved { business, from, to } => {
                Kind::Moved(StoredPlace { business: bytes(business), parent: bytes(to), from: bytes(from) })
            }
            TreeEvent::StatusChanged { business, status: now } => {
                Kind::StatusChanged(StoredStatus { business: bytes(business), status: status(now) })
            }
        };
        StoredEvent { kind: Some(kind) }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<TreeEvent, Damage> {
        let kind = StoredEvent::decode(bytes)?.kind.ok_or_else(|| damage("an event without content"))?;
        Ok(match kind {
            Kind::Planted(master) => TreeEvent::Planted { master: read_id(master)? },
            Kind::Added(place) => {
                TreeEvent::Added { business: read_id(place.business)?, parent: read_id(place.parent)? }
            }
            Kind::Moved(place) => TreeEvent::Moved {
                business: read_id(place.business)?,
                from: read_id(place.from)?,
                to: read_id(place.parent)?,
            },
            Kind::StatusChanged(changed) => TreeEvent::StatusChanged {
                business: read_id(changed.business)?,
                status: read_status(changed.status)?,
            },
        })
    }

    fn weight(&self) -> usize {
        const NODE_BYTES: usize = 64;
        self.nodes.len() * NODE_BYTES
    }
}

fn read_id(bytes: Vec<u8>) -> Result<BusinessId, Damage> {
    Ok(BusinessId::from_bytes(fixed(bytes)?))
}

fn read_instant(micros: i64) -> Result<Instant, Damage> {
    Instant::checked_from_unix_micros(micros).ok_or_else(|| damage("an instant is out of range"))
}

fn status(status: Status) -> u32 {
    match status {
        Status::Active => 1,
        Status::Suspended => 2,
        Status::Closed => 3,
        Status::Closing => 4,
    }
}

fn read_status(number: u32) -> Result<Status, Damage> {
    match number {
        1 => Ok(Status::Active),
        2 => Ok(Status::Suspended),
        3 => Ok(Status::Closed),
        4 => Ok(Status::Closing),
        _ => Err(damage(format_args!("status {number} of a business"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids() -> impl Strategy<Value = BusinessId> {
        any::<[u8; 16]>().prop_map(BusinessId::from_bytes)
    }

    fn statuses() -> impl Strategy<Value = Status> {
        const STATUSES: [Status; 4] = [Status::Active, Status::Suspended, Status::Closing, Status::Closed];
        proptest::sample::select(&STATUSES[..])
    }

    fn events() -> impl Strategy<Value = TreeEvent> {
        prop_oneof![
            ids().prop_map(|master| TreeEvent::Planted { master }),
            (ids(), ids()).prop_map(|(business, parent)| TreeEvent::Added { business, parent }),
            (ids(), ids(), ids()).prop_map(|(business, from, to)| TreeEvent::Moved { business, from, to }),
            (ids(), statuses()).prop_map(|(business, status)| TreeEvent::StatusChanged { business, status }),
        ]
    }

    proptest! {
        #[test]
        fn an_event_is_read_back(event in events()) {
            prop_assert_eq!(Tree::decode(&Tree::encode(&event)), Ok(event));
        }

        #[test]
        fn a_tree_is_read_back(
            added in proptest::collection::vec(ids(), 1..100),
            turned in proptest::collection::vec((any::<prop::sample::Index>(), statuses()), 0..20),
        ) {
            let at = Instant::from_unix_micros(1_780_000_000_000_000);
            let mut tree = Tree::default();
            let master = added[0];
            Tree::evolve(&mut tree, TreeEvent::Planted { master }, at);
            for business in &added[1..] {
                Tree::evolve(&mut tree, TreeEvent::Added { business: *business, parent: master }, at);
            }
            for (which, status) in turned {
                let business = added[which.index(added.len())];
                Tree::evolve(&mut tree, TreeEvent::StatusChanged { business, status }, at);
            }
            let mut changes = Changes::default();
            tree.save(&mut changes);
            let mut found = Tree::from_header(&tree.header()).unwrap();
            for need in found.missing() {
                let row = changes.rows.iter().find(|(key, _)| need == Need::Row(key.clone()));
                found.load(&need, row.and_then(|(_, value)| value.as_deref())).unwrap();
            }
            prop_assert_eq!(found, tree);
        }

        #[test]
        fn no_bytes_make_the_decoders_fail(bytes: Vec<u8>) {
            let _ = Tree::from_header(&bytes);
            let _ = Tree::decode(&bytes);
            let _ = Tree::default().load(&Need::Row(Bytes::from_static(&[3])), Some(&bytes));
        }
    }

    /// The largest part of the largest tree fits into a row, however ids fall.
    #[test]
    fn a_part_stays_below_the_limit_of_the_journal() {
        let (id, parent) = (vec![7; 16], vec![7; 16]);
        let node = StoredNode { id, parent, status: 4, changes: u64::MAX, quiet_since_us: Some(i64::MIN) };
        let node = StoredPart { nodes: vec![node] }.encoded_len();
        // Random ids: a part with three times its share does not happen.
        assert!(node * 3 * Tree::BUSINESSES_MAX / usize::from(PARTS) < journal::store::VALUE_BYTES_MAX);
    }
}
