//! Tenants.

use super::*;
use crate::store::Order;

/// TEN-1: two tenants that use the same aggregate, key hash, claim, row and index keys read their own
/// bytes only, and a third reads nothing.
pub async fn tenants_do_not_see_each_other(store: SharedStore) {
    for number in [1, 2] {
        let text = format!("of tenant {number}");
        let mut mine = commit(1, 0, u64::from(number)).of(number).row("r", Some(&text)).take("sku");
        mine.entries[0] = bytes(&text);
        mine.head.header = bytes(&text);
        applies(&store, vec![mine.index("i", Some(&text)).key(1, u64::from(number))]).await;
    }
    let at = aggregate(1);
    for number in [1, 2] {
        let (of, text) = (tenant(number), bytes(format!("of tenant {number}")));
        let head = store.head(of, at).await.expect("head").expect("present");
        assert_eq!((head.seq, &head.header), (u64::from(number), &text));
        let entries = store.entries(of, at, 0, Seq::MAX, Order::Ascending, 10).await.expect("entries");
        assert_eq!((entries.len(), &entries[0]), (usize::from(number), &(1, text.clone())));
        let reversed = store.entries(of, at, 0, Seq::MAX, Order::Descending, 10).await.expect("entries");
        assert_eq!(reversed.len(), usize::from(number));
        assert_eq!(store.rows(of, at, vec![bytes("r")]).await, Ok(vec![Some(text.clone())]));
        let rows = store.scan_rows(of, at, bytes(""), 10).await;
        assert_eq!(rows, Ok(vec![(bytes("r"), text.clone())]));
        let key = store.key(of, KeyHash([1; 9])).await.expect("key").expect("present");
        assert_eq!(key.expires_s, u64::from(number));
        assert_eq!(store.claim(of, claimed("sku")).await, Ok(Some(at)));
        let index = store.index(of, 1, bytes(""), None, 10).await.expect("index");
        assert_eq!(index.iter().map(|row| &row.value).collect::<Vec<_>>(), [&text]);
        assert_eq!(store.index_row(of, 1, bytes("i"), at).await, Ok(Some(text)));
    }
    let nobody = tenant(3);
    assert_eq!(store.head(nobody, at).await, Ok(None));
    assert_eq!(store.entries(nobody, at, 0, Seq::MAX, Order::Ascending, 10).await, Ok(Vec::new()));
    assert_eq!(store.rows(nobody, at, vec![bytes("r")]).await, Ok(vec![None]));
    assert_eq!(store.scan_rows(nobody, at, bytes(""), 10).await, Ok(Vec::new()));
    assert_eq!(store.key(nobody, KeyHash([1; 9])).await, Ok(None));
    assert_eq!(store.claim(nobody, claimed("sku")).await, Ok(None));
    assert_eq!(store.index(nobody, 1, bytes(""), None, 10).await, Ok(Vec::new()));
    assert_eq!(store.index_row(nobody, 1, bytes("i"), at).await, Ok(None));

    // Paging behind the last row of one tenant does not reach the next one, and neither tenant's
    // position, claim or removal touches the other's.
    let after = Some((bytes("i"), at));
    assert_eq!(store.index(tenant(1), 1, bytes(""), after, 10).await, Ok(Vec::new()));
    is_refused(&store, vec![commit(1, 1, 1).of(2)], Refusal::Moved { at: 0, current: 2 }).await;
    applies(&store, vec![commit(1, 1, 1).row("r", None).index("i", None).release("sku")]).await;
    assert_eq!(store.rows(tenant(2), at, vec![bytes("r")]).await, Ok(vec![Some(bytes("of tenant 2"))]));
    assert_eq!(store.claim(tenant(2), claimed("sku")).await, Ok(Some(at)));
    assert_eq!(store.index(tenant(2), 1, bytes(""), None, 10).await.map(|rows| rows.len()), Ok(1));
}
