//! One process hears and reads the journals of another: through a guard and a client, as in a cluster.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use events::{Bus, Envelope, Heard, InProcess, ReadJournal};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::feed::FeedStore as _;
use journal::memory::MemoryStore;
use journal::store::{AttemptId, Commit, Found, Head, NO_BUCKET, Outcome, Store as _};
use journal::{Chain, Seq, StoreError};
use journal_rpc::{Journals, NEEDS, RemoteJournal};
use rpc::{Guard, Minter, Permissions, Services, System, Verifier, wall_clock};
use tower::Layer as _;

const TENANT: TenantId = TenantId::from_bytes([1; 16]);
/// Longer than any of it takes.
const SOON: Duration = Duration::from_secs(10);

fn aggregate(number: u8) -> AggregateId {
    AggregateId::from_bytes([number; 16])
}

/// A service with journals, and one that reads them with the given permissions.
fn world(permissions: &[&str]) -> (Arc<MemoryStore>, Arc<RemoteJournal>) {
    let store = Arc::new(MemoryStore::default());
    let feed: Arc<dyn journal::feed::FeedStore> = Arc::<MemoryStore>::clone(&store);
    let remote = remote(InProcess::new("stock", feed).listener(), permissions);
    (store, remote)
}

/// Who reads a source elsewhere with the given permissions.
fn remote(source: Arc<dyn events::Source>, permissions: &[&str]) -> Arc<RemoteJournal> {
    let minter = Arc::new(Minter::from_seed(&[7; 32], wall_clock()));
    let guard = Guard::new(Arc::new(Verifier::new(&[minter.public_key()], wall_clock())));
    let journals = Journals::server(vec![source]);
    let transport = rpc::local(Services::new(guard.layer(journals)));
    let system = System::new(minter, "audit", Permissions::parse(permissions).expect("permissions"));
    RemoteJournal::new("stock", transport, "audit", system)
}

/// Journals that cannot be read.
struct Unreadable(StoreError);

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Unreadable {
    fn answer<T: Send + 'static>(&self) -> Answer<'_, T> {
        let error = self.0.clone();
        async move { Err(error) }.boxed()
    }
}

impl ReadJournal for Unreadable {
    fn name(&self) -> &str {
        "stock"
    }

    fn read(&self, _: TenantId, _: AggregateId, _: Seq, _: Seq, _: usize) -> Answer<'_, Vec<Envelope>> {
        self.answer()
    }

    fn head(&self, _: TenantId, _: AggregateId) -> Answer<'_, Option<Head>> {
        self.answer()
    }

    fn heads(&self, _: Option<(TenantId, AggregateId)>, _: usize) -> Answer<'_, Vec<Found>> {
        self.answer()
    }
}

impl Bus for Unreadable {
    fn hear(&self, _: u64, _: usize) -> Answer<'_, Heard> {
        self.answer()
    }

    fn moved(&self, _: u64) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }

    fn handled(&self, _: u64) -> Answer<'_, ()> {
        self.answer()
    }
}

/// Over the wire an error means to a consumer what it means in one process: what is damaged is parked, what is
/// destroyed is passed over, and everything else is tried again.
#[tokio::test]
async fn errors_mean_the_same_elsewhere() {
    let check = async |error: StoreError, same: fn(&StoreError) -> bool| {
        let remote = remote(Arc::new(Unreadable(error)), &NEEDS);
        let found = remote.read(TENANT, aggregate(1), 1, 1, 1).await.expect_err("unreadable");
        assert!(same(&found), "{found:?}");
        let found = remote.heads(None, 1).await.expect_err("unreadable");
        assert!(same(&found), "{found:?}");
    };
    let why = || "why".to_owned();
    check(StoreError::Damaged(why()), |found| matches!(found, StoreError::Damaged(_))).await;
    check(StoreError::KeyDestroyed, |found| *found == StoreError::KeyDestroyed).await;
    for again in [StoreError::Unavailable(why()), StoreError::KeyMissing(why())] {
        check(again, |found| matches!(found, StoreError::Unavailable(_))).await;
    }
}

