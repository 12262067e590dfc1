//! Unique values on a store that several processes share, where a claim and the commit that lists it are
//! separate steps.
//!
//! A claim row says who asks for a value, for which attempt and in which bucket; it is a claim only if the
//! journal of its owner lists the value. So a process that dies between the two steps leaves a row that is
//! worth nothing, and whoever wants the value may steal the row, but only in this order:
//!
//! 1. the owner's journal does not list the value;
//! 2. the owner's fence is raised to the bucket of the row. Each attempt asks again before it commits, so a
//!    commit that lists the value and is still under way carries that bucket or an earlier one, and is refused;
//! 3. the owner's journal still does not list it;
//! 4. the row is replaced, if it is still the same.
//!
//! In a group of commits a value may change hands: one member releases it, a later one takes it. Until the group is
//! decided the row names both, the taker as its owner and who had it `before`; whichever journal lists the value
//! has it. The commit decides for both at once.
//!
//! Time plays no part in it. Waiting a little before step 2 only spares two that race from fencing each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};

use crate::passing::pass_on_reads;
use crate::relay_store::{ClaimRow, RelayStore};
use crate::store::{
    Claim, ClaimChange, Commit, Order, Outcome, Refusal, Seq, Store, StoreError, check_group,
};

/// Tries to get one row, while others change it.
const ROUNDS_MAX: usize = 16;
/// Looks at an owner's journal before it is fenced, and the pause before each.
const PATIENCE: u32 = 4;
const PAUSE: Duration = Duration::from_millis(25);

/// A shared store whose commits have unique claims, as those of a store that one process owns.
pub struct Claiming {
    store: Arc<dyn RelayStore>,
    patience: u32,
}

impl Claiming {
    /// Adds claims to a shared store; over [`crate::group::Grouping`], to its groups too.
    #[must_use]
    pub fn new(store: Arc<dyn RelayStore>) -> Claiming {
        Claiming { store, patience: PATIENCE }
    }

    /// The same without patience: an owner whose journal does not list the value is fenced at once.
    #[must_use]
    pub fn impatient(store: Arc<dyn RelayStore>) -> Claiming {
        Claiming { store, patience: 0 }
    }

    /// Commits members whose claims somebody may have.
    async fn commit_with_claims(&self, group: Vec<Commit>) -> Outcome {
        let lacks_entries = |commit: &Commit| !commit.claims.is_empty() && commit.entries.is_empty();
        if let Some(at) = group.iter().position(lacks_entries) {
            // Nothing would tell whether such an attempt was applied.
            let rule = "claims without entries on a shared store";
            return Outcome::Refused(Refusal::Invalid { at, rule });
        }
        let tenant = group[0].tenant;
        match self.ask_for_all(&group).await {
            Ok(None) => {}
            Ok(Some(refusal)) => return Outcome::Refused(refusal),
            Err(error) => return Outcome::Unknown(error),
        }
        let mut released = Vec::new();
        for commit in &group {
            for claim in released_by(commit) {
                match self.store.claim_row(tenant, claim.clone()).await {
                    Ok(Some(row)) if row.owner == commit.aggregate => released.push((claim, row)),
                    Ok(_) => {}
                    Err(error) => return Outcome::Unknown(error),
                }
            }
        }
        let outcome = self.store.commit(group).await;
        if outcome == Outcome::Applied {
            for (claim, row) in released {
                // Rows that are left are worth nothing, so a failure does not matter. A row that changed
                // belongs to an attempt that wants the value again.
                let _ = self.store.set_claim_row(tenant, claim, Some(row), None).await;
            }
        }
        outcome
    }

    /// Asks for all values that the members take, in their order: a later one sees what the earlier ones did.
    /// Rows of a group that is refused in the end are left: they are worth nothing, and to take them away would
    /// need to know that the attempt is dead.
    async fn ask_for_all(&self, group: &[Commit]) -> Result<Option<Refusal>, StoreError> {
        let tenant = group[0].tenant;
        // What the group has made of a value so far: who has it, or who has given it back.
        let mut taken: BTreeMap<Claim, AggregateId> = BTreeMap::new();
        let mut given: BTreeMap<Claim, AggregateId> = BTreeMap::new();
        for (at, commit) in group.iter().enumerate() {
            for claim in released_by(commit) {
                match taken.get(&claim) {
                    Some(owner) if *owner != commit.aggregate => {}
                    _ => {
                        taken.remove(&claim);
                        // Of several that give it back, the one that has it: asking finds out.
                        if !given.contains_key(&claim) || self.lists(tenant, commit.aggregate, &claim).await?
                        {
                            given.insert(claim, commit.aggregate);
                        }
                    }
                }
            }
            for claim in taken_by(commit) {
                let owner = match taken.get(&claim) {
                    Some(owner) if *owner != commit.aggregate => Some(*owner),
                    Some(_) => None,
                    None => self.ask(commit, &claim, given.get(&claim).copied()).await?,
                };
                if let Some(owner) = owner {
                    return Ok(Some(self.refusal(group, at, claim, owner).await?));
                }
                taken.insert(claim, commit.aggregate);
            }
        }
        Ok(None)
    }

