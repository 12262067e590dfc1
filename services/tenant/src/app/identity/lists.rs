//! Lists users, a page at a time.

use bytes::Bytes;
use journal::Aggregate as _;
use rpc::Ctx;

use crate::app::App;
use crate::app::list::{List, Page};
use crate::app::read::sees;
use crate::domain::{People, User};
use crate::{Error, records};

impl App {
    /// Lists the users of the caller's business, and of those below with `descendants.read`, newest last.
    ///
    /// # Errors
    /// A page token that does not belong here, or the journal.
    pub async fn users(&self, ctx: &Ctx, size: usize, token: &str) -> Result<Page<User>, Error> {
        let tree = self.tree(ctx.tenant).await?;
        let list = List { name: "users", index: records::USERS, prefix: Bytes::new() };
        self.page(ctx, list, size, token, |header| {
            Ok(match People::from_header(header)? {
                People::User(user) if sees(ctx, tree.path(user.profile.business)) => Some(*user),
                _ => None,
            })
        })
        .await
    }
}
