//! The server that an import talks to: gRPC with an API key.

use std::collections::HashMap;
use std::time::Duration;

use catalog::domain::gtin;
use proto::catalog::v1 as catalog_v1;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::stock::v1 as stock_v1;
use proto::stock::v1::stock_service_client::StockServiceClient;
use proto::tenant::v1 as tenant_v1;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use quantity::Quantity;
use rpc::Permissions;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::cli::Failure;
use crate::import::files::Kind;

const CONNECT: Duration = Duration::from_secs(5);
/// A call that takes longer has failed; the server gives up before.
const ANSWER: Duration = Duration::from_secs(60);
/// A silent server is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// Rows of a page.
const PAGE: u32 = 500;
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the server has. Variants and locations are numbered from 0.
pub(crate) struct Known {
    pub(crate) business: Business,
    /// By SKU.
    pub(crate) variants: HashMap<String, Variant>,
    /// By code.
    pub(crate) locations: HashMap<String, Location>,
    /// SKU by barcode.
    pub(crate) barcodes: HashMap<String, String>,
    /// By numbers of variant and location.
    pub(crate) stock: HashMap<(u32, u32), Stock>,
}

/// Whose key it is.
pub(crate) struct Business {
    pub(crate) currency: String,
    pub(crate) cost_scale: u32,
    pub(crate) backdate_days: u32,
    pub(crate) permissions: Permissions,
}

pub(crate) struct Variant {
    pub(crate) number: u32,
    pub(crate) id: String,
    pub(crate) scale: u8,
}

pub(crate) struct Location {
    pub(crate) number: u32,
    pub(crate) id: String,
    pub(crate) place: Place,
}

/// What may happen at a location.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) allows_negative: bool,
    blocked_in: bool,
    blocked_out: bool,
}

impl Place {
    /// Why goods cannot arrive or leave.
    pub(crate) fn refuses(self, kind: Kind) -> Option<&'static str> {
        match kind {
            Kind::Opening if self.blocked_in => Some("is blocked for arriving goods"),
            Kind::Sales if self.blocked_out => Some("is blocked for leaving goods"),
            _ => None,
        }
    }
}

/// Stock of one variant at one location.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Stock {
    /// In micro-units.
    pub(crate) on_hand: i64,
    pub(crate) movements: u64,
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) catalog: CatalogServiceClient<Channel>,
    pub(crate) stock: StockServiceClient<Channel>,
    tenant: TenantServiceClient<Channel>,
    key: MetadataValue<Ascii>,
}

/// Reaches the server, for a caller with an API key.
pub(crate) async fn channel(url: &str, key: &str) -> Result<(Channel, MetadataValue<Ascii>), Failure> {
    let bearer = format!("Bearer {}", key.trim()).parse();
    let key = bearer.map_err(|_| Failure::Usage("the API key has characters that no key has".into()))?;
    let endpoint = Endpoint::from_shared(url.trim_end_matches('/').to_owned()).ok();
    let Some(endpoint) = endpoint.filter(|endpoint| endpoint.uri().scheme_str() == Some("http")) else {
        return Err(Failure::Usage(format!("--url '{url}' must look like http://127.0.0.1:8080")));
    };
    let endpoint = endpoint
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    let channel = endpoint.connect().await.map_err(|_| {
        Failure::Unavailable(format!("no server answers at '{url}': start it with `cargo-pilot serve`"))
    })?;
    Ok((channel, key))
}

impl Client {
    pub(crate) async fn connect(url: &str, key: &str) -> Result<Client, Failure> {
        let (channel, key) = channel(url, key).await?;
        Ok(Client {
            catalog: CatalogServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            stock: StockServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            tenant: TenantServiceClient::new(channel),
            key,
        })
    }

