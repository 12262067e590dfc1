use std::collections::BTreeMap;

use calendar::Instant;
use ids::{BusinessId, PriceListId, VariantId};
use inherit::Effective;
use journal::{Order, Posted, Scope, Seq};
use rpc::Ctx;

use super::Catalog;
use crate::Error;
use crate::domain::{Change, Lines, PriceList, UnitRef};
use crate::records::{self, LineKey};

/// A price at a moment, and the changes that it comes from and goes to.
#[derive(Debug)]
pub(crate) struct PriceAt {
    pub(crate) list: PriceList,
    pub(crate) change: Posted<Change>,
    /// The next one that is scheduled: by who says what holds, or by somebody between that one and the caller.
    pub(crate) next: Option<Posted<Change>>,
    /// Where it comes from, and the policy that decides.
    pub(crate) origin: Effective,
}

impl Catalog {
    /// Shows the price of a variant in a list at a moment, now when absent, as it holds in the caller's business.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PriceNotSet`].
    pub(crate) async fn get_price(
        &self,
        ctx: &Ctx,
        list: PriceListId,
        variant: VariantId,
        unit: Option<UnitRef>,
        at: Option<Instant>,
    ) -> Result<PriceAt, Error> {
        let now = self.env.now();
        let at = at.unwrap_or(now);
        let price_list = self.read_price_list(ctx, list).await?;
        let unit = match unit {
            // Who is below somebody, or limited, may not see every product.
            Some(unit) if ctx.path.len() == 1 && !ctx.is_limited() => unit,
            unit => {
                let found = self.get_variant(ctx, variant).await?;
                unit.unwrap_or(found.product.base_unit)
            }
        };
        let line = price_list.line(&ctx.path).ok_or(Error::NotFound { what: "price list" })?;
        let (owner, policies) = (line[0], self.policies(ctx).await?);
        let (mut lines, mut found) = (Lines::default(), BTreeMap::new());
        for business in std::iter::once(owner).chain(Lines::speakers(line, &policies, at)) {
            let below = Some(business).filter(|business| *business != owner);
            let key = LineKey { list, variant, business: below, unit };
            let (change, next) = self.said_price(ctx, key, at, now).await?;
            if let Some(change) = &change {
                lines.add(business, owner, &change.event);
            }
            found.insert(business, (change, next));
        }
        let origin = lines.effective(line, &policies, at).ok_or(Error::PriceNotSet)?;
        let from = line.iter().position(|business| *business == origin.origin.business).unwrap_or(0);
        let heard = |business: &BusinessId| found.get(business).and_then(|(_, next)| next.clone());
        let next = line[from..].iter().filter_map(heard).min_by_key(|next| next.event.effective_at);
        let change = found.remove(&origin.origin.business).and_then(|(change, _)| change);
        Ok(PriceAt { list: price_list, change: change.ok_or(Error::PriceNotSet)?, next, origin })
    }

    /// What one business says about a price: the change in force at a moment, and the next one behind it.
    async fn said_price(
        &self,
        ctx: &Ctx,
        key: LineKey,
        at: Instant,
        now: Instant,
    ) -> Result<(Option<Posted<Change>>, Option<Posted<Change>>), Error> {
        let aggregate = records::price(key.list, key.variant, key.business);
        let scope = Scope { tenant: ctx.tenant, aggregate };
        let view = self.prices.read(scope, |record| record.needs_unit(key.unit)).await?;
        let Some(line) = view.as_ref().and_then(|view| view.state.line(key.unit)) else {
            return Ok((None, None));
        };
        let change = match line.at(at) {
            Some(point) => Some(self.change(scope, point.seq).await?),
            None => self.past_change(scope, key, at).await?,
        };
        let next = match line.next_after(at.max(now)) {
            Some(point) => Some(self.change(scope, point.seq).await?),
            None => None,
        };
        Ok((change, next))
    }

    /// The change that was in force at a moment before those that the line remembers.
    async fn past_change(
        &self,
        scope: Scope,
        key: LineKey,
        at: Instant,
    ) -> Result<Option<Posted<Change>>, Error> {
        let (prefix, after) = key.rows_after(at);
        let first = Some((after, ids::AggregateId::from_bytes([0; 16])));
        let rows = self.store.index(scope.tenant, key.index(), prefix, first, 1).await;
        let rows = rows.map_err(journal::Error::from)?;
        match rows.first() {
            Some(row) => {
                let seq = records::seq_of(&row.value).map_err(journal::Error::from)?;
                Ok(Some(self.change(scope, seq).await?))
            }
            None => Ok(None),
        }
    }

    async fn change(&self, scope: Scope, seq: Seq) -> Result<Posted<Change>, Error> {
        let found = self.prices.entries(scope, seq, seq, Order::Ascending, 1).await?;
        found.into_iter().next().ok_or(Error::PriceNotSet)
    }
}
