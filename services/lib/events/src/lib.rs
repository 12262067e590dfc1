//! Events: how others hear, without loss and without repetition, of what journals hold.
//!
//! Read in this order: [`envelope`] (one entry under way), [`source`] (what a consumer hears from: a bus
//! that wakes it and a journal that it reads), [`in_process`] (the bus of one process: a cursor over the
//! journals of a store), [`sweep`] (what hears from a store that does not tell), [`beside`] (what is not followed, and
//! not at every commit), [`sink`] (where effects and cursors are kept, together), [`consumer`] (the loop), [`progress`] (numbers of how far it is), [`check`] (proof of completeness against the heads of the journals), [`model`] (read models that are rebuilt
//! beside the live ones).

pub mod beside;
pub mod check;
pub mod consumer;
pub mod envelope;
pub mod in_process;
pub mod model;
pub mod progress;
pub mod sink;
pub mod source;
pub mod sweep;

pub use crate::beside::{Beside, Follows};
pub use crate::check::Completeness;
pub use crate::consumer::{Consumer, Error, Step};
pub use crate::envelope::{Envelope, MessageId};
pub use crate::in_process::InProcess;
pub use crate::sink::{Cursor, Parking, Sink, SinkError, Stretch, Undecodable};
pub use crate::source::{Bus, Heard, ReadJournal, Source, StoreJournal};
pub use crate::sweep::Sweep;
