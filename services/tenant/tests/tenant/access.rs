//! Roles, their assignment, and the explanation of what follows.

use proto::tenant::v1::*;
use rpc::{Principal, header};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::world::*;

/// What a refusal for going too far names.
fn too_far(status: &Status) -> String {
    assert_eq!((status.code(), reason(status).as_str()), (Code::PermissionDenied, "PERMISSION_ESCALATION"));
    status.get_details_error_info().unwrap().metadata["field"].clone()
}

async fn roles(world: &World, caller: &Principal, page_size: u32) -> Vec<Role> {
    let (mut all, mut page_token) = (vec![], String::new());
    loop {
        let request = world.request(caller, ListRolesRequest { page_size, page_token });
        let page = world.access.clone().list_roles(request).await.unwrap().into_inner();
        assert!(page.roles.len() <= page_size as usize);
        all.extend(page.roles);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

async fn update(world: &World, caller: &Principal, id: &str, tag: &str, role: Role) -> Result<Role, Status> {
    let update = UpdateRoleRequest { role_id: id.to_owned(), role: Some(role), update_mask: vec![] };
    let mut request = world.request(caller, update);
    request.metadata_mut().insert(header::IF_MATCH, tag.parse().unwrap());
    Ok(world.access.clone().update_role(request).await?.into_inner())
}

fn with(permissions: &[&str]) -> Role {
    Role { permissions: permissions.iter().map(ToString::to_string).collect(), ..Role::default() }
}

/// API-6: a tenant makes roles of its own; those of every tenant stay as they are.
#[tokio::test]
async fn roles_are_data_of_the_tenant() {
    let world = World::new();
    let (owner, other) = (world.tenant("acme").await, world.tenant("other").await);
    let night = world.role(&owner, "NIGHT", &["stock.post", "stock.read"]).await.unwrap();
    assert_eq!((night.code.as_str(), night.system, night.etag.as_str()), ("NIGHT", false, "\"1\""));
    world.role(&owner, "DAY", &["*.read", "stock.*"]).await.unwrap();
    for size in [1, 2, 3, 4, 50] {
        let codes: Vec<_> = roles(&world, &owner, size).await.into_iter().map(|role| role.code).collect();
        assert_eq!(codes, ["owner", "clerk", "viewer", "DAY", "NIGHT"]);
    }
    for role in roles(&world, &owner, 50).await {
        let request = world.request(&owner, GetRoleRequest { role_id: role.id.clone() });
        assert_eq!(world.access.clone().get_role(request).await.unwrap().into_inner(), role);
    }
    let again = world.role(&owner, "NIGHT", &["stock.read"]).await.unwrap_err();
    assert_eq!(reason(&again), "ALREADY_EXISTS");
    assert_eq!(reason(&world.role(&owner, "owner", &["stock.read"]).await.unwrap_err()), "ALREADY_EXISTS");

    let changed = update(&world, &owner, &night.id, "\"1\"", with(&["stock.read"])).await.unwrap();
    assert_eq!((changed.permissions, changed.etag.as_str()), (vec!["stock.read".to_owned()], "\"2\""));
    let stale = update(&world, &owner, &night.id, "\"1\"", with(&["stock.post"])).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "STALE_REVISION"));
    for role in roles(&world, &owner, 50).await.into_iter().filter(|role| role.system) {
        let refused = update(&world, &owner, &role.id, "*", with(&["stock.read"])).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SYSTEM_ROLE"));
    }
    // Another tenant has neither the role nor a trace of it, and may take the name.
    let foreign = update(&world, &other, &night.id, "*", with(&["stock.read"])).await.unwrap_err();
    assert_eq!((foreign.code(), reason(&foreign).as_str()), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(roles(&world, &other, 50).await.len(), 3);
    world.role(&other, "NIGHT", &["*"]).await.unwrap();
}

/// A role holds what the contract has and nothing else.
#[tokio::test]
async fn every_bad_field_of_a_role_is_named() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let check = async |code: &str, permissions: &[&str], expected: &[(&str, &str)]| {
        let status = world.role(&owner, code, permissions).await.unwrap_err();
        let found = fields(&status);
        let found: Vec<_> = found.iter().map(|(field, reason)| (field.as_str(), reason.as_str())).collect();
        assert_eq!(found, expected);
    };
    check("", &[], &[("role.code", "REQUIRED"), ("role.permissions", "REQUIRED")]).await;
    check("night shift", &["stock.read"], &[("role.code", "MALFORMED")]).await;
    check(&"N".repeat(65), &["stock.read"], &[("role.code", "TOO_LONG")]).await;
    let bad = ["stock.read", "stock.fly", "stock", "internal.gateway", "fly.*"];
    let expected = [
        ("role.permissions[1]", "UNKNOWN_VALUE"),
        ("role.permissions[2]", "MALFORMED"),
        ("role.permissions[3]", "UNKNOWN_VALUE"),
        ("role.permissions[4]", "UNKNOWN_VALUE"),
    ];
    check("NIGHT", &bad, &expected).await;
    check("NIGHT", &["stock.read"; 51], &[("role.permissions", "TOO_MANY")]).await;
}

