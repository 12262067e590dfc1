//! An audit service over two other services' journals, which are counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::witness::{LocalWitness, Memory, ShortMemory};
use audit::{Config, Describe, Service, Source};
use bytes::Bytes;
use calendar::Instant;
use ids::{AggregateId, BusinessId, TenantId};
use journal::feed::FeedStore;
use journal::memory::MemoryStore;
use journal::store::Head;
use journal::{
    Actor, Aggregate, Changes, Damage, Journal, Keep, KeyHash, Meta, Need, Request, Scope, Seq, SharedStore,
    SystemEnv,
};
use rpc::{ActorKind, Ctx, Permissions, Principal};

/// Something that counts up.
#[derive(Default)]
pub(crate) struct Counter {
    sum: u64,
}

impl Aggregate for Counter {
    type Command = u64;
    type Event = u64;
    type Error = std::convert::Infallible;

    const KIND: u8 = 7;
    const FORMAT: u8 = 1;

    fn needs(&self, _: &u64) -> Vec<Need> {
        vec![]
    }
    fn load(&mut self, _: &Need, _: Option<&[u8]>) -> Result<(), Damage> {
        Ok(())
    }
    fn decide(&self, command: &u64, _: Instant) -> Result<Vec<u64>, Self::Error> {
        Ok(vec![*command])
    }
    fn evolve(&mut self, event: &u64, _: Seq, _: Instant) {
        self.sum += event;
    }
    fn project(&self, _: &u64, _: Seq, _: &mut Changes) {}
    fn save(&mut self, _: &mut Changes) {}
    fn header(&self) -> Bytes {
        Bytes::copy_from_slice(&self.sum.to_be_bytes())
    }
    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let sum = header.try_into().map_err(|_| Damage("a counter".into()))?;
        Ok(Counter { sum: u64::from_be_bytes(sum) })
    }
    fn encode(event: &u64) -> Bytes {
        Bytes::copy_from_slice(&event.to_be_bytes())
    }
    fn decode(bytes: &[u8]) -> Result<u64, Damage> {
        bytes.try_into().map(u64::from_be_bytes).map_err(|_| Damage("a number".into()))
    }
}

/// A 1 is `count.one`, everything else is `count.many`; 13 is understood by nobody.
fn describe() -> Describe {
    Describe {
        resource: |_: &Head, aggregate| Some(format!("ctr_{}", aggregate.as_bytes()[0])),
        action: |_, event| match Counter::decode(event).ok()? {
            1 => Some("count.one"),
            13 => None,
            _ => Some("count.many"),
        },
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) apples: Arc<MemoryStore>,
    pub(crate) pears: Arc<MemoryStore>,
    pub(crate) own: Arc<MemoryStore>,
    pub(crate) memory: Arc<dyn Memory>,
    /// Whether the stores tell what changed.
    fed: bool,
    pub(crate) audit: Service,
}

pub(crate) fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([number; 16])
}

pub(crate) fn counter(number: u8) -> AggregateId {
    AggregateId::from_bytes([number; 16])
}

pub(crate) fn ctx(tenant: TenantId, actor: &str) -> Ctx {
    Ctx::internal(Principal {
        tenant,
        business: BusinessId::from_bytes([2; 16]),
        path: Arc::from([BusinessId::from_bytes([2; 16])]),
        actor: rpc::Actor::new(ActorKind::ApiKey, actor),
        permissions: Permissions::default(),
        secret: [7; 32],
    })
}

impl World {
    pub(crate) fn new(fed: bool) -> World {
        World::over(fed, Arc::default(), Arc::default(), Arc::default(), Arc::new(ShortMemory::default()))
    }

