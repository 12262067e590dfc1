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
//! Time plays no part in it. Waiting a little before step 2 only spares two that race from fencing each other.

use std::collections::BTreeSet;
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
    /// Adds claims to a shared store.
    #[must_use]
    pub fn new(store: Arc<dyn RelayStore>) -> Claiming {
        Claiming { store, patience: PATIENCE }
    }

    /// The same without patience: an owner whose journal does not list the value is fenced at once.
    #[must_use]
    pub fn impatient(store: Arc<dyn RelayStore>) -> Claiming {
        Claiming { store, patience: 0 }
    }

    async fn commit_with_claims(&self, commit: Commit) -> Outcome {
        if commit.entries.is_empty() {
            // Nothing would tell whether such an attempt was applied.
            return Outcome::Refused(Refusal::Invalid {
                at: 0,
                rule: "claims without entries on a shared store",
            });
        }
        match self.ask_for_all(&commit).await {
            Ok(None) => {}
            Ok(Some(refusal)) => return Outcome::Refused(refusal),
            Err(error) => return Outcome::Unknown(error),
        }
        let mut released = Vec::new();
        for claim in released_by(&commit) {
            match self.store.claim_row(commit.tenant, claim.clone()).await {
                Ok(Some(row)) if row.owner == commit.aggregate => released.push((claim, row)),
                Ok(_) => {}
                Err(error) => return Outcome::Unknown(error),
            }
        }
        let tenant = commit.tenant;
        let outcome = self.store.commit(vec![commit]).await;
        if outcome == Outcome::Applied {
            for (claim, row) in released {
                // Rows that are left are worth nothing, so a failure does not matter. A row that changed
                // belongs to an attempt that wants the value again.
                let _ = self.store.set_claim_row(tenant, claim, Some(row), None).await;
            }
        }
        outcome
    }

    /// Asks for all values that a commit takes. Rows of a commit that is refused in the end are left: they are
    /// worth nothing, and to take them away would need to know that the attempt is dead.
    async fn ask_for_all(&self, commit: &Commit) -> Result<Option<Refusal>, StoreError> {
        for claim in taken_by(commit) {
            if let Some(owner) = self.ask(commit, &claim).await? {
                // Who looked at an old state cannot tell whether it still wants the value.
                let current = self.store.head(commit.tenant, commit.aggregate).await?;
                let current = current.map_or(0, |head| head.seq);
                return Ok(Some(match current == commit.expect {
                    true => Refusal::Claimed { at: 0, claim, owner },
                    false => Refusal::Moved { at: 0, current },
                }));
            }
        }
        Ok(None)
    }

    /// Makes the row of a value this attempt's; gives back who owns the value, if another's journal lists it.
    async fn ask(&self, commit: &Commit, claim: &Claim) -> Result<Option<AggregateId>, StoreError> {
        let tenant = commit.tenant;
        for _ in 0..ROUNDS_MAX {
            let found = self.store.claim_row(tenant, claim.clone()).await?;
            let bucket = match &found {
                Some(row) if row.owner == commit.aggregate => {
                    if row.attempt == commit.head.attempt && row.bucket >= commit.bucket {
                        return Ok(None);
                    }
                    // Another process may be about to commit for the same aggregate in a later bucket.
                    commit.bucket.max(row.bucket)
                }
                Some(row) => {
                    if self.is_listed(tenant, row, claim).await? {
                        return Ok(Some(row.owner));
                    }
                    commit.bucket
                }
                None => commit.bucket,
            };
            let row = ClaimRow { owner: commit.aggregate, attempt: commit.head.attempt, bucket };
            if self.store.set_claim_row(tenant, claim.clone(), found, Some(row)).await? {
                return Ok(None);
            }
        }
        Err(StoreError::Unavailable("too many want the same value".into()))
    }

    /// Whether the owner's journal lists the value. If it does not, it never will by this row: its owner is
    /// fenced.
    async fn is_listed(&self, tenant: TenantId, row: &ClaimRow, claim: &Claim) -> Result<bool, StoreError> {
        let listed = || self.store.lists_claim(tenant, row.owner, claim.clone());
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
    fn commit(&self, mut group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        async move {
            if let Err(refusal) = check_group(&group) {
                return Outcome::Refused(refusal);
            }
            if group.len() != 1 || group[0].claims.is_empty() {
                return self.store.commit(group).await;
            }
            self.commit_with_claims(group.remove(0)).await
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
