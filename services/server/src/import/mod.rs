//! `import`: CSV files into a running server.
//!
//! First all files are read and checked; one wrong row, and nothing is imported. Then products and
//! locations that are not there yet are made, then opening stock and sales are posted in file order,
//! each row under an idempotency key of its own: running the import again changes nothing, and after
//! an interruption it goes on where it was.
//!
//! Read in this order: `files` (rows of files), `rows` (fields of a row), `check` (rows among each other
//! and with what the server has), `client` (the server), `send`, `report`.

mod check;
pub(crate) mod client;
mod files;
mod report;
mod rows;
mod send;

use std::path::Path;

use crate::cli::{self, Failure, Import};
use crate::data;

use check::Plan;
use client::{Client, Known};
use files::Files;
use report::Report;

pub(crate) fn run(args: &Import) -> Result<(), Failure> {
    let files = Files::find(&args.paths)?;
    let mut report = Report::new(args.json);
    if args.check && args.url.is_none() {
        let plan = checked(&files, None, &mut report)?;
        report.finish_checked(&plan);
        return Ok(());
    }
    let (url, key) = server(&args.data, args.url.clone(), args.key.clone())?;
    cli::run_async(async {
        let client = Client::connect(&url, &key).await?;
        let known = client.known(files.have_movements()).await?;
        let plan = checked(&files, Some(&known), &mut report)?;
        plan.permitted(&known)?;
        if args.check {
            report.finish_checked(&plan);
            return Ok(());
        }
        send::all(&client, &files, known, &plan, &mut report).await?;
        report.finish(&plan)
    })
}

/// Where the server is, and the key for it: what was given, or what the data folder says.
pub(crate) fn server(
    data: &Path,
    url: Option<String>,
    key: Option<String>,
) -> Result<(String, String), Failure> {
    let url = url.or_else(|| data::running_url(data)).ok_or_else(|| {
        Failure::Usage(format!(
            "no server runs on '{}': start it with `cargo-pilot serve`, or name another one with --url",
            data.display()
        ))
    })?;
    let key = key.or_else(|| data::demo_key(data)).ok_or_else(|| {
        Failure::Usage("an API key is needed: give it with --key or in CARGO_PILOT_KEY".to_owned())
    })?;
    Ok((url, key))
}

fn checked(files: &Files, known: Option<&Known>, report: &mut Report) -> Result<Plan, Failure> {
    let plan = check::all(files, known, report)?;
    match report.wrong_rows() {
        0 => Ok(plan),
        1 => Err(Failure::Data("1 wrong row, nothing was imported: correct it and import again".into())),
        rows => Err(Failure::Data(format!(
            "{rows} wrong rows, nothing was imported: correct them and import again"
        ))),
    }
}
