//! Processes that are away, die, refuse or hang.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peers::{Peers, Settings};
use proto::catalog::v1::publication_service_client::PublicationServiceClient;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::world::{
    Caller, Kind, Load, Mood, Names, PATIENCE, Seen, Start, With, addresses, connected, fixed, nodes,
    nowhere, settings, until,
};

/// How often each call began, at all processes together.
fn begun<'a>(seen: impl IntoIterator<Item = &'a Arc<Seen>>) -> HashMap<String, u32> {
    let mut all = HashMap::new();
    for seen in seen {
        for (id, times) in seen.begun.lock().iter() {
            *all.entry(id.clone()).or_default() += times;
        }
    }
    all
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// One of three dies under load: calls that may be repeated all succeed, the others are never made twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_dies_under_load() {
    let mut nodes = nodes(3).await;
    for node in &nodes {
        *node.mood.lock() = Mood::Answer(4);
    }
    let peers = Peers::new(&fixed(&addresses(&nodes))).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    connected(&peers, 3).await;
    let loads = [Kind::Read, Kind::KeyedWrite, Kind::Write].map(|kind| Load::start(&caller, kind, 12));
    for load in &loads {
        load.more(300).await;
    }
    let dying = Arc::clone(&nodes[1].seen);
    until("it has calls of each kind", || dying.under_way.load(Ordering::SeqCst) >= 6).await;
    let dead = nodes.remove(1).kill().await;
    for load in &loads {
        load.more(600).await;
    }
    let [reads, keyed, writes] = loads;
    let (reads, keyed) = (reads.end().await, keyed.end().await);
    assert!(reads.is_empty(), "{reads:?}");
    assert!(keyed.is_empty(), "{keyed:?}");
    let lost = writes.end().await;
    // Those that were under way there, and no others.
    assert!(lost.len() <= 12, "{lost:?}");
    for (_, status) in &lost {
        assert_eq!(
            (status.code(), &*reason(status)),
            (Code::DeadlineExceeded, "OUTCOME_UNKNOWN"),
            "{status:?}"
        );
    }
    let times = begun([&nodes[0].seen, &nodes[1].seen, &dead]);
    let twice: Vec<_> = times.iter().filter(|(id, times)| id.starts_with("Write") && **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let counts = peers.counts()["catalog"];
    assert!(counts.retries > 0, "it died with calls under way: {counts:?}");
    assert_eq!(counts.lost, u64::try_from(lost.len()).unwrap());
    assert_eq!((counts.endpoints_known, counts.endpoints_usable), (3, 2));
    let states = peers.endpoints("catalog");
    let away = states.iter().find(|state| !state.is_connected).unwrap();
    assert!(away.why.is_some(), "{states:?}");
}

/// It comes back at the same address and is found without anybody who asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_comes_back_is_used_again() {
    let mut nodes = nodes(2).await;
    let peers = Peers::new(&fixed(&addresses(&nodes))).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    connected(&peers, 2).await;
    let address = nodes[0].address;
    nodes.remove(0).kill().await;
    until("it is set aside", || peers.counts()["catalog"].endpoints_usable == 1).await;
    caller.read("pub_2", With::default()).await.unwrap();
    let _back = Start::at(address).run().await;
    connected(&peers, 2).await;
    assert!(peers.endpoints("catalog").iter().all(|state| state.why.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let peers = Peers::new(&fixed(&[nowhere(), nowhere()])).unwrap();
    let caller = Caller::new(&peers);
    let begun = Instant::now();
    let status = caller.write("pub_1", With::default()).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((status.code(), &*reason(&status)), (Code::Unavailable, "UNAVAILABLE"));
    assert_eq!(status.message(), "no process of 'catalog' answers, try again");
    let counts = peers.counts()["catalog"];
    assert_eq!((counts.unreachable, counts.endpoints_usable), (1, 0), "{counts:?}");
    let why = peers.endpoints("catalog")[0].why.clone().unwrap();
    assert!(why.contains("refused"), "{why}");
    // All are set aside, and are tried all the same.
    assert_eq!(caller.read("pub_1", With::default()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_addresses_is_answered_at_once_and_again_when_it_has_some() {
    let node = Start::default().run().await;
    let names = Arc::<Names>::default();
    let resolver = Arc::clone(&names);
    let peers = Peers::with_resolver(&settings(&["catalog:7000"]), resolver).unwrap();
    let caller = Caller::new(&peers);
    let begun = Instant::now();
    assert_eq!(caller.read("pub_1", With::default()).await.unwrap_err().code(), Code::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(2));
    names.say("catalog", vec![node.address]);
    until("it is known", || peers.counts()["catalog"].endpoints_known == 1).await;
    assert_eq!(caller.read("pub_1", With::default()).await.unwrap(), node.address);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_the_settings_do_not_name() {
    let peers = Peers::new(&Settings::default()).unwrap();
    let status = Caller::new(&peers).read("pub_1", With::default()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "no process of 'catalog' answers, try again")
    );
    // And one that no role answers.
    let remote = peers.remote();
    let request = http::Request::new(tonic::body::Body::empty());
    let answer = remote.call(request).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "12");
}

/// The system of the other side takes connections, its process does not: nothing is sent to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_says_nothing_is_no_process() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = Start::at(SocketAddr::from(([127, 0, 0, 2], 0))).run().await;
    let mute = listener.local_addr().unwrap();
    let connect_within_ms = 200;
    let alone = Peers::new(&Settings { connect_within_ms, ..fixed(&[mute]) }).unwrap();
    let status = Caller::new(&alone).write("pub_1", With::default()).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::Unavailable, "UNAVAILABLE"));
    let why = alone.endpoints("catalog")[0].why.clone();
    assert_eq!(why.as_deref(), Some("no connection within 200 ms"));

    let both = Peers::new(&Settings { connect_within_ms, ..fixed(&[mute, node.address]) }).unwrap();
    let load = Load::start(&Caller::new(&both), Kind::Write, 8);
    load.more(500).await;
    let failed = load.end().await;
    assert!(failed.is_empty(), "{failed:?}");
    let moves = both.counts()["catalog"].moves;
    assert!(moves <= 16, "whoever is connected comes first: {moves} of 500 calls waited for the other");
}

/// It greets and ends the connection, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_drops_connections_is_asked_less_and_less() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            // An empty SETTINGS frame, then the end.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let peers = Peers::new(&fixed(&[address])).unwrap();
    let status = Caller::new(&peers).read("pub_1", With::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    until("it is tried a few times", || taken.load(Ordering::SeqCst) > 4).await;
    let (begun, before) = (Instant::now(), taken.load(Ordering::SeqCst));
    until("it is tried once more", || taken.load(Ordering::SeqCst) > before).await;
    assert!(begun.elapsed() > Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hangs_is_left_at_the_deadline() {
    let node = Start { mood: Mood::Hang, ..Start::default() }.run().await;
    let peers = Peers::new(&Settings { call_within_ms: 300, ..fixed(&[node.address]) }).unwrap();
    let caller = Caller::new(&peers);
    for (within, ms) in [(Some(Duration::from_millis(150)), 150), (None, 300)] {
        let begun = Instant::now();
        let status = caller.read("pub_1", With { within, ..With::default() }).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::DeadlineExceeded, "OUTCOME_UNKNOWN"));
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(ms) && took < Duration::from_secs(2), "{took:?}");
        let told = node.seen.last_timeout_ms.load(Ordering::SeqCst);
        assert!(told > 0 && u64::from(told) <= ms, "the other side knows when to stop: {told}");
    }
    // And it stops.
    until("nothing is under way", || node.seen.under_way.load(Ordering::SeqCst) == 0).await;
    assert_eq!(peers.counts()["catalog"].too_late, 2);
    assert_eq!(peers.counts()["catalog"].in_flight, 0);
}

