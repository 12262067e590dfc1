//! Servers go away, forget, and lose a node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use events::Bus as _;
use events_nats::{Config, NatsBus};
use futures::future::join_all;
use journal::SystemEnv;
use journal::memory::MemoryStore;
use journal::relay::{Owner, Publish};
use journal::store::{Outcome, Store};

use crate::server::{Server, connected};
use crate::world::{
    Journals, Kept, Running, SERVICE, Service, TENANT, aggregate, append, consumer, eventually, run,
    run_relay, within,
};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Writes `rate` entries a second over `aggregates` aggregates for a while, none of which may fail. Gives back how many,
/// and the longest time that one took.
async fn write(owner: &Arc<Owner>, store: &Arc<MemoryStore>, rate: u64, seconds: u64) -> (u64, Duration) {
    const AGGREGATES: u64 = 2_000;
    let begin = tokio::time::Instant::now();
    let mut longest = Duration::ZERO;
    let count = rate * seconds;
    for at in 0..count {
        tokio::time::sleep_until(begin + Duration::from_micros(at * 1_000_000 / rate)).await;
        let asked = Instant::now();
        assert_eq!(append(owner, &**store, at * 7919 % AGGREGATES, "text").await, Outcome::Applied);
        longest = longest.max(asked.elapsed());
    }
    (count, longest)
}

/// The bus is killed while writes go on: none fails or waits, and what piled up is there soon after it is back.
///
/// `NATS_AWAY_S=600 NATS_AWAY_RATE=200` is the run that is promised; by default it is a short one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_while_the_bus_is_away_and_the_backlog_drains() {
    const DRAIN_MAX: Duration = Duration::from_secs(120);
    let (away, rate) = (number("NATS_AWAY_S", 4), number("NATS_AWAY_RATE", 400));
    let mut server = Server::start();
    let bus = server.bus().await;
    let (store, sink) = (Arc::new(MemoryStore::cluster()), Arc::new(Kept::default()));
    let sinks: Vec<Arc<dyn Publish>> = vec![bus.publisher(SERVICE, 1).expect("a name")];
    let owner = Owner::new(Arc::clone(&store) as _, Arc::new(SystemEnv), sinks);
    let relaying = {
        let owner = Arc::clone(&owner);
        Running::new(|stop| async move { owner.run(stop).await })
    };
    let journal = Journals::of(Arc::clone(&store) as _);
    let consumer = consumer(&bus, &journal, &sink);
    consumer.catch_up().await.expect("answers");
    let running = run(&consumer);
    let (before, _) = write(&owner, &store, rate, 1).await;
    eventually("what came before", async || sink.count() as u64 == before).await;
    let compared = journal.compared();

    server.kill();
    let (during, longest) = write(&owner, &store, rate, away).await;
    assert!((sink.count() as u64) < before + during, "nobody could hear of it");
    server.up();
    let all = before + during;
    let drained = within("the backlog", DRAIN_MAX, async || sink.count() as u64 == all).await;
    println!(
        "{during} entries in {away} s without a bus, none failed, the slowest took {longest:?}; drained in {drained:?}"
    );
    sink.assert_equals(&*store).await;
    assert_eq!(journal.compared(), compared, "the messages told of everything");
    running.stop().await;
    relaying.stop().await;
}

/// The same on a store that one process owns: its feed waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_waits_for_the_bus() {
    let mut server = Server::start();
    let bus = server.bus().await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let relaying = run_relay(service.relay(&bus));
    let journal = service.journal();
    let running = run(&consumer(&bus, &journal, &sink));
    service.write(1, "before").await;
    eventually("the first effect", async || sink.count() == 1).await;
    server.kill();
    for to in 0..500 {
        service.write(to, "during").await;
    }
    let compared = journal.compared();
    server.up();
    eventually("every effect", async || sink.count() == 501).await;
    sink.assert_equals(&*service.store).await;
    assert!(journal.compared() <= compared + 1, "{} {compared}", journal.compared());
    running.stop().await;

    // A relay that starts again goes on where the last message says that it was.
    relaying.stop().await;
    service.write(7, "after").await;
    let again = service.relay(&bus);
    let compared = journal.compared();
    while again.step().await.expect("relays") {}
    let consumer = consumer(&bus, &journal, &sink);
    eventually("one more effect", async || {
        consumer.catch_up().await.expect("answers");
        sink.count() == 502
    })
    .await;
    assert_eq!(journal.compared(), compared);
}