/// API-6: an assignment gives its role in its business, or in all below too, between its two moments, until it is
/// revoked; what changes acts when the credential is looked at again.
#[tokio::test]
async fn an_assignment_gives_its_role_where_and_when_it_says() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let branch = world.below(&owner, &[owner.business]).await;
    let shop = world.below(&owner, &[owner.business, branch]).await;
    let role = world.role(&owner, "NIGHT", &["stock.post"]).await.unwrap();
    let mut keys = vec![];
    for business in [owner.business, branch, shop] {
        let key = ApiKey { business_id: business.to_string(), ..new_key("viewer") };
        keys.push(world.new_caller(&owner, key).await);
    }
    let posts = async |at: usize| world.login(&keys[at].1).await.unwrap().permissions.allows("stock.post");
    assert!(!posts(0).await && !posts(1).await && !posts(2).await);

    let here = world.assign(&owner, of(&keys[0].0, &role.id, Reach::Self_)).await.unwrap();
    let below = Assignment {
        business_id: shop.to_string(),
        valid_from: Some(world.in_seconds(10)),
        valid_to: Some(world.in_seconds(20)),
        ..of(&keys[2].0, &role.id, Reach::Subtree)
    };
    let below = world.assign(&owner, below).await.unwrap();
    assert!(posts(0).await && !posts(1).await && !posts(2).await);
    world.pass_seconds(10);
    assert!(posts(2).await);
    world.pass_seconds(10);
    assert!(!posts(2).await);

    // A key gets nothing outside of what lies below its business.
    let above = of(&keys[1].0, &role.id, Reach::Subtree);
    let above = world.assign(&owner, above).await.unwrap_err();
    assert_eq!(fields(&above), [("assignment.business_id".to_owned(), "NOT_ALLOWED".to_owned())]);

    update(&world, &owner, &role.id, "*", with(&["price.publish"])).await.unwrap();
    assert!(!posts(0).await && world.login(&keys[0].1).await.unwrap().permissions.allows("price.publish"));
    update(&world, &owner, &role.id, "*", with(&["stock.post"])).await.unwrap();
    assert!(posts(0).await);
    for id in [&here.id, &here.id, &below.id] {
        let request = RevokeAssignmentRequest { assignment_id: id.clone() };
        let revoked = world.access.clone().revoke_assignment(world.request(&owner, request)).await.unwrap();
        assert!(revoked.into_inner().revoked_at.is_some());
    }
    assert!(!posts(0).await);
}

