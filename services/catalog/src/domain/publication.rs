//! Changes of a product that reach the businesses below its owner in stages, and can be taken back in one call.
//!
//! A *publication* changes several products; an [`Edition`] is its part of one of them. While it is under way the
//! owner's fields stay as they are, and businesses that a stage has reached read the new ones. The last stage, which
//! every publication has, reaches everybody: then the fields are the owner's, and what was there before is kept for
//! taking it back. So at any time a field has one value per business, and at most one edition under way.

use std::collections::BTreeSet;

use calendar::Instant;
use ids::{BusinessId, ProductId, PublicationId};
use inherit::{Reach, Said, Value, Version, Wave, version_for};
use journal::Seq;

use super::inheritance::{put, value_of};
use super::product::{Details, DetailsChange, Event, Product};
use crate::Error;

/// Editions of a product that are remembered; older ones that are not under way cannot be taken back any more.
pub const EDITIONS_MAX: usize = 3;
/// Fields that a publication can change: what documents and the life cycle rely on is changed at once, or not at all.
pub(super) const PUBLISHED_FIELDS: [&str; 5] = ["name", "description", "brand", "category", "tags"];

/// Where an edition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Some businesses have it.
    UnderWay,
    /// Everybody has it, since then; with what the fields held before, as far as nobody changed them since.
    Everywhere(Instant, Vec<(String, Value)>),
    /// It was taken back.
    RolledBack(Instant),
}

/// The part of a publication that concerns one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// What was published.
    pub published: Published,
    /// When each stage began, the first ones of `published.stages`.
    pub started: Vec<Instant>,
    /// Where it is.
    pub progress: Progress,
    /// The entry that published it.
    pub seq: Seq,
}

/// What is to be published about a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Which publication.
    pub publication: PublicationId,
    /// Of which product.
    pub product: ProductId,
    /// What changes; of [`PUBLISHED_FIELDS`] only.
    pub change: DetailsChange,
    /// The businesses of each stage, each with all below it. After the last one comes everybody.
    pub stages: Vec<Vec<BusinessId>>,
    /// Why.
    pub note: String,
}

/// What was published about a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Which publication.
    pub publication: PublicationId,
    /// Fields and what they hold. Never empty.
    pub fields: Vec<(String, Value)>,
    /// See [`Publish::stages`].
    pub stages: Vec<Vec<BusinessId>>,
    /// Why.
    pub note: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: Instant,
}

impl Edition {
    /// Stages there are, the one that reaches everybody included.
    pub fn stages(&self) -> usize {
        self.published.stages.len() + 1
    }

    /// Stages that have begun.
    pub fn stage(&self) -> usize {
        self.started.len()
    }

    fn is_under_way(&self) -> bool {
        self.progress == Progress::UnderWay
    }

    fn value(&self, field: &str) -> Option<&Value> {
        self.published.fields.iter().find(|(name, _)| name == field).map(|(_, value)| value)
    }

    fn version(&self, value: &Value) -> Version {
        let Published { stages, note, by, at, .. } = &self.published;
        let started = stages.iter().zip(&self.started);
        let (value, by, reason) = (value.clone(), by.clone(), note.clone());
        Version {
            said: Said { value, revision: self.seq, at: *at, by, reason },
            waves: started.map(|(named, at)| Wave { reach: Reach::Only(named.clone()), at: *at }).collect(),
            rolled_back: false,
        }
    }
}

impl Product {
    /// What an edition that is under way says about a field to the business at the end of `line`.
    pub(crate) fn published(&self, field: &str, line: &[BusinessId], at: Instant) -> Option<Said> {
        let edition =
            self.editions.iter().find(|edition| edition.is_under_way() && edition.value(field).is_some())?;
        version_for(&[edition.version(edition.value(field)?)], line, at).cloned()
    }

    /// Decides what a publication changes of the product; nothing, when all of it holds already.
    ///
    /// # Errors
    /// [`Error::PublicationUnderWay`], [`Error::LimitReached`].
    pub(super) fn publish(&self, wish: &Publish, by: &str, now: Instant) -> Result<Vec<Event>, Error> {
        let mut wanted = self.details.clone();
        wanted.take_in(&wish.change);
        let fields: Vec<(String, Value)> = PUBLISHED_FIELDS
            .into_iter()
            .map(|field| (field.to_owned(), value_of(&wanted, field)))
            .filter(|(field, value)| *value != value_of(&self.details, field))
            .collect();
        if fields.is_empty() {
            return Ok(vec![]);
        }
        self.check_free(fields.iter().map(|(field, _)| field.as_str()))?;
        if self.editions.iter().filter(|edition| edition.is_under_way()).count() >= EDITIONS_MAX {
            return Err(Error::LimitReached {
                what: "publications of a product under way",
                max: EDITIONS_MAX,
            });
        }
        Ok(vec![Event::Published(Box::new(Published {
            publication: wish.publication,
            fields,
            stages: wish.stages.clone(),
            note: wish.note.clone(),
            by: by.to_owned(),
            at: now,
        }))])
    }

