//! Names that only one may have: SKUs, for which many compete.

use proto::catalog::v1 as pb;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;

use crate::call::{Failure, named};
use crate::model::{Refused, Verdict, hold};
use crate::process::Process;
use crate::world::World;

/// Names for which products compete.
const NAMES: u64 = 5;
/// Attempts before a client walks away.
const ATTEMPTS_MAX: usize = 8;

/// A time in which a product has a name, or may have it.
#[derive(Debug)]
struct Holding {
    tenant: usize,
    sku: String,
    product: usize,
    from: u64,
    to: Option<u64>,
}

#[derive(Debug)]
struct Product {
    tenant: usize,
    /// Its id and its revision, once it is known to be there.
    variant: Option<(String, String)>,
    /// Its name, if nobody is about to change it and nothing is uncertain.
    sure: Option<String>,
}

/// The products that compete.
#[derive(Default)]
pub(crate) struct Shelf {
    now: u64,
    products: Vec<Product>,
    holdings: Vec<Holding>,
    names: u64,
}

/// A change of name on its way.
struct Change {
    product: usize,
    sku: String,
    holding: usize,
    from: u64,
    uncertain: bool,
}

impl Shelf {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn begin(&mut self, product: usize, sku: String) -> Change {
        let from = self.tick();
        let tenant = self.products[product].tenant;
        self.products[product].sure = None;
        self.holdings.push(Holding { tenant, sku: sku.clone(), product, from, to: None });
        Change { product, sku, holding: self.holdings.len() - 1, from, uncertain: false }
    }

    /// The change has happened: the product has this name and no other.
    fn done(&mut self, change: &Change) -> Verdict {
        let now = self.tick();
        for (at, holding) in self.holdings.iter_mut().enumerate() {
            if holding.product == change.product && at != change.holding {
                holding.to.get_or_insert(now);
            }
        }
        let tenant = self.products[change.product].tenant;
        let other = self.products.iter().enumerate().find(|(at, other)| {
            *at != change.product && other.tenant == tenant && other.sure.as_ref() == Some(&change.sku)
        });
        hold!(other.is_none(), "'{}' belongs to two products: {other:?} and {}", change.sku, change.product);
        self.products[change.product].sure = Some(change.sku.clone());
        Ok(())
    }

    /// The change was refused, because another product has the name.
    fn refused(&mut self, change: &Change, before: Option<String>, refused: &Refused) -> Verdict {
        let now = self.tick();
        hold!(refused.reason == "SKU_TAKEN", "nobody expects {refused:?} for '{}'", change.sku);
        let tenant = self.products[change.product].tenant;
        let had_it = |holding: &&Holding| {
            holding.tenant == tenant
                && holding.sku == change.sku
                && holding.product != change.product
                && holding.to.is_none_or(|to| to >= change.from)
        };
        hold!(self.holdings.iter().any(|holding| had_it(&holding)), "nobody has '{}'", change.sku);
        if !change.uncertain {
            self.holdings[change.holding].to = Some(now);
            self.products[change.product].sure = before;
        }
        Ok(())
    }
}

impl World {
    /// Makes a product under a name that others want too, gives one another name, or looks at one.
    pub(crate) async fn arrange(&self) {
        match self.dice.below(10) {
            0..3 => self.create().await,
            3..7 => self.rename().await,
            _ => self.check_name().await,
        }
    }

    async fn create(&self) {
        let (tenant, _) = self.any_tenant();
        let sku = format!("NAME-{}", self.dice.below(NAMES));
        let (change, key) = {
            let mut shelf = self.shelf();
            shelf.products.push(Product { tenant, variant: None, sure: None });
            let product = shelf.products.len() - 1;
            (shelf.begin(product, sku), format!("shelf-{product}"))
        };
        self.pursue_name(change, None, None, &key).await;
    }

    async fn rename(&self) {
        let Some((product, variant, before)) = self.any_sure() else { return };
        let (change, key) = {
            let mut shelf = self.shelf();
            shelf.names += 1;
            let sku = match self.dice.permille(500) {
                true => format!("NAME-{}", self.dice.below(NAMES)),
                false => format!("OTHER-{}", shelf.names),
            };
            let key = format!("rename-{}", shelf.names);
            if sku == before {
                return;
            }
            (shelf.begin(product, sku), key)
        };
        self.pursue_name(change, Some(variant), Some(before), &key).await;
    }

