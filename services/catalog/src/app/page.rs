//! Pages of a list.

use bytes::Bytes;
use ids::AggregateId;
use journal::store::IndexRow;
use problem::{Invalid, reason};
use rpc::{Ctx, PageToken};

use super::Catalog;
use crate::Error;

/// What a caller asks for.
#[derive(Debug, Clone)]
pub(crate) struct PageRequest {
    /// 0 for the usual size.
    pub(crate) size: u32,
    /// Empty for the first page.
    pub(crate) token: String,
}

/// A page, and where the next one begins.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Empty on the last page.
    pub(crate) next: String,
}

/// A request whose token was opened: `scope` names the list and its filters.
pub(super) struct Opened {
    pub(super) size: usize,
    /// Where to go on.
    pub(super) position: Option<Vec<u8>>,
}

impl PageRequest {
    pub(super) fn open(&self, ctx: &Ctx, scope: &str) -> Result<Opened, Error> {
        let size = rpc::page_size(self.size)
            .map_err(|_| Invalid::field("page_size", reason::TOO_LARGE, "must be at most '500'"))?;
        Ok(Opened { size, position: PageToken::open(ctx, scope, &self.token)? })
    }
}

impl Catalog {
    /// Reads a page of an index whose keys are ids, and whether there are more rows behind it.
    pub(super) async fn index_page(
        &self,
        ctx: &Ctx,
        index: u16,
        opened: &Opened,
    ) -> Result<(Vec<IndexRow>, bool), Error> {
        let after = opened.position.as_deref().map(row_after).transpose()?;
        let limit = opened.size + 1;
        let rows = self.store.index(ctx.tenant, index, Bytes::new(), after, limit).await;
        let mut rows = rows.map_err(journal::Error::from)?;
        let more = rows.len() > opened.size;
        rows.truncate(opened.size);
        Ok((rows, more))
    }
}

/// The token that goes on behind `row`.
pub(super) fn token_after(ctx: &Ctx, scope: &str, row: &IndexRow) -> String {
    let mut position = row.key.to_vec();
    position.extend_from_slice(row.aggregate.as_bytes());
    PageToken::seal(ctx, scope, &position)
}

fn row_after(position: &[u8]) -> Result<(Bytes, AggregateId), Error> {
    let split = position.split_last_chunk::<16>();
    let (key, aggregate) = split.ok_or(rpc::Refused::PageTokenInvalid)?;
    Ok((Bytes::copy_from_slice(key), AggregateId::from_bytes(*aggregate)))
}

/// The aggregates that index rows belong to.
pub(super) fn aggregates(rows: &[IndexRow]) -> impl Iterator<Item = AggregateId> + use<> {
    let aggregates: Vec<AggregateId> = rows.iter().map(|row| row.aggregate).collect();
    aggregates.into_iter()
}
