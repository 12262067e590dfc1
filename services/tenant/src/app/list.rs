//! Lists, a page at a time.

use bytes::Bytes;
use ids::{AggregateId, BusinessId, UserId};
use journal::{Aggregate as _, Damage};
use rpc::{Ctx, PageToken, Refused};

use crate::app::App;
use crate::app::read::sees;
use crate::domain::{ApiKey, Placed, State};
use crate::{Error, records};

/// Rows that one page reads at most to find visible ones.
const ROWS_READ_MAX: usize = 2000;

/// A page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the list goes on; empty at its end.
    pub next: String,
}

impl App {
    /// Lists `within`, by default the caller's business, and all below it, the oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a business out of sight, a page token that does not belong here, or the journal.
    pub async fn businesses(
        &self,
        ctx: &Ctx,
        within: Option<BusinessId>,
        size: usize,
        token: &str,
    ) -> Result<Page<Placed>, Error> {
        let tree = self.tree(ctx.tenant).await?;
        let within = within.unwrap_or(ctx.business);
        if !sees(ctx, tree.path(within)) {
            return Err(Error::NotFound { what: "business" });
        }
        let name = format!("businesses/{within}");
        let list = List { name: &name, index: records::BUSINESSES, prefix: Bytes::new() };
        let pick = |header: &[u8]| {
            Ok(match State::from_header(header)? {
                State::Business(business)
                    if tree.is_within(business.id, within) && sees(ctx, tree.path(business.id)) =>
                {
                    App::placed(&tree, business).ok()
                }
                _ => None,
            })
        };
        self.page(ctx, list, size, token, pick).await
    }

    /// Lists the keys of the caller's business and of those below, newest last.
    ///
    /// # Errors
    /// A page token that does not belong here, [`Error::NotFound`] for a user out of sight, or the journal.
    ///
    /// Of `maker`: those that it made, and those that these made, up to the last in a row; a page may then be shorter
    /// than asked, even empty, and still have a next one.
    pub async fn api_keys(
        &self,
        ctx: &Ctx,
        maker: Option<UserId>,
        size: usize,
        token: &str,
    ) -> Result<Page<ApiKey>, Error> {
        let name = match maker {
            Some(user) => format!("apiKeys/{}", self.user(ctx, user).await?.profile.id),
            None => "apiKeys".to_owned(),
        };
        let list = List { name: &name, index: records::KEYS, prefix: Bytes::new() };
        let tree = self.tree(ctx.tenant).await?;
        let pick = |header: &[u8]| {
            Ok(match State::from_header(header)? {
                State::ApiKey(key) if sees(ctx, tree.path_of(&key)) => Some(key),
                _ => None,
            })
        };
        let mut page = self.page(ctx, list, size, token, pick).await?;
        if let Some(user) = maker {
            page.items = self.made_by(ctx.tenant, user, page.items).await?;
        }
        Ok(page)
    }

    pub(super) async fn page<T>(
        &self,
        ctx: &Ctx,
        list: List<'_>,
        size: usize,
        token: &str,
        pick: impl Fn(&[u8]) -> Result<Option<T>, Damage>,
    ) -> Result<Page<T>, Error> {
        let mut after = match PageToken::open(ctx, list.name, token)? {
            Some(position) => Some(read_position(&position)?),
            None => None,
        };
        let (mut items, mut read) = (Vec::new(), 0);
        loop {
            let rows = self
                .journal
                .store()
                .index(ctx.tenant, list.index, list.prefix.clone(), after.clone(), size)
                .await
                .map_err(journal::Error::from)?;
            let ended = rows.len() < size;
            for row in rows {
                if items.len() == size || read == ROWS_READ_MAX {
                    return Ok(Page { items, next: token_after(ctx, &list, after) });
                }
                items.extend(pick(&row.value).map_err(journal::Error::from)?);
                after = Some((row.key, row.aggregate));
                read += 1;
            }
            if ended {
                return Ok(Page { items, next: String::new() });
            }
        }
    }
}

/// One list of the service.
pub(super) struct List<'a> {
    pub(super) name: &'a str,
    pub(super) index: u16,
    pub(super) prefix: Bytes,
}

/// Seals the position after the last row that was read.
fn token_after(ctx: &Ctx, list: &List<'_>, after: Option<(Bytes, AggregateId)>) -> String {
    after.map_or_else(String::new, |(key, aggregate)| {
        PageToken::seal(ctx, list.name, &[aggregate.as_bytes().as_slice(), &key].concat())
    })
}

fn read_position(position: &[u8]) -> Result<(Bytes, AggregateId), Error> {
    let (aggregate, key) = position.split_first_chunk::<16>().ok_or(Refused::PageTokenInvalid)?;
    Ok((Bytes::copy_from_slice(key), AggregateId::from_bytes(*aggregate)))
}
