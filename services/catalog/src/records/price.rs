//! The prices that one business says of a variant in a list, in their partition: a row per unit, an entry per change.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use calendar::Instant;
use ids::{BusinessId, PriceListId, VariantId};
use journal::{Aggregate, Changes, Damage, Need, Seq};
use money::UnitPrice;
use prost::Message;

use super::overrides::{businesses, index_key as override_key, path_bytes};
use super::{codec, index, kind};
use crate::Error;
use crate::domain::{Caller, Change, Line, PRICE_LISTS, Point, PriceCommand, PriceList, Source, UnitRef};

/// Begins the row of a unit; its code follows.
const UNIT: u8 = b'u';
/// Bytes of a unit in the index.
const UNIT_BYTES: usize = 4;

/// A command, who gives it, and the list that it is about.
#[derive(Debug, Clone)]
pub(crate) struct AskedPrice {
    pub(crate) caller: Caller,
    pub(crate) list: PriceList,
    pub(crate) command: PriceCommand,
}

/// The prices that a business says of a variant in a list.
#[derive(Debug, Default)]
pub(crate) struct PriceRecord {
    key: Option<(PriceListId, VariantId)>,
    /// The units in which a business below the owner of the list says a price.
    said: BTreeSet<String>,
    /// What was scheduled and is not any more after the last event.
    gone: Vec<Point>,
    /// The lines that are loaded, by unit.
    lines: BTreeMap<&'static str, Line>,
    changed: BTreeSet<&'static str>,
}

impl PriceRecord {
    /// The variant, if it ever had a price here.
    pub(crate) fn variant(&self) -> Option<VariantId> {
        self.key.map(|(_, variant)| variant)
    }

    /// What is missing to know the prices in a unit.
    pub(crate) fn needs_unit(&self, unit: UnitRef) -> Vec<Need> {
        if self.lines.contains_key(unit.code) { vec![] } else { vec![Need::Row(row_key(unit.code))] }
    }

    /// The prices in a unit, if they are loaded.
    pub(crate) fn line(&self, unit: UnitRef) -> Option<&Line> {
        self.lines.get(unit.code)
    }
}

fn row_key(code: &str) -> Bytes {
    let mut key = Vec::with_capacity(1 + code.len());
    key.push(UNIT);
    key.extend_from_slice(code.as_bytes());
    key.into()
}

/// Whose prices of which variant in which list and unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineKey {
    pub(crate) list: PriceListId,
    pub(crate) variant: VariantId,
    /// `None` for the owner of the list.
    pub(crate) business: Option<BusinessId>,
    pub(crate) unit: UnitRef,
}

impl LineKey {
    /// The index that it is in.
    pub(crate) fn index(&self) -> u16 {
        if self.business.is_some() { index::PRICES_BELOW } else { index::PRICES }
    }

    /// Begins its index rows.
    fn prefix(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(16 + 16 + 16 + UNIT_BYTES + 8 + 8);
        key.extend_from_slice(self.list.as_bytes());
        key.extend_from_slice(self.variant.as_bytes());
        key.extend(self.business.iter().flat_map(|business| *business.as_bytes()));
        let end = key.len() + UNIT_BYTES;
        key.extend_from_slice(self.unit.code.as_bytes());
        key.resize(end, 0);
        key
    }

    /// The key of a change in the index.
    pub(super) fn row(&self, effective_at: Instant, sequence: u64) -> Vec<u8> {
        let mut key = self.prefix();
        key.extend_from_slice(&latest_first(effective_at));
        key.extend_from_slice(&(!sequence).to_be_bytes());
        key
    }

    /// Where the index rows begin, and the key before the change that was in force at `moment`.
    pub(crate) fn rows_after(&self, moment: Instant) -> (Bytes, Bytes) {
        let prefix = self.prefix();
        let mut after = prefix.clone();
        after.extend_from_slice(&latest_first(moment));
        after.extend_from_slice(&[0; 8]); // before every sequence
        (prefix.into(), after.into())
    }
}

impl From<&Change> for LineKey {
    fn from(change: &Change) -> Self {
        let (list, variant, unit) = (change.list, change.variant, change.unit);
        LineKey { list, variant, business: change.path.last().copied(), unit }
    }
}

