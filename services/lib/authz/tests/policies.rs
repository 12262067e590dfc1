//! What the policies of this build decide.

use std::str::FromStr as _;

use authz::{Contract, Kind, PLATFORM_WIDE, Principal, Resource, authorizer};
use cedar_policy::{PolicySet, Schema, ValidationMode, Validator};
use ids::{BusinessId, TenantId};
use proptest::prelude::*;

fn tenant(byte: u8) -> TenantId {
    TenantId::from_bytes([byte; 16])
}

fn businesses(path: &[u8]) -> Vec<BusinessId> {
    path.iter().map(|byte| BusinessId::from_bytes([*byte; 16])).collect()
}

fn principal(kind: Kind, business: u8, grants: &str) -> Principal<'static> {
    Principal {
        kind,
        id: "someone",
        tenant: tenant(1),
        business: BusinessId::from_bytes([business; 16]),
        grants: grants.split_whitespace().map(str::to_owned).collect(),
    }
}

/// API-1: schema and policies come from the contract, and every policy is valid against the schema: making the
/// authorizer checks it. The check bites: a policy that names what is not in the contract does not pass.
#[test]
fn every_policy_is_valid_against_the_schema() {
    let contract = Contract::read(proto::pool(), proto::rules());
    authz::Authorizer::new(&contract).expect("the policies of the build are valid");

    let (schema, _) = Schema::from_cedarschema_str(&authz::schema(&contract)).expect("a schema");
    let validator = Validator::new(schema);
    let valid = |text: &str| {
        let policies = PolicySet::from_str(text).expect("Cedar text");
        validator.validate(&policies, ValidationMode::Strict).validation_passed_without_warnings()
    };
    assert!(valid(authz::FORBIDS));
    assert!(valid(r#"permit (principal, action == Action::"stock.post", resource is Movement);"#));
    assert!(!valid(r#"permit (principal, action == Action::"stock.fly", resource);"#));
    assert!(!valid(r#"permit (principal, action == Action::"stock.post", resource is ApiKey);"#));
    assert!(!valid("permit (principal, action, resource) when { resource.tenat == principal.tenant };"));
}

/// API-1: there is an action for every RPC, about what the RPC takes and gives.
#[test]
fn every_rpc_has_an_action() {
    let contract = Contract::read(proto::pool(), proto::rules());
    for rule in proto::rules().values() {
        assert!(contract.operations.contains_key(&rule.permission), "{}", rule.permission);
    }
    let about = |permission: &str| authorizer().resources(permission).join(" ");
    assert!(about("stock.post").contains("Movement"));
    assert!(about("key.read").contains("ApiKey"));
    assert!(contract.operations["stock.read"].reads && !contract.operations["stock.post"].reads);
}

/// API-2: nobody may do anything that was not granted, and only the platform itself does what is internal.
#[test]
fn what_nothing_permits_is_refused() {
    let (path, master) = (businesses(&[1]), businesses(&[1])[0].to_string());
    let here = Resource::business(tenant(1), &master, &path);
    for permission in authorizer().permissions() {
        let decide =
            |kind, grants: &str| authorizer().decide(&principal(kind, 1, grants), permission, &here, &[]);
        let refused = decide(Kind::ApiKey, "");
        let internal = permission.starts_with("internal.");
        let by: &[&str] = if internal { &["forbid:internal"] } else { &[] };
        assert_eq!((refused.allowed, refused.by), (false, by.iter().map(ToString::to_string).collect()));
        assert!(!refused.fix.is_empty(), "{permission}");
        for kind in [Kind::ApiKey, Kind::User, Kind::System] {
            let named = decide(kind, permission);
            assert_eq!(named.allowed, !internal || kind == Kind::System, "{permission} {kind:?}");
            assert_eq!(decide(kind, "*").allowed, !internal, "{permission} {kind:?}");
        }
    }
    let unknown = authorizer().decide(&principal(Kind::User, 1, "*"), "stock.fly", &here, &[]);
    assert_eq!((unknown.allowed, unknown.fix.as_str()), (false, "there is no permission 'stock.fly'"));
}

/// The static policies: INV-6 (another tenant), HIE-10 (sisters and descendants), HIE-3 (inherited and locked).
/// Nothing that was granted overrules them.
#[test]
#[rustfmt::skip] // columns
fn the_static_policies_hold_for_everybody() {
    let check = |grants: &str, permission: &str, of: u8, path: &[u8], owner: u8, expected: Result<&str, &str>| {
        let path = businesses(path);
        let resource = Resource {
            kind: "Product", id: "prd_1", tenant: tenant(of), path: &path,
            owner: BusinessId::from_bytes([owner; 16]), locked: &["title"],
        };
        let found = authorizer().decide(&principal(Kind::User, 2, grants), permission, &resource, &["title", "notes"]);
        let by = found.by.join(" ");
        let found = if found.allowed { Ok(by.as_str()) } else { Err(by.as_str()) };
        assert_eq!(found, expected, "{grants} {permission} {path:?}");
    };
    //    granted                            wanted            tenant path        owner decided by
    check("product.*",                       "product.update", 1, &[1, 2],        2,    Ok("permit:product.*"));
    check("product.* product.update",        "product.update", 1, &[1, 2],        2,    Ok("permit:product.* permit:product.update"));
    check("*",                               "product.read",   2, &[1, 2],        2,    Err("forbid:tenant-mismatch"));
    check("*",                               "product.update", 2, &[1, 3],        3,    Err("forbid:out-of-reach forbid:tenant-mismatch"));
    check("*",                               "product.read",   1, &[1],           1,    Err("forbid:out-of-reach"));
    check("*",                               "product.read",   1, &[1, 3],        3,    Err("forbid:out-of-reach"));
    check("*",                               "product.read",   1, &[1, 2, 4],     4,    Ok("permit:*"));
    check("*",                               "product.update", 1, &[1, 2, 4],     4,    Ok("permit:*"));
    check("product.*",                       "product.read",   1, &[1, 2, 4],     4,    Err("forbid:descendants-read"));
    check("product.* descendants.read",      "product.read",   1, &[1, 2, 4],     4,    Ok("permit:product.*"));
    check("product.* descendants.read",      "product.update", 1, &[1, 2, 4],     4,    Err("forbid:descendants-write"));
    check("product.* descendants.write",     "product.update", 1, &[1, 2, 4, 5],  5,    Ok("permit:product.*"));
    check("*",                               "product.read",   1, &[1, 2],        1,    Ok("permit:*"));
    check("*",                               "product.update", 1, &[1, 2],        1,    Err("forbid:inherited-write"));
}

/// An inherited field that its owner did not lock may be written.
#[test]
fn only_locked_fields_are_kept_from_those_below() {
    let path = businesses(&[1, 2]);
    for (locked, allowed) in [(&["title"] as &[&str], false), (&["sku"], true), (&[], true)] {
        let resource =
            Resource { kind: "Product", id: "prd_1", tenant: tenant(1), path: &path, owner: path[0], locked };
        let found =
            authorizer().decide(&principal(Kind::User, 2, "*"), "product.update", &resource, &["title"]);
        assert_eq!(found.allowed, allowed, "{locked:?}");
    }
}

/// What a set of grants means, said without Cedar.
fn means(grants: &[String], permission: &str) -> bool {
    let (resource, action) = permission.split_once('.').expect("two words");
    let internal = resource == "internal";
    let given = |grant: &str| grants.iter().any(|member| member == grant);
    let wild = [format!("{resource}.*"), format!("*.{action}"), "*".to_owned()];
    !internal && (given(permission) || wild.iter().any(|grant| given(grant)))
}

fn members() -> Vec<String> {
    let mut members = vec!["*".to_owned()];
    for permission in authorizer().permissions() {
        let (resource, action) = permission.split_once('.').expect("two words");
        members.extend([permission.to_owned(), format!("*.{action}")]);
        members.extend((resource != "internal").then(|| format!("{resource}.*")));
    }
    members
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// The policies say of every permission what the grants mean, and name a grant that was given.
    #[test]
    fn policies_decide_what_grants_mean(grants in proptest::collection::vec(proptest::sample::select(members()), 0..5)) {
        let (path, master) = (businesses(&[1]), businesses(&[1])[0].to_string());
        let here = Resource::business(tenant(1), &master, &path);
        let who = Principal { grants: grants.clone(), ..principal(Kind::ApiKey, 1, "") };
        for permission in authorizer().permissions() {
            let found = authorizer().decide(&who, permission, &here, &[]);
            prop_assert_eq!(found.allowed, means(&grants, permission), "{:?} {}", grants, permission);
            if found.allowed {
                let given = |by: &String| by.strip_prefix("permit:").is_some_and(|grant| grants.iter().any(|g| g == grant));
                prop_assert!(!found.by.is_empty() && found.by.iter().all(given), "{:?}", found);
            }
        }
    }
}

/// Permissions that no RPC asks for are decided about too.
#[test]
fn permissions_without_an_rpc_exist() {
    let contract = Contract::read(proto::pool(), proto::rules());
    for (permission, reads) in PLATFORM_WIDE {
        assert_eq!(contract.operations[permission].reads, reads);
    }
    for (member, expected) in [
        ("stock.post", true),
        ("stock.*", true),
        ("*.read", true),
        ("*", true),
        ("stock.fly", false),
        ("internal.gateway", false),
        ("internal.*", false),
        ("*.gateway", false),
    ] {
        assert_eq!(authorizer().grants(member), expected, "{member}");
    }
}
