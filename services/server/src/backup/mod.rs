//! `backup`: one causally closed cut through all stores, in one file, while the server runs or not.
//!
//! A running server has the folder locked, so it makes the backup itself and this command writes what comes over
//! the server's socket (`admin`); on a stopped folder the command opens the stores. Either way the stream is checked
//! while it is written, and the file has its name only once it is whole and synced.
//!
//! Read in this order: `format` (the file), `cut` (what is written to it).

mod cut;
pub(crate) mod format;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::admin;
use crate::cli::{self, Backup, Failure, say};
use crate::data::Stores;
use crate::keys::Keys;

pub(crate) use cut::{KEPT, Source};
use format::{Event, Manifest, Part, ReadError, Reader, StorePlace, Tally};

/// What a whole backup holds.
pub(crate) struct Summary {
    pub(crate) manifest: Manifest,
    pub(crate) places: Vec<StorePlace>,
    pub(crate) tallies: Vec<(Part, Tally)>,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Summary {
    pub(crate) fn tally(&self, store: &str, section: &str) -> Option<&Tally> {
        let part = Part::of(store, section);
        self.tallies.iter().find(|(known, _)| *known == part).map(|(_, tally)| tally)
    }

    /// Records of each store by section, and where its feed is.
    pub(crate) fn stores(&self) -> Value {
        let mut stores = Map::new();
        for place in &self.places {
            let mut counts = Map::new();
            for (part, tally) in &self.tallies {
                if part.store.as_deref() == Some(&place.store) {
                    counts.insert(part.section.clone(), json!(tally.records));
                }
            }
            counts.insert("group".to_owned(), json!(place.group));
            stores.insert(place.store.clone(), counts.into());
        }
        stores.into()
    }

    /// The same for people.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.places.iter().map(|place| {
            let count = |section| self.tally(&place.store, section).map_or(0, |tally| tally.records);
            format!(
                "  {:10} {:>9} entries of {} records, {} state rows, {} keys, {} unique values, {} index rows",
                place.store,
                count("entry"),
                count("head"),
                count("row"),
                count("key"),
                count("claim"),
                count("index")
            )
        })
    }
}

/// Reads a backup to its end. `each` sees every record.
pub(crate) fn read_all<R: Read>(
    from: R,
    bar: &ProgressBar,
    mut each: impl FnMut(&Part, &[u8], &[u8]) -> Result<(), Failure>,
    failed: impl Fn(&ReadError) -> Failure,
) -> Result<Summary, Failure> {
    let (mut reader, manifest) = Reader::open(from).map_err(|error| failed(&error))?;
    let mut places = Vec::new();
    loop {
        match reader.next().map_err(|error| failed(&error))? {
            Event::Place(place) => places.push(place),
            Event::Begin(part) => {
                bar.set_message(part.to_string());
                while let Some((key, value)) = reader.record().map_err(|error| failed(&error))? {
                    each(&part, &key, &value)?;
                    bar.set_position(reader.at());
                }
            }
            Event::Finish(sha256) => {
                let (bytes, tallies) = (reader.at(), reader.tallies);
                return Ok(Summary { manifest, places, tallies, bytes, sha256 });
            }
        }
    }
}

