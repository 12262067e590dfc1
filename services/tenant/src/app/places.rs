//! Locations, which belong to the stock service.

use std::sync::{Arc, Weak};

use ids::LocationId;
use problem::{Invalid, reason};
use proto::stock::v1::GetLocationRequest;
use proto::stock::v1::stock_service_client::StockServiceClient;
use rpc::{Ctx, System, Transport};
use tonic::Code;

use crate::Error;
use crate::app::App;
use crate::domain::Business;

/// The service that is asked, as the contract names it.
const STOCK: &str = "stock";

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
