//! What is left in the tables, and what does not fit into them.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use journal::Order;
use journal::group::Grouping;
use journal::seal::{Sealing, Sizes};
use journal::store::{AttemptId, Chain, Commit, Head, IndexChange, NO_BUCKET, Outcome, Refusal, Seq, Store};
use journal_cql::{COMMIT_BYTES_MAX, COMMIT_ROWS_MAX};

use crate::tally::{Ledger, Process, TENANT, aggregate};
use crate::{drop_keyspace, keyspace, one_node, session, store};

/// A commit of entries to aggregate 1.
pub(crate) fn commit(expect: Seq, entries: Vec<Bytes>) -> Commit {
    let seq = expect + entries.len() as Seq;
    let (attempt, chain) = (AttemptId([seq.to_be_bytes()[7]; 16]), Chain::default());
    Commit {
        tenant: TENANT,
        aggregate: aggregate(1),
        expect,
        bucket: NO_BUCKET,
        head: Head { seq, attempt, chain, format: 1, header: Bytes::new() },
        entries,
        rows: vec![],
        keys: vec![],
        claims: vec![],
        index: vec![],
    }
}

/// Sequences of the commits whose index rows still wait.
async fn waiting(config: &journal_cql::Config) -> Vec<u64> {
    let read = format!("SELECT k FROM {}.journal WHERE tenant=? AND agg=? AND kind=5", config.keyspace);
    let (tenant, at) = (TENANT.as_bytes().to_vec(), aggregate(1).as_bytes().to_vec());
    let rows = session(config).await.query_iter(read, (tenant, at)).await.expect("reads");
    let rows = rows.rows_stream::<(Vec<u8>,)>().expect("rows").try_collect::<Vec<_>>().await.expect("rows");
    rows.into_iter().map(|(key,)| u64::from_be_bytes(key.try_into().expect("a sequence"))).collect()
}

/// Index rows that were moved do not pile up, and those of another process stay until they are moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn index_rows_that_were_moved_are_removed() {
    let node = tokio::task::block_in_place(one_node);
    let config = keyspace(node).await;
    let other = store(&config).await;
    let grouping = Grouping::new(Arc::new(store(&config).await));
    let one = |seq: Seq| {
        let mut commit = commit(seq, vec!["e".into()]);
        let key = Bytes::copy_from_slice(&seq.to_be_bytes());
        commit.index.push(IndexChange { index: 1, key, value: Some("v".into()) });
        commit
    };
    for seq in 0..4 {
        assert_eq!(grouping.commit(vec![one(seq)]).await, Outcome::Applied);
        assert_eq!(waiting(&config).await, [seq + 1], "the one before is removed");
    }
    assert_eq!(other.commit(vec![one(4)]).await, Outcome::Applied);
    assert_eq!(waiting(&config).await, [4, 5]);
    assert_eq!(grouping.commit(vec![commit(5, vec!["e".into()])]).await, Outcome::Applied);
    assert_eq!(waiting(&config).await, [5], "nobody has moved it");
    assert_eq!(grouping.commit(vec![one(6)]).await, Outcome::Applied);
    assert_eq!(waiting(&config).await, [5, 7]);
    assert_eq!(grouping.commit(vec![commit(7, vec!["e".into()])]).await, Outcome::Applied);
    assert_eq!(waiting(&config).await, [] as [u64; 0]);
    let rows = other.index(TENANT, 1, Bytes::new(), None, 9).await.expect("index");
    assert_eq!(rows.len(), 6);
    drop_keyspace(&config).await;
}

/// The largest commits that this store takes are taken by the database, and larger ones are refused as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_too_large_is_refused() {
    let node = tokio::task::block_in_place(one_node);
    let config = keyspace(node).await;
    let store = store(&config).await;
    let many = |count| vec![Bytes::from_static(b"entry"); count];
    let large = |rest: usize| {
        let mut entries = vec![Bytes::from(vec![7; 64 * 1024]); COMMIT_BYTES_MAX / (64 * 1024) - 1];
        entries.push(vec![7; 64 * 1024 + rest].into());
        entries
    };
    for (entries, rule) in [
        (many(COMMIT_ROWS_MAX + 1), "more than 2048 rows in a commit"),
        (large(1), "more than 1 MiB in a commit"),
    ] {
        let refused = store.commit(vec![commit(0, entries)]).await;
        assert_eq!(refused, Outcome::Refused(Refusal::Invalid { at: 0, rule }));
    }
    assert_eq!(store.head(TENANT, aggregate(1)).await, Ok(None));
    let mut seq = 0;
    for entries in [many(COMMIT_ROWS_MAX), large(0)] {
        let count = entries.len() as Seq;
        assert_eq!(store.commit(vec![commit(seq, entries)]).await, Outcome::Applied);
        seq += count;
    }
    let order = journal::Order::Ascending;
    let entries = store.entries(TENANT, aggregate(1), 1, Seq::MAX, order, usize::MAX).await.expect("entries");
    assert!((1..=seq).eq(entries.iter().map(|(seq, _)| *seq)));
    drop_keyspace(&config).await;
}

/// Old entries become segments, and are read as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_entries_are_read_through_their_segments() {
    let node = tokio::task::block_in_place(one_node);
    let config = keyspace(node).await;
    Ledger::default().write(&Process::start(&config).await, 0, &[1], 20).await;
    let store = Arc::new(store(&config).await);
    let sealing = Sealing::new(Arc::clone(&store) as _, Sizes { segment: 4, tail: 6 });
    let read = async |store: &dyn Store, order| {
        store.entries(TENANT, aggregate(1), 1, Seq::MAX, order, usize::MAX).await.expect("entries")
    };
    let before = read(&*store, Order::Ascending).await;
    assert_eq!(before.len(), 20);
    assert_eq!(sealing.seal(TENANT, aggregate(1)).await, Ok(16));
    assert_eq!(read(&*store, Order::Ascending).await, before[16..]);
    assert_eq!(read(&sealing, Order::Ascending).await, before);
    let mut backwards = read(&sealing, Order::Descending).await;
    backwards.reverse();
    assert_eq!(backwards, before);
    drop_keyspace(&config).await;
}
