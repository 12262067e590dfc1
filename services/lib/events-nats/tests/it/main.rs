//! The bus over real servers, with everything that may go wrong.

mod server;
mod world;

use std::sync::Arc;

use events_nats::Error;
use journal::relay::Publish;

use crate::server::Server;
use crate::world::{Kept, Service, TENANT, aggregate, consumer, eventually, run, run_relay};

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
    let relaying = run_relay(service.relay(&bus));
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
    let bus = events_nats::NatsBus::connect(server.config()).await.expect("settings");
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
