use std::path::Path;

use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, File, FileResolver, IncludeFileResolver};

use super::*;

/// A contract of one service with the RPC `Act`, whose options are `options`.
fn compiled(options: &str) -> DescriptorPool {
    struct Probe(String);
    impl FileResolver for Probe {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            if name != "probe.proto" {
                return Err(protox::Error::file_not_found(name));
            }
            File::from_source(name, &self.0)
        }
    }
    let source = format!(
        r#"syntax = "proto3";
        package cargopilot.probe.v1;
        import "cargopilot/api/v1/options.proto";
        import "google/api/annotations.proto";
        service Probe {{ rpc Act(Nothing) returns (Nothing) {{ {options} }} }}
        message Nothing {{}}"#
    );
    let mut files = ChainFileResolver::new();
    files.add(Probe(source));
    files.add(IncludeFileResolver::new(Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()));
    files.add(protox::file::GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).open_file("probe.proto").expect("the probe is valid proto");
    compiler.descriptor_pool()
}

fn refusal(options: &str) -> Option<String> {
    read(&compiled(options)).err().map(|refused| refused[0].to_string())
}

/// API-1: an RPC without an explicit permission is refused, by name; `build.rs` runs the same check.
#[test]
#[rustfmt::skip] // columns
fn an_rpc_without_a_complete_rule_is_refused() {
    let get = r#"option (google.api.http) = {get: "/v1/probe"};"#;
    let check = |rule: &str, route: &str, expected: Option<&str>| {
        let found = refusal(&format!("{rule}{route}"));
        assert_eq!(found.as_deref(), expected.map(|why| format!("cargopilot.probe.v1.Probe.Act: {why}")).as_deref());
    };
    let rule = |fields: &str| format!("option (cargopilot.api.v1.rule) = {{{fields}}};");

    check("", get, Some("has no (cargopilot.api.v1.rule)"));
    check(&rule(r#"idempotency: IDEMPOTENCY_NONE audit: AUDIT_READ"#), get, Some("has no permission"));
    check(&rule(r#"permission: "" idempotency: IDEMPOTENCY_NONE audit: AUDIT_READ"#), get, Some("has no permission"));
    check(&rule(r#"permission: "a.b" audit: AUDIT_READ"#), get, Some("does not say how it treats an idempotency key"));
    check(&rule(r#"permission: "a.b" idempotency: IDEMPOTENCY_NONE"#), get, Some("has no audit class"));
    check(&rule(r#"permission: "a.b" idempotency: IDEMPOTENCY_NONE audit: AUDIT_READ"#), "",
        Some(r#"has permission "a.b": a route is for what is not internal"#));
    check(&rule(r#"permission: "internal.a" idempotency: IDEMPOTENCY_NONE audit: AUDIT_READ"#), get,
        Some(r#"has permission "internal.a": a route is for what is not internal"#));
    check(&rule(r#"permission: "a.b" idempotency: IDEMPOTENCY_NONE audit: AUDIT_READ aggregate: "x.y""#), get,
        Some(r#"names "x.y" as its aggregate: no string field of the request"#));
    check(&rule(r#"permission: "a.b" idempotency: IDEMPOTENCY_NONE audit: AUDIT_READ"#), get, None);
}

/// API-1: every RPC of the contract says who may call it.
#[test]
fn every_rpc_has_a_rule() {
    let rpcs: usize = pool().services().map(|s| s.methods().len()).sum();
    assert!(rpcs > 0);
    assert_eq!(rules().len(), rpcs);

    let post = &rules()["/cargopilot.stock.v1.StockService/PostMovement"];
    assert_eq!(post.permission, "stock.post");
    assert_eq!(post.idempotency, Idempotency::Required);
    assert_eq!(post.audit, Audit::Write);
    assert!(post.creates && !post.multi_status && !post.if_match);
    assert!(post.errors.iter().any(|reason| reason == "INSUFFICIENT_STOCK"));
    let route = post.http.as_ref().map(|r| (r.method, r.path.as_str(), r.body.as_str()));
    assert_eq!(route, Some(("POST", "/v1/movements", "movement")));
}

#[test]
fn the_aggregate_of_a_call_is_found_in_its_encoded_request() {
    use prost::Message as _;

    let draft = stock::v1::MovementDraft {
        kind: "sale.shipment".to_owned(),
        variant_id: "var_1".to_owned(),
        ..Default::default()
    };
    let post = &rules()["/cargopilot.stock.v1.StockService/PostMovement"];
    let named = stock::v1::PostMovementRequest { movement: Some(draft.clone()) }.encode_to_vec();
    assert_eq!(post.aggregate_of(&named), Some(&b"var_1"[..]));
    let unnamed = stock::v1::MovementDraft { variant_id: String::new(), ..draft };
    let unnamed = stock::v1::PostMovementRequest { movement: Some(unnamed) }.encode_to_vec();
    for bad in [&unnamed[..], b"", b"\xff", b"\x0a\x7f", &named[..named.len() - 1]] {
        assert_eq!(post.aggregate_of(bad), None, "{bad:?}");
    }
    // Anything may come, and nothing else is asked of it.
    for cut in 0..named.len() {
        let _ = post.aggregate_of(&named[cut..]);
    }
    let list = &rules()["/cargopilot.stock.v1.StockService/ListMovements"];
    assert_eq!(list.aggregate_of(&named), None, "it names none");
}
