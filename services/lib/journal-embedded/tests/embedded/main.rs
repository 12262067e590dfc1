//! The embedded store: the contract of all stores, comparison with the reference, and what happens when
//! the process, the disk or the operator does something unkind.

mod crash;
mod differential;
mod dump;
mod fatal;
mod guards;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::SharedStore;
use journal::feed::FeedStore;
use journal::store::{AttemptId, Chain, Commit, Head, NO_BUCKET, Order, Outcome, Seq, Store};
use journal_embedded::{EmbeddedStore, Options};

journal::store_contract!(embedded, || {
    let directory = tempfile::tempdir().expect("directory");
    let store = open(directory.path());
    (Arc::new(store) as SharedStore, directory)
});

// The same cases on a store that writes its tables after every group, so that reads come from files.
journal::store_contract!(embedded_flushing, || {
    let directory = tempfile::tempdir().expect("directory");
    let store = EmbeddedStore::open(directory.path(), flushing()).expect("open");
    (Arc::new(store) as SharedStore, directory)
});

journal::feed_contract!(embedded_feed, || {
    let directory = tempfile::tempdir().expect("directory");
    let store = open(directory.path());
    (Arc::new(store) as Arc<dyn FeedStore>, directory)
});

journal::feed_contract!(embedded_flushing_feed, || {
    let directory = tempfile::tempdir().expect("directory");
    let store = EmbeddedStore::open(directory.path(), flushing()).expect("open");
    (Arc::new(store) as Arc<dyn FeedStore>, directory)
});

/// Writes its tables after every group, and uses segments of its log again.
fn flushing() -> Options {
    Options { generation_bytes: 1, segment_bytes: 4 * 1024, sync: false, ..Options::default() }
}

fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path, Options::default()).expect("open")
}

fn tenant() -> TenantId {
    TenantId::from_bytes([1; 16])
}

fn aggregate(number: u8) -> AggregateId {
    AggregateId::from_bytes([number; 16])
}

/// A commit of one entry whose head carries the chain over all entries.
fn commit(to: u8, before: &Head, entry: Vec<u8>) -> Commit {
    let entry = Bytes::from(entry);
    let head = Head {
        seq: before.seq + 1,
        attempt: AttemptId([to; 16]),
        chain: before.chain.then(&entry),
        format: 1,
        header: Bytes::from_static(b"header"),
    };
    Commit {
        tenant: tenant(),
        aggregate: aggregate(to),
        expect: before.seq,
        bucket: NO_BUCKET,
        head,
        entries: vec![entry],
        rows: Vec::new(),
        keys: Vec::new(),
        claims: Vec::new(),
        index: Vec::new(),
    }
}

/// Appends an entry to an aggregate and returns its position once it is acknowledged.
async fn append(store: &EmbeddedStore, to: u8, entry: &[u8]) -> Result<Seq, Outcome> {
    let before = store.head(tenant(), aggregate(to)).await.expect("head").unwrap_or_default();
    match store.commit(vec![commit(to, &before, entry.to_vec())]).await {
        Outcome::Applied => Ok(before.seq + 1),
        other => Err(other),
    }
}

/// Reads an aggregate, re-computes its chain, and returns where it is.
async fn verified(store: &EmbeddedStore, of: u8) -> Seq {
    let head = store.head(tenant(), aggregate(of)).await.expect("head").unwrap_or_default();
    let entries = store.entries(tenant(), aggregate(of), 0, Seq::MAX, Order::Ascending, usize::MAX).await;
    let entries = entries.expect("entries");
    assert!(entries.iter().map(|(seq, _)| *seq).eq(1..=head.seq), "a gap in {entries:?}");
    let chain = entries.iter().fold(Chain::default(), |chain, (_, entry)| chain.then(entry));
    assert_eq!(chain, head.chain);
    head.seq
}
