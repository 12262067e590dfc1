//! Processes of the server that end with the test, and the folders that they work on.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::Http;

/// How long anything may take before the test fails. Nothing here is a promise of speed: a busy disk may stand still
/// for minutes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// How long the server tries to answer: shorter than that, and longer than a disk stands still.
const DEADLINE_MS: &str = "300000";

pub(crate) const CURRENCY: &str = "EUR";

/// Something on this machine is wrong: what `serve` and `verify` end with after a fault. `sysexits.h`.
pub(crate) const MACHINE: i32 = 74;
/// Wrong arguments.
pub(crate) const USAGE: i32 = 64;

/// What a process said and how it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_else(|| panic!("no line: {self:?}"));
        serde_json::from_str(line).expect("JSON")
    }

    /// Sees that it ended with `code` and a sentence for people, which it gives.
    pub(crate) fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.sentence()
    }

    /// The sentence for people at its end: what happened, and what to do.
    pub(crate) fn sentence(&self) -> &str {
        self.complaint().unwrap_or_else(|lack| panic!("{lack}"))
    }

    /// As [`Finished::sentence`], or what is wrong about it.
    pub(crate) fn complaint(&self) -> Result<&str, String> {
        let sentence = self.stderr.lines().rev().find_map(|line| line.strip_prefix("error: "));
        let Some(sentence) = sentence.filter(|_| !self.stderr.contains("panicked")) else {
            return Err(format!("no sentence: {self:?}"));
        };
        let internals = ["Some(", "Err(", "Error", "::", "Os {"];
        if let Some(internal) = internals.iter().find(|internal| sentence.contains(**internal)) {
            return Err(format!("'{internal}': {sentence}"));
        }
        let advice = ["start", "backup", "--data", "make room", "free", "newer version", "name another"];
        match advice.iter().any(|advice| sentence.contains(advice)) {
            true => Ok(sentence),
            false => Err(format!("what to do? {sentence}")),
        }
    }
}

/// A running process, killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        let (send, stdout) = channel();
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || lines.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut errors = child.stderr.take().expect("piped");
        let stderr = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Process { child, stdout, stderr: Some(stderr) }
    }

    /// Ends at once, as `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited");
    }

    /// Asks it to stop; it may have ended already.
    pub(crate) fn terminate(&self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        let mut stdout = String::new();
        // Its output ends when it does.
        loop {
            match self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => stdout.extend([line.as_str(), "\n"]),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("still running after {PATIENCE:?}: {stdout}"),
            }
        }
        let code = self.child.wait().expect("waited").code();
        let stderr = self.stderr.take().expect("once").join().expect("read");
        Finished { code, stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that is ready.
pub(crate) struct Server {
    pub(crate) process: Process,
    url: String,
}

impl Server {
    pub(crate) fn http(&self, key: &str) -> Http {
        Http::new(&self.url, key)
    }

    /// Stops in good order: nothing went wrong.
    pub(crate) fn stop(self) {
        self.process.terminate();
        let finished = self.process.finish();
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), ""), "{finished:?}");
        let faults = finished.stderr.lines().filter(|line| !line.contains("\"level\":\"INFO\""));
        assert_eq!(faults.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

/// The place of a data folder; the folder is removed with it.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        Place { folder }
    }

    /// Beside the data folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("a folder").join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.beside("data")
    }

    /// `cargo-pilot` with these arguments, without settings from outside.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        command(self.folder.path(), args)
    }

    /// `serve` on the data folder.
    pub(crate) fn serve_command(&self) -> Command {
        let mut command = self.command(["serve", "--listen", "127.0.0.1:0", "--json", "--data"]);
        command.arg(self.data()).env("CARGO_PILOT__GATEWAY__DEADLINE_MS", DEADLINE_MS);
        command
    }

    /// `init` of a business in the data folder, named by `slug`.
    pub(crate) fn init_command(&self, slug: &str) -> Command {
        let mut command = self.command(["init", "--name", "X", "--country", "DE", "--json", "--slug", slug]);
        command.args(["--currency", CURRENCY, "--data"]).arg(self.data());
        command
    }

    /// Makes a business, and gives its owner's key.
    pub(crate) fn init(&self, slug: &str) -> String {
        let finished = Process::spawn(self.init_command(slug)).finish();
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
        finished.json()["apiKey"].as_str().expect("a key").to_owned()
    }

    /// Starts the server, and waits until it is ready.
    pub(crate) fn serve(&self) -> Server {
        ready(Process::spawn(self.serve_command()))
            .unwrap_or_else(|finished| panic!("not ready: {finished:?}"))
    }

    pub(crate) fn verify(&self) -> Finished {
        let mut command = self.command(["verify", "--data"]);
        command.arg(self.data());
        Process::spawn(command).finish()
    }

    /// Sees that everything adds up.
    pub(crate) fn assert_verifies(&self) {
        let finished = self.verify();
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    }
}

pub(crate) fn command<S: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash-server"));
    command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

/// Waits until a server that starts is ready; how it ended if it does not get so far.
pub(crate) fn ready(process: Process) -> Result<Server, Finished> {
    let Ok(line) = process.stdout.recv_timeout(PATIENCE) else { return Err(process.finish()) };
    let ready: Value = serde_json::from_str(&line).expect("one line of JSON");
    Ok(Server { process, url: ready["url"].as_str().expect("a URL").to_owned() })
}

/// Makes `to` a copy of the folder `from`; what is empty in it takes no room.
pub(crate) fn copy(from: &Path, to: &Path) {
    const BLOCK: usize = 4096;
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
            continue;
        }
        let bytes = fs::read(entry.path()).expect("a file");
        let file = File::create(target).expect("a file");
        file.set_len(bytes.len() as u64).expect("a length");
        for (at, block) in bytes.chunks(BLOCK).enumerate().filter(|(_, block)| block.iter().any(|b| *b != 0))
        {
            file.write_all_at(block, (at * BLOCK) as u64).expect("written");
        }
    }
}
