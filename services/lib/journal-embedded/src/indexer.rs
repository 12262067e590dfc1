//! Writes frozen generations to the tables, behind the log.
//!
//! A generation goes straight into files of the engine, in order of the keys, past the engine's own journal and
//! memory. A table at a time: should the process die between two of them, the log still has all groups behind
//! the last one that the meta table names, and replaying them writes the same records again.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use journal::store::StoreError;

use crate::compact::Signal;
use crate::fatal::Fatal;
use crate::log::Segments;
use crate::mark::Sync;
use crate::overlay::{Generation, Overlay};
use crate::records::{self, APPLIED_KEY, FORGOTTEN_KEY};
use crate::tables::{Table, Tables};

pub(crate) struct Indexer {
    pub(crate) tables: Arc<Tables>,
    pub(crate) overlay: Arc<Overlay>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) mark: Sync,
    pub(crate) merge: Arc<Signal>,
}

/// Tables that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Engine(#[from] fjall::Error),
    #[error(transparent)]
    Read(#[from] StoreError),
}

impl Indexer {
    pub(crate) fn run(&self, fatal: &Fatal) {
        match catch_unwind(AssertUnwindSafe(|| self.work())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => fatal.stop(&format!("the tables do not follow the log: {error}")),
            Err(_) => fatal.stop("writing the tables panicked"),
        }
        // The writer waits for no progress that never comes.
        self.overlay.stop();
    }

    fn work(&self) -> Result<(), String> {
        self.segments.prepare().map_err(|error| error.to_string())?;
        while let Some(generation) = self.overlay.oldest() {
            self.tables.wait_for_merges(&self.merge);
            write(&generation, self.overlay.forgotten(), &self.tables).map_err(|error| error.to_string())?;
            // A mark older than the tables could not be compared with anything.
            self.mark.sync().map_err(|error| error.to_string())?;
            self.segments.set_applied(generation.at().group);
            drop(generation);
            self.overlay.oldest_is_written();
            self.merge.wake();
            self.segments.prepare().map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Writes a generation; groups of the feed that are `forgotten` are not written, and removed.
pub(crate) fn write(generation: &Generation, forgotten: u64, tables: &Tables) -> Result<(), Failure> {
    let scopes = generation.scopes();
    let entries = scopes.iter().flat_map(|&(tenant, aggregate)| {
        let entries = generation.all_entries((tenant, aggregate));
        entries.map(move |(seq, entry)| (records::entry_key(tenant, aggregate, seq), Some(entry)))
    });
    tables.ingest(Table::Entry, entries)?;

    let rows = scopes.iter().flat_map(|&(tenant, aggregate)| {
        let rows = generation.all_rows((tenant, aggregate));
        rows.map(move |(key, value)| (records::row_key(tenant, aggregate, key), value))
    });
    tables.ingest(Table::Row, rows)?;

    let mut keys: Vec<_> = generation.keys().collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    tables.ingest(Table::Key, keys.into_iter().map(|(key, row)| (key, row.map(records::key_value))))?;

    let mut claims: Vec<_> = generation.claims().collect();
    claims.sort_unstable_by_key(|(key, _)| *key);
    tables.ingest(
        Table::Claim,
        claims.into_iter().map(|(key, owner)| (key, owner.map(|owner| *owner.as_bytes()))),
    )?;

    tables.ingest(Table::Index, generation.all_index())?;

    // Behind the entries and rows: a head names a state that is there.
    let heads = scopes.iter().filter_map(|&(tenant, aggregate)| {
        let head = generation.head((tenant, aggregate))?;
        Some((records::aggregate_key(tenant, aggregate), Some(records::head_value(head))))
    });
    tables.ingest(Table::Head, heads)?;

    // Numbers rise: what is forgotten lies before what is new.
    let view = tables.view();
    let end = (forgotten + 1).to_be_bytes();
    let old = view.range(Table::Feed, (Bound::Unbounded, Bound::Excluded(end.as_slice())));
    let old: Vec<_> = old.map(|row| row.map(|(key, _)| (key.to_vec(), None))).collect::<Result<_, _>>()?;
    let new = generation
        .feed(forgotten, usize::MAX)
        .map(|group| (group.number.to_be_bytes().to_vec(), Some(records::feed_value(&group.changes))));
    // From end to end, so that the files overlap and are merged: files apart would only be moved, and never get fewer.
    let edge = |number: u64| std::iter::once((number.to_be_bytes().to_vec(), None));
    tables.ingest(Table::Feed, edge(0).chain(old).chain(new).chain(edge(u64::MAX)))?;

    let applied = records::position_value(generation.at());
    Ok(tables.write_meta([(APPLIED_KEY, &applied), (FORGOTTEN_KEY, &forgotten.to_be_bytes())])?)
}
