//! A process that is killed loses nothing that it acknowledged.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ids::AggregateId;
use journal_embedded::Options;

use crate::{append, open, verified};

const DIRECTORY: &str = "JOURNAL_EMBEDDED_CRASH_DIRECTORY";
const WRITERS: u8 = 8;
const KILLS: u8 = 15;

/// Runs one test of this binary in a process of its own, with `directory` for its store.
pub(crate) fn child(test: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(DIRECTORY, directory);
    command
}

/// The directory, in a process that [`child`] started.
pub(crate) fn directory_of_child() -> Option<std::path::PathBuf> {
    std::env::var_os(DIRECTORY).map(Into::into)
}

/// Prints `acknowledged <writer> <seq>` for each commit until it is killed. Does nothing when it is run
/// as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_commits_for_ever() {
    let Some(directory) = directory_of_child() else { return };
    // Small, so that kills also hit new segments, tables and merges.
    let options = Options { generation_bytes: 64 * 1024, segment_bytes: 32 * 1024, ..Options::default() };
    let store = std::sync::Arc::new(journal_embedded::EmbeddedStore::open(directory, options).expect("open"));
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0_u64.. {
                let entry = AggregateId::derive(&[&[writer], &number.to_be_bytes()]).to_string().repeat(10);
                let seq = append(&store, writer, entry.as_bytes()).await.expect("applied");
                println!("acknowledged {writer} {seq}");
            }
        })
    });
    futures::future::join_all(writers).await;
}

/// Reads what the child acknowledged until `lines` lines came, kills it, and reads the rest.
fn kill_after(mut child: Child, lines: usize, pause: Duration, acknowledged: &mut [u64]) {
    let output = BufReader::new(child.stdout.take().expect("stdout"));
    for (number, line) in output.lines().enumerate() {
        if number == lines {
            std::thread::sleep(pause);
            child.kill().expect("kill");
        }
        let Ok(line) = line else { break };
        let mut words = line.split(' ').skip_while(|word| *word != "acknowledged").skip(1);
        let (Some(writer), Some(seq)) = (words.next(), words.next()) else { continue };
        // The last line may be cut anywhere; a shorter number only asks for less.
        let (Ok(writer), Ok(seq)) = (writer.parse::<usize>(), seq.parse()) else { continue };
        acknowledged[writer] = acknowledged[writer].max(seq);
    }
    child.wait().expect("wait");
}

/// INV-1, INV-2: killed at random moments, reopened each time: every acknowledged commit is there, once
/// and in its place, and all chains compute.
#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let directory = tempfile::tempdir().expect("directory");
    let mut acknowledged = vec![0; usize::from(WRITERS)];
    for kill in 0..KILLS {
        // Random enough: from the first commit to some thousand, at an odd moment behind a line.
        let random = AggregateId::derive(&[directory.path().as_os_str().as_encoded_bytes(), &[kill]]);
        let [a, b, c, d, ..] = *random.as_bytes();
        let lines = usize::from(u16::from_be_bytes([a, b])) >> (c % 10);
        let child = child("crash::child_that_commits_for_ever", directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("child");
        kill_after(child, lines.min(4000), Duration::from_micros(u64::from(d) * 20), &mut acknowledged);

        let store = open(directory.path());
        for writer in 0..WRITERS {
            let seq = verified(&store, writer).await;
            let expected = acknowledged[usize::from(writer)];
            assert!(seq >= expected, "kill {kill}: writer {writer} was told {expected}, is at {seq}");
            assert!(seq <= expected + 1, "kill {kill}: at most one commit was open");
            acknowledged[usize::from(writer)] = seq;
        }
    }
    assert!(acknowledged.iter().sum::<u64>() > 0);
}
