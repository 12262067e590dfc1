//! API keys.

use proto::tenant::v1::*;
use rpc::Principal;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::world::*;

/// API-3: shown once, stored hashed, told apart by prefix and last four letters.
#[tokio::test]
async fn a_key_is_shown_once() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let asked = ApiKey {
        permissions: vec!["stock.post".to_owned(), "stock.read".to_owned()],
        expires_at: Some(world.in_seconds(3600)),
        ip_allow: vec!["192.0.2.0/24".to_owned()],
        ..new_key("clerk")
    };
    let created = world.create(&owner, asked.clone()).await.unwrap();
    let (key, secret) = (created.api_key.unwrap(), created.secret);
    assert!(secret.starts_with(&format!("{}_", key.key_prefix)) && secret.ends_with(&key.last4), "{key:?}");
    assert_eq!((key.last4.len(), secret.len() - key.key_prefix.len() - 1), (4, 52));
    assert_eq!((&key.name, &key.role, &key.permissions), (&asked.name, &asked.role, &asked.permissions));
    assert_eq!((&key.expires_at, &key.ip_allow), (&asked.expires_at, &asked.ip_allow));
    assert_eq!(key.business_id, owner.business.to_string());
    assert_eq!(key.created_by.as_ref().unwrap().id, *owner.actor.id);

    let hidden = secret.rsplit('_').next().unwrap();
    let shown = world.key(&owner, &key.id).await.unwrap();
    assert_eq!(shown, key);
    let store = format!("{:?}", world.service.app().journal().store().aggregates(None, 100).await.unwrap());
    assert!(!format!("{shown:?}").contains(hidden) && !store.contains(hidden));

    let clerk = world.login(&secret).await.unwrap();
    assert_eq!(clerk.permissions.members().collect::<Vec<_>>(), ["stock.post", "stock.read"]);
    let denied = world.business(&clerk, &key.business_id).await.unwrap_err();
    assert_eq!((denied.code(), reason(&denied).as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"));
}

/// API-3: whatever is wrong with a credential, revoked or expired, the answer is the same.
#[tokio::test]
async fn a_credential_that_is_not_valid_says_nothing_about_why() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let unknown = world.authenticate("rubbish", "192.0.2.7").await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::Unauthenticated, "INVALID_CREDENTIALS"));
    let check = async |credential: &str, peer: &str, what: &str| {
        let status = world.authenticate(credential, peer).await.err();
        assert_eq!(status.as_ref().map(bytes), Some(bytes(&unknown)), "{what}");
    };

    let made = world.create(&owner, new_key("clerk")).await.unwrap();
    let (id, secret) = (made.api_key.unwrap().id, made.secret);
    let (prefix, rest) = secret.rsplit_once('_').unwrap();
    let other = format!("{prefix}_{}", if rest.starts_with('0') { "1" } else { "0" }) + &rest[1..];
    check(&other, "192.0.2.7", "wrong secret").await;
    let no_such = tenant::domain::Credential::new(ids::ApiKeyId::from_bytes([7; 16]), [0; 52]).reveal();
    check(&no_such, "192.0.2.7", "unknown key").await;
    check("", "192.0.2.7", "nothing").await;
    check(&"x".repeat(100_000), "192.0.2.7", "too long").await;

    world.login(&secret).await.unwrap();
    let revoked = world.revoke(&owner, &id).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    check(&secret, "192.0.2.7", "revoked").await;
    world.pass_seconds(1);
    assert_eq!(world.revoke(&owner, &id).await.unwrap(), revoked, "repeating it changes nothing");

    let expiring = ApiKey { expires_at: Some(world.in_seconds(60)), ..new_key("clerk") };
    let secret = world.create(&owner, expiring).await.unwrap().secret;
    world.pass_seconds(59);
    world.login(&secret).await.unwrap();
    world.pass_seconds(1);
    check(&secret, "192.0.2.7", "expired").await;

    let local = ApiKey { ip_allow: vec!["192.0.2.0/24".to_owned()], ..new_key("clerk") };
    let secret = world.create(&owner, local).await.unwrap().secret;
    world.authenticate(&secret, "192.0.2.9").await.unwrap();
    world.authenticate(&secret, "::ffff:192.0.2.9").await.unwrap();
    check(&secret, "203.0.113.9", "another network").await;
    check(&secret, "", "no address").await;
}

