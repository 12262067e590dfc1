//! Locations and what is there, which belong to the stock service.

use std::sync::{Arc, Weak};

use calendar::Instant;
use ids::{BusinessId, LocationId, TenantId};
use problem::{Invalid, reason};
use proto::stock::v1::stock_service_client::StockServiceClient;
use proto::stock::v1::{FindOnHandRequest, FindOnHandResponse, GetLocationRequest};
use rpc::{Ctx, System, Transport};
use tonic::Code;

use crate::Error;
use crate::app::App;
use crate::domain::{Business, Node};

/// The service that is asked, as the contract names it.
const STOCK: &str = "stock";
/// Parts of a business's items that one call looks at: 100,000 items.
const PARTS_MAX: usize = 200;
/// The same, before the business is quiet.
const PARTS_EARLY: usize = 4;
/// Businesses of which it is remembered how far their items were looked at.
pub(super) const LOOKS_MAX: usize = 1_000;

/// How far the items of a business were looked at, without anything on hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Look {
    /// [`Node::changes`] then.
    changes: u64,
    /// When it began.
    began_at: Instant,
    /// The variant of the last item.
    last_variant: String,
}

/// What a business is looked at by: its tenant and id.
pub(super) type Looked = (TenantId, BusinessId);

/// The way to the stock service; see [`crate::Service::ask_stock`].
pub struct Places {
    stock: StockServiceClient<Transport>,
    system: System,
}

impl App {
    /// Tells where the stock service is. The first call counts.
    pub(crate) fn ask_stock(&self, transport: Transport, system: System) -> Arc<Places> {
        let places = Arc::new(Places { stock: StockServiceClient::new(transport), system });
        let _ = self.places.set(Arc::downgrade(&places));
        places
    }

    /// Checks that locations are those of `business`, before an assignment names them (TEN-4).
    ///
    /// # Errors
    /// Every one that is not, as a bad field, or the stock service.
    pub(super) async fn check_locations(
        &self,
        ctx: &Ctx,
        business: &Business,
        locations: &[LocationId],
    ) -> Result<(), Error> {
        if locations.is_empty() {
            return Ok(());
        }
        let away = Error::Dependency { service: STOCK };
        let Some(places) = self.places.get().and_then(Weak::upgrade) else { return Err(away) };
        let there = Ctx { business: business.id, path: business.path.clone().into(), ..ctx.clone() };
        for id in locations {
            let ask = GetLocationRequest { location_id: id.to_string() };
            let mut stock = places.stock.clone();
            match stock.get_location(places.system.request(&there, STOCK, ask)).await {
                Ok(_) => {}
                Err(status) if status.code() == Code::NotFound => {
                    return Err(Error::NotFound { what: "location" });
                }
                Err(status) => {
                    tracing::warn!(code = %status.code(), "a location cannot be looked up: {}", status.message());
                    return Err(away);
                }
            }
        }
        Ok(())
    }

