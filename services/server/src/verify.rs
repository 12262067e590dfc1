//! `verify`: re-computes everything that is stored from the entries.

use std::collections::HashSet;
use std::path::Path;

use ids::{AggregateId, TenantId};
use indicatif::{ProgressBar, ProgressStyle};
use journal::SharedStore;
use journal::store::{Head, Store as _};
use journal::verify::Finding;
use problem::Problem as _;
use serde_json::json;

use crate::cli::{self, Failure, Verify, say};
use crate::data::{Sealed, Stores};
use crate::platform::Platform;

/// Aggregates that are read at once.
const PAGE: usize = 500;
/// Faults that are printed.
const FAULTS_MAX: usize = 100;

#[derive(Default)]
struct Report {
    records: u64,
    entries: u64,
    faults: Vec<String>,
    fault_count: u64,
    /// What is at fault by itself: nothing follows from it.
    faulty: HashSet<(&'static str, TenantId, AggregateId)>,
}

impl Report {
    fn fault(&mut self, text: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(text);
        }
    }
}

pub(crate) fn run(args: &Verify) -> Result<(), Failure> {
    cli::log_warnings()?;
    let data = args.data.as_path();
    let stores = Stores::open_any(data, args.root_key.as_deref())?;
    let report = cli::run_async(all(&stores, args.json))?;
    stores.close();
    print(data, args.json, &report);
    if report.fault_count == 0 {
        return Ok(());
    }
    Err(Failure::Data(format!(
        "{} in '{}': stop using it, keep a copy of the whole folder, and restore the newest backup that verifies",
        if report.fault_count == 1 { "1 fault".to_owned() } else { format!("{} faults", report.fault_count) },
        data.display()
    )))
}

async fn all(stores: &Stores, json: bool) -> Result<Report, Failure> {
    let mut report = Report::default();
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({rate})") {
        bar.set_style(style.with_key("rate", cli::rate));
    }
    for ((service, raw), (_, store)) in stores.named().iter().zip(stores.sealed()) {
        let faults = raw.check_files().map_err(|error| {
            Failure::Machine(format!(
                "the files of '{service}' cannot be read: {error}; check the disk, then start again"
            ))
        })?;
        faults.into_iter().for_each(|fault| report.fault(format!("{service}: {fault}")));
        let store: SharedStore = store.clone();
        match one(service, &store, &mut report, &bar).await {
            // Bytes that cannot be read are a fault like any other, and the next store may tell more.
            Err(journal::Error::Damaged(damage)) => report.fault(format!("{service}: {damage}")),
            done => done.map_err(|error| {
                let cause =
                    std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                Failure::Machine(format!("the records of '{service}' cannot be read: {error}{cause}"))
            })?,
        }
    }
    let Some(log) = stores.get("audit").filter(|_| stores.is_whole()) else {
        // What else there is to compare with is in the folders of other processes.
        bar.finish_and_clear();
        return Ok(report);
    };
    let platform = stores.platform(gateway::Config::default(), outbound::Settings::default())?;
    match follow(&platform, log, &mut report).await {
        Err(error) if matches!(error.reason(), "DATA_DAMAGED" | "TENANT_KEY_MISSING") => {
            report.fault(format!("audit: {error}"))
        }
        done => done.map_err(|error| {
            Failure::Machine(format!(
                "the audit log cannot be compared with the journals, start again: {error}"
            ))
        })?,
    }
    if report.faults.is_empty() {
        compare_inherited(&platform, &mut report).await;
    }
    bar.finish_and_clear();
    Ok(report)
}