    /// A request with the credential and, for what posts, an idempotency key.
    pub(crate) fn request<T>(&self, message: T, idempotency_key: Option<&str>) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.key.clone());
        if let Some(Ok(key)) = idempotency_key.map(str::parse::<MetadataValue<Ascii>>) {
            request.metadata_mut().insert("idempotency-key", key);
        }
        request
    }

    /// What the server has; with the stock of everything if something is to be posted.
    pub(crate) async fn known(&self, with_stock: bool) -> Result<Known, Failure> {
        let mut known = Known {
            business: self.business().await?,
            variants: HashMap::new(),
            locations: HashMap::new(),
            barcodes: HashMap::new(),
            stock: HashMap::new(),
        };
        self.variants(&mut known).await?;
        self.locations(&mut known).await?;
        if with_stock && !known.variants.is_empty() {
            self.balances(&mut known).await?;
        }
        Ok(known)
    }

    async fn business(&self) -> Result<Business, Failure> {
        let ask = self.request(tenant_v1::GetCallerRequest {}, None);
        let caller = self.tenant.clone().get_caller(ask).await.map_err(failed)?.into_inner();
        let ask = tenant_v1::GetBusinessRequest { business_id: caller.business_id };
        let business = self.tenant.clone().get_business(self.request(ask, None)).await;
        let business = business.map_err(failed)?.into_inner();
        Ok(Business {
            currency: business.base_currency,
            cost_scale: business.cost_scale,
            backdate_days: business.backdate_window_days,
            permissions: Permissions::parse(&caller.permissions).unwrap_or_default(),
        })
    }

    async fn variants(&self, known: &mut Known) -> Result<(), Failure> {
        let mut page_token = String::new();
        loop {
            let ask = catalog_v1::ListVariantsRequest { page_size: PAGE, page_token, ..Default::default() };
            let page = self.catalog.clone().list_variants(self.request(ask, None)).await.map_err(failed)?;
            let page = page.into_inner();
            for variant in page.variants {
                known.add_variant(variant);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(());
            }
        }
    }

    async fn locations(&self, known: &mut Known) -> Result<(), Failure> {
        let mut page_token = String::new();
        loop {
            let ask = stock_v1::ListLocationsRequest { page_size: PAGE, page_token, ..Default::default() };
            let page = self.stock.clone().list_locations(self.request(ask, None)).await.map_err(failed)?;
            let page = page.into_inner();
            for location in page.locations {
                known.add_location(location);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(());
            }
        }
    }

    async fn balances(&self, known: &mut Known) -> Result<(), Failure> {
        let variants: HashMap<&str, u32> =
            known.variants.values().map(|variant| (variant.id.as_str(), variant.number)).collect();
        let locations: HashMap<&str, u32> =
            known.locations.values().map(|location| (location.id.as_str(), location.number)).collect();
        let mut page_token = String::new();
        loop {
            let ask = stock_v1::ListBalancesRequest { page_size: PAGE, page_token, ..Default::default() };
            let page = self.stock.clone().list_balances(self.request(ask, None)).await.map_err(failed)?;
            let page = page.into_inner();
            for balance in &page.balances {
                let Some(variant) = variants.get(balance.variant_id.as_str()) else { continue };
                for place in &balance.locations {
                    let Some(location) = locations.get(place.location_id.as_str()) else { continue };
                    let on_hand = Quantity::parse(&place.on_hand).unwrap_or(Quantity::ZERO).micros();
                    let stock = Stock { on_hand, movements: place.movements };
                    known.stock.insert((*variant, *location), stock);
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(());
            }
        }
    }

    /// Finds the variant with this SKU.
    pub(crate) async fn variant(&self, sku: &str) -> Result<Option<catalog_v1::Variant>, Failure> {
        let ask = catalog_v1::ListVariantsRequest { sku: sku.to_owned(), ..Default::default() };
        let found = self.catalog.clone().list_variants(self.request(ask, None)).await.map_err(failed)?;
        Ok(found.into_inner().variants.into_iter().next())
    }

    /// Finds the location with this code.
    pub(crate) async fn location(&self, code: &str) -> Result<Option<stock_v1::Location>, Failure> {
        let ask = stock_v1::ListLocationsRequest { code: code.to_owned(), ..Default::default() };
        let found = self.stock.clone().list_locations(self.request(ask, None)).await.map_err(failed)?;
        Ok(found.into_inner().locations.into_iter().next())
    }
}

impl Known {
    pub(crate) fn add_variant(&mut self, variant: catalog_v1::Variant) {
        for barcode in variant.barcodes {
            let value = gtin::normalise(&barcode.value).unwrap_or(barcode.value);
            self.barcodes.insert(value, variant.sku.clone());
        }
        let number = u32::try_from(self.variants.len()).unwrap_or(u32::MAX);
        let scale = u8::try_from(variant.quantity_scale).unwrap_or(u8::MAX);
        self.variants.insert(variant.sku, Variant { number, id: variant.id, scale });
    }

    pub(crate) fn add_location(&mut self, location: stock_v1::Location) {
        let number = u32::try_from(self.locations.len()).unwrap_or(u32::MAX);
        let status = location.status();
        let closed = status == stock_v1::LocationStatus::Closed;
        let place = Place {
            allows_negative: location.negative_policy() == stock_v1::NegativePolicy::Allow,
            blocked_in: closed || status == stock_v1::LocationStatus::BlockedIn,
            blocked_out: closed || status == stock_v1::LocationStatus::BlockedOut,
        };
        self.locations.insert(location.code, Location { number, id: location.id, place });
    }
}

/// What a refused call means for the import.
pub(crate) fn failed(status: Status) -> Failure {
    match status.code() {
        Code::Unauthenticated => {
            Failure::Usage("the server does not know this API key: give another one with --key".into())
        }
        Code::PermissionDenied => Failure::Usage(format!(
            "the API key may not do this: {}: use the key of an owner",
            status.message()
        )),
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::Unimplemented => {
            Failure::Data(format!(
                "the server refused a request ({}): see that it has the version of this program",
                status.message()
            ))
        }
        _ => Failure::Unavailable(format!(
            "the server stopped answering ({}): see that it runs and repeat the same command, it goes on where \
             it was",
            status.message()
        )),
    }
}
