//! What the one writer of an aggregate does: folds waiting commands into one commit, pursues unknown outcomes,
//! answers each command by itself.
//!
//! Correctness does not rest on there being one (`slot`): the conditional commit decides. Folding makes a hot
//! aggregate fast.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use calendar::Instant;
use futures::stream;
use futures::{FutureExt as _, StreamExt as _};
use ids::{AggregateId, TenantId};
use tracing::{error, warn};

use crate::aggregate::{Aggregate, Changes};
use crate::bug;
use crate::entry::{Entry, NewEntry, Posted};
use crate::error::{Error, Rejection, SubmitError};
use crate::journal::{Answer, Inner, Keep, Meta, ROUNDS_MAX, Request, Scope, UNKNOWN_S_MAX, unstored};
use crate::relay::{Owner, Permit};
use crate::slot::Command;
use crate::store::{
    AttemptId, Chain, Claim, ClaimChange, Commit, Head, KeyHash, KeyRow, NO_BUCKET, Order, Outcome, Refusal,
    Seq, StoreError,
};
use crate::tally::{self, Committed, TRACES_MAX, Trace};

/// A state in memory and its place in the journal.
pub(crate) struct Loaded<A> {
    pub(crate) state: A,
    pub(crate) seq: Seq,
    pub(crate) chain: Chain,
    pub(crate) recorded_at: Instant,
}

/// What a waiting command gets.
pub(crate) type Reply<A> = Result<Answer<<A as Aggregate>::Event>, Rejection<<A as Aggregate>::Error>>;

/// The commands for one aggregate, decided one after the other, on their way to one commit.
pub(crate) struct Plan<A: Aggregate> {
    scope: Scope,
    attempt: AttemptId,
    pub(crate) expect: Seq,
    pub(crate) loaded: Box<Loaded<A>>,
    entries: Vec<bytes::Bytes>,
    keys: Vec<(KeyHash, KeyRow)>,
    changes: Changes,
    /// Which request of the caller takes which claim.
    claims: Vec<(Claim, usize)>,
}

impl<A: Aggregate> Plan<A> {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.keys.is_empty()
    }

    /// The commit, and the state that is true once it is applied.
    pub(crate) fn commit(mut self) -> (Commit, Box<Loaded<A>>) {
        self.loaded.state.save(&mut self.changes);
        let head = Head {
            seq: self.loaded.seq,
            attempt: self.attempt,
            chain: self.loaded.chain,
            format: u16::from_be_bytes([A::KIND, A::FORMAT]),
            header: self.loaded.header(),
        };
        let commit = Commit {
            tenant: self.scope.tenant,
            aggregate: self.scope.aggregate,
            expect: self.expect,
            bucket: NO_BUCKET,
            head,
            entries: self.entries,
            rows: last_of_each(self.changes.rows, |row| row.0.clone()),
            keys: self.keys,
            claims: last_of_each(self.changes.claims, |change| change.claim().clone())
                .into_iter()
                .filter(|change| match change {
                    ClaimChange::Take(_) => !bug::is("take no claims"),
                    ClaimChange::Release(_) => !bug::is("release no claims"),
                })
                .collect(),
            index: last_of_each(self.changes.index, |row| (row.index, row.key.clone())),
        };
        (commit, self.loaded)
    }
}

/// Keeps the last change of each key: the store wants each key once, and what a later command of the fold gave
/// back is not taken.
fn last_of_each<T, K: Ord>(changes: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    if changes.len() < 2 {
        return changes;
    }
    changes
        .into_iter()
        .map(|change| (key(&change), change))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .collect()
}

/// What was found under an idempotency key; `None` if nobody has looked yet.
pub(crate) type Looked = Option<Option<KeyRow>>;

/// Looks at a shared store at the same time.
pub(crate) const LOOKS_AT_ONCE: usize = 16;

impl<A: Aggregate> Inner<A> {
    pub(crate) async fn plan(&self, scope: Scope, loaded: Option<Box<Loaded<A>>>) -> Result<Plan<A>, Error> {
        let loaded = match loaded {
            Some(loaded) => loaded,
            None => match self.store.head(scope.tenant, scope.aggregate).await? {
                Some(head) => Box::new(Loaded::from_head(&head)?),
                None => Box::new(Loaded::unborn()),
            },
        };
        let mut attempt = AttemptId::default();
        self.env.random(&mut attempt.0);
        Ok(Plan {
            scope,
            attempt,
            expect: loaded.seq,
            loaded,
            entries: Vec::new(),
            keys: Vec::new(),
            changes: Changes::default(),
            claims: Vec::new(),
        })
    }

