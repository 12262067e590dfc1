//! Measures commits on a fresh store: single commits by 1, 8, 64 and 256 committers, then a bulk load in
//! groups of 1,000, then the recovery of what no table has.
//!
//! `cargo run --release -p journal-embedded --example commits -- [seconds [bulk [directory]]]`
//!
//! Sizes as in a stock service: head 300 B, entry 350 B, key row 50 B, index row 60 B; 10,000 aggregates.
//! Each commit is preceded by the look-up of its (new) idempotency key, as every request does.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use ids::{AggregateId, TenantId};
use journal::SharedStore;
use journal::store::{
    AttemptId, Chain, Commit, Head, IndexChange, KeyHash, KeyRow, NO_BUCKET, Order, Outcome,
};
use journal_embedded::{EmbeddedStore, Options};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const AGGREGATES: u64 = 10_000;
const LATENCY_US_MAX: u64 = 60_000_000;
const BULK_GROUP: u64 = 1_000;
const BULK_CALLERS: u64 = 8;
const READS: u64 = 20_000;
const RECOVERED_MAX: u64 = 1_000_000;

static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |default| args.next().map_or(default, |arg| arg.parse().expect("a number"));
    let (seconds, bulk) = (number(5), number(2_000_000));
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("runtime");

    for committers in [1, 8, 64, 256].into_iter().filter(|_| seconds > 0) {
        let directory = tempfile::tempdir_in(&parent).expect("directory");
        let store = open(directory.path());
        runtime.block_on(single(store, committers, Duration::from_secs(seconds)));
    }
    if bulk == 0 {
        return;
    }
    let directory = tempfile::tempdir_in(&parent).expect("directory");
    let store = open(directory.path());
    runtime.block_on(async {
        load(store.clone(), bulk).await;
        reads(&store).await;
    });
    drop(store);
    let start = Instant::now();
    drop(open(directory.path()));
    println!("reopened and closed in {} ms; {}", start.elapsed().as_millis(), memory());
    println!("on disk: {} B/commit", disk(directory.path()) / bulk);

    // All in the log, none in the tables: as after a crash, and far more than is ever left to them.
    let directory = tempfile::tempdir_in(&parent).expect("directory");
    let unbounded = Options { generation_bytes: usize::MAX / 4, ..Options::default() };
    let open = || Arc::new(EmbeddedStore::open(directory.path(), unbounded.clone()).expect("open"));
    runtime.block_on(load(open(), bulk.min(RECOVERED_MAX)));
    let start = Instant::now();
    drop(open());
    println!(
        "recovered {} commits in {} ms; {}",
        bulk.min(RECOVERED_MAX),
        start.elapsed().as_millis(),
        memory()
    );
}

fn open(path: &std::path::Path) -> SharedStore {
    Arc::new(EmbeddedStore::open(path, Options::default()).expect("open"))
}

async fn single(store: SharedStore, committers: u64, time: Duration) {
    let (start, cpu) = (Instant::now(), cpu_ms());
    let tasks: Vec<_> = (0..committers)
        .map(|committer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut latency = histogram();
                let share = AGGREGATES / committers;
                for round in 0.. {
                    let aggregate = committer * share + (round * 7919) % share;
                    let begin = Instant::now();
                    if begin - start > time {
                        break;
                    }
                    commit(&store, vec![make(aggregate, round / share)]).await;
                    record(&mut latency, begin);
                }
                latency
            })
        })
        .collect();
    let mut latency = histogram();
    for task in tasks {
        latency.add(task.await.expect("task")).expect("histogram");
    }
    let took_ms = start.elapsed().as_millis().max(1);
    let commits = u128::from(latency.len());
    println!(
        "{committers:>3} committers: {:>6} commits/s, {}, CPU {:>3} us/commit, {}",
        commits * 1000 / took_ms,
        summary(&latency),
        u128::from(cpu_ms() - cpu) * 1000 / commits.max(1),
        memory(),
    );
}

/// Callers write groups of 1,000 commits to different aggregates; each aggregate belongs to one caller.
async fn load(store: SharedStore, commits: u64) {
    let (start, cpu) = (Instant::now(), cpu_ms());
    let done = Arc::new(AtomicU64::new(0));
    let share = AGGREGATES / BULK_CALLERS;
    let callers: Vec<_> = (0..BULK_CALLERS)
        .map(|caller| {
            let (store, done) = (store.clone(), done.clone());
            tokio::spawn(async move {
                let mut latency = histogram();
                let mut seqs = vec![0; usize::try_from(share).expect("share")];
                for round in 0..commits / BULK_CALLERS / BULK_GROUP {
                    let first = round * BULK_GROUP % share;
                    let group = (first..first + BULK_GROUP).map(|n| {
                        let seq = &mut seqs[usize::try_from(n % share).expect("share")];
                        *seq += 1;
                        make(caller * share + n % share, *seq - 1)
                    });
                    let (group, begin) = (group.collect(), Instant::now());
                    commit(&store, group).await;
                    record(&mut latency, begin);
                    done.fetch_add(BULK_GROUP, Ordering::Relaxed);
                }
                latency
            })
        })
        .collect();
    let (mut last, mut before) = (Instant::now(), 0);
    while callers.iter().any(|caller| !caller.is_finished()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = done.load(Ordering::Relaxed);
        if now - before >= commits / 10 {
            let took_ms = last.elapsed().as_millis().max(1);
            println!("  at {now}: {} commits/s, {}", u128::from(now - before) * 1000 / took_ms, memory());
            (last, before) = (Instant::now(), now);
        }
    }
    let mut latency = histogram();
    for caller in callers {
        latency.add(caller.await.expect("caller")).expect("histogram");
    }
    let (took_ms, done) = (start.elapsed().as_millis().max(1), done.load(Ordering::Relaxed).max(1));
    println!(
        "bulk: {done} commits, {} commits/s, a group {}, CPU {} us/commit, {}",
        u128::from(done) * 1000 / took_ms,
        summary(&latency),
        (cpu_ms() - cpu) * 1000 / done,
        memory(),
    );
}

