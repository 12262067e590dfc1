//! Requests that are not as the contract says, made from what it says: every field of every RPC, with
//! every value that it must refuse.

use prost_reflect::Kind;
use proto::api::v1::Format;
use serde_json::{Map, Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::home::Home;
use super::sample::{sample, set};
use super::{Field, Rpc, public};
use crate::rest::text;
use crate::world::World;

/// A value that the field must refuse, and the reason.
type Bad = (Value, &'static str);

const CHARS_MAX: u32 = 200;
const ITEMS_MAX: u32 = 1_000;

fn bad_values(field: &Field) -> Vec<Bad> {
    let options = &field.options;
    if field.descriptor.is_map() {
        let too_many: Map<String, Value> = (0..=options.max).map(|at| (at.to_string(), "x".into())).collect();
        return vec![
            (json!("x"), "WRONG_TYPE"),
            (json!([]), "WRONG_TYPE"),
            (Value::Object(too_many), "TOO_MANY"),
        ];
    }
    if field.descriptor.is_list() {
        let max = if options.max == 0 { ITEMS_MAX } else { options.max };
        let mut bad = vec![
            (json!({}), "WRONG_TYPE"),
            (json!("x"), "WRONG_TYPE"),
            (json!(vec![Value::Null; max as usize + 1]), "TOO_MANY"),
        ];
        if options.required {
            bad.push((json!([]), "REQUIRED"));
        }
        return bad;
    }
    let mut bad = match field.descriptor.kind() {
        Kind::String => bad_texts(field).into_iter().map(|(text, reason)| (text.into(), reason)).collect(),
        Kind::Enum(_) => vec![(json!("NONSENSE"), "UNKNOWN_VALUE"), (json!(1), "WRONG_TYPE")],
        Kind::Bool => vec![(json!("yes"), "WRONG_TYPE"), (json!(1), "WRONG_TYPE")],
        Kind::Int32 | Kind::Int64 => vec![
            (json!(1.5), "WRONG_TYPE"),
            (json!("1e3"), "WRONG_TYPE"),
            (json!("99999999999999999999"), "OUT_OF_RANGE"),
        ],
        Kind::Uint32 | Kind::Uint64 => {
            vec![(json!(1.5), "WRONG_TYPE"), (json!("many"), "WRONG_TYPE"), (json!(-1), "OUT_OF_RANGE")]
        }
        Kind::Message(of) if of.full_name() == "google.protobuf.Timestamp" => {
            vec![
                (json!("yesterday"), "MALFORMED"),
                (json!("2026-11-24"), "MALFORMED"),
                (json!(1_795_000_000), "WRONG_TYPE"),
            ]
        }
        Kind::Message(_) => vec![(json!("x"), "WRONG_TYPE"), (json!([]), "WRONG_TYPE")],
        other => panic!("{}: no bad value for {other:?}", field.descriptor.full_name()),
    };
    if let Kind::String = field.descriptor.kind() {
        bad.extend(
            [json!(7), json!(1.5), json!(true), json!({}), json!(["x"])].map(|value| (value, "WRONG_TYPE")),
        );
    }
    if options.required {
        bad.push((Value::Null, "REQUIRED"));
    }
    bad
}

/// Texts that a field of text must refuse.
fn bad_texts(field: &Field) -> Vec<(String, &'static str)> {
    let options = &field.options;
    let max = if options.max == 0 { CHARS_MAX } else { options.max };
    let mut bad = vec![("1".repeat(max as usize + 1), "TOO_LONG")];
    let mut refuse =
        |texts: &[&str], reason| bad.extend(texts.iter().map(|text| ((*text).to_owned(), reason)));
    if options.required {
        refuse(&[""], "REQUIRED");
    }
    if !options.values.is_empty() {
        refuse(&["nonsense"], "UNKNOWN_VALUE");
    }
    if !options.reference.is_empty() {
        refuse(&["7", "x_", "01h455vb4pex5vsknk084sn02q"], "MALFORMED_ID");
        refuse(&["zzz_01h455vb4pex5vsknk084sn02q"], "WRONG_ID_PREFIX");
    }
    match options.format() {
        Format::Unspecified => {}
        Format::Quantity | Format::Amount | Format::UnitPrice => {
            refuse(&["1e3", "+1", ".5", "5.", "1,5", "NaN", "x", "1 "], "NOT_A_DECIMAL");
            refuse(&["1.2345678"], "TOO_MANY_PLACES");
        }
        Format::Currency => refuse(&["eur", "EURO", "E1R"], "MALFORMED"),
        Format::Date => refuse(&["24.11.2026", "2026-13-01"], "MALFORMED"),
        Format::Code => refuse(&["a b", "\u{e4}", "a;b"], "MALFORMED"),
        Format::Gtin => refuse(&["123", "400638133393x"], "MALFORMED"),
    }
    bad
}

/// Where the field is for the sender of a REST request: in the body, the path or the query.
fn rest_pointer(rpc: &Rpc, pointer: &str) -> String {
    let body = format!("/{}", rpc.body());
    match pointer.strip_prefix(&body) {
        Some(rest) if rest.starts_with('/') || rest.is_empty() => rest.to_owned(),
        _ => pointer.to_owned(),
    }
}

/// True if the field stands in the body; paths and queries only have texts.
fn in_body(rpc: &Rpc, pointer: &str) -> bool {
    let first = pointer.split('/').nth(1).unwrap_or_default();
    let path = &rpc.rule.http.as_ref().expect("a route").path;
    let name =
        rpc.input.fields().find(|field| field.json_name() == first).expect("a field").name().to_owned();
    !path.contains(&format!("{{{name}}}")) && (rpc.body() == "*" || rpc.body() == first)
}

/// Every field of every RPC refuses what the contract does not allow, names itself and says why;
/// nothing is written.
#[tokio::test]
async fn every_field_refuses_what_the_contract_does_not_allow() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let mut checked = 0;
    for rpc in public() {
        let good = sample(&rpc, &home, "").await;
        let written = world.commit_count();
        for field in rpc.fields() {
            let pointer = field.pointer.as_str();
            let is_in_body = in_body(&rpc, pointer);
            // The whole body is the field, and the names of fields have a form of their own.
            if pointer == format!("/{}", rpc.body()) || field.descriptor.name() == "update_mask" {
                continue;
            }
            let depth = pointer.matches('/').count();
            let patched = rpc.is_patch() && depth == 2;
            for (value, reason) in bad_values(&field) {
                if !is_in_body && !value.is_string() {
                    continue;
                }
                // An empty path segment is another route, an empty parameter no parameter.
                if !is_in_body && (value == "" || field.descriptor.is_list()) {
                    continue;
                }
                let mut bad = good.clone();
                set(&mut bad, pointer, value.clone());
                let reason = match (field.options.output_only, patched && field.options.immutable) {
                    (true, _) => "OUTPUT_ONLY",
                    (_, true) => "IMMUTABLE",
                    _ => reason,
                };
                let answer = rpc.rest(&home.door, &bad).send().await;
                assert_eq!(answer.status, 400, "{} {pointer} {value}: {}", rpc.name, answer.text);
                let answer = answer.problem(400, "INVALID_REQUEST");
                let expected = format!("{} {reason}", rest_pointer(&rpc, pointer));
                assert!(
                    answer.fields().contains(&expected),
                    "{} {value}: {expected} in {:?}",
                    rpc.name,
                    answer.fields()
                );
                checked += 1;
            }
        }
        assert_eq!(world.commit_count(), written, "{} wrote something", rpc.name);
    }
    assert!(1_000 < checked, "{checked} values are few");
    world.close().await;
}

/// The services check for themselves: what the door would refuse is refused in a gRPC call too, for the
/// field or for what it lies in.
#[tokio::test]
async fn every_service_refuses_what_the_contract_does_not_allow() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    for rpc in public() {
        let mut good = sample(&rpc, &home, "").await;
        if rpc.input.get_field_by_name("atomic").is_some() {
            set(&mut good, "/atomic", true.into());
        }
        let written = world.commit_count();
        for field in rpc.fields() {
            let pointer = field.pointer.as_str();
            let is_text = field.descriptor.kind() == Kind::String && !field.descriptor.is_list();
            if !is_text || !rpc.accepts(&field) {
                continue;
            }
            for (value, _) in bad_texts(&field) {
                // An empty text is the same as none: it stays as it is.
                if rpc.is_patch() && value.is_empty() {
                    continue;
                }
                let mut bad = good.clone();
                set(&mut bad, pointer, value.clone().into());
                let answer = rpc.send_grpc(&home.door, rpc.grpc(&home.door, &bad)).await;
                let what = format!("{} {pointer} '{value:.20}'", rpc.name);
                let Err(status) = answer else { panic!("{what}: {answer:?}") };
                assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
                if status.get_details_error_info().is_some_and(|info| info.reason == "PAGE_TOKEN_INVALID") {
                    continue;
                }
                let fields = status.get_details_bad_request().expect("bad fields").field_violations;
                let named = |bad: &tonic_types::FieldViolation| {
                    let found = rpc::pointer(&bad.field);
                    found == pointer || pointer.starts_with(&format!("{found}/"))
                };
                assert!(fields.iter().any(named), "{what}: {fields:?}");
            }
        }
        assert_eq!(world.commit_count(), written, "{} wrote something", rpc.name);
    }
    world.close().await;
}

