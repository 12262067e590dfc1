//! The same request twice, the same line twice, and many requests at once.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use proto::stock::v1::*;
use proto::tenant::v1::CostingMethod::{Fifo, MovingAverage};
use rpc::header;

use crate::world::{World, detail, reason};

/// MOV-12: a request that is repeated with its key posts once and gets the same answer, whatever
/// happened since; a line of a document posts once, under any key.
#[tokio::test]
async fn a_repeated_request_posts_once() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let request = PostMovementRequest { movement: Some(shop.receipt("5", "50")) };
    let headers = [(header::IDEMPOTENCY_KEY, "receipt-1")];
    let first = shop.post_movement(request.clone(), &headers).await.unwrap();
    assert!(first.metadata().get(header::IDEMPOTENT_REPLAYED).is_none() && !first.get_ref().replayed);
    let movement = first.into_inner().movements.remove(0);

    shop.reverse(&movement.id).await.unwrap();
    world.pass_seconds(400 * 86_400);
    world.restart();
    let again = shop.post_movement(request, &headers).await.unwrap();
    assert_eq!(again.metadata().get(header::IDEMPOTENT_REPLAYED).unwrap(), "true");
    let again = again.into_inner();
    assert_eq!(again, Posting { movements: vec![movement], replayed: true }, "also after a year");
    assert_eq!(shop.history(&shop.variant).await.len(), 2);

    let line = |draft: MovementDraft, revision| {
        let source = Source { line_id: "1".to_owned(), revision, ..draft.source.clone().unwrap() };
        MovementDraft { source: Some(source), ..draft }
    };
    shop.post(line(shop.receipt("5", "50"), 0)).await.unwrap();
    let refused = shop.post(line(shop.receipt("5", "50"), 0)).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused)),
        (tonic::Code::AlreadyExists, "SOURCE_ALREADY_POSTED".into())
    );
    assert_eq!(detail(&refused, "sequence"), "3");
    shop.post(line(shop.receipt("5", "50"), 1)).await.unwrap();
}

#[tokio::test]
async fn transfers_and_reversals_are_repeated_whole() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    shop.post(shop.receipt("5", "50")).await.unwrap();
    let first = shop.post_as("transfer-1", shop.transfer("2")).await.unwrap();
    let again = shop.post_as("transfer-1", shop.transfer("2")).await.unwrap();
    assert_eq!((first.movements.len(), again.replayed), (2, true));
    assert_eq!(first.movements, again.movements);

    let reverse = async || {
        let request = ReverseMovementRequest {
            movement_id: first.movements[1].id.clone(),
            reason_code: "mistake".to_owned(),
            note: String::new(),
        };
        let headers = [(header::IDEMPOTENCY_KEY, "reverse-1")];
        shop.reverse_movement(request, &headers).await.unwrap().into_inner()
    };
    let (reversed, again) = (reverse().await, reverse().await);
    assert_eq!((reversed.movements.len(), again.replayed), (2, true));
    assert_eq!(reversed.movements, again.movements);
    assert_eq!(shop.history(&shop.variant).await.len(), 5);
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    shop.post_as("k", shop.receipt("5", "50")).await.unwrap();
    let others = [
        shop.receipt("6", "50"),
        MovementDraft { variant_id: shop.new_variant(2), ..shop.receipt("5", "50") },
        MovementDraft { note: "another".to_owned(), ..shop.receipt("5", "50") },
        // What it names is looked up only after the key.
        MovementDraft { unit: "XX".to_owned(), ..shop.receipt("5", "50") },
    ];
    for other in others {
        let refused = shop.post_as("k", other).await.unwrap_err();
        assert_eq!(reason(&refused), "IDEMPOTENCY_CONFLICT");
    }
    // A refused request leaves its key free.
    shop.post_as("l", shop.sale("6")).await.unwrap_err();
    shop.post_as("l", shop.sale("5")).await.unwrap();
}

/// TEN-5: a key counts for its tenant and principal, and a page token opens for nobody else.
#[tokio::test]
async fn keys_and_tokens_belong_to_their_principal() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let colleague = shop.as_other("key_2", &["*"]);
    let stranger = world.shop(2, Fifo).await;
    let mine = shop.post_as("k", shop.receipt("5", "50")).await.unwrap();
    let theirs = colleague.post_as("k", shop.receipt("5", "50")).await.unwrap();
    let others = stranger.post_as("k", stranger.receipt("7", "50")).await.unwrap();
    assert!(!theirs.replayed && !others.replayed);
    let ids: HashSet<_> = [&mine, &theirs, &others].map(|posting| posting.movements[0].id.clone()).into();
    assert_eq!(ids.len(), 3);

    let request = ListMovementsRequest {
        variant_id: shop.variant.clone(),
        page_size: 1,
        ..ListMovementsRequest::default()
    };
    let page_token = shop.list(request.clone()).await.unwrap().next_page_token;
    let request = ListMovementsRequest { page_token, ..request };
    assert_eq!(shop.list(request.clone()).await.unwrap().movements.len(), 1);
    for other in [&colleague, &stranger] {
        assert_eq!(reason(&other.list(request.clone()).await.unwrap_err()), "PAGE_TOKEN_INVALID");
    }
}

