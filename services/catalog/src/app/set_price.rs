use calendar::Instant;
use ids::{PriceListId, VariantId};
use journal::{Posted, Scope};
use money::UnitPrice;
use rpc::{ActorKind, Ctx};

use super::{Catalog, Mutation, Saved};
use crate::Error;
use crate::domain::{Change, SetPrice, Source, UnitRef};
use crate::records;

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

impl Catalog {
    /// Sets a price from a moment on: one immutable change.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InheritedLocked`], [`Error::UnitNotConvertible`], [`Error::PriceAlreadyScheduled`],
    /// [`Error::LimitReached`], [`Error::Invalid`] for the past.
    pub(crate) async fn set_price(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        new: NewPrice,
    ) -> Result<Saved<Posted<Change>>, Error> {
        let list = self.read_price_list(ctx, new.list).await?;
        list.check_owner(&ctx.path)?;
        let found = self.get_variant(ctx, new.variant).await?;
        let base_unit = found.product.base_unit;
        let unit = new.unit.unwrap_or(base_unit);
        if found.product.variant(new.variant)?.factor(unit, base_unit).is_none() {
            return Err(Error::UnitNotConvertible { unit: unit.code, base_unit: base_unit.code });
        }
        let command = SetPrice {
            list: new.list,
            variant: new.variant,
            unit,
            currency: list.list.currency,
            amount: new.amount,
            effective_at: new.effective_at,
            reason: new.reason,
            source: match ctx.actor.kind {
                ActorKind::ApiKey | ActorKind::User => Source::Api,
                ActorKind::System => Source::Import,
            },
        };
        let scope = Scope { tenant: ctx.tenant, aggregate: records::price(new.list, new.variant) };
        let answer = self.prices.submit(scope, mutation.change(command)).await?;
        let replayed = answer.replayed;
        let value = answer.events.into_iter().next().ok_or(Error::PriceNotSet)?;
        Ok(Saved { value, replayed })
    }
}
