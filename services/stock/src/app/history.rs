//! Shows movements: one, those of a variant, those of a document.

use std::sync::Arc;

use calendar::Instant;
use ids::{AggregateId, LocationId, MovementId, VariantId};
use journal::store::IndexRow;
use journal::{Order, Posted, Seq};
use proto::stock::v1 as pb;
use rpc::{Ctx, PageToken, Refused};

use crate::app::limits::only_here;
use crate::app::locations::{cursor, seal};
use crate::app::{Stock, item_scope, scope};
use crate::convert::{self, Links, movement_id};
use crate::domain::kind::Kind;
use crate::domain::movement::{Facts, Movement};
use crate::error::Error;
use crate::records;

/// Entries that one page looks at: a filter that matches rarely gives short pages, never slow ones.
const SCAN_MAX: usize = 5_000;
/// Entries that are read at once, at least.
const READ_MIN: usize = 100;

/// Which movements.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) variant: Option<VariantId>,
    pub(crate) location: Option<LocationId>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) source: Option<(String, String)>,
    pub(crate) from: Option<Instant>,
    pub(crate) before: Option<Instant>,
    pub(crate) oldest_first: bool,
}

impl Filter {
    fn matches(&self, movement: &Movement) -> bool {
        let found = &movement.cause.source;
        let source = |(kind, id): &(String, String)| found.kind == *kind && found.id == *id;
        self.location.is_none_or(|location| movement.location == location)
            && (self.kinds.is_empty() || self.kinds.contains(&movement.kind))
            && self.source.as_ref().is_none_or(source)
            && self.from.is_none_or(|from| from <= movement.occurred_at)
            && self.before.is_none_or(|before| movement.occurred_at < before)
    }
}

type Page = (Vec<pb::Movement>, Option<String>);

impl Stock {
    /// Shows one movement.
    pub(crate) async fn movement(&self, ctx: &Ctx, id: MovementId) -> Result<pb::Movement, Error> {
        let (aggregate, posting, facts) = self.posting_of(ctx, id).await?;
        let posted =
            posting.into_iter().filter(|posted| movement_id(posted, posted.event.position) == id).collect();
        let posted: Vec<Posted<Movement>> = posted;
        let places: Vec<LocationId> = posted.iter().map(|posted| posted.event.location).collect();
        self.within(ctx, &places, Some(facts.variant)).await?;
        let mut shown = self.show(ctx, aggregate, &facts, posted).await?;
        shown.pop().ok_or(Error::NotFound)
    }

    /// Lists movements.
    pub(crate) async fn movements(
        &self,
        ctx: &Ctx,
        filter: &Filter,
        size: usize,
        token: &str,
    ) -> Result<Page, Error> {
        let list = format!("movements?{filter:?}");
        let position = PageToken::open(ctx, &list, token)?;
        if let Some(location) = filter.location {
            self.location(ctx, location).await?;
        }
        self.within(ctx, filter.location.as_slice(), filter.variant).await?;
        match filter.variant {
            Some(variant) => self.of_variant(ctx, variant, filter, size, &list, position).await,
            None => self.of_document(ctx, filter, size, &list, position).await,
        }
    }

    async fn of_variant(
        &self,
        ctx: &Ctx,
        variant: VariantId,
        filter: &Filter,
        size: usize,
        list: &str,
        position: Option<Vec<u8>>,
    ) -> Result<Page, Error> {
        let scope = item_scope(ctx, variant);
        let Some(view) = self.items.read(scope, |_| vec![]).await? else {
            self.directory.variant(ctx, variant).await?; // an unknown variant is an error, an unmoved one is not
            return Ok((vec![], None));
        };
        let Some(facts) = view.state.facts else { return Ok((vec![], None)) };
        let order = if filter.oldest_first { Order::Ascending } else { Order::Descending };
        let mut next = match position {
            Some(bytes) => Some(Seq::from_be_bytes(bytes.try_into().map_err(|_| Refused::PageTokenInvalid)?)),
            None if filter.oldest_first => Some(1),
            None => Some(view.seq),
        };
        let (mut found, mut scanned) = (Vec::with_capacity(size), 0);
        while let Some(start) = next
            && found.len() < size
            && scanned < SCAN_MAX
        {
            let (from, to) = if filter.oldest_first { (start, view.seq) } else { (1, start) };
            let chunk = self.items.entries(scope, from, to, order, size.max(READ_MIN)).await?;
            next = None;
            for posted in chunk {
                if found.len() == size || scanned == SCAN_MAX {
                    break;
                }
                scanned += 1;
                next = step(posted.seq, view.seq, filter.oldest_first);
                if filter.matches(&posted.event)
                    && self.sees(ctx, Some(posted.event.location), Some(variant)).await?
                {
                    found.push(posted);
                }
            }
        }
        let movements = self.show(ctx, scope.aggregate, &Arc::new(facts), found).await?;
        Ok((movements, next.map(|seq| PageToken::seal(ctx, list, &seq.to_be_bytes()))))
    }

