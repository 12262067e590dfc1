//! Shows what is there and what it is worth.

use ids::{LocationId, VariantId};
use journal::{Scope, Seq};
use proto::stock::v1 as pb;
use quantity::Quantity;
use rpc::{Ctx, PageToken};

use crate::app::locations::{cursor, seal};
use crate::app::{Stock, item_scope, scope};
use crate::convert;
use crate::domain::item::{Balance, INLINE_BALANCES, Item};
use crate::error::Error;
use crate::records;

/// Locations of one item that are shown.
const LOCATIONS_MAX: usize = 10_000;
/// Tries to read a state that nobody changes meanwhile.
const TRIES_MAX: usize = 16;

pub(super) struct Snapshot {
    pub(super) item: Item,
    pub(super) balances: Vec<(LocationId, Balance)>,
    seq: Seq,
    recorded_at: calendar::Instant,
    /// The balances are not all: nothing is said about the whole item.
    partly: bool,
}

impl Stock {
    /// The stock of one variant in the caller's business.
    pub(crate) async fn balance(&self, ctx: &Ctx, variant: VariantId) -> Result<pb::ItemBalance, Error> {
        self.within(ctx, &[], Some(variant)).await?;
        match self.snapshot(item_scope(ctx, variant), None).await? {
            Some(snapshot) => Ok(shown(&self.seen(ctx, variant, snapshot).await?)),
            None => {
                let base_unit = self.directory.variant(ctx, variant).await?.base_unit;
                Ok(convert::no_balance(ctx.business, variant, base_unit))
            }
        }
    }

    /// The stock of all variants that ever moved, or that ever moved at one location.
    pub(crate) async fn list_balances(
        &self,
        ctx: &Ctx,
        location: Option<LocationId>,
        size: usize,
        token: &str,
    ) -> Result<(Vec<pb::ItemBalance>, Option<String>), Error> {
        let (index, prefix, list) = match location {
            Some(location) => {
                self.location(ctx, location).await?;
                self.within(ctx, &[location], None).await?;
                let prefix = records::index_key(&[ctx.business.as_bytes(), location.as_bytes()]);
                (records::INDEX_PLACE, prefix, format!("balances?{location}"))
            }
            None => {
                (records::INDEX_ITEM, records::index_key(&[ctx.business.as_bytes()]), "balances".to_owned())
            }
        };
        let after = PageToken::open(ctx, &list, token)?.map(|key| cursor(&key)).transpose()?;
        let store = self.items.store();
        let rows = store.index(ctx.tenant, index, prefix, after, size + 1).await;
        let mut rows = rows.map_err(journal::Error::from)?;
        let more = size < rows.len();
        rows.truncate(size);
        let mut page = Vec::with_capacity(rows.len());
        for row in &rows {
            let snapshot = self.snapshot(scope(ctx, row.aggregate), location).await?;
            let Some(snapshot) = snapshot else { continue };
            match snapshot.item.facts.as_ref().map(|facts| facts.variant).filter(|_| ctx.is_limited()) {
                None => page.push(shown(&snapshot)),
                Some(variant) if self.sees(ctx, location, Some(variant)).await? => {
                    page.push(shown(&self.seen(ctx, variant, snapshot).await?));
                }
                Some(_) => {}
            }
        }
        let last = rows.last().filter(|_| more);
        let next = last.map(|row| PageToken::seal(ctx, &list, &seal(&row.key, row.aggregate)));
        Ok((page, next))
    }

    /// What a caller sees of an item. Of one who is limited to locations that is what is there, and their sum: not
    /// what all of it is worth.
    async fn seen(&self, ctx: &Ctx, variant: VariantId, snapshot: Snapshot) -> Result<Snapshot, Error> {
        if self.sees_everywhere(ctx, variant).await? {
            return Ok(snapshot);
        }
        let mut balances = Vec::new();
        for (location, balance) in snapshot.balances {
            if self.sees(ctx, Some(location), Some(variant)).await? {
                balances.push((location, balance));
            }
        }
        Ok(Snapshot { balances, partly: true, ..snapshot })
    }

    /// Header and balances of one moment.
    pub(super) async fn snapshot(
        &self,
        scope: Scope,
        only: Option<LocationId>,
    ) -> Result<Option<Snapshot>, Error> {
        for _ in 0..TRIES_MAX {
            let Some(view) = self.items.read(scope, |_| vec![]).await? else { return Ok(None) };
            let mut balances: Vec<_> =
                view.state.balances.iter().map(|(id, balance)| (*id, *balance)).collect();
            if INLINE_BALANCES < view.state.locations as usize {
                let prefix = match only {
                    Some(location) => records::balance_key(location),
                    None => records::balances_prefix(),
                };
                let rows =
                    self.items.store().scan_rows(scope.tenant, scope.aggregate, prefix, LOCATIONS_MAX).await;
                for (_, value) in rows.map_err(journal::Error::from)? {
                    balances.push(records::decode_balance(&value).map_err(journal::Error::from)?);
                }
                if self.seq(scope).await? != view.seq {
                    continue;
                }
            }
            balances.retain(|(id, _)| only.is_none_or(|only| only == *id));
            balances.sort_unstable_by_key(|(id, _)| *id);
            let (seq, recorded_at) = (view.seq, view.recorded_at);
            return Ok(Some(Snapshot { item: view.state, balances, seq, recorded_at, partly: false }));
        }
        Err(Error::Journal(journal::Error::ConcurrentUpdate))
    }

    async fn seq(&self, scope: Scope) -> Result<Seq, Error> {
        let head = self.items.store().head(scope.tenant, scope.aggregate).await;
        Ok(head.map_err(journal::Error::from)?.map_or(0, |head| head.seq))
    }
}

fn shown(snapshot: &Snapshot) -> pb::ItemBalance {
    match &snapshot.item.facts {
        Some(facts) => {
            let Snapshot { item, balances, seq, recorded_at, partly } = snapshot;
            let whole = convert::item_balance(item, facts, balances, *seq, *recorded_at);
            if !partly {
                return whole;
            }
            let there = balances.iter().map(|(_, balance)| balance.on_hand);
            let on_hand = there.fold(Quantity::ZERO, |sum, there| sum + there);
            pb::ItemBalance { on_hand: on_hand.to_string(), value: None, unit_cost: None, ..whole }
        }
        None => pb::ItemBalance::default(),
    }
}
