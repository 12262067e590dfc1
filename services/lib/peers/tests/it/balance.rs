//! Who gets which call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use peers::{Peers, Settings};

use crate::world::{
    Caller, Kind, Load, Mood, Names, Start, With, addresses, connected, fixed, nodes, settings, until,
};

/// Who answers for each of `aggregates`, one after the other.
async fn owners(caller: &Caller, aggregates: u32) -> Vec<SocketAddr> {
    let mut owners = Vec::new();
    for number in 0..aggregates {
        owners.push(caller.read(&format!("pub_{number}"), With::default()).await.unwrap());
    }
    owners
}

fn hashed(settings: Settings) -> Settings {
    Settings { hash: vec!["catalog".to_owned()], ..settings }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_spread_over_all_processes() {
    let nodes = nodes(3).await;
    for node in &nodes {
        *node.mood.lock() = Mood::Answer(2);
    }
    let peers = Peers::new(&fixed(&addresses(&nodes))).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    connected(&peers, 3).await;
    let load = Load::start(&caller, Kind::Read, 16);
    load.more(3_000).await;
    assert!(load.end().await.is_empty());
    let calls: Vec<_> = nodes.iter().map(|node| node.calls()).collect();
    assert!(calls.iter().all(|count| *count > 400), "{calls:?}");
    let counts = peers.counts()["catalog"];
    assert!(counts.calls > 3_000 && counts.retries == 0 && counts.in_flight == 0, "{counts:?}");
    assert_eq!((counts.endpoints_known, counts.endpoints_usable), (3, 3));
}

/// With two choices the slow one has about as many calls under way as the others, and so gets few.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_process_gets_fewer_calls() {
    let nodes = nodes(3).await;
    for (node, ms) in nodes.iter().zip([150, 1, 1]) {
        *node.mood.lock() = Mood::Answer(ms);
    }
    let peers = Peers::new(&fixed(&addresses(&nodes))).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    connected(&peers, 3).await;
    let load = Load::start(&caller, Kind::Read, 16);
    load.more(2_000).await;
    assert!(load.end().await.is_empty());
    let calls: Vec<_> = nodes.iter().map(|node| node.calls()).collect();
    assert!(calls[0] * 2 < calls[1] && calls[0] * 2 < calls[2], "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_stays_with_its_process_and_few_move_when_one_comes() {
    let nodes = nodes(5).await;
    let names = Arc::<Names>::default();
    names.say("catalog", addresses(&nodes[..4]));
    let resolver = Arc::clone(&names);
    let peers = Peers::with_resolver(&hashed(settings(&["catalog:7000"])), resolver).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    connected(&peers, 4).await;
    let before = owners(&caller, 400).await;
    assert_eq!(before, owners(&caller, 400).await);
    // Another process of the cluster comes to the same result.
    let other = Peers::new(&hashed(fixed(&addresses(&nodes[..4])))).unwrap();
    let also = Caller::new(&other);
    also.read("pub_1", With::default()).await.unwrap();
    connected(&other, 4).await;
    assert_eq!(before, owners(&also, 400).await);

    names.say("catalog", addresses(&nodes));
    connected(&peers, 5).await;
    let after = owners(&caller, 400).await;
    let moved: Vec<_> =
        before.iter().zip(&after).filter(|(old, new)| old != new).map(|(_, new)| *new).collect();
    // 80 are expected; six times the standard deviation of 8.
    assert!((32..128).contains(&moved.len()), "{} of 400 moved", moved.len());
    assert!(moved.iter().all(|new| *new == nodes[4].address), "only the new one gets any");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_that_everybody_wants_spills_over() {
    let nodes = nodes(4).await;
    for node in &nodes {
        *node.mood.lock() = Mood::Hang;
    }
    let peers = Peers::new(&Settings { hash_load_min: 0, ..hashed(fixed(&addresses(&nodes))) }).unwrap();
    let caller = Caller::new(&peers);
    let list = || async { caller.list().await.unwrap() };
    list().await;
    connected(&peers, 4).await;
    let calls: Vec<_> = (0..80)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.read("pub_hot", With::default()).await })
        })
        .collect();
    let under_way = || nodes.iter().map(|node| node.seen.under_way.load(Ordering::SeqCst)).sum::<usize>();
    until("all calls are under way", || under_way() == 80).await;
    let mut shares: Vec<_> = nodes.iter().map(|node| node.seen.under_way.load(Ordering::SeqCst)).collect();
    shares.sort_unstable();
    // ceil(1.25 * 80 / 4); two threads that choose at the same moment may both take the last place.
    assert!(shares[3] <= 27, "{shares:?}");
    assert!(shares[3] >= 23, "the one that is liked has its share first: {shares:?}");
    for call in calls {
        call.abort();
    }
    until("what nobody waits for is dropped", || under_way() == 0).await;
    assert_eq!(peers.counts()["catalog"].in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_little_load_does_not_part_an_aggregate() {
    let nodes = nodes(4).await;
    for node in &nodes {
        *node.mood.lock() = Mood::Answer(5);
    }
    let peers = Peers::new(&hashed(fixed(&addresses(&nodes)))).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    connected(&peers, 4).await;
    let answers = join_all((0..40).map(|_| caller.read("pub_hot", With::default()))).await;
    let by: BTreeMap<SocketAddr, u32> = answers.into_iter().fold(BTreeMap::new(), |mut by, answer| {
        *by.entry(answer.unwrap()).or_default() += 1;
        by
    });
    assert_eq!(by.len(), 1, "{by:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_gets_its_share() {
    let nodes = nodes(3).await;
    for node in &nodes {
        *node.mood.lock() = Mood::Answer(2);
    }
    let names = Arc::<Names>::default();
    names.say("catalog", addresses(&nodes[..2]));
    let resolver = Arc::clone(&names);
    let peers = Peers::with_resolver(&settings(&["catalog:7000"]), resolver).unwrap();
    let load = Load::start(&Caller::new(&peers), Kind::Read, 12);
    load.more(500).await;
    assert_eq!(nodes[2].calls(), 0);
    names.say("catalog", addresses(&nodes));
    connected(&peers, 3).await;
    let before: Vec<_> = nodes.iter().map(|node| node.calls()).collect();
    load.more(3_000).await;
    assert!(load.end().await.is_empty());
    let calls: Vec<_> = nodes.iter().zip(before).map(|(node, before)| node.calls() - before).collect();
    assert!(calls.iter().all(|count| *count > 400), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_when_an_address_goes() {
    let nodes = nodes(3).await;
    for node in &nodes {
        *node.mood.lock() = Mood::Answer(3);
    }
    let names = Arc::<Names>::default();
    names.say("catalog", addresses(&nodes));
    let resolver = Arc::clone(&names);
    let peers = Peers::with_resolver(&settings(&["catalog:7000"]), resolver).unwrap();
    let load = Load::start(&Caller::new(&peers), Kind::Write, 32);
    load.more(1_000).await;
    connected(&peers, 3).await;
    for gone in (0..3).chain(0..3) {
        let others = nodes.iter().map(|node| node.address).filter(|address| *address != nodes[gone].address);
        names.say("catalog", others.collect());
        let is_gone = || peers.endpoints("catalog").iter().all(|known| known.address != nodes[gone].address);
        until("the address is forgotten", is_gone).await;
        let seen = &nodes[gone].seen;
        until("its calls end", || seen.under_way.load(Ordering::SeqCst) == 0).await;
        let calls = nodes[gone].calls();
        load.more(600).await;
        // Each caller may have had one on its way there; otherwise it would have had 200.
        assert!(nodes[gone].calls() <= calls + 32, "{} after {calls}", nodes[gone].calls());
        names.say("catalog", addresses(&nodes));
        connected(&peers, 3).await;
    }
    assert!(load.done() > 2_000);
    let failed = load.end().await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(nodes.iter().map(|node| node.seen.dropped.load(Ordering::SeqCst)).sum::<usize>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_fails_cuts_nobody_off() {
    let nodes = nodes(2).await;
    let names = Arc::<Names>::default();
    names.say("catalog", addresses(&nodes));
    let resolver = Arc::clone(&names);
    let peers = Peers::with_resolver(&settings(&["catalog:7000"]), resolver).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    *names.fails.lock() = true;
    names.was_heard().await;
    assert_eq!(peers.endpoints("catalog").len(), 2);
    caller.read("pub_2", With::default()).await.unwrap();
    *names.fails.lock() = false;
    names.say("catalog", vec![]);
    names.was_heard().await;
    assert_eq!(peers.endpoints("catalog").len(), 2);
    caller.read("pub_3", With::default()).await.unwrap();
}

/// The first call waits for the name.
#[tokio::test(flavor = "multi_thread")]
async fn the_system_resolves_names() {
    let node = Start::default().run().await;
    let peers = Peers::new(&settings(&[&format!("localhost:{}", node.address.port())])).unwrap();
    assert_eq!(Caller::new(&peers).read("pub_1", With::default()).await.unwrap(), node.address);
}

/// The role is the service's, unless the caller names one.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_can_be_called_by_its_name() {
    let nodes = nodes(2).await;
    let mut settings = fixed(&[nodes[0].address]);
    settings.services.insert("stock".to_owned(), vec![nodes[1].address.to_string()]);
    let peers = Peers::new(&settings).unwrap();
    let by_service = Caller::new(&peers).read("pub_1", With::default()).await.unwrap();
    let by_name = Caller::over(peers.role("stock")).read("pub_1", With::default()).await.unwrap();
    assert_eq!((by_service, by_name), (nodes[0].address, nodes[1].address));
}
