//! The report, in Markdown.

use std::collections::HashMap;
use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use crate::goals::{Floor, GOALS, spread};
use crate::measure::{Baseline, Measure};
use crate::turn::Product;

/// A turn of the baseline and, right after it, one of the server.
pub(crate) type Pair = (Baseline, Product);

/// Whether every required floor held in the median of the pairs. A ratio that could not be made is a miss.
pub(crate) fn floors_hold(pairs: &[Pair]) -> bool {
    let runs: Vec<_> = pairs.iter().map(by_point).collect();
    GOALS.iter().filter(|goal| goal.required).all(|goal| {
        let ratios: Vec<f64> = runs.iter().filter_map(|run| goal.ratio(run)).collect();
        spread(&ratios).is_some_and(|(median, ..)| goal.met(median) == Some(true))
    })
}

/// Ratios of both sides, then what each of them measured.
pub(crate) fn comparison(
    pairs: &[Pair],
    machine: &[String],
    lasting: Duration,
) -> Result<String, fmt::Error> {
    let mut out = heading(machine);
    if let Some((baseline, _)) = pairs.first() {
        writeln!(
            out,
            "- PostgreSQL {}, every commit synced, {} MB with its buffers, {} bytes a movement",
            baseline.postgres, baseline.memory_mb, baseline.bytes_per_movement
        )?;
    }
    writeln!(
        out,
        "- pairs of turns, one side after the other: {}; {} s a run, client and server on the same cores\n",
        pairs.len(),
        lasting.as_secs()
    )?;

    let runs: Vec<_> = pairs.iter().map(by_point).collect();
    writeln!(out, "## Ratios\n\nMedian of the pairs [least to greatest].\n")?;
    writeln!(out, "| ratio | measured | floor | |\n| --- | --- | --- | --- |")?;
    for goal in GOALS {
        let ratios: Vec<f64> = runs.iter().filter_map(|run| goal.ratio(run)).collect();
        let floor = match goal.floor {
            Floor::AtLeast(floor) => format!(">= {floor}"),
            Floor::AtMost(floor) => format!("<= {floor}"),
            Floor::None => String::new(),
        };
        let (measured, verdict) = match spread(&ratios) {
            None => ("not measured".to_owned(), ""),
            Some((median, least, greatest)) => (
                if least < greatest {
                    format!("{median:.2} [{least:.2} to {greatest:.2}]")
                } else {
                    format!("{median:.2}")
                },
                match goal.met(median) {
                    Some(true) => "met",
                    Some(false) if goal.required => "**missed**",
                    Some(false) => "later",
                    None => "",
                },
            ),
        };
        writeln!(out, "| {} | {measured} | {floor} | {verdict} |", goal.text)?;
    }

    let products: Vec<&Product> = pairs.iter().map(|(_, product)| product).collect();
    server_tables(&mut out, &products)?;
    let baselines: Vec<_> = pairs.iter().map(|(baseline, _)| baseline.measures()).collect();
    writeln!(out, "\n## PostgreSQL\n")?;
    measure_table(&mut out, &baselines)?;
    writeln!(out, "\n## Checks after each turn\n")?;
    for (baseline, product) in pairs {
        writeln!(
            out,
            "- PostgreSQL: {} movements, {} items whose balance is not their sum. {}",
            baseline.checks.movements,
            baseline.checks.wrong_items,
            checks(product)
        )?;
    }
    Ok(out)
}

/// What the server alone measured.
pub(crate) fn alone(product: &Product, machine: &[String]) -> Result<String, fmt::Error> {
    let mut out = heading(machine);
    server_tables(&mut out, &[product])?;
    writeln!(out, "\n{}", checks(product))?;
    Ok(out)
}

/// When, and on which machine.
pub(crate) fn heading(machine: &[String]) -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
    let lines: String = machine.iter().map(|line| format!("- {line}\n")).collect();
    format!("# Load test of {now}\n\n{lines}")
}