/// API-5: nobody gives more than they have, further than they reach, or for longer.
#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let branch = world.below(&owner, &[owner.business]).await;
    let (viewer, _) = world.new_caller(&owner, new_key("viewer")).await;
    let permissions: Vec<String> = [
        "role.create",
        "role.update",
        "assignment.create",
        "key.read",
        "key.create",
        "tenant.read",
        "descendants.read",
        "stock.post",
    ]
    .map(str::to_owned)
    .to_vec();
    let manager = ApiKey {
        permissions,
        expires_at: Some(world.in_seconds(3600)),
        ip_allow: vec!["192.0.2.0/24".to_owned()],
        ..new_key("owner")
    };
    let secret = world.create(&owner, manager).await.unwrap().secret;
    let manager = world.login(&secret).await.unwrap();
    let roles = roles(&world, &owner, 50).await;
    let posts = world.role(&owner, "POST", &["stock.post"]).await.unwrap();

    // A role is for the whole tenant and for ever: what ends gives nothing to it.
    assert_eq!(too_far(&world.role(&manager, "MORE", &["price.publish"]).await.unwrap_err()), "permissions");
    assert_eq!(too_far(&world.role(&manager, "MORE", &["stock.post"]).await.unwrap_err()), "permissions");
    assert_eq!(
        too_far(&update(&world, &manager, &posts.id, "*", with(&["*"])).await.unwrap_err()),
        "permissions"
    );

    let till = |seconds| Some(world.in_seconds(seconds));
    let local = ApiKey { ip_allow: vec!["192.0.2.7".to_owned()], ..new_key("viewer") };
    let (local, _) = world.new_caller(&owner, local).await;
    let check = async |assignment: Assignment, expected: Result<(), &str>| {
        let found = world.assign(&manager, assignment).await.map(drop).map_err(|status| too_far(&status));
        assert_eq!(found, expected.map_err(str::to_owned));
    };
    check(Assignment { valid_to: till(3600), ..of(&local, &posts.id, Reach::Self_) }, Ok(())).await;
    check(Assignment { valid_to: till(3600), ..of(&local, &roles[0].id, Reach::Self_) }, Err("role_id"))
        .await;
    check(Assignment { valid_to: till(3600), ..of(&local, &roles[1].id, Reach::Self_) }, Err("role_id"))
        .await;
    check(Assignment { valid_to: till(3601), ..of(&local, &posts.id, Reach::Self_) }, Err("valid_to")).await;
    check(of(&local, &posts.id, Reach::Self_), Err("valid_to")).await;
    check(Assignment { valid_to: till(3600), ..of(&viewer, &posts.id, Reach::Self_) }, Err("api_key_id"))
        .await;
    check(Assignment { valid_to: till(3600), ..of(&local, &posts.id, Reach::Subtree) }, Err("reach")).await;
    let down = Assignment { business_id: branch.to_string(), ..of(&local, &posts.id, Reach::Self_) };
    check(Assignment { valid_to: till(3600), ..down }, Err("business_id")).await;

    // From below, nobody makes roles for all.
    let key = ApiKey { business_id: branch.to_string(), ..new_key("owner") };
    let (_, secret) = world.new_caller(&owner, key).await;
    let branch_owner = world.login(&secret).await.unwrap();
    assert_eq!(
        too_far(&world.role(&branch_owner, "MINE", &["stock.read"]).await.unwrap_err()),
        "business_id"
    );
    let up = world.assign(&branch_owner, of(&viewer, &posts.id, Reach::Self_)).await.unwrap_err();
    assert_eq!((up.code(), reason(&up).as_str()), (Code::NotFound, "NOT_FOUND"), "the key is above");
}

