//! What businesses hear when something above them changes what holds there of a product.
//!
//! A product has one value per field and business, which follows from its entries, from the policies of the
//! businesses above, and from the moments at which those begin. A [`Known`] says how far the policies have been
//! taken in; the state of a product together with it is what [`affected`] compares before and after one step. As
//! every step begins where the one before ended, no difference is told twice and none is lost, in whatever order
//! the steps of different histories are taken.

use std::collections::BTreeSet;

use calendar::Instant;
use ids::{BusinessId, ProductId, PublicationId};
use inherit::{Existing, Group, Mode, Policies, Policy, Record, Said, Value, resolve};
use journal::Seq;

use super::inheritance::{PRODUCTS, value_of};
use super::product::{Event, Product};

/// What a business hears: something above it changed what holds there of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InheritedChange {
    /// Of which product.
    pub product: ProductId,
    /// The fields that hold something else; empty when only who sees it changed.
    pub fields: Vec<String>,
    /// Set when the product can be seen there from now on (`true`), or not any more (`false`).
    pub shown: Option<bool>,
    /// Who changed it.
    pub origin: BusinessId,
    /// What it follows from.
    pub cause: Cause,
    /// When that was recorded; of a policy, when it began to count or its grace ended.
    pub occurred_at: Instant,
}

/// What a change follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// An entry of the product.
    Entry {
        /// Its sequence: the revision of the product.
        revision: Seq,
        /// What happened.
        what: What,
        /// The publication that it is about.
        publication: Option<PublicationId>,
    },
    /// A policy.
    Policy {
        /// About which group of fields.
        group: String,
        /// Its version.
        version: u64,
    },
}

/// What happened to a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Its owner changed fields.
    Updated,
    /// A business between said something of its own, or took it back.
    Overridden,
    /// Other businesses see it.
    VisibilitySet,
    /// A publication began with its first stage.
    Published,
    /// A further stage of a publication began.
    Advanced,
    /// A publication was taken back.
    RolledBack,
}

/// The policies of a tenant, in the order of their entries.
#[derive(Debug, Clone, Default)]
pub struct Timeline(pub Vec<Policy>);

/// How far policies have been taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The last entry of the policies.
    pub policies: Seq,
    /// The moment as of which they count.
    pub at: Option<Instant>,
}

/// The moments at which a policy changes what holds: when it begins to count for who reads. A grace does not count
/// until it ends.
fn moment(policy: &Policy) -> Instant {
    match policy.existing {
        Existing::Grace(until) => until.max(policy.effective_from),
        Existing::Reject | Existing::Suspend => policy.effective_from,
    }
}

impl Timeline {
    fn first(&self, policies: Seq) -> &[Policy] {
        let count = usize::try_from(policies).unwrap_or(usize::MAX).min(self.0.len());
        &self.0[..count]
    }

    /// The next step up to a moment: the next moment of policies that are known, or a further entry.
    pub fn next(&self, known: Known, upto: Instant) -> Option<Known> {
        let entry = self.0.get(usize::try_from(known.policies).ok()?);
        let entry = entry.map(|policy| policy.recorded_at).filter(|at| *at <= upto);
        let passed = |at: Instant| known.at.is_some_and(|known| at <= known);
        let moments = self.first(known.policies).iter().map(moment);
        if let Some(at) = moments.filter(|at| !passed(*at) && *at <= entry.unwrap_or(upto)).min() {
            return Some(Known { at: Some(at), ..known });
        }
        let at = known.at.max(entry);
        entry.map(|_| Known { policies: known.policies + 1, at })
    }

    /// The policies about products that a step is about: those that begin to count together, or the one of an entry.
    pub fn begun(&self, before: Known, after: Known) -> Vec<&Policy> {
        let known = self.first(before.policies);
        let about = |policy: &&Policy| PRODUCTS.group(&policy.group).is_some();
        match self.first(after.policies).get(known.len()) {
            Some(entry) => Some(entry).filter(about).into_iter().collect(),
            None => known.iter().filter(|policy| Some(moment(policy)) == after.at).filter(about).collect(),
        }
    }

    /// Where all steps up to a moment lead.
    pub fn last(&self, known: Known, upto: Instant) -> Known {
        let count = self.0.iter().take_while(|policy| policy.recorded_at <= upto).count() as Seq;
        let policies = known.policies.max(count);
        let begun = self.first(policies).iter().flat_map(|policy| [policy.recorded_at, moment(policy)]);
        let begun = begun.filter(|at| *at <= upto);
        Known { policies, at: begun.chain(known.at).max() }
    }

