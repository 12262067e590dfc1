//! What another tenant has is not there.

use std::time::{SystemTime, UNIX_EPOCH};

use ids::{ProductId, TenantId};
use journal::Entry;
use journal::store::Chain;
use serde_json::Value;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::callers::{self, Caller};
use crate::contract::{Home, anonymous, parts, public, sample, set};
use crate::door::unique;
use crate::places::{self, Place, Spot};
use crate::rest::{Answer, text};
use crate::world::World;

/// An id that nobody has.
pub(crate) fn random_id(prefix: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let mut random = [0xa5; 10];
    random[2..].copy_from_slice(&(u64::MAX - unique()).to_be_bytes());
    let id =
        ProductId::new(u64::try_from(since.as_millis()).expect("a clock of this age"), random).to_string();
    id.replacen(ProductId::PREFIX, prefix, 1)
}

/// What the audit log has of the accesses of a tenant, in order: `audit.access.unknown_id`.
pub(crate) fn accesses(world: &World, tenant: TenantId) -> Vec<&'static str> {
    let commits = world.audit_store().commits().into_iter();
    let own =
        commits.filter(|commit| commit.tenant == tenant && commit.aggregate == audit::records::accesses_id());
    own.flat_map(|commit| commit.entries)
        .map(|entry| {
            // It is stored behind the chain.
            let entry = entry.slice(size_of::<Chain>()..);
            let event = Entry::read(entry).expect("an entry").event;
            let action = (audit::describe().action)(audit::records::KIND_ACCESSES, &event);
            action.expect("an access")
        })
        .collect()
}

/// What an answer says about the id at `pointer`: status and reason, of the item in a batch.
fn verdict<'a>(answer: &'a Answer, pointer: &str) -> (u64, &'a str) {
    let at = pointer.split('/').find_map(|part| part.parse::<usize>().ok()).unwrap_or_default();
    let problem = &answer.json["results"][at]["problem"];
    match problem["status"].as_u64().filter(|_| answer.status == 207) {
        Some(status) => (status, text(&problem["reason"])),
        None => (answer.status.into(), answer.reason()),
    }
}

/// The ways in which a place can be asked about: a batch is all or nothing, or each by itself.
pub(crate) async fn requests(place: &Place, home: &Home) -> Vec<Value> {
    let own = sample(&place.rpc, home, &place.pointer).await;
    let mut requests = vec![own];
    if place.rpc.input.get_field_by_name("atomic").is_some() {
        let mut atomic = sample(&place.rpc, home, &place.pointer).await;
        set(&mut atomic, "/atomic", true.into());
        requests.push(atomic);
    }
    requests
}

/// Has `caller` name `foreign` and then something that nobody has, over both doors; the answers must be the
/// same bytes. Gives how many calls were told that it is not there.
pub(crate) async fn ask(place: &Place, caller: &Caller, own: &Value, foreign: &str) -> usize {
    let rpc = &place.rpc;
    let what = format!("{} {} as {}", rpc.name, place.pointer, caller.name);
    let with = |id: &str| {
        let mut request = own.clone();
        set(&mut request, &place.pointer, id.into());
        request
    };
    let random = random_id(&place.prefix);
    let rest = async |id: &str| rpc.rest(&caller.door, &with(id)).send().await;
    let (theirs, nobodys) = (rest(foreign).await, rest(&random).await);
    assert_eq!(same(&anonymous(&theirs), foreign), same(&anonymous(&nobodys), &random), "{what}");
    let hidden = match verdict(&theirs, &place.pointer) {
        (404, "NOT_FOUND") => true,
        (403, "PERMISSION_DENIED") => false,
        other => panic!("{what}: {other:?} {}", theirs.text),
    };

    let grpc = async |id: &str| rpc.send_grpc(&caller.door, rpc.grpc(&caller.door, &with(id))).await;
    match (grpc(foreign).await, grpc(&random).await) {
        (Ok(theirs), Ok(nobodys)) if rpc.rule.multi_status && hidden => {
            assert_eq!(theirs, nobodys, "{what}");
        }
        (Err(theirs), Err(nobodys)) => {
            let reason = theirs.get_details_error_info().map(|info| info.reason);
            let expected = match hidden {
                true => (Code::NotFound, Some("NOT_FOUND")),
                false => (Code::PermissionDenied, Some("PERMISSION_DENIED")),
            };
            assert_eq!((theirs.code(), reason.as_deref()), expected, "{what}");
            assert_eq!(parts(&theirs), parts(&nobodys), "{what}");
        }
        answers => panic!("{what}: {answers:?}"),
    }
    if hidden { 4 } else { 0 }
}

