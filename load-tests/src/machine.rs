//! The machine that the figures belong to.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Error;
use crate::server::Folder;

/// Load average above which a machine is not idle enough to measure on.
const BUSY: f64 = 0.5;

/// Describes the machine in one line each: processor, memory, kernel, disk below `parent`, load.
pub(crate) fn describe(parent: &Path) -> Result<Vec<String>, Error> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = field(&cpuinfo, "model name").unwrap_or("unknown processor");
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let kilobytes: u64 =
        field(&meminfo, "MemTotal").and_then(|m| m.strip_suffix(" kB")).unwrap_or("0").parse()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load: f64 = load.split_whitespace().next().unwrap_or("0").parse()?;
    let busy = if load > BUSY { ": **others were busy, the figures are too low**" } else { "" };
    let (p50, p99) = sync_latency(parent)?;
    Ok(vec![
        format!(
            "{}, {} cores, {} GB of memory",
            model,
            std::thread::available_parallelism()?,
            kilobytes / 1_000_000
        ),
        format!("Linux {}", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()),
        format!(
            "{}; 4 KiB overwritten and synced: p50 {} µs, p99 {} µs",
            output("stat", &["-f", "-c", "%T", &parent.to_string_lossy()]),
            p50.as_micros(),
            p99.as_micros()
        ),
        format!("load average of the last minute before the start: {load}{busy}"),
        format!("source revision {}", output("git", &["describe", "--always", "--dirty", "--abbrev=12"])),
    ])
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// First line of a command's output; `unknown` where there is no such command.
fn output(command: &str, arguments: &[&str]) -> String {
    let found = Command::new(command).args(arguments).output().ok().filter(|o| o.status.success());
    let text = found.and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// What one durable write costs on the disk below `parent`: (p50, p99) of 500.
fn sync_latency(parent: &Path) -> Result<(Duration, Duration), Error> {
    let folder = Folder::new(parent)?;
    let file = File::create(folder.path().join("probe"))?;
    let block = [0_u8; 4096];
    let mut latencies = Vec::new();
    file.write_all_at(&block, 0)?;
    file.sync_all()?;
    for _ in 0..500 {
        let started = Instant::now();
        file.write_all_at(&block, 0)?;
        file.sync_data()?;
        latencies.push(started.elapsed());
    }
    latencies.sort_unstable();
    Ok((latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]))
}
