//! The store itself: open, read, close.

use std::fs;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use fjall::{PersistMode, UserKey, UserValue};
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::store::{
    Claim, Commit, Head, IndexRow, KeyHash, KeyRow, Order, Outcome, Seq, Store, StoreError, check_group,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::directory::Directory;
use crate::fatal::Fatal;
use crate::prepare::prepare;
use crate::queue::{Job, Queue};
use crate::tables::{Table, Tables, View};
use crate::writer::{Writer, is_expired};
use crate::{OpenError, Options, compact, history, records, torn, watch};

/// Most records that are read on the caller's thread; longer reads go to the blocking threads of tokio.
const INLINE_READS_MAX: usize = 256;

/// Most keys that one call of `forget_keys` looks at; the next call goes on from there.
const FORGET_SCAN_MAX: usize = 100_000;

/// A store in one directory. Dropping it closes it.
///
/// A commit that was queued is carried out even if nobody waits for its answer any more. One that finds
/// the queue full, or the store closed, is answered [`Outcome::Unknown`] although it surely did not
/// happen: for the caller it is an overload like any other, and trying again is right.
pub struct EmbeddedStore {
    tables: Arc<Tables>,
    queue: Arc<Queue>,
    stop: Arc<watch::Stop>,
    merge: Arc<compact::Signal>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Where the next call of `forget_keys` begins.
    forget_from: Mutex<Vec<u8>>,
}

impl EmbeddedStore {
    /// Opens the store in the directory `path`, or creates it. Blocks while the engine recovers.
    ///
    /// # Errors
    /// [`OpenError`]: in use, of a newer format, damaged, with acknowledged data missing, or not readable.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<EmbeddedStore, OpenError> {
        let path = path.as_ref();
        let directory = Arc::new(Directory::open(path)?);
        discard_unfinished(&directory)
            .map_err(|error| OpenError::io(path, "removing what an interrupted first start left", error))?;
        let tables = Arc::new(open_tables(path, &directory, &options)?);
        let (at, mark) = history::check(path, &directory, &tables, options.accept_loss)?;

        let queue = Arc::new(Queue::default());
        let fatal = Arc::new(Fatal::new(Arc::clone(&queue), directory, options.on_fatal));
        let merge = Arc::new(compact::Signal::default());
        let writer = Writer {
            tables: Arc::clone(&tables),
            queue: Arc::clone(&queue),
            fatal: Arc::clone(&fatal),
            merge: Arc::clone(&merge),
            mark,
            persist: if options.sync { PersistMode::SyncData } else { PersistMode::Buffer },
            at,
            seqs: Default::default(),
        };
        let stop = Arc::new(watch::Stop::default());
        let watch = {
            let (tables, fatal, stop) = (Arc::clone(&tables), Arc::clone(&fatal), Arc::clone(&stop));
            move || watch::run(&tables, &fatal, &stop)
        };
        let merges = {
            let (tables, merge) = (Arc::clone(&tables), Arc::clone(&merge));
            move || compact::run(&tables, &fatal, &merge)
        };
        // The store first: if a thread does not start, dropping it stops the others.
        let (threads, forget_from) = (Mutex::default(), Mutex::default());
        let store = EmbeddedStore { tables, queue, stop, merge, threads, forget_from };
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.into()).spawn(run);
            store.threads.lock().push(thread.map_err(|e| OpenError::io(path, "starting a thread", e))?);
            Ok(())
        };
        start("journal:writer", Box::new(|| writer.run()))?;
        start("journal:watch", Box::new(watch))?;
        start("journal:merge", Box::new(merges))?;
        Ok(store)
    }

    /// Finishes the writes that wait and takes no more. Blocks. Reads still work.
    pub fn close(&self) {
        self.queue.close("the store is closed");
        self.stop.stop();
        self.merge.stop();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }

    /// Reads a view in the background if it is a long read.
    fn read<T: Send + 'static>(
        &self,
        records: usize,
        read: impl FnOnce(View<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        async move {
            if records <= INLINE_READS_MAX {
                return read(self.tables.view());
            }
            let tables = Arc::clone(&self.tables);
            let done = tokio::task::spawn_blocking(move || read(tables.view())).await;
            done.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
        }
        .boxed()
    }

    async fn put(&self, commits: Vec<Commit>) -> Outcome {
        if commits.is_empty() {
            return Outcome::Applied;
        }
        if let Err(refusal) = check_group(&commits) {
            return Outcome::Refused(refusal);
        }
        let (answer, outcome) = oneshot::channel();
        match self.queue.put(Job::Commit { group: prepare(commits), answer }) {
            Ok(()) => outcome.await.unwrap_or_else(|_| Outcome::Unknown(stopped())),
            Err(reason) => Outcome::Unknown(StoreError::Unavailable(reason)),
        }
    }

    async fn forget(&self, now_s: u64, limit: usize) -> Result<usize, StoreError> {
        let from = self.forget_from.lock().clone();
        let found = self.read(usize::MAX, move |view| expired_keys(&view, &from, now_s, limit)).await?;
        let (keys, next) = found;
        *self.forget_from.lock() = next;
        if keys.is_empty() {
            return Ok(0);
        }
        let (answer, forgotten) = oneshot::channel();
        self.queue.put(Job::Forget { keys, now_s, answer }).map_err(StoreError::Unavailable)?;
        forgotten.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.close();
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("writing stopped before the answer".into())
}

