//! Codec of a movement, the event of an item.

use std::sync::Arc;

use bytes::Bytes;
use ids::LocationId;
use journal::Damage;
use prost::Message;
use quantity::{Factor, Quantity};

use crate::domain::kind::Kind;
use crate::domain::movement::{Cause, Cover, Entered, Facts, Movement, Source};
use crate::records::item::{
    FactsRecord, SliceRecord, method, method_number, pair, pair_record, slice, slice_record,
};
use crate::records::{id, instant};

/// Stored movement: the event of an item.
#[derive(Clone, PartialEq, Message)]
pub struct MovementRecord {
    #[prost(message, optional, tag = "1")]
    facts: Option<FactsRecord>,
    #[prost(uint32, tag = "2")]
    position: u32,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(bytes = "vec", tag = "4")]
    location: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    counterpart: Vec<u8>,
    #[prost(sint64, tag = "6")]
    quantity: i64,
    #[prost(sint64, tag = "7")]
    balance_before: i64,
    #[prost(sint64, tag = "8")]
    balance_after: i64,
    #[prost(sint64, tag = "9")]
    item_after: i64,
    #[prost(sint64, tag = "10")]
    value: i64,
    #[prost(sint64, tag = "11")]
    pool_quantity_after: i64,
    #[prost(sint64, tag = "12")]
    pool_value_after: i64,
    #[prost(sint64, tag = "13")]
    entered_quantity: i64,
    #[prost(string, tag = "14")]
    entered_unit: String,
    #[prost(int64, tag = "15")]
    numerator: i64,
    #[prost(int64, tag = "16")]
    denominator: i64,
    #[prost(message, repeated, tag = "17")]
    consumed: Vec<SliceRecord>,
    #[prost(message, repeated, tag = "18")]
    restored: Vec<SliceRecord>,
    #[prost(message, optional, tag = "19")]
    layer: Option<SliceRecord>,
    #[prost(message, repeated, tag = "20")]
    covered: Vec<CoverRecord>,
    #[prost(message, optional, tag = "21")]
    provisional: Option<SliceRecord>,
    #[prost(string, tag = "22")]
    source_kind: String,
    #[prost(string, tag = "23")]
    source_id: String,
    #[prost(string, tag = "24")]
    source_number: String,
    #[prost(string, tag = "25")]
    source_line: String,
    #[prost(uint32, tag = "26")]
    source_revision: u32,
    #[prost(string, tag = "27")]
    reason_code: String,
    #[prost(string, tag = "28")]
    note: String,
    #[prost(sint64, tag = "29")]
    occurred_at_us: i64,
    #[prost(bool, tag = "30")]
    late: bool,
    #[prost(uint64, tag = "31")]
    reversal_of: u64,
    #[prost(uint64, tag = "32")]
    return_of: u64,
    #[prost(uint64, tag = "33")]
    settles: u64,
    #[prost(uint32, tag = "34")]
    method: u32,
    #[prost(sint64, tag = "35")]
    variance: i64,
}

/// Stored cover.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct CoverRecord {
    #[prost(uint64, tag = "1")]
    issue: u64,
    #[prost(sint64, tag = "2")]
    quantity: i64,
    #[prost(sint64, tag = "3")]
    provisional: i64,
    #[prost(sint64, tag = "4")]
    actual: i64,
}

/// Encodes a movement.
#[must_use]
pub fn encode_movement(movement: &Movement) -> Bytes {
    let cover = |cover: &Cover| CoverRecord {
        issue: cover.issue,
        quantity: cover.quantity.micros(),
        provisional: cover.provisional,
        actual: cover.actual,
    };
    MovementRecord {
        facts: movement.facts.as_ref().map(FactsRecord::from),
        position: movement.position,
        kind: movement.kind.number(),
        location: movement.location.as_bytes().to_vec(),
        counterpart: movement.counterpart.as_bytes().to_vec(),
        quantity: movement.quantity.micros(),
        balance_before: movement.balance_before.micros(),
        balance_after: movement.balance_after.micros(),
        item_after: movement.item_after.micros(),
        value: movement.value,
        pool_quantity_after: movement.pool_quantity_after.micros(),
        pool_value_after: movement.pool_value_after,
        entered_quantity: movement.cause.entered.quantity.micros(),
        entered_unit: movement.cause.entered.unit.clone(),
        numerator: movement.cause.entered.factor.num(),
        denominator: movement.cause.entered.factor.den(),
        consumed: movement.consumed.iter().map(slice_record).collect(),
        restored: movement.restored.iter().map(slice_record).collect(),
        layer: movement.layer.as_ref().map(pair_record),
        covered: movement.covered.iter().map(cover).collect(),
        provisional: movement.provisional.as_ref().map(pair_record),
        source_kind: movement.cause.source.kind.clone(),
        source_id: movement.cause.source.id.clone(),
        source_number: movement.cause.source.number.clone(),
        source_line: movement.cause.source.line.clone(),
        source_revision: movement.cause.source.revision,
        reason_code: movement.cause.reason_code.clone(),
        note: movement.cause.note.clone(),
        occurred_at_us: movement.occurred_at.unix_micros(),
        late: movement.late,
        reversal_of: movement.reversal_of.unwrap_or(0),
        return_of: movement.return_of.unwrap_or(0),
        settles: movement.settles.unwrap_or(0),
        method: method_number(movement.method),
        variance: movement.variance,
    }
    .encode_to_vec()
    .into()
}

/// Decodes a movement.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_movement(bytes: &[u8]) -> Result<Movement, Damage> {
    let record = MovementRecord::decode(bytes)?;
    let seq = |seq: u64| (seq != 0).then_some(seq);
    let cover = |cover: &CoverRecord| Cover {
        issue: cover.issue,
        quantity: Quantity::from_micros(cover.quantity),
        provisional: cover.provisional,
        actual: cover.actual,
    };
    Ok(Movement {
        facts: record.facts.map(Facts::try_from).transpose()?,
        position: record.position,
        kind: Kind::from_number(record.kind).ok_or_else(|| Damage(format!("kind {}", record.kind)))?,
        location: id(&record.location, LocationId::from_bytes)?,
        counterpart: id(&record.counterpart, LocationId::from_bytes)?,
        quantity: Quantity::from_micros(record.quantity),
        balance_before: Quantity::from_micros(record.balance_before),
        balance_after: Quantity::from_micros(record.balance_after),
        item_after: Quantity::from_micros(record.item_after),
        value: record.value,
        pool_quantity_after: Quantity::from_micros(record.pool_quantity_after),
        pool_value_after: record.pool_value_after,
        cause: Arc::new(Cause {
            entered: Entered {
                quantity: Quantity::from_micros(record.entered_quantity),
                unit: record.entered_unit,
                factor: Factor::new(record.numerator, record.denominator)
                    .map_err(|error| Damage(error.to_string()))?,
            },
            source: Source {
                kind: record.source_kind,
                id: record.source_id,
                number: record.source_number,
                line: record.source_line,
                revision: record.source_revision,
            },
            reason_code: record.reason_code,
            note: record.note,
        }),
        consumed: record.consumed.iter().map(slice).collect(),
        restored: record.restored.iter().map(slice).collect(),
        layer: record.layer.as_ref().map(pair),
        covered: record.covered.iter().map(cover).collect(),
        provisional: record.provisional.as_ref().map(pair),
        occurred_at: instant(record.occurred_at_us)?,
        late: record.late,
        reversal_of: seq(record.reversal_of),
        return_of: seq(record.return_of),
        settles: seq(record.settles),
        variance: record.variance,
        method: method(record.method)?,
    })
}
