use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use journal::Scope;
use rpc::Ctx;

use super::page::{aggregates, token_after};
use super::{Catalog, Page, PageRequest, READS_AT_ONCE};
use crate::Error;
use crate::domain::PriceList;
use crate::records::index;

impl Catalog {
    /// Lists price lists, oldest first.
    pub(crate) async fn list_price_lists(
        &self,
        ctx: &Ctx,
        page: &PageRequest,
    ) -> Result<Page<PriceList>, Error> {
        const SCOPE: &str = "price_lists";
        let opened = page.open(ctx, SCOPE)?;
        let (rows, more) = self.index_page(ctx, index::PRICE_LISTS, &opened).await?;
        let scopes = aggregates(&rows).map(|aggregate| Scope { tenant: ctx.tenant, aggregate });
        let reads = scopes.map(|scope| self.price_lists.read(scope, |_| vec![]));
        let views: Vec<_> = stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        let lists = views.into_iter().flatten().filter_map(|view| view.state.list);
        let items = lists.filter(|list| list.is_seen_from(&ctx.path)).collect();
        let next = rows.last().filter(|_| more).map(|last| token_after(ctx, SCOPE, last));
        Ok(Page { items, next: next.unwrap_or_default() })
    }
}
