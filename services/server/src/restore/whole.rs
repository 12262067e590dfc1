//! All of a backup into a new folder.

use std::fs;
use std::path::Path;

use journal_embedded::{Loader, Options, Section};

use super::{
    ALL, Source, begin, differs, end, finished, is_empty, section, tally, unfinished, write_file, written,
};
use crate::backup::KEPT;
use crate::backup::format::Event;
use crate::cli::{Failure, Restore};
use crate::data::{self, io_failure, store_names};

pub(super) fn restore(args: &Restore, backup: &Source, into: &Path) -> Result<(), Failure> {
    let again = unfinished(into)?;
    if again.as_deref() != Some(ALL) && !is_empty(into)? {
        return Err(Failure::Usage(format!(
            "'{}' is not empty, and a restore replaces nothing: name a new folder with --into, or one tenant with \
             --tenant",
            into.display()
        )));
    }
    let summary = backup.check(|_, _, _| Ok(()))?;
    data::make_folder(into)?;
    begin(into, ALL)?;
    if again.is_some() {
        clear(into)?;
    }
    fill(backup, into)?;
    for place in &summary.places {
        let (store, dump) = written(into, &place.store)?;
        if Some(dump.place()) != place.place() {
            return Err(differs(into, &place.store, Section::Feed));
        }
        for section in Section::ALL {
            if Some(&tally(&dump, section, None)?) != summary.tally(&place.store, section.name()) {
                return Err(differs(into, &place.store, section));
            }
        }
        drop(dump);
        store.close();
    }
    end(into)?;
    finished(args, into, &summary);
    Ok(())
}

/// Removes what an interrupted restore left. The folder was empty before it.
fn clear(into: &Path) -> Result<(), Failure> {
    for name in store_names().into_iter().chain(KEPT) {
        let path = into.join(name);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false if path.exists() => fs::remove_file(&path),
            false => Ok(()),
        };
        removed.map_err(|error| io_failure(&path, "cannot be removed", &error))?;
    }
    Ok(())
}

fn fill(backup: &Source, into: &Path) -> Result<(), Failure> {
    let (mut reader, bar) = backup.reader()?;
    let mut loader: Option<Loader> = None;
    let mut place = None;
    let finish = |loader: Option<Loader>, place| match (loader, place) {
        (Some(loader), Some(place)) => loader.finish(place).map_err(|error| data::failure(into, error)),
        _ => Ok(()),
    };
    loop {
        match reader.next().map_err(|error| backup.failed(&error))? {
            Event::Place(next) => {
                finish(loader.take(), place)?;
                place = next.place();
                data::make_folder(&into.join(&next.store))?;
                let made = Loader::create(into.join(&next.store), &Options::default());
                loader = Some(made.map_err(|error| data::failure(into, error))?);
            }
            Event::Begin(part) => {
                bar.set_message(part.to_string());
                match (section(&part), &loader) {
                    (Some(section), Some(loader)) => {
                        let records = std::iter::from_fn(|| {
                            bar.set_position(reader.at());
                            reader.record().transpose()
                        });
                        loader.load(section, records).map_err(|error| backup.unwritten(into, &error))?;
                    }
                    _ => {
                        while let Some((key, value)) =
                            reader.record().map_err(|error| backup.failed(&error))?
                        {
                            write_file(into, &key, &value)?;
                        }
                    }
                }
            }
            Event::Finish(_) => {
                bar.finish_and_clear();
                return finish(loader, place);
            }
        }
    }
}
