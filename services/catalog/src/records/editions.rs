//! Publications in the partitions of the products that they change: rows, events, index rows.

use bytes::Bytes;
use calendar::Instant;
use ids::{BusinessId, ProductId, PublicationId};
use inherit::Value;
use journal::Damage;
use prost::Message;

use super::codec::{self, missing};
use super::overrides::{ValueRow, businesses, path_bytes};
use crate::domain::{Edition, Event, Product, Progress, Published};

/// Where the products of the publications of a business are, or those of one publication.
pub(crate) fn publications_key(business: BusinessId, publication: Option<PublicationId>) -> Bytes {
    let mut key = business.as_bytes().to_vec();
    key.extend(publication.iter().flat_map(|publication| *publication.as_bytes()));
    key.into()
}

/// The publication that a key of [`publications_key`] names.
pub(crate) fn publication_of(key: &[u8]) -> Result<PublicationId, Damage> {
    let id = key.get(16..).ok_or_else(|| missing("a publication"))?;
    codec::id(id).map(PublicationId::from_bytes)
}

/// What the index says about an edition.
pub(super) fn edition_value(product: &Product, edition: &Edition) -> Bytes {
    let product = product.id.as_bytes().to_vec();
    IndexedRow { product, edition: Some(edition.into()) }.encode_to_vec().into()
}

/// Reads what [`edition_value`] writes.
pub(crate) fn read_edition(bytes: &[u8]) -> Result<(ProductId, Edition), Damage> {
    let row = IndexedRow::decode(bytes)?;
    let edition = row.edition.ok_or_else(|| missing("an edition"))?.try_into()?;
    Ok((ProductId::from_bytes(codec::id(&row.product)?), edition))
}

#[derive(Clone, PartialEq, Message)]
struct IndexedRow {
    #[prost(bytes = "vec", tag = "1")]
    product: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    edition: Option<EditionRow>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EditionRow {
    #[prost(message, optional, tag = "1")]
    published: Option<PublishedRow>,
    #[prost(int64, repeated, tag = "2")]
    started_us: Vec<i64>,
    /// Since when everybody has it.
    #[prost(int64, optional, tag = "3")]
    everywhere_us: Option<i64>,
    #[prost(message, repeated, tag = "4")]
    before: Vec<FieldRow>,
    #[prost(int64, optional, tag = "5")]
    rolled_back_us: Option<i64>,
    #[prost(uint64, tag = "6")]
    seq: u64,
}

#[derive(Clone, PartialEq, Message)]
struct FieldRow {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ValueRow>,
}

#[derive(Clone, PartialEq, Message)]
struct StageRow {
    /// 16 bytes each.
    #[prost(bytes = "vec", tag = "1")]
    businesses: Vec<u8>,
}

/// Stored form of [`Published`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct PublishedRow {
    #[prost(bytes = "vec", tag = "1")]
    publication: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<FieldRow>,
    #[prost(message, repeated, tag = "3")]
    stages: Vec<StageRow>,
    #[prost(string, tag = "4")]
    note: String,
    #[prost(string, tag = "5")]
    by: String,
    #[prost(int64, tag = "6")]
    at_us: i64,
}

/// Stored form of [`Event::Advanced`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct AdvancedRow {
    #[prost(bytes = "vec", tag = "1")]
    publication: Vec<u8>,
    #[prost(uint32, tag = "2")]
    stage: u32,
}

/// Stored form of [`Event::RolledBack`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct RolledBackRow {
    #[prost(bytes = "vec", tag = "1")]
    publication: Vec<u8>,
    #[prost(string, tag = "2")]
    reason: String,
}

fn field_rows(fields: &[(String, Value)]) -> Vec<FieldRow> {
    let row = |(field, value): &(String, Value)| FieldRow { field: field.clone(), value: Some(value.into()) };
    fields.iter().map(row).collect()
}

fn fields(rows: Vec<FieldRow>) -> Result<Vec<(String, Value)>, Damage> {
    let field = |row: FieldRow| Ok((row.field, row.value.ok_or_else(|| missing("a value"))?.into()));
    rows.into_iter().map(field).collect()
}

fn publication(bytes: &[u8]) -> Result<PublicationId, Damage> {
    codec::id(bytes).map(PublicationId::from_bytes)
}

impl From<&Published> for PublishedRow {
    fn from(published: &Published) -> Self {
        let stage = |named: &Vec<BusinessId>| StageRow { businesses: path_bytes(named).to_vec() };
        PublishedRow {
            publication: published.publication.as_bytes().to_vec(),
            fields: field_rows(&published.fields),
            stages: published.stages.iter().map(stage).collect(),
            note: published.note.clone(),
            by: published.by.clone(),
            at_us: published.at.unix_micros(),
        }
    }
}

impl TryFrom<PublishedRow> for Published {
    type Error = Damage;

    fn try_from(row: PublishedRow) -> Result<Self, Damage> {
        let stages = row.stages.iter().map(|stage| businesses(&stage.businesses));
        Ok(Published {
            publication: publication(&row.publication)?,
            fields: fields(row.fields)?,
            stages: stages.collect::<Result<_, _>>()?,
            note: row.note,
            by: row.by,
            at: codec::instant(row.at_us)?,
        })
    }
}

impl From<&Edition> for EditionRow {
    fn from(edition: &Edition) -> Self {
        let (everywhere, before, rolled_back) = match &edition.progress {
            Progress::UnderWay => (None, vec![], None),
            Progress::Everywhere(at, before) => (Some(*at), field_rows(before), None),
            Progress::RolledBack(at) => (None, vec![], Some(*at)),
        };
        EditionRow {
            published: Some((&edition.published).into()),
            started_us: edition.started.iter().map(|at| at.unix_micros()).collect(),
            everywhere_us: everywhere.map(Instant::unix_micros),
            before,
            rolled_back_us: rolled_back.map(Instant::unix_micros),
            seq: edition.seq,
        }
    }
}

impl TryFrom<EditionRow> for Edition {
    type Error = Damage;

    fn try_from(row: EditionRow) -> Result<Self, Damage> {
        let progress = match (row.everywhere_us, row.rolled_back_us) {
            (None, None) => Progress::UnderWay,
            (Some(at), None) => Progress::Everywhere(codec::instant(at)?, fields(row.before)?),
            (_, Some(at)) => Progress::RolledBack(codec::instant(at)?),
        };
        Ok(Edition {
            published: row.published.ok_or_else(|| missing("what was published"))?.try_into()?,
            started: row.started_us.into_iter().map(codec::instant).collect::<Result<_, _>>()?,
            progress,
            seq: row.seq,
        })
    }
}

impl AdvancedRow {
    pub(super) fn of(publication: PublicationId, stage: usize) -> AdvancedRow {
        let stage = u32::try_from(stage).unwrap_or(u32::MAX);
        AdvancedRow { publication: publication.as_bytes().to_vec(), stage }
    }

    pub(super) fn read(self) -> Result<Event, Damage> {
        Ok(Event::Advanced { publication: publication(&self.publication)?, stage: self.stage as usize })
    }
}

impl RolledBackRow {
    pub(super) fn of(publication: PublicationId, reason: &str) -> RolledBackRow {
        RolledBackRow { publication: publication.as_bytes().to_vec(), reason: reason.to_owned() }
    }

    pub(super) fn read(self) -> Result<Event, Damage> {
        Ok(Event::RolledBack { publication: publication(&self.publication)?, reason: self.reason })
    }
}