/// A bar over the bytes of a file; only their number if nobody knows how many there are.
pub(crate) fn bar(json: bool, bytes: Option<u64>) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:30} {bytes}/{total_bytes} {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

pub(crate) fn run(args: &Backup) -> Result<(), Failure> {
    cli::log_warnings()?;
    let (data, to) = (args.data.as_path(), args.to.as_path());
    if to.try_exists().is_ok_and(|exists| exists) {
        return Err(Failure::Usage(format!(
            "'{}' exists already, and a backup never replaces a file: name another one with --to",
            to.display()
        )));
    }
    let from = Stream::open(data, args.root_key.as_deref())?;
    let mut draft = Draft::create(to)?;
    let bar = bar(args.json, None);
    let tee = Tee { from: BufReader::with_capacity(256 * 1024, &from.stream), to: &mut draft };
    let failed = |error: &ReadError| broken(data, to, error);
    let read = read_all(tee, &bar, |_, _, _| Ok(()), failed);
    bar.finish_and_clear();
    let summary = read?;
    from.close()?;
    draft.keep(to)?;
    if args.json {
        say(json!({
            "file": to, "bytes": summary.bytes, "sha256": summary.sha256,
            "createdAt": summary.manifest.created_at, "stores": summary.stores(),
        }));
        return Ok(());
    }
    say(format_args!(
        "'{}' holds all of '{}' ({} bytes), and was checked:",
        to.display(),
        data.display(),
        summary.bytes
    ));
    summary.lines().for_each(say);
    say(
        "It holds the secrets of the folder too: keep it where only you can read it, and on another machine.",
    );
    say(format_args!(
        "It does not hold the root key, without which nobody can read it: keep a copy of '{}' apart from it.",
        Keys::of(data, args.root_key.as_deref()).root.display()
    ));
    say(format_args!("To use it:  cargo-pilot restore --from '{}' --into NEWDIR", to.display()));
    Ok(())
}

fn broken(data: &Path, to: &Path, error: &ReadError) -> Failure {
    let data = data.display();
    match error {
        ReadError::Io(error) => write_failure(to, error),
        ReadError::Failed(why) => Failure::Machine(format!("'{data}' was not backed up: {why}")),
        ReadError::Short { .. } | ReadError::NotABackup => Failure::Unavailable(format!(
            "the server on '{data}' stopped before the backup was whole: start it again, or back up the stopped folder"
        )),
        other => Failure::Machine(format!("what the server on '{data}' sent {other}: try again")),
    }
}

fn write_failure(path: &Path, error: &io::Error) -> Failure {
    Failure::Machine(format!(
        "'{}' cannot be written: {error}: see that its disk has room and that its folder is yours, or name another \
         file with --to",
        path.display()
    ))
}

/// Where a backup comes from.
struct Stream {
    stream: UnixStream,
    /// The stores of a stopped folder, and who writes what is in them.
    local: Option<(Stores, thread::JoinHandle<io::Result<()>>)>,
}

impl Stream {
    /// From the server that runs on a folder, or else from the folder.
    fn open(data: &Path, root_key: Option<&Path>) -> Result<Stream, Failure> {
        if let Some(mut stream) = admin::connect(data) {
            let asked = stream.write_all(admin::BACKUP);
            asked.map_err(|error| {
                Failure::Unavailable(format!("the server on '{}' does not answer: {error}", data.display()))
            })?;
            return Ok(Stream { stream, local: None });
        }
        let stores = Stores::open_existing(data, root_key).map_err(|failure| match failure {
            Failure::Locked(_) => Failure::Locked(format!(
                "the data folder '{}' is in use by a cargo-pilot process that makes no backups, another command or \
                 an older version: wait until it ends, or stop it",
                data.display()
            )),
            other => other,
        })?;
        let no_pipe = |error: io::Error| Failure::Machine(format!("no socket can be made: {error}"));
        let (stream, to) = UnixStream::pair().map_err(no_pipe)?;
        let source = stores.source(data);
        let write = move || source.write(io::BufWriter::with_capacity(256 * 1024, to));
        let writer = thread::Builder::new().spawn(write).map_err(no_pipe)?;
        Ok(Stream { stream, local: Some((stores, writer)) })
    }

    fn close(self) -> Result<(), Failure> {
        drop(self.stream);
        let Some((stores, writer)) = self.local else { return Ok(()) };
        // What it could not write was missed already.
        let _ = writer.join();
        stores.close();
        Ok(())
    }
}

/// Reads, and writes what was read.
struct Tee<'a, R> {
    from: R,
    to: &'a mut Draft,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = match self.from.read(bytes) {
            // The server said nothing for as long as the socket waits.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            read => read?,
        };
        self.to.file.write_all(&bytes[..read])?;
        Ok(read)
    }
}

/// A file that is not whole yet; removed unless it is kept.
struct Draft {
    path: PathBuf,
    file: io::BufWriter<File>,
    kept: bool,
}

impl Draft {
    fn create(to: &Path) -> Result<Draft, Failure> {
        let mut path = to.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(|error| write_failure(&path, &error))?;
        Ok(Draft { path, file: io::BufWriter::with_capacity(1 << 20, file), kept: false })
    }

    /// Gives it its name.
    fn keep(mut self, to: &Path) -> Result<(), Failure> {
        let mut keep = || {
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            fs::rename(&self.path, to)?;
            let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        keep().map_err(|error| write_failure(to, &error))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path); // it is of no use to anybody
        }
    }
}

/// For the door of a server.
impl Stores {
    pub(crate) fn source(&self, data: &Path) -> Source {
        Source::new(data, self.named().to_vec())
    }
}