    async fn of_document(
        &self,
        ctx: &Ctx,
        filter: &Filter,
        size: usize,
        list: &str,
        position: Option<Vec<u8>>,
    ) -> Result<Page, Error> {
        let Some((kind, id)) = &filter.source else { return Err(Error::Unprepared) };
        // Where the page begins: behind a row of the index, and behind `skip` movements of the next one.
        let position = position.unwrap_or_else(|| vec![0]);
        let (skip, row) = position.split_first().ok_or(Refused::PageTokenInvalid)?;
        let (mut skip, mut behind) = (usize::from(*skip), row.to_vec());
        let after = if behind.is_empty() { None } else { Some(cursor(&behind)?) };
        let prefix = bytes::Bytes::copy_from_slice(&records::document(ctx.business, kind, id));
        let store = self.items.store();
        let rows = store.index(ctx.tenant, records::INDEX_SOURCE, prefix, after, size + 1).await;
        let rows = rows.map_err(journal::Error::from)?;
        let mut movements = Vec::with_capacity(size);
        let mut whole = rows.len() <= size;
        for row in &rows {
            let room = size - movements.len();
            if room == 0 {
                whole = false;
                break;
            }
            if let Some((facts, mut posted)) = self.posting_at(ctx, row).await? {
                posted.retain(|posted| filter.matches(&posted.event));
                if ctx.is_limited() {
                    posted = self.only_seen(ctx, facts.variant, posted).await?;
                }
                posted.drain(..skip.min(posted.len()));
                let is_cut = room < posted.len();
                posted.truncate(room);
                movements.extend(self.show(ctx, row.aggregate, &facts, posted).await?);
                if is_cut {
                    skip += room;
                    whole = false;
                    break;
                }
            }
            (skip, behind) = (0, seal(&row.key, row.aggregate));
        }
        let next = || {
            let skip = u8::try_from(skip).unwrap_or(u8::MAX); // a posting has fewer movements
            PageToken::seal(ctx, list, &[&[skip], behind.as_slice()].concat())
        };
        Ok((movements, (!whole).then(next)))
    }

    async fn only_seen(
        &self,
        ctx: &Ctx,
        variant: VariantId,
        posted: Vec<Posted<Movement>>,
    ) -> Result<Vec<Posted<Movement>>, Error> {
        let mut seen = Vec::with_capacity(posted.len());
        for posted in posted {
            if self.sees(ctx, Some(posted.event.location), Some(variant)).await? {
                seen.push(posted);
            }
        }
        Ok(seen)
    }

    /// The movements of a posting that a row of the index leads to.
    async fn posting_at(
        &self,
        ctx: &Ctx,
        row: &IndexRow,
    ) -> Result<Option<(Arc<Facts>, Vec<Posted<Movement>>)>, Error> {
        let Some((first, count)) = records::read_source_value(&row.value) else { return Ok(None) };
        let scope = scope(ctx, row.aggregate);
        let Some(view) = self.items.read(scope, |_| vec![]).await? else { return Ok(None) };
        let Some(facts) = view.state.facts else { return Ok(None) };
        let last = first + u64::from(count) - 1;
        let posted = self.items.entries(scope, first, last, Order::Ascending, count as usize).await?;
        Ok(Some((Arc::new(facts), posted)))
    }

    /// Puts movements on the wire, with the ids of the movements that they name.
    pub(crate) async fn show(
        &self,
        ctx: &Ctx,
        aggregate: AggregateId,
        facts: &Arc<Facts>,
        page: Vec<Posted<Movement>>,
    ) -> Result<Vec<pb::Movement>, Error> {
        let keys = page.iter().map(|posted| records::marks_key(posted.seq)).collect();
        let rows =
            self.items.store().rows(ctx.tenant, aggregate, keys).await.map_err(journal::Error::from)?;
        let everywhere = self.sees_everywhere(ctx, facts.variant).await?;
        let mut shown = Vec::with_capacity(page.len());
        for (posted, marks) in page.iter().zip(rows) {
            let marks =
                marks.map(|bytes| records::decode_marks(&bytes)).transpose().map_err(journal::Error::from)?;
            let reversed_by = marks.map(|marks| marks.reversed_by).filter(|seq| *seq != 0);
            let links = self.links(ctx, aggregate, &posted.event, reversed_by).await?;
            shown.push(only_here(everywhere, convert::movement(posted, facts, links)));
        }
        Ok(shown)
    }

    /// Ids of the movements that a movement names by sequence.
    pub(crate) async fn links(
        &self,
        ctx: &Ctx,
        aggregate: AggregateId,
        event: &Movement,
        reversed_by: Option<Seq>,
    ) -> Result<Links, Error> {
        if [event.reversal_of, reversed_by, event.return_of, event.settles] == [None; 4] {
            return Ok(Links::default());
        }
        Ok(Links {
            reversal_of: self.id_at(ctx, aggregate, event.reversal_of).await?,
            reversed_by: self.id_at(ctx, aggregate, reversed_by).await?,
            return_of: self.id_at(ctx, aggregate, event.return_of).await?,
            settles: self.id_at(ctx, aggregate, event.settles).await?,
        })
    }

    async fn id_at(
        &self,
        ctx: &Ctx,
        aggregate: AggregateId,
        seq: Option<Seq>,
    ) -> Result<Option<MovementId>, Error> {
        let Some(seq) = seq else { return Ok(None) };
        let entries = self.items.entries(scope(ctx, aggregate), seq, seq, Order::Ascending, 1).await?;
        Ok(entries.first().map(|posted| movement_id(posted, posted.event.position)))
    }
}

fn step(seq: Seq, last: Seq, oldest_first: bool) -> Option<Seq> {
    if oldest_first { (seq < last).then_some(seq + 1) } else { (1 < seq).then_some(seq - 1) }
}
