//! Stored forms of what businesses hear, and of how far things have been followed.

use events::{Cursor, Parking};
use ids::{AggregateId, BusinessId, ProductId, PublicationId};
use journal::{Chain, Damage};
use prost::{Message, Oneof};

use super::codec::{self, missing};
use super::inherited::{Due, Event, Place, UnderWay};
use crate::domain::{Cause, InheritedChange, Known, What};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Header {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) business: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct KnownRow {
    #[prost(uint64, tag = "1")]
    policies: u64,
    #[prost(int64, optional, tag = "2")]
    at_us: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct UnderWayRow {
    #[prost(message, optional, tag = "1")]
    policies: Option<KnownRow>,
    #[prost(bytes = "vec", tag = "2")]
    after: Vec<u8>,
}

/// Stored form of [`Place`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct PlaceRow {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(bytes = "vec", tag = "2")]
    chain: Vec<u8>,
    /// 0 if it is not parked.
    #[prost(uint64, tag = "3")]
    parked_seq: u64,
    #[prost(string, tag = "4")]
    parked_reason: String,
    #[prost(message, optional, tag = "5")]
    known: Option<KnownRow>,
    #[prost(string, repeated, tag = "6")]
    groups: Vec<String>,
    #[prost(message, optional, tag = "7")]
    under_way: Option<UnderWayRow>,
}

impl From<Known> for KnownRow {
    fn from(known: Known) -> Self {
        KnownRow { policies: known.policies, at_us: known.at.map(calendar::Instant::unix_micros) }
    }
}

impl TryFrom<KnownRow> for Known {
    type Error = Damage;

    fn try_from(row: KnownRow) -> Result<Self, Damage> {
        Ok(Known { policies: row.policies, at: row.at_us.map(codec::instant).transpose()? })
    }
}

impl From<&Place> for PlaceRow {
    fn from(place: &Place) -> Self {
        let Cursor { seq, chain, parked } = &place.cursor;
        let (parked_seq, parked_reason) =
            parked.as_ref().map_or((0, String::new()), |parking| (parking.seq, parking.reason.clone()));
        PlaceRow {
            seq: *seq,
            chain: chain.0.to_vec(),
            parked_seq,
            parked_reason,
            known: Some(place.known.into()),
            groups: place.groups.iter().cloned().collect(),
            under_way: place.under_way.as_ref().map(|step| UnderWayRow {
                policies: step.policies.map(KnownRow::from),
                after: step.after.as_bytes().to_vec(),
            }),
        }
    }
}

impl TryFrom<PlaceRow> for Place {
    type Error = Damage;