/// API-3, API-5: no key makes one that can do more, lasts longer or comes from elsewhere.
#[tokio::test]
async fn a_key_makes_no_key_that_is_more_than_itself() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let minting = ApiKey {
        permissions: ["key.create", "key.revoke", "stock.read", "tenant.read"].map(str::to_owned).to_vec(),
        expires_at: Some(world.in_seconds(3600)),
        ip_allow: vec!["192.0.2.0/24".to_owned()],
        ..new_key("owner")
    };
    let secret = world.create(&owner, minting.clone()).await.unwrap().secret;
    let limited = world.login(&secret).await.unwrap();

    let check = async |wanted: ApiKey, field: &str| {
        let status = world.create(&limited, wanted).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::PermissionDenied, "PERMISSION_ESCALATION")
        );
        assert_eq!(status.get_details_error_info().unwrap().metadata["field"], field);
    };
    let less = ApiKey { permissions: vec!["stock.read".to_owned()], ..minting.clone() };
    check(ApiKey { permissions: vec![], ..less.clone() }, "permissions").await;
    check(ApiKey { permissions: vec!["stock.post".to_owned()], ..less.clone() }, "permissions").await;
    check(
        ApiKey { permissions: vec![], ..ApiKey { role: "viewer".to_owned(), ..less.clone() } },
        "permissions",
    )
    .await;
    check(ApiKey { expires_at: None, ..less.clone() }, "expires_at").await;
    check(ApiKey { expires_at: Some(world.in_seconds(3601)), ..less.clone() }, "expires_at").await;
    check(ApiKey { ip_allow: vec![], ..less.clone() }, "ip_allow").await;
    check(ApiKey { ip_allow: vec!["198.51.100.0/24".to_owned()], ..less.clone() }, "ip_allow").await;

    let made = world.create(&limited, less).await.unwrap();
    let child = world.login(&made.secret).await.unwrap();
    let denied = world.create(&child, new_key("viewer")).await.unwrap_err();
    assert_eq!(reason(&denied), "PERMISSION_DENIED", "a child without key.create makes none");

    // Its context is still valid, the key is not: nothing is left behind.
    world.revoke(&owner, &limited.actor.id).await.unwrap();
    let late = world.create(&limited, minting).await.unwrap_err();
    assert_eq!(reason(&late), "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn every_bad_field_of_a_key_is_reported() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let bad = ApiKey {
        id: "key_x".to_owned(),
        name: " till".to_owned(),
        role: "boss".to_owned(),
        permissions: ["stock.post", "stock.fly", "stock", "internal.gateway"].map(str::to_owned).to_vec(),
        business_id: owner.tenant.to_string(),
        last4: "abcd".to_owned(),
        expires_at: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        ip_allow: vec!["192.0.2.0/24".to_owned(), "office".to_owned()],
        ..ApiKey::default()
    };
    let status = world.create(&owner, bad).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
    let found = fields(&status);
    let found: Vec<_> = found.iter().map(|(field, reason)| (field.as_str(), reason.as_str())).collect();
    assert_eq!(
        found,
        [
            ("api_key.id", "OUTPUT_ONLY"),
            ("api_key.last4", "OUTPUT_ONLY"),
            ("api_key.name", "MALFORMED"),
            ("api_key.role", "UNKNOWN_VALUE"),
            ("api_key.permissions[1]", "UNKNOWN_VALUE"),
            ("api_key.permissions[2]", "MALFORMED"),
            ("api_key.permissions[3]", "UNKNOWN_VALUE"),
            ("api_key.business_id", "WRONG_ID_PREFIX"),
            ("api_key.expires_at", "OUT_OF_RANGE"),
            ("api_key.ip_allow[1]", "MALFORMED"),
        ]
    );

    let check = async |wanted: Option<ApiKey>, field: &str, expected: &str| {
        let request = world.request(&owner, CreateApiKeyRequest { api_key: wanted });
        let status = world.client.clone().create_api_key(request).await.unwrap_err();
        assert_eq!(fields(&status), [(field.to_owned(), expected.to_owned())]);
    };
    check(None, "api_key", "REQUIRED").await;
    check(Some(ApiKey { name: String::new(), ..new_key("clerk") }), "api_key.name", "REQUIRED").await;
    check(Some(ApiKey { name: "n".repeat(201), ..new_key("clerk") }), "api_key.name", "TOO_LONG").await;
    check(Some(new_key("")), "api_key.role", "REQUIRED").await;
    let beyond = ApiKey { permissions: vec!["key.create".to_owned()], ..new_key("clerk") };
    check(Some(beyond), "api_key.permissions[0]", "NOT_ALLOWED").await;
    let past = ApiKey { expires_at: Some(world.in_seconds(0)), ..new_key("clerk") };
    check(Some(past), "api_key.expires_at", "OUT_OF_RANGE").await;
    let many = ApiKey { ip_allow: vec!["192.0.2.7".to_owned(); 51], ..new_key("clerk") };
    check(Some(many), "api_key.ip_allow", "TOO_MANY").await;

    for (id, expected) in
        [("", "REQUIRED"), ("till", "MALFORMED_ID"), ("biz_01h455vb4pex5vsknk084sn02q", "WRONG_ID_PREFIX")]
    {
        assert_eq!(
            fields(&world.key(&owner, id).await.unwrap_err()),
            [("api_key_id".to_owned(), expected.to_owned())]
        );
    }
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_ended() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let mut expected = vec![owner.actor.id.to_string()];
    for _ in 0..5 {
        world.pass_seconds(1);
        expected.push(world.create(&owner, new_key("viewer")).await.unwrap().api_key.unwrap().id);
    }
    for size in [1, 2, 3, 6, 7] {
        let (mut found, mut pages, mut token) = (vec![], 0, String::new());
        loop {
            let request = ListApiKeysRequest { page_size: size, page_token: token, ..Default::default() };
            let page = world
                .client
                .clone()
                .list_api_keys(world.request(&owner, request))
                .await
                .unwrap()
                .into_inner();
            found.extend(page.api_keys.into_iter().map(|key| key.id));
            (pages, token) = (pages + 1, page.next_page_token);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "newest last, each once");
        assert_eq!(pages, 6u32.div_ceil(size));
    }

    let list = async |size: u32, token: &str, caller: &Principal| {
        let request =
            ListApiKeysRequest { page_size: size, page_token: token.to_owned(), ..Default::default() };
        world
            .client
            .clone()
            .list_api_keys(world.request(caller, request))
            .await
            .map(tonic::Response::into_inner)
    };
    let token = list(2, "", &owner).await.unwrap().next_page_token;
    let other = world.create(&owner, new_key("owner")).await.unwrap().secret;
    let other = world.login(&other).await.unwrap();
    assert_eq!(reason(&list(2, &token, &other).await.unwrap_err()), "PAGE_TOKEN_INVALID");
    assert_eq!(
        fields(&list(501, "", &owner).await.unwrap_err()),
        [("page_size".to_owned(), "TOO_LARGE".to_owned())]
    );
}
