use ids::ProductId;
use rpc::Ctx;

use super::{Catalog, Mutation, Saved};
use crate::Error;
use crate::domain::{Command, DetailsChange, Product};

impl Catalog {
    /// Changes a product, or says what is otherwise in a business below its owner, if the caller has seen the
    /// current revision.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::StaleRevision`], [`Error::IllegalTransition`], [`Error::Invalid`],
    /// [`Error::InheritedLocked`].
    pub(crate) async fn update_product(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        id: ProductId,
        change: DetailsChange,
    ) -> Result<Saved<Product>, Error> {
        let command = Command::Update { id, expected: ctx.expected_revision()?, change };
        self.change_product(ctx, mutation, id, command).await
    }
}
