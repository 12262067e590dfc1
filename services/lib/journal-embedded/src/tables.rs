//! The engine's tables and how each is tuned. They are an index that follows the log: only files are written,
//! never the engine's own journal.

use std::ops::Bound;
use std::sync::Arc;

use fjall::config::{
    BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy,
};
use fjall::{CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, Readable, Snapshot};
use fjall::{UserKey, UserValue};
use journal::store::StoreError;

use crate::Options;
use crate::compact::{Signal, on_our_schedule};
use crate::directory::Directory;

/// Names a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Table {
    Head,
    Entry,
    Row,
    Key,
    Claim,
    Index,
    Feed,
    Meta,
}

impl Table {
    pub(crate) const ALL: [Table; 8] = [
        Table::Head,
        Table::Entry,
        Table::Row,
        Table::Key,
        Table::Claim,
        Table::Index,
        Table::Feed,
        Table::Meta,
    ];

    fn name(self) -> &'static str {
        match self {
            Table::Head => "head",
            Table::Entry => "entry",
            Table::Row => "row",
            Table::Key => "key",
            Table::Claim => "claim",
            Table::Index => "index",
            Table::Feed => "feed",
            Table::Meta => "meta",
        }
    }

    /// Whether its records are removed soon after they were written.
    pub(crate) fn is_queue(self) -> bool {
        matches!(self, Table::Feed | Table::Meta)
    }

    fn options(self) -> KeyspaceCreateOptions {
        let create = on_our_schedule(KeyspaceCreateOptions::default().manual_journal_persist(true));
        // Values are sealed and keys are hashes, for the most part: neither gets smaller.
        let create = create
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
            // Kept in memory for all tiers but the last, which may be large.
            .filter_block_pinning_policy(PinningPolicy::new([true, true, true, true, true, true, false]));
        // Most look-ups of keys and claims find nothing: filters at every level. Entries are read by range, where filters
        // do not help.
        let filter = |bits| FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(bits));
        match self {
            Table::Entry | Table::Feed | Table::Meta => create.filter_policy(FilterPolicy::disabled()),
            Table::Key => create.filter_policy(FilterPolicy::all(filter(12.0))),
            Table::Head | Table::Row | Table::Claim | Table::Index => {
                create.filter_policy(FilterPolicy::all(filter(10.0)))
            }
        }
    }
}

/// The open engine.
pub(crate) struct Tables {
    tables: [Keyspace; Table::ALL.len()],
    db: Database,
    /// Also keeps the lock until the engine is closed.
    directory: Arc<Directory>,
}

impl Tables {
    /// Merges end when the signal says so.
    pub(crate) fn open(
        directory: Arc<Directory>,
        options: &Options,
        signal: &Signal,
    ) -> fjall::Result<Tables> {
        let interrupt = signal.interrupt();
        let db = Database::builder(directory.engine())
            .cache_size(options.cache_bytes)
            .manual_journal_persist(true)
            .worker_threads(1)
            .with_compaction_filter_factories(Arc::new(move |_| Some(Arc::clone(&interrupt))))
            .open()?;
        let table = |table: Table| db.keyspace(table.name(), || table.options());
        let [head, entry, row, key, claim, index, feed, meta] = Table::ALL.map(table);
        let tables = [head?, entry?, row?, key?, claim?, index?, feed?, meta?];
        Ok(Tables { tables, db, directory })
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn db(&self) -> &Database {
        &self.db
    }

    /// Writes records, in order of their keys, durably and atomically; `None` removes.
    pub(crate) fn ingest(
        &self,
        table: Table,
        records: impl Iterator<Item = (impl AsRef<[u8]>, Option<impl AsRef<[u8]>>)>,
    ) -> fjall::Result<()> {
        let mut records = records.peekable();
        if records.peek().is_none() {
            return Ok(());
        }
        let mut to = self.table(table).start_ingestion()?;
        for (key, value) in records {
            let key = UserKey::from(key.as_ref());
            match value {
                Some(value) => to.write(key, UserValue::from(value.as_ref()))?,
                None => to.write_tombstone(key)?,
            }
        }
        to.finish()
    }

    /// Writes records of the meta table, in order of their keys.
    pub(crate) fn write_meta<const N: usize>(&self, records: [(&[u8], &[u8]); N]) -> fjall::Result<()> {
        self.ingest(Table::Meta, records.into_iter().map(|(key, value)| (key, Some(value))))
    }

    pub(crate) fn table(&self, table: Table) -> &Keyspace {
        &self.tables[table as usize]
    }

    /// A view of everything that was committed when it was made.
    pub(crate) fn view(&self) -> View<'_> {
        self.view_at(self.snapshot())
    }

    /// Keeps what was committed when it was made.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.db.snapshot()
    }

    /// A view of what a snapshot keeps.
    pub(crate) fn view_at(&self, at: Snapshot) -> View<'_> {
        View { tables: self, at }
    }
}

/// A consistent view: a commit is in it with all its records or not at all.
pub(crate) struct View<'a> {
    tables: &'a Tables,
    at: Snapshot,
}

impl View<'_> {
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<UserValue>, StoreError> {
        self.at.get(self.tables.table(table), key).map_err(store_error)
    }

    pub(crate) fn range(
        &self,
        table: Table,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl DoubleEndedIterator<Item = Result<(UserKey, UserValue), StoreError>> + use<> {
        self.at.range::<&[u8], _>(self.tables.table(table), range).map(pair)
    }
}

fn pair(guard: Guard) -> Result<(UserKey, UserValue), StoreError> {
    guard.into_inner().map_err(store_error)
}

pub(crate) fn store_error(error: fjall::Error) -> StoreError {
    use fjall::{Error, LsmError};
    match error {
        Error::Io(_) | Error::Storage(LsmError::Io(_)) | Error::Poisoned | Error::Locked => {
            StoreError::Unavailable(error.to_string())
        }
        damage => StoreError::Damaged(damage.to_string()),
    }
}
