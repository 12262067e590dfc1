//! Who may do what.

use std::collections::{BTreeMap, BTreeSet};

use proto::Audit;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::home::Home;
use super::public;
use super::sample::sample;
use crate::door::Door;
use crate::rest::{Answer, text};
use crate::world::World;

/// What only an owner may do, although it only reads. A new RPC is decided here.
const FOR_OWNERS: [&str; 6] = [
    "CheckCompleteness",
    "ExportAuditLog",
    "GetCheckpoint",
    "GetConsistencyProof",
    "GetInclusionProof",
    "ListAuditEvents",
];

/// What a clerk may not do. A new RPC is decided here.
const NOT_FOR_CLERKS: [&str; 48] = [
    "AdvancePublication",
    "BatchCreateLocations",
    "CloseAccount",
    "CloseBusiness",
    "CreateApiKey",
    "CreateAssignment",
    "CreateBusiness",
    "CreateIdentityProvider",
    "CreateLocation",
    "CreatePublication",
    "CreateRole",
    "CreateUser",
    "DeactivateUser",
    "EndOperatorAccess",
    "GetApiKey",
    "GetAssignment",
    "GetIdentityProvider",
    "GetInheritancePolicies",
    "GetOperatorAccess",
    "GetPublication",
    "GetUser",
    "GrantOperatorAccess",
    "ListApiKeys",
    "ListAssignments",
    "ListIdentityProviders",
    "ListOperatorAccesses",
    "ListPublications",
    "ListUsers",
    "LockUser",
    "MoveBusiness",
    "PreviewPublication",
    "ReactivateBusiness",
    "ReassignUserKeys",
    "ReinviteUser",
    "RevokeApiKey",
    "RevokeAssignment",
    "RollBackPublication",
    "RotateApiKey",
    "SetInheritancePolicy",
    "SetProductVisibility",
    "SuspendBusiness",
    "UnlockUser",
    "UpdateBusiness",
    "UpdateIdentityProvider",
    "UpdateLocation",
    "UpdateRole",
    "UpdateUser",
    "WithdrawClosure",
];

/// What gives permissions, or is about somebody who has some: a key with no other permission than to call it goes
/// too far.
const GIVES: [&str; 14] = [
    "CreateApiKey",
    "CreateAssignment",
    "CreateIdentityProvider",
    "CreateRole",
    "CreateUser",
    "DeactivateUser",
    "LockUser",
    "ReassignUserKeys",
    "ReinviteUser",
    "RotateApiKey",
    "UnlockUser",
    "UpdateIdentityProvider",
    "UpdateRole",
    "UpdateUser",
];

fn may(role: &str, rpc: &super::Rpc) -> bool {
    match role {
        "owner" => true,
        _ if FOR_OWNERS.contains(&rpc.name.as_str()) => false,
        "clerk" => !NOT_FOR_CLERKS.contains(&rpc.name.as_str()),
        _ => rpc.rule.audit == Audit::Read,
    }
}

/// API-1, at run time: each role passes exactly the RPCs that it is permitted, over REST and gRPC; the
/// others are refused with the permission that is missing, and write nothing. That an RPC without a
/// permission does not build is a test of the contract's crate.
#[tokio::test]
async fn each_role_passes_what_it_is_permitted_and_nothing_else() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let mut passed = BTreeMap::new();
    for role in ["viewer", "clerk", "owner"] {
        let made = home.new_key(role).await;
        let door = Door::new(&world, Some(text(&made["secret"]))).await;
        for rpc in public() {
            let request = sample(&rpc, &home, "").await;
            let again = sample(&rpc, &home, "").await;
            let written = world.commit_count();
            let answer = rpc.rest(&door, &request).send().await;
            let status = rpc.send_grpc(&door, rpc.grpc(&door, &again)).await;
            if may(role, &rpc) {
                assert!(matches!(answer.status, 200 | 201), "{role} {}: {}", rpc.name, answer.text);
                assert!(status.is_ok(), "{role} {}: {status:?}", rpc.name);
                *passed.entry(rpc.name.clone()).or_insert(0) += 1;
            } else {
                let answer = answer.problem(403, "PERMISSION_DENIED");
                assert_eq!(answer.json["metadata"]["permission"], rpc.rule.permission);
                let status = status.expect_err("a refusal");
                let info = status.get_details_error_info().expect("a reason");
                assert_eq!(
                    (status.code(), info.reason.as_str()),
                    (Code::PermissionDenied, "PERMISSION_DENIED")
                );
                assert_eq!(info.metadata["permission"], rpc.rule.permission);
                assert_eq!(world.commit_count(), written, "{role} {} wrote something", rpc.name);
            }
        }
    }
    assert!(passed.values().any(|roles| *roles == 1) && passed.values().any(|roles| *roles == 3));
    world.close().await;
}

