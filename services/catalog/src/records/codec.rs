//! Values that several records hold.

use calendar::Instant;
use journal::Damage;
use money::Currency;
use prost::Message;
use quantity::Factor;

use crate::domain::{Status, UnitFactor, UnitRef, units};

/// Stored form of [`UnitFactor`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct FactorRow {
    #[prost(string, tag = "1")]
    pub(super) unit: String,
    #[prost(int64, tag = "2")]
    pub(super) num: i64,
    #[prost(int64, tag = "3")]
    pub(super) den: i64,
}

impl From<&UnitFactor> for FactorRow {
    fn from(one: &UnitFactor) -> Self {
        FactorRow { unit: one.unit.code.to_owned(), num: one.factor.num(), den: one.factor.den() }
    }
}

impl TryFrom<FactorRow> for UnitFactor {
    type Error = Damage;

    fn try_from(row: FactorRow) -> Result<Self, Damage> {
        let factor = Factor::new(row.num, row.den).map_err(|_| Damage("a factor is not positive".into()))?;
        Ok(UnitFactor { unit: unit(&row.unit)?, factor })
    }
}

pub(super) fn unit(code: &str) -> Result<UnitRef, Damage> {
    units::find(code).ok_or_else(|| Damage(format!("unknown unit '{code}'")))
}

pub(super) fn id(bytes: &[u8]) -> Result<[u8; 16], Damage> {
    bytes.try_into().map_err(|_| Damage("an id has 16 bytes".into()))
}

pub(super) fn instant(micros: i64) -> Result<Instant, Damage> {
    Instant::checked_from_unix_micros(micros).ok_or_else(|| Damage("an instant is out of range".into()))
}

pub(super) fn status_number(status: Status) -> u32 {
    match status {
        Status::Draft => 1,
        Status::Active => 2,
        Status::Discontinued => 3,
        Status::Archived => 4,
    }
}

pub(super) fn status(number: u32) -> Result<Status, Damage> {
    match number {
        1 => Ok(Status::Draft),
        2 => Ok(Status::Active),
        3 => Ok(Status::Discontinued),
        4 => Ok(Status::Archived),
        other => Err(Damage(format!("unknown status {other}"))),
    }
}

pub(super) fn missing(what: &str) -> Damage {
    Damage(format!("{what} is missing"))
}

pub(super) fn currency(code: &str) -> Result<Currency, Damage> {
    Currency::parse(code).map_err(|_| Damage(format!("unknown currency '{code}'")))
}
