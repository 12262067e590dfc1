//! Codecs of an item: header and rows.

use bytes::Bytes;
use ids::{BusinessId, LocationId, VariantId};
use journal::Damage;
use money::Currency;
use prost::Message;
use quantity::Quantity;

use crate::domain::item::{Balance, Item, Marks};
use crate::domain::layers::Chunk;
use crate::domain::movement::{Facts, Method, Slice};
use crate::domain::pool::Deficit;
use crate::records::{id, instant};

/// Stored facts.
#[derive(Clone, PartialEq, Message)]
pub struct FactsRecord {
    #[prost(bytes = "vec", tag = "1")]
    business: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    variant: Vec<u8>,
    #[prost(string, tag = "3")]
    base_unit: String,
    #[prost(uint32, tag = "4")]
    quantity_scale: u32,
    #[prost(string, tag = "5")]
    currency: String,
    #[prost(uint32, tag = "6")]
    cost_scale: u32,
    #[prost(uint32, tag = "7")]
    method: u32,
}

/// Stored balance of a location.
#[derive(Clone, PartialEq, Message)]
pub struct BalanceRecord {
    #[prost(bytes = "vec", tag = "1")]
    location: Vec<u8>,
    #[prost(sint64, tag = "2")]
    on_hand: i64,
    #[prost(uint64, tag = "3")]
    movements: u64,
    #[prost(uint64, tag = "4")]
    last: u64,
    #[prost(sint64, tag = "5")]
    latest_us: i64,
}

/// Stored slice: a layer, or a part of one.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SliceRecord {
    #[prost(uint64, tag = "1")]
    receipt: u64,
    #[prost(sint64, tag = "2")]
    quantity: i64,
    #[prost(sint64, tag = "3")]
    value: i64,
}

/// Stored chunk of layers.
#[derive(Clone, PartialEq, Message)]
pub struct ChunkRecord {
    #[prost(message, repeated, tag = "1")]
    layers: Vec<SliceRecord>,
}

/// What the header says of a chunk.
#[derive(Clone, PartialEq, Message)]
pub struct DirectoryRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(sint64, tag = "2")]
    quantity: i64,
    #[prost(uint32, tag = "3")]
    layers: u32,
    /// The chunk itself, unless it is a row.
    #[prost(message, repeated, tag = "4")]
    inline: Vec<SliceRecord>,
}

/// Stored deficits.
#[derive(Clone, PartialEq, Message)]
pub struct DeficitsRecord {
    #[prost(message, repeated, tag = "1")]
    deficits: Vec<SliceRecord>,
}

/// Stored marks.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct MarksRecord {
    #[prost(sint64, tag = "1")]
    settled: i64,
    #[prost(sint64, tag = "2")]
    returned: i64,
    #[prost(sint64, tag = "3")]
    returned_value: i64,
    #[prost(uint64, tag = "4")]
    reversed_by: u64,
}

/// Stored header of an item.
#[derive(Clone, PartialEq, Message)]
pub struct ItemRecord {
    #[prost(message, optional, tag = "1")]
    facts: Option<FactsRecord>,
    #[prost(sint64, tag = "2")]
    on_hand: i64,
    #[prost(uint32, tag = "3")]
    locations: u32,
    #[prost(message, repeated, tag = "4")]
    balances: Vec<BalanceRecord>,
    #[prost(sint64, tag = "5")]
    pool_quantity: i64,
    #[prost(sint64, tag = "6")]
    pool_value: i64,
    #[prost(sint64, optional, tag = "7")]
    last_cost_value: Option<i64>,
    #[prost(sint64, tag = "8")]
    last_cost_quantity: i64,
    #[prost(message, repeated, tag = "9")]
    directory: Vec<DirectoryRecord>,
    #[prost(uint32, tag = "10")]
    deficits: u32,
}

pub(super) fn method(number: u32) -> Result<Method, Damage> {
    match number {
        1 => Ok(Method::MovingAverage),
        2 => Ok(Method::Fifo),
        other => Err(Damage(format!("costing method {other}"))),
    }
}

pub(super) fn method_number(method: Method) -> u32 {
    match method {
        Method::MovingAverage => 1,
        Method::Fifo => 2,
    }
}

impl From<&Facts> for FactsRecord {
    fn from(facts: &Facts) -> Self {
        FactsRecord {
            business: facts.business.as_bytes().to_vec(),
            variant: facts.variant.as_bytes().to_vec(),
            base_unit: facts.base_unit.clone(),
            quantity_scale: facts.quantity_scale,
            currency: facts.currency.code().to_owned(),
            cost_scale: facts.cost_scale,
            method: method_number(facts.method),
        }
    }
}

impl TryFrom<FactsRecord> for Facts {
    type Error = Damage;

    fn try_from(record: FactsRecord) -> Result<Self, Damage> {
        Ok(Facts {
            business: id(&record.business, BusinessId::from_bytes)?,
            variant: id(&record.variant, VariantId::from_bytes)?,
            base_unit: record.base_unit,
            quantity_scale: record.quantity_scale,
            currency: Currency::parse(&record.currency).map_err(|error| Damage(error.to_string()))?,
            cost_scale: record.cost_scale,
            method: method(record.method)?,
        })
    }
}

pub(super) fn slice_record(slice: &Slice) -> SliceRecord {
    SliceRecord { receipt: slice.receipt, quantity: slice.quantity.micros(), value: slice.value }
}

pub(super) fn slice(record: &SliceRecord) -> Slice {
    Slice { receipt: record.receipt, quantity: Quantity::from_micros(record.quantity), value: record.value }
}

pub(super) fn pair_record(pair: &(Quantity, i64)) -> SliceRecord {
    SliceRecord { receipt: 0, quantity: pair.0.micros(), value: pair.1 }
}