/// A key that is narrowed does less than its role: exactly what is left to it.
#[tokio::test]
async fn a_narrowed_key_passes_what_is_left_to_it() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    // In the order of the calls: with the last of them the tenant is closed.
    let mut permissions: Vec<String> = public().iter().map(|rpc| rpc.rule.permission.clone()).collect();
    let mut seen = BTreeSet::new();
    permissions.reverse();
    permissions.retain(|permission| seen.insert(permission.clone()));
    for permission in permissions.iter().rev().map(String::as_str) {
        let narrow = json!({"name": permission, "role": "owner", "permissions": [permission]});
        let made = home.tenant.rest.create("/v1/apiKeys", &narrow).await;
        let door = Door::new(&world, Some(text(&made["secret"]))).await;
        for rpc in public() {
            let request = sample(&rpc, &home, "").await;
            let answer = rpc.rest(&door, &request).send().await;
            // A key that may only make keys makes an owner's, which goes too far; so does a new secret of a viewer's, a role or an assignment of
            // more than the permission to make it, a user who may do more, and an identity provider, which may say
            // who anybody is.
            let expected: &[u16] = match rpc.rule.permission == permission {
                true if GIVES.contains(&rpc.name.as_str()) => &[403],
                true => &[200, 201],
                false => &[403],
            };
            assert!(expected.contains(&answer.status), "{permission} {}: {}", rpc.name, answer.text);
            let reason =
                if rpc.rule.permission == permission { "PERMISSION_ESCALATION" } else { "PERMISSION_DENIED" };
            assert!(answer.status != 403 || answer.reason() == reason, "{}", answer.text);
        }
    }
    world.close().await;
}

/// API-3: a key has 256 bits and is shown once, is
/// stored as a hash, shows a prefix and four letters, has a name, an owner, a time, an end, networks and
/// a business, and can do no more than the key that made it.
#[tokio::test]
async fn a_key_is_shown_once_and_can_do_no_more_than_its_maker() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let other = world.tenant("other").await;
    let rest = &home.tenant.rest;
    let draft = json!({"name": "till 4", "role": "clerk", "permissions": ["stock.post", "stock.read"],
        "expiresAt": "2150-01-01T00:00:00Z", "ipAllow": ["127.0.0.0/8"]});
    let made = rest.create("/v1/apiKeys", &draft).await;
    let (secret, key) = (text(&made["secret"]).to_owned(), &made["apiKey"]);
    let letters = secret.rsplit('_').next().expect("a secret");
    assert!(
        256 <= letters.len() * 5 && letters.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "5 bits a letter"
    );
    assert!(
        secret.starts_with(&format!("{}_", text(&key["keyPrefix"])))
            && text(&key["keyPrefix"]).starts_with("cp_live_")
    );
    assert!(secret.ends_with(text(&key["last4"])) && text(&key["last4"]).len() == 4);
    assert_eq!((&key["name"], &key["role"]), (&draft["name"], &draft["role"]));
    assert_eq!((&key["expiresAt"], &key["ipAllow"]), (&draft["expiresAt"], &draft["ipAllow"]));
    assert_eq!(key["businessId"], home.tenant.business.to_string());
    assert_eq!(key["createdBy"]["id"], rest.get("/v1/caller").await["principal"]["id"]);
    assert!(!text(&key["createdAt"]).is_empty());

    // Shown once: never again, by nobody, and not on the disk.
    let id = text(&key["id"]);
    for uri in [format!("/v1/apiKeys/{id}"), "/v1/apiKeys?pageSize=500".to_owned()] {
        let shown = rest.get(uri).await.to_string();
        assert!(shown.contains(id) && !shown.contains(letters));
    }
    for (service, spy) in world.stores() {
        let stored = format!("{:?}", spy.commits());
        assert!(!stored.contains(letters), "{service} stores the secret");
    }

    // It works, for what it may do.
    let till = world.rest(&secret);
    till.get("/v1/balances").await;
    till.call(http::Method::GET, "/v1/products").send().await.problem(403, "PERMISSION_DENIED");

    // When and from where it was used is noted beside the request.
    let used = loop {
        let key = rest.get(format!("/v1/apiKeys/{id}")).await;
        if key["lastUsedAt"].is_string() {
            break key;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(used["lastUsedIp"], "127.0.0.1");

    // What it makes can do no more than it.
    let maker = json!({"name": "maker", "role": "owner", "permissions": ["key.create", "key.read", "stock.read"],
        "expiresAt": "2150-01-01T00:00:00Z", "ipAllow": ["127.0.0.0/8"]});
    let maker = world.rest(text(&rest.create("/v1/apiKeys", &maker).await["secret"]));
    let within = json!({"name": "w", "role": "viewer", "permissions": ["stock.read"],
        "expiresAt": "2149-12-31T00:00:00Z", "ipAllow": ["127.0.0.1/32"]});
    maker.create("/v1/apiKeys", &within).await;
    let written = world.commit_count();
    let refuse = async |change: &str, value: serde_json::Value, field: &str| -> Answer {
        let mut draft = within.clone();
        draft[change] = value;
        let answer = maker.post("/v1/apiKeys", &draft).send().await.problem(403, "PERMISSION_ESCALATION");
        assert_eq!(answer.json["metadata"]["field"], field);
        answer
    };
    refuse("permissions", json!([]), "permissions").await;
    refuse("permissions", json!(["stock.read", "price.read"]), "permissions").await;
    refuse("expiresAt", json!("2150-01-02T00:00:00Z"), "expires_at").await;
    refuse("expiresAt", json!(null), "expires_at").await;
    refuse("ipAllow", json!(["0.0.0.0/0"]), "ip_allow").await;
    refuse("ipAllow", json!([]), "ip_allow").await;
    let mut elsewhere = within.clone();
    elsewhere["businessId"] = other.business.to_string().into();
    maker.post("/v1/apiKeys", &elsewhere).send().await.problem(404, "NOT_FOUND");
    assert_eq!(world.commit_count(), written);
    world.close().await;
}
