//! The cases that every store passes.
//!
//! ```ignore
//! journal::store_contract!(memory, || (Arc::new(MemoryStore::default()), ()));
//! ```

mod claims;
mod commits;
pub mod feed;
pub mod group;
mod index;
mod isolation;
mod reads;
pub mod relay;

pub use claims::*;
pub use commits::*;
pub use index::*;
pub use isolation::*;
pub use reads::*;

use bytes::Bytes;
use ids::{AggregateId, TenantId};

use crate::store::{
    AttemptId, Chain, Claim, ClaimChange, Commit, Head, IndexChange, KeyHash, KeyRow, NO_BUCKET, Outcome,
    Refusal, Seq, SharedStore,
};

/// Makes a module `$name` with one test per case. `$factory` is called for each and returns a fresh
/// [`SharedStore`] and something that is kept until the case ends, for example its directory. A third argument
/// replaces the cases of keys that expire: `keys_expire_by_themselves` for a store that forgets them so.
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $factory:expr) => {
        $crate::store_contract!($name, $factory, keys_are_read_and_forgotten many_keys_are_forgotten_in_steps);
    };
    ($name:ident, $factory:expr, $($of_keys:ident)*) => {
        mod $name {
            use super::*;
            use $crate::contract as cases;

            $crate::store_contract!(@tests $factory, $($of_keys)*
                a_commit_applies_where_the_aggregate_is_expected
                a_commit_from_elsewhere_is_refused
                a_refused_commit_leaves_nothing_behind
                a_group_is_applied_as_a_whole
                a_group_is_refused_as_a_whole
                an_empty_group_is_applied
                a_commit_without_entries_writes_and_does_not_move
                what_breaks_a_rule_is_refused
                the_largest_sizes_are_kept_whole
                racing_writers_get_each_position_once
                racing_groups_never_mix
                entries_are_gap_free_and_read_in_both_directions
                rows_are_written_removed_and_scanned
                aggregates_are_paged
                what_was_never_written_is_absent
                acknowledged_commits_are_seen
                a_claim_has_one_owner
                a_claim_is_retaken_by_its_owner
                a_claim_is_released_by_its_owner_only
                a_claim_is_released_before_it_is_taken
                claims_of_a_group_follow_its_order
                claims_of_a_refused_commit_are_not_taken
                racing_claims_have_one_winner
                index_rows_are_ordered_by_key_then_aggregate
                index_rows_are_replaced_and_removed
                the_last_change_of_an_index_row_wins
                an_index_is_paged_while_it_grows
                tenants_do_not_see_each_other
            );
        }
    };
    (@tests $factory:expr, $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (store, _kept) = ($factory)();
            cases::$case(store).await;
        }
    )*};
}

/// The cases for a store that one process owns, as `Arc<dyn FeedStore>`; used like [`store_contract!`].
#[macro_export]
macro_rules! feed_contract {
    ($name:ident, $factory:expr) => {
        mod $name {
            use super::*;
            use $crate::contract::feed as cases;

            $crate::store_contract!(@tests $factory,
                the_feed_of_a_new_store_is_empty
                the_feed_has_every_acknowledged_commit
                the_feed_has_entries_only
                the_feed_is_paged
                the_feed_is_forgotten_up_to_a_number
                the_feed_wakes_who_waits
                the_feed_of_racing_writers_is_complete
            );
        }
    };
}

/// The cases for a store that several processes share, as `Arc<dyn RelayStore>`; used like
/// [`store_contract!`].
#[macro_export]
macro_rules! relay_contract {
    ($name:ident, $factory:expr) => {
        mod $name {
            use super::*;
            use $crate::contract::relay as cases;

            $crate::store_contract!(@tests $factory,
                a_fence_refuses_its_bucket_and_earlier_ones
                a_position_is_checked_before_the_fence
                an_unborn_aggregate_can_be_fenced
                a_fence_and_a_racing_commit_exclude_each_other
                marks_are_listed_and_deleted
                a_closed_bucket_takes_no_mark
                a_lease_changes_for_who_knows_it
                relay_cursors_move_forwards
                a_claim_row_changes_for_who_knows_it
                a_claim_is_valid_if_the_journal_of_its_owner_lists_it
                a_value_that_changes_hands_belongs_to_who_lists_it
            );
        }
    };
}

