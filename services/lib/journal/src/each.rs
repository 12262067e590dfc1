//! Commands for many aggregates, each by itself, in one commit of the store.
//!
//! They share nothing but the way to the disk: a command that is refused leaves the others as they are. One commit
//! for all of them costs half as much as one for each. Where it cannot be made, the caller commits them one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use ids::{AggregateId, TenantId};
use tracing::{error, warn};

use crate::actor::{Plan, Reply};
use crate::aggregate::Aggregate;
use crate::error::{Error, Rejection};
use crate::journal::{Inner, ROUNDS_MAX, Request, Scope};
use crate::slot::Lease;
use crate::store::{Claim, Outcome, Refusal};

/// What became of each command; `None` if nothing was done and they are to be committed one by one.
pub(crate) type Each<A> = Option<Vec<Reply<A>>>;

/// The answer of a command that no commit changes.
#[derive(Clone)]
enum Fixed {
    Claimed(Claim, AggregateId),
    Failed(Error),
}

impl Fixed {
    fn reply<A: Aggregate>(&self) -> Reply<A> {
        Err(match self.clone() {
            Fixed::Claimed(claim, owner) => Rejection::Claimed { claim, owner },
            Fixed::Failed(error) => Rejection::Journal(error),
        })
    }
}

/// Commands of a batch that have their answer.
type Settled = HashMap<usize, Fixed>;

/// How a round ended.
enum Round<A: Aggregate> {
    Done(Vec<Reply<A>>),
    /// Somebody else was faster, or a command got its final answer: the others are decided again.
    Again,
    OneByOne,
}

impl<A: Aggregate> Inner<A> {
    pub(crate) async fn commit_each(
        self: &Arc<Self>,
        tenant: TenantId,
        requests: &[(AggregateId, Request<A::Command>)],
    ) -> Each<A> {
        let mut fixed = Settled::new();
        let mut leases = BTreeMap::new();
        // In order of the ids: two batches never wait for each other.
        let wanted: BTreeSet<AggregateId> = requests.iter().map(|(aggregate, _)| *aggregate).collect();
        for aggregate in wanted {
            match self.slot(Scope { tenant, aggregate }).lease(self).await {
                Ok(lease) => drop(leases.insert(aggregate, lease)),
                Err(error) => fix(&mut fixed, requests, aggregate, &error),
            }
        }
        for _ in 0..ROUNDS_MAX {
            match self.round(tenant, requests, &mut leases, &mut fixed).await {
                Round::Done(replies) => return Some(replies),
                Round::Again => {}
                Round::OneByOne => return None,
            }
        }
        Some(requests.iter().map(|_| Err(Error::ConcurrentUpdate.into())).collect())
    }

    async fn round(
        self: &Arc<Self>,
        tenant: TenantId,
        requests: &[(AggregateId, Request<A::Command>)],
        leases: &mut BTreeMap<AggregateId, Lease<A>>,
        fixed: &mut Settled,
    ) -> Round<A> {
        let mut plans: BTreeMap<AggregateId, Plan<A>> = BTreeMap::new();
        for (aggregate, lease) in &mut *leases {
            match self.plan(Scope { tenant, aggregate: *aggregate }, lease.loaded.take()).await {
                Ok(plan) => drop(plans.insert(*aggregate, plan)),
                Err(error) => fix(fixed, requests, *aggregate, &error),
            }
        }
        let mut replies = Vec::with_capacity(requests.len());
        // Aggregates with an answer that was decided and not only looked up.
        let mut decided = HashSet::new();
        for (at, (aggregate, request)) in requests.iter().enumerate() {
            if let Some(reply) = fixed.get(&at) {
                replies.push(reply.reply::<A>());
                continue;
            }
            let Some(plan) = plans.get_mut(aggregate) else { return Round::OneByOne };
            let reply = match AssertUnwindSafe(self.considered(plan, at, request)).catch_unwind().await {
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
        let (mut group, mut states, mut claims) = (Vec::new(), Vec::new(), Vec::new());
        for (aggregate, mut plan) in plans {
            if plan.is_empty() {
                if decided.contains(&aggregate) {
                    match self.has_moved(Scope { tenant, aggregate }, plan.expect).await {
                        Ok(false) => {}
                        Ok(true) => return Round::Again,
                        Err(error) => {
                            fix(fixed, requests, aggregate, &error);
                            return Round::Again;
                        }
                    }
                }
                states.push((aggregate, plan.loaded));
            } else {
                claims.append(&mut plan.claims);
                let (commit, next) = plan.commit();
                group.push(commit);
                states.push((aggregate, next));
            }
        }
        let outcome = if group.is_empty() { Outcome::Applied } else { self.settle(group).await };
        match outcome {
            Outcome::Applied => {
                for (aggregate, next) in states {
                    if let Some(lease) = leases.get_mut(&aggregate) {
                        lease.loaded = Some(next);
                    }
                }
                Round::Done(replies)
            }
            Outcome::Refused(Refusal::Moved { .. } | Refusal::Fenced { .. }) => Round::Again,
            Outcome::Refused(Refusal::Claimed { claim, owner, .. }) => {
                let Some((_, at)) = claims.into_iter().find(|(taken, _)| *taken == claim) else {
                    error!("the store refused a claim that no command made");
                    return Round::OneByOne;
                };
                match self.was_done(tenant, &requests[at].1.meta).await {
                    Ok(true) => {}
                    Ok(false) => drop(fixed.insert(at, Fixed::Claimed(claim, owner))),
                    Err(error) => drop(fixed.insert(at, Fixed::Failed(error))),
                }
                Round::Again
            }
            // One of them is too large, or all together are.
            Outcome::Refused(Refusal::Invalid { .. }) => Round::OneByOne,
            Outcome::Unknown(why) => {
                warn!("a batch stayed undecided: {why}");
                let unknown = |(at, reply): (usize, Reply<A>)| match reply {
                    Ok(answer) if answer.replayed => Ok(answer),
                    reply if fixed.contains_key(&at) => reply,
                    _ => Err(Error::OutcomeUnknown.into()),
                };
                Round::Done(replies.into_iter().enumerate().map(unknown).collect())
            }
        }
    }
}

/// All commands for an aggregate get the same answer.
fn fix<C>(
    fixed: &mut Settled,
    requests: &[(AggregateId, Request<C>)],
    aggregate: AggregateId,
    error: &Error,
) {
    let own = requests.iter().enumerate().filter(|(_, (of, _))| *of == aggregate);
    for (at, _) in own {
        fixed.entry(at).or_insert_with(|| Fixed::Failed(error.clone()));
    }
}