    fn try_from(row: PlaceRow) -> Result<Self, Damage> {
        let chain = row.chain.as_slice().try_into().map_err(|_| Damage("a hash has 32 bytes".into()))?;
        let parked = Parking { seq: row.parked_seq, reason: row.parked_reason };
        let parked = Some(parked).filter(|parking| parking.seq > 0);
        let under_way = row.under_way.map(|step| {
            Ok::<_, Damage>(UnderWay {
                policies: step.policies.map(Known::try_from).transpose()?,
                after: BusinessId::from_bytes(codec::id(&step.after)?),
            })
        });
        Ok(Place {
            cursor: Cursor { seq: row.seq, chain: Chain(chain), parked },
            known: row.known.map(Known::try_from).transpose()?.unwrap_or_default(),
            groups: row.groups.into_iter().collect(),
            under_way: under_way.transpose()?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct MovedRow {
    #[prost(bytes = "vec", tag = "1")]
    aggregate: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    place: Option<PlaceRow>,
}

#[derive(Clone, PartialEq, Message)]
struct DueRow {
    #[prost(int64, tag = "1")]
    at_us: i64,
    #[prost(string, tag = "2")]
    group: String,
}

#[derive(Clone, PartialEq, Message)]
struct FollowedRow {
    #[prost(message, repeated, tag = "1")]
    moved: Vec<MovedRow>,
    #[prost(message, repeated, tag = "2")]
    due: Vec<DueRow>,
    #[prost(message, repeated, tag = "3")]
    done: Vec<DueRow>,
    #[prost(uint64, optional, tag = "4")]
    position: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct NotedRow {
    #[prost(bytes = "vec", tag = "1")]
    business: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    product: Vec<u8>,
    #[prost(string, repeated, tag = "3")]
    fields: Vec<String>,
    #[prost(bool, optional, tag = "4")]
    shown: Option<bool>,
    #[prost(bytes = "vec", tag = "5")]
    origin: Vec<u8>,
    #[prost(int64, tag = "6")]
    occurred_us: i64,
    /// Of an entry; 0 for a policy.
    #[prost(uint32, tag = "7")]
    what: u32,
    #[prost(uint64, tag = "8")]
    revision: u64,
    #[prost(bytes = "vec", tag = "9")]
    publication: Vec<u8>,
    #[prost(string, tag = "10")]
    group: String,
    #[prost(uint64, tag = "11")]
    version: u64,
}

/// Stored form of [`Event`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct EventRow {
    #[prost(oneof = "Either", tags = "1, 2")]
    event: Option<Either>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Either {
    #[prost(message, tag = "1")]
    Followed(FollowedRow),
    #[prost(message, tag = "2")]
    Noted(NotedRow),
}

impl From<&Due> for DueRow {
    fn from((at, group): &Due) -> Self {
        DueRow { at_us: at.unix_micros(), group: group.clone() }
    }
}

impl TryFrom<DueRow> for Due {
    type Error = Damage;

    fn try_from(row: DueRow) -> Result<Self, Damage> {
        Ok((codec::instant(row.at_us)?, row.group))
    }
}

const WHATS: [What; 6] =
    [What::Updated, What::Overridden, What::VisibilitySet, What::Published, What::Advanced, What::RolledBack];

fn noted(business: BusinessId, change: &InheritedChange) -> NotedRow {
    let row = NotedRow {
        business: business.as_bytes().to_vec(),
        product: change.product.as_bytes().to_vec(),
        fields: change.fields.clone(),
        shown: change.shown,
        origin: change.origin.as_bytes().to_vec(),
        occurred_us: change.occurred_at.unix_micros(),
        ..NotedRow::default()
    };
    match &change.cause {
        Cause::Entry { revision, what, publication } => NotedRow {
            what: (1..).zip(WHATS).find(|(_, one)| one == what).map_or(0, |(number, _)| number),
            revision: *revision,
            publication: publication.iter().flat_map(|publication| *publication.as_bytes()).collect(),
            ..row
        },
        Cause::Policy { group, version } => NotedRow { group: group.clone(), version: *version, ..row },
    }
}

impl TryFrom<NotedRow> for Event {
    type Error = Damage;

    fn try_from(row: NotedRow) -> Result<Self, Damage> {
        let cause = match row.what {
            0 => Cause::Policy { group: row.group, version: row.version },
            number => Cause::Entry {
                revision: row.revision,
                what: *WHATS
                    .get(number as usize - 1)
                    .ok_or_else(|| Damage(format!("unknown cause {number} of a change")))?,
                publication: match row.publication.is_empty() {
                    true => None,
                    false => Some(PublicationId::from_bytes(codec::id(&row.publication)?)),
                },
            },
        };
        let change = InheritedChange {
            product: ProductId::from_bytes(codec::id(&row.product)?),
            fields: row.fields,
            shown: row.shown,
            origin: BusinessId::from_bytes(codec::id(&row.origin)?),
            cause,
            occurred_at: codec::instant(row.occurred_us)?,
        };
        Ok(Event::Noted { business: BusinessId::from_bytes(codec::id(&row.business)?), change })
    }
}

impl From<&Event> for EventRow {
    fn from(event: &Event) -> Self {
        let event = match event {
            Event::Followed { moved, due, done, position } => Either::Followed(FollowedRow {
                moved: moved
                    .iter()
                    .map(|(aggregate, place)| MovedRow {
                        aggregate: aggregate.as_bytes().to_vec(),
                        place: Some(place.into()),
                    })
                    .collect(),
                due: due.iter().map(DueRow::from).collect(),
                done: done.iter().map(DueRow::from).collect(),
                position: *position,
            }),
            Event::Noted { business, change } => Either::Noted(noted(*business, change)),
        };
        EventRow { event: Some(event) }
    }
}

impl TryFrom<EventRow> for Event {
    type Error = Damage;

    fn try_from(row: EventRow) -> Result<Self, Damage> {
        let FollowedRow { moved, due, done, position } = match row.event {
            None => return Err(missing("an event")),
            Some(Either::Noted(row)) => return row.try_into(),
            Some(Either::Followed(row)) => row,
        };
        let moved = moved.into_iter().map(|row| {
            let place = row.place.ok_or_else(|| missing("a place"))?.try_into()?;
            Ok::<_, Damage>((AggregateId::from_bytes(codec::id(&row.aggregate)?), place))
        });
        let moments = |rows: Vec<DueRow>| rows.into_iter().map(Due::try_from).collect::<Result<Vec<_>, _>>();
        Ok(Event::Followed {
            moved: moved.collect::<Result<_, _>>()?,
            due: moments(due)?,
            done: moments(done)?,
            position,
        })
    }
}
