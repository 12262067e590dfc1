use ids::VariantId;
use rpc::Ctx;

use super::{Catalog, Mutation, Saved, VariantOf};
use crate::Error;
use crate::domain::{Command, UnitFactor};

impl Catalog {
    /// Puts a factor in force; the one before it is superseded, never edited.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::LimitReached`], [`Error::Invalid`].
    pub(crate) async fn set_unit_conversion(
        &self,
        ctx: &Ctx,
        mutation: &Mutation,
        variant: VariantId,
        factor: UnitFactor,
    ) -> Result<Saved<VariantOf>, Error> {
        self.change_variant(ctx, mutation, variant, Command::SetFactor { variant, factor }).await
    }
}
