//! Rows of a model while entries are applied, and their stored keys.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The beginning of the stored keys of a model's own rows; cursors are beside them.
const ROW: &[u8] = b"r";

pub(super) fn stored_key(key: &[u8]) -> Bytes {
    [ROW, key].concat().into()
}

pub(super) fn key(stored: &Bytes) -> Bytes {
    stored.slice(ROW.len().min(stored.len())..)
}

/// The rows that entries look at and change.
#[derive(Debug, Default)]
pub struct Rows {
    pub(super) loaded: BTreeMap<Bytes, Option<Bytes>>,
    pub(super) changed: BTreeMap<Bytes, Option<Bytes>>,
}

impl Rows {
    /// A row that [`super::Projection::reads`] named, or that was set before; `None` if there is none.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.changed.get(key).or_else(|| self.loaded.get(key))?.as_ref()
    }

    /// Writes a row.
    pub fn set(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changed.insert(key.into(), Some(value.into()));
    }

    /// Removes a row.
    pub fn remove(&mut self, key: impl Into<Bytes>) {
        self.changed.insert(key.into(), None);
    }
}
