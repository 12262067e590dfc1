//! Changes a business.

use ids::BusinessId;
use journal::{Meta, Request, Scope};
use rpc::Ctx;

use crate::Error;
use crate::app::App;
use crate::app::read::may_write;
use crate::domain::{Business, BusinessUpdate, Command, Placed, State};

impl App {
    /// Changes a business that the caller may see. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] for one below without `descendants.write`, [`Error::StaleRevision`], or the journal.
    pub async fn update_business(
        &self,
        ctx: &Ctx,
        id: BusinessId,
        mut update: BusinessUpdate,
        meta: Meta,
    ) -> Result<(Placed, bool), Error> {
        let found = self.business(ctx, id).await?;
        // Callers see the sum of both revisions.
        let stale = |current| Error::StaleRevision { what: "business", current };
        if let Some(seen) = &mut update.expected {
            *seen = seen.checked_sub(found.changes).ok_or(stale(found.revision()))?;
        }
        may_write(ctx, id)?;
        let scope = Scope { tenant: ctx.tenant, aggregate: id.into() };
        let request = Request { command: Command::UpdateBusiness(update), meta };
        let answer =
            self.journal.submit(scope, request).await.map_err(|rejection| match rejection.into() {
                Error::StaleRevision { current, .. } => stale(current + found.changes),
                other => other,
            })?;
        // The state right after this change: a repeated request gets the same answer as the first.
        match self.journal.state_at(scope, answer.seq).await.map_err(journal::Error::after_commit)?.state {
            State::Business(business) => {
                let business = Business { path: found.business.path.clone(), ..business };
                Ok((Placed { business, ..found }, answer.replayed))
            }
            _ => Err(Error::NotFound { what: "business" }),
        }
    }
}
