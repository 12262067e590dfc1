//! Documents over two items, with drivers that die anywhere, abort each other, and readers in between.

use std::sync::Arc;

use journal::document::{Document, Documents, Ended, Line, PENDING_PREFIX, Phase, Refused};
use journal::group::Grouping;
use journal::memory::MemoryStore;
use journal::relay_store::RelayStore;
use journal::store::KeyHash;
use journal::{Actor, Journal, Keep, Meta, Rejection, Request, Scope, SharedStore};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::explore::{Bounds, World, explore, finds_fault};
use super::gated::{Broken, Gated};
use super::relay::{Still, TENANT, aggregate};
use super::shelf::{Command, Moves, Shelf, what};

const OPEN: u16 = 77;
const DOCUMENT: u8 = 9;

type Paper = Document<10, OPEN>;
type Papers = Documents<Moves, 10, OPEN>;

/// The journals as the process `number` sees them.
fn papers(store: SharedStore, number: u8, moves: Moves) -> (Papers, Journal<Shelf>) {
    let items = Journal::new(Arc::clone(&store), Still::of(number));
    let documents = Journal::<Paper>::new(store, Still::of(number.wrapping_add(100)));
    (Documents::new(documents, items.clone(), moves), items)
}

fn meta(key: u8) -> Meta {
    Meta {
        actor: Actor::default(),
        key: KeyHash([key; 9]),
        fingerprint: [0; 16],
        keep: Keep::USUAL,
        request_id: String::new(),
        trace: None,
    }
}

/// Five from item 1 to item 2.
fn lines(amount: i64) -> Vec<Line> {
    vec![Line::new(aggregate(1), what(-amount)), Line::new(aggregate(2), what(amount))]
}

async fn put(items: &Journal<Shelf>, to: u8, amount: i64) {
    let scope = Scope { tenant: TENANT, aggregate: aggregate(to) };
    let put = Request { command: Command::Put(amount), meta: meta(200 + to) };
    items.submit(scope, put).await.expect("applied");
}

/// What both shelves show together: never anything but what was put there.
async fn sum(papers: &Papers) -> Option<i64> {
    let views = papers.read(TENANT, &[aggregate(1), aggregate(2)], |_| vec![]).await.ok()?;
    assert!(views.iter().all(|view| view.state.kept <= view.state.on_hand));
    Some(views.iter().map(|view| view.state.on_hand).sum())
}

struct Scene {
    store: Arc<MemoryStore>,
    ended: Arc<Mutex<Vec<Ended>>>,
}

#[derive(Clone, Copy)]
enum Role {
    /// Posts the document with this amount.
    Post(i64),
    /// Drives it, whatever it is.
    Drive,
    /// Wants it aborted.
    Abort,
    /// Reads both items.
    Read,
    /// Reads both items without asking documents: wrong.
    ReadNaively,
}

async fn begin(world: &Arc<World>, roles: &[Role], moves: Moves) -> (Scene, Vec<JoinHandle<()>>) {
    let scene = Scene { store: Arc::new(MemoryStore::cluster()), ended: Arc::default() };
    // Before anything is chosen: shelves with ten and none.
    let (_, items) = papers(Arc::clone(&scene.store) as _, 7, moves);
    put(&items, 1, 10).await;
    let mut tasks = Vec::new();
    for (process, role) in roles.iter().copied().enumerate() {
        let store = Arc::clone(&scene.store);
        let gated = Gated { store, world: Arc::clone(world), process, broken: Broken::Nothing };
        let number = u8::try_from(process).expect("few");
        let (papers, items) = papers(Arc::new(gated), number, moves);
        let all = Arc::clone(&scene.ended);
        tasks.push(tokio::spawn(async move {
            let document = aggregate(DOCUMENT);
            let ended = match role {
                Role::Post(amount) => papers.post(TENANT, document, lines(amount), meta(1)).await.ok(),
                Role::Drive => papers.drive(TENANT, document).await.ok(),
                Role::Abort => papers.abort(TENANT, document, "not wanted").await.ok(),
                Role::Read => {
                    let seen = sum(&papers).await;
                    assert!(seen.is_none_or(|seen| seen == 10), "half a document is seen: {seen:?}");
                    None
                }
                Role::ReadNaively => {
                    let mut seen = 0;
                    for to in 1..=2 {
                        let scope = Scope { tenant: TENANT, aggregate: aggregate(to) };
                        let view = items.read(scope, |_| vec![]).await.ok().flatten();
                        seen += view.map_or(0, |view| view.state.on_hand);
                    }
                    assert_eq!(seen, 10, "half a document is seen");
                    None
                }
            };
            all.lock().extend(ended.filter(|ended| ended.phase != Phase::New));
        }));
    }
    (scene, tasks)
}

