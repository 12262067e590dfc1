//! What an import found and did.

use std::path::Path;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::cli::{Failure, complain, rate, say};
use crate::import::check::Plan;
use crate::import::files::Wrong;

/// Wrong fields that are printed; with `--json` it is all of them.
const PRINTED_MAX: u64 = 50;

/// How many were made and how many were there already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) made: u64,
    pub(crate) there: u64,
}

pub(crate) struct Report {
    json: bool,
    wrong_rows: u64,
    wrong_fields: u64,
    started: Instant,
    bar: ProgressBar,
    pub(crate) products: Count,
    pub(crate) locations: Count,
    pub(crate) movements: Count,
}

impl Report {
    pub(crate) fn new(json: bool) -> Report {
        Report {
            json,
            wrong_rows: 0,
            wrong_fields: 0,
            started: Instant::now(),
            bar: ProgressBar::hidden(),
            products: Count::default(),
            locations: Count::default(),
            movements: Count::default(),
        }
    }

    /// Begins a progress bar on a terminal; nothing is drawn elsewhere.
    pub(crate) fn start(&mut self, what: &'static str, length: u64, bytes: bool) {
        let target = if self.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = if bytes {
            "{msg:9} [{wide_bar}] {bytes} of {total_bytes}, {eta} left"
        } else {
            "{msg:9} [{wide_bar}] {human_pos} of {human_len} rows, {rate}, {eta} left"
        };
        let bar = ProgressBar::with_draw_target(Some(length), target).with_message(what);
        self.bar = match ProgressStyle::with_template(style) {
            Ok(style) => bar.with_style(style.progress_chars("=> ").with_key("rate", rate)),
            Err(_) => bar,
        };
    }

    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub(crate) fn done(&self, rows: u64) {
        self.bar.inc(rows);
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Tells what is wrong with a row, if anything is, and empties the list.
    pub(crate) fn wrong_row(&mut self, file: &Path, line: u64, wrong: &mut Vec<Wrong>) {
        self.wrong_rows += u64::from(!wrong.is_empty());
        for wrong in wrong.drain(..) {
            self.print(file, line, &wrong);
        }
    }

    /// Tells of one thing that is wrong.
    pub(crate) fn wrong(&mut self, file: &Path, line: u64, wrong: &Wrong) {
        self.wrong_rows += 1;
        self.print(file, line, wrong);
    }

    fn print(&mut self, file: &Path, line: u64, wrong: &Wrong) {
        self.wrong_fields += 1;
        let Wrong { column, reason } = wrong;
        if self.json {
            say(json!({"file": file, "row": line, "column": column, "reason": reason}));
        } else if self.wrong_fields <= PRINTED_MAX {
            self.bar.suspend(|| complain(format_args!("{}:{line}: {column}: {reason}", file.display())));
        }
    }

    pub(crate) fn wrong_rows(&self) -> u64 {
        self.wrong_rows
    }

    pub(crate) fn finish_checked(&self, plan: &Plan) {
        if self.json {
            say(json!({"checkedRows": plan.rows()}));
        } else {
            say(format_args!("{} rows are right; nothing was imported", plan.rows()));
        }
    }

    /// Says what was done.
    pub(crate) fn finish(&self, plan: &Plan) -> Result<(), Failure> {
        let millis = self.started.elapsed().as_millis().max(1);
        if self.json {
            let count = |count: Count| json!({"made": count.made, "thereAlready": count.there});
            say(json!({
                "rows": plan.rows(), "products": count(self.products), "locations": count(self.locations),
                "movements": count(self.movements), "refusedRows": self.wrong_rows, "milliseconds": millis,
            }));
        } else {
            for (what, count) in
                [("products", self.products), ("locations", self.locations), ("movements", self.movements)]
            {
                say(format_args!("{what:10} {:>9} made, {:>9} there already", count.made, count.there));
            }
            let movements = u128::from(self.movements.made + self.movements.there);
            let (seconds, tenths) = (millis / 1000, millis % 1000 / 100);
            say(format_args!("in {seconds}.{tenths} s ({} movements/s)", movements * 1000 / millis));
        }
        if self.wrong_rows == 0 {
            return Ok(());
        }
        Err(Failure::Data(format!(
            "{} rows were refused by the server, all others are imported: correct them and import again",
            self.wrong_rows
        )))
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if !self.json && PRINTED_MAX < self.wrong_fields {
            complain(format_args!("… and {} more; --json prints all", self.wrong_fields - PRINTED_MAX));
        }
    }
}
