//! Codecs of a location: header and events.

use bytes::Bytes;
use ids::{BusinessId, LocationId};
use journal::Damage;
use prost::Message;

use crate::domain::kind::Virtual;
use crate::domain::location::{self, Location, NegativePolicy, Place, Status, Usage};
use crate::records::{id, instant};

/// Stored location, and the event of its creation; as a change, absent fields stay.
#[derive(Clone, PartialEq, Message)]
pub struct LocationRecord {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    business: Vec<u8>,
    #[prost(string, tag = "3")]
    code: String,
    #[prost(string, optional, tag = "4")]
    name: Option<String>,
    #[prost(bytes = "vec", tag = "5")]
    parent: Vec<u8>,
    #[prost(uint32, tag = "6")]
    usage: u32,
    #[prost(uint32, optional, tag = "7")]
    negative: Option<u32>,
    #[prost(uint32, optional, tag = "8")]
    status: Option<u32>,
    #[prost(sint64, tag = "9")]
    created_at_us: i64,
    #[prost(sint64, tag = "10")]
    updated_at_us: i64,
    #[prost(uint64, tag = "11")]
    revision: u64,
    /// 1: created, 2: changed; 0 in a header.
    #[prost(uint32, tag = "12")]
    event: u32,
}

fn usage_number(usage: Usage) -> u32 {
    match usage {
        Usage::Internal => 1,
        Usage::Transit => 2,
        Usage::Quarantine => 3,
        Usage::Virtual(Virtual::Supplier) => 4,
        Usage::Virtual(Virtual::Customer) => 5,
        Usage::Virtual(Virtual::Loss) => 6,
    }
}

fn usage(number: u32) -> Result<Usage, Damage> {
    Ok(match number {
        1 => Usage::Internal,
        2 => Usage::Transit,
        3 => Usage::Quarantine,
        other => return Err(Damage(format!("location usage {other}"))),
    })
}

fn negative_number(policy: NegativePolicy) -> u32 {
    match policy {
        NegativePolicy::Forbid => 1,
        NegativePolicy::Allow => 2,
    }
}

fn negative(number: u32) -> Result<NegativePolicy, Damage> {
    match number {
        1 => Ok(NegativePolicy::Forbid),
        2 => Ok(NegativePolicy::Allow),
        other => Err(Damage(format!("negative policy {other}"))),
    }
}

fn status_number(status: Status) -> u32 {
    match status {
        Status::Active => 1,
        Status::BlockedIn => 2,
        Status::BlockedOut => 3,
        Status::Closed => 4,
    }
}

fn status(number: u32) -> Result<Status, Damage> {
    Ok(match number {
        1 => Status::Active,
        2 => Status::BlockedIn,
        3 => Status::BlockedOut,
        4 => Status::Closed,
        other => return Err(Damage(format!("location status {other}"))),
    })
}

fn location_record(location: &Location) -> LocationRecord {
    LocationRecord {
        id: location.id.as_bytes().to_vec(),
        business: location.business.as_bytes().to_vec(),
        code: location.code.clone(),
        name: Some(location.name.clone()),
        parent: location.parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
        usage: usage_number(location.usage),
        negative: Some(negative_number(location.negative)),
        status: Some(status_number(location.status)),
        created_at_us: location.created_at.unix_micros(),
        updated_at_us: location.updated_at.unix_micros(),
        ..LocationRecord::default()
    }
}

fn read_location(record: LocationRecord) -> Result<Location, Damage> {
    Ok(Location {
        id: id(&record.id, LocationId::from_bytes)?,
        business: id(&record.business, BusinessId::from_bytes)?,
        code: record.code,
        name: record.name.unwrap_or_default(),
        parent: match record.parent.as_slice() {
            [] => None,
            bytes => Some(id(bytes, LocationId::from_bytes)?),
        },
        usage: usage(record.usage)?,
        negative: negative(record.negative.unwrap_or(1))?,
        status: status(record.status.unwrap_or(1))?,
        created_at: instant(record.created_at_us)?,
        updated_at: instant(record.updated_at_us)?,
    })
}

/// Encodes the header of a location.
#[must_use]
pub fn encode_place(place: &Place) -> Bytes {
    let record = place.location.as_ref().map(location_record).unwrap_or_default();
    LocationRecord { revision: place.revision, ..record }.encode_to_vec().into()
}

/// Decodes the header of a location.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_place(bytes: &[u8]) -> Result<Place, Damage> {
    let record = LocationRecord::decode(bytes)?;
    let revision = record.revision;
    Ok(Place { location: Some(read_location(record)?), revision })
}

/// Encodes an event of a location.
#[must_use]
pub fn encode_location_event(event: &location::Event) -> Bytes {
    let record = match event {
        location::Event::Created(location) => LocationRecord { event: 1, ..location_record(location) },
        location::Event::Changed(change) => LocationRecord {
            event: 2,
            name: change.name.clone(),
            negative: change.negative.map(negative_number),
            status: change.status.map(status_number),
            ..LocationRecord::default()
        },
    };
    record.encode_to_vec().into()
}

/// Decodes an event of a location.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_location_event(bytes: &[u8]) -> Result<location::Event, Damage> {
    let record = LocationRecord::decode(bytes)?;
    match record.event {
        1 => Ok(location::Event::Created(read_location(record)?)),
        2 => Ok(location::Event::Changed(location::Change {
            name: record.name,
            negative: record.negative.map(negative).transpose()?,
            status: record.status.map(status).transpose()?,
        })),
        other => Err(Damage(format!("location event {other}"))),
    }
}
