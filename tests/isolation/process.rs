//! A process of the server, as operators start it, that ends with the test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::rest::{Rest, text};

/// How long anything may take before the test fails. Nothing here is a promise of speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running server with a demo tenant.
pub(crate) struct Server {
    child: Child,
    stderr: Option<JoinHandle<String>>,
    pub(crate) url: String,
    pub(crate) key: String,
    _folder: TempDir,
}

impl Server {
    /// Starts it with these settings, `CARGO_PILOT__…`.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_crash-server"));
        let args = ["serve", "--demo", "--data", "data", "--listen", "127.0.0.1:0", "--json"];
        command.args(args).current_dir(folder.path()).env_clear().envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary");
        let mut errors = child.stderr.take().expect("piped");
        let stderr = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let line = lines.recv_timeout(PATIENCE).expect("a line when it is ready");
        let ready: Value = serde_json::from_str(&line).expect("JSON");
        let (url, key) = (text(&ready["url"]).to_owned(), text(&ready["apiKey"]).to_owned());
        Server { child, stderr: Some(stderr), url, key, _folder: folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").parse().expect("an address")
    }

    /// The owner of the demo tenant.
    pub(crate) fn demo(&self) -> Rest {
        Rest::new(&self.url, Some(&self.key))
    }

    /// Memory that the process has, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
    }

    /// Stops it in good order and gives what it logged: nothing but what is normal.
    pub(crate) fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("signalled");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            thread::yield_now();
        };
        let logged = self.stderr.take().expect("once").join().expect("read");
        assert!(status.success(), "{status}: {logged}");
        assert!(!logged.contains("\"level\":\"ERROR\"") && !logged.contains("panicked"), "{logged}");
        assert!(!logged.contains(&self.key), "its log has a key");
        logged
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
