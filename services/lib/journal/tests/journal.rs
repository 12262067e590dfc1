//! The journal through its public surface, over a store that fails on purpose; and its protocols as models.

mod models;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use calendar::Instant;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ids::{AggregateId, TenantId};
use journal::memory::MemoryStore;
use journal::store::{
    Claim, Commit, Found, Head, IndexRow, KeyHash, KeyRow, Order, Outcome, Seq, Store, StoreError,
};
use journal::{
    Actor, Aggregate, Changes, Damage, Error, Journal, Keep, Meta, Need, Rejection, Request, Scope, SystemEnv,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// A sum that never goes below zero; its name is unique.
#[derive(Default, Clone, PartialEq, Debug)]
struct Sum {
    value: i64,
}

#[derive(Clone, Debug)]
enum Change {
    Add(i64),
    Name(&'static str),
    Panic,
}

const CLAIM_NAME: u16 = 1;

impl Aggregate for Sum {
    type Command = Change;
    type Event = (i64, String);
    type Error = String;

    const KIND: u8 = 9;
    const FORMAT: u8 = 1;

    fn needs(&self, _: &Change) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, _: &Need, _: Option<&[u8]>) -> Result<(), Damage> {
        Ok(())
    }

    fn decide(&self, command: &Change, _: Instant) -> Result<Vec<(i64, String)>, String> {
        match command {
            Change::Add(amount) if self.value + amount < 0 => Err(format!("only {}", self.value)),
            Change::Add(0) => Ok(vec![]),
            Change::Add(amount) => Ok(vec![(*amount, String::new())]),
            Change::Name(name) => Ok(vec![(0, (*name).to_owned())]),
            Change::Panic => panic!("a rule is broken"),
        }
    }

    fn evolve(&mut self, event: &(i64, String), _: Seq, _: Instant) {
        self.value += event.0;
    }

    fn project(&self, event: &(i64, String), _: Seq, changes: &mut Changes) {
        if !event.1.is_empty() {
            changes.take(CLAIM_NAME, event.1.clone().into_bytes());
        }
    }

    fn save(&mut self, _: &mut Changes) {}

    fn header(&self) -> Bytes {
        Bytes::copy_from_slice(&self.value.to_be_bytes())
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        let bytes = header.try_into().map_err(|_| Damage("header".into()))?;
        Ok(Sum { value: i64::from_be_bytes(bytes) })
    }

    fn encode(event: &(i64, String)) -> Bytes {
        [&event.0.to_be_bytes()[..], event.1.as_bytes()].concat().into()
    }

    fn decode(bytes: &[u8]) -> Result<(i64, String), Damage> {
        let (value, name) = bytes.split_first_chunk().ok_or_else(|| Damage("event".into()))?;
        Ok((i64::from_be_bytes(*value), String::from_utf8_lossy(name).into_owned()))
    }
}

/// What the next commit meets.
#[derive(Clone, Copy)]
enum Fault {
    /// It is written, and the answer is lost.
    AnswerLost,
    /// It is lost on its way.
    RequestLost,
    /// It is written when somebody opens the gate.
    Held,
}

/// A store whose commits meet faults, in order, before they go through.
struct Faulty {
    store: MemoryStore,
    faults: Mutex<VecDeque<Fault>>,
    gate: Arc<Semaphore>,
}

impl Store for Faulty {
    fn commit(&self, group: Vec<Commit>) -> BoxFuture<'_, Outcome> {
        let fault = self.faults.lock().pop_front();
        async move {
            let lost = || Outcome::Unknown(StoreError::Unavailable("the line is dead".into()));
            match fault {
                None => self.store.commit(group).await,
                Some(Fault::RequestLost) => lost(),
                Some(Fault::Held) => {
                    let _passed = self.gate.acquire().await;
                    self.store.commit(group).await
                }
                Some(Fault::AnswerLost) => {
                    self.store.commit(group).await;
                    lost()
                }
            }
        }
        .boxed()
    }

    fn head(&self, tenant: TenantId, id: AggregateId) -> BoxFuture<'_, Result<Option<Head>, StoreError>> {
        self.store.head(tenant, id)
    }

    fn rows(
        &self,
        tenant: TenantId,
        id: AggregateId,
        keys: Vec<Bytes>,
    ) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, StoreError>> {
        self.store.rows(tenant, id, keys)
    }

    fn scan_rows(
        &self,
        tenant: TenantId,
        id: AggregateId,
        prefix: Bytes,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        self.store.scan_rows(tenant, id, prefix, limit)
    }

    fn entries(
        &self,
        tenant: TenantId,
        id: AggregateId,
        from: Seq,
        to: Seq,
        order: Order,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Seq, Bytes)>, StoreError>> {
        self.store.entries(tenant, id, from, to, order, limit)
    }

    fn key(&self, tenant: TenantId, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRow>, StoreError>> {
        self.store.key(tenant, hash)
    }

    fn claim(
        &self,
        tenant: TenantId,
        claim: Claim,
    ) -> BoxFuture<'_, Result<Option<AggregateId>, StoreError>> {
        self.store.claim(tenant, claim)
    }

    fn index(
        &self,
        tenant: TenantId,
        index: u16,
        prefix: Bytes,
        after: Option<(Bytes, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreError>> {
        self.store.index(tenant, index, prefix, after, limit)
    }

    fn index_row(
        &self,
        tenant: TenantId,
        index: u16,
        key: Bytes,
        id: AggregateId,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.store.index_row(tenant, index, key, id)
    }

    fn aggregates(
        &self,
        after: Option<(TenantId, AggregateId)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Found>, StoreError>> {
        self.store.aggregates(after, limit)
    }

    fn forget_keys(&self, now_s: u64, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.store.forget_keys(now_s, limit)
    }
}

mod protocols;

const TENANT: TenantId = TenantId::from_bytes([1; 16]);

fn scope(aggregate: u8) -> Scope {
    Scope { tenant: TENANT, aggregate: AggregateId::from_bytes([aggregate; 16]) }
}

fn journal(faults: &[Fault]) -> Journal<Sum> {
    gated(faults).0
}

/// A journal, and the gate before its held commits: closed.
fn gated(faults: &[Fault]) -> (Journal<Sum>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let faults = Mutex::new(faults.iter().copied().collect());
    let store = Faulty { store: MemoryStore::default(), faults, gate: Arc::clone(&gate) };
    (Journal::new(Arc::new(store), Arc::new(SystemEnv)), gate)
}

/// A request under key `key`; the command is its fingerprint.
fn request(key: u8, command: Change) -> Request<Change> {
    let mut fingerprint = [0; 16];
    for (at, byte) in format!("{command:?}").bytes().take(16).enumerate() {
        fingerprint[at] = byte;
    }
    let actor = Actor { kind: "system".into(), id: "test".into() };
    let meta = Meta {
        actor,
        key: KeyHash([key; 9]),
        fingerprint,
        keep: Keep::USUAL,
        request_id: String::new(),
        trace: None,
    };
    Request { command, meta }
}

async fn value(journal: &Journal<Sum>, aggregate: u8) -> Option<i64> {
    let view = journal.read(scope(aggregate), |_| vec![]).await;
    view.ok().flatten().map(|view| view.state.value)
}

/// API-11: the same key repeats the first answer, another request under it is refused.
#[tokio::test]
async fn a_key_answers_once_and_for_one_request() {
    let journal = journal(&[]);
    let first = journal.submit(scope(1), request(7, Change::Add(5))).await.unwrap();
    let again = journal.submit(scope(1), request(7, Change::Add(5))).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.events, again.events);
    // Another request, also one that goes to another aggregate.
    for aggregate in [1, 2] {
        let other = journal.submit(scope(aggregate), request(7, Change::Add(6))).await;
        assert_eq!(other, Err(Rejection::Journal(Error::IdempotencyConflict)));
    }
    assert_eq!((value(&journal, 1).await, value(&journal, 2).await), (Some(5), None));
}

/// A command that changes nothing is remembered too: its repetition is a repetition.
#[tokio::test]
async fn a_key_remembers_that_nothing_changed() {
    let journal = journal(&[]);
    let first = journal.submit(scope(1), request(7, Change::Add(0))).await.unwrap();
    let again = journal.submit(scope(1), request(7, Change::Add(0))).await.unwrap();
    assert_eq!((first.events.len(), again.events.len(), again.replayed), (0, 0, true));
}

/// INV-1: whatever became of the answer, the command is applied exactly once.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_pursued_until_it_is_decided() {
    for faults in [
        &[Fault::AnswerLost][..],
        &[Fault::RequestLost],
        &[Fault::RequestLost, Fault::AnswerLost],
        &[Fault::AnswerLost, Fault::RequestLost, Fault::AnswerLost],
    ] {
        let journal = journal(faults);
        let answer = journal.submit(scope(1), request(1, Change::Add(5))).await.unwrap();
        assert_eq!((answer.seq, answer.replayed), (1, false));
        let all = vec![
            (scope(1).aggregate, request(2, Change::Add(1))),
            (scope(2).aggregate, request(3, Change::Add(2))),
        ];
        assert_eq!(journal.submit_all(TENANT, all).await.unwrap().len(), 2);
        assert_eq!((value(&journal, 1).await, value(&journal, 2).await), (Some(6), Some(2)));
    }
}

