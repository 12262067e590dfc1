//! Documents over many items, on a store whose commits go to one aggregate: a shipment, an assembly, a batch
//! that is posted as a whole or not at all.
//!
//! hold -> commit point -> post. The document's journal is the only truth:
//!
//! 1. the document begins a round: its lines are an entry, and it is listed as open;
//! 2. each line puts a *hold* on its item, which checks what there is and keeps it back;
//! 3. the **commit point**: all hold, and the document commits; or one does not, and it aborts. Exactly one of
//!    the two is in its journal;
//! 4. each hold is posted (the movement is written), or voided;
//! 5. the round is finished, and the document no longer open.
//!
//! Every step can be repeated, by any process: whoever finds an open document drives it forward
//! ([`Documents::drive`], [`Documents::recover`]). A hold never expires by a clock: who meets one asks the
//! document ([`Documents::settle`]), and a reader counts the holds of a committed document as posted
//! ([`Documents::read`]), so that nobody sees half of it.
//!
//! The item's part is three commands whose rules are [`hold`], [`post`] and [`void`]; its rows are
//! [`pending_row`] and [`settled_row`]. A void that finds no hold leaves a settled row, so that a hold that was
//! under way meanwhile comes too late.

mod drive;
mod read;
mod state;

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use prost::Message;
use sha2::{Digest, Sha256};

pub use drive::{Documents, Ended, Lines};
pub use state::{Command, Document, Event, Phase, Refused};

use crate::aggregate::{Damage, Need};

/// Lines of a document.
pub const LINES_MAX: usize = 1000;

/// One line of a document: an item, and what is wanted of it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Line {
    /// The item: 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    item: Bytes,
    /// What is wanted, as the service encodes it.
    #[prost(bytes = "bytes", tag = "2")]
    pub what: Bytes,
}

impl Line {
    /// A line about an item.
    #[must_use]
    pub fn new(item: AggregateId, what: impl Into<Bytes>) -> Line {
        Line { item: Bytes::copy_from_slice(item.as_bytes()), what: what.into() }
    }

    /// The item.
    ///
    /// # Errors
    /// [`Damage`] when the stored bytes are no id.
    pub fn item(&self) -> Result<AggregateId, Damage> {
        aggregate(&self.item)
    }
}

fn aggregate(bytes: &Bytes) -> Result<AggregateId, Damage> {
    let id = bytes.as_ref().try_into().map_err(|_| Damage("an id of a document is not one".into()))?;
    Ok(AggregateId::from_bytes(id))
}

/// Names the hold of one line in one round: the first 16 bytes of SHA-256 over document, line and round.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HoldId(pub [u8; 16]);

/// A hold: what a line does to its item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Its name.
    pub id: HoldId,
    /// The document, which says what becomes of it.
    pub document: AggregateId,
    /// The round of the document.
    pub round: u32,
    /// Position of the line, from 0.
    pub line: u32,
    /// What is wanted, as the service encodes it.
    pub what: Bytes,
}

impl Hold {
    /// The hold of a line.
    #[must_use]
    pub fn new(tenant: TenantId, document: AggregateId, round: u32, line: u32, what: Bytes) -> Hold {
        let mut hash = Sha256::new();
        hash.update(tenant.as_bytes());
        hash.update(document.as_bytes());
        hash.update(line.to_be_bytes());
        hash.update(round.to_be_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        Hold { id: HoldId(id), document, round, line, what }
    }

    /// The value of its row while it is pending.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let stored = StoredHold {
            document: Bytes::copy_from_slice(self.document.as_bytes()),
            round: self.round,
            line: self.line,
            what: self.what.clone(),
        };
        stored.encode_to_vec().into()
    }

    /// Reads the row of a pending hold.
    ///
    /// # Errors
    /// [`Damage`] when the bytes do not decode.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Hold, Damage> {
        let id = key.strip_prefix(PENDING_PREFIX).and_then(|id| id.try_into().ok());
        let id = id.ok_or_else(|| Damage("the key of a hold is not one".into()))?;
        let stored = StoredHold::decode(value)?;
        let document = aggregate(&stored.document)?;
        Ok(Hold { id: HoldId(id), document, round: stored.round, line: stored.line, what: stored.what })
    }
}

