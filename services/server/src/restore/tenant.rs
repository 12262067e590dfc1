//! One tenant of a backup, into a stopped folder or a new one.

use std::collections::BTreeMap;
use std::fs;
use std::iter;
use std::path::Path;

use ids::{AggregateId, TenantId};
use journal_embedded::{LoadError, Loader, Options, RawRecord, Section};
use rpc::SYSTEM_TENANT;
use sealed::wrapped::Wrapped;

use super::{
    Source, begin, differs, end, file_path, finished, is_empty, section, tally, unfinished, write_file,
    written,
};
use crate::backup::format::{Count, Event, Part, ReadError, Tally};
use crate::cli::{Failure, Restore};
use crate::data::{self, io_failure, read_layout, store_names};
use crate::keys::{self, Keys};

/// Stores by name, being filled.
type Loaders = BTreeMap<&'static str, Loader>;

pub(super) fn restore(args: &Restore, backup: &Source, into: &Path, tenant: TenantId) -> Result<(), Failure> {
    let what = tenant.to_string();
    let again = unfinished(into)?;
    if again.as_ref().is_some_and(|other| *other != what) {
        super::refuse_unfinished(into)?;
    }
    let fresh = read_layout(into)?.is_empty();
    if fresh && again.is_none() && !is_empty(into)? {
        return Err(Failure::Usage(format!(
            "'{}' is neither empty nor a data folder: name another one with --into",
            into.display()
        )));
    }
    if Keys::of(into, args.root_key.as_deref()).is_destroyed(tenant) {
        return Err(Failure::Data(format!(
            "{tenant} cannot be restored into '{}': its key was destroyed, and nothing of it can be read",
            into.display()
        )));
    }
    // The folder is locked before the file is read, and a tenant's name that is taken is seen before anything is
    // replaced.
    let mut open = if fresh { Loaders::new() } else { loaders(into)? };
    let summed = sums(backup, into, tenant, &open)?;
    data::make_folder(into)?;
    begin(into, &what)?;
    if open.is_empty() {
        open = loaders(into)?;
    }
    fill(backup, into, tenant, fresh || again.is_some(), &open)?;
    for (_, loader) in open {
        loader.finish_replaced().map_err(|error| data::failure(into, error))?;
    }
    let Sums { tallies, summary } = summed;
    for name in store_names() {
        let (store, dump) = written(into, name)?;
        for section in Section::ALL.into_iter().filter(|section| *section != Section::Feed) {
            let there = tally(&dump, section, Some(tenant))?;
            if there != tallies.get(&Part::of(name, section.name())).cloned().unwrap_or_else(none) {
                return Err(differs(into, name, section));
            }
        }
        drop(dump);
        store.close();
    }
    end(into)?;
    finished(args, into, &summary);
    Ok(())
}

fn none() -> Tally {
    Count::default().tally()
}

fn loaders(into: &Path) -> Result<Loaders, Failure> {
    let open = |name: &'static str| {
        data::make_folder(&into.join(name))?;
        let loader = Loader::open(into.join(name), &Options::default());
        loader.map(|loader| (name, loader)).map_err(|error| data::failure(into, error))
    };
    store_names().into_iter().map(open).collect()
}

/// What the backup holds of a tenant.
struct Sums {
    tallies: BTreeMap<Part, Tally>,
    summary: crate::backup::Summary,
}

/// Reads all of the backup, and sees whether the tenant fits into the folder.
fn sums(backup: &Source, into: &Path, tenant: TenantId, open: &Loaders) -> Result<Sums, Failure> {
    let mut counts: BTreeMap<Part, Count> = BTreeMap::new();
    let summary = backup.check(|part, key, value| {
        let Some(section) = section(part) else {
            return same_secret(into, key, value);
        };
        if section.tenant(key) == Some(tenant) {
            if !counts.contains_key(part) {
                counts.insert(part.clone(), Count::default());
            }
            if let Some(count) = counts.get_mut(part) {
                count.add(key, value);
            }
        } else if section == Section::Claim
            && is_noted(section, key, value, tenant)
            && let Some(loader) = part.store.as_deref().and_then(|store| open.get(store))
            && loader.value(section, key).map_err(unreadable)?.is_some_and(|owner| *owner != *value)
        {
            return Err(Failure::Usage(format!(
                "{tenant} cannot be restored into '{}': another tenant has its name there",
                into.display()
            )));
        }
        Ok(())
    })?;
    let tallies: BTreeMap<_, _> = counts.into_iter().map(|(part, count)| (part, count.tally())).collect();
    if tallies.is_empty() {
        return Err(backup.unknown_tenant(tenant));
    }
    Ok(Sums { tallies, summary })
}

/// API keys are of no use under another pepper.
fn same_secret(into: &Path, key: &[u8], value: &[u8]) -> Result<(), Failure> {
    const PEPPER: &[u8] = b"secrets/pepper";
    if key != PEPPER {
        return Ok(());
    }
    match fs::read(into.join("secrets/pepper")) {
        Ok(pepper) if pepper != value => Err(Failure::Usage(format!(
            "'{}' is not the folder that was backed up, nor made from a backup of it: the API keys of the tenant \
             would not work there. Restore it into a new folder",
            into.display()
        ))),
        _ => Ok(()),
    }
}

