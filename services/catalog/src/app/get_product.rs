use ids::ProductId;
use rpc::Ctx;

use super::Catalog;
use crate::Error;
use crate::domain::Product;
use crate::records;

impl Catalog {
    /// Shows a product with all of its variants.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn get_product(&self, ctx: &Ctx, id: ProductId) -> Result<Product, Error> {
        let product = self.read_whole(ctx, records::product(id)).await?.filter(|product| product.id == id);
        product.ok_or(Error::NotFound { what: "product" })
    }
}
