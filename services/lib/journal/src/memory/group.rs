//! Records of groups, and what they have prepared, of the reference store.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};

use super::MemoryStore;
use crate::group::{GroupRecord, GroupState, GroupStore, Look};
use crate::store::{Commit, GroupId, KeyHash, Outcome, Refusal, StoreError, check_group};

#[derive(Default, Debug)]
pub(super) struct Groups {
    records: BTreeMap<(TenantId, GroupId), GroupRecord>,
    /// A locked aggregate has its commit here.
    prepared: BTreeMap<(TenantId, AggregateId), (GroupId, Commit)>,
}

impl Groups {
    pub(super) fn lock(&self, tenant: TenantId, aggregate: AggregateId) -> Option<GroupId> {
        self.prepared.get(&(tenant, aggregate)).map(|(group, _)| *group)
    }

    fn take(&mut self, tenant: TenantId, aggregate: AggregateId, group: GroupId) -> Option<Commit> {
        (self.lock(tenant, aggregate)? == group).then_some(())?;
        self.prepared.remove(&(tenant, aggregate)).map(|(_, commit)| commit)
    }

    /// A commit with this key that is prepared somewhere.
    fn asked_for(&self, tenant: TenantId, hash: KeyHash) -> impl Iterator<Item = AggregateId> {
        let of_tenant = self.prepared.iter().filter(move |((t, _), _)| *t == tenant);
        let with_key = of_tenant.filter(move |(_, (_, commit))| commit.keys.iter().any(|key| key.0 == hash));
        with_key.map(|((_, aggregate), _)| *aggregate)
    }
}

impl GroupStore for MemoryStore {
    fn look(&self, tenant: TenantId, aggregate: AggregateId) -> BoxFuture<'_, Result<Look, StoreError>> {
        self.read(move |tables| Look {
            head: tables.heads.get(&(tenant, aggregate)).cloned(),
            lock: tables.groups.lock(tenant, aggregate),
        })
    }

    fn group(
        &self,
        tenant: TenantId,
        group: GroupId,
    ) -> BoxFuture<'_, Result<Option<GroupRecord>, StoreError>> {
        self.read(move |tables| tables.groups.records.get(&(tenant, group)).copied())
    }

    fn set_group(
        &self,
        tenant: TenantId,
        group: GroupId,
        expect: Option<GroupState>,
        record: GroupRecord,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(move |tables| {
            let records = &mut tables.groups.records;
            let same = records.get(&(tenant, group)).map(|record| record.state) == expect;
            if same {
                records.insert((tenant, group), record);
            }
            same
        })
    }

    fn end_group(&self, _: TenantId, _: GroupId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(|_| ())
    }

    fn prepare(&self, group: GroupId, commit: Commit) -> BoxFuture<'_, Outcome> {
        async move {
            let mut tables = self.tables.lock();
            let (tenant, aggregate) = (commit.tenant, commit.aggregate);
            if tables.groups.lock(tenant, aggregate) == Some(group) {
                return Outcome::Applied;
            }
            let one = std::slice::from_ref(&commit);
            if let Err(refusal) = check_group(one).and_then(|()| tables.check_shared(one)) {
                return Outcome::Refused(refusal);
            }
            tables.groups.prepared.insert((tenant, aggregate), (group, commit));
            Outcome::Applied
        }
        .boxed()
    }

    fn roll_forward(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        group: GroupId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |tables| {
            if let Some(commit) = tables.groups.take(tenant, aggregate, group) {
                tables.apply_shared(commit);
            }
        })
    }

    fn unlock(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        group: GroupId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |tables| {
            tables.groups.take(tenant, aggregate, group);
        })
    }

    fn asked_for(
        &self,
        tenant: TenantId,
        hash: KeyHash,
    ) -> BoxFuture<'_, Result<Vec<AggregateId>, StoreError>> {
        self.read(move |tables| {
            let known = tables.keys.get(&(tenant, hash)).map(|row| row.aggregate);
            known.into_iter().chain(tables.groups.asked_for(tenant, hash)).collect()
        })
    }
}

impl super::Tables {
    /// Checks a commit of a shared store, whose index rows need an entry to order them.
    pub(super) fn check_shared(&self, group: &[Commit]) -> Result<(), Refusal> {
        for (at, commit) in group.iter().enumerate() {
            if commit.entries.is_empty() && !commit.index.is_empty() {
                return Err(Refusal::Invalid { at, rule: "index rows without entries on a shared store" });
            }
            if let Some(group) = self.groups.lock(commit.tenant, commit.aggregate) {
                return Err(Refusal::Locked { at, group });
            }
        }
        self.check_heads(group)
    }

    /// Its index rows wait until somebody moves them.
    pub(super) fn apply_shared(&mut self, mut commit: Commit) {
        self.relay.list_claims(&commit);
        let index = std::mem::take(&mut commit.index);
        self.relay.wait(&commit, index);
        self.apply(commit);
    }
}