pub(super) fn pair(record: &SliceRecord) -> (Quantity, i64) {
    (Quantity::from_micros(record.quantity), record.value)
}

fn balance_record(location: LocationId, balance: &Balance) -> BalanceRecord {
    BalanceRecord {
        location: location.as_bytes().to_vec(),
        on_hand: balance.on_hand.micros(),
        movements: balance.movements,
        last: balance.last,
        latest_us: balance.latest.unix_micros(),
    }
}

fn balance(record: &BalanceRecord, inline: bool) -> Result<(LocationId, Balance), Damage> {
    let balance = Balance {
        on_hand: Quantity::from_micros(record.on_hand),
        movements: record.movements,
        last: record.last,
        latest: instant(record.latest_us)?,
        inline,
    };
    Ok((id(&record.location, LocationId::from_bytes)?, balance))
}

/// Encodes the row of a balance.
#[must_use]
pub fn encode_balance(location: LocationId, balance: &Balance) -> Bytes {
    balance_record(location, balance).encode_to_vec().into()
}

/// Decodes the row of a balance.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_balance(bytes: &[u8]) -> Result<(LocationId, Balance), Damage> {
    balance(&BalanceRecord::decode(bytes)?, false)
}

/// Encodes a chunk of layers.
#[must_use]
pub fn encode_chunk(layers: &[Slice]) -> Bytes {
    ChunkRecord { layers: layers.iter().map(slice_record).collect() }.encode_to_vec().into()
}

/// Decodes a chunk of layers.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_chunk(bytes: &[u8]) -> Result<Vec<Slice>, Damage> {
    Ok(ChunkRecord::decode(bytes)?.layers.iter().map(slice).collect())
}

/// Encodes the deficits of an item.
#[must_use]
pub fn encode_deficits(deficits: &[Deficit]) -> Bytes {
    let record = |deficit: &Deficit| SliceRecord {
        receipt: deficit.issue,
        quantity: deficit.quantity.micros(),
        value: deficit.value,
    };
    DeficitsRecord { deficits: deficits.iter().map(record).collect() }.encode_to_vec().into()
}

/// Decodes the deficits of an item.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_deficits(bytes: &[u8]) -> Result<Vec<Deficit>, Damage> {
    let deficit = |record: SliceRecord| Deficit {
        issue: record.receipt,
        quantity: Quantity::from_micros(record.quantity),
        value: record.value,
    };
    Ok(DeficitsRecord::decode(bytes)?.deficits.into_iter().map(deficit).collect())
}

/// Encodes marks.
#[must_use]
pub fn encode_marks(marks: &Marks) -> Bytes {
    MarksRecord {
        settled: marks.settled,
        returned: marks.returned.micros(),
        returned_value: marks.returned_value,
        reversed_by: marks.reversed_by,
    }
    .encode_to_vec()
    .into()
}

/// Decodes marks.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_marks(bytes: &[u8]) -> Result<Marks, Damage> {
    let record = MarksRecord::decode(bytes)?;
    Ok(Marks {
        settled: record.settled,
        returned: Quantity::from_micros(record.returned),
        returned_value: record.returned_value,
        reversed_by: record.reversed_by,
    })
}

/// Encodes the header of an item.
#[must_use]
pub fn encode_item(item: &Item) -> Bytes {
    let pool = &item.pool;
    let inline = |chunk: &Chunk| match (chunk.row, pool.layers.loaded.get(&chunk.id)) {
        (false, Some(layers)) => layers.iter().map(slice_record).collect(),
        _ => vec![],
    };
    ItemRecord {
        facts: item.facts.as_ref().map(FactsRecord::from),
        on_hand: item.on_hand.micros(),
        locations: item.locations,
        balances: item
            .balances
            .iter()
            .filter(|(_, balance)| balance.inline)
            .map(|(location, balance)| balance_record(*location, balance))
            .collect(),
        pool_quantity: pool.quantity.micros(),
        pool_value: pool.value,
        last_cost_value: pool.last_cost.map(|(value, _)| value),
        last_cost_quantity: pool.last_cost.map_or(0, |(_, quantity)| quantity.micros()),
        directory: pool
            .layers
            .directory
            .iter()
            .map(|chunk| DirectoryRecord {
                id: chunk.id,
                quantity: chunk.quantity.micros(),
                layers: chunk.layers,
                inline: inline(chunk),
            })
            .collect(),
        deficits: item.deficit_count,
    }
    .encode_to_vec()
    .into()
}

/// Decodes the header of an item.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_item(bytes: &[u8]) -> Result<Item, Damage> {
    let record = ItemRecord::decode(bytes)?;
    let mut item = Item {
        facts: record.facts.map(Facts::try_from).transpose()?,
        on_hand: Quantity::from_micros(record.on_hand),
        locations: record.locations,
        deficit_count: record.deficits,
        ..Item::default()
    };
    for balance_record in &record.balances {
        let (location, read) = balance(balance_record, true)?;
        item.balances.insert(location, read);
    }
    item.pool.method = item.facts.as_ref().map(|facts| facts.method).unwrap_or_default();
    item.pool.quantity = Quantity::from_micros(record.pool_quantity);
    item.pool.value = record.pool_value;
    item.pool.last_cost =
        record.last_cost_value.map(|value| (value, Quantity::from_micros(record.last_cost_quantity)));
    for chunk in record.directory {
        let row = chunk.inline.is_empty();
        let layers = &mut item.pool.layers;
        if !row {
            layers.loaded.insert(chunk.id, chunk.inline.iter().map(slice).collect());
        }
        let quantity = Quantity::from_micros(chunk.quantity);
        layers.directory.push(Chunk { id: chunk.id, quantity, layers: chunk.layers, row });
    }
    Ok(item)
}
