//! The embedded store: one directory, one group-commit thread, one sync for everything that queued
//! during the last one.
//!
//! Read in this order: [`records`] (what is stored), [`prepare`] and [`writer`] (a commit's way),
//! [`store`] (open, read, close),
//! [`compact`] (flushes and merges), [`history`], [`mark`] and [`torn`] (what is checked at open), [`fatal`] and
//! [`watch`] (what happens when the disk fails).

mod compact;
mod directory;
mod error;
mod fatal;
mod history;
mod mark;
mod prepare;
mod queue;
mod records;
mod seqs;
mod store;
mod tables;
mod torn;
mod watch;
mod writer;

pub use crate::error::OpenError;
pub use crate::fatal::OnFatal;
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
    /// Bytes of each table in memory before it is flushed; `None` for the tuned sizes. Tests make it
    /// small.
    pub memtable_bytes: Option<u64>,
    /// Called once when writing failed for good: the process should end with an error.
    pub on_fatal: Option<OnFatal>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cache_bytes: 32 * 1024 * 1024,
            sync: true,
            accept_loss: false,
            memtable_bytes: None,
            on_fatal: None,
        }
    }
}
