//! A store that is not what it was does not open, and says why.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use journal_embedded::{EmbeddedStore, OpenError, Options};
use tempfile::TempDir;

use crate::{append, open, verified};

async fn filled(entries: usize) -> TempDir {
    let directory = tempfile::tempdir().expect("directory");
    let store = open(directory.path());
    add(&store, entries).await;
    directory
}

async fn add(store: &EmbeddedStore, entries: usize) {
    for number in 0..entries {
        append(store, 1, format!("entry {number}").as_bytes()).await.expect("applied");
    }
}

fn error(path: &Path) -> OpenError {
    EmbeddedStore::open(path, Options::default()).err().expect("an error")
}

fn accepting() -> Options {
    Options { accept_loss: true, ..Options::default() }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory");
    for file in fs::read_dir(from).expect("directory") {
        let path = file.expect("file").path();
        let target = to.join(path.file_name().expect("name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, target).expect("copy")),
        }
    }
}

fn journal(path: &Path) -> PathBuf {
    let files = fs::read_dir(path.join("engine")).expect("directory");
    let journals = files.map(|file| file.expect("file").path());
    journals.filter(|path| path.extension().is_some_and(|e| e == "jnl")).max().expect("a journal")
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("open");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[!byte[0]], at).expect("write");
}

/// Where in the file `text` begins last.
fn find(path: &Path, text: &str) -> u64 {
    let mut bytes = Vec::new();
    File::open(path).expect("open").read_to_end(&mut bytes).expect("read");
    bytes.windows(text.len()).rposition(|window| window == text.as_bytes()).expect("found") as u64
}

#[tokio::test]
async fn a_store_is_reopened_with_all_it_acknowledged() {
    let directory = filled(20).await;
    for round in 1..=3 {
        let store = open(directory.path());
        assert_eq!(verified(&store, 1).await, 20 * round);
        add(&store, 20).await;
    }
}

#[tokio::test]
async fn a_directory_is_used_once_at_a_time() {
    let directory = filled(1).await;
    let store = open(directory.path());
    let error = error(directory.path());
    assert!(matches!(&error, OpenError::Locked { path } if path == directory.path()), "{error}");
    drop(store);
    open(directory.path());
}

