//! What an import found and did.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::cli::Failure;
use crate::import::rows::Plan;

/// Wrong rows that are printed; all are counted.
const PRINTED_MAX: u64 = 50;

/// How many were made and how many were there already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) made: u64,
    pub(crate) there: u64,
}

pub(crate) struct Report {
    json: bool,
    wrong: u64,
    started: Instant,
    pub(crate) products: Count,
    pub(crate) locations: Count,
    pub(crate) movements: Count,
}

impl Report {
    pub(crate) fn new(json: bool) -> Report {
        Report {
            json,
            wrong: 0,
            started: Instant::now(),
            products: Count::default(),
            locations: Count::default(),
            movements: Count::default(),
        }
    }

    /// Tells of a wrong row.
    pub(crate) fn wrong(&mut self, file: &Path, line: u64, column: &str, reason: &str) {
        self.wrong += 1;
        if PRINTED_MAX < self.wrong {
            return;
        }
        if self.json {
            println!("{}", json!({"file": file, "row": line, "column": column, "reason": reason}));
        } else {
            eprintln!("{}:{line}: {column}: {reason}", file.display());
        }
    }

    pub(crate) fn wrong_rows(&self) -> u64 {
        self.wrong
    }

    pub(crate) fn finish_refused(&self) {
        if PRINTED_MAX < self.wrong && !self.json {
            eprintln!("… and {} more", self.wrong - PRINTED_MAX);
        }
    }

    pub(crate) fn finish_checked(&self, plan: &Plan) {
        if self.json {
            println!("{}", json!({"checked": plan.rows(), "wrongRows": 0}));
        } else {
            println!("{} rows are right; nothing was imported", plan.rows());
        }
    }

    /// Says what was done.
    pub(crate) fn finish(&self, plan: &Plan) -> Result<(), Failure> {
        self.finish_refused();
        let millis = self.started.elapsed().as_millis().max(1);
        if self.json {
            let count = |count: Count| json!({"made": count.made, "thereAlready": count.there});
            let line = json!({
                "rows": plan.rows(), "products": count(self.products), "locations": count(self.locations),
                "movements": count(self.movements), "refusedRows": self.wrong, "milliseconds": millis,
            });
            println!("{line}");
        } else {
            let line = |what: &str, count: Count| {
                println!("{what:10} {:>9} made, {:>9} there already", count.made, count.there);
            };
            line("products", self.products);
            line("locations", self.locations);
            line("movements", self.movements);
            let movements = u128::from(self.movements.made + self.movements.there);
            println!(
                "in {}.{} s ({} movements/s)",
                millis / 1000,
                millis % 1000 / 100,
                movements * 1000 / millis
            );
        }
        if self.wrong == 0 {
            return Ok(());
        }
        Err(Failure::Data(format!(
            "{} rows were refused by the server, all others are imported: correct them and import again",
            self.wrong
        )))
    }
}
