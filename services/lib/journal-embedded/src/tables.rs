//! The engine's tables and how each is tuned.

use std::ops::Bound;
use std::sync::Arc;

use fjall::config::{
    BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy,
};
use fjall::{
    CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot,
};
use fjall::{UserKey, UserValue};
use journal::store::StoreError;

use crate::Options;
use crate::compact::on_our_schedule;
use crate::directory::Directory;

/// Bytes of the engine's journals on disk before tables are flushed to shorten them. Bounds what is
/// replayed at open, and the memory for it.
const JOURNAL_BYTES_MAX: u64 = 96 * 1024 * 1024;

/// Threads that flush.
const WORKERS: usize = 1;

/// Names a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Table {
    Head,
    Entry,
    Row,
    Key,
    Claim,
    Index,
    Meta,
}

impl Table {
    pub(crate) const ALL: [Table; 7] =
        [Table::Head, Table::Entry, Table::Row, Table::Key, Table::Claim, Table::Index, Table::Meta];

    fn name(self) -> &'static str {
        match self {
            Table::Head => "head",
            Table::Entry => "entry",
            Table::Row => "row",
            Table::Key => "key",
            Table::Claim => "claim",
            Table::Index => "index",
            Table::Meta => "meta",
        }
    }

    /// Bytes of a table in memory before it is flushed. Each may have a few of these at once.
    fn memtable_bytes(self) -> u64 {
        const MIB: u64 = 1024 * 1024;
        match self {
            Table::Head | Table::Entry | Table::Row => 8 * MIB,
            Table::Key | Table::Index => 6 * MIB,
            Table::Claim => 4 * MIB,
            Table::Meta => MIB,
        }
    }

    fn options(self) -> KeyspaceCreateOptions {
        let create = on_our_schedule(KeyspaceCreateOptions::default().manual_journal_persist(true));
        // Most look-ups of keys and claims find nothing: filters at every level, kept in memory near the
        // top. Entries are read by range, where filters do not help.
        let filter = |bits| FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(bits));
        match self {
            Table::Entry | Table::Meta => create.filter_policy(FilterPolicy::disabled()),
            Table::Key => create
                .filter_policy(FilterPolicy::all(filter(12.0)))
                .filter_block_pinning_policy(PinningPolicy::new([true, true, false]))
                // Hashes do not compress.
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None)),
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
    memtable_bytes: Option<u64>,
    /// Keeps the lock until the engine is closed.
    _directory: Arc<Directory>,
}

/// A change of one record; `None` removes it.
pub(crate) struct Record {
    pub(crate) table: Table,
    pub(crate) key: UserKey,
    pub(crate) value: Option<UserValue>,
}

impl Tables {
    pub(crate) fn open(directory: Arc<Directory>, options: &Options) -> fjall::Result<Tables> {
        let db = Database::builder(directory.engine())
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .manual_journal_persist(true)
            .worker_threads(WORKERS)
            .open()?;
        let table = |table: Table| db.keyspace(table.name(), || table.options());
        let [head, entry, row, key, claim, index, meta] = Table::ALL.map(table);
        let tables = [head?, entry?, row?, key?, claim?, index?, meta?];
        Ok(Tables { tables, db, memtable_bytes: options.memtable_bytes, _directory: directory })
    }

    pub(crate) fn db(&self) -> &Database {
        &self.db
    }

    pub(crate) fn memtable_bytes(&self, table: Table) -> u64 {
        self.memtable_bytes.unwrap_or_else(|| table.memtable_bytes())
    }

    /// Fails when the engine has failed, for example in the background. Writes nothing: the writer
    /// leaves no unwritten bytes.
    pub(crate) fn check_alive(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::Buffer)
    }

    pub(crate) fn table(&self, table: Table) -> &Keyspace {
        &self.tables[table as usize]
    }

    /// A view of everything that was committed when it was made.
    pub(crate) fn view(&self) -> View<'_> {
        View { tables: self, at: self.db.snapshot() }
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
