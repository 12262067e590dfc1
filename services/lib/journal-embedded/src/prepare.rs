//! Encodes a group of commits for the log, on the caller's thread: the writer has enough to do.

use journal::store::Commit;

use crate::frame;

/// A group that is ready to be checked and written.
pub(crate) struct Group {
    pub(crate) commits: Vec<Commit>,
    /// Their records for the log. Those of claims depend on who owns them, so the writer adds them.
    pub(crate) encoded: Vec<u8>,
}

impl Group {
    pub(crate) fn new(commits: Vec<Commit>) -> Group {
        let mut encoded = Vec::with_capacity(commits.iter().map(bytes_of).sum());
        commits.iter().for_each(|commit| frame::push_commit(&mut encoded, commit));
        Group { commits, encoded }
    }
}

/// About as many as the commit takes in the log.
fn bytes_of(commit: &Commit) -> usize {
    let entries: usize = commit.entries.iter().map(|entry| entry.len() + 4).sum();
    let rows: usize =
        commit.rows.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, |v| v.len()) + 6).sum();
    let index: usize =
        commit.index.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, |v| v.len()) + 8).sum();
    128 + commit.head.header.len() + entries + rows + index + 64 * commit.keys.len()
}
