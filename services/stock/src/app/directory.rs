//! What stock needs to know of other services, and for how long it remembers it.

use std::collections::HashMap;
use std::sync::Arc;

use ids::{BusinessId, LocationId, TenantId, VariantId};
use money::Currency;
use proto::catalog::v1 as catalog;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::tenant::v1 as tenant;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use quantity::Factor;
use recent::Recent;
use rpc::{Ctx, System, Transport};
use tonic::{Code, Status};

use crate::domain::kind::Virtual;
use crate::domain::location::virtual_id;
use crate::domain::movement::{Facts, Method};
use crate::error::Error;

/// The services that are asked, as the contract names them.
const TENANT: &str = "tenant";
const CATALOG: &str = "catalog";
/// How long the settings of a business are used again.
const BUSINESS_TTL_MS: u64 = 5_000;
/// How long the category of a product is believed.
const CATEGORY_TTL_MS: u64 = 5_000;
/// Businesses and opened items that are remembered.
const BUSINESSES_MAX: usize = 10_000;
const ITEMS_MAX: usize = 20_000;

/// What stock needs to know of a business.
#[derive(Clone, Debug)]
pub(crate) struct Business {
    pub(crate) currency: Currency,
    pub(crate) cost_scale: u32,
    pub(crate) method: Method,
    pub(crate) backdate_days: u32,
    /// In the order of [`Virtual::ALL`].
    virtual_ids: [LocationId; 3],
}

impl Business {
    /// Id of a virtual location of the business.
    pub(crate) fn virtual_id(&self, which: Virtual) -> LocationId {
        self.virtual_ids[which as usize]
    }
}

/// How a unit converts, and whether it has fractions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(crate) factor: Factor,
    pub(crate) integral: bool,
}

/// Asks catalog and tenant on the service's own account.
pub(crate) struct Directory {
    catalog: CatalogServiceClient<Transport>,
    tenant: TenantServiceClient<Transport>,
    system: System,
    businesses: rpc::Remembered<(TenantId, BusinessId), Arc<Business>>,
    /// Facts of items that have a movement: they never change.
    opened: Recent<(TenantId, BusinessId, VariantId), Arc<Facts>>,
    /// Categories of the products of variants, for callers who are limited to some.
    categories: rpc::Remembered<(TenantId, BusinessId, VariantId), Arc<str>>,
    integral: tokio::sync::OnceCell<HashMap<String, bool>>,
}

impl Directory {
    /// Asks through these transports, as `system`.
    #[must_use]
    pub(crate) fn new(catalog: Transport, tenant: Transport, system: System) -> Self {
        Directory {
            catalog: CatalogServiceClient::new(catalog),
            tenant: TenantServiceClient::new(tenant),
            businesses: rpc::Remembered::new(BUSINESSES_MAX, BUSINESS_TTL_MS, system.clock()),
            categories: rpc::Remembered::new(ITEMS_MAX, CATEGORY_TTL_MS, system.clock()),
            system,
            opened: Recent::new(ITEMS_MAX),
            integral: tokio::sync::OnceCell::new(),
        }
    }

    pub(crate) fn clock(&self) -> rpc::Clock {
        self.system.clock()
    }

    pub(crate) async fn business(&self, ctx: &Ctx) -> Result<Arc<Business>, Error> {
        let key = (ctx.tenant, ctx.business);
        if let Some(known) = self.businesses.get(&key) {
            return Ok(known);
        }
        // Seldom, and large: the future of every posting would carry it along.
        Box::pin(self.ask_business(ctx)).await
    }

    async fn ask_business(&self, ctx: &Ctx) -> Result<Arc<Business>, Error> {
        let ask = tenant::GetBusinessRequest { business_id: ctx.business.to_string() };
        let mut client = self.tenant.clone();
        let answer = client.get_business(self.system.request(ctx, TENANT, ask)).await;
        let business = answer.map_err(|status| failed("tenant", &status))?.into_inner();
        let business = Arc::new(Business {
            currency: Currency::parse(&business.base_currency).map_err(|_| Error::Unprepared)?,
            cost_scale: business.cost_scale,
            method: match business.costing_method() {
                tenant::CostingMethod::Fifo => Method::Fifo,
                _ => Method::MovingAverage,
            },
            backdate_days: business.backdate_window_days,
            virtual_ids: Virtual::ALL.map(|which| virtual_id(ctx.tenant, ctx.business, which)),
        });
        self.businesses.insert((ctx.tenant, ctx.business), Arc::clone(&business));
        Ok(business)
    }

