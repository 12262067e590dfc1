//! A business: a node of the tenant's tree.

use calendar::Instant;
use ids::BusinessId;
use money::Currency;

use crate::Error;
use crate::domain::Status;

/// How issues are valued.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Costing {
    /// At the average cost of what is there.
    MovingAverage,
    /// At the cost of what came first.
    Fifo,
}

/// A business of a tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Business {
    /// Its id.
    pub id: BusinessId,
    /// From the master business down to this one, both included, as the tree says when it was read; in stored
    /// rows the business alone. Never empty.
    pub path: Vec<BusinessId>,
    /// The name on documents.
    pub legal_name: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Currency of costs and stock values.
    pub base_currency: Currency,
    /// Decimal places of stock values, from the minor unit of the currency to 6.
    pub cost_scale: u8,
    /// How items without a movement yet will be valued.
    pub costing: Costing,
    /// How many days back a movement may be dated behind another of the same place.
    pub backdate_window_days: u32,
    /// Position of its last entry.
    pub revision: u64,
    /// When it was made.
    pub created_at: Instant,
    /// When it last changed.
    pub updated_at: Instant,
}

/// A business and its place in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The business, with its path of today.
    pub business: Business,
    /// What it may do by itself.
    pub status: Status,
    /// How often place or status changed.
    pub changes: u64,
}

impl Placed {
    /// Grows with every change of the business, of its place and of its status.
    pub fn revision(&self) -> u64 {
        self.business.revision + self.changes
    }
}

/// A business to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewBusiness {
    /// See [`Business::id`].
    pub id: BusinessId,
    /// From the master business down to the parent; empty for the master itself.
    pub parents: Vec<BusinessId>,
    /// See [`Business::legal_name`].
    pub legal_name: String,
    /// See [`Business::country`].
    pub country: String,
    /// See [`Business::base_currency`].
    pub base_currency: Currency,
    /// See [`Business::cost_scale`].
    pub cost_scale: u8,
    /// See [`Business::costing`].
    pub costing: Costing,
}

/// What changes; absent fields stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BusinessUpdate {
    /// The revision that the caller has seen; `None` is any.
    pub expected: Option<u64>,
    /// See [`Business::legal_name`].
    pub legal_name: Option<String>,
    /// See [`Business::costing`].
    pub costing: Option<Costing>,
    /// See [`Business::backdate_window_days`].
    pub backdate_window_days: Option<u32>,
}

impl Business {
    /// Longest legal name, in characters.
    pub const NAME_CHARS_MAX: usize = 200;
    /// Finest stock values.
    pub const COST_SCALE_MAX: u8 = 6;
    /// Widest window for dating back: ten years.
    pub const BACKDATE_WINDOW_DAYS_MAX: u32 = 3650;
    const BACKDATE_WINDOW_DAYS_DEFAULT: u32 = 30;

    /// The business as it is right after it was made.
    pub fn new(new: NewBusiness, now: Instant) -> Business {
        let mut path = new.parents;
        path.push(new.id);
        Business {
            id: new.id,
            path,
            legal_name: new.legal_name,
            country: new.country,
            base_currency: new.base_currency,
            cost_scale: new.cost_scale,
            costing: new.costing,
            backdate_window_days: Business::BACKDATE_WINDOW_DAYS_DEFAULT,
            revision: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// The business above; `None` for the master.
    pub fn parent(&self) -> Option<BusinessId> {
        self.path.iter().rev().nth(1).copied()
    }

    /// Whether it is `ancestor` or lies below it: what a caller who works in `ancestor` may see.
    pub fn is_within(&self, ancestor: BusinessId) -> bool {
        self.path.contains(&ancestor)
    }

    /// Decides what an update really changes; `None` if nothing.
    ///
    /// # Errors
    /// [`Error::StaleRevision`] when the caller has seen another revision.
    pub fn update(&self, update: &BusinessUpdate) -> Result<Option<BusinessUpdate>, Error> {
        if update.expected.is_some_and(|seen| seen != self.revision) {
            return Err(Error::StaleRevision { what: "business", current: self.revision });
        }
        let changed = BusinessUpdate {
            expected: None,
            legal_name: update.legal_name.clone().filter(|name| *name != self.legal_name),
            costing: update.costing.filter(|costing| *costing != self.costing),
            backdate_window_days: update
                .backdate_window_days
                .filter(|days| *days != self.backdate_window_days),
        };
        Ok((changed != BusinessUpdate::default()).then_some(changed))
    }

    /// The business after a change.
    pub fn apply(&mut self, changed: &BusinessUpdate, seq: u64, recorded_at: Instant) {
        if let Some(name) = &changed.legal_name {
            self.legal_name.clone_from(name);
        }
        self.costing = changed.costing.unwrap_or(self.costing);
        self.backdate_window_days = changed.backdate_window_days.unwrap_or(self.backdate_window_days);
        self.revision = seq;
        self.updated_at = recorded_at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> Business {
        Business::new(
            NewBusiness {
                id: BusinessId::from_bytes([1; 16]),
                parents: vec![],
                legal_name: "Acme GmbH".to_owned(),
                country: "DE".to_owned(),
                base_currency: Currency::parse("EUR").unwrap(),
                cost_scale: 2,
                costing: Costing::MovingAverage,
            },
            Instant::from_unix_micros(0),
        )
    }

    #[test]
    fn an_update_changes_what_is_named_and_nothing_else() {
        let mut business = master();
        let update = BusinessUpdate {
            expected: Some(1),
            legal_name: Some("Acme GmbH".to_owned()),
            backdate_window_days: Some(7),
            ..BusinessUpdate::default()
        };
        let changed = business.update(&update).unwrap().unwrap();
        assert_eq!(changed, BusinessUpdate { backdate_window_days: Some(7), ..BusinessUpdate::default() });

        let later = Instant::from_unix_micros(5);
        business.apply(&changed, 2, later);
        assert_eq!(
            business,
            Business { backdate_window_days: 7, revision: 2, updated_at: later, ..master() }
        );
        assert_eq!(business.update(&BusinessUpdate { expected: Some(2), ..update }), Ok(None));
    }

    /// API-12: a stale revision fails with the current one.
    #[test]
    fn another_revision_than_the_current_one_is_refused() {
        let update = BusinessUpdate { expected: Some(7), ..BusinessUpdate::default() };
        assert_eq!(master().update(&update), Err(Error::StaleRevision { what: "business", current: 1 }));
        assert_eq!(master().update(&BusinessUpdate { expected: None, ..update }), Ok(None));
    }

    #[test]
    fn a_business_lies_within_itself_and_all_above_it() {
        let [top, middle, bottom, sister] = [1, 2, 3, 4].map(|byte| BusinessId::from_bytes([byte; 16]));
        let business = Business { id: bottom, path: vec![top, middle, bottom], ..master() };
        assert!([top, middle, bottom].into_iter().all(|ancestor| business.is_within(ancestor)));
        assert!(!business.is_within(sister));
        assert_eq!(business.parent(), Some(middle));
        assert_eq!(master().parent(), None);
    }
}