    /// When a policy that did not count yet at `now` will, and its group.
    pub fn due(policy: &Policy, now: Instant) -> Option<(Instant, String)> {
        Some(moment(policy)).filter(|at| now < *at).map(|at| (at, policy.group.clone()))
    }

    /// Whether what policies say about a group can matter to a product on which nobody below the owner said
    /// anything: some let each business speak for itself alone.
    pub fn is_local(&self, group: &str) -> bool {
        self.0.iter().any(|policy| policy.mode == Mode::Local && policy.group == group)
    }

    /// Whether what policies say about a group can matter to a product.
    pub fn matters(&self, product: &Product, group: &str) -> bool {
        PRODUCTS.group(group).is_some() && (self.is_local(group) || product.groups_said().contains(group))
    }

    /// Whether any policy can matter to a product.
    pub fn matters_at_all(&self, product: &Product) -> bool {
        self.0.iter().any(|policy| self.matters(product, &policy.group))
    }

    /// The policies that are known, about these groups.
    fn policies(&self, known: Known, groups: &[&'static Group]) -> Policies {
        let mut policies = Policies::default();
        let about = |policy: &&Policy| groups.iter().any(|group| group.name == policy.group);
        self.first(known.policies).iter().filter(about).for_each(|policy| policies.add(policy.clone()));
        policies
    }
}

impl Product {
    /// The groups of fields that businesses below the owner speak about.
    pub fn groups_said(&self) -> BTreeSet<&'static str> {
        let fields = self.said.values().flat_map(|said| said.keys());
        fields.filter_map(|field| PRODUCTS.group_of(field)).map(|group| group.name).collect()
    }
}

/// A product as it has been followed: every stage of it that is there has begun.
struct Followed<'a>(&'a Product);

impl Record for Followed<'_> {
    fn own(&self, field: &str, line: &[BusinessId], _: Instant) -> Said {
        self.0.own(field, line, Instant::MAX)
    }

    fn said(&self, business: BusinessId, field: &str) -> Option<&Said> {
        self.0.said(business, field)
    }
}

/// A step of what is followed, and who took it.
#[derive(Debug)]
pub struct Step {
    /// Who.
    pub origin: BusinessId,
    /// What follows.
    pub cause: Cause,
    /// When.
    pub at: Instant,
    /// The fields that it may have changed.
    fields: BTreeSet<&'static str>,
    /// The policies that it takes in: they need not be of businesses that have to do with each other.
    policies: Vec<Ruling>,
}

/// A policy that a business may hear of.
#[derive(Debug, Clone)]
struct Ruling {
    owner: BusinessId,
    group: String,
    version: u64,
}

impl Step {
    /// What an entry of a product may change below its owner; `None` if it is nothing. What holds of a product
    /// begins with the product: making it changes nothing that held.
    pub fn of_entry(before: &Product, after: &Product, event: &Event, seq: Seq, at: Instant) -> Option<Step> {
        let known = |name: &str| PRODUCTS.fields().find(|field| field.name == name).map(|field| field.name);
        let (what, fields): (What, BTreeSet<&'static str>) = match event {
            Event::DetailsChanged(_) => {
                let names = PRODUCTS.fields().map(|field| field.name);
                let new = |name: &&str| value_of(&before.details, name) != value_of(&after.details, name);
                (What::Updated, names.filter(new).collect())
            }
            Event::Overridden(overridden) => {
                (What::Overridden, overridden.fields.iter().filter_map(|(name, _)| known(name)).collect())
            }
            Event::VisibilitySet { .. } => (What::VisibilitySet, BTreeSet::new()),
            Event::Published(published) => {
                (What::Published, published.fields.iter().filter_map(|(name, _)| known(name)).collect())
            }
            Event::Advanced { publication, .. } => (What::Advanced, after.published_fields(*publication)),
            Event::RolledBack { publication, .. } => (What::RolledBack, after.published_fields(*publication)),
            Event::Created(_)
            | Event::VariantAdded(_)
            | Event::VariantChanged { .. }
            | Event::FactorSet { .. } => return None,
        };
        let origin =
            if let Event::Overridden(overridden) = event { overridden.business() } else { after.business };
        let cause = Cause::Entry { revision: seq, what, publication: event.publication() };
        Some(Step { origin, cause, at, fields, policies: vec![] })
    }

