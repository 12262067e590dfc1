//! What folding brings: posts through a journal against a bare conditional batch, in the same run on one aggregate.
//!
//! `cargo bench -p journal-cql`

#![allow(dead_code, reason = "helpers of the tests")]
#![allow(clippy::float_arithmetic, reason = "figures for people")]

#[path = "../tests/it/cluster.rs"]
mod cluster;
#[path = "../tests/it/nodes.rs"]
mod nodes;
#[path = "../tests/it/tally.rs"]
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant};

use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};

use crate::tally::{Ledger, Process, TENANT, aggregate, commits};
use nodes::{drop_keyspace, keyspace, one_node, session};

const EACH: Duration = Duration::from_secs(10);

/// Conditional batches of one row, one behind the other, as a program without a journal would write them.
async fn bare(config: &journal_cql::Config) -> u32 {
    let session = session(config).await;
    let text = |text: &str| text.replace("journal", &format!("{}.journal", config.keyspace));
    let condition = text("UPDATE journal SET seq=? WHERE tenant=? AND agg=? IF seq=?");
    let condition = session.prepare(condition).await.expect("prepares");
    let row = text("INSERT INTO journal (tenant, agg, kind, k, v) VALUES (?, ?, 1, ?, ?)");
    let row = session.prepare(row).await.expect("prepares");
    let mut batch = Batch::new(BatchType::Logged);
    batch.set_consistency(Consistency::LocalQuorum);
    batch.append_statement(condition);
    batch.append_statement(row);
    let (of, at) = (TENANT.as_bytes().to_vec(), aggregate(200).as_bytes().to_vec());
    let (since, mut seq) = (Instant::now(), 0_i64);
    while since.elapsed() < EACH {
        let key = (seq + 1).to_be_bytes().to_vec();
        let expect = Some(seq).filter(|seq| *seq > 0);
        let values = ((seq + 1, &of, &at, expect), (&of, &at, key, vec![7_u8; 100]));
        session.batch(&batch, values).await.expect("writes");
        seq += 1;
    }
    u32::try_from(seq).expect("few")
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let node = tokio::task::block_in_place(one_node);
    let config = keyspace(node).await;
    bare(&config).await; // warms the node
    let bare = bare(&config).await;
    eprintln!("bare conditional batches: {:.0}/s", per_second(bare as usize));
    let process = Arc::new(Process::start(&config).await);
    for (callers, to) in [(1, 1), (64, 2), (512, 3)] {
        let ledger = Arc::new(Ledger::default());
        let write = |writer| {
            let (ledger, process) = (Arc::clone(&ledger), Arc::clone(&process));
            tokio::spawn(async move { ledger.write(&process, writer, &[to], u32::MAX).await })
        };
        let writers: Vec<_> = (0..callers).map(write).collect();
        tokio::time::sleep(EACH).await;
        let posts = ledger.count();
        ledger.stop();
        for writer in writers {
            writer.await.expect("a writer");
        }
        ledger.compare(&process, &[to]).await;
        let commits = commits(&*process.store, to).await;
        eprintln!(
            "{callers} callers: {:.0} posts/s in {:.0} commits/s, {:.1} times a bare batch",
            per_second(posts),
            per_second(commits),
            per_second(posts) / per_second(bare as usize)
        );
    }
    drop_keyspace(&config).await;
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(count: usize) -> f64 {
    count as f64 / EACH.as_secs_f64()
}
