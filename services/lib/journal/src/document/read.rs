//! Reads items as they are with every committed document on them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ids::{AggregateId, TenantId};

use super::drive::{Documents, Lines};
use super::{Hold, PENDING_PREFIX, Phase};
use crate::actor::Loaded;
use crate::aggregate::{Aggregate, Damage, Need};
use crate::error::Error;
use crate::journal::{ROUNDS_MAX, Scope, View};
use crate::store::Seq;

/// Holds that are pending on one item.
const PENDING_MAX: usize = 10_000;

impl<L: Lines, const KIND: u8, const OPEN: u16> Documents<L, KIND, OPEN> {
    pub(super) async fn pending(&self, tenant: TenantId, item: AggregateId) -> Result<Vec<Hold>, Error> {
        let store = self.items.store();
        let rows = store.scan_rows(tenant, item, PENDING_PREFIX.into(), PENDING_MAX).await?;
        let holds = rows.iter().map(|(key, value)| Hold::decode(key, value));
        Ok(holds.collect::<Result<_, Damage>>()?)
    }

    /// Reads items at one moment, with the rows that `needs` names. Holds of a committed document count as
    /// posted, those of an aborted one as voided: of each document, all items show it or none does.
    ///
    /// The items are read, then the documents that hold something on them, then it is made sure that no item
    /// has moved. So every item was as it was read when its documents were asked, and what a document had
    /// committed by then was held on all its items already.
    ///
    /// # Errors
    /// When the journal cannot answer, or the items never keep still.
    pub async fn read(
        &self,
        tenant: TenantId,
        items: &[AggregateId],
        needs: impl Fn(&L::Item) -> Vec<Need> + Send + Sync,
    ) -> Result<Vec<View<L::Item>>, Error> {
        for _ in 0..ROUNDS_MAX {
            if let Some(views) = self.try_read(tenant, items, &needs).await? {
                return Ok(views);
            }
        }
        Err(Error::ConcurrentUpdate)
    }

    async fn try_read(
        &self,
        tenant: TenantId,
        items: &[AggregateId],
        needs: &(impl Fn(&L::Item) -> Vec<Need> + Send + Sync),
    ) -> Result<Option<Vec<View<L::Item>>>, Error> {
        let mut read = Vec::with_capacity(items.len());
        for &aggregate in items {
            let scope = Scope { tenant, aggregate };
            let head = self.items.store().head(tenant, aggregate).await?;
            let loaded = match &head {
                Some(head) => Loaded::<L::Item>::from_head(head)?,
                None => Loaded::unborn(),
            };
            read.push((scope, loaded.seq, loaded, self.pending(tenant, aggregate).await?));
        }
        let mut phases: BTreeMap<AggregateId, (u32, Phase)> = BTreeMap::new();
        for hold in read.iter().flat_map(|(.., holds)| holds) {
            if let Entry::Vacant(unasked) = phases.entry(hold.document) {
                let (round, phase, _) = self.phase(tenant, hold.document).await?;
                unasked.insert((round, phase));
            }
        }
        let mut views = Vec::with_capacity(read.len());
        let mut seqs = Vec::with_capacity(read.len());
        let mut fault = None;
        for (scope, seq, mut loaded, holds) in read {
            seqs.push((scope.aggregate, seq));
            let resolved = self.resolve(scope, &mut loaded, &holds, &phases, needs).await;
            // Rows that are newer than their head do not fit: only if nothing moved it is a fault.
            fault = fault.or(resolved.err());
            views.push(View { state: loaded.state, seq, recorded_at: loaded.recorded_at });
        }
        for (item, seq) in seqs {
            if self.seq_of(tenant, item).await? != seq {
                return Ok(None);
            }
        }
        fault.map_or(Ok(Some(views)), Err)
    }

    async fn seq_of(&self, tenant: TenantId, item: AggregateId) -> Result<Seq, Error> {
        Ok(self.items.store().head(tenant, item).await?.map_or(0, |head| head.seq))
    }

    /// Applies what became of holds to a state in memory.
    async fn resolve(
        &self,
        scope: Scope,
        loaded: &mut Loaded<L::Item>,
        holds: &[Hold],
        phases: &BTreeMap<AggregateId, (u32, Phase)>,
        needs: &(impl Fn(&L::Item) -> Vec<Need> + Send + Sync),
    ) -> Result<(), Error> {
        for hold in holds {
            let command = match phases.get(&hold.document) {
                Some((round, Phase::Committed)) if *round == hold.round => self.lines.post(hold)?,
                Some((round, Phase::Aborted)) if *round == hold.round => self.lines.void(hold)?,
                Some((round, Phase::Posting)) if *round == hold.round => continue,
                // A later phase, or round: the hold is no longer pending, and the item has moved.
                _ => return Err(Error::Damaged(Damage("a hold outlived its document".into()))),
            };
            self.load(scope, loaded, |state| state.needs(&command)).await?;
            let decided = loaded.state.decide(&command, loaded.recorded_at);
            let events = decided.map_err(|error| Error::Damaged(Damage(self.lines.reason(&error))))?;
            for event in events {
                loaded.state.evolve(&event, loaded.seq, loaded.recorded_at);
            }
        }
        self.load(scope, loaded, needs).await
    }

    async fn load(
        &self,
        scope: Scope,
        loaded: &mut Loaded<L::Item>,
        needs: impl Fn(&L::Item) -> Vec<Need>,
    ) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            let wanted = needs(&loaded.state);
            if wanted.is_empty() {
                return Ok(());
            }
            self.items.inner.load(scope, loaded, wanted).await?;
        }
        Err(Error::Damaged(Damage("an aggregate never has what it needs".into())))
    }
}
