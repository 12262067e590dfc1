use ids::VariantId;
use journal::Scope;
use rpc::Ctx;

use super::{Catalog, Mutation, Saved, VariantOf};
use crate::Error;
use crate::domain::{Command, VariantChange};
use crate::records::Asked;

impl Catalog {
    /// Changes a variant, if the caller has seen the current revision of its product.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::StaleRevision`], [`Error::SkuTaken`], [`Error::BarcodeTaken`],
    /// [`Error::IllegalTransition`], [`Error::Invalid`].
    pub(crate) async fn update_variant(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        id: VariantId,
        change: VariantChange,
    ) -> Result<Saved<VariantOf>, Error> {
        let command = Command::UpdateVariant { id, expected: ctx.expected_revision()?, change };
        self.change_variant(ctx, mutation, id, command).await
    }

    /// Commits a change of one variant to its product.
    pub(super) async fn change_variant(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        id: VariantId,
        command: Command,
    ) -> Result<Saved<VariantOf>, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: self.product_of(ctx, id).await? };
        let asked = Asked { caller: self.alone(ctx), command };
        let answer = self.products.submit(scope, mutation.change(asked)).await?;
        let product = self.product_after(ctx, answer.aggregate, answer.seq).await?;
        Ok(Saved { value: VariantOf { product, id }, replayed: answer.replayed })
    }
}
