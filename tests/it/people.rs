//! People who sign in: with a cookie, in businesses below, with what is assigned to them, proving who they are.

use std::sync::Arc;

use http::Method;
use proto::tenant::v1::GetCallerRequest;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use serde_json::json;
use tonic::Code;

use crate::door::Door;
use crate::rest::{Answer, Rest, text};
use crate::world::{Forward, PASSWORD, Tenant, World};

/// How a new user of the tenant speaks who has just signed in.
async fn signed_in(world: &World, tenant: &Tenant, role: &str) -> Rest {
    world.rest(text(&tenant.new_session(role).await["token"]))
}

/// The name and value of the cookie that an answer sets.
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().expect("a cookie").to_owned()
}

/// The token of a session stands in a cookie that no script reads and no page of others can use.
#[tokio::test]
async fn a_browser_keeps_its_session_in_a_cookie() {
    let clock = Arc::new(Forward::default());
    let world = World::at(clock.clone()).await;
    let tenant = world.tenant("acme").await;
    let (_, ask) = tenant.new_user("owner").await;
    let nobody = Rest::new(&world.url, None);
    let sign_in = async || {
        let call = nobody.post("/v1/sessions:signIn", &ask).header("cp-session", "cookie");
        call.send().await.ok(200)
    };
    let (one, two) = (sign_in().await, sign_in().await);
    let set = one.header("set-cookie");
    for part in ["__Host-cp_session=cp_ses_", "; HttpOnly", "; Secure", "; SameSite=Strict", "; Path=/"] {
        assert!(set.contains(part), "{part}");
    }
    assert_eq!(one.header("cache-control"), "no-store");
    assert_eq!(one.json["token"].as_str().unwrap_or_default(), "");
    assert!(!one.text.contains("cp_ses_"));

    let session = cookie(&one);
    let get = |cookie: &str| nobody.call(Method::GET, "/v1/caller").header("cookie", cookie);
    let caller = get(&session).send().await.ok(200).json;
    assert_eq!(caller["principal"]["kind"], "user", "{caller}");
    let key = json!({"name": "till", "role": "clerk"});
    let create = || nobody.post("/v1/apiKeys", &key).header("cookie", &session);
    create().send().await.problem(403, "CSRF_TOKEN_INVALID");
    create().header("cp-csrf", text(&two.json["csrfToken"])).send().await.problem(403, "CSRF_TOKEN_INVALID");
    create().header("cp-csrf", text(&one.json["csrfToken"])).send().await.ok(201);

    // Keys come as bearer tokens only, and one cookie is one.
    get(&format!("__Host-cp_session={}", tenant.key)).send().await.problem(401, "UNAUTHENTICATED");
    get(&format!("{session}; {}", cookie(&two))).send().await.problem(401, "UNAUTHENTICATED");
    let door = Door::new(&world, None).await;
    let mut request = tonic::Request::new(GetCallerRequest {});
    request.metadata_mut().insert("cookie", session.parse().expect("a header"));
    let refused = TenantServiceClient::new(door.grpc).get_caller(request).await.expect_err("no browser");
    assert_eq!(refused.code(), Code::Unauthenticated);

    // What signing out ends is over within five seconds, whatever a browser keeps.
    let uri = format!("/v1/sessions/{}:end", text(&two.json["session"]["id"]));
    let end = nobody.post(uri, &json!({})).header("cookie", &cookie(&two));
    end.header("cp-csrf", text(&two.json["csrfToken"])).send().await.ok(200);
    clock.pass_seconds(5);
    get(&cookie(&two)).send().await.problem(401, "UNAUTHENTICATED");
    get(&session).send().await.ok(200);
    world.close().await;
}

