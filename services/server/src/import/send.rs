//! Sends checked rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::api::v1::{Money, Problem};
use proto::catalog::v1 as catalog;
use proto::stock::v1 as stock;
use tokio::sync::mpsc;

use crate::cli::Failure;
use crate::import::check::Plan;
use crate::import::client::{Client, Known, failed};
use crate::import::files::{Files, Kind, Reader, Row, Wrong};
use crate::import::report::{Count, Report};
use crate::import::rows::{self, Line};

/// Rows of one call.
const BATCH: usize = 500;
/// Calls under way at once. The rows of one item stay in one lane, and so in order.
const LANES: usize = 4;
/// Batches that wait for a lane.
const LANE_BATCHES: usize = 2;
/// Tries of a row that another process is posting at the same time, and the pause before the second one.
const TRIES_MAX: u32 = 40;
const PAUSE: Duration = Duration::from_millis(25);
/// How often the pause doubles.
const PAUSE_DOUBLINGS_MAX: u32 = 5;

/// Sends everything: products and locations that are not there, then movements in file order.
pub(crate) async fn all(
    client: &Client,
    files: &Files,
    mut known: Known,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Failure> {
    report.start("importing", plan.rows(), false);
    products(client, files, &mut known, report).await?;
    complete(plan.products, report.products, report)?;
    locations(client, files, &mut known, report).await?;
    complete(plan.products + plan.locations, sum(report.products, report.locations), report)?;
    if report.wrong_rows() == 0 {
        // Movements of what is missing would only be refused too.
        movements(client, files, known, report).await?;
        let there = sum(sum(report.products, report.locations), report.movements);
        complete(plan.rows(), there, report)?;
    }
    report.end();
    Ok(())
}

fn sum(one: Count, other: Count) -> Count {
    Count { made: one.made + other.made, there: one.there + other.there }
}

/// Sees that every row had an answer.
fn complete(rows: u64, count: Count, report: &Report) -> Result<(), Failure> {
    if count.made + count.there + report.wrong_rows() == rows {
        return Ok(());
    }
    Err(Failure::Data("the files were changed while they were imported: import them again".into()))
}

/// Reads the next batch of rows that are not there, with their lines.
fn batch<T>(
    reader: &mut Reader,
    there: &mut u64,
    is_there: impl Fn(&Row<'_>) -> bool,
    make: impl Fn(&Row<'_>) -> T,
) -> Result<Vec<(u64, T)>, Failure> {
    let mut batch = Vec::with_capacity(BATCH);
    while batch.len() < BATCH {
        match reader.next()? {
            None => break,
            Some(Ok(row)) if is_there(&row) => *there += 1,
            Some(Ok(row)) => batch.push((row.line, make(&row))),
            Some(Err(_)) => {} // every row was read before; see `complete`
        }
    }
    Ok(batch)
}

async fn products(
    client: &Client,
    files: &Files,
    known: &mut Known,
    report: &mut Report,
) -> Result<(), Failure> {
    let Some(mut reader) = files.open(Kind::Products)? else { return Ok(()) };
    let path = reader.path.clone();
    loop {
        let mut there = 0;
        let is_there = |row: &Row<'_>| known.variants.contains_key(row.get("sku"));
        let make = |row: &Row<'_>| rows::product(row, &mut Vec::new()).message();
        let batch = batch(&mut reader, &mut there, is_there, make)?;
        report.products.there += there;
        report.done(there);
        if batch.is_empty() {
            return Ok(());
        }
        let (lines, products): (Vec<u64>, Vec<_>) = batch.into_iter().unzip();
        let skus: Vec<String> = products.iter().map(|product| product.variants[0].sku.clone()).collect();
        let ask = catalog::BatchCreateProductsRequest { products, atomic: false };
        let answer = client.catalog.clone().batch_create_products(client.request(ask, None)).await;
        let results = answer.map_err(failed)?.into_inner().results;
        for ((line, sku), result) in lines.into_iter().zip(&skus).zip(results) {
            match result.result {
                Some(catalog::product_result::Result::Product(product)) => {
                    report.products.made += 1;
                    product.variants.into_iter().for_each(|variant| known.add_variant(variant));
                }
                // Another import may have been faster.
                Some(catalog::product_result::Result::Problem(problem)) => match taken(&problem) {
                    true if let Some(variant) = client.variant(sku).await? => {
                        report.products.there += 1;
                        known.add_variant(variant);
                    }
                    _ => refused(report, Kind::Products, &path, line, &problem)?,
                },
                None => {}
            }
            report.done(1);
        }
    }
}

async fn locations(
    client: &Client,
    files: &Files,
    known: &mut Known,
    report: &mut Report,
) -> Result<(), Failure> {
    let Some(mut reader) = files.open(Kind::Locations)? else { return Ok(()) };
    let path = reader.path.clone();
    loop {
        let mut there = 0;
        let is_there = |row: &Row<'_>| known.locations.contains_key(row.get("code"));
        let make = |row: &Row<'_>| rows::location_message(rows::location(row, &mut Vec::new()));
        let batch = batch(&mut reader, &mut there, is_there, make)?;
        report.locations.there += there;
        report.done(there);
        if batch.is_empty() {
            return Ok(());
        }
        let (lines, locations): (Vec<u64>, Vec<_>) = batch.into_iter().unzip();
        let codes: Vec<String> = locations.iter().map(|location| location.code.clone()).collect();
        let ask = stock::BatchCreateLocationsRequest { locations, atomic: false };
        let answer = client.stock.clone().batch_create_locations(client.request(ask, None)).await;
        let results = answer.map_err(failed)?.into_inner().results;
        for ((line, code), result) in lines.into_iter().zip(&codes).zip(results) {
            match result.result {
                Some(stock::location_result::Result::Location(location)) => {
                    report.locations.made += 1;
                    known.add_location(location);
                }
                Some(stock::location_result::Result::Problem(problem)) => match taken(&problem) {
                    true if let Some(location) = client.location(code).await? => {
                        report.locations.there += 1;
                        known.add_location(location);
                    }
                    _ => refused(report, Kind::Locations, &path, line, &problem)?,
                },
                None => {}
            }
            report.done(1);
        }
    }
}

/// Whether something of that name is there already.
fn taken(problem: &Problem) -> bool {
    problem.code == "ALREADY_EXISTS"
}

/// Where a row stands.
#[derive(Clone)]
struct Place {
    kind: Kind,
    path: Arc<PathBuf>,
    line: u64,
}

/// Rows on their way: where they stand, and what they say.
type Batch = Vec<(Place, stock::MovementDraft)>;

/// What became of a batch.
#[derive(Default)]
struct Outcome {
    count: Count,
    refused: Vec<(Place, Problem)>,
    /// Another process is posting them at this moment.
    running: Batch,
}

async fn movements(client: &Client, files: &Files, known: Known, report: &mut Report) -> Result<(), Failure> {
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
        report.movements = sum(report.movements, outcome.count);
        report.done(outcome.count.made + outcome.count.there + outcome.refused.len() as u64);
        for (place, problem) in outcome.refused {
            refused(report, place.kind, &place.path, place.line, &problem)?;
        }
    }
    reading.await.map_err(|_| Failure::Machine("reading the files failed".into()))?
}

/// Deals rows out to the lanes, in file order; ends early when a lane has ended.
fn read(readers: Vec<(Kind, Reader)>, known: &Known, lanes: &[mpsc::Sender<Batch>]) -> Result<(), Failure> {
    let mut waiting: Vec<Batch> = lanes.iter().map(|_| Vec::with_capacity(BATCH)).collect();
    for (kind, mut reader) in readers {
        let path = Arc::new(reader.path.clone());
        while let Some(row) = reader.next()? {
            // Every row was read before; see `complete`.
            let Ok(row) = row else { continue };
            let Some(line) = rows::line(kind, &row, &mut Vec::new()) else { continue };
            let Some(draft) = draft(kind, &line, known) else { continue };
            let at = lane(&draft.variant_id);
            waiting[at].push((Place { kind, path: Arc::clone(&path), line: row.line }, draft));
            if waiting[at].len() == BATCH {
                let batch = std::mem::replace(&mut waiting[at], Vec::with_capacity(BATCH));
                if lanes[at].blocking_send(batch).is_err() {
                    return Ok(());
                }
            }
        }
    }
    for (lane, batch) in lanes.iter().zip(waiting) {
        if !batch.is_empty() && lane.blocking_send(batch).is_err() {
            return Ok(());
        }
    }
    Ok(())
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
        let outcome = post(batch, |batch| call(&client, batch)).await;
        let failed = outcome.is_err();
        if done.send(outcome).await.is_err() || failed {
            return;
        }
    }
}

/// Posts a batch, and again those of its rows that another import is posting at the same time: what follows
/// may need them.
async fn post<F: Future<Output = Result<Outcome, Failure>>>(
    batch: Batch,
    mut call: impl FnMut(Batch) -> F,
) -> Result<Outcome, Failure> {
    let mut whole = Outcome { running: batch, ..Outcome::default() };
    for attempt in 0..TRIES_MAX {
        if 0 < attempt {
            tokio::time::sleep(PAUSE * 2u32.pow((attempt - 1).min(PAUSE_DOUBLINGS_MAX))).await;
        }
        let outcome = call(std::mem::take(&mut whole.running)).await?;
        whole.count = sum(whole.count, outcome.count);
        whole.refused.extend(outcome.refused);
        whole.running = outcome.running;
        if whole.running.is_empty() {
            return Ok(whole);
        }
    }
    Err(Failure::Unavailable(
        "another import posts the same rows: let it end, and repeat the same command".to_owned(),
    ))
}

async fn call(client: &Client, batch: Batch) -> Result<Outcome, Failure> {
    let movements = batch.iter().map(|(_, draft)| draft.clone()).collect();
    let ask = stock::BatchPostMovementsRequest { movements, atomic: false, omit_movements: true };
    // Every row has a key of its own; the key of the batch is only for the form.
    let answer = client.stock.clone().batch_post_movements(client.request(ask, Some("import"))).await;
    Ok(sorted(batch, answer.map_err(failed)?.into_inner().results))
}

fn sorted(batch: Batch, results: Vec<stock::PostingResult>) -> Outcome {
    let mut outcome = Outcome::default();
    for ((place, draft), result) in batch.into_iter().zip(results) {
        match result.result {
            Some(stock::posting_result::Result::Posting(posting)) if !posting.replayed => {
                outcome.count.made += 1;
            }
            Some(stock::posting_result::Result::Posting(_)) => outcome.count.there += 1,
            Some(stock::posting_result::Result::Problem(problem)) => match problem.reason.as_str() {
                // Imported with another key of the tenant.
                "SOURCE_ALREADY_POSTED" => outcome.count.there += 1,
                "IDEMPOTENCY_IN_PROGRESS" => outcome.running.push((place, draft)),
                _ => outcome.refused.push((place, problem)),
            },
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
        variant_id: known.variants.get(line.sku)?.id.clone(),
        location_id: known.locations.get(line.location)?.id.clone(),
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
fn refused(
    report: &mut Report,
    kind: Kind,
    path: &Path,
    line: u64,
    problem: &Problem,
) -> Result<(), Failure> {
    if problem.status >= 500 || problem.code == "ABORTED" {
        return Err(Failure::Unavailable(format!(
            "the server has a problem ({}): see what it logs, and repeat the same command, it goes on where it was",
            problem.detail
        )));
    }
    report.wrong(path, line, &explained(kind, problem));
    Ok(())
}

/// What the answer of the server means for a row.
fn explained(kind: Kind, problem: &Problem) -> Wrong {
    let (document, amount) = rows::columns(kind);
    if let Some(error) = problem.errors.first() {
        let field = error.pointer.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
        let column = match field {
            "value" => "barcode",
            "baseUnit" => "base_unit",
            "quantityScale" => "quantity_scale",
            "variantId" => "sku",
            "locationId" => "location",
            "amount" => amount,
            "occurredAt" => "occurred_at",
            "id" => document,
            "lineId" => "line_id",
            field => field,
        };
        return Wrong::new(column, error.detail.as_str());
    }
    match problem.reason.as_str() {
        "INSUFFICIENT_STOCK" | "QUANTITY_LIMIT" => Wrong::new("quantity", problem.detail.as_str()),
        "BACKDATE_WINDOW" => Wrong::new("occurred_at", problem.detail.as_str()),
        "LOCATION_BLOCKED" => Wrong::new("location", problem.detail.as_str()),
        "BARCODE_TAKEN" => Wrong::new("barcode", problem.detail.as_str()),
        "IDEMPOTENCY_CONFLICT" => {
            let what = "this line was imported before with other content, and what is posted never changes: give \
                        the correction a line of its own";
            Wrong::new("line_id", what)
        }
        _ => Wrong::new("row", problem.detail.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lines: &[u64]) -> Batch {
        let path = Arc::new(PathBuf::from("sales.csv"));
        let place = |line| Place { kind: Kind::Sales, path: Arc::clone(&path), line };
        lines.iter().map(|line| (place(*line), stock::MovementDraft::default())).collect()
    }

    fn posted(replayed: bool) -> stock::PostingResult {
        let posting = stock::Posting { movements: vec![], replayed };
        stock::PostingResult { result: Some(stock::posting_result::Result::Posting(posting)) }
    }

    fn problem(reason: &str) -> stock::PostingResult {
        let problem = Problem { reason: reason.to_owned(), ..Problem::default() };
        stock::PostingResult { result: Some(stock::posting_result::Result::Problem(problem)) }
    }

    /// Only rows that another import is posting are sent again, in their order, until they are decided.
    #[test]
    fn rows_of_another_import_are_awaited() {
        let running = "IDEMPOTENCY_IN_PROGRESS";
        let mut answers = vec![
            vec![
                posted(false),
                problem(running),
                problem("INSUFFICIENT_STOCK"),
                problem(running),
                posted(true),
            ],
            vec![problem(running), posted(true)],
            vec![problem("SOURCE_ALREADY_POSTED")],
        ];
        answers.reverse();
        let mut sent = Vec::new();
        let work = post(batch(&[2, 3, 4, 5, 6]), |batch| {
            sent.push(batch.iter().map(|(place, _)| place.line).collect::<Vec<_>>());
            let answer = answers.pop().unwrap();
            async move { Ok(sorted(batch, answer)) }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let outcome = runtime.block_on(work).unwrap();
        assert_eq!(sent, [vec![2, 3, 4, 5, 6], vec![3, 5], vec![3]]);
        assert_eq!((outcome.count.made, outcome.count.there, outcome.running.len()), (1, 3, 0));
        let refused: Vec<_> =
            outcome.refused.iter().map(|(place, problem)| (place.line, problem.reason.as_str())).collect();
        assert_eq!(refused, [(4, "INSUFFICIENT_STOCK")]);
    }

    /// The columns are those of the file, whatever the contract calls the field.
    #[test]
    #[rustfmt::skip] // columns
    fn a_refusal_names_the_column_of_the_file() {
        fn check(kind: Kind, reason: &str, pointer: &str, column: &str) {
            let error = proto::api::v1::Violation { pointer: pointer.to_owned(), detail: "why".to_owned(), ..Default::default() };
            let errors = if pointer.is_empty() { vec![] } else { vec![error] };
            let problem = Problem { reason: reason.to_owned(), detail: "why".to_owned(), errors, ..Problem::default() };
            assert_eq!(explained(kind, &problem), Wrong::new(column, "why"), "{reason} {pointer}");
        }
        check(Kind::Products,  "INVALID_REQUEST", "/products/3/variants/0/barcodes/0/value", "barcode");
        check(Kind::Products,  "INVALID_REQUEST", "/products/3/baseUnit",              "base_unit");
        check(Kind::Products,  "BARCODE_TAKEN",   "",                                  "barcode");
        check(Kind::Locations, "INVALID_REQUEST", "/locations/0/name",                 "name");
        check(Kind::Opening,   "INVALID_REQUEST", "/movements/7/totalCost/amount",     "total_cost");
        check(Kind::Opening,   "INVALID_REQUEST", "/movements/7/totalCost/currency",   "currency");
        check(Kind::Opening,   "INVALID_REQUEST", "/movements/7/source/id",            "source_id");
        check(Kind::Sales,     "INVALID_REQUEST", "/movements/7/source/id",            "basket_id");
        check(Kind::Sales,     "INVALID_REQUEST", "/movements/7/source/lineId",        "line_id");
        check(Kind::Sales,     "INVALID_REQUEST", "/movements/7/occurredAt",           "occurred_at");
        check(Kind::Sales,     "INVALID_REQUEST", "/movements/7/variantId",            "sku");
        check(Kind::Sales,     "INSUFFICIENT_STOCK", "",                               "quantity");
        check(Kind::Sales,     "BACKDATE_WINDOW", "",                                  "occurred_at");
        check(Kind::Sales,     "LOCATION_BLOCKED", "",                                 "location");
        check(Kind::Sales,     "SOMETHING_NEW",   "",                                  "row");
    }
}