/// One reader, uniform over the aggregates.
async fn reads(store: &SharedStore) {
    let tenant = TenantId::from_bytes([7; 16]);
    let [mut head, mut absent, mut last] = [histogram(), histogram(), histogram()];
    for round in 0..READS {
        let aggregate = AggregateId::derive(&[&(round * 7919 % AGGREGATES).to_be_bytes()]);
        let begin = Instant::now();
        assert!(store.head(tenant, aggregate).await.expect("head").is_some());
        record(&mut head, begin);
        let hash = KeyHash(noise(u64::MAX - round)[..9].try_into().expect("9 bytes"));
        let begin = Instant::now();
        assert_eq!(store.key(tenant, hash).await, Ok(None));
        record(&mut absent, begin);
        let begin = Instant::now();
        let entries = store.entries(tenant, aggregate, 0, u64::MAX, Order::Descending, 50).await;
        assert_eq!(entries.expect("entries").len(), 50);
        record(&mut last, begin);
    }
    println!("read: head {}; absent key {}; last 50 {}", summary(&head), summary(&absent), summary(&last));
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("histogram")
}

fn record(latency: &mut Histogram<u64>, begin: Instant) {
    latency.saturating_record(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
}

fn summary(latency: &Histogram<u64>) -> String {
    let (p50, p99) = (latency.value_at_quantile(0.5), latency.value_at_quantile(0.99));
    format!("p50 {p50} us, p99 {p99} us, max {} us", latency.max())
}

async fn commit(store: &SharedStore, group: Vec<Commit>) {
    for commit in &group {
        assert_eq!(store.key(commit.tenant, commit.keys[0].0).await, Ok(None));
    }
    assert_eq!(store.commit(group).await, Outcome::Applied);
}

fn make(aggregate: u64, expect: u64) -> Commit {
    let number = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
    let noise = noise(number);
    let aggregate = AggregateId::derive(&[&aggregate.to_be_bytes()]);
    let head = Head {
        seq: expect + 1,
        attempt: AttemptId(noise[..16].try_into().expect("16 bytes")),
        chain: Chain(noise[32..64].try_into().expect("32 bytes")),
        format: 1,
        header: filled(240, &noise),
    };
    let key = KeyRow {
        aggregate,
        first: head.seq,
        count: 1,
        fingerprint: noise[16..32].try_into().expect("16 bytes"),
        expires_s: 0,
    };
    let index =
        IndexChange { index: 1, key: filled(24, &number.to_be_bytes()), value: Some(filled(20, &noise)) };
    Commit {
        tenant: TenantId::from_bytes([7; 16]),
        aggregate,
        expect,
        bucket: NO_BUCKET,
        head,
        entries: vec![filled(350, &noise)],
        rows: Vec::new(),
        keys: vec![(KeyHash(noise[..9].try_into().expect("9 bytes")), key)],
        claims: Vec::new(),
        index: vec![index],
    }
}

/// 64 bytes that do not compress.
fn noise(number: u64) -> [u8; 64] {
    let mut noise = [0; 64];
    for (part, chunk) in noise.chunks_mut(16).enumerate() {
        let id = AggregateId::derive(&[&number.to_be_bytes(), &part.to_be_bytes()]);
        chunk.copy_from_slice(id.as_bytes());
    }
    noise
}

/// `len` bytes: the noise, then text as of a record.
fn filled(len: usize, noise: &[u8]) -> Bytes {
    const TEXT: &[u8] = b"receipt 12.500000 pcs at main warehouse, balance 1234.500000, order ";
    noise.iter().chain(TEXT.iter().cycle()).copied().take(len).collect()
}

/// CPU time of the process so far.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().expect("ticks"));
    ticks.sum::<u64>() * 10
}

/// Bytes that are allocated for the files below `path`.
fn disk(path: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(path).expect("directory").map(|file| file.expect("file"));
    let size = |file: std::fs::DirEntry| match file.metadata().expect("metadata") {
        folder if folder.is_dir() => disk(&file.path()),
        file => file.blocks() * 512,
    };
    files.map(size).sum()
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    format!("{} MB now, {} MB peak", value("VmRSS"), value("VmHWM"))
}
