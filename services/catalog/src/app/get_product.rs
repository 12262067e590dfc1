use ids::ProductId;
use inherit::Effective;
use rpc::Ctx;

use super::Catalog;
use crate::Error;
use crate::domain::Product;
use crate::records;

impl Catalog {
    /// Shows a product, and where each inherited field of it comes from.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`rpc::Refused::BeyondLimits`].
    pub(crate) async fn get_origins(
        &self,
        ctx: &Ctx,
        id: ProductId,
    ) -> Result<(Product, Vec<(&'static str, Effective)>), Error> {
        let not_found = Error::NotFound { what: "product" };
        let product = self.read_raw(ctx, records::product(id)).await?.filter(|product| product.id == id);
        let product = product.ok_or(not_found.clone())?;
        let line = product.line(&ctx.path).ok_or(not_found)?;
        let found = product.effective(line, &*self.policies(ctx).await?, self.env.now());
        self.alone(ctx).check_category(&found.0.details.category)?;
        Ok(found)
    }

    /// Shows a product with all of its variants.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn get_product(&self, ctx: &Ctx, id: ProductId) -> Result<Product, Error> {
        let product = self.read_whole(ctx, records::product(id)).await?.filter(|product| product.id == id);
        product.ok_or(Error::NotFound { what: "product" })
    }
}
