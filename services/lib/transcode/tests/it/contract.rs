//! Routes, refusals at start, OpenAPI.

use std::path::Path;

use http::Method;
use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
use serde_json::Value;
use transcode::{Catalogue, Found, Info};

use crate::CATALOGUE;

const INFO: Info<'_> = Info { title: "Cargo Pilot", version: "0.0.0", description: "Inventory ledger." };

fn found(method: Method, path: &str) -> String {
    match CATALOGUE.find(&method, path) {
        Found::Operation(operation, _) => operation.name.clone(),
        Found::WrongMethod(methods) => format!("wrong method, not {methods:?}"),
        Found::Nothing => "nothing".to_owned(),
    }
}

#[test]
#[rustfmt::skip] // columns
fn a_path_names_one_operation() {
    let check = |method, path, expected: &str| assert_eq!(found(method, path), expected, "{path}");
    check(Method::POST,  "/v1/movements",                 "PostMovement");
    check(Method::GET,   "/v1/movements",                 "ListMovements");
    check(Method::GET,   "/v1/movements/mov_1",           "GetMovement");
    check(Method::POST,  "/v1/movements/mov_1:reverse",   "ReverseMovement");
    check(Method::POST,  "/v1/movements:batchCreate",     "BatchPostMovements");
    check(Method::GET,   "/v1/priceLists/a/prices/b",     "GetPrice");
    check(Method::PATCH, "/v1/products/prd_1",            "UpdateProduct");
    check(Method::PUT,   "/v1/products/prd_1",            "wrong method, not [GET, PATCH]");
    check(Method::GET,   "/v1/movements/mov_1:reverse",   "wrong method, not [POST]");
    check(Method::GET,   "/v1/movements/",                "nothing");
    check(Method::GET,   "/v1/movements/mov_1:destroy",   "nothing");
    check(Method::GET,   "/v1/movements/mov_1/legs",      "nothing");
    check(Method::GET,   "/v2/movements",                 "nothing");
    check(Method::GET,   "",                              "nothing");
}

#[test]
fn what_is_internal_has_no_route() {
    let internal: Vec<&str> = proto::rules()
        .iter()
        .filter(|(_, rule)| rule.http.is_none())
        .map(|(path, _)| path.as_str())
        .collect();
    assert!(internal.contains(&"/cargopilot.tenant.v1.TenantService/Authenticate"));
    for operation in CATALOGUE.operations() {
        assert!(!internal.contains(&operation.path.as_str()));
        assert!(!operation.rule.permission.starts_with("internal."));
    }
    assert_eq!(CATALOGUE.operations().len() + internal.len(), proto::rules().len());
}

/// A contract of one service whose body is `rpcs`, with the messages `messages`.
fn compiled(rpcs: &str, messages: &str) -> DescriptorPool {
    struct Probe(String);
    impl FileResolver for Probe {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            match name {
                "probe.proto" => File::from_source(name, &self.0),
                _ => Err(protox::Error::file_not_found(name)),
            }
        }
    }
    let source = format!(
        r#"syntax = "proto3";
        package cargopilot.probe.v1;
        import "cargopilot/api/v1/options.proto";
        import "google/api/annotations.proto";
        import "google/protobuf/duration.proto";
        service ProbeService {{ {rpcs} }}
        message Nothing {{}}
        {messages}"#
    );
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../proto");
    let mut files = ChainFileResolver::new();
    files.add(Probe(source));
    files.add(IncludeFileResolver::new(contract));
    files.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).include_source_info(true).open_file("probe.proto").unwrap();
    compiler.descriptor_pool()
}

