//! Sends checked rows.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::ProgressBar;
use proto::api::v1::{Money, Problem};
use proto::catalog::v1 as catalog;
use proto::stock::v1 as stock;
use tokio::sync::mpsc;

use crate::cli::Failure;
use crate::import::client::{Client, Known, failed};
use crate::import::files::{Files, Kind, Reader};
use crate::import::report::Report;
use crate::import::rows::{self, Line};

/// Rows of one call.
const BATCH: usize = 500;
/// Calls under way at once. The rows of one item stay in one lane, and so in order.
const LANES: usize = 4;
/// Batches that wait for a lane.
const LANE_BATCHES: usize = 2;

/// Sends everything: products and locations that are not there, then movements in file order.
pub(crate) async fn all(
    client: &Client,
    files: &Files,
    known: Known,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut known = known;
    products(client, files, &mut known, report, bar).await?;
    locations(client, files, &mut known, report, bar).await?;
    if report.wrong_rows() > 0 {
        return Ok(()); // movements of what is missing would only be refused too
    }
    movements(client, files, known, report, bar).await?;
    bar.finish_and_clear();
    Ok(())
}

/// Reads the next batch of rows that `known` does not have.
fn batch<T>(
    reader: &mut Reader,
    known: &HashMap<String, String>,
    there: &mut u64,
    column: &str,
    make: impl Fn(&crate::import::files::Row<'_>) -> T,
) -> Vec<(u64, T)> {
    let mut batch = Vec::with_capacity(BATCH);
    while batch.len() < BATCH {
        match reader.next() {
            None => break,
            Some(Ok(row)) if known.contains_key(row.get(column)) => *there += 1,
            Some(Ok(row)) => batch.push((row.line, make(&row))),
            Some(Err(_)) => {} // every row was read before
        }
    }
    batch
}

async fn products(
    client: &Client,
    files: &Files,
    known: &mut Known,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let Some(mut reader) = files.open(Kind::Products)? else { return Ok(()) };
    let path = reader.path.clone();
    loop {
        let before = report.products.there;
        let batch = batch(&mut reader, &known.variants, &mut report.products.there, "sku", rows::product);
        bar.inc(report.products.there - before);
        if batch.is_empty() {
            return Ok(());
        }
        let (lines, products): (Vec<u64>, Vec<_>) = batch.into_iter().unzip();
        let ask = catalog::BatchCreateProductsRequest { products, atomic: false };
        let answer = client.catalog.clone().batch_create_products(client.request(ask, None)).await;
        for (line, result) in lines.into_iter().zip(answer.map_err(failed)?.into_inner().results) {
            match result.result {
                Some(catalog::product_result::Result::Product(product)) => {
                    report.products.made += 1;
                    known
                        .variants
                        .extend(product.variants.into_iter().map(|variant| (variant.sku, variant.id)));
                }
                Some(catalog::product_result::Result::Problem(problem)) => {
                    refused(report, &path, line, &problem)?
                }
                None => {}
            }
            bar.inc(1);
        }
    }
}

async fn locations(
    client: &Client,
    files: &Files,
    known: &mut Known,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let Some(mut reader) = files.open(Kind::Locations)? else { return Ok(()) };
    let path = reader.path.clone();
    loop {
        let before = report.locations.there;
        let batch = batch(&mut reader, &known.locations, &mut report.locations.there, "code", |row| {
            stock::Location {
                code: row.get("code").to_owned(),
                name: row.get("name").to_owned(),
                ..stock::Location::default()
            }
        });
        bar.inc(report.locations.there - before);
        if batch.is_empty() {
            return Ok(());
        }
        let (lines, locations): (Vec<u64>, Vec<_>) = batch.into_iter().unzip();
        let ask = stock::BatchCreateLocationsRequest { locations, atomic: false };
        let answer = client.stock.clone().batch_create_locations(client.request(ask, None)).await;
        for (line, result) in lines.into_iter().zip(answer.map_err(failed)?.into_inner().results) {
            match result.result {
                Some(stock::location_result::Result::Location(location)) => {
                    report.locations.made += 1;
                    known.locations.insert(location.code, location.id);
                }
                Some(stock::location_result::Result::Problem(problem)) => {
                    refused(report, &path, line, &problem)?
                }
                None => {}
            }
            bar.inc(1);
        }
    }
}

/// Rows on their way: where they stand, and what they say.
type Batch = Vec<((Arc<PathBuf>, u64), stock::MovementDraft)>;

/// What became of a batch.
struct Outcome {
    made: u64,
    there: u64,
    refused: Vec<((Arc<PathBuf>, u64), Problem)>,
}

async fn movements(
    client: &Client,
    files: &Files,
    known: Known,
    report: &mut Report,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let (done, mut outcomes) = mpsc::channel(LANES * LANE_BATCHES);
    let mut lanes = Vec::with_capacity(LANES);
    for _ in 0..LANES {
        let (lane, batches) = mpsc::channel(LANE_BATCHES);
        lanes.push(lane);
        tokio::spawn(work(client.clone(), batches, done.clone()));
    }
    drop(done);
    let mut readers = Vec::new();
    for kind in [Kind::Opening, Kind::Sales] {
        readers.extend(files.open(kind)?.map(|reader| (kind, reader)));
    }
    let reading = tokio::task::spawn_blocking(move || read(readers, &known, &lanes));
    while let Some(outcome) = outcomes.recv().await {
        let outcome: Outcome = outcome?;
        report.movements.made += outcome.made;
        report.movements.there += outcome.there;
        bar.inc(outcome.made + outcome.there + outcome.refused.len() as u64);
        for ((path, line), problem) in outcome.refused {
            refused(report, &path, line, &problem)?;
        }
    }
    reading.await.map_err(|_| Failure::Machine("reading the files failed".into()))
}

/// Deals rows out to the lanes, in file order; ends early when a lane has ended.
fn read(readers: Vec<(Kind, Reader)>, known: &Known, lanes: &[mpsc::Sender<Batch>]) {
    let mut waiting: Vec<Batch> = lanes.iter().map(|_| Vec::with_capacity(BATCH)).collect();
    for (kind, mut reader) in readers {
        let path = Arc::new(reader.path.clone());
        while let Some(row) = reader.next() {
            let Ok(row) = row else { continue };
            let Some(line) = rows::line(kind, &row, &mut Vec::new()) else { continue };
            let Some(draft) = draft(kind, &line, known) else { continue };
            let at = lane(&draft.variant_id);
            waiting[at].push(((Arc::clone(&path), row.line), draft));
            if waiting[at].len() == BATCH {
                let batch = std::mem::replace(&mut waiting[at], Vec::with_capacity(BATCH));
                if lanes[at].blocking_send(batch).is_err() {
                    return;
                }
            }
        }
    }
    for (lane, batch) in lanes.iter().zip(waiting) {
        if !batch.is_empty() && lane.blocking_send(batch).is_err() {
            return;
        }
    }
}

fn lane(variant: &str) -> usize {
    variant.bytes().map(usize::from).sum::<usize>() % LANES
}

/// One lane: its batches, one after the other.
async fn work(
    client: Client,
    mut batches: mpsc::Receiver<Batch>,
    done: mpsc::Sender<Result<Outcome, Failure>>,
) {
    while let Some(batch) = batches.recv().await {
        let (places, movements): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let ask = stock::BatchPostMovementsRequest { movements, atomic: false, omit_movements: true };
        // Every row has a key of its own; the key of the batch is only for the form.
        let answer = client.stock.clone().batch_post_movements(client.request(ask, Some("import"))).await;
        let outcome = answer.map_err(failed).map(|answer| sorted(places, answer.into_inner().results));
        let failed = outcome.is_err();
        if done.send(outcome).await.is_err() || failed {
            return;
        }
    }
}

fn sorted(places: Vec<(Arc<PathBuf>, u64)>, results: Vec<stock::PostingResult>) -> Outcome {
    let mut outcome = Outcome { made: 0, there: 0, refused: Vec::new() };
    for (place, result) in places.into_iter().zip(results) {
        match result.result {
            Some(stock::posting_result::Result::Posting(posting)) if posting.replayed => outcome.there += 1,
            Some(stock::posting_result::Result::Posting(_)) => outcome.made += 1,
            Some(stock::posting_result::Result::Problem(problem))
                if problem.reason == "SOURCE_ALREADY_POSTED" =>
            {
                outcome.there += 1;
            }
            Some(stock::posting_result::Result::Problem(problem)) => outcome.refused.push((place, problem)),
            None => {}
        }
    }
    outcome
}

fn draft(kind: Kind, line: &Line<'_>, known: &Known) -> Option<stock::MovementDraft> {
    let (movement, source) = match kind {
        Kind::Opening => ("adjustment.opening", "opening"),
        _ => ("sale.shipment", "pos_receipt"),
    };
    let money = (!line.amount.is_empty())
        .then(|| Money { currency: line.currency.to_owned(), amount: line.amount.to_owned() });
    let note = match (&money, kind) {
        (Some(money), Kind::Sales) => format!("sold for {} {}", money.amount, money.currency),
        _ => String::new(),
    };
    let (seconds, nanos) = line.occurred_at.seconds_nanos();
    Some(stock::MovementDraft {
        kind: movement.to_owned(),
        variant_id: known.variants.get(line.sku)?.clone(),
        location_id: known.locations.get(line.location)?.clone(),
        quantity: line.quantity.to_string(),
        total_cost: money.filter(|_| kind == Kind::Opening),
        source: Some(stock::Source {
            r#type: source.to_owned(),
            id: line.document.to_owned(),
            line_id: line.line.to_owned(),
            ..stock::Source::default()
        }),
        note,
        occurred_at: Some(prost_types::Timestamp { seconds, nanos }),
        idempotency_key: key(source, line),
        ..stock::MovementDraft::default()
    })
}

/// Names a row for ever: its document and line.
fn key(source: &str, line: &Line<'_>) -> String {
    let id = ids::AggregateId::derive(&[source.as_bytes(), line.document.as_bytes(), line.line.as_bytes()]);
    format!("import-{id}")
}

/// Reports a row that the server refused, or ends the import if it is the server that has a problem.
fn refused(report: &mut Report, path: &std::path::Path, line: u64, problem: &Problem) -> Result<(), Failure> {
    if problem.status >= 500 || problem.code == "ABORTED" {
        return Err(Failure::Unavailable(format!(
            "the server has a problem ({}): repeat the same command, it goes on where it was",
            problem.detail
        )));
    }
    let column =
        problem.errors.first().map_or("row", |error| error.pointer.rsplit('/').next().unwrap_or("row"));
    let reason = problem.errors.first().map_or(&problem.detail, |error| &error.detail);
    report.wrong(path, line, column, reason);
    Ok(())
}
