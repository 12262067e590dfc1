//! A first start that is killed: the next one completes it.

use std::time::Instant;

use tempfile::tempdir;

use crate::process::{PATIENCE, Process, Server, command, run, serve_args, wait_until};
use crate::serve::assert_demo;

/// Starts that are killed.
const KILLS: u32 = 14;

/// Sees that the folder of a killed start is usable, and its data there once.
fn assert_completes(folder: &std::path::Path) {
    let server = Server::start(folder, &["--demo"]);
    assert_demo(&server);
    let key = server.key.clone();
    server.stop();
    let server = Server::start(folder, &["--demo"]);
    assert_eq!(server.key, key);
    assert_demo(&server);
    server.stop();
    run(folder, ["verify", "--data", "data"]).ok();
}

/// Moments all over the start.
#[test]
fn a_first_start_may_be_killed_at_any_time() {
    let folder = tempdir().unwrap();
    let began = Instant::now();
    let server = Server::start(folder.path(), &["--demo"]);
    let whole = began.elapsed();
    server.stop();

    for kill in 0..KILLS {
        let folder = tempdir().unwrap();
        let mut process =
            Process::spawn(command(folder.path(), serve_args("data").iter().chain(&["--demo"])));
        process.line(whole * kill / KILLS);
        process.kill();
        assert_completes(folder.path());
    }
}

/// Moments between two steps that belong together.
#[test]
fn a_first_start_may_be_killed_between_any_two_steps() {
    for made in ["stock/engine", "secrets/root-key", "secrets/pepper", "layout", "secrets/demo-api-key"] {
        let folder = tempdir().unwrap();
        let mut process =
            Process::spawn(command(folder.path(), serve_args("data").iter().chain(&["--demo"])));
        let path = folder.path().join("data").join(made);
        wait_until(made, || path.exists());
        process.kill();
        assert_completes(folder.path());
    }
}

/// The tenant is made, its key is not kept yet: a moment that is too short to be hit.
#[test]
fn a_key_that_was_made_but_not_kept_is_replaced() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--demo"]);
    let kept = server.data.join("secrets/demo-api-key");
    server.stop();
    std::fs::remove_file(kept).unwrap();
    assert_completes(folder.path());
}

/// SIGTERM during a start stops it, too.
#[test]
fn a_start_can_be_stopped() {
    let folder = tempdir().unwrap();
    let process = Process::spawn(command(folder.path(), serve_args("data").iter().chain(&["--demo"])));
    let path = folder.path().join("data/tenant");
    wait_until("a folder", || path.exists());
    process.terminate();
    let _ = process.line(PATIENCE);
    assert_eq!(process.finish().code, Some(0));
    assert_completes(folder.path());
}
