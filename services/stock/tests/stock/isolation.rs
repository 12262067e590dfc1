//! What belongs to another tenant, or to another business, is not there.

use proto::stock::v1::*;
use proto::tenant::v1::CostingMethod::Fifo;
use rpc::{Principal, header};
use tonic::{Code, Status};

use crate::world::{Shop, World, bytes, principal};

/// Every way to name an id, and what comes of it.
async fn refusals(
    shop: &Shop<'_>,
    location: &str,
    variant: &str,
    movement: &str,
) -> Vec<(&'static str, Status)> {
    let key = shop.world.key();
    let headers = [(header::IDEMPOTENCY_KEY, key.as_str())];
    let location_id = location.to_owned();
    let posted = |draft: MovementDraft| shop.post(draft);
    let listed = |request: ListMovementsRequest| shop.list(request);
    let of_own = ListMovementsRequest { variant_id: shop.variant.clone(), ..ListMovementsRequest::default() };
    let child = Location {
        code: "CHILD".to_owned(),
        name: "Child".to_owned(),
        parent_id: location_id.clone(),
        ..Location::default()
    };
    let change = UpdateLocationRequest {
        location_id: location_id.clone(),
        location: Some(Location { name: "Mine".to_owned(), ..Location::default() }),
        update_mask: vec!["name".to_owned()],
    };
    let reversal = ReverseMovementRequest {
        movement_id: movement.to_owned(),
        reason_code: "mine".to_owned(),
        note: String::new(),
    };
    let balances = ListBalancesRequest { location_id: location_id.clone(), ..ListBalancesRequest::default() };
    vec![
        (
            "GetLocation",
            shop.get_location(GetLocationRequest { location_id: location_id.clone() }, &[])
                .await
                .unwrap_err(),
        ),
        ("UpdateLocation", shop.update_location(change, &[(header::IF_MATCH, "\"1\"")]).await.unwrap_err()),
        ("CreateLocation", shop.make(child).await.unwrap_err()),
        (
            "PostMovement location",
            posted(MovementDraft { location_id: location_id.clone(), ..shop.receipt("1", "1") })
                .await
                .unwrap_err(),
        ),
        (
            "PostMovement to",
            posted(MovementDraft { to_location_id: location_id.clone(), ..shop.transfer("1") })
                .await
                .unwrap_err(),
        ),
        (
            "PostMovement variant",
            posted(MovementDraft { variant_id: variant.to_owned(), ..shop.receipt("1", "1") })
                .await
                .unwrap_err(),
        ),
        (
            "PostMovement return",
            posted(MovementDraft { return_of: movement.to_owned(), ..shop.draft("return.customer", "1") })
                .await
                .unwrap_err(),
        ),
        (
            "BatchPostMovements",
            shop.batch(
                &key,
                true,
                vec![MovementDraft { location_id: location_id.clone(), ..shop.receipt("1", "1") }],
            )
            .await
            .unwrap_err(),
        ),
        ("ReverseMovement", shop.reverse_movement(reversal, &headers).await.unwrap_err()),
        ("GetMovement", shop.movement(movement).await.unwrap_err()),
        (
            "ListMovements variant",
            listed(ListMovementsRequest { variant_id: variant.to_owned(), ..of_own.clone() })
                .await
                .unwrap_err(),
        ),
        (
            "ListMovements location",
            listed(ListMovementsRequest { location_id: location_id.clone(), ..of_own }).await.unwrap_err(),
        ),
        ("GetBalance", shop.balance(variant).await.unwrap_err()),
        ("ListBalances", shop.list_balances(balances, &[]).await.unwrap_err()),
    ]
}

/// The answer to another's id has the same bytes as the answer to an id that nobody has.
#[tokio::test]
async fn ids_of_others_are_not_found() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    shop.post(shop.receipt("5", "5")).await.unwrap();
    let stranger = world.shop(2, Fifo).await;
    let theirs = stranger.post(stranger.receipt("5", "5")).await.unwrap().remove(0);
    let random = refusals(
        &shop,
        &ids::LocationId::new(1_780_000_000_000, [7; 10]).to_string(),
        &ids::VariantId::new(1_780_000_000_000, [7; 10]).to_string(),
        &ids::MovementId::new(1_780_000_000_000, [7; 10]).to_string(),
    )
    .await;
    let foreign = refusals(&shop, &stranger.a, &stranger.variant, &theirs.id).await;
    let other_side = refusals(&shop, &theirs.counterpart_location_id, &stranger.variant, &theirs.id).await;
    for found in [foreign, other_side] {
        for ((call, random), (_, foreign)) in random.iter().zip(&found) {
            assert_eq!(random.code(), Code::NotFound, "{call}: {random:?}");
            assert_eq!(bytes(foreign), bytes(random), "{call}");
        }
    }
    // Nothing happened to either.
    assert_eq!(stranger.history(&stranger.variant).await, [theirs]);
    assert_eq!(shop.history(&shop.variant).await.len(), 1);
}

/// A second business of the same tenant shares the catalog, and neither locations nor stock.
#[tokio::test]
async fn businesses_share_no_stock() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let movement = shop.post(shop.receipt("5", "5")).await.unwrap().remove(0);
    let sister = Shop { caller: Principal { ..principal(1, 2, "key_1", &["*"]) }, ..shop.clone() };
    let business = {
        let known = world.known.businesses.lock();
        known.values().next().unwrap().clone()
    };
    let id = sister.caller.business.to_string();
    let business = proto::tenant::v1::Business { id: id.clone(), ..business };
    world.known.businesses.lock().insert((sister.caller.tenant.to_string(), id), business);

    let unseen = [
        sister.movement(&movement.id).await.map(drop),
        sister.reverse(&movement.id).await.map(drop),
        sister.post(sister.receipt("1", "1")).await.map(drop),
    ];
    for answer in unseen {
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(sister.balance(&shop.variant).await.unwrap().on_hand, "0");
    assert!(sister.history(&shop.variant).await.is_empty());
    // The same code and the same key are another's.
    let own = sister.location("A").await.id;
    let posted = sister.post(MovementDraft { location_id: own, ..sister.receipt("2", "2") }).await.unwrap();
    assert_eq!((posted[0].sequence, &*posted[0].item_balance_after), (1, "2"));
    let document = ListMovementsRequest {
        source_type: "goods_receipt".to_owned(),
        source_id: "D-1".to_owned(),
        ..ListMovementsRequest::default()
    };
    assert_eq!(sister.list(document).await.unwrap().movements, posted);
    assert_eq!(shop.balance(&shop.variant).await.unwrap().on_hand, "5");
    let list = ListBalancesRequest::default();
    assert_eq!(sister.list_balances(list, &[]).await.unwrap().into_inner().balances.len(), 1);
}

#[tokio::test]
async fn a_caller_without_the_permission_is_refused() {
    let world = World::new();
    let shop = world.shop(1, Fifo).await;
    let reader = shop.as_other("key_2", &["stock.read"]);
    let refused = reader.post(shop.receipt("1", "1")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(reader.history(&shop.variant).await.is_empty());
}