/// The cases for a shared store under [`crate::group::Grouping`], as `Arc<dyn GroupStore>`; used like
/// [`store_contract!`].
#[macro_export]
macro_rules! group_contract {
    ($name:ident, $factory:expr) => {
        mod $name {
            use super::*;
            use $crate::contract::group as cases;

            $crate::store_contract!(@tests $factory,
                a_shared_store_takes_commits_one_by_one
                index_rows_wait_until_they_are_moved
                index_rows_need_an_entry
                a_record_changes_for_who_knows_its_state
                what_is_prepared_locks_its_aggregate
                what_is_prepared_is_applied_once
                what_is_dropped_leaves_nothing_behind
                what_is_prepared_keeps_the_conditions_of_a_commit
                an_unborn_aggregate_is_locked_without_a_head
                a_prepared_key_is_asked_for
                segments_take_the_place_of_entries
            );
        }
    };
}

fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([number; 16])
}

fn aggregate(number: u8) -> AggregateId {
    AggregateId::from_bytes([number; 16])
}

fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

/// A commit of `count` entries to an aggregate of tenant 1, named after the aggregate and their seq.
fn commit(to: u8, expect: Seq, count: u64) -> Commit {
    let seq = expect + count;
    Commit {
        tenant: tenant(1),
        aggregate: aggregate(to),
        expect,
        bucket: NO_BUCKET,
        head: head(to, seq),
        entries: (expect + 1..=seq).map(|seq| entry(to, seq)).collect(),
        rows: Vec::new(),
        keys: Vec::new(),
        claims: Vec::new(),
        index: Vec::new(),
    }
}

fn head(of: u8, seq: Seq) -> Head {
    let low = seq.to_be_bytes()[7];
    Head {
        seq,
        attempt: AttemptId([low; 16]),
        chain: Chain([of ^ low; 32]),
        format: 3,
        header: bytes(format!("header {of} {seq}")),
    }
}

fn entry(of: u8, seq: Seq) -> Bytes {
    bytes(format!("entry {of} {seq}"))
}

impl Commit {
    fn of(mut self, number: u8) -> Commit {
        self.tenant = tenant(number);
        self
    }

    fn row(mut self, key: impl AsRef<[u8]>, value: Option<&str>) -> Commit {
        self.rows.push((bytes(key), value.map(bytes)));
        self
    }

    fn take(mut self, value: &str) -> Commit {
        self.claims.push(ClaimChange::Take(claimed(value)));
        self
    }

    fn release(mut self, value: &str) -> Commit {
        self.claims.push(ClaimChange::Release(claimed(value)));
        self
    }

    fn index(mut self, key: impl AsRef<[u8]>, value: Option<&str>) -> Commit {
        self.index.push(IndexChange { index: 1, key: bytes(key), value: value.map(bytes) });
        self
    }

    fn key(mut self, number: u8, expires_s: u64) -> Commit {
        self.keys.push((KeyHash([number; 9]), key_row(self.aggregate, self.expect + 1, expires_s)));
        self
    }
}

fn key_row(aggregate: AggregateId, first: Seq, expires_s: u64) -> KeyRow {
    KeyRow { aggregate, first, count: 1, fingerprint: [9; 16], expires_s }
}

fn claimed(value: &str) -> Claim {
    Claim { kind: 7, value: bytes(value) }
}

async fn applies(store: &SharedStore, group: Vec<Commit>) {
    assert_eq!(store.commit(group).await, Outcome::Applied);
}

async fn is_refused(store: &SharedStore, group: Vec<Commit>, refusal: Refusal) {
    assert_eq!(store.commit(group).await, Outcome::Refused(refusal));
}

async fn seq_of(store: &SharedStore, of: u8) -> Seq {
    let head = store.head(tenant(1), aggregate(of)).await.expect("head");
    head.map_or(0, |head| head.seq)
}

async fn owner_of(store: &SharedStore, value: &str) -> Option<AggregateId> {
    store.claim(tenant(1), claimed(value)).await.expect("claim")
}