/// Two tenants and everybody of the first one.
struct Attack {
    world: World,
    one: Home,
    two: Home,
    callers: Vec<Caller>,
}

impl Attack {
    async fn new() -> Attack {
        let world = World::new().await;
        let (one, two) = (Home::new(&world, "one").await, Home::new(&world, "two").await);
        let callers = callers::of(&world, &one).await;
        Attack { world, one, two, callers }
    }

    /// Has `callers` name something of the other tenant at `place`. Nothing is written or read of it, and each call
    /// is one event in the log of the tenant that asks. Gives how many were told that it is not there.
    async fn at(&self, place: &Place, callers: impl Iterator<Item = &Caller>) -> usize {
        let world = &self.world;
        let foreign = self.two.id(&place.prefix, &place.pointer).await;
        let requests = requests(place, &self.one).await;
        let written = world.commit_count();
        let (mine, theirs) = (accesses(world, self.one.tenant.id), accesses(world, self.two.tenant.id));
        world.take_read();
        let mut asked = 0;
        for caller in callers {
            for own in &requests {
                asked += ask(place, caller, own, &foreign).await;
            }
        }
        let what = format!("{} {}", place.rpc.name, place.pointer);
        assert_ne!(asked, 0, "{what} is for nobody");
        assert_eq!(world.commit_count(), written, "{what} wrote something");
        assert!(!world.take_read().contains(&self.two.tenant.id), "{what} read foreign rows");
        let seen = accesses(world, self.one.tenant.id).split_off(mine.len());
        let unknown = seen.iter().filter(|action| **action == "audit.access.unknown_id").count();
        assert_eq!(unknown, asked, "{what}: {seen:?}");
        assert_eq!(accesses(world, self.two.tenant.id), theirs, "{what} is in the log of the other");
        asked
    }
}

/// An answer without the id that was asked for, where it repeats the path.
fn same(answer: &(u16, Vec<(String, String)>, String), id: &str) -> (u16, Vec<(String, String)>, String) {
    let (status, headers, body) = answer;
    (*status, headers.clone(), body.replace(id, "ID"))
}

/// TEN-2: for every place of every RPC where an id can stand (path, query, body, messages in it, items of
/// batches) and every kind of caller, the id of something of another tenant is answered like one that nobody
/// has: the same bytes, over REST and gRPC. Nothing is written to any journal of either tenant and no row of the
/// other one is read; each such call is one event in the audit log of the tenant that asked, and none in that of
/// the other. RPCs and places come from the descriptors.
#[tokio::test]
async fn a_foreign_id_is_answered_like_a_random_one() {
    let attack = Attack::new().await;
    let mut hidden = 0;
    for place in places::all() {
        hidden += attack.at(&place, attack.callers.iter()).await;
    }
    assert!(300 < hidden, "{hidden} calls are few");
    attack.world.close().await;
}

/// TEN-2, for what users alone may call: the session of a user of another tenant is answered like one that nobody
/// has. Keys are told that it is for users, whatever they name.
#[tokio::test]
async fn a_foreign_session_is_answered_like_a_random_one() {
    let attack = Attack::new().await;
    let is_user = |caller: &&Caller| callers::SESSIONS.iter().any(|(name, _)| *name == caller.name);
    let places = places::of_users();
    assert!(!places.is_empty());
    for place in places {
        assert_ne!(attack.at(&place, attack.callers.iter().filter(is_user)).await, 0);
    }
    attack.world.close().await;
}

