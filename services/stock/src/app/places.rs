//! Locations that postings name, remembered for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ids::{BusinessId, LocationId, TenantId};
use rpc::{Clock, Ctx, Remembered};

use crate::domain::location::Location;

/// How long a location is used again, if another process changes it: as long as the settings of a business.
const TTL_MS: u64 = 5_000;
/// Locations that are remembered.
const PLACES_MAX: usize = 10_000;

/// The locations, and how often this process changed one.
pub(crate) struct Places {
    /// With the number of changes before it was read: it may be older than a later one.
    known: Remembered<(TenantId, BusinessId, LocationId), (u64, Arc<Location>)>,
    changes: AtomicU64,
}

/// A location is being changed; what was read before its end is not used after it.
pub(crate) struct Change<'a>(&'a Places);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Places {
    pub(crate) fn new(clock: Clock) -> Self {
        Places { known: Remembered::new(PLACES_MAX, TTL_MS, clock), changes: AtomicU64::new(0) }
    }

    /// To be asked before a location is read that will be remembered.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// To be held while a location is changed.
    pub(crate) fn change(&self) -> Change<'_> {
        Change(self)
    }

    pub(crate) fn get(&self, ctx: &Ctx, id: LocationId) -> Option<Arc<Location>> {
        let (changes, location) = self.known.get(&(ctx.tenant, ctx.business, id))?;
        (changes == self.changes()).then_some(location)
    }

    /// Remembers a location of the caller's business that was read after so many changes.
    pub(crate) fn remember(&self, ctx: &Ctx, location: &Arc<Location>, changes: u64) {
        self.known.insert((ctx.tenant, ctx.business, location.id), (changes, Arc::clone(location)));
    }
}

#[cfg(test)]
mod tests {
    use rpc::{Actor, ActorKind, Permissions, Principal};

    use super::*;
    use crate::domain::kind::Virtual;

    #[test]
    fn what_was_read_before_a_change_is_not_used_after_it() {
        let (tenant, business) = (TenantId::from_bytes([1; 16]), BusinessId::from_bytes([2; 16]));
        let ctx = |business| {
            let (actor, permissions) = (Actor::new(ActorKind::User, "usr_1"), Permissions::default());
            let path = Arc::from([business]);
            Ctx::internal(Principal { tenant, business, path, actor, permissions, secret: [0; 32] })
        };
        let (own, other) = (ctx(business), ctx(BusinessId::from_bytes([3; 16])));
        let location = Arc::new(Location::of_virtual(tenant, business, Virtual::Loss));
        let places = Places::new(Arc::new(|| 1_000));
        let known = |ctx: &Ctx| places.get(ctx, location.id).is_some();

        places.remember(&own, &location, places.changes());
        assert_eq!((known(&own), known(&other)), (true, false));
        let (read, change) = (places.changes(), places.change());
        assert!(known(&own), "nothing is changed yet");
        drop(change);
        assert!(!known(&own));
        places.remember(&own, &location, read); // it was read while the change was under way
        assert!(!known(&own));
        places.remember(&own, &location, places.changes());
        assert!(known(&own));
    }
}
