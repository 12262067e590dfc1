//! Compares what the engine recovered with what was acknowledged.

use std::ops::Bound;
use std::path::Path;

use fjall::PersistMode;

use crate::OpenError;
use crate::directory::Directory;
use crate::mark::{Found, Mark};
use crate::records::{self, GROUP_PREFIX, GROUPS_KEPT, Position, STORE_KEY};
use crate::tables::{Table, Tables};

/// Returns where the store is, with its mark, or why it must not be used.
pub(crate) fn check(
    path: &Path,
    directory: &Directory,
    tables: &Tables,
    accept_loss: bool,
) -> Result<(Position, Mark), OpenError> {
    let last = last_groups(path, tables)?;
    let at = last.last().copied().unwrap_or_default();
    identify(path, directory, tables, at)?;

    let mark_error = |e| OpenError::io(path, "using the file 'acknowledged'", e);
    let checked = match Mark::find(&directory.mark(), directory.store).map_err(mark_error)? {
        // New, or it crashed while it was created.
        Found::Missing if at.group == 0 => Ok(()),
        Found::Missing => Err(OpenError::damaged(path, "the file 'acknowledged' is missing")),
        Found::Damaged => Err(OpenError::damaged(path, "the file 'acknowledged' has no valid mark")),
        Found::At(acknowledged) => compare(path, acknowledged, &last, at),
    };
    match checked {
        Err(error) if accept_loss => tracing::error!("going on although data was lost: {error}"),
        checked => checked?,
    }
    let mark = Mark::create(&directory.mark(), directory.store, at).map_err(mark_error)?;
    Ok((at, mark))
}

/// The last groups that the engine knows, in order; each was written with its group's records.
fn last_groups(path: &Path, tables: &Tables) -> Result<Vec<Position>, OpenError> {
    let damaged = |error: journal::StoreError| OpenError::damaged(path, error.to_string());
    let range = (Bound::Included(GROUP_PREFIX), Bound::Excluded(&b"h"[..]));
    let groups = tables.view().range(Table::Meta, range).map(|row| records::read_position(&row?.1));
    let mut groups: Vec<Position> = groups.collect::<Result<_, _>>().map_err(damaged)?;
    groups.sort_by_key(|at| at.group);
    let at = groups.last().map_or(0, |at| at.group);
    let complete = groups.iter().map(|at| at.group).eq(at.saturating_sub(GROUPS_KEPT) + 1..=at);
    match complete || at == 0 {
        true => Ok(groups),
        false => Err(OpenError::damaged(path, format!("groups before group {at} are missing"))),
    }
}

/// Writes the store's identity into a new engine, or compares it.
fn identify(path: &Path, directory: &Directory, tables: &Tables, at: Position) -> Result<(), OpenError> {
    let damaged = |error: journal::StoreError| OpenError::damaged(path, error.to_string());
    match tables.view().get(Table::Meta, STORE_KEY).map_err(damaged)? {
        Some(store) if *store == directory.store => Ok(()),
        None if at.group == 0 => {
            let mut batch = tables.db().batch().durability(Some(PersistMode::SyncAll));
            batch.insert(tables.table(Table::Meta), STORE_KEY, directory.store.as_slice());
            batch.commit().map_err(|error| OpenError::engine(path, error))
        }
        _ => Err(OpenError::damaged(path, "the engine's files belong to another store")),
    }
}

fn compare(path: &Path, acknowledged: Position, last: &[Position], at: Position) -> Result<(), OpenError> {
    if acknowledged.group > at.group {
        return Err(OpenError::DataLost {
            path: path.to_owned(),
            acknowledged: acknowledged.group,
            recovered: at.group,
        });
    }
    // A mark that a power cut left far behind has no group to be compared with, and none is missing.
    match last.iter().find(|at| at.group == acknowledged.group) {
        Some(same) if same.hash != acknowledged.hash => {
            let what = format!("group {} is not the one that was acknowledged", acknowledged.group);
            Err(OpenError::damaged(path, what))
        }
        _ => Ok(()),
    }
}
