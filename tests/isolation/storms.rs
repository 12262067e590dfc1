//! Calls that nobody waits for any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::rest::{Answer, Rest, text};
use crate::world::World;

/// Calls of one storm.
const CALLS: usize = 1_000;
/// Of so many calls, one is dropped.
const ONE_IN: usize = 5;
/// Calls at the same time on the one connection.
const AT_ONCE: usize = 50;
/// Things of each tenant that are asked for.
const THINGS: usize = 20;

/// Names a call in its headers, and finds the name in the answer.
fn trace(number: usize) -> String {
    format!("00-{:032x}-{:016x}-01", number + 1, number + 1)
}

/// Runs calls, `AT_ONCE` at a time; one of five is dropped after a while, some before they are sent, some while
/// they are answered. Gives the answers of the others.
async fn storm<C, A>(call: C) -> BTreeMap<usize, Answer>
where
    C: Fn(usize) -> A,
    A: Future<Output = Answer> + Send + 'static,
{
    let mut answers = BTreeMap::new();
    for chunk in (0..CALLS).collect::<Vec<_>>().chunks(AT_ONCE) {
        let running = chunk.iter().map(|&number| {
            let task = tokio::spawn(call(number));
            async move {
                if number % ONE_IN == 0 {
                    for _ in 0..number / ONE_IN % 40 {
                        tokio::task::yield_now().await;
                    }
                    task.abort();
                }
                (number, task.await.ok())
            }
        });
        answers.extend(join_all(running).await.into_iter().filter_map(|(at, answer)| Some((at, answer?))));
    }
    answers
}

/// Answers that came although nobody had dropped the call must all be there.
fn all_came(answers: &BTreeMap<usize, Answer>) {
    let missing: Vec<usize> = (0..CALLS).filter(|at| at % ONE_IN != 0 && !answers.contains_key(at)).collect();
    assert_eq!(missing, Vec::<usize>::new());
    assert!(answers.len() < CALLS, "not one call was dropped in time");
}

/// Two tenants share one HTTP/2 connection, a fifth of their calls is dropped mid-flight, and every answer that comes
/// is the answer to its own call, of its own tenant; no place among the requests stays taken.
#[tokio::test]
async fn no_reply_reaches_the_next_caller() {
    let world = World::new().await;
    let (one, two) = (world.tenant("one").await, world.tenant("two").await);
    let mut things = vec![];
    for number in 0..THINGS {
        for tenant in [&one, &two] {
            let code = format!("L{number}-{}", tenant.id);
            let made = tenant.rest.create("/v1/locations", &json!({"code": code, "name": code})).await;
            things.push((text(&made["id"]).to_owned(), code, format!("Bearer {}", tenant.key)));
        }
    }
    let things = Arc::new(things);
    let connection = Rest::new(&world.url, None).http2();
    let answers = storm(|number| {
        let (things, connection) = (Arc::clone(&things), connection.clone());
        async move {
            let (id, _, bearer) = &things[number * 7 % things.len()];
            let call = connection.call(Method::GET, format!("/v1/locations/{id}"));
            call.header("authorization", bearer).header("traceparent", &trace(number)).send().await
        }
    })
    .await;
    all_came(&answers);
    for (number, answer) in answers {
        let (id, code, _) = &things[number * 7 % things.len()];
        assert_eq!(answer.header("traceparent"), trace(number));
        let answer = answer.ok(200);
        assert_eq!((text(&answer.json["id"]), text(&answer.json["code"])), (id.as_str(), code.as_str()));
    }
    idle(&world).await;
    world.close().await;
}

/// What was dropped was done once or not at all, and its idempotency key says which: with it, every call of
/// the storm ends as one location of its own tenant.
#[tokio::test]
async fn what_was_dropped_is_done_once_or_not_at_all() {
    let world = World::new().await;
    let tenants = [world.tenant("one").await, world.tenant("two").await];
    let bearers: Arc<Vec<String>> =
        Arc::new(tenants.iter().map(|tenant| format!("Bearer {}", tenant.key)).collect());
    let connection = Rest::new(&world.url, None).http2();
    let call = |number: usize| {
        let (connection, bearers) = (connection.clone(), Arc::clone(&bearers));
        async move {
            let location = json!({"code": format!("S{number}"), "name": format!("storm {number}")});
            let call = connection.post("/v1/locations", &location).key(&format!("storm-{number}"));
            call.header("authorization", &bearers[number % 2])
                .header("traceparent", &trace(number))
                .send()
                .await
        }
    };
    let answers = storm(call).await;
    all_came(&answers);
    for (number, answer) in answers {
        assert_eq!(answer.header("traceparent"), trace(number));
        assert_eq!(answer.ok(201).json["code"], format!("S{number}"));
    }
    for number in (0..CALLS).step_by(ONE_IN) {
        assert_eq!(call(number).await.ok(201).json["code"], format!("S{number}"));
    }
    for (at, tenant) in tenants.iter().enumerate() {
        let mut codes: Vec<String> = vec![];
        let mut token = String::new();
        loop {
            let page: Value = tenant.rest.get(format!("/v1/locations?pageSize=500&pageToken={token}")).await;
            let stored = page["locations"].as_array().into_iter().flatten();
            codes.extend(stored.map(|location| text(&location["code"]).to_owned()));
            token = text(&page["nextPageToken"]).to_owned();
            if token.is_empty() {
                break;
            }
        }
        codes.retain(|code| code.starts_with('S'));
        codes.sort();
        let mut expected: Vec<String> = (at..CALLS).step_by(2).map(|number| format!("S{number}")).collect();
        expected.sort();
        assert_eq!(codes, expected);
    }
    idle(&world).await;
    world.close().await;
}

/// Waits until no request has a place any more.
async fn idle(world: &World) {
    while world.platform.gateway.in_flight() != 0 {
        tokio::task::yield_now().await;
    }
}