/// Removes an engine whose making was interrupted: it has no version yet, or an empty one, and there is no
/// mark, so nothing was ever acknowledged. The engine itself would refuse to make it anew.
fn discard_unfinished(directory: &Directory) -> io::Result<()> {
    const VERSION: &str = "version";
    let engine = directory.engine();
    if !engine.is_dir() || directory.mark().try_exists()? {
        return Ok(());
    }
    match fs::metadata(engine.join(VERSION)) {
        Ok(version) if version.len() > 0 => Ok(()),
        Ok(_) => fs::remove_dir_all(engine),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_dir_all(engine),
        Err(error) => Err(error),
    }
}

fn open_tables(path: &Path, directory: &Arc<Directory>, options: &Options) -> Result<Tables, OpenError> {
    let open = || Tables::open(Arc::clone(directory), options);
    let error = match open() {
        Err(error @ fjall::Error::JournalRecovery(_)) => error,
        opened => return opened.map_err(|error| OpenError::engine(path, error)),
    };
    let io = |e: io::Error| OpenError::io(path, "cutting off a torn write", e);
    let Some(journal) = torn::cut_last_batch(&directory.engine()).map_err(io)? else {
        return Err(OpenError::engine(path, error));
    };
    match open() {
        Ok(tables) => {
            tracing::warn!("{error}: a write that was torn by a crash was cut off");
            Ok(tables)
        }
        Err(_) => {
            fs::rename(journal.kept, journal.path).map_err(io)?;
            Err(OpenError::engine(path, error))
        }
    }
}

/// Expired keys behind `from`, then from the start up to it; and where to go on.
fn expired_keys(
    view: &View<'_>,
    from: &[u8],
    now_s: u64,
    limit: usize,
) -> Result<(Vec<Vec<u8>>, Vec<u8>), StoreError> {
    let behind = view.range(Table::Key, (Bound::Excluded(from), Bound::Unbounded));
    let before = view.range(Table::Key, (Bound::Unbounded, Bound::Included(from)));
    let (mut keys, mut next) = (Vec::new(), from.to_vec());
    for row in behind.chain(before).take(FORGET_SCAN_MAX) {
        if keys.len() >= limit {
            break;
        }
        let (key, row) = row?;
        next = key.to_vec();
        if is_expired(records::read_key_row(&row)?.expires_s, now_s) {
            keys.push(key.to_vec());
        }
    }
    Ok((keys, next))
}

