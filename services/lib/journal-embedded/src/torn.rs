//! Drops a group that a power cut tore.
//!
//! The engine discards a batch of its journal that ends too early, but refuses to open when a batch is
//! complete in length and wrong in content. That is what is left of a large batch when the power went
//! before its sync and the disk had written its pages in another order. Such a batch was never
//! acknowledged; whether that is so, the mark tells afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// Tags of the engine's journal, format 3.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;

/// A journal that was cut, and the copy of it from before.
pub(crate) struct Cut {
    pub(crate) path: PathBuf,
    pub(crate) kept: PathBuf,
}

/// Cuts the last batch off the newest journal in `engine` and keeps a copy beside it. `None` when there
/// is no batch to cut.
pub(crate) fn cut_last_batch(engine: &Path) -> io::Result<Option<Cut>> {
    let Some(path) = newest_journal(engine)? else { return Ok(None) };
    let Some(start) = last_batch(&mut BufReader::new(File::open(&path)?))? else { return Ok(None) };
    let kept = path.with_extension("torn");
    fs::copy(&path, &kept)?;
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(start)?;
    file.sync_all()?;
    Ok(Some(Cut { path, kept }))
}

fn newest_journal(engine: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for file in fs::read_dir(engine)? {
        let path = file?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if path.extension().is_some_and(|extension| extension == "jnl") {
            newest = newest.max(number.map(|number| (number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Where the last batch begins that is complete in length.
fn last_batch(journal: &mut (impl Read + Seek)) -> io::Result<Option<u64>> {
    let mut last = None;
    let mut start = 0;
    loop {
        match read_tag(journal) {
            Ok(START) => {
                start = journal.stream_position()? - 1;
                skip(journal, 4 + 8)?;
            }
            Ok(ITEM) => {
                let mut item = [0; 1 + 1 + 8 + 2 + 4 + 4];
                journal.read_exact(&mut item)?;
                let key = u16::from_le_bytes([item[10], item[11]]);
                let value = u32::from_le_bytes([item[16], item[17], item[18], item[19]]);
                skip(journal, i64::from(key) + i64::from(value))?;
            }
            Ok(END) => {
                skip(journal, 8 + 4)?;
                last = Some(start);
            }
            Ok(_) => return Ok(last),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(last),
            Err(e) => return Err(e),
        }
    }
}

fn read_tag(journal: &mut impl Read) -> io::Result<u8> {
    let mut tag = [0];
    journal.read_exact(&mut tag)?;
    Ok(tag[0])
}

fn skip(journal: &mut impl Seek, bytes: i64) -> io::Result<()> {
    journal.seek_relative(bytes)
}