/// Latest first: the complement of the moment, ordered as an unsigned number.
fn latest_first(at: Instant) -> [u8; 8] {
    (!(at.unix_micros().cast_unsigned() ^ (1 << 63))).to_be_bytes()
}

/// The entry that an index row stands for.
pub(crate) fn seq_of(value: &[u8]) -> Result<Seq, Damage> {
    let bytes = value.try_into().map_err(|_| Damage("an index row of a price has 8 bytes".into()))?;
    Ok(Seq::from_be_bytes(bytes))
}

impl Aggregate for PriceRecord {
    type Command = AskedPrice;
    type Event = Change;
    type Error = Error;

    const SERVICE: &'static str = "catalog";
    const KIND: u8 = kind::PRICE;
    const FORMAT: u8 = 1;
    const KEPT_MAX: usize = 1024;

    fn needs(&self, asked: &AskedPrice) -> Vec<Need> {
        self.needs_unit(asked.command.unit())
    }

    fn load(&mut self, need: &Need, value: Option<&[u8]>) -> Result<(), Damage> {
        let Need::Row(key) = need else { return Err(Damage("no index row is needed".into())) };
        let code = key.get(1..).and_then(|code| std::str::from_utf8(code).ok());
        let unit = codec::unit(code.unwrap_or_default())?;
        let line = value.map(|value| LineRow::decode(value)?.try_into()).transpose()?;
        self.lines.insert(unit.code, line.unwrap_or_default());
        Ok(())
    }

    fn decide(&self, asked: &AskedPrice, now: Instant) -> Result<Vec<Change>, Error> {
        let none = Line::default();
        let line = self.line(asked.command.unit()).unwrap_or(&none);
        Ok(line.decide(&asked.caller, &asked.list, &asked.command, now)?.into_iter().collect())
    }

    fn evolve(&mut self, event: &Change, seq: Seq, recorded_at: Instant) {
        self.key = Some((event.list, event.variant));
        let line = self.lines.entry(event.unit.code).or_default();
        self.gone = line.evolve(event, seq, recorded_at);
        if !event.path.is_empty() {
            match line.says() {
                true => drop(self.said.insert(event.unit.code.to_owned())),
                false => drop(self.said.remove(event.unit.code)),
            }
        }
        self.changed.insert(event.unit.code);
    }

    fn project(&self, event: &Change, seq: Seq, changes: &mut Changes) {
        let line = LineKey::from(event);
        for point in &self.gone {
            changes.unindex(line.index(), line.row(point.effective_at, point.sequence));
        }
        let key = line.row(event.effective_at, event.sequence);
        changes.index(line.index(), key, seq.to_be_bytes().to_vec());
        if let Some(business) = event.path.last() {
            for group in PRICE_LISTS.groups {
                let key = override_key(group.name, *business);
                match self.said.is_empty() {
                    true => changes.unindex(index::OVERRIDES, key),
                    false => changes.index(index::OVERRIDES, key, path_bytes(&event.path)),
                }
            }
        }
    }

    fn save(&mut self, changes: &mut Changes) {
        self.gone.clear();
        for code in std::mem::take(&mut self.changed) {
            let row = self.lines.get(code).map(|line| LineRow::from(line).encode_to_vec().into());
            changes.rows.push((row_key(code), row));
        }
    }

    fn header(&self) -> Bytes {
        let Some((list, variant)) = self.key else { return Bytes::new() };
        let said = self.said.iter().cloned().collect();
        let header = Header { list: list.as_bytes().to_vec(), variant: variant.as_bytes().to_vec(), said };
        header.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        if header.is_empty() {
            return Ok(PriceRecord::default()); // nothing but a key was committed
        }
        let header = Header::decode(header)?;
        let list = PriceListId::from_bytes(codec::id(&header.list)?);
        let variant = VariantId::from_bytes(codec::id(&header.variant)?);
        let said = header.said.into_iter().collect();
        Ok(PriceRecord { key: Some((list, variant)), said, ..PriceRecord::default() })
    }

