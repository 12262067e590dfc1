//! Why a store does not open.

use std::io;
use std::path::{Path, PathBuf};

/// A directory that is not opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open, or this process a second time.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error("{} has format {found}, this program reads up to format {supported}: use a newer version", path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Format of the directory.
        found: u32,
        /// Newest format that this program knows.
        supported: u32,
    },
    /// An earlier development version wrote it.
    #[error(
        "{} has format {found} of an earlier development version, this program reads format {supported}: keep it for \
         that version, and begin with a new folder",
        path.display()
    )]
    OlderFormat {
        /// The directory.
        path: PathBuf,
        /// Format of the directory.
        found: u32,
        /// The format that this program knows.
        supported: u32,
    },
    /// Files are missing, changed, or not ours.
    #[error("{} is damaged: {what}\n{}", path.display(), restore_steps(path))]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Writes that were acknowledged are not there any more.
    #[error(
        "{} has lost data: group {acknowledged} was acknowledged, the files end at group {recovered}\n{}",
        path.display(), restore_steps(path)
    )]
    DataLost {
        /// The directory.
        path: PathBuf,
        /// Last group that was acknowledged.
        acknowledged: u64,
        /// Last group that is there.
        recovered: u64,
    },
    /// The operating system refused.
    #[error("{} cannot be opened: {doing}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn restore_steps(path: &Path) -> String {
    format!(
        "To restore:\n\
         1. Keep a copy of {path} as it is.\n\
         2. Check the disk and its mount: an older snapshot or another volume may be in its place.\n\
         3. Restore the whole directory from the newest backup; never single files of it.\n\
         4. Verify the restored store before it takes requests.\n\
         Without a backup, opening it once with `accept_loss` goes on from what is there: \
         what was acknowledged after it is gone.",
        path = path.display()
    )
}

impl OpenError {
    pub(crate) fn io(path: &Path, doing: &'static str, source: io::Error) -> OpenError {
        OpenError::Io { path: path.to_owned(), doing, source }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> OpenError {
        OpenError::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn engine(path: &Path, error: fjall::Error) -> OpenError {
        match error {
            fjall::Error::Locked => OpenError::Locked { path: path.to_owned() },
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
                OpenError::io(path, "reading the engine's files", source)
            }
            other => OpenError::damaged(path, other.to_string()),
        }
    }
}
