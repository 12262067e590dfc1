//! One process of a role: its connection, which heals itself, and its calls under way.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::uri::Authority;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::choose::{Candidate, identity};
use crate::connect::{Connection, Connector, Sender};
use crate::dice::Dice;

/// How long a process is set aside after it could not be reached, the first time and at most.
const ASIDE_FIRST: Duration = Duration::from_millis(100);
const ASIDE_MAX: Duration = Duration::from_secs(5);
/// A connection that ends sooner counts as one that was not made.
const LIVED: Duration = Duration::from_secs(1);

/// What the endpoints of a role have in common.
pub(crate) struct Around {
    pub(crate) role: Arc<str>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) dice: Arc<Dice>,
    /// A connection was made, lost, or could not be made.
    pub(crate) changed: tokio::sync::Notify,
    /// A connection was lost: names may lead elsewhere now.
    pub(crate) lost: tokio::sync::Notify,
}

/// One process of a role.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// The name or address that its certificate must carry.
    pub(crate) host: String,
    pub(crate) authority: Authority,
    pub(crate) identity: u64,
    pub(crate) in_flight: AtomicUsize,
    link: Mutex<Link>,
}

struct Link {
    state: State,
    /// Connections in a row that were not made, or ended at once.
    failures: u32,
    why: Option<Arc<str>>,
    /// Counts connections, so that the end of one is not taken for the end of the next.
    made: u64,
}

enum State {
    /// Nobody needed a connection yet, or the last one ended.
    Idle,
    /// With until when it was set aside, if that is not over.
    Connecting(Connecting, Option<Instant>),
    Up(Sender),
    /// It could not be reached, and is not asked before then unless there is nobody else.
    Aside(Instant),
    /// No longer a process of the role.
    Retired,
}

type Connecting = Shared<BoxFuture<'static, Result<Sender, Arc<str>>>>;

