//! Processes of `cargo-pilot` that end with the test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::Http;

/// How long anything may take before the test fails. Nothing here is a promise of speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        thread::yield_now();
    }
}

/// `cargo-pilot` with these arguments, working in `folder`, without settings from outside.
pub(crate) fn command<S: AsRef<std::ffi::OsStr>>(
    folder: &Path,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-pilot"));
    command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

/// Runs `cargo-pilot` to its end.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(folder: &Path, args: impl IntoIterator<Item = S>) -> Finished {
    Process::spawn(command(folder, args)).finish()
}

/// What a process said and how it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Sees that it ended well, and gives its standard output.
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// Sees that it ended with `code` and one text for people, which it gives: on standard error, behind
    /// what was logged, without internals.
    pub(crate) fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let (_, message) = self.stderr.split_once("error: ").expect("a message");
        for internal in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!self.stderr.contains(internal), "{self:?}");
        }
        for internal in ["Some(", "Err(", "Error", "::"] {
            assert!(!message.contains(internal), "{message}");
        }
        assert_eq!(message.trim_end().lines().count(), 1, "one paragraph: {message}");
        message.trim_end()
    }

    /// The last line of its standard output.
    pub(crate) fn json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_else(|| panic!("no line: {self:?}"));
        serde_json::from_str(line).expect("JSON")
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
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        Process { child, stdout, stderr: Some(stderr) }
    }

    /// The next line on standard output; `None` if there is none within `patience`, or never will be.
    pub(crate) fn line(&self, patience: Duration) -> Option<String> {
        self.stdout.recv_timeout(patience).ok()
    }

    /// Ends at once, as `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited");
    }

    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("signalled");
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
    pub(crate) url: String,
    /// Key of the demo tenant, if there is one.
    pub(crate) key: Option<String>,
    pub(crate) data: PathBuf,
    /// Its admin port, if it was started with one.
    pub(crate) admin: Option<String>,
}

/// Arguments of `serve` on the folder `data`.
pub(crate) fn serve_args(data: &str) -> [&str; 6] {
    ["serve", "--data", data, "--listen", "127.0.0.1:0", "--json"]
}

impl Server {
    /// Starts on `folder/data` and waits until it is ready.
    pub(crate) fn start(folder: &Path, extra: &[&str]) -> Server {
        Server::ready(Process::spawn(command(folder, serve_args("data").iter().chain(extra))))
    }

    /// Waits for the line of a process that starts.
    pub(crate) fn ready(process: Process) -> Server {
        match process.line(PATIENCE) {
            Some(line) => Server::of(process, &line),
            None => panic!("not ready: {:?}", process.finish()),
        }
    }

    pub(crate) fn of(process: Process, line: &str) -> Server {
        let ready: Value = serde_json::from_str(line).expect("one line of JSON");
        let mut fields: Vec<&String> = ready.as_object().expect("an object").keys().collect();
        fields.sort_unstable();
        let admin = ready["adminUrl"].as_str();
        assert_eq!(
            fields,
            [vec!["adminUrl"; usize::from(admin.is_some())], vec!["apiKey", "data", "url"]].concat()
        );
        Server {
            process,
            url: ready["url"].as_str().expect("a URL").to_owned(),
            key: ready["apiKey"].as_str().map(str::to_owned),
            data: ready["data"].as_str().expect("a folder").into(),
            admin: admin.map(str::to_owned),
        }
    }

    /// Who asks with the demo tenant's key.
    pub(crate) fn demo(&self) -> Http {
        self.http(self.key.as_deref().expect("a demo tenant"))
    }

    pub(crate) fn http(&self, key: &str) -> Http {
        Http::new(&self.url, key)
    }

    /// Stops in good order: nothing but the first line was printed, and nothing went wrong.
    pub(crate) fn stop(self) {
        self.process.terminate();
        self.stopped();
    }

    /// As [`Server::stop`], after a signal.
    pub(crate) fn stopped(self) {
        let finished = self.process.finish();
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), ""), "{finished:?}");
        let faults = finished.stderr.lines().filter(|line| !line.contains("\"level\":\"INFO\""));
        assert_eq!(faults.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
