//! Changing a business.

use proto::tenant::v1::*;
use rpc::header;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::world::*;

/// API-12: a change is made on the revision that the caller has seen, or not at all.
#[tokio::test]
async fn a_business_is_changed_by_revision() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let named = |name: &str| Business { legal_name: name.to_owned(), ..Business::default() };

    let changed = world.update(&owner, "\"1\"", named("Acme SE"), &[]).await.unwrap();
    assert_eq!((changed.legal_name.as_str(), changed.etag.as_str()), ("Acme SE", "\"2\""));
    assert_eq!(changed.backdate_window_days, 30);

    let stale = world.update(&owner, "\"1\"", named("Acme AG"), &[]).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "STALE_REVISION"));
    assert_eq!(stale.get_details_error_info().unwrap().metadata["current"], "\"2\"");
    let malformed = world.update(&owner, "yesterday", named("Acme AG"), &[]).await.unwrap_err();
    assert_eq!(reason(&malformed), "PRECONDITION_MALFORMED");

    let zero = world.update(&owner, "\"2\"", Business::default(), &["backdateWindowDays"]).await.unwrap();
    assert_eq!(
        (zero.backdate_window_days, zero.legal_name.as_str(), zero.etag.as_str()),
        (0, "Acme SE", "\"3\"")
    );
    let same = world.update(&owner, "*", named("Acme SE"), &["legal_name"]).await.unwrap();
    assert_eq!(same, zero, "what changes nothing makes no revision");
    let fifo = Business { costing_method: CostingMethod::Fifo.into(), ..Business::default() };
    let fifo = world.update(&owner, "\"3\"", fifo, &["costing_method"]).await.unwrap();
    assert_eq!(fifo.costing_method(), CostingMethod::Fifo);
    assert_eq!(world.business(&owner, &fifo.id).await.unwrap(), fifo);
}

/// API-11: the same key and request get the stored answer, another request a refusal.
#[tokio::test]
async fn a_repeated_update_has_one_effect() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let update = async |name: &str, if_match: &str| {
        let mut request = world.request(
            &owner,
            UpdateBusinessRequest {
                business_id: owner.business.to_string(),
                business: Some(Business { legal_name: name.to_owned(), ..Business::default() }),
                update_mask: vec!["legal_name".to_owned()],
            },
        );
        request.metadata_mut().insert(header::IF_MATCH, if_match.parse().unwrap());
        request.metadata_mut().insert(header::IDEMPOTENCY_KEY, "rename-1".parse().unwrap());
        world.client.clone().update_business(request).await
    };
    let first = update("Acme SE", "\"1\"").await.unwrap();
    let last = world.update(
        &owner,
        "\"2\"",
        Business { legal_name: "Last AG".to_owned(), ..Business::default() },
        &[],
    );
    last.await.unwrap();
    let again = update("Acme SE", "\"1\"").await.unwrap();
    assert!(!first.metadata().contains_key(header::IDEMPOTENT_REPLAYED));
    assert_eq!(again.metadata().get(header::IDEMPOTENT_REPLAYED).unwrap(), "true");
    assert_eq!(first.into_inner(), again.into_inner());
    assert_eq!(reason(&update("Other KG", "\"1\"").await.unwrap_err()), "IDEMPOTENCY_CONFLICT");
}

#[tokio::test]
async fn what_the_server_sets_cannot_be_changed() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let check = async |business: Business, mask: &[&str], expected: &[(&str, &str)]| {
        let status = world.update(&owner, "\"1\"", business, mask).await.unwrap_err();
        let found = fields(&status);
        let found: Vec<_> = found.iter().map(|(field, reason)| (field.as_str(), reason.as_str())).collect();
        assert_eq!(found, expected);
    };
    let foreign =
        Business { base_currency: "USD".to_owned(), country: "US".to_owned(), ..Business::default() };
    check(foreign, &[], &[("business.country", "IMMUTABLE"), ("business.base_currency", "IMMUTABLE")]).await;
    check(Business::default(), &["costScale"], &[("business.cost_scale", "IMMUTABLE")]).await;
    check(Business::default(), &["colour"], &[("business.colour", "UNKNOWN_FIELD")]).await;
    check(Business::default(), &["legal_name"], &[("business.legal_name", "REQUIRED")]).await;
    check(Business::default(), &["costing_method"], &[("business.costing_method", "REQUIRED")]).await;
    let unknown = Business { costing_method: 99, ..Business::default() };
    check(unknown, &[], &[("business.costing_method", "UNKNOWN_VALUE")]).await;
    let long_ago = Business { backdate_window_days: 3651, ..Business::default() };
    check(long_ago, &[], &[("business.backdate_window_days", "OUT_OF_RANGE")]).await;

    let request = UpdateBusinessRequest { business_id: owner.business.to_string(), ..Default::default() };
    let no_if_match = world.client.clone().update_business(world.request(&owner, request)).await.unwrap_err();
    assert_eq!(reason(&no_if_match), "PRECONDITION_REQUIRED");
}
