//! `restore`: a data folder from a backup, or one tenant of it.
//!
//! The file is read to its end before anything is made. Then the folder gets the file `restoring`, which keeps every
//! other command away from it until what was written was read again and compared with what the backup says. After
//! an interruption the same command begins anew.
//!
//! A tenant's records are those whose keys begin with the tenant, in every store; the stores that the backup does not
//! know are emptied of it. What the platform notes about a tenant is added if it is missing and is otherwise newer
//! than the backup, and stays. The feeds are forgotten: whoever follows a store compares all heads with its cursors,
//! and the cursors of a tenant, in the audit store, are as old as its journals, because both came from one cut.

mod tenant;
mod whole;

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind};
use std::path::{Component, Path, PathBuf};

use ids::TenantId;
use indicatif::ProgressBar;
use journal_embedded::{Dump, EmbeddedStore, LoadError, Options, Section};
use serde_json::json;

use crate::backup::format::{Count, Part, ReadError, Reader, Tally};
use crate::backup::{self, KEPT, Summary};
use crate::cli::{self, Failure, Restore, say};
use crate::data::{self, io_failure, store_names, write_synced};
use crate::keys::Keys;

/// Keeps everybody away from a folder that is not whole.
const MARKER: &str = "restoring";
/// What it says when all of the folder comes from the backup.
const ALL: &str = "all";
/// What it begins with while a tenant is removed; id and short name follow.
pub(crate) const PURGE: &str = "purge ";

pub(crate) fn run(args: &Restore) -> Result<(), Failure> {
    cli::log_warnings()?;
    let tenant = match &args.tenant {
        None => None,
        Some(text) => Some(TenantId::parse(text).map_err(|error| {
            Failure::Usage(format!("--tenant '{text}' {error}: it is the id that `init` printed, ten_…"))
        })?),
    };
    let backup = Source { path: args.from.clone(), json: args.json };
    match (&args.into, tenant) {
        (None, _) => check(args, &backup, tenant),
        (Some(into), None) => whole::restore(args, &backup, into),
        (Some(into), Some(tenant)) => tenant::restore(args, &backup, into, tenant),
    }
}

fn check(args: &Restore, backup: &Source, tenant: Option<TenantId>) -> Result<(), Failure> {
    let mut records = 0_u64;
    let summary = backup.check(|part, key, _| {
        records += u64::from(tenant.is_some() && section(part).and_then(|part| part.tenant(key)) == tenant);
        Ok(())
    })?;
    if let Some(tenant) = tenant.filter(|_| records == 0) {
        return Err(backup.unknown_tenant(tenant));
    }
    if args.json {
        say(json!({
            "file": args.from, "bytes": summary.bytes, "sha256": summary.sha256,
            "createdAt": summary.manifest.created_at, "stores": summary.stores(),
        }));
        return Ok(());
    }
    let (path, at) = (args.from.display(), &summary.manifest.created_at);
    say(format_args!("'{path}' is whole ({} bytes), of {at}:", summary.bytes));
    summary.lines().for_each(say);
    Ok(())
}

/// Refuses a folder that a restore or a purge has not finished.
pub(crate) fn refuse_unfinished(data: &Path) -> Result<(), Failure> {
    let Some(what) = unfinished(data)? else { return Ok(()) };
    let data = data.display();
    Err(Failure::Machine(match what.as_str() {
        ALL => format!(
            "'{data}' is not whole: the restore into it was interrupted. Run it again: cargo-pilot restore --from \
             FILE --into '{data}'"
        ),
        purge if purge.starts_with(PURGE) => format!(
            "'{data}' is not whole: the purge of a tenant was interrupted. Run it again: cargo-pilot account purge \
             --slug {} --data '{data}'",
            purge.rsplit(' ').next().unwrap_or_default()
        ),
        tenant => format!(
            "'{data}' is not whole: the restore of a tenant was interrupted. Run it again: cargo-pilot restore \
             --tenant {tenant} --from FILE --into '{data}'"
        ),
    }))
}

