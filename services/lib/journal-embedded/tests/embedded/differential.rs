//! The same random groups on this store and on the reference, and every read compared.

use std::sync::Arc;

use bytes::Bytes;
use ids::{AggregateId, TenantId};
use journal::SharedStore;
use journal::memory::MemoryStore;
use journal::store::{
    AttemptId, Chain, Claim, ClaimChange, Commit, Head, IndexChange, KeyHash, KeyRow, NO_BUCKET, Order, Seq,
    Store,
};
use journal_embedded::{EmbeddedStore, Options};
use proptest::collection::vec;
use proptest::prelude::*;

const TENANTS: u8 = 2;
const AGGREGATES: u8 = 4;
const KEYS: u8 = 6;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Commit { tenant: u8, members: Vec<Member> },
    Forget { now_s: u64 },
    Reopen,
}

/// A commit, with its position given relative to where the aggregate is: usually the right one.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    aggregate: u8,
    behind: Seq,
    entries: Vec<Vec<u8>>,
    rows: Vec<(u8, Option<u8>)>,
    keys: Vec<(u8, u64)>,
    claims: Vec<(bool, u8)>,
    index: Vec<(Vec<u8>, Option<u8>)>,
}

fn member() -> impl Strategy<Value = Member> {
    (
        0..AGGREGATES,
        prop_oneof![9 => Just(0), 1 => Just(1_u64)],
        vec(vec(any::<u8>(), 0..300), 0..3),
        vec((0..KEYS, any::<Option<u8>>()), 0..4),
        vec((0..KEYS, 0..4_u64), 0..2),
        vec((any::<bool>(), 0..3_u8), 0..2),
        vec((vec(0..2_u8, 0..3), any::<Option<u8>>()), 0..4),
    )
        .prop_map(|(aggregate, behind, entries, mut rows, keys, claims, index)| {
            rows.sort();
            rows.dedup_by_key(|(key, _)| *key);
            Member { aggregate, behind, entries, rows, keys, claims, index }
        })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (1..=TENANTS, vec(member(), 0..4))
            .prop_map(|(tenant, members)| Step::Commit { tenant, members }),
        2 => (0..5_u64).prop_map(|now_s| Step::Forget { now_s }),
        1 => Just(Step::Reopen),
    ]
}

pub(crate) fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([number; 16])
}

fn aggregate(number: u8) -> AggregateId {
    AggregateId::from_bytes([number; 16])
}

fn bytes(number: u8) -> Bytes {
    Bytes::copy_from_slice(&[number])
}

async fn build(store: &MemoryStore, of: u8, member: Member) -> Commit {
    let at = aggregate(member.aggregate);
    let current = store.head(tenant(of), at).await.expect("head").map_or(0, |head| head.seq);
    let expect = current.saturating_sub(member.behind);
    let seq = expect + member.entries.len() as Seq;
    let key = |(number, expires_s)| {
        let count = u32::from(member.aggregate);
        (KeyHash([number; 9]), KeyRow { aggregate: at, first: seq, count, fingerprint: [7; 16], expires_s })
    };
    let claim = |(take, number)| {
        let claim = Claim { kind: 1, value: bytes(number) };
        if take { ClaimChange::Take(claim) } else { ClaimChange::Release(claim) }
    };
    let change = |(key, value): (Vec<u8>, Option<u8>)| {
        let index = u16::from(key.len() == 1);
        IndexChange { index, key: key.into(), value: value.map(bytes) }
    };
    let mark = seq.to_be_bytes()[7];
    Commit {
        tenant: tenant(of),
        aggregate: at,
        expect,
        bucket: NO_BUCKET,
        head: Head {
            seq,
            attempt: AttemptId([mark; 16]),
            chain: Chain([mark; 32]),
            format: 1,
            header: bytes(mark),
        },
        entries: member.entries.into_iter().map(Bytes::from).collect(),
        rows: member.rows.into_iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect(),
        keys: member.keys.into_iter().map(key).collect(),
        claims: member.claims.into_iter().map(claim).collect(),
        index: member.index.into_iter().map(change).collect(),
    }
}

