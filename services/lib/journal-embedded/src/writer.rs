//! The group-commit thread: takes what queued during the last sync, writes it as one batch, syncs once,
//! answers everybody.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fjall::{OwnedWriteBatch, PersistMode};
use ids::AggregateId;
use journal::store::{Claim, ClaimChange, Outcome, Refusal, Seq, StoreError};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::compact::Signal;
use crate::fatal::Fatal;
use crate::mark::Mark;
use crate::prepare::{Check, Group};
use crate::queue::{Job, Queue};
use crate::records::{self, Position};
use crate::seqs::Seqs;
use crate::tables::{Record, Table, Tables, View};

pub(crate) struct Writer {
    pub(crate) tables: Arc<Tables>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) fatal: Arc<Fatal>,
    pub(crate) merge: Arc<Signal>,
    pub(crate) mark: Mark,
    pub(crate) persist: PersistMode,
    /// The last group that is durable.
    pub(crate) at: Position,
    pub(crate) seqs: Seqs,
}

/// Owners that the batch changes; `None` is free.
type Claimed = HashMap<Vec<u8>, Option<AggregateId>>;

/// Answers that wait for the sync.
#[derive(Default)]
struct Answers {
    commits: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    forgotten: Option<(oneshot::Sender<Forgotten>, Forgotten)>,
}

/// How many keys were forgotten.
type Forgotten = Result<usize, StoreError>;

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
            // On an error the answers are dropped unsent, and the callers read that as unknown.
            let answers = self.batch(&mut jobs)?;
            for (answer, outcome) in answers.commits {
                let _ = answer.send(outcome);
            }
            if let Some((answer, count)) = answers.forgotten {
                let _ = answer.send(count);
            }
            self.seqs.turn();
            if self.tables.flush_full().map_err(|error| error.to_string())? {
                self.merge.wake();
            }
        }
        Ok(())
    }

    fn batch(&mut self, jobs: &mut Vec<Job>) -> Result<Answers, String> {
        let tables = Arc::clone(&self.tables);
        let mut batch = OwnedWriteBatch::with_capacity(tables.db().clone(), 4 * jobs.len() + 1);
        let mut answers = Answers::default();
        let mut claimed = Claimed::new();
        let next = self.at.group + 1;
        let mut hash = Sha256::new().chain_update(self.at.hash).chain_update(next.to_be_bytes());
        let view = tables.view();

        for job in jobs.drain(..) {
            match job {
                Job::Commit { group, answer } => {
                    let outcome = match self.check(&view, &group, &mut claimed) {
                        Ok(()) => {
                            self.stage(group, &mut batch, &mut hash);
                            Outcome::Applied
                        }
                        Err(outcome) => outcome,
                    };
                    answers.commits.push((answer, outcome));
                }
                Job::Forget { keys, now_s, answer } => {
                    let expired = still_expired(&view, keys, now_s);
                    for key in expired.iter().flatten() {
                        hash.update(key);
                        batch.remove(tables.table(Table::Key), key.as_slice());
                    }
                    answers.forgotten = Some((answer, expired.map(|keys| keys.len())));
                }
            }
        }
        if batch.is_empty() {
            return Ok(answers);
        }
        for (key, owner) in claimed {
            let value = owner.map(|owner| owner.as_bytes().into());
            push(&mut batch, &tables, Record { table: Table::Claim, key: key.into(), value });
        }
        let next = Position { group: next, hash: hash.finalize().into() };
        let meta = tables.table(Table::Meta);
        batch.insert(meta, records::group_key(next.group), records::position_value(next));
        self.commit(batch).map_err(|error| error.to_string())?;
        self.mark.write(next).map_err(|error| format!("the mark was not written: {error}"))?;
        self.at = next;
        Ok(answers)
    }

    fn commit(&self, batch: OwnedWriteBatch) -> fjall::Result<()> {
        batch.durability(Some(self.persist)).commit()
    }

    /// Decides whether all conditions of a group hold, after the groups before it in the batch.
    fn check(&mut self, view: &View<'_>, group: &Group, claimed: &mut Claimed) -> Result<(), Outcome> {
        for (at, check) in group.checks.iter().enumerate() {
            let current = self.current(view, check).map_err(Outcome::Unknown)?;
            if current != check.expect {
                return Err(Outcome::Refused(Refusal::Moved { at, current }));
            }
        }
        if group.checks.iter().all(|check| check.claims.is_empty()) {
            return Ok(());
        }
        let mut changes = Claimed::new();
        for (at, check) in group.checks.iter().enumerate() {
            claim(view, at, check, claimed, &mut changes)?;
        }
        claimed.extend(changes);
        Ok(())
    }

    fn current(&mut self, view: &View<'_>, check: &Check) -> Result<Seq, StoreError> {
        let key = (check.tenant, check.aggregate);
        if let Some(seq) = self.seqs.get(key) {
            return Ok(seq);
        }
        let head = view.get(Table::Head, &records::aggregate_key(key.0, key.1))?;
        let seq = head.map_or(Ok(0), |head| records::read_head_seq(&head))?;
        self.seqs.set(key, seq);
        Ok(seq)
    }

    fn stage(&mut self, group: Group, batch: &mut OwnedWriteBatch, hash: &mut Sha256) {
        for check in &group.checks {
            self.seqs.set((check.tenant, check.aggregate), check.seq);
            hash.update(check.tenant.as_bytes());
            hash.update(check.aggregate.as_bytes());
            hash.update(check.seq.to_be_bytes());
            hash.update(check.chain);
        }
        for record in group.records {
            push(batch, &self.tables, record);
        }
    }
}

