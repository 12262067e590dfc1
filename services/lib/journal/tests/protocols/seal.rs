//! Sealed entries read as they did before, whoever seals and dies meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use journal::memory::MemoryStore;
use journal::seal::{SealStore, Sealing, Segment, Sizes};
use journal::store::{Commit, Order, Outcome, Seq, Store, StoreError};
use journal::{Chain, Journal, SystemEnv, stored};
use tokio::task::JoinHandle;

use super::explore::{Bounds, World, explore, finds_fault};
use super::gated::{Broken, Gated};
use super::relay::{TENANT, aggregate, commit};

const SMALL: Sizes = Sizes { segment: 2, tail: 3 };

/// Entries `expect + 1 ..= expect + count` of aggregate 1, chained.
fn chained(expect: Seq, before: Chain, count: u64) -> Commit {
    let mut commit = commit(1, expect, 1);
    let mut chain = before;
    commit.entries = (1..=count)
        .map(|number| {
            let entry = format!("entry {}", expect + number);
            chain = chain.then(entry.as_bytes());
            stored(chain, entry.as_bytes())
        })
        .collect();
    (commit.head.seq, commit.head.chain) = (expect + count, chain);
    commit
}

async fn append(store: &dyn Store, count: u64) {
    let head = store.head(TENANT, aggregate(1)).await.expect("head").unwrap_or_default();
    let outcome = store.commit(vec![chained(head.seq, head.chain, count)]).await;
    assert_eq!(outcome, Outcome::Applied);
}

/// Reads everything in pages, as long as the store answers.
async fn read_in_pages(store: &Sealing, page: usize) -> Option<Vec<(Seq, Bytes)>> {
    let mut all = Vec::new();
    loop {
        let from = all.len() as u64 + 1;
        let next = store.entries(TENANT, aggregate(1), from, Seq::MAX, Order::Ascending, page).await;
        let next = next.ok()?;
        if next.is_empty() {
            return Some(all);
        }
        for (at, (seq, _)) in (from..).zip(&next) {
            assert_eq!(*seq, at, "an entry is missing");
        }
        all.extend(next);
    }
}

