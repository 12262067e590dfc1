//! A demo tenant with a little of everything, made through the API like any other.

use std::path::Path;
use std::sync::Arc;

use calendar::Instant;
use journal::{Env as _, SystemEnv};
use proto::api::v1::Money;
use proto::catalog::v1 as catalog;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::stock::v1 as stock;
use proto::stock::v1::stock_service_client::StockServiceClient;
use rpc::{Minter, Principal, Transport};
use tonic::{Request, Status};

use crate::cli::Failure;
use crate::data;
use crate::platform::Platform;

const SLUG: &str = "demo";
const CURRENCY: &str = "USD";
const DAY_S: i64 = 86_400;

/// SKU, name, category, base unit, decimal places, GTIN, cost and price per unit.
type Sample =
    (&'static str, &'static str, &'static str, &'static str, u32, &'static str, &'static str, &'static str);

#[rustfmt::skip] // columns
const SAMPLES: [Sample; 8] = [
    ("COF-ETH-1000", "Ethiopian coffee, whole bean, 1 kg", "Coffee", "C62", 0, "4006381333931", "11.40", "19.90"),
    ("COF-COL-1000", "Colombian coffee, whole bean, 1 kg", "Coffee", "C62", 0, "4006381333948", "9.85", "17.50"),
    ("TEA-EARL-100", "Earl Grey tea, 100 bags",            "Tea",    "C62", 0, "5012345678900", "3.10", "6.95"),
    ("MUG-BLUE",     "Stoneware mug, blue",                "Mugs",   "C62", 0, "",              "2.75", "8.50"),
    ("MUG-SAND",     "Stoneware mug, sand",                "Mugs",   "C62", 0, "",              "2.75", "8.50"),
    ("SUGAR-CANE",   "Raw cane sugar, loose",              "Grocery","KGM", 3, "",              "1.12", "2.40"),
    ("FILTER-4",     "Paper filters size 4, box of 100",   "Brewing","C62", 0, "0012345678905", "1.05", "3.20"),
    ("GRINDER-M1",   "Hand grinder M1",                    "Brewing","C62", 0, "",              "38.00","79.00"),
];

const LOCATIONS: [(&str, &str); 3] =
    [("MAIN", "Main warehouse"), ("SHOP-1", "Shop, High Street"), ("SHOP-2", "Shop, Station")];

const PRICES: &str = "RETAIL";

/// The document that is posted last: once it is there, everything is.
const LAST: (&str, &str) = ("write_off", "WO-3001");

/// Makes the demo tenant unless it is there, and gives its API key.
pub(crate) async fn prepare(platform: &Platform, data: &Path) -> Result<String, Failure> {
    let currency = money::Currency::parse(CURRENCY).map_err(|error| Failure::Machine(error.to_string()))?;
    let new = tenant::BootstrapTenant {
        slug: SLUG.to_owned(),
        name: "Demo".to_owned(),
        legal_name: "Demo Trading Inc.".to_owned(),
        country: "US".to_owned(),
        currency,
        cost_scale: 2,
        costing: tenant::domain::Costing::MovingAverage,
    };
    let app = platform.tenant.app();
    let made = app.bootstrap(new).await.map_err(|error| failed(&error))?;
    let key = match (made.credential, data::demo_key(data)) {
        (None, Some(key)) if login(app, &key).await?.is_some() => key,
        (Some(credential), _) => keep(data, &credential)?,
        // An earlier start ended between making the key and keeping it, or the key was revoked.
        (None, _) => keep(data, &app.issue_owner_key(made.tenant).await.map_err(|error| failed(&error))?)?,
    };
    let principal = login(app, &key).await?;
    let principal =
        principal.ok_or_else(|| Failure::Machine("the demo tenant's key does not work".into()))?;
    let demo = Demo {
        catalog: CatalogServiceClient::new(platform.transport.clone()),
        stock: StockServiceClient::new(platform.transport.clone()),
        minter: Arc::clone(&platform.minter),
        principal,
        now: SystemEnv.now(),
    };
    demo.fill()
        .await
        .map_err(|status| Failure::Machine(format!("the sample data was refused: {}", status.message())))?;
    Ok(key)
}

fn keep(data: &Path, credential: &tenant::domain::Credential) -> Result<String, Failure> {
    let key = credential.reveal();
    data::keep_demo_key(data, &key)?;
    Ok(key)
}

/// Who the key belongs to; `None` if it is not valid.
async fn login(app: &tenant::App, key: &str) -> Result<Option<Principal>, Failure> {
    let login = tenant::Login {
        credential: tenant::domain::Credential::parse(key),
        session: None,
        jwt: None,
        peer: None,
        business: None,
    };
    match app.authenticate(login).await {
        Ok(authenticated) => Ok(Some(authenticated.principal)),
        Err(tenant::Error::InvalidCredentials) => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &tenant::Error) -> Failure {
    Failure::Machine(format!("the demo tenant cannot be made: {error}"))
}

struct Demo {
    catalog: CatalogServiceClient<Transport>,
    stock: StockServiceClient<Transport>,
    minter: Arc<Minter>,
    principal: Principal,
    now: Instant,
}

/// A line of the sample history: days ago, document, line, what.
struct Line<'a> {
    days: i64,
    document: (&'a str, &'a str),
    kind: &'a str,
    sku: usize,
    at: usize,
    quantity: &'a str,
}

impl Demo {
    fn request<T>(&self, service: &str, key: &str, message: T) -> Request<T> {
        let mut request = rpc::with_token(&self.minter.mint(&self.principal, service), message);
        if let Ok(key) = format!("demo-{key}").parse() {
            request.metadata_mut().insert(rpc::header::IDEMPOTENCY_KEY, key);
        }
        request
    }

    /// Makes what is not there: what an interrupted start has begun is completed by the next one.
    async fn fill(&self) -> Result<(), Status> {
        let (document, id) = LAST;
        let ask = stock::ListMovementsRequest {
            source_type: document.to_owned(),
            source_id: id.to_owned(),
            ..Default::default()
        };
        let last = self.stock.clone().list_movements(self.request("stock", "-", ask)).await?.into_inner();
        // What people change afterwards stays as it is.
        if !last.movements.is_empty() {
            return Ok(());
        }
        let variants = self.products().await?;
        let places = self.locations().await?;
        self.prices(&variants).await?;
        self.history(&variants, &places).await
    }

    async fn products(&self) -> Result<Vec<String>, Status> {
        let products = SAMPLES.iter().map(|(sku, name, category, unit, scale, gtin, _, _)| {
            let barcode = catalog::Barcode { value: (*gtin).to_owned(), ..Default::default() };
            let variant = catalog::Variant {
                sku: (*sku).to_owned(),
                barcodes: if gtin.is_empty() { vec![] } else { vec![barcode] },
                ..Default::default()
            };
            catalog::Product {
                name: (*name).to_owned(),
                category: (*category).to_owned(),
                base_unit: (*unit).to_owned(),
                quantity_scale: Some(*scale),
                variants: vec![variant],
                ..Default::default()
            }
        });
        let mut variants = Vec::with_capacity(SAMPLES.len());
        for (product, sample) in products.zip(&SAMPLES) {
            let ask = catalog::ListVariantsRequest { sku: sample.0.to_owned(), ..Default::default() };
            let found =
                self.catalog.clone().list_variants(self.request("catalog", "-", ask)).await?.into_inner();
            if let Some(variant) = found.variants.into_iter().next() {
                variants.push(variant.id);
                continue;
            }
            let ask = catalog::CreateProductRequest { product: Some(product) };
            let made = self
                .catalog
                .clone()
                .create_product(self.request("catalog", sample.0, ask))
                .await?
                .into_inner();
            variants.extend(made.variants.into_iter().map(|variant| variant.id));
        }
        Ok(variants)
    }

    async fn locations(&self) -> Result<Vec<String>, Status> {
        let mut places = Vec::with_capacity(LOCATIONS.len());
        for (code, name) in LOCATIONS {
            let ask = stock::ListLocationsRequest { code: code.to_owned(), ..Default::default() };
            let found =
                self.stock.clone().list_locations(self.request("stock", "-", ask)).await?.into_inner();
            if let Some(location) = found.locations.into_iter().next() {
                places.push(location.id);
                continue;
            }
            let location =
                stock::Location { code: code.to_owned(), name: name.to_owned(), ..Default::default() };
            let ask = stock::CreateLocationRequest { location: Some(location) };
            places.push(
                self.stock.clone().create_location(self.request("stock", code, ask)).await?.into_inner().id,
            );
        }
        Ok(places)
    }

    async fn prices(&self, variants: &[String]) -> Result<(), Status> {
        let ask = catalog::ListPriceListsRequest::default();
        let lists =
            self.catalog.clone().list_price_lists(self.request("catalog", "-", ask)).await?.into_inner();
        let list = match lists.price_lists.into_iter().find(|list| list.code == PRICES) {
            Some(list) => list.id,
            None => self.price_list().await?,
        };
        for (variant, sample) in variants.iter().zip(&SAMPLES) {
            let ask = catalog::ListPriceChangesRequest {
                price_list_id: list.clone(),
                variant_id: variant.clone(),
                ..Default::default()
            };
            let there = self
                .catalog
                .clone()
                .list_price_changes(self.request("catalog", "-", ask))
                .await?
                .into_inner();
            if !there.changes.is_empty() {
                continue;
            }
            let price = catalog::NewPrice {
                variant_id: variant.clone(),
                amount: sample.7.to_owned(),
                reason: "opening price".to_owned(),
                ..Default::default()
            };
            let ask = catalog::SetPriceRequest { price_list_id: list.clone(), price: Some(price) };
            self.catalog
                .clone()
                .set_price(self.request("catalog", &format!("price-{}", sample.0), ask))
                .await?;
        }
        Ok(())
    }

    async fn price_list(&self) -> Result<String, Status> {
        let list = catalog::PriceList {
            code: PRICES.to_owned(),
            name: "Retail prices".to_owned(),
            kind: catalog::PriceListKind::Sale.into(),
            currency: CURRENCY.to_owned(),
            ..Default::default()
        };
        let ask = catalog::CreatePriceListRequest { price_list: Some(list) };
        Ok(self
            .catalog
            .clone()
            .create_price_list(self.request("catalog", PRICES, ask))
            .await?
            .into_inner()
            .id)
    }

    /// Four weeks: receipts in the warehouse, transfers to the shops, sales, a breakage.
    async fn history(&self, variants: &[String], places: &[String]) -> Result<(), Status> {
        const RECEIVED: [&str; 8] = ["120", "80", "200", "144", "144", "250.5", "300", "24"];
        const MOVED: [&str; 8] = ["20", "15", "40", "24", "24", "40", "60", "4"];
        const SOLD: [&str; 8] = ["3", "2", "5", "4", "1", "6.25", "7", "1"];
        let mut lines = Vec::new();
        for sku in 0..SAMPLES.len() {
            let receipt = ("goods_receipt", "GR-1001");
            lines.push(Line {
                days: 28,
                document: receipt,
                kind: "purchase.receipt",
                sku,
                at: 0,
                quantity: RECEIVED[sku],
            });
            for (shop, document) in [(1, "TR-2001"), (2, "TR-2002")] {
                let document = ("transfer", document);
                lines.push(Line {
                    days: 26,
                    document,
                    kind: "transfer.direct",
                    sku,
                    at: shop,
                    quantity: MOVED[sku],
                });
            }
            for (days, at, till) in
                [(20, 1, "T1-0417"), (13, 2, "T2-0388"), (6, 1, "T1-0466"), (2, 2, "T2-0401")]
            {
                let document = ("pos_receipt", till);
                lines.push(Line { days, document, kind: "sale.shipment", sku, at, quantity: SOLD[sku] });
            }
        }
        lines.sort_by_key(|line| std::cmp::Reverse(line.days));
        self.post(lines.iter().map(|line| self.draft(line, variants, places)).collect()).await?;
        let last = Line { days: 1, document: LAST, kind: "write_off.damage", sku: 3, at: 1, quantity: "2" };
        self.post(vec![self.draft(&last, variants, places)]).await
    }

    async fn post(&self, movements: Vec<stock::MovementDraft>) -> Result<(), Status> {
        // The dates depend on today, so the key does too; what is posted already is known by its source line.
        let key = format!("history-{}-{}", movements.len(), self.now.unix_micros());
        let ask = stock::BatchPostMovementsRequest { movements, atomic: false, omit_movements: true };
        let answer =
            self.stock.clone().batch_post_movements(self.request("stock", &key, ask)).await?.into_inner();
        for result in answer.results {
            match result.result {
                Some(stock::posting_result::Result::Problem(problem))
                    if problem.reason != "SOURCE_ALREADY_POSTED" =>
                {
                    return Err(Status::failed_precondition(problem.detail));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn draft(&self, line: &Line<'_>, variants: &[String], places: &[String]) -> stock::MovementDraft {
        let (seconds, nanos) = self.now.plus_seconds(-line.days * DAY_S).seconds_nanos();
        let transfer = line.kind == "transfer.direct";
        let cost = Money { currency: CURRENCY.to_owned(), amount: SAMPLES[line.sku].6.to_owned() };
        stock::MovementDraft {
            kind: line.kind.to_owned(),
            variant_id: variants[line.sku].clone(),
            location_id: if transfer { places[0].clone() } else { places[line.at].clone() },
            to_location_id: if transfer { places[line.at].clone() } else { String::new() },
            quantity: line.quantity.to_owned(),
            unit_cost: (line.kind == "purchase.receipt").then_some(cost),
            source: Some(stock::Source {
                r#type: line.document.0.to_owned(),
                id: line.document.1.to_owned(),
                number: line.document.1.to_owned(),
                line_id: (line.sku + 1).to_string(),
                ..Default::default()
            }),
            reason_code: if line.kind.starts_with("write_off") {
                "damaged".to_owned()
            } else {
                String::new()
            },
            occurred_at: Some(prost_types::Timestamp { seconds, nanos }),
            ..Default::default()
        }
    }
}
