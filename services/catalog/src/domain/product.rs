//! A product: what its variants have in common. One aggregate with all of its variants.

use std::collections::{BTreeMap, HashSet};

use calendar::Instant;
use ids::{BusinessId, ProductId, PublicationId, VariantId};
use inherit::Visibility;
use journal::Seq;
use problem::{Violations, reason};

use super::inheritance::{Caller, Overridden, Overrides, owners_alone, value_of};
use super::publication::{Edition, PUBLISHED_FIELDS, Publish, Published};
use super::variant::{DUPLICATE, check_barcode_units, check_option_values};
use super::{
    FACTORS_MAX, NewVariant, UNITS_MAX, UnitFactor, UnitRef, VARIANTS_MAX, Variant, VariantChange,
    VariantDetails,
};
use crate::Error;

/// A product with its variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// The business that owns it.
    pub business: BusinessId,
    /// What stock is counted in.
    pub base_unit: UnitRef,
    /// Decimal places of quantities, 0 to 6.
    pub quantity_scale: u8,
    /// What callers change.
    pub details: Details,
    /// In the order in which they were made; a read may have fewer.
    pub variants: Vec<Variant>,
    /// What businesses below the owner say; a read has those on the way to the caller.
    pub said: BTreeMap<BusinessId, Overrides>,
    /// The last entry with which such a business took something back.
    pub taken_back: BTreeMap<BusinessId, Seq>,
    /// Which businesses below the owner see it.
    pub visibility: Visibility,
    /// Publications that changed it, oldest first; at most [`super::EDITIONS_MAX`].
    pub editions: Vec<Edition>,
    /// When it was made.
    pub created_at: Instant,
    /// When its owner changed it last.
    pub updated_at: Instant,
    /// Its revision: the sequence of the last entry of its owner.
    pub revision: Seq,
}

/// The part of a product that callers change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Never empty.
    pub name: String,
    /// May be empty, as the two below.
    pub description: String,
    /// The maker's name.
    pub brand: String,
    /// A path in the tenant's words.
    pub category: String,
    /// In what the variants differ; each once.
    pub option_axes: Vec<String>,
    /// Words to find it by; each once.
    pub tags: Vec<String>,
    /// Where it is in its life.
    pub status: Status,
}

impl Details {
    /// Takes in the texts and tags of a change.
    pub(super) fn take_in(&mut self, change: &DetailsChange) {
        let texts = [
            (&mut self.name, &change.name),
            (&mut self.description, &change.description),
            (&mut self.brand, &change.brand),
            (&mut self.category, &change.category),
        ];
        for (text, change) in texts {
            if let Some(change) = change {
                text.clone_from(change);
            }
        }
        if let Some(tags) = &change.tags {
            self.tags.clone_from(tags);
        }
    }
}

/// Where a product or a variant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not offered yet.
    Draft,
    /// Bought and sold.
    Active,
    /// No new purchase; what is there is sold.
    Discontinued,
    /// Kept for its history.
    Archived,
}

impl Status {
    /// `DRAFT`, `ACTIVE`, …
    pub fn name(self) -> &'static str {
        match self {
            Status::Draft => "DRAFT",
            Status::Active => "ACTIVE",
            Status::Discontinued => "DISCONTINUED",
            Status::Archived => "ARCHIVED",
        }
    }

    /// Reads what [`Status::name`] writes.
    pub fn parse(name: &str) -> Option<Status> {
        use Status::{Active, Archived, Discontinued, Draft};
        [Draft, Active, Discontinued, Archived].into_iter().find(|status| status.name() == name)
    }

    /// draft → active → discontinued → archived, back from discontinued to active, and straight from draft
    /// to archived, because nothing is deleted.
    pub(super) fn become_next(self, to: Status) -> Result<Status, Error> {
        use Status::{Active, Archived, Discontinued, Draft};
        match (self, to) {
            (Draft, Active | Archived) | (Active, Discontinued) | (Discontinued, Active | Archived) => Ok(to),
            (from, to) if from == to => Ok(to),
            (from, to) => Err(Error::IllegalTransition { from, to }),
        }
    }
}

