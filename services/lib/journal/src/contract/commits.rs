//! Conditions, atomicity, limits, races.

use std::sync::Arc;

use futures::future::join_all;
use ids::AggregateId;

use super::*;
use crate::store::{
    GROUP_COMMITS_MAX, HEADER_BYTES_MAX, KEY_BYTES_MAX, Order, SEALING_BYTES_MAX, VALUE_BYTES_MAX,
};

/// The first commit expects 0, later ones the position that the last one reached.
pub async fn a_commit_applies_where_the_aggregate_is_expected(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 2)]).await;
    applies(&store, vec![commit(1, 2, 1)]).await;
    assert_eq!(store.head(tenant(1), aggregate(1)).await, Ok(Some(head(1, 3))));
}

/// A commit that expects another position is refused and told where the aggregate is.
pub async fn a_commit_from_elsewhere_is_refused(store: SharedStore) {
    is_refused(&store, vec![commit(1, 1, 1)], Refusal::Moved { at: 0, current: 0 }).await;
    applies(&store, vec![commit(1, 0, 2)]).await;
    for expect in [0, 1, 3] {
        is_refused(&store, vec![commit(1, expect, 1)], Refusal::Moved { at: 0, current: 2 }).await;
    }
    applies(&store, vec![commit(1, 2, 1)]).await;
}

/// Nothing of a refused commit can be read, whatever it carried.
pub async fn a_refused_commit_leaves_nothing_behind(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 1).row("r", Some("old")).index("i", Some("old"))]).await;
    let late = commit(1, 0, 3).row("r", None).row("s", Some("new")).key(1, 0).take("sku");
    let late = late.index("i", None).index("j", Some("new"));
    is_refused(&store, vec![late], Refusal::Moved { at: 0, current: 1 }).await;

    let (of, at) = (tenant(1), aggregate(1));
    assert_eq!(store.head(of, at).await, Ok(Some(head(1, 1))));
    let entries = store.entries(of, at, 0, Seq::MAX, Order::Ascending, 10).await;
    assert_eq!(entries, Ok(vec![(1, entry(1, 1))]));
    let rows = store.scan_rows(of, at, bytes(""), 10).await;
    assert_eq!(rows, Ok(vec![(bytes("r"), bytes("old"))]));
    assert_eq!(store.key(of, KeyHash([1; 9])).await, Ok(None));
    assert_eq!(owner_of(&store, "sku").await, None);
    assert_eq!(store.index_row(of, 1, bytes("i"), at).await, Ok(Some(bytes("old"))));
    assert_eq!(store.index_row(of, 1, bytes("j"), at).await, Ok(None));
}

/// All members of a group apply together.
pub async fn a_group_is_applied_as_a_whole(store: SharedStore) {
    applies(&store, vec![commit(2, 0, 1)]).await;
    applies(&store, vec![commit(1, 0, 1), commit(2, 1, 2), commit(3, 0, 3)]).await;
    assert_eq!((seq_of(&store, 1).await, seq_of(&store, 2).await, seq_of(&store, 3).await), (1, 3, 3));
}

/// One refused member, and none applies; the refusal says which. Positions are checked before claims:
/// who looked at an old state cannot tell whether it still wants the value.
pub async fn a_group_is_refused_as_a_whole(store: SharedStore) {
    applies(&store, vec![commit(3, 0, 1).take("mine")]).await;
    let moved = vec![commit(1, 0, 1), commit(2, 0, 1), commit(3, 0, 1)];
    is_refused(&store, moved, Refusal::Moved { at: 2, current: 1 }).await;
    let claim = claimed("mine");
    let claimed = vec![commit(1, 0, 1).take("free"), commit(2, 0, 1).take("mine")];
    is_refused(&store, claimed, Refusal::Claimed { at: 1, claim, owner: aggregate(3) }).await;
    let both = vec![commit(1, 0, 1).take("mine"), commit(3, 0, 1)];
    is_refused(&store, both, Refusal::Moved { at: 1, current: 1 }).await;
    assert_eq!((seq_of(&store, 1).await, seq_of(&store, 2).await), (0, 0));
    assert_eq!(owner_of(&store, "free").await, None);
}