    fn encode(event: &Change) -> Bytes {
        ChangeRow::from(event).encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Change, Damage> {
        ChangeRow::decode(bytes)?.try_into()
    }

    fn weight(&self) -> usize {
        self.lines.values().map(|line| 64 + 32 * line.points.len()).sum()
    }
}

/// Which prices these are.
#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(bytes = "vec", tag = "1")]
    list: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    variant: Vec<u8>,
    #[prost(string, repeated, tag = "3")]
    said: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct LineRow {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(message, repeated, tag = "2")]
    points: Vec<PointRow>,
}

#[derive(Clone, PartialEq, Message)]
struct PointRow {
    #[prost(int64, tag = "1")]
    effective_at_us: i64,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(int64, tag = "3")]
    amount: i64,
    #[prost(uint64, tag = "4")]
    seq: u64,
    /// There is no price from then on.
    #[prost(bool, tag = "5")]
    cleared: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ChangeRow {
    #[prost(bytes = "vec", tag = "1")]
    list: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    variant: Vec<u8>,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(string, tag = "4")]
    currency: String,
    #[prost(uint64, tag = "5")]
    sequence: u64,
    #[prost(int64, optional, tag = "6")]
    old: Option<i64>,
    #[prost(int64, tag = "7")]
    new: i64,
    #[prost(int64, tag = "8")]
    effective_at_us: i64,
    #[prost(string, tag = "9")]
    reason: String,
    #[prost(uint32, tag = "10")]
    source: u32,
    /// Of the business, 16 bytes each; empty for the owner of the list.
    #[prost(bytes = "vec", tag = "11")]
    path: Vec<u8>,
    /// There is no price from then on.
    #[prost(bool, tag = "12")]
    cleared: bool,
}

impl From<&Line> for LineRow {
    fn from(line: &Line) -> Self {
        let point = |point: &Point| PointRow {
            effective_at_us: point.effective_at.unix_micros(),
            sequence: point.sequence,
            amount: point.amount.map_or(0, UnitPrice::micros),
            seq: point.seq,
            cleared: point.amount.is_none(),
        };
        LineRow { sequence: line.sequence, points: line.points.iter().map(point).collect() }
    }
}

impl TryFrom<LineRow> for Line {
    type Error = Damage;

    fn try_from(row: LineRow) -> Result<Self, Damage> {
        let point = |point: PointRow| {
            Ok(Point {
                effective_at: codec::instant(point.effective_at_us)?,
                sequence: point.sequence,
                amount: (!point.cleared).then(|| UnitPrice::from_micros(point.amount)),
                seq: point.seq,
            })
        };
        let points = row.points.into_iter().map(point).collect::<Result<_, Damage>>()?;
        Ok(Line { sequence: row.sequence, points })
    }
}

impl From<&Change> for ChangeRow {
    fn from(change: &Change) -> Self {
        ChangeRow {
            list: change.list.as_bytes().to_vec(),
            variant: change.variant.as_bytes().to_vec(),
            unit: change.unit.code.to_owned(),
            currency: change.currency.code().to_owned(),
            sequence: change.sequence,
            old: change.old.map(UnitPrice::micros),
            new: change.new.map_or(0, UnitPrice::micros),
            effective_at_us: change.effective_at.unix_micros(),
            reason: change.reason.clone(),
            source: match change.source {
                Source::Api => 1,
                Source::Import => 2,
            },
            path: path_bytes(&change.path).to_vec(),
            cleared: change.new.is_none(),
        }
    }
}

impl TryFrom<ChangeRow> for Change {
    type Error = Damage;

    fn try_from(row: ChangeRow) -> Result<Self, Damage> {
        Ok(Change {
            list: PriceListId::from_bytes(codec::id(&row.list)?),
            variant: VariantId::from_bytes(codec::id(&row.variant)?),
            unit: codec::unit(&row.unit)?,
            currency: codec::currency(&row.currency)?,
            path: businesses(&row.path)?,
            sequence: row.sequence,
            old: row.old.map(UnitPrice::from_micros),
            new: (!row.cleared).then(|| UnitPrice::from_micros(row.new)),
            effective_at: codec::instant(row.effective_at_us)?,
            reason: row.reason,
            source: match row.source {
                1 => Source::Api,
                2 => Source::Import,
                other => return Err(Damage(format!("unknown source {other}"))),
            },
        })
    }
}
