//! The durable consumer of a listener on the server: found or made, and whether something was missed meanwhile.

use async_nats::jetstream::consumer::pull::Config as Shape;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, ReplayPolicy};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::Stream;
use events::consumer::HEAR_GROUPS;
use tracing::info;

use crate::stream::{self, Names};
use crate::{Error, NatsBus};

/// Messages that are delivered and not acknowledged, over all processes of a consumer.
const PENDING_MAX: i64 = 8 * HEAR_GROUPS as i64;

/// What is known of the stream and of the durable consumer.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) consumer: PullConsumer,
    /// When stream and consumer were made, as the server writes it: others of the same name are others.
    made: (String, String),
    /// The last position of the stream that was seen.
    pub(crate) last: u64,
    /// Up to here messages went before they were handled, and that is known.
    lost: u64,
}

/// Why all heads must be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missed {
    Nothing,
    /// It is the first time, the stream or the consumer was made anew, or the listener stands elsewhere.
    Anew,
    /// The stream forgot messages that were not handled.
    Forgotten,
    /// The stream ends before what it had.
    Shrunk,
}

impl Session {
    /// Takes up the consumer `durable`; `before` is what was known of it in this process, and `after` where the
    /// listener stands.
    pub(crate) async fn open(
        bus: &NatsBus,
        names: &Names,
        durable: &str,
        before: Option<&Session>,
        after: u64,
    ) -> Result<(Session, Missed), Error> {
        let (mut stream, _) = stream::ensure(&bus.jetstream, names, &bus.config).await?;
        let (consumer, is_new) = find_or_make(bus, &stream, durable).await?;
        // Read after the consumer: what is published from now on is heard.
        let info = stream.info().await.map_err(Error::unavailable)?.clone();
        let (gone, last) = stream::ends(&info);
        let known = consumer.cached_info();
        let floor = known.ack_floor.stream_sequence;
        let made = (info.created.to_string(), known.created.to_string());
        let same = before.filter(|before| before.made == made && !is_new);
        let mut session = Session { consumer, made, last, lost: same.map_or(0, |same| same.lost) };
        let missed = match same {
            Some(same) if last < same.last.max(after) => Missed::Shrunk,
            None if is_new || before.is_some() || after < floor || after > last => Missed::Anew,
            _ if gone > floor.max(session.lost) => Missed::Forgotten,
            _ => Missed::Nothing,
        };
        session.lost = session.lost.max(gone);
        if missed != Missed::Nothing {
            info!(
                stream = %names.stream, consumer = durable, after, floor, gone, last,
                "the bus may have missed something ({missed:?}): all heads are compared"
            );
        }
        Ok((session, missed))
    }

    /// Whether it is about the same messages.
    pub(crate) fn is_same(&self, other: &Session) -> bool {
        self.made == other.made
    }
}

async fn find_or_make(bus: &NatsBus, stream: &Stream, durable: &str) -> Result<(PullConsumer, bool), Error> {
    let shape = Shape {
        durable_name: Some(durable.to_owned()),
        // Whoever makes it compares all heads, which is everything before.
        deliver_policy: DeliverPolicy::New,
        ack_policy: AckPolicy::Explicit,
        ack_wait: bus.config.ack_wait,
        max_deliver: -1,
        replay_policy: ReplayPolicy::Instant,
        max_ack_pending: PENDING_MAX,
        ..Shape::default()
    };
    match stream.consumer_info(durable).await {
        Ok(known) => {
            let same = known.config.ack_wait == shape.ack_wait
                && known.config.max_ack_pending == shape.max_ack_pending;
            let consumer: PullConsumer = match same {
                true => stream.get_consumer(durable).await.map_err(Error::unavailable)?,
                false => stream.update_consumer(shape).await.map_err(Error::unavailable)?,
            };
            Ok((consumer, false))
        }
        Err(error) => match error.kind() {
            ConsumerInfoErrorKind::NotFound => {
                Ok((stream.create_consumer(shape).await.map_err(Error::unavailable)?, true))
            }
            _ => Err(Error::unavailable(error)),
        },
    }
}
