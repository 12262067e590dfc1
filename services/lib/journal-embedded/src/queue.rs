//! What waits for the writer.

use std::collections::VecDeque;
use std::mem;

use ids::TenantId;
use journal::store::{KeyHash, Outcome, StoreError};
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::dump::Pause;
use crate::prepare::Group;

/// Most commits that wait. More are turned away.
const QUEUE_COMMITS_MAX: usize = 16_384;
/// Most bytes of records that wait.
pub(crate) const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most commits that the writer takes for one sync.
const BATCH_COMMITS_MAX: usize = 2_000;
/// Most bytes of records that the writer takes for one sync.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Something for the writer to do, and who waits for it.
pub(crate) enum Job {
    Commit {
        group: Group,
        answer: oneshot::Sender<Outcome>,
        /// Where the caller waits.
        runtime: Option<Handle>,
    },
    /// Removes the keys that are still expired at this time; answers how many. Gets a group of its own,
    /// because it looks at what is committed.
    Forget { keys: Vec<(TenantId, KeyHash)>, now_s: u64, answer: oneshot::Sender<Result<usize, StoreError>> },
    /// Forgets the feed up to a group.
    ForgetFeed { upto: u64, answer: oneshot::Sender<Outcome> },
    /// Writes nothing for a while.
    Pause(Pause),
}

impl Job {
    fn size(&self) -> (usize, usize) {
        match self {
            Job::Commit { group, .. } => (group.commits.len(), group.encoded.len()),
            Job::ForgetFeed { .. } => (1, size_of::<u64>()),
            Job::Pause(_) => (0, 0),
            Job::Forget { keys, .. } => (keys.len(), keys.len() * size_of::<(TenantId, KeyHash)>()),
        }
    }

    fn is_alone(&self) -> bool {
        matches!(self, Job::Forget { .. } | Job::Pause(_))
    }
}

/// Many callers put, one writer takes.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    commits: usize,
    bytes: usize,
    /// Why nothing more is taken.
    closed: Option<String>,
    /// Whether the writer sleeps.
    idle: bool,
}

impl Queue {
    /// Adds a job.
    ///
    /// # Errors
    /// Why it was not added: the queue is full or closed. The job will never be done.
    pub(crate) fn put(&self, job: Job) -> Result<(), String> {
        let mut waiting = self.waiting.lock();
        if let Some(reason) = &waiting.closed {
            return Err(reason.clone());
        }
        let (commits, bytes) = job.size();
        let full = waiting.commits + commits > QUEUE_COMMITS_MAX || waiting.bytes + bytes > QUEUE_BYTES_MAX;
        if full && !waiting.jobs.is_empty() {
            return Err("too many writes wait".into());
        }
        waiting.commits += commits;
        waiting.bytes += bytes;
        waiting.jobs.push_back(job);
        if mem::take(&mut waiting.idle) {
            drop(waiting);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for jobs and moves as many as one batch takes into `batch`, oldest first, at least one.
    /// Returns false when the queue is closed and empty.
    pub(crate) fn take(&self, batch: &mut Vec<Job>) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.jobs.is_empty() {
            if waiting.closed.is_some() {
                return false;
            }
            waiting.idle = true;
            self.wake.wait(&mut waiting);
        }
        let (mut commits, mut bytes) = (0, 0);
        while let Some(job) = waiting.jobs.front() {
            let (size, alone) = (job.size(), job.is_alone());
            commits += size.0;
            bytes += size.1;
            let full = commits > BATCH_COMMITS_MAX || bytes > BATCH_BYTES_MAX;
            if !batch.is_empty() && (full || alone) {
                break;
            }
            waiting.commits -= size.0;
            waiting.bytes -= size.1;
            batch.extend(waiting.jobs.pop_front());
            if alone {
                break;
            }
        }
        true
    }

    /// Takes no more jobs; the ones that wait are still done.
    pub(crate) fn close(&self, reason: &str) {
        self.waiting.lock().closed.get_or_insert_with(|| reason.to_owned());
        self.wake.notify_all();
    }

    /// Takes no more jobs and drops the ones that wait.
    pub(crate) fn abandon(&self, reason: &str) {
        self.close(reason);
        self.waiting.lock().jobs.clear();
    }
}