/// A caller that cannot wait is told that nobody knows; a retry with the same key finds out.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_stays_unknown_is_said_to_be_unknown() {
    let mut faults = vec![Fault::AnswerLost];
    faults.extend([Fault::RequestLost; 200]);
    let journal = journal(&faults);
    let answer = journal.submit(scope(1), request(1, Change::Add(5))).await;
    assert_eq!(answer, Err(Rejection::Journal(Error::OutcomeUnknown)));
    let again = journal.submit(scope(1), request(1, Change::Add(5))).await.unwrap();
    assert!(again.replayed, "it had been written");
    assert_eq!(value(&journal, 1).await, Some(5));
}

#[tokio::test]
async fn a_refused_command_does_not_spoil_its_neighbours() {
    let journal = journal(&[]);
    let amounts = [5, -9, 4, -9, 1];
    let requests =
        (1u8..).zip(amounts).map(|(key, amount)| (scope(1).aggregate, request(key, Change::Add(amount))));
    let answers = journal.submit_each(TENANT, requests.collect()).await;
    let refused: Vec<bool> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, true, false, false, false]);
    assert_eq!(value(&journal, 1).await, Some(1));
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_none() {
    let journal = journal(&[]);
    let batch = |last: Change| {
        vec![
            (scope(1).aggregate, request(1, Change::Add(5))),
            (scope(2).aggregate, request(2, Change::Add(7))),
            (scope(1).aggregate, request(3, last)),
        ]
    };
    let refused = journal.submit_all(TENANT, batch(Change::Add(-6))).await.unwrap_err();
    assert_eq!((refused.at, refused.rejection), (2, Rejection::Domain("only 5".into())));
    assert_eq!((value(&journal, 1).await, value(&journal, 2).await), (None, None));
    journal.submit_all(TENANT, batch(Change::Add(-4))).await.unwrap();
    assert_eq!((value(&journal, 1).await, value(&journal, 2).await), (Some(1), Some(7)));
}