#[tokio::test]
async fn a_newer_format_is_left_alone() {
    let directory = filled(1).await;
    let format = directory.path().join("format");
    let text = fs::read_to_string(&format).expect("format");
    fs::write(&format, text.replace("journal 1", "journal 2")).expect("write");
    let error = error(directory.path());
    assert!(matches!(error, OpenError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    fs::write(&format, text).expect("write");
    assert_eq!(verified(&open(directory.path()), 1).await, 1);
}

#[tokio::test]
async fn a_directory_of_something_else_is_left_alone() {
    let directory = tempfile::tempdir().expect("directory");
    fs::write(directory.path().join("holiday.jpg"), "sun").expect("write");
    let error = error(directory.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("holiday.jpg"), "{error}");
    assert!(!directory.path().join("engine").exists());
}

#[tokio::test]
async fn a_malformed_format_is_damage() {
    let directory = filled(1).await;
    for text in ["", "cargo-pilot journal one\n", "cargo-pilot journal 1\nstore xyz\n", "PK\u{3}\u{4}"] {
        fs::write(directory.path().join("format"), text).expect("write");
        let error = error(directory.path());
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
}

/// INV-1: the engine's journal lost its end, as on a disk that lied about a sync.
#[tokio::test]
async fn a_shortened_journal_is_noticed() {
    let directory = filled(20).await;
    let journal = journal(directory.path());
    let cut = find(&journal, "entry 12");
    OpenOptions::new().write(true).open(&journal).expect("open").set_len(cut).expect("cut");

    let error = error(directory.path());
    assert!(matches!(error, OpenError::DataLost { acknowledged: 20, recovered: 12, .. }), "{error}");
    assert!(error.to_string().contains("Restore the whole directory"), "{error}");

    let store = EmbeddedStore::open(directory.path(), accepting()).expect("open");
    assert_eq!(verified(&store, 1).await, 12, "what is there is still whole");
    drop(store);
    open(directory.path());
}

/// INV-1: the engine's files are those of yesterday.
#[tokio::test]
async fn an_older_copy_under_the_same_mark_is_noticed() {
    let directory = filled(5).await;
    let backup = tempfile::tempdir().expect("directory");
    copy(&directory.path().join("engine"), backup.path());
    add(&open(directory.path()), 5).await;

    fs::remove_dir_all(directory.path().join("engine")).expect("remove");
    copy(backup.path(), &directory.path().join("engine"));
    let error = error(directory.path());
    assert!(matches!(error, OpenError::DataLost { acknowledged: 10, recovered: 5, .. }), "{error}");
}

#[tokio::test]
async fn a_vanished_engine_is_noticed() {
    let directory = filled(5).await;
    fs::remove_dir_all(directory.path().join("engine")).expect("remove");
    let error = error(directory.path());
    assert!(matches!(error, OpenError::DataLost { acknowledged: 5, recovered: 0, .. }), "{error}");
}

/// Two copies of one store went different ways: the engine of one does not pass for the other's.
#[tokio::test]
async fn another_history_of_the_same_store_is_noticed() {
    let directory = filled(5).await;
    let copied = tempfile::tempdir().expect("directory");
    copy(directory.path(), copied.path());
    add(&open(directory.path()), 3).await;
    append(&open(copied.path()), 2, b"elsewhere").await.expect("applied");
    add(&open(copied.path()), 5).await;

    fs::remove_dir_all(directory.path().join("engine")).expect("remove");
    copy(&copied.path().join("engine"), &directory.path().join("engine"));
    let error = error(directory.path());
    assert!(error.to_string().contains("group 8 is not the one"), "{error}");
}

#[tokio::test]
async fn the_engine_of_another_store_is_noticed() {
    let (directory, other) = (filled(5).await, filled(9).await);
    fs::remove_dir_all(directory.path().join("engine")).expect("remove");
    copy(&other.path().join("engine"), &directory.path().join("engine"));
    let error = error(directory.path());
    assert!(error.to_string().contains("another store"), "{error}");
}

/// Each slot of the mark stands in for the other; without both, or without the file, nothing says what
/// was acknowledged.
#[tokio::test]
async fn a_damaged_mark_is_replaced_by_the_other_slot() {
    for at in [30, 4096 + 30] {
        let directory = filled(20).await;
        flip(&directory.path().join("acknowledged"), at);
        assert_eq!(verified(&open(directory.path()), 1).await, 20);
    }
    let directory = filled(20).await;
    let mark = directory.path().join("acknowledged");
    flip(&mark, 30);
    flip(&mark, 4096 + 30);
    let both = error(directory.path());
    assert!(both.to_string().contains("no valid mark"), "{both}");
    fs::remove_file(&mark).expect("remove");
    let missing = error(directory.path());
    assert!(missing.to_string().contains("is missing"), "{missing}");

    drop(EmbeddedStore::open(directory.path(), accepting()).expect("open"));
    assert_eq!(verified(&open(directory.path()), 1).await, 20);
}

/// A power cut between the write and the sync of a group can leave it complete in length and wrong in
/// content. It was not acknowledged: the mark is older, and the store goes on without it.
#[tokio::test]
async fn a_torn_group_that_was_not_acknowledged_is_cut_off() {
    let directory = filled(20).await;
    let mark = fs::read(directory.path().join("acknowledged")).expect("mark");
    append(&open(directory.path()), 1, b"torn").await.expect("applied");
    fs::write(directory.path().join("acknowledged"), mark).expect("write");
    let journal = journal(directory.path());
    flip(&journal, find(&journal, "torn"));

    let store = open(directory.path());
    assert_eq!(verified(&store, 1).await, 20);
    add(&store, 5).await;
    drop(store);
    assert_eq!(verified(&open(directory.path()), 1).await, 25);
}

/// The same damage in a group that was acknowledged is a loss, and damage further up is not repaired.
#[tokio::test]
async fn a_damaged_group_that_was_acknowledged_is_noticed() {
    let directory = filled(20).await;
    let journal = journal(directory.path());
    flip(&journal, find(&journal, "entry 19"));
    let lost = error(directory.path());
    assert!(matches!(lost, OpenError::DataLost { acknowledged: 20, recovered: 19, .. }), "{lost}");

    let directory = filled(20).await;
    let journal = self::journal(directory.path());
    flip(&journal, find(&journal, "entry 9"));
    let before = fs::read(&journal).expect("journal");
    let damaged = error(directory.path());
    assert!(matches!(damaged, OpenError::Damaged { .. }), "{damaged}");
    assert!(fs::read(&journal).expect("journal") == before, "the evidence is kept");
}

#[tokio::test]
async fn the_reserve_is_there() {
    let directory = filled(1).await;
    let reserve = directory.path().join("reserve");
    assert_eq!(fs::metadata(&reserve).expect("reserve").len(), 16 << 20);
    fs::remove_file(&reserve).expect("remove");
    open(directory.path());
    assert_eq!(fs::metadata(&reserve).expect("reserve").len(), 16 << 20);
}
