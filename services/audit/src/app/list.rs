//! Searches the log, newest leaf first.

use std::collections::{BTreeMap, VecDeque};

use calendar::Instant;
use ids::AggregateId;
use rpc::{Ctx, PageToken, Refused};

use crate::Error;
use crate::app::App;
use crate::domain::leaf::Leaf;
use crate::domain::summary::Filter;
use crate::domain::tile::WIDTH;
use crate::records;
use crate::source::{Told, Who};

/// Summaries that one page looks at.
const SUMMARIES_READ_MAX: usize = 4096;
/// Bundles that one page opens: each may read 256 entries.
const BUNDLES_READ_MAX: usize = 16;
/// Summaries that are read at once.
const SUMMARIES: usize = 64;

/// One leaf, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEvent {
    /// Number of the leaf.
    pub index: u64,
    /// The journal's service.
    pub service: String,
    /// The journal's aggregate.
    pub aggregate: AggregateId,
    /// Which entry of it.
    pub seq: u64,
    /// When it was recorded.
    pub recorded_at: Instant,
    /// `api_key`, `user`, `system`.
    pub actor_kind: String,
    /// Who.
    pub actor: String,
    /// What happened.
    pub action: String,
    /// To what.
    pub resource: String,
    /// The request that caused it.
    pub request_id: String,
}

/// A page of a search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// What was found.
    pub events: Vec<AuditEvent>,
    /// Where the search goes on; empty at its end.
    pub next: String,
}

/// Where a search goes on: behind this leaf, which was looked at.
fn read_position(position: &[u8]) -> Result<u64, Error> {
    position.try_into().map(u64::from_be_bytes).map_err(|_| Refused::PageTokenInvalid.into())
}

impl App {
    /// Finds leaves, newest first. A page may be short, or even empty, although more follow: `next` says.
    ///
    /// # Errors
    /// A page token that does not belong here, or the journals.
    pub async fn list(&self, ctx: &Ctx, filter: &Filter, size: usize, token: &str) -> Result<Page, Error> {
        let scope = format!("audit-events?{filter:?}");
        let end = match PageToken::open(ctx, &scope, token)? {
            Some(position) => read_position(&position)?,
            None => self.log_of(ctx.tenant).await?.size(),
        };
        let (mut events, mut opened, mut at) = (Vec::new(), 0, end);
        let mut bundles = VecDeque::new();
        let mut skipped = 0;
        while 0 < at {
            let bundle = (at - 1) / WIDTH;
            if bundles.is_empty() {
                bundles = self.summaries(ctx, bundle).await?;
            }
            let Some((found, summary)) = bundles.pop_front().filter(|(found, _)| *found == bundle) else {
                return Err(crate::app::read::damaged(format!("bundle {bundle} has no summary")));
            };
            skipped += 1;
            if filter.may_match(&summary) {
                opened += 1;
                let leaves = self.leaves(ctx.tenant, found, at, &summary).await?;
                at = self.pick(ctx, filter, size, found * WIDTH, &leaves, &mut events).await?;
            } else {
                at = bundle * WIDTH;
            }
            if events.len() == size || opened == BUNDLES_READ_MAX || skipped == SUMMARIES_READ_MAX {
                break;
            }
        }
        let next = if at == 0 { String::new() } else { PageToken::seal(ctx, &scope, &at.to_be_bytes()) };
        Ok(Page { events, next })
    }

    /// Takes what matches from the leaves of a bundle, the last one first; says which leaves are left.
    async fn pick(
        &self,
        ctx: &Ctx,
        filter: &Filter,
        size: usize,
        first: u64,
        leaves: &[Leaf],
        events: &mut Vec<AuditEvent>,
    ) -> Result<u64, Error> {
        let payloads = self.payloads(ctx.tenant, leaves).await?;
        let mut known: BTreeMap<(&str, AggregateId), Who> = BTreeMap::new();
        for (at, (leaf, payload)) in leaves.iter().zip(payloads).enumerate().rev() {
            let index = first + at as u64;
            let source = self.source(&leaf.service);
            let subject = (leaf.service.as_str(), leaf.aggregate);
            if let Some(source) = source
                && !known.contains_key(&subject)
            {
                known.insert(subject, source.who(ctx.tenant, leaf.aggregate).await?);
            }
            let entry = payload.filter(|payload| 32 <= payload.len()).map(|payload| payload.slice(32..));
            // What is not there any more is still a leaf, of which its time is known.
            let told = entry.zip(source).zip(known.get(&subject));
            let told = told.map(|((entry, source), who)| source.tell(who, &entry));
            let Told { facts, actor_kind, request_id, .. } = told.unwrap_or_default();
            if filter.matches(&facts, leaf.recorded_at) {
                events.push(AuditEvent {
                    index,
                    service: leaf.service.clone(),
                    aggregate: leaf.aggregate,
                    seq: leaf.seq,
                    recorded_at: leaf.recorded_at,
                    actor_kind,
                    actor: facts.actor,
                    action: facts.action,
                    resource: facts.resource,
                    request_id,
                });
                if events.len() == size {
                    return Ok(index);
                }
            }
        }
        Ok(first)
    }

    /// What is in bundle `newest` and in those before it.
    async fn summaries(
        &self,
        ctx: &Ctx,
        newest: u64,
    ) -> Result<VecDeque<(u64, crate::domain::summary::Summary)>, Error> {
        let after = (newest != u64::MAX)
            .then(|| (records::summary_key(newest + 1), AggregateId::from_bytes([0xff; 16])));
        let prefix = bytes::Bytes::new();
        let rows = self.store().index(ctx.tenant, records::SUMMARIES, prefix, after, SUMMARIES).await?;
        let read = |row: journal::store::IndexRow| {
            let bundle = records::read_summary_key(&row.key)
                .ok_or_else(|| journal::Damage("the key of a summary".to_owned()))?;
            Ok((bundle, records::read_summary(&row.value)?))
        };
        let rows: Result<_, journal::Damage> = rows.into_iter().map(read).collect();
        Ok(rows.map_err(journal::Error::from)?)
    }
}
