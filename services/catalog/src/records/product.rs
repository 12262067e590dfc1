//! A product in its partition: which rows it has, and how they follow its events.

use std::collections::BTreeSet;

use bytes::Bytes;
use calendar::Instant;
use ids::{BusinessId, ProductId, PublicationId, VariantId};
use journal::store::ClaimChange;
use journal::{Aggregate, Changes, Claim, Damage, Need, Seq};
use prost::Message;

use super::codec::{self, missing};
use super::editions;
use super::overrides::{self, OverridesRow};
use super::product_codec::{CoreRow, EventRow, Header, Known, VariantRow};
use super::{claims, index, kind};
use crate::Error;
use crate::domain::{Caller, Command, Event, NewVariant, PRODUCTS, Product, VariantDetails};

/// Row with everything but the variants.
const CORE: &[u8] = b"p";
/// Begins the row of a variant; its id follows.
const VARIANT: u8 = b'v';
/// Begins the row of what a business below the owner says; its id follows.
const OVERRIDES: u8 = b'o';

/// A command and who gives it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) caller: Caller,
    pub(crate) command: Command,
}

/// A product and what is known of its rows.
#[derive(Debug, Default)]
pub(crate) struct ProductRecord {
    known: Option<Known>,
    /// Every variant, in order.
    ids: Vec<VariantId>,
    /// The product with the variants that are loaded, the first ones of `ids`, or one of them.
    pub(crate) product: Option<Product>,
    core_changed: bool,
    variants_changed: BTreeSet<VariantId>,
    overrides_changed: BTreeSet<BusinessId>,
    /// What the variant of the last event was before it.
    before: Option<VariantDetails>,
}

impl ProductRecord {
    /// Its id, if it was made.
    pub(crate) fn id(&self) -> Option<ProductId> {
        self.known.map(|known| known.id)
    }

    fn index_edition(&self, publication: PublicationId, changes: &mut Changes) {
        let Some(product) = &self.product else { return };
        let mut editions = product.editions.iter();
        if let Some(edition) = editions.find(|edition| edition.published.publication == publication) {
            let key = editions::publications_key(product.business, Some(publication));
            changes.index(index::PUBLICATIONS, key.to_vec(), editions::edition_value(product, edition));
        }
    }

    /// What is missing of the whole product, for who is at the end of `path`.
    pub(crate) fn needs_all(&self, path: &[BusinessId]) -> Vec<Need> {
        match (&self.known, &self.product) {
            (None, _) => vec![],
            (Some(_), None) => std::iter::once(core_row()).chain(overrides_rows(path)).collect(),
            (Some(_), Some(product)) => {
                let unknown = below(path).filter(|business| !product.said.contains_key(business));
                let overrides = unknown.map(|business| row(OVERRIDES, business.as_bytes()));
                let variants = self.ids.iter().skip(product.variants.len()).map(|id| variant_row(*id));
                variants.chain(overrides).collect()
            }
        }
    }

    /// What is missing of the product with only these variants, for who is at the end of `path`.
    pub(crate) fn needs_some(&self, variants: &[VariantId], path: &[BusinessId]) -> Vec<Need> {
        if self.known.is_none() || self.product.is_some() {
            return vec![];
        }
        // In one read; rows are loaded in the order in which they are named.
        let variants = variants.iter().map(|id| variant_row(*id));
        std::iter::once(core_row()).chain(variants).chain(overrides_rows(path)).collect()
    }
}

/// Businesses on a path that can be below an owner: all but the root.
fn below(path: &[BusinessId]) -> impl Iterator<Item = &BusinessId> {
    path.iter().skip(1)
}

fn overrides_rows(path: &[BusinessId]) -> impl Iterator<Item = Need> {
    below(path).map(|business| row(OVERRIDES, business.as_bytes()))
}

fn row(kind: u8, id: &[u8; 16]) -> Need {
    Need::Row(row_key(kind, id))
}

fn core_row() -> Need {
    Need::Row(Bytes::from_static(CORE))
}

fn variant_row(id: VariantId) -> Need {
    row(VARIANT, id.as_bytes())
}