#[tokio::test]
async fn a_claimed_value_refuses_its_command_alone() {
    let journal = journal(&[]);
    journal.submit(scope(1), request(1, Change::Name("a"))).await.unwrap();
    let requests = vec![
        (scope(2).aggregate, request(2, Change::Add(3))),
        (scope(2).aggregate, request(3, Change::Name("a"))),
        (scope(2).aggregate, request(4, Change::Add(4))),
    ];
    let answers = journal.submit_each(TENANT, requests).await;
    assert!(matches!(&answers[1], Err(Rejection::Claimed { owner, .. }) if *owner == scope(1).aggregate));
    assert_eq!((answers[0].is_ok(), answers[2].is_ok(), value(&journal, 2).await), (true, true, Some(7)));
}

/// Each command of a batch is answered as if it had come alone, though they share a commit.
#[tokio::test(start_paused = true)]
async fn commands_of_a_batch_do_not_share_their_fate() {
    let journal = journal(&[]);
    let batch = || {
        vec![
            (scope(1).aggregate, request(1, Change::Add(5))),
            (scope(2).aggregate, request(2, Change::Add(-1))),
            (scope(1).aggregate, request(3, Change::Add(-6))),
            (scope(1).aggregate, request(4, Change::Add(-4))),
            (scope(3).aggregate, request(5, Change::Panic)),
            (scope(2).aggregate, request(1, Change::Add(5))),
        ]
    };
    for replayed in [false, true] {
        let answers = journal.submit_each(TENANT, batch()).await;
        let ok = |at: usize, seq| matches!(&answers[at], Ok(a) if (a.replayed, a.seq) == (replayed, seq));
        assert!(ok(0, 1) && ok(3, 2), "{answers:?}");
        assert_eq!(answers[1], Err(Rejection::Domain("only 0".into())));
        assert_eq!(answers[2], Err(Rejection::Domain(if replayed { "only 1" } else { "only 5" }.into())));
        assert_eq!(answers[4], Err(Rejection::Journal(Error::OutcomeUnknown)));
        assert_eq!(answers[5], Err(Rejection::Journal(Error::InProgress)), "its key is there twice");
        assert_eq!((value(&journal, 1).await, value(&journal, 2).await), (Some(1), None));
    }
}

