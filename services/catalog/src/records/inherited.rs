//! What businesses hear of what they inherit, and how far products and policies have been followed.
//!
//! Two sorts of partitions of one kind, because what a business hears and how far its source has been followed is one
//! commit: one partition per tenant for [`Follow`], one per business for [`Command::Note`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use calendar::Instant;
use events::Cursor;
use ids::{AggregateId, BusinessId, ProductId};
use journal::store::Head;
use journal::{Aggregate, Changes, Damage, Need, Seq};
use prost::Message;

use super::inherited_codec::{EventRow, Header, PlaceRow};
use super::overrides::index_prefix;
use super::{index, kind};
use crate::domain::{InheritedChange, Known};

/// Begins the row of a product or of the policies: how far it has been followed. The aggregate follows.
const PLACE: u8 = b'c';
/// Row of the position in the feed.
const POSITION: &[u8] = b"f";

/// How far an aggregate has been followed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) cursor: Cursor,
    /// Of a product: the policies that its businesses have heard of.
    pub(crate) known: Known,
    /// The groups of fields that businesses below the owner speak about.
    pub(crate) groups: BTreeSet<String>,
    /// A step that some businesses have heard of.
    pub(crate) under_way: Option<UnderWay>,
}

/// A step that took more than one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// Policies that are taken in; `None` for the next entry.
    pub(crate) policies: Option<Known>,
    /// The last business that has heard; those with smaller ids have, too.
    pub(crate) after: BusinessId,
}

/// A moment at which policies about a group of fields begin to count.
pub(crate) type Due = (Instant, String);

/// What has been followed since the last time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Follow {
    /// From where each aggregate must still be, to where it is.
    pub(crate) moved: Vec<(AggregateId, Place, Place)>,
    pub(crate) due: Vec<Due>,
    pub(crate) done: Vec<Due>,
    /// Everything before it in the feed has been followed.
    pub(crate) position: Option<u64>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Follow(Follow),
    /// Tells a business of changes.
    Note {
        business: BusinessId,
        changes: Vec<InheritedChange>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Followed { moved: Vec<(AggregateId, Place)>, due: Vec<Due>, done: Vec<Due>, position: Option<u64> },
    Noted { business: BusinessId, change: InheritedChange },
}

/// An aggregate is not where a step begins: somebody else was faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("somebody else has followed it")]
pub(crate) struct Moved;

/// Either of the two.
#[derive(Debug, Default)]
pub(crate) struct InheritedRecord {
    /// Whose changes they are; `None` where it says how far things have been followed.
    pub(crate) business: Option<BusinessId>,
    places: BTreeMap<AggregateId, Place>,
    changed: BTreeSet<AggregateId>,
    /// Groups that nobody speaks about any more after the last event.
    gone: Vec<(AggregateId, String)>,
    /// What does not wait for a person any more after the last event.
    unparked: Vec<AggregateId>,
    position: Option<u64>,
}

impl InheritedRecord {
    /// Where an aggregate is, if it was asked for.
    pub(crate) fn place(&self, aggregate: AggregateId) -> Place {
        self.places.get(&aggregate).cloned().unwrap_or_default()
    }

    pub(crate) fn needs_places(&self, aggregates: &[AggregateId]) -> Vec<Need> {
        let unknown = aggregates.iter().filter(|aggregate| !self.places.contains_key(aggregate));
        unknown.map(|aggregate| Need::Row(place_key(*aggregate))).collect()
    }
}

/// Whether an aggregate is followed: a product, or the policies of a tenant.
pub(crate) fn is_followed(head: &Head) -> bool {
    let [of, _] = head.format.to_be_bytes();
    [kind::PRODUCT, kind::POLICIES].contains(&of)
}

/// The partition that says how far things of a tenant have been followed: a row per product (about 100 bytes), an
/// entry per step that was written.
pub(crate) fn following() -> AggregateId {
    AggregateId::derive(&[b"inherited", b"following"])
}

/// The partition of what a business hears: an entry per change (about 200 bytes).
pub(crate) fn inherited(business: BusinessId) -> AggregateId {
    AggregateId::derive(&[b"inherited", business.as_bytes()])
}

fn place_key(aggregate: AggregateId) -> Bytes {
    [&[PLACE], aggregate.as_bytes().as_slice()].concat().into()
}

pub(crate) fn position_row() -> Bytes {
    Bytes::from_static(POSITION)
}

/// Begins the keys of the index of what businesses hear of a product.
pub(crate) fn heard_prefix(product: ProductId, business: BusinessId) -> Bytes {
    [product.as_bytes().as_slice(), business.as_bytes()].concat().into()
}

/// The entry that a key of that index names.
pub(crate) fn heard_seq(key: &[u8]) -> Result<Seq, Damage> {
    let seq = key.get(32..).and_then(|seq| seq.try_into().ok());
    seq.map(Seq::from_be_bytes).ok_or_else(|| Damage("an index row has no sequence".into()))
}

fn heard_key(change: &InheritedChange, business: BusinessId, seq: Seq) -> Bytes {
    [&heard_prefix(change.product, business)[..], &seq.to_be_bytes()].concat().into()
}

/// The key of a product in the index of those that businesses speak about.
fn spoken_key(group: &str, aggregate: AggregateId) -> Vec<u8> {
    [&index_prefix(group)[..], aggregate.as_bytes()].concat()
}

/// The aggregate that a key of that index names.
pub(crate) fn spoken_aggregate(key: &[u8]) -> Result<AggregateId, Damage> {
    let aggregate = key.last_chunk::<16>().copied().map(AggregateId::from_bytes);
    aggregate.ok_or_else(|| Damage("an index row has no aggregate".into()))
}

