//! Dumps, and stores that are filled from them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ids::TenantId;
use journal::feed::FeedStore as _;
use journal::memory::MemoryStore;
use journal::store::{Outcome, Store as _};
use journal_embedded::{Dump, EmbeddedStore, LoadError, Loader, Options, RawRecord, Section};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::tempdir;

use crate::differential::{Step, compare, compare_tenant, step, take, tenant};
use crate::{append, commit, flushing, open, verified};

const PATIENCE: Duration = Duration::from_secs(60);

fn dump(store: &EmbeddedStore) -> Dump {
    let (dump, paused) = store.pause(PATIENCE).expect("a dump");
    assert!(paused.resume());
    dump
}

fn records(dump: &Dump, section: Section) -> impl Iterator<Item = Result<RawRecord, Infallible>> {
    dump.records(section).map(|record| Ok(record.expect("a record")))
}

fn all(dump: &Dump) -> BTreeMap<(Section, Vec<u8>), Bytes> {
    let section = |section| records(dump, section).map(move |record| (section, record));
    let all = Section::ALL.into_iter().flat_map(section);
    all.map(|(section, record)| record.map(|(key, value)| ((section, key), value)).expect("a record"))
        .collect()
}

/// A new store with what a dump holds.
fn restore(dump: &Dump, path: &Path) {
    let loader = Loader::create(path, &Options::default()).expect("a new store");
    for section in Section::ALL {
        loader.load(section, records(dump, section)).expect("loaded");
    }
    loader.finish(dump.place()).expect("finished");
}

/// A tenant's records in the place of those in a closed store.
fn replace(dump: &Dump, path: &Path, of: TenantId) {
    let loader = Loader::open(path, &Options::default()).expect("open");
    for section in Section::ALL.into_iter().filter(|section| *section != Section::Feed) {
        let of_tenant = |record: &Result<RawRecord, _>| {
            record.as_ref().is_ok_and(|(key, _)| section.tenant(key) == Some(of))
        };
        loader.replace(section, of, records(dump, section).filter(of_tenant)).expect("replaced");
    }
    loader.finish_replaced().expect("finished");
}