/// A product to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProduct {
    /// Its id.
    pub id: ProductId,
    /// The business that owns it.
    pub business: BusinessId,
    /// What stock is counted in.
    pub base_unit: UnitRef,
    /// Decimal places of quantities, 0 to 6.
    pub quantity_scale: u8,
    /// What callers change.
    pub details: Details,
    /// 1 to [`VARIANTS_MAX`].
    pub variants: Vec<NewVariant>,
}

/// A change of a product; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DetailsChange {
    /// Another name.
    pub name: Option<String>,
    /// Another description; empty removes it, as below.
    pub description: Option<String>,
    /// Another brand.
    pub brand: Option<String>,
    /// Another category.
    pub category: Option<String>,
    /// All axes.
    pub option_axes: Option<Vec<String>>,
    /// All tags.
    pub tags: Option<Vec<String>>,
    /// Another status.
    pub status: Option<Status>,
}

/// What callers ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Make it.
    Create(Box<NewProduct>),
    /// Change it.
    Update {
        /// Which.
        id: ProductId,
        /// The revision that the caller has seen; `None` for any.
        expected: Option<Seq>,
        /// How.
        change: DetailsChange,
    },
    /// Add a variant.
    AddVariant {
        /// To which.
        product: ProductId,
        /// The variant.
        new: Box<NewVariant>,
    },
    /// Change a variant.
    UpdateVariant {
        /// Which.
        id: VariantId,
        /// The revision of the product that the caller has seen; `None` for any.
        expected: Option<Seq>,
        /// How.
        change: VariantChange,
    },
    /// Set what a unit of a variant is in its base unit.
    SetFactor {
        /// Which.
        variant: VariantId,
        /// The factor.
        factor: UnitFactor,
    },
    /// Take back what a business below the owner said.
    ClearOverrides {
        /// Of which product.
        id: ProductId,
        /// About which fields; all of them if there are none.
        fields: Vec<String>,
        /// Why.
        reason: String,
    },
    /// Say which businesses below the owner see it.
    SetVisibility {
        /// Which product.
        id: ProductId,
        /// Who sees it.
        visibility: Visibility,
        /// Why.
        reason: String,
    },
    /// Change fields of it in stages.
    Publish(Box<Publish>),
    /// Begin a stage of a publication.
    Advance {
        /// Of which product.
        id: ProductId,
        /// Which publication.
        publication: PublicationId,
        /// Which stage, from 1.
        stage: usize,
    },
    /// Take a publication back.
    RollBack {
        /// Of which product.
        id: ProductId,
        /// Which publication.
        publication: PublicationId,
        /// Why.
        reason: String,
    },
}

