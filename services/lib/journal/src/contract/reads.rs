//! Entries, rows, keys, aggregates.

use super::*;
use crate::store::Order;

/// Positions 1, 2, 3, …, read from either end, within bounds and limits.
pub async fn entries_are_gap_free_and_read_in_both_directions(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 3), commit(2, 0, 300)]).await;
    applies(&store, vec![commit(1, 3, 1)]).await;
    applies(&store, vec![commit(1, 4, 3)]).await;
    let read = async |from, to, order, limit| -> Vec<Seq> {
        let entries = store.entries(tenant(1), aggregate(1), from, to, order, limit).await.expect("entries");
        entries.iter().for_each(|(seq, bytes)| assert_eq!(*bytes, entry(1, *seq)));
        entries.into_iter().map(|(seq, _)| seq).collect()
    };
    use Order::{Ascending, Descending};
    assert_eq!(read(0, Seq::MAX, Ascending, 100).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(read(0, Seq::MAX, Descending, 100).await, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(read(2, 5, Ascending, 100).await, [2, 3, 4, 5]);
    assert_eq!(read(2, 5, Ascending, 2).await, [2, 3]);
    assert_eq!(read(2, 5, Descending, 2).await, [5, 4]);
    assert_eq!(read(4, 4, Descending, 2).await, [4]);
    assert_eq!(read(8, Seq::MAX, Ascending, 100).await, [] as [Seq; 0]);
    assert_eq!(read(5, 2, Ascending, 100).await, [] as [Seq; 0]);
    assert_eq!(read(1, 7, Descending, 0).await, [] as [Seq; 0]);

    let all =
        store.entries(tenant(1), aggregate(2), 1, Seq::MAX, Ascending, usize::MAX).await.expect("entries");
    assert!(all.iter().map(|(seq, _)| *seq).eq(1..=300));
}

/// State rows: the last write counts, a removal removes, a scan takes a prefix in key order.
pub async fn rows_are_written_removed_and_scanned(store: SharedStore) {
    let first = commit(1, 0, 1).row("a", Some("1")).row("ab", Some("2")).row("b", Some("3"));
    let first = first.row([0xff], Some("4")).row([0xff, 0xff, 1], Some("5")).row("", Some("6"));
    applies(&store, vec![first, commit(2, 0, 1).row("a", Some("other"))]).await;
    let (of, at) = (tenant(1), aggregate(1));
    let scan = async |prefix: &[u8], limit| {
        let rows = store.scan_rows(of, at, bytes(prefix), limit).await.expect("rows");
        rows.iter().map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(scan(b"", 10).await, ["6", "1", "2", "3", "4", "5"]);
    assert_eq!(scan(b"a", 10).await, ["1", "2"]);
    assert_eq!(scan(b"a", 1).await, ["1"]);
    assert_eq!(scan(&[0xff], 10).await, ["4", "5"]);
    assert_eq!(scan(b"c", 10).await, [] as [&str; 0]);

    applies(&store, vec![commit(1, 1, 1).row("a", None).row("b", Some("7")).row("never", None)]).await;
    assert_eq!(scan(b"", 10).await, ["6", "2", "7", "4", "5"]);
    let keys = vec![bytes("b"), bytes("a"), bytes("ab"), bytes("b")];
    let rows = store.rows(of, at, keys).await;
    assert_eq!(rows, Ok(vec![Some(bytes("7")), None, Some(bytes("2")), Some(bytes("7"))]));
    assert_eq!(store.rows(of, at, Vec::new()).await, Ok(Vec::new()));

    applies(&store, vec![commit(1, 2, 1).row("a", Some("8"))]).await;
    assert_eq!(scan(b"a", 10).await, ["8", "2"]);
}

/// An idempotency key is found until it has expired and is forgotten; 0 never expires.
pub async fn keys_are_read_and_forgotten(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 1).key(1, 0).key(2, 100).key(3, 200)]).await;
    let key = async |number: u8| store.key(tenant(1), KeyHash([number; 9])).await.expect("key");
    assert_eq!(key(2).await, Some(key_row(aggregate(1), 1, 100)));
    assert_eq!(key(4).await, None);

    assert_eq!(store.forget_keys(100, 10).await, Ok(0), "expires after 100, not at it");
    assert_eq!(store.forget_keys(101, 10).await, Ok(1));
    assert_eq!((key(1).await.is_some(), key(2).await, key(3).await.is_some()), (true, None, true));

    applies(&store, vec![commit(2, 0, 1).key(2, 300)]).await;
    assert_eq!(key(2).await, Some(key_row(aggregate(2), 1, 300)), "used again after it was forgotten");
    assert_eq!(store.forget_keys(u64::MAX, 10).await, Ok(2));
    assert_eq!(store.forget_keys(u64::MAX, 10).await, Ok(0));
    assert_eq!(key(1).await, Some(key_row(aggregate(1), 1, 0)));
}