/// What a request named may be gone when it is repeated: it is answered all the same.
#[tokio::test]
async fn a_repeated_request_does_not_need_what_it_named() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let dozen = MovementDraft { unit: "DZN".to_owned(), ..shop.receipt("1", "50") };
    let batch = vec![dozen.clone(), shop.receipt("1", "1")];
    let first = shop.post_as("one", dozen.clone()).await.unwrap();
    let each = shop.batch("each", false, batch.clone()).await.unwrap();
    let all = shop.batch("all", true, batch.clone()).await.unwrap();
    world.known.variants.lock().clear();
    world.known.away.store(true, Ordering::Relaxed);
    world.restart();
    let again = shop.post_as("one", dozen.clone()).await.unwrap();
    assert_eq!((again.movements, again.replayed), (first.movements, true));
    let movements = |results: Vec<PostingResult>| -> Vec<Movement> {
        let posting = |result: PostingResult| match result.result {
            Some(posting_result::Result::Posting(posting)) => posting.movements,
            other => panic!("{other:?}"),
        };
        results.into_iter().flat_map(posting).collect()
    };
    let again =
        [shop.batch("each", false, batch.clone()).await, shop.batch("all", true, batch.clone()).await];
    let again = again.map(|results| movements(results.unwrap()));
    assert_eq!(again, [movements(each), movements(all)]);
    // A new request does need it.
    let refused = shop.post_as("two", dozen).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (tonic::Code::Unavailable, "UNAVAILABLE".into()));
    let refused = shop.batch("more", true, batch).await.unwrap_err();
    assert_eq!(reason(&refused), "UNAVAILABLE");
}

/// MOV-9: 1,000 concurrent withdrawals against a balance of 100 give exactly 100 successes, the last
/// balance is 0, none is negative.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_withdrawals_take_a_hundred() {
    let world = World::new();
    let shop = world.shop(1, MovingAverage).await;
    shop.post(shop.receipt("100", "99.99")).await.unwrap();
    let calls = (0..1000).map(|_| shop.post(shop.sale("1")));
    let answers = join_all(calls).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((taken.len(), refused.len()), (100, 900));
    for answer in refused {
        let status = answer.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (tonic::Code::FailedPrecondition, "INSUFFICIENT_STOCK".into())
        );
    }
    let mut after: Vec<i64> =
        taken.into_iter().map(|answer| answer.unwrap()[0].balance_after.parse().unwrap()).collect();
    after.sort_unstable();
    assert_eq!(after, (0..100).collect::<Vec<_>>());
    let balance = shop.balance(&shop.variant).await.unwrap();
    assert_eq!((&*balance.on_hand, crate::world::amount(&balance.value)), ("0", "0.00"));
    let last = shop.history(&shop.variant).await.pop().unwrap();
    assert_eq!((last.sequence, &*last.balance_after), (101, "0"));
    assert_eq!(world.faults().await, Vec::<String>::new());
}

/// The same request many times at once posts once; the others get its answer or are told to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_many_times_at_once_posts_once() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let answers = join_all((0..50).map(|_| shop.post_as("k", shop.receipt("1", "1")))).await;
    let mut ids = HashSet::new();
    for answer in answers {
        match answer {
            Ok(posting) => drop(ids.insert(posting.movements[0].id.clone())),
            Err(status) => assert_eq!(reason(&status), "IDEMPOTENCY_IN_PROGRESS"),
        }
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(shop.history(&shop.variant).await.len(), 1);
}

/// Two first movements at once: both agree on what the first one fixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_is_opened_once() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let answers = join_all((0..20).map(|_| shop.post(shop.receipt("1", "1")))).await;
    assert!(answers.iter().all(Result::is_ok));
    let history = shop.history(&shop.variant).await;
    assert_eq!(
        history.iter().map(|movement| movement.sequence).collect::<Vec<_>>(),
        (1..=20).collect::<Vec<_>>()
    );
}
