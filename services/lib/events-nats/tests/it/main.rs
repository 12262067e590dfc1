//! The bus over real servers, with everything that may go wrong.

mod kills;
mod mortal;
mod outages;
mod server;
mod world;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::StorageType;
use events::Bus as _;
use events_nats::{Auth, Config, Error, NatsBus};
use journal::relay::Publish;

use crate::server::{Server, connected};
use crate::world::{GIBBERISH, Kept, Service, TENANT, aggregate, consumer, eventually, run, run_relay};

/// INV-7: what was written before and what is written later takes effect once, in order; only the first look is at all
/// heads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_takes_effect_once_and_in_order() {
    let server = Server::start();
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    for to in 0..50 {
        service.write(to, "before").await;
    }
    let (bus, journal) = (server.bus().await, service.journal());
    let relay = service.relay(&bus);
    assert_eq!(relay.step().await, Ok(true), "it says where it begins");
    let relaying = run_relay(relay);
    let running = run(&consumer(&bus, &journal, &sink));
    eventually("the first effects", async || sink.count() == 50 && sink.position().is_some()).await;
    let compared = journal.compared();
    for round in 0..20 {
        for to in 0..60 {
            service.write(to, &format!("{round}")).await;
        }
    }
    eventually("every effect", async || sink.count() == 50 + 20 * 60).await;
    sink.assert_equals(&*service.store).await;
    assert_eq!(journal.compared(), compared, "all of it was told by the bus");
    running.stop().await;
    relaying.stop().await;
}

/// What is published again is dropped by the server, and what it does not know again does no harm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_take_effect_once() {
    let server = Server::start();
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let (bus, journal) = (server.bus().await, service.journal());
    let consumer = consumer(&bus, &journal, &sink);
    consumer.catch_up().await.expect("answers");
    let publisher = bus.publisher("stock", 1).expect("a name");
    for seq in 1..=3 {
        service.write(1, "text").await;
        for _ in 0..2 {
            publisher
                .publish(TENANT, aggregate(1), vec![(seq, bytes::Bytes::new())])
                .await
                .expect("publishes");
        }
    }
    let admin = server.admin().await;
    let mut stream = admin.get_stream("cp-test-stock").await.expect("a stream");
    assert_eq!(stream.info().await.expect("answers").state.messages, 3);
    let last = stream.cached_info().state.last_sequence;
    let message = stream.get_raw_message(last).await.expect("a message");
    for _ in 0..5 {
        let sent = admin.publish(message.subject.clone(), message.payload.clone()).await.expect("sends");
        sent.await.expect("acknowledged");
    }
    eventually("all messages", async || {
        consumer.catch_up().await.expect("answers");
        sink.position() == Some(last + 5)
    })
    .await;
    assert_eq!(sink.seqs(1), [1, 2, 3]);
    assert_eq!(journal.compared(), 1);
}

/// A start does not wait for servers, and what is there later is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_starts_without_the_bus() {
    let mut server = Server::stopped("one", "");
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let bus = NatsBus::connect(server.config()).await.expect("settings");
    assert!(matches!(bus.check("stock").await, Err(Error::Unavailable(_))));
    let relaying = run_relay(service.relay(&bus));
    let running = run(&consumer(&bus, &service.journal(), &sink));
    for to in 0..10 {
        service.write(to, "text").await;
    }
    server.up();
    eventually("every effect", async || sink.count() == 10).await;
    assert_eq!(bus.check("stock").await, Ok(()));
    running.stop().await;
    relaying.stop().await;
}

/// An entry that nobody understands parks its aggregate, and the rest flows on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_understood_parks_its_aggregate_only() {
    let server = Server::start();
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let (bus, journal) = (server.bus().await, service.journal());
    let relaying = run_relay(service.relay(&bus));
    let consumer = consumer(&bus, &journal, &sink);
    let running = run(&consumer);
    for text in ["a", GIBBERISH, "b"] {
        service.write(1, text).await;
        service.write(2, "fine").await;
    }
    service.write(3, "later").await;
    eventually("all others", async || sink.seqs(2) == [1, 2, 3] && sink.seqs(3) == [1]).await;
    let parked = consumer.parked(None, 10).await.expect("answers");
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].1, parked[0].2.seq), (aggregate(1), 2));
    assert_eq!(sink.seqs(1), [1]);
    running.stop().await;
    relaying.stop().await;
}

