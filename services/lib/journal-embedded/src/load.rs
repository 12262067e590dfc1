//! Writes records straight into the tables of a store that nobody has open: what a dump held, into a new store or
//! in the place of one tenant's.
//!
//! Nothing here is atomic across sections. Whoever calls keeps the store from being opened until
//! [`Loader::finish`] returned, and begins anew after an interruption: loading the same again leads to the same.

use std::iter::Peekable;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{UserKey, UserValue};
use ids::{AggregateId, TenantId};
use journal::store::StoreError;

use crate::compact::Signal;
use crate::contents::end_of;
use crate::directory::Directory;
use crate::dump::{Place, RawRecord, Section};
use crate::frame::Next;
use crate::history::{Recovered, recover};
use crate::indexer;
use crate::log::Opening;
use crate::mark::Mark;
use crate::records::{self, APPLIED_KEY, FORGOTTEN_KEY, Position, STORE_KEY};
use crate::tables::{Table, Tables};
use crate::{OpenError, Options};

/// Records that are not written.
#[derive(Debug, thiserror::Error)]
pub enum LoadError<E> {
    /// They do not come.
    #[error(transparent)]
    Source(E),
    /// They do not come in order of their keys: the source is not a dump.
    #[error("the records are not in order")]
    Order,
    /// The store cannot be read or written.
    #[error("the store cannot be written: {0}")]
    Store(String),
}

/// A store that is being filled.
pub struct Loader {
    path: PathBuf,
    directory: Arc<Directory>,
    tables: Tables,
    at: Position,
}

impl Loader {
    /// Makes a store in an empty directory.
    ///
    /// # Errors
    /// [`OpenError`]: in use, or not empty.
    pub fn create(path: impl AsRef<Path>, options: &Options) -> Result<Loader, OpenError> {
        let path = path.as_ref();
        let (directory, tables) = open(path, options)?;
        let identity = tables.view().get(Table::Meta, STORE_KEY);
        let identity = identity.map_err(|error| OpenError::damaged(path, error.to_string()))?;
        if identity.is_some() {
            return Err(OpenError::damaged(path, "a store is there already"));
        }
        Ok(Loader { path: path.to_owned(), directory, tables, at: Position::default() })
    }

