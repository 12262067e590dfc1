//! Locations: where stock is, and what may happen there.

use calendar::Instant;
use ids::{AggregateId, BusinessId, LocationId, RandomPart, TenantId};

use crate::domain::kind::Virtual;
use crate::error::Error;

/// What a location is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Usage {
    /// Stock of the business, for use.
    #[default]
    Internal,
    /// Stock on its way between two locations.
    Transit,
    /// Stock that waits for a decision.
    Quarantine,
    /// The other leg of a posting: not a place.
    Virtual(Virtual),
}

/// Whether more can leave than is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NegativePolicy {
    /// No.
    #[default]
    Forbid,
    /// Yes, at the last cost, settled when goods arrive.
    Allow,
}

/// Whether goods may come and go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Status {
    /// Both.
    #[default]
    Active,
    /// Only go.
    BlockedIn,
    /// Only come.
    BlockedOut,
    /// Neither.
    Closed,
}

/// A location of a business.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// Its id.
    pub id: LocationId,
    /// Whose.
    pub business: BusinessId,
    /// Unique in the business.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// The location that it is a part of.
    pub parent: Option<LocationId>,
    /// What it is for.
    pub usage: Usage,
    /// Whether more can leave than is there.
    pub negative: NegativePolicy,
    /// Whether goods may come and go.
    pub status: Status,
    /// When it was made.
    pub created_at: Instant,
    /// When it was changed last.
    pub updated_at: Instant,
}

/// What can be changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// New name.
    pub name: Option<String>,
    /// New policy.
    pub negative: Option<NegativePolicy>,
    /// New status.
    pub status: Option<Status>,
}

/// What happened to a location.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// It was made.
    Created(Location),
    /// It was changed.
    Changed(Change),
}

/// What callers ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Make it.
    Create(Location),
    /// Change it, if its revision is still the expected one.
    Change {
        /// What to change.
        change: Change,
        /// The revision that the caller saw.
        expected: Option<u64>,
    },
}

/// The aggregate: `None` before it is made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The location.
    pub location: Option<Location>,
    /// Its revision.
    pub revision: u64,
}

impl Place {
    /// Decides what happens.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::StaleRevision`].
    pub fn decide(&self, command: &Command) -> Result<Vec<Event>, Error> {
        match (command, &self.location) {
            (Command::Create(location), None) => Ok(vec![Event::Created(location.clone())]),
            (Command::Create(_), Some(_)) => Ok(vec![]),
            (Command::Change { .. }, None) => Err(Error::NotFound),
            (Command::Change { change, expected }, Some(location)) => {
                if expected.is_some_and(|expected| expected != self.revision) {
                    return Err(Error::StaleRevision { current: self.revision });
                }
                let mut changed = location.clone();
                changed.apply(change);
                if changed == *location { Ok(vec![]) } else { Ok(vec![Event::Changed(change.clone())]) }
            }
        }
    }

    /// Applies an event.
    pub fn evolve(&mut self, event: &Event, revision: u64, recorded_at: Instant) {
        self.revision = revision;
        match event {
            Event::Created(location) => {
                let times = Location { created_at: recorded_at, updated_at: recorded_at, ..location.clone() };
                self.location = Some(times);
            }
            Event::Changed(change) => {
                if let Some(location) = &mut self.location {
                    location.apply(change);
                    location.updated_at = recorded_at;
                }
            }
        }
    }
}

impl Location {
    fn apply(&mut self, change: &Change) {
        if let Some(name) = &change.name {
            self.name.clone_from(name);
        }
        self.negative = change.negative.unwrap_or(self.negative);
        self.status = change.status.unwrap_or(self.status);
    }

    /// Whether stock can be there.
    #[must_use]
    pub fn is_real(&self) -> bool {
        !matches!(self.usage, Usage::Virtual(_))
    }

    /// The location that takes the other leg of postings of a business. It always exists; its id follows
    /// from the business.
    #[must_use]
    pub fn of_virtual(tenant: TenantId, business: BusinessId, which: Virtual) -> Location {
        let epoch = Instant::from_unix_micros(0);
        Location {
            id: virtual_id(tenant, business, which),
            business,
            code: which.name().to_uppercase(),
            name: which.name().to_owned(),
            parent: None,
            usage: Usage::Virtual(which),
            negative: NegativePolicy::Allow,
            status: Status::Active,
            created_at: epoch,
            updated_at: epoch,
        }
    }
}

/// Id of the virtual location of a business: the same every time.
#[must_use]
pub fn virtual_id(tenant: TenantId, business: BusinessId, which: Virtual) -> LocationId {
    let hash = AggregateId::derive(&[
        b"virtual-location",
        tenant.as_bytes(),
        business.as_bytes(),
        which.name().as_bytes(),
    ]);
    let mut part = [0; 9];
    part.copy_from_slice(&hash.as_bytes()[..9]);
    LocationId::derived(0, RandomPart(part).masked(), 0)
}
