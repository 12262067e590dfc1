//! A store that is not what it was does not open, and says why.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use journal::feed::FeedStore;
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

/// The segment of the log that holds `text`.
fn segment(path: &Path, text: &str) -> PathBuf {
    let files = fs::read_dir(path.join("log")).expect("directory");
    let mut segments = files.map(|file| file.expect("file").path());
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).expect("read");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    segments.find(holds).expect("a segment")
}

/// Puts a copy of `from` in the place of `to`.
fn replace(from: &Path, to: &Path) {
    fs::remove_dir_all(to).expect("remove");
    copy(from, to);
}

/// A store that has written its tables, and used segments of its log again.
async fn settled(groups: usize) -> TempDir {
    let directory = tempfile::tempdir().expect("directory");
    let options = Options { generation_bytes: 1024, segment_bytes: 1024, ..Options::default() };
    let store = EmbeddedStore::open(directory.path(), options).expect("open");
    add(&store, groups).await;
    drop(store);
    directory
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

/// INV-7: what was not forgotten is heard again after a restart, from the log and from the tables; what was
/// forgotten is not.
#[tokio::test]
async fn the_feed_survives_a_restart() {
    for options in [Options::default(), crate::flushing()] {
        let directory = tempfile::tempdir().expect("directory");
        let open = || EmbeddedStore::open(directory.path(), options.clone()).expect("open");
        let mut upto = 0;
        for round in 1..=4 {
            let store = open();
            let page = store.feed(0, 1000).await.expect("feed");
            assert_eq!(page.forgotten, upto);
            add(&store, 10).await;
            let page = store.feed(0, 1000).await.expect("feed");
            let heard: Vec<_> = page.groups.iter().flat_map(|group| &group.changes).map(|c| c.seq).collect();
            assert_eq!(heard.last(), Some(&(10 * round)));
            assert!(heard.is_sorted() && heard.len() as u64 == if round == 1 { 10 } else { 15 }, "{heard:?}");
            upto = page.groups[page.groups.len() - 6].number;
            store.forget_feed(upto).await.expect("forget");
        }
        let store = open();
        let page = store.feed(0, 1000).await.expect("feed");
        assert_eq!((page.forgotten, page.groups.len()), (upto, 5));
    }
}

/// A group holds what queued, in any order; its hash is that of the order in which it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_everything_is_read_again() {
    let directory = tempfile::tempdir().expect("directory");
    let store = open(directory.path());
    for _ in 0..50 {
        let all = async {
            let forget = async {
                let last = store.feed(0, usize::MAX).await.expect("feed").last;
                for upto in last.saturating_sub(5)..=last {
                    store.forget_feed(upto).await.expect("forget");
                }
            };
            let appends = (1..=8_u8).map(|to| append(&store, to, b"beside it"));
            futures::future::join(forget, futures::future::join_all(appends)).await
        };
        for applied in all.await.1 {
            applied.expect("applied");
        }
    }
    drop(store);
    let store = open(directory.path());
    for of in 1..=8 {
        assert_eq!(verified(&store, of).await, 50);
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
async fn another_format_is_left_alone() {
    let directory = filled(1).await;
    let format = directory.path().join("format");
    let text = fs::read_to_string(&format).expect("format");
    fs::write(&format, text.replace("journal 2", "journal 3")).expect("write");
    let error = error(directory.path());
    assert!(matches!(error, OpenError::NewerFormat { found: 3, supported: 2, .. }), "{error}");
    fs::write(&format, text.replace("journal 2", "journal 1")).expect("write");
    let error = self::error(directory.path());
    assert!(matches!(error, OpenError::OlderFormat { found: 1, supported: 2, .. }), "{error}");
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
    for text in ["", "cargo-pilot journal one\n", "cargo-pilot journal 2\nstore xyz\n", "PK\u{3}\u{4}"] {
        fs::write(directory.path().join("format"), text).expect("write");
        let error = error(directory.path());
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
}

/// INV-1: the log lost its end, as on a disk that lied about a sync.
#[tokio::test]
async fn a_shortened_log_is_noticed() {
    let directory = filled(20).await;
    let segment = segment(directory.path(), "entry 12");
    let cut = find(&segment, "entry 12");
    OpenOptions::new().write(true).open(&segment).expect("open").set_len(cut).expect("cut");

    let error = error(directory.path());
    assert!(matches!(error, OpenError::DataLost { acknowledged: 20, recovered: 12, .. }), "{error}");
    assert!(error.to_string().contains("Restore the whole directory"), "{error}");

    let store = EmbeddedStore::open(directory.path(), accepting()).expect("open");
    assert_eq!(verified(&store, 1).await, 12, "what is there is still whole");
    add(&store, 3).await;
    drop(store);
    assert_eq!(verified(&open(directory.path()), 1).await, 15);
}

/// INV-1: the log is that of yesterday.
#[tokio::test]
async fn an_older_copy_under_the_same_mark_is_noticed() {
    let directory = filled(5).await;
    let backup = tempfile::tempdir().expect("directory");
    copy(&directory.path().join("log"), backup.path());
    add(&open(directory.path()), 5).await;

    replace(backup.path(), &directory.path().join("log"));
    let error = error(directory.path());
    assert!(matches!(error, OpenError::DataLost { acknowledged: 10, recovered: 5, .. }), "{error}");
}

#[tokio::test]
async fn a_vanished_log_is_noticed() {
    let directory = filled(5).await;
    fs::remove_dir_all(directory.path().join("log")).expect("remove");
    let error = error(directory.path());
    assert!(matches!(error, OpenError::DataLost { acknowledged: 5, recovered: 0, .. }), "{error}");
}

/// The log is the truth: tables that are gone are written again as long as it has everything.
#[tokio::test]
async fn a_vanished_engine_is_made_anew_from_the_log() {
    let directory = filled(5).await;
    fs::remove_dir_all(directory.path().join("engine")).expect("remove");
    assert_eq!(verified(&open(directory.path()), 1).await, 5);
}

#[tokio::test]
async fn a_vanished_engine_behind_a_log_that_went_on_is_noticed() {
    let directory = settled(60).await;
    assert_eq!(verified(&open(directory.path()), 1).await, 60);
    fs::remove_dir_all(directory.path().join("engine")).expect("remove");
    let error = error(directory.path());
    assert!(error.to_string().contains("group 1 is damaged or missing"), "{error}");
}

/// Two copies of one store went different ways: the log of one does not pass for the other's.
#[tokio::test]
async fn another_history_of_the_same_store_is_noticed() {
    let directory = filled(5).await;
    let copied = tempfile::tempdir().expect("directory");
    copy(directory.path(), copied.path());
    add(&open(directory.path()), 3).await;
    append(&open(copied.path()), 2, b"elsewhere").await.expect("applied");
    add(&open(copied.path()), 5).await;

    replace(&copied.path().join("log"), &directory.path().join("log"));
    let error = error(directory.path());
    assert!(error.to_string().contains("group 8 is not the one"), "{error}");
}

#[tokio::test]
async fn the_files_of_another_store_are_noticed() {
    for part in ["engine", "log"] {
        let (directory, other) = (settled(60).await, settled(70).await);
        replace(&other.path().join(part), &directory.path().join(part));
        let error = error(directory.path());
        let expected = if part == "engine" { "another store" } else { "lost data" };
        assert!(error.to_string().contains(expected), "{error}");
    }
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
    let segment = segment(directory.path(), "torn");
    flip(&segment, find(&segment, "torn"));

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
    let last = segment(directory.path(), "entry 19");
    flip(&last, find(&last, "entry 19"));
    let lost = error(directory.path());
    assert!(matches!(lost, OpenError::DataLost { acknowledged: 20, recovered: 19, .. }), "{lost}");

    let directory = filled(20).await;
    let last = segment(directory.path(), "entry 9");
    flip(&last, find(&last, "entry 9"));
    let before = fs::read(&last).expect("segment");
    let damaged = error(directory.path());
    assert!(damaged.to_string().contains("group 10 is damaged or missing, group 20 is there"), "{damaged}");
    assert!(fs::read(&last).expect("segment") == before, "the evidence is kept");

    let store = EmbeddedStore::open(directory.path(), accepting()).expect("open");
    assert_eq!(verified(&store, 1).await, 9);
    add(&store, 2).await;
    drop(store);
    assert_eq!(verified(&open(directory.path()), 1).await, 11, "what was given up does not come back");
}

/// Tables that were rolled back to an older copy lack groups that the log has given up.
#[tokio::test]
async fn an_older_copy_of_the_tables_is_noticed() {
    let directory = settled(40).await;
    let backup = tempfile::tempdir().expect("directory");
    copy(&directory.path().join("engine"), backup.path());
    let options = Options { generation_bytes: 1024, segment_bytes: 1024, ..Options::default() };
    let store = EmbeddedStore::open(directory.path(), options).expect("open");
    add(&store, 60).await;
    drop(store);

    replace(backup.path(), &directory.path().join("engine"));
    let error = error(directory.path());
    assert!(error.to_string().contains("is damaged or missing"), "{error}");
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

/// The folders of the engine's tables.
fn tables(path: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(path.join("engine").join("keyspaces")).expect("directory");
    folders
        .map(|folder| folder.expect("folder").path())
        .filter(|path| path.join("current").exists())
        .collect()
}

/// The engine would begin such a table anew, empty: a repeated request would be carried out again.
#[tokio::test]
async fn a_table_without_its_list_of_files_is_noticed() {
    let directory = settled(40).await;
    for table in tables(directory.path()) {
        let current = table.join("current");
        let bytes = fs::read(&current).expect("read");
        fs::remove_file(&current).expect("remove");
        let missing = error(directory.path());
        assert!(missing.to_string().contains("the file 'current' is missing"), "{missing}");
        fs::write(&current, &bytes[1..]).expect("write");
        let malformed = error(directory.path());
        assert!(malformed.to_string().contains("the file 'current' is malformed"), "{malformed}");
        fs::write(&current, &bytes).expect("write");
    }
    assert_eq!(verified(&open(directory.path()), 1).await, 40);
}

#[tokio::test]
async fn each_change_of_a_list_of_files_is_noticed() {
    let directory = settled(40).await;
    let table = tables(directory.path()).remove(0);
    let lists = fs::read_dir(&table).expect("directory").map(|file| file.expect("file").path());
    let list = lists.filter(|path| path.file_name().expect("name").to_string_lossy().starts_with('v')).max();
    let list = list.expect("a list");
    for at in 0..fs::metadata(&list).expect("list").len() {
        flip(&list, at);
        let changed = error(directory.path());
        assert!(changed.to_string().contains("is not the one that was written"), "byte {at}: {changed}");
        flip(&list, at);
    }
    assert_eq!(verified(&open(directory.path()), 1).await, 40);
}

/// Not only what is read by chance.
#[tokio::test]
async fn a_check_finds_each_changed_file() {
    // A number that divides no length of a block: all parts of the files are met.
    const STEP: usize = 97;
    let directory = settled(40).await;
    assert_eq!(open(directory.path()).check_files().expect("readable"), Vec::<String>::new());
    let files = tables(directory.path()).into_iter().flat_map(|table| {
        let files = fs::read_dir(table.join("tables")).into_iter().flatten();
        files.map(|file| file.expect("file").path())
    });
    let mut found = 0;
    for file in files {
        for at in (0..fs::metadata(&file).expect("file").len()).step_by(STEP) {
            flip(&file, at);
            // Many a change is noticed when the file is opened.
            if let Ok(store) = EmbeddedStore::open(directory.path(), Options::default()) {
                let faults = store.check_files().expect("readable");
                let [fault] = &faults[..] else { panic!("byte {at} of {}: {faults:?}", file.display()) };
                assert!(fault.contains("is not the file that was written"), "{fault}");
                found += 1;
            }
            flip(&file, at);
        }
    }
    assert!(found > 0, "each change keeps the store shut");
    assert_eq!(open(directory.path()).check_files().expect("readable"), Vec::<String>::new());
}