/// Somebody recovers what is open. Then exactly one of commit and abort is true, for everybody who was
/// answered and on all items; no hold is left; and everything re-computes.
async fn end(scene: Scene) {
    // Index rows of those that died, moved as whoever adopts them does.
    for to in [1, 2, DOCUMENT] {
        scene.store.apply_index(TENANT, aggregate(to)).await.expect("moves");
    }
    let store: SharedStore = Arc::new(Grouping::new(Arc::clone(&scene.store) as _));
    let (papers, items) = papers(Arc::clone(&store), 8, Moves::default());
    papers.recover(TENANT).await.expect("recovers");
    let (_, phase, _) = papers.phase(TENANT, aggregate(DOCUMENT)).await.expect("reads");
    assert!(!phase.is_open(), "{phase:?}");
    let rows = store.index(TENANT, OPEN, bytes::Bytes::new(), None, 9).await;
    assert_eq!(rows, Ok(vec![]), "it is still listed as open");
    for ended in scene.ended.lock().iter() {
        assert_eq!((ended.round, ended.phase), (1, phase), "somebody was told otherwise");
    }
    let mut amounts = Vec::new();
    for to in 1..=2 {
        let scope = Scope { tenant: TENANT, aggregate: aggregate(to) };
        let pending = store.scan_rows(TENANT, scope.aggregate, PENDING_PREFIX.into(), 9).await;
        assert_eq!(pending, Ok(vec![]), "a hold is left on item {to}");
        let view = items.read(scope, |_| vec![]).await.expect("reads");
        let state = view.map(|view| view.state).unwrap_or_default();
        assert_eq!(state.kept, 0, "something is kept back on item {to}");
        amounts.push(state.on_hand);
        if let Some(head) = store.head(TENANT, scope.aggregate).await.expect("reads") {
            let found = items.verify(scope, &head, |_, _, _| Ok(())).await.expect("reads");
            assert_eq!(found.faults, [""; 0]);
        }
    }
    assert_eq!(amounts, if phase == Phase::Posted { [5, 5] } else { [10, 0] }, "{phase:?}");
    let scope = Scope { tenant: TENANT, aggregate: aggregate(DOCUMENT) };
    if let Some(head) = store.head(TENANT, scope.aggregate).await.expect("reads") {
        let documents = Journal::<Paper>::new(Arc::clone(&store), Still::of(9));
        let found = documents.verify(scope, &head, |_, _, _| Ok(())).await.expect("reads");
        assert_eq!(found.faults, [""; 0]);
    }
}

fn explored(roles: &[Role], bounds: Bounds, moves: Moves) -> usize {
    explore(bounds, async |world| begin(world, roles, moves).await, end)
}

fn honestly(roles: &[Role], switches: usize, crashes: usize, faults: usize) -> usize {
    explored(roles, Bounds { switches, crashes, faults }, Moves::default())
}

/// Whoever drives dies at any step; whatever operation is lost, or happens later.
#[test]
fn a_document_ends_whole_wherever_its_driver_dies() {
    assert!(honestly(&[Role::Post(5)], 1, 1, 0) > 20);
    assert!(honestly(&[Role::Post(5), Role::Drive], 1, 1, 0) > 100);
    assert!(honestly(&[Role::Post(5)], 0, 0, 2) > 20);
}

/// A document that does not fit on a shelf changes nothing anywhere.
#[test]
fn a_document_with_a_refused_line_is_voided_wherever_its_driver_dies() {
    assert!(honestly(&[Role::Post(11), Role::Drive], 1, 1, 0) > 10);
}

/// Two processes drive the same document, and one would rather abort it.
#[test]
fn of_commit_and_abort_exactly_one_wins() {
    assert!(honestly(&[Role::Post(5), Role::Abort], 2, 0, 0) > 100);
    assert!(honestly(&[Role::Post(5), Role::Abort], 1, 1, 0) > 100);
    assert!(honestly(&[Role::Post(5), Role::Drive], 1, 0, 0) > 10);
}

