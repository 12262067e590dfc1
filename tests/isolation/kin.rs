//! What a sister, a parent or a child business has is not there, as far as it is not inherited or looked down at.

use ids::BusinessId;
use serde_json::json;

use crate::callers::{self, Caller};
use crate::contract::Home;
use crate::matrix::{accesses, ask, requests};
use crate::places::{self, Place};
use crate::rest::text;
use crate::world::{Tenant, World};

/// What a business never has from those above it, and never shows to those beside it or, without
/// `descendants.read`, above it.
const OWN: [&str; 8] = ["loc", "mov", "key", "asg", "usr", "ses", "biz", "pub"];
/// What it has from those above it.
const INHERITED: [&str; 3] = ["prd", "var", "prl"];

/// A new business below that of `parent`, seen by an owner of it; its texts begin with `name`.
async fn below(world: &World, parent: &Home, name: &str) -> Home {
    let above = &parent.tenant;
    let id = parent.new_business().await;
    let key = json!({"name": name, "role": "owner", "businessId": id});
    let key = text(&above.rest.create("/v1/apiKeys", &key).await["secret"]).to_owned();
    let business = BusinessId::parse(&id).expect("an id");
    let rest = world.rest(&key);
    let tenant = Tenant { slug: above.slug.clone(), id: above.id, business, key, rest };
    Home::of(world, tenant, name, parent.master.clone()).await
}

/// A master business, two below it, and one below the first of them.
struct Family {
    world: World,
    parent: Home,
    own: Home,
    sister: Home,
    child: Home,
    callers: Vec<Caller>,
}

impl Family {
    async fn new() -> Family {
        let world = World::new().await;
        let parent = Home::new(&world, "master").await;
        let own = below(&world, &parent, "own").await;
        let sister = below(&world, &parent, "sister").await;
        let child = below(&world, &own, "child").await;
        let callers = callers::of(&world, &own).await;
        Family { world, parent, own, sister, child, callers }
    }

    /// Has the callers of a business name what `other` has; gives how many calls were told that it is not there.
    async fn ask(&self, place: &Place, other: &Home, callers: impl Iterator<Item = &Caller>) -> usize {
        let tenant = self.own.tenant.id;
        let foreign = other.id(&place.prefix, &place.pointer).await;
        let requests = requests(place, &self.own).await;
        let written = self.world.commit_count();
        let before = accesses(&self.world, tenant).len();
        let mut asked = 0;
        for caller in callers {
            for request in &requests {
                asked += ask(place, caller, request, &foreign).await;
            }
        }
        let what = format!("{} {}", place.rpc.name, place.pointer);
        assert_eq!(self.world.commit_count(), written, "{what} wrote something");
        let seen = accesses(&self.world, tenant).split_off(before);
        let unknown = seen.iter().filter(|action| **action == "audit.access.unknown_id").count();
        assert_eq!(unknown, asked, "{what}: {seen:?}");
        asked
    }
}

fn of_kinds(kinds: &[&[&str]]) -> Vec<Place> {
    let kinds = kinds.concat();
    places::all().into_iter().filter(|place| kinds.contains(&place.prefix.as_str())).collect()
}

/// HIE-10: for every place of every RPC where an id can stand and every kind of caller, the id of something of a
/// sister business is answered like one that nobody has, over REST and gRPC; each such call is one event.
#[tokio::test]
async fn what_a_sister_has_is_answered_like_a_random_id() {
    let family = Family::new().await;
    let mut hidden = 0;
    for place in of_kinds(&[&OWN, &INHERITED]) {
        hidden += family.ask(&place, &family.sister, family.callers.iter()).await;
    }
    assert!(300 < hidden, "{hidden} calls are few");
    family.world.close().await;
}

/// HIE-11: of what the business above has, stock, documents and credentials are not there.
#[tokio::test]
async fn what_a_parent_has_and_nobody_inherits_is_answered_like_a_random_id() {
    let family = Family::new().await;
    let mut hidden = 0;
    for place in of_kinds(&[&OWN]) {
        hidden += family.ask(&place, &family.parent, family.callers.iter()).await;
    }
    assert!(200 < hidden, "{hidden} calls are few");
    family.world.close().await;
}

/// HIE-10: what a business below has is not there for who may not look down.
#[tokio::test]
async fn what_a_child_has_is_answered_like_a_random_id_without_a_permission() {
    let family = Family::new().await;
    let looks_down = ["owner", "viewer", "owner in a session"];
    let mut hidden = 0;
    for place in of_kinds(&[&OWN, &INHERITED]) {
        let callers = family.callers.iter().filter(|caller| !looks_down.contains(&caller.name));
        hidden += family.ask(&place, &family.child, callers).await;
    }
    assert!(100 < hidden, "{hidden} calls are few");
    family.world.close().await;
}
