use ids::PriceListId;
use rpc::Ctx;

use super::Catalog;
use crate::Error;
use crate::domain::PriceList;

impl Catalog {
    /// Shows a price list.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn get_price_list(&self, ctx: &Ctx, id: PriceListId) -> Result<PriceList, Error> {
        self.read_price_list(ctx, id).await
    }
}
