use ids::{BusinessId, PriceListId, VariantId};
use journal::{Order, Posted, Scope, Seq};
use rpc::{Ctx, PageToken};

use super::{Catalog, Page, PageRequest};
use crate::Error;
use crate::domain::{Change, PriceList, UnitRef};
use crate::records;

/// Entries that are read at a time.
const CHUNK: usize = 500;
/// Entries that one call looks at: a page of a rare unit may end early, with a token to go on.
const ENTRIES_MAX: usize = 5_000;

impl Catalog {
    /// Lists the changes of the price of a variant in a list, newest first: those of the owner of the list, or of a
    /// business between it and the caller's, both included.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn list_price_changes(
        &self,
        ctx: &Ctx,
        (list, variant, unit): (PriceListId, VariantId, Option<UnitRef>),
        business: Option<BusinessId>,
        page: &PageRequest,
    ) -> Result<(PriceList, Page<Posted<Change>>), Error> {
        let named = business.map_or(String::new(), |business| business.to_string());
        let token_scope = format!(
            "price_changes/{list}/{variant}?unit={}&business={named}",
            unit.map_or("", |unit| unit.code)
        );
        let opened = page.open(ctx, &token_scope)?;
        let price_list = self.read_price_list(ctx, list).await?;
        self.get_variant(ctx, variant).await?;
        let line = price_list.line(&ctx.path).ok_or(Error::NotFound { what: "price list" })?;
        if business.is_some_and(|business| !line.contains(&business)) {
            return Err(Error::NotFound { what: "business" });
        }
        let below = business.filter(|business| *business != price_list.list.business);

        let scope = Scope { tenant: ctx.tenant, aggregate: records::price(list, variant, below) };
        let mut to = match opened.position {
            Some(position) => {
                Seq::from_be_bytes(position.try_into().map_err(|_| rpc::Refused::PageTokenInvalid)?)
            }
            None => Seq::MAX,
        };
        let (mut items, mut looked_at) = (Vec::new(), 0);
        let full = 'pages: loop {
            let entries = self.prices.entries(scope, 1, to, Order::Descending, CHUNK).await?;
            let last = entries.len() < CHUNK;
            for posted in entries {
                if items.len() == opened.size {
                    break 'pages true;
                }
                to = posted.seq - 1;
                looked_at += 1;
                if unit.is_none_or(|unit| posted.event.unit == unit) {
                    items.push(posted);
                }
            }
            if last || to == 0 {
                break false;
            }
            if looked_at >= ENTRIES_MAX {
                break true;
            }
        };
        let next = if full { PageToken::seal(ctx, &token_scope, &to.to_be_bytes()) } else { String::new() };
        Ok((price_list, Page { items, next }))
    }
}