/// Of two changes of one key in a batch the later one wins, in memory and after a replay alike.
fn push(batch: &mut OwnedWriteBatch, tables: &Tables, record: Record) {
    let table = tables.table(record.table);
    match record.value {
        Some(value) => batch.insert(table, record.key, value),
        None => batch.remove(table, record.key),
    }
}

/// Adds the changes of one commit to `changes`; its releases come before its takes.
fn claim(
    view: &View<'_>,
    at: usize,
    check: &Check,
    claimed: &Claimed,
    changes: &mut Claimed,
) -> Result<(), Outcome> {
    let owner = |changes: &Claimed, key: &[u8]| match changes.get(key).or_else(|| claimed.get(key)) {
        Some(owner) => Ok(*owner),
        None => read_owner(view, key).map_err(Outcome::Unknown),
    };
    for change in &check.claims {
        let ClaimChange::Release(claim) = change else { continue };
        let key = records::claim_key(check.tenant, claim);
        if owner(changes, &key)? == Some(check.aggregate) {
            changes.insert(key, None);
        }
    }
    for change in &check.claims {
        let ClaimChange::Take(claim) = change else { continue };
        let key = records::claim_key(check.tenant, claim);
        match owner(changes, &key)? {
            Some(owner) if owner != check.aggregate => {
                let claim = Claim::clone(claim);
                return Err(Outcome::Refused(Refusal::Claimed { at, claim, owner }));
            }
            _ => changes.insert(key, Some(check.aggregate)),
        };
    }
    Ok(())
}

fn read_owner(view: &View<'_>, key: &[u8]) -> Result<Option<AggregateId>, StoreError> {
    view.get(Table::Claim, key)?.map(|owner| records::read_owner(&owner)).transpose()
}

fn still_expired(view: &View<'_>, keys: Vec<Vec<u8>>, now_s: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut expired = Vec::with_capacity(keys.len());
    for key in keys {
        let Some(row) = view.get(Table::Key, &key)? else { continue };
        if is_expired(records::read_key_row(&row)?.expires_s, now_s) {
            expired.push(key);
        }
    }
    Ok(expired)
}

pub(crate) fn is_expired(expires_s: u64, now_s: u64) -> bool {
    expires_s != 0 && expires_s < now_s
}
