//! What businesses below the owner of a product say, and who sees it: rows, events, index rows.

use bytes::Bytes;
use ids::BusinessId;
use inherit::{Said, Value, Visibility};
use journal::Damage;
use prost::Message;

use super::codec::{self, missing};
use crate::domain::{Event, Overridden, Overrides, Product};

/// Bytes of the name of a group of fields in the index.
const GROUP_BYTES: usize = 16;

/// Begins the index rows of overrides about a group of fields.
pub(crate) fn index_prefix(group: &str) -> Vec<u8> {
    let mut key = group.as_bytes().to_vec();
    assert!(key.len() <= GROUP_BYTES, "the name of a group is short");
    key.resize(GROUP_BYTES, 0);
    key
}

/// The index row of what a business says about a group of fields.
pub(super) fn index_key(group: &str, business: BusinessId) -> Vec<u8> {
    let mut key = index_prefix(group);
    key.extend_from_slice(business.as_bytes());
    key
}

/// Businesses, 16 bytes each.
pub(super) fn path_bytes(businesses: &[BusinessId]) -> Bytes {
    businesses.iter().flat_map(|business| *business.as_bytes()).collect()
}

/// Reads what [`path_bytes`] writes.
pub(crate) fn businesses(bytes: &[u8]) -> Result<Vec<BusinessId>, Damage> {
    bytes.chunks(16).map(|bytes| codec::id(bytes).map(BusinessId::from_bytes)).collect()
}

/// Stored form of what a business says.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OverridesRow {
    #[prost(message, repeated, tag = "1")]
    fields: Vec<SaidRow>,
    #[prost(uint64, tag = "2")]
    taken_back: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SaidRow {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ValueRow>,
    #[prost(uint64, tag = "3")]
    revision: u64,
    #[prost(int64, tag = "4")]
    at_us: i64,
    #[prost(string, tag = "5")]
    by: String,
    #[prost(string, tag = "6")]
    reason: String,
}

/// Stored form of [`Value`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueRow {
    #[prost(bool, tag = "1")]
    is_list: bool,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(string, repeated, tag = "3")]
    items: Vec<String>,
}

impl From<&Value> for ValueRow {
    fn from(value: &Value) -> Self {
        match value {
            Value::Text(text) => ValueRow { is_list: false, text: text.clone(), items: vec![] },
            Value::List(items) => ValueRow { is_list: true, text: String::new(), items: items.clone() },
        }
    }
}

impl From<ValueRow> for Value {
    fn from(row: ValueRow) -> Self {
        if row.is_list { Value::List(row.items) } else { Value::Text(row.text) }
    }
}

impl OverridesRow {
    pub(super) fn of(product: &Product, business: BusinessId) -> OverridesRow {
        let row = |(field, said): (&String, &Said)| SaidRow {
            field: field.clone(),
            value: Some((&said.value).into()),
            revision: said.revision,
            at_us: said.at.unix_micros(),
            by: said.by.clone(),
            reason: said.reason.clone(),
        };
        OverridesRow {
            fields: product.said.get(&business).into_iter().flatten().map(row).collect(),
            taken_back: product.taken_back.get(&business).copied().unwrap_or(0),
        }
    }

    pub(super) fn read(self, business: BusinessId, product: &mut Product) -> Result<(), Damage> {
        let mut said = Overrides::new();
        for row in self.fields {
            let value = row.value.ok_or_else(|| missing("a value"))?.into();
            let (revision, at) = (row.revision, codec::instant(row.at_us)?);
            said.insert(row.field, Said { value, revision, at, by: row.by, reason: row.reason });
        }
        product.said.insert(business, said);
        if self.taken_back > 0 {
            product.taken_back.insert(business, self.taken_back);
        }
        Ok(())
    }
}

/// Stored form of [`Overridden`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct OverriddenRow {
    #[prost(bytes = "vec", tag = "1")]
    path: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<WishRow>,
    #[prost(uint64, tag = "3")]
    based_on: u64,
    #[prost(string, tag = "4")]
    by: String,
    #[prost(string, tag = "5")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct WishRow {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ValueRow>,
}

impl From<&Overridden> for OverriddenRow {
    fn from(event: &Overridden) -> Self {
        let wish = |(field, value): &(String, Option<Value>)| WishRow {
            field: field.clone(),
            value: value.as_ref().map(ValueRow::from),
        };
        OverriddenRow {
            path: path_bytes(&event.path).to_vec(),
            fields: event.fields.iter().map(wish).collect(),
            based_on: event.based_on,
            by: event.by.clone(),
            reason: event.reason.clone(),
        }
    }
}

impl TryFrom<OverriddenRow> for Overridden {
    type Error = Damage;

    fn try_from(row: OverriddenRow) -> Result<Self, Damage> {
        let path = businesses(&row.path)?;
        if path.is_empty() {
            return Err(missing("the business of an override"));
        }
        let fields = row.fields.into_iter().map(|wish| (wish.field, wish.value.map(Value::from)));
        let (based_on, by, reason) = (row.based_on, row.by, row.reason);
        Ok(Overridden { path, fields: fields.collect(), based_on, by, reason })
    }
}

/// Stored form of [`Event::VisibilitySet`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct VisibilitySetRow {
    #[prost(bytes = "vec", tag = "1")]
    include: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    exclude: Vec<u8>,
    #[prost(string, tag = "3")]
    reason: String,
}

impl VisibilitySetRow {
    pub(super) fn of(visibility: &Visibility, reason: &str) -> VisibilitySetRow {
        VisibilitySetRow {
            include: path_bytes(&visibility.include).to_vec(),
            exclude: path_bytes(&visibility.exclude).to_vec(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn read(self) -> Result<Event, Damage> {
        let visibility =
            Visibility { include: businesses(&self.include)?, exclude: businesses(&self.exclude)? };
        Ok(Event::VisibilitySet { visibility, reason: self.reason })
    }
}
