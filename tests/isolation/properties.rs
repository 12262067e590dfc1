//! What the server sets, nobody else sets.

use prost_reflect::Kind;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::contract::{Home, public, sample, set};
use crate::world::World;

/// OWASP 3: every field that belongs to the server is refused in every request that has it, by name, over REST and
/// over gRPC, and nothing is written.
#[tokio::test]
async fn what_the_server_sets_is_refused() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let mut checked = 0;
    let mut taken = vec![];
    for rpc in public() {
        for field in rpc.fields().into_iter().filter(|field| field.options.output_only) {
            let own: Value = match field.descriptor.kind() {
                Kind::String if !field.options.reference.is_empty() => {
                    home.id(&field.options.reference, &field.pointer).await.into()
                }
                Kind::String => "mine".into(),
                Kind::Bool => true.into(),
                Kind::Message(of) if of.full_name() == "google.protobuf.Timestamp" => {
                    "2026-11-23T00:00:00Z".into()
                }
                Kind::Message(_) => json!({}),
                _ => 1.into(),
            };
            let mut request = sample(&rpc, &home, "").await;
            set(&mut request, &field.pointer, if field.descriptor.is_list() { json!([own]) } else { own });
            if rpc.input.get_field_by_name("atomic").is_some() {
                set(&mut request, "/atomic", true.into());
            }
            let written = world.commit_count();
            let answer = rpc.rest(&home.door, &request).send().await.problem(400, "INVALID_REQUEST");
            let name = field.descriptor.json_name();
            let named = |refused: &String| refused.ends_with(&format!("/{name} OUTPUT_ONLY"));
            assert!(
                answer.fields().iter().any(named),
                "{} {}: {:?}",
                rpc.name,
                field.pointer,
                answer.fields()
            );
            match rpc.send_grpc(&home.door, rpc.grpc(&home.door, &request)).await {
                Err(status) if status.code() == Code::InvalidArgument => {
                    let bad = status.get_details_bad_request().expect("bad fields").field_violations;
                    // The field, or what it lies in.
                    let named = |bad: &tonic_types::FieldViolation| {
                        let found = rpc::pointer(&bad.field);
                        found == field.pointer || field.pointer.starts_with(&format!("{found}/"))
                    };
                    assert!(bad.iter().any(named), "{} {}: {bad:?}", rpc.name, field.pointer);
                }
                other => taken.push(format!("{} {}: {other:?}", rpc.name, field.pointer)),
            }
            assert_eq!(world.commit_count(), written, "{} {} wrote something", rpc.name, field.pointer);
            checked += 1;
        }
    }
    assert_eq!(taken, Vec::<String>::new());
    assert!(40 < checked, "{checked} fields are few");
    world.close().await;
}