fn unreadable(error: journal::store::StoreError) -> Failure {
    Failure::Machine(error.to_string())
}

/// Whether a record is what the platform notes about a tenant.
fn is_noted(section: Section, key: &[u8], value: &[u8], tenant: TenantId) -> bool {
    section.tenant(key) == Some(SYSTEM_TENANT)
        && section.aggregate(key, value) == Some(AggregateId::from(tenant))
}

fn fill(backup: &Source, into: &Path, tenant: TenantId, is_new: bool, open: &Loaders) -> Result<(), Failure> {
    let unwritten = |error: LoadError<ReadError>| backup.unwritten(into, &error);
    let mut known = BTreeMap::new();
    for (name, loader) in open {
        known.insert(*name, loader.has(SYSTEM_TENANT, tenant.into()).map_err(unreadable)?);
    }
    // Of a log that the backup does not know, its witness knows nothing either.
    let witness = format!("audit-witness/{tenant}");
    remove(&into.join(&witness))?;
    let (mut reader, bar) = backup.reader()?;
    let mut replaced = Vec::new();
    loop {
        match reader.next().map_err(|error| backup.failed(&error))? {
            Event::Place(_) => {}
            Event::Begin(part) => {
                bar.set_message(part.to_string());
                let store = part.store.as_deref().unwrap_or_default();
                let Some((section, (name, loader))) = section(&part).zip(open.get_key_value(store)) else {
                    while let Some((key, value)) = reader.record().map_err(|error| backup.failed(&error))? {
                        if let Some(of) = key_of(&key) {
                            if of == tenant || of == SYSTEM_TENANT {
                                add_keys(into, &key, &value)?;
                            }
                            continue;
                        }
                        let missing = is_new && !key.starts_with(b"audit-witness/");
                        let missing = missing && file_path(into, &key).is_some_and(|path| !path.exists());
                        if key == witness.as_bytes() || missing {
                            write_file(into, &key, &value)?;
                        }
                    }
                    continue;
                };
                if section == Section::Feed {
                    continue;
                }
                let mut records = iter::from_fn(|| {
                    bar.set_position(reader.at());
                    reader.record().transpose()
                })
                .peekable();
                // The scope of the platform is in front of all tenants.
                let mut noted = Vec::new();
                while let Some(record) = records.next_if(|record| is_of(section, SYSTEM_TENANT, record)) {
                    match record {
                        Ok((key, value)) if is_noted(section, &key, &value, tenant) => {
                            noted.push(Ok((key, value)))
                        }
                        Ok(_) => {}
                        Err(error) => return Err(backup.failed(&error)),
                    }
                }
                if known.get(name) == Some(&false) {
                    loader.load(section, noted.into_iter()).map_err(unwritten)?;
                }
                let records = records.filter(|record| record.is_err() || is_of(section, tenant, record));
                loader.replace(section, tenant, records).map_err(unwritten)?;
                replaced.push((*name, section));
            }
            Event::Finish(_) => break,
        }
    }
    bar.finish_and_clear();
    for (name, loader) in open {
        for section in Section::ALL.into_iter().filter(|section| *section != Section::Feed) {
            if !replaced.contains(&(*name, section)) {
                loader.replace(section, tenant, iter::empty()).map_err(unwritten)?;
            }
        }
    }
    Ok(())
}

/// The tenant whose wrapped keys a file of a backup holds.
fn key_of(path: &[u8]) -> Option<TenantId> {
    let name = std::str::from_utf8(path).ok()?.strip_prefix(keys::FOLDER)?.strip_prefix('/')?;
    TenantId::parse(name).ok()
}

/// Puts wrapped keys of a backup to those that are there: what came with it and what is here can be opened.
fn add_keys(into: &Path, path: &[u8], value: &[u8]) -> Result<(), Failure> {
    let Some(at) = file_path(into, path) else { return Ok(()) };
    let read = |bytes: &[u8]| Wrapped::read(std::str::from_utf8(bytes).ok()?);
    let damaged = |what: &str| data::damaged(into, &at, what);
    let new = read(value).ok_or_else(|| damaged("the keys of a tenant in the backup are malformed"))?;
    let keys = match fs::read(&at) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => new,
        Err(error) => return Err(io_failure(&at, "cannot be read", &error)),
        Ok(there) => {
            let mut there = read(&there).ok_or_else(|| damaged("the keys of a tenant are malformed"))?;
            if !there.merge(&new) {
                return Err(Failure::Usage(format!(
                    "the keys in '{}' are not those of the folder that was backed up: restore into a new folder",
                    into.display()
                )));
            }
            there
        }
    };
    write_file(into, path, keys.text().as_bytes())
}

fn is_of(section: Section, tenant: TenantId, record: &Result<RawRecord, ReadError>) -> bool {
    record.as_ref().is_ok_and(|(key, _)| section.tenant(key) == Some(tenant))
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error)
            if !matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Err(io_failure(path, "cannot be removed", &error))
        }
        _ => Ok(()),
    }
}
