//! Data folders that cannot be used: what is said, and with which exit code.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::process::{Finished, Process, Server, command, run, serve_args};

/// A user without rights, for tests that root runs.
const NOBODY: u32 = 65_534;

/// A folder with the demo data, and nobody on it.
fn made() -> TempDir {
    let folder = tempdir().unwrap();
    Server::start(folder.path(), &["--demo"]).stop();
    folder
}

/// Neither serves nor verifies, for a reason that has these words.
fn assert_refused(folder: &Path, code: i32, words: &[&str]) {
    for args in [&serve_args("data")[..], &["verify", "--data", "data"]] {
        let finished = run(folder, args);
        assert_says(&finished, code, words);
    }
}

fn assert_says(finished: &Finished, code: i32, words: &[&str]) {
    let message = finished.refused(code);
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert_eq!(finished.stdout, "", "{message}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn a_newer_format_is_left_to_a_newer_version() {
    let folder = made();
    for (file, ours, newer) in [
        ("stock/format", "cargo-pilot journal 2", "cargo-pilot journal 99"),
        ("layout", "cargo-pilot data 2", "cargo-pilot data 99"),
    ] {
        let path = folder.path().join("data").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(ours), "{text}");
        fs::write(&path, text.replace(ours, newer)).unwrap();
        assert_refused(folder.path(), 74, &["99", "newer version"]);
        fs::write(&path, text).unwrap();
    }
    Server::start(folder.path(), &[]).stop();
}

/// TEN-10: values were not sealed in it, and it is not read as if they were.
#[test]
fn an_older_format_is_refused_by_name() {
    let folder = made();
    let path = folder.path().join("data/layout");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("data 2", "data 1")).unwrap();
    assert_refused(folder.path(), 74, &["layout 1", "not sealed", "new folder"]);
}

/// TEN-10: without its root key a folder is not opened, and no other one is made.
#[test]
fn a_folder_without_its_root_key_is_refused() {
    let folder = made();
    let (inside, outside) = (folder.path().join("data/secrets/root-key"), folder.path().join("kept-apart"));
    fs::rename(&inside, &outside).unwrap();
    assert_refused(folder.path(), 74, &["root key", "missing", "--root-key"]);
    assert!(!inside.exists());
    let verify = ["verify", "--data", "data"];
    run(folder.path(), verify.iter().chain(&["--root-key", "kept-apart"])).ok();
    // That of another folder, and one that was changed.
    let stranger = made();
    fs::copy(stranger.path().join("data/secrets/root-key"), &inside).unwrap();
    assert_refused(folder.path(), 74, &["another root key", "kept apart"]);
    fs::write(&inside, "something else").unwrap();
    assert_refused(folder.path(), 74, &["root-key", "not the root key that was written"]);
    fs::rename(&outside, &inside).unwrap();
    Server::start(folder.path(), &[]).stop();
}

/// What is lost is not made anew: an empty store or another secret would hide the loss.
#[test]
fn a_folder_that_lost_a_part_is_damaged() {
    let folder = made();
    let data = folder.path().join("data");
    for (part, words) in [
        ("stock", &["'stock' is missing"][..]),
        ("catalog", &["'catalog' is missing"]),
        ("secrets/pepper", &["pepper", "missing"]),
        ("keys", &["'keys' is missing"]),
        ("stock/format", &["'stock' is missing"]),
        ("stock/acknowledged", &["'acknowledged' is missing"]),
    ] {
        let (path, aside) = (data.join(part), folder.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let words: Vec<&str> = words.iter().copied().chain(["damaged", "backup", "verify"]).collect();
        assert_refused(folder.path(), 74, &words);
        fs::rename(&aside, &path).unwrap();
    }
    Server::start(folder.path(), &[]).stop();
}

#[test]
fn changed_files_are_damage() {
    let folder = made();
    let data = folder.path().join("data");
    for (file, word) in [
        ("stock/format", "damaged"),
        ("stock/acknowledged", "damaged"),
        ("tenant/log/0.log", "older than what was acknowledged"),
        ("catalog/engine/version", "damaged"),
        ("secrets/pepper", "damaged"),
        ("layout", "damaged"),
    ] {
        let path = data.join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, b"something else").unwrap();
        assert_refused(folder.path(), 74, &[word, "backup"]);
        fs::write(&path, bytes).unwrap();
    }
    // A single bit in the middle of what was written.
    let path = data.join("stock/log/0.log");
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for at in [end / 3, end / 2, end - 40] {
        let mut flipped = bytes.clone();
        // Between two groups there may be nothing.
        let at = bytes[..at].iter().rposition(|byte| *byte != 0).unwrap();
        flipped[at] ^= 4;
        fs::write(&path, flipped).unwrap();
        assert_refused(folder.path(), 74, &["backup"]);
    }
    fs::write(&path, bytes).unwrap();

    let server = Server::start(folder.path(), &["--demo"]);
    crate::serve::assert_demo(&server);
    server.stop();
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = tempdir().unwrap();
    fs::create_dir_all(folder.path().join("data/tenant")).unwrap();
    fs::write(folder.path().join("data/tenant/notes.txt"), "mine").unwrap();
    assert_refused(folder.path(), 74, &["notes.txt"]);
    assert_eq!(fs::read_dir(folder.path().join("data/tenant")).unwrap().count(), 2, "a lock and the notes");
}