/// What is being restored or purged, if that was begun.
pub(crate) fn unfinished(data: &Path) -> Result<Option<String>, Failure> {
    let path = data.join(MARKER);
    match fs::read_to_string(&path) {
        Ok(what) => Ok(Some(what.trim().to_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(io_failure(&path, "cannot be read", &error)),
    }
}

pub(crate) fn begin(data: &Path, what: &str) -> Result<(), Failure> {
    write_synced(&data.join(MARKER), what.as_bytes())
}

pub(crate) fn end(data: &Path) -> Result<(), Failure> {
    let done = || {
        fs::remove_file(data.join(MARKER))?;
        File::open(data)?.sync_all()
    };
    done().map_err(|error| io_failure(&data.join(MARKER), "cannot be removed", &error))
}

/// Whether a folder has nothing in it, or is not there.
fn is_empty(data: &Path) -> Result<bool, Failure> {
    match fs::read_dir(data) {
        // A file system of its own has this folder.
        Ok(files) => Ok(files.flatten().all(|file| file.file_name() == "lost+found")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io_failure(data, "cannot be read", &error)),
    }
}

/// The backup file.
struct Source {
    path: PathBuf,
    json: bool,
}

impl Source {
    fn open(&self) -> Result<(BufReader<File>, ProgressBar), Failure> {
        let open = || {
            let file = File::open(&self.path)?;
            let bytes = file.metadata()?.len();
            Ok((BufReader::with_capacity(256 * 1024, file), backup::bar(self.json, Some(bytes))))
        };
        open().map_err(|error: io::Error| self.failed(&ReadError::Io(error)))
    }

    /// Reads all of it, and refuses what this program cannot restore.
    fn check(
        &self,
        mut each: impl FnMut(&Part, &[u8], &[u8]) -> Result<(), Failure>,
    ) -> Result<Summary, Failure> {
        let (file, bar) = self.open()?;
        let seen = |part: &Part, key: &[u8], value: &[u8]| {
            if *part == Part::files() && key == b"layout" {
                let text = std::str::from_utf8(value).ok();
                let layout = text.and_then(|text| data::parse_layout(&self.path, text));
                layout.ok_or_else(|| self.failed(&ReadError::NotABackup))??;
            }
            each(part, key, value)
        };
        let read = backup::read_all(file, &bar, seen, |error| self.failed(error));
        bar.finish_and_clear();
        let summary = read?;
        let known = |part: &Part| match &part.store {
            Some(store) => store_names().contains(&store.as_str()) && section(part).is_some(),
            None => *part == Part::files(),
        };
        if !summary.tallies.iter().all(|(part, _)| known(part)) {
            return Err(self.failed(&ReadError::Newer));
        }
        let sections = Section::ALL.map(Section::name);
        let whole = |store: &String| sections.iter().all(|section| summary.tally(store, section).is_some());
        let placed = |store: &String| {
            summary.places.iter().any(|place| place.store == *store && place.place().is_some())
        };
        if !summary.manifest.stores.iter().all(|store| whole(store) && placed(store)) {
            return Err(Failure::Data(format!("the backup '{}' misses a part", self.path.display())));
        }
        Ok(summary)
    }

    fn reader(&self) -> Result<(Reader<BufReader<File>>, ProgressBar), Failure> {
        let (file, bar) = self.open()?;
        let (reader, _) = Reader::open(file).map_err(|error| self.failed(&error))?;
        Ok((reader, bar))
    }

    fn failed(&self, error: &ReadError) -> Failure {
        let path = self.path.display();
        match error {
            ReadError::Io(error) => Failure::Machine(format!(
                "'{path}' cannot be read: {error}: name the file that `cargo-pilot backup` wrote"
            )),
            ReadError::NotABackup => {
                Failure::Data(format!("'{path}' {error}: name the file that `cargo-pilot backup` wrote"))
            }
            ReadError::Newer => Failure::Data(format!("'{path}' {error}")),
            _ => Failure::Data(format!("'{path}' {error}. Use another copy of it, or an older backup")),
        }
    }

    fn unwritten(&self, data: &Path, error: &LoadError<ReadError>) -> Failure {
        match error {
            LoadError::Source(error) => self.failed(error),
            other => Failure::Machine(format!(
                "'{}' is not restored: {other}: see that the disk has room and what it says, then run the same \
                 command again",
                data.display()
            )),
        }
    }

    fn unknown_tenant(&self, tenant: TenantId) -> Failure {
        Failure::Usage(format!(
            "there is no tenant {tenant} in '{}': see whether the id is right, or use a backup that was made after \
             the tenant",
            self.path.display()
        ))
    }
}

/// The section of a store that a part is.
fn section(part: &Part) -> Option<Section> {
    part.store.as_ref()?;
    Section::ALL.into_iter().find(|section| section.name() == part.section)
}

/// Where a file of a backup belongs; `None` for what does not belong into a data folder.
fn file_path(data: &Path, key: &[u8]) -> Option<PathBuf> {
    let path = Path::new(std::str::from_utf8(key).ok()?);
    let mut parts = path.components();
    let Some(Component::Normal(first)) = parts.next() else { return None };
    let inside = parts.next();
    let fits = KEPT.iter().any(|kept| first == *kept)
        && inside.is_none_or(|part| matches!(part, Component::Normal(_)))
        && parts.next().is_none()
        && key != b"secrets/root-key";
    fits.then(|| data.join(path))
}

fn write_file(data: &Path, key: &[u8], bytes: &[u8]) -> Result<(), Failure> {
    let Some(path) = file_path(data, key) else {
        return Err(Failure::Data(
            "the backup has a file that does not belong into a data folder".to_owned(),
        ));
    };
    if let Some(folder) = path.parent() {
        data::make_folder(folder)?;
    }
    write_synced(&path, bytes)
}

/// Opens a store that was filled, as a server would, and takes what is in it.
pub(crate) fn written(data: &Path, name: &str) -> Result<(EmbeddedStore, Dump), Failure> {
    let opened = EmbeddedStore::open(data.join(name), Options::default());
    let store = opened.map_err(|error| data::failure(data, error))?;
    let unread = |error: journal::store::StoreError| Failure::Machine(format!("'{name}': {error}"));
    let (dump, paused) = store.pause(std::time::Duration::from_secs(60)).map_err(unread)?;
    let _ = paused.resume(); // nobody writes
    Ok((store, dump))
}

/// Counts the records of a section; of one tenant, if there is one.
pub(crate) fn tally(dump: &Dump, section: Section, tenant: Option<TenantId>) -> Result<Tally, Failure> {
    let mut count = Count::default();
    for record in dump.records(section) {
        let (key, value) = record.map_err(|error| Failure::Machine(error.to_string()))?;
        if tenant.is_none() || section.tenant(&key) == tenant {
            count.add(&key, &value);
        }
    }
    Ok(count.tally())
}

fn differs(data: &Path, store: &str, section: Section) -> Failure {
    Failure::Machine(format!(
        "'{}' does not hold what the backup says, in '{store}/{}': see what its disk says, then run the same command \
         again, into another folder if it fails again",
        data.display(),
        section.name()
    ))
}

fn finished(args: &Restore, data: &Path, summary: &Summary) {
    if args.json {
        say(json!({
            "into": data, "tenant": args.tenant, "createdAt": summary.manifest.created_at, "sha256": summary.sha256,
            "stores": summary.stores(),
        }));
        return;
    }
    let (from, into, at) = (args.from.display(), data.display(), &summary.manifest.created_at);
    match &args.tenant {
        Some(tenant) => {
            say(format_args!("{tenant} in '{into}' is as it was at {at}; no other tenant was touched."));
        }
        None => {
            say(format_args!("'{into}' holds what '{from}' holds, of {at}:"));
            summary.lines().for_each(say);
        }
    }
    let root = Keys::of(data, args.root_key.as_deref()).root;
    if !root.exists() {
        let root = root.display();
        say(format_args!(
            "Its root key is in no backup: put the copy that was kept apart to '{root}', or name it."
        ));
    }
    say(format_args!("Check it:         cargo-pilot verify --data '{into}'"));
    say(format_args!("Start the server: cargo-pilot serve --data '{into}'"));
}
