//! Consumers over the bus of one process, with everything that may go wrong.

mod faults;
mod model;
mod world;

use std::sync::Arc;

use events::{Consumer, Cursor, Parking, Step};
use journal::Entry;
use journal::store::Store;
use prost::Message;

use crate::world::{Kept, Service, aggregate, tenant};

fn consumer(service: &Service, sink: &Arc<Kept>) -> Consumer<Kept> {
    Consumer::new("test", service.bus.listener(), Arc::clone(sink))
}

/// INV-7: what was written before and what is written later takes effect once, in order.
#[tokio::test]
async fn every_entry_takes_effect_once_and_in_order() {
    let (service, sink) = (Service::new("stock"), Arc::new(Kept::default()));
    service.write(1, 1, "a").await;
    service.write(1, 2, "b").await;
    service.write(1, 1, "c").await;
    let consumer = consumer(&service, &sink);
    assert_eq!(consumer.catch_up().await, Ok(Step { applied: 3, parked: 0, idle: true }));
    assert_eq!(consumer.catch_up().await, Ok(Step { applied: 0, parked: 0, idle: true }));
    service.write(1, 1, "d").await;
    service.write(2, 1, "e").await;
    assert_eq!(consumer.catch_up().await, Ok(Step { applied: 2, parked: 0, idle: true }));
    assert_eq!(sink.texts("stock", 1, 1), ["a", "c", "d"]);
    assert_eq!(sink.texts("stock", 1, 2), ["b"]);
    assert_eq!(sink.texts("stock", 2, 1), ["e"]);
    assert!(consumer.check().await.expect("check").is_complete());
}

/// One sink hears two services whose aggregates have the same ids, and keeps them apart.
#[tokio::test]
async fn a_sink_hears_many_sources() {
    let (stock, catalog, sink) = (Service::new("stock"), Service::new("catalog"), Arc::new(Kept::default()));
    stock.write(1, 1, "moved").await;
    catalog.write(1, 1, "named").await;
    for service in [&stock, &catalog] {
        consumer(service, &sink).catch_up().await.expect("answers");
    }
    assert_eq!(sink.texts("stock", 1, 1), ["moved"]);
    assert_eq!(sink.texts("catalog", 1, 1), ["named"]);
}

/// Many entries over many aggregates of a tenant are few writes, and a long history is read in pages.
#[tokio::test]
async fn entries_are_applied_in_large_writes() {
    let (service, sink) = (Service::new("stock"), Arc::new(Kept::default()));
    for round in 0..20 {
        for to in 1..=20 {
            service.write(1, to, &format!("{round}")).await;
        }
    }
    for _ in 0..1000 {
        service.write(1, 30, "long").await;
    }
    consumer(&service, &sink).catch_up().await.expect("answers");
    assert_eq!(sink.texts("stock", 1, 30).len(), 1000);
    let rounds: Vec<_> = (0..20).map(|round| round.to_string()).collect();
    assert!((1..=20).all(|to| sink.texts("stock", 1, to) == rounds));
    assert!(sink.writes() <= 6, "{} writes", sink.writes());
}

/// What is waited for while there is nothing to hear is the next entry.
#[tokio::test(start_paused = true)]
async fn a_running_consumer_is_woken_by_the_next_entry() {
    let (service, sink) = (Service::new("stock"), Arc::new(Kept::default()));
    let consumer = Arc::new(consumer(&service, &sink));
    let running = Arc::clone(&consumer);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        running
            .run(async {
                let _ = stopped.await;
            })
            .await;
    });
    for count in 1..=3 {
        service.write(1, 1, "text").await;
        while sink.texts("stock", 1, 1).len() < count {
            tokio::task::yield_now().await;
        }
    }
    drop(stop);
    running.await.expect("it stops");
}

