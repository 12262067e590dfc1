//! The tree of businesses, which belongs to the tenant service.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use ids::BusinessId;
use proto::tenant::v1::ListBusinessesRequest;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use rpc::{Ctx, System, Transport};

use super::publications::{Paths, paths};
use crate::Error;

/// The service that is asked, as the contract names it.
const TENANT: &str = "tenant";
/// Businesses that are read at a time.
const PAGE: u32 = 500;

/// The way to the tenant service.
#[derive(Default)]
pub(crate) struct Tree(OnceLock<(TenantServiceClient<Transport>, Arc<System>)>);

impl Tree {
    /// Tells where the tenant service is. The first call counts.
    pub(crate) fn ask(&self, transport: Transport, system: System) {
        let _ = self.0.set((TenantServiceClient::new(transport), Arc::new(system)));
    }

    /// The paths of the caller's business and of all below it.
    ///
    /// # Errors
    /// [`Error::Dependency`].
    pub(crate) async fn paths_below(&self, ctx: &Ctx) -> Result<Paths, Error> {
        let away = Error::Dependency { service: TENANT };
        let Some((client, system)) = self.0.get() else { return Err(away) };
        let mut children: HashMap<BusinessId, Vec<BusinessId>> = HashMap::new();
        let mut page_token = String::new();
        loop {
            let within_id = ctx.business.to_string();
            let ask = ListBusinessesRequest { page_size: PAGE, page_token, within_id };
            let page = client.clone().list_businesses(system.request(ctx, TENANT, ask)).await;
            let page = page.map_err(|status| {
                tracing::warn!(code = %status.code(), "businesses cannot be listed: {}", status.message());
                away.clone()
            })?;
            let page = page.into_inner();
            for business in &page.businesses {
                let ids = (BusinessId::parse(&business.id), BusinessId::parse(&business.parent_id));
                if let (Ok(id), Ok(parent)) = ids
                    && id != ctx.business
                {
                    children.entry(parent).or_default().push(id);
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(paths(&ctx.path, &children));
            }
        }
    }
}