impl Command {
    /// What is not there for who may not see it.
    fn what(&self) -> &'static str {
        match self {
            Command::UpdateVariant { .. } | Command::SetFactor { .. } => "variant",
            _ => "product",
        }
    }

    /// The product that it names.
    fn product(&self) -> Option<ProductId> {
        match self {
            Command::Update { id, .. }
            | Command::AddVariant { product: id, .. }
            | Command::ClearOverrides { id, .. }
            | Command::Advance { id, .. }
            | Command::RollBack { id, .. }
            | Command::SetVisibility { id, .. } => Some(*id),
            Command::Publish(wish) => Some(wish.product),
            Command::Create(_) | Command::UpdateVariant { .. } | Command::SetFactor { .. } => None,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The product was made, with its first variants.
    Created(Box<NewProduct>),
    /// Its details were changed; these are all of them.
    DetailsChanged(Details),
    /// A variant was added.
    VariantAdded(NewVariant),
    /// The details of a variant were changed; these are all of them.
    VariantChanged {
        /// Which.
        id: VariantId,
        /// The details.
        details: VariantDetails,
    },
    /// A factor took the place of what was said about the unit before.
    FactorSet {
        /// Which.
        variant: VariantId,
        /// The factor.
        factor: UnitFactor,
    },
    /// A business below the owner said something about fields of the product, or took it back.
    Overridden(Overridden),
    /// Other businesses below the owner see it.
    VisibilitySet {
        /// Who does.
        visibility: Visibility,
        /// Why.
        reason: String,
    },
    /// Fields change in stages, of which the first begins.
    Published(Box<Published>),
    /// A further stage of a publication began.
    Advanced {
        /// Which publication.
        publication: PublicationId,
        /// Which stage, from 1.
        stage: usize,
    },
    /// A publication was taken back.
    RolledBack {
        /// Which publication.
        publication: PublicationId,
        /// Why.
        reason: String,
    },
}

impl Event {
    /// The publication that it is about.
    pub(crate) fn publication(&self) -> Option<PublicationId> {
        match self {
            Event::Published(published) => Some(published.publication),
            Event::Advanced { publication, .. } | Event::RolledBack { publication, .. } => Some(*publication),
            _ => None,
        }
    }
}

/// Variants that the first entry of a product holds; each further one has an entry of its own, so that
/// an entry stays small whatever callers send.
const VARIANTS_IN_FIRST_ENTRY: usize = 16;

impl Product {
    /// Decides what `command` of `caller` does to a product, or to none yet. Pure.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decide(
        product: Option<&Product>,
        caller: &Caller,
        command: &Command,
        now: Instant,
    ) -> Result<Vec<Event>, Error> {
        if caller.categories.is_none() {
            return Product::decide_unlimited(product, caller, command, now);
        }
        // Neither what is there nor what comes of it lies beyond the caller's limits.
        let check = |product: Option<&Product>| match product
            .and_then(|one| Some((one, one.line(&caller.path)?)))
        {
            Some((product, line)) => caller.check_category(&product.category(line, &caller.policies, now)),
            None => Ok(()),
        };
        check(product)?;
        let events = Product::decide_unlimited(product, caller, command, now)?;
        let mut after = product.cloned();
        for event in &events {
            let seq = after.as_ref().map_or(1, |product| product.revision + 1);
            Product::evolve(&mut after, event, seq, now);
        }
        check(after.as_ref())?;
        Ok(events)
    }

    fn decide_unlimited(
        product: Option<&Product>,
        caller: &Caller,
        command: &Command,
        now: Instant,
    ) -> Result<Vec<Event>, Error> {
        let product = match (product, command) {
            (None, Command::Create(new)) => return Ok(create(new)),
            // The aggregate follows from the idempotency key of the create.
            (Some(_), Command::Create(_)) => return Err(journal::Error::IdempotencyConflict.into()),
            (None, _) => return Err(Error::NotFound { what: "product" }),
            (Some(product), _) => product,
        };
        // The partition follows from a part of the id only.
        if command.product().is_some_and(|id| id != product.id) {
            return Err(Error::NotFound { what: "product" });
        }
        let line = product.line(&caller.path).ok_or(Error::NotFound { what: command.what() })?;
        if line.len() > 1 {
            return product.decide_below(caller, line, command, now);
        }
        match command {
            Command::Create(_) => Ok(vec![]),
            Command::Update { expected, change, .. } => {
                product.expect(*expected, line)?;
                product.update(change)
            }
            Command::AddVariant { new, .. } => product.add_variant(new),
            Command::UpdateVariant { id, expected, change } => {
                product.expect(*expected, line)?;
                product.update_variant(*id, change)
            }
            Command::SetFactor { variant, factor } => product.set_factor(*variant, *factor),
            // The owner says what is so; there is nothing to take back.
            Command::ClearOverrides { fields, reason, .. } => product.clear(caller, line, fields, reason),
            Command::SetVisibility { visibility, reason, .. } => Ok(product.show_to(visibility, reason)),
            Command::Publish(wish) => product.publish(wish, &caller.actor, now),
            Command::Advance { publication, stage, .. } => product.advance(*publication, *stage),
            Command::RollBack { publication, reason, .. } => product.roll_back(*publication, reason),
        }
    }

    /// Decides what a business below the owner may do.
    fn decide_below(
        &self,
        caller: &Caller,
        line: &[BusinessId],
        command: &Command,
        now: Instant,
    ) -> Result<Vec<Event>, Error> {
        match command {
            Command::Update { expected, change, .. } => {
                self.expect(*expected, line)?;
                self.override_with(caller, line, change, now)
            }
            Command::ClearOverrides { fields, reason, .. } => self.clear(caller, line, fields, reason),
            Command::UpdateVariant { id, .. } | Command::SetFactor { variant: id, .. } => {
                self.variant(*id)?;
                Err(owners_alone("variants", self.business))
            }
            Command::Create(_) | Command::AddVariant { .. } => Err(owners_alone("variants", self.business)),
            Command::SetVisibility { .. } => Err(owners_alone("visibility", self.business)),
            Command::Publish(_) | Command::Advance { .. } | Command::RollBack { .. } => {
                Err(owners_alone("publications", self.business))
            }
        }
    }

    /// Changes the state as the event says.
    pub fn evolve(product: &mut Option<Product>, event: &Event, seq: Seq, at: Instant) {
        if let Event::Created(new) = event {
            assert!(product.is_none(), "a product is made once");
            *product = Some(Product::new(new, at));
        }
        let Some(product) = product else { panic!("the first entry of a product makes it") };
        match event {
            Event::Created(_) => {}
            Event::DetailsChanged(details) => product.take_in_details(details),
            Event::Published(published) => product.take_in_published(published, seq, at),
            Event::Advanced { publication, .. } => product.take_in_advanced(*publication, at),
            Event::RolledBack { publication, .. } => product.take_in_rolled_back(*publication, at),
            Event::VariantAdded(new) => product.variants.push(made(new, at)),
            Event::VariantChanged { id, details } => product.known_mut(*id).details.clone_from(details),
            Event::FactorSet { variant, factor } => product.known_mut(*variant).supersede(*factor, at),
            // What a business below says is no change of the owner's.
            Event::Overridden(overridden) => return product.take_in_override(overridden, seq, at),
            Event::VisibilitySet { visibility, .. } => product.visibility.clone_from(visibility),
        }
        (product.revision, product.updated_at) = (seq, at);
    }

    fn new(new: &NewProduct, at: Instant) -> Product {
        Product {
            id: new.id,
            business: new.business,
            base_unit: new.base_unit,
            quantity_scale: new.quantity_scale,
            details: new.details.clone(),
            variants: new.variants.iter().map(|variant| made(variant, at)).collect(),
            said: BTreeMap::new(),
            taken_back: BTreeMap::new(),
            visibility: Visibility::default(),
            editions: Vec::new(),
            created_at: at,
            updated_at: at,
            revision: 0,
        }
    }

    /// Finds a variant.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn variant(&self, id: VariantId) -> Result<&Variant, Error> {
        self.variants.iter().find(|variant| variant.id == id).ok_or(Error::NotFound { what: "variant" })
    }

    fn known_mut(&mut self, id: VariantId) -> &mut Variant {
        let found = self.variants.iter_mut().find(|variant| variant.id == id);
        found.unwrap_or_else(|| panic!("an entry names a variant of its product"))
    }

    fn expect(&self, expected: Option<Seq>, line: &[BusinessId]) -> Result<(), Error> {
        let current = self.revision_at(line);
        match expected {
            Some(expected) if expected != current => Err(Error::StaleRevision { current }),
            _ => Ok(()),
        }
    }

    fn update(&self, change: &DetailsChange) -> Result<Vec<Event>, Error> {
        let mut next = self.details.clone();
        if let Some(status) = change.status {
            next.status = next.status.become_next(status)?;
        }
        if let Some(axes) = &change.option_axes {
            self.check_axes(axes)?;
            next.option_axes.clone_from(axes);
        }
        next.take_in(change);
        self.check_unpublished(&next)?;
        Ok(if next == self.details { vec![] } else { vec![Event::DetailsChanged(next)] })
    }

    fn take_in_details(&mut self, next: &Details) {
        let changed = |field: &&str| value_of(next, field) != value_of(&self.details, field);
        let changed: Vec<&str> = PUBLISHED_FIELDS.into_iter().filter(changed).collect();
        self.forget_before(changed.into_iter());
        self.details.clone_from(next);
    }

    /// An axis may be added, and removed while no variant has a value for it.
    fn check_axes(&self, axes: &[String]) -> Result<(), Error> {
        let mut violations = Violations::new();
        for axis in self.details.option_axes.iter().filter(|axis| !axes.contains(axis)) {
            let user = self.variants.iter().find(|variant| variant.details.option_values.contains_key(axis));
            if let Some(user) = user {
                let detail = format!("must keep '{axis}', for which '{}' has a value", user.details.sku);
                violations.add("product.option_axes", reason::NOT_ALLOWED, detail);
            }
        }
        Ok(violations.into_result()?)
    }

    fn add_variant(&self, new: &NewVariant) -> Result<Vec<Event>, Error> {
        if self.variants.len() >= VARIANTS_MAX {
            return Err(Error::LimitReached { what: "variants", max: VARIANTS_MAX });
        }
        let mut violations = Violations::new();
        violations.within("variant", |v| {
            new.check(self.base_unit, &self.details.option_axes, v);
            self.check_combination(new.id, &new.details, v);
        });
        violations.into_result()?;
        self.check_codes(new.id, &new.details)?;
        Ok(vec![Event::VariantAdded(new.clone())])
    }

    fn update_variant(&self, id: VariantId, change: &VariantChange) -> Result<Vec<Event>, Error> {
        let variant = self.variant(id)?;
        let mut next = variant.details.clone();
        if let Some(status) = change.status {
            next.status = next.status.become_next(status)?;
        }
        let mut violations = Violations::new();
        if let Some(values) = &change.option_values {
            next.option_values.clone_from(values);
            violations.within("variant", |v| {
                check_option_values(values, &self.details.option_axes, v);
                self.check_combination(id, &next, v);
            });
        }
        if let Some(barcodes) = &change.barcodes {
            next.barcodes.clone_from(barcodes);
            let is_set = |unit| variant.in_force().any(|one| one.unit == unit);
            violations.within("variant", |v| check_barcode_units(barcodes, self.base_unit, is_set, v));
        }
        violations.into_result()?;
        if let Some(sku) = &change.sku {
            next.sku.clone_from(sku);
        }
        self.check_codes(id, &next)?;
        Ok(if next == variant.details { vec![] } else { vec![Event::VariantChanged { id, details: next }] })
    }

    fn set_factor(&self, variant: VariantId, factor: UnitFactor) -> Result<Vec<Event>, Error> {
        let found = self.variant(variant)?;
        let mut violations = Violations::new();
        violations.within("conversion", |v| factor.check(self.base_unit, v));
        violations.into_result()?;
        if found.in_force().any(|one| *one == factor) {
            return Ok(vec![]);
        }
        let others = found.in_force().filter(|one| one.unit != factor.unit).count();
        if others >= UNITS_MAX {
            return Err(Error::LimitReached { what: "units", max: UNITS_MAX });
        }
        if found.conversions.len() >= FACTORS_MAX {
            return Err(Error::LimitReached { what: "unit conversions", max: FACTORS_MAX });
        }
        Ok(vec![Event::FactorSet { variant, factor }])
    }

    /// Reports option values that another variant has; archived ones do not count.
    fn check_combination(&self, id: VariantId, details: &VariantDetails, violations: &mut Violations) {
        let mut others =
            self.variants.iter().filter(|other| other.id != id && other.details.status != Status::Archived);
        if let Some(other) = others.find(|other| other.details.option_values == details.option_values) {
            let detail = format!("must differ from those of '{}'", other.details.sku);
            violations.add("option_values", DUPLICATE, detail);
        }
    }

    /// Refuses codes of a sibling; those of other products are refused by the store.
    fn check_codes(&self, id: VariantId, details: &VariantDetails) -> Result<(), Error> {
        for other in self.variants.iter().filter(|other| other.id != id).map(|other| &other.details) {
            if other.sku == details.sku {
                return Err(Error::SkuTaken { sku: details.sku.clone() });
            }
            let mut taken = details.barcodes.iter().map(|barcode| &barcode.value);
            if let Some(value) = taken.find(|value| other.barcodes.iter().any(|one| one.value == **value)) {
                return Err(Error::BarcodeTaken { barcode: value.clone() });
            }
        }
        Ok(())
    }
}

