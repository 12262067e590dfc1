//! Commands for many aggregates, each by itself, in one commit of the store.
//!
//! They share nothing but the way to the disk: a command that is refused leaves the others as they are. One commit
//! for all of them costs half as much as one for each. Where it cannot be made, the caller commits them one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use ids::{AggregateId, TenantId};
use tracing::warn;

use crate::actor::{Plan, Reply, traces};
use crate::aggregate::Aggregate;
use crate::error::Error;
use crate::journal::{Inner, ROUNDS_MAX, Request, Scope};
use crate::slot::Lease;
use crate::store::{Outcome, Refusal};

/// What became of each command; `None` if nothing was done and they are to be committed one by one.
pub(crate) type Each<A> = Option<Vec<Reply<A>>>;

/// Commands of a batch that failed before there was a commit.
type Failed = HashMap<usize, Error>;

/// How a round ended.
enum Round<A: Aggregate> {
    Done(Vec<Reply<A>>),
    /// Somebody else was faster, or a command failed: the others are decided again.
    Again,
    OneByOne,
}

impl<A: Aggregate> Inner<A> {
    pub(crate) async fn commit_each(
        self: &Arc<Self>,
        tenant: TenantId,
        requests: &[(AggregateId, Request<A::Command>)],
    ) -> Each<A> {
        let mut failed = Failed::new();
        let mut leases = BTreeMap::new();
        // In order of the ids: two batches never wait for each other.
        let wanted: BTreeSet<AggregateId> = requests.iter().map(|(aggregate, _)| *aggregate).collect();
        for aggregate in wanted {
            match self.slot(Scope { tenant, aggregate }).lease(self).await {
                Ok(lease) => drop(leases.insert(aggregate, lease)),
                Err(error) => fix(&mut failed, requests, aggregate, &error),
            }
        }
        for _ in 0..ROUNDS_MAX {
            match self.round(tenant, requests, &mut leases, &mut failed).await {
                Round::Done(replies) => return Some(replies),
                Round::Again => {}
                Round::OneByOne => return None,
            }
        }
        None
    }

    async fn round(
        self: &Arc<Self>,
        tenant: TenantId,
        requests: &[(AggregateId, Request<A::Command>)],
        leases: &mut BTreeMap<AggregateId, Lease<A>>,
        failed: &mut Failed,
    ) -> Round<A> {
        let mut plans: BTreeMap<AggregateId, Plan<A>> = BTreeMap::new();
        for (aggregate, lease) in &mut *leases {
            match self.plan(Scope { tenant, aggregate: *aggregate }, lease.loaded.take()).await {
                Ok(plan) => drop(plans.insert(*aggregate, plan)),
                Err(error) => fix(failed, requests, *aggregate, &error),
            }
        }
        let mut replies = Vec::with_capacity(requests.len());
        // Aggregates with an answer that was decided and not only looked up.
        let mut decided = HashSet::new();
        for (at, (aggregate, request)) in requests.iter().enumerate() {
            if let Some(error) = failed.get(&at) {
                replies.push(Err(error.clone().into()));
                continue;
            }
            let Some(plan) = plans.get_mut(aggregate) else { return Round::OneByOne };
            let reply = match AssertUnwindSafe(self.considered(plan, at, request, None)).catch_unwind().await
            {
                Ok(Some(reply)) => reply,
                Ok(None) => return Round::Again,
                // A rule is broken: that ends its own command, and no other one.
                Err(_) => return Round::OneByOne,
            };
            if !reply.as_ref().is_ok_and(|answer| answer.replayed) {
                decided.insert(*aggregate);
            }
            replies.push(reply);
        }
        let (mut group, mut states) = (Vec::new(), Vec::new());
        for (aggregate, plan) in plans {
            if plan.is_empty() {
                if decided.contains(&aggregate) {
                    match self.has_moved(Scope { tenant, aggregate }, plan.expect).await {
                        Ok(false) => {}
                        Ok(true) => return Round::Again,
                        Err(error) => {
                            fix(failed, requests, aggregate, &error);
                            return Round::Again;
                        }
                    }
                }
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
                Round::Done(replies)
            }
            Outcome::Refused(Refusal::Moved { .. } | Refusal::Fenced { .. } | Refusal::Locked { .. }) => {
                Round::Again
            }
            // A store names one claim that is taken, and there may be many; one of them is too large, or all together are.
            Outcome::Refused(Refusal::Claimed { .. } | Refusal::Invalid { .. }) => Round::OneByOne,
            Outcome::Unknown(why) => {
                warn!("a batch stayed undecided: {why}");
                let unknown = |(at, reply): (usize, Reply<A>)| match reply {
                    Ok(answer) if answer.replayed => Ok(answer),
                    reply if failed.contains_key(&at) => reply,
                    _ => Err(Error::OutcomeUnknown.into()),
                };
                Round::Done(replies.into_iter().enumerate().map(unknown).collect())
            }
        }
    }
}

/// All commands for an aggregate get the same answer.
fn fix<C>(
    failed: &mut Failed,
    requests: &[(AggregateId, Request<C>)],
    aggregate: AggregateId,
    error: &Error,
) {
    let own = requests.iter().enumerate().filter(|(_, (of, _))| *of == aggregate);
    for (at, _) in own {
        failed.entry(at).or_insert_with(|| error.clone());
    }
}
