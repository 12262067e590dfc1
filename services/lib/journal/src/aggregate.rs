//! What a service tells the journal about one kind of aggregate.

use bytes::Bytes;
use calendar::Instant;

use crate::store::{Claim, ClaimChange, IndexChange, Seq};

/// Stored bytes that do not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(pub String);

impl From<prost::DecodeError> for Damage {
    fn from(error: prost::DecodeError) -> Self {
        Damage(error.to_string())
    }
}

/// Something that a decision must look at and that is not in the header.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Need {
    /// A state row of the aggregate.
    Row(Bytes),
    /// One of the aggregate's own rows in an index.
    Index {
        /// Which index.
        index: u16,
        /// Key of the row.
        key: Bytes,
    },
}

/// What a commit writes beside the entries.
#[derive(Default, Debug)]
pub struct Changes {
    /// State rows, written or removed; a later change of the same key wins.
    pub rows: Vec<(Bytes, Option<Bytes>)>,
    /// Claims to take or to release.
    pub claims: Vec<ClaimChange>,
    /// Index rows.
    pub index: Vec<IndexChange>,
}

impl Changes {
    /// Takes a unique value.
    pub fn take(&mut self, kind: u16, value: impl Into<Bytes>) {
        self.claims.push(ClaimChange::Take(Claim { kind, value: value.into() }));
    }

    /// Gives a unique value back.
    pub fn release(&mut self, kind: u16, value: impl Into<Bytes>) {
        self.claims.push(ClaimChange::Release(Claim { kind, value: value.into() }));
    }

    /// Writes an index row.
    pub fn index(&mut self, index: u16, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.index.push(IndexChange { index, key: key.into(), value: Some(value.into()) });
    }

    /// Removes an index row.
    pub fn unindex(&mut self, index: u16, key: impl Into<Bytes>) {
        self.index.push(IndexChange { index, key: key.into(), value: None });
    }
}

/// One kind of thing that the business cares about: an append-only sequence of events and the state
/// that they lead to.
///
/// The domain is pure: it knows no clock, no store, no network. Everything that it needs to decide is in
/// the command, in the header, or is named by [`Aggregate::needs`].
pub trait Aggregate: Default + Send + Sync + 'static {
    /// What callers ask for.
    type Command: Send + Sync + 'static;
    /// What happened. Immutable once committed.
    type Event: Clone + Send + Sync + 'static;
    /// Why a command is refused.
    type Error: Send + 'static;

    /// The service that it belongs to, for what is told of its journals.
    const SERVICE: &'static str = "unnamed";
    /// Tells kinds of aggregates apart in the store of one service.
    const KIND: u8;
    /// Version of the header and row formats.
    const FORMAT: u8;
    /// Aggregates whose state is kept in memory. Fewer for what is seldom changed twice in a row.
    const KEPT_MAX: usize = crate::journal::SLOTS_MAX;

    /// Names what `decide` will look at for `command` and what is not loaded yet. Called again after
    /// loading, until it names nothing.
    fn needs(&self, command: &Self::Command) -> Vec<Need>;

    /// Takes in one thing that was needed; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Damage`] when the bytes do not decode.
    fn load(&mut self, need: &Need, value: Option<&[u8]>) -> Result<(), Damage>;

    /// Decides what happens. Pure: `self` is unchanged. An empty list means that nothing changes.
    ///
    /// # Errors
    /// Why the command is refused.
    fn decide(&self, command: &Self::Command, now: Instant) -> Result<Vec<Self::Event>, Self::Error>;

    /// Changes the state as the event says. Cannot fail; `seq` is the event's position.
    fn evolve(&mut self, event: &Self::Event, seq: Seq, recorded_at: Instant);

    /// Adds the claims and index rows that follow from an event; called after `evolve`.
    fn project(&self, event: &Self::Event, seq: Seq, changes: &mut Changes);

    /// Adds the state rows that changed since the last call, and forgets what was remembered for the
    /// commit only.
    fn save(&mut self, changes: &mut Changes);

    /// Encodes the header: the small state that every command needs.
    fn header(&self) -> Bytes;

    /// Decodes a header of this kind and format.
    ///
    /// # Errors
    /// [`Damage`] when the bytes do not decode.
    fn from_header(header: &[u8]) -> Result<Self, Damage>;

    /// Encodes an event.
    fn encode(event: &Self::Event) -> Bytes;

    /// Decodes an event.
    ///
    /// # Errors
    /// [`Damage`] when the bytes do not decode.
    fn decode(bytes: &[u8]) -> Result<Self::Event, Damage>;

    /// About how many bytes the loaded rows take: a state that grew too large is dropped from memory
    /// after its commit.
    fn weight(&self) -> usize {
        0
    }
}