/// An event that nobody understands stops its aggregate and no other; once it is understood, nothing is
/// missing and nothing was doubled.
#[tokio::test]
async fn an_undecodable_event_parks_its_aggregate_only() {
    let (service, sink) = (Service::new("stock"), Arc::new(Kept::default()));
    sink.unknown.lock().push("new".into());
    for text in ["a", "new", "b"] {
        service.write(1, 1, text).await;
        service.write(1, 2, text.trim_start_matches("new")).await;
    }
    let consumer = consumer(&service, &sink);
    assert_eq!(consumer.catch_up().await, Ok(Step { applied: 4, parked: 1, idle: true }));
    service.write(1, 1, "c").await;
    service.write(1, 2, "c").await;
    assert_eq!(consumer.catch_up().await, Ok(Step { applied: 1, parked: 0, idle: true }));
    assert_eq!(sink.texts("stock", 1, 1), ["a"]);
    assert_eq!(sink.texts("stock", 1, 2), ["a", "", "b", "c"]);
    let parking = Parking { seq: 2, reason: "'new' is not known".into() };
    assert_eq!(consumer.parked(None, 9).await, Ok(vec![(tenant(1), aggregate(1), parking.clone())]));
    let found = consumer.check().await.expect("check");
    assert_eq!((found.parked.count, found.behind.count, found.is_complete()), (1, 0, false));

    let still = consumer.unpark(tenant(1), aggregate(1)).await.expect("answers");
    assert_eq!((still.seq, still.parked), (1, Some(parking)), "it is still not understood");
    sink.unknown.lock().clear();
    let free = consumer.unpark(tenant(1), aggregate(1)).await.expect("answers");
    assert_eq!((free.seq, free.parked), (4, None));
    assert_eq!(consumer.parked(None, 9).await, Ok(vec![]));
    assert_eq!(sink.texts("stock", 1, 1), ["a", "new", "b", "c"]);
    assert!(consumer.check().await.expect("check").is_complete());
}

