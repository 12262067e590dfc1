//! Places in service for requests of known tenants: taken at once, waited for, or refused.

use std::time::Duration;

use ids::TenantId;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::fair::{Fair, Limits};
use crate::{Config, Error};

/// Refusals are told in the log at most this often.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Who shares places with whom: a tenant, or all that need no credential together.
type Who = Option<TenantId>;

/// All places, with the queues for them. Without contention a request costs two short locks.
pub(crate) struct Places {
    wait_max: Duration,
    state: Mutex<State>,
}

struct State {
    fair: Fair<Who, oneshot::Sender<()>>,
    /// Requests that were refused, since the start and since the log was told.
    shed: u64,
    shed_untold: u64,
    told_at: Option<Instant>,
}

/// A request in service, until it is dropped.
pub(crate) struct Place<'a> {
    places: &'a Places,
    who: Who,
}

impl Places {
    pub(crate) fn new(config: &Config) -> Self {
        let serving_max = config.serving_max.max(1);
        let limits = Limits {
            serving_max,
            spare_max: serving_max,
            waiting_per_tenant_max: config.waiting_per_tenant_max,
            waiting_max: config.waiting_max,
        };
        let state = State { fair: Fair::new(limits), shed: 0, shed_untold: 0, told_at: None };
        Places { wait_max: Duration::from_millis(config.waiting_max_ms), state: Mutex::new(state) }
    }

    /// Requests in service and requests that wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.fair.serving(), state.fair.waiting())
    }

    /// Requests that were refused since the start.
    pub(crate) fn shed(&self) -> u64 {
        self.state.lock().shed
    }

    /// Waits for a place, in turn with other tenants and in order of arrival inside the tenant.
    ///
    /// # Errors
    /// [`Error::Shed`] when too many of this tenant wait already, and for a request that waited too long or lost
    /// its place because too many of all tenants wait.
    pub(crate) async fn take(&self, who: Who) -> Result<Place<'_>, Error> {
        let mut waiter = {
            let mut state = self.state.lock();
            if state.fair.enter(who) {
                return Ok(Place { places: self, who });
            }
            let (wake, woken) = oneshot::channel();
            let Some(queued) = state.fair.wait(who, wake) else {
                state.tell(who);
                return Err(Error::Shed);
            };
            // Whom this wakes tells of it.
            drop(queued.shed);
            Waiter { places: self, who, ticket: queued.ticket, woken: Some(woken) }
        };
        match tokio::time::timeout(self.wait_max, waiter.woken()).await {
            Ok(true) => Ok(Place { places: self, who }),
            Ok(false) | Err(_) => {
                drop(waiter);
                self.state.lock().tell(who);
                Err(Error::Shed)
            }
        }
    }
}

impl State {
    fn leave(&mut self, who: Who) {
        // Who has gone meanwhile gives the place back as it goes, under this lock.
        self.fair.leave(who, |waiter| _ = waiter.send(()));
    }

    /// Counts a refused request, and says so in the log unless it was said a moment ago.
    fn tell(&mut self, who: Who) {
        telemetry::http::shed_from_queue();
        self.shed += 1;
        self.shed_untold += 1;
        let now = Instant::now();
        if self.told_at.is_some_and(|at| now.saturating_duration_since(at) < TOLD_EVERY) {
            return;
        }
        let tenant = who.map_or_else(|| "none".to_owned(), |tenant| tenant.to_string());
        let (count, total) = (self.shed_untold, self.shed);
        let (serving, waiting) = (self.fair.serving(), self.fair.waiting());
        tracing::warn!(
            tenant.id = tenant,
            shed = count,
            shed_total = total,
            serving,
            waiting,
            "overload: {count} requests were refused, the last one of this tenant"
        );
        (self.shed_untold, self.told_at) = (0, Some(now));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.state.lock().leave(self.who);
    }
}

/// A request in a queue. Dropped there, it leaves the queue, or gives the place back that it has just got.
struct Waiter<'a> {
    places: &'a Places,
    who: Who,
    ticket: u64,
    /// `None` as soon as it has been answered.
    woken: Option<oneshot::Receiver<()>>,
}

impl Waiter<'_> {
    /// `true`: it has a place, which is the caller's now. `false`: it was shed.
    async fn woken(&mut self) -> bool {
        let Some(woken) = &mut self.woken else { return false };
        let has_place = woken.await.is_ok();
        self.woken = None;
        has_place
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let Some(mut woken) = self.woken.take() else { return };
        let mut state = self.places.state.lock();
        if !state.fair.forget(self.who, self.ticket) && woken.try_recv().is_ok() {
            state.leave(self.who);
        }
    }
}