/// A group without members has nothing to wait for.
pub async fn an_empty_group_is_applied(store: SharedStore) {
    applies(&store, Vec::new()).await;
}

/// A command that changed nothing still leaves its idempotency key.
pub async fn a_commit_without_entries_writes_and_does_not_move(store: SharedStore) {
    applies(&store, vec![commit(1, 0, 0).key(1, 0)]).await;
    applies(&store, vec![commit(1, 0, 1)]).await;
    applies(&store, vec![commit(1, 1, 0).key(2, 0)]).await;
    applies(&store, vec![commit(1, 1, 0).row("r", Some("1"))]).await;
    assert_eq!(seq_of(&store, 1).await, 1);
    assert!(store.key(tenant(1), KeyHash([2; 9])).await.expect("key").is_some());
    is_refused(&store, vec![commit(1, 0, 0)], Refusal::Moved { at: 0, current: 1 }).await;
}

/// A group that breaks a rule of the port is refused as a whole, and nothing is cut to fit. The same
/// aggregate twice is such a rule: two commits to it would have to be one.
pub async fn what_breaks_a_rule_is_refused(store: SharedStore) {
    let long_key = vec![b'k'; KEY_BYTES_MAX + 1];
    let long_value = "v".repeat(VALUE_BYTES_MAX + SEALING_BYTES_MAX + 1);
    let mut long_entry = commit(2, 0, 1);
    long_entry.entries[0] = bytes(&long_value);
    let mut long_header = commit(2, 0, 1);
    long_header.head.header = bytes(vec![b'h'; HEADER_BYTES_MAX + SEALING_BYTES_MAX + 1]);
    let mut wrong_seq = commit(2, 0, 1);
    wrong_seq.head.seq = 2;
    let many = (0..=GROUP_COMMITS_MAX).map(|n| numbered(n, 0)).collect();
    let groups: Vec<(usize, Vec<Commit>)> = vec![
        (1, vec![commit(1, 0, 1), commit(1, 0, 1)]),
        (1, vec![commit(1, 0, 1), commit(1, 1, 1)]),
        (1, vec![commit(1, 0, 1), commit(2, 0, 1).of(2)]),
        (1, vec![commit(1, 0, 1), commit(2, 0, 1).row(&long_key, Some("v"))]),
        (1, vec![commit(1, 0, 1), commit(2, 0, 1).row(&long_key, None)]),
        (1, vec![commit(1, 0, 1), commit(2, 0, 1).index(&long_key, Some("v"))]),
        (1, vec![commit(1, 0, 1), commit(2, 0, 1).take(&"k".repeat(KEY_BYTES_MAX + 1))]),
        (0, vec![commit(2, 0, 1).release(&"k".repeat(KEY_BYTES_MAX + 1))]),
        (0, vec![commit(2, 0, 1).row("r", Some(&long_value))]),
        (0, vec![commit(2, 0, 1).index("r", Some(&long_value))]),
        (0, vec![commit(2, 0, 1).row("r", Some("1")).row("r", None)]),
        (0, vec![long_entry]),
        (0, vec![long_header]),
        (0, vec![wrong_seq]),
        (GROUP_COMMITS_MAX, many),
    ];
    for (position, group) in groups {
        let outcome = store.commit(group).await;
        let Outcome::Refused(Refusal::Invalid { at, rule }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(at, position, "{rule}");
    }
    assert_eq!(store.aggregates(None, 10).await, Ok(Vec::new()));
    assert_eq!(store.index(tenant(1), 1, bytes(""), None, 10).await, Ok(Vec::new()));
}

fn numbered(number: usize, expect: Seq) -> Commit {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Commit { aggregate: AggregateId::from_bytes(bytes), ..commit(1, expect, 1) }
}

/// What is just small enough comes back byte by byte, and the largest group applies.
pub async fn the_largest_sizes_are_kept_whole(store: SharedStore) {
    let key = vec![0; KEY_BYTES_MAX];
    let text = "k".repeat(KEY_BYTES_MAX);
    let value: String = ('a'..='z').cycle().take(VALUE_BYTES_MAX).collect();
    let mut largest = commit(1, 0, 1).row(&key, Some(&value)).index(&key, Some(&value)).take(&text);
    largest.entries[0] = bytes(&value);
    largest.head.header = bytes(vec![b'h'; HEADER_BYTES_MAX]);
    let head = largest.head.clone();
    applies(&store, vec![largest]).await;

    let (of, at) = (tenant(1), aggregate(1));
    assert_eq!(store.head(of, at).await, Ok(Some(head)));
    let entries = store.entries(of, at, 1, 1, Order::Ascending, 1).await;
    assert_eq!(entries, Ok(vec![(1, bytes(&value))]));
    assert_eq!(store.rows(of, at, vec![bytes(&key)]).await, Ok(vec![Some(bytes(&value))]));
    let rows = store.index(of, 1, bytes(&key), None, 2).await.expect("index");
    assert_eq!(
        rows.iter().map(|row| (&row.key, &row.value)).collect::<Vec<_>>(),
        [(&bytes(&key), &bytes(&value))]
    );
    assert_eq!(owner_of(&store, &text).await, Some(at));

    applies(&store, (0..GROUP_COMMITS_MAX).map(|n| numbered(n, 0)).collect()).await;
    applies(&store, (0..GROUP_COMMITS_MAX).map(|n| numbered(n, 1)).collect()).await;
}

/// Writers that race on one aggregate: each position is written once, by one of them.
pub async fn racing_writers_get_each_position_once(store: SharedStore) {
    const WRITERS: u8 = 8;
    const COMMITS: usize = 25;
    let writer = |number: u8| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let (mut seq, mut mine) = (0, Vec::new());
            while mine.len() < COMMITS {
                let mut commit = commit(1, seq, 1);
                commit.entries[0] = bytes([number]);
                match store.commit(vec![commit]).await {
                    Outcome::Applied => {
                        seq += 1;
                        mine.push((seq, bytes([number])));
                    }
                    Outcome::Refused(Refusal::Moved { current, .. }) => seq = current,
                    other => panic!("{other:?}"),
                }
            }
            mine
        })
    };
    let written = join_all((0..WRITERS).map(writer)).await;
    let mut written: Vec<_> = written.into_iter().flat_map(|mine| mine.expect("writer")).collect();
    written.sort();
    let entries = store.entries(tenant(1), aggregate(1), 0, Seq::MAX, Order::Ascending, usize::MAX).await;
    assert_eq!(entries, Ok(written));
    assert_eq!(seq_of(&store, 1).await, u64::from(WRITERS) * COMMITS as u64);
}

/// Groups that race over the same two aggregates keep them in step.
pub async fn racing_groups_never_mix(store: SharedStore) {
    let writer = |number: u8| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let (mut seq, mut applied) = (0, 0);
            while applied < 20 {
                let mut group = vec![commit(1, seq, 1), commit(2, seq, 1)];
                // Attempts differ, or else it would be the same group.
                group.iter_mut().for_each(|commit| commit.head.attempt.0[0] = number);
                if number % 2 == 1 {
                    group.reverse();
                }
                match store.commit(group).await {
                    Outcome::Applied => (seq, applied) = (seq + 1, applied + 1),
                    Outcome::Refused(Refusal::Moved { current, .. }) => seq = current,
                    other => panic!("{other:?}"),
                }
            }
        })
    };
    for done in join_all((0..4).map(writer)).await {
        done.expect("writer");
    }
    assert_eq!((seq_of(&store, 1).await, seq_of(&store, 2).await), (80, 80));
}