    pub(crate) fn over(
        fed: bool,
        apples: Arc<MemoryStore>,
        pears: Arc<MemoryStore>,
        own: Arc<MemoryStore>,
        memory: Arc<dyn Memory>,
    ) -> World {
        let source = |service, store: &Arc<MemoryStore>, describe| {
            let store = Arc::clone(store);
            if fed { Source::fed(service, store, describe) } else { Source::swept(service, store, describe) }
        };
        let sources = vec![source("apples", &apples, describe()), source("pears", &pears, describe())];
        let witness = LocalWitness::new("test/witness", &[2; 32], Arc::clone(&memory));
        let audit = Service::new(
            Arc::clone(&own) as journal::SharedStore,
            source(audit::records::SERVICE, &own, audit::describe()),
            sources,
            Arc::new(SystemEnv),
            Arc::new(witness),
            Config { log_seed: [1; 32] },
        );
        World { apples, pears, own, memory, fed, audit }
    }

    /// The same stores under a new service: the process was started again.
    pub(crate) fn restarted(&self) -> World {
        let (apples, pears) = (Arc::clone(&self.apples), Arc::clone(&self.pears));
        World::over(self.fed, apples, pears, Arc::clone(&self.own), Arc::clone(&self.memory))
    }

    /// Writes entries to a counter of a service.
    pub(crate) async fn count(
        store: &Arc<MemoryStore>,
        tenant: TenantId,
        number: u8,
        actor: &str,
        events: impl IntoIterator<Item = u64>,
    ) {
        let store: Arc<dyn FeedStore> = store.clone();
        let store: SharedStore = store;
        let journal = Journal::<Counter>::new(store, Arc::new(SystemEnv));
        for command in events {
            let meta = Meta {
                actor: Actor { kind: "api_key".to_owned(), id: actor.to_owned() },
                key: KeyHash([0; 9]),
                fingerprint: [0; 16],
                keep: Keep::No,
                request_id: format!("req_{actor}"),
                trace: None,
            };
            let scope = Scope { tenant, aggregate: counter(number) };
            journal.submit(scope, Request { command, meta }).await.unwrap();
        }
    }

    pub(crate) async fn catch_up(&self) -> u64 {
        self.audit.consumers().catch_up().await.unwrap()
    }

    /// The whole exported file.
    pub(crate) async fn export(&self, tenant: TenantId) -> Vec<u8> {
        let (ctx, mut file, mut token) = (ctx(tenant, "auditor"), Vec::new(), String::new());
        loop {
            let part = self.audit.app().export(&ctx, &token).await.unwrap();
            file.extend_from_slice(&part.data);
            if part.next.is_empty() {
                return file;
            }
            token = part.next;
        }
    }

    /// Sees that the own journals re-compute, and that every journal is a list of leaves in order.
    pub(crate) async fn check(&self) {
        use journal::store::Store as _;
        let store: SharedStore = self.own.clone();
        for (tenant, aggregate, head) in self.own.aggregates(None, 1000).await.unwrap() {
            let finding = audit::verify_aggregate(&store, tenant, aggregate, &head).await.unwrap();
            assert_eq!(finding.faults, Vec::<String>::new());
        }
    }

    /// Every event of a tenant, oldest first: service, counter, sequence.
    pub(crate) async fn all(&self, tenant: TenantId) -> Vec<(String, AggregateId, u64)> {
        let (ctx, mut found, mut token) = (ctx(tenant, "auditor"), Vec::new(), String::new());
        loop {
            let page = self.audit.app().list(&ctx, &Default::default(), 100, &token).await.unwrap();
            found.extend(page.events.into_iter().map(|event| (event.service, event.aggregate, event.seq)));
            if page.next.is_empty() {
                found.reverse();
                return found;
            }
            token = page.next;
        }
    }

    /// Sees that the journals of a tenant are leaves, each entry once and in order.
    pub(crate) async fn complete(&self, tenant: TenantId, entries: usize) {
        let all = self.all(tenant).await;
        assert_eq!(all.len(), entries);
        let mut last: BTreeMap<(String, AggregateId), u64> = BTreeMap::new();
        for (service, aggregate, seq) in all {
            let last = last.entry((service, aggregate)).or_default();
            assert_eq!(seq, *last + 1);
            *last = seq;
        }
        let found = self.audit.app().completeness(tenant, None, 1000).await.unwrap();
        assert_eq!((found.entries, found.gaps, found.next), (entries as u64, vec![], None));
    }
}
