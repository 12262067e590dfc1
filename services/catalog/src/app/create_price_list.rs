use journal::Scope;
use rpc::Ctx;

use super::{Catalog, Mutation, Saved};
use crate::Error;
use crate::domain::{NewPriceList, PriceList};
use crate::records;

impl Catalog {
    /// Makes a price list.
    ///
    /// # Errors
    /// [`Error::CodeTaken`].
    pub(crate) async fn create_price_list(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        new: NewPriceList,
    ) -> Result<Saved<PriceList>, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: records::price_list_partition(mutation.part()) };
        let answer = self.price_lists.submit(scope, mutation.create(new)).await?;
        let replayed = answer.replayed;
        let made = answer.events.into_iter().next().ok_or(Error::NotFound { what: "price list" })?;
        Ok(Saved { value: PriceList { list: made.event, created_at: made.recorded_at }, replayed })
    }
}
