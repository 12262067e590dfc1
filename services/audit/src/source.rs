//! Where entries come from: the journals of the services.

use std::sync::Arc;

use bytes::Bytes;
use calendar::Instant;
use events::{Beside, Envelope, Follows, InProcess, ReadJournal, Sweep};
use ids::{AggregateId, TenantId};
use journal::feed::FeedStore;
use journal::store::Head;
use journal::{Aggregate as _, Chain, Entry, Seq, SharedStore, StoreError};

use crate::domain::access::Accesses;
use crate::domain::summary::Facts;
use crate::records::{SERVICE, log_id};

/// Says what the entries of a service are about.
#[derive(Clone, Copy)]
pub struct Describe {
    /// What has the history: `var_…`. Asked with the head of the aggregate and its id; `None` if the head does
    /// not decode.
    pub resource: fn(&Head, AggregateId) -> Option<String>,
    /// What happened: `stock.movement.posted`. Asked with the kind of the aggregate and the encoded event;
    /// `None` if it does not decode.
    pub action: fn(u8, &[u8]) -> Option<&'static str>,
}

/// The journals of one service.
#[derive(Clone)]
pub struct Source {
    /// The service, as leaves name it.
    pub service: &'static str,
    /// Its journals, to read what leaves speak of and to compare heads.
    pub journal: Arc<dyn ReadJournal>,
    /// Tells of changes.
    pub feed: Arc<dyn events::Source>,
    /// Says what its events are about.
    pub describe: Describe,
    /// What looks at all heads, if nobody tells of changes.
    sweep: Option<Arc<Sweep>>,
    beside: Arc<Beside>,
}

/// What an entry says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Who caused it: `api_key`, `user`, `system`.
    pub actor_kind: String,
    /// The request that caused it.
    pub request_id: String,
    /// When it was recorded; 1970 if it does not decode.
    pub recorded_us: i64,
    /// What it is about.
    pub facts: Facts,
}

/// Who has a history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Who {
    /// Which kind of aggregate.
    pub(crate) kind: u8,
    /// `var_…`; empty if the head does not say.
    pub(crate) resource: String,
}

impl Told {
    /// When it was recorded.
    #[must_use]
    pub fn recorded_at(&self) -> Instant {
        Instant::from_unix_micros(self.recorded_us)
    }
}

impl Source {
    /// Takes the journals of `service` from a store that does not tell what changed.
    #[must_use]
    pub fn swept(service: &'static str, store: SharedStore, describe: Describe) -> Source {
        let sweep = Sweep::new(service, store);
        Source { sweep: Some(Arc::clone(&sweep)), ..Source::heard(service, sweep, describe) }
    }

    /// Takes the journals of `service` from a store that tells what changed, and tells nobody else.
    #[must_use]
    pub fn fed(service: &'static str, store: Arc<dyn FeedStore>, describe: Describe) -> Source {
        Source::heard(service, InProcess::new(service, store).listener(), describe)
    }

    /// Takes the journals of `service` from where they are read and heard: a bus that others listen to, too, or
    /// another process.
    #[must_use]
    pub fn heard<S: events::Source>(service: &'static str, inner: Arc<S>, describe: Describe) -> Source {
        let follows = match service {
            SERVICE => Follows::Ids(|aggregate| is_taken(SERVICE, aggregate)),
            _ => Follows::All,
        };
        let beside = Beside::new(Arc::clone(&inner) as Arc<dyn events::Source>, follows);
        Source {
            service,
            journal: inner,
            feed: Arc::clone(&beside) as Arc<dyn events::Source>,
            describe,
            sweep: None,
            beside,
        }
    }

    /// From now on changes are taken together for a while.
    pub(crate) fn run_beside(&self) {
        self.beside.collect();
    }

    /// Sees to it that what was written before this call is heard.
    pub(crate) fn look_again(&self) {
        if let Some(sweep) = &self.sweep {
            sweep.look_again();
        }
    }

    /// Reads entries `from ..= to` of an aggregate, as far as they are there.
    pub(crate) async fn entries(
        &self,
        tenant: TenantId,
        aggregate: AggregateId,
        mut from: Seq,
        to: Seq,
    ) -> Result<Vec<Envelope>, StoreError> {
        let mut found = Vec::new();
        while from <= to {
            let limit = usize::try_from(to - from).unwrap_or(usize::MAX).saturating_add(1);
            // Another process answers with a part when they are large.
            let part = self.journal.read(tenant, aggregate, from, to, limit).await?;
            let Some(last) = part.last() else { break };
            from = last.seq + 1;
            found.extend(part);
        }
        Ok(found)
    }

    /// Reads who has the history of an aggregate.
    pub(crate) async fn who(&self, tenant: TenantId, aggregate: AggregateId) -> Result<Who, StoreError> {
        let Some(head) = self.journal.head(tenant, aggregate).await? else { return Ok(Who::default()) };
        let [kind, _] = head.format.to_be_bytes();
        Ok(Who { kind, resource: (self.describe.resource)(&head, aggregate).unwrap_or_default() })
    }

    /// Reads what an encoded entry is about. What does not decode is told of as such: it is a leaf all the same.
    pub(crate) fn tell(&self, who: &Who, entry: &Bytes) -> Told {
        let mut resource = who.resource.clone();
        let unreadable = || format!("{}.unreadable", self.service);
        let Ok(entry) = Entry::read(entry.clone()) else {
            let facts = Facts { action: unreadable(), resource, ..Facts::default() };
            return Told { facts, ..Told::default() };
        };
        let action = (self.describe.action)(who.kind, &entry.event).map_or_else(unreadable, str::to_owned);
        if self.service == SERVICE
            && let Ok(access) = Accesses::decode(&entry.event)
        {
            resource = access.method;
        }
        let (recorded_us, request_id) = (entry.recorded_at_us, entry.request_id);
        let actor = entry.actor.unwrap_or_default();
        let facts = Facts { actor: actor.id, action, resource };
        Told { actor_kind: actor.kind, request_id, recorded_us, facts }
    }
}

/// The form in which a journal stores an entry: hash over the entries up to it, then the encoded entry.
#[must_use]
pub fn stored(chain: Chain, entry: &[u8]) -> Vec<u8> {
    [chain.0.as_slice(), entry].concat()
}

/// Whether entries of an aggregate become leaves: all but those of the logs themselves.
pub(crate) fn is_taken(service: &str, aggregate: AggregateId) -> bool {
    service != SERVICE || aggregate != log_id()
}
