//! The import of real data, measured: `cargo-pilot import` over the public API, twice, then the comparison of
//! every balance with an independent computation.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Error;
use crate::server::{Folder, Server, disk};

/// In the order in which they are imported.
const FILES: [&str; 4] = ["products.csv", "locations.csv", "opening.csv", "sales.csv"];
/// Those of `FILES` whose rows are movements.
const MOVEMENTS: [&str; 2] = ["opening.csv", "sales.csv"];

/// Imports the files of `files` into an empty server below `parent`, imports them again, starts the server
/// once more and compares; returns the report.
pub(crate) fn measure(binary: &Path, parent: &Path, files: &Path, python: &str) -> Result<String, Error> {
    let mut movements = 0;
    let mut rows = Vec::new();
    for name in FILES {
        let count = data_rows(&files.join(name))?;
        movements += if MOVEMENTS.contains(&name) { count } else { 0 };
        rows.push(format!("{count} rows of {name}"));
    }

    let folder = Folder::new(parent)?;
    let server = Server::start(binary, &folder)?;
    let start_empty = server.start_to_ready;
    let cpu = server.cpu()?;
    let first = import(binary, &server, files)?;
    let cpu = server.cpu()?.saturating_sub(cpu);
    let (memory, memory_peak) = server.memory()?;
    let bytes = disk(&folder.path().join("data"))?;
    let again = import(binary, &server, files)?;
    let stop = server.stop()?;
    let server = Server::start(binary, &folder)?;
    let start_loaded = server.start_to_ready;
    let compared = compare(&server, files, python)?;
    server.stop()?;

    let each = movements.max(1);
    let mut out = String::new();
    writeln!(out, "\n## Import\n\n{}.\n\n| | |\n| --- | --- |", rows.join(", "))?;
    writeln!(out, "| start to ready, empty folder | {:.0} ms |", start_empty.as_secs_f64() * 1e3)?;
    writeln!(out, "| import | {:.1} s |", first.as_secs_f64())?;
    writeln!(out, "| movements a second | {:.0} |", movements as f64 / first.as_secs_f64())?;
    writeln!(out, "| server CPU | {:.1} µs a movement |", cpu.as_secs_f64() * 1e6 / each as f64)?;
    writeln!(
        out,
        "| memory of the server, after and peak | {} and {} MB |",
        memory / 1_000_000,
        memory_peak / 1_000_000
    )?;
    writeln!(out, "| disk, all data | {} MB, {} bytes a movement |", bytes / 1_000_000, bytes / each)?;
    writeln!(out, "| the same import again | {:.1} s |", again.as_secs_f64())?;
    writeln!(out, "| SIGTERM to end | {:.0} ms |", stop.as_secs_f64() * 1e3)?;
    writeln!(
        out,
        "| start to ready, with {movements} movements | {:.0} ms |",
        start_loaded.as_secs_f64() * 1e3
    )?;
    writeln!(
        out,
        "\nAll balances compared after the second import and another start:\n\n```json\n{}\n```",
        compared.trim()
    )?;
    Ok(out)
}

/// Rows of a CSV file after its header; no field of these files holds a line break.
fn data_rows(path: &Path) -> Result<u64, Error> {
    let file = File::open(path).map_err(|e| format!("{}: {e}; see load-tests/dataset", path.display()))?;
    Ok((BufReader::new(file).split(b'\n').count() as u64).saturating_sub(1))
}

fn import(binary: &Path, server: &Server, files: &Path) -> Result<Duration, Error> {
    let started = Instant::now();
    let status = Command::new(binary)
        .arg("import")
        .args(FILES.map(|name| files.join(name)))
        .args(["--url", &server.url, "--key", &server.api_key])
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        Ok(started.elapsed())
    } else {
        Err(format!("the import ended with {status}").into())
    }
}

/// Runs `dataset/compare.py`; a difference is an error.
fn compare(server: &Server, files: &Path, python: &str) -> Result<String, Error> {
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/dataset/compare.py"))
        .arg(files)
        .args(["--url", &server.url])
        .env("CARGO_PILOT_KEY", &server.api_key)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("{python}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("balances differ: {text}").into()) }
}