    /// Where each look takes a while, looks at what many commands need at the same time: their idempotency keys, and
    /// what their state needs now. Between head and commit it does not matter when they are read. What cannot be read
    /// is looked at again, by the command that needs it.
    async fn look_ahead(&self, plan: &mut Plan<A>, commands: &[Command<A>]) -> Vec<Looked> {
        if self.owner.is_none() || commands.len() < 2 {
            return vec![None; commands.len()];
        }
        let tenant = plan.scope.tenant;
        let keys: Vec<_> = commands.iter().map(|command| &command.request.meta).collect();
        let look = |meta: &Meta| {
            let (key, keep) = (meta.key, meta.keep);
            async move {
                match keep {
                    Keep::No => Some(None),
                    _ => self.store.key(tenant, key).await.ok(),
                }
            }
        };
        let looks: Vec<_> = keys.into_iter().map(look).collect();
        let looked = stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
        let mut needs = BTreeSet::new();
        for command in commands {
            needs.extend(plan.loaded.state.needs(&command.request.command));
        }
        if !needs.is_empty() {
            let _ = self.load(plan.scope, &mut plan.loaded, needs.into_iter().collect()).await;
        }
        looked
    }

    /// Decides like [`Self::consider`]; `None` if a rule was broken because another process has moved the
    /// aggregate: rows that were loaded after the head may then belong to a later state than the head.
    pub(crate) async fn considered(
        &self,
        plan: &mut Plan<A>,
        at: usize,
        request: &Request<A::Command>,
        looked: Looked,
    ) -> Option<Reply<A>> {
        let (scope, expect) = (plan.scope, plan.expect);
        match AssertUnwindSafe(self.consider(plan, at, request, looked)).catch_unwind().await {
            Ok(reply) => Some(reply),
            Err(broken) => match Box::pin(self.has_moved(scope, expect)).await {
                Ok(true) => None,
                Ok(false) => resume_unwind(broken),
                // Nobody knows whether the rule or the rows were wrong: nothing was decided.
                Err(error) => Some(Err(error.into())),
            },
        }
    }

    /// Decides one command on the state that its predecessors in the plan led to.
    async fn consider(
        &self,
        plan: &mut Plan<A>,
        at: usize,
        request: &Request<A::Command>,
        looked: Looked,
    ) -> Reply<A> {
        let (scope, meta) = (plan.scope, &request.meta);
        let now = self.env.now().max(plan.loaded.recorded_at);
        let now = if bug::is("let time run backwards") { self.env.now() } else { now };
        let known = match looked {
            _ if meta.keep == Keep::No => None,
            Some(known) => known,
            None => self.store.key(scope.tenant, meta.key).await.map_err(Error::from)?,
        };
        if let Some(row) = known
            && (row.expires_s == 0 || now.unix_ms() / 1000 < row.expires_s)
        {
            let replayed = Box::pin(self.replay(scope.tenant, request, &row)).await?;
            if bug::is("apply a repetition to the state") {
                replayed.events.iter().for_each(|old| plan.loaded.state.evolve(&old.event, old.seq, now));
            }
            return Ok(replayed);
        }
        for round in 0.. {
            let needs = plan.loaded.state.needs(&request.command);
            if needs.is_empty() {
                break;
            }
            assert!(round < ROUNDS_MAX, "an aggregate never has what it needs");
            self.load(scope, &mut plan.loaded, needs).await?;
        }
        let events = plan.loaded.state.decide(&request.command, now).map_err(Rejection::Domain)?;

        let first = plan.loaded.seq + 1;
        let mut posted = Vec::with_capacity(events.len());
        let claims_before = plan.changes.claims.len();
        for (position, event) in (0u32..).zip(events) {
            let loaded = &mut plan.loaded;
            loaded.seq += 1;
            loaded.recorded_at = now;
            loaded.state.evolve(&event, loaded.seq, now);
            loaded.state.project(&event, loaded.seq, &mut plan.changes);
            let entry = NewEntry {
                recorded_at_us: now.unix_micros(),
                actor: &meta.actor,
                attempt: plan.attempt,
                key: meta.key,
                position,
                event: A::encode(&event),
                request_id: &meta.request_id,
                trace: meta.trace,
            };
            let before = if bug::is("chain no predecessor") { Chain::default() } else { loaded.chain };
            let (chain, stored) = entry.after(before);
            loaded.chain = chain;
            plan.entries.push(stored);
            posted.push(Posted {
                seq: loaded.seq,
                event,
                recorded_at: now,
                actor: meta.actor.clone(),
                key: meta.key,
                position,
                chain: Some(loaded.chain),
            });
        }
        for change in &plan.changes.claims[claims_before..] {
            if let ClaimChange::Take(claim) = change {
                plan.claims.push((claim.clone(), at));
            }
        }
        if meta.keep != Keep::No && !bug::is("forget the key row") {
            let row = KeyRow {
                aggregate: scope.aggregate,
                first: if bug::is("point the key row beside the entries") { first + 1 } else { first },
                count: u32::try_from(posted.len()).unwrap_or(u32::MAX),
                fingerprint: meta.fingerprint,
                expires_s: meta.keep.expires_s(now),
            };
            plan.keys.push((meta.key, row));
        }
        Ok(Answer { events: posted, seq: plan.loaded.seq, replayed: false, aggregate: scope.aggregate })
    }

