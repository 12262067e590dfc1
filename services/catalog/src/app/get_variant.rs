use ids::VariantId;
use rpc::Ctx;

use super::{Catalog, VariantOf};
use crate::Error;

impl Catalog {
    /// Shows a variant: a read of the index, and the rows of the product and of this variant.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn get_variant(&self, ctx: &Ctx, id: VariantId) -> Result<VariantOf, Error> {
        let aggregate = self.product_of(ctx, id).await?;
        let product = self.read_variants(ctx, aggregate, vec![id]).await?;
        let product = product.ok_or(Error::NotFound { what: "variant" })?;
        Ok(VariantOf { product, id })
    }
}
