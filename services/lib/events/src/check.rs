//! Proof that nothing is missing: the cursors of a consumer against the heads of the journals. The bus is
//! not asked.

use std::collections::BTreeMap;

use ids::{AggregateId, TenantId};
use journal::store::Head;
use journal::{Chain, Seq};

use crate::consumer::{Consumer, Error, HEADS_PAGE};
use crate::sink::{Cursor, Sink};

/// Findings of each sort that are listed; all are counted.
pub const LISTED_MAX: usize = 100;

/// One aggregate whose cursor is not at its head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub aggregate: AggregateId,
    /// Where the cursor is.
    pub cursor: Seq,
    /// Where the head is.
    pub head: Seq,
}

/// Aggregates of one sort: how many, and the first of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gaps {
    /// How many there are.
    pub count: u64,
    /// The first [`LISTED_MAX`].
    pub first: Vec<Gap>,
}

/// What a comparison found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Completeness {
    /// Aggregates that were compared.
    pub aggregates: u64,
    /// Entries that took effect, over all of them.
    pub entries: u64,
    /// Not there yet.
    pub behind: Gaps,
    /// Waiting for a person.
    pub parked: Gaps,
    /// Further than the journal: the journal has lost entries that took effect here.
    pub beyond: Gaps,
    /// At the head, and the entries that took effect are not those that the journal has.
    pub differing: Gaps,
}

impl Completeness {
    /// Whether every entry of every journal took effect, and no other.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        [&self.behind, &self.parked, &self.beyond, &self.differing].iter().all(|gaps| gaps.count == 0)
    }
}

impl Gaps {
    fn add(&mut self, gap: Gap) {
        self.count += 1;
        if self.first.len() < LISTED_MAX {
            self.first.push(gap);
        }
    }
}

impl<S: Sink> Consumer<S> {
    /// Compares the cursor of every aggregate with its head: sequence and hash chain. What was written while
    /// it looked may be counted as behind.
    ///
    /// # Errors
    /// When the source or the sink does not answer.
    pub async fn check(&self) -> Result<Completeness, Error> {
        let mut found = Completeness::default();
        let mut after = None;
        loop {
            let page = self.source.heads(after, HEADS_PAGE).await.map_err(Error::Source)?;
            let Some((tenant, aggregate, _)) = page.last() else { return Ok(found) };
            after = Some((*tenant, *aggregate));
            let mut tenants: BTreeMap<TenantId, Vec<(AggregateId, Head)>> = BTreeMap::new();
            for (tenant, aggregate, head) in page {
                tenants.entry(tenant).or_default().push((aggregate, head));
            }
            for (tenant, heads) in tenants {
                let aggregates = heads.iter().map(|(aggregate, _)| *aggregate).collect();
                let cursors = self.sink.cursors(self.source.name(), tenant, aggregates).await?;
                for ((aggregate, head), cursor) in heads.into_iter().zip(cursors) {
                    self.compare(tenant, aggregate, head, cursor, &mut found).await?;
                }
            }
        }
    }

    async fn compare(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        head: Head,
        cursor: Cursor,
        found: &mut Completeness,
    ) -> Result<(), Error> {
        let (mut seq, mut chain): (Seq, Chain) = (head.seq, head.chain);
        if cursor.seq > seq {
            // It may have moved after the page was read.
            let again = self.source.head(tenant, aggregate).await.map_err(Error::Source)?;
            (seq, chain) = again.map_or_else(Default::default, |head| (head.seq, head.chain));
        }
        found.aggregates += 1;
        found.entries += cursor.seq;
        let gap = Gap { tenant, aggregate, cursor: cursor.seq, head: seq };
        if cursor.seq > seq {
            found.beyond.add(gap);
        } else if cursor.parked.is_some() {
            found.parked.add(gap);
        } else if cursor.seq < seq {
            found.behind.add(gap);
        } else if cursor.chain != chain {
            found.differing.add(gap);
        }
        Ok(())
    }
}