/// A feed that would grow without end is given up, and everybody compares.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_not_kept_for_ever() {
    let mut server = Server::start();
    let bus = server.bus().await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let relay = service.relay(&bus).behind_max(100);
    while relay.step().await.expect("relays") {}
    let journal = service.journal();
    let consumer = consumer(&bus, &journal, &sink);
    consumer.catch_up().await.expect("answers");
    server.kill();
    for to in 0..2_000 {
        service.write(to, "during").await;
    }
    assert!(relay.step().await.is_err());
    let feed = journal::feed::FeedStore::feed(&*service.store, 0, 1).await.expect("a feed");
    assert_eq!(feed.forgotten, feed.last, "the feed is forgotten");
    server.up();
    let compared = journal.compared();
    eventually("the relay", async || matches!(relay.step().await, Ok(false))).await;
    eventually("every effect", async || consumer.catch_up().await.is_ok() && sink.count() == 2_000).await;
    assert_eq!(journal.compared(), compared + 1);
    sink.assert_equals(&*service.store).await;
}

async fn wipe(server: &Server) {
    server.admin().await.delete_stream("cp-test-stock").await.expect("deletes");
}

/// The stream is deleted under a running consumer, with messages that nobody heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_wiped_under_a_running_consumer_converges() {
    let server = Server::start();
    let bus = server.bus().await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let relay = service.relay(&bus);
    assert_eq!(relay.step().await, Ok(true), "it says where it begins");
    let relaying = run_relay(relay);
    let journal = service.journal();
    let running = run(&consumer(&bus, &journal, &sink));
    for round in 1..=3 {
        let before = sink.count();
        {
            // The consumer is held up, the bus has everything, and loses it.
            let _closed = sink.gate.lock().await;
            for to in 0..100 {
                service.write(to, "text").await;
            }
            let admin = server.admin().await;
            eventually("the messages", async || {
                let stream = admin.get_stream("cp-test-stock").await;
                stream.is_ok_and(|stream| stream.cached_info().state.messages >= 100)
            })
            .await;
            wipe(&server).await;
        }
        eventually("what was wiped", async || sink.count() == before + 100).await;
        service.write(7, &format!("after {round}")).await;
        eventually("what came after", async || sink.count() == before + 101).await;
    }
    sink.assert_equals(&*service.store).await;
    running.stop().await;
    relaying.stop().await;
}

/// The stream is deleted and made anew, with more messages than the first one had, while the consumer is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_wiped_while_the_consumer_is_away_converges() {
    let server = Server::start();
    let bus = server.bus().await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let relay = service.relay(&bus);
    let relays = async || while relay.step().await.expect("relays") {};
    let journal = service.journal();
    let first = consumer(&bus, &journal, &sink);
    first.catch_up().await.expect("answers");
    service.write(1, "heard").await;
    relays().await;
    eventually("one effect", async || first.catch_up().await.is_ok() && sink.count() == 1).await;
    drop(first);

    service.write(2, "never heard").await;
    relays().await;
    wipe(&server).await;
    for to in 3..60 {
        service.write(to, "after").await;
        relays().await;
    }
    let compared = journal.compared();
    let second = consumer(&server.bus().await, &journal, &sink);
    eventually("all", async || second.catch_up().await.is_ok() && sink.count() == 59).await;
    assert_eq!(journal.compared(), compared + 1);
    sink.assert_equals(&*service.store).await;
}

/// The stream is wiped, and the process that makes it and its durable consumer anew dies before it has compared: the next one
/// sees from its position that this is another stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_another_process_made_anew_is_another_one() {
    let server = Server::start();
    let bus = server.bus().await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let relay = service.relay(&bus);
    let relays = async || while relay.step().await.expect("relays") {};
    relays().await;
    let journal = service.journal();
    let first = consumer(&bus, &journal, &sink);
    first.catch_up().await.expect("answers");
    service.write(1, "heard").await;
    relays().await;
    eventually("one effect", async || first.catch_up().await.is_ok() && sink.count() == 1).await;
    drop(first);
    service.write(2, "never heard").await;
    relays().await;
    wipe(&server).await;

    let dies = bus.listen("audit", Arc::clone(&journal) as _).expect("a name");
    let heard = dies.hear(0, 10).await.expect("hears");
    assert_eq!((heard.changes, heard.forgotten), (vec![], u64::MAX));
    drop(dies);
    for to in 3..60 {
        service.write(to, "after").await;
        relays().await;
    }
    let second = consumer(&server.bus().await, &journal, &sink);
    eventually("all", async || second.catch_up().await.is_ok() && sink.count() == 59).await;
    sink.assert_equals(&*service.store).await;
}

/// What a process heard and did not handle before it died is heard by the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_handled_is_heard_again() {
    let server = Server::start();
    let bus = connected(Config { ack_wait: Duration::from_secs(1), ..server.config() }).await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let relay = service.relay(&bus);
    let relays = async || while relay.step().await.expect("relays") {};
    relays().await;
    let journal = service.journal();
    consumer(&bus, &journal, &sink).catch_up().await.expect("answers");
    service.write(1, "text").await;
    relays().await;
    let dies = bus.listen("audit", Arc::clone(&journal) as _).expect("a name");
    let position = sink.position().expect("it was noted");
    eventually("a change", async || !dies.hear(position, 10).await.expect("hears").changes.is_empty()).await;
    drop(dies);
    let second = consumer(&bus, &journal, &sink);
    eventually("the effect", async || second.catch_up().await.is_ok() && sink.count() == 1).await;
    assert_eq!(journal.compared(), 1, "it was told of");
}

