//! Three nodes, of which one or two go away: nothing acknowledged is lost, nothing is posted twice, and writes
//! resume.

use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::store::{Commit, Outcome, Refusal, Store, StoreError};
use journal_cql::Config;

use crate::cluster::Cluster;
use crate::keyspace;
use crate::tally::{Ledger, Process, TENANT, aggregate};

/// How long writes may stand still when one node of three goes away.
const RESUME_MAX: Duration = Duration::from_secs(10);
/// Acknowledgements before a fault, and after it.
const SOME: usize = 40;
const SOME_MAX: Duration = Duration::from_secs(120);

/// Seconds for which a node is paused; more by hand: `CQL_PAUSE_S=30`.
fn pause() -> Duration {
    let seconds = std::env::var("CQL_PAUSE_S").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

/// Three nodes, for one test at a time.
async fn three_nodes() -> tokio::sync::MutexGuard<'static, &'static Cluster> {
    static NODES: OnceLock<tokio::sync::Mutex<&'static Cluster>> = OnceLock::new();
    let nodes = tokio::task::block_in_place(|| {
        NODES.get_or_init(|| tokio::sync::Mutex::new(crate::kept(Cluster::start(3))))
    });
    let nodes = nodes.lock().await;
    tokio::task::block_in_place(|| nodes.restore());
    nodes
}

/// Writers of two processes, to single aggregates and to pairs of them.
struct Load {
    ledger: Arc<Ledger>,
    processes: Vec<Arc<Process>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

const AGGREGATES: [u8; 4] = [1, 2, 3, 4];

impl Load {
    async fn start(config: &Config) -> Load {
        let ledger = Arc::new(Ledger::default());
        let (mut processes, mut tasks) = (Vec::new(), Vec::new());
        for number in 0..2_u16 {
            let process = Arc::new(Process::start(config).await);
            for (writer, to) in (number * 8..).zip([&[1][..], &[2], &[3], &[1, 2], &[3, 4], &[4, 1]]) {
                let (ledger, process) = (Arc::clone(&ledger), Arc::clone(&process));
                tasks.push(tokio::spawn(async move { ledger.write(&process, writer, to, u32::MAX).await }));
            }
            processes.push(process);
        }
        Load { ledger, processes, tasks }
    }

    async fn some_more(&self) {
        let (since, count) = (Instant::now(), self.ledger.count());
        while self.ledger.count() < count + SOME {
            assert!(since.elapsed() < SOME_MAX, "writes stand still: {} acknowledged", self.ledger.count());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self, name: &str, from: Instant) {
        let gap = self.ledger.longest_gap(from);
        self.ledger.stop();
        for task in self.tasks {
            task.await.expect("a writer");
        }
        self.ledger.compare(&self.processes[0], &AGGREGATES).await;
        let (unknown, refused) = (&self.ledger.unknown, &self.ledger.refused);
        eprintln!(
            "{name}: {} acknowledged, {unknown:?} unknown, {refused:?} not written, longest gap {gap:?}",
            self.ledger.count()
        );
    }
}

/// An aggregate that the load leaves alone.
const LONELY: u8 = 9;

/// One entry there.
fn one(expect: u64) -> Commit {
    let entry = Bytes::from_static(b"entry");
    Commit { aggregate: aggregate(LONELY), ..crate::tables::commit(expect, vec![entry]) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_of_three_is_killed() {
    let nodes = three_nodes().await;
    let load = Load::start(&keyspace(&nodes).await).await;
    load.some_more().await;
    let begun = Instant::now();
    for at in [1, 0] {
        let from = Instant::now();
        tokio::task::block_in_place(|| nodes.kill(at));
        load.some_more().await;
        assert!(load.ledger.longest_gap(from) <= RESUME_MAX, "{:?}", load.ledger.longest_gap(from));
        tokio::task::block_in_place(|| nodes.restore());
        load.some_more().await;
    }
    load.end("killed", begun).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_of_three_is_paused() {
    let nodes = three_nodes().await;
    let load = Load::start(&keyspace(&nodes).await).await;
    load.some_more().await;
    let from = Instant::now();
    nodes.pause(0);
    while from.elapsed() < pause() {
        load.some_more().await;
    }
    // What it was sent before and during the pause may be carried out now.
    nodes.go_on(0);
    load.some_more().await;
    let gap = load.ledger.longest_gap(from);
    assert!(gap <= RESUME_MAX, "{gap:?}");
    load.end("paused", from).await;
}

/// Without a majority nothing is acknowledged; with one again writes resume by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_of_three_are_away() {
    let nodes = three_nodes().await;
    let config = keyspace(&nodes).await;
    let store = crate::store(&config).await;
    let load = Load::start(&config).await;
    load.some_more().await;
    assert_eq!(store.commit(vec![one(0)]).await, Outcome::Applied);
    tokio::task::block_in_place(|| {
        nodes.pause(1);
        nodes.kill(2);
    });
    // What a majority had written is still answered by the one that is left.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let from = Instant::now();
    tokio::time::sleep(pause()).await;
    assert_eq!(load.ledger.since(from), 0, "acknowledged by one node of three");
    // Nobody knows what becomes of a commit, and nobody says that he does.
    for _ in 0..2 {
        let outcome = store.commit(vec![one(1)]).await;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
        let head = store.head(TENANT, aggregate(LONELY)).await;
        assert!(matches!(head, Err(StoreError::Unavailable(_))), "{head:?}");
    }
    let back = Instant::now();
    nodes.go_on(1);
    let resumed = load.ledger.next(RESUME_MAX).await;
    eprintln!("resumed after {resumed:?}");
    let (decided, since) = (|outcome: &Outcome| !matches!(outcome, Outcome::Unknown(_)), Instant::now());
    let mut outcome = store.commit(vec![one(1)]).await;
    while !decided(&outcome) {
        assert!(since.elapsed() < RESUME_MAX, "{outcome:?}");
        outcome = store.commit(vec![one(1)]).await;
    }
    let moved = Outcome::Refused(Refusal::Moved { at: 0, current: 2 });
    assert!(outcome == Outcome::Applied || outcome == moved, "{outcome:?}");
    assert_eq!(store.head(TENANT, aggregate(LONELY)).await.expect("head").map(|head| head.seq), Some(2));
    load.some_more().await;
    tokio::task::block_in_place(|| nodes.restore());
    load.some_more().await;
    load.end("two away", back).await;
}

const WORKER: &str = "CQL_WORKER";
const PROCESSES: u16 = 8;
const WRITERS: u16 = 8;
const POSTS: u32 = 4;

/// One of the processes of the test below, where the variable names the keyspace; nothing otherwise.
#[test]
fn a_worker_of_another_test() {
    let Ok(worker) = std::env::var(WORKER) else { return };
    let (number, rest) = worker.split_once(' ').expect("a number");
    let (keyspace, nodes) = rest.split_once(' ').expect("a keyspace");
    let first = number.parse::<u16>().expect("a number") * WRITERS;
    let contact_points = nodes.split(',').map(str::to_owned).collect();
    let config = Config::new(contact_points, keyspace, crate::cluster::DATACENTER);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let process = Process::start(&config).await;
        let ledger = Ledger::default();
        let writers = (first..first + WRITERS).map(|writer| ledger.write(&process, writer, &[1], POSTS));
        futures::future::join_all(writers).await;
        assert_eq!(ledger.count(), usize::from(WRITERS) * POSTS as usize);
    });
}

/// Processes that share nothing but the database all make progress on one aggregate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_write_to_one_aggregate() {
    let nodes = three_nodes().await;
    let config = keyspace(&nodes).await;
    let since = Instant::now();
    let worker = |number: u16| {
        let mut command = Command::new(std::env::current_exe().expect("itself"));
        command.args(["--exact", "faults::a_worker_of_another_test", "--nocapture"]);
        command.env(WORKER, format!("{number} {} {}", config.keyspace, config.contact_points.join(",")));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        crate::cluster::die_with_parent(&mut command);
        command.spawn().expect("a worker starts")
    };
    let workers: Vec<_> = (0..PROCESSES).map(worker).collect();
    let ends = tokio::task::spawn_blocking(|| {
        workers
            .into_iter()
            .map(|worker| worker.wait_with_output().expect("a worker ends"))
            .collect::<Vec<_>>()
    });
    for end in ends.await.expect("ends") {
        assert!(end.status.success(), "{}", String::from_utf8_lossy(&end.stderr));
    }
    let took = since.elapsed();
    let process = Process::start(&config).await;
    let posts = crate::tally::posts(&*process.store, 1).await;
    let mut each = posts.clone();
    each.sort();
    each.dedup();
    let expected = usize::from(PROCESSES * WRITERS) * POSTS as usize;
    assert_eq!((posts.len(), each.len()), (expected, expected));
    let commits = crate::tally::commits(&*process.store, 1).await;
    eprintln!("{expected} posts of 64 writers in 8 processes: {took:?}, {commits} commits");
    assert!(commits < expected, "nothing was folded");
    Ledger::default().compare(&process, &[1]).await;
}
