//! `verify`: re-computes everything that is stored from the entries.

use std::path::Path;
use std::sync::Arc;

use ids::{AggregateId, TenantId};
use indicatif::{ProgressBar, ProgressStyle};
use journal::store::Head;
use journal::verify::Finding;
use journal::{Journal, Scope, SharedStore, SystemEnv};
use serde_json::json;

use crate::cli::{Failure, Verify};
use crate::data::Stores;

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
}

pub(crate) fn run(args: &Verify) -> Result<(), Failure> {
    let data = args.data.data.as_path();
    let stores = Stores::open_existing(data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Machine(format!("no runtime: {error}")))?;
    let report = runtime.block_on(all(&stores, args.json))?;
    stores.close();
    print(data, args.json, &report);
    if report.fault_count == 0 {
        return Ok(());
    }
    Err(Failure::Data(format!(
        "{} faults in '{}': stop using it, keep a copy, and restore the newest backup that verifies",
        report.fault_count,
        data.display()
    )))
}

async fn all(stores: &Stores, json: bool) -> Result<Report, Failure> {
    let mut report = Report::default();
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({per_sec} records)") {
        bar.set_style(style);
    }
    let services: [(&str, SharedStore); 3] = [
        ("tenant", Arc::<journal_embedded::EmbeddedStore>::clone(&stores.tenant)),
        ("catalog", Arc::<journal_embedded::EmbeddedStore>::clone(&stores.catalog)),
        ("stock", Arc::<journal_embedded::EmbeddedStore>::clone(&stores.stock)),
    ];
    for (service, store) in services {
        one(service, &store, &mut report, &bar).await?;
    }
    bar.finish_and_clear();
    Ok(report)
}

async fn one(
    service: &str,
    store: &SharedStore,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::Machine(format!("'{service}' cannot be read: {error}"));
    let mut after = None;
    loop {
        let page = store.aggregates(after, PAGE).await.map_err(|error| failed(&error))?;
        let Some((tenant, aggregate, _)) = page.last() else { return Ok(()) };
        after = Some((*tenant, *aggregate));
        for (tenant, aggregate, head) in page {
            let finding = aggregate_finding(service, store, tenant, aggregate, &head).await;
            let finding = finding.map_err(|error| failed(&error))?;
            report.records += 1;
            report.entries += finding.entries;
            for fault in finding.faults {
                report.fault_count += 1;
                if report.faults.len() < FAULTS_MAX {
                    report.faults.push(format!("{service} {aggregate} of {tenant}: {fault}"));
                }
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
        "tenant" => {
            let journal = Journal::<tenant::domain::State>::new(store.clone(), Arc::new(SystemEnv));
            journal.verify(Scope { tenant, aggregate }, head, |_, _, _| Ok(())).await
        }
        "catalog" => catalog::verify_aggregate(store, tenant, aggregate, head).await,
        _ => stock::verify_aggregate(store, tenant, aggregate, head).await,
    }
}

fn print(data: &Path, json: bool, report: &Report) {
    if json {
        let line = json!({
            "data": data, "ok": report.fault_count == 0, "records": report.records,
            "entries": report.entries, "faultCount": report.fault_count, "faults": report.faults,
        });
        println!("{line}");
        return;
    }
    for fault in &report.faults {
        println!("{fault}");
    }
    if report.fault_count == 0 {
        println!(
            "{}: every hash chain, balance and value is what its entries lead to ({} records, {} entries)",
            data.display(),
            report.records,
            report.entries
        );
    }
}