/// INV-1: the outcome of a batch is pursued as that of one command is.
#[tokio::test(start_paused = true)]
async fn a_batch_whose_outcome_is_lost_is_done_once() {
    let batch = || {
        vec![
            (scope(1).aggregate, request(1, Change::Add(5))),
            (scope(2).aggregate, request(2, Change::Add(-1))),
            (scope(3).aggregate, request(3, Change::Add(7))),
        ]
    };
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let journal = journal(&[fault]);
        let answers = journal.submit_each(TENANT, batch()).await;
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!((value(&journal, 1).await, value(&journal, 3).await), (Some(5), Some(7)));
    }
    let journal = journal(&[Fault::RequestLost; 60]);
    let answers = journal.submit_each(TENANT, batch()).await;
    let unknown = Err(Rejection::Journal(Error::OutcomeUnknown));
    assert_eq!((&answers[0], &answers[2]), (&unknown, &unknown));
}

/// INV-9: what another process changed meanwhile is seen by all of a batch.
#[tokio::test]
async fn a_batch_is_decided_on_what_is_stored() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let [one, other] = [(); 2].map(|()| Journal::<Sum>::new(Arc::clone(&store), Arc::new(SystemEnv)));
    let batch = |first: u8, one: i64, two: i64| {
        vec![
            (scope(1).aggregate, request(first, Change::Add(one))),
            (scope(2).aggregate, request(first + 1, Change::Add(two))),
        ]
    };
    let done = |answers: Vec<Result<_, _>>| answers.iter().map(Result::is_ok).collect::<Vec<_>>();
    assert_eq!(done(one.submit_each(TENANT, batch(1, 1, 1)).await), [true, true]);
    assert_eq!(done(other.submit_each(TENANT, batch(3, 5, -1)).await), [true, true]);
    // It remembers 1 and 1, and 6 and 0 are there.
    assert_eq!(done(one.submit_each(TENANT, batch(5, -6, -1)).await), [true, false]);
    assert_eq!(done(other.submit_each(TENANT, batch(7, -1, -1)).await), [false, false]);
    assert_eq!((value(&one, 1).await, value(&other, 2).await), (Some(0), Some(0)));
    // Nothing of it would be committed after what the other one remembers: 0 and 0, and 5 and 5 are there.
    assert_eq!(done(one.submit_each(TENANT, batch(9, 5, 5)).await), [true, true]);
    assert_eq!(done(other.submit_each(TENANT, batch(11, -1, -2)).await), [true, true]);
    assert_eq!((value(&one, 1).await, value(&other, 2).await), (Some(4), Some(3)));
}

