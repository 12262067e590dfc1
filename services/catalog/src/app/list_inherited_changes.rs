use futures::{StreamExt as _, TryStreamExt as _, stream};
use ids::{AggregateId, ProductId};
use journal::{Order, Posted, Scope, Seq};
use rpc::{Ctx, PageToken};

use super::{Catalog, Page, PageRequest, READS_AT_ONCE};
use crate::Error;
use crate::domain::InheritedChange;
use crate::records::{self, InheritedEvent, index};

impl Catalog {
    /// Lists what the caller's business has heard of changes above it, oldest first: those behind a sequence, of one
    /// product or of all.
    ///
    /// # Errors
    /// A page token that does not belong here; [`Error::NotFound`] for a product that the business does not see, unless
    /// it has heard of it.
    pub(crate) async fn list_inherited_changes(
        &self,
        ctx: &Ctx,
        product: Option<ProductId>,
        after: Seq,
        page: &PageRequest,
    ) -> Result<Page<Posted<InheritedChange>>, Error> {
        let token_scope = format!(
            "inherited_changes?after={after}&product={}",
            product.map_or(String::new(), |id| id.to_string())
        );
        let opened = page.open(ctx, &token_scope)?;
        let after = match opened.position {
            Some(position) => {
                Seq::from_be_bytes(position.try_into().map_err(|_| rpc::Refused::PageTokenInvalid)?)
            }
            None => after,
        };
        let scope = Scope { tenant: ctx.tenant, aggregate: records::inherited(ctx.business) };
        let from = after.saturating_add(1);
        let limit = opened.size + 1;
        let mut found = match product {
            None => self.inherited.entries(scope, from, Seq::MAX, Order::Ascending, limit).await?,
            Some(product) => self.heard_of(ctx, scope, product, after, limit).await?,
        };
        let more = found.len() > opened.size;
        found.truncate(opened.size);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| PageToken::seal(ctx, &token_scope, &last.seq.to_be_bytes()));
        let items = found.into_iter().filter_map(noted).collect();
        Ok(Page { items, next: next.unwrap_or_default() })
    }

    async fn heard_of(
        &self,
        ctx: &Ctx,
        scope: Scope,
        product: ProductId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Posted<InheritedEvent>>, Error> {
        let prefix = records::heard_prefix(product, ctx.business);
        let behind = [&prefix[..], &after.to_be_bytes()].concat().into();
        let behind = Some((behind, AggregateId::from_bytes([u8::MAX; 16])));
        let rows = self.store.index(ctx.tenant, index::HEARD, prefix.clone(), behind, limit).await;
        let rows = rows.map_err(journal::Error::from)?;
        if rows.is_empty() {
            let heard = self.store.index(ctx.tenant, index::HEARD, prefix, None, 1).await;
            if heard.map_err(journal::Error::from)?.is_empty() {
                self.get_product(ctx, product).await?;
            }
        }
        let entry = |row: journal::store::IndexRow| async move {
            let seq = records::heard_seq(&row.key).map_err(journal::Error::from)?;
            Ok::<_, Error>(self.inherited.entries(scope, seq, seq, Order::Ascending, 1).await?)
        };
        let entries = stream::iter(rows).map(entry).buffered(READS_AT_ONCE).try_concat();
        entries.await
    }
}

fn noted(posted: Posted<InheritedEvent>) -> Option<Posted<InheritedChange>> {
    let InheritedEvent::Noted { change, .. } = posted.event else { return None };
    let Posted { seq, recorded_at, actor, key, position, chain, .. } = posted;
    Some(Posted { seq, event: change, recorded_at, actor, key, position, chain })
}