/// How good a choice a process is; the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Rank {
    /// Connected.
    Up,
    /// Nothing is known against it.
    Fresh,
    /// It could not be reached a moment ago.
    Aside,
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr, host: String) -> Self {
        let link = Link { state: State::Idle, failures: 0, why: None, made: 0 };
        let named = || format!("{host}:{}", address.port()).parse().ok();
        let numbers = || address.to_string().parse().expect("an address and a port are an authority");
        Endpoint {
            address,
            authority: host.parse::<IpAddr>().map_or_else(|_| named(), |_| None).unwrap_or_else(numbers),
            host,
            identity: identity(&address.to_string()),
            in_flight: AtomicUsize::new(0),
            link: Mutex::new(link),
        }
    }

    /// How good a choice it is; `None` when it is none any more.
    pub(crate) fn rank(&self) -> Option<Rank> {
        match &self.link.lock().state {
            State::Up(sender) if !sender.is_closed() => Some(Rank::Up),
            State::Up(_) | State::Idle | State::Connecting(_, None) => Some(Rank::Fresh),
            State::Aside(_) | State::Connecting(_, Some(_)) => Some(Rank::Aside),
            State::Retired => None,
        }
    }

    /// Why it could not be reached, if that is how it is.
    pub(crate) fn why(&self) -> Option<Arc<str>> {
        self.link.lock().why.clone()
    }

    pub(crate) fn candidate(&self) -> Candidate {
        Candidate { identity: self.identity, in_flight: self.in_flight.load(Ordering::Relaxed) }
    }

    /// Its connection, made if there is none.
    ///
    /// # Errors
    /// Why there is no connection, in words.
    pub(crate) async fn sender(self: &Arc<Self>, around: &Arc<Around>) -> Result<Sender, Arc<str>> {
        let connecting = {
            let mut link = self.link.lock();
            match &link.state {
                State::Up(sender) if !sender.is_closed() => return Ok(sender.clone()),
                State::Connecting(connecting, _) => connecting.clone(),
                State::Retired => return Err(Arc::from("it is no longer one of the addresses")),
                State::Up(_) | State::Idle | State::Aside(_) => self.connect(&mut link, around),
            }
        };
        connecting.await
    }

    /// Makes the connection that is missing, unless it is not time yet; answers when to look again.
    pub(crate) fn tend(self: &Arc<Self>, around: &Arc<Around>) -> Option<Instant> {
        let mut link = self.link.lock();
        match &link.state {
            State::Aside(until) if Instant::now() < *until => return Some(*until),
            State::Idle | State::Aside(_) => drop(self.connect(&mut link, around)),
            State::Up(_) | State::Connecting(..) | State::Retired => {}
        }
        None
    }

    /// Gets no more calls; those under way may end.
    pub(crate) fn retire(&self) {
        self.link.lock().state = State::Retired;
    }

    /// In a task of its own: whoever wanted it may give up, and others wait for it too.
    fn connect(self: &Arc<Self>, link: &mut Link, around: &Arc<Around>) -> Connecting {
        let (endpoint, around) = (Arc::clone(self), Arc::clone(around));
        let task = tokio::spawn(async move {
            let connected = around.connector.connect(endpoint.address, &endpoint.host).await;
            endpoint.settle(connected, &around)
        });
        let connecting = task.map(|settled| settled.unwrap_or_else(|error| Err(error.to_string().into())));
        let connecting = connecting.boxed().shared();
        let aside = match link.state {
            State::Aside(until) if Instant::now() < until => Some(until),
            _ => None,
        };
        link.state = State::Connecting(connecting.clone(), aside);
        connecting
    }

    fn settle(
        self: &Arc<Self>,
        connected: Result<Connection, String>,
        around: &Arc<Around>,
    ) -> Result<Sender, Arc<str>> {
        let mut link = self.link.lock();
        if let State::Retired = link.state {
            return Err(Arc::from("it is no longer one of the addresses"));
        }
        around.changed.notify_one();
        match connected {
            Ok(Connection { sender, closed }) => {
                if link.why.take().is_some() {
                    tracing::info!("{} answers again at {}", around.role, self.address);
                }
                link.made += 1;
                link.state = State::Up(sender.clone());
                let (endpoint, around, made, since) =
                    (Arc::clone(self), Arc::clone(around), link.made, Instant::now());
                tokio::spawn(async move {
                    closed.await;
                    endpoint.ended(made, since.elapsed(), &around);
                });
                Ok(sender)
            }
            Err(why) => {
                let why = Arc::<str>::from(why);
                self.set_aside(&mut link, Arc::clone(&why), around);
                Err(why)
            }
        }
    }

    /// A connection takes no more requests.
    fn ended(&self, made: u64, lived: Duration, around: &Around) {
        let mut link = self.link.lock();
        if !matches!(link.state, State::Up(_)) || link.made != made {
            return;
        }
        if lived < LIVED {
            // One that takes connections and drops them would be asked again and again.
            self.set_aside(&mut link, Arc::from("the connection ended at once"), around);
        } else {
            link.failures = 0;
            link.state = State::Idle;
        }
        around.changed.notify_one();
        around.lost.notify_one();
    }

    fn set_aside(&self, link: &mut Link, why: Arc<str>, around: &Around) {
        let until = match link.state {
            // A call that had nobody else asked it too early: that says nothing new.
            State::Connecting(_, Some(until)) => until,
            _ => {
                let pause = pause(link.failures, around.dice.roll());
                link.failures = link.failures.saturating_add(1);
                Instant::now() + pause
            }
        };
        link.state = State::Aside(until);
        // Once for each time that it goes away or fails in another way, not for each time that it is asked.
        if link.why.as_ref() != Some(&why) {
            tracing::warn!("{} does not answer at {}: {why}", around.role, self.address);
        }
        link.why = Some(why);
    }
}

/// How long a process is set aside after so many failures before this one: twice as long each time, more or less by a
/// fifth, so that not all ask it at the same moment.
fn pause(failures: u32, random: u64) -> Duration {
    let pause = ASIDE_FIRST.saturating_mul(1 << failures.min(16)).min(ASIDE_MAX);
    let percent = u32::try_from(80 + random % 41).unwrap_or(100);
    pause * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn pauses_grow_to_a_limit_and_differ() {
        let check = |failures, random, ms| assert_eq!(pause(failures, random), Duration::from_millis(ms));
        check(0,        20, 100);
        check(0,        0,  80);
        check(0,        40, 120);
        check(1,        20, 200);
        check(5,        20, 3_200);
        check(6,        20, 5_000);
        check(u32::MAX, 20, 5_000);
        check(u32::MAX, 40, 6_000);
    }
}
