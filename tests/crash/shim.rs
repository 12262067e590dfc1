//! Faults of the disk, made by a library that stands between a process and its files: see `shim.c`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::load::Random;
use crate::process::Place;

/// What happens at a call that changes files.
pub(crate) const MODES: [&str; 7] = ["eio", "eio-on", "enospc", "short", "torn", "kill-before", "kill-after"];

/// The compiled library; it needs a C compiler, as building this workspace does.
fn library() -> PathBuf {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, path) = (folder.path().join("shim.c"), folder.path().join("shim.so"));
        fs::write(&source, include_str!("shim.c")).expect("written");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let mut compile = Command::new(compiler);
        compile.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).args([&path, &source]);
        assert!(compile.status().expect("a C compiler").success(), "shim.c does not compile");
        (folder, path)
    });
    path.clone()
}

/// Puts the library before `command`, for the files of `place`; `at` is the number of the call that `mode` is for.
pub(crate) fn preload(command: &mut Command, place: &Place, mode: &str, at: u64) {
    command.env("LD_PRELOAD", library()).env("CRASH_DIR", place.data()).env("CRASH_MODE", mode);
    command.env("CRASH_AT", at.to_string()).env("CRASH_TRACE", place.beside("trace"));
}

/// What the library wrote of one process.
pub(crate) struct Trace {
    /// Calls that change files.
    pub(crate) calls: u64,
    /// The call at which something was done, if the process came so far.
    pub(crate) fault: Option<String>,
}

/// Reads the trace and removes it.
pub(crate) fn take_trace(place: &Place) -> Trace {
    let path = place.beside("trace");
    let text = fs::read_to_string(&path).expect("a trace");
    fs::remove_file(path).expect("removed");
    let is_fault = |line: &&str| line.starts_with("fault ");
    let calls = text.lines().filter(|line| !is_fault(line)).count() as u64;
    Trace { calls, fault: text.lines().find(is_fault).map(str::to_owned) }
}

/// A call and what happens at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) at: u64,
    pub(crate) mode: &'static str,
}

/// As many points as `CRASH_FAULTS` asks for, or `sample`, spread over all calls and modes; `all` asks for all.
pub(crate) fn points(calls: u64, sample: u64, random: &mut Random) -> Vec<Point> {
    let all = calls * MODES.len() as u64;
    let wanted = match std::env::var("CRASH_FAULTS").as_deref() {
        Ok("all") => all,
        Ok(number) => number.parse().expect("a number, or `all`"),
        Err(_) => sample,
    };
    let wanted = wanted.min(all);
    let one = |part: u64| {
        let (from, to) = (all * part / wanted, all * (part + 1) / wanted);
        let number = from + random.below(to - from);
        let mode = usize::try_from(number).expect("small") % MODES.len();
        Point { at: 1 + number / MODES.len() as u64, mode: MODES[mode] }
    };
    (0..wanted).map(one).collect()
}
