//! A price list in its partition: everything is in the header.

use bytes::Bytes;
use calendar::Instant;
use ids::{BusinessId, PriceListId};
use journal::{Aggregate, Changes, Damage, Need, Seq};
use prost::Message;

use super::{claim, codec, index, kind};
use crate::Error;
use crate::domain::{Kind, NewPriceList, PriceList};

/// A price list, once it was made.
#[derive(Debug, Default)]
pub(crate) struct PriceListRecord {
    pub(crate) list: Option<PriceList>,
}

impl Aggregate for PriceListRecord {
    /// Make it.
    type Command = NewPriceList;
    /// It was made.
    type Event = NewPriceList;
    type Error = Error;

    const SERVICE: &'static str = "catalog";
    const KIND: u8 = kind::PRICE_LIST;
    const FORMAT: u8 = 1;
    const KEPT_MAX: usize = 1024;

    fn needs(&self, _command: &NewPriceList) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, _need: &Need, _value: Option<&[u8]>) -> Result<(), Damage> {
        Err(Damage("a price list has no rows".into()))
    }

    fn decide(&self, command: &NewPriceList, _now: Instant) -> Result<Vec<NewPriceList>, Error> {
        match self.list {
            // The aggregate follows from the idempotency key of the create.
            Some(_) => Err(journal::Error::IdempotencyConflict.into()),
            None => Ok(vec![command.clone()]),
        }
    }

    fn evolve(&mut self, event: &NewPriceList, _seq: Seq, recorded_at: Instant) {
        self.list = Some(PriceList { list: event.clone(), created_at: recorded_at });
    }

    fn project(&self, event: &NewPriceList, _seq: Seq, changes: &mut Changes) {
        changes.index(index::PRICE_LISTS, event.id.as_bytes().to_vec(), Bytes::new());
        changes.take(claim::PRICE_LIST_CODE, event.code.as_bytes().to_vec());
    }

    fn save(&mut self, _changes: &mut Changes) {}

    fn header(&self) -> Bytes {
        let Some(list) = &self.list else { return Bytes::new() };
        let header = Header { list: Some((&list.list).into()), created_at_us: list.created_at.unix_micros() };
        header.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        if header.is_empty() {
            return Ok(PriceListRecord::default()); // nothing but a key was committed
        }
        let header = Header::decode(header)?;
        let list = header.list.ok_or_else(|| codec::missing("a price list"))?.try_into()?;
        Ok(PriceListRecord {
            list: Some(PriceList { list, created_at: codec::instant(header.created_at_us)? }),
        })
    }

    fn encode(event: &NewPriceList) -> Bytes {
        ListRow::from(event).encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<NewPriceList, Damage> {
        ListRow::decode(bytes)?.try_into()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(message, optional, tag = "1")]
    list: Option<ListRow>,
    #[prost(int64, tag = "2")]
    created_at_us: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ListRow {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    business: Vec<u8>,
    #[prost(string, tag = "3")]
    code: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(uint32, tag = "5")]
    kind: u32,
    #[prost(string, tag = "6")]
    currency: String,
    #[prost(bool, tag = "7")]
    tax_inclusive: bool,
}

impl From<&NewPriceList> for ListRow {
    fn from(list: &NewPriceList) -> Self {
        ListRow {
            id: list.id.as_bytes().to_vec(),
            business: list.business.as_bytes().to_vec(),
            code: list.code.clone(),
            name: list.name.clone(),
            kind: match list.kind {
                Kind::Sale => 1,
                Kind::Purchase => 2,
                Kind::Transfer => 3,
                Kind::StandardCost => 4,
            },
            currency: list.currency.code().to_owned(),
            tax_inclusive: list.tax_inclusive,
        }
    }
}

impl TryFrom<ListRow> for NewPriceList {
    type Error = Damage;

    fn try_from(row: ListRow) -> Result<Self, Damage> {
        Ok(NewPriceList {
            id: PriceListId::from_bytes(codec::id(&row.id)?),
            business: BusinessId::from_bytes(codec::id(&row.business)?),
            code: row.code,
            name: row.name,
            kind: match row.kind {
                1 => Kind::Sale,
                2 => Kind::Purchase,
                3 => Kind::Transfer,
                4 => Kind::StandardCost,
                other => return Err(Damage(format!("unknown kind of price list {other}"))),
            },
            currency: codec::currency(&row.currency)?,
            tax_inclusive: row.tax_inclusive,
        })
    }
}
