//! Re-computes an aggregate from its entries and compares everything that is stored.

use bytes::Bytes;

use crate::actor::Loaded;
use crate::aggregate::{Aggregate, Changes};
use crate::entry::Entry;
use crate::error::Error;
use crate::journal::{Journal, Scope, posted, unstored};
use crate::store::{Chain, Head, Order, Seq};

/// What was found in one aggregate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// Entries that were read.
    pub entries: u64,
    /// What is wrong, in sentences; empty if nothing is.
    pub faults: Vec<String>,
}

impl<A: Aggregate> Journal<A> {
    /// Re-computes the hash chain and the state of an aggregate from its entries, and compares them with
    /// its head and its state rows. `check` sees every event with its sequence, in order, and the state
    /// after it: the place for rules of the domain.
    ///
    /// # Errors
    /// When the store cannot answer; damage is a finding, not an error.
    pub async fn verify(
        &self,
        scope: Scope,
        head: &Head,
        mut check: impl FnMut(&A, &A::Event, Seq) -> Result<(), String> + Send,
    ) -> Result<Finding, Error> {
        const PAGE: usize = 1000;
        let (tenant, aggregate) = (scope.tenant, scope.aggregate);
        let mut finding = Finding::default();
        let mut loaded = Loaded::<A>::unborn();
        while loaded.seq < head.seq {
            let from = loaded.seq + 1;
            let page =
                self.store().entries(tenant, aggregate, from, head.seq, Order::Ascending, PAGE).await?;
            if page.is_empty() {
                finding.faults.push(format!("entry {from} is missing"));
                return Ok(finding);
            }
            for (seq, bytes) in page {
                if seq != loaded.seq + 1 {
                    finding.faults.push(format!("entry {} is missing", loaded.seq + 1));
                    return Ok(finding);
                }
                if let Err(fault) = step(&mut loaded, seq, bytes, &mut check) {
                    finding.faults.push(format!("entry {seq}: {fault}"));
                    return Ok(finding);
                }
                finding.entries += 1;
            }
        }
        if loaded.chain != head.chain {
            finding.faults.push("the hash chain does not end where the head says".into());
        }
        self.compare(scope, head, loaded, &mut finding).await?;
        Ok(finding)
    }

    async fn compare(
        &self,
        scope: Scope,
        head: &Head,
        mut loaded: Loaded<A>,
        finding: &mut Finding,
    ) -> Result<(), Error> {
        let mut changes = Changes::default();
        loaded.state.save(&mut changes);
        if loaded.header() != head.header {
            finding.faults.push("the stored state is not what the entries lead to".into());
        }
        let mut expected: Vec<(Bytes, Bytes)> =
            changes.rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        expected.sort();
        let found = self.store().scan_rows(scope.tenant, scope.aggregate, Bytes::new(), usize::MAX).await?;
        if expected != found {
            finding.faults.push(format!(
                "{} state rows are stored, {} follow from the entries, and they differ",
                found.len(),
                expected.len()
            ));
        }
        Ok(())
    }
}

fn step<A: Aggregate>(
    loaded: &mut Loaded<A>,
    seq: Seq,
    bytes: Bytes,
    check: &mut impl FnMut(&A, &A::Event, Seq) -> Result<(), String>,
) -> Result<(), String> {
    let (chain, entry_bytes) = unstored(bytes.clone()).map_err(|damage| damage.to_string())?;
    let next: Chain = loaded.chain.then(&entry_bytes);
    if next != chain {
        return Err("the hash does not match".into());
    }
    let entry = Entry::read(entry_bytes).map_err(|damage| damage.to_string())?;
    let posted = posted::<A>(seq, bytes).map_err(|error| error.to_string())?;
    if posted.recorded_at < loaded.recorded_at {
        return Err("it was recorded before its predecessor".into());
    }
    (loaded.seq, loaded.chain, loaded.recorded_at) = (seq, next, entry.recorded_at());
    loaded.state.evolve(&posted.event, seq, posted.recorded_at);
    check(&loaded.state, &posted.event, seq)
}