/// Two sealers, one reader, and a store with nine entries.
async fn begin(world: &Arc<World>, broken: Broken) -> (Arc<MemoryStore>, Vec<JoinHandle<()>>) {
    let store = Arc::new(MemoryStore::cluster());
    append(&*store, 9).await;
    let see = |process, broken| {
        let (store, world) = (Arc::clone(&store), Arc::clone(world));
        Sealing::new(Arc::new(Gated { store, world, process, broken }), SMALL)
    };
    let mut tasks = Vec::new();
    for process in 0..2 {
        let store = see(process, Broken::Nothing);
        tasks.push(tokio::spawn(async move {
            match store.seal(TENANT, aggregate(1)).await {
                Ok(sealed) => assert!(sealed >= 6, "{sealed}"),
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }));
    }
    let reader = see(2, broken);
    tasks.push(tokio::spawn(async move {
        if let Some(all) = read_in_pages(&reader, 4).await {
            assert_eq!(all.len(), 9);
        }
    }));
    (store, tasks)
}

async fn end(store: Arc<MemoryStore>) {
    let expected = chained(0, Chain::default(), 9).entries;
    let sealing = Sealing::new(store, SMALL);
    let read = || async { read_in_pages(&sealing, 100).await.expect("reads") };
    let before: Vec<_> = read().await.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(before, expected);
    assert_eq!(sealing.seal(TENANT, aggregate(1)).await, Ok(6));
    let after: Vec<_> = read().await.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(after, expected);
}

/// INV-5: nobody ever misses an entry, whoever seals and wherever it dies.
#[test]
fn a_reader_misses_no_entry_while_it_is_sealed() {
    let explore = |bounds| explore(bounds, async |world| begin(world, Broken::Nothing).await, end);
    assert!(explore(Bounds { switches: 2, crashes: 0, faults: 0 }) > 100);
    assert!(explore(Bounds { switches: 1, crashes: 1, faults: 0 }) > 100);
    assert!(explore(Bounds { switches: 0, crashes: 0, faults: 1 }) > 20);
}

/// The proof that the exploration would notice: who does not look how far entries are sealed misses some.
#[test]
fn a_reader_that_does_not_look_how_far_entries_are_sealed_is_noticed() {
    let bounds = Bounds { switches: 2, crashes: 0, faults: 0 };
    assert!(finds_fault(|| explore(bounds, async |world| begin(world, Broken::Looking).await, end)));
}

/// Every range, in both directions and with every limit, is what it was before.
#[tokio::test]
async fn sealed_entries_are_read_like_others() {
    let (plain, sealed) = (MemoryStore::cluster(), Arc::new(MemoryStore::cluster()));
    append(&plain, 9).await;
    append(&*sealed, 9).await;
    let sealing = Sealing::new(Arc::clone(&sealed) as _, SMALL);
    assert_eq!(sealing.seal(TENANT, aggregate(1)).await, Ok(6));
    let tail = sealed.entries(TENANT, aggregate(1), 0, Seq::MAX, Order::Ascending, 99).await;
    assert_eq!(tail.expect("entries").first().map(|entry| entry.0), Some(7), "the others are gone");
    for order in [Order::Ascending, Order::Descending] {
        for (from, to) in (0..11).flat_map(|from| (0..12).map(move |to| (from, to))) {
            for limit in [0, 1, 2, 3, 5, 99] {
                let read = |store: &dyn Store| {
                    futures::FutureExt::now_or_never(store.entries(
                        TENANT,
                        aggregate(1),
                        from,
                        to,
                        order,
                        limit,
                    ))
                };
                assert_eq!(read(&sealing), read(&plain), "{from}..={to} {order:?} {limit}");
            }
        }
    }
}

/// INV-2: a segment that was changed anywhere is found out, and never read as something else.
#[tokio::test]
async fn a_changed_segment_is_damaged() {
    let store = MemoryStore::cluster();
    append(&store, 4).await;
    let entries = store.entries(TENANT, aggregate(1), 1, 4, Order::Ascending, 9).await.expect("entries");
    let good = Segment::seal(Chain::default(), &entries).expect("seals");
    assert_eq!(good.open(), Ok(entries.clone()));
    assert_eq!(good, Segment::seal(Chain::default(), &entries).expect("seals"), "always the same");
    for bit in 0..good.data.len() * 8 {
        let mut data = good.data.to_vec();
        data[bit / 8] ^= 1 << (bit % 8);
        let read = Segment { data: data.into(), ..good.clone() }.open();
        // A flip may mean the same to the compression; what is read is the truth or an error.
        assert!(read.as_ref().is_err() || read.as_ref() == Ok(&entries), "bit {bit}");
    }
    let changed = [
        Segment { data: good.data.slice(1..), ..good.clone() },
        Segment { data: Bytes::new(), ..good.clone() },
        Segment { last: 3, ..good.clone() },
        Segment { last: 5, ..good.clone() },
        Segment { first: 5, ..good.clone() },
        Segment { codec: 9, ..good.clone() },
        Segment { chain_in: Chain([1; 32]), ..good.clone() },
        Segment { chain_out: Chain([1; 32]), ..good.clone() },
    ];
    for segment in changed {
        assert!(matches!(segment.open(), Err(StoreError::Damaged(_))), "{segment:?}");
    }
    assert!(Segment::seal(Chain::default(), &[entries[0].clone(), entries[2].clone()]).is_err());
}

/// Entries are removed only behind a segment that reads back.
#[tokio::test]
async fn nothing_is_removed_behind_a_segment_that_is_damaged() {
    let store = Arc::new(MemoryStore::cluster());
    append(&*store, 9).await;
    let entries = store.entries(TENANT, aggregate(1), 1, 2, Order::Ascending, 9).await.expect("entries");
    let good = Segment::seal(Chain::default(), &entries).expect("seals");
    let bad = Segment { data: Bytes::from_static(b"bad"), ..good };
    store.put_segment(TENANT, aggregate(1), bad).await.expect("puts");
    let sealing = Sealing::new(Arc::clone(&store) as _, SMALL);
    assert!(matches!(sealing.seal(TENANT, aggregate(1)).await, Err(StoreError::Damaged(_))));
    assert_eq!(read_in_pages(&sealing, 9).await.map(|all| all.len()), Some(9));
}

/// A journal does not notice that its old entries are sealed, and its chain re-computes through them.
#[tokio::test]
async fn a_journal_is_verified_through_its_segments() {
    let sealing = Arc::new(Sealing::new(Arc::new(MemoryStore::default()), Sizes::default()));
    let journal: Journal<crate::Sum> = Journal::new(Arc::clone(&sealing) as _, Arc::new(SystemEnv));
    let id = crate::scope(1).aggregate;
    for _ in 0..20 {
        let requests = (0..200).map(|_| {
            let mut request = crate::request(0, crate::Change::Add(1));
            request.meta.keep = journal::Keep::No;
            (id, request)
        });
        journal.submit_each(TENANT, requests.collect()).await.into_iter().for_each(|answer| {
            answer.expect("applied");
        });
    }
    assert_eq!(sealing.seal(TENANT, id).await, Ok(3072));
    let head = sealing.head(TENANT, id).await.expect("head").expect("present");
    let found = journal.verify(crate::scope(1), &head, |_, _, _| Ok(())).await.expect("reads");
    assert_eq!((found.entries, found.faults), (4000, vec![]));
    let view = journal.state_at(crate::scope(1), 1000).await.expect("reads");
    assert_eq!(view.state.value, 1000);
}