/// A key is there until it expires, and then it is not, though nobody forgets it; 0 never expires.
pub async fn keys_expire_by_themselves(store: SharedStore) {
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let soon = now() + 5;
    applies(&store, vec![commit(1, 0, 1).key(1, 0).key(2, soon).key(3, soon + 3600)]).await;
    let key = async |number: u8| store.key(tenant(1), KeyHash([number; 9])).await.expect("key");
    for (number, expires_s) in [(1, 0), (2, soon), (3, soon + 3600)] {
        let expected = Some(key_row(aggregate(1), 1, expires_s));
        assert!(key(number).await == expected || expires_s != 0 && expires_s <= now(), "key {number}");
    }
    assert_eq!(key(4).await, None);
    while key(2).await.is_some() {
        assert!(now() < soon + 30, "a key does not expire");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(soon <= now() + 1, "a key expired too early");
    assert_eq!((key(1).await.is_some(), key(3).await.is_some()), (true, true));
    applies(&store, vec![commit(2, 0, 1).key(2, 0)]).await;
    assert_eq!(key(2).await, Some(key_row(aggregate(2), 1, 0)), "used again after it expired");
    assert_eq!(store.forget_keys(u64::MAX, 10).await, Ok(0));
}

/// Each call forgets at most its limit, and together they forget all.
pub async fn many_keys_are_forgotten_in_steps(store: SharedStore) {
    let keys = (1..=10).fold(commit(1, 0, 1), |commit, n| commit.key(n, u64::from(n) % 2));
    applies(&store, vec![keys]).await;
    assert_eq!(store.forget_keys(2, 3).await, Ok(3));
    assert_eq!(store.forget_keys(2, 3).await, Ok(2));
    assert_eq!(store.forget_keys(2, 3).await, Ok(0));
    assert_eq!(store.forget_keys(2, 0).await, Ok(0));
    for n in 1..=10 {
        let kept = store.key(tenant(1), KeyHash([n; 9])).await.expect("key").is_some();
        assert_eq!(kept, n % 2 == 0, "key {n}");
    }
}

/// The aggregates of all tenants, in key order, page by page, each once.
pub async fn aggregates_are_paged(store: SharedStore) {
    for (of, number) in [(2, 1), (1, 3), (1, 1), (3, 2), (2, 2)] {
        applies(&store, vec![commit(number, 0, 1).of(of)]).await;
    }
    applies(&store, vec![commit(3, 1, 1)]).await;
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.aggregates(after, 2).await.expect("aggregates");
        let Some((of, at, _)) = page.last() else { break };
        after = Some((*of, *at));
        seen.extend(page);
    }
    let expected = [(1, 1, 1), (1, 3, 2), (2, 1, 1), (2, 2, 1), (3, 2, 1)];
    assert_eq!(seen, expected.map(|(of, at, seq)| (tenant(of), aggregate(at), head(at, seq))));
}

/// Absence is an answer, not an error.
pub async fn what_was_never_written_is_absent(store: SharedStore) {
    let (of, at) = (tenant(1), aggregate(1));
    assert_eq!(store.head(of, at).await, Ok(None));
    assert_eq!(store.entries(of, at, 0, Seq::MAX, Order::Descending, 10).await, Ok(Vec::new()));
    assert_eq!(store.rows(of, at, vec![bytes("r")]).await, Ok(vec![None]));
    assert_eq!(store.scan_rows(of, at, bytes(""), 10).await, Ok(Vec::new()));
    assert_eq!(store.key(of, KeyHash([1; 9])).await, Ok(None));
    assert_eq!(owner_of(&store, "sku").await, None);
    assert_eq!(store.index(of, 1, bytes(""), None, 10).await, Ok(Vec::new()));
    assert_eq!(store.index_row(of, 1, bytes("i"), at).await, Ok(None));
    assert_eq!(store.aggregates(None, 10).await, Ok(Vec::new()));
    assert_eq!(store.forget_keys(u64::MAX, 10).await, Ok(0));
}

/// Every read that begins after an answer sees what was acknowledged, while others write.
pub async fn acknowledged_commits_are_seen(store: SharedStore) {
    let task = |number: u8| {
        let store = store.clone();
        tokio::spawn(async move {
            let (of, at) = (tenant(1), aggregate(number));
            for seq in 0..30 {
                let text = format!("{seq}");
                let commit = commit(number, seq, 1).row("r", Some(&text)).index(&text, Some(&text));
                applies(&store, vec![commit.key(number, 0)]).await;
                assert_eq!(store.head(of, at).await, Ok(Some(head(number, seq + 1))));
                let last = store.entries(of, at, 1, Seq::MAX, Order::Descending, 1).await;
                assert_eq!(last, Ok(vec![(seq + 1, entry(number, seq + 1))]));
                assert_eq!(store.rows(of, at, vec![bytes("r")]).await, Ok(vec![Some(bytes(&text))]));
                assert_eq!(store.index_row(of, 1, bytes(&text), at).await, Ok(Some(bytes(&text))));
                let key = store.key(of, KeyHash([number; 9])).await;
                assert_eq!(key, Ok(Some(key_row(at, seq + 1, 0))));
            }
        })
    };
    for done in futures::future::join_all((1..=4).map(task)).await {
        done.expect("task");
    }
}
