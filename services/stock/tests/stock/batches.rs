//! Many movements in one call.

use proto::api::v1::Problem;
use proto::stock::v1::posting_result::Result::{Posting as Posted, Problem as Refused};
use proto::stock::v1::*;
use proto::tenant::v1::CostingMethod::Fifo;
use rpc::header;

use crate::world::{World, fields, reason};

fn problem(result: &PostingResult) -> &Problem {
    match &result.result {
        Some(Refused(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

fn movements(result: &PostingResult) -> &[Movement] {
    match &result.result {
        Some(Posted(posting)) => &posting.movements,
        other => panic!("{other:?}"),
    }
}

/// MOV-6: an atomic batch posts all its lines or none, and the legs of each posting add up to zero
/// with their other side.
#[tokio::test]
async fn a_document_is_posted_whole_or_not_at_all() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let other = shop.new_variant(2);
    let of_other = |draft| MovementDraft { variant_id: other.clone(), ..draft };
    // The last line is short by one: nothing is posted, whichever line it is.
    let lines = vec![
        shop.receipt("5", "50"),
        of_other(shop.receipt("3", "9")),
        shop.transfer("2"),
        of_other(shop.sale("2")),
        of_other(shop.sale("2")),
    ];
    let refused = shop.batch("first", true, lines.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "INSUFFICIENT_STOCK");
    assert!(shop.history(&shop.variant).await.is_empty() && shop.history(&other).await.is_empty());

    let results = shop.batch("first", true, lines[..4].to_vec()).await.unwrap();
    let mut sums = std::collections::HashMap::new();
    for movement in results.iter().flat_map(movements) {
        let quantity = quantity::Quantity::parse(&movement.quantity).unwrap();
        let key = |location: &String| (movement.variant_id.clone(), location.clone());
        *sums.entry(key(&movement.location_id)).or_insert_with(Default::default) += quantity;
        // A transfer has a movement for its other side, everything else a virtual location.
        if movement.class != "transfer" {
            *sums.entry(key(&movement.counterpart_location_id)).or_insert_with(Default::default) += -quantity;
        }
    }
    for variant in [&shop.variant, &other] {
        let legs = sums.iter().filter(|((of, _), _)| of == variant).map(|(_, sum)| *sum);
        assert_eq!(legs.sum::<quantity::Quantity>(), quantity::Quantity::ZERO);
        for place in shop.balance(variant).await.unwrap().locations {
            assert_eq!(sums[&(variant.clone(), place.location_id)].to_string(), place.on_hand);
        }
    }
    let again = shop.batch("first", true, lines[..4].to_vec()).await.unwrap();
    assert!(again.iter().zip(&results).all(|(again, first)| movements(again) == movements(first)));
    assert_eq!(shop.history(&shop.variant).await.len() + shop.history(&other).await.len(), 5);
}

#[tokio::test]
async fn each_by_itself_has_an_answer_each() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let unknown = ids::LocationId::from_bytes([9; 16]).to_string();
    let lines = vec![
        shop.receipt("5", "50"),
        shop.sale("6"),
        MovementDraft { quantity: "-1".to_owned(), note: "n".repeat(1001), ..shop.sale("1") },
        MovementDraft { location_id: unknown, ..shop.sale("1") },
        MovementDraft { unit: "XX".to_owned(), ..shop.sale("1") },
        MovementDraft { quantity: "0.0001".to_owned(), ..shop.sale("1") },
        shop.sale("5"),
    ];
    let results = shop.batch("k", false, lines.clone()).await.unwrap();
    assert_eq!(movements(&results[0])[0].balance_after, "5");
    let refused = |at: usize| {
        let problem = problem(&results[at]);
        let errors: Vec<_> = problem.errors.iter().map(|error| (&*error.pointer, &*error.reason)).collect();
        (problem.status, problem.reason.as_str(), errors)
    };
    assert_eq!(refused(1), (409, "INSUFFICIENT_STOCK", vec![]));
    assert_eq!(problem(&results[1]).metadata["available"], "5");
    let bad = vec![("/movements/2/quantity", "NOT_POSITIVE"), ("/movements/2/note", "TOO_LONG")];
    assert_eq!(refused(2), (400, "INVALID_REQUEST", bad));
    assert_eq!(refused(3), (404, "NOT_FOUND", vec![]));
    assert_eq!(refused(4), (400, "INVALID_REQUEST", vec![("/movements/4/unit", "UNKNOWN_VALUE")]));
    assert_eq!(refused(5), (400, "INVALID_REQUEST", vec![("/movements/5/quantity", "TOO_MANY_PLACES")]));
    assert_eq!(movements(&results[6])[0].balance_after, "0");
    // Repeated, what was posted is answered again, what was refused is tried again.
    shop.post(shop.receipt("6", "6")).await.unwrap();
    let again = shop.batch("k", false, lines).await.unwrap();
    assert_eq!(movements(&again[0]), movements(&results[0]));
    assert_eq!(movements(&again[1])[0].balance_after, "0");
    assert_eq!(movements(&again[6]), movements(&results[6]));
    assert_eq!(shop.history(&shop.variant).await.len(), 4);
}

#[tokio::test]
async fn an_atomic_batch_names_all_bad_fields_at_once() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let lines = vec![
        MovementDraft { quantity: "x".to_owned(), ..shop.sale("1") },
        shop.receipt("1", "1"),
        MovementDraft { variant_id: String::new(), reason_code: "a b".to_owned(), ..shop.sale("1") },
    ];
    let refused = shop.batch("k", true, lines).await.unwrap_err();
    assert_eq!(
        fields(&refused),
        [
            "movements[0].quantity NOT_A_DECIMAL",
            "movements[2].variant_id REQUIRED",
            "movements[2].reason_code MALFORMED"
        ]
    );
    // What is found only when it is decided is named by its line as well.
    let lines = vec![shop.receipt("1", "1"), MovementDraft { unit: "KGM".to_owned(), ..shop.sale("1") }];
    let refused = shop.batch("k", true, lines).await.unwrap_err();
    assert_eq!(fields(&refused), ["movements[1].quantity NOT_REPRESENTABLE"]);
    assert!(shop.history(&shop.variant).await.is_empty());
}

#[tokio::test]
async fn items_have_keys_of_their_own_or_their_place() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let own = |key: &str| MovementDraft { idempotency_key: key.to_owned(), ..shop.receipt("1", "1") };
    let first = shop.batch("k", false, vec![own("a"), own("b"), own("")]).await.unwrap();
    // In another batch, in another order.
    let again = shop.batch("l", true, vec![own("b"), own("a")]).await.unwrap();
    assert_eq!(movements(&again[0]), movements(&first[1]));
    assert_eq!(movements(&again[1]), movements(&first[0]));
    for atomic in [false, true] {
        let twice = shop.batch("m", atomic, vec![own("c"), own("c")]).await;
        let found = match &twice {
            Ok(results) => vec![format!(
                "{} {}",
                problem(&results[1]).errors[0].pointer,
                problem(&results[1]).errors[0].reason
            )],
            Err(status) => fields(status),
        };
        let expected = if atomic {
            "movements[1].idempotency_key NOT_ALLOWED"
        } else {
            "/movements/1/idempotencyKey NOT_ALLOWED"
        };
        assert_eq!(found, [expected]);
    }
    let bad = shop.batch("n", true, vec![own("a b"), own(&"k".repeat(256))]).await.unwrap_err();
    assert_eq!(
        fields(&bad),
        ["movements[0].idempotency_key MALFORMED", "movements[1].idempotency_key TOO_LONG"]
    );
    // The three, and the first "c".
    assert_eq!(shop.history(&shop.variant).await.len(), 4);
}