/// INV-1: a copy that is older than what was acknowledged does not pass for the data.
#[test]
fn a_rolled_back_copy_is_refused() {
    let folder = made();
    let (store, old) = (folder.path().join("data/stock"), folder.path().join("old"));
    copy(&store, &old);
    let server = Server::start(folder.path(), &["--demo"]);
    let mut http = server.demo();
    let variant = http.get("/v1/variants?sku=MUG-BLUE")["variants"][0]["id"].clone();
    let location = http.get("/v1/locations?code=MAIN")["locations"][0]["id"].clone();
    let sale = json!({
        "kind": "sale.shipment", "variantId": variant, "locationId": location, "quantity": "1",
        "source": {"type": "pos_receipt", "id": "R-1", "lineId": "1"},
    });
    http.post("/v1/movements", "one", &sale);
    server.stop();
    // All of it but what tells how far it was.
    for part in ["log", "engine"] {
        fs::remove_dir_all(store.join(part)).unwrap();
        copy(&old.join(part), &store.join(part));
    }

    assert_refused(
        folder.path(),
        74,
        &["older than what was acknowledged", "snapshot", "backup", "--accept-loss"],
    );
    let server = Server::ready(Process::spawn(command(
        folder.path(),
        serve_args("data").iter().chain(&["--demo", "--accept-loss"]),
    )));
    crate::serve::assert_demo(&server);
    drop(server);
    Server::start(folder.path(), &[]).stop();
}

/// As a user to whom rights apply: `cargo-pilot` in `folder`, in which everybody may look.
fn unprivileged(folder: &Path, args: &[&str]) -> Finished {
    if !rustix::process::geteuid().is_root() {
        return run(folder, args);
    }
    // The build may be where nobody else can look.
    let binary = folder.join("cargo-pilot");
    if !binary.exists() {
        fs::copy(env!("CARGO_BIN_EXE_cargo-pilot"), &binary).unwrap();
    }
    let mut command = Command::new(binary);
    command.args(args).current_dir(folder).env_clear().uid(NOBODY).gid(NOBODY);
    Process::spawn(command).finish()
}

#[test]
fn rights_that_lack_are_named() {
    let folder = tempdir().unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(folder.path(), 0o755);
    let words = ["ermission denied", "user that owns it", "--data"];
    if rustix::process::geteuid().is_root() {
        // Nothing can be made in the folder.
        assert_says(&unprivileged(folder.path(), &serve_args("data")), 74, &words);
    }
    Server::start(folder.path(), &["--demo"]).stop();
    let data = folder.path().join("data");
    for mode in [0o000, 0o500] {
        set(&data, mode);
        if mode == 0 || rustix::process::geteuid().is_root() {
            assert_says(&unprivileged(folder.path(), &serve_args("data")), 74, &words);
            assert_says(&unprivileged(folder.path(), &["verify", "--data", "data"]), 74, &words);
        }
        set(&data, 0o700);
    }
}

#[test]
fn a_file_in_the_place_of_the_folder_is_named() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("data"), "a file").unwrap();
    for data in ["data", "data/below"] {
        let finished = run(folder.path(), serve_args(data));
        assert_says(&finished, 74, &["a file is where a folder should be", "--data"]);
    }
}

#[test]
fn there_is_nothing_to_verify_where_nothing_was_made() {
    let folder = tempdir().unwrap();
    let finished = run(folder.path(), ["verify", "--data", "data"]);
    assert_says(&finished, 64, &["no Cargo Pilot data", "--data"]);
    assert!(!folder.path().join("data").exists());
}
