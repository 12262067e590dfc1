use calendar::Instant;
use ids::{PriceListId, VariantId};
use journal::{Order, Posted, Scope, Seq};
use rpc::Ctx;

use super::Catalog;
use crate::Error;
use crate::domain::{Change, PriceList, UnitRef};
use crate::records;

/// A price at a moment, and the changes that it comes from and goes to.
#[derive(Debug)]
pub(crate) struct PriceAt {
    pub(crate) list: PriceList,
    pub(crate) change: Posted<Change>,
    /// The next one that is scheduled.
    pub(crate) next: Option<Posted<Change>>,
}

impl Catalog {
    /// Shows the price of a variant in a list at a moment; now when absent.
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
        let scope = Scope { tenant: ctx.tenant, aggregate: records::price(list, variant) };
        let view =
            self.prices.read(scope, |record| record.needs_unit(unit)).await?.ok_or(Error::PriceNotSet)?;
        let line = view.state.line(unit).ok_or(Error::PriceNotSet)?;
        let change = match line.at(at) {
            Some(point) => self.change(scope, point.seq).await?,
            None => self.past_change(scope, list, variant, unit, at).await?,
        };
        let next = match line.next_after(at.max(now)) {
            Some(point) => Some(self.change(scope, point.seq).await?),
            None => None,
        };
        Ok(PriceAt { list: price_list, change, next })
    }

    /// The change that was in force at a moment before those that the line remembers.
    async fn past_change(
        &self,
        scope: Scope,
        list: PriceListId,
        variant: VariantId,
        unit: UnitRef,
        at: Instant,
    ) -> Result<Posted<Change>, Error> {
        let (prefix, after) = records::index_after(list, variant, unit, at);
        let first = Some((after, ids::AggregateId::from_bytes([0; 16])));
        let rows = self.store.index(scope.tenant, records::index::PRICES, prefix, first, 1).await;
        let rows = rows.map_err(journal::Error::from)?;
        let row = rows.first().ok_or(Error::PriceNotSet)?;
        self.change(scope, records::seq_of(&row.value).map_err(journal::Error::from)?).await
    }

    async fn change(&self, scope: Scope, seq: Seq) -> Result<Posted<Change>, Error> {
        let found = self.prices.entries(scope, seq, seq, Order::Ascending, 1).await?;
        found.into_iter().next().ok_or(Error::PriceNotSet)
    }
}
