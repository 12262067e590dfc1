//! Looks for what is on hand in a whole business, before it is closed.

use bytes::Bytes;
use ids::VariantId;
use proto::stock::v1 as pb;
use quantity::Quantity;
use rpc::Ctx;

use crate::app::{Stock, scope};
use crate::error::Error;
use crate::records;

/// Items that one call looks at.
const ITEMS_MAX: usize = 500;
/// What is found at most.
const FOUND_MAX: usize = 5;

impl Stock {
    /// What is on hand in the caller's business, looking at items after that of `after`, in the order of their
    /// variants. At most [`FOUND_MAX`], of at most [`ITEMS_MAX`] items; `last_variant_id` says where to go on.
    ///
    /// # Errors
    /// The journal.
    pub(crate) async fn find_on_hand(
        &self,
        ctx: &Ctx,
        after: Option<VariantId>,
    ) -> Result<pb::FindOnHandResponse, Error> {
        let prefix = records::index_key(&[ctx.business.as_bytes()]);
        let after = after.map(|variant| {
            let key = records::index_key(&[ctx.business.as_bytes(), variant.as_bytes()]);
            (key, records::item_id(ctx.business, variant))
        });
        let store = self.items.store();
        let rows = store.index(ctx.tenant, records::INDEX_ITEM, prefix, after, ITEMS_MAX).await;
        let rows = rows.map_err(journal::Error::from)?;
        let mut found = pb::FindOnHandResponse::default();
        for row in &rows {
            if let Some(stock) = self.snapshot(scope(ctx, row.aggregate), None).await?
                && let Some(facts) = &stock.item.facts
            {
                let room = FOUND_MAX - found.on_hand.len();
                let there = stock.balances.iter().filter(|(_, balance)| balance.on_hand != Quantity::ZERO);
                for (location, balance) in there.take(room) {
                    let location_code = self.location(ctx, *location).await?.0.code;
                    found.on_hand.push(pb::OnHand {
                        variant_id: facts.variant.to_string(),
                        location_id: location.to_string(),
                        location_code,
                        quantity: balance.on_hand.to_string(),
                        base_unit: facts.base_unit.clone(),
                    });
                }
            }
            if found.on_hand.len() == FOUND_MAX {
                break;
            }
        }
        // A whole page may have more after it.
        if rows.len() == ITEMS_MAX {
            found.last_variant_id =
                rows.last().and_then(|row| variant(&row.key)).map_or_else(String::new, |id| id.to_string());
        }
        Ok(found)
    }
}

/// The variant of a row of the index of items.
fn variant(key: &Bytes) -> Option<VariantId> {
    key.get(16..)?.try_into().ok().map(VariantId::from_bytes)
}
