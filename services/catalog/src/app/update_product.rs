use ids::ProductId;
use journal::Scope;
use rpc::Ctx;

use super::{Catalog, Mutation, Saved};
use crate::Error;
use crate::domain::{Command, DetailsChange, Product};
use crate::records;

impl Catalog {
    /// Changes a product, if the caller has seen its current revision.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::StaleRevision`], [`Error::IllegalTransition`], [`Error::Invalid`].
    pub(crate) async fn update_product(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        id: ProductId,
        change: DetailsChange,
    ) -> Result<Saved<Product>, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: records::product(id) };
        let command = Command::Update { id, expected: ctx.expected_revision()?, change };
        let answer = self.products.submit(scope, mutation.change(command)).await?;
        let value = self.product_after(ctx, answer.aggregate, answer.seq).await?;
        Ok(Saved { value, replayed: answer.replayed })
    }
}