    /// Refuses fields of which an edition is under way.
    ///
    /// # Errors
    /// [`Error::PublicationUnderWay`].
    fn check_free<'a>(&self, fields: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        for field in fields {
            let mut editions = self.editions.iter().filter(|edition| edition.is_under_way());
            if let Some(edition) = editions.find(|edition| edition.value(field).is_some()) {
                let (publication, field) = (edition.published.publication, field.to_owned());
                return Err(Error::PublicationUnderWay { publication, field });
            }
        }
        Ok(())
    }

    /// Refuses to change fields at once of which an edition is under way: what holds where would depend on where it
    /// has come.
    ///
    /// # Errors
    /// [`Error::PublicationUnderWay`].
    pub(super) fn check_unpublished(&self, next: &Details) -> Result<(), Error> {
        let changed = |field: &&str| value_of(next, field) != value_of(&self.details, field);
        self.check_free(PUBLISHED_FIELDS.into_iter().filter(changed))
    }

    /// Decides to begin a stage of a publication; nothing, when it has begun.
    ///
    /// # Errors
    /// [`Error::PublicationEnded`], [`Error::StageNotNext`].
    pub(super) fn advance(&self, publication: PublicationId, stage: usize) -> Result<Vec<Event>, Error> {
        let edition = self.edition(publication)?;
        match &edition.progress {
            Progress::RolledBack(_) => Err(Error::PublicationEnded),
            _ if stage <= edition.stage() => Ok(vec![]),
            Progress::UnderWay if stage == edition.stage() + 1 => {
                Ok(vec![Event::Advanced { publication, stage }])
            }
            _ => Err(Error::StageNotNext { next: edition.stage() + 1 }),
        }
    }

    /// Decides to take a publication back; nothing, when it was.
    ///
    /// # Errors
    /// [`Error::PublicationEnded`] for one that is too old.
    pub(super) fn roll_back(&self, publication: PublicationId, reason: &str) -> Result<Vec<Event>, Error> {
        match self.edition(publication)?.progress {
            Progress::RolledBack(_) => Ok(vec![]),
            _ => Ok(vec![Event::RolledBack { publication, reason: reason.to_owned() }]),
        }
    }

    fn edition(&self, publication: PublicationId) -> Result<&Edition, Error> {
        let mut editions = self.editions.iter();
        editions.find(|edition| edition.published.publication == publication).ok_or(Error::PublicationEnded)
    }

    /// Takes a publication in: its first stage begins.
    pub(super) fn take_in_published(&mut self, published: &Published, seq: Seq, at: Instant) {
        if EDITIONS_MAX <= self.editions.len()
            && let Some(oldest) = self.editions.iter().position(|edition| !edition.is_under_way())
        {
            self.editions.remove(oldest);
        }
        let (published, started) = (published.clone(), vec![]);
        self.editions.push(Edition { published, started, progress: Progress::UnderWay, seq });
        self.begin_stage(self.editions.len() - 1, at);
    }

    /// Takes in that a stage of a publication has begun.
    pub(super) fn take_in_advanced(&mut self, publication: PublicationId, at: Instant) {
        let is_it = |edition: &Edition| edition.published.publication == publication;
        if let Some(position) = self.editions.iter().position(is_it) {
            self.begin_stage(position, at);
        }
    }

    fn begin_stage(&mut self, position: usize, at: Instant) {
        self.editions[position].started.push(at);
        let edition = &self.editions[position];
        if edition.stage() < edition.stages() {
            return;
        }
        let fields = edition.published.fields.clone();
        let mut before = Vec::with_capacity(fields.len());
        for (field, value) in fields {
            before.push((field.clone(), value_of(&self.details, &field)));
            put(&mut self.details, &field, Some(value));
        }
        self.editions[position].progress = Progress::Everywhere(at, before);
    }

    /// What these fields held before publications does not come back any more: they were changed at once.
    pub(super) fn forget_before<'a>(&mut self, fields: impl Iterator<Item = &'a str> + Clone) {
        for edition in &mut self.editions {
            if let Progress::Everywhere(_, before) = &mut edition.progress {
                before.retain(|(field, _)| !fields.clone().any(|changed| changed == field));
            }
        }
    }

    /// Takes in that a publication was taken back.
    pub(super) fn take_in_rolled_back(&mut self, publication: PublicationId, at: Instant) {
        let is_it = |edition: &Edition| edition.published.publication == publication;
        let Some(position) = self.editions.iter().position(is_it) else { return };
        let progress = std::mem::replace(&mut self.editions[position].progress, Progress::RolledBack(at));
        let Progress::Everywhere(_, before) = progress else { return };
        for (field, value) in before {
            // What a later publication replaced comes back when that one is taken back.
            let later =
                self.editions[position + 1..].iter_mut().find_map(|later| match &mut later.progress {
                    Progress::Everywhere(_, before) => before.iter_mut().find(|(known, _)| *known == field),
                    _ => None,
                });
            match later {
                Some((_, replaced)) => *replaced = value,
                None => put(&mut self.details, &field, Some(value)),
            }
        }
    }

    /// The fields of a publication that is remembered.
    pub(super) fn published_fields(&self, publication: PublicationId) -> BTreeSet<&'static str> {
        let edition = self.editions.iter().find(|edition| edition.published.publication == publication);
        let has = |field: &&str| edition.is_some_and(|edition| edition.value(field).is_some());
        PUBLISHED_FIELDS.into_iter().filter(has).collect()
    }

    /// The product as everybody would have it once a publication has reached all.
    pub(crate) fn when_published(&self, change: &DetailsChange) -> Product {
        let mut product = self.clone();
        product.details.take_in(change);
        product
    }
}
