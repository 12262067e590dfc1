//! An aggregate that counts what was posted to it, and writers that post, know what was acknowledged, and compare.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::claims::Claiming;
use journal::group::Grouping;
use journal::relay::{Owner, Publish};
use journal::relay_store::Sink;
use journal::store::{KeyHash, Order, Store, StoreError};
use journal::{
    Actor, Aggregate, Changes, Damage, Error, Journal, Keep, Meta, Need, Rejection, Request, Scope, Seq,
    SharedStore, SystemEnv, unstored,
};
use journal_cql::{Config, CqlStore};
use parking_lot::Mutex;

pub(crate) const TENANT: TenantId = TenantId::from_bytes([1; 16]);

pub(crate) fn aggregate(number: u8) -> AggregateId {
    AggregateId::from_bytes([number; 16])
}

/// What a writer posts: its number, and its how manieth post it is.
pub(crate) type Post = [u8; 8];

fn post(writer: u16, number: u32) -> Post {
    let mut post = [0; 8];
    post[..2].copy_from_slice(&writer.to_be_bytes());
    post[4..].copy_from_slice(&number.to_be_bytes());
    post
}

/// How many posts there are.
#[derive(Default)]
pub(crate) struct Tally {
    count: u64,
}

impl Aggregate for Tally {
    type Command = Post;
    type Event = Post;
    type Error = ();

    const KIND: u8 = 9;
    const FORMAT: u8 = 1;

    fn needs(&self, _: &Post) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, _: &Need, _: Option<&[u8]>) -> Result<(), Damage> {
        Ok(())
    }

    fn decide(&self, command: &Post, _: calendar::Instant) -> Result<Vec<Post>, ()> {
        Ok(vec![*command])
    }

    fn evolve(&mut self, _: &Post, _: Seq, _: calendar::Instant) {
        self.count += 1;
    }

    fn project(&self, event: &Post, _: Seq, changes: &mut Changes) {
        changes.index(1, event.to_vec(), Bytes::new());
    }

    fn save(&mut self, changes: &mut Changes) {
        changes.rows.push(("count".into(), Some(Bytes::copy_from_slice(&self.count.to_be_bytes()))));
    }

    fn header(&self) -> Bytes {
        Bytes::copy_from_slice(&self.count.to_be_bytes())
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let bytes = header.try_into().map_err(|_| Damage("header".into()))?;
        Ok(Tally { count: u64::from_be_bytes(bytes) })
    }

    fn encode(event: &Post) -> Bytes {
        Bytes::copy_from_slice(event)
    }

    fn decode(bytes: &[u8]) -> Result<Post, Damage> {
        bytes.try_into().map_err(|_| Damage("event".into()))
    }
}

/// Counts what is relayed.
#[derive(Default)]
struct Heard(AtomicU64);

impl Publish for Heard {
    fn sink(&self) -> Sink {
        1
    }

    fn publish(
        &self,
        _: TenantId,
        _: AggregateId,
        entries: Vec<(Seq, Bytes)>,
    ) -> futures::future::BoxFuture<'_, Result<(), StoreError>> {
        self.0.fetch_add(entries.len() as u64, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}

/// A process, as the database sees it: a session, an instance, a journal.
pub(crate) struct Process {
    pub(crate) store: Arc<Claiming>,
    pub(crate) journal: Journal<Tally>,
    owner: tokio::task::JoinHandle<()>,
}

impl Process {
    pub(crate) async fn start(config: &Config) -> Process {
        let store = Arc::new(CqlStore::open(config).await.expect("opens"));
        let grouping = Arc::new(Grouping::new(store));
        let owner =
            Owner::new(Arc::clone(&grouping) as _, Arc::new(SystemEnv), vec![Arc::new(Heard::default())]);
        let store = Arc::new(Claiming::new(grouping));
        let journal =
            Journal::shared(Arc::clone(&store) as SharedStore, Arc::new(SystemEnv), Arc::clone(&owner));
        let owner = tokio::spawn(async move { owner.run(std::future::pending()).await });
        Process { store, journal, owner }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.owner.abort();
    }
}

/// What writers were told.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Acknowledged posts, with the aggregates that they went to.
    acknowledged: Mutex<BTreeMap<Post, Vec<u8>>>,
    /// When.
    moments: Mutex<Vec<Instant>>,
    /// Answers that said that the outcome is unknown, or that nothing was written.
    pub(crate) unknown: AtomicU64,
    pub(crate) refused: AtomicU64,
    stop: AtomicBool,
}

impl Ledger {
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// Acknowledgements after a moment.
    pub(crate) fn since(&self, moment: Instant) -> usize {
        self.moments.lock().iter().filter(|at| **at > moment).count()
    }

    /// The longest time between two acknowledgements from `from` on.
    pub(crate) fn longest_gap(&self, from: Instant) -> Duration {
        let mut moments: Vec<_> = self.moments.lock().iter().copied().filter(|at| *at > from).collect();
        moments.push(Instant::now());
        moments.sort();
        let mut last = from;
        let gaps = moments.into_iter().map(|at| at.duration_since(std::mem::replace(&mut last, at)));
        gaps.max().unwrap_or_default()
    }

