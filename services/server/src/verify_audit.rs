//! `verify audit`, `verify receipt`: checks exported audit logs and receipts, with code that shares nothing with what writes them.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::path::Path;

use audit_verifier::{Fault, Head, Key, Report, check, continues, read_checkpoint, read_signed};
use serde_json::json;

use crate::cli::{Failure, VerifyAudit, VerifyReceipt, say};

pub(crate) fn run(args: &VerifyAudit) -> Result<(), Failure> {
    let key = |option: &str, error| Failure::Usage(format!("{option} is no such key: {error}"));
    let log = Key::of_log(&args.log_key).map_err(|error| key("--log-key", error))?;
    let witness = Key::of_witness(&args.witness_key).map_err(|error| key("--witness-key", error))?;
    let mut earlier: Option<Head> = None;
    if let Some(path) = &args.checkpoint {
        let note = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let head = read_checkpoint(&note, &log, &witness);
        earlier = Some(head.map_err(|fault| failure(path, &fault))?);
    }
    let mut lines = Vec::new();
    for path in &args.files {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let report = check(BufReader::new(file), &log, &witness).map_err(|fault| failure(path, &fault))?;
        if let Some(earlier) = &earlier {
            continues(&report, earlier).map_err(|fault| failure(path, &fault))?;
        }
        lines.push(line(path, &report, args.json));
        earlier = Some(report.head);
    }
    if args.json {
        say(json!({"ok": true, "files": lines}));
    } else {
        lines.iter().filter_map(|line| line.as_str()).for_each(say);
    }
    Ok(())
}

/// `verify receipt`.
pub(crate) fn receipt(args: &VerifyReceipt) -> Result<(), Failure> {
    let key = Key::of_log(&args.log_key)
        .map_err(|error| Failure::Usage(format!("--log-key is no such key: {error}")))?;
    let note = fs::read_to_string(&args.file).map_err(|error| unreadable(&args.file, &error))?;
    let text = read_signed(&note, &key).map_err(|fault| failure(&args.file, &fault))?;
    match args.json {
        true => say(json!({"ok": true, "file": args.file, "text": text})),
        false => say(format_args!("{}: signed, and it says:\n\n{text}", args.file.display())),
    }
    Ok(())
}

fn line(path: &Path, report: &Report, json: bool) -> serde_json::Value {
    let head = &report.head;
    if json {
        return json!({
            "file": path, "origin": head.origin, "leaves": head.size, "journals": report.journals,
            "cosignedUnixSeconds": head.cosigned_s,
        });
    }
    let (leaves, journals) = (head.size, report.journals);
    format!(
        "{}: the log '{}' is signed by both keys, and all of its {leaves} leaves, of {journals} journals, are what \
         was signed",
        path.display(),
        head.origin
    )
    .into()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::Usage(format!("there is no file '{}'", path.display())),
        _ => Failure::Machine(format!("'{}' cannot be read: {error}", path.display())),
    }
}

fn failure(path: &Path, fault: &Fault) -> Failure {
    match fault {
        Fault::Wrong(what) => Failure::Data(format!(
            "'{}' is not an audit log as it was signed: {what}. Keep the file, export the log again, and compare",
            path.display()
        )),
        Fault::Unreadable(why) => Failure::Machine(format!("'{}' cannot be read: {why}", path.display())),
    }
}
