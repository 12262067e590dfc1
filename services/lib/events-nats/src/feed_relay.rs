//! From a store that one process owns to the bus: its feed says which aggregates changed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use events::{Heard, Source};
use futures::future::{Either, select, try_join_all};
use journal::StoreError;
use tracing::{info, warn};

use crate::Publisher;
use crate::announcement::{Announcement, Says};

/// Groups of the feed that are told of at once.
const PAGE: usize = 256;
/// Groups of the feed that may wait for a bus that is away. The feed is kept for them; when there are more it is
/// forgotten, and everybody compares all heads.
pub const BEHIND_MAX: u64 = 4_000_000;
/// Pauses after a failure.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Relays one feed. Its position needs no store: each message says up to where the feed was on the bus before it, so
/// the last message knows. A bus that was wiped does not, and then everybody is told to compare all heads.
pub struct FeedRelay {
    feed: Arc<dyn Source>,
    to: Arc<Publisher>,
    behind_max: u64,
    place: tokio::sync::Mutex<Place>,
}

/// Where the feed is.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Everything up to here is on the bus; none if nobody knows.
    at: Option<u64>,
    /// The last message was looked at.
    looked: bool,
    /// What the messages of the last page said of it.
    said: u64,
}

impl FeedRelay {
    /// Relays what `feed` says, which has a place of its own among the listeners of the store, to `to`.
    #[must_use]
    pub fn new(feed: Arc<dyn Source>, to: Arc<Publisher>) -> FeedRelay {
        FeedRelay { feed, to, behind_max: BEHIND_MAX, place: tokio::sync::Mutex::default() }
    }

    /// The same with another limit than [`BEHIND_MAX`].
    #[must_use]
    pub fn behind_max(self, groups: u64) -> FeedRelay {
        FeedRelay { behind_max: groups, ..self }
    }

    /// Relays until `stop` ends; survives every failure of the store and of the bus.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let work = pin!(self.work());
        let stop = pin!(stop);
        if let Either::Left((never, _)) = select(work, stop).await {
            match never {}
        }
    }

    async fn work(&self) -> std::convert::Infallible {
        let mut pause = PAUSE_MIN;
        loop {
            match self.step().await {
                Ok(more) => {
                    if pause > PAUSE_MIN {
                        info!(source = %self.feed.name(), "relaying again");
                    }
                    pause = PAUSE_MIN;
                    if !more {
                        let at = self.place.lock().await.at.unwrap_or(0);
                        self.feed.moved(at).await;
                    }
                }
                Err(error) => {
                    if pause == PAUSE_MIN {
                        warn!(source = %self.feed.name(), "entries wait to be relayed: {error}");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Relays one page of the feed. False if there was nothing to relay.
    ///
    /// # Errors
    /// When the store or the bus does not answer; the step can be repeated.
    pub async fn step(&self) -> Result<bool, StoreError> {
        let mut place = self.place.lock().await;
        if !place.looked {
            // Also while the bus is away the feed must not grow for ever.
            match self.to.last().await {
                Ok(last) => {
                    let at = last.map(|last| last.feed).filter(|at| *at > 0);
                    *place = Place { at, looked: true, said: at.unwrap_or(0) };
                }
                Err(error) => {
                    let heard = self.feed.hear(0, 1).await?;
                    if heard.last.saturating_sub(heard.forgotten) > self.behind_max {
                        self.feed.handled(heard.last).await?;
                    }
                    return Err(error.into());
                }
            }
        }
        let heard = self.feed.hear(place.at.unwrap_or(0), PAGE).await?;
        let at = match place.at {
            Some(at) if heard.forgotten <= at && at <= heard.last => at,
            // Nobody knows what was told of: everybody looks. What is written after `last` is told of.
            _ => {
                self.to.say(&Announcement { says: Says::Compare, feed: heard.last }).await?;
                info!(source = %self.feed.name(), "consumers are told to compare all heads");
                *place = Place { at: Some(heard.last), said: heard.last, ..*place };
                self.feed.handled(heard.last).await?;
                return Ok(true);
            }
        };
        if heard.changes.is_empty() {
            place.at = Some(heard.upto);
            return Ok(heard.upto != at);
        }
        if let Err(error) = self.tell(&heard, at).await {
            if heard.last - at > self.behind_max {
                warn!(source = %self.feed.name(), "the bus is away for too long: its feed is forgotten");
                place.at = None;
                self.feed.handled(heard.last).await?;
            }
            return Err(error);
        }
        // The last message knows of nothing behind what it was told: this page is repeated after a restart.
        let said = std::mem::replace(&mut place.said, at);
        place.at = Some(heard.upto);
        self.feed.handled(said).await?;
        Ok(true)
    }

    /// Says what changed, all at once: the bus has as many under way as it may.
    async fn tell(&self, heard: &Heard, at: u64) -> Result<(), StoreError> {
        let mut last = std::collections::BTreeMap::new();
        for change in &heard.changes {
            let known = last.entry((change.tenant, change.aggregate)).or_insert(*change);
            known.seq = known.seq.max(change.seq);
        }
        let announcements: Vec<_> =
            last.into_values().map(|change| Announcement { says: Says::Changed(change), feed: at }).collect();
        try_join_all(announcements.iter().map(|announcement| self.to.say(announcement))).await?;
        Ok(())
    }
}
