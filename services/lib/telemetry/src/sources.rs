//! What journals and consumers know of themselves, as metrics.

use journal::tally::{self, BOUNDS_COMMANDS, BOUNDS_US, OUTCOMES};

use crate::metrics::{Sheet, Source};
use crate::table;

const US_PER_S: f64 = 1e6;

/// The journals of this process.
pub(crate) struct Journals;

impl Source for Journals {
    #[allow(clippy::cast_precision_loss)] // counts and microseconds of a process' life
    fn read(&self, sheet: &mut Sheet) {
        let seconds = BOUNDS_US.map(|us| us as f64 / US_PER_S);
        let commands = BOUNDS_COMMANDS.map(|count| count as f64);
        for tally in tally::tallies() {
            let service = tally.service;
            let outcomes = tally.outcomes();
            for (name, count) in OUTCOMES.into_iter().zip(outcomes) {
                sheet.number(&table::COMMITS, &[service, name], count as f64);
            }
            sheet.number(&table::COMMIT_CONFLICTS, &[service], outcomes[1] as f64);
            sheet.number(&table::COMMIT_UNKNOWN, &[service], tally.unknown() as f64);
            let age = tally.undecided_for().as_secs_f64();
            sheet.number(&table::COMMIT_UNDECIDED_AGE, &[service], age);
            let (counts, sum) = tally.took_us.read();
            sheet.histogram(&table::COMMIT_SECONDS, &[service], &seconds, &counts, sum as f64 / US_PER_S);
            let (counts, sum) = tally.commands.read();
            sheet.histogram(&table::COMMIT_COMMANDS, &[service], &commands, &counts, sum as f64);
            let (actors, busy) = tally.actors();
            sheet.number(&table::ACTORS, &[service], actors as f64);
            sheet.number(&table::ACTORS_BUSY, &[service], busy as f64 / actors.max(1) as f64);
            sheet.number(&table::ACTORS_EVICTED, &[service], tally.evicted() as f64);
        }
    }
}

/// The consumers of this process.
pub(crate) struct Consumers;

impl Source for Consumers {
    #[allow(clippy::cast_precision_loss)] // counts of a process' life
    fn read(&self, sheet: &mut Sheet) {
        for progress in events::progress::running() {
            let labels = [progress.consumer.as_str(), progress.source.as_str()];
            sheet.number(&table::CONSUMER_LAG, &labels, progress.lag() as f64);
            sheet.number(&table::CONSUMER_OLDEST, &labels, progress.behind_for().as_secs_f64());
            sheet.number(&table::CONSUMER_APPLIED, &labels, progress.applied() as f64);
            sheet.number(&table::CONSUMER_FAILED, &labels, progress.failed() as f64);
            sheet.number(&table::CONSUMER_DEAD, &labels, progress.parked() as f64);
        }
    }
}
