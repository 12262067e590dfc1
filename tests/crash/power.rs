//! The power goes: what was written and not synced may be gone.
//!
//! After `kill -9` the kernel still has every write, so a sync that is missing would never be noticed. Here the
//! library of `shim` keeps what each write replaced until the file is synced, and what was not is taken back.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::check::check;
use crate::damage::files;
use crate::fault::{Template, assert_usable, key_after, try_all};
use crate::load::Random;
use crate::process::{MACHINE, Place, Process, ready};
use crate::shim::{Point, points, preload, take_trace};

/// Points of each test; `CRASH_FAULTS` asks for others.
const SAMPLE: u64 = 30;

/// What the library wrote: see `shim.c`.
struct Record {
    kind: u64,
    inode: u64,
    size: u64,
    from: u64,
    replaced: Vec<u8>,
}

const REPLACED: u64 = 0;
const SYNCED: u64 = 1;
const GONE: u64 = 2;

fn records(bytes: &[u8]) -> Vec<Record> {
    let mut rest = bytes;
    let mut all = Vec::new();
    // The process may have died while it wrote the last one, before it did what that is about.
    while let Some((head, behind)) = rest.split_first_chunk::<40>() {
        let number =
            |at: usize| u64::from_ne_bytes(head[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
        let len = usize::try_from(number(4)).expect("small");
        let Some((replaced, behind)) = behind.split_at_checked(len) else { break };
        let replaced = replaced.to_vec();
        all.push(Record { kind: number(0), inode: number(1), size: number(2), from: number(3), replaced });
        rest = behind;
    }
    all
}

/// Takes back what was not synced, of the files that `is_lost` picks. How many writes those were.
fn cut_power(place: &Place, heeds_syncs: bool, mut is_lost: impl FnMut(&Path) -> bool) -> u64 {
    let undo = place.beside("undo");
    let records = records(&fs::read(&undo).expect("an undo file"));
    fs::remove_file(undo).expect("removed");
    let data = place.data();
    let all = files(&data).into_iter().map(|file| data.join(file));
    let by_inode: BTreeMap<u64, PathBuf> =
        all.map(|path| (fs::metadata(&path).expect("a file").ino(), path)).collect();
    let lost: BTreeMap<u64, PathBuf> = by_inode.into_iter().filter(|(_, path)| is_lost(path)).collect();
    // What came before a sync is durable, and what belonged to a file that is gone is nobody's.
    let mut kept = BTreeMap::<u64, bool>::new();
    let mut count = 0;
    for record in records.iter().rev() {
        let durable = record.kind == GONE || record.kind == SYNCED && heeds_syncs;
        let kept = kept.entry(record.inode).or_insert(false);
        *kept |= durable;
        let Some(path) = lost.get(&record.inode).filter(|_| record.kind == REPLACED && !*kept) else {
            continue;
        };
        let file = OpenOptions::new().write(true).open(path).expect("a file");
        file.write_all_at(&record.replaced, record.from).expect("written");
        file.set_len(record.size).expect("cut");
        count += 1;
    }
    count
}

/// All places where the process may be when the power goes.
fn moments(calls: u64, random: &mut Random) -> Vec<Point> {
    let points = points(calls, SAMPLE, random);
    points.into_iter().map(|point| Point { mode: "kill-before", ..point }).collect()
}

/// All that is not synced is lost, or that of some files.
fn lose(place: &Place, point: Point) -> &'static str {
    let mut random = Random(point.at);
    let all = random.below(2) == 0;
    match cut_power(place, true, |_| all || random.below(2) == 0) {
        0 => "nothing was lost",
        _ => "writes were lost",
    }
}

/// INV-1: acknowledged is synced.
#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let template = Template::new();
    let calls = template.count();
    let points = moments(calls, &mut Random(21));
    try_all(&points, |point| {
        let place = template.copy();
        template.serve(&place, point.mode, point.at, &[("CRASH_UNDO", place.beside("undo"))]);
        take_trace(&place).fault?;
        let outcome = lose(&place, point);
        assert_usable(&place, &template.key, "after", &mut Random(point.at));
        Some(outcome)
    });
}

/// A first start that the power ends is completed by the next one.
#[test]
fn a_first_start_survives_a_power_cut() {
    let place = Place::new();
    let mut init = place.init_command("main");
    preload(&mut init, &place, "count", 0);
    assert_eq!(Process::spawn(init).finish().code, Some(0));
    let points = moments(take_trace(&place).calls, &mut Random(22));
    try_all(&points, |point| {
        let place = Place::new();
        let mut init = place.init_command("main");
        preload(&mut init, &place, point.mode, point.at);
        init.env("CRASH_UNDO", place.beside("undo"));
        let finished = Process::spawn(init).finish();
        take_trace(&place).fault?;
        let outcome = lose(&place, point);
        let key = key_after(&place, &finished);
        assert_usable(&place, &key, "shop", &mut Random(point.at));
        Some(outcome)
    });
}

/// These tests can fail: when the log of a disk that does not do what a sync asks for is gone, the server knows
/// that it had acknowledged more, and if it is told to go on, the callers miss it.
#[test]
fn a_disk_that_does_not_sync_is_noticed() {
    let template = Template::new();
    let place = template.copy();
    let at = template.count() * 3 / 4;
    template.serve(&place, "kill-before", at, &[("CRASH_UNDO", place.beside("undo"))]);
    take_trace(&place).fault.expect("reached");
    assert!(0 < cut_power(&place, false, |path| path.iter().any(|part| part == "log")));

    let finished = Process::spawn(place.serve_command()).finish();
    assert!(finished.refused(MACHINE).contains("older than what was acknowledged"));
    let mut serve = place.serve_command();
    let server = ready(Process::spawn({
        serve.arg("--accept-loss");
        serve
    }));
    let server = server.unwrap_or_else(|finished| panic!("not ready: {finished:?}"));
    let mut http = server.http(&template.key);
    let missed = || check(&mut http, &place.beside("ledgers"), &mut Random(1));
    assert!(catch_unwind(AssertUnwindSafe(missed)).is_err(), "nothing was missed");
}
