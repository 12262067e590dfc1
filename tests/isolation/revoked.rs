//! A key that is revoked is one no more.

use std::sync::Arc;

use serde_json::json;
use tonic::Code;

use crate::contract::{Home, Rpc, public, sample};
use crate::door::Door;
use crate::rest::text;
use crate::world::{Forward, World};

/// API-4, the part of revocation: every RPC, over REST and gRPC, that a key was let into refuses it five seconds
/// after the key was revoked, however often it was used until then.
#[tokio::test]
async fn every_call_refuses_a_revoked_key_within_five_seconds() {
    let clock = Arc::new(Forward::default());
    let world = World::at(clock.clone()).await;
    let home = Home::new(&world, "home").await;
    let made = home.new_key("owner").await;
    let door = Door::new(&world, Some(text(&made["secret"]))).await;
    for rpc in public().into_iter().filter(Rpc::leaves_open) {
        let request = sample(&rpc, &home, "").await;
        let answer = rpc.rest(&door, &request).send().await;
        assert!(matches!(answer.status, 200 | 201), "{}: {}", rpc.name, answer.text);
    }
    let uri = format!("/v1/apiKeys/{}:revoke", text(&made["apiKey"]["id"]));
    home.tenant.rest.post(uri, &json!({})).send().await.ok(200);
    clock.pass_seconds(5);
    for rpc in public() {
        let request = sample(&rpc, &home, "").await;
        let written = world.commit_count();
        rpc.rest(&door, &request).send().await.problem(401, "UNAUTHENTICATED");
        let status = rpc.send_grpc(&door, rpc.grpc(&door, &request)).await.expect_err("a revoked key");
        assert_eq!(status.code(), Code::Unauthenticated, "{}", rpc.name);
        assert_eq!(world.commit_count(), written, "{} wrote something", rpc.name);
    }
    world.close().await;
}
