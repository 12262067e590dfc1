//! Keeps callers within the limits of what was granted to them: locations, categories, the value of a movement.
//!
//! Callers without limits pay one look at their context.

use std::sync::Arc;

use ids::{LocationId, VariantId};
use proto::stock::v1 as pb;
use rpc::{AmountsMax, Ctx};

use crate::app::Stock;
use crate::domain::location::Location;
use crate::error::Error;

/// Locations that lie in each other, at most: what lies deeper is beyond every limit.
const DEPTH_MAX: usize = 32;

impl Stock {
    /// Checks what a caller names: locations, and the variant that is there. The answer bounds the value of a
    /// movement.
    ///
    /// # Errors
    /// [`rpc::Refused::BeyondLimits`], or what cannot be looked up.
    pub(crate) async fn within(
        &self,
        ctx: &Ctx,
        locations: &[LocationId],
        variant: Option<VariantId>,
    ) -> Result<AmountsMax, Error> {
        if !ctx.is_limited() {
            return Ok(None);
        }
        // Seldom, and large: the future of every posting would carry it along.
        Box::pin(self.check(ctx, locations, variant)).await
    }

    /// Whether a caller may see what is at a location.
    ///
    /// # Errors
    /// What cannot be looked up.
    pub(crate) async fn sees(
        &self,
        ctx: &Ctx,
        location: Option<LocationId>,
        variant: Option<VariantId>,
    ) -> Result<bool, Error> {
        match self.within(ctx, location.as_slice(), variant).await {
            Ok(_) => Ok(true),
            // The category of a product that the business does not see any more is unknown.
            Err(Error::Refused(rpc::Refused::BeyondLimits { .. }) | Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a caller may see all of an item: what it is worth, and what is elsewhere.
    ///
    /// # Errors
    /// What cannot be looked up.
    pub(crate) async fn sees_everywhere(&self, ctx: &Ctx, variant: VariantId) -> Result<bool, Error> {
        if !ctx.is_limited() {
            return Ok(true);
        }
        let category = match ctx.is_limited_by_category() {
            true => Some(self.directory.category(ctx, variant).await?),
            false => None,
        };
        Ok(ctx.sees_everywhere(category.as_deref()))
    }

    async fn check(
        &self,
        ctx: &Ctx,
        locations: &[LocationId],
        variant: Option<VariantId>,
    ) -> Result<AmountsMax, Error> {
        let mut chains = Vec::with_capacity(locations.len());
        for location in locations {
            chains.push(self.chain(ctx, *location).await?);
        }
        let category = match variant.filter(|_| ctx.is_limited_by_category()) {
            Some(variant) => Some(self.directory.category(ctx, variant).await?),
            None => None,
        };
        Ok(ctx.within(&chains, category.as_deref())?)
    }

    /// The location, and those that it lies in.
    async fn chain(&self, ctx: &Ctx, location: LocationId) -> Result<Vec<LocationId>, Error> {
        let mut chain = vec![location];
        let mut next = self.place(ctx, location).await?.parent;
        while let Some(parent) = next.filter(|_| chain.len() < DEPTH_MAX) {
            chain.push(parent);
            next = self.place(ctx, parent).await?.parent;
        }
        Ok(chain)
    }

    async fn place(&self, ctx: &Ctx, id: LocationId) -> Result<Arc<Location>, Error> {
        match self.known_places.get(ctx, id) {
            Some(place) => Ok(place),
            None => self.read_place(ctx, id).await,
        }
    }
}

/// A movement as a caller sees it: of one who does not see the item everywhere, without the totals of the business.
pub(crate) fn only_here(everywhere: bool, movement: pb::Movement) -> pb::Movement {
    if everywhere {
        return movement;
    }
    pb::Movement {
        item_balance_after: String::new(),
        pool_quantity_after: String::new(),
        pool_value_after: None,
        ..movement
    }
}
