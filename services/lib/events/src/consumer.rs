//! The loop of a consumer: hear, read what is missing, apply, move on.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use ids::{AggregateId, TenantId};
use journal::{Seq, StoreError, Trace};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::envelope::Envelope;
use crate::progress::{self, Consumed, Progress, TRACES_MAX};
use crate::sink::{Cursor, Parked, Parking, REASON_BYTES_MAX, Sink, SinkError, Stretch};
use crate::source::Source;

/// Groups that are heard at once.
pub const HEAR_GROUPS: usize = 1024;
/// Heads that are read at once, when everything is compared.
pub const HEADS_PAGE: usize = 1024;
/// Entries that are applied in one write, unless one aggregate's page is larger.
pub const APPLY_ENTRIES: usize = 512;
/// Entries that are read at once from one aggregate.
pub const READ_ENTRIES: usize = 256;
/// Tries of one write whose cursors moved.
const ROUNDS_MAX: usize = 16;
/// Pauses after a failure.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Why a step was not finished. It can be repeated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The source does not answer.
    #[error("the source cannot be read")]
    Source(#[source] StoreError),
    /// The sink does not answer.
    #[error("the effects cannot be written")]
    Sink(#[source] SinkError),
}

impl From<SinkError> for Error {
    fn from(error: SinkError) -> Self {
        Error::Sink(error)
    }
}

/// What a step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// Entries that took effect.
    pub applied: u64,
    /// Aggregates that were parked.
    pub parked: u64,
    /// True if there was nothing to hear.
    pub idle: bool,
}

/// One consumer of one source.
///
/// Each entry takes effect exactly once and in the order of its aggregate, whatever the bus loses or repeats
/// and wherever the process stops: the cursor of an aggregate moves in the same write as the effect. An
/// aggregate whose next entry cannot be understood is parked with an alert, and the others go on.
pub struct Consumer<S> {
    name: String,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) sink: Arc<S>,
    /// The position on the bus. Whoever holds it does the work.
    position: Mutex<Option<u64>>,
    progress: Arc<Progress>,
}

impl<S: Sink> Consumer<S> {
    /// The consumer `name` of a source.
    #[must_use]
    pub fn new(name: &str, source: Arc<dyn Source>, sink: Arc<S>) -> Consumer<S> {
        let progress = Progress::new(name, source.name());
        Consumer { name: name.into(), source, sink, position: Mutex::new(None), progress }
    }

