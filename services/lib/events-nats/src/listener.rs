//! What a consumer hears from: its durable consumer on the bus, and the journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Message};
use events::{Bus, Envelope, Heard, ReadJournal};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use ids::{AggregateId, TenantId};
use journal::feed::Change;
use journal::store::{Found, Head};
use journal::{Seq, StoreError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use crate::announcement::{Announcement, Says};
use crate::bus::ANSWER;
use crate::session::{Missed, Session};
use crate::stream::Names;
use crate::{Error, NatsBus};

/// How long one pull waits for a message.
const PULL: Duration = Duration::from_secs(10);
/// How often it is looked whether the stream still is what it was.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same after nobody could say.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How soon all heads are compared because of a message that is none of ours.
const STRANGE: Duration = Duration::from_secs(60);
/// Pause before a bus that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// A position behind which nobody stands: whoever is told that everything up to it is forgotten compares all heads.
const EVERYTHING: u64 = u64::MAX;

type Reading<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// One service, as one consumer hears and reads it. Positions are those of the stream.
///
/// It hears from a durable consumer on the server, acknowledges what was handled, and says that everything is forgotten
/// when it cannot be sure that it heard all. What is redelivered or comes twice does no harm: cursors decide.
pub struct Listener {
    bus: Arc<NatsBus>,
    names: Names,
    durable: String,
    journal: Arc<dyn ReadJournal>,
    session: tokio::sync::Mutex<Known>,
    state: Mutex<State>,
    handled: Notify,
}

/// What is known of the server.
#[derive(Default)]
struct Known {
    session: Option<Session>,
    /// Over which connection somebody looked last.
    connection: u64,
    /// When to look again; none if something went wrong.
    look_at: Option<Instant>,
}

struct State {
    /// What was delivered and is not acknowledged, by position.
    held: BTreeMap<u64, Held>,
    /// When all heads are to be compared.
    compare_at: Instant,
    /// The consumer was told to compare all heads.
    comparing: bool,
}

struct Held {
    change: Option<Change>,
    acker: Acker,
    /// The consumer was told of it.
    told: bool,
}

impl Listener {
    pub(crate) fn new(
        bus: Arc<NatsBus>,
        names: Names,
        durable: String,
        journal: Arc<dyn ReadJournal>,
    ) -> Listener {
        let compare_at = Instant::now() + bus.config.compare_every;
        let state = State { held: BTreeMap::new(), compare_at, comparing: false };
        let (session, handled) = Default::default();
        Listener { bus, names, durable, journal, session, state: Mutex::new(state), handled }
    }

    /// The consumer on the server, and the last position that was seen on its stream.
    async fn session(&self, after: u64) -> Result<(PullConsumer, u64), Error> {
        self.bus.answers()?;
        let mut known = self.session.lock().await;
        let connection = self.bus.connections();
        let good = known.connection == connection && known.look_at.is_some_and(|at| Instant::now() < at);
        if let (true, Some(session)) = (good, &known.session) {
            return Ok((session.consumer.clone(), session.last));
        }
        known.connection = connection;
        let before = known.session.as_ref();
        let opened = Session::open(&self.bus, &self.names, &self.durable, before, after).await;
        let (session, missed) = match (opened, before) {
            (Ok(opened), _) => opened,
            // Servers that look for a leader of their own do not say how a stream is, and deliver from it all the same.
            (Err(Error::Unavailable(_)), Some(before)) => {
                let found = (before.consumer.clone(), before.last);
                known.look_at = Some(Instant::now() + LOOK_AGAIN);
                return Ok(found);
            }
            (Err(error), _) => return Err(error),
        };
        {
            let mut state = self.state.lock();
            if before.is_some_and(|before| !before.is_same(&session)) {
                // Of a stream or a consumer that is no more: nobody waits for these acknowledgements.
                state.held.clear();
            }
            if missed != Missed::Nothing {
                state.compare_at = Instant::now();
            }
        }
        let found = (session.consumer.clone(), session.last);
        *known = Known { session: Some(session), connection, look_at: Some(Instant::now() + LOOK_EVERY) };
        drop(known);
        Ok(found)
    }

    /// Sees to it that the next one who asks looks what is wrong.
    async fn doubt(&self) {
        self.session.lock().await.look_at = None;
    }

    fn take(&self, message: Message) {
        let at = match message.info() {
            Ok(info) => info.stream_sequence,
            Err(error) => {
                warn!(stream = %self.names.stream, "a message does not say where it stands: {error}");
                return;
            }
        };
        let (message, acker) = message.split();
        let announcement = Announcement::decode(&message.payload);
        let mut state = self.state.lock();
        let change = match announcement.map(|announcement| announcement.says) {
            Some(Says::Changed(change)) => Some(change),
            Some(Says::Compare) => {
                state.compare_at = Instant::now();
                None
            }
            None => {
                let soon = Instant::now() + STRANGE;
                state.compare_at = state.compare_at.min(soon);
                warn!(stream = %self.names.stream, position = at, "a message is none of ours: all heads are compared soon");
                None
            }
        };
        let told = state.held.get(&at).is_some_and(|held| held.told);
        state.held.insert(at, Held { change, acker, told });
    }

    /// Pulls what there is, at most `limit`.
    async fn pull(&self, consumer: &PullConsumer, limit: usize) -> Result<(), Error> {
        let work = async {
            let batch = consumer.fetch().max_messages(limit).messages().await;
            let mut batch = batch.map_err(Error::unavailable)?;
            while let Some(message) = batch.next().await {
                self.take(message.map_err(Error::unavailable)?);
            }
            Ok(())
        };
        let done = tokio::time::timeout(ANSWER, work).await;
        done.unwrap_or_else(|_| Err(Error::Unavailable("a pull was not answered".into())))
    }

    /// Waits for one message.
    async fn wait(&self, after: u64) -> Result<(), Error> {
        let (consumer, _) = self.session(after).await?;
        let work = async {
            let batch = consumer.batch().max_messages(1).expires(PULL).messages().await;
            let mut batch = batch.map_err(Error::unavailable)?;
            if let Some(message) = batch.next().await {
                self.take(message.map_err(Error::unavailable)?);
            }
            Ok(())
        };
        let done = tokio::time::timeout(PULL + ANSWER, work).await;
        done.unwrap_or_else(|_| Err(Error::Unavailable("a pull was not answered".into())))
    }

    async fn hear_now(&self, after: u64, limit: usize) -> Result<Heard, Error> {
        let nothing = Heard { forgotten: 0, last: after, upto: after, changes: vec![] };
        if self.bus.is_hushed() {
            self.give_back().await;
            return Ok(nothing);
        }
        let (consumer, last) = self.session(after).await?;
        let room = limit.saturating_sub(self.state.lock().held.len());
        if room > 0
            && let Err(error) = self.pull(&consumer, room).await
        {
            self.doubt().await;
            return Err(error);
        }
        if self.bus.is_hushed() {
            self.give_back().await;
            return Ok(nothing);
        }
        let mut state = self.state.lock();
        let end = state.held.keys().next_back().copied().unwrap_or(0);
        if state.compare_at <= Instant::now() {
            // Whatever is held is in the journals already.
            state.held.values_mut().for_each(|held| held.told = true);
            state.comparing = true;
            let last = last.max(end);
            return Ok(Heard { forgotten: EVERYTHING, last, upto: last, changes: vec![] });
        }
        let mut heard = nothing;
        for (at, held) in state.held.iter_mut().take(limit) {
            held.told = true;
            heard.upto = heard.upto.max(*at);
            heard.changes.extend(held.change);
        }
        heard.last = heard.upto.max(end);
        Ok(heard)
    }

    /// Acknowledges what the consumer was told of up to `upto`.
    async fn acknowledge(&self, upto: u64) {
        let done: Vec<Acker> = {
            let mut state = self.state.lock();
            if std::mem::take(&mut state.comparing) {
                state.compare_at = Instant::now() + self.bus.config.compare_every;
            }
            let told = state.held.extract_if(..=upto, |_, held| held.told);
            told.map(|(_, held)| held.acker).collect()
        };
        self.answer(done, AckKind::Ack).await;
        self.handled.notify_waiters();
    }

    /// What is not answered is delivered again, so nothing depends on it but time.
    async fn answer(&self, messages: Vec<Acker>, kind: AckKind) {
        let work = async {
            for message in messages {
                if !self.bus.is_connected() || message.ack_with(kind).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(ANSWER, work).await;
    }

    /// Changes that the consumer was told of and has not handled.
    pub(crate) fn under_way(&self) -> usize {
        self.state.lock().held.values().filter(|held| held.told).count()
    }

    /// Waits until everything is handled that the consumer was told of; gives back the rest.
    pub(crate) async fn finish(&self) {
        loop {
            let handled = self.handled.notified();
            if self.under_way() == 0 {
                break;
            }
            handled.await;
        }
        self.give_back().await;
    }

    /// Lets others hear at once what the consumer was not told of.
    async fn give_back(&self) {
        let rest: Vec<Acker> = {
            let mut state = self.state.lock();
            let rest = state.held.extract_if(.., |_, held| !held.told);
            rest.map(|(_, held)| held.acker).collect()
        };
        self.answer(rest, AckKind::Nak(None)).await;
    }
}

impl ReadJournal for Listener {
    fn name(&self) -> &str {
        self.journal.name()
    }

    fn read(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Seq,
        to: Seq,
        limit: usize,
    ) -> Reading<'_, Vec<Envelope>> {
        self.journal.read(tenant, aggregate, from, to, limit)
    }

    fn head(&self, tenant: TenantId, aggregate: AggregateId) -> Reading<'_, Option<Head>> {
        self.journal.head(tenant, aggregate)
    }

    fn heads(&self, after: Option<(TenantId, AggregateId)>, limit: usize) -> Reading<'_, Vec<Found>> {
        self.journal.heads(after, limit)
    }
}

impl Bus for Listener {
    fn hear(&self, after: u64, limit: usize) -> Reading<'_, Heard> {
        async move { Ok(self.hear_now(after, limit).await?) }.boxed()
    }

    fn moved(&self, after: u64) -> BoxFuture<'_, ()> {
        async move {
            if self.bus.is_hushed() {
                return futures::future::pending().await;
            }
            let connections = self.bus.connections();
            let compare_at = {
                let state = self.state.lock();
                if !state.held.is_empty() {
                    return;
                }
                state.compare_at
            };
            tokio::select! {
                () = self.bus.hushed() => {}
                () = tokio::time::sleep_until(compare_at) => {}
                // A server that went away has forgotten who waits.
                () = self.bus.reconnected(connections) => {}
                waited = self.wait(after) => if waited.is_err() {
                    self.doubt().await;
                    tokio::time::sleep(PAUSE).await;
                },
            }
        }
        .boxed()
    }

    fn handled(&self, upto: u64) -> Reading<'_, ()> {
        async move {
            self.acknowledge(upto).await;
            Ok(())
        }
        .boxed()
    }
}