fn row_key(kind: u8, id: &[u8; 16]) -> Bytes {
    let mut key = Vec::with_capacity(17);
    key.push(kind);
    key.extend_from_slice(id);
    key.into()
}

impl Aggregate for ProductRecord {
    type Command = Asked;
    type Event = Event;
    type Error = Error;

    const SERVICE: &'static str = "catalog";
    const KIND: u8 = kind::PRODUCT;
    const FORMAT: u8 = 1;
    const KEPT_MAX: usize = 1024;

    fn needs(&self, asked: &Asked) -> Vec<Need> {
        match asked.command {
            Command::Create(_) => vec![],
            // Codes and combinations are compared with those of every sibling.
            _ => self.needs_all(&asked.caller.path),
        }
    }

    fn load(&mut self, need: &Need, value: Option<&[u8]>) -> Result<(), Damage> {
        let Need::Row(key) = need else { return Err(Damage("no index row is needed".into())) };
        if let Some((&OVERRIDES, business)) = key.split_first() {
            let product = self.product.as_mut().ok_or_else(|| missing("the first row of a product"))?;
            let business = BusinessId::from_bytes(codec::id(business)?);
            let row = value.map(OverridesRow::decode).transpose()?.unwrap_or_default();
            return row.read(business, product);
        }
        let value = value.ok_or_else(|| missing("a row of a product"))?;
        if key == CORE {
            let known = self.known.ok_or_else(|| missing("the header of a product"))?;
            let (product, ids) = CoreRow::decode(value)?.read(known)?;
            (self.product, self.ids) = (Some(product), ids);
            return Ok(());
        }
        let product = self.product.as_mut().ok_or_else(|| missing("the first row of a product"))?;
        product.variants.push(VariantRow::decode(value)?.try_into()?);
        Ok(())
    }

    fn decide(&self, asked: &Asked, now: Instant) -> Result<Vec<Event>, Error> {
        // A create looks at nothing, so its state may not be loaded.
        match (self.known, &asked.command) {
            (Some(_), Command::Create(_)) => Err(journal::Error::IdempotencyConflict.into()),
            (_, command) => Product::decide(self.product.as_ref(), &asked.caller, command, now),
        }
    }

    fn evolve(&mut self, event: &Event, seq: Seq, recorded_at: Instant) {
        self.before = None;
        match event {
            Event::Created(new) => {
                self.core_changed = true;
                self.ids.extend(new.variants.iter().map(|variant| variant.id));
                self.variants_changed.extend(new.variants.iter().map(|variant| variant.id));
            }
            Event::DetailsChanged(_)
            | Event::VisibilitySet { .. }
            | Event::Published(_)
            | Event::Advanced { .. }
            | Event::RolledBack { .. } => self.core_changed = true,
            Event::Overridden(overridden) => {
                self.overrides_changed.insert(overridden.business());
            }
            Event::VariantAdded(new) => {
                self.core_changed = true;
                self.ids.push(new.id);
                self.variants_changed.insert(new.id);
            }
            Event::VariantChanged { id, .. } => {
                let variant = self.product.as_ref().and_then(|product| product.variant(*id).ok());
                self.before = variant.map(|variant| variant.details.clone());
                self.variants_changed.insert(*id);
            }
            Event::FactorSet { variant, .. } => {
                self.variants_changed.insert(*variant);
            }
        }
        Product::evolve(&mut self.product, event, seq, recorded_at);
        if let Some(product) = &self.product {
            let Product { id, revision, updated_at, .. } = *product;
            self.known = Some(Known { id, revision, updated_at });
        }
    }

