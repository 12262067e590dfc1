//! What the service does, one use case per file.

mod completeness;
mod export;
mod list;
mod prove;
mod read;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use calendar::Instant;
use events::Cursor;
use ids::{AggregateId, TenantId};
use journal::{Actor, Aggregate as _, Env, Journal, Keep, KeyHash, Meta, Request, Scope, SharedStore};

pub use completeness::{Completeness, Gap};
pub use export::Part;
pub use list::{AuditEvent, Page};
pub use prove::{Inclusion, Signed};

use crate::config::Config;
use crate::domain::access::Accesses;
use crate::domain::log::{Log, Subject};
use crate::records;
use crate::source::{Describe, Source};
use crate::witness::Witness;

/// The use cases of the service.
#[derive(Clone)]
pub struct App {
    log: Journal<Log>,
    accesses: Journal<Accesses>,
    sources: Arc<[Source]>,
    witness: Arc<dyn Witness>,
    config: Config,
    /// Checkpoints are signed one after the other, as they grow.
    signing: Arc<tokio::sync::Mutex<()>>,
}

impl App {
    pub(crate) fn new(
        store: SharedStore,
        own: Source,
        env: Arc<dyn Env>,
        sources: Vec<Source>,
        witness: Arc<dyn Witness>,
        config: Config,
    ) -> Self {
        App {
            log: Journal::new(store.clone(), Arc::clone(&env)),
            accesses: Journal::new(store, env),
            sources: sources.into_iter().chain([own]).collect::<Vec<_>>().into(),
            witness,
            config,
            signing: Arc::default(),
        }
    }

    pub(crate) fn store(&self) -> &SharedStore {
        self.log.store()
    }

    pub(crate) fn log(&self) -> &Journal<Log> {
        &self.log
    }

    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    pub(crate) fn random(&self, bytes: &mut [u8]) {
        self.log.env().random(bytes);
    }

    /// Reads up to where aggregates of a tenant are leaves.
    pub(crate) async fn cursors(
        &self,
        service: &str,
        tenant: TenantId,
        aggregates: Vec<AggregateId>,
    ) -> Result<Vec<Cursor>, journal::Error> {
        let subject = |aggregate| Subject { service: service.to_owned(), aggregate };
        let keys = aggregates.into_iter().map(|aggregate| records::cursor_key(&subject(aggregate)));
        let rows = self.store().rows(tenant, records::log_id(), keys.collect()).await?;
        let cursor = |row: Option<Bytes>| row.map_or(Ok(Cursor::default()), |row| records::read_cursor(&row));
        Ok(rows.into_iter().map(cursor).collect::<Result<_, _>>()?)
    }

    fn source(&self, service: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.service == service)
    }

    /// A request of the service itself.
    pub(crate) fn internal<C>(&self, command: C) -> Request<C> {
        let mut key = KeyHash([0; 9]);
        self.random(&mut key.0);
        let actor = Actor { kind: rpc::ActorKind::System.name().to_owned(), id: records::SERVICE.to_owned() };
        let request_id = String::new();
        let meta = Meta { actor, key, fingerprint: [0; 16], keep: Keep::No, request_id, trace: None };
        Request { command, meta }
    }

    fn now(&self) -> Instant {
        self.log.env().now()
    }
}

/// The greatest key before the aggregates of a tenant.
pub(crate) fn before(tenant: TenantId) -> Option<(TenantId, AggregateId)> {
    let number = u128::from_be_bytes(*tenant.as_bytes()).checked_sub(1)?;
    let last = AggregateId::from_bytes([0xff; 16]);
    Some((TenantId::from_bytes(number.to_be_bytes()), last))
}

/// The log of a tenant.
pub(crate) fn log_scope(tenant: TenantId) -> Scope {
    Scope { tenant, aggregate: records::log_id() }
}

/// What the log says about the service's own entries.
#[must_use]
pub fn describe() -> Describe {
    fn action(kind: u8, event: &[u8]) -> Option<&'static str> {
        (kind == records::KIND_ACCESSES).then(|| Accesses::decode(event).ok())?.map(|access| access.action())
    }
    // What was read or refused is the method that was called: see `Source::tell`.
    Describe { resource: |_, _| None, action }
}
