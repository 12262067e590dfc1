use ids::ProductId;
use journal::Scope;
use rpc::Ctx;

use super::{Catalog, Mutation, Saved, VariantOf};
use crate::Error;
use crate::domain::{Command, Event, NewVariant};
use crate::records::{self, Asked};

impl Catalog {
    /// Adds a variant to a product.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::SkuTaken`], [`Error::BarcodeTaken`], [`Error::LimitReached`],
    /// [`Error::Invalid`].
    pub(crate) async fn create_variant(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        product: ProductId,
        new: NewVariant,
    ) -> Result<Saved<VariantOf>, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: records::product(product) };
        let command = Command::AddVariant { product, new: Box::new(new) };
        let asked = Asked { caller: self.alone(ctx), command };
        let answer = self.products.submit(scope, mutation.change(asked)).await?;
        let added = answer.events.iter().find_map(|posted| match &posted.event {
            Event::VariantAdded(new) => Some(new.id),
            _ => None,
        });
        let id = added.ok_or(Error::NotFound { what: "variant" })?;
        let product = self.product_after(ctx, answer.aggregate, answer.seq).await?;
        Ok(Saved { value: VariantOf { product, id }, replayed: answer.replayed })
    }
}