/// A claim that is taken says nothing about a first try that may still be on its way: when it arrives, the value may
/// be free again. Found by the simulator.
#[tokio::test(start_paused = true)]
async fn a_claim_decides_nothing_after_an_unknown_outcome() {
    let journal = journal(&[Fault::RequestLost]);
    let named = journal.submit(scope(2), request(2, Change::Name("a")));
    let taken = async {
        tokio::task::yield_now().await;
        journal.submit(scope(1), request(1, Change::Name("a"))).await
    };
    let (named, taken) = futures::future::join(named, taken).await;
    assert!(taken.is_ok());
    assert_eq!(named, Err(Rejection::Journal(Error::OutcomeUnknown)));
    let again = journal.submit(scope(2), request(2, Change::Name("a"))).await;
    assert!(matches!(again, Err(Rejection::Claimed { .. })), "{again:?}");
}

/// INV-1: another process carries out the first try of a request, for another aggregate, while the second one is on its
/// way: the claim that is taken is its own.
#[tokio::test]
async fn a_claim_of_an_earlier_try_is_its_answer() {
    for atomic in [false, true] {
        let (one, gate) = gated(&[Fault::Held]);
        let other = Journal::<Sum>::new(one.store().clone(), Arc::new(SystemEnv));
        let second = {
            let one = one.clone();
            async move {
                let named = request(1, Change::Name("a"));
                match atomic {
                    true => {
                        let answers = one.submit_all(TENANT, vec![(scope(2).aggregate, named)]).await;
                        answers.map(|mut answers| answers.remove(0)).map_err(|error| error.rejection)
                    }
                    false => one.submit(scope(2), named).await,
                }
            }
        };
        let second = tokio::spawn(second);
        tokio::task::yield_now().await;
        other.submit(scope(1), request(1, Change::Name("a"))).await.unwrap();
        gate.add_permits(1);
        let answer = second.await.unwrap().unwrap();
        assert_eq!((answer.aggregate, answer.replayed), (scope(1).aggregate, true), "atomic: {atomic}");
        assert_eq!(value(&one, 2).await, None);
    }
}

/// A rule that panics ends its own command as unknown and blocks nobody.
#[tokio::test]
async fn a_panic_does_not_block_the_aggregate() {
    let journal = journal(&[]);
    journal.submit(scope(1), request(1, Change::Add(5))).await.unwrap();
    let broken = journal.submit(scope(1), request(2, Change::Panic)).await;
    assert_eq!(broken, Err(Rejection::Journal(Error::OutcomeUnknown)));
    journal.submit(scope(1), request(3, Change::Add(2))).await.unwrap();
    assert_eq!(value(&journal, 1).await, Some(7));
}

/// INV-1: a commit that began is not cut off, whoever waits for it, and those behind it are not left alone.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_half_done() {
    let (journal, gate) = gated(&[Fault::Held; 4]);
    let batch = |key: u8| {
        vec![
            (scope(2).aggregate, request(key, Change::Add(1))),
            (scope(3).aggregate, request(key + 1, Change::Add(1))),
        ]
    };
    assert!(journal.submit(scope(1), request(1, Change::Add(5))).now_or_never().is_none());
    assert!(journal.submit_all(TENANT, batch(2)).now_or_never().is_none());
    assert!(journal.submit_each(TENANT, batch(4)).now_or_never().is_none());
    let last = journal.submit_each(
        TENANT,
        (1..=3).map(|at| (scope(at).aggregate, request(5 + at, Change::Add(1)))).collect(),
    );
    gate.add_permits(1);
    let seqs: Vec<_> = last.await.into_iter().map(|answer| answer.unwrap().seq).collect();
    assert_eq!(seqs, [2, 3, 3]);
}