/// When everybody refuses, retries stay within the budget: calls are not multiplied.
#[tokio::test(flavor = "multi_thread")]
async fn the_budget_bounds_what_is_sent_again() {
    let nodes = nodes(3).await;
    for node in &nodes {
        *node.mood.lock() = Mood::Unavailable;
    }
    let settings = Settings { retries_per_second_min: 0, ..fixed(&addresses(&nodes)) };
    let peers = Peers::new(&settings).unwrap();
    let load = Load::start(&Caller::new(&peers), Kind::Read, 8);
    load.more(4_000).await;
    let failed = load.end().await;
    assert!(failed.len() >= 4_000);
    // The words are those of the service.
    assert!(
        failed.iter().all(|(_, status)| status.code() == Code::Unavailable && status.message() == "not now")
    );
    let (sent, counts) = (nodes.iter().map(|node| node.calls()).sum::<usize>(), peers.counts()["catalog"]);
    let sent = u64::try_from(sent).unwrap();
    assert_eq!(sent, counts.calls + counts.retries);
    assert!(counts.retries > 0 && counts.retries * 10 <= counts.calls, "{counts:?}");
    assert!(counts.budget_refusals > 0, "{counts:?}");
}

/// One of three refuses: what may be repeated finds another, what may not is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_refuses_is_gone_round() {
    let nodes = nodes(3).await;
    *nodes[0].mood.lock() = Mood::Unavailable;
    let settings = Settings { retries_per_second_min: 1_000, ..fixed(&addresses(&nodes)) };
    let peers = Peers::new(&settings).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    connected(&peers, 3).await;
    for kind in [Kind::Read, Kind::KeyedWrite, Kind::Write] {
        let load = Load::start(&caller, kind, 4);
        let before = nodes[0].calls();
        until("it gets some calls", || nodes[0].calls() > before + 20).await;
        let failed = load.end().await;
        match kind {
            Kind::Write => assert!(failed.len() > 20, "{}", failed.len()),
            Kind::Read | Kind::KeyedWrite => assert!(failed.is_empty(), "{failed:?}"),
        }
    }
    let times = begun(nodes.iter().map(|node| &node.seen));
    assert!(times.iter().all(|(id, times)| !id.starts_with("Write") || *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_long_to_keep_is_sent_once() {
    let node = Start { mood: Mood::Unavailable, ..Start::default() }.run().await;
    let peers = Peers::new(&Settings { retry_bytes_max: 1_000, ..fixed(&[node.address]) }).unwrap();
    let caller = Caller::new(&peers);
    let (long, short) = ("l".repeat(100_000), "s".repeat(100));
    for id in [&long, &short] {
        let status = caller.write(id, With { key: Some("k"), ..With::default() }).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
    }
    let times = begun([&node.seen]);
    assert_eq!((times[&long], times[&short]), (1, 3));
    *node.mood.lock() = Mood::Answer(0);
    caller.write(&long, With::default()).await.unwrap();
}

/// Longer than what is kept of an answer: passed on while it is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_comes_through() {
    let node = Start::default().run().await;
    let peers = Peers::new(&fixed(&[node.address])).unwrap();
    assert_eq!(Caller::new(&peers).list().await.unwrap(), 60);
    assert_eq!(peers.counts()["catalog"].in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_nobody_is_called() {
    let node = Start { mood: Mood::Answer(100), ..Start::default() }.run().await;
    let peers = Peers::new(&fixed(&[node.address])).unwrap();
    let caller = Caller::new(&peers);
    let last = tokio::spawn({
        let caller = caller.clone();
        async move { caller.read("pub_1", With::default()).await }
    });
    until("it is under way", || node.seen.under_way.load(Ordering::SeqCst) == 1).await;
    let closed = tokio::time::timeout(PATIENCE, peers.close());
    closed.await.expect("it ends when its calls have");
    assert_eq!(last.await.unwrap().unwrap(), node.address);
    assert_eq!(caller.read("pub_2", With::default()).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(node.calls(), 1);
}

/// A client whose encoder fails is told so in its own words.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_encoded_is_not_sent() {
    let node = Start::default().run().await;
    let peers = Peers::new(&fixed(&[node.address])).unwrap();
    let client = PublicationServiceClient::new(rpc::remote(peers.remote()));
    let mut client = client.max_encoding_message_size(8);
    let asked = proto::catalog::v1::GetPublicationRequest { publication_id: "p".repeat(100) };
    assert_eq!(client.get_publication(asked).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(node.calls(), 0);
}

/// Names are asked at once when a connection is lost, however rarely otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_a_reason_to_ask_again() {
    let mut nodes = nodes(2).await;
    let names = Arc::<Names>::default();
    names.say("catalog", vec![nodes[0].address]);
    let resolver = Arc::clone(&names);
    let settings = Settings { resolve_every_ms: 600_000, ..settings(&["catalog:7000"]) };
    let peers = Peers::with_resolver(&settings, resolver).unwrap();
    let caller = Caller::new(&peers);
    caller.read("pub_1", With::default()).await.unwrap();
    names.say("catalog", vec![nodes[1].address]);
    nodes.remove(0).kill().await;
    until("the new address is known", || {
        peers.endpoints("catalog").iter().all(|known| known.address == nodes[0].address)
    })
    .await;
    assert_eq!(caller.read("pub_2", With::default()).await.unwrap(), nodes[0].address);
}

/// Calls that have nobody else ask it all the time; that does not make it wait longer.
#[tokio::test(flavor = "multi_thread")]
async fn calls_do_not_prolong_the_time_that_a_process_is_set_aside() {
    let (first, second) = (nowhere(), nowhere());
    let peers = Peers::new(&fixed(&[first, second])).unwrap();
    let load = Load::start(&Caller::new(&peers), Kind::Read, 4);
    load.more(40).await;
    assert!(load.end().await.len() >= 40);
    let _back = [Start::at(first).run().await, Start::at(second).run().await];
    let begun = Instant::now();
    connected(&peers, 2).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