/// Writes entries of `bytes` bytes behind `expect`.
async fn write(store: &MemoryStore, number: u8, expect: u64, entries: usize, bytes: usize) {
    let (mut chain, mut stored) = (Chain([number; 32]), Vec::new());
    for _ in 0..entries {
        let entry = vec![number; bytes];
        chain = chain.then(&entry);
        stored.push(Bytes::from([chain.0.as_slice(), &entry].concat()));
    }
    let head = Head {
        seq: expect + entries as u64,
        attempt: AttemptId([number; 16]),
        chain,
        format: 0x0301,
        header: Bytes::from_static(b"header"),
    };
    let commit = Commit {
        tenant: TENANT,
        aggregate: aggregate(number),
        expect,
        bucket: NO_BUCKET,
        head,
        entries: stored,
        rows: vec![],
        keys: vec![],
        claims: vec![],
        index: vec![],
    };
    assert_eq!(store.commit(vec![commit]).await, Outcome::Applied);
}

#[tokio::test]
async fn heads_and_entries_are_those_of_the_store() {
    let (store, remote) = world(&NEEDS);
    for number in 1..=3 {
        write(&store, number, 0, 2, 10).await;
    }
    assert_eq!(remote.head(TENANT, aggregate(2)).await, store.head(TENANT, aggregate(2)).await);
    assert_eq!(remote.head(TENANT, aggregate(9)).await, Ok(None));
    assert_eq!(remote.heads(None, 10).await, store.aggregates(None, 10).await);
    let after = Some((TENANT, aggregate(1)));
    assert_eq!(remote.heads(after, 1).await, store.aggregates(after, 1).await);
    let read = remote.read(TENANT, aggregate(3), 2, u64::MAX, 10).await.unwrap();
    let [entry] = &read[..] else { panic!("{read:?}") };
    assert_eq!(
        (&*entry.source, entry.tenant, entry.aggregate, entry.seq),
        ("stock", TENANT, aggregate(3), 2)
    );
    assert_eq!((entry.format, entry.bytes.len()), (0x0301, 10));
    assert_eq!(entry.chain, store.head(TENANT, aggregate(3)).await.unwrap().unwrap().chain);
}

#[tokio::test]
async fn large_entries_come_in_parts() {
    let (store, remote) = world(&NEEDS);
    write(&store, 1, 0, 30, 200_000).await;
    let (mut next, mut parts) = (1, 0);
    while next <= 30 {
        let part = remote.read(TENANT, aggregate(1), next, 30, 1_000).await.unwrap();
        assert_eq!(part.first().map(|entry| entry.seq), Some(next));
        (next, parts) = (part.last().unwrap().seq + 1, parts + 1);
    }
    assert!(parts > 1, "{parts}");
}

#[tokio::test]
async fn a_listener_is_woken_and_what_it_handled_is_forgotten() {
    let (store, remote) = world(&NEEDS);
    let nothing = remote.hear(0, 10).await.unwrap();
    assert_eq!((nothing.last, nothing.changes.len()), (0, 0));
    let waiting = tokio::spawn({
        let remote = Arc::clone(&remote);
        async move { remote.moved(0).await }
    });
    tokio::task::yield_now().await;
    write(&store, 1, 0, 2, 10).await;
    tokio::time::timeout(SOON, waiting).await.expect("woken").unwrap();
    let heard = remote.hear(0, 10).await.unwrap();
    assert_eq!(
        heard.changes.iter().map(|change| (change.aggregate, change.seq)).collect::<Vec<_>>(),
        [(aggregate(1), 2)]
    );

    // The feed is kept until enough of it was handled.
    for seq in 2..1_200 {
        write(&store, 1, seq, 1, 10).await;
    }
    let last = remote.hear(heard.upto, 1).await.unwrap().last;
    remote.handled(last).await.unwrap();
    assert_eq!(store.feed(0, 1).await.unwrap().forgotten, 0, "told with the next question");
    assert_eq!(remote.hear(last, 1).await.unwrap().forgotten, last);
}

#[tokio::test]
async fn nobody_reads_without_the_permission() {
    let (_store, remote) = world(&["internal.tenant", "stock.read"]);
    let refused = remote.heads(None, 10).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(remote.hear(0, 1).await.is_err());
}