    pub(crate) fn opened(&self, ctx: &Ctx, variant: VariantId) -> Option<Arc<Facts>> {
        self.opened.get(&(ctx.tenant, ctx.business, variant))
    }

    pub(crate) fn remember(&self, ctx: &Ctx, facts: &Arc<Facts>) {
        self.opened.insert((ctx.tenant, ctx.business, facts.variant), Arc::clone(facts));
    }

    pub(crate) async fn variant(&self, ctx: &Ctx, variant: VariantId) -> Result<catalog::Variant, Error> {
        let ask = catalog::GetVariantRequest { variant_id: variant.to_string() };
        let mut client = self.catalog.clone();
        let answer = client.get_variant(self.system.request(ctx, CATALOG, ask)).await;
        Ok(answer.map_err(|status| failed("catalog", &status))?.into_inner())
    }

    /// The category of a variant's product, as it is for the caller's business.
    pub(crate) async fn category(&self, ctx: &Ctx, variant: VariantId) -> Result<Arc<str>, Error> {
        let key = (ctx.tenant, ctx.business, variant);
        if let Some(category) = self.categories.get(&key) {
            return Ok(category);
        }
        let ask = catalog::GetProductRequest {
            product_id: self.variant(ctx, variant).await?.product_id,
            ..catalog::GetProductRequest::default()
        };
        let mut client = self.catalog.clone();
        let answer = client.get_product(self.system.request(ctx, CATALOG, ask)).await;
        let product = answer.map_err(|status| failed("catalog", &status))?.into_inner();
        let category: Arc<str> = product.category.into();
        self.categories.insert(key, Arc::clone(&category));
        Ok(category)
    }

    /// The facts that the first movement of an item fixes.
    pub(crate) async fn facts(&self, ctx: &Ctx, id: VariantId) -> Result<Facts, Error> {
        let variant = self.variant(ctx, id).await?;
        let business = self.business(ctx).await?;
        Ok(Facts {
            business: ctx.business,
            variant: id,
            base_unit: variant.base_unit,
            quantity_scale: variant.quantity_scale,
            currency: business.currency,
            cost_scale: business.cost_scale,
            method: business.method,
        })
    }

    /// How `unit` converts to the base unit of a variant; `None` if the variant has no such unit.
    pub(crate) async fn unit(&self, ctx: &Ctx, id: VariantId, unit: &str) -> Result<Option<Unit>, Error> {
        let variant = self.variant(ctx, id).await?;
        let in_force = |known: &&catalog::UnitConversion| known.unit == unit && known.superseded_at.is_none();
        let Some(conversion) = variant.conversions.iter().find(in_force) else { return Ok(None) };
        let factor =
            Factor::new(conversion.numerator, conversion.denominator).map_err(|_| Error::Unprepared)?;
        Ok(Some(Unit { factor, integral: self.integral(ctx, unit).await? }))
    }

    async fn integral(&self, ctx: &Ctx, unit: &str) -> Result<bool, Error> {
        let units = self
            .integral
            .get_or_try_init(|| async {
                let mut client = self.catalog.clone();
                let answer =
                    client.list_units(self.system.request(ctx, CATALOG, catalog::ListUnitsRequest {})).await;
                let answer = answer.map_err(|status| failed("catalog", &status))?.into_inner();
                Ok::<_, Error>(answer.units.into_iter().map(|unit| (unit.code, unit.integral)).collect())
            })
            .await?;
        Ok(units.get(unit).copied().unwrap_or(false))
    }
}

fn failed(service: &'static str, status: &Status) -> Error {
    match status.code() {
        Code::NotFound => Error::NotFound,
        _ => Error::Dependency { service },
    }
}
