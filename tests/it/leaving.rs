//! A user leaves: which keys stop, and who has them next.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::rest::{Rest, text};
use crate::world::{Forward, Tenant, World};

struct Office {
    clock: Arc<Forward>,
    world: World,
    tenant: Tenant,
}

impl Office {
    async fn new() -> Office {
        let clock = Arc::new(Forward::default());
        let world = World::at(clock.clone()).await;
        let tenant = world.tenant("acme").await;
        Office { clock, world, tenant }
    }

    /// A new user who is signed in: its id, and how it speaks.
    async fn user(&self, role: &str) -> (String, Rest) {
        let session = self.tenant.new_session(role).await;
        (text(&session["session"]["userId"]).to_owned(), self.world.rest(text(&session["token"])))
    }

    async fn reassign(&self, from: &str, body: &Value) -> crate::rest::Answer {
        self.tenant.rest.post(format!("/v1/users/{from}:reassignKeys"), body).send().await
    }

    /// Whether a key gets in and may read products, or post.
    async fn may(&self, key: &Rest) -> (bool, bool) {
        // What the gateway believed is over.
        self.clock.pass_seconds(5);
        let caller = key.call(Method::GET, "/v1/caller").send().await;
        if caller.status == 401 {
            return (false, false);
        }
        let permissions = caller.ok(200).json["permissions"].to_string();
        let all = permissions.contains("\"*\"");
        (all || permissions.contains("read"), all || permissions.contains("stock.post"))
    }
}

/// Makes a key: its id, and how it speaks.
async fn key(office: &Office, maker: &Rest, role: &str) -> (String, Rest) {
    let made = maker.create("/v1/apiKeys", &json!({"name": "till", "role": role})).await;
    (text(&made["apiKey"]["id"]).to_owned(), office.world.rest(text(&made["secret"])))
}

async fn listed(rest: &Rest, user: &str) -> Vec<String> {
    let page = rest.get(format!("/v1/apiKeys?createdBy={user}")).await;
    let keys = page["apiKeys"].as_array().cloned().unwrap_or_default();
    sorted(keys.iter().map(|key| text(&key["id"]).to_owned()).collect())
}

/// Ids of one millisecond are in no order.
fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// API-7, the part of keys: those of a user who leaves, and those that these made, are counted and listed, and go on
/// in one call with another user who could have made them, with the secrets that they have.
#[tokio::test]
async fn keys_of_a_user_who_leaves_go_on_with_another() {
    let office = Office::new().await;
    let rest = &office.tenant.rest;
    let (ada, as_ada) = office.user("owner").await;
    let (bob, _) = office.user("owner").await;
    let (looks, _) = office.user("viewer").await;
    let (first, with_first) = key(&office, &as_ada, "owner").await;
    let (below, with_below) = key(&office, &with_first, "clerk").await;
    let (till, with_till) = key(&office, &as_ada, "clerk").await;
    let (ended, _) = key(&office, &as_ada, "clerk").await;
    rest.post(format!("/v1/apiKeys/{ended}:revoke"), &json!({})).send().await.ok(200);
    key(&office, rest, "clerk").await;
    let all = sorted([&first, &below, &till, &ended].map(Clone::clone).to_vec());
    assert_eq!(listed(rest, &ada).await, all);
    assert!(listed(rest, &bob).await.is_empty());

    let gone = rest.post(format!("/v1/users/{ada}:deactivate"), &json!({})).send().await.ok(200).json;
    assert_eq!((&gone["status"], &gone["stoppedKeys"]), (&json!("deactivated"), &json!(3)));
    for key in [&with_first, &with_below, &with_till] {
        assert_eq!(office.may(key).await, (false, false));
    }
    assert_eq!(listed(rest, &ada).await, all, "they are listed after it too");

    // Nobody who could not have made them, who is not here any more, or who is the same; and no key of others.
    let to = |user: &str| json!({"toUserId": user});
    let refused = office.reassign(&ada, &to(&looks)).await.problem(403, "PERMISSION_ESCALATION");
    assert_eq!(refused.json["metadata"]["field"], "to_user_id");
    office.reassign(&bob, &to(&ada)).await.problem(403, "PERMISSION_ESCALATION");
    assert_eq!(
        office.reassign(&ada, &to(&ada)).await.problem(400, "INVALID_REQUEST").fields(),
        ["/toUserId NOT_ALLOWED"]
    );
    let one = json!({"toUserId": bob, "apiKeyIds": [till, below]});
    let refused = office.reassign(&ada, &one).await.problem(400, "INVALID_REQUEST");
    assert_eq!(refused.fields(), ["/apiKeyIds/1 NOT_ALLOWED"], "it follows the key that made it");
    assert_eq!(office.may(&with_till).await, (false, false), "all or none");
    let ended = json!({"toUserId": bob, "apiKeyIds": [ended]});
    office.reassign(&ada, &ended).await.problem(409, "KEY_ENDED");

    let one = json!({"toUserId": bob, "apiKeyIds": [till]});
    let done = office.reassign(&ada, &one).await.ok(200).json;
    assert_eq!(done["apiKeys"][0]["createdBy"]["id"], bob);
    assert_eq!(office.may(&with_till).await, (true, true));
    assert_eq!(office.may(&with_first).await, (false, false));
    let done = office.reassign(&ada, &to(&bob)).await.ok(200).json;
    assert_eq!((done["apiKeys"].as_array().map(Vec::len), &done["more"]), (Some(1), &json!(false)), "{done}");
    for key in [&with_first, &with_below] {
        assert_eq!(office.may(key).await, (true, true));
    }
    assert_eq!(listed(rest, &bob).await, sorted(vec![first, below, till.clone()]));
    let again = office.reassign(&ada, &one).await.ok(200).json;
    assert_eq!(again["apiKeys"][0]["id"], till, "repeating it changes nothing");

    office.world.audit().await;
    let events = rest.get("/v1/auditEvents?action=tenant.api_key.reassigned").await;
    assert_eq!(events["events"].as_array().map(Vec::len), Some(2), "{events}");
    office.world.close().await;
}

