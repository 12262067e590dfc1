//! How it is stored: row keys, index numbers, codecs, format versions.
//!
//! Two kinds of aggregates, one of each per tenant: [`Log`] and [`Accesses`].
//!
//! | where | key | value | serves | grows to |
//! |---|---|---|---|---|
//! | log header | – | size, peaks, last checkpoint | every command | 2 KiB |
//! | log entries | – | leaves of one bundle: subject, sequences, times, commitments | bundles, level 0 of the tiles, proofs | one per commit and bundle, about 45 bytes a leaf |
//! | log row `c` + service + 0 + aggregate | – | sequence, chain | exactly once; completeness | one per aggregate |
//! | log row `p` + service | – | position | where to go on after a start; in the scope of the platform | one per service |
//! | log row `h` + level + index | – | hash | tiles above level 0, 256 rows each | one per 256 leaves |
//! | index [`SUMMARIES`] | bundle, complemented | marks, times, first entry | searches, newest first; where a bundle's entries are | one per 256 leaves, at most 3 KiB |
//! | index [`SALTS`] | number of the first leaf | 16 bytes a leaf | export, proofs; what an erasure takes away | one per log entry |
//! | index [`PARKED`] | service + 0 + aggregate | cursor | what waits for a person | usually nothing |
//! | index [`CHECKPOINTS`] | size, complemented | signed note | the newest checkpoint | one per checkpoint |
//! | accesses header | – | count | – | – |

use bytes::Bytes;
use calendar::Instant;
use events::{Cursor, Parking};
use ids::AggregateId;
use journal::{Aggregate, Changes, Damage, Need, Seq};
use prost::Message as _;

use crate::domain::access::{Access, Accesses};
use crate::domain::leaf::{SALT_BYTES, Salt};
use crate::domain::log::{Command, Event, Log, Moved, Subject};
use crate::domain::merkle::{Hash, Peaks};
use crate::domain::summary::Summary;
use crate::domain::tile::{Tile, WIDTH};

mod codec;

/// The name of this service in leaves and cursors.
pub const SERVICE: &str = "audit";
/// Kind of a log.
pub const KIND_LOG: u8 = 1;
/// Kind of the reads and refusals of a tenant.
pub const KIND_ACCESSES: u8 = 2;
/// Index of what is in each bundle.
pub const SUMMARIES: u16 = 1;
/// Index of salts.
pub const SALTS: u16 = 2;
/// Index of checkpoints.
pub const CHECKPOINTS: u16 = 3;
/// Index of aggregates that wait for a person.
pub const PARKED: u16 = 4;

/// The log of a tenant.
#[must_use]
pub fn log_id() -> AggregateId {
    AggregateId::derive(&[b"audit", b"log"])
}

/// The reads and refusals of a tenant.
#[must_use]
pub fn accesses_id() -> AggregateId {
    AggregateId::derive(&[b"audit", b"accesses"])
}

/// Row of a cursor.
#[must_use]
pub fn cursor_key(subject: &Subject) -> Bytes {
    [b"c".as_slice(), subject.service.as_bytes(), &[0], subject.aggregate.as_bytes()].concat().into()
}

/// The subject of a cursor's row.
fn read_cursor_key(key: &[u8]) -> Option<Subject> {
    let rest = key.strip_prefix(b"c")?;
    let (rest, aggregate) = rest.split_last_chunk::<16>()?;
    let service = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?.to_owned();
    Some(Subject { service, aggregate: AggregateId::from_bytes(*aggregate) })
}

/// Reads a cursor.
///
/// # Errors
/// [`Damage`] when the bytes do not decode.
pub fn read_cursor(value: &[u8]) -> Result<Cursor, Damage> {
    codec::CursorRecord::decode(value)?.read()
}

/// Row of the position on the bus of a service.
#[must_use]
pub fn position_key(service: &str) -> Bytes {
    [b"p", service.as_bytes()].concat().into()
}

/// Key of an aggregate that waits for a person.
fn parked_key(subject: &Subject) -> Bytes {
    [subject.service.as_bytes(), &[0], subject.aggregate.as_bytes()].concat().into()
}

