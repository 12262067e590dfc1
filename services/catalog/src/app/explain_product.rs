use std::collections::BTreeMap;

use calendar::Instant;
use ids::ProductId;
use inherit::{Policies, Policy, Step};
use journal::{Order, Scope};
use rpc::Ctx;

use super::Catalog;
use crate::Error;
use crate::domain::{Event, PRODUCTS, Product, value_of};
use crate::records;

/// Entries that are read at a time.
const CHUNK: usize = 500;
/// Entries that one explanation looks at.
const ENTRIES_MAX: usize = 20_000;

/// How a field of a product came to what it is in a business.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) field: &'static str,
    /// From the owner down.
    pub(crate) steps: Vec<Step>,
    /// The policy of each step, where there is one.
    pub(crate) policies: Vec<Option<Policy>>,
}

impl Catalog {
    /// Shows every step from the owner of a product to the caller's business, for one field or all, as it was
    /// at a moment. The tree is that of today.
    ///
    /// # Errors
    /// [`Error::NotFound`], also if there was no such product then.
    pub(crate) async fn explain_product(
        &self,
        ctx: &Ctx,
        id: ProductId,
        field: Option<&'static str>,
        at: Option<Instant>,
    ) -> Result<Vec<Explained>, Error> {
        self.get_product(ctx, id).await?;
        let at = at.unwrap_or_else(|| self.env.now());
        let product = self.product_at(ctx, id, at).await?;
        let line = product.0.line(&ctx.path).ok_or(Error::NotFound { what: "product" })?;
        let mut policies = Policies::default();
        let known = self.policies(ctx).await?;
        known.all().iter().filter(|one| one.recorded_at <= at).for_each(|one| policies.add(one.clone()));

        let mut found = Vec::new();
        for group in PRODUCTS.groups {
            for one in group.fields.iter().filter(|one| field.is_none_or(|field| field == one.name)) {
                let mut steps = inherit::walk(&product.0, &policies, group, one.name, line, at);
                if let (Some(step), Some(own)) = (steps.first_mut(), product.1.get(one.name))
                    && let Some((said, _)) = &mut step.said
                {
                    // What a publication says has its own.
                    if product.0.published(one.name, line, at).is_none() {
                        (said.revision, said.at, said.by) = own.clone();
                    }
                }
                let ruling = |step: &Step| {
                    let mut same = policies.all().iter();
                    let (owner, version) = (step.ruling.owner, step.ruling.version);
                    same.find(|policy| {
                        policy.owner == owner && policy.group == group.name && policy.version == version
                    })
                    .cloned()
                };
                let policies = steps.iter().map(ruling).collect();
                found.push(Explained { field: one.name, steps, policies });
            }
        }
        Ok(found)
    }

    /// The product as it was at a moment, and who last said each field of its owner's: revision, moment, name.
    async fn product_at(
        &self,
        ctx: &Ctx,
        id: ProductId,
        at: Instant,
    ) -> Result<(Product, BTreeMap<&'static str, (u64, Instant, String)>), Error> {
        let scope = Scope { tenant: ctx.tenant, aggregate: records::product(id) };
        let (mut product, mut said, mut seen): (Option<Product>, BTreeMap<_, _>, u64) =
            (None, BTreeMap::new(), 0);
        'entries: loop {
            let page = self.products.entries(scope, seen + 1, u64::MAX, Order::Ascending, CHUNK).await?;
            let last = page.len() < CHUNK;
            for posted in page {
                if posted.recorded_at > at {
                    break 'entries;
                }
                let before = product.as_ref().map(|product| product.details.clone());
                Product::evolve(&mut product, &posted.event, posted.seq, posted.recorded_at);
                seen = posted.seq;
                if matches!(posted.event, Event::Overridden(_)) {
                    continue; // no word of the owner's
                }
                let Some(after) = product.as_ref().map(|product| &product.details) else { continue };
                for field in PRODUCTS.fields() {
                    let old = before.as_ref().map(|before| value_of(before, field.name));
                    if old != Some(value_of(after, field.name)) {
                        let by = posted.actor.id.clone();
                        said.insert(field.name, (posted.seq, posted.recorded_at, by));
                    }
                }
            }
            if last {
                break;
            }
            if seen >= ENTRIES_MAX as u64 {
                return Err(Error::LimitReached { what: "entries to look at", max: ENTRIES_MAX });
            }
        }
        Ok((product.ok_or(Error::NotFound { what: "product" })?, said))
    }
}
