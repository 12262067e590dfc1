//! What a business inherits of the products of those above it.

use proto::catalog::v1::*;
use tonic::{Code, Status};

use crate::world::*;

/// The master, a business below it, and so on: nine levels.
const CHAIN: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

fn named(name: &str) -> Product {
    Product { name: name.to_owned(), ..Product::default() }
}

fn tagged(tags: &[&str]) -> Product {
    Product { tags: tags.iter().map(ToString::to_string).collect(), ..Product::default() }
}

async fn set(
    world: &World,
    caller: &Caller,
    group: &str,
    mode: InheritanceMode,
    existing: ExistingOverrides,
) -> Result<InheritancePolicy, Status> {
    let policy = InheritancePolicy {
        entity_type: "product".to_owned(),
        field_group: group.to_owned(),
        mode: mode.into(),
        existing_overrides: existing.into(),
        ..InheritancePolicy::default()
    };
    let request = world.request(caller, SetInheritancePolicyRequest { policy: Some(policy) });
    Ok(world.inheritance.clone().set_inheritance_policy(request).await?.into_inner())
}

async fn clear(world: &World, caller: &Caller, id: &str, fields: &[&str]) -> Product {
    let fields = fields.iter().map(ToString::to_string).collect();
    let message = ClearProductOverridesRequest { product_id: id.to_owned(), fields, reason: String::new() };
    let request = world.request(caller, message);
    world.inheritance.clone().clear_product_overrides(request).await.unwrap().into_inner()
}

async fn explain(world: &World, caller: &Caller, id: &str, at: i64) -> Vec<InheritanceStep> {
    let message = ExplainProductRequest {
        product_id: id.to_owned(),
        field: "name".to_owned(),
        at: Some(world.in_seconds(at)),
    };
    let request = world.request(caller, message);
    let found = world.inheritance.clone().explain_product(request).await.unwrap().into_inner();
    found.fields.into_iter().next().unwrap().steps
}

/// HIE-4, HIE-6: businesses of nine levels read the record of the master without a grant, the nearest that said
/// something counts, and each field says where it comes from.
#[tokio::test]
async fn the_nearest_business_that_said_something_counts() {
    let world = World::new();
    let master = below(&CHAIN[..1]);
    let made = world.create(&master, simple("A")).await.unwrap();
    world.update(&below(&CHAIN[..4]), &made.id, named("Fourth"), &["name"]).await.unwrap();
    for levels in 1..=9 {
        let caller = below(&CHAIN[..levels]);
        let found = world.product(&caller, &made.id).await.unwrap();
        assert_eq!(found.name, if levels < 4 { "Product A" } else { "Fourth" }, "{levels}");
        assert_eq!(found.business_id, made.business_id);
        let message = GetProductRequest { product_id: made.id.clone(), origins: true };
        let found =
            world.client.clone().get_product(world.request(&caller, message)).await.unwrap().into_inner();
        let name = found.origins.iter().find(|origin| origin.field == "name").unwrap();
        let owner = if levels < 4 { &master } else { &below(&CHAIN[..4]) };
        assert_eq!(name.business_id, owner.0.business.to_string());
        assert_eq!((name.mode.as_str(), name.policy_version), ("OVERRIDABLE", 0));
    }
    world.verify().await;
}

/// HIE-3: what is locked says whose policy it is and which field; nothing is written.
#[tokio::test]
async fn a_locked_field_is_refused_and_says_by_whom() {
    let world = World::new();
    let (master, sub) = (below(&CHAIN[..1]), below(&CHAIN[..3]));
    let made = world.create(&master, simple("A")).await.unwrap();
    let brand = Product { brand: "Mine".to_owned(), ..Product::default() };
    let refused = world.update(&sub, &made.id, brand, &["brand"]).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "INHERITED_LOCKED"));
    let told = ["field", "owner", "policy", "policy_version"].map(|name| metadata(&refused, name));
    assert_eq!(told, ["brand", &made.business_id, "product/classification", "0"]);

    let policy =
        set(&world, &master, "text", InheritanceMode::Locked, ExistingOverrides::Reject).await.unwrap();
    assert_eq!(policy.version, 1);
    let refused = world.update(&sub, &made.id, named("Mine"), &["name"]).await.unwrap_err();
    let told = ["field", "policy", "policy_version"].map(|name| metadata(&refused, name));
    assert_eq!(told, ["name", "product/text", "1"]);

    let others = [
        world.add(&sub, &made.id, variant("B")).await.unwrap_err(),
        world.change(&sub, &made.variants[0].id, variant("B"), &["sku"]).await.unwrap_err(),
        world.convert(&sub, &made.variants[0].id, "BX", 10, 1).await.unwrap_err(),
    ];
    assert!(others.iter().all(|refused| reason(refused) == "INHERITED_LOCKED"), "{others:?}");
    assert_eq!(world.product(&sub, &made.id).await.unwrap(), made);
}

/// HIE-5: clearing restores what is inherited in the same call; HIE-B: the chain shows both, at each moment.
#[tokio::test]
async fn what_is_taken_back_is_restored_and_stays_in_history() {
    let world = World::new();
    let (master, sub) = (below(&CHAIN[..1]), below(&CHAIN[..3]));
    let made = world.create(&master, simple("A")).await.unwrap();
    world.pass_seconds(10);
    world.update(&sub, &made.id, named("Mine"), &["name"]).await.unwrap();
    world.pass_seconds(10);
    let cleared = clear(&world, &sub, &made.id, &["name"]).await;
    assert_eq!(cleared.name, "Product A");
    assert_ne!(cleared.etag, made.etag, "what holds has changed twice");

    for (at, name, says) in [(-15, "Product A", None), (-5, "Mine", Some("Mine")), (0, "Product A", None)] {
        let steps = explain(&world, &sub, &made.id, at).await;
        assert_eq!(steps.len(), 3);
        let last = steps.last().unwrap();
        assert_eq!(last.effective.as_ref().unwrap().text, name);
        assert_eq!(last.said.as_ref().map(|said| said.text.as_str()), says);
        assert_eq!(steps[0].said_by, "key_test");
    }
    world.verify().await;
}

