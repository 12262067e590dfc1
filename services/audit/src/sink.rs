//! Makes leaves of entries: what a consumer of [`events`] writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use events::sink::Parked;
use events::{Cursor, Envelope, Sink, SinkError, Stretch, Undecodable};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::Rejection;
use rpc::SYSTEM_TENANT;

use crate::app::{App, log_scope};
use crate::domain::leaf::{SALT_BYTES, commitment};
use crate::domain::log::{self, Command, Item, Subject};
use crate::records;
use crate::source::{Source, stored};

/// Groups that are heard until the position is noted: noting it is a write, and hearing again costs little.
const POSITION_EVERY: u64 = 512;
/// Logs that are read at once.
const LOGS: usize = 256;

/// The log as the sink of one source.
pub struct LogSink {
    app: App,
    source: Source,
    noted: AtomicU64,
}

impl LogSink {
    pub(crate) fn new(app: App, source: Source) -> Arc<LogSink> {
        Arc::new(LogSink { app, source, noted: AtomicU64::new(0) })
    }

    async fn stretch(&self, tenant: TenantId, stretch: Stretch<()>) -> Result<log::Stretch, SinkError> {
        let who = self.source.who(tenant, stretch.aggregate).await.map_err(unavailable)?;
        let mut random = vec![0; stretch.events.len() * SALT_BYTES];
        self.app.random(&mut random);
        let (salts, _) = random.as_chunks::<SALT_BYTES>();
        let items = stretch.events.into_iter().zip(salts).map(|((envelope, ()), salt)| {
            let told = self.source.tell(&who, &envelope.bytes);
            Item {
                recorded_at: told.recorded_at(),
                commitment: commitment(salt, &stored(envelope.chain, &envelope.bytes)),
                salt: *salt,
                chain: envelope.chain,
                facts: told.facts,
            }
        });
        let subject = Subject { service: self.source.service.to_owned(), aggregate: stretch.aggregate };
        let (kind, items) = (who.kind, items.collect());
        Ok(log::Stretch { subject, kind, items, from: stretch.from, to: stretch.to })
    }

    async fn submit(&self, tenant: TenantId, command: Command) -> Result<(), SinkError> {
        match self.app.log().submit(log_scope(tenant), self.app.internal(command)).await {
            Ok(_) => Ok(()),
            Err(Rejection::Domain(log::Moved)) => Err(SinkError::Moved),
            Err(Rejection::Journal(error)) => Err(SinkError::Unavailable(error.to_string())),
            Err(Rejection::Claimed { .. }) => Err(SinkError::Unavailable("a claim".to_owned())),
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> SinkError {
    SinkError::Unavailable(error.to_string())
}

impl Sink for LogSink {
    type Event = ();

    /// Everything becomes a leaf, also what nobody understands.
    fn decode(&self, _: &Envelope) -> Result<(), Undecodable> {
        Ok(())
    }

    fn cursors<'a>(
        &'a self,
        source: &'a str,
        tenant: TenantId,
        aggregates: Vec<AggregateId>,
    ) -> BoxFuture<'a, Result<Vec<Cursor>, SinkError>> {
        async move { self.app.cursors(source, tenant, aggregates).await.map_err(unavailable) }.boxed()
    }

    fn apply<'a>(
        &'a self,
        _: &'a str,
        tenant: TenantId,
        stretches: Vec<Stretch<()>>,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            let mut taken = Vec::with_capacity(stretches.len());
            for stretch in stretches {
                taken.push(self.stretch(tenant, stretch).await?);
            }
            self.submit(tenant, Command::Append(taken)).await
        }
        .boxed()
    }

    fn parked<'a>(
        &'a self,
        source: &'a str,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Parked>, SinkError>> {
        async move {
            let (store, mut parked) = (self.app.store(), Vec::new());
            // From the log in which the last one was on.
            let mut log = after.and_then(|(tenant, _)| crate::app::before(tenant));
            while parked.len() < limit {
                let page = store.aggregates(log, LOGS).await.map_err(unavailable)?;
                let Some((tenant, aggregate, _)) = page.last() else { break };
                log = Some((*tenant, *aggregate));
                for (tenant, ..) in page.iter().filter(|(_, aggregate, _)| *aggregate == records::log_id()) {
                    let prefix = records::parked_prefix(source);
                    let index = store.index(*tenant, records::PARKED, prefix, None, usize::MAX).await;
                    for row in index.map_err(unavailable)? {
                        let (aggregate, parking) =
                            records::read_parked(&row.key, &row.value).map_err(unavailable)?;
                        if after.is_none_or(|after| after < (*tenant, aggregate)) && parked.len() < limit {
                            parked.push((*tenant, aggregate, parking));
                        }
                    }
                }
            }
            Ok(parked)
        }
        .boxed()
    }

    fn position<'a>(&'a self, source: &'a str) -> BoxFuture<'a, Result<Option<u64>, SinkError>> {
        async move {
            let keys = vec![records::position_key(source)];
            let rows = self.app.store().rows(SYSTEM_TENANT, records::log_id(), keys).await;
            let row: Option<Bytes> = rows.map_err(unavailable)?.pop().flatten();
            let position = row.and_then(|row| row.as_ref().try_into().ok().map(u64::from_be_bytes));
            self.noted.store(position.unwrap_or(0), Ordering::Relaxed);
            Ok(position)
        }
        .boxed()
    }

    fn set_position<'a>(&'a self, source: &'a str, position: u64) -> BoxFuture<'a, Result<(), SinkError>> {
        async move {
            let noted = self.noted.load(Ordering::Relaxed);
            if (noted..noted + POSITION_EVERY).contains(&position) {
                return Ok(());
            }
            let service = source.to_owned();
            self.submit(SYSTEM_TENANT, Command::Hear { service, position }).await?;
            self.noted.store(position, Ordering::Relaxed);
            Ok(())
        }
        .boxed()
    }
}
