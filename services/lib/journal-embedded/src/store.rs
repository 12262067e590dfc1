//! The store itself: open, read, close.

use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::feed::{FeedPage, FeedStore};
use journal::store::{
    Claim, Commit, Found, Head, IndexRow, KeyHash, KeyRow, Order, Outcome, Refusal, Seq, Store, StoreError,
    check_group,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::compact::Part;
use crate::contents::Contents;
use crate::directory::Directory;
use crate::fatal::Fatal;
use crate::history::{Recovered, recover};
use crate::indexer::Indexer;
use crate::log::Opening;
use crate::prepare::Group;
use crate::queue::{Job, QUEUE_BYTES_MAX, Queue};
use crate::tables::Tables;
use crate::writer::{Writer, is_expired};
use crate::{OpenError, Options, compact, files, records};

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
    contents: Contents,
    engine: PathBuf,
    queue: Arc<Queue>,
    merge: Arc<compact::Signal>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Where the next call of `forget_keys` begins.
    forget_from: Mutex<Vec<u8>>,
}

impl EmbeddedStore {
    /// Opens the store in the directory `path`, or creates it. Blocks while the log is read.
    ///
    /// # Errors
    /// [`OpenError`]: in use, of another format, damaged, with acknowledged data missing, or not readable.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<EmbeddedStore, OpenError> {
        let path = path.as_ref();
        let directory = Arc::new(Directory::open(path)?);
        discard_unfinished(&directory)
            .map_err(|error| OpenError::io(path, "removing what an interrupted first start left", error))?;
        if let Some(fault) =
            unsound_lists(&directory).map_err(|e| OpenError::io(path, "reading the engine's files", e))?
        {
            return Err(OpenError::damaged(path, fault));
        }
        let merge = Arc::new(compact::Signal::default());
        let tables = Tables::open(Arc::clone(&directory), &options, &merge);
        let tables = Arc::new(tables.map_err(|error| OpenError::engine(path, error))?);
        let opening = Opening {
            segment_bytes: options.segment_bytes,
            sync: options.sync,
            accept_loss: options.accept_loss,
        };
        let Recovered { at, overlay, mark, log } =
            recover(path, &directory, &tables, options.generation_bytes, &opening)?;

