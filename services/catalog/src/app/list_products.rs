use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rpc::Ctx;

use super::inheritance::listed;
use super::page::{aggregates, token_after};
use super::{Catalog, Page, PageRequest, READS_AT_ONCE};
use crate::Error;
use crate::domain::Product;
use crate::records::index;

/// Variants on one page, so that an answer stays small: a page with that many ends early.
const PAGE_VARIANTS_MAX: usize = 2_000;

impl Catalog {
    /// Lists products, oldest first.
    pub(crate) async fn list_products(&self, ctx: &Ctx, page: &PageRequest) -> Result<Page<Product>, Error> {
        const SCOPE: &str = "products";
        let opened = page.open(ctx, SCOPE)?;
        let (rows, more) = self.index_page(ctx, index::PRODUCTS, &opened).await?;
        let reads = stream::iter(
            aggregates(&rows).map(async |aggregate| listed(self.read_whole(ctx, aggregate).await)),
        );
        let mut reads = reads.buffered(READS_AT_ONCE);

        let (mut items, mut seen, mut variants) = (Vec::with_capacity(rows.len()), 0, 0);
        while variants < PAGE_VARIANTS_MAX {
            let Some(product) = reads.try_next().await? else { break };
            seen += 1;
            variants += product.as_ref().map_or(0, |product| product.variants.len());
            items.extend(product);
        }
        let next = match rows[..seen].last() {
            Some(last) if more || seen < rows.len() => token_after(ctx, SCOPE, last),
            _ => String::new(),
        };
        Ok(Page { items, next })
    }
}
