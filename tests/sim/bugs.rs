//! The simulation proves its power: each bug of the protocol that is planted must be found.

use std::time::Duration;

use journal::bug;

use crate::run::{Plan, caught};

/// Worlds in which a bug must be found.
const SEEDS: u64 = 2_000;

/// Short and stormy.
const PLAN: Plan = Plan { lasts: Duration::from_secs(900), calm: Duration::from_secs(90), clients: 6 };

fn found(name: &'static str) {
    bug::plant(name);
    let found = (0..SEEDS).find_map(|seed| caught(seed, PLAN).err().map(|what| (seed, what)));
    bug::plant("");
    let (seed, what) = found.unwrap_or_else(|| panic!("nobody found: {name}"));
    println!("{name}: seed {seed}, {what:.300}");
}

/// One test per bug, and a list of all of them.
macro_rules! planted {
    ($($test:ident: $name:literal,)+) => {
        $(
            #[test]
            fn $test() {
                found($name);
            }
        )+

        #[test]
        fn every_bug_has_a_test() {
            assert_eq!(bug::ALL, [$($name),+]);
        }
    };
}

planted! {
    the_expect_check_is_needed: "skip the expect check",
    a_failure_from_an_unknown_outcome_is_found: "report failure from an unknown outcome",
    an_acknowledged_unknown_outcome_is_found: "acknowledge an unknown outcome",
    another_attempt_after_an_unknown_outcome_is_found: "decide anew with another attempt after an unknown outcome",
    an_answer_before_the_commit_is_found: "answer before the commit",
    a_forgotten_key_row_is_found: "forget the key row",
    a_wrong_key_row_is_found: "point the key row beside the entries",
    answers_of_neighbours_are_found: "mix up the answers of neighbours",
    an_ignored_fingerprint_is_found: "ignore the fingerprint",
    a_repetition_in_the_state_is_found: "apply a repetition to the state",
    claims_that_are_not_taken_are_found: "take no claims",
    claims_that_are_not_released_are_found: "release no claims",
    a_stale_state_is_found: "keep a stale state after another's commit",
    another_s_entry_is_found: "take another's entry for one's own",
    one_s_own_entry_is_found: "take one's own entry for another's",
    a_refusal_from_memory_is_found: "refuse from what is in memory",
    time_that_runs_backwards_is_found: "let time run backwards",
    a_chain_without_predecessor_is_found: "chain no predecessor",
    a_batch_in_parts_is_found: "commit a batch in parts",
    a_key_that_runs_twice_is_found: "let a key run twice at the same time",
}

/// Without a bug the same worlds are good.
#[test]
fn nothing_is_found_where_nothing_is_planted() {
    for seed in 0..20 {
        let lived = caught(seed, PLAN);
        assert!(lived.is_ok(), "SIM_SEED={seed}: {lived:?}");
    }
}