/// HIE-7: a list grows below and loses nothing of what comes from above.
#[tokio::test]
async fn a_list_grows_below_and_loses_nothing() {
    let world = World::new();
    let (master, sub) = (below(&CHAIN[..1]), below(&CHAIN[..2]));
    let tags = ["steel", "new"].map(str::to_owned).into();
    let made = world.create(&master, Product { tags, ..simple("A") }).await.unwrap();
    let more = world.update(&sub, &made.id, tagged(&["steel", "new", "local"]), &["tags"]).await.unwrap();
    assert_eq!(more.tags, ["steel", "new", "local"]);
    let refused = world.update(&sub, &made.id, tagged(&["local"]), &["tags"]).await.unwrap_err();
    assert_eq!(
        (reason(&refused).as_str(), metadata(&refused, "mode").as_str()),
        ("INHERITED_LOCKED", "EXTEND")
    );
    world.update(&master, &made.id, tagged(&["steel", "old"]), &["tags"]).await.unwrap();
    assert_eq!(world.product(&sub, &made.id).await.unwrap().tags, ["steel", "old", "local"]);
    assert_eq!(world.product(&master, &made.id).await.unwrap().tags, ["steel", "old"]);
}

/// HIE-12: a lock over overrides is refused and names them, or suspends them until it goes.
#[tokio::test]
async fn a_lock_over_overrides_is_a_choice() {
    let world = World::new();
    let (master, sub) = (below(&CHAIN[..1]), below(&CHAIN[..3]));
    let made = world.create(&master, simple("A")).await.unwrap();
    world.update(&sub, &made.id, named("Mine"), &["name"]).await.unwrap();
    let lock = InheritanceMode::Locked;
    let refused = set(&world, &master, "text", lock, ExistingOverrides::Reject).await.unwrap_err();
    assert_eq!(reason(&refused), "OVERRIDES_EXIST");
    assert_eq!(metadata(&refused, "businesses"), sub.0.business.to_string());

    set(&world, &master, "text", lock, ExistingOverrides::Suspend).await.unwrap();
    assert_eq!(world.product(&sub, &made.id).await.unwrap().name, "Product A");
    let steps = explain(&world, &sub, &made.id, 0).await;
    assert!(steps[2].suspended && steps[2].policy_version == 1, "{steps:?}");
    world.pass_seconds(1);
    set(&world, &master, "text", InheritanceMode::Overridable, ExistingOverrides::Reject).await.unwrap();
    assert_eq!(world.product(&sub, &made.id).await.unwrap().name, "Mine");
    world.verify().await;
}

/// HIE-8: who does not see a product finds it nowhere. HIE-10: sisters and parents see nothing of what is below.
#[tokio::test]
async fn who_does_not_see_a_product_finds_it_nowhere() {
    let world = World::new();
    let (master, hidden, sister) = (below(&[1]), below(&[1, 2, 3]), below(&[1, 4]));
    let made = world.create(&master, simple("A")).await.unwrap();
    let message = SetProductVisibilityRequest {
        product_id: made.id.clone(),
        exclude: vec![below(&[1, 2]).0.business.to_string()],
        ..SetProductVisibilityRequest::default()
    };
    world.inheritance.clone().set_product_visibility(world.request(&master, message)).await.unwrap();
    let never = world.create(&owner(2), simple("Z")).await.unwrap();
    let local = world.create(&sister, simple("B")).await.unwrap();
    for (caller, id, sku) in [(&hidden, &made, "A"), (&hidden, &local, "B"), (&master, &local, "B")] {
        let unknown = bytes(&world.product(caller, &never.id).await.unwrap_err());
        assert_eq!(bytes(&world.product(caller, &id.id).await.unwrap_err()), unknown);
        assert_eq!(bytes(&world.update(caller, &id.id, named("X"), &["name"]).await.unwrap_err()), unknown);
        assert!(world.variant(caller, &id.variants[0].id).await.is_err());
        assert_eq!(world.with_code(caller, sku, "").await, Vec::<String>::new());
    }
    assert_eq!(world.product(&sister, &made.id).await.unwrap().name, "Product A");
    world.verify().await;
}

/// A price list of a master is read below, and its prices are the master's: HIE-3.
#[tokio::test]
async fn prices_of_an_inherited_list_are_its_owners() {
    let world = World::new();
    let (master, sub) = (below(&[1]), below(&[1, 2]));
    let made = world.create(&master, simple("A")).await.unwrap();
    let list = world.price_list(&master, "RETAIL").await.unwrap();
    let price = NewPrice {
        variant_id: made.variants[0].id.clone(),
        amount: "1".to_owned(),
        reason: "test".to_owned(),
        ..NewPrice::default()
    };
    let message = SetPriceRequest { price_list_id: list.id.clone(), price: Some(price) };
    let refused = world.client.clone().set_price(world.keyed(&sub, "k", message)).await.unwrap_err();
    assert_eq!(
        (reason(&refused).as_str(), metadata(&refused, "field").as_str()),
        ("INHERITED_LOCKED", "prices")
    );
}
