//! The tree of businesses, which belongs to the tenant service.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use calendar::Instant;
use ids::{BusinessId, TenantId};
use proto::tenant::v1::ListBusinessesRequest;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use rpc::{Actor, ActorKind, Ctx, Permissions, Principal, System, Transport};
use tonic::Code;

use super::publications::{Paths, paths};
use crate::Error;

/// The service that is asked, as the contract names it.
const TENANT: &str = "tenant";
/// Businesses that are read at a time.
const PAGE: u32 = 500;

/// A business below an owner.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) business: BusinessId,
    /// From the owner down to it.
    pub(crate) line: Arc<[BusinessId]>,
    pub(crate) created_at: Instant,
}

/// The way to the tenant service.
#[derive(Default)]
pub(crate) struct Tree(OnceLock<Way>);

struct Way {
    client: TenantServiceClient<Transport>,
    /// For callers.
    system: System,
    /// For the follower, which has no secret of the tenant to seal page tokens with.
    own: System,
}

impl Tree {
    /// Tells where the tenant service is. The first call counts.
    pub(crate) fn ask(&self, transport: Transport, system: System, own: System) {
        let _ = self.0.set(Way { client: TenantServiceClient::new(transport), system, own });
    }

    /// The paths of the caller's business and of all below it.
    ///
    /// # Errors
    /// [`Error::Dependency`].
    pub(crate) async fn paths_below(&self, ctx: &Ctx) -> Result<Paths, Error> {
        let mut children: HashMap<BusinessId, Vec<BusinessId>> = HashMap::new();
        for (business, parent, _) in self.list(ctx, |way| &way.system).await? {
            children.entry(parent).or_default().push(business);
        }
        Ok(paths(&ctx.path, &children))
    }

    /// The businesses below an owner, in the order of their ids; none if the tenant service knows no such owner.
    ///
    /// # Errors
    /// [`Error::Dependency`].
    pub(crate) async fn below(&self, tenant: TenantId, owner: BusinessId) -> Result<Arc<[Placed]>, Error> {
        let principal = Principal {
            tenant,
            business: owner,
            path: Arc::new([owner]),
            actor: Actor::new(ActorKind::System, "inheritance"),
            permissions: Permissions::default(),
            secret: [0; 32],
        };
        let mut children: HashMap<BusinessId, Vec<BusinessId>> = HashMap::new();
        let mut created = HashMap::new();
        for (business, parent, created_at) in self.list(&Ctx::internal(principal), |way| &way.own).await? {
            children.entry(parent).or_default().push(business);
            created.insert(business, created_at);
        }
        let placed = |(business, line)| Some(Placed { created_at: *created.get(&business)?, business, line });
        Ok(paths(&[owner], &children).into_iter().filter_map(placed).collect())
    }

    /// The businesses below the caller's: id, that of the business above, and since when they are there.
    async fn list(
        &self,
        ctx: &Ctx,
        system: impl Fn(&Way) -> &System,
    ) -> Result<Vec<(BusinessId, BusinessId, Instant)>, Error> {
        let away = Error::Dependency { service: TENANT };
        let Some(way) = self.0.get() else { return Err(away) };
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let within_id = ctx.business.to_string();
            let ask = ListBusinessesRequest { page_size: PAGE, page_token, within_id };
            let page = way.client.clone().list_businesses(system(way).request(ctx, TENANT, ask)).await;
            let page = match page {
                Ok(page) => page.into_inner(),
                Err(status) if status.code() == Code::NotFound => return Ok(found),
                Err(status) => {
                    tracing::warn!(code = %status.code(), "businesses cannot be listed: {}", status.message());
                    return Err(away);
                }
            };
            for business in &page.businesses {
                let ids = (BusinessId::parse(&business.id), BusinessId::parse(&business.parent_id));
                if let (Ok(id), Ok(parent)) = ids
                    && id != ctx.business
                {
                    let created_at = business.created_at.as_ref();
                    let created_at =
                        created_at.and_then(|at| Instant::from_seconds_nanos(at.seconds, at.nanos));
                    found.push((id, parent, created_at.unwrap_or(Instant::MIN)));
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(found);
            }
        }
    }
}
