use std::collections::HashSet;

use journal::{Claim, Request};
use problem::{Invalid, Violations};
use rpc::Ctx;

use super::create_product::created;
use super::{Catalog, Mutation, Saved};
use crate::Error;
use crate::domain::{Caller, Command, NewProduct, Product, check_batch};
use crate::records::{self, Asked};

impl Catalog {
    /// Makes products, all or none (`atomic`), or each by itself.
    ///
    /// # Errors
    /// Why an atomic batch is refused; otherwise each result says so for itself.
    pub(crate) async fn create_products(
        &self,
        ctx: &Ctx,
        items: Vec<(Mutation, Result<NewProduct, Invalid>)>,
        atomic: bool,
    ) -> Result<Vec<Result<Saved<Product>, Error>>, Error> {
        if !atomic {
            return Ok(self.create_each_product(ctx, items).await);
        }
        let mut good = Vec::with_capacity(items.len());
        for (mutation, item) in items {
            good.push((mutation, item?));
        }
        Ok(self.create_all_products(ctx, good).await?.into_iter().map(Ok).collect())
    }

    /// Makes products, all or none.
    ///
    /// # Errors
    /// [`Error::InBatch`] with the first product that is refused, and why.
    async fn create_all_products(
        &self,
        ctx: &Ctx,
        items: Vec<(Mutation, NewProduct)>,
    ) -> Result<Vec<Saved<Product>>, Error> {
        let mut violations = Violations::new();
        check_batch(items.iter().map(|(_, new)| new), &mut violations);
        violations.into_result()?;

        let caller = self.alone(ctx);
        let requests = items.into_iter().map(|(mutation, new)| {
            (records::product_partition(mutation.part()), request(&caller, &mutation, new))
        });
        match self.products.submit_all(ctx.tenant, requests.collect()).await {
            Ok(answers) => answers.iter().map(created).collect(),
            Err(refused) => {
                Err(Error::InBatch { position: refused.at, error: Box::new(refused.rejection.into()) })
            }
        }
    }

    /// Makes products, each by itself. Of two that want the same code the earlier one gets it, if nothing
    /// else is wrong with it.
    async fn create_each_product(
        &self,
        ctx: &Ctx,
        items: Vec<(Mutation, Result<NewProduct, Invalid>)>,
    ) -> Vec<Result<Saved<Product>, Error>> {
        let mut results: Vec<Option<Result<Saved<Product>, Error>>> = Vec::new();
        let (mut together, mut behind) = (Vec::new(), Vec::new());
        let mut codes: HashSet<Claim> = HashSet::new();
        for (position, (mutation, item)) in items.into_iter().enumerate() {
            match item {
                Ok(new) => {
                    let mut fresh = true;
                    for claim in new.variants.iter().flat_map(|variant| records::claims(&variant.details)) {
                        fresh &= codes.insert(claim);
                    }
                    let item = (position, mutation, new);
                    if fresh {
                        together.push(item)
                    } else {
                        behind.push(item)
                    }
                    results.push(None);
                }
                Err(invalid) => results.push(Some(Err(invalid.into()))),
            }
        }

        let caller = self.alone(ctx);
        let mut positions = Vec::with_capacity(together.len());
        let mut requests = Vec::with_capacity(together.len());
        for (position, mutation, new) in together {
            positions.push(position);
            requests.push((records::product_partition(mutation.part()), request(&caller, &mutation, new)));
        }
        let answers = self.products.submit_each(ctx.tenant, requests).await;
        for (position, answer) in positions.into_iter().zip(answers) {
            results[position] = Some(answer.map_err(Error::from).and_then(|answer| created(&answer)));
        }
        for (position, mutation, new) in behind {
            results[position] = Some(self.create_product(ctx, &mutation, new).await);
        }
        let unanswered = || Err(journal::Error::OutcomeUnknown.into());
        results.into_iter().map(|result| result.unwrap_or_else(unanswered)).collect()
    }
}

fn request(caller: &Caller, mutation: &Mutation, new: NewProduct) -> Request<Asked> {
    mutation.create(Asked { caller: caller.clone(), command: Command::Create(Box::new(new)) })
}
