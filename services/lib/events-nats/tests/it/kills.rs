//! A process is killed at every step between a command and its message.

use std::sync::Arc;

use events_nats::announcement::{Announcement, Says};
use events_nats::{NatsBus, Publisher};
use journal::memory::MemoryStore;
use journal::relay::{Adopter, BUCKET_S, Owner, Publish};
use journal::relay_store::{InstanceId, RelayStore};
use journal::store::{Outcome, Store};

use crate::mortal::{Ahead, Fate, Life, Mortal, MortalPublish};
use crate::server::Server;
use crate::world::{Journals, Kept, SERVICE, TENANT, aggregate, append, consumer, eventually, run};

struct Scene {
    store: Arc<MemoryStore>,
    publisher: Arc<Publisher>,
}

impl Scene {
    /// One process appends two entries to an aggregate, relays, and sweeps its bucket. Gives back how many steps it
    /// took, and how many of the entries were acknowledged.
    async fn process(&self, to: u64, fate: Fate, at: usize) -> (usize, u64) {
        let life = Life::new(fate, at);
        let mortal = Arc::new(Mortal { store: Arc::clone(&self.store), life: Arc::clone(&life) });
        let env = Arc::new(Ahead::default());
        let publisher = MortalPublish { to: Arc::clone(&self.publisher), life: Arc::clone(&life) };
        let sinks: Vec<Arc<dyn Publish>> = vec![Arc::new(publisher)];
        let owner = Owner::new(Arc::clone(&mortal) as _, Arc::clone(&env) as _, sinks);
        let mut acknowledged = 0;
        let work = async {
            for text in ["first", "second"] {
                if append(&owner, &*mortal, to, text).await == Outcome::Applied {
                    acknowledged += 1;
                }
                let _ = owner.relay().await;
            }
            env.by(BUCKET_S);
            // What failed is tried again, as a process does that lives.
            for _ in 0..3 {
                let _ = owner.sweep().await;
            }
        };
        life.live(work).await;
        (life.steps(), acknowledged)
    }

    /// Somebody else takes over what was left; gives back from how many processes.
    async fn adopt(&self) -> usize {
        let sinks: Vec<Arc<dyn Publish>> = vec![Arc::clone(&self.publisher) as _];
        let adopter = Adopter::new(Arc::clone(&self.store) as _, sinks, InstanceId([9; 16]));
        let leases = self.store.leases(None, 99).await.expect("leases");
        for (instance, lease) in &leases {
            assert!(adopter.adopt(*instance, lease.clone()).await.expect("adopts"));
        }
        leases.len()
    }

    async fn head(&self, of: u64) -> u64 {
        self.store.head(TENANT, aggregate(of)).await.expect("head").map_or(0, |head| head.seq)
    }
}

/// Up to where the messages on the server tell of each aggregate.
async fn announced(server: &Server) -> std::collections::BTreeMap<ids::AggregateId, u64> {
    let admin = server.admin().await;
    let stream = admin.get_stream("cp-test-stock").await.expect("a stream");
    let state = stream.cached_info().state.clone();
    let mut announced = std::collections::BTreeMap::new();
    for at in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(at).await.expect("a message");
        let announcement = Announcement::decode(&message.payload).expect("one of ours");
        let Says::Changed(change) = announcement.says else { panic!("{announcement:?}") };
        let seq = announced.entry(change.aggregate).or_insert(0);
        *seq = change.seq.max(*seq);
    }
    announced
}

/// INV-7: there is a message if and only if there is a commit, wherever the process dies or a step fails; and what was
/// acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_if_and_only_if_a_commit_wherever_a_process_dies() {
    let server = Server::start();
    let bus: Arc<NatsBus> = server.bus().await;
    let publisher = bus.publisher(SERVICE, 1).expect("a name");
    let scene = Scene { store: Arc::new(MemoryStore::cluster()), publisher };
    let (journal, sink) = (Journals::of(Arc::clone(&scene.store) as _), Arc::new(Kept::default()));
    let consumer = consumer(&bus, &journal, &sink);
    consumer.catch_up().await.expect("answers");
    let running = run(&consumer);
    // Nobody fails: how many steps there are.
    let (steps, acknowledged) = scene.process(1, Fate::Dies, usize::MAX).await;
    assert!(steps > 30, "{steps}");
    assert_eq!((acknowledged, scene.head(1).await), (2, 2));
    let (mut to, mut left, mut only_by_adoption) = (1, 0, 0);
    for fate in [Fate::Dies, Fate::Fails] {
        for at in 0..steps {
            to += 1;
            let (_, acknowledged) = scene.process(to, fate, at).await;
            let committed = scene.head(to).await;
            assert!(committed >= acknowledged, "{fate:?} {at}: an acknowledged entry is lost");
            let before = announced(&server).await.get(&aggregate(to)).copied().unwrap_or(0);
            left += scene.adopt().await;
            only_by_adoption += usize::from(before < committed);
            eventually("what was committed", async || sink.seqs(to).len() as u64 == scene.head(to).await)
                .await;
        }
    }
    let announced = announced(&server).await;
    for number in 1..=to {
        let told = announced.get(&aggregate(number)).copied().unwrap_or(0);
        assert_eq!(told, scene.head(number).await, "aggregate {number}");
    }
    sink.assert_equals(&*scene.store).await;
    assert_eq!(journal.compared(), 1, "the bus told of everything");
    // Otherwise this test would not see it if nobody took over.
    assert!(left > 0 && only_by_adoption > 5, "{left} {only_by_adoption}");
    running.stop().await;
}
