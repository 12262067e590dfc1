//! When all places are taken, tenants take turns, and only who overloads is refused.

use std::cell::RefCell;
use std::pin::pin;

use futures::FutureExt as _;
use futures::future::join_all;
use gateway::Config;
use tonic::Code;

use crate::grpc;
use crate::world::{KEY, OTHER, World};

/// One place, and a spare one for a tenant that has none.
fn one_place() -> Config {
    Config { serving_max: 1, waiting_per_tenant_max: 1, ..Config::default() }
}

fn of(key: &str) -> String {
    format!("authorization: Bearer {key}")
}

/// API-13, shedding: of a tenant that takes all places, what is beyond its queue is told to come back; the other
/// tenant is answered.
#[tokio::test]
async fn only_who_overloads_is_refused() {
    let world = World::with(one_place());
    let first = world.post("hold", &[]);
    let then = async {
        world.state.held.notified().await;
        let mut second = pin!(world.post("", &[]));
        assert!((&mut second).now_or_never().is_none(), "it waits");
        assert_eq!(world.gateway.serving_and_waiting(), (1, 1));

        let third = world.problem(world.post("", &[]).await, 503, "OVERLOADED").await;
        assert_eq!(third.header("retry-after"), "1");
        let key = format!("Bearer {KEY}");
        let headers = [("authorization", key.as_str()), ("idempotency-key", "k")];
        let fourth = grpc::post(&world, "", &headers).await.unwrap_err();
        assert_eq!(grpc::reason(&fourth), (Code::Unavailable, "OVERLOADED".to_owned()));
        assert_eq!(world.gateway.shed(), 2);
        let wrong = world.send(http::Method::POST, "/v1/movements", &[], "{}").await;
        world.problem(wrong, 400, "IDEMPOTENCY_KEY_REQUIRED").await;

        assert_eq!(world.post("", &[&of(OTHER)]).await.status, 201);
        let other = format!("Bearer {OTHER}");
        let headers = [("authorization", other.as_str()), ("idempotency-key", "k")];
        grpc::post(&world, "", &headers).await.unwrap();
        world.state.release.notify_one();
        second.await
    };
    let (first, second) = tokio::join!(first, then);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
    assert_eq!((world.gateway.serving_and_waiting(), world.gateway.shed()), ((0, 0), 2));
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_told_to_come_back() {
    let world = World::with(Config { waiting_max_ms: 1, ..one_place() });
    let first = world.post("hold", &[]);
    let second = async {
        world.state.held.notified().await;
        world.problem(world.post("", &[]).await, 503, "OVERLOADED").await;
        assert_eq!(world.gateway.serving_and_waiting(), (1, 0));
        world.state.release.notify_one();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!((first.status.as_u16(), world.posted(), world.gateway.shed()), (201, 1, 1));
}

#[tokio::test]
async fn who_gives_up_leaves_the_queue_and_the_place() {
    let world = World::with(one_place());
    {
        let mut first = pin!(world.post("hold", &[]));
        assert!((&mut first).now_or_never().is_none());
        world.state.held.notified().await;
        {
            let mut second = pin!(world.post("", &[]));
            assert!((&mut second).now_or_never().is_none());
            assert_eq!(world.gateway.serving_and_waiting(), (1, 1));
        }
        assert_eq!(world.gateway.serving_and_waiting(), (1, 0), "who waited is gone");

        let mut third = Box::pin(world.post("", &[]));
        assert!((&mut third).now_or_never().is_none());
        world.state.release.notify_one();
        first.await;
        assert_eq!(world.gateway.serving_and_waiting(), (1, 0), "the place is handed on");
        drop(third);
    }
    assert_eq!(world.gateway.serving_and_waiting(), (0, 0), "who got a place and never knew is gone");
    assert_eq!(world.gateway.shed(), 0, "nobody was refused");
    assert_eq!(world.post("", &[]).await.status, 201);
}

/// The order of service: the few requests of a tenant do not wait for the many that another one sent before.
#[tokio::test]
async fn tenants_take_turns() {
    let world = World::with(Config { serving_max: 2, ..Config::default() });
    let order = RefCell::new(Vec::new());
    let keys = [vec![KEY; 100], vec![OTHER; 10]].concat();
    let calls = keys.into_iter().map(async |key| {
        let answer = world.post("slow", &[&of(key)]).await;
        order.borrow_mut().push(key);
        answer.status
    });
    assert!(join_all(calls).await.iter().all(|status| *status == 201));
    let order = order.into_inner();
    let last = order.iter().rposition(|key| *key == OTHER).unwrap();
    assert!(last < 30, "ten requests were done after {last} of a hundred and ten");
}

/// API-13: 500 calls at once of one key are all answered, also when they have to wait for two places.
#[tokio::test]
async fn five_hundred_at_once_are_answered() {
    let world = World::with(Config { serving_max: 2, ..Config::default() });
    let answers = join_all((0..500).map(|_| world.post("slow", &[]))).await;
    assert!(answers.iter().all(|answer| answer.status == 201));
    assert_eq!((world.posted(), world.gateway.shed()), (500, 0));
}