    /// Opens a store, and brings its tables to where its log is.
    ///
    /// # Errors
    /// [`OpenError`], as for any other use of the store.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Loader, OpenError> {
        let path = path.as_ref();
        let (directory, tables) = open(path, options)?;
        let opening =
            Opening { segment_bytes: options.segment_bytes, sync: options.sync, accept_loss: false };
        let Recovered { at, overlay, mark, .. } =
            recover(path, &directory, &tables, options.generation_bytes, &opening)?;
        overlay.freeze();
        for generation in overlay.read().frozen().iter().rev() {
            indexer::write(generation, overlay.forgotten(), &tables)
                .map_err(|error| OpenError::damaged(path, error.to_string()))?;
        }
        drop(mark);
        Ok(Loader { path: path.to_owned(), directory, tables, at })
    }

    /// Writes records of a section over what is there. They come in order of their keys.
    ///
    /// # Errors
    /// [`LoadError`]; nothing of the section is written then.
    pub fn load<E>(
        &self,
        section: Section,
        records: impl Iterator<Item = Result<RawRecord, E>>,
    ) -> Result<(), LoadError<E>> {
        self.ingest(section.table(), records.map(|record| Ok((record.map_err(LoadError::Source)?, true))))
    }

    /// Writes `records` in the place of all records of a tenant, and leaves those of others as they are. They come
    /// in order of their keys.
    ///
    /// # Errors
    /// [`LoadError`]; nothing of the section is written then.
    pub fn replace<E>(
        &self,
        section: Section,
        tenant: TenantId,
        records: impl Iterator<Item = Result<RawRecord, E>>,
    ) -> Result<(), LoadError<E>> {
        let view = self.tables.view();
        let prefix = tenant.as_bytes().as_slice();
        let end = end_of(prefix);
        let there = view.range(section.table(), (Bound::Included(prefix), end.as_ref().map(Vec::as_slice)));
        let there = there.map(|record| record.map_err(unreadable));
        let records = records.map(|record| record.map_err(LoadError::Source));
        self.ingest(section.table(), Replaced { there: there.peekable(), records: records.peekable() })
    }

    /// Whether an aggregate was ever written.
    ///
    /// # Errors
    /// [`StoreError`] when the tables cannot be read.
    pub fn has(&self, tenant: TenantId, aggregate: AggregateId) -> Result<bool, StoreError> {
        let key = records::aggregate_key(tenant, aggregate);
        Ok(self.tables.view().get(Table::Head, &key)?.is_some())
    }

    /// The value that is there.
    ///
    /// # Errors
    /// [`StoreError`] when the tables cannot be read.
    pub fn value(&self, section: Section, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables.view().get(section.table(), key)?.map(|value| value.to_vec()))
    }

    /// Ends a new store, which goes on from where the dump was taken.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be written.
    pub fn finish(self, place: Place) -> Result<(), OpenError> {
        self.end(place.position(), place.forgotten)
    }

    /// Ends a store some of whose records were replaced. Its feed tells nothing about that: it is forgotten, so
    /// that whoever follows it compares all heads with what he knows.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be written.
    pub fn finish_replaced(self) -> Result<(), OpenError> {
        let mut next = Next::after(self.at);
        next.forget_feed(self.at.group + 1);
        let at = next.position();
        let view = self.tables.view();
        let feed = view.range(Table::Feed, (Bound::Unbounded, Bound::Unbounded));
        let feed = feed.map(|group| match group {
            Ok((key, _)) => Ok(((key.to_vec(), bytes::Bytes::new()), false)),
            Err(error) => Err(unreadable::<std::convert::Infallible>(error)),
        });
        self.ingest(Table::Feed, feed).map_err(|error| OpenError::damaged(&self.path, error.to_string()))?;
        self.end(at, at.group)
    }

    fn end(self, at: Position, forgotten: u64) -> Result<(), OpenError> {
        let engine = |error| OpenError::engine(&self.path, error);
        let applied = records::position_value(at);
        let meta: [(&[u8], &[u8]); 3] = [
            (APPLIED_KEY, &applied),
            (FORGOTTEN_KEY, &forgotten.to_be_bytes()),
            (STORE_KEY, &self.directory.store),
        ];
        self.tables.write_meta(meta).map_err(engine)?;
        Mark::create(&self.directory.mark(), self.directory.store, at)
            .map_err(|error| OpenError::io(&self.path, "writing the file 'acknowledged'", error))?;
        Ok(())
    }

    /// Writes records, in order of their keys; those with `false` are removed.
    fn ingest<E>(
        &self,
        table: Table,
        records: impl Iterator<Item = Result<(RawRecord, bool), LoadError<E>>>,
    ) -> Result<(), LoadError<E>> {
        let engine = |error: fjall::Error| LoadError::Store(error.to_string());
        let mut to = None;
        let mut last: Option<Vec<u8>> = None;
        for record in records {
            let ((key, value), is_there) = record?;
            if last.as_ref().is_some_and(|last| *last >= key) {
                return Err(LoadError::Order);
            }
            let to = match &mut to {
                Some(to) => to,
                None => to.insert(self.tables.table(table).start_ingestion().map_err(engine)?),
            };
            let stored = UserKey::from(key.as_slice());
            match is_there {
                true => to.write(stored, UserValue::from(value.as_ref())).map_err(engine)?,
                false => to.write_tombstone(stored).map_err(engine)?,
            }
            last = Some(key);
        }
        to.map_or(Ok(()), |to| to.finish().map_err(engine))
    }
}

fn open(path: &Path, options: &Options) -> Result<(Arc<Directory>, Tables), OpenError> {
    let directory = Arc::new(Directory::open(path)?);
    // Nothing is merged here.
    let tables = Tables::open(Arc::clone(&directory), options, &Signal::default());
    Ok((directory, tables.map_err(|error| OpenError::engine(path, error))?))
}

fn unreadable<E>(error: StoreError) -> LoadError<E> {
    LoadError::Store(error.to_string())
}

/// What changes when `records` take the place of `there`: what is the same is left alone.
struct Replaced<T: Iterator, R: Iterator> {
    there: Peekable<T>,
    records: Peekable<R>,
}

impl<T, R, E> Iterator for Replaced<T, R>
where
    T: Iterator<Item = Result<(UserKey, UserValue), LoadError<E>>>,
    R: Iterator<Item = Result<RawRecord, LoadError<E>>>,
{
    type Item = Result<(RawRecord, bool), LoadError<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let removed = match (self.there.peek(), self.records.peek()) {
                (None, None) => return None,
                (Some(Ok((there, _))), Some(Ok((key, _)))) if there.as_ref() == key.as_slice() => {
                    let (there, record) = (self.there.next(), self.records.next());
                    if let (Some(Ok((_, old))), Some(Ok((key, new)))) = (there, record)
                        && old.as_ref() != new.as_ref()
                    {
                        return Some(Ok(((key, new), true)));
                    }
                    continue;
                }
                (Some(Ok((there, _))), Some(Ok((key, _)))) => there.as_ref() < key.as_slice(),
                (Some(Err(_)), _) | (Some(_), None) => true,
                (_, Some(_)) => false,
            };
            return if removed {
                let removed = self.there.next()?;
                Some(removed.map(|(key, _)| ((key.to_vec(), bytes::Bytes::new()), false)))
            } else {
                Some(self.records.next()?.map(|record| (record, true)))
            };
        }
    }
}