    /// Who looked at an old state cannot tell whether it still wants the value.
    async fn refusal(
        &self,
        group: &[Commit],
        at: usize,
        claim: Claim,
        owner: AggregateId,
    ) -> Result<Refusal, StoreError> {
        for (at, commit) in group.iter().enumerate() {
            let current = self.store.head(commit.tenant, commit.aggregate).await?;
            let current = current.map_or(0, |head| head.seq);
            if current != commit.expect {
                return Ok(Refusal::Moved { at, current });
            }
        }
        Ok(Refusal::Claimed { at, claim, owner })
    }

    /// Makes the row of a value this attempt's; gives back who owns the value, if another's journal lists it.
    /// That of `given` may: the group releases it there.
    async fn ask(
        &self,
        commit: &Commit,
        claim: &Claim,
        given: Option<AggregateId>,
    ) -> Result<Option<AggregateId>, StoreError> {
        let (tenant, me) = (commit.tenant, commit.aggregate);
        for _ in 0..ROUNDS_MAX {
            let found = self.store.claim_row(tenant, claim.clone()).await?;
            let (mut bucket, mut before) = (commit.bucket, None);
            if let Some(row) = &found {
                if row.owner == me {
                    if row.attempt == commit.head.attempt && row.bucket >= commit.bucket {
                        return Ok(None);
                    }
                    // Another process may be about to commit for the same aggregate in a later bucket.
                    bucket = commit.bucket.max(row.bucket);
                } else if given == Some(row.owner) && self.lists(tenant, row.owner, claim).await? {
                    before = Some(row.owner);
                } else if self.is_listed(tenant, row, claim).await? {
                    return Ok(Some(row.owner));
                }
                // Whoever had it before needs no fence: it may take the value again only if it asks again.
                if let Some(other) = row.before
                    && self.lists(tenant, other, claim).await?
                {
                    match other {
                        other if other == me => bucket = commit.bucket.max(row.bucket),
                        other if given == Some(other) => before = Some(other),
                        other => return Ok(Some(other)),
                    }
                }
            }
            let row = ClaimRow { owner: me, attempt: commit.head.attempt, bucket, before };
            if self.store.set_claim_row(tenant, claim.clone(), found, Some(row)).await? {
                return Ok(None);
            }
        }
        Err(StoreError::Unavailable("too many want the same value".into()))
    }

    async fn lists(&self, tenant: TenantId, owner: AggregateId, claim: &Claim) -> Result<bool, StoreError> {
        self.store.lists_claim(tenant, owner, claim.clone()).await
    }

    /// Whether the owner's journal lists the value. If it does not, it never will by this row: its owner is
    /// fenced.
    async fn is_listed(&self, tenant: TenantId, row: &ClaimRow, claim: &Claim) -> Result<bool, StoreError> {
        let listed = || self.lists(tenant, row.owner, claim);
        if listed().await? {
            return Ok(true);
        }
        for round in 0..self.patience {
            tokio::time::sleep(PAUSE * 2_u32.pow(round)).await;
            if listed().await? {
                return Ok(true);
            }
        }
        self.store.raise_fence(tenant, row.owner, row.bucket).await?;
        listed().await
    }
}

/// Releases happen before takes, so what is taken is not released.
fn taken_by(commit: &Commit) -> BTreeSet<Claim> {
    let taken = commit.claims.iter().filter_map(|change| match change {
        ClaimChange::Take(claim) => Some(claim.clone()),
        ClaimChange::Release(_) => None,
    });
    taken.collect()
}

fn released_by(commit: &Commit) -> BTreeSet<Claim> {
    let all: BTreeSet<_> = commit.claims.iter().map(|change| change.claim().clone()).collect();
    &all - &taken_by(commit)
}

impl Store for Claiming {
    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        async move {
            if let Err(refusal) = check_group(&group) {
                return Outcome::Refused(refusal);
            }
            if group.iter().all(|commit| commit.claims.is_empty()) {
                return self.store.commit(group).await;
            }
            self.commit_with_claims(group).await
        }
        .boxed()
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
        self.store.entries(tenant, aggregate, from, to, order, limit)
    }

    pass_on_reads!();
}
