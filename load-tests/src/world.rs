//! What the load works on: one location and 10,000 items with opening stock, made through the API.

use std::sync::Arc;

use proto::api::v1::Money;
use proto::catalog::v1::{BatchCreateProductsRequest, Product, Variant, product_result};
use proto::stock::v1::{
    BatchPostMovementsRequest, CreateLocationRequest, Location, MovementDraft, Source, posting_result,
};
use proto::tenant::v1::{GetBusinessRequest, GetCallerRequest};

use crate::Error;
use crate::client::Grpc;
use crate::random::Random;

/// Items of the world; the baseline has as many.
pub(crate) const ITEMS: usize = 10_000;
/// Items that reads of history use, from the first one; each has at least `HISTORY` movements by then.
pub(crate) const READ_ITEMS: usize = 1_000;
/// See `READ_ITEMS`.
pub(crate) const HISTORY: usize = 60;
/// The item that everybody wants at once. Not one of those whose history is read.
pub(crate) const HOT: usize = ITEMS - 1;

/// Opening stock of each item, more than any run can sell.
const OPENING_QUANTITY: &str = "10000000";
const OPENING_COST: &str = "12500000";
/// Largest batch that the API takes.
const BATCH: usize = 1_000;

/// Ids of what was made.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) location: Arc<str>,
    pub(crate) variants: Arc<[String]>,
}

impl World {
    /// Makes the location, the items and their opening stock.
    pub(crate) async fn make(grpc: &Grpc, random: &mut Random) -> Result<Self, Error> {
        let currency = base_currency(grpc).await?;
        let location = Location { code: "LOAD".into(), name: "Load test".into(), ..Location::default() };
        let request = grpc.write(CreateLocationRequest { location: Some(location) }, &random.key())?;
        let location: Arc<str> = grpc.stock().create_location(request).await?.into_inner().id.into();

        let mut variants = Vec::with_capacity(ITEMS);
        for first in (0..ITEMS).step_by(BATCH) {
            let products = (first..first + BATCH).map(product).collect();
            let message = BatchCreateProductsRequest { products, atomic: true };
            let request = grpc.write(message, &random.key())?;
            for result in grpc.catalog().batch_create_products(request).await?.into_inner().results {
                match result.result {
                    Some(product_result::Result::Product(mut product)) if product.variants.len() == 1 => {
                        variants.push(product.variants.remove(0).id);
                    }
                    other => return Err(format!("a product was not made: {other:?}").into()),
                }
            }
        }
        let world = Self { location, variants: variants.into() };
        for chunk in world.variants.chunks(BATCH) {
            let total_cost = Money { currency: currency.clone(), amount: OPENING_COST.into() };
            let drafts = chunk.iter().map(|variant| MovementDraft {
                kind: "purchase.receipt".into(),
                quantity: OPENING_QUANTITY.into(),
                total_cost: Some(total_cost.clone()),
                source: Some(source("goods_receipt", "LOAD-OPENING".into(), variant)),
                ..world.draft(variant)
            });
            post(grpc, drafts.collect(), true, &random.key()).await?;
        }
        Ok(world)
    }

    /// Gives the items whose history is read `HISTORY` sales each; returns how many that were.
    pub(crate) async fn grow(&self, grpc: &Grpc, random: &mut Random) -> Result<u64, Error> {
        for _ in 0..HISTORY {
            let key = random.key();
            let drafts: Vec<_> =
                self.variants[..READ_ITEMS].iter().map(|variant| self.sale(variant, &key, variant)).collect();
            post(grpc, drafts, true, &key).await?;
        }
        Ok((HISTORY * READ_ITEMS) as u64)
    }

    /// Sale of one piece, as line `line` of receipt `document`.
    pub(crate) fn sale(&self, variant: &str, document: &str, line: &str) -> MovementDraft {
        MovementDraft {
            kind: "sale.shipment".into(),
            quantity: "1".into(),
            source: Some(source("pos_receipt", document.to_owned(), line)),
            ..self.draft(variant)
        }
    }

    fn draft(&self, variant: &str) -> MovementDraft {
        MovementDraft {
            variant_id: variant.to_owned(),
            location_id: self.location.to_string(),
            ..MovementDraft::default()
        }
    }
}

/// Posts a batch in one call without the movements in the answer, and insists that every line was posted now.
pub(crate) async fn post(
    grpc: &Grpc,
    movements: Vec<MovementDraft>,
    atomic: bool,
    key: &str,
) -> Result<(), Error> {
    let count = movements.len();
    let request = grpc.write(BatchPostMovementsRequest { movements, atomic, omit_movements: true }, key)?;
    let results = grpc.stock().batch_post_movements(request).await?.into_inner().results;
    for result in &results {
        match &result.result {
            Some(posting_result::Result::Posting(posting)) if !posting.replayed => {}
            other => return Err(format!("a line was not posted: {other:?}").into()),
        }
    }
    if results.len() == count { Ok(()) } else { Err(format!("{} results of {count}", results.len()).into()) }
}

fn source(kind: &str, id: String, line: &str) -> Source {
    Source { r#type: kind.into(), id, line_id: line.to_owned(), ..Source::default() }
}

fn product(number: usize) -> Product {
    Product {
        name: format!("Load test item {number}"),
        base_unit: "C62".into(),
        variants: vec![Variant { sku: format!("LOAD-{number:05}"), ..Variant::default() }],
        ..Product::default()
    }
}

/// Costs are stated in the currency of the business.
async fn base_currency(grpc: &Grpc) -> Result<String, Error> {
    let mut tenant = grpc.tenant();
    let caller = tenant.get_caller(grpc.read(GetCallerRequest {})).await?.into_inner();
    let request = GetBusinessRequest { business_id: caller.business_id };
    Ok(tenant.get_business(grpc.read(request)).await?.into_inner().base_currency)
}
