//! Where messages are kept: one stream per service, made when it is first needed.
//!
//! Its first sequence is the time at which it was made, in microseconds. So the positions of a stream that is made again
//! lie behind all those of the one before, and a consumer sees that it has missed something. If a clock lies, the
//! comparison of all heads that is due anyway finds it.

use std::time::Duration;

use async_nats::jetstream::context::{Context, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config as Shape, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{ErrorCode, stream::Stream};
use journal::{Env as _, SystemEnv};
use tracing::info;

use crate::{Config, Error};

/// How long the server knows a message again.
pub const DUPLICATES: Duration = Duration::from_secs(120);
/// Most bytes of a message: an announcement and room for headers.
pub const MESSAGE_BYTES_MAX: i32 = 4096;
/// Tries to make a stream that others make, too.
const ROUNDS_MAX: usize = 4;

/// How the messages of one service are called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// The stream: `cp-<cell>-<service>`.
    pub stream: String,
    /// What all subjects begin with: `cp.<cell>.<service>`.
    pub prefix: String,
}

impl Names {
    /// # Errors
    /// [`Error::Setting`] for a service that cannot be part of a subject.
    pub(crate) fn of(cell: &str, service: &str) -> Result<Names, Error> {
        crate::config::name("service", service)?;
        Ok(Names { stream: format!("cp-{cell}-{service}"), prefix: format!("cp.{cell}.{service}") })
    }

    fn subjects(&self) -> Vec<String> {
        vec![format!("{}.>", self.prefix)]
    }
}

/// Finds the stream of a service, makes it, or makes it what it must be. True if it was made.
///
/// # Errors
/// [`Error::Shape`] if it is another one for ever; [`Error::Unavailable`].
pub(crate) async fn ensure(
    jetstream: &Context,
    names: &Names,
    config: &Config,
) -> Result<(Stream, bool), Error> {
    let mut made = false;
    for _ in 0..ROUNDS_MAX {
        match jetstream.get_stream(&names.stream).await {
            Ok(stream) => return Ok((fitting(jetstream, names, config, stream).await?, made)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                }
                _ => return Err(Error::unavailable(error)),
            },
        }
        let mut shape = Shape { name: names.stream.clone(), storage: StorageType::File, ..Shape::default() };
        fit(&mut shape, names, config);
        shape.first_sequence = Some(SystemEnv.now().unix_micros().unsigned_abs());
        match jetstream.create_stream(shape).await {
            Ok(_) => {
                made = true;
                info!(stream = %names.stream, "a stream is made");
            }
            Err(error) => match error.kind() {
                // Somebody else was faster.
                CreateStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {}
                _ => return Err(Error::unavailable(format!("stream '{}': {error}", names.stream))),
            },
        }
    }
    Err(Error::Unavailable(format!("stream '{}' comes and goes", names.stream)))
}

fn fit(shape: &mut Shape, names: &Names, config: &Config) {
    shape.subjects = names.subjects();
    shape.num_replicas = config.replicas;
    shape.max_age = config.age_max;
    shape.max_bytes = i64::try_from(config.bytes_max).unwrap_or(i64::MAX);
    shape.max_message_size = MESSAGE_BYTES_MAX;
    shape.discard = DiscardPolicy::Old;
    shape.duplicate_window = DUPLICATES;
}

async fn fitting(
    jetstream: &Context,
    names: &Names,
    config: &Config,
    mut stream: Stream,
) -> Result<Stream, Error> {
    let shape = &stream.cached_info().config;
    let refused = |what: &str| Err(Error::Shape { stream: names.stream.clone(), what: what.to_owned() });
    match shape {
        Shape { storage: StorageType::Memory, .. } => return refused("keeps its messages in memory"),
        Shape { mirror: Some(_), .. } => return refused("is a mirror"),
        Shape { sealed: true, .. } => return refused("is sealed"),
        Shape { retention, .. } if *retention != RetentionPolicy::Limits => {
            return refused("forgets messages that were acknowledged");
        }
        _ => {}
    }
    let mut wanted = shape.clone();
    fit(&mut wanted, names, config);
    if wanted != *shape {
        let updated = jetstream.update_stream(&wanted).await;
        updated.map_err(|error| {
            Error::unavailable(format!("stream '{}' cannot be changed: {error}", names.stream))
        })?;
        info!(stream = %names.stream, "a stream has new limits");
        stream.info().await.map_err(Error::unavailable)?;
    }
    Ok(stream)
}

/// Positions of a stream: everything up to the first one is gone; the second one was used last.
pub(crate) fn ends(info: &Info) -> (u64, u64) {
    (info.state.first_sequence.saturating_sub(1), info.state.last_sequence)
}
