//! After the first error nothing is written any more, and whoever opened the store is told.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use journal::store::{Outcome, StoreError};
use journal_embedded::{EmbeddedStore, Options};

use crate::crash::{child, directory_of_child};
use crate::{append, open, verified};

const DEADLINE: Duration = Duration::from_secs(30);

/// Opens a store whose `on_fatal` sends the reason.
fn watched(path: &std::path::Path, generation_bytes: usize) -> (EmbeddedStore, mpsc::Receiver<String>) {
    let (sender, reasons) = mpsc::channel();
    let on_fatal = move |reason: &str| sender.send(reason.to_owned()).expect("the test waits");
    let on_fatal: Option<journal_embedded::OnFatal> = Some(Arc::new(on_fatal));
    let options = Options { on_fatal, generation_bytes, segment_bytes: 1024 * 1024, ..Options::default() };
    (EmbeddedStore::open(path, options).expect("open"), reasons)
}

/// Writes until the store refuses, in a process whose files may not grow. Does nothing as a test.
#[tokio::test]
async fn child_that_may_not_write_much() {
    let Some(directory) = directory_of_child() else { return };
    let (store, reasons) = watched(&directory, 4 * 1024 * 1024);
    let before = verified(&store, 1).await;
    let failed = loop {
        match append(&store, 1, &[b'x'; 4_000]).await {
            Ok(seq) => println!("acknowledged {seq}"),
            Err(outcome) => break outcome,
        }
    };
    assert!(matches!(failed, Outcome::Unknown(StoreError::Unavailable(_))), "{failed:?}");
    let reason = reasons.recv_timeout(DEADLINE).expect("on_fatal was called");
    assert!(reason.contains("File too large"), "{reason}");
    let again = append(&store, 2, b"later").await.expect_err("stopped for good");
    assert_eq!(again, Outcome::Unknown(StoreError::Unavailable(reason)));
    assert!(verified(&store, 1).await > before, "reads still work");
}

/// A write that fails is the last one, is not acknowledged, and leaves a store that opens with all that
/// was. (The limit on file sizes makes writes fail as a full disk does.)
#[tokio::test]
async fn the_first_failed_write_ends_writing() {
    let directory = tempfile::tempdir().expect("directory");
    append(&open(directory.path()), 1, b"first").await.expect("applied");

    let inner = child("fatal::child_that_may_not_write_much", directory.path());
    // Segments of the log are shorter than 2 MiB (in blocks of 512 bytes), tables become longer.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""]).arg(inner.get_program());
    limited.args(inner.get_args()).envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let output = limited.stdout(Stdio::piped()).output().expect("child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let acknowledged =
        text.lines().filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse().ok()).max();

    let store = open(directory.path());
    let seq = verified(&store, 1).await;
    let acknowledged: u64 = acknowledged.expect("some were acknowledged");
    assert!(acknowledged > 100 && (acknowledged..=acknowledged + 1).contains(&seq), "{acknowledged} {seq}");
    append(&store, 1, b"goes on").await.expect("applied");
}

/// Tables that cannot be written are noticed without another write.
#[tokio::test]
async fn tables_that_cannot_be_written_end_writing() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, reasons) = watched(directory.path(), 64 * 1024);
    append(&store, 1, b"first").await.expect("applied");
    fs::remove_dir_all(directory.path().join("engine/keyspaces")).expect("remove");
    append(&store, 1, &[b'x'; 100_000]).await.expect("this one is in the log");
    let reason = reasons.recv_timeout(DEADLINE).expect("on_fatal was called");
    assert!(reason.contains("the tables do not follow the log"), "{reason}");
    let outcome = append(&store, 2, b"later").await.expect_err("stopped for good");
    assert!(matches!(outcome, Outcome::Unknown(StoreError::Unavailable(_))), "{outcome:?}");
}

/// A store that was closed finishes what waits, takes no more, and can be read.
#[tokio::test]
async fn a_closed_store_is_read_only() {
    let directory = tempfile::tempdir().expect("directory");
    let (store, reasons) = watched(directory.path(), 4 * 1024 * 1024);
    append(&store, 1, b"first").await.expect("applied");
    store.close();
    let outcome = append(&store, 1, b"second").await.expect_err("closed");
    assert_eq!(outcome, Outcome::Unknown(StoreError::Unavailable("the store is closed".into())));
    assert_eq!(verified(&store, 1).await, 1);
    assert!(reasons.try_recv().is_err(), "closing is no failure");
}