    /// The answer that an earlier call with the same key got.
    async fn replay(
        &self,
        tenant: TenantId,
        request: &Request<A::Command>,
        row: &KeyRow,
    ) -> Result<Answer<A::Event>, Error> {
        if row.fingerprint != request.meta.fingerprint && !bug::is("ignore the fingerprint") {
            return Err(Error::IdempotencyConflict);
        }
        let seq = row.first + u64::from(row.count) - 1;
        let scope = Scope { tenant, aggregate: row.aggregate };
        let events = match row.count {
            0 => Vec::new(),
            count => self.entries(scope, row.first, seq, Order::Ascending, count as usize).await?,
        };
        Ok(Answer { events, seq, replayed: true, aggregate: row.aggregate })
    }

    /// Commits waiting commands of one aggregate and answers them; gives back the state if it is known.
    pub(crate) async fn commit_folded(
        &self,
        scope: Scope,
        mut loaded: Option<Box<Loaded<A>>>,
        mut commands: Vec<Command<A>>,
    ) -> Option<Box<Loaded<A>>> {
        for _ in 0..ROUNDS_MAX {
            let mut plan = match self.plan(scope, loaded.take()).await {
                Ok(plan) => plan,
                Err(error) => {
                    fail(commands, &error);
                    return None;
                }
            };
            let looked = self.look_ahead(&mut plan, &commands).await;
            let mut replies = Vec::with_capacity(commands.len());
            for (at, (command, looked)) in commands.iter().zip(looked).enumerate() {
                replies.extend(self.considered(&mut plan, at, &command.request, looked).await);
            }
            if replies.len() < commands.len() {
                continue;
            }
            if plan.is_empty() {
                let replayed = |reply: &Reply<A>| reply.as_ref().is_ok_and(|answer| answer.replayed);
                if !replies.iter().all(replayed) && !bug::is("refuse from what is in memory") {
                    match Box::pin(self.has_moved(scope, plan.expect)).await {
                        Ok(false) => {}
                        Ok(true) => continue,
                        Err(error) => {
                            fail(commands, &error);
                            return None;
                        }
                    }
                }
                answer(commands, replies);
                return Some(plan.loaded);
            }
            if bug::is("mix up the answers of neighbours") {
                replies.rotate_left(1);
            }
            let claims = std::mem::take(&mut plan.claims);
            let (commit, next) = plan.commit();
            if bug::is("answer before the commit") {
                let traces = traces(commands.iter().map(|command| &command.request.meta));
                let count = commands.len();
                answer(commands, replies);
                self.settle(vec![commit], count, &traces).await;
                return None;
            }
            let traces = traces(commands.iter().map(|command| &command.request.meta));
            match self.settle(vec![commit], commands.len(), &traces).await {
                Outcome::Refused(Refusal::Moved { current, .. })
                    if bug::is("keep a stale state after another's commit") =>
                {
                    loaded = Some(Box::new(Loaded { seq: current, ..*next }));
                }
                Outcome::Unknown(_) if bug::is("acknowledge an unknown outcome") => {
                    answer(commands, replies);
                    return None;
                }
                Outcome::Unknown(why) if bug::is("report failure from an unknown outcome") => {
                    fail(commands, &Error::Unavailable(why));
                    return None;
                }
                // Rejections were decided on the state that is durable only now.
                Outcome::Applied => {
                    answer(commands, replies);
                    return Some(next);
                }
                Outcome::Refused(Refusal::Moved { .. } | Refusal::Fenced { .. } | Refusal::Locked { .. }) => {
                }
                Outcome::Refused(Refusal::Claimed { claim, owner, .. }) => {
                    let Some((_, at)) = claims.into_iter().find(|(taken, _)| *taken == claim) else {
                        error!("the store refused a claim that no command made");
                        fail(commands, &Error::ConcurrentUpdate);
                        return None;
                    };
                    match self.was_done(scope.tenant, &commands[at].request.meta).await {
                        Ok(false) => {}
                        // It has it from an earlier try, which the next round finds.
                        Ok(true) => continue,
                        Err(error) => {
                            fail(commands, &error);
                            return None;
                        }
                    }
                    let command = commands.remove(at);
                    let _ = command.reply.send(Err(Rejection::Claimed { claim, owner }));
                }
                Outcome::Refused(Refusal::Invalid { rule, .. }) => {
                    fail(commands, &Error::TooLarge(rule));
                    return None;
                }
                Outcome::Unknown(why) => {
                    warn!("a commit stayed undecided: {why}");
                    fail(commands, &Error::OutcomeUnknown);
                    return None;
                }
            }
        }
        fail(commands, &Error::ConcurrentUpdate);
        None
    }

