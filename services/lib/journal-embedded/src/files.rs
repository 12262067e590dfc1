//! Checks of the engine's files that the engine itself does not make.
//!
//! It makes a table anew whose list of files is missing, takes a list for true without comparing it with its
//! checksum, believes the end of a file before it compares that, and compares blocks only when it reads them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Cursor, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

/// The file that names the newest list of files: its number and checksum.
const CURRENT: &str = "current";

/// How the trailer of a file begins: a word, its version, the kind of its checksum. Behind it are the checksum, place and
/// length of the table of contents.
const TRAILER_HEADER: &[u8] = b"SFA!\x01\x00";
const TRAILER_BYTES: usize = 6 + 16 + 8 + 8;
/// It names half a dozen sections.
const CONTENTS_BYTES_MAX: u64 = 64 * 1024;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// What is wrong with the files below the engine's folder, as far as it can be known without reading all of them.
pub(crate) fn check_lists(engine: &Path) -> io::Result<Option<String>> {
    for table in folders(engine)? {
        let fault = match list(&table)? {
            List::None => None,
            List::Faulty(fault) => Some(fault),
            List::Files(files) => check_ends(&table, files)?,
        };
        if let Some(fault) = fault {
            let name = table.file_name().unwrap_or_default().display();
            return Ok(Some(format!("table {name} of the engine: {fault}")));
        }
    }
    Ok(None)
}

fn check_ends(table: &Path, files: Files) -> io::Result<Option<String>> {
    for (number, _) in files {
        match File::open(file(table, number)).and_then(|file| has_contents(&file)) {
            Ok(true) => {}
            Ok(false) => {
                return Ok(Some(format!("the file 'tables/{number}' is not the one that was written")));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Some(format!("the file 'tables/{number}' is missing")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The folders of the engine's tables, those of its own among them.
fn folders(engine: &Path) -> io::Result<Vec<PathBuf>> {
    let folders = match fs::read_dir(engine.join("keyspaces")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        folders => folders?,
    };
    let folders: io::Result<Vec<PathBuf>> = folders.map(|folder| Ok(folder?.path())).collect();
    Ok(folders?.into_iter().filter(|folder| folder.is_dir()).collect())
}

fn file(table: &Path, number: u64) -> PathBuf {
    table.join("tables").join(number.to_string())
}

/// The files of a table, by number, with their checksums.
type Files = Vec<(u64, u128)>;

enum List {
    /// There is nothing in the folder.
    None,
    Faulty(String),
    Files(Files),
}

/// Reads which files a table has.
fn list(table: &Path) -> io::Result<List> {
    let faulty = |what: String| Ok(List::Faulty(what));
    let Some(current) = read(&table.join(CURRENT))? else {
        let is_new = fs::read_dir(table)?.next().is_none();
        return if is_new { Ok(List::None) } else { faulty(format!("the file '{CURRENT}' is missing")) };
    };
    let mut rest = current.as_slice();
    let (Some(number), Some(expected), [0]) = (take(&mut rest), take(&mut rest), rest) else {
        return faulty(format!("the file '{CURRENT}' is malformed"));
    };
    let name = format!("v{}", u64::from_le_bytes(number));
    let Some(list) = read(&table.join(&name))? else {
        return faulty(format!("the file '{name}' is missing"));
    };
    let is_whole = xxh3_128(&list) == u128::from_le_bytes(expected);
    match is_whole.then(|| parsed(&list)).flatten() {
        Some(files) => Ok(List::Files(files)),
        None => faulty(format!("the file '{name}' is not the one that was written")),
    }
}

/// The bytes of a file, if it is there.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some),
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}

/// What a list names: levels, in each its runs, in each its files.
fn parsed(list: &[u8]) -> Option<Files> {
    let reader = sfa::Reader::from_reader(&mut Cursor::new(list)).ok()?;
    let section = reader.toc().section(b"tables")?;
    let (from, bytes) = (usize::try_from(section.pos()).ok()?, usize::try_from(section.len()).ok()?);
    let mut list = list.get(from..from.checked_add(bytes)?)?;
    let mut files = Files::new();
    let [levels] = take(&mut list)?;
    for _ in 0..levels {
        let [runs] = take(&mut list)?;
        for _ in 0..runs {
            for _ in 0..u32::from_le_bytes(take(&mut list)?) {
                let number = u64::from_le_bytes(take(&mut list)?);
                let [_kind_of_checksum] = take(&mut list)?;
                let checksum = u128::from_le_bytes(take(&mut list)?);
                let _newest_record: [u8; 8] = take(&mut list)?;
                files.push((number, checksum));
            }
        }
    }
    Some(files)
}

/// Whether the table of contents at the end of a file is sound: the engine reserves as much memory as it says.
fn has_contents(file: &File) -> io::Result<bool> {
    let Some(end) = file.metadata()?.len().checked_sub(TRAILER_BYTES as u64) else { return Ok(false) };
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, end)?;
    let mut rest = &trailer[TRAILER_HEADER.len()..];
    let parts = (take(&mut rest), take(&mut rest), take(&mut rest));
    let (Some(expected), Some(from), Some(bytes)) = parts else { return Ok(false) };
    let (from, bytes) = (u64::from_le_bytes(from), u64::from_le_bytes(bytes));
    if !trailer.starts_with(TRAILER_HEADER)
        || bytes > CONTENTS_BYTES_MAX
        || from.checked_add(bytes) != Some(end)
    {
        return Ok(false);
    }
    let mut contents = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut contents, from)?;
    Ok(xxh3_128(&contents) == u128::from_le_bytes(expected))
}

fn checksum(mut file: File) -> io::Result<u128> {
    let mut hasher = Xxh3Default::new();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match file.read(&mut bytes) {
            Ok(0) => return Ok(hasher.digest128()),
            Ok(read) => hasher.update(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads every file of every table and compares it with its checksum: what is wrong. Tables may change meanwhile.
pub(crate) fn check_all(engine: &Path) -> io::Result<Vec<String>> {
    let mut faults = Vec::new();
    for table in folders(engine)? {
        // Files vanish when they were merged, and lists when there is a newer one: what is missing twice is missing.
        let (mut checked, mut missing, mut faulty) = (HashSet::new(), HashSet::new(), None);
        let mut changed = true;
        while std::mem::take(&mut changed) {
            let files = match list(&table)? {
                List::None => break,
                List::Faulty(fault) if faulty.as_ref() == Some(&fault) => {
                    faults.push(format!("'{}': {fault}", table.display()));
                    break;
                }
                List::Faulty(fault) => {
                    (faulty, changed) = (Some(fault), true);
                    continue;
                }
                List::Files(files) => files,
            };
            for (number, expected) in files {
                if checked.contains(&number) {
                    continue;
                }
                changed = true;
                let path = file(&table, number);
                match File::open(&path).and_then(checksum) {
                    Err(error) if error.kind() == ErrorKind::NotFound && missing.insert(number) => continue,
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        faults.push(format!("'{}' is missing", path.display()));
                    }
                    Err(error) => return Err(error),
                    Ok(found) if found == expected => {}
                    Ok(_) => faults.push(format!("'{}' is not the file that was written", path.display())),
                }
                checked.insert(number);
            }
        }
    }
    Ok(faults)
}
