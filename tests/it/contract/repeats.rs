//! The same request twice.

use futures::future::join_all;
use http::HeaderMap;
use journal::store::KeyRow;
use proto::Idempotency;
use serde_json::Value;
use tokio::runtime::Runtime;
use tonic_types::StatusExt as _;

use super::home::Home;
use super::sample::{sample, set};
use super::{Rpc, public};
use crate::door::Door;
use crate::rest::{Answer, text};
use crate::world::{World, folder};

/// Headers that a repeated answer may have anew.
const OF_THE_CALL: [&str; 5] = ["request-id", "traceparent", "date", "idempotent-replayed", "content-length"];

async fn send(rpc: &Rpc, door: &Door, request: &Value, key: &str) -> Answer {
    rpc.rest(door, request).key(key).send().await
}

/// What must be the same in every answer to the same request.
fn lasting(answer: &Answer) -> (u16, HeaderMap, String) {
    let mut headers = answer.headers.clone();
    for name in OF_THE_CALL {
        headers.remove(name);
    }
    // A posting says in its body too that it was there before.
    (answer.status, headers, answer.text.replace("\"replayed\":true", "\"replayed\":false"))
}

/// The calls that take a key; a batch in both ways.
fn keyed() -> Vec<(Rpc, bool)> {
    let keyed = public().into_iter().filter(|rpc| rpc.rule.idempotency != Idempotency::None);
    keyed
        .flat_map(|rpc| {
            if rpc.rule.multi_status { vec![(rpc.clone(), false), (rpc, true)] } else { vec![(rpc, false)] }
        })
        .collect()
}

async fn made(rpc: &Rpc, home: &Home, atomic: bool) -> Value {
    let mut request = sample(rpc, home, "").await;
    if atomic {
        set(&mut request, "/atomic", true.into());
    }
    request
}

/// Status and reason of an answer, or of the only item of a batch.
fn outcome(answer: &Answer) -> (u64, &str) {
    let problem = &answer.json["results"][0]["problem"];
    match problem["status"].as_u64().filter(|_| answer.status == 207) {
        Some(status) => (status, text(&problem["reason"])),
        None => (answer.status.into(), answer.reason()),
    }
}

/// API-11, but for the making of API keys, whose answer is a secret that is not kept: a call that changes
/// something takes an idempotency key; the same request again gets the first answer, byte by byte, and
/// writes nothing; another request under the key is refused; the key is kept for a day at least.
#[tokio::test]
async fn the_same_request_again_gets_the_first_answer() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    for (rpc, atomic) in keyed() {
        let request = made(&rpc, &home, atomic).await;
        let other = made(&rpc, &home, atomic).await;
        let key = format!("repeat-{}-{atomic}", rpc.name);
        let commits: Vec<usize> = world.stores().map(|(_, spy)| spy.commit_count()).collect();
        let first = send(&rpc, &home.door, &request, &key).await;
        assert!(matches!(first.status, 200 | 201), "{}: {}", rpc.name, first.text);
        assert_eq!(first.header("idempotent-replayed"), "", "{}", rpc.name);
        let rows: Vec<KeyRow> = world
            .stores()
            .zip(commits)
            .flat_map(|((_, spy), from)| spy.commits().split_off(from))
            .flat_map(|commit| commit.keys.into_iter().map(|(_, row)| row))
            .collect();
        assert!(!rows.is_empty(), "{} keeps no key", rpc.name);
        for row in rows {
            let kept = row.expires_s.checked_sub(now_s());
            assert!(row.expires_s == 0 || kept.is_some_and(|kept| 24 * 3600 <= kept), "{} {row:?}", rpc.name);
        }

        // What it changed changes again, or another one is made; the first answer stays what it was.
        let between = made(&rpc, &home, atomic).await;
        let between = send(&rpc, &home.door, &between, &format!("{key}-between")).await;
        assert!(matches!(between.status, 200 | 201), "{}: {}", rpc.name, between.text);

        let written = world.commit_count();
        for _ in 0..2 {
            let again = send(&rpc, &home.door, &request, &key).await;
            assert_eq!(lasting(&again), lasting(&first), "{}", rpc.name);
            assert_eq!(again.header("idempotent-replayed"), "true", "{}", rpc.name);
        }
        let conflict = send(&rpc, &home.door, &other, &key).await;
        assert_eq!(outcome(&conflict), (422, "IDEMPOTENCY_CONFLICT"), "{}: {}", rpc.name, conflict.text);

        let mut call = rpc.grpc(&home.door, &other);
        call.metadata_mut().insert("idempotency-key", key.parse().expect("a key"));
        match rpc.send_grpc(&home.door, call).await {
            Err(refused) => {
                let reason = refused.get_details_error_info().map(|info| info.reason);
                assert_eq!(reason.as_deref(), Some("IDEMPOTENCY_CONFLICT"), "{}", rpc.name);
            }
            Ok(_) => assert!(rpc.rule.multi_status && !atomic, "{} took another request", rpc.name),
        }
        assert_eq!(world.commit_count(), written, "{} wrote something again", rpc.name);
    }
    world.close().await;
}