/// API-8, the part of step-up: making a key asks for a recent proof, which counts at once, although what is known
/// of the session is believed for a while.
#[tokio::test]
async fn a_proof_counts_at_once() {
    let clock = Arc::new(Forward::default());
    let world = World::at(clock.clone()).await;
    let tenant = world.tenant("acme").await;
    let ada = signed_in(&world, &tenant, "owner").await;
    let key = json!({"name": "till", "role": "clerk"});
    ada.create("/v1/apiKeys", &key).await;
    clock.pass_seconds(301);
    for (uri, draft) in [
        ("/v1/apiKeys", key.clone()),
        ("/v1/roles", json!({"code": "NIGHT", "permissions": ["stock.read"]})),
        ("/v1/users", json!({"email": "bob@example.com", "name": "Bob", "role": "viewer"})),
    ] {
        ada.post(uri, &draft).send().await.problem(403, "STEP_UP_REQUIRED");
    }
    ada.call(Method::GET, "/v1/auditLog:export").send().await.problem(403, "STEP_UP_REQUIRED");
    ada.get("/v1/apiKeys").await;
    ada.post("/v1/sessions:stepUp", &json!({"password": "wrong password"}))
        .send()
        .await
        .problem(403, "INVALID_PROOF");
    ada.post("/v1/apiKeys", &key).send().await.problem(403, "STEP_UP_REQUIRED");
    ada.post("/v1/sessions:stepUp", &json!({"password": PASSWORD})).send().await.ok(200);
    ada.create("/v1/apiKeys", &key).await;
    // Keys are not asked: nobody sits there.
    tenant.rest.create("/v1/apiKeys", &key).await;
    world.close().await;
}

/// HIE-10, for users: below their business they need the permission to reach down; what is their own stays with
/// them wherever they work.
#[tokio::test]
async fn a_user_works_in_a_business_below() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let sub = json!({"legalName": "sub", "country": "DE", "baseCurrency": "EUR"});
    let sub = text(&tenant.rest.create("/v1/businesses", &sub).await["id"]).to_owned();
    let owner = signed_in(&world, &tenant, "owner").await;
    let clerk = signed_in(&world, &tenant, "clerk").await;
    let product = json!({"name": "shirt", "variants": [{"sku": "S-1"}]});
    let list =
        async |rest: &Rest| rest.call(Method::GET, "/v1/products").header("cp-business", &sub).send().await;
    list(&owner).await.ok(200);
    list(&clerk).await.problem(403, "PERMISSION_DENIED");
    clerk.get("/v1/products").await;
    clerk.call(Method::GET, "/v1/sessions").header("cp-business", &sub).send().await.ok(200);

    tenant.rest.post(format!("/v1/businesses/{sub}:suspend"), &json!({})).send().await.ok(200);
    // What is remembered of a credential and a business is a few seconds old; this one was not asked for yet.
    let other = signed_in(&world, &tenant, "owner").await;
    let create = other.post("/v1/products", &product).header("cp-business", &sub);
    create.send().await.problem(403, "BUSINESS_SUSPENDED");
    list(&other).await.ok(200);
    let step_up = other.post("/v1/sessions:stepUp", &json!({"password": PASSWORD}));
    step_up.header("cp-business", &sub).send().await.ok(200);
    world.close().await;
}

/// What needs no credential cares for none, and lets into nothing else.
#[tokio::test]
async fn signing_in_needs_no_credential() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let (_, ask) = tenant.new_user("clerk").await;
    for credential in [None, Some("cp_live_bad"), Some(tenant.key.as_str())] {
        let rest = Rest::new(&world.url, credential);
        let session = rest.post("/v1/sessions:signIn", &ask).send().await.ok(200);
        assert!(session.headers.get("set-cookie").is_none(), "nobody asked for a cookie");
        world.rest(text(&session.json["token"])).get("/v1/products").await;
    }
    let nobody = Rest::new(&world.url, None);
    nobody.post("/v1/sessions:signIn", &json!({})).send().await.problem(400, "INVALID_REQUEST");
    nobody.call(Method::GET, "/v1/sessions").send().await.problem(401, "UNAUTHENTICATED");
    nobody.post("/v1/users", &json!({})).send().await.problem(401, "UNAUTHENTICATED");
    world.close().await;
}
