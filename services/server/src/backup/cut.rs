//! One cut through all stores, and what it holds as a stream.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use journal::{Env as _, SystemEnv};
use journal_embedded::{Dump, EmbeddedStore, Section};

use super::format::{Manifest, Part, StorePlace, Writer};
use crate::keys;
use crate::purge;

/// Files and folders of the data folder that belong to the data, beside the stores.
pub(crate) const KEPT: [&str; 5] = ["layout", "secrets", "audit-witness", keys::FOLDER, purge::FOLDER];
/// Most bytes of one of these files.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How long a store may take to come to the end of a group.
const PATIENCE: Duration = Duration::from_secs(5);
/// Cuts that are begun; one fails if the machine stands still for seconds.
const TRIES: usize = 3;

/// What can be backed up: the open stores of a data folder.
pub(crate) struct Source {
    data: PathBuf,
    stores: Vec<(&'static str, Arc<EmbeddedStore>)>,
    /// One backup at a time.
    busy: AtomicBool,
}

impl Source {
    pub(crate) fn new(data: &Path, stores: Vec<(&'static str, Arc<EmbeddedStore>)>) -> Source {
        Source { data: data.to_owned(), stores, busy: AtomicBool::new(false) }
    }

    /// Writes a backup. If it cannot go on, the stream ends with the reason.
    ///
    /// # Errors
    /// Nobody reads what is written.
    pub(crate) fn write(&self, to: impl Write) -> io::Result<()> {
        let manifest = Manifest {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: SystemEnv.now().to_string(),
            stores: self.stores.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        let mut writer = Writer::new(to, &manifest)?;
        if self.busy.swap(true, Ordering::Acquire) {
            return writer.fail("another backup of this server is under way: wait for its end");
        }
        let done = self.write_all(&mut writer);
        self.busy.store(false, Ordering::Release);
        match done {
            Ok(()) => writer.finish(),
            Err(Stopped::Unwritten(error)) => Err(error),
            Err(Stopped::Unread(why)) => writer.fail(&why),
        }
    }

    fn write_all(&self, writer: &mut Writer<impl Write>) -> Result<(), Stopped> {
        // Files first: a file that notes how far a store is must not be ahead of it.
        writer.begin(&Part::files())?;
        for (path, bytes) in self.files()? {
            writer.record(path.as_bytes(), &bytes)?;
        }
        writer.end()?;
        for (name, dump) in self.cut()? {
            writer.place(&StorePlace::new(name, dump.place()))?;
            for section in Section::ALL {
                writer.begin(&Part::of(name, section.name()))?;
                for record in dump.records(section) {
                    let (key, value) = record.map_err(|error| Stopped::Unread(format!("{name}: {error}")))?;
                    writer.record(&key, &value)?;
                }
                writer.end()?;
            }
        }
        Ok(())
    }

    /// All stores at one moment at which none of them wrote: what follows from something in it, anywhere, is in it
    /// with it.
    fn cut(&self) -> Result<Vec<(&'static str, Dump)>, Stopped> {
        for _ in 0..TRIES {
            let (mut dumps, mut paused) = (Vec::new(), Vec::new());
            for (name, store) in &self.stores {
                let taken = store.pause(PATIENCE);
                let (dump, pause) = taken.map_err(|error| Stopped::Unread(format!("{name}: {error}")))?;
                dumps.push((*name, dump));
                paused.push(pause);
            }
            // All stand still. Those that did not wait for it spoil the cut, and it is made again.
            let gave_up = paused.into_iter().map(|pause| pause.resume()).filter(|held| !held).count();
            if gave_up == 0 {
                return Ok(dumps);
            }
        }
        Err(Stopped::Unread(
            "the disk is too slow or too busy to stop writing for a moment: try again".into(),
        ))
    }

    /// The files that belong to the data, by path below the folder, in order.
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, Stopped> {
        let mut files = Vec::new();
        for name in KEPT {
            let path = self.data.join(name);
            if path.is_dir() {
                for file in fs::read_dir(&path).map_err(|error| unread(&path, &error))? {
                    let file = file.map_err(|error| unread(&path, &error))?;
                    let inside = file.file_name().to_string_lossy().into_owned();
                    // What a crash left behind while a file was being replaced; and what opens the backup.
                    let is_root_key = name == "secrets" && inside == keys::ROOT_KEY;
                    if !inside.ends_with(".new") && !is_root_key {
                        files.extend(read(&file.path())?.map(|bytes| (format!("{name}/{inside}"), bytes)));
                    }
                }
            } else {
                files.extend(read(&path)?.map(|bytes| (name.to_owned(), bytes)));
            }
        }
        files.sort();
        Ok(files)
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Stopped> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unread(path, &error)),
        Ok(file) if !file.is_file() || file.len() > FILE_BYTES_MAX => {
            let path = path.display();
            return Err(Stopped::Unread(format!("'{path}' does not belong to the data: move it elsewhere")));
        }
        Ok(_) => {}
    }
    fs::read(path).map(Some).map_err(|error| unread(path, &error))
}

/// Why a backup is not whole.
enum Stopped {
    /// Nobody reads.
    Unwritten(io::Error),
    /// Something cannot be read.
    Unread(String),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        Stopped::Unwritten(error)
    }
}

fn unread(path: &Path, error: &io::Error) -> Stopped {
    Stopped::Unread(format!("'{}' cannot be read: {error}", path.display()))
}