/// Prefix of the keys of a service's aggregates that wait, in their order.
#[must_use]
pub fn parked_prefix(service: &str) -> Bytes {
    [service.as_bytes(), &[0]].concat().into()
}

/// Reads a row of an aggregate that waits.
///
/// # Errors
/// [`Damage`] when the bytes do not decode.
pub fn read_parked(key: &[u8], value: &[u8]) -> Result<(AggregateId, Parking), Damage> {
    let aggregate = key.last_chunk::<16>().ok_or_else(|| Damage("the key of what waits".into()))?;
    let cursor = read_cursor(value)?;
    let parking = cursor.parked.ok_or_else(|| Damage("what waits does not say why".into()))?;
    Ok((AggregateId::from_bytes(*aggregate), parking))
}

/// Prefix of the rows of a tile's hashes, in their order.
#[must_use]
pub fn tile_prefix(tile: Tile) -> Bytes {
    [&[b'h', tile.level], tile.index.to_be_bytes().as_slice()].concat().into()
}

fn hash_key(level: u8, at: u64) -> Bytes {
    let within = u8::try_from(at % WIDTH).expect("less than 256");
    [&tile_prefix(Tile { level, index: at / WIDTH }), [within].as_slice()].concat().into()
}

/// Key of what is in a bundle; the newest bundle is first.
#[must_use]
pub fn summary_key(bundle: u64) -> Bytes {
    Bytes::copy_from_slice(&(!bundle).to_be_bytes())
}

/// The bundle of a key.
#[must_use]
pub fn read_summary_key(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(|bytes| !u64::from_be_bytes(bytes))
}

/// Reads what is in a bundle.
///
/// # Errors
/// [`Damage`] when the bytes do not decode.
pub fn read_summary(value: &[u8]) -> Result<Summary, Damage> {
    codec::SummaryRecord::decode(value)?.read()
}

/// Prefix of the keys of a bundle's salts, in the order of the leaves.
#[must_use]
pub fn salts_prefix(bundle: u64) -> Bytes {
    Bytes::copy_from_slice(&(bundle * WIDTH).to_be_bytes()[..7])
}

/// Reads a row of salts: the number of the first leaf, a salt each.
#[must_use]
pub fn read_salts(key: &[u8], value: &[u8]) -> Option<(u64, Vec<Salt>)> {
    let first = u64::from_be_bytes(key.try_into().ok()?);
    let (salts, rest) = value.as_chunks::<SALT_BYTES>();
    rest.is_empty().then(|| (first, salts.to_vec()))
}

/// Key of a checkpoint; the newest is first.
#[must_use]
pub fn checkpoint_key(size: u64) -> Bytes {
    Bytes::copy_from_slice(&(!size).to_be_bytes())
}

impl Aggregate for Log {
    type Command = Command;
    type Event = Event;
    type Error = Moved;

    const SERVICE: &'static str = "audit";
    const KIND: u8 = KIND_LOG;
    const FORMAT: u8 = 1;

    fn needs(&self, command: &Command) -> Vec<Need> {
        let Command::Append(stretches) = command else { return vec![] };
        let unknown = stretches.iter().filter(|stretch| !self.cursors.contains_key(&stretch.subject));
        let mut needs: Vec<Need> = unknown.map(|stretch| Need::Row(cursor_key(&stretch.subject))).collect();
        if !self.size().is_multiple_of(WIDTH) && self.summary.is_none() {
            needs.push(Need::Index { index: SUMMARIES, key: summary_key(self.size() / WIDTH) });
        }
        needs
    }

    fn load(&mut self, need: &Need, value: Option<&[u8]>) -> Result<(), Damage> {
        match need {
            Need::Row(key) => {
                let subject = read_cursor_key(key).ok_or_else(|| Damage("a row key".into()))?;
                self.cursors.insert(subject, value.map_or(Ok(Cursor::default()), read_cursor)?);
            }
            Need::Index { .. } => {
                let value = value.ok_or_else(|| Damage("a bundle has no summary".into()))?;
                self.summary = Some(read_summary(value)?);
            }
        }
        Ok(())
    }

    fn decide(&self, command: &Command, _: Instant) -> Result<Vec<Event>, Moved> {
        Log::decide(self, command)
    }