    /// Consumes until `stop` ends. Begins by trying again what is parked: a new release may understand it.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        self.progress.runs();
        let work = pin!(self.work());
        let stop = pin!(stop);
        if let Either::Left((never, _)) = select(work, stop).await {
            match never {}
        }
    }

    async fn work(&self) -> std::convert::Infallible {
        let mut retried = false;
        let mut pause = PAUSE_MIN;
        loop {
            let done = match retried {
                true => self.step().await,
                false => self.unpark_all().await.map(|applied| Step { applied, ..Step::default() }),
            };
            match done {
                Ok(step) => {
                    if pause > PAUSE_MIN {
                        info!(consumer = %self.name, source = %self.source.name(), "consuming again");
                    }
                    (retried, pause) = (true, PAUSE_MIN);
                    if step.idle {
                        let position = self.position.lock().await.unwrap_or(0);
                        self.progress.waits(true);
                        self.source.moved(position).await;
                        self.progress.waits(false);
                    }
                }
                Err(error) => {
                    self.progress.fails();
                    if pause == PAUSE_MIN {
                        let why = std::error::Error::source(&error).map(ToString::to_string);
                        let why = why.unwrap_or_default();
                        warn!(consumer = %self.name, source = %self.source.name(), "{error}, trying again: {why}");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Consumes what there is, until there is nothing to hear.
    ///
    /// # Errors
    /// The first failure. What was done is done; the call can be repeated.
    pub async fn catch_up(&self) -> Result<Step, Error> {
        let mut sum = Step::default();
        while !sum.idle {
            let step = self.step().await?;
            sum = Step {
                applied: sum.applied + step.applied,
                parked: sum.parked + step.parked,
                idle: step.idle,
            };
        }
        Ok(sum)
    }

    /// Hears once and applies all of it. A consumer that was away for longer than its bus remembers, or that
    /// is new, compares all heads instead.
    ///
    /// # Errors
    /// When the source or the sink does not answer; the step can be repeated.
    pub async fn step(&self) -> Result<Step, Error> {
        let mut position = self.position.lock().await;
        if position.is_none() {
            *position = self.sink.position(self.source.name()).await?;
        }
        let heard = self.source.hear(position.unwrap_or(0), HEAR_GROUPS).await.map_err(Error::Source)?;
        self.progress.heard(heard.last);
        let mut step = Step::default();
        let upto = match *position {
            Some(position) if heard.forgotten <= position && position <= heard.last => {
                step.idle = heard.changes.is_empty() && heard.upto == position;
                let mut wanted: BTreeMap<TenantId, BTreeMap<AggregateId, Seq>> = BTreeMap::new();
                for change in heard.changes {
                    let seq = wanted.entry(change.tenant).or_default().entry(change.aggregate).or_default();
                    *seq = change.seq.max(*seq);
                }
                for (tenant, wanted) in wanted {
                    self.follow(tenant, wanted, &mut step).await?;
                }
                heard.upto
            }
            // New, too late, or on the bus of another store: what is written after `last` will be heard.
            _ => {
                self.compare_heads(&mut step).await?;
                heard.last
            }
        };
        if *position != Some(upto) {
            self.sink.set_position(self.source.name(), upto).await?;
            *position = Some(upto);
        }
        // Also when nothing moved: after a restart the bus has to learn where this listener is.
        self.source.handled(upto).await.map_err(Error::Source)?;
        self.progress.handled(upto);
        Ok(step)
    }

    async fn compare_heads(&self, step: &mut Step) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.source.heads(after, HEADS_PAGE).await.map_err(Error::Source)?;
            let Some((tenant, aggregate, _)) = page.last() else { return Ok(()) };
            after = Some((*tenant, *aggregate));
            let mut wanted: BTreeMap<TenantId, BTreeMap<AggregateId, Seq>> = BTreeMap::new();
            for (tenant, aggregate, head) in page {
                wanted.entry(tenant).or_default().insert(aggregate, head.seq);
            }
            for (tenant, wanted) in wanted {
                self.follow(tenant, wanted, step).await?;
            }
        }
    }

    /// Applies the entries of aggregates of one tenant up to the given ones.
    async fn follow(
        &self,
        tenant: TenantId,
        wanted: BTreeMap<AggregateId, Seq>,
        step: &mut Step,
    ) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            let aggregates: Vec<_> = wanted.keys().copied().collect();
            let cursors = self.sink.cursors(self.source.name(), tenant, aggregates.clone()).await?;
            let cursors: BTreeMap<_, _> = aggregates.into_iter().zip(cursors).collect();
            match self.follow_from(tenant, &wanted, cursors, step).await {
                Err(Error::Sink(SinkError::Moved)) => {}
                // Nobody can read anything of the tenant any more, and others wait.
                Err(Error::Source(StoreError::KeyDestroyed)) => return Ok(()),
                done => return done,
            }
        }
        Err(Error::Sink(SinkError::Moved))
    }

    async fn follow_from(
        &self,
        tenant: TenantId,
        wanted: &BTreeMap<AggregateId, Seq>,
        mut cursors: BTreeMap<AggregateId, Cursor>,
        step: &mut Step,
    ) -> Result<(), Error> {
        let mut stretches = Vec::new();
        let mut entries = 0;
        for (&aggregate, &to) in wanted {
            let mut cursor = cursors.remove(&aggregate).unwrap_or_default();
            while cursor.seq < to && cursor.parked.is_none() {
                let stretch = self.stretch(tenant, aggregate, cursor, to).await?;
                cursor = stretch.to.clone();
                entries += stretch.events.len();
                stretches.push(stretch);
                // A sink sees an aggregate once in a write.
                if entries >= APPLY_ENTRIES || cursor.seq < to {
                    self.apply(tenant, std::mem::take(&mut stretches), step).await?;
                    entries = 0;
                }
            }
        }
        if !stretches.is_empty() {
            self.apply(tenant, stretches, step).await?;
        }
        Ok(())
    }

    async fn apply(
        &self,
        tenant: TenantId,
        stretches: Vec<Stretch<S::Event>>,
        step: &mut Step,
    ) -> Result<(), Error> {
        let applied: u64 = stretches.iter().map(|stretch| stretch.to.seq - stretch.from.seq).sum();
        let parked: Vec<_> = stretches
            .iter()
            .filter_map(|stretch| Some((stretch.aggregate, stretch.to.parked.clone()?)))
            .collect();
        let traced = progress::observer().map(|observer| (observer, traces(&stretches), Instant::now()));
        self.sink.apply(self.source.name(), tenant, stretches).await?;
        if let Some((observer, traces, begun)) = traced.filter(|(_, traces, _)| !traces.is_empty()) {
            let (consumer, source) = (&*self.name, self.source.name());
            let took = begun.elapsed();
            observer.consumed(&Consumed { consumer, source, traces: &traces, entries: applied, took });
        }
        self.progress.did(applied, parked.len() as u64);
        step.applied += applied;
        for (aggregate, Parking { seq, reason }) in parked {
            step.parked += 1;
            error!(
                consumer = %self.name, source = %self.source.name(), tenant.id = %tenant, %aggregate, seq,
                "entry {seq} cannot be understood and its aggregate is parked until it is unparked: {reason}"
            );
        }
        Ok(())
    }

    /// Reads what follows a cursor: the gap, whatever the bus said. Ends before the first entry that cannot be
    /// understood.
    async fn stretch(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        from: Cursor,
        to: Seq,
    ) -> Result<Stretch<S::Event>, Error> {
        let first = from.seq + 1;
        let read = self.source.read(tenant, aggregate, first, to, READ_ENTRIES).await;
        let mut stretch = Stretch { aggregate, to: from.clone(), from, events: Vec::new() };
        let envelopes = match read {
            Ok(envelopes) if envelopes.is_empty() => {
                stretch.park(format!("entry {first} is missing in the journal"));
                return Ok(stretch);
            }
            Ok(envelopes) => envelopes,
            Err(StoreError::Damaged(what)) => {
                stretch.park(what);
                return Ok(stretch);
            }
            Err(error) => return Err(Error::Source(error)),
        };
        for envelope in envelopes {
            match self.understand(&stretch.to, &envelope) {
                Ok(event) => {
                    stretch.to.seq = envelope.seq;
                    stretch.to.chain = envelope.chain;
                    stretch.events.push((envelope, event));
                }
                Err(reason) => {
                    stretch.park(reason);
                    break;
                }
            }
        }
        Ok(stretch)
    }

    fn understand(&self, after: &Cursor, envelope: &Envelope) -> Result<S::Event, String> {
        if envelope.seq != after.seq + 1 {
            return Err(format!("entry {} is missing in the journal", after.seq + 1));
        }
        if after.chain.then(&envelope.bytes) != envelope.chain {
            return Err(format!("entry {} does not continue the hash chain", envelope.seq));
        }
        self.sink.decode(envelope).map_err(|undecodable| undecodable.to_string())
    }

    /// Reads which aggregates are parked, after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the sink does not answer.
    pub async fn parked(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> Result<Vec<Parked>, Error> {
        Ok(self.sink.parked(self.source.name(), after, limit).await?)
    }

    /// Tries a parked aggregate again, from the entry that was not understood. Gives back where it is then:
    /// parked again, with a new alert, if that entry is still not understood.
    ///
    /// # Errors
    /// When the source or the sink does not answer.
    pub async fn unpark(&self, tenant: TenantId, aggregate: AggregateId) -> Result<Cursor, Error> {
        let position = self.position.lock().await;
        let from = self.cursor(tenant, aggregate).await?;
        if from.parked.is_some() {
            let to = Cursor { parked: None, ..from.clone() };
            let stretch = Stretch { aggregate, from, to, events: Vec::new() };
            match self.sink.apply(self.source.name(), tenant, vec![stretch]).await {
                Ok(()) | Err(SinkError::Moved) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let head = self.source.head(tenant, aggregate).await.map_err(Error::Source)?;
        let wanted = BTreeMap::from([(aggregate, head.map_or(0, |head| head.seq))]);
        self.follow(tenant, wanted, &mut Step::default()).await?;
        drop(position);
        self.cursor(tenant, aggregate).await
    }

    /// Tries all parked aggregates again; gives back how many entries took effect.
    ///
    /// # Errors
    /// When the source or the sink does not answer.
    pub async fn unpark_all(&self) -> Result<u64, Error> {
        const PAGE: usize = 256;
        let (mut after, mut applied) = (None, 0);
        loop {
            let page = self.parked(after, PAGE).await?;
            let Some((tenant, aggregate, _)) = page.last() else { return Ok(applied) };
            after = Some((*tenant, *aggregate));
            for (tenant, aggregate, parking) in page {
                applied += (self.unpark(tenant, aggregate).await?.seq + 1).saturating_sub(parking.seq);
            }
        }
    }

    /// Reads where one aggregate is.
    ///
    /// # Errors
    /// When the sink does not answer.
    pub async fn cursor(&self, tenant: TenantId, aggregate: AggregateId) -> Result<Cursor, Error> {
        let cursors = self.sink.cursors(self.source.name(), tenant, vec![aggregate]).await?;
        Ok(cursors.into_iter().next().unwrap_or_default())
    }
}

impl<E> Stretch<E> {
    fn park(&mut self, mut reason: String) {
        let mut end = REASON_BYTES_MAX.min(reason.len());
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        self.to.parked = Some(Parking { seq: self.to.seq + 1, reason });
    }
}

/// The spans that caused entries, of those that were traced.
fn traces<E>(stretches: &[Stretch<E>]) -> Vec<Trace> {
    let envelopes = stretches.iter().flat_map(|stretch| &stretch.events);
    let traces = envelopes.filter_map(|(envelope, _)| envelope.entry().ok()?.trace());
    traces.take(TRACES_MAX).collect()
}
