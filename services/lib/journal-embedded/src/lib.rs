//! The embedded store: one directory, one group-commit thread, one sync for everything that queued
//! during the last one.
//!
//! Read in this order: [`prepare`] and [`writer`] (a commit's way), [`frame`] and [`log`] (where it is durable),
//! [`overlay`] (where it is read at first), [`indexer`], [`records`], [`tiers`] and [`compact`] (where it is read later),
//! [`contents`] and [`store`] (reads), [`history`], [`mark`] and [`files`] (what is checked at open), [`fatal`] (what
//! happens when the disk fails), [`dump`] and [`load`] (everything at one moment, and a store made from it).

mod compact;
mod contents;
mod directory;
mod dump;
mod error;
mod fatal;
mod files;
mod frame;
mod history;
mod indexer;
mod load;
mod log;
mod mark;
mod overlay;
mod prepare;
mod queue;
mod records;
mod seqs;
mod store;
mod tables;
mod tiers;
mod writer;

pub use crate::dump::{Dump, Paused, Place, RawRecord, Section};
pub use crate::error::OpenError;
pub use crate::fatal::OnFatal;
pub use crate::load::{LoadError, Loader};
pub use crate::store::EmbeddedStore;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Bytes of blocks that are kept in memory for reads. Default 32 MiB.
    pub cache_bytes: u64,
    /// Whether each group is synced before it is acknowledged. Default true; without it a power cut
    /// loses acknowledged writes, so only tests and benchmarks switch it off.
    pub sync: bool,
    /// Goes on from what is there although acknowledged data was lost. Default false.
    pub accept_loss: bool,
    /// About how many bytes of records are kept in memory before they are written to tables; up to three times
    /// as many while writing them falls behind. Default 16 MiB; tests make it small.
    pub generation_bytes: usize,
    /// Bytes of each segment of the log. Default 8 MiB; tests make it small.
    pub segment_bytes: u64,
    /// Called once when writing failed for good: the process should end with an error.
    pub on_fatal: Option<OnFatal>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cache_bytes: 32 * 1024 * 1024,
            sync: true,
            accept_loss: false,
            generation_bytes: 16 * 1024 * 1024,
            segment_bytes: 8 * 1024 * 1024,
            on_fatal: None,
        }
    }
}