pub(crate) async fn compare<'a>(one: &'a dyn Store, two: &'a dyn Store) {
    assert_eq!(one.aggregates(None, 100).await, two.aggregates(None, 100).await);
    for of in (1..=TENANTS).map(tenant) {
        compare_tenant(one, two, of).await;
    }
}

/// Compares every read of one tenant.
pub(crate) async fn compare_tenant<'a>(one: &'a dyn Store, two: &'a dyn Store, of: TenantId) {
    for at in (0..AGGREGATES).map(aggregate) {
        assert_eq!(one.head(of, at).await, two.head(of, at).await);
        for (from, to, limit) in [(0, Seq::MAX, 1000), (2, 4, 1000), (1, 5, 2)] {
            for order in [Order::Ascending, Order::Descending] {
                let read = |store: &'a dyn Store| store.entries(of, at, from, to, order, limit);
                assert_eq!(read(one).await, read(two).await);
            }
        }
        let keys: Vec<_> = (0..KEYS).map(bytes).collect();
        assert_eq!(one.rows(of, at, keys.clone()).await, two.rows(of, at, keys).await);
        for (prefix, limit) in [(Bytes::new(), 100), (Bytes::new(), 2), (bytes(1), 100)] {
            let read = |store: &'a dyn Store| store.scan_rows(of, at, prefix.clone(), limit);
            assert_eq!(read(one).await, read(two).await);
        }
        assert_eq!(one.index_row(of, 1, bytes(1), at).await, two.index_row(of, 1, bytes(1), at).await);
    }
    for number in 0..KEYS {
        let hash = KeyHash([number; 9]);
        assert_eq!(one.key(of, hash).await, two.key(of, hash).await);
        let claim = Claim { kind: 1, value: bytes(number) };
        assert_eq!(one.claim(of, claim.clone()).await, two.claim(of, claim).await);
    }
    for index in 0..2 {
        for prefix in [Bytes::new(), bytes(0), bytes(1)] {
            for after in [None, Some((bytes(0), aggregate(1))), Some((Bytes::new(), aggregate(0)))] {
                let read = |store: &'a dyn Store| store.index(of, index, prefix.clone(), after.clone(), 5);
                assert_eq!(read(one).await, read(two).await, "{index} {prefix:?} {after:?}");
            }
        }
    }
}

/// Takes a step on both, which answer the same.
pub(crate) async fn take(store: &dyn Store, reference: &MemoryStore, step: Step) {
    match step {
        Step::Commit { tenant, members } => {
            let mut group = Vec::new();
            for member in members {
                group.push(build(reference, tenant, member).await);
            }
            assert_eq!(store.commit(group.clone()).await, reference.commit(group).await);
        }
        Step::Forget { now_s } => {
            let limit = 100;
            assert_eq!(store.forget_keys(now_s, limit).await, reference.forget_keys(now_s, limit).await);
        }
        Step::Reopen => {}
    }
}

fn run(steps: Vec<Step>, generation_bytes: usize) {
    let directory = tempfile::tempdir().expect("directory");
    let options = Options { generation_bytes, segment_bytes: 64 * 1024, sync: false, ..Options::default() };
    let open = || EmbeddedStore::open(directory.path(), options.clone()).expect("open");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    runtime.block_on(async {
        let reference = MemoryStore::default();
        let mut store: SharedStore = Arc::new(open());
        for step in steps {
            match step {
                Step::Reopen => {
                    drop(store);
                    store = Arc::new(open());
                    compare(&*store, &reference).await;
                }
                step => take(&*store, &reference, step).await,
            }
        }
        compare(&*store, &reference).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn it_answers_like_the_reference(steps in vec(step(), 1..60)) {
        run(steps, usize::MAX / 2);
    }

    /// Most of what is read here was written to tables and merged.
    #[test]
    fn it_answers_like_the_reference_from_tables(steps in vec(step(), 1..60)) {
        run(steps, 2 * 1024);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, max_shrink_iters: 40, ..ProptestConfig::default() })]

    /// Each commit is written by itself, so that records, and what removes them, pass through all tiers.
    #[test]
    fn it_answers_like_the_reference_from_all_tiers(steps in vec(step(), 2_400..2_500)) {
        run(steps, 1);
    }
}