/// The codes that were seen.
#[derive(Default)]
struct Codes<'a> {
    skus: HashSet<&'a str>,
    barcodes: HashSet<&'a str>,
}

impl<'a> Codes<'a> {
    fn see(&mut self, details: &'a VariantDetails, violations: &mut Violations) {
        // One that could not be read is empty.
        if !details.sku.is_empty() && !self.skus.insert(&details.sku) {
            violations.add("sku", DUPLICATE, format!("must be unique; '{}' is there twice", details.sku));
        }
        for (position, barcode) in details.barcodes.iter().enumerate() {
            if !self.barcodes.insert(&barcode.value) {
                let detail = format!("must be unique; '{}' is there twice", barcode.value);
                violations.add(&format!("barcodes[{position}].value"), DUPLICATE, detail);
            }
        }
    }
}

impl NewProduct {
    /// Reports what does not fit together: option values, units, and codes that are there twice. Paths are
    /// those of `Product` in the contract. What spans the fields of a variant is checked for those that are
    /// `whole`: without a bad field of their own.
    pub fn check(&self, whole: &[bool], violations: &mut Violations) {
        let (mut codes, mut combinations) = (Codes::default(), HashSet::new());
        for (at, (variant, whole)) in self.variants.iter().zip(whole).enumerate() {
            violations.within(format_args!("variants[{at}]"), |v| {
                codes.see(&variant.details, v);
                if !whole {
                    return;
                }
                variant.check(self.base_unit, &self.details.option_axes, v);
                if !combinations.insert(&variant.details.option_values) {
                    v.add("option_values", DUPLICATE, "must differ from those of the other variants");
                }
            });
        }
    }
}

/// Reports codes that two products of a batch have. Paths are those of `BatchCreateProductsRequest`.
pub fn check_batch<'a>(products: impl IntoIterator<Item = &'a NewProduct>, violations: &mut Violations) {
    let mut codes = Codes::default();
    for (at, product) in products.into_iter().enumerate() {
        for (position, variant) in product.variants.iter().enumerate() {
            violations.within(format_args!("products[{at}].variants[{position}]"), |v| {
                codes.see(&variant.details, v);
            });
        }
    }
}

fn create(new: &NewProduct) -> Vec<Event> {
    assert!((1..=VARIANTS_MAX).contains(&new.variants.len()), "checked where the request was parsed");
    let mut created = new.clone();
    let rest = created.variants.split_off(created.variants.len().min(VARIANTS_IN_FIRST_ENTRY));
    let added = rest.into_iter().map(Event::VariantAdded);
    std::iter::once(Event::Created(Box::new(created))).chain(added).collect()
}

fn made(new: &NewVariant, at: Instant) -> Variant {
    let mut variant = Variant { id: new.id, details: new.details.clone(), conversions: Vec::new() };
    for factor in &new.factors {
        variant.supersede(*factor, at);
    }
    variant
}