    fn evolve(&mut self, event: &Event, seq: Seq, _: Instant) {
        Log::evolve(self, event, seq);
    }

    fn project(&self, event: &Event, _: Seq, changes: &mut Changes) {
        match event {
            Event::Heard { .. } => {}
            Event::Parked { subject, cursor } => match cursor.parked {
                Some(_) => {
                    let value = codec::CursorRecord::of(cursor).encode_to_vec();
                    changes.index(PARKED, parked_key(subject), value);
                }
                None => changes.unindex(PARKED, parked_key(subject)),
            },
            Event::Signed { size, note } => {
                changes.index(CHECKPOINTS, checkpoint_key(*size), note.clone().into_bytes());
            }
            Event::Appended(appended) => {
                if let Some(beside) = &appended.beside {
                    let summary = codec::SummaryRecord::of(&beside.summary, self.bundle_entry);
                    let bundle = summary_key(appended.first / WIDTH);
                    changes.index(SUMMARIES, bundle, summary.encode_to_vec());
                    let key = appended.first.to_be_bytes().to_vec();
                    changes.index(SALTS, key, beside.salts.concat());
                }
            }
        }
    }

    fn save(&mut self, changes: &mut Changes) {
        for subject in std::mem::take(&mut self.moved) {
            if let Some(cursor) = self.cursors.get(&subject) {
                let value = codec::CursorRecord::of(cursor).encode_to_vec();
                changes.rows.push((cursor_key(&subject), Some(value.into())));
            }
        }
        for (service, position) in std::mem::take(&mut self.heard) {
            let value = Bytes::copy_from_slice(&position.to_be_bytes());
            changes.rows.push((position_key(&service), Some(value)));
        }
        for (level, at, hash) in std::mem::take(&mut self.hashes) {
            changes.rows.push((hash_key(level, at), Some(Bytes::copy_from_slice(&hash))));
        }
        // Thousands of aggregates take turns: each is read again when it comes.
        self.cursors.clear();
    }

    fn header(&self) -> Bytes {
        let record = codec::LogRecord {
            size: self.size(),
            peaks: self.peaks.hashes().concat(),
            bundle_entry: self.bundle_entry,
            signed: self.signed,
        };
        record.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let record = codec::LogRecord::decode(header)?;
        let (hashes, rest) = record.peaks.as_chunks::<32>();
        let hashes: Vec<Hash> = hashes.to_vec();
        let peaks = Peaks::restore(record.size, hashes).filter(|_| rest.is_empty());
        let peaks = peaks.ok_or_else(|| Damage("the peaks of a tree do not fit its size".into()))?;
        Ok(Log { peaks, bundle_entry: record.bundle_entry, signed: record.signed, ..Log::default() })
    }

    fn encode(event: &Event) -> Bytes {
        codec::EventRecord::of(event).encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Event, Damage> {
        codec::EventRecord::decode(bytes)?.read()
    }
}

impl Aggregate for Accesses {
    type Command = Access;
    type Event = Access;
    type Error = std::convert::Infallible;

    const SERVICE: &'static str = "audit";
    const KIND: u8 = KIND_ACCESSES;
    const FORMAT: u8 = 1;

    fn needs(&self, _: &Access) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, need: &Need, _: Option<&[u8]>) -> Result<(), Damage> {
        Err(Damage(format!("{need:?} was not asked for")))
    }

    fn decide(&self, command: &Access, _: Instant) -> Result<Vec<Access>, Self::Error> {
        Ok(vec![command.clone()])
    }

    fn evolve(&mut self, _: &Access, _: Seq, _: Instant) {
        self.count += 1;
    }

    fn project(&self, _: &Access, _: Seq, _: &mut Changes) {}

    fn save(&mut self, _: &mut Changes) {}

    fn header(&self) -> Bytes {
        Bytes::copy_from_slice(&self.count.to_be_bytes())
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let count = header.try_into().map_err(|_| Damage("a count has 8 bytes".into()))?;
        Ok(Accesses { count: u64::from_be_bytes(count) })
    }

    fn encode(event: &Access) -> Bytes {
        codec::AccessRecord::of(event).encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Access, Damage> {
        codec::AccessRecord::decode(bytes)?.read()
    }
}