    /// Commits a batch over several aggregates, all or none.
    pub(crate) async fn commit_all(
        self: &Arc<Self>,
        tenant: TenantId,
        requests: &[(AggregateId, Request<A::Command>)],
    ) -> Result<Vec<Answer<A::Event>>, SubmitError<A::Error>> {
        let refuse = |at: usize, error: Error| SubmitError { at, rejection: Rejection::Journal(error) };
        let mut leases = BTreeMap::new();
        // In order of the ids: two batches never wait for each other.
        let mut wanted: Vec<AggregateId> = requests.iter().map(|(aggregate, _)| *aggregate).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for aggregate in wanted {
            let lease = self.slot(Scope { tenant, aggregate }).lease(self).await;
            leases.insert(aggregate, lease.map_err(|error| refuse(0, error))?);
        }

        'rounds: for _ in 0..ROUNDS_MAX {
            let mut plans = BTreeMap::new();
            for (aggregate, lease) in &mut leases {
                let plan = self.plan(Scope { tenant, aggregate: *aggregate }, lease.loaded.take()).await;
                plans.insert(*aggregate, plan.map_err(|error| refuse(0, error))?);
            }
            let mut answers = Vec::with_capacity(requests.len());
            let mut refused = None;
            for (at, (aggregate, request)) in requests.iter().enumerate() {
                let Some(plan) = plans.get_mut(aggregate) else {
                    return Err(refuse(at, Error::ConcurrentUpdate));
                };
                match self.considered(plan, at, request, None).await {
                    None => continue 'rounds,
                    Some(Ok(answer)) => answers.push(answer),
                    Some(Err(rejection)) => {
                        refused = Some(SubmitError { at, rejection });
                        break;
                    }
                }
            }
            let uncommitted = refused.is_some() || plans.values().all(Plan::is_empty);
            if uncommitted && bug::is("refuse from what is in memory") {
                return refused.map_or(Ok(answers), Err);
            }
            if uncommitted {
                let mut moved = false;
                for (aggregate, plan) in &plans {
                    let has_moved =
                        self.has_moved(Scope { tenant, aggregate: *aggregate }, plan.expect).await;
                    moved |= has_moved.map_err(|error| refuse(0, error))?;
                }
                match refused {
                    _ if moved => continue,
                    Some(refused) => return Err(refused),
                    None => {}
                }
            }
            let (mut group, mut states, mut claims) = (Vec::new(), Vec::new(), Vec::new());
            for (aggregate, mut plan) in plans {
                claims.append(&mut plan.claims);
                if plan.is_empty() {
                    states.push((aggregate, plan.loaded));
                } else {
                    let (commit, next) = plan.commit();
                    group.push(commit);
                    states.push((aggregate, next));
                }
            }
            let traces = traces(requests.iter().map(|(_, request)| &request.meta));
            let outcome = match group.is_empty() {
                true => Outcome::Applied,
                false => self.settle(group, requests.len(), &traces).await,
            };
            match outcome {
                Outcome::Applied => {
                    for (aggregate, next) in states {
                        if let Some(lease) = leases.get_mut(&aggregate) {
                            lease.loaded = Some(next);
                        }
                    }
                    return Ok(answers);
                }
                Outcome::Refused(Refusal::Moved { .. } | Refusal::Fenced { .. } | Refusal::Locked { .. }) => {
                }
                Outcome::Refused(Refusal::Claimed { claim, owner, .. }) => {
                    let at = claims.iter().find(|(taken, _)| *taken == claim).map_or(0, |(_, at)| *at);
                    let done = self.was_done(tenant, &requests[at].1.meta).await;
                    if done.map_err(|error| refuse(at, error))? {
                        continue;
                    }
                    return Err(SubmitError { at, rejection: Rejection::Claimed { claim, owner } });
                }
                Outcome::Refused(Refusal::Invalid { rule, .. }) => {
                    return Err(refuse(0, Error::TooLarge(rule)));
                }
                Outcome::Unknown(why) => {
                    warn!("a batch stayed undecided: {why}");
                    return Err(refuse(0, Error::OutcomeUnknown));
                }
            }
        }
        Err(refuse(0, Error::ConcurrentUpdate))
    }

    /// Whether an earlier try of a request was carried out, perhaps for another aggregate.
    pub(crate) async fn was_done(&self, tenant: TenantId, meta: &Meta) -> Result<bool, Error> {
        Ok(meta.keep != Keep::No && self.store.key(tenant, meta.key).await?.is_some())
    }

    /// Whether another process has committed since `seq`. What is answered without a commit must be true of
    /// what is stored: the state in memory may be old, and rows that were loaded later may be newer than it.
    pub(crate) async fn has_moved(&self, scope: Scope, seq: Seq) -> Result<bool, Error> {
        let head = self.store.head(scope.tenant, scope.aggregate).await?;
        Ok(head.map_or(0, |head| head.seq) != seq)
    }

    /// Commits what so many commands led to, and tells of it.
    pub(crate) async fn settle(&self, group: Vec<Commit>, commands: usize, traces: &[Trace]) -> Outcome {
        let begun = tokio::time::Instant::now();
        let outcome = self.settle_untold(group).await;
        let took = begun.elapsed();
        self.tally.settled(&outcome, commands, took);
        if !traces.is_empty() {
            let outcome = tally::outcome_name(&outcome);
            tally::tell(&Committed { service: self.tally.service, traces, commands, outcome, took });
        }
        outcome
    }

    /// Commits, and pursues an unknown outcome until it is decided; on a shared store with a permit.
    async fn settle_untold(&self, mut group: Vec<Commit>) -> Outcome {
        while bug::is("commit a batch in parts") && group.len() > 1 {
            let part = Box::pin(self.decide_outcome(vec![group.remove(0)])).await;
            if part != Outcome::Applied {
                return part;
            }
        }
        match &self.owner {
            None => self.decide_outcome(group).await,
            Some(owner) => Box::pin(self.settle_shared(owner, group)).await,
        }
    }

    /// The owner marks the aggregates first, and relays them afterwards.
    async fn settle_shared(&self, owner: &Arc<Owner>, mut group: Vec<Commit>) -> Outcome {
        let mut permits = Vec::with_capacity(group.len());
        for commit in &mut group {
            let permit = match owner.enter(commit.tenant, commit.aggregate).await {
                Ok(permit) => permit,
                Err(why) => {
                    permits.into_iter().for_each(|(permit, _): (Permit, Seq)| permit.unused());
                    return Outcome::Unknown(why);
                }
            };
            commit.bucket = permit.bucket();
            permits.push((permit, commit.head.seq));
        }
        let outcome = self.decide_outcome(group).await;
        permits.into_iter().for_each(|(permit, seq)| permit.settle(&outcome, seq));
        outcome
    }

    async fn decide_outcome(&self, group: Vec<Commit>) -> Outcome {
        match self.store.commit(group.clone()).await {
            Outcome::Unknown(_) if bug::is("decide anew with another attempt after an unknown outcome") => {
                Outcome::Refused(Refusal::Moved { at: 0, current: group[0].expect })
            }
            // Seldom, and large: every commit would carry it along.
            Outcome::Unknown(why) => {
                self.tally.left_open();
                Box::pin(self.pursue(group, why)).await
            }
            decided => decided,
        }
    }

    /// Repeats a commit with the same attempt until it is decided: a clean read that does not show the commit
    /// proves nothing, only a sequence that has moved does.
    async fn pursue(&self, group: Vec<Commit>, mut last: StoreError) -> Outcome {
        let _undecided = self.tally.pursue();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(UNKNOWN_S_MAX);
        let mut pause = Duration::from_millis(20);
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
            match self.store.commit(group.clone()).await {
                Outcome::Refused(Refusal::Moved { at, current }) => match self.is_mine(&group[at]).await {
                    Ok(true) => return Outcome::Applied,
                    Ok(false) => return Outcome::Refused(Refusal::Moved { at, current }),
                    Err(Error::Unavailable(why)) => last = why,
                    Err(_) => return Outcome::Unknown(last),
                },
                // Refused now, but the first try may still be on its way, and find the value free again.
                Outcome::Refused(Refusal::Claimed { .. }) => return Outcome::Unknown(last),
                // The aggregate is where it was, so nothing of a commit with entries applied; one of keys
                // alone moves nothing, and may have.
                Outcome::Refused(Refusal::Fenced { at, fence }) if group[at].entries.is_empty() => {
                    match self.is_mine(&group[at]).await {
                        Ok(true) => return Outcome::Applied,
                        Ok(false) => return Outcome::Refused(Refusal::Fenced { at, fence }),
                        Err(Error::Unavailable(why)) => last = why,
                        Err(_) => return Outcome::Unknown(last),
                    }
                }
                Outcome::Unknown(why) => last = why,
                decided => return decided,
            }
        }
        Outcome::Unknown(last)
    }

    /// Whether the entry after `expect` carries the attempt of this commit.
    async fn is_mine(&self, commit: &Commit) -> Result<bool, Error> {
        if bug::is("take another's entry for one's own") || bug::is("take one's own entry for another's") {
            return Ok(bug::is("take another's entry for one's own"));
        }
        let next = commit.expect + 1;
        if commit.entries.is_empty() {
            // A commit of keys alone moves no sequence: its key row tells.
            let Some((hash, row)) = commit.keys.first() else { return Ok(false) };
            return Ok(self.store.key(commit.tenant, *hash).await?.as_ref() == Some(row));
        }
        let entries =
            self.store.entries(commit.tenant, commit.aggregate, next, next, Order::Ascending, 1).await?;
        let Some((_, bytes)) = entries.into_iter().next() else { return Ok(false) };
        let (_, bytes) = unstored(bytes)?;
        Ok(Entry::read(bytes)?.attempt_id() == Some(commit.head.attempt))
    }
}

/// The spans of commands that are traced; usually none.
pub(crate) fn traces<'a>(metas: impl Iterator<Item = &'a Meta>) -> Vec<Trace> {
    metas.filter_map(|meta| meta.trace).take(TRACES_MAX).collect()
}

fn answer<A: Aggregate>(commands: Vec<Command<A>>, replies: Vec<Reply<A>>) {
    for (command, reply) in commands.into_iter().zip(replies) {
        let Command { reply: sender, _running: running, .. } = command;
        drop(running); // a caller that has its answer may use the key again
        let _ = sender.send(reply); // a caller that went away does not matter
    }
}

fn fail<A: Aggregate>(commands: Vec<Command<A>>, error: &Error) {
    let replies = commands.iter().map(|_| Err(Rejection::Journal(error.clone()))).collect();
    answer(commands, replies);
}