/// A key does no more after it was reassigned than before, and follows its new user from then on.
#[tokio::test]
async fn a_reassigned_key_never_gains_and_follows_its_user() {
    let office = Office::new().await;
    let rest = &office.tenant.rest;
    let (ada, as_ada) = office.user("owner").await;
    let (bob, _) = office.user("owner").await;
    let (eve, _) = office.user("owner").await;
    let (_, till) = key(&office, &as_ada, "clerk").await;
    let role = async |user: &str, role: &str| {
        let change = rest.patch(format!("/v1/users/{user}"), &json!({"role": role}));
        change.if_match("*").send().await.ok(200);
    };
    assert_eq!(office.may(&till).await, (true, true));
    role(&ada, "viewer").await;
    assert_eq!(office.may(&till).await, (true, false), "lowering who made it lowers the key");
    office.reassign(&ada, &json!({"toUserId": bob})).await.ok(200);
    assert_eq!(office.may(&till).await, (true, false), "an owner does not raise it again");
    role(&ada, "owner").await;
    assert_eq!(office.may(&till).await, (true, false), "nor does who had it");
    office.reassign(&bob, &json!({"toUserId": eve})).await.ok(200);
    assert_eq!(office.may(&till).await, (true, false));
    rest.post(format!("/v1/users/{eve}:lock"), &json!({})).send().await.ok(200);
    assert_eq!(office.may(&till).await, (false, false));

    // Who has less than the user who leaves, or did not prove who sits there, reassigns nothing.
    let narrow = json!({"name": "n", "role": "owner", "permissions": ["user.update", "user.read"]});
    let narrow = office.world.rest(text(&rest.create("/v1/apiKeys", &narrow).await["secret"]));
    let ask = narrow.post(format!("/v1/users/{ada}:reassignKeys"), &json!({"toUserId": bob}));
    ask.send().await.problem(403, "PERMISSION_ESCALATION");
    let (_, late) = office.user("owner").await;
    office.clock.pass_seconds(301);
    let ask = late.post(format!("/v1/users/{ada}:reassignKeys"), &json!({"toUserId": bob}));
    ask.send().await.problem(403, "STEP_UP_REQUIRED");
    office.world.close().await;
}
