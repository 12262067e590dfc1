use calendar::Instant;
use ids::{PriceListId, VariantId};
use journal::{Answer, Posted, Scope};
use money::UnitPrice;
use rpc::{ActorKind, Ctx};

use super::get_price::PriceAt;
use super::{Catalog, Mutation, Saved};
use crate::Error;
use crate::domain::{Change, ClearPrice, PriceCommand, PriceList, SetPrice, Source, UnitRef};
use crate::records::{self, AskedPrice};

/// A wish for a price.
#[derive(Debug, Clone)]
pub(crate) struct NewPrice {
    pub(crate) list: PriceListId,
    pub(crate) variant: VariantId,
    pub(crate) amount: UnitPrice,
    /// The base unit when absent.
    pub(crate) unit: Option<UnitRef>,
    /// Now when absent.
    pub(crate) effective_at: Option<Instant>,
    pub(crate) reason: String,
}

/// What came of taking a price back.
#[derive(Debug)]
pub(crate) struct Cleared {
    /// `None` if there was nothing to take back.
    pub(crate) change: Option<Posted<Change>>,
    /// What holds again since then, if anything.
    pub(crate) price: Option<PriceAt>,
}

fn source(ctx: &Ctx) -> Source {
    match ctx.actor.kind {
        ActorKind::ApiKey | ActorKind::User => Source::Api,
        ActorKind::System => Source::Import,
    }
}

impl Catalog {
    /// Sets a price of the caller's business from a moment on: one immutable change.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InheritedLocked`], [`Error::UnitNotConvertible`], [`Error::PriceAlreadyScheduled`],
    /// [`Error::LimitReached`], [`Error::Invalid`] for the past.
    pub(crate) async fn set_price(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        new: NewPrice,
    ) -> Result<Saved<(PriceList, Posted<Change>)>, Error> {
        let list = self.read_price_list(ctx, new.list).await?;
        let found = self.get_variant(ctx, new.variant).await?;
        let base_unit = found.product.base_unit;
        let unit = new.unit.unwrap_or(base_unit);
        if found.product.variant(new.variant)?.factor(unit, base_unit).is_none() {
            return Err(Error::UnitNotConvertible { unit: unit.code, base_unit: base_unit.code });
        }
        let command = PriceCommand::Set(SetPrice {
            list: new.list,
            variant: new.variant,
            unit,
            currency: list.list.currency,
            amount: new.amount,
            effective_at: new.effective_at,
            reason: new.reason,
            source: source(ctx),
        });
        let answer = self.change_price(ctx, mutation, list.clone(), new.variant, command).await?;
        let replayed = answer.replayed;
        let change = answer.events.into_iter().next().ok_or(Error::PriceNotSet)?;
        Ok(Saved { value: (list, change), replayed })
    }

    /// Takes back the price that the caller's business says, and those that it scheduled: what it inherits holds again.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn clear_price(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        (list, variant, unit): (PriceListId, VariantId, Option<UnitRef>),
        reason: String,
    ) -> Result<Saved<(PriceList, Cleared)>, Error> {
        let price_list = self.read_price_list(ctx, list).await?;
        let unit = unit.unwrap_or(self.get_variant(ctx, variant).await?.product.base_unit);
        let (currency, source) = (price_list.list.currency, source(ctx));
        let command = PriceCommand::Clear(ClearPrice { list, variant, unit, currency, reason, source });
        let answer = self.change_price(ctx, mutation, price_list.clone(), variant, command).await?;
        let (replayed, change) = (answer.replayed, answer.events.into_iter().next());
        // What held at that moment does not change, so a repeated call gets the same answer; what is scheduled may.
        let price = match &change {
            None => None,
            Some(change) => {
                let at = Some(change.event.effective_at);
                match self.get_price(ctx, list, variant, Some(unit), at).await {
                    Ok(price) => Some(PriceAt { next: None, ..price }),
                    Err(Error::PriceNotSet) => None,
                    Err(Error::Journal(error)) => return Err(error.after_commit().into()),
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(Saved { value: (price_list, Cleared { change, price }), replayed })
    }

    async fn change_price(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        list: PriceList,
        variant: VariantId,
        command: PriceCommand,
    ) -> Result<Answer<Change>, Error> {
        let below = Some(ctx.business).filter(|business| *business != list.list.business);
        let scope = Scope { tenant: ctx.tenant, aggregate: records::price(list.list.id, variant, below) };
        let asked = AskedPrice { caller: self.caller(ctx).await?, list, command };
        Ok(self.prices.submit(scope, mutation.change(asked)).await?)
    }
}