/// A release that understands more needs nobody to say so.
#[tokio::test]
async fn a_consumer_tries_parked_events_again_when_it_starts() {
    let (service, sink) = (Service::new("stock"), Arc::new(Kept::default()));
    sink.unknown.lock().push("new".into());
    for to in 1..=3 {
        service.write(1, to, "new").await;
    }
    assert_eq!(consumer(&service, &sink).catch_up().await.expect("answers").parked, 3);
    sink.unknown.lock().clear();
    let next = consumer(&service, &sink);
    let done = async {
        while !next.parked(None, 1).await.expect("answers").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    next.run(done).await;
    assert!((1..=3).all(|to| sink.texts("stock", 1, to) == ["new"]));
}

/// An entry that was changed where it is stored does not continue the chain, whoever decodes it.
#[tokio::test]
async fn an_entry_that_breaks_the_chain_is_parked() {
    let (service, sink) = (Service::new("stock"), Arc::new(Kept::default()));
    service.write(1, 1, "a").await;
    let head = service.store.head(tenant(1), aggregate(1)).await.expect("head").expect("present");
    let entry =
        |text: &'static str| Entry { event: text.as_bytes().into(), ..Entry::default() }.encode_to_vec();
    let chain = head.chain.then(&entry("true"));
    service.put(1, 1, &head, chain, journal::stored(chain, &entry("forged"))).await;
    let consumer = consumer(&service, &sink);
    assert_eq!(consumer.catch_up().await.expect("answers").parked, 1);
    let (_, _, parking) = consumer.parked(None, 1).await.expect("answers").remove(0);
    assert_eq!((parking.seq, &*parking.reason), (2, "entry 2 does not continue the hash chain"));

    // Bytes that are not even an entry park theirs, too.
    service.put(1, 2, &Default::default(), chain, "short".into()).await;
    assert_eq!(consumer.catch_up().await.expect("answers").parked, 1);
    assert_eq!(sink.texts("stock", 1, 2), [""; 0]);
}

/// Completeness is measured at the heads of the journals: what is behind, what is further than the journal,
/// and what took effect but is not what the journal says.
#[tokio::test]
async fn a_check_finds_what_differs_from_the_journals() {
    let (service, sink) = (Service::new("stock"), Arc::new(Kept::default()));
    for to in 1..=4 {
        service.write(1, to, "a").await;
    }
    let consumer = consumer(&service, &sink);
    let found = consumer.check().await.expect("check");
    assert_eq!((found.aggregates, found.entries, found.behind.count), (4, 0, 4));
    consumer.catch_up().await.expect("answers");
    assert!(consumer.check().await.expect("check").is_complete());

    sink.move_cursor("stock", 1, 1, |cursor| cursor.seq = 0);
    sink.move_cursor("stock", 1, 2, |cursor| cursor.seq = 7);
    sink.move_cursor("stock", 1, 3, |cursor| cursor.chain = Default::default());
    let found = consumer.check().await.expect("check");
    let gap = |gaps: &events::check::Gaps| (gaps.count, gaps.first[0].aggregate);
    assert_eq!(gap(&found.behind), (1, aggregate(1)));
    assert_eq!(gap(&found.beyond), (1, aggregate(2)));
    assert_eq!(gap(&found.differing), (1, aggregate(3)));
    assert!(!found.is_complete());
}

/// The feed is kept for the slowest listener, and forgotten behind it.
#[tokio::test]
async fn the_feed_is_forgotten_behind_the_slowest_listener() {
    use journal::feed::FeedStore;

    let (service, sink) = (Service::new("stock"), Arc::new(Kept::default()));
    let (fast, slow) = (consumer(&service, &sink), Arc::new(Kept::default()));
    let slow = consumer(&service, &slow);
    for number in 0..3000_u32 {
        service.write(1, number.to_be_bytes()[3], "a").await;
    }
    fast.catch_up().await.expect("answers");
    assert_eq!(service.store.feed(0, 1).await.expect("feed").forgotten, 0, "the slow one needs it");
    slow.catch_up().await.expect("answers");
    assert_eq!(service.store.feed(0, 1).await.expect("feed").forgotten, 3000);
    service.write(1, 1, "b").await;
    assert_eq!(slow.catch_up().await.expect("answers").applied, 1);
}

/// Who was away for longer than the feed is kept, or lost its position, compares the heads and misses nothing.
#[tokio::test]
async fn a_consumer_that_missed_the_feed_compares_heads() {
    use journal::feed::FeedStore;

    let (service, sink) = (Service::new("stock"), Arc::new(Kept::default()));
    service.write(1, 1, "a").await;
    consumer(&service, &sink).catch_up().await.expect("answers");
    service.write(1, 1, "b").await;
    service.write(1, 2, "c").await;
    service.store.forget_feed(u64::MAX).await.expect("forget");
    assert_eq!(consumer(&service, &sink).catch_up().await.expect("answers").applied, 2);
    sink.forget_position("stock");
    service.write(1, 3, "d").await;
    service.store.forget_feed(u64::MAX).await.expect("forget");
    assert_eq!(consumer(&service, &sink).catch_up().await.expect("answers").applied, 1);
    assert_eq!(sink.texts("stock", 1, 1), ["a", "b"]);
}

/// Where a store was replaced by an older copy, the position of a consumer lies in the future of its feed.
#[tokio::test]
async fn a_position_behind_the_end_of_the_feed_is_not_trusted() {
    let (long, short, sink) = (Service::new("stock"), Service::new("stock"), Arc::new(Kept::default()));
    for _ in 0..5 {
        long.write(1, 1, "a").await;
    }
    consumer(&long, &sink).catch_up().await.expect("answers");
    short.write(1, 2, "b").await;
    let consumer = consumer(&short, &sink);
    assert_eq!(consumer.catch_up().await.expect("answers").applied, 1);
    assert_eq!(consumer.cursor(tenant(1), aggregate(2)).await.expect("answers").seq, 1);
    assert_eq!(consumer.cursor(tenant(1), aggregate(9)).await, Ok(Cursor::default()));
}