#[derive(Clone, PartialEq, Eq, Message)]
struct StoredHold {
    #[prost(bytes = "bytes", tag = "1")]
    document: Bytes,
    #[prost(uint32, tag = "2")]
    round: u32,
    #[prost(uint32, tag = "3")]
    line: u32,
    #[prost(bytes = "bytes", tag = "4")]
    what: Bytes,
}

/// Beginning of the keys of an item's rows of pending holds. No other state row of an item may begin so.
pub const PENDING_PREFIX: &[u8] = b"\0hold\0";
/// Beginning of the keys of an item's rows of holds that ended.
pub const SETTLED_PREFIX: &[u8] = b"\0held\0";

/// Key of the row that an item keeps while a hold is pending; its value is [`Hold::encode`]. One for each open
/// line of a document on this item.
#[must_use]
pub fn pending_row(hold: HoldId) -> Bytes {
    [PENDING_PREFIX, &hold.0].concat().into()
}

/// Key of the row that an item keeps for ever once a hold has ended; its value is [`Settled::encode`]. One for
/// each line that was ever posted or voided here.
#[must_use]
pub fn settled_row(hold: HoldId) -> Bytes {
    [SETTLED_PREFIX, &hold.0].concat().into()
}

/// The rows that an item must load before it decides about a hold.
#[must_use]
pub fn rows(hold: HoldId) -> [Need; 2] {
    [Need::Row(pending_row(hold)), Need::Row(settled_row(hold))]
}

/// How a hold ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// Its movement is written.
    Posted,
    /// It was given back, or never came.
    Voided,
}

impl Settled {
    /// The value of its row.
    #[must_use]
    pub fn encode(self) -> Bytes {
        match self {
            Settled::Posted => Bytes::from_static(b"p"),
            Settled::Voided => Bytes::from_static(b"v"),
        }
    }

    /// Reads its row.
    ///
    /// # Errors
    /// [`Damage`] when the bytes do not decode.
    pub fn decode(value: &[u8]) -> Result<Settled, Damage> {
        match value {
            b"p" => Ok(Settled::Posted),
            b"v" => Ok(Settled::Voided),
            _ => Err(Damage("how a hold ended does not decode".into())),
        }
    }
}

/// What an item knows of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// There is a pending row.
    pub pending: bool,
    /// There is a settled row.
    pub settled: Option<Settled>,
}

/// What an item has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Todo {
    /// Do it now.
    Now,
    /// Nothing: it was done before.
    Nothing,
    /// Refuse. Of a hold: its round was aborted meanwhile. Of a post or a void: somebody broke the protocol.
    Refuse,
}

/// Whether a hold may be put on an item. `Now` asks for the rules of the business too.
#[must_use]
pub fn hold(known: Known) -> Todo {
    match known {
        Known { settled: Some(Settled::Voided), .. } => Todo::Refuse,
        Known { settled: Some(Settled::Posted), .. } | Known { pending: true, .. } => Todo::Nothing,
        Known { pending: false, settled: None } => Todo::Now,
    }
}

/// Whether a hold is to be posted: movement, settled row, and the pending row goes.
#[must_use]
pub fn post(known: Known) -> Todo {
    match known {
        Known { settled: Some(Settled::Posted), .. } => Todo::Nothing,
        Known { pending: true, settled: None } => Todo::Now,
        _ => Todo::Refuse,
    }
}

/// Whether a hold is to be voided: settled row, and the pending row goes, if there is one.
#[must_use]
pub fn void(known: Known) -> Todo {
    match known.settled {
        Some(Settled::Voided) => Todo::Nothing,
        Some(Settled::Posted) => Todo::Refuse,
        None => Todo::Now,
    }
}
