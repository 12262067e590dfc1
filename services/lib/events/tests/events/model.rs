//! Read models over a store, rebuilt while they are live.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use events::model::{Projection, ReadModel, Rows};
use events::{Consumer, Envelope, Source, Undecodable};
use journal::SystemEnv;
use journal::memory::MemoryStore;
use journal::store::Store;

use crate::world::{Service, tenant};

/// How often each text was said, and by which aggregate last. The second version does not count "noise".
#[derive(Default)]
struct Words {
    quiet: Arc<AtomicBool>,
}

impl Projection for Words {
    const NAME: &'static str = "words";
    type Event = String;

    fn decode(&self, envelope: &Envelope) -> Result<String, Undecodable> {
        let entry = envelope.entry().map_err(|damage| Undecodable(damage.to_string()))?;
        String::from_utf8(entry.event.to_vec()).map_err(|error| Undecodable(error.to_string()))
    }

    fn reads(&self, _: &Envelope, text: &String) -> Vec<Bytes> {
        vec![text.clone().into()]
    }

    fn project(&self, _: &Envelope, text: &String, rows: &mut Rows) {
        if text == "noise" && self.quiet.load(Ordering::Relaxed) {
            return;
        }
        let count = rows.get(text.as_bytes()).map_or(0, |row| row[0]);
        rows.set(text.clone(), vec![count + 1]);
    }
}

struct Model {
    store: Arc<MemoryStore>,
    words: Arc<ReadModel<Words>>,
    quiet: Arc<AtomicBool>,
}

async fn model(store: Arc<MemoryStore>) -> Model {
    let words = Words::default();
    let quiet = Arc::clone(&words.quiet);
    let words = ReadModel::open(Arc::clone(&store) as _, Arc::new(SystemEnv), words).await.expect("opens");
    Model { store, words, quiet }
}

impl Model {
    async fn count(&self, of: u8, text: &'static str) -> Option<u8> {
        let rows = self.words.get(tenant(of), vec![text.into()]).await.expect("reads");
        rows[0].as_ref().map(|row| row[0])
    }

    async fn follow(&self, service: &Service) -> u64 {
        let sink = self.words.sink(self.words.live());
        let consumer = Consumer::new("words", service.bus.listener(), sink);
        let step = consumer.catch_up().await.expect("answers");
        assert!(consumer.check().await.expect("check").is_complete());
        step.applied
    }
}

/// Rows and cursors are in one write, so a restart counts nothing twice; tenants are apart.
#[tokio::test]
async fn a_model_counts_every_entry_once() {
    let service = Service::new("stock");
    for text in ["a", "b", "a"] {
        service.write(1, 1, text).await;
        service.write(1, 2, text).await;
    }
    service.write(2, 1, "a").await;
    let store = Arc::new(MemoryStore::default());
    assert_eq!(model(Arc::clone(&store)).await.follow(&service).await, 7);
    service.write(1, 1, "b").await;
    let model = model(store).await;
    assert_eq!(model.follow(&service).await, 1, "the rest was counted before the restart");
    assert_eq!((model.count(1, "a").await, model.count(1, "b").await), (Some(4), Some(3)));
    assert_eq!((model.count(2, "a").await, model.count(2, "b").await), (Some(1), None));
    let all = model.words.scan(tenant(1), b"", 9).await.expect("reads");
    assert_eq!(all.iter().map(|(key, _)| &key[..]).collect::<Vec<_>>(), [b"a", b"b"]);
}

/// A generation is built beside the live one: what is read does not change before the switch, and is all there
/// after it, also what was written meanwhile.
#[tokio::test]
async fn a_model_is_rebuilt_beside_the_live_one_and_switched() {
    let service = Service::new("stock");
    for text in ["a", "noise", "noise"] {
        service.write(1, 1, text).await;
    }
    let store = Arc::new(MemoryStore::default());
    let model = model(store).await;
    model.follow(&service).await;
    model.quiet.store(true, Ordering::Relaxed);
    assert_eq!((model.words.live(), model.count(1, "noise").await), (1, Some(2)));

    // As a build that stopped half-way leaves it.
    let half = Consumer::new("words", service.bus.listener(), model.words.sink(2));
    half.step().await.expect("answers");
    assert_eq!(model.count(1, "noise").await, Some(2), "the old one is read");
    service.write(1, 1, "a").await;
    let sources: [Arc<dyn Source>; 1] = [service.bus.listener()];
    assert_eq!(model.words.rebuild(&sources).await, Ok(2));
    assert_eq!((model.words.live(), model.count(1, "noise").await), (2, None));
    assert_eq!(model.count(1, "a").await, Some(2));
    assert_eq!(model.follow(&service).await, 0);

    // Nothing of the old one is left but its heads, and the next start reads the new one.
    let mut rows = 0;
    for (tenant, aggregate, _) in model.store.aggregates(None, 99).await.expect("heads") {
        let found = model.store.scan_rows(tenant, aggregate, Bytes::new(), 99).await.expect("rows");
        rows += found.len();
    }
    assert_eq!(rows, 4, "a count, a cursor, a position and which generation is live");
    let again = super::model::model(Arc::clone(&model.store)).await;
    assert_eq!((again.words.live(), again.count(1, "a").await), (2, Some(2)));
}

/// What the new generation does not understand keeps the old one live.
#[tokio::test]
async fn a_generation_that_is_not_complete_is_not_switched_to() {
    let service = Service::new("stock");
    service.write(1, 1, "a").await;
    service.put(1, 2, &Default::default(), Default::default(), "short".into()).await;
    let model = model(Arc::new(MemoryStore::default())).await;
    let sources: [Arc<dyn Source>; 1] = [service.bus.listener()];
    assert!(model.words.rebuild(&sources).await.is_err());
    assert_eq!(model.words.live(), 1);
    let parked = Consumer::new("words", service.bus.listener(), model.words.sink(2)).parked(None, 9).await;
    assert_eq!(parked.expect("reads").len(), 1);
}

/// A running model follows into the next generation by itself.
#[tokio::test(start_paused = true)]
async fn a_running_model_follows_the_live_generation() {
    let service = Service::new("stock");
    let model = model(Arc::new(MemoryStore::default())).await;
    let words = Arc::clone(&model.words);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let source: Arc<dyn Source> = service.bus.listener();
    let sources = vec![Arc::clone(&source)];
    let running = tokio::spawn(async move {
        let stop = async {
            let _ = stopped.await;
        };
        words.run(sources, stop).await;
    });
    for generation in 1..=3_u8 {
        service.write(1, 1, "a").await;
        while model.count(1, "a").await != Some(generation) {
            tokio::task::yield_now().await;
        }
        model.words.rebuild(&[Arc::clone(&source)]).await.expect("rebuilds");
        assert_eq!(model.words.live(), u32::from(generation) + 1);
    }
    drop(stop);
    running.await.expect("it stops");
    assert_eq!(model.count(1, "a").await, Some(3));
}