    /// What policies may change that begin to count together. Each business hears of the last one that says something
    /// there.
    pub fn of_policies(policies: &[&Policy], known: Known) -> Option<Step> {
        let policy = policies.last()?;
        let groups = policies.iter().filter_map(|policy| PRODUCTS.group(&policy.group));
        Some(Step {
            origin: policy.owner,
            cause: Cause::Policy { group: policy.group.clone(), version: policy.version },
            at: known.at.unwrap_or(policy.recorded_at),
            fields: groups.flat_map(|group| group.fields).map(|field| field.name).collect(),
            policies: policies
                .iter()
                .map(|policy| Ruling {
                    owner: policy.owner,
                    group: policy.group.clone(),
                    version: policy.version,
                })
                .collect(),
        })
    }
}

/// What the business at the end of `line` hears of a step: nothing if nothing holds otherwise there, nor if it took
/// the step itself. `line` begins at the owner of the product.
pub struct Compared<'a> {
    step: &'a Step,
    sides: [(&'a Product, Policies, Instant); 2],
    groups: Vec<&'static Group>,
}

impl<'a> Compared<'a> {
    /// Compares the states before and after a step.
    pub fn new(
        step: &'a Step,
        timeline: &Timeline,
        before: (&'a Product, Known),
        after: (&'a Product, Known),
    ) -> Compared<'a> {
        let touched = |group: &&Group| group.fields.iter().any(|field| step.fields.contains(field.name));
        let groups: Vec<&'static Group> = PRODUCTS.groups.iter().filter(touched).collect();
        let side = |(product, known): (&'a Product, Known)| {
            (product, timeline.policies(known, &groups), known.at.unwrap_or(Instant::MIN))
        };
        Compared { step, sides: [side(before), side(after)], groups }
    }

    /// What the business at the end of `line` hears.
    pub fn heard(&self, line: &[BusinessId]) -> Option<InheritedChange> {
        let by_itself = matches!(self.step.cause, Cause::Entry { what: What::Overridden, .. });
        if by_itself && line.last() == Some(&self.step.origin) {
            return None;
        }
        let [before, after] = &self.sides;
        let (fields, shown) = match (before.0.visibility.shows(line), after.0.visibility.shows(line)) {
            (false, false) => return None,
            (true, true) => (self.fields(line), None),
            (_, shown) => (vec![], Some(shown)),
        };
        if fields.is_empty() && shown.is_none() {
            return None;
        }
        let (origin, cause) = self.cause(line, &fields)?;
        let occurred_at = self.step.at;
        Some(InheritedChange { product: after.0.id, fields, shown, origin, cause, occurred_at })
    }

    /// Who did what: of policies the last one of a business on the line, about a field that changed. Others say nothing
    /// there, and nobody learns of them.
    fn cause(&self, line: &[BusinessId], fields: &[String]) -> Option<(BusinessId, Cause)> {
        let Cause::Policy { .. } = self.step.cause else {
            return Some((self.step.origin, self.step.cause.clone()));
        };
        let about = |ruling: &&Ruling| {
            let group = PRODUCTS.group(&ruling.group);
            let changed = |group: &Group| {
                group.fields.iter().any(|field| fields.iter().any(|changed| changed == field.name))
            };
            line.contains(&ruling.owner) && group.is_some_and(changed)
        };
        let Ruling { owner, group, version } = self.step.policies.iter().rev().find(about)?;
        Some((*owner, Cause::Policy { group: group.clone(), version: *version }))
    }

    fn fields(&self, line: &[BusinessId]) -> Vec<String> {
        let mut found = Vec::new();
        for group in &self.groups {
            for field in group.fields.iter().filter(|field| self.step.fields.contains(field.name)) {
                let [before, after] = self.sides.each_ref().map(|(product, policies, at)| {
                    shown(resolve(&Followed(product), policies, group, field.name, line, *at).value)
                });
                if before != after {
                    found.push(field.name.to_owned());
                }
            }
        }
        found
    }
}

/// What is read of a field: where nobody said anything it is empty.
fn shown(value: Option<Value>) -> Option<Value> {
    value.filter(|value| match value {
        Value::Text(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
    })
}
