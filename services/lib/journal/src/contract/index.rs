//! Index rows.

use super::*;

async fn list(store: &SharedStore, prefix: &[u8], limit: usize) -> Vec<(Bytes, AggregateId, Bytes)> {
    let rows = store.index(tenant(1), 1, bytes(prefix), None, limit).await.expect("index");
    rows.into_iter().map(|row| (row.key, row.aggregate, row.value)).collect()
}

/// Rows come in order of the key's bytes, then of the aggregate; a shorter key comes before the longer
/// ones that begin with it, whatever the aggregates are.
pub async fn index_rows_are_ordered_by_key_then_aggregate(store: SharedStore) {
    let keys: [&[u8]; 9] = [b"", b"\0", b"\0\0", b"\0\x01", b"\x01", b"a", b"a\0", b"ab", b"\xff\xff"];
    for number in [0xff, 0, 0x62] {
        let rows = keys.iter().rev().fold(commit(number, 0, 1), |commit, key| commit.index(key, Some("v")));
        applies(&store, vec![rows]).await;
    }
    let expected = |prefix: &[u8]| -> Vec<_> {
        let keys = keys.iter().filter(|key| key.starts_with(prefix));
        let rows = keys.flat_map(|key| [0, 0x62, 0xff].map(|n| (bytes(key), aggregate(n), bytes("v"))));
        rows.collect()
    };
    for prefix in [&b""[..], b"\0", b"a", b"ab", b"abc", b"\xff", b"\xff\xff"] {
        assert_eq!(list(&store, prefix, 100).await, expected(prefix), "{prefix:?}");
    }
    assert_eq!(list(&store, b"a", 4).await, expected(b"a")[..4]);
    assert_eq!(store.index(tenant(1), 2, bytes(""), None, 10).await, Ok(Vec::new()), "another index");

    // Paging works from any row, also from one that is not there or lies outside the prefix.
    for (after, prefix) in [(&b"a"[..], &b""[..]), (b"a", b"a"), (b"aa", b"a"), (b"", b"a"), (b"z", b"a")] {
        let after = (bytes(after), aggregate(0x62));
        let rows = store.index(tenant(1), 1, bytes(prefix), Some(after.clone()), 100).await.expect("index");
        let rows: Vec<_> = rows.into_iter().map(|row| (row.key, row.aggregate, row.value)).collect();
        let mut behind = expected(prefix);
        behind.retain(|(key, aggregate, _)| (key, aggregate) > (&after.0, &after.1));
        assert_eq!(rows, behind, "{prefix:?} after {after:?}");
    }
}

/// A row is written, replaced, removed; each aggregate has its own under the same key.
pub async fn index_rows_are_replaced_and_removed(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 1).index("k", Some("1")), commit(2, 0, 1).index("k", Some("2"))]).await;
    applies(&store, vec![commit(1, 1, 1).index("k", Some("3"))]).await;
    let rows = [(bytes("k"), aggregate(1), bytes("3")), (bytes("k"), aggregate(2), bytes("2"))];
    assert_eq!(list(&store, b"", 10).await, rows);
    applies(&store, vec![commit(1, 2, 1).index("k", None).index("never", None)]).await;
    assert_eq!(list(&store, b"", 10).await, rows[1..]);
    assert_eq!(store.index_row(tenant(1), 1, bytes("k"), aggregate(1)).await, Ok(None));
    assert_eq!(store.index_row(tenant(1), 1, bytes("k"), aggregate(2)).await, Ok(Some(bytes("2"))));
    assert_eq!(store.index_row(tenant(1), 2, bytes("k"), aggregate(2)).await, Ok(None));
}

/// A commit of several events may change a row more than once.
pub async fn the_last_change_of_an_index_row_wins(store: SharedStore) {
    let twice = commit(1, 0, 2).index("a", Some("1")).index("a", None).index("b", None).index("b", Some("2"));
    applies(&store, vec![twice.index("c", Some("3")).index("c", Some("4"))]).await;
    let rows = [(bytes("b"), aggregate(1), bytes("2")), (bytes("c"), aggregate(1), bytes("4"))];
    assert_eq!(list(&store, b"", 10).await, rows);
    applies(&store, vec![commit(1, 2, 2).index("b", Some("5")).index("b", None).index("c", None)]).await;
    assert_eq!(list(&store, b"", 10).await, []);
}

/// Rows that appear or vanish between two pages neither repeat nor hide others.
pub async fn an_index_is_paged_while_it_grows(store: SharedStore) {
    let key = |number: u8| [number / 10, number];
    for number in (10..=100).step_by(10) {
        applies(&store, vec![commit(number, 0, 1).index(key(number), Some("v"))]).await;
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.index(tenant(1), 1, bytes(""), after.clone(), 3).await.expect("index");
        let Some(last) = page.last() else { break };
        after = Some((last.key.clone(), last.aggregate));
        seen.extend(page.into_iter().map(|row| row.aggregate));
        // One row before the cursor, one just behind it; and the row of the cursor vanishes.
        let number = after.as_ref().map_or(0, |(key, _)| key[1]);
        if number < 100 {
            applies(&store, vec![commit(number - 5, 0, 1).index(key(number - 5), Some("v"))]).await;
            applies(&store, vec![commit(number + 1, 0, 1).index(key(number + 1), Some("v"))]).await;
            let seq = seq_of(&store, number).await;
            applies(&store, vec![commit(number, seq, 1).index(key(number), None)]).await;
        }
    }
    let numbers = [10, 20, 30, 31, 40, 50, 51, 60, 70, 71, 80, 90, 91, 100];
    assert_eq!(seen, numbers.map(aggregate));
}
