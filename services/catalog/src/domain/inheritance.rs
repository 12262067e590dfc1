//! What businesses below the owner of a product inherit of it, and what they say otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use calendar::Instant;
use ids::BusinessId;
use inherit::{Effective, Field, Group, Locked, Mode, Policies, Record, Said, Schema, Value, Visibility};
use journal::Seq;
use problem::{Violations, reason};

use super::product::{Details, DetailsChange, Event, Product, Status};
use crate::Error;

const fn text(name: &'static str) -> Field {
    Field { name, is_list: false }
}

const fn list(name: &'static str) -> Field {
    Field { name, is_list: true }
}

/// What a product has, and what holds about it until a business says otherwise.
pub const PRODUCTS: Schema = Schema {
    entity: "product",
    groups: &[
        Group {
            name: "text",
            fields: &[text("name"), text("description")],
            mode: Mode::Overridable,
            fixed: false,
        },
        Group {
            name: "classification",
            fields: &[text("brand"), text("category")],
            mode: Mode::Locked,
            fixed: false,
        },
        Group { name: "tags", fields: &[list("tags")], mode: Mode::Extend, fixed: false },
        Group { name: "lifecycle", fields: &[text("status")], mode: Mode::Locked, fixed: false },
        // Stock, prices and documents count on it.
        Group { name: "structure", fields: &[list("option_axes")], mode: Mode::Locked, fixed: true },
    ],
};

/// What there is of a product beside [`PRODUCTS`]: its owner alone changes it.
pub(crate) fn owners_alone(field: &str, owner: BusinessId) -> Error {
    let (field, group, mode) = (field.to_owned(), "structure", Mode::Locked);
    Error::InheritedLocked {
        entity: PRODUCTS.entity,
        locked: Locked { field, group, owner, version: 0, mode },
    }
}

/// Who asks: where its business is, what the policies above it say, and its name.
#[derive(Debug, Clone)]
pub struct Caller {
    /// From the root to the business.
    pub path: Arc<[BusinessId]>,
    /// Of every business on the path; none are needed of a root.
    pub policies: Arc<Policies>,
    /// `key_…`, `usr_…`.
    pub actor: Arc<str>,
    /// The categories whose products it may work with; `None` is all.
    pub categories: Option<Arc<[String]>>,
}

impl Caller {
    /// Refuses a category that the caller may not work with.
    ///
    /// # Errors
    /// [`rpc::Refused::BeyondLimits`].
    pub(crate) fn check_category(&self, category: &str) -> Result<(), Error> {
        match &self.categories {
            Some(known) if !known.iter().any(|known| known == category) => {
                Err(rpc::Refused::BeyondLimits { limit: rpc::limits::CATEGORY }.into())
            }
            _ => Ok(()),
        }
    }
}

/// What a business below the owner says about a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overridden {
    /// From the root to the business, as it was then.
    pub path: Vec<BusinessId>,
    /// Fields and what it says about them; `None` takes back what it said.
    pub fields: Vec<(String, Option<Value>)>,
    /// The revision of the product that it had seen.
    pub based_on: Seq,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
}

impl Overridden {
    /// The business.
    ///
    /// # Panics
    /// When the path is empty: an entry names whose it is.
    pub fn business(&self) -> BusinessId {
        *self.path.last().unwrap_or_else(|| panic!("an override is of a business"))
    }
}

/// Fields of a product that businesses below its owner speak about.
pub type Overrides = BTreeMap<String, Said>;

impl Record for Product {
    fn own(&self, field: &str, line: &[BusinessId], at: Instant) -> Said {
        if let Some(published) = self.published(field, line, at) {
            return published;
        }
        Said {
            value: value_of(&self.details, field),
            revision: self.revision,
            at: self.updated_at,
            by: String::new(),
            reason: String::new(),
        }
    }

    fn said(&self, business: BusinessId, field: &str) -> Option<&Said> {
        self.said.get(&business)?.get(field)
    }
}

/// A field of a product, as policies see it.
pub(crate) fn value_of(details: &Details, field: &str) -> Value {
    match field {
        "name" => Value::Text(details.name.clone()),
        "description" => Value::Text(details.description.clone()),
        "brand" => Value::Text(details.brand.clone()),
        "category" => Value::Text(details.category.clone()),
        "status" => Value::Text(details.status.name().to_owned()),
        "tags" => Value::List(details.tags.clone()),
        "option_axes" => Value::List(details.option_axes.clone()),
        other => panic!("'{other}' is no inherited field of a product"),
    }
}

pub(super) fn put(details: &mut Details, field: &str, value: Option<Value>) {
    let (text, items) = match value {
        Some(Value::Text(text)) => (text, vec![]),
        Some(Value::List(items)) => (String::new(), items),
        None => (String::new(), vec![]),
    };
    match field {
        "name" => details.name = text,
        "description" => details.description = text,
        "brand" => details.brand = text,
        "category" => details.category = text,
        "status" => details.status = Status::parse(&text).unwrap_or(details.status),
        "tags" => details.tags = items,
        "option_axes" => details.option_axes = items,
        other => panic!("'{other}' is no inherited field of a product"),
    }
}

