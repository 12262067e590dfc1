//! Lost, repeated and reordered news; writes that are lost, or applied without an answer.

use std::sync::Arc;

use events::Consumer;
use parking_lot::Mutex;
use proptest::prelude::*;

use crate::world::{Fault, Kept, Rumours, Service};

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![2 => Just(Fault::None), 1 => Just(Fault::Lost), 1 => Just(Fault::AnswerLost)]
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// An entry is written to an aggregate.
    Write(u8),
    /// The bus says that an aggregate is at most here: late, repeated or out of order, but never ahead.
    Say(u8, u64),
    /// The consumer hears once.
    Step,
    /// The consumer dies and a new one starts.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (1..4_u8).prop_map(Happening::Write),
        3 => (1..4_u8, 0..9_u64).prop_map(|(to, seq)| Happening::Say(to, seq)),
        3 => Just(Happening::Step),
        1 => Just(Happening::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// INV-7: whatever a bus loses, repeats or reorders, and whatever becomes of writes, what took effect is a
    /// beginning of each journal, once and in order; and all of it, once the last word is heard.
    #[test]
    fn no_rumour_and_no_fault_loses_or_doubles_an_entry(
        happenings in proptest::collection::vec(happening(), 1..60),
        faults in proptest::collection::vec(fault(), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async move {
            let service = Service::new("stock");
            let sink = Arc::new(Kept::default());
            let source = Arc::new(Rumours { journal: service.bus.listener(), said: Mutex::default(), destroyed: None });
            let start = || Consumer::new("test", Arc::clone(&source) as _, Arc::clone(&sink));
            let mut consumer = start();
            let mut written = [0_u64; 4];
            sink.fail(faults);
            for happening in happenings {
                match happening {
                    Happening::Write(to) => {
                        service.write(1, to, "text").await;
                        written[usize::from(to)] += 1;
                    }
                    Happening::Say(to, seq) => {
                        source.said.lock().push((to, seq.min(written[usize::from(to)])));
                    }
                    Happening::Step => {
                        let _ = consumer.step().await;
                    }
                    Happening::Restart => consumer = start(),
                }
                for (aggregate, seqs) in sink.seqs() {
                    let count = written[usize::from(aggregate.as_bytes()[0])];
                    assert!(seqs.len() as u64 <= count);
                    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
                }
            }
            for to in 1..4 {
                source.said.lock().push((to, written[usize::from(to)]));
            }
            while consumer.catch_up().await.is_err() {}
            let found = consumer.check().await.expect("check");
            assert!(found.is_complete(), "{found:?}");
            assert_eq!(found.entries, written.iter().sum::<u64>());
        });
    }
}

/// A tenant whose key was destroyed holds up no other: what the bus still says of it is passed over.
#[tokio::test]
async fn a_destroyed_key_stalls_nobody() {
    let service = Service::new("stock");
    let sink = Arc::new(Kept::default());
    let destroyed = Some(crate::world::tenant(1));
    let source = Arc::new(Rumours { journal: service.bus.listener(), said: Mutex::default(), destroyed });
    let consumer = Consumer::new("audit", Arc::clone(&source) as _, Arc::clone(&sink));
    for of in [1, 2] {
        service.write(of, 1, "text").await;
    }
    // Who is new compares all heads, of this tenant and of the next.
    source.said.lock().push((1, 1));
    consumer.catch_up().await.expect("nothing fails");
    let cursors = [1, 2].map(|of| (crate::world::tenant(of), crate::world::aggregate(1)));
    let mut found = Vec::new();
    for (tenant, aggregate) in cursors {
        found.push(consumer.cursor(tenant, aggregate).await.expect("a cursor").seq);
    }
    assert_eq!(found, [0, 1]);
}