/// Compares what businesses were told of changes above them with the journals that it follows from. What was not told
/// yet will be, at the next start; what was told must have happened.
async fn compare_inherited(platform: &Platform, report: &mut Report) {
    let found = match platform.follower.check().await {
        Ok(found) => found,
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            return report
                .fault(format!("catalog: what businesses were told cannot be compared: {error}{cause}"));
        }
    };
    let told =
        [(&found.beyond, "entries that its journal does not have"), (&found.differing, "other entries")];
    for (gaps, what) in told {
        for gap in &gaps.first {
            report.fault(format!(
                "catalog: businesses were told of {what}: {} of {}, up to {} of {}",
                gap.aggregate, gap.tenant, gap.cursor, gap.head
            ));
        }
    }
}

/// Compares the audit log with the journals that it follows. What it has not taken in yet it will, at the next
/// start; what it has taken in must still be there.
async fn follow(platform: &Platform, log: &Sealed, report: &mut Report) -> Result<(), audit::Error> {
    let app = platform.audit.app();
    let mut after = None;
    loop {
        let page = log.aggregates(after, PAGE).await.map_err(journal::Error::from)?;
        let Some((tenant, aggregate, _)) = page.last() else { return Ok(()) };
        after = Some((*tenant, *aggregate));
        for (tenant, ..) in page.iter().filter(|(_, found, _)| *found == audit::records::log_id()) {
            let mut from = None;
            loop {
                let found = app.completeness(*tenant, from, PAGE).await?;
                for gap in found.gaps {
                    if gap.contradicts && !report.faulty.contains(&(gap.service, *tenant, gap.aggregate)) {
                        report.fault(format!(
                            "audit: the log has {} entries of {} {} of {tenant} that its journal does not have, or has \
                             otherwise",
                            gap.covered, gap.service, gap.aggregate
                        ));
                    }
                }
                from = found.next;
                if from.is_none() {
                    break;
                }
            }
        }
    }
}

async fn one(
    service: &'static str,
    store: &SharedStore,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<(), journal::Error> {
    let mut after = None;
    loop {
        let page = store.aggregates(after, PAGE).await?;
        let Some((tenant, aggregate, _)) = page.last() else { return Ok(()) };
        after = Some((*tenant, *aggregate));
        for (tenant, aggregate, head) in page {
            let finding = match aggregate_finding(service, store, tenant, aggregate, &head).await {
                Err(journal::Error::Damaged(damage)) => {
                    Finding { entries: 0, faults: vec![damage.to_string()] }
                }
                Err(journal::Error::KeyMissing(missing)) => {
                    Finding { entries: 0, faults: vec![missing.to_string()] }
                }
                finding => finding?,
            };
            report.records += 1;
            if !finding.faults.is_empty() {
                report.faulty.insert((service, tenant, aggregate));
            }
            report.entries += finding.entries;
            for fault in finding.faults {
                report.fault(format!("{service} {aggregate} of {tenant}: {fault}"));
            }
            bar.inc(1);
            bar.set_message(format!("{service}: {} records, {} entries", report.records, report.entries));
        }
    }
}

async fn aggregate_finding(
    service: &str,
    store: &SharedStore,
    tenant: TenantId,
    aggregate: AggregateId,
    head: &Head,
) -> Result<Finding, journal::Error> {
    match service {
        "tenant" => tenant::verify_aggregate(store, tenant, aggregate, head).await,
        "catalog" => catalog::verify_aggregate(store, tenant, aggregate, head).await,
        "audit" => audit::verify_aggregate(store, tenant, aggregate, head).await,
        _ => stock::verify_aggregate(store, tenant, aggregate, head).await,
    }
}

fn print(data: &Path, json: bool, report: &Report) {
    if json {
        let line = json!({
            "data": data, "ok": report.fault_count == 0, "records": report.records,
            "entries": report.entries, "faultCount": report.fault_count, "faults": report.faults,
        });
        say(line);
        return;
    }
    for fault in &report.faults {
        say(fault);
    }
    if report.fault_count == 0 {
        say(format_args!(
            "{}: every hash chain, balance and value is what its entries lead to ({} records, {} entries)",
            data.display(),
            report.records,
            report.entries
        ));
    }
}