/// API-5: what somebody has by an assignment, they give on no further than the assignment goes, and never into a
/// key, which would outlive it.
#[tokio::test]
async fn what_is_assigned_is_given_on_as_far_as_it_goes() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let role = world
        .role(
            &owner,
            "LEAD",
            &[
                "assignment.create",
                "descendants.write",
                "key.create",
                "key.read",
                "tenant.read",
                "stock.post",
            ],
        )
        .await
        .unwrap();
    let posts = world.role(&owner, "POST", &["stock.post"]).await.unwrap();
    let (lead, secret) = world.new_caller(&owner, new_key("viewer")).await;
    let (other, _) = world.new_caller(&owner, new_key("viewer")).await;
    let until = Some(world.in_seconds(100));
    world.assign(&owner, Assignment { valid_to: until, ..of(&lead, &role.id, Reach::Self_) }).await.unwrap();
    let lead = world.login(&secret).await.unwrap();

    let refused = async |assignment| too_far(&world.assign(&lead, assignment).await.unwrap_err());
    assert_eq!(refused(of(&other, &posts.id, Reach::Self_)).await, "valid_to");
    assert_eq!(
        refused(Assignment { valid_to: until, ..of(&other, &posts.id, Reach::Subtree) }).await,
        "reach"
    );
    world.assign(&lead, Assignment { valid_to: until, ..of(&other, &posts.id, Reach::Self_) }).await.unwrap();

    let key = ApiKey { permissions: vec!["stock.post".to_owned()], ..new_key("owner") };
    assert_eq!(too_far(&world.create(&lead, key.clone()).await.unwrap_err()), "permissions");
    world.create(&lead, ApiKey { permissions: vec!["stock.read".to_owned()], ..key }).await.unwrap();
}

#[tokio::test]
async fn a_principal_has_a_bounded_number_of_assignments() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let role = world.role(&owner, "POST", &["stock.post"]).await.unwrap();
    let (key, _) = world.new_caller(&owner, new_key("viewer")).await;
    let mut last = None;
    for _ in 0..tenant::ASSIGNMENTS_MAX {
        last = Some(world.assign(&owner, of(&key, &role.id, Reach::Self_)).await.unwrap());
    }
    let more = world.assign(&owner, of(&key, &role.id, Reach::Self_)).await.unwrap_err();
    assert_eq!((more.code(), reason(&more).as_str()), (Code::FailedPrecondition, "TOO_MANY_ASSIGNMENTS"));
    let request = RevokeAssignmentRequest { assignment_id: last.unwrap().id };
    world.access.clone().revoke_assignment(world.request(&owner, request)).await.unwrap();
    world.assign(&owner, of(&key, &role.id, Reach::Self_)).await.unwrap();
}

/// API-A: the explanation says what the guard does, which policy or gate decided, what would let it in, and where
/// permissions come from.
#[tokio::test]
async fn a_permission_is_explained() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let branch = world.below(&owner, &[owner.business]).await;
    let (id, secret) = world.new_caller(&owner, new_key("clerk")).await;
    let clerk = world.login(&secret).await.unwrap();
    let ask = |key: &str, permission: &str, business: Option<ids::BusinessId>| ExplainPermissionRequest {
        api_key_id: key.to_owned(),
        permission: permission.to_owned(),
        business_id: business.map(|id| id.to_string()).unwrap_or_default(),
        user_id: String::new(),
    };
    let check = async |request, expected: (bool, &str, &[&str], &str)| {
        let found = world.explain(&owner, request).await.unwrap();
        let policies: Vec<&str> = found.policies.iter().map(String::as_str).collect();
        assert_eq!((found.allowed, found.gate.as_str(), &*policies, found.fix.as_str()), expected);
        found
    };
    check(ask(&id, "stock.post", None), (true, "permission", &["permit:stock.post"], "")).await;
    check(ask(&id, "product.update", None), (true, "permission", &["permit:product.*"], "")).await;
    let role = "have a role with 'key.create' assigned";
    check(ask(&id, "key.create", None), (false, "permission", &[], role)).await;
    let reach = "have a role with 'descendants.write' assigned, or work in the business itself";
    let down = (false, "business_scope", &["forbid:descendants-write"] as &[_], reach);
    check(ask(&id, "stock.post", Some(branch)), down).await;
    check(ask("", "key.create", Some(branch)), (true, "permission", &["permit:*"], "")).await;

    // The guard says the same of every permission, and what is assigned is found again.
    let made = world.role(&owner, "KEYS", &["key.*"]).await.unwrap();
    let assigned = world.assign(&owner, of(&id, &made.id, Reach::Self_)).await.unwrap();
    let found = check(ask(&id, "key.create", None), (true, "permission", &["permit:key.*"], "")).await;
    let sources: Vec<_> =
        found.grants.iter().map(|grant| (&*grant.source, &*grant.id, &*grant.role)).collect();
    assert_eq!(sources, [("key", &*id, "clerk"), ("assignment", &*assigned.id, "KEYS")]);
    let now = world.login(&secret).await.unwrap();
    for permission in
        authz::authorizer().permissions().into_iter().filter(|name| !name.starts_with("internal."))
    {
        let found = world.explain(&now, ask("", permission, None)).await.unwrap();
        assert_eq!(found.allowed, now.permissions.allows(permission), "{permission}");
    }

    // About others it takes a permission; what does not exist is named; nothing is told of what is out of sight.
    let about = ask(&owner.actor.id, "key.create", None);
    let denied = world.explain(&clerk, about).await.unwrap_err();
    assert_eq!(reason(&denied), "PERMISSION_DENIED");
    assert_eq!(denied.get_details_error_info().unwrap().metadata["permission"], "assignment.read");
    for permission in ["stock.fly", "internal.gateway", "*", "stock.*"] {
        let unknown = world.explain(&clerk, ask("", permission, None)).await.unwrap_err();
        assert_eq!(fields(&unknown), [("permission".to_owned(), "UNKNOWN_VALUE".to_owned())]);
    }
    let nowhere = ids::BusinessId::from_bytes([9; 16]);
    let missing = world.explain(&clerk, ask("", "stock.post", Some(nowhere))).await.unwrap_err();
    assert_eq!(reason(&missing), "NOT_FOUND");
    world.revoke(&owner, &id).await.unwrap();
    let over = "make another key: this one has ended, or who made it";
    check(ask(&id, "stock.post", None), (false, "credential", &[], over)).await;
}

