//! Reads the log over the tables, and compares what is there with what was acknowledged.

use std::ops::Bound;
use std::path::Path;

use journal::store::StoreError;

use crate::OpenError;
use crate::directory::Directory;
use crate::frame::Record;
use crate::log::{Files, Log, LogError, Opening};
use crate::mark::{Found, Mark};
use crate::overlay::{Overlay, changed};
use crate::records::{self, APPLIED_KEY, FORGOTTEN_KEY, Position, STORE_KEY};
use crate::tables::{Table, Tables};

/// Where a store is, and what it goes on with.
pub(crate) struct Recovered {
    pub(crate) at: Position,
    pub(crate) overlay: Overlay,
    pub(crate) mark: Mark,
    pub(crate) log: Log,
}

/// Reads into memory what the tables do not hold yet; or says why the store must not be used.
pub(crate) fn recover(
    path: &Path,
    directory: &Directory,
    tables: &Tables,
    generation_bytes: usize,
    opening: &Opening,
) -> Result<Recovered, OpenError> {
    let damaged = |error: StoreError| OpenError::damaged(path, error.to_string());
    let reading = |error| OpenError::io(path, "reading the log", error);
    let view = tables.view();
    let applied = view.get(Table::Meta, APPLIED_KEY).map_err(damaged)?;
    let applied = applied.map(|applied| records::read_position(&applied)).transpose().map_err(damaged)?;
    let applied = applied.unwrap_or_default();
    identify(path, directory, tables, applied)?;

    let forgotten = view.get(Table::Meta, FORGOTTEN_KEY).map_err(damaged)?;
    let forgotten = forgotten.map(|group| records::read_group(&group)).transpose().map_err(damaged)?;
    let last = view.range(Table::Feed, (Bound::Unbounded, Bound::Unbounded)).next_back().transpose();
    let last = last.and_then(|last| last.map(|(group, _)| records::read_group(&group)).transpose());
    let last = last.map_err(damaged)?.unwrap_or(0);
    let overlay = Overlay::new(generation_bytes, last, forgotten.unwrap_or(0));

    let files = Files::read(&directory.log(), directory.store).map_err(reading)?;
    let mark = Mark::find(&directory.mark(), directory.store)
        .map_err(|error| OpenError::io(path, "reading the file 'acknowledged'", error))?;
    let acknowledged = match mark {
        Found::At(acknowledged) => Some(acknowledged),
        _ => None,
    };
    let mut same = acknowledged.filter(|acknowledged| acknowledged.group == applied.group);
    same = same.map(|_| applied);
    let replayed = files.replay(applied, opening, |at, records| {
        if acknowledged.is_some_and(|acknowledged| acknowledged.group == at.group) {
            same = Some(at);
        }
        let changes = records.iter().filter_map(|record| match record {
            Record::Commit(commit) => changed(commit),
            _ => None,
        });
        let changes = changes.collect();
        overlay.apply(at, records);
        overlay.announce(at, changes);
    });
    let (at, log) = replayed.map_err(|error| match error {
        LogError::Io(error) => reading(error),
        LogError::Gap { missing, behind } => OpenError::damaged(
            path,
            format!("group {missing} is damaged or missing, group {behind} is there"),
        ),
        LogError::Damaged(error) => damaged(error),
    })?;

    let checked = match mark {
        // New, or it crashed while it was created.
        Found::Missing if at.group == 0 => Ok(()),
        Found::Missing => Err(OpenError::damaged(path, "the file 'acknowledged' is missing")),
        Found::Damaged => Err(OpenError::damaged(path, "the file 'acknowledged' has no valid mark")),
        Found::At(acknowledged) if acknowledged.group > at.group => Err(OpenError::DataLost {
            path: path.to_owned(),
            acknowledged: acknowledged.group,
            recovered: at.group,
        }),
        // A mark that a power cut left behind the tables has no group to be compared with, and none is missing.
        Found::At(acknowledged) => match same {
            Some(same) if same.hash != acknowledged.hash => {
                let what = format!("group {} is not the one that was acknowledged", acknowledged.group);
                Err(OpenError::damaged(path, what))
            }
            _ => Ok(()),
        },
    };
    match checked {
        Err(error) if opening.accept_loss => tracing::error!("going on although data was lost: {error}"),
        checked => checked?,
    }
    let mark = Mark::create(&directory.mark(), directory.store, at)
        .map_err(|error| OpenError::io(path, "writing the file 'acknowledged'", error))?;
    Ok(Recovered { at, overlay, mark, log })
}

/// Writes the store's identity into new tables, or compares it.
fn identify(path: &Path, directory: &Directory, tables: &Tables, applied: Position) -> Result<(), OpenError> {
    let damaged = |error: StoreError| OpenError::damaged(path, error.to_string());
    match tables.view().get(Table::Meta, STORE_KEY).map_err(damaged)? {
        Some(store) if *store == directory.store => Ok(()),
        // New, or all that was in them is in the log still.
        None if applied.group == 0 => {
            tables.write_meta([(STORE_KEY, &directory.store)]).map_err(|error| OpenError::engine(path, error))
        }
        _ => Err(OpenError::damaged(path, "the engine's files belong to another store")),
    }
}
