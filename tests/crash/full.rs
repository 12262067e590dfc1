//! The disk is full: the process says so and ends, and goes on when there is room again.

use std::path::PathBuf;
use std::process::Command;

use crate::check::check;
use crate::ledger::Ledger;
use crate::load::{Caller, Random, Shop};
use crate::process::{Finished, MACHINE, Place, Process, ready};
use crate::shim::{preload, take_trace};

/// Large batches that fill a disk, at most.
const BATCHES_MAX: u64 = 200;
/// Lines of each.
const LINES: u64 = 400;

/// How a process on a full disk ends.
fn assert_full(finished: &Finished) {
    let sentence = finished.refused(MACHINE);
    assert!(["room", "free"].iter().any(|word| sentence.contains(word)), "{sentence}");
}

/// Starts a server and fills the disk. How it ended, and whether it came to be ready.
fn fill(place: &Place, mut serve: Command, key: &str, name: &str) -> (Finished, bool) {
    serve.env("CARGO_PILOT__LOG__LEVEL", "warn");
    let server = match ready(Process::spawn(serve)) {
        Ok(server) => server,
        Err(finished) => return (finished, false),
    };
    let mut ledger = Ledger::begin(&place.beside("ledgers"), name);
    let mut http = server.http(key);
    // The first request may find no room already.
    let Ok(shop) = Shop::try_open(&mut http, &mut ledger, name) else {
        return (server.process.finish(), true);
    };
    let mut caller = Caller::new(format!("{name}-full"), http, ledger, &shop, Random(BATCHES_MAX));
    for batch in 0..BATCHES_MAX {
        let answer = if batch % 4 == 3 { caller.call() } else { caller.receive(LINES) };
        if !answer.is_ok_and(|(status, _)| status < 500) {
            return (server.process.finish(), true);
        }
    }
    panic!("{BATCHES_MAX} batches do not fill the disk");
}

/// There is room again: nothing that was acknowledged is lost, and it goes on.
fn assert_goes_on(place: &Place, key: &str) {
    let server = place.serve();
    let mut http = server.http(key);
    check(&mut http, &place.beside("ledgers"), &mut Random(1));
    let mut ledger = Ledger::begin(&place.beside("ledgers"), "room");
    Shop::open(&mut http, &mut ledger, "ROOM-");
    server.stop();
    place.assert_verifies();
}

/// INV-1: whatever room is left when the disk is full.
#[test]
fn a_full_disk_loses_nothing() {
    const KIB: u64 = 1024;
    let place = Place::new();
    let key = place.init("main");
    let mut ran = 0;
    // All on one folder, which grows.
    for (number, room) in [0, 4 * KIB, 30 * KIB, 300 * KIB, 3000 * KIB].into_iter().enumerate() {
        let mut serve = place.serve_command();
        preload(&mut serve, &place, "quota", room);
        let (finished, was_ready) = fill(&place, serve, &key, &format!("FULL{number}-"));
        assert_full(&finished);
        assert!(take_trace(&place).fault.is_some());
        ran += u64::from(was_ready);
        let server = place.serve();
        check(&mut server.http(&key), &place.beside("ledgers"), &mut Random(room));
        server.stop();
    }
    assert!(0 < ran, "each start was refused");
    assert_goes_on(&place, &key);
}

/// There is no room for a first start.
#[test]
fn a_first_start_without_room_is_completed_when_there_is_some() {
    const MIB: u64 = 1024 * 1024;
    for room in [0, MIB / 64, 2 * MIB, 20 * MIB, 40 * MIB] {
        let place = Place::new();
        let mut init = place.init_command("main");
        preload(&mut init, &place, "quota", room);
        let finished = Process::spawn(init).finish();
        take_trace(&place).fault.expect("no room");
        assert_full(&finished);
        let key = place.init("main");
        assert_goes_on(&place, &key);
    }
}

/// A file system of its own, removed with it.
struct Mount(PathBuf);

impl Mount {
    /// In memory, of so many MiB; `None` for a user who may not mount.
    fn new(at: PathBuf, size: u64) -> Option<Mount> {
        std::fs::create_dir(&at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}m"), "tmpfs"]).arg(&at);
        // Where there is no such command, nobody mounts either.
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Mount(at))
    }

    fn grow(&self, size: u64) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}m")]).arg(&self.0);
        assert!(mount.status().expect("mount").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// INV-1, on a small file system. Who may not mount one sees the same through the tests above: a limit that is
/// enforced at each call.
#[test]
fn a_small_file_system_is_filled_and_grown() {
    let place = Place::new();
    let Some(mount) = Mount::new(place.data(), 30) else { return };
    let finished = Process::spawn(place.init_command("main")).finish();
    assert_full(&finished);
    mount.grow(80);
    let key = place.init("main");
    let (finished, _) = fill(&place, place.serve_command(), &key, "FULL-");
    assert_full(&finished);
    // The room that was kept for the end is not there again.
    let finished = Process::spawn(place.serve_command()).finish();
    assert_full(&finished);
    mount.grow(400);
    assert_goes_on(&place, &key);
}
