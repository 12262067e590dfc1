use journal::{Answer, Scope};
use rpc::Ctx;

use super::{Catalog, Mutation, Saved};
use crate::Error;
use crate::domain::{Command, Event, NewProduct, Product};
use crate::records::{self, Asked};

impl Catalog {
    /// Makes a product with its variants.
    ///
    /// # Errors
    /// [`Error::SkuTaken`], [`Error::BarcodeTaken`].
    pub(crate) async fn create_product(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        new: NewProduct,
    ) -> Result<Saved<Product>, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: records::product_partition(mutation.part()) };
        let request =
            mutation.create(Asked { caller: self.alone(ctx), command: Command::Create(Box::new(new)) });
        created(&self.products.submit(scope, request).await?)
    }
}

/// The product that the entries of a create lead to, today as when they were written: they are the first
/// ones of their aggregate.
pub(super) fn created(answer: &Answer<Event>) -> Result<Saved<Product>, Error> {
    let mut product = None;
    for posted in &answer.events {
        Product::evolve(&mut product, &posted.event, posted.seq, posted.recorded_at);
    }
    let value = product.ok_or(Error::NotFound { what: "product" })?;
    Ok(Saved { value, replayed: answer.replayed })
}
