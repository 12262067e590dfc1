//! Where a consumer keeps its effects, and with them how far it is.

use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::{Chain, Seq};

use crate::envelope::Envelope;

/// Up to where the entries of one aggregate took effect.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// The last entry that took effect; 0 before the first.
    pub seq: Seq,
    /// Hash over the entries up to it, by which the next one is known to continue them.
    pub chain: Chain,
    /// Set while the aggregate waits for a person.
    pub parked: Option<Parking>,
}

/// Why an aggregate waits: its next entry cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parking {
    /// The entry.
    pub seq: Seq,
    /// What is wrong with it, at most [`REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

/// An aggregate that waits.
pub type Parked = (TenantId, AggregateId, Parking);

/// Most bytes of a reason.
pub const REASON_BYTES_MAX: usize = 256;

/// An event that cannot be understood, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub String);

/// A stretch of one aggregate: entries that follow each other without a gap.
#[derive(Clone, Debug)]
pub struct Stretch<E> {
    /// The aggregate.
    pub aggregate: AggregateId,
    /// Where the cursor must still be.
    pub from: Cursor,
    /// Where it is afterwards. May be parked; without events, the stretch only parks or unparks.
    pub to: Cursor,
    /// Entries `from.seq + 1 ..= to.seq` and what they decode to.
    pub events: Vec<(Envelope, E)>,
}

/// Why effects were not written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SinkError {
    /// A cursor is not where a stretch begins: somebody else was faster, or an earlier try was written after
    /// all. Nothing was written by this one.
    #[error("a cursor has moved")]
    Moved,
    /// Try again later; it may have been written.
    #[error("the consumer's store is not available: {0}")]
    Unavailable(String),
}

/// The effects of a consumer and its cursors, in one store.
pub trait Sink: Send + Sync + 'static {
    /// What it makes of an entry.
    type Event: Send + 'static;

    /// Decodes an entry. Pure. An entry of no interest is decoded to an event that says so.
    ///
    /// # Errors
    /// [`Undecodable`] when it cannot be understood: its aggregate is parked.
    fn decode(&self, envelope: &Envelope) -> Result<Self::Event, Undecodable>;

    /// Reads the cursors of aggregates, in the order given; the default for those that it never heard of.
    fn cursors<'a>(
        &'a self,
        source: &'a str,
        tenant: TenantId,
        aggregates: Vec<AggregateId>,
    ) -> BoxFuture<'a, Result<Vec<Cursor>, SinkError>>;

    /// Writes the effects of stretches of different aggregates and moves their cursors, in one atomic write
    /// that happens only if each cursor is where its stretch begins.
    fn apply<'a>(
        &'a self,
        source: &'a str,
        tenant: TenantId,
        stretches: Vec<Stretch<Self::Event>>,
    ) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Reads parked aggregates in order, after `after`, at most `limit`.
    fn parked<'a>(
        &'a self,
        source: &'a str,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Parked>, SinkError>>;

    /// Reads the position on the bus of a source, if it was noted. Nothing but time depends on it.
    fn position<'a>(&'a self, source: &'a str) -> BoxFuture<'a, Result<Option<u64>, SinkError>>;

    /// Notes the position on the bus of a source: everything before it took effect or is parked.
    fn set_position<'a>(&'a self, source: &'a str, position: u64) -> BoxFuture<'a, Result<(), SinkError>>;
}
