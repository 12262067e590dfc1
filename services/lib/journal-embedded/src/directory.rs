//! The directory of a store: who may use it, which format it has, and room to stop in.
//!
//! | file | what |
//! |---|---|
//! | `lock` | held while the store is open |
//! | `format` | format version and identity, written once |
//! | `acknowledged` | the mark, see [`crate::mark`] |
//! | `reserve` | space that is given back when the disk is full |
//! | `log/` | segments of the log, see [`crate::log`] |
//! | `engine/` | the engine's files |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::error::OpenError;

/// The format that this version reads and writes.
pub(crate) const FORMAT: u32 = 2;

/// Bytes that are kept free for reads, flushes and the end of the process on a full disk.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// How long somebody may hold the lock who is about to give it back: a process that ends, or a child that a thread of
/// this one has just forked and that is not the other program yet.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Tells one store's files from another's. Random.
pub(crate) type StoreId = [u8; 16];

/// An open directory; the lock is held until it is dropped.
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
    pub(crate) store: StoreId,
}

impl Directory {
    /// Locks the directory and checks its format; creates both if there is nothing yet.
    pub(crate) fn open(path: &Path) -> Result<Directory, OpenError> {
        fs::create_dir_all(path).map_err(|e| OpenError::io(path, "creating the directory", e))?;
        let lock = lock(path)?;
        let store = match fs::read_to_string(path.join("format")) {
            Ok(text) => read_format(path, &text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => create_format(path)?,
            Err(e) => return Err(OpenError::io(path, "reading the format", e)),
        };
        let directory = Directory { path: path.to_owned(), _lock: lock, store };
        directory.reserve().map_err(|e| OpenError::io(path, "reserving 16 MiB for a full disk", e))?;
        Ok(directory)
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.path.join("engine")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn mark(&self) -> PathBuf {
        self.path.join("acknowledged")
    }

    fn reserve(&self) -> io::Result<()> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(self.path.join("reserve"))?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            // Not every file system can; all can be written to.
            Err(Errno::OPNOTSUPP) => io::copy(&mut io::repeat(0).take(RESERVE_BYTES), &mut &file).map(drop),
            done => Ok(done?),
        }
    }

    /// Whether less than the reserve is free.
    pub(crate) fn is_full(&self) -> bool {
        self.free().is_some_and(|free| free < RESERVE_BYTES)
    }

    /// Whether there is room for so many bytes more, with something left for what is written meanwhile.
    pub(crate) fn has_free(&self, bytes: u64) -> bool {
        self.free().is_none_or(|free| free > bytes.saturating_add(16 * RESERVE_BYTES))
    }

    fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Gives the reserve back to the file system. Best effort: the disk is in trouble already.
    pub(crate) fn release_reserve(&self) {
        let _ = fs::remove_file(self.path.join("reserve"));
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
    let file = file.map_err(|e| OpenError::io(path, "opening the lock", e))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(e)) => return Err(OpenError::io(path, "taking the lock", e)),
        }
    }
    Err(OpenError::Locked { path: path.to_owned() })
}

fn read_format(path: &Path, text: &str) -> Result<StoreId, OpenError> {
    let malformed = || OpenError::damaged(path, "the file 'format' is malformed");
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("cargo-pilot journal "));
    let found: u32 = version.and_then(|version| version.parse().ok()).ok_or_else(malformed)?;
    if found > FORMAT {
        return Err(OpenError::NewerFormat { path: path.to_owned(), found, supported: FORMAT });
    }
    if found < FORMAT {
        return Err(OpenError::OlderFormat { path: path.to_owned(), found, supported: FORMAT });
    }
    let store = lines.next().and_then(|line| line.strip_prefix("store "));
    let store = store.filter(|hex| hex.len() == 32).and_then(|hex| u128::from_str_radix(hex, 16).ok());
    store.map(u128::to_be_bytes).ok_or_else(malformed)
}

/// Written before anything else: a directory that has other files but no format is not ours.
fn create_format(path: &Path) -> Result<StoreId, OpenError> {
    let io = |e| OpenError::io(path, "creating the format", e);
    for file in fs::read_dir(path).map_err(io)? {
        let name = file.map_err(io)?.file_name();
        if name != "lock" && name != "format.new" && name != "lost+found" {
            let what = format!("it holds '{}' but no 'format'", name.display());
            return Err(OpenError::damaged(path, what));
        }
    }
    let mut store = StoreId::default();
    getrandom::fill(&mut store).map_err(|e| io(io::Error::other(e)))?;
    let text = format!("cargo-pilot journal {FORMAT}\nstore {:032x}\n", u128::from_be_bytes(store));
    let write = || {
        let mut file = File::create(path.join("format.new"))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(path.join("format.new"), path.join("format"))?;
        File::open(path)?.sync_all()
    };
    write().map_err(io)?;
    Ok(store)
}