/// Fields that nobody knows, at every place of a body and in every query.
#[tokio::test]
async fn an_unknown_field_is_named() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    for rpc in public() {
        let good = sample(&rpc, &home, "").await;
        let written = world.commit_count();
        let (method, uri, _) = rpc.route(&good);
        let asked = format!("{uri}{}colour=red", if uri.contains('?') { '&' } else { '?' });
        let answer = home.door.rest.call(method, asked);
        let answer = if rpc.body().is_empty() { answer } else { answer.json(&json!({})) };
        let answer = answer.key("unknown").if_match("*").send().await.problem(400, "INVALID_REQUEST");
        assert!(
            answer.fields().contains(&"/colour UNKNOWN_FIELD".to_owned()),
            "{} {}",
            rpc.name,
            answer.text
        );

        let mut objects = vec![];
        let root = if rpc.body() == "*" { String::new() } else { format!("/{}", rpc.body()) };
        if !rpc.body().is_empty() {
            objects_below(&good, &root, &mut objects);
        }
        for object in objects {
            let mut bad = good.clone();
            bad.pointer_mut(&object).expect("an object")["colour"] = "red".into();
            let answer = rpc.rest(&home.door, &bad).send().await.problem(400, "INVALID_REQUEST");
            let place = rest_pointer(&rpc, &object);
            // A map takes any key.
            let expected = format!("{place}/colour UNKNOWN_FIELD");
            assert_eq!(answer.fields(), [expected], "{} {}", rpc.name, answer.text);
        }
        assert_eq!(world.commit_count(), written, "{} wrote something", rpc.name);
    }
    world.close().await;
}