/// Two processes of one consumer share the work; when one of them is drained, the other one gets what is left at once,
/// long before the server would give up waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_loses_nothing_and_gives_back_what_was_not_begun() {
    let server = Server::start();
    let config = Config { ack_wait: Duration::from_hours(1), ..server.config() };
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let (one, two) = (connected(config.clone()).await, connected(config).await);
    let journal = service.journal();
    let first = consumer(&one, &journal, &sink);
    first.catch_up().await.expect("answers");
    let running = run(&first);
    let publishing = service.relay(&one);
    while publishing.step().await.expect("relays") {}
    eventually("the word to compare", async || journal.compared() == 2).await;

    // The first process is held up with what it has in hand, and more comes.
    let closed = sink.gate.lock().await;
    for to in 0..300 {
        service.write(to, "text").await;
        if to == 0 {
            while publishing.step().await.expect("relays") {}
            eventually("one under way", async || pending(&server).await == 1).await;
        }
    }
    while publishing.step().await.expect("relays") {}
    let held_up = one.hush(Duration::from_millis(200)).await.expect_err("it is held up");
    assert_eq!((held_up.publishes, held_up.changes), (0, 1));
    drop(closed);
    one.hush(Duration::from_secs(20)).await.expect("what is under way is finished");
    assert_eq!(sink.count(), 1, "nothing new is heard");
    service.write(2, "what it wrote at the end").await;
    assert_eq!(publishing.step().await, Ok(true), "it is published all the same");
    one.drain(Duration::from_secs(20)).await.expect("nothing is under way");
    assert_eq!(sink.count(), 1);
    assert_eq!(publishing.step().await, Ok(false));
    service.write(1, "too late").await;
    assert!(publishing.step().await.is_err(), "nothing new is published");
    running.stop().await;

    let second = consumer(&two, &journal, &sink);
    let relaying = run_relay(service.relay(&two));
    let running = run(&second);
    eventually("all", async || sink.count() == 302).await;
    eventually("all acknowledged", async || pending(&server).await == 0).await;
    sink.assert_equals(&*service.store).await;
    running.stop().await;
    relaying.stop().await;
}

/// What was delivered to a process that is drained before it told its consumer is heard elsewhere at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_gives_back_what_was_delivered() {
    let server = Server::start();
    let config = Config { ack_wait: Duration::from_hours(1), ..server.config() };
    let (service, sink) = (Service::new(), Arc::new(Kept::default()));
    let (one, two) = (connected(config.clone()).await, connected(config).await);
    let journal = service.journal();
    let relay = service.relay(&two);
    assert_eq!(relay.step().await, Ok(true), "it says where it begins");
    consumer(&one, &journal, &sink).catch_up().await.expect("answers");
    let position = sink.position().expect("it was noted");
    let listener = one.listen("audit", Arc::clone(&journal) as _).expect("a name");
    listener.handled(listener.hear(position, 10).await.expect("hears").upto).await.expect("handles");
    service.write(1, "text").await;
    assert_eq!(relay.step().await, Ok(true));
    eventually("the message", async || {
        listener.moved(position).await;
        pending(&server).await == 1
    })
    .await;
    one.drain(Duration::from_secs(20)).await.expect("nothing is under way");
    let second = consumer(&two, &journal, &sink);
    eventually("the effect", async || second.catch_up().await.is_ok() && sink.count() == 1).await;
    assert_eq!(journal.compared(), 1, "it was told of");
}

/// Messages that were delivered to the consumer and are not acknowledged.
async fn pending(server: &Server) -> usize {
    let stream = server.admin().await.get_stream("cp-test-stock").await.expect("a stream");
    stream.consumer_info("audit").await.expect("a consumer").num_ack_pending
}

/// A stream of another shape is made what it must be, or refused with a sentence that says what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_another_shape_is_changed_or_refused() {
    let server = Server::start();
    let bus = server.bus().await;
    let admin = server.admin().await;
    let shape = |storage| async_nats::jetstream::stream::Config {
        name: "cp-test-stock".into(),
        subjects: vec!["other".into()],
        storage,
        ..Default::default()
    };
    admin.create_stream(shape(StorageType::File)).await.expect("makes");
    assert_eq!(bus.check("stock").await, Ok(()));
    let stream = admin.get_stream("cp-test-stock").await.expect("a stream");
    let config = &stream.cached_info().config;
    assert_eq!(config.subjects, ["cp.test.stock.>"]);
    assert_eq!((config.max_bytes, config.max_age), (1 << 30, Duration::from_hours(72)));
    admin.delete_stream("cp-test-stock").await.expect("deletes");

    admin.create_stream(shape(StorageType::Memory)).await.expect("makes");
    let refused = bus.check("stock").await.expect_err("it is in memory").to_string();
    assert!(refused.contains("'cp-test-stock' keeps its messages in memory; delete it"), "{refused}");
    let publisher = bus.publisher("stock", 1).expect("a name");
    let refused = publisher.publish(TENANT, aggregate(1), vec![(1, bytes::Bytes::new())]).await;
    assert!(refused.expect_err("it is in memory").to_string().contains("in memory"));
    assert!(bus.publisher("a.b", 1).is_err());

    let three = connected(Config { replicas: 3, ..server.config() }).await;
    let refused = three.check("catalog").await.expect_err("there is one server").to_string();
    assert!(refused.contains("replicas > 1 not supported"), "{refused}");
}

/// Users with passwords and nkeys are let in, others are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_may_ask_who_we_are() {
    let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let users = format!("authorization {{ users: [{{ user: a, password: b }}, {{ nkey: {public} }}] }}\n");
    let server = Server::with(&users);
    let auth = |auth| Config { auth, ..server.config() };
    for auth in [auth(Auth::Password("a".into(), "b".into())), auth(Auth::Nkey(seed.into()))] {
        assert_eq!(connected(auth).await.check("stock").await, Ok(()));
    }
    let refused = NatsBus::connect(auth(Auth::Password("a".into(), "wrong".into()))).await.expect("settings");
    assert!(matches!(refused.check("stock").await, Err(Error::Unavailable(_))));
    let missing = NatsBus::connect(auth(Auth::Credentials("/nowhere/x.creds".into()))).await;
    let missing = missing.err().expect("there is no file").to_string();
    assert!(missing.contains("'/nowhere/x.creds' cannot be read"), "{missing}");
}
