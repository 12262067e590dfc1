//! Standing, plan and entitlements of a tenant.

use proto::tenant::v1::operator_access_service_client::OperatorAccessServiceClient;
use proto::tenant::v1::*;
use rpc::Principal;
use tenant::domain::{AccountChange, AccountCommand, Feature, Override, Plan, Role, Standing, Value};
use tonic::Status;

use crate::world::{World, new_business, new_key, reason};

async fn account(world: &World, caller: &Principal) -> Account {
    let request = world.request(caller, GetAccountRequest {});
    world.account.clone().get_account(request).await.unwrap().into_inner()
}

async fn close(world: &World, caller: &Principal, export_days: Option<u32>) -> Result<Account, Status> {
    let request = world.request(caller, CloseAccountRequest { export_days, reason: "moving on".to_owned() });
    Ok(world.account.clone().close_account(request).await?.into_inner())
}

async fn withdraw(world: &World, caller: &Principal) -> Result<Account, Status> {
    let request = world.request(caller, WithdrawClosureRequest::default());
    Ok(world.account.clone().withdraw_closure(request).await?.into_inner())
}

async fn operator(world: &World, change: AccountChange) -> Result<(), tenant::Error> {
    world.service.app().set_account("acme", AccountCommand::new(change, "agreed")).await.map(|_| ())
}

async fn bars(world: &World, secret: &str) -> Vec<String> {
    world.authenticate(secret, "192.0.2.7").await.unwrap().bars
}

/// API-9: without API access a key is suspended, not deleted, and works again with the plan that has it.
#[tokio::test]
async fn a_downgrade_suspends_keys_and_an_upgrade_lets_them_in() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (_, secret) = world.new_caller(&owner, new_key("clerk")).await;
    assert_eq!(account(&world, &owner).await.plan, "enterprise");
    assert!(bars(&world, &secret).await.is_empty());
    for plan in [Plan::Starter, Plan::Standard] {
        operator(&world, AccountChange::Plan(plan)).await.unwrap();
        assert_eq!(bars(&world, &secret).await, ["PLAN_NOT_ENTITLED"], "{plan:?}");
    }
    for plan in [Plan::Premium, Plan::Enterprise] {
        operator(&world, AccountChange::Plan(plan)).await.unwrap();
        assert!(bars(&world, &secret).await.is_empty(), "{plan:?}");
    }
}

/// API-10: entitlements are typed, readable by the customer, and an override counts until it ends, at once.
#[tokio::test]
async fn an_override_is_seen_and_ends_by_itself() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    operator(&world, AccountChange::Plan(Plan::Starter)).await.unwrap();
    let until = Some(world.now().plus_seconds(3600));
    let agreed = |value| Override { value, until };
    operator(&world, AccountChange::Override(Feature::ApiAccess, agreed(Value::Switch(true)))).await.unwrap();
    operator(&world, AccountChange::Override(Feature::BusinessesMax, agreed(Value::Limit(3)))).await.unwrap();
    let held = |account: &Account| -> Vec<(String, Option<entitlement::Value>, bool)> {
        let held = account.entitlements.iter();
        held.map(|held| (held.feature.clone(), held.value.clone(), held.overridden)).collect()
    };
    use entitlement::Value::{Choice, Enabled, Limit};
    let named = |feature: &str, value, overridden| (feature.to_owned(), Some(value), overridden);
    let support = named("support.level", Choice("community".to_owned()), false);
    let found = account(&world, &owner).await;
    assert_eq!(
        held(&found),
        [named("api.access", Enabled(true), true), named("businesses.max", Limit(3), true), support.clone()]
    );
    assert!(found.entitlements[0].until.is_some());

    world.pass_seconds(3600);
    assert_eq!(
        held(&account(&world, &owner).await),
        [named("api.access", Enabled(false), false), named("businesses.max", Limit(1), false), support]
    );
}

/// TEN-11: what the tenant has granted works on any plan.
#[tokio::test]
async fn the_operator_is_let_in_on_any_plan() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let app = world.service.app();
    operator(&world, AccountChange::Plan(Plan::Starter)).await.unwrap();
    let asked = app.request_operator_access("acme", "ticket 1", Role::Viewer, 1).await.unwrap();
    let grant = GrantOperatorAccessRequest { operator_access_id: asked.id.to_string() };
    let mut client = OperatorAccessServiceClient::new(world.transport.clone());
    client.grant_operator_access(world.request(&owner, grant)).await.unwrap();
    let (_, key) = app.open_operator_access("acme", asked.id).await.unwrap();
    assert!(bars(&world, &key.reveal()).await.is_empty());
    world.pass_seconds(3600);
    assert!(world.authenticate(&key.reveal(), "192.0.2.7").await.is_err(), "it ends by itself");
}

#[tokio::test]
async fn a_plan_limits_businesses() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    operator(
        &world,
        AccountChange::Override(Feature::BusinessesMax, Override { value: Value::Limit(2), until: None }),
    )
    .await
    .unwrap();
    let create = async || {
        let request = world.request(&owner, CreateBusinessRequest { business: Some(new_business()) });
        world.client.clone().create_business(request).await.map(|made| made.into_inner().id)
    };
    create().await.unwrap();
    let refused = create().await.unwrap_err();
    assert_eq!(reason(&refused), "PLAN_NOT_ENTITLED");
}

#[tokio::test]
async fn a_tenant_that_is_suspended_or_whose_trial_is_over_is_barred() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (_, secret) = world.new_caller(&owner, new_key("clerk")).await;
    let until = world.now().plus_seconds(86_400);
    operator(&world, AccountChange::Standing(Standing::Trial { until })).await.unwrap();
    assert!(bars(&world, &secret).await.is_empty());
    assert!(account(&world, &owner).await.trial_ends_at.is_some());
    world.pass_seconds(86_400);
    assert_eq!(bars(&world, &secret).await, ["TENANT_SUSPENDED"]);
    assert_eq!(account(&world, &owner).await.standing(), TenantStanding::Suspended);
    operator(&world, AccountChange::Standing(Standing::Active)).await.unwrap();
    operator(&world, AccountChange::Standing(Standing::PastDue)).await.unwrap();
    assert!(bars(&world, &secret).await.is_empty(), "a reminder is no suspension");
    operator(&world, AccountChange::Standing(Standing::Suspended)).await.unwrap();
    assert_eq!(bars(&world, &secret).await, ["TENANT_SUSPENDED"]);
}

#[tokio::test]
async fn notice_makes_a_tenant_read_only_and_is_withdrawn() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (_, secret) = world.new_caller(&owner, new_key("clerk")).await;
    let refused = close(&world, &owner, Some(366)).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_REQUEST");
    let closing = close(&world, &owner, None).await.unwrap();
    assert_eq!(closing.standing(), TenantStanding::Closing);
    let window = closing.purge_from.unwrap().seconds - world.now().seconds_nanos().0;
    assert_eq!(window, 30 * 86_400);
    assert_eq!(bars(&world, &secret).await, ["TENANT_CLOSING"]);
    assert_eq!(withdraw(&world, &owner).await.unwrap().standing(), TenantStanding::Active);
    assert!(bars(&world, &secret).await.is_empty());
}

/// The account is the tenant's: nobody in a business below the master shows it to be there for changes.
#[tokio::test]
async fn notice_is_given_in_the_master_business() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let sub = world.below(&owner, &[owner.business]).await;
    let below = Principal { business: sub, path: [owner.business, sub].into(), ..owner.clone() };
    assert_eq!(reason(&close(&world, &below, Some(30)).await.unwrap_err()), "NOT_FOUND");
}