/// A reader of both items sees a document on both or on none.
#[test]
fn a_reader_never_sees_half_a_document() {
    assert!(honestly(&[Role::Post(5), Role::Read], 2, 0, 0) > 100);
    assert!(honestly(&[Role::Post(5), Role::Read, Role::Abort], 1, 0, 0) > 20);
}

/// The proof that the exploration would notice: without asking documents half of one is seen, and a void that
/// leaves nothing behind lets a late hold in.
#[test]
fn a_naive_reader_and_a_forgetful_void_are_noticed() {
    let bounds = Bounds { switches: 2, crashes: 0, faults: 0 };
    let naive = [Role::Post(5), Role::ReadNaively];
    assert!(finds_fault(|| explored(&naive, bounds, Moves::default())));
    let forgetful = Moves { forgetful: true };
    assert!(finds_fault(|| explored(&[Role::Post(5), Role::Abort], bounds, forgetful)));
}

fn plain() -> (Papers, Journal<Shelf>) {
    papers(Arc::new(MemoryStore::cluster()), 1, Moves::default())
}

/// A round that was voided can be followed by another one; one that is open cannot; a repetition is the same.
#[tokio::test]
async fn a_document_has_one_round_after_the_other() {
    let (papers, items) = plain();
    put(&items, 1, 10).await;
    let document = aggregate(DOCUMENT);
    let refused = papers.post(TENANT, document, lines(11), meta(1)).await.expect("ends");
    let expected = Ended { round: 1, phase: Phase::Voided, reason: "there is not enough".into() };
    assert_eq!(refused, expected);
    let again = papers.post(TENANT, document, lines(11), meta(1)).await.expect("ends");
    assert_eq!(again, expected, "the same request");
    put(&items, 2, 7).await;
    let posted = papers.post(TENANT, document, lines(5), meta(2)).await.expect("ends");
    assert_eq!((posted.round, posted.phase), (2, Phase::Posted));
    assert_eq!(sum(&papers).await, Some(17));
    let none = papers.post(TENANT, document, vec![], meta(3)).await;
    assert_eq!(none, Err(Rejection::Domain(Refused::Lines)));
    let late = papers.abort(TENANT, document, "too late").await.expect("ends");
    assert_eq!((late.round, late.phase), (2, Phase::Posted));
    let never = papers.drive(TENANT, aggregate(99)).await.expect("reads");
    assert_eq!(never.phase, Phase::New);
}

/// A document may name an item twice; its lines hold and post one after the other.
#[tokio::test]
async fn lines_on_the_same_item_add_up() {
    let (papers, items) = plain();
    put(&items, 1, 10).await;
    let twice = |amount: i64| vec![Line::new(aggregate(1), what(-amount)); 2];
    let too_much = papers.post(TENANT, aggregate(DOCUMENT), twice(6), meta(1)).await.expect("ends");
    assert_eq!(too_much.phase, Phase::Voided);
    let fits = papers.post(TENANT, aggregate(DOCUMENT), twice(5), meta(2)).await.expect("ends");
    assert_eq!((fits.phase, sum(&papers).await), (Phase::Posted, Some(0)));
}

/// Who is in the way of a hold makes its document go on; the hold never goes away by itself.
#[tokio::test]
async fn an_item_settles_its_holds_by_asking_documents() {
    let (papers, items) = plain();
    put(&items, 1, 10).await;
    let hold = journal::document::Hold::new(TENANT, aggregate(DOCUMENT), 1, 0, what(-5));
    // A driver that began, put one hold, and died.
    let documents = Journal::<Paper>::new(Arc::clone(items.store()), Still::of(3));
    let begin = journal::document::Command::Begin(lines(5));
    let scope = Scope { tenant: TENANT, aggregate: aggregate(DOCUMENT) };
    documents.submit(scope, Request { command: begin, meta: meta(1) }).await.expect("begins");
    let scope = Scope { tenant: TENANT, aggregate: aggregate(1) };
    items.submit(scope, Request { command: Command::Hold(hold), meta: meta(2) }).await.expect("holds");
    let open = papers.post(TENANT, aggregate(DOCUMENT), lines(1), meta(3)).await;
    assert_eq!(open, Err(Rejection::Domain(Refused::Open)));
    papers.settle(TENANT, aggregate(1)).await.expect("settles");
    let (_, phase, _) = papers.phase(TENANT, aggregate(DOCUMENT)).await.expect("reads");
    assert_eq!((phase, sum(&papers).await), (Phase::Posted, Some(10)));
}