/// A server that hangs has taken nothing: what it does not acknowledge is not done, and done when it is repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_acknowledged_is_not_published() {
    let mut server = Server::start();
    let bus = server.bus().await;
    let publisher = bus.publisher(SERVICE, 1).expect("a name");
    let publish = async |seq| publisher.publish(TENANT, aggregate(1), vec![(seq, Bytes::new())]).await;
    assert_eq!(publish(1).await, Ok(()));
    server.hang();
    assert!(bus.is_connected());
    assert!(publish(2).await.expect_err("nobody answers").to_string().contains("timed out"));
    server.kill();
    server.up();
    eventually("the second one", async || publish(2).await.is_ok()).await;
    let stream = server.admin().await.get_stream("cp-test-stock").await.expect("a stream");
    assert_eq!(stream.cached_info().state.messages, 2);
}

/// A server that comes back with less than it had is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_lost_its_end_is_compared() {
    let mut server = Server::start();
    let bus = server.bus().await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let relay = service.relay(&bus);
    assert_eq!(relay.step().await, Ok(true), "it says where it begins");
    let relaying = run_relay(relay);
    let journal = service.journal();
    let running = run(&consumer(&bus, &journal, &sink));
    service.write(1, "before").await;
    eventually("the first effect", async || sink.count() == 1).await;
    server.kill();
    let copy = server.copy();
    server.up();
    for to in 2..20 {
        service.write(to, "text").await;
    }
    eventually("every effect", async || sink.count() == 19).await;
    server.kill();
    server.restore(copy);
    let compared = journal.compared();
    server.up();
    eventually("a look at all heads", async || journal.compared() > compared).await;
    service.write(1, "after").await;
    eventually("one more effect", async || sink.count() == 20).await;
    sink.assert_equals(&*service.store).await;
    running.stop().await;
    relaying.stop().await;
}

/// What the stream forgets before it is handled is found by comparing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_was_away_for_too_long_compares() {
    let server = Server::start();
    // Room for about twenty messages.
    let config = Config { bytes_max: 4096, ..server.config() };
    let bus = connected(config.clone()).await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let relay = service.relay(&bus);
    while relay.step().await.expect("relays") {}
    let journal = service.journal();
    consumer(&bus, &journal, &sink).catch_up().await.expect("answers");
    for to in 0..100 {
        service.write(to, "text").await;
    }
    while relay.step().await.expect("relays") {}
    let compared = journal.compared();
    let again = consumer(&connected(config).await, &journal, &sink);
    again.catch_up().await.expect("answers");
    assert_eq!((sink.count(), journal.compared()), (100, compared + 1));
    again.catch_up().await.expect("answers");
    assert_eq!(journal.compared(), compared + 1, "once is enough");
}

/// A bus may lose what it acknowledged: now and then everything is compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_are_compared_now_and_then() {
    let server = Server::start();
    let bus = connected(Config { compare_every: Duration::from_secs(1), ..server.config() }).await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let journal = service.journal();
    let running = run(&consumer(&bus, &journal, &sink));
    eventually("the first look", async || journal.compared() > 0).await;
    service.write(1, "nobody tells of it").await;
    eventually("the effect", async || sink.count() == 1).await;
    running.stop().await;
}

/// One of three servers is killed, and another: publishing goes on with two, and again when one is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_servers_may_be_killed() {
    let mut servers = Server::cluster();
    let config =
        Config { replicas: 3, servers: servers.iter().map(Server::url).collect(), ..servers[0].config() };
    let bus: Arc<NatsBus> = connected(config).await;
    eventually("three servers", async || servers.iter().all(Server::is_healthy)).await;
    eventually("a stream of three", async || bus.check(SERVICE).await.is_ok()).await;
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let relaying = run_relay(service.relay(&bus));
    let journal = service.journal();
    let running = run(&consumer(&bus, &journal, &sink));
    let mut written = 0;
    for victim in 0..3 {
        let write = async |to: u64| service.write(to, "text").await;
        join_all((0..50).map(write)).await;
        servers[victim].kill();
        join_all((50..100).map(write)).await;
        written += 100;
        eventually("all with two servers", async || sink.count() == written).await;
        servers[victim].up();
        eventually("three servers again", async || servers.iter().all(Server::is_healthy)).await;
    }
    sink.assert_equals(&*service.store).await;
    assert_eq!(service.store.aggregates(None, 1_000).await.expect("heads").len(), 100);
    running.stop().await;
    relaying.stop().await;
}