/// HIE-10: sisters see nothing of each other, and looking or reaching down is a permission of its own.
#[tokio::test]
async fn reaching_down_is_a_permission() {
    let world = World::new();
    let owner = world.tenant("acme").await;
    let (north, south) =
        (world.below(&owner, &[owner.business]).await, world.below(&owner, &[owner.business]).await);
    let key = |permissions: &[&str], business: ids::BusinessId| ApiKey {
        permissions: permissions.iter().map(ToString::to_string).collect(),
        business_id: business.to_string(),
        ..new_key("owner")
    };
    let basics = ["tenant.read", "key.read", "key.revoke", "key.create", "stock.read"];
    let caller = async |more: &[&str], business| {
        let (_, secret) = world.new_caller(&owner, key(&[&basics, more].concat(), business)).await;
        world.login(&secret).await.unwrap()
    };
    let (child, _) = world.new_caller(&owner, key(&["stock.read"], north)).await;
    let make = async |caller: &Principal| {
        world.create(caller, key(&["stock.read"], north)).await.map(drop).map_err(|status| reason(&status))
    };
    let end = async |caller: &Principal| world.revoke(caller, &child).await.map(drop).map_err(|s| reason(&s));
    let sees = async |caller: &Principal| {
        let business = world.business(caller, &north.to_string()).await.is_ok();
        assert_eq!(world.key(caller, &child).await.is_ok(), business);
        business
    };
    let missing = || Err("NOT_FOUND".to_owned());

    let plain = caller(&[], owner.business).await;
    assert_eq!((sees(&plain).await, make(&plain).await, end(&plain).await), (false, missing(), missing()));
    let looks = caller(&["descendants.read"], owner.business).await;
    let denied = || Err("PERMISSION_DENIED".to_owned());
    assert_eq!((sees(&looks).await, make(&looks).await, end(&looks).await), (true, denied(), denied()));
    let sister = caller(&["descendants.read", "descendants.write"], south).await;
    assert_eq!((sees(&sister).await, make(&sister).await, end(&sister).await), (false, missing(), missing()));
    let reaches = caller(&["descendants.read", "descendants.write"], owner.business).await;
    assert_eq!((sees(&reaches).await, make(&reaches).await, end(&reaches).await), (true, Ok(()), Ok(())));
}
