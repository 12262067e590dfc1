//! Row keys, codecs and format versions of the stock service.
//!
//! | where | key | value | grows |
//! |---|---|---|---|
//! | item header | – | facts, totals, up to six balances, one short chunk of layers | <= 1.9 KiB |
//! | item row `b` + location | balance of a further location | location, on hand, movements, latest | one per location |
//! | item row `c` + chunk id | up to 256 open layers | receipt, quantity, value | <= 64 per item |
//! | item row `d` | issues that wait for goods | issue, quantity, value | <= 48 entries |
//! | item row `m` + sequence | what later movements did to a movement | settled, returned, reversed by | one per settled, returned or reversed movement |
//! | index source | document (16) + line (8) | first sequence, count | one per posting, settlement and reversal; serves "movements of a document" and "line posted once" |
//! | index item | business + variant | – | one per item; serves "all balances" |
//! | index place | business + location + variant | – | one per item and location; serves "balances of a location" |
//! | index location | business + location id | – | one per location |
//! | claim code | business + code | – | one per location |

pub mod describe;
mod item;
mod location;
mod movement;

use bytes::Bytes;
use calendar::Instant;
use ids::{AggregateId, BusinessId, LocationId, VariantId};
use journal::{Damage, Need, Seq};
use sha2::{Digest, Sha256};

use crate::domain::kind::Kind;
use crate::domain::movement::{Movement, Source};

pub use item::*;
pub use location::*;
pub use movement::*;

/// Kinds of aggregates in the store of this service.
pub const KIND_LOCATION: u8 = 1;
/// Kinds of aggregates in the store of this service.
pub const KIND_ITEM: u8 = 2;
/// Format of item and location records.
pub const FORMAT: u8 = 1;
/// Index: source document and line.
pub const INDEX_SOURCE: u16 = 1;
/// Index: items of a business.
pub const INDEX_ITEM: u16 = 2;
/// Index: items of a location.
pub const INDEX_PLACE: u16 = 3;
/// Index: locations of a business.
pub const INDEX_LOCATION: u16 = 4;
/// Claim: location code in a business.
pub const CLAIM_CODE: u16 = 1;

/// Document (16 bytes) and line (8 bytes) of a source.
pub type Line = [u8; 24];

/// The aggregate that holds the stock of a variant in a business.
#[must_use]
pub fn item_id(business: BusinessId, variant: VariantId) -> AggregateId {
    AggregateId::derive(&[b"item", business.as_bytes(), variant.as_bytes()])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Prefix of all lines of a document.
#[must_use]
pub fn document(business: BusinessId, kind: &str, id: &str) -> [u8; 16] {
    let full = hash(&[business.as_bytes(), kind.as_bytes(), id.as_bytes()]);
    std::array::from_fn(|at| full[at])
}

/// Names a source line, if it has an id: it can be posted once per kind and revision.
#[must_use]
pub fn line(business: BusinessId, kind: Kind, source: &Source) -> Option<Line> {
    (!source.line.is_empty()).then(|| line_of(business, kind, source, &source.line, 0))
}

fn line_of(business: BusinessId, kind: Kind, source: &Source, line: &str, first: Seq) -> Line {
    let document = document(business, &source.kind, &source.id);
    let number = kind.number().to_be_bytes();
    let rest = hash(&[line.as_bytes(), &number, &source.revision.to_be_bytes(), &first.to_be_bytes()]);
    let mut key = [0; 24];
    key[..16].copy_from_slice(&document);
    key[16..].copy_from_slice(&rest[..8]);
    key
}

/// Row of a movement in the source index: key and value. The movements of one posting share a row, that
/// of their line or, without one and for a reversal, a place of its own in the document; settlements,
/// which come after them, have a row each.
#[must_use]
pub fn source_row(business: BusinessId, movement: &Movement, seq: Seq) -> (Bytes, Bytes) {
    let source = &movement.cause.source;
    let (first, count) = match movement.is_physical() {
        true => (seq - Seq::from(movement.position), movement.position + 1),
        false => (seq, 1),
    };
    let own_line = movement.is_physical() && movement.reversal_of.is_none();
    let line = own_line.then(|| line(business, movement.kind, source)).flatten();
    let key = line.unwrap_or_else(|| line_of(business, movement.kind, source, "", first));
    (line_key(&key), source_value(first, count))
}

/// The index key of a line.
#[must_use]
pub fn line_key(line: &Line) -> Bytes {
    Bytes::copy_from_slice(line)
}

fn source_value(first: Seq, count: u32) -> Bytes {
    let mut value = Vec::with_capacity(12);
    value.extend_from_slice(&first.to_be_bytes());
    value.extend_from_slice(&count.to_be_bytes());
    value.into()
}

/// Takes a value of the source index apart.
#[must_use]
pub fn read_source_value(value: &[u8]) -> Option<(Seq, u32)> {
    let (first, count) = value.split_first_chunk::<8>()?;
    Some((Seq::from_be_bytes(*first), u32::from_be_bytes(count.try_into().ok()?)))
}

fn key(prefix: u8, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(prefix);
    key.extend_from_slice(rest);
    key.into()
}

/// Row of a balance.
#[must_use]
pub fn balance_key(location: LocationId) -> Bytes {
    key(b'b', location.as_bytes())
}

/// Prefix of all rows of balances.
#[must_use]
pub fn balances_prefix() -> Bytes {
    Bytes::from_static(b"b")
}

/// Row of a chunk of layers.
#[must_use]
pub fn chunk_key(id: Seq) -> Bytes {
    key(b'c', &id.to_be_bytes())
}

/// The need for a chunk of layers.
#[must_use]
pub fn chunk_need(id: Seq) -> Need {
    Need::Row(chunk_key(id))
}

/// Row of the deficits.
#[must_use]
pub fn deficits_key() -> Bytes {
    Bytes::from_static(b"d")
}

/// Row of the marks of a movement.
#[must_use]
pub fn marks_key(movement: Seq) -> Bytes {
    key(b'm', &movement.to_be_bytes())
}

/// Joins ids into an index key.
#[must_use]
pub fn index_key(parts: &[&[u8; 16]]) -> Bytes {
    parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>().into()
}

/// Value of the claim of a location code.
#[must_use]
pub fn code_claim(business: BusinessId, code: &str) -> Bytes {
    [business.as_bytes(), code.as_bytes()].concat().into()
}

fn id<T>(bytes: &[u8], make: fn([u8; 16]) -> T) -> Result<T, Damage> {
    bytes.try_into().map(make).map_err(|_| Damage("an id has 16 bytes".into()))
}

fn instant(micros: i64) -> Result<Instant, Damage> {
    Instant::checked_from_unix_micros(micros).ok_or_else(|| Damage("an instant is out of range".into()))
}