/// Takes a dump between `before` and `after` and reads it at the end: it holds what was there in between, whole
/// and for one tenant.
fn run(before: Vec<Step>, after: Vec<Step>, generation_bytes: usize) {
    let directory = tempdir().expect("directory");
    let path = |name: &str| directory.path().join(name);
    let options = Options { generation_bytes, segment_bytes: 64 * 1024, sync: false, ..Options::default() };
    let open = |name: &str| EmbeddedStore::open(path(name), options.clone()).expect("open");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    runtime.block_on(async {
        let (at_dump, at_end) = (MemoryStore::default(), MemoryStore::default());
        let other = MemoryStore::default();
        let store = open("store");
        for step in before {
            take(&store, &at_end, step.clone()).await;
            take(&other, &at_dump, step).await;
        }
        let (dump, feed) = (dump(&store), store.feed(0, usize::MAX).await);
        for step in after {
            take(&store, &at_end, step).await;
        }
        restore(&dump, &path("restored"));
        let restored = open("restored");
        compare(&restored, &at_dump).await;
        assert_eq!(restored.feed(0, usize::MAX).await, feed);

        // A dump keeps its store open.
        drop((store, dump));
        let (dump, paused) = restored.pause(PATIENCE).expect("a dump");
        drop(paused);
        replace(&dump, &path("store"), tenant(1));
        for _ in 0..2 {
            let store = open("store");
            compare_tenant(&store, &at_dump, tenant(1)).await;
            compare_tenant(&store, &at_end, tenant(2)).await;
            // Whoever follows the feed compares all heads instead.
            let feed = store.feed(0, usize::MAX).await.expect("a feed");
            assert!(feed.groups.is_empty() && feed.forgotten == feed.last && 0 < feed.last);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_dump_holds_the_moment_at_which_it_was_taken(before in vec(step(), 1..30), after in vec(step(), 0..30)) {
        run(before, after, usize::MAX / 2);
    }

    #[test]
    fn a_dump_of_tables_holds_the_moment_at_which_it_was_taken(
        before in vec(step(), 1..30),
        after in vec(step(), 0..30),
    ) {
        run(before, after, 2 * 1024);
    }
}

/// Writes to a store until it is told to stop; the entry of each number is acknowledged before the next one.
async fn write(stores: &[EmbeddedStore], stop: &AtomicBool, to: u8) {
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        for store in stores {
            append(store, to, &number.to_be_bytes()).await.expect("acknowledged");
        }
        number += 1;
    }
}

/// Goal: dumps of several stores are one cut, and miss nothing that was acknowledged before.
/// Method: writers whose entry in the second store follows the one in the first; both are restored.
#[test]
fn dumps_of_paused_stores_are_one_cut() {
    const WRITERS: u8 = 4;
    let directory = tempdir().expect("directory");
    let path = |name: &str| directory.path().join(name);
    let stores = ["one", "two"].map(|name| EmbeddedStore::open(path(name), flushing()).expect("open"));
    let (stores, stop) = (&stores, &AtomicBool::new(false));
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    std::thread::scope(|scope| {
        for to in 0..WRITERS {
            scope.spawn(move || runtime().block_on(write(stores, stop, to)));
        }
        for round in 0..6 {
            let heads = |store| async move {
                let heads = (0..WRITERS).map(|to| verified(store, to));
                futures::future::join_all(heads).await
            };
            let runtime = runtime();
            let before = runtime.block_on(heads(&stores[1]));
            // The order does not matter.
            let (first, second) = (round % 2, 1 - round % 2);
            let (one, paused) = stores[first].pause(PATIENCE).expect("a dump");
            let (two, also_paused) = stores[second].pause(PATIENCE).expect("a dump");
            assert!(paused.resume() && also_paused.resume(), "within the time");
            let restored = [one, two].map(|dump| {
                let to = path(&format!("{round}-{}", all(&dump).len()));
                let to = if to.exists() { to.with_extension("b") } else { to };
                restore(&dump, &to);
                open(&to)
            });
            let (one, two) = (&restored[first], &restored[second]);
            let (one, two) = (runtime.block_on(heads(one)), runtime.block_on(heads(two)));
            for ((one, two), before) in one.into_iter().zip(two).zip(before) {
                assert!(before <= two, "{two} of {before} that were acknowledged before");
                assert!(two <= one && one <= two + 1, "{one} in the first store, {two} in the second");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[tokio::test]
async fn a_restored_store_goes_on_and_opens_again() {
    let directory = tempdir().expect("directory");
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let store = open(&from);
    for number in 0..20_u8 {
        append(&store, number % 3, &[number]).await.expect("acknowledged");
    }
    let dump = dump(&store);
    restore(&dump, &to);
    for round in 0..3 {
        let restored = open(&to);
        assert_eq!(verified(&restored, 0).await, 7 + round);
        append(&restored, 0, b"more").await.expect("acknowledged");
        assert_eq!(verified(&store, 0).await, 7, "the first store is another one");
    }
}

#[test]
fn what_is_no_dump_is_not_loaded() {
    let directory = tempdir().expect("directory");
    let loader = Loader::create(directory.path(), &Options::default()).expect("a new store");
    let record = |key: &[u8]| Ok::<_, &str>((key.to_vec(), Bytes::new()));
    let load = |records: Vec<Result<RawRecord, &'static str>>| loader.load(Section::Row, records.into_iter());
    assert!(matches!(load(vec![record(b"b"), record(b"a")]), Err(LoadError::Order)));
    assert!(matches!(load(vec![record(b"a"), record(b"a")]), Err(LoadError::Order)));
    assert!(matches!(load(vec![record(b"a"), Err("gone")]), Err(LoadError::Source("gone"))));
    assert_eq!(loader.value(Section::Row, b"a"), Ok(None));
    load(vec![record(b"a")]).expect("loaded");
    assert_eq!(loader.value(Section::Row, b"a"), Ok(Some(Vec::new())));
    drop(loader);
    assert!(Loader::create(directory.path(), &Options::default()).is_ok(), "it was not finished");
}

#[tokio::test]
async fn a_store_that_is_closed_gives_no_dump() {
    let directory = tempdir().expect("directory");
    let store = open(directory.path());
    append(&store, 1, b"entry").await.expect("acknowledged");
    let (_, paused) = store.pause(PATIENCE).expect("a dump");
    drop(paused); // as if its owner had died
    append(&store, 1, b"entry").await.expect("acknowledged");
    let (_, paused) = store.pause(PATIENCE).expect("a dump");
    let waiting = store.commit(vec![commit(2, &Default::default(), b"waits".to_vec())]);
    assert!(paused.resume());
    assert_eq!(waiting.await, Outcome::Applied);
    store.close();
    assert!(store.pause(PATIENCE).is_err());
}