    /// Waits for an acknowledgement after now.
    pub(crate) async fn next(&self, within: Duration) -> Duration {
        let (since, count) = (Instant::now(), self.count());
        while self.count() == count {
            assert!(since.elapsed() < within, "no write resumed within {within:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        since.elapsed()
    }

    /// Posts to the aggregates, all at once if there are several, until it is told to stop. A post is repeated under
    /// its key until it is acknowledged.
    pub(crate) async fn write(&self, process: &Process, writer: u16, to: &[u8], posts_max: u32) {
        for number in 0..posts_max {
            let post = post(writer, number);
            while !self.write_one(process, post, to).await {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut places = to.to_vec();
            places.sort_unstable();
            self.acknowledged.lock().insert(post, places);
            self.moments.lock().push(Instant::now());
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    async fn write_one(&self, process: &Process, post: Post, to: &[u8]) -> bool {
        let request = |number: u8| {
            let actor = Actor { kind: "system".into(), id: "test".into() };
            let mut key = [number; 9];
            key[1..].copy_from_slice(&post);
            let (key, request_id) = (KeyHash(key), String::new());
            Request {
                command: post,
                meta: Meta { actor, key, fingerprint: [0; 16], keep: Keep::USUAL, request_id, trace: None },
            }
        };
        let rejection = match to {
            [one] => {
                let scope = Scope { tenant: TENANT, aggregate: aggregate(*one) };
                process.journal.submit(scope, request(*one)).await.err()
            }
            many => {
                let all = many.iter().map(|number| (aggregate(*number), request(*number))).collect();
                process.journal.submit_all(TENANT, all).await.err().map(|error| error.rejection)
            }
        };
        match rejection {
            None => return true,
            Some(Rejection::Journal(Error::OutcomeUnknown)) => self.unknown.fetch_add(1, Ordering::Relaxed),
            Some(Rejection::Journal(
                Error::Unavailable(_) | Error::ConcurrentUpdate | Error::InProgress | Error::Overloaded,
            )) => self.refused.fetch_add(1, Ordering::Relaxed),
            Some(other) => panic!("{other:?}"),
        };
        false
    }

    /// Compares with what is stored: INV-1, INV-2, and batches that are there as a whole.
    pub(crate) async fn compare(&self, process: &Process, aggregates: &[u8]) {
        let mut found: BTreeMap<Post, Vec<u8>> = BTreeMap::new();
        for number in aggregates {
            for post in posts(&*process.store, *number).await {
                let places = found.entry(post).or_default();
                assert!(!places.contains(number), "{post:?} was posted twice to {number}");
                places.push(*number);
            }
            let scope = Scope { tenant: TENANT, aggregate: aggregate(*number) };
            let head = process.store.head(TENANT, scope.aggregate).await.expect("head").expect("born");
            let finding = process.journal.verify(scope, &head, |_, _, _| Ok(())).await.expect("verifies");
            assert_eq!((finding.faults, finding.entries), (vec![], head.seq));
            let rows = process.store.rows(TENANT, scope.aggregate, vec!["count".into()]).await.expect("rows");
            assert_eq!(rows, [Some(Bytes::copy_from_slice(&head.seq.to_be_bytes()))]);
        }
        for (post, places) in self.acknowledged.lock().iter() {
            assert_eq!(found.get(post), Some(places), "{post:?} was acknowledged");
        }
        let whole = |writer: &[u8]| {
            self.acknowledged.lock().iter().find(|(post, _)| &post[..2] == writer).map(|at| at.1.len())
        };
        for (post, places) in &found {
            let expected = whole(&post[..2]);
            assert!(expected.is_none_or(|expected| expected == places.len()), "half of {post:?} is there");
        }
    }
}

/// What is posted to an aggregate, in order and without a gap.
pub(crate) async fn posts(store: &dyn Store, number: u8) -> Vec<Post> {
    let entries = store.entries(TENANT, aggregate(number), 1, Seq::MAX, Order::Ascending, usize::MAX).await;
    let post = |(at, (seq, bytes)): (u64, (Seq, Bytes))| {
        assert_eq!(at, seq, "a gap");
        let (_, entry) = unstored(bytes).expect("decodes");
        Tally::decode(&journal::Entry::read(entry).expect("decodes").event).expect("decodes")
    };
    (1..).zip(entries.expect("entries")).map(post).collect()
}

/// How many commits made the entries of an aggregate.
pub(crate) async fn commits(store: &dyn Store, number: u8) -> usize {
    let entries = store.entries(TENANT, aggregate(number), 1, Seq::MAX, Order::Ascending, usize::MAX).await;
    let attempt = |(_, bytes): (Seq, Bytes)| {
        let (_, entry) = unstored(bytes).expect("decodes");
        journal::Entry::read(entry).expect("decodes").attempt
    };
    let mut attempts: Vec<_> = entries.expect("entries").into_iter().map(attempt).collect();
    attempts.dedup();
    attempts.len()
}