/// TEN-2, in batches: a good item beside a bad one is done or not as the caller says, and the bad one is
/// answered as a random one at its own place; the call is one event, however many of its items name what is not
/// there.
#[tokio::test]
async fn an_item_beside_good_ones_is_answered_like_a_random_one() {
    let attack = Attack::new().await;
    let world = &attack.world;
    let owner = &attack.callers[0];
    let mut checked = 0;
    let items = |place: &Place| {
        place.spot == Spot::Item && place.pointer.contains("/0/") && place.rpc.rule.multi_status
    };
    for place in places::all().into_iter().filter(items) {
        let (list, field) = place.pointer.split_once("/0/").expect("an item of a list");
        let foreign = attack.two.id(&place.prefix, &place.pointer).await;
        for atomic in [false, true] {
            let send = async |ids: [&str; 2]| {
                let mut request = sample(&place.rpc, &attack.one, &place.pointer).await;
                let bad = sample(&place.rpc, &attack.one, &place.pointer).await;
                let items = request.pointer_mut(list).and_then(Value::as_array_mut).expect("items");
                for id in ids {
                    let mut bad = bad.clone();
                    set(&mut bad, &place.pointer, id.into());
                    items.push(bad.pointer(&format!("{list}/0")).expect("an item").clone());
                }
                set(&mut request, "/atomic", atomic.into());
                place.rpc.rest(&owner.door, &request).send().await
            };
            let what = format!("{} {list}/1/{field} atomic {atomic}", place.rpc.name);
            let before = accesses(world, attack.one.tenant.id).len();
            let (a, b) = (random_id(&place.prefix), random_id(&place.prefix));
            let theirs = send([&foreign, &foreign]).await;
            assert_eq!(accesses(world, attack.one.tenant.id).len(), before + 1, "{what}");
            let nobodys = send([&a, &b]).await;
            for at in [1, 2] {
                let pointer = format!("{list}/{at}/{field}");
                assert_eq!(verdict(&theirs, &pointer), (404, "NOT_FOUND"), "{what}: {}", theirs.text);
                let problem = |answer: &Answer| match atomic {
                    true => (answer.json["detail"].clone(), answer.json["errors"].clone()),
                    false => (answer.json["results"][at]["problem"].clone(), Value::Null),
                };
                assert_eq!(problem(&theirs), problem(&nobodys), "{what}");
            }
            checked += 1;
        }
    }
    assert!(4 <= checked, "{checked} batches are few");
    attack.world.close().await;
}

/// The requests above fail for the id alone: with ids of the caller they are all right, and no event tells of
/// them.
#[tokio::test]
async fn an_own_id_is_found() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    for rpc in public() {
        let references = places::all().into_iter().filter(|place| place.rpc.name == rpc.name);
        for pointer in references.map(|place| place.pointer).chain([String::new()]) {
            let what = format!("{} with '{pointer}': teach it/contract/sample.rs how to make one", rpc.name);
            let request = sample(&rpc, &home, &pointer).await;
            let answer = rpc.rest(&home.door, &request).send().await;
            assert!(matches!(answer.status, 200 | 201), "{what}: {request} {}", answer.text);
            let request = sample(&rpc, &home, &pointer).await;
            let answer = rpc.send_grpc(&home.door, rpc.grpc(&home.door, &request)).await;
            assert!(answer.is_ok(), "{what}: {request} {answer:?}");
        }
    }
    let seen = accesses(&world, home.tenant.id);
    assert!(seen.iter().all(|action| *action == "audit.access.read"), "{seen:?}");
    world.close().await;
}

/// What a search compares with: an id or a text of another tenant finds as little as one of nobody.
#[tokio::test]
async fn a_search_for_what_is_foreign_finds_nothing() {
    let attack = Attack::new().await;
    let rest = &attack.one.tenant.rest;
    let owner = text(&attack.two.tenant.rest.get("/v1/caller").await["principal"]["id"]).to_owned();
    let variant = attack.two.id("var", "/variantId").await;
    for (uri, foreign, random) in [
        ("/v1/auditEvents?actorId=", owner.as_str(), random_id("key")),
        ("/v1/auditEvents?resource=", &variant, random_id("var")),
        ("/v1/variants?sku=", "two-1", "nobody-1".to_owned()),
        ("/v1/variants?barcode=", "two-1", "nobody-1".to_owned()),
        ("/v1/locations?code=", "two-A", "nobody-A".to_owned()),
        ("/v1/movements?sourceType=goods_receipt&sourceId=", "two-GR", "nobody-GR".to_owned()),
    ] {
        let get =
            async |what: &str| rest.call(http::Method::GET, format!("{uri}{what}")).send().await.ok(200);
        let (theirs, nobodys) = (get(foreign).await, get(&random).await);
        assert_eq!(anonymous(&theirs), anonymous(&nobodys), "{uri}");
        let lists: Vec<&Value> =
            theirs.json.as_object().expect("a list").values().filter(|value| value.is_array()).collect();
        assert!(lists.iter().all(|list| list.as_array().is_some_and(Vec::is_empty)), "{}", theirs.text);
    }
    attack.world.close().await;
}