    fn project(&self, event: &Event, _seq: Seq, changes: &mut Changes) {
        match event {
            Event::Created(new) => {
                changes.index(index::PRODUCTS, new.id.as_bytes().to_vec(), Bytes::new());
                new.variants.iter().for_each(|variant| made(variant, changes));
            }
            Event::VariantAdded(new) => made(new, changes),
            Event::VariantChanged { details, .. } => {
                let Some(before) = &self.before else { return };
                let old: BTreeSet<Claim> = claims(before).collect();
                let new: BTreeSet<Claim> = claims(details).collect();
                old.difference(&new).for_each(|claim| give_back(claim, changes));
                changes.claims.extend(new.difference(&old).cloned().map(ClaimChange::Take));
            }
            Event::Overridden(overridden) => {
                let said = self.product.as_ref().and_then(|product| product.said.get(&overridden.business()));
                for group in PRODUCTS.groups {
                    let has = |field: &str| group.fields.iter().any(|one| one.name == field);
                    if !overridden.fields.iter().any(|(field, _)| has(field)) {
                        continue;
                    }
                    let key = overrides::index_key(group.name, overridden.business());
                    if said.is_some_and(|said| said.keys().any(|field| has(field))) {
                        changes.index(index::OVERRIDES, key, overrides::path_bytes(&overridden.path));
                    } else {
                        changes.unindex(index::OVERRIDES, key);
                    }
                }
            }
            Event::Published(published) => self.index_edition(published.publication, changes),
            Event::Advanced { publication, .. } | Event::RolledBack { publication, .. } => {
                self.index_edition(*publication, changes);
            }
            Event::DetailsChanged(_) | Event::FactorSet { .. } | Event::VisibilitySet { .. } => {}
        }
    }

    fn save(&mut self, changes: &mut Changes) {
        self.before = None;
        let Some(product) = &self.product else { return };
        if std::mem::take(&mut self.core_changed) {
            let row = CoreRow::of(product, &self.ids).encode_to_vec();
            changes.rows.push((Bytes::from_static(CORE), Some(row.into())));
        }
        let changed = std::mem::take(&mut self.variants_changed);
        for variant in product.variants.iter().filter(|variant| changed.contains(&variant.id)) {
            let row = VariantRow::from(variant).encode_to_vec();
            changes.rows.push((row_key(VARIANT, variant.id.as_bytes()), Some(row.into())));
        }
        for business in std::mem::take(&mut self.overrides_changed) {
            let row = OverridesRow::of(product, business).encode_to_vec();
            changes.rows.push((row_key(OVERRIDES, business.as_bytes()), Some(row.into())));
        }
    }

    fn header(&self) -> Bytes {
        let Some(known) = self.known else { return Bytes::new() };
        let header = Header {
            id: known.id.as_bytes().to_vec(),
            revision: known.revision,
            updated_at_us: known.updated_at.unix_micros(),
        };
        header.encode_to_vec().into()
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        if header.is_empty() {
            return Ok(ProductRecord::default()); // nothing but a key was committed
        }
        let header = Header::decode(header)?;
        let known = Known {
            id: ProductId::from_bytes(codec::id(&header.id)?),
            revision: header.revision,
            updated_at: codec::instant(header.updated_at_us)?,
        };
        Ok(ProductRecord { known: Some(known), ..ProductRecord::default() })
    }

    fn encode(event: &Event) -> Bytes {
        EventRow { event: Some(event.into()) }.encode_to_vec().into()
    }

    fn decode(bytes: &[u8]) -> Result<Event, Damage> {
        EventRow::decode(bytes)?.event.ok_or_else(|| missing("an event"))?.try_into()
    }

    fn weight(&self) -> usize {
        const VARIANT_BYTES: usize = 600; // about, with two barcodes and three units
        self.product.as_ref().map_or(0, |product| {
            let said: usize = product.said.values().map(|said| 64 + 256 * said.len()).sum();
            let editions = product.editions.iter().map(|edition| 256 + 512 * edition.published.fields.len());
            let more = said + editions.sum::<usize>();
            product.details.description.len() + VARIANT_BYTES * (1 + product.variants.len()) + more
        })
    }
}

fn made(variant: &NewVariant, changes: &mut Changes) {
    changes.index(index::VARIANTS, variant.id.as_bytes().to_vec(), Bytes::new());
    changes.claims.extend(claims(&variant.details).map(ClaimChange::Take));
}

/// Gives a value back. In one commit releases happen before takes, so that a take of the same value by an
/// earlier command of the same commit must go.
fn give_back(claim: &Claim, changes: &mut Changes) {
    let release = ClaimChange::Release(claim.clone());
    for earlier in &mut changes.claims {
        if matches!(earlier, ClaimChange::Take(taken) if taken == claim) {
            *earlier = release.clone();
        }
    }
    changes.claims.push(release);
}
