//! The server under test as a process of its own, in a folder of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::Error;

/// How long a start or a stop may take before the run fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `serve --json` prints when it is ready.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    url: String,
    api_key: String,
}

/// What `init --json` prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    api_key: String,
}

/// Makes a tenant beside the demo tenant, in the data folder of a stopped server; returns its owner's key.
pub(crate) fn make_tenant(binary: &Path, folder: &Folder, slug: &str) -> Result<String, Error> {
    let output = Command::new(binary)
        .args([
            "init",
            "--name",
            "Load test",
            "--country",
            "DE",
            "--currency",
            "EUR",
            "--json",
            "--slug",
            slug,
        ])
        .arg("--data")
        .arg(folder.path().join("data"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("{}: {e}", binary.display()))?;
    if !output.status.success() {
        return Err(format!("a tenant was not made: {}", output.status).into());
    }
    Ok(serde_json::from_slice::<Made>(&output.stdout)?.api_key)
}

/// A folder below `parent` that is removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes an empty folder.
    pub(crate) fn new(parent: &Path) -> Result<Self, Error> {
        let path = parent.join(format!("cargo-pilot-load-{:016x}", getrandom::u64()?));
        fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `cargo-pilot serve --demo`.
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`, for REST and gRPC.
    pub(crate) url: String,
    /// Key of the demo tenant's owner.
    pub(crate) api_key: String,
    /// From the start of the process to its line on standard output.
    pub(crate) start_to_ready: Duration,
}

impl Server {
    /// Starts `binary` with its data below `folder` and waits until it is ready.
    pub(crate) fn start(binary: &Path, folder: &Folder) -> Result<Self, Error> {
        let log = folder.path().join("server.log");
        let started = Instant::now();
        let mut child = Command::new(binary)
            .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--json", "--data"])
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .map_err(|e| {
                format!("{}: {e}; build it with `cargo build --release -p server`", binary.display())
            })?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            let _ = lines.read_line(&mut line);
            let _ = send.send((line, started.elapsed()));
            let _ = lines.read_to_end(&mut Vec::new()); // whatever else it prints must not block it
        });
        let ready = receive.recv_timeout(PATIENCE).map_err(Error::from).and_then(|(line, elapsed)| {
            Ok((
                serde_json::from_str::<Ready>(&line).map_err(|e| format!("first line {line:?}: {e}"))?,
                elapsed,
            ))
        });
        match ready {
            Ok((ready, start_to_ready)) => {
                Ok(Self { child, url: ready.url, api_key: ready.api_key, start_to_ready })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let log = fs::read_to_string(&log).unwrap_or_default();
                Err(format!("the server did not become ready: {error}\n{log}").into())
            }
        }
    }

    /// Asks it to stop, waits, and returns how long that took.
    pub(crate) fn stop(mut self) -> Result<Duration, Error> {
        let started = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let took = started.elapsed();
                return if status.success() {
                    Ok(took)
                } else {
                    Err(format!("the server ended with {status}").into())
                };
            }
            if started.elapsed() > PATIENCE {
                return Err("the server did not stop".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident memory in bytes: (now, highest so far).
    pub(crate) fn memory(&self) -> Result<(u64, u64), Error> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        Ok((kilobytes(&status, "VmRSS:")? * 1024, kilobytes(&status, "VmHWM:")? * 1024))
    }

    /// Processor time of all its threads so far, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration, Error> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        cpu_ticks(&stat).map(|ticks| Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `USER_HZ` of Linux, on every architecture that it runs on.
const TICKS_PER_SECOND: u64 = 100;

/// `utime + stime` of `/proc/PID/stat`; the command before them may hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Result<u64, Error> {
    let (_, fields) = stat.rsplit_once(')').ok_or("no command in stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next().ok_or("stat is too short");
    Ok(next()?.parse::<u64>()? + next()?.parse::<u64>()?)
}

/// The figure of one line of `/proc/PID/status`.
fn kilobytes(status: &str, name: &str) -> Result<u64, Error> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Bytes of all files below `folder`, as allocated on the disk.
pub(crate) fn disk(folder: &Path) -> Result<u64, Error> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_proc_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 90 0 0 0 12 30 0 0 20 0 5 0 100 1 2";
        assert_eq!(cpu_ticks(stat).unwrap(), 42);
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t    1234 kB\n", "VmRSS:").unwrap(), 1234);
    }
}
