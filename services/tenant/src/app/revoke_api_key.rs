//! Ends an API key.

use ids::ApiKeyId;
use journal::{Meta, Request, Scope};
use rpc::Ctx;

use crate::Error;
use crate::app::App;
use crate::app::read::may_write;
use crate::domain::{ApiKey, Command, State};

impl App {
    /// Revokes a key for good. Repeating it changes nothing. True if the answer is a stored one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] for one below without `descendants.write`, or the journal.
    pub async fn revoke_api_key(&self, ctx: &Ctx, id: ApiKeyId, meta: Meta) -> Result<(ApiKey, bool), Error> {
        let key = self.api_key(ctx, id).await?;
        may_write(ctx, key.issued.business().unwrap_or(ctx.business))?;
        let scope = Scope { tenant: ctx.tenant, aggregate: id.into() };
        let answer = self.journal.submit(scope, Request { command: Command::RevokeKey, meta }).await?;
        match self.journal.state_at(scope, answer.seq).await.map_err(journal::Error::after_commit)?.state {
            State::ApiKey(key) => Ok((key, answer.replayed)),
            _ => Err(Error::NotFound { what: "API key" }),
        }
    }
}
