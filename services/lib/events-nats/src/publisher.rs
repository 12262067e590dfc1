//! What relays entries to the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::feed::Change;
use journal::relay::Publish;
use journal::relay_store::Sink;
use journal::store::{Seq, StoreError};

use crate::announcement::{Announcement, Says};
use crate::stream::{self, Names};
use crate::{Error, NatsBus};

/// Messages of a process that wait for their acknowledgement, over all services.
pub const PUBLISHES_MAX: usize = 256;
/// Tries of one message: the first one may find that there is no stream.
const ROUNDS_MAX: usize = 3;

/// Publishes the entries of one service: one message for all that are relayed together.
pub struct Publisher {
    bus: Arc<NatsBus>,
    names: Names,
    sink: Sink,
    /// The stream was seen to be what it must be.
    fits: AtomicBool,
    /// Whoever holds it makes the stream.
    making: tokio::sync::Mutex<()>,
}

impl Publisher {
    pub(crate) fn new(bus: Arc<NatsBus>, names: Names, sink: Sink) -> Publisher {
        Publisher { bus, names, sink, fits: AtomicBool::new(false), making: tokio::sync::Mutex::default() }
    }

    /// Says something, and waits until the bus has it.
    ///
    /// # Errors
    /// An unknown outcome: it may have been said.
    pub(crate) async fn say(&self, announcement: &Announcement) -> Result<(), Error> {
        let permit = self.bus.publishes.acquire().await;
        let _permit = permit.map_err(Error::unavailable)?;
        let subject = format!("{}.{}", self.names.prefix, announcement.subject());
        for _ in 0..ROUNDS_MAX {
            if self.bus.is_draining() {
                return Err(Error::Draining);
            }
            self.bus.answers()?;
            self.make().await?;
            let message = PublishMessage::build().payload(announcement.encode());
            let mut message = message.expected_stream(&self.names.stream);
            if let Some(id) = announcement.id() {
                message = message.message_id(format!("{id:?}"));
            }
            let _under_way = UnderWay::new(&self.bus.publishing);
            let sent = self.bus.jetstream.send_publish(subject.clone(), message).await;
            let acknowledged = match sent {
                Ok(acknowledged) => acknowledged.await,
                Err(error) => Err(error),
            };
            match acknowledged {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                    self.fits.store(false, Ordering::Release);
                }
                Err(error) => return Err(Error::unavailable(error)),
            }
        }
        Err(Error::Unavailable(format!("stream '{}' comes and goes", self.names.stream)))
    }

    async fn make(&self) -> Result<(), Error> {
        if self.fits.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one = self.making.lock().await;
        if !self.fits.load(Ordering::Acquire) {
            stream::ensure(&self.bus.jetstream, &self.names, &self.bus.config).await?;
            self.fits.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// The last message of the stream, if it has one.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Shape`].
    pub(crate) async fn last(&self) -> Result<Option<Announcement>, Error> {
        self.bus.answers()?;
        let (stream, _) = stream::ensure(&self.bus.jetstream, &self.names, &self.bus.config).await?;
        let (gone, last) = stream::ends(stream.cached_info());
        if last <= gone {
            return Ok(None);
        }
        match stream.get_raw_message(last).await {
            Ok(message) => Ok(Announcement::decode(&message.payload)),
            // Somebody deleted it, or it has gone since.
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Error::unavailable(error)),
        }
    }
}

/// Counts a message until its outcome is known, or its future is dropped.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicUsize) -> UnderWay<'a> {
        count.fetch_add(1, Ordering::AcqRel);
        UnderWay(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Publish for Publisher {
    fn sink(&self) -> Sink {
        self.sink
    }

    fn publish(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        entries: Vec<(Seq, Bytes)>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let Some((seq, _)) = entries.last() else { return Ok(()) };
            let change = Change { tenant, aggregate, seq: *seq };
            self.say(&Announcement { says: Says::Changed(change), feed: 0 }).await?;
            Ok(())
        }
        .boxed()
    }
}