    fn any_sure(&self) -> Option<(usize, (String, String), String)> {
        let shelf = self.shelf();
        let sure = shelf
            .products
            .iter()
            .enumerate()
            .filter_map(|(at, product)| Some((at, product.variant.clone()?, product.sure.clone()?)));
        let sure: Vec<_> = sure.collect();
        (!sure.is_empty()).then(|| self.dice.pick(&sure).clone())
    }

    async fn pursue_name(
        &self,
        mut change: Change,
        variant: Option<(String, String)>,
        before: Option<String>,
        key: &str,
    ) {
        let tenant = self.shelf().products[change.product].tenant;
        for _ in 0..ATTEMPTS_MAX {
            if let Some(process) = self.any_process(change.product) {
                let answered = self.send_name(&process, tenant, &change.sku, variant.as_ref(), key).await;
                let _read = self.model();
                let mut shelf = self.shelf();
                let verdict = match answered {
                    Ok(variant) => {
                        shelf.products[change.product].variant = Some((variant.id, variant.etag));
                        self.judge(shelf.done(&change));
                        return;
                    }
                    Err(Failure::Refused(refused)) => {
                        self.judge(shelf.refused(&change, before, &refused));
                        return;
                    }
                    Err(Failure::Broken(what)) => Err(what),
                    // The service reads after its commit: what fails then has happened.
                    Err(Failure::NoEffect | Failure::Unknown) => {
                        change.uncertain = true;
                        Ok(())
                    }
                };
                self.judge(verdict);
            }
            if self.stop.is_cancelled() {
                return;
            }
            tokio::time::sleep(self.dice.millis(100, 8_000)).await;
        }
    }

    async fn send_name(
        &self,
        process: &Process,
        tenant: usize,
        sku: &str,
        variant: Option<&(String, String)>,
        key: &str,
    ) -> Result<pb::Variant, Failure> {
        let credential = &self.tenants[tenant].key;
        let mut client = CatalogServiceClient::new(process.door());
        let named_so = pb::Variant { sku: sku.to_owned(), ..Default::default() };
        match variant {
            Some((id, etag)) => {
                let request = pb::UpdateVariantRequest {
                    variant_id: id.clone(),
                    variant: Some(named_so),
                    update_mask: vec!["sku".to_owned()],
                };
                let mut request = named(credential, key, request);
                request.metadata_mut().insert("if-match", etag.parse().expect("a header"));
                self.call(process, client.update_variant(request)).await
            }
            None => {
                let product =
                    pb::Product { name: "Thing".into(), variants: vec![named_so], ..Default::default() };
                let request = pb::CreateProductRequest { product: Some(product) };
                let made = self.call(process, client.create_product(named(credential, key, request))).await?;
                made.variants
                    .into_iter()
                    .next()
                    .ok_or_else(|| Failure::Broken("a product without variants".into()))
            }
        }
    }

    /// Looks at a product whose name is sure: it has it.
    async fn check_name(&self) {
        let Some((product, (variant, _), before)) = self.any_sure() else { return };
        let Some(process) = self.any_process(product) else { return };
        let now = self.shelf().now;
        let tenant = self.shelf().products[product].tenant;
        let request = named(&self.tenants[tenant].key, "look", pb::GetVariantRequest { variant_id: variant });
        let mut client = CatalogServiceClient::new(process.door());
        let answered = self.call(&process, client.get_variant(request)).await;
        let shelf = self.shelf();
        let changed = shelf.holdings.iter().any(|holding| holding.product == product && holding.from > now);
        match answered {
            Ok(shown) if changed || shown.sku == before => {}
            Ok(shown) => {
                self.judge(Err(format!("product {product} is called '{}', not '{before}'", shown.sku)))
            }
            Err(Failure::Refused(refused)) => {
                self.judge(Err(format!("product {product} cannot be read: {refused:?}")));
            }
            Err(Failure::Broken(what)) => self.judge(Err(what)),
            Err(Failure::NoEffect | Failure::Unknown) => {}
        }
    }
}