impl Product {
    /// The way from the owner down to the business at the end of `path`, if that business sees the product.
    pub fn line<'a>(&self, path: &'a [BusinessId]) -> Option<&'a [BusinessId]> {
        inherit::line(path, self.business).filter(|line| self.visibility.shows(line))
    }

    /// The revision of what holds at the end of `line`: what sisters say does not change it.
    pub fn revision_at(&self, line: &[BusinessId]) -> Seq {
        let said = line.iter().filter_map(|business| self.said.get(business)).flat_map(BTreeMap::values);
        said.map(|said| said.revision).chain([self.revision, self.taken_back_at(line)]).max().unwrap_or(0)
    }

    fn taken_back_at(&self, line: &[BusinessId]) -> Seq {
        line.iter().filter_map(|business| self.taken_back.get(business)).copied().max().unwrap_or(0)
    }

    /// What holds at the end of `line`, and where each field comes from.
    pub fn effective(
        &self,
        line: &[BusinessId],
        policies: &Policies,
        at: Instant,
    ) -> (Product, Vec<(&'static str, Effective)>) {
        let mut product = self.clone();
        let mut origins = Vec::new();
        for group in PRODUCTS.groups {
            for field in group.fields {
                let found = inherit::resolve(self, policies, group, field.name, line, at);
                put(&mut product.details, field.name, found.value.clone());
                origins.push((field.name, found));
            }
        }
        product.revision = self.revision_at(line);
        (product, origins)
    }

    /// The category at the end of `line`.
    pub(super) fn category(&self, line: &[BusinessId], policies: &Policies, at: Instant) -> String {
        if line.len() == 1 {
            return self.details.category.clone();
        }
        self.effective(line, policies, at).0.details.category
    }

    /// Decides what a business below the owner says. A wish for what holds anyway is none.
    pub(super) fn override_with(
        &self,
        caller: &Caller,
        line: &[BusinessId],
        change: &DetailsChange,
        now: Instant,
    ) -> Result<Vec<Event>, Error> {
        let (holds, _) = self.effective(line, &caller.policies, now);
        let mut wanted = holds.details.clone();
        let mut fields = Vec::new();
        if let Some(axes) = &change.option_axes {
            wanted.option_axes.clone_from(axes);
        }
        wanted.take_in(change);
        if let Some(status) = change.status {
            wanted.status = status;
        }
        for group in PRODUCTS.groups {
            for field in group.fields {
                let value = value_of(&wanted, field.name);
                if value == value_of(&holds.details, field.name) {
                    continue;
                }
                let kept = inherit::prepare(self, &caller.policies, group, field.name, line, &value, now)
                    .map_err(|locked| Error::InheritedLocked { entity: PRODUCTS.entity, locked })?;
                fields.push((field.name.to_owned(), Some(kept)));
            }
        }
        holds.details.status.become_next(wanted.status)?;
        Ok(self.overridden(caller, line, fields, ""))
    }

    /// Decides what is taken back of what a business said: these fields, or all.
    pub(super) fn clear(
        &self,
        caller: &Caller,
        line: &[BusinessId],
        fields: &[String],
        why: &str,
    ) -> Result<Vec<Event>, Error> {
        let mut violations = Violations::new();
        for (at, field) in fields.iter().enumerate() {
            if PRODUCTS.group_of(field).is_none() {
                let detail = format!("'{field}' is no field that is inherited");
                violations.add(&format!("fields[{at}]"), reason::UNKNOWN_FIELD, detail);
            }
        }
        violations.into_result()?;
        let here = line.last().and_then(|business| self.said.get(business));
        let said = here.into_iter().flat_map(BTreeMap::keys);
        let gone = said.filter(|field| fields.is_empty() || fields.contains(*field));
        let gone = gone.map(|field| (field.clone(), None)).collect();
        Ok(self.overridden(caller, line, gone, why))
    }

    fn overridden(
        &self,
        caller: &Caller,
        line: &[BusinessId],
        fields: Vec<(String, Option<Value>)>,
        reason: &str,
    ) -> Vec<Event> {
        if fields.is_empty() {
            return vec![];
        }
        vec![Event::Overridden(Overridden {
            path: caller.path.to_vec(),
            fields,
            based_on: self.revision_at(line),
            by: caller.actor.to_string(),
            reason: reason.to_owned(),
        })]
    }

    /// Decides who sees the product.
    pub(super) fn show_to(&self, visibility: &Visibility, why: &str) -> Vec<Event> {
        if *visibility == self.visibility {
            return vec![];
        }
        vec![Event::VisibilitySet { visibility: visibility.clone(), reason: why.to_owned() }]
    }

    /// Takes in what a business says.
    pub(super) fn take_in_override(&mut self, event: &Overridden, seq: Seq, at: Instant) {
        let business = event.business();
        let said = self.said.entry(business).or_default();
        for (field, value) in &event.fields {
            match value {
                Some(value) => {
                    let (value, by, reason) = (value.clone(), event.by.clone(), event.reason.clone());
                    said.insert(field.clone(), Said { value, revision: seq, at, by, reason });
                }
                None => {
                    said.remove(field);
                    self.taken_back.insert(business, seq);
                }
            }
        }
    }
}