fn now_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// Many at once: one does it; the others get its answer, or are told that it is being done.
#[tokio::test]
async fn the_same_request_many_times_at_once_is_done_once() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    for (rpc, atomic) in keyed() {
        let request = made(&rpc, &home, atomic).await;
        let key = format!("race-{}-{atomic}", rpc.name);
        let answers = join_all((0..8).map(|_| send(&rpc, &home.door, &request, &key))).await;
        let last = send(&rpc, &home.door, &request, &key).await;
        assert!(matches!(last.status, 200 | 201), "{}: {}", rpc.name, last.text);
        assert_eq!(last.header("idempotent-replayed"), "true", "{}", rpc.name);
        let mut done = 0;
        for answer in &answers {
            if outcome(answer) == (409, "IDEMPOTENCY_IN_PROGRESS") {
                assert!(answer.status == 207 || answer.header("retry-after") == "1", "{}", answer.text);
                continue;
            }
            assert_eq!(lasting(answer), lasting(&last), "{}", rpc.name);
            done += usize::from(answer.header("idempotent-replayed").is_empty());
        }
        assert_eq!(done, 1, "{}", rpc.name);
    }
    world.close().await;
}

/// The key of another principal, and of another call, is another key.
#[tokio::test]
async fn a_key_counts_for_its_caller_and_its_call_only() {
    let world = World::new().await;
    let home = Home::new(&world, "home").await;
    let second = home.new_key("owner").await;
    let second = Door::new(&world, Some(text(&second["secret"]))).await;
    for (rpc, atomic) in keyed() {
        for door in [&home.door, &second] {
            let request = made(&rpc, &home, atomic).await;
            let answer = send(&rpc, door, &request, &format!("same-{atomic}")).await;
            assert!(matches!(answer.status, 200 | 201), "{}: {}", rpc.name, answer.text);
            assert_eq!(answer.header("idempotent-replayed"), "", "{}", rpc.name);
        }
    }
    world.close().await;
}

/// A process that comes back knows what it has answered.
#[test]
fn an_answer_survives_a_restart() {
    let folder = folder();
    let process = || Runtime::new().expect("a runtime");
    // All that runs in a runtime ends with it.
    let (key, answered) = process().block_on(async {
        let world = World::on_disk(folder.path()).await;
        let home = Home::new(&world, "home").await;
        let mut answered = vec![];
        for (rpc, atomic) in keyed().into_iter().filter(|(rpc, _)| rpc.leaves_open()) {
            let request = made(&rpc, &home, atomic).await;
            let answer = send(&rpc, &home.door, &request, &format!("restart-{atomic}")).await;
            assert!(matches!(answer.status, 200 | 201), "{}: {}", rpc.name, answer.text);
            answered.push((rpc, atomic, request, answer));
        }
        world.close().await;
        (home.tenant.key, answered)
    });
    process().block_on(async {
        let world = World::on_disk(folder.path()).await;
        let door = Door::new(&world, Some(&key)).await;
        for (rpc, atomic, request, answer) in answered {
            let again = send(&rpc, &door, &request, &format!("restart-{atomic}")).await;
            assert_eq!(lasting(&again), lasting(&answer), "{}", rpc.name);
            assert_eq!(again.header("idempotent-replayed"), "true", "{}", rpc.name);
        }
        assert_eq!(world.commit_count(), 0);
        world.close().await;
    });
}
