//! `import`: CSV files into a running server.
//!
//! First all files are read and checked; one wrong row, and nothing is imported. Then products and
//! locations that are not there yet are made, then opening stock and sales are posted in file order,
//! each row under an idempotency key of its own: running the import again changes nothing, and after
//! an interruption it goes on where it was.

mod client;
mod files;
mod report;
mod rows;
mod send;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::{Failure, Import};
use crate::data;

use client::Client;
use files::Files;
use report::Report;

pub(crate) fn run(args: &Import) -> Result<(), Failure> {
    let files = Files::find(&args.paths)?;
    let mut report = Report::new(args.json);
    if args.check {
        let plan = rows::check(&files, None, &mut report, &bar(args, "checking", files.bytes()))?;
        refuse_wrong_rows(&report)?;
        report.finish_checked(&plan);
        return Ok(());
    }
    let url = args.url.clone().or_else(|| data::running_url(&args.data.data));
    let key = args.key.clone().or_else(|| data::demo_key(&args.data.data));
    let (Some(url), Some(key)) = (url, key) else {
        return Err(Failure::Usage(format!(
            "no server runs on '{}': start one with `cargo-pilot serve`, or name it with --url and --key",
            args.data.data.display()
        )));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Machine(format!("no runtime: {error}")))?;
    let plan = runtime.block_on(async {
        let client = Client::connect(&url, &key).await?;
        let known = client.known().await?;
        let plan = rows::check(&files, Some(&known), &mut report, &bar(args, "checking", files.bytes()))?;
        refuse_wrong_rows(&report)?;
        let bar = bar(args, "importing", plan.rows());
        send::all(&client, &files, known, &mut report, &bar).await?;
        Ok(plan)
    })?;
    report.finish(&plan)
}

fn refuse_wrong_rows(report: &Report) -> Result<(), Failure> {
    if report.wrong_rows() == 0 {
        return Ok(());
    }
    report.finish_refused();
    let wrong = report.wrong_rows();
    Err(Failure::Data(format!("{wrong} wrong rows, nothing was imported: correct them and import again")))
}

/// A bar on a terminal, nothing elsewhere.
fn bar(args: &Import, what: &'static str, length: u64) -> ProgressBar {
    let target = if args.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(length), target).with_message(what);
    let style = "{msg:9} [{wide_bar}] {percent}% {per_sec} {eta} left";
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