/// The smallest key behind all keys that begin with `prefix`.
fn end_of(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

fn bytes(value: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(value.as_ref())
}

impl Store for EmbeddedStore {
    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        self.put(group).boxed()
    }

    fn head(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Head>, StoreError>> {
        self.read(1, move |view| {
            let head = view.get(Table::Head, &records::aggregate_key(tenant, aggregate))?;
            head.map(|head| records::read_head(&head)).transpose()
        })
    }

    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, StoreError>> {
        self.read(keys.len(), move |view| {
            let row = |key: Bytes| view.get(Table::Row, &records::row_key(tenant, aggregate, &key));
            keys.into_iter().map(|key| Ok(row(key)?.map(bytes))).collect()
        })
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        self.read(limit, move |view| {
            let from = records::row_key(tenant, aggregate, &prefix);
            let rows = view.range(Table::Row, (Bound::Included(from.as_slice()), as_ref(&end_of(&from))));
            rows.take(limit)
                .map(|row| row.and_then(|(k, v)| Ok((records::read_row_key(&k)?, bytes(v)))))
                .collect()
        })
    }

    fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Seq, Bytes)>, StoreError>> {
        self.read(limit, move |view| {
            if from > to {
                return Ok(Vec::new());
            }
            let from = records::entry_key(tenant, aggregate, from);
            let to = records::entry_key(tenant, aggregate, to);
            let mut entries = view.range(Table::Entry, (Bound::Included(&from), Bound::Included(&to)));
            let next = || match order {
                Order::Ascending => entries.next(),
                Order::Descending => entries.next_back(),
            };
            let entries = std::iter::from_fn(next).take(limit);
            entries
                .map(|entry| entry.and_then(|(k, v)| Ok((records::read_entry_key(&k)?, bytes(v)))))
                .collect()
        })
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        self.read(1, move |view| {
            let row = view.get(Table::Key, &records::key_key(tenant, hash))?;
            row.map(|row| records::read_key_row(&row)).transpose()
        })
    }

    fn claim(
        &self,
        tenant: TenantId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Option<AggregateId>, StoreError>> {
        self.read(1, move |view| {
            let owner = view.get(Table::Claim, &records::claim_key(tenant, &claim))?;
            owner.map(|owner| records::read_owner(&owner)).transpose()
        })
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreError>> {
        self.read(limit, move |view| {
            let start = records::index_prefix(tenant, index, &prefix);
            let after = after.map(|(key, aggregate)| records::index_key(tenant, index, &key, aggregate));
            let from = match &after {
                Some(after) if *after > start => Bound::Excluded(after.as_slice()),
                _ => Bound::Included(start.as_slice()),
            };
            let end = end_of(&start);
            if matches!((&after, &end), (Some(after), Bound::Excluded(end)) if after >= end) {
                return Ok(Vec::new());
            }
            let rows = view.range(Table::Index, (from, as_ref(&end)));
            rows.take(limit).map(|row| row.and_then(|(k, v)| records::read_index_row(&k, &v))).collect()
        })
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.read(1, move |view| {
            let value = view.get(Table::Index, &records::index_key(tenant, index, &key, aggregate))?;
            Ok(value.map(bytes))
        })
    }

    fn aggregates(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(TenantId, AggregateId, Head)>, StoreError>> {
        self.read(limit, move |view| {
            let after = after.map(|(tenant, aggregate)| records::aggregate_key(tenant, aggregate));
            let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_slice()));
            let heads = view.range(Table::Head, (from, Bound::Unbounded)).take(limit);
            let read = |(key, head): (UserKey, UserValue)| {
                let (tenant, aggregate) = records::read_aggregate_key(&key)?;
                Ok((tenant, aggregate, records::read_head(&head)?))
            };
            heads.map(|head| head.and_then(read)).collect()
        })
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.forget(now_s, limit).boxed()
    }
}

fn as_ref(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}
