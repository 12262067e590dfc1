//! Processes that end in good order, and connections that end by age.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peers::{Peers, ServeSettings};

use crate::world::{Caller, Kind, Load, Mood, Node, Start, With, addresses, connected, fixed, nodes, until};

fn none_twice(seen: &[Arc<crate::world::Seen>]) {
    let mut all = std::collections::HashMap::<String, u32>::new();
    for seen in seen {
        for (id, times) in seen.begun.lock().iter() {
            *all.entry(id.clone()).or_default() += times;
        }
    }
    let twice: Vec<_> = all.iter().filter(|(id, times)| id.starts_with("Write") && **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// All processes are replaced one after the other under load, with calls that must not be made twice.
///
/// So few calls fit on a connection that many wait for their turn when it is told to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_call() {
    let serve = ServeSettings { streams_max: 4, ..ServeSettings::default() };
    let start = |address| Start { serve: serve.clone(), mood: Mood::Answer(2), ..Start::at(address) };
    let mut nodes = Vec::new();
    for at in 1..=3 {
        nodes.push(start(SocketAddr::from(([127, 0, 0, at], 0))).run().await);
    }
    let peers = Peers::new(&fixed(&addresses(&nodes))).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    connected(&peers, 3).await;
    let loads = [Kind::Read, Kind::KeyedWrite, Kind::Write].map(|kind| Load::start(&caller, kind, 16));
    let mut seen: Vec<_> = nodes.iter().map(|node| Arc::clone(&node.seen)).collect();
    for turn in 0..6 {
        for load in &loads {
            load.more(100).await;
        }
        let mut old: Node = nodes.remove(0);
        let address = old.address;
        assert_eq!(old.end().await, 0, "nothing is cut off in turn {turn}");
        let new = start(address).run().await;
        seen.push(Arc::clone(&new.seen));
        nodes.push(new);
        connected(&peers, 3).await;
    }
    for load in loads {
        let failed = load.end().await;
        assert!(failed.is_empty(), "{failed:?}");
    }
    none_twice(&seen);
    assert!(seen.iter().all(|seen| seen.calls.load(Ordering::SeqCst) > 0), "each had its share");
    assert_eq!(seen.iter().map(|seen| seen.dropped.load(Ordering::SeqCst)).sum::<usize>(), 0);
    let counts = peers.counts()["catalog"];
    assert_eq!((counts.lost, counts.unreachable, counts.too_late), (0, 0, 0), "{counts:?}");
    assert!(counts.moves > 0, "calls were on their way to those that ended: {counts:?}");
}

/// With a single process its connections are the only ones: they end and come again, and no call notices.
#[tokio::test(flavor = "multi_thread")]
async fn old_connections_are_replaced_under_load() {
    let serve = ServeSettings { connection_age_ms: 1_100, streams_max: 8, ..ServeSettings::default() };
    let node = Start { serve, mood: Mood::Answer(2), ..Start::default() }.run().await;
    let peers = Peers::new(&fixed(&[node.address])).unwrap();
    let load = Load::start(&Caller::new(&peers), Kind::Write, 32);
    until("three connections end", || peers.counts()["catalog"].moves >= 3).await;
    load.more(100).await;
    let failed = load.end().await;
    assert!(failed.is_empty(), "{failed:?}");
    none_twice(&[Arc::clone(&node.seen)]);
    assert_eq!(node.seen.dropped.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_answers_what_it_has_and_takes_nothing_new() {
    let nodes = nodes(2).await;
    for node in &nodes {
        *node.mood.lock() = Mood::Answer(300);
    }
    let peers = Peers::new(&fixed(&[nodes[0].address])).unwrap();
    let caller = Caller::new(&peers);
    let call = {
        let caller = caller.clone();
        tokio::spawn(async move { caller.write("pub_1", With::default()).await })
    };
    let seen = Arc::clone(&nodes[0].seen);
    until("it is under way", || seen.under_way.load(Ordering::SeqCst) == 1).await;
    let address = nodes[0].address;
    let mut node = nodes.into_iter().next().unwrap();
    let ending = tokio::spawn(async move { node.end().await });
    until("it takes no connections", || std::net::TcpStream::connect(address).is_err()).await;
    assert_eq!(call.await.unwrap().unwrap(), address);
    assert_eq!(ending.await.unwrap(), 0);
    assert!(caller.write("pub_2", With::default()).await.is_err());
    assert_eq!(seen.calls.load(Ordering::SeqCst), 1);
}

/// The end comes at the deadline, whatever is under way.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_answered_in_time_is_cut_off() {
    let drain = Duration::from_millis(300);
    let mut node = Start { mood: Mood::Hang, drain, ..Start::default() }.run().await;
    let peers = Peers::new(&fixed(&[node.address])).unwrap();
    let caller = Caller::new(&peers);
    let calls: Vec<_> = (0..3)
        .map(|call| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.write(&call.to_string(), With::default()).await })
        })
        .collect();
    let seen = Arc::clone(&node.seen);
    until("they are under way", || seen.under_way.load(Ordering::SeqCst) == 3).await;
    let begun = Instant::now();
    assert_eq!(node.end().await, 3);
    let took = begun.elapsed();
    assert!(took >= drain && took < Duration::from_secs(3), "{took:?}");
    until("the handlers are gone", || seen.under_way.load(Ordering::SeqCst) == 0).await;
    for call in calls {
        // They may have been done: nobody says that they were not.
        assert_eq!(call.await.unwrap().unwrap_err().code(), tonic::Code::DeadlineExceeded);
    }
}

/// An old connection has a grace of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_outlives_its_connection_is_cut_off() {
    let serve =
        ServeSettings { connection_age_ms: 200, connection_grace_ms: 200, ..ServeSettings::default() };
    let node = Start { serve, mood: Mood::Hang, ..Start::default() }.run().await;
    let peers = Peers::new(&fixed(&[node.address])).unwrap();
    let begun = Instant::now();
    let status = Caller::new(&peers).write("pub_1", With::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(380) && took < Duration::from_secs(3), "{took:?}");
}

/// Further connections wait for a place.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded() {
    let serve = ServeSettings { connections_max: 1, ..ServeSettings::default() };
    let node = Start { serve, ..Start::default() }.run().await;
    let settings = peers::Settings { connect_within_ms: 300, ..fixed(&[node.address]) };
    let (first, second) = (Peers::new(&settings).unwrap(), Peers::new(&settings).unwrap());
    Caller::new(&first).read("pub_1", With::default()).await.unwrap();
    let refused = Caller::new(&second).read("pub_2", With::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    first.close().await;
    drop(first);
    let caller = Caller::new(&second);
    connected(&second, 1).await;
    caller.read("pub_3", With::default()).await.unwrap();
}

/// Whoever connects and says nothing holds nobody up.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_does_not_delay_the_end() {
    let mut node = Start::default().run().await;
    let _silent = tokio::net::TcpStream::connect(node.address).await.unwrap();
    // A second one that is answered: the first has been taken by then.
    let peers = Peers::new(&fixed(&[node.address])).unwrap();
    Caller::new(&peers).read("pub_1", With::default()).await.unwrap();
    let begun = Instant::now();
    assert_eq!(node.end().await, 0);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