    /// Checks that nothing is on hand in the business at the end of `path`, whose place is `node`. Gives the time that
    /// the look began.
    ///
    /// Before the business was quiet for long enough this says no more than what can be said early. After that it is
    /// decisive: a large business is looked at in several calls, each of which goes on where the one before ended.
    ///
    /// # Errors
    /// [`Error::StockOnHand`], [`Error::StockUnknown`] when there are more items, or the stock service.
    pub(super) async fn check_nothing_on_hand(
        &self,
        ctx: &Ctx,
        path: Arc<[BusinessId]>,
        node: &Node,
        now: Instant,
    ) -> Result<Instant, Error> {
        let away = Error::Dependency { service: STOCK };
        let business = path.last().copied().unwrap_or(ctx.business);
        let Some(places) = self.places.get().and_then(Weak::upgrade) else { return Err(away) };
        let there = Ctx { business, path, ..ctx.clone() };
        let (key, decisive) = ((ctx.tenant, business), node.is_quiet(now));
        let known = self.looks.get(&key).filter(|look| decisive && look.changes == node.changes);
        let none = Look { changes: node.changes, began_at: now, last_variant: String::new() };
        let look = known.filter(|look| !look.last_variant.is_empty()).unwrap_or(none.clone());
        let ask = |after_variant_id: String| {
            if decisive {
                self.looks.insert(key, Look { last_variant: after_variant_id.clone(), ..look.clone() });
            }
            let request = places.system.request(&there, STOCK, FindOnHandRequest { after_variant_id });
            let mut stock = places.stock.clone();
            async move {
                let answer = stock.find_on_hand(request).await;
                answer.map(tonic::Response::into_inner).map_err(|status| {
                    tracing::warn!(code = %status.code(), "stock cannot be looked at: {}", status.message());
                    Error::Dependency { service: STOCK }
                })
            }
        };
        // What is only said early need not be complete.
        let parts = if decisive { PARTS_MAX } else { PARTS_EARLY };
        match look_through(look.last_variant.clone(), parts, ask).await {
            Ok(true) => {
                self.looks.insert(key, none);
                Ok(look.began_at)
            }
            Ok(false) if decisive => Err(Error::StockUnknown),
            Ok(false) => Ok(now),
            Err(error) => {
                if matches!(error, Error::StockOnHand { .. }) {
                    self.looks.insert(key, none);
                }
                Err(error)
            }
        }
    }
}

/// Looks through items after `last`, `parts` times at most. True if these were all.
async fn look_through<F: Future<Output = Result<FindOnHandResponse, Error>>>(
    mut last: String,
    parts: usize,
    ask: impl Fn(String) -> F,
) -> Result<bool, Error> {
    for _ in 0..parts {
        let found = ask(last).await?;
        if !found.on_hand.is_empty() {
            let text = |one: &proto::stock::v1::OnHand| {
                let proto::stock::v1::OnHand { variant_id, location_id, location_code, quantity, base_unit } =
                    one;
                format!("'{quantity}' {base_unit} of '{variant_id}' at '{location_code}' ('{location_id}')")
            };
            return Err(Error::StockOnHand { some: found.on_hand.iter().map(text).collect() });
        }
        last = found.last_variant_id;
        if last.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses limits that are more than travels with every call of the principal.
pub(super) fn check_size(bytes: usize) -> Result<(), Invalid> {
    let most = super::granted::LIMITED_BYTES_MAX;
    match bytes <= most {
        true => Ok(()),
        false => {
            let detail = format!(
                "limited roles of one principal are at most '{most}' bytes together, with their limits: make the \
                 role or its limits smaller, or revoke another"
            );
            Err(Invalid::field("assignment.limits", reason::TOO_LARGE, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proto::stock::v1::OnHand;

    use super::*;

    /// A business with five parts of items, looked through in two calls of three parts; what is in the last is found.
    #[tokio::test]
    async fn a_look_goes_on_where_the_one_before_ended() {
        let asked = Mutex::new(vec![]);
        let stock = |last_one_has: Vec<OnHand>| {
            let asked = &asked;
            move |after: String| {
                asked.lock().unwrap().push(after.clone());
                let next = after.parse().unwrap_or(0) + 1;
                let (on_hand, last_variant_id) = if next == 5 {
                    (last_one_has.clone(), String::new())
                } else {
                    (vec![], next.to_string())
                };
                std::future::ready(Ok(FindOnHandResponse { on_hand, last_variant_id }))
            }
        };
        assert_eq!(look_through(String::new(), 3, stock(vec![])).await, Ok(false));
        assert_eq!(look_through("3".to_owned(), 3, stock(vec![])).await, Ok(true));
        assert_eq!(*asked.lock().unwrap(), ["", "1", "2", "3", "4"]);
        let one = OnHand { quantity: "-2".to_owned(), base_unit: "C62".to_owned(), ..OnHand::default() };
        let found = look_through("3".to_owned(), 3, stock(vec![one])).await.unwrap_err();
        assert_eq!(found.to_string(), "the business has stock: '-2' C62 of '' at '' ('')");
    }
}