fn due_key((at, group): &Due) -> Vec<u8> {
    // In the order of the moments: those before 1970 do not come.
    let at = u64::try_from(at.unix_micros()).unwrap_or(0);
    [at.to_be_bytes().as_slice(), &index_prefix(group)].concat()
}

/// The moment and the group that a key of the index of moments names.
pub(crate) fn read_due(key: &[u8]) -> Result<Due, Damage> {
    let damaged = || Damage("the key of a moment".into());
    let (at, group) = key.split_first_chunk().ok_or_else(damaged)?;
    let at = i64::try_from(u64::from_be_bytes(*at)).map_err(|_| damaged())?;
    let group = std::str::from_utf8(group).map_err(|_| damaged())?.trim_end_matches('\0');
    Ok((super::codec::instant(at)?, group.to_owned()))
}

impl Aggregate for InheritedRecord {
    type Command = Command;
    type Event = Event;
    type Error = Moved;

    const SERVICE: &'static str = "catalog";
    const KIND: u8 = kind::INHERITED;
    const FORMAT: u8 = 1;
    const KEPT_MAX: usize = 4_096;

    fn needs(&self, command: &Command) -> Vec<Need> {
        let Command::Follow(follow) = command else { return vec![] };
        let aggregates: Vec<_> = follow.moved.iter().map(|(aggregate, ..)| *aggregate).collect();
        self.needs_places(&aggregates)
    }

    fn load(&mut self, need: &Need, value: Option<&[u8]>) -> Result<(), Damage> {
        let Need::Row(key) = need else { return Err(Damage("no index row is needed".into())) };
        let place = value.map(PlaceRow::decode).transpose()?.map(Place::try_from).transpose()?;
        self.places.insert(spoken_aggregate(key)?, place.unwrap_or_default());
        Ok(())
    }

    fn decide(&self, command: &Command, _now: Instant) -> Result<Vec<Event>, Moved> {
        match command {
            Command::Follow(Follow { moved, due, done, position }) => {
                if moved.iter().any(|(aggregate, from, _)| self.place(*aggregate) != *from) {
                    return Err(Moved);
                }
                let moved = moved.iter().map(|(aggregate, _, to)| (*aggregate, to.clone())).collect();
                let (due, done, position) = (due.clone(), done.clone(), *position);
                Ok(vec![Event::Followed { moved, due, done, position }])
            }
            Command::Note { business, changes } => {
                let noted =
                    |change: &InheritedChange| Event::Noted { business: *business, change: change.clone() };
                Ok(changes.iter().map(noted).collect())
            }
        }
    }

    fn evolve(&mut self, event: &Event, _seq: Seq, _recorded_at: Instant) {
        self.gone.clear();
        self.unparked.clear();
        match event {
            Event::Followed { moved, position, .. } => {
                for (aggregate, place) in moved {
                    let before = self.places.insert(*aggregate, place.clone()).unwrap_or_default();
                    if before.cursor.parked.is_some() && place.cursor.parked.is_none() {
                        self.unparked.push(*aggregate);
                    }
                    let gone = before.groups.difference(&place.groups);
                    self.gone.extend(gone.map(|group| (*aggregate, group.clone())));
                    self.changed.insert(*aggregate);
                }
                self.position = position.or(self.position);
            }
            Event::Noted { business, .. } => self.business = Some(*business),
        }
    }

    fn project(&self, event: &Event, seq: Seq, changes: &mut Changes) {
        match event {
            Event::Followed { moved, due, done, .. } => {
                for (aggregate, group) in &self.gone {
                    changes.unindex(index::SPOKEN, spoken_key(group, *aggregate));
                }
                for aggregate in &self.unparked {
                    changes.unindex(index::PARKED, aggregate.as_bytes().to_vec());
                }
                for (aggregate, place) in moved {
                    if place.cursor.parked.is_some() {
                        changes.index(index::PARKED, aggregate.as_bytes().to_vec(), Bytes::new());
                    }
                    let key = |group: &String| spoken_key(group, *aggregate);
                    place
                        .groups
                        .iter()
                        .for_each(|group| changes.index(index::SPOKEN, key(group), Bytes::new()));
                }
                due.iter().for_each(|due| changes.index(index::DUE, due_key(due), Bytes::new()));
                done.iter().for_each(|due| changes.unindex(index::DUE, due_key(due)));
            }
            Event::Noted { business, change } => {
                changes.index(index::HEARD, heard_key(change, *business, seq), Bytes::new());
            }
        }
    }

    fn save(&mut self, changes: &mut Changes) {
        self.gone.clear();
        self.unparked.clear();
        for aggregate in std::mem::take(&mut self.changed) {
            if let Some(place) = self.places.get(&aggregate) {
                let row = PlaceRow::from(place).encode_to_vec();
                changes.rows.push((place_key(aggregate), Some(row.into())));
            }
        }
        if let Some(position) = self.position.take() {
            let position = Bytes::copy_from_slice(&position.to_be_bytes());
            changes.rows.push((position_row(), Some(position)));
        }
        // Thousands of products take turns: each is read again when it comes.
        self.places.clear();
    }

    fn header(&self) -> Bytes {
        let business = self.business.map(|business| business.as_bytes().to_vec()).unwrap_or_default();
        Header { business }.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let Header { business } = Header::decode(header)?;
        let business = match business.is_empty() {
            true => None,
            false => Some(BusinessId::from_bytes(super::codec::id(&business)?)),
        };
        Ok(InheritedRecord { business, ..InheritedRecord::default() })
    }

    fn encode(event: &Event) -> Bytes {
        EventRow::from(event).encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Event, Damage> {
        EventRow::decode(bytes)?.try_into()
    }
}