/// A row of a batch that another caller is posting must not be overtaken by the next row of the same batch.
#[tokio::test]
async fn two_callers_with_the_same_rows_never_swap_them() {
    let (journal, gate) = gated(&[Fault::Held]);
    let (rows, other) = (|| request(1, Change::Add(5)), || request(2, Change::Add(-5)));
    let mut first = Box::pin(journal.submit(scope(1), rows()));
    assert!(first.as_mut().now_or_never().is_none());
    let batch = vec![
        (scope(1).aggregate, rows()),
        (scope(1).aggregate, other()),
        (scope(2).aggregate, request(3, Change::Add(7))),
    ];
    let second = journal.submit_each(TENANT, batch).await;
    let in_progress = Err(Rejection::Journal(Error::InProgress));
    assert_eq!((&second[0], &second[1], second[2].is_ok()), (&in_progress, &in_progress, true));
    gate.add_permits(1);
    assert_eq!(first.await.unwrap().seq, 1);
    assert!(!journal.submit(scope(1), other()).await.unwrap().replayed);
}

/// INV-9: what a process remembers may be old: what it answers without a commit is true of what is stored.
#[tokio::test]
async fn a_refusal_is_decided_on_what_is_stored() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let [one, other] = [(); 2].map(|()| Journal::<Sum>::new(Arc::clone(&store), Arc::new(SystemEnv)));
    one.submit(scope(1), request(1, Change::Add(1))).await.unwrap();
    other.submit(scope(1), request(2, Change::Add(5))).await.unwrap();
    // It remembers 1, and 6 are there.
    let taken = one.submit(scope(1), request(3, Change::Add(-4))).await;
    assert_eq!(taken.map(|answer| answer.seq), Ok(3));
    other.submit(scope(1), request(4, Change::Add(5))).await.unwrap();
    let both = vec![(scope(1).aggregate, request(5, Change::Add(-6)))];
    assert_eq!(one.submit_all(TENANT, both).await.map(|answers| answers[0].seq), Ok(5));
    let refused = other.submit(scope(1), request(6, Change::Add(-2))).await;
    assert_eq!(refused, Err(Rejection::Domain("only 1".into())));
}

/// INV-2: gap-free sequences and a chain that re-computes, whatever the interleaving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_make_one_verified_history() {
    let journal = journal(&[]);
    let tasks: Vec<_> = (0..200u8)
        .map(|key| {
            let journal = journal.clone();
            let batch = vec![
                (scope(1).aggregate, request(key, Change::Add(1))),
                (
                    scope(2 + key % 3).aggregate,
                    Request {
                        meta: Meta { keep: Keep::No, ..request(0, Change::Panic).meta },
                        command: Change::Add(1),
                    },
                ),
            ];
            tokio::spawn(async move {
                if key % 2 == 0 {
                    journal.submit_all(TENANT, batch).await.is_ok()
                } else {
                    journal.submit_each(TENANT, batch).await.iter().all(Result::is_ok)
                }
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    let mut total = 0;
    for aggregate in 1..=4 {
        let head = journal.store().head(TENANT, scope(aggregate).aggregate).await.unwrap().unwrap();
        let finding = journal.verify(scope(aggregate), &head, |_, _, _| Ok(())).await.unwrap();
        assert_eq!((finding.faults, finding.entries), (vec![], head.seq));
        total += value(&journal, aggregate).await.unwrap();
    }
    assert_eq!((value(&journal, 1).await, total), (Some(200), 400));
}