#[test]
fn a_contract_that_cannot_be_served_is_refused_at_start() {
    let rpc = |name: &str, request: &str, answer: &str, route: &str, rule: &str| {
        format!(
            "rpc {name}({request}) returns ({answer}) {{
                option (google.api.http) = {{{route}}};
                option (cargopilot.api.v1.rule) = {{
                    permission: \"probe.read\" idempotency: IDEMPOTENCY_NONE audit: AUDIT_READ {rule}
                }};
            }}"
        )
    };
    let check = |rpcs: &[String], messages: &str, expected: &str| {
        let refused = Catalogue::new(&compiled(&rpcs.concat(), messages)).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused:?} does not say {expected:?}");
    };
    let get = |name: &str, request: &str, path: &str| {
        rpc(name, request, "Nothing", &format!("get: \"{path}\""), "")
    };

    let a = "message A { string id = 1; string other = 2; }";
    check(&[get("X", "A", "/v1/a/{id}"), get("Y", "A", "/v1/a/{other}")], a, "X and Y share a route");
    check(&[get("X", "A", "/v1/a/{id}"), get("Y", "A", "/v1/a/all")], a, "X and Y share a route");
    check(&[get("X", "A", "/v1/a/{name}")], a, "its path names name, which is no string of the request");
    check(&[rpc("X", "A", "Nothing", "post: \"/v1/a\" body: \"id\"", "")], a, "its body id is no message");
    check(&[rpc("X", "A", "Nothing", "patch: \"/v1/a\" body: \"*\"", "")], a, "a PATCH has an update_mask");
    check(
        &[rpc("X", "A", "Nothing", "post: \"/v1/a\" body: \"*\"", "creates: true")],
        a,
        "holds no resource",
    );
    check(&[rpc("X", "A", "Nothing", "post: \"/v1/a\" body: \"*\"", "multi_status: true")], a, "no results");
    check(
        &[get("X", "B", "/v1/a")],
        "message B { Nothing inner = 1; }",
        "inner fits neither path, body nor query",
    );
    check(&[get("X", "B", "/v1/a")], "message B { double share = 1; }", "share: double has no place");
    let duration = "message B { google.protobuf.Duration time = 1; }";
    check(&[get("X", "B", "/v1/a")], duration, "has no place in the contract");
    let resource =
        "message R { option (cargopilot.api.v1.resource) = {prefix: \"r\" plural: \"rs\"}; string id = 1; }";
    let create = rpc("X", "Nothing", "R", "post: \"/v1/rs\" body: \"*\"", "creates: true");
    check(&[create], resource, "nothing serves what it makes");
    check(&["rpc X(Nothing) returns (Nothing);".to_owned()], "", "has no (cargopilot.api.v1.rule)");
    let streaming = get("X", "Nothing", "/v1/a").replace("returns (", "returns (stream ");
    check(&[streaming], "", "streams have no REST form");
}

/// E1: one more RPC in the contract is a route and an entry of the document, with nothing else changed.
#[test]
fn a_new_rpc_is_served_and_documented() {
    let rpc = r#"
        // Shows a thing.
        //
        // In full.
        rpc GetThing(Ask) returns (Nothing) {
            option (google.api.http) = {get: "/v1/things/{thing_id}:show"};
            option (cargopilot.api.v1.rule) = {
                permission: "thing.read" idempotency: IDEMPOTENCY_NONE audit: AUDIT_READ errors: "THING_LOST"
            };
        }"#;
    let ask = "message Ask { string thing_id = 1 [(cargopilot.api.v1.field) = {reference: \"thg\"}]; bool all = 2; }";
    let catalogue = Catalogue::new(&compiled(rpc, ask)).unwrap();
    assert!(matches!(catalogue.find(&Method::GET, "/v1/things/thg_1:show"), Found::Operation(_, _)));
    let document: Value = serde_json::from_str(&catalogue.openapi(INFO)).unwrap();
    let entry = &document["paths"]["/v1/things/{thingId}:show"]["get"];
    assert_eq!(entry["operationId"], "getThing");
    assert_eq!(entry["summary"], "Shows a thing.");
    assert_eq!(entry["x-permission"], "thing.read");
    assert!(entry["description"].as_str().unwrap().contains("`THING_LOST`"));
    assert_eq!(entry["parameters"][0]["schema"]["pattern"], "^thg_[0-7][0-9a-hjkmnp-tv-z]{25}$");
    assert_eq!(entry["parameters"][1]["in"], "query");
}

/// The document that users see; a change of the contract shows here.
#[test]
fn the_document_is_the_committed_one() {
    let document = CATALOGUE.openapi(INFO);
    assert_eq!(
        document,
        Catalogue::new(proto::pool()).unwrap().openapi(INFO),
        "the same contract, other bytes"
    );
    insta::assert_snapshot!("openapi", document);
}

/// API-14: what can be called over gRPC can be called over REST, and what is served is documented.
#[test]
fn the_document_lists_every_operation_and_every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&CATALOGUE.openapi(INFO)).unwrap();
    let documented: usize =
        document["paths"].as_object().unwrap().values().map(|p| p.as_object().unwrap().len()).sum();
    assert_eq!(documented, CATALOGUE.operations().len());

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    match member.as_str() {
                        Some(target) if key == "$ref" => found.push(target.to_owned()),
                        _ => references(member, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let mut found = vec![];
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some_and(|target| !target.is_null()), "{reference}");
    }
    let mut ids: Vec<&str> = CATALOGUE.operations().iter().map(|operation| operation.name.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CATALOGUE.operations().len(), "operation ids are unique");
}