#[tokio::test]
async fn a_batch_has_one_to_a_thousand_items() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    assert_eq!(fields(&shop.batch("a", true, vec![]).await.unwrap_err()), ["movements REQUIRED"]);
    let many = vec![shop.receipt("1", "1"); 1001];
    assert_eq!(fields(&shop.batch("b", true, many.clone()).await.unwrap_err()), ["movements TOO_MANY"]);
    let request =
        BatchPostMovementsRequest { movements: many[..1000].to_vec(), atomic: true, omit_movements: true };
    let answer = shop.batch_post_movements(request, &[(header::IDEMPOTENCY_KEY, "c")]).await.unwrap();
    let results = answer.into_inner().results;
    assert!(results.len() == 1000 && results.iter().all(|result| movements(result).is_empty()));
    assert_eq!(shop.balance(&shop.variant).await.unwrap().on_hand, "1000");
}

/// An atomic batch and single postings wait for each other, in any order of their items.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_do_not_block_each_other() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let other = shop.new_variant(2);
    let of = |variant: &String| MovementDraft { variant_id: variant.clone(), ..shop.receipt("1", "1") };
    let (forth, back) = ([&shop.variant, &other], [&other, &shop.variant]);
    let calls = (0..40).map(|at| {
        let lines: Vec<_> = if at % 2 == 0 { forth } else { back }.map(of).to_vec();
        let key = format!("batch-{at}");
        let shop = &shop;
        async move {
            shop.batch(&key, true, lines.clone()).await.unwrap();
            shop.post(lines[0].clone()).await.unwrap();
        }
    });
    futures::future::join_all(calls).await;
    let balances = [shop.balance(&shop.variant).await.unwrap(), shop.balance(&other).await.unwrap()];
    assert_eq!(balances.map(|balance| balance.on_hand), ["60", "60"]);
    assert_eq!(world.faults().await, Vec::<String>::new());
}