        let engine = directory.engine();
        let contents = Contents { overlay: Arc::new(overlay), tables };
        let queue = Arc::new(Queue::default());
        let fatal = Fatal::new(Arc::clone(&queue), Arc::clone(&merge), directory, options.on_fatal);
        let fatal = Arc::new(fatal);
        let indexer = Indexer {
            tables: Arc::clone(&contents.tables),
            overlay: Arc::clone(&contents.overlay),
            segments: Arc::clone(log.segments()),
            mark: mark.syncing().map_err(|e| OpenError::io(path, "opening the file 'acknowledged'", e))?,
            merge: Arc::clone(&merge),
        };
        let writer = Writer {
            contents: contents.clone(),
            queue: Arc::clone(&queue),
            fatal: Arc::clone(&fatal),
            log,
            mark,
            at,
            seqs: Default::default(),
        };
        let merges = |part| {
            let (tables, merge, fatal) =
                (Arc::clone(&contents.tables), Arc::clone(&merge), Arc::clone(&fatal));
            Box::new(move || compact::run(part, &tables, &fatal, &merge))
        };
        let (shallow, deep) = (merges(Part::Shallow), merges(Part::Deep));
        // The store first: if a thread does not start, dropping it stops the others.
        let (threads, forget_from) = (Mutex::default(), Mutex::default());
        let store = EmbeddedStore { contents, engine, queue, merge, threads, forget_from };
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.into()).spawn(run);
            store.threads.lock().push(thread.map_err(|e| OpenError::io(path, "starting a thread", e))?);
            Ok(())
        };
        start("journal:writer", Box::new(|| writer.run()))?;
        start("journal:index", Box::new(move || indexer.run(&fatal)))?;
        start("journal:merge", shallow)?;
        start("journal:tiers", deep)?;
        Ok(store)
    }

    /// Finishes the writes that wait and takes no more. Blocks. Reads still work.
    pub fn close(&self) {
        self.queue.close("the store is closed");
        self.merge.stop();
        let mut threads = self.threads.lock();
        // The writer, the first one, may wait for the tables while it finishes.
        for (number, thread) in threads.drain(..).enumerate() {
            let _ = thread.join();
            if number == 0 {
                self.contents.overlay.stop();
            }
        }
    }

    /// Reads all files of the tables and compares them with their checksums: what is wrong, in sentences. Reads of
    /// single records would find the same, but not before somebody asks for them. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn check_files(&self) -> io::Result<Vec<String>> {
        files::check_all(&self.engine)
    }

    /// Reads in the background if it is a long read.
    fn read<T: Send + 'static>(
        &self,
        records: usize,
        read: impl FnOnce(&Contents) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        async move {
            if records <= INLINE_READS_MAX {
                return read(&self.contents);
            }
            let contents = self.contents.clone();
            let done = tokio::task::spawn_blocking(move || read(&contents)).await;
            done.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
        }
        .boxed()
    }

    pub(crate) fn put_job(&self, job: Job) -> Result<(), String> {
        self.queue.put(job)
    }

    async fn put(&self, commits: Vec<Commit>) -> Outcome {
        if commits.is_empty() {
            return Outcome::Applied;
        }
        if let Err(refusal) = check_group(&commits) {
            return Outcome::Refused(refusal);
        }
        let group = Group::new(commits);
        if group.encoded.len() > QUEUE_BYTES_MAX {
            return Outcome::Refused(Refusal::Invalid { at: 0, rule: "too many bytes in a group" });
        }
        let (answer, outcome) = oneshot::channel();
        match self.queue.put(Job::Commit { group, answer, runtime: Handle::try_current().ok() }) {
            Ok(()) => outcome.await.unwrap_or_else(|_| Outcome::Unknown(stopped())),
            Err(reason) => Outcome::Unknown(StoreError::Unavailable(reason)),
        }
    }

    async fn forget(&self, now_s: u64, limit: usize) -> Result<usize, StoreError> {
        let from = self.forget_from.lock().clone();
        let found =
            self.read(usize::MAX, move |contents| expired_keys(contents, &from, now_s, limit)).await?;
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

/// What is wrong with the engine's lists of files. Until there is a mark they may be half made.
fn unsound_lists(directory: &Directory) -> io::Result<Option<String>> {
    match directory.mark().try_exists()? {
        true => files::check_lists(&directory.engine()),
        false => Ok(None),
    }
}

/// Keys that expired.
type Expired = Vec<(TenantId, KeyHash)>;

/// Expired keys behind `from`, then from the start up to it; and where to go on.
fn expired_keys(
    contents: &Contents,
    from: &[u8],
    now_s: u64,
    limit: usize,
) -> Result<(Expired, Vec<u8>), StoreError> {
    let mut looked_at = contents.keys(Bound::Excluded(from), FORGET_SCAN_MAX)?;
    if looked_at.len() < FORGET_SCAN_MAX {
        let before = contents.keys(Bound::Unbounded, FORGET_SCAN_MAX - looked_at.len())?;
        looked_at.extend(before.into_iter().take_while(|(key, _)| key.as_slice() <= from));
    }
    let (mut keys, mut next) = (Vec::new(), from.to_vec());
    for (key, row) in looked_at {
        if keys.len() >= limit {
            break;
        }
        if is_expired(row.expires_s, now_s) {
            keys.push(records::read_key_key(&key)?);
        }
        next = key;
    }
    Ok((keys, next))
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
        self.read(1, move |contents| contents.head((tenant, aggregate)))
    }

    fn rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        keys: Vec<Bytes>,
    ) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, StoreError>> {
        self.read(keys.len(), move |contents| contents.rows((tenant, aggregate), &keys))
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        self.read(limit, move |contents| contents.scan_rows((tenant, aggregate), &prefix, limit))
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
        self.read(limit, move |contents| contents.entries((tenant, aggregate), (from, to), order, limit))
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        self.read(1, move |contents| contents.key(tenant, hash))
    }

    fn claim(
        &self,
        tenant: TenantId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Option<AggregateId>, StoreError>> {
        self.read(1, move |contents| contents.owner(tenant, &claim))
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreError>> {
        self.read(limit, move |contents| contents.index(tenant, index, &prefix, after, limit))
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        aggregate: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.read(1, move |contents| contents.index_row((tenant, aggregate), index, &key))
    }

    fn aggregates(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.read(limit, move |contents| contents.aggregates(after, limit))
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.forget(now_s, limit).boxed()
    }
}

impl FeedStore for EmbeddedStore {
    fn feed(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<FeedPage, StoreError>> {
        self.read(limit, move |contents| contents.feed(after, limit))
    }

    fn forget_feed(&self, upto: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let (answer, forgotten) = oneshot::channel();
            self.queue.put(Job::ForgetFeed { upto, answer }).map_err(StoreError::Unavailable)?;
            forgotten.await.map(drop).map_err(|_| stopped())
        }
        .boxed()
    }

    fn feed_moved(&self, after: u64) -> BoxFuture<'_, ()> {
        let mut last = self.contents.overlay.last();
        async move {
            // The sender lives as long as the store.
            let _ = last.wait_for(|last| *last > after).await;
        }
        .boxed()
    }
}
