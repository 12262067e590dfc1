use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ids::{AggregateId, VariantId};
use inherit::Visibility;
use journal::store::IndexRow;
use rpc::Ctx;

use super::inheritance::listed;
use super::page::token_after;
use super::{Catalog, Page, PageRequest, READS_AT_ONCE, VariantOf};
use crate::Error;
use crate::domain::{Product, Variant, gtin};
use crate::records::{self, index};

/// Which variants; an empty filter is all of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Exactly this SKU; empty for any.
    pub(crate) sku: String,
    /// Exactly this barcode, a GTIN in any length; empty for any.
    pub(crate) barcode: String,
}

impl Filter {
    fn matches(&self, variant: &Variant) -> bool {
        let details = &variant.details;
        (self.sku.is_empty() || details.sku == self.sku)
            && (self.barcode.is_empty()
                || self.values().any(|value| details.barcodes.iter().any(|one| one.value == value)))
    }

    /// The barcode as it may be stored: as an own code, and as a GTIN if it is one.
    fn values(&self) -> impl Iterator<Item = String> {
        let gtin = gtin::normalise(&self.barcode).ok().filter(|gtin| *gtin != self.barcode);
        [self.barcode.clone()].into_iter().chain(gtin)
    }
}

impl Catalog {
    /// Lists variants: all, oldest first, or the few that have a code.
    pub(crate) async fn list_variants(
        &self,
        ctx: &Ctx,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<VariantOf>, Error> {
        let scope = format!("variants?sku={}&barcode={}", filter.sku, filter.barcode);
        let opened = page.open(ctx, &scope)?;
        if !filter.sku.is_empty() || !filter.barcode.is_empty() {
            return Ok(Page { items: self.variants_with(ctx, filter).await?, next: String::new() });
        }
        let (rows, more) = self.index_page(ctx, index::VARIANTS, &opened).await?;
        let items = self.variants_of(ctx, &rows).await?;
        let next = rows.last().filter(|_| more).map(|last| token_after(ctx, &scope, last));
        Ok(Page { items, next: next.unwrap_or_default() })
    }

    /// At most one by SKU, at most two by barcode: an own code may read like a short GTIN.
    async fn variants_with(&self, ctx: &Ctx, filter: &Filter) -> Result<Vec<VariantOf>, Error> {
        let claims: Vec<_> = if filter.sku.is_empty() {
            filter.values().map(|value| records::barcode_claim(&value)).collect()
        } else {
            vec![records::sku_claim(&filter.sku)]
        };
        let mut found: Vec<VariantOf> = Vec::new();
        let mut seen: Vec<AggregateId> = Vec::new();
        for claim in claims {
            let owner = self.store.claim(ctx.tenant, claim).await.map_err(journal::Error::from)?;
            let Some(owner) = owner.filter(|owner| !seen.contains(owner)) else { continue };
            seen.push(owner);
            let Some(product) = listed(self.read_whole(ctx, owner).await)? else { continue };
            for variant in product.variants.iter().filter(|variant| filter.matches(variant)) {
                found.push(VariantOf { product: only(&product, variant), id: variant.id });
            }
        }
        Ok(found)
    }

    /// Reads the variants of some index rows, each product once, in the order of the rows.
    async fn variants_of(&self, ctx: &Ctx, rows: &[IndexRow]) -> Result<Vec<VariantOf>, Error> {
        let mut wanted: Vec<(AggregateId, Vec<VariantId>)> = Vec::new();
        let mut places: HashMap<AggregateId, usize> = HashMap::new();
        for row in rows {
            let variant = records::variant_of(&row.key).map_err(journal::Error::from)?;
            let place = *places.entry(row.aggregate).or_insert_with(|| {
                wanted.push((row.aggregate, Vec::new()));
                wanted.len() - 1
            });
            wanted[place].1.push(variant);
        }
        let reads = wanted
            .into_iter()
            .map(async |(aggregate, variants)| listed(self.read_variants(ctx, aggregate, variants).await));
        let products: Vec<Option<Product>> =
            stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        let found = rows.iter().filter_map(|row| {
            let product = products[*places.get(&row.aggregate)?].as_ref()?;
            let variant = product
                .variants
                .iter()
                .find(|variant| row.key == Bytes::copy_from_slice(variant.id.as_bytes()))?;
            Some(VariantOf { product: only(product, variant), id: variant.id })
        });
        Ok(found.collect())
    }
}

/// The product with one of its variants.
fn only(product: &Product, variant: &Variant) -> Product {
    Product {
        details: product.details.clone(),
        variants: vec![variant.clone()],
        said: BTreeMap::new(),
        editions: Vec::new(),
        taken_back: BTreeMap::new(),
        visibility: Visibility::default(),
        ..*product
    }
}
