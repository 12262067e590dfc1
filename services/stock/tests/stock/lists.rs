//! What is listed, in which order, in which pages.

use proto::stock::v1::*;
use proto::tenant::v1::CostingMethod::Fifo;

use crate::world::{Shop, World, amount, eur, fields, reason};

fn of_variant(shop: &Shop<'_>) -> ListMovementsRequest {
    ListMovementsRequest { variant_id: shop.variant.clone(), ..ListMovementsRequest::default() }
}

/// Sequences of all pages.
async fn pages(shop: &Shop<'_>, mut request: ListMovementsRequest) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    loop {
        let page = shop.list(request.clone()).await.unwrap();
        pages.push(page.movements.iter().map(|movement| movement.sequence).collect());
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

/// Ten receipts of 1, then five sales.
async fn filled<'a>(world: &'a World) -> Shop<'a> {
    let shop = world.shop(1, Fifo).await;
    for _ in 0..10 {
        shop.post(shop.receipt("1", "1")).await.unwrap();
    }
    for _ in 0..5 {
        world.pass_seconds(60);
        shop.post(shop.sale("1")).await.unwrap();
    }
    shop
}

#[tokio::test]
async fn a_history_is_read_from_either_end() {
    let world = World::new();
    let shop = filled(&world).await;
    let newest = ListMovementsRequest { page_size: 6, ..of_variant(&shop) };
    assert_eq!(
        pages(&shop, newest.clone()).await,
        [vec![15, 14, 13, 12, 11, 10], vec![9, 8, 7, 6, 5, 4], vec![3, 2, 1]]
    );
    let oldest = ListMovementsRequest { order_by: MovementOrder::Oldest.into(), ..newest };
    assert_eq!(
        pages(&shop, oldest).await,
        [vec![1, 2, 3, 4, 5, 6], vec![7, 8, 9, 10, 11, 12], vec![13, 14, 15]]
    );
    assert_eq!(pages(&shop, of_variant(&shop)).await, [(1..=15).rev().collect::<Vec<_>>()]);
}

#[tokio::test]
async fn pages_are_stable_while_movements_arrive() {
    let world = World::new();
    let shop = filled(&world).await;
    let mut request = ListMovementsRequest { page_size: 10, ..of_variant(&shop) };
    let first = shop.list(request.clone()).await.unwrap();
    shop.post(shop.receipt("1", "1")).await.unwrap();
    request.page_token = first.next_page_token;
    let second = shop.list(request).await.unwrap();
    let sequences: Vec<_> = second.movements.iter().map(|movement| movement.sequence).collect();
    assert_eq!(sequences, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_history_is_filtered() {
    let world = World::new();
    let shop = filled(&world).await;
    let transfer = shop.post(shop.transfer("2")).await.unwrap();
    let base = of_variant(&shop);
    let check = async |request: ListMovementsRequest, expected: &[u64]| {
        let found: Vec<u64> = pages(&shop, request).await.concat();
        assert_eq!(found, expected);
    };
    let kinds = |kinds: &[&str]| kinds.iter().map(ToString::to_string).collect();
    check(ListMovementsRequest { location_id: shop.b.clone(), ..base.clone() }, &[17]).await;
    check(ListMovementsRequest { kind: kinds(&["sale.shipment"]), ..base.clone() }, &[15, 14, 13, 12, 11])
        .await;
    let two = kinds(&["transfer.direct", "sale.shipment"]);
    check(ListMovementsRequest { kind: two, page_size: 3, ..base.clone() }, &[17, 16, 15, 14, 13, 12, 11])
        .await;
    check(ListMovementsRequest { kind: kinds(&["value.settlement"]), ..base.clone() }, &[]).await;
    let (from, before) = (Some(world.seconds_ago(120)), Some(world.seconds_ago(0)));
    check(ListMovementsRequest { occurred_from: from, ..base.clone() }, &[17, 16, 15, 14, 13]).await;
    check(ListMovementsRequest { occurred_from: from, occurred_before: before, ..base.clone() }, &[14, 13])
        .await;
    let source = |kind: &str| ListMovementsRequest {
        source_type: kind.to_owned(),
        source_id: "D-1".to_owned(),
        ..base.clone()
    };
    check(source("transfer"), &[17, 16]).await;
    check(source("goods_receipt"), &(1..=10).rev().collect::<Vec<_>>()).await;
    check(ListMovementsRequest { source_id: "D-2".to_owned(), ..source("transfer") }, &[]).await;
    assert_eq!(transfer[1].sequence, 17);
}

/// A filter that matches nothing looks at so many movements per page and says where to go on.
#[tokio::test]
async fn a_rare_filter_gives_short_pages() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let drafts = |count| vec![shop.receipt("1", "1"); count];
    shop.post(shop.transfer_from_b().await).await.unwrap();
    for batch in 0..6 {
        let results = shop.batch(&format!("fill-{batch}"), true, drafts(1000)).await.unwrap();
        assert_eq!(results.len(), 1000);
    }
    let request = ListMovementsRequest { kind: vec!["transfer.direct".to_owned()], ..of_variant(&shop) };
    assert_eq!(pages(&shop, request).await, [vec![], vec![3, 2]]);
    assert_eq!(world.faults().await, Vec::<String>::new());
}

impl Shop<'_> {
    /// Something at B, and a draft that moves it to A.
    async fn transfer_from_b(&self) -> MovementDraft {
        let receipt = MovementDraft { location_id: self.b.clone(), ..self.receipt("1", "1") };
        self.post(receipt).await.unwrap();
        MovementDraft { location_id: self.b.clone(), to_location_id: self.a.clone(), ..self.transfer("1") }
    }
}

