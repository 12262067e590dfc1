//! Use cases, one per file, over the five journals of the catalogue.

mod batch_create_products;
mod create_price_list;
mod create_product;
mod create_variant;
mod explain_product;
mod follow;
mod get_price;
mod get_price_list;
mod get_product;
mod get_variant;
mod inheritance;
mod list_inherited_changes;
mod list_price_changes;
mod list_price_lists;
mod list_products;
mod list_variants;
mod mutation;
mod page;
pub(crate) mod publications;
mod set_price;
mod set_unit_conversion;
pub(crate) mod tree;
mod update_product;
mod update_variant;

use std::sync::Arc;

use bytes::Bytes;
use ids::{AggregateId, BusinessId, PriceListId, TenantId, VariantId};
use inherit::Policies;
use journal::{Env, Journal, Scope, Seq, SharedStore};
use recent::Recent;
use rpc::Ctx;

use crate::Error;
use crate::domain::{PriceList, Product, Timeline};
use crate::records::{self, InheritedRecord, PoliciesRecord, PriceListRecord, PriceRecord, ProductRecord};

pub(crate) use explain_product::Explained;
pub(crate) use follow::Heard;
pub(crate) use get_price::PriceAt;
pub(crate) use list_variants::Filter;
pub(crate) use mutation::{Mutation, NewIds};
pub(crate) use page::{Page, PageRequest};
pub(crate) use publications::{CHANGES_MAX, NewPublication, Preview, Publication};
pub(crate) use set_price::{Cleared, NewPrice};
use tree::Tree;

/// Aggregates that one list reads at a time.
const READS_AT_ONCE: usize = 16;
/// Businesses whose policies are kept in memory.
const POLICIES_KEPT_MAX: usize = 4_096;
/// Tenants whose policies the follower keeps in memory.
const TIMELINES_KEPT_MAX: usize = 256;
/// Products that the follower keeps in memory, as it has followed them; with overrides of 1,000 businesses one has
/// about 300 KiB.
const FOLLOWED_KEPT_MAX: usize = 64;

/// The policies on the path of a business, as of a sequence of their aggregate.
type KnownPolicies = (Seq, Arc<[BusinessId]>, Arc<Policies>);

/// The catalogue of every tenant.
pub(crate) struct Catalog {
    pub(crate) store: SharedStore,
    pub(crate) env: Arc<dyn Env>,
    products: Journal<ProductRecord>,
    price_lists: Journal<PriceListRecord>,
    prices: Journal<PriceRecord>,
    policies: Journal<PoliciesRecord>,
    known_policies: Recent<(TenantId, BusinessId), KnownPolicies>,
    pub(crate) inherited: Journal<InheritedRecord>,
    timelines: Recent<TenantId, Arc<Timeline>>,
    followed: Recent<Scope, (Seq, Arc<Product>)>,
    pub(crate) tree: Tree,
}

/// What a mutation made, and whether an earlier call with the same idempotency key made it.
#[derive(Debug)]
pub(crate) struct Saved<T> {
    pub(crate) value: T,
    pub(crate) replayed: bool,
}

/// A variant of a product; the product is read with this variant only.
#[derive(Debug)]
pub(crate) struct VariantOf {
    pub(crate) product: Product,
    pub(crate) id: VariantId,
}

impl Catalog {
    pub(crate) fn new(store: SharedStore, env: Arc<dyn Env>) -> Self {
        Catalog {
            products: Journal::new(Arc::clone(&store), Arc::clone(&env)),
            price_lists: Journal::new(Arc::clone(&store), Arc::clone(&env)),
            prices: Journal::new(Arc::clone(&store), Arc::clone(&env)),
            policies: Journal::new(Arc::clone(&store), Arc::clone(&env)),
            known_policies: Recent::new(POLICIES_KEPT_MAX),
            inherited: Journal::new(Arc::clone(&store), Arc::clone(&env)),
            timelines: Recent::new(TIMELINES_KEPT_MAX),
            followed: Recent::new(FOLLOWED_KEPT_MAX),
            tree: Tree::default(),
            store,
            env,
        }
    }

    /// Finds the product that a variant belongs to: one read of the index.
    async fn product_of(&self, ctx: &Ctx, variant: VariantId) -> Result<AggregateId, Error> {
        let key = Bytes::copy_from_slice(variant.as_bytes());
        let rows = self.store.index(ctx.tenant, records::index::VARIANTS, key, None, 1).await;
        let rows = rows.map_err(journal::Error::from)?;
        rows.first().map(|row| row.aggregate).ok_or(Error::NotFound { what: "variant" })
    }

    /// Reads some variants of a product, and what they have from it; `None` if the caller's business does not
    /// see it.
    async fn read_variants(
        &self,
        ctx: &Ctx,
        aggregate: AggregateId,
        variants: Vec<VariantId>,
    ) -> Result<Option<Product>, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate };
        let view = self.products.read(scope, |record| record.needs_some(&variants, &ctx.path)).await?;
        match view.and_then(|view| view.state.product) {
            Some(product) => self.seen(ctx, product).await,
            None => Ok(None),
        }
    }

    /// Reads a product with all of its variants, as it holds in the caller's business; `None` if that does not
    /// see it.
    async fn read_whole(&self, ctx: &Ctx, aggregate: AggregateId) -> Result<Option<Product>, Error> {
        match self.read_raw(ctx, aggregate).await? {
            Some(product) => self.seen(ctx, product).await,
            None => Ok(None),
        }
    }

    /// Reads a product with all of its variants, as its owner has it.
    async fn read_raw(&self, ctx: &Ctx, aggregate: AggregateId) -> Result<Option<Product>, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate };
        let view = self.products.read(scope, |record| record.needs_all(&ctx.path)).await?;
        Ok(view.and_then(|view| view.state.product))
    }

    /// The product as it was right after entry `seq`: what the command that wrote it answers, the first
    /// time and every time.
    async fn product_after(&self, ctx: &Ctx, aggregate: AggregateId, seq: Seq) -> Result<Product, Error> {
        let not_found = Error::NotFound { what: "product" };
        let scope = Scope { tenant: ctx.tenant, aggregate };
        let now = self.products.read(scope, |record| record.needs_all(&ctx.path)).await;
        if let Some(view) = now.map_err(journal::Error::after_commit)?
            && let Some(product) = view.state.product
            && product.line(&ctx.path).is_some_and(|line| product.revision_at(line) == seq)
        {
            return self.seen(ctx, product).await?.ok_or(not_found);
        }
        let view = self.products.state_at(scope, seq).await.map_err(journal::Error::after_commit)?;
        self.seen(ctx, view.state.product.ok_or(not_found.clone())?).await?.ok_or(not_found)
    }

    async fn read_price_list(&self, ctx: &Ctx, id: PriceListId) -> Result<PriceList, Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: records::price_list(id) };
        let view = self.price_lists.read(scope, |_| vec![]).await?;
        let list = view.and_then(|view| view.state.list);
        let list = list.filter(|list| list.list.id == id && list.is_seen_from(&ctx.path));
        list.ok_or(Error::NotFound { what: "price list" })
    }
}
