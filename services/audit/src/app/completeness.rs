//! Compares the log with the heads of all journals: what is a leaf, what is not, what contradicts.

use events::Cursor;
use ids::{AggregateId, TenantId};
use journal::store::{Found, Head};

use crate::Error;
use crate::app::{App, before};
use crate::source::{Source, is_taken};

/// Heads that are read at once.
const HEADS: usize = 256;

/// An aggregate whose entries are not all leaves, or that is not what its leaves say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    /// Whose journal.
    pub service: &'static str,
    /// The aggregate.
    pub aggregate: AggregateId,
    /// Its last entry.
    pub head: u64,
    /// The last entry that is a leaf.
    pub covered: u64,
    /// The journal is not the one that the leaves were made from: entries are gone or others.
    pub contradicts: bool,
    /// Why its next entry does not become a leaf; empty if it will.
    pub parked: String,
}

/// What a part of the comparison found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Completeness {
    /// Aggregates that were compared.
    pub aggregates: u64,
    /// Entries of theirs that are leaves.
    pub entries: u64,
    /// Where log and journals differ.
    pub gaps: Vec<Gap>,
    /// Where the comparison goes on: number of the service, aggregate. `None` at the end.
    pub next: Option<(u8, AggregateId)>,
}

impl App {
    /// Compares at most about `limit` aggregates of a tenant, from `from` on, with the log as it is now.
    ///
    /// # Errors
    /// The journals.
    pub async fn completeness(
        &self,
        tenant: TenantId,
        from: Option<(u8, AggregateId)>,
        limit: usize,
    ) -> Result<Completeness, Error> {
        let mut found = Completeness::default();
        let (number, mut last) = from.map_or((0, None), |(number, last)| (number, Some(last)));
        for (number, source) in (0_u8..).zip(self.sources.iter()).skip(number.into()) {
            let mut after = last.take().map_or_else(|| before(tenant), |last| Some((tenant, last)));
            loop {
                let page = source.journal.heads(after, HEADS).await?;
                let own: Vec<&Found> = page.iter().take_while(|found| found.0 == tenant).collect();
                self.compare(source, tenant, &own, &mut found).await?;
                let Some((_, aggregate, _)) = own.last() else { break };
                after = Some((tenant, *aggregate));
                if limit <= usize::try_from(found.aggregates).unwrap_or(usize::MAX) {
                    found.next = Some((number, *aggregate));
                    return Ok(found);
                }
                if own.len() < page.len() {
                    break;
                }
            }
        }
        Ok(found)
    }

    async fn compare(
        &self,
        source: &Source,
        tenant: TenantId,
        heads: &[&Found],
        found: &mut Completeness,
    ) -> Result<(), Error> {
        let heads: Vec<&&Found> =
            heads.iter().filter(|(_, aggregate, _)| is_taken(source.service, *aggregate)).collect();
        let cursors = self.cursors(source.service, tenant, heads.iter().map(|head| head.1).collect()).await?;
        for ((_, aggregate, head), cursor) in heads.into_iter().zip(cursors) {
            found.aggregates += 1;
            found.entries += cursor.seq;
            let contradicts = !self.continues(source, tenant, *aggregate, head, &cursor).await?;
            if contradicts || cursor.seq < head.seq {
                let (service, aggregate) = (source.service, *aggregate);
                let parked = cursor.parked.map_or_else(String::new, |parking| parking.reason);
                let (head, covered) = (head.seq, cursor.seq);
                let gap = Gap { service, aggregate, head, covered, contradicts, parked };
                found.gaps.push(gap);
            }
        }
        Ok(())
    }

    /// Whether a journal is the one that its leaves were made from: it has not moved back, and its hash over
    /// the entries up to the cursor is the one that the cursor remembers.
    async fn continues(
        &self,
        source: &Source,
        tenant: TenantId,
        aggregate: AggregateId,
        head: &Head,
        cursor: &Cursor,
    ) -> Result<bool, Error> {
        let chain = match cursor.seq {
            0 => return Ok(true),
            seq if head.seq < seq => return Ok(false),
            seq if seq == head.seq => Some(head.chain),
            seq => source.entries(tenant, aggregate, seq, seq).await?.first().map(|entry| entry.chain),
        };
        Ok(chain.is_some_and(|chain| chain == cursor.chain))
    }
}