fn server_tables(out: &mut String, products: &[&Product]) -> fmt::Result {
    writeln!(out, "\n## Server\n\n| | |\n| --- | --- |")?;
    let row = |out: &mut String, name, figures: Vec<f64>, unit| match spread(&figures) {
        Some(figures) => writeln!(out, "| {name} | {} {unit} |", Spread(figures)),
        None => Ok(()),
    };
    let each = |figure: fn(&Product) -> f64| products.iter().map(|product| figure(product)).collect();
    row(out, "start to ready, empty folder", each(|p| milliseconds(p.start_empty)), "ms")?;
    row(out, "start to ready, after the load", each(|p| milliseconds(p.start_loaded)), "ms")?;
    row(out, "movements then", each(|p| p.checked.movements as f64), "")?;
    row(out, "SIGTERM to end, after the load", each(|p| milliseconds(p.stop)), "ms")?;
    row(out, "memory when ready", each(|p| megabytes(p.memory_ready)), "MB")?;
    row(out, "memory with 10,000 items", each(|p| megabytes(p.memory_items)), "MB")?;
    row(out, "memory after the load", each(|p| megabytes(p.memory_end)), "MB")?;
    row(out, "memory at its peak", each(|p| megabytes(p.memory_peak)), "MB")?;
    row(out, "disk", each(|p| p.bytes_per_movement as f64), "bytes a movement")?;
    writeln!(out)?;
    measure_table(out, &products.iter().map(|product| product.measures.clone()).collect::<Vec<_>>())
}

/// One row for each point, in the order of the first turn.
fn measure_table(out: &mut String, turns: &[Vec<Measure>]) -> fmt::Result {
    writeln!(
        out,
        "| run | in flight | movements or reads/s | p50 ms | p99 ms | max ms | server CPU µs each |"
    )?;
    writeln!(out, "| --- | --- | --- | --- | --- | --- | --- |")?;
    for first in turns.first().into_iter().flatten() {
        let point = first.point();
        let same: Vec<&Measure> = turns.iter().flatten().filter(|m| m.point() == point).collect();
        let each = |figure: fn(&Measure) -> f64| spread(&same.iter().map(|m| figure(m)).collect::<Vec<_>>());
        let middle = |figure: fn(&Measure) -> f64| each(figure).map_or(0.0, |(median, ..)| median);
        let offered = first.offered.map(|rate| format!(", {rate}/s offered")).unwrap_or_default();
        let cpu =
            first.cpu_us.map(|_| format!("{:.1}", middle(|m| m.cpu_us.unwrap_or(0.0)))).unwrap_or_default();
        writeln!(
            out,
            "| {}{offered} | {} | {} | {:.2} | {:.2} | {:.1} | {cpu} |",
            first.scenario,
            first.in_flight,
            each(|m| m.per_second).map(Spread).as_ref().map_or(String::new(), ToString::to_string),
            middle(|m| m.p50_us) / 1_000.0,
            middle(|m| m.p99_us) / 1_000.0,
            middle(|m| m.max_us) / 1_000.0,
        )?;
    }
    Ok(())
}

fn checks(product: &Product) -> String {
    let checked = product.checked;
    format!(
        "Server, after another start: {} movements, all that were acknowledged; {} movements of {} items followed \
         one by one, no gap, every balance and value the sum.",
        checked.movements, checked.movements_read, checked.items_read
    )
}

/// All measurements of a pair by their point.
fn by_point(pair: &Pair) -> HashMap<String, Measure> {
    let (baseline, product) = pair;
    let all = baseline.measures().into_iter().chain(product.measures.iter().cloned());
    all.map(|measure| (measure.point(), measure)).collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Median, least and greatest, without digits that say nothing; the range only where there is one.
struct Spread((f64, f64, f64));

impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, least, greatest) = self.0;
        if least < greatest {
            write!(f, "{} [{} to {}]", grouped(median), grouped(least), grouped(greatest))
        } else {
            write!(f, "{}", grouped(median))
        }
    }
}

/// A whole number with commas between thousands.
fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_for_people() {
        assert_eq!(grouped(0.4), "0");
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(Spread((2.0, 1.0, 3.0)).to_string(), "2 [1 to 3]");
        assert_eq!(Spread((2.0, 2.0, 2.0)).to_string(), "2");
    }
}