fn objects_below(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value.pointer(pointer) {
        Some(Value::Object(fields)) => {
            if !pointer.ends_with("/optionValues") {
                found.push(pointer.to_owned());
            }
            fields.keys().for_each(|name| objects_below(value, &format!("{pointer}/{name}"), found));
        }
        Some(Value::Array(items)) => {
            (0..items.len()).for_each(|at| objects_below(value, &format!("{pointer}/{at}"), found))
        }
        _ => {}
    }
}

/// A parameter or a key that is there twice: nobody can know which one was meant.
#[tokio::test]
async fn what_is_there_twice_is_refused() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    for rpc in public() {
        let good = sample(&rpc, &home, "").await;
        let written = world.commit_count();
        let (method, uri, body) = rpc.route(&good);
        match body.as_ref().and_then(Value::as_object).and_then(|fields| fields.iter().next()) {
            Some((name, value)) => {
                let whole = body.as_ref().expect("a body").to_string();
                let twice = format!("{{\"{name}\":{value},{}", &whole[1..]);
                let call = home.door.rest.call(method, uri).text(twice).key("twice").if_match("*");
                let answer = call.send().await.problem(400, "INVALID_REQUEST");
                assert_eq!(
                    answer.fields(),
                    [format!("/{name} DUPLICATE_KEY")],
                    "{} {}",
                    rpc.name,
                    answer.text
                );
            }
            None => {
                if rpc.input.get_field_by_name("page_size").is_none() {
                    continue;
                }
                let uri = format!("{uri}{}pageSize=1&pageSize=2", if uri.contains('?') { '&' } else { '?' });
                let answer = home.door.rest.call(method, uri).send().await.problem(400, "INVALID_REQUEST");
                assert_eq!(
                    answer.fields(),
                    ["/pageSize DUPLICATE_KEY"],
                    "{} {}",
                    rpc.name,
                    text(&answer.json["detail"])
                );
            }
        }
        assert_eq!(world.commit_count(), written, "{} wrote something", rpc.name);
    }
    world.close().await;
}
