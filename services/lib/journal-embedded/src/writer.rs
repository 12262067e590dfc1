//! The group-commit thread: takes what queued during the last sync, writes it as one group, syncs once,
//! answers everybody.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ids::{AggregateId, TenantId};
use journal::store::{Claim, ClaimChange, Commit, KeyHash, Outcome, Refusal, Seq, StoreError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::contents::Contents;
use crate::dump::Dump;
use crate::fatal::Fatal;
use crate::frame::{self, Next, Record};
use crate::log::Log;
use crate::mark::Mark;
use crate::overlay::changed;
use crate::prepare::Group;
use crate::queue::{Job, Queue};
use crate::records::{self, Position};
use crate::seqs::Seqs;

pub(crate) struct Writer {
    pub(crate) contents: Contents,
    pub(crate) queue: Arc<Queue>,
    pub(crate) fatal: Arc<Fatal>,
    pub(crate) log: Log,
    pub(crate) mark: Mark,
    /// The last group that is durable.
    pub(crate) at: Position,
    pub(crate) seqs: Seqs,
}

/// Owners that the group changes; `None` is free.
type Claimed = HashMap<Vec<u8>, Option<AggregateId>>;

/// What a group writes, in order, and the answers that wait for its sync.
#[derive(Default)]
struct Batch {
    groups: Vec<Group>,
    claimed: Claimed,
    /// What is forgotten.
    forgotten: Vec<Record>,
    answers: Answers,
}

/// Answers, sent when they are dropped.
#[derive(Default)]
struct Answers {
    commits: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    forgotten: Option<(oneshot::Sender<Forgotten>, Forgotten)>,
    runtime: Option<Handle>,
}

/// How many keys were forgotten.
type Forgotten = Result<usize, StoreError>;

impl Drop for Answers {
    fn drop(&mut self) {
        for (answer, outcome) in self.commits.drain(..) {
            let _ = answer.send(outcome);
        }
        if let Some((answer, count)) = self.forgotten.take() {
            let _ = answer.send(count);
        }
    }
}

impl Answers {
    /// Sends them from within the runtime where somebody waits: waking a task from there is much cheaper than
    /// from this thread. A runtime that ends drops the task, which sends them too.
    fn send(mut self) {
        match self.runtime.take() {
            Some(runtime) if self.commits.len() > 1 => drop(runtime.spawn(async move { drop(self) })),
            _ => drop(self),
        }
    }

    /// Leaves them unsent; the callers read that as unknown.
    fn withhold(mut self) {
        self.commits.clear();
        self.forgotten = None;
    }
}

impl Writer {
    /// Works until the queue is closed and empty, or until writing fails.
    pub(crate) fn run(mut self) {
        let fatal = Arc::clone(&self.fatal);
        let work = catch_unwind(AssertUnwindSafe(move || self.work()));
        match work {
            Ok(Ok(())) => {}
            Ok(Err(error)) => fatal.stop(&error),
            Err(_) => fatal.stop("the writer panicked"),
        }
    }

    fn work(&mut self) -> Result<(), String> {
        let mut jobs = Vec::new();
        while self.queue.take(&mut jobs) {
            let mut batch = Batch::default();
            for job in jobs.drain(..) {
                self.stage(job, &mut batch);
            }
            let Batch { groups, claimed, forgotten, answers } = batch;
            if (!groups.is_empty() || !forgotten.is_empty())
                && let Err(error) = self.write(groups, claimed, forgotten)
            {
                answers.withhold();
                return Err(error);
            }
            answers.send();
            self.seqs.turn();
            self.contents.overlay.turn();
        }
        Ok(())
    }

    /// Decides whether the conditions of a job hold after the jobs before it.
    fn stage(&mut self, job: Job, batch: &mut Batch) {
        match job {
            Job::Commit { group, answer, runtime } => {
                let outcome = match self.check(&group.commits, &mut batch.claimed) {
                    Ok(()) => {
                        for commit in &group.commits {
                            self.seqs.set((commit.tenant, commit.aggregate), commit.head.seq);
                        }
                        batch.groups.push(group);
                        Outcome::Applied
                    }
                    Err(outcome) => outcome,
                };
                batch.answers.commits.push((answer, outcome));
                batch.answers.runtime = runtime;
            }
            Job::Forget { keys, now_s, answer } => {
                let expired = self.still_expired(keys, now_s);
                batch.answers.forgotten =
                    Some((answer, expired.as_ref().map(Vec::len).map_err(Clone::clone)));
                for (tenant, hash) in expired.into_iter().flatten() {
                    batch.forgotten.push(Record::Forget(tenant, hash));
                }
            }
            // Alone in its batch: all before it is written, and nothing else is.
            Job::Pause(pause) => {
                pause.hold(Dump::take(&self.contents.overlay, &self.contents.tables, self.at));
            }
            Job::ForgetFeed { upto, answer } => {
                // The future is not forgotten: groups of this batch are not in the feed yet.
                let upto = upto.min(*self.contents.overlay.last().borrow());
                if upto > self.contents.overlay.forgotten() {
                    batch.forgotten.push(Record::ForgetFeed(upto));
                }
                batch.answers.commits.push((answer, Outcome::Applied));
            }
        }
    }

    /// Makes a group durable, then visible.
    fn write(&mut self, groups: Vec<Group>, claimed: Claimed, forgotten: Vec<Record>) -> Result<(), String> {
        // The hash goes over the records in the order of the frame, as whoever reads it computes it.
        let mut next = Next::after(self.at);
        groups.iter().flat_map(|group| &group.commits).for_each(|commit| next.commit(commit));
        let mut rest = Vec::new();
        claimed.iter().for_each(|(key, owner)| frame::push_claim(&mut rest, key, *owner));
        for record in &forgotten {
            match record {
                Record::Forget(tenant, hash) => {
                    next.forget(*tenant, *hash);
                    frame::push_forget(&mut rest, *tenant, *hash);
                }
                Record::ForgetFeed(upto) => {
                    next.forget_feed(*upto);
                    frame::push_forget_feed(&mut rest, *upto);
                }
                Record::Commit(_) | Record::Claim(..) => unreachable!("nothing that is forgotten"),
            }
        }
        let at = next.position();
        let payload = groups.iter().map(|group| group.encoded.as_slice()).chain([rest.as_slice()]);
        self.log.append(at, payload).map_err(|error| format!("the log was not written: {error}"))?;

        let claims = claimed.into_iter().map(|(key, owner)| Record::Claim(key, owner));
        let rest: Vec<Record> = claims.chain(forgotten).collect();
        let changes = groups.iter().flat_map(|group| &group.commits).filter_map(changed).collect();
        let overlay = &self.contents.overlay;
        if rest.is_empty() {
            // What one caller wrote is visible as a whole; readers go on between two callers.
            for group in groups {
                overlay.apply(at, group.commits.into_iter().map(Record::Commit));
            }
        } else {
            let commits = groups.into_iter().flat_map(|group| group.commits);
            overlay.apply(at, commits.map(Record::Commit).chain(rest));
        }
        overlay.announce(at, changes);
        self.mark.write(at).map_err(|error| format!("the mark was not written: {error}"))?;
        self.at = at;
        Ok(())
    }

    /// Decides whether all conditions of commits hold, after the ones before them in the group.
    fn check(&mut self, commits: &[Commit], claimed: &mut Claimed) -> Result<(), Outcome> {
        for (at, commit) in commits.iter().enumerate() {
            let current = self.current(commit).map_err(Outcome::Unknown)?;
            if current != commit.expect {
                return Err(Outcome::Refused(Refusal::Moved { at, current }));
            }
        }
        if commits.iter().all(|commit| commit.claims.is_empty()) {
            return Ok(());
        }
        let mut changes = Claimed::new();
        for (at, commit) in commits.iter().enumerate() {
            self.claim(at, commit, claimed, &mut changes)?;
        }
        claimed.extend(changes);
        Ok(())
    }

    fn current(&mut self, commit: &Commit) -> Result<Seq, StoreError> {
        let scope = (commit.tenant, commit.aggregate);
        if let Some(seq) = self.seqs.get(scope) {
            return Ok(seq);
        }
        let seq = self.contents.seq(scope)?;
        self.seqs.set(scope, seq);
        Ok(seq)
    }

    /// Adds the changes of one commit to `changes`; its releases come before its takes.
    fn claim(
        &self,
        at: usize,
        commit: &Commit,
        claimed: &Claimed,
        changes: &mut Claimed,
    ) -> Result<(), Outcome> {
        let owner = |changes: &Claimed, key: &[u8]| match changes.get(key).or_else(|| claimed.get(key)) {
            Some(owner) => Ok(*owner),
            None => self.contents.owner_of(key).map_err(Outcome::Unknown),
        };
        for change in &commit.claims {
            let ClaimChange::Release(claim) = change else { continue };
            let key = records::claim_key(commit.tenant, claim);
            if owner(changes, &key)? == Some(commit.aggregate) {
                changes.insert(key, None);
            }
        }
        for change in &commit.claims {
            let ClaimChange::Take(claim) = change else { continue };
            let key = records::claim_key(commit.tenant, claim);
            match owner(changes, &key)? {
                Some(owner) if owner != commit.aggregate => {
                    let claim = Claim::clone(claim);
                    return Err(Outcome::Refused(Refusal::Claimed { at, claim, owner }));
                }
                _ => changes.insert(key, Some(commit.aggregate)),
            };
        }
        Ok(())
    }

    fn still_expired(
        &self,
        keys: Vec<(TenantId, KeyHash)>,
        now_s: u64,
    ) -> Result<Vec<(TenantId, KeyHash)>, StoreError> {
        let mut expired = Vec::with_capacity(keys.len());
        for (tenant, hash) in keys {
            let row = self.contents.key(tenant, hash)?;
            if row.is_some_and(|row| is_expired(row.expires_s, now_s)) {
                expired.push((tenant, hash));
            }
        }
        Ok(expired)
    }
}

pub(crate) fn is_expired(expires_s: u64, now_s: u64) -> bool {
    expires_s != 0 && expires_s < now_s
}