/// MOV-4: a movement names its document and line, and the document lists its movements, each in one
/// call: also settlements, reversals and both legs of a transfer, once each.
#[tokio::test]
async fn a_document_lists_its_movements() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let location = Location {
        code: "C".to_owned(),
        name: "Counter".to_owned(),
        negative_policy: NegativePolicy::Allow.into(),
        ..Location::default()
    };
    let counter = shop.make(location).await.unwrap().id;
    let other = shop.new_variant(2);
    let line = |draft: MovementDraft, line: &str| {
        let source = Source { line_id: line.to_owned(), ..draft.source.clone().unwrap() };
        MovementDraft { location_id: counter.clone(), source: Some(source), ..draft }
    };
    let mut expected: Vec<Vec<String>> = Vec::new();
    let mut post = async |draft| {
        let posting = shop.post(draft).await.unwrap();
        expected.push(posting.iter().map(|movement| movement.id.clone()).collect());
        posting
    };
    // Two sales without stock, so that one line of the receipt settles twice.
    post(line(shop.sale("1"), "1")).await;
    post(line(shop.sale("1"), "2")).await;
    let receipt = post(line(shop.receipt("5", "50"), "1")).await;
    assert_eq!(receipt.len(), 3);
    post(line(MovementDraft { variant_id: other.clone(), ..shop.receipt("5", "50") }, "2")).await;
    post(line(shop.receipt("5", "50"), "")).await;
    post(line(shop.receipt("6", "60"), "")).await;
    let transfer =
        post(line(MovementDraft { to_location_id: shop.a.clone(), ..shop.transfer("1") }, "1")).await;
    let reversal = shop.reverse(&transfer[0].id).await.unwrap();
    expected.push(reversal.iter().map(|movement| movement.id.clone()).collect());

    let check = async |kind: &str, postings: &[usize]| {
        let mut request = ListMovementsRequest {
            source_type: kind.to_owned(),
            source_id: "D-1".to_owned(),
            page_size: 1,
            ..ListMovementsRequest::default()
        };
        let mut found = Vec::new();
        loop {
            let page = shop.list(request.clone()).await.unwrap();
            for movement in &page.movements {
                assert_eq!(movement.source.as_ref().unwrap().r#type, kind);
            }
            found.extend(page.movements.into_iter().map(|movement| movement.id));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let mut expected: Vec<_> = postings.iter().flat_map(|at| expected[*at].clone()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{kind}");
    };
    check("shipment", &[0, 1]).await;
    check("goods_receipt", &[2, 3, 4, 5]).await;
    check("transfer", &[6, 7]).await;
    check("opening", &[]).await;
    let both = shop.movement(&transfer[1].id).await.unwrap();
    assert_eq!(both.reversed_by, reversal[0].id, "the last leg is taken back first");
}

#[tokio::test]
async fn a_page_token_belongs_to_its_list() {
    let world = World::new();
    let shop = filled(&world).await;
    let request = ListMovementsRequest { page_size: 5, ..of_variant(&shop) };
    let token = shop.list(request.clone()).await.unwrap().next_page_token;
    let with = |request| ListMovementsRequest { page_token: token.clone(), ..request };
    shop.list(with(request.clone())).await.unwrap();
    // Another page size is the same list; another filter or order is not.
    shop.list(with(ListMovementsRequest { page_size: 2, ..request.clone() })).await.unwrap();
    let others = [
        ListMovementsRequest { kind: vec!["sale.shipment".to_owned()], ..request.clone() },
        ListMovementsRequest { order_by: MovementOrder::Oldest.into(), ..request.clone() },
        ListMovementsRequest { variant_id: shop.new_variant(9), ..request.clone() },
        ListMovementsRequest { location_id: shop.a.clone(), ..request.clone() },
    ];
    for other in others {
        let refused = shop.list(with(other)).await.unwrap_err();
        assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    }
    let made_up = ListMovementsRequest { page_token: "bm90aGluZw".to_owned(), ..request };
    assert_eq!(reason(&shop.list(made_up).await.unwrap_err()), "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn balances_are_listed_for_the_business_and_for_a_location() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let variants: Vec<String> = (10..15).map(|number| shop.new_variant(number)).collect();
    for (at, variant) in variants.iter().enumerate() {
        let location_id = if at % 2 == 0 { shop.a.clone() } else { shop.b.clone() };
        let quantity = format!("{}", at + 1);
        let draft =
            MovementDraft { variant_id: variant.clone(), location_id, ..shop.receipt(&quantity, "10") };
        shop.post(draft).await.unwrap();
    }
    let both = MovementDraft { variant_id: variants[0].clone(), ..shop.transfer("1") };
    shop.post(both).await.unwrap();
    let list = async |location: &str, page_size| {
        let mut request =
            ListBalancesRequest { location_id: location.to_owned(), page_size, page_token: String::new() };
        let mut found = Vec::new();
        loop {
            let page = shop.list_balances(request.clone(), &[]).await.unwrap().into_inner();
            assert!(page.balances.len() <= page_size as usize);
            found.extend(page.balances);
            if page.next_page_token.is_empty() {
                return found;
            }
            request.page_token = page.next_page_token;
        }
    };
    let all = list("", 2).await;
    assert_eq!(
        all.iter().map(|item| &item.variant_id).collect::<Vec<_>>(),
        variants.iter().collect::<Vec<_>>()
    );
    for item in &all {
        assert_eq!(item, &shop.balance(&item.variant_id).await.unwrap());
    }
    let at_b = list(&shop.b, 2).await;
    let found: Vec<_> = at_b
        .iter()
        .map(|item| {
            let [location] = &item.locations[..] else { panic!("that location alone") };
            assert_eq!(location.location_id, shop.b);
            (item.variant_id.as_str(), location.on_hand.as_str())
        })
        .collect();
    // It stays in the list of A too, where nothing is left.
    assert_eq!(found, [(&*variants[0], "1"), (&*variants[1], "2"), (&*variants[3], "4")]);
    assert_eq!(list(&shop.a, 5).await[0].locations[0].on_hand, "0");
}

#[tokio::test]
async fn a_balance_tells_value_and_places() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    shop.post(shop.receipt("3", "10")).await.unwrap();
    shop.post(shop.transfer("1")).await.unwrap();
    let found = shop.balance(&shop.variant).await.unwrap();
    let mut places = [(&shop.a, "2", 2, 2), (&shop.b, "1", 1, 3)];
    places.sort_by_key(|(location, ..)| (*location).clone());
    let locations = places.map(|(location, on_hand, movements, last_sequence)| LocationBalance {
        location_id: location.clone(),
        on_hand: on_hand.to_owned(),
        movements,
        last_sequence,
    });
    let expected = ItemBalance {
        variant_id: shop.variant.clone(),
        business_id: shop.caller.business.to_string(),
        base_unit: "C62".to_owned(),
        on_hand: "3".to_owned(),
        value: eur("10.00"),
        unit_cost: eur("3.333333"),
        costing_method: "FIFO".to_owned(),
        locations: locations.to_vec(),
        sequence: 3,
        updated_at: Some(world.seconds_ago(0)),
    };
    assert_eq!(found, expected);
}

/// More locations than the header has room for.
#[tokio::test]
async fn a_balance_of_many_places_is_complete() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let mut places = Vec::new();
    for number in 0..10 {
        world.pass_seconds(1); // ids sort by time
        let place = shop.location(&format!("P{number}")).await.id;
        let draft =
            MovementDraft { location_id: place.clone(), ..shop.receipt(&format!("{}", number + 1), "1") };
        shop.post(draft).await.unwrap();
        places.push(place);
    }
    let found = shop.balance(&shop.variant).await.unwrap();
    let on_hand: Vec<_> = found.locations.iter().map(|place| &*place.on_hand).collect();
    assert_eq!(on_hand, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    let ids: Vec<_> = found.locations.iter().map(|place| place.location_id.clone()).collect();
    assert_eq!((ids, amount(&found.value)), (places.clone(), "10.00"));
    let request = ListBalancesRequest { location_id: places[9].clone(), ..ListBalancesRequest::default() };
    let there = shop.list_balances(request, &[]).await.unwrap().into_inner().balances;
    assert_eq!((there.len(), &*there[0].locations[0].on_hand), (1, "10"));
}

#[tokio::test]
async fn what_never_moved_is_empty_and_what_does_not_exist_is_not_found() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let empty = shop.balance(&shop.variant).await.unwrap();
    assert_eq!((&*empty.on_hand, &*empty.base_unit, empty.sequence), ("0", "C62", 0));
    assert!(shop.history(&shop.variant).await.is_empty());
    let unknown = ids::VariantId::from_bytes([9; 16]).to_string();
    assert_eq!(reason(&shop.balance(&unknown).await.unwrap_err()), "NOT_FOUND");
    let request = ListMovementsRequest { variant_id: unknown, ..ListMovementsRequest::default() };
    assert_eq!(reason(&shop.list(request).await.unwrap_err()), "NOT_FOUND");
}

#[tokio::test]
#[rustfmt::skip] // columns
async fn bad_filters_are_named() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let check = async |request: ListMovementsRequest, expected: &[&str]| {
        assert_eq!(fields(&shop.list(request).await.unwrap_err()), expected);
    };
    let base = of_variant(&shop);
    let none = ListMovementsRequest::default();
    check(none.clone(), &["variant_id REQUIRED"]).await;
    check(ListMovementsRequest { source_type: "transfer".into(), ..none.clone() }, &["source_id REQUIRED"]).await;
    check(ListMovementsRequest { source_id: "D-1".into(), ..none.clone() }, &["source_type REQUIRED"]).await;
    check(ListMovementsRequest { variant_id: shop.a.clone(), ..none.clone() }, &["variant_id WRONG_ID_PREFIX"]).await;
    check(ListMovementsRequest { location_id: "loc_1".into(), ..base.clone() }, &["location_id MALFORMED_ID"]).await;
    check(ListMovementsRequest { kind: vec!["sale".into()], ..base.clone() }, &["kind[0] UNKNOWN_VALUE"]).await;
    check(ListMovementsRequest { kind: vec!["sale.shipment".into(); 21], ..base.clone() }, &["kind TOO_MANY"]).await;
    check(ListMovementsRequest { order_by: 7, ..base.clone() }, &["order_by UNKNOWN_VALUE"]).await;
    check(ListMovementsRequest { page_size: 501, ..base.clone() }, &["page_size TOO_LARGE"]).await;
    check(ListMovementsRequest { source_id: "D".repeat(101), source_type: "transfer".into(), ..none }, &["source_id TOO_LONG"]).await;
    let never = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    check(ListMovementsRequest { occurred_from: never, occurred_before: never, ..base }, &["occurred_from OUT_OF_RANGE", "occurred_before OUT_OF_RANGE"]).await;
}
